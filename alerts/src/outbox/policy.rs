//! What the outbox knows of a receiver: what it wants to hear, how fast, how long, and who stands in for it. Pure values,
//! and the back-off that follows from them.

use std::sync::Arc;

use crate::change::{Change, Word};
use crate::outbox::row::RowId;

/// What a receiver is told of. An empty list means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Verdicts.
    pub verdicts: Vec<Word>,
    /// Services.
    pub services: Vec<String>,
    /// Environments.
    pub environments: Vec<String>,
    /// Only that something is wrong with a release that takes traffic, and that this is over.
    pub trouble_only: bool,
}

impl Wants {
    /// Whether a change is told. Whoever was told of a NO-GO is told when it is one no longer, in whatever words.
    pub fn wants(&self, change: &Change) -> bool {
        let named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|known| known == name);
        let is_word = self.verdicts.is_empty() || self.verdicts.contains(&change.to);
        let ends = change.ends_trouble() && (self.verdicts.is_empty() || self.verdicts.contains(&Word::NoGo));
        (is_word || ends)
            && (!self.trouble_only || change.is_trouble() || change.ends_trouble())
            && named(&self.services, &change.release.service)
            && named(&self.environments, &change.release.environment)
    }
}

/// How often a receiver may be called: `burst` at once, then one each `interval_ms`. An interval of 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Milliseconds between two calls in the long run.
    pub interval_ms: i64,
    /// Calls at once after a pause; at least 1.
    pub burst: i64,
}

/// When a failed attempt is repeated: after `first_ms`, twice as long each time, at most `max_ms`; give or take a quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Wait after the first failure, ms.
    pub first_ms: i64,
    /// Longest wait, ms.
    pub max_ms: i64,
}

impl Retry {
    /// The wait after so many failures. The quarter that it varies by follows from the row, so that many rows do not come
    /// back together and a replay waits as long.
    pub fn wait_ms(&self, id: RowId, failures: u32) -> i64 {
        let doublings = failures.saturating_sub(1).min(20);
        let wait = self.first_ms.saturating_mul(1 << doublings).min(self.max_ms).max(1);
        let spread = (wait / 2).max(1);
        wait - wait / 4 + (id.scatter(failures) % spread as u64) as i64
    }
}

/// All that the outbox has to know of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What it is told of.
    pub wants: Wants,
    /// Whether changes that wait for it become one message. Not where each has an effect of its own, as with a pager.
    pub merges: bool,
    /// How often it may be called.
    pub rate: Rate,
    /// When a failed attempt is repeated.
    pub retry: Retry,
    /// A notification older than this is not delivered any more, ms; a summary says how many there were.
    pub max_age_ms: i64,
    /// Who is told when this receiver fails.
    pub fallback: Option<Arc<str>>,
    /// After how long a failure that is, ms.
    pub fallback_after_ms: i64,
    /// Changes with its address: a receiver that was gone for good is tried again under another one.
    pub address: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Ending;
    use crate::change::tests::change;

    #[test]
    fn a_wait_doubles_up_to_its_limit_and_varies_by_a_quarter() {
        let retry = Retry { first_ms: 1_000, max_ms: 60_000 };
        for row in 0..200u64 {
            let id = RowId::of(&[&row.to_le_bytes()]);
            for (failures, nominal) in
                [(0, 1_000), (1, 1_000), (2, 2_000), (3, 4_000), (7, 60_000), (4_000_000, 60_000)]
            {
                let wait = retry.wait_ms(id, failures);
                assert!((nominal * 3 / 4..=nominal * 5 / 4).contains(&wait), "{failures} failures: {wait} ms");
                assert_eq!(wait, retry.wait_ms(id, failures), "the same row waits as long again");
            }
        }
    }

    #[test]
    fn a_receiver_is_told_what_it_asked_for_and_when_that_is_over() {
        let wants = Wants {
            verdicts: vec![Word::NoGo],
            services: vec!["checkout".to_owned()],
            environments: vec!["production".to_owned()],
            trouble_only: false,
        };
        assert!(wants.wants(&change("2", 1, Word::Wait, Word::NoGo)));
        assert!(!wants.wants(&change("2", 1, Word::Wait, Word::Go)));
        assert!(wants.wants(&change("2", 2, Word::NoGo, Word::Watch)), "it is NO-GO no longer");
        let mut over = change("2", 3, Word::NoGo, Word::NoGo);
        over.ending = Some(Ending::RolledBack);
        assert!(wants.wants(&over));
        let mut staging = change("2", 1, Word::Wait, Word::NoGo);
        staging.release.environment = "staging".into();
        assert!(!wants.wants(&staging));
        assert!(Wants::default().wants(&staging));
        let pager = Wants { trouble_only: true, ..Wants::default() };
        assert!(pager.wants(&over) && pager.wants(&staging));
        assert!(!pager.wants(&change("2", 1, Word::Wait, Word::Go)));
    }
}
