//! What the store and its committers share for as long as either lives.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;

use crate::aside::Aside;
use crate::checked::Known;
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
    /// Segments of older versions whose checksum this process has computed.
    pub(crate) verified: Mutex<HashSet<SegmentId>>,
    /// Segments of which it is known how what is read of them is checked, by their path, as long as somebody holds their description.
    pub(crate) known: Mutex<HashMap<Arc<str>, Weak<Known>>>,
    pub(crate) proposals: Proposals,
    pub(crate) damaged: Damaged,
    /// Other processes write here, this one does not.
    pub(crate) reads_only: bool,
    /// Live segments that answers are made without.
    pub(crate) aside: Aside,
    /// Of a directory. In a bucket writers are kept apart by the manifests alone.
    pub(crate) _lock: Option<DirectoryLock>,
}

impl Shared {
    /// The bytes of a segment, which are those that were committed.
    pub(crate) fn segment_bytes(&self, file: &SegmentFile) -> Result<Bytes, StoreError> {
        let damaged = |reason: String| StoreError::damaged(self.objects.file(&file.path), reason);
        let bytes = self.objects.get(&file.path)?.ok_or_else(|| self.objects.missing(&file.path))?;
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

    pub(crate) fn is_verified(&self, id: SegmentId) -> bool {
        self.verified.lock().expect("no holder of this lock can panic").contains(&id)
    }

    pub(crate) fn set_verified(&self, id: SegmentId) {
        self.verified.lock().expect("no holder of this lock can panic").insert(id);
    }

    pub(crate) fn known_segments(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Known>>> {
        self.known.lock().expect("no holder of this lock can panic")
    }

    pub(crate) fn forget(&self, files: &[SegmentFile]) {
        let mut verified = self.verified.lock().expect("no holder of this lock can panic");
        for file in files {
            verified.remove(&file.id);
            self.damaged.forget(file.id);
            self.aside.forget(file.id, &self.metrics);
        }
    }
}
