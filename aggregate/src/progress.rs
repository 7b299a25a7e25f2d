//! How far each shard has folded its partition, for those who must not get too far ahead of it; which shards this process is to
//! run; and what could not be folded because it was gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Stands for a shard that has not read its state yet.
const UNKNOWN: u64 = u64::MAX;

/// The offset that each shard folds next. Cheap to clone and to ask; all clones are the same.
#[derive(Clone, Debug)]
pub struct Progress {
    next_offsets: Arc<[AtomicU64]>,
    /// The shards that this process is to run; why one does not.
    assigned: Arc<Mutex<BTreeMap<u32, Option<String>>>>,
    /// How old what each shard folded last was by then, ns.
    lags_ns: Arc<[AtomicU64]>,
    /// The last loss of each shard.
    losses: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl Progress {
    /// Of a journal with so many partitions; this process is to run none of its shards yet.
    pub(crate) fn new(shards: u32) -> Self {
        let each = |value| (0..shards).map(|_| AtomicU64::new(value)).collect();
        Progress { next_offsets: each(UNKNOWN), lags_ns: each(0), assigned: Arc::default(), losses: Arc::default() }
    }

    /// The offset that a shard folds next; `None` until it has read its state, and where it does not run in this process.
    pub fn next_offset(&self, shard: u32) -> Option<u64> {
        let offset = self.next_offsets.get(shard as usize)?.load(Ordering::Relaxed);
        (offset != UNKNOWN).then_some(offset)
    }

    pub(crate) fn reached(&self, shard: u32, next_offset: u64) {
        if let Some(offset) = self.next_offsets.get(shard as usize) {
            offset.store(next_offset, Ordering::Relaxed);
        }
    }

    /// The shards that this process is to run, in order, with the reason of each that does not run at the moment.
    pub fn shards(&self) -> Vec<(u32, Option<String>)> {
        lock(&self.assigned).iter().map(|(shard, why)| (*shard, why.clone())).collect()
    }

    /// Whether a shard that this process is to run has read its state and is where `is_there` wants it to be.
    pub(crate) fn all(&self, is_there: impl Fn(u32, Option<u64>) -> bool) -> bool {
        lock(&self.assigned).keys().all(|shard| is_there(*shard, self.next_offset(*shard)))
    }

    /// This process is to run a shard, and does; or does not, for a reason.
    pub(crate) fn assigned(&self, shard: u32, why_not: Option<String>) {
        lock(&self.assigned).insert(shard, why_not);
    }

    /// It is another process's.
    pub(crate) fn not_assigned(&self, shard: u32) {
        lock(&self.assigned).remove(&shard);
        self.reached(shard, UNKNOWN);
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
        lock(&self.losses).values().cloned().collect()
    }

    pub(crate) fn lost(&self, shard: u32, words: String) {
        lock(&self.losses).insert(shard, words);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
