//! The thread that compacts: one job after the other, shard by shard, within a budget of CPU time.
//!
//! It works in short pieces and rests between them, much longer while the shards are behind: what is folded and queried comes first.
//! Its results wait for the next commit of their shard, and while enough wait it does nothing for that shard.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::{self, Job, Situation};
use super::run::{Pace, run};
use crate::encode::Beside;
use crate::proposals::Replacement;
use crate::shared::Shared;
use crate::{SegmentFile, SegmentId, Store, StoreError};

/// Between looks when there is nothing to do.
const IDLE: Duration = Duration::from_secs(1);
/// After a disk had no room or could not be read.
const AFTER_ERROR: Duration = Duration::from_secs(30);
/// The share of the budget that is left while the shards are behind: never nothing, or a system that is always a little behind would
/// end with more files than it can open.
const SHARE_BEHIND: f64 = 0.1;
/// While the shards are behind, nothing is begun for a shard with fewer segments than this: what a merge holds in memory is
/// missing to those who fold, and some hundred files more are no harm.
const FILES_WHILE_BEHIND: usize = 1_000;
/// Longest rest at a time, so that a stop is heard.
const REST_MAX: Duration = Duration::from_millis(250);

/// What the thread asks of its surroundings.
pub struct Background {
    /// The time of day, ns.
    pub now_ns: Box<dyn Fn() -> i64 + Send>,
    /// Whether the shards have more to fold than they should.
    pub is_behind: Box<dyn Fn() -> bool + Send>,
    /// Rests for so long, or shorter when the program is to stop; whether it is.
    pub rest: Box<dyn Fn(Duration) -> bool + Send>,
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Background")
    }
}

impl Store {
    /// Compacts until it is told to stop. Call it on a thread of its own, once for all shards that are registered.
    pub fn compact_in_background(&self, background: &Background) {
        let mut worker = Worker { store: self, background, unreadable: HashSet::new(), resting: Duration::ZERO };
        loop {
            let rest = match worker.round() {
                Ok(true) => Duration::ZERO,
                Ok(false) => IDLE,
                Err(error) => {
                    tracing::warn!(%error, "cannot compact segments; trying again");
                    AFTER_ERROR
                }
            };
            if worker.rest(rest) {
                return;
            }
        }
    }

    /// Does everything that there is to compact at `now_ns`, without a budget; how many jobs were done. What was made waits for the
    /// next commit of each shard.
    pub fn compact_now(&self, now_ns: i64) -> Result<usize, StoreError> {
        let background =
            Background { now_ns: Box::new(move || now_ns), is_behind: Box::new(|| false), rest: Box::new(|_| false) };
        let mut worker =
            Worker { store: self, background: &background, unreadable: HashSet::new(), resting: Duration::ZERO };
        let mut jobs = 0;
        while worker.round()? {
            jobs += 1;
        }
        Ok(jobs)
    }

    /// Whether a shard has something to commit besides what it folds: segments that were compacted or have outlived their time.
    pub fn is_commit_wanted(&self, shard: u32) -> bool {
        self.shared().proposals.is_waiting(shard)
    }
}

struct Worker<'a> {
    store: &'a Store,
    background: &'a Background,
    /// Segments that could not be read: named in the log once, and by `shipwake doctor`.
    unreadable: HashSet<SegmentId>,
    /// Rest that is owed for work that was done.
    resting: Duration,
}

impl Worker<'_> {
    /// Does one job of each shard that has any; whether there was any.
    fn round(&mut self) -> Result<bool, StoreError> {
        let shared = self.store.shared().clone();
        let mut is_any = false;
        for shard in self.store.snapshot_here(&[]).shards {
            let now_ns = (self.background.now_ns)();
            if shared.proposals.is_full(shard.shard) {
                continue;
            }
            if shard.files.len() < FILES_WHILE_BEHIND && (self.background.is_behind)() {
                continue;
            }
            self.unreadable.retain(|id| id.shard != shard.shard || shard.files.iter().any(|file| file.id == *id));
            let mut left_alone = self.unreadable.clone();
            left_alone.extend(shared.proposals.inputs(shard.shard));
            is_any |= drop_old(&shared, shard.shard, &shard.files, &mut left_alone, now_ns);
            let damaged = shared.damaged.all();
            let compaction = shared.config.compaction;
            let situation = Situation {
                files: &shard.files,
                left_alone: &left_alone,
                damaged: &damaged,
                now_ns,
                bytes_max: compaction.bytes_max,
                with_index: compaction.index,
                retention: &shared.config.retention,
            };
            let Some(job) = plan::next(&situation) else { continue };
            is_any |= self.work(&shared, shard.shard, &job, now_ns)?;
        }
        Ok(is_any)
    }

    fn work(&mut self, shared: &Arc<Shared>, shard: u32, job: &Job, now_ns: i64) -> Result<bool, StoreError> {
        let mut since = Instant::now();
        let started = since;
        let mut pace = || {
            let rest = self.rest_for(since.elapsed());
            let is_stopped = self.rest(rest);
            since = Instant::now();
            if is_stopped { Pace::Stop } else { Pace::GoOn }
        };
        match run(shared, job, now_ns, &mut pace) {
            Ok(Some(replacement)) => {
                shared.proposals.add(shard, replacement);
                tracing::debug!(
                    shard,
                    kind = job.kind.word(),
                    table = %job.table,
                    segments = job.inputs.len(),
                    indexed = job.beside == Beside::BloomsAndIndex,
                    elapsed_ms = started.elapsed().as_millis() as u64,
                    "compacted"
                );
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error @ StoreError::Damaged { .. }) => {
                shared.metrics.compaction_failed();
                // What is set aside is not met again: the rest of the job is planned anew.
                if !self.store.set_aside(&error) {
                    tracing::error!(shard, %error, "a segment cannot be compacted; it is left as it is");
                    self.unreadable.extend(job.inputs.iter().map(|file| file.id));
                }
                Ok(true)
            }
            Err(error @ StoreError::Gone { .. }) => {
                shared.metrics.compaction_failed();
                tracing::warn!(shard, %error, "a segment cannot be compacted; looking which are there");
                self.store.look_over(shard)?;
                self.unreadable.extend(job.inputs.iter().map(|file| file.id));
                Ok(true)
            }
            Err(error) => {
                shared.metrics.compaction_failed();
                Err(error)
            }
        }
    }

    /// How long to rest after working for so long.
    fn rest_for(&self, worked: Duration) -> Duration {
        let full = self.store.shared().config.compaction.cpu_share;
        let share = if (self.background.is_behind)() { full * SHARE_BEHIND } else { full };
        worked.mul_f64((1.0 - share) / share)
    }

    /// Rests in short pieces; whether the program is to stop. Rests too short for a timer are saved up.
    fn rest(&mut self, rest: Duration) -> bool {
        self.resting += rest;
        while self.resting >= Duration::from_millis(1) {
            let piece = self.resting.min(REST_MAX);
            self.resting -= piece;
            if (self.background.rest)(piece) {
                return true;
            }
        }
        (self.background.rest)(Duration::ZERO)
    }
}

/// Proposes to drop segments that have outlived their time, so that a shard that is quiet does it too; whether there are any.
fn drop_old(
    shared: &Shared,
    shard: u32,
    files: &[SegmentFile],
    left_alone: &mut HashSet<SegmentId>,
    now_ns: i64,
) -> bool {
    let is_old = |file: &&SegmentFile| shared.config.retention.is_over(file, now_ns) && !left_alone.contains(&file.id);
    let inputs: Vec<SegmentId> = files.iter().filter(is_old).map(|file| file.id).collect();
    if inputs.is_empty() {
        return false;
    }
    left_alone.extend(&inputs);
    shared.proposals.add(shard, Replacement { inputs, output: None, is_void: false });
    true
}
