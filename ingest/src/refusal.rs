//! Whether the journal refuses records at the moment. Known from what happened to the last append: nobody tries one to
//! find out, so a refusal that is not repeated is forgotten after a while, and senders are let in again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a refusal speaks for the present. Clients come again after a few seconds, so a fault that lasts is repeated
/// well within it.
const SPEAKS_FOR: Duration = Duration::from_secs(10);

/// The last refusal, unless something was appended since.
#[derive(Debug, Default)]
pub(crate) struct Refusal(Mutex<Option<(i64, String)>>);

impl Refusal {
    pub(crate) fn refused(&self, reason: &str, now_ns: i64) {
        *self.lock() = Some((now_ns, reason.to_owned()));
    }

    pub(crate) fn appended(&self) {
        *self.lock() = None;
    }

    /// Why records are refused, if they are.
    pub(crate) fn reason(&self, now_ns: i64) -> Option<String> {
        let recent = |since_ns: &i64| u128::from(now_ns.abs_diff(*since_ns)) < SPEAKS_FOR.as_nanos();
        self.lock().as_ref().filter(|(since_ns, _)| recent(since_ns)).map(|(_, reason)| reason.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(i64, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn a_refusal_holds_until_something_is_appended_or_time_has_passed() {
        let refusal = Refusal::default();
        assert_eq!(refusal.reason(0), None);
        refusal.refused("no space", 100 * S);
        assert_eq!(refusal.reason(109 * S).as_deref(), Some("no space"));
        assert_eq!(refusal.reason(110 * S), None, "somebody has to be let in to find out");
        refusal.refused("no space", 111 * S);
        refusal.appended();
        assert_eq!(refusal.reason(111 * S), None);
    }
}
