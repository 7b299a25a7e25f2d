//! Whether a body comes fast enough to keep its memory. Alone it may take its time; while others wait for the memory that it
//! holds, a sender that has stalled, or dribbles, is told to come again. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Less than this within the patience is no progress: a sender that dribbles is no better than one that has stalled.
const PROGRESS_BYTES_MIN: usize = 4 << 10;

/// How a body has been coming lately.
#[derive(Debug)]
pub(crate) struct Pace {
    patience: Duration,
    /// When the span that is being looked at began.
    since: Instant,
    /// What has come in it.
    bytes: usize,
}

impl Pace {
    pub(crate) fn new(patience: Duration, now: Instant) -> Self {
        Pace { patience, since: now, bytes: 0 }
    }

    /// When to look at it again, at the latest.
    pub(crate) fn look_at(&self) -> Instant {
        self.since + self.patience
    }

    /// Bytes have come.
    pub(crate) fn came(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// The body waited for us, not we for it: what came before says nothing.
    pub(crate) fn begin_again(&mut self, now: Instant) {
        (self.since, self.bytes) = (now, 0);
    }

    /// Whether to give the body up, now that `others_wait` or not.
    pub(crate) fn is_over(&mut self, now: Instant, others_wait: impl FnOnce() -> bool) -> bool {
        if now < self.look_at() {
            return false;
        }
        let is_slow = self.bytes < PROGRESS_BYTES_MIN;
        self.begin_again(now);
        is_slow && others_wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);

    fn check(came: &[usize], others_wait: bool, expected: bool) {
        let begun = Instant::now();
        let mut pace = Pace::new(PATIENCE, begun);
        for bytes in came {
            pace.came(*bytes);
            assert!(!pace.is_over(begun + PATIENCE / 2, || true), "not before its time");
        }
        assert_eq!(pace.is_over(begun + PATIENCE, || others_wait), expected, "{came:?} {others_wait}");
    }

    #[test]
    fn only_a_slow_body_that_others_wait_for_is_given_up() {
        check(&[], true, true);
        check(&[], false, false);
        check(&[1, 1, 1], true, true);
        check(&[PROGRESS_BYTES_MIN], true, false);
        check(&[PROGRESS_BYTES_MIN / 2; 2], true, false);
    }

    #[test]
    fn what_came_long_ago_does_not_count() {
        let begun = Instant::now();
        let mut pace = Pace::new(PATIENCE, begun);
        pace.came(1 << 20);
        assert!(!pace.is_over(begun + PATIENCE, || true));
        assert!(pace.is_over(begun + 2 * PATIENCE, || true));
    }
}
