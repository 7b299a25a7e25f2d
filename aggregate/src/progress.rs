//! How far each shard has folded its partition, for those who must not get too far ahead of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stands for a shard that has not read its state yet.
const UNKNOWN: u64 = u64::MAX;

/// The offset that each shard folds next. Cheap to clone and to ask; all clones are the same.
#[derive(Clone, Debug)]
pub struct Progress {
    next_offsets: Arc<[AtomicU64]>,
}

impl Progress {
    pub(crate) fn new(shards: u32) -> Self {
        Progress { next_offsets: (0..shards).map(|_| AtomicU64::new(UNKNOWN)).collect() }
    }

    /// The offset that a shard folds next; `None` until it has read its state.
    pub fn next_offset(&self, shard: u32) -> Option<u64> {
        let offset = self.next_offsets.get(shard as usize)?.load(Ordering::Relaxed);
        (offset != UNKNOWN).then_some(offset)
    }

    pub(crate) fn reached(&self, shard: u32, next_offset: u64) {
        if let Some(offset) = self.next_offsets.get(shard as usize) {
            offset.store(next_offset, Ordering::Relaxed);
        }
    }
}
