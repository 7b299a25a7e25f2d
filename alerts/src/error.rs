//! What can go wrong, told apart by what the caller does about it.

use std::path::PathBuf;

/// Why a state could not be loaded or committed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The place cannot be used now. Nothing was committed; it may be tried again.
    #[error("failed to {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody else commits here. Drop all state.
    #[error("{path} is another one's: somebody else sends the notifications now")]
    Fenced {
        /// What is there and is not ours.
        path: PathBuf,
    },
    /// Whether it was committed is not known. End the process: the next start finds out.
    #[error("{path} may or may not be on disk")]
    InDoubt {
        /// What was being written.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Our own data is damaged. Nothing is skipped: a person has to look.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// In what way.
        reason: String,
    },
    /// Another process uses the folder.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file that is locked.
        path: PathBuf,
    },
}

impl LedgerError {
    /// Whether the same may work later, nothing having been committed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, LedgerError::Io { .. })
    }
}

/// Why the notifier cannot be started, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// The ledger failed in a way that trying again does not mend.
    #[error("failed to keep notifications")]
    Ledger(#[from] LedgerError),
    /// The committed state cannot be read.
    #[error("the state of alerts is damaged: {0}")]
    Damaged(String),
    /// The HTTP client cannot be made.
    #[error("failed to prepare requests to receiver {receiver}: {reason}")]
    Client {
        /// Whose.
        receiver: String,
        /// What is wrong.
        reason: String,
    },
    /// A task of ours panicked.
    #[error("{0} panicked")]
    Panicked(&'static str),
}

/// Why changes were not accepted. They are not owed to anybody: submit them again, with the state that goes with them.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// They could not be committed.
    #[error("failed to commit: {0}")]
    NotCommitted(String),
    /// The notifier has ended.
    #[error("the notifier has ended")]
    Ended,
    /// There is no receiver of that name.
    #[error("there is no receiver {0}")]
    UnknownReceiver(String),
}
