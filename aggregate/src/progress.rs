//! How far each shard has folded its partition, for those who must not get too far ahead of it, and what it could not fold
//! because it was gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Stands for a shard that has not read its state yet.
const UNKNOWN: u64 = u64::MAX;

/// The offset that each shard folds next. Cheap to clone and to ask; all clones are the same.
#[derive(Clone, Debug)]
pub struct Progress {
    next_offsets: Arc<[AtomicU64]>,
    /// The last loss of each shard.
    losses: Arc<Mutex<BTreeMap<u32, String>>>,
    /// Why a shard does not run.
    failures: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl Progress {
    pub(crate) fn new(shards: u32) -> Self {
        let next_offsets = (0..shards).map(|_| AtomicU64::new(UNKNOWN)).collect();
        Progress { next_offsets, losses: Arc::default(), failures: Arc::default() }
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

    /// What was gone from the journal before it was folded since the process began, in words: the last time for each shard.
    pub fn losses(&self) -> Vec<String> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Why a shard does not run, in words, although the others do.
    pub fn failure(&self, shard: u32) -> Option<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    pub(crate) fn failed(&self, shard: u32, words: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, words);
    }

    pub(crate) fn lost(&self, shard: u32, words: String) {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, words);
    }
}
