//! The two threads behind a reader: one follows the manifests, the other asks the owners for their state, so that those who may not
//! wait have it at once and an owner that comes back is noticed.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::RemoteError;
use crate::shards::Known;

/// Time between two looks for shards that were not there before; until there are any, it is that of every look.
const SHARDS_INTERVAL: Duration = Duration::from_secs(10);
/// Time that a question for the state gets: one owner that hangs must not keep the others' from being known.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// The threads, until they are dropped.
pub(crate) struct Threads {
    /// Going away is the signal.
    stop: Vec<SyncSender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Looks and asks once, and goes on with that.
    pub fn start(known: &Arc<Known>) -> Result<Self, RemoteError> {
        follow(known, true);
        known.ask_for_status(STATUS_PATIENCE);
        let mut threads = Threads { stop: Vec::new(), threads: Vec::new() };
        let mut since_shards = Duration::ZERO;
        let interval = known.config.follow_interval;
        threads.every("follow-shards", interval, known, move |known| {
            since_shards += interval;
            let is_time = since_shards >= SHARDS_INTERVAL || known.follower.known_shards().is_empty();
            if is_time {
                since_shards = Duration::ZERO;
            }
            follow(known, is_time);
        })?;
        threads.every("ask-status", known.config.status_interval, known, |known| {
            known.ask_for_status(STATUS_PATIENCE);
        })?;
        Ok(threads)
    }

    fn every(
        &mut self,
        name: &str,
        interval: Duration,
        known: &Arc<Known>,
        mut work: impl FnMut(&Known) + Send + 'static,
    ) -> Result<(), RemoteError> {
        let (stop, stopped) = sync_channel::<()>(0);
        let known = known.clone();
        let run = move || {
            while matches!(stopped.recv_timeout(interval), Err(RecvTimeoutError::Timeout)) {
                work(&known);
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(RemoteError::Threads)?;
        self.stop.push(stop);
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.clear();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// One look at all shards.
fn follow(known: &Known, with_new_shards: bool) {
    if with_new_shards && let Err(error) = known.follower.look_for_shards() {
        tracing::warn!(error = &error as &dyn std::error::Error, "the shards of the store cannot be listed");
    }
    for shard in known.follower.known_shards() {
        if let Err(error) = known.follower.look(shard) {
            tracing::warn!(shard, error = &error as &dyn std::error::Error, "the manifests of a shard cannot be read");
        }
    }
}
