//! The log of attempts: what was tried, when, and what came back. Bounded; the newest stay.

use std::collections::VecDeque;
use std::sync::Arc;

use shipwake_model::ReleaseId;

use crate::outbox::row::RowId;

/// Attempts that are kept.
pub const ATTEMPTS_KEPT: usize = 200;
/// Of an answer.
pub const ANSWER_BYTES_MAX: usize = 200;

/// What an attempt came to, as the receiver's contract says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken.
    Delivered,
    /// Told to slow down, for so long if it says so (ms).
    Busy(Option<i64>),
    /// Did not work, and may later; not before so long if it says so (ms).
    Failed(Option<i64>),
    /// The receiver will never take what is in it.
    Rejected,
    /// The receiver will never take anything any more at this address.
    Gone,
}

/// What came back from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it came to.
    pub outcome: Outcome,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// First bytes of the answer, or what went wrong before there was one. Without secrets.
    pub text: String,
    /// How long it took, ms.
    pub took_ms: u32,
}

/// How an attempt is counted and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Result {
    /// Taken by the receiver.
    Delivered,
    /// Did not work; repeated.
    Failed,
    /// Told to slow down; repeated.
    Busy,
    /// Never taken for what is in it.
    Rejected,
    /// The receiver is gone for good at this address.
    Gone,
    /// Became part of another message while the receiver could not be reached.
    Merged,
    /// Told to the fallback.
    HandedOn,
    /// Too old to be delivered.
    Expired,
    /// No room, or the receiver is configured no more.
    Dropped,
}

impl Result {
    /// All of them, as metrics and files spell them.
    pub const WORDS: [(&str, Result); 9] = [
        ("delivered", Result::Delivered),
        ("failed", Result::Failed),
        ("busy", Result::Busy),
        ("rejected", Result::Rejected),
        ("gone", Result::Gone),
        ("merged", Result::Merged),
        ("handed_on", Result::HandedOn),
        ("expired", Result::Expired),
        ("dropped", Result::Dropped),
    ];

    /// As metrics spell it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize].0
    }
}

/// One attempt, or the end of a row without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended, ms.
    pub at_ms: i64,
    /// The receiver.
    pub receiver: Arc<str>,
    /// The row.
    pub id: RowId,
    /// The release that it tells of, and the number of the newest change of it; none where it tells of no release.
    pub told: Option<(ReleaseId, u64)>,
    /// What it tells, in a few words.
    pub about: String,
    /// Counts the attempts of the row from 1; 0 when it ended without one.
    pub number: u32,
    /// What it came to.
    pub result: Result,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// First bytes of the answer, or what went wrong before there was one.
    pub answer: String,
    /// How long it took, ms.
    pub took_ms: u32,
}

/// The newest attempts, and how far they are recorded elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// The newest ones, oldest first.
    pub newest: VecDeque<Arc<Attempt>>,
    /// How many there ever were: the number of the last of [`Attempts::newest`].
    pub total: u64,
    /// The number of the last one that is recorded where all of them are kept.
    pub recorded: u64,
}

impl Attempts {
    /// Adds one; the oldest makes room.
    pub fn push(&mut self, mut attempt: Attempt) {
        attempt.answer = printable(&attempt.answer);
        while self.newest.len() >= ATTEMPTS_KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back(Arc::new(attempt));
        self.total += 1;
    }

    /// Those after the one with a number, oldest first, and how many of them are not kept any more.
    pub fn after(&self, number: u64) -> (u64, Vec<Arc<Attempt>>) {
        let wanted = self.total.saturating_sub(number);
        let kept = self.newest.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let first = self.newest.len() - kept;
        (wanted - kept as u64, self.newest.range(first..).cloned().collect())
    }
}

/// An answer as one line of bounded length, without control characters.
fn printable(text: &str) -> String {
    let mut line: String = text.chars().take(ANSWER_BYTES_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    crate::change::cut(&mut line, ANSWER_BYTES_MAX);
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_stand_at_their_places() {
        for (word, result) in Result::WORDS {
            assert_eq!(result.as_str(), word);
        }
    }

    #[test]
    fn what_is_not_recorded_yet_is_given_and_what_is_gone_is_counted() {
        let mut attempts = Attempts::default();
        for number in 1..=ATTEMPTS_KEPT as u32 + 50 {
            attempts.push(Attempt {
                at_ms: 0,
                receiver: "chat".into(),
                id: RowId([0; 16]),
                told: None,
                about: String::new(),
                number,
                result: Result::Failed,
                status: None,
                answer: String::new(),
                took_ms: 0,
            });
        }
        let after = |number| {
            let (gone, kept) = attempts.after(number);
            (gone, kept.len(), kept.first().map(|attempt| attempt.number))
        };
        assert_eq!(after(0), (50, 200, Some(51)));
        assert_eq!(after(50), (0, 200, Some(51)));
        assert_eq!(after(248), (0, 2, Some(249)));
        assert_eq!(after(250), (0, 0, None));
        assert_eq!(after(999), (0, 0, None), "a number that was never given");
    }

    #[test]
    fn an_answer_is_kept_as_a_short_line() {
        assert_eq!(printable("no_service\r\n\u{1b}[31m"), "no_service   [31m");
        assert!(printable(&"ä".repeat(10_000)).len() <= ANSWER_BYTES_MAX);
    }
}
