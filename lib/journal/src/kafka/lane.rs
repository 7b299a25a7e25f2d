//! One partition as this process sees it: how far it reaches, what was read ahead, what waits for Kafka's answer. Shared by
//! readers, appends, the consumer's thread and the watch; every lock is short.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::window::Window;
use crate::error::JournalError;

/// An append that has waited for its answer for so long says that the partition takes nothing at the moment.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Lane {
    inner: Mutex<Inner>,
    /// Sent to after every change that a waiting reader or append may wait for.
    changes: watch::Sender<()>,
    /// Held by a reader while it moves the window to where it wants to read: readers at different places take turns.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// What the lock guards.
pub(super) struct Inner {
    pub(super) window: Window,
    /// The first offset that Kafka still has, as far as known.
    pub(super) oldest: u64,
    /// The offset that the next record gets, as far as known.
    pub(super) end: u64,
    /// Reading ahead was stopped because the window is full.
    pub(super) paused: bool,
    /// Why reading cannot go on; for the reader that asks next.
    pub(super) fault: Option<JournalError>,
    /// When the window last moved, or was seen to be at the end.
    pub(super) moved: Instant,
    /// The watch has seen that it stands still.
    pub(super) stalled: bool,
    /// A gap that was met once already: reading was begun again at its start.
    pub(super) gap: Option<(u64, u64)>,
    /// Records that Kafka has not answered for, by number, with the time they were handed over.
    unanswered: BTreeMap<u64, Instant>,
    handed_over: u64,
}

impl Lane {
    pub(super) fn new(window_bytes: usize, oldest: u64, end: u64) -> Self {
        let inner = Inner {
            window: Window::new(window_bytes),
            oldest,
            end,
            paused: false,
            fault: None,
            moved: Instant::now(),
            stalled: false,
            gap: None,
            unanswered: BTreeMap::new(),
            handed_over: 0,
        };
        Lane { inner: Mutex::new(inner), changes: watch::Sender::new(()), turn: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while holding a lane")
    }

    /// To be taken before looking, so that a change in between is not missed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        let mut changes = self.changes.subscribe();
        changes.mark_unchanged();
        changes
    }

    pub(super) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// The partition reaches at least so far.
    pub(super) fn reaches(&self, oldest: u64, end: u64) {
        let mut inner = self.lock();
        let news = inner.end < end;
        (inner.oldest, inner.end) = (inner.oldest.max(oldest), inner.end.max(end));
        drop(inner);
        if news {
            self.changed();
        }
    }

    /// A record is handed over to Kafka. Gives its number for [`Lane::answered`].
    pub(super) fn hand_over(&self) -> u64 {
        let mut inner = self.lock();
        inner.handed_over += 1;
        let number = inner.handed_over;
        inner.unanswered.insert(number, Instant::now());
        number
    }

    /// Kafka has answered for a record.
    pub(super) fn answered(&self, number: u64) {
        self.lock().unanswered.remove(&number);
        self.changed();
    }

    /// How long the oldest record without an answer has waited.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.lock().unanswered.first_key_value().map(|(_, since)| *since)
    }

    /// Whether the partition takes nothing at the moment.
    pub(super) fn is_stuck(&self) -> bool {
        self.waits_since().is_some_and(|since| since.elapsed() >= STUCK_AFTER)
    }
}
