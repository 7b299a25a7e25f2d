//! How a receiver does: failures in a row, and until when it is left alone. Kept over restarts, so that a receiver that asked
//! for a pause gets it.

/// Failures in a row after which a receiver is left alone for a while, and then tried with one notification.
pub const FAILURES_TO_HOLD: u32 = 3;
/// The longest pause that a receiver may ask for, ms. Beyond it the answer is a mistake.
pub const PAUSE_MS_MAX: i64 = 24 * 3_600_000;

/// How a receiver does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Failed attempts since the last one that went through; being told to slow down is none.
    pub failures: u32,
    /// Since when nothing goes through, ms.
    pub failing_since_ms: Option<i64>,
    /// When the pause was decided, ms.
    pub held_ms: i64,
    /// No attempt before, ms.
    pub hold_until_ms: i64,
    /// The address at which it said that it is gone for good.
    pub gone: Option<u64>,
    /// When a notification last went through, ms.
    pub delivered_ms: Option<i64>,
}

impl Health {
    /// Whether notifications for it have to wait for it to recover.
    pub fn is_failing(&self, address: u64) -> bool {
        self.failing_since_ms.is_some() || self.is_gone(address)
    }

    /// Whether it said at this address that it is gone for good.
    pub fn is_gone(&self, address: u64) -> bool {
        self.gone == Some(address)
    }

    /// Nothing went through now. If nothing has for a while, that is since then; a clock that went back must not make it later.
    pub fn fails(&mut self, now_ms: i64) {
        self.failing_since_ms = Some(self.failing_since_ms.map_or(now_ms, |since_ms| since_ms.min(now_ms)));
    }

    /// No attempt for so long. A longer pause that is under way stays; one of a clock that went back does not.
    pub fn hold(&mut self, now_ms: i64, pause_ms: i64) {
        let until_ms = now_ms.saturating_add(pause_ms.clamp(0, PAUSE_MS_MAX));
        if until_ms > self.hold_until_ms || now_ms < self.held_ms {
            (self.held_ms, self.hold_until_ms) = (now_ms, until_ms);
        }
    }

    /// When it may be tried. A clock that went back must not make a pause longer than it was meant to be.
    pub fn ready_ms(&self, now_ms: i64) -> i64 {
        if now_ms < self.held_ms { now_ms } else { self.hold_until_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_and_a_clock_that_goes_back_ends_it_too() {
        let mut health = Health::default();
        health.hold(1_000_000, 30_000);
        health.hold(1_000_000, 10_000);
        assert_eq!(health.ready_ms(1_000_001), 1_030_000, "the longer one counts");
        assert_eq!(health.ready_ms(500), 500);
        health.hold(500, 5_000);
        assert_eq!(health.ready_ms(501), 5_500, "a pause after that is kept as well");
        health.fails(2_000);
        health.fails(9_000);
        assert_eq!(health.failing_since_ms, Some(2_000));
        health.fails(400);
        assert_eq!(health.failing_since_ms, Some(400));
        health.hold(2_000_000, i64::MAX);
        assert_eq!(health.hold_until_ms, 2_000_000 + PAUSE_MS_MAX);
    }
}
