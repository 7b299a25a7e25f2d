//! The two threads behind a reader: one follows the manifests, the other asks the owners for their state, so that those who may not
//! wait have it at once and an owner that comes back is noticed.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::RemoteError;
use crate::shards::Known;

/// Looks at the shards that are known for one look whether there are more; until there are any, it is every time.
const LOOKS_PER_LIST: u32 = 10;

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
        known.ask_for_status();
        let mut threads = Threads { stop: Vec::new(), threads: Vec::new() };
        let mut looks = 0u32;
        threads.every("follow-shards", known.config.follow_interval, known, move |known| {
            looks = looks.wrapping_add(1);
            follow(known, looks.is_multiple_of(LOOKS_PER_LIST) || known.follower.known_shards().is_empty());
        })?;
        threads.every("ask-status", known.config.status_interval, known, |known| {
            known.ask_for_status();
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
    for shard in known.follower.listed_shards() {
        let before = known.follower.trouble(shard);
        if let Err(error) = known.follower.look(shard)
            && known.follower.trouble(shard) != before
        {
            tracing::warn!(shard, error = &error as &dyn std::error::Error, "the manifests of a shard cannot be read");
        }
    }
}
