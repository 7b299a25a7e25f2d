//! The files that an attempt to commit or to compact has written: removed again unless a manifest names them, or may.

use std::sync::Arc;

use bytes::Bytes;

use crate::encode::Encoded;
use crate::objects::{Created, Objects};
use crate::parts::Parts;
use crate::{SideFile, StoreError};

/// How many names of an earlier attempt's left-overs one steps over. Left-overs stay only when their removal failed.
const NAMES_MAX: u32 = 64;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    objects: &'a Objects,
    written: Vec<String>,
    /// Whether a manifest names them, or may.
    pub(crate) keep: bool,
}

/// Where a segment and what lies beside it are.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) segment: SideFile,
    pub(crate) blooms: Option<SideFile>,
    pub(crate) index: Option<SideFile>,
    pub(crate) parts: Parts,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(objects: &'a Objects) -> Self {
        Self { objects, written: Vec::new(), keep: false }
    }

    /// Creates an object under the first name that is free. A name is taken only by what an earlier attempt or another
    /// writer has left: it must not be overwritten, because a manifest may name it.
    pub(crate) fn create(&mut self, bytes: &Bytes, name: impl Fn(u32) -> String) -> Result<String, StoreError> {
        for number in 0..NAMES_MAX {
            let path = name(number);
            if self.objects.create(&path, bytes.clone())? == Created::Yes {
                self.written.push(path.clone());
                return Ok(path);
            }
        }
        Err(StoreError::damaged(self.objects.file(&name(0)), "every name that could be used instead is taken"))
    }

    /// Creates the files of a segment; `name` is without their endings.
    pub(crate) fn create_segment(&mut self, name: &str, encoded: &Encoded) -> Result<Written, StoreError> {
        let mut create = |bytes: &Bytes, ending: &str| -> Result<SideFile, StoreError> {
            let path = self.create(bytes, |number| match number {
                0 => format!("{name}.{ending}"),
                _ => format!("{name}-{number}.{ending}"),
            })?;
            Ok(SideFile { path: Arc::from(path), bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) })
        };
        Ok(Written {
            segment: create(&encoded.segment, "parquet")?,
            blooms: encoded.blooms.as_ref().map(|bytes| create(bytes, "blooms")).transpose()?,
            index: encoded.index.as_ref().map(|bytes| create(bytes, "index")).transpose()?,
            parts: encoded.parts,
        })
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.keep {
            self.objects.delete_all(std::mem::take(&mut self.written));
        }
    }
}
