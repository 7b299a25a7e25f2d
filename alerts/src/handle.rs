//! What others hold of the notifier: a way in, and a view of how it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

use crate::change::Change;
use crate::error::SubmitError;
use crate::outbox::attempts::Attempts;

/// Submissions that wait for a commit; a submitter waits for its answer, so there are as many as submitters.
pub(crate) const SUBMISSIONS_MAX: usize = 64;

/// What is to be committed in one step.
pub(crate) struct Submission {
    pub(crate) changes: Vec<Change>,
    pub(crate) state: Option<Arc<[u8]>>,
    pub(crate) test: Option<Arc<str>>,
    pub(crate) done: oneshot::Sender<Result<(), SubmitError>>,
}

/// Submits changes to a notifier. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::Sender<Submission>,
    status: watch::Receiver<Arc<Status>>,
    receivers: Arc<[Arc<str>]>,
    /// The number of the last attempt that is recorded elsewhere.
    recorded: Arc<AtomicU64>,
}

impl Handle {
    pub(crate) fn new(
        inbox: mpsc::Sender<Submission>,
        status: watch::Receiver<Arc<Status>>,
        receivers: Arc<[Arc<str>]>,
        recorded: u64,
    ) -> Self {
        Handle { inbox, status, receivers, recorded: Arc::new(AtomicU64::new(recorded)) }
    }

    /// Commits the changes, and the state of the caller with them, in one write: when this returns `Ok`, all of it is durable
    /// and every receiver will be told; on an error none of it is. Without a state the one before stays.
    ///
    /// There is one caller that has a state. Changes of a release are told in the order in which they are submitted. Dropping
    /// the future does not take the submission back.
    ///
    /// # Errors
    /// [`SubmitError::NotCommitted`] may be tried again; after [`SubmitError::Ended`] the notifier says why it ended.
    pub async fn submit(&self, changes: Vec<Change>, state: Option<Vec<u8>>) -> Result<(), SubmitError> {
        self.send(changes, state.map(Into::into), None).await
    }

    /// Sends one receiver a message that says that it is being tried out.
    ///
    /// # Errors
    /// As [`Handle::submit`]; and when there is no such receiver.
    pub async fn test(&self, receiver: &str) -> Result<(), SubmitError> {
        let known = self.receivers.iter().find(|known| &***known == receiver);
        let known = known.ok_or_else(|| SubmitError::UnknownReceiver(receiver.to_owned()))?;
        self.send(Vec::new(), None, Some(known.clone())).await
    }

    /// How the notifier does now.
    pub fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// Waits until there was an attempt after the one with this number. `None` when the notifier has ended.
    pub async fn attempted_after(&self, number: u64) -> Option<Arc<Status>> {
        let mut status = self.status.clone();
        let found = status.wait_for(|status| status.attempts.total > number).await;
        found.ok().map(|status| status.clone())
    }

    /// Says that the attempts up to this number are recorded elsewhere. It is kept with the next commit; after a crash before that
    /// [`Handle::recorded`] is an older number, and some are recorded again.
    pub fn has_recorded(&self, number: u64) {
        self.recorded.fetch_max(number, Ordering::Relaxed);
    }

    /// The number of the last attempt that is recorded elsewhere.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    async fn send(
        &self,
        changes: Vec<Change>,
        state: Option<Arc<[u8]>>,
        test: Option<Arc<str>>,
    ) -> Result<(), SubmitError> {
        let (done, answer) = oneshot::channel();
        let submission = Submission { changes, state, test, done };
        self.inbox.send(submission).await.map_err(|_| SubmitError::Ended)?;
        answer.await.unwrap_or(Err(SubmitError::Ended))
    }
}

/// How a notifier does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// In the order of the configuration.
    pub receivers: Vec<ReceiverStatus>,
    /// The newest attempts, oldest first.
    pub attempts: Attempts,
    /// Why nothing can be committed at the moment, if so.
    pub ledger_problem: Option<String>,
}

/// How a receiver does. Times are ms since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverStatus {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub kind: &'static str,
    /// Notifications that are still to be delivered.
    pub owed: usize,
    /// When the oldest of them was made.
    pub oldest_ms: Option<i64>,
    /// When one was last delivered.
    pub delivered_ms: Option<i64>,
    /// Since when nothing goes through.
    pub failing_since_ms: Option<i64>,
    /// Whether it said that it is gone for good at this address.
    pub is_gone: bool,
    /// Until when it is left alone.
    pub hold_until_ms: Option<i64>,
}
