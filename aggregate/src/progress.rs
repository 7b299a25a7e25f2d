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
    /// How old what each shard folded last was by then, ns.
    lags_ns: Arc<[AtomicU64]>,
    /// The last loss of each shard.
    losses: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl Progress {
    pub(crate) fn new(shards: u32) -> Self {
        let each = |value| (0..shards).map(|_| AtomicU64::new(value)).collect();
        Progress { next_offsets: each(UNKNOWN), lags_ns: each(0), losses: Arc::default() }
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

    /// How long what a shard folded last had waited for it since it was received, ns.
    pub(crate) fn lag_ns(&self, shard: u32) -> u64 {
        self.lags_ns.get(shard as usize).map_or(0, |lag| lag.load(Ordering::Relaxed))
    }

    pub(crate) fn lagged(&self, shard: u32, lag_ns: i64) {
        if let Some(lag) = self.lags_ns.get(shard as usize) {
            lag.store(u64::try_from(lag_ns).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// What was gone from the journal before it was folded since the process began, in words: the last time for each shard.
    pub fn losses(&self) -> Vec<String> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn lost(&self, shard: u32, words: String) {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, words);
    }
}
