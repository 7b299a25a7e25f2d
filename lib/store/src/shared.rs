//! What the store and its committers share for as long as either lives.

use std::collections::HashSet;
use std::sync::Mutex;

use bytes::Bytes;

use crate::lock::DirectoryLock;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::proposals::Proposals;
use crate::side::Damaged;
use crate::{SegmentFile, SegmentId, StoreConfig, StoreError};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: StoreConfig,
    pub(crate) objects: Objects,
    pub(crate) metrics: Metrics,
    /// Segments whose checksum this process has computed: written by it, or read whole.
    pub(crate) verified: Mutex<HashSet<SegmentId>>,
    pub(crate) proposals: Proposals,
    pub(crate) damaged: Damaged,
    /// Other processes write here, this one does not.
    pub(crate) reads_only: bool,
    /// Of a directory. In a bucket writers are kept apart by the manifests alone.
    pub(crate) _lock: Option<DirectoryLock>,
}

impl Shared {
    /// The bytes of a segment, which are those that were committed.
    pub(crate) fn segment_bytes(&self, file: &SegmentFile) -> Result<Bytes, StoreError> {
        let damaged = |reason: String| StoreError::damaged(self.objects.file(&file.path), reason);
        let bytes = self.objects.get(&file.path)?.ok_or_else(|| self.missing(&file.path))?;
        if bytes.len() as u64 != file.bytes {
            return Err(damaged(format!("it has {} bytes instead of {}", bytes.len(), file.bytes)));
        }
        let found = crc32c::crc32c(&bytes);
        if found != file.crc32c {
            return Err(damaged(format!("its checksum is {found:08x} instead of {:08x}", file.crc32c)));
        }
        self.set_verified(file.id);
        Ok(bytes)
    }

    /// What it means that a segment is not there.
    pub(crate) fn missing(&self, path: &str) -> StoreError {
        let file = self.objects.file(path);
        if self.reads_only || self.objects.is_remote() {
            return StoreError::Gone { path: file };
        }
        StoreError::damaged(file, "it is missing, and a manifest lists it")
    }

    pub(crate) fn is_verified(&self, id: SegmentId) -> bool {
        self.verified.lock().expect("no holder of this lock can panic").contains(&id)
    }

    pub(crate) fn set_verified(&self, id: SegmentId) {
        self.verified.lock().expect("no holder of this lock can panic").insert(id);
    }

    pub(crate) fn forget(&self, files: &[SegmentFile]) {
        let mut verified = self.verified.lock().expect("no holder of this lock can panic");
        for file in files {
            verified.remove(&file.id);
            self.damaged.forget(file.id);
        }
    }
}
