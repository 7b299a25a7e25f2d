//! When a request is sent again, as the SDKs do it: identical bytes, the server's hint honoured, a backoff that doubles,
//! and a time after which the records are given up. Pure: time that has passed is an argument.

use std::time::Duration;

use super::Answer;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Java's and Python's exporters stop doubling here.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What became of a request once nobody sends it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged: every record must be found once.
    Acknowledged,
    /// Given up after an attempt without an answer: each record may be found once or not at all.
    Unknown(String),
    /// Every attempt was declined: no record may be found.
    Refused(String),
}

/// The state of one request over its attempts.
#[derive(Clone, Debug)]
pub struct Retry {
    give_up_after: Duration,
    jitter: u64,
    attempts: u32,
    maybe_taken: bool,
}

/// What to do after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the same bytes again after this time.
    Again(Duration),
    /// Stop.
    Done(Outcome),
}

impl Retry {
    /// `jitter` spreads the waits of requests that failed together: any number that differs between them.
    pub fn new(give_up_after: Duration, jitter: u64) -> Self {
        Self { give_up_after, jitter, attempts: 0, maybe_taken: false }
    }

    /// How many attempts have been answered or lost.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Takes the answer to an attempt, `elapsed` after the first attempt began.
    pub fn after(&mut self, answer: Answer, elapsed: Duration) -> Next {
        self.attempts += 1;
        let (retryable, hint, reason) = match answer {
            Answer::Accepted => return Next::Done(Outcome::Acknowledged),
            Answer::Partial { rejected, message } => {
                return Next::Done(Outcome::Unknown(format!("{rejected} records rejected: {message}")));
            }
            Answer::Refused { retryable, hint, maybe_taken, reason } => {
                self.maybe_taken |= maybe_taken;
                (retryable, hint, reason)
            }
            Answer::Lost { reason } => {
                self.maybe_taken = true;
                (true, None, reason)
            }
        };
        let wait = hint.unwrap_or_else(|| self.backoff());
        if retryable && elapsed + wait <= self.give_up_after {
            return Next::Again(wait);
        }
        Next::Done(if self.maybe_taken { Outcome::Unknown(reason) } else { Outcome::Refused(reason) })
    }

    /// 1 s, 2 s, 4 s, 5 s …, each less up to a fifth.
    fn backoff(&self) -> Duration {
        let doubled = BACKOFF_FIRST * 2u32.saturating_pow(self.attempts.saturating_sub(1).min(8));
        let spread = self.jitter.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(self.attempts) % 1_000;
        doubled.min(BACKOFF_MAX).mul_f64(1.0 - spread as f64 / 5_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declined(hint_s: Option<u64>) -> Answer {
        Answer::Refused {
            retryable: true,
            hint: hint_s.map(Duration::from_secs),
            maybe_taken: false,
            reason: "full".to_owned(),
        }
    }

    #[test]
    fn hints_are_honoured_and_backoff_doubles_without_them() {
        let mut retry = Retry::new(Duration::from_secs(60), 0);
        assert_eq!(retry.after(declined(Some(3)), Duration::ZERO), Next::Again(Duration::from_secs(3)));
        assert_eq!(retry.after(declined(None), Duration::from_secs(3)), Next::Again(Duration::from_secs(2)));
        assert_eq!(retry.after(Answer::Accepted, Duration::from_secs(5)), Next::Done(Outcome::Acknowledged));
        assert_eq!(retry.attempts(), 3);
    }

    #[test]
    fn a_request_that_was_only_declined_ends_refused() {
        let mut retry = Retry::new(Duration::from_secs(10), 1);
        assert_eq!(retry.after(declined(Some(12)), Duration::ZERO), Next::Done(Outcome::Refused("full".to_owned())));
    }

    #[test]
    fn one_lost_answer_makes_the_end_unknown() {
        let mut retry = Retry::new(Duration::from_secs(10), 1);
        assert!(matches!(retry.after(Answer::Lost { reason: "reset".to_owned() }, Duration::ZERO), Next::Again(_)));
        let end = retry.after(declined(Some(12)), Duration::from_secs(1));
        assert_eq!(end, Next::Done(Outcome::Unknown("full".to_owned())));
    }

    #[test]
    fn bad_data_is_never_sent_again() {
        let mut retry = Retry::new(Duration::from_secs(10), 1);
        let bad = Answer::Refused { retryable: false, hint: None, maybe_taken: false, reason: "bad".to_owned() };
        assert_eq!(retry.after(bad, Duration::ZERO), Next::Done(Outcome::Refused("bad".to_owned())));
    }
}
