//! Where the state of the notifier is durable: loaded once, then committed as a whole, again and again.

use crate::error::LedgerError;

/// A place that holds one state.
///
/// A commit replaces the state before it, all or nothing: after a crash at any moment, a power cut included, either the old
/// or the new one is loaded, and one that was answered with `Ok` is never lost. A commit fails with [`LedgerError::Fenced`]
/// when anybody else has committed since; the one who gets it has nothing to say any more. Calls block on the disk or the
/// network; they are made one at a time.
pub trait Ledger: Send + 'static {
    /// The committed state, if there ever was one. Called once, before any commit.
    ///
    /// # Errors
    /// When it cannot be read, or belongs to somebody else.
    fn load(&mut self) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Makes this the state.
    ///
    /// # Errors
    /// Nothing is committed when the error [`LedgerError::is_retryable`]; otherwise the caller ends.
    fn commit(&mut self, state: &[u8]) -> Result<(), LedgerError>;
}
