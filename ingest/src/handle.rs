//! The journal as ingest sees it: opening, open, or closed. Sockets are bound before the journal is recovered, because
//! clients give up a few seconds after a restart; requests wait here until it is there.

use std::sync::Arc;

use shipwake_journal::Journal;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::error::IngestError;

/// A journal that may not be open yet. Cheap to clone; all clones are the same journal.
#[derive(Clone)]
pub struct JournalHandle {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone)]
enum State {
    Opening,
    Open(Arc<dyn Journal>),
    Closed,
}

impl JournalHandle {
    /// A journal that is still being opened: requests wait until [`JournalHandle::open`].
    pub fn opening() -> Self {
        JournalHandle { state: Arc::new(watch::Sender::new(State::Opening)) }
    }

    /// Lets the requests that wait, and all later ones, use `journal`.
    pub fn open(&self, journal: Arc<dyn Journal>) {
        self.state.send_replace(State::Open(journal));
    }

    /// Refuses requests from now on with a hint to come again. For shutdown, and for a journal that cannot be opened.
    pub fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    /// `opening`, `open` or `closed`.
    pub fn state(&self) -> &'static str {
        match &*self.state.borrow() {
            State::Opening => "opening",
            State::Open(_) => "open",
            State::Closed => "closed",
        }
    }

    /// What keeps the journal from taking or giving records at this moment, in words; nothing unless it is open.
    pub fn problems(&self) -> Vec<String> {
        match &*self.state.borrow() {
            State::Open(journal) => journal.problems(),
            State::Opening | State::Closed => Vec::new(),
        }
    }

    /// The journal, waiting until `deadline` for it to be opened.
    pub(crate) async fn wait(&self, deadline: Instant) -> Result<Arc<dyn Journal>, IngestError> {
        let mut states = self.state.subscribe();
        let found = timeout_at(deadline, states.wait_for(|state| !matches!(state, State::Opening))).await;
        match found {
            Ok(Ok(state)) => match &*state {
                State::Open(journal) => Ok(journal.clone()),
                State::Opening | State::Closed => Err(IngestError::NotReady),
            },
            _ => Err(IngestError::NotReady),
        }
    }
}

impl From<Arc<dyn Journal>> for JournalHandle {
    fn from(journal: Arc<dyn Journal>) -> Self {
        let handle = JournalHandle::opening();
        handle.open(journal);
        handle
    }
}
