//! The thread that keeps the store in order while the shards fold: it compacts what they have committed, and works little while any of
//! them is behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use shipwake_journal::Journal;
use shipwake_store::{Background, Store};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::AggregateError;
use crate::progress::Progress;

/// Requests that a shard may have to fold and still counts as keeping up: it reads some dozens at once.
const BEHIND_REQUESTS: u64 = 256;
/// How long nothing is compacted after a broken invariant: it is a bug, and the shards can do without for long.
const AFTER_PANIC: Duration = Duration::from_secs(600);

/// The thread, until it is stopped.
pub(crate) struct Running {
    /// Going away is the signal.
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

/// Starts it.
pub(crate) fn start(
    store: &Arc<Store>,
    journal: &Arc<dyn Journal>,
    progress: &Progress,
    clock: &Clock,
    stop_soon: CancellationToken,
) -> Result<Running, AggregateError> {
    let (stop, stopped) = sync_channel::<()>(0);
    let (journal, progress, clock) = (journal.clone(), progress.clone(), clock.clone());
    let is_behind = move || {
        !progress.all(|partition, next| {
            next.is_some_and(|next| journal.end(partition).saturating_sub(next) <= BEHIND_REQUESTS)
        })
    };
    let background = Background {
        now_ns: Box::new(move || clock.now_ns()),
        is_behind: Box::new(is_behind),
        rest: Box::new(move |time| {
            stop_soon.is_cancelled() || !matches!(stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout))
        }),
    };
    let store = store.clone();
    let run = move || {
        while catch_unwind(AssertUnwindSafe(|| store.compact_in_background(&background))).is_err() {
            tracing::error!("the background work of the store stopped unexpectedly; it begins again in ten minutes");
            if (background.rest)(AFTER_PANIC) {
                return;
            }
        }
    };
    let thread =
        std::thread::Builder::new().name("compact".to_owned()).spawn(run).map_err(AggregateError::Background)?;
    Ok(Running { stop, thread })
}

impl Running {
    /// Stops it within a fraction of a second; what it was at is done again another time.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // It catches its own panics.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}
