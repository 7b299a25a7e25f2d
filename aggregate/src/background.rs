//! The thread that keeps the store in order while the shards fold: it compacts what they have committed, and works little while any of
//! them is behind.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shipwake_journal::Journal;
use shipwake_store::{Background, Store};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::AggregateError;
use crate::progress::Progress;

/// Requests that a shard may have to fold and still counts as keeping up: it reads some dozens at once.
const BEHIND_REQUESTS: u64 = 256;
/// How long what it folds may have waited. A few hundred large requests are seconds of work; small ones are nothing.
const BEHIND_NS: u64 = 500_000_000;
/// A shard that was behind so lately may be so again in a moment: what a merge holds in memory, some hundred megabytes, is better
/// not taken between two waves of an overload.
const CALM: Duration = Duration::from_secs(3);
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
    let is_any_behind = move || {
        !progress.all(|partition, next| {
            let behind = |next| journal.end(partition).saturating_sub(next);
            next.is_some_and(|next| !is_behind(behind(next), progress.lag_ns(partition)))
        })
    };
    let lately = Lately::default();
    let was_behind = move || lately.was(is_any_behind(), Instant::now());
    let background = Background {
        now_ns: Box::new(move || clock.now_ns()),
        is_behind: Box::new(was_behind),
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

/// Whether a shard does not keep up that has so many requests to fold, the last of which waited for so long.
fn is_behind(waiting: u64, lag_ns: u64) -> bool {
    waiting > BEHIND_REQUESTS || waiting > 0 && lag_ns > BEHIND_NS
}

/// Remembers for [`CALM`] that something was so.
#[derive(Default)]
struct Lately(Cell<Option<Instant>>);

impl Lately {
    fn was(&self, is_now: bool, now: Instant) -> bool {
        if is_now {
            self.0.set(Some(now));
        }
        self.0.get().is_some_and(|last| now.duration_since(last) < CALM)
    }
}

impl Running {
    /// Stops it within a fraction of a second; what it was at is done again another time.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // It catches its own panics.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_behind_by_requests_or_by_the_time_that_they_have_waited() {
        const SECOND: u64 = 1_000_000_000;
        for (waiting, lag_ns, expected) in [
            (0, 0, false),
            // What it folded last is no matter when nothing waits.
            (0, 10 * SECOND, false),
            (100, SECOND / 10, false),
            // A hundred requests of a thousand records each are a second of work.
            (100, SECOND, true),
            (1_000, 0, true),
        ] {
            assert_eq!(is_behind(waiting, lag_ns), expected, "{waiting} requests, {lag_ns} ns");
        }
    }

    #[test]
    fn a_lull_between_two_waves_is_not_calm() {
        let (lately, start) = (Lately::default(), Instant::now());
        assert!(!lately.was(false, start));
        assert!(lately.was(true, start));
        assert!(lately.was(false, start + CALM / 2));
        assert!(!lately.was(false, start + CALM));
    }
}
