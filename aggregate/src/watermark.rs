//! Event time: which time a record counts at, and how far a shard's event time has come.
//!
//! Pure; the receive time stands in the journal's header and "now" is an argument, so a replay decides the same. No single
//! bad clock can drag the watermark: no event can have happened after it was received, so the receive time bounds what a
//! record may contribute.

use shipwake_model::HdrCells;
use shipwake_model::Resolution;
use shipwake_model::window::NS_PER_S;

/// Times further ahead of the receive time are taken for a wrong clock.
const FUTURE_NS: i64 = 300 * NS_PER_S;
/// Times further behind are stored as rows but not folded into windows, whose number would otherwise have no bound.
const TOO_OLD_NS: i64 = 24 * 3600 * NS_PER_S;
/// The skew follows what senders do: SDKs hold records for up to some seconds before they export.
const SKEW_MIN_NS: i64 = 2 * NS_PER_S;
const SKEW_MAX_NS: i64 = 60 * NS_PER_S;
/// Requests after which the skew is set anew.
const SKEW_SAMPLE: u64 = 1024;
/// Without data for so long a shard is idle: its watermark follows the clock, so that its windows close.
const IDLE_NS: i64 = 5 * NS_PER_S;

/// Where in time a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The time of the row and of its windows, ns.
    pub time_ns: i64,
    /// What the sender said, if that was too far ahead to be believed.
    pub original: Option<u64>,
    /// Whether windows take it; rows always do.
    pub folds: bool,
}

/// Places a record: its own time, else when it was observed, else when it was received.
#[inline]
pub fn place(time: u64, observed: u64, received_ns: i64) -> EventTime {
    let stated = if time != 0 { time } else { observed };
    if stated == 0 {
        return EventTime { time_ns: received_ns, original: None, folds: true };
    }
    match i64::try_from(stated) {
        Ok(time_ns) if time_ns <= received_ns.saturating_add(FUTURE_NS) => {
            EventTime { time_ns, original: None, folds: time_ns >= oldest_ns(received_ns) }
        }
        _ => EventTime { time_ns: received_ns, original: Some(stated), folds: true },
    }
}

/// The oldest time that windows take.
pub fn oldest_ns(received_ns: i64) -> i64 {
    received_ns.saturating_sub(TOO_OLD_NS)
}

/// How far event time has come in a shard.
#[derive(Clone, Debug)]
pub struct Watermark {
    newest_ns: i64,
    watermark_ns: i64,
    skew_ns: i64,
    lateness_ns: i64,
    /// How far requests lie behind the newest event, in milliseconds: this sample and the one before.
    behind: [HdrCells; 2],
}

impl Watermark {
    /// Before the first record. `lateness_ns` is how long after the watermark a window still counts as open.
    pub fn new(lateness_ns: i64) -> Self {
        Watermark {
            newest_ns: i64::MIN,
            watermark_ns: i64::MIN,
            skew_ns: SKEW_MIN_NS,
            lateness_ns,
            behind: [HdrCells::new(), HdrCells::new()],
        }
    }

    /// Goes on from committed values.
    pub fn restore(&mut self, newest_ns: i64, watermark_ns: i64, skew_ns: i64) {
        self.newest_ns = newest_ns;
        self.watermark_ns = watermark_ns;
        self.skew_ns = skew_ns.clamp(SKEW_MIN_NS, SKEW_MAX_NS);
    }

    /// Whether a record of this time comes after its ten-second window was final.
    #[inline]
    pub fn is_late(&self, time_ns: i64) -> bool {
        self.is_final(Resolution::S10.window_start_ns(time_ns), Resolution::S10)
    }

    /// Whether the watermark has passed the window.
    #[inline]
    pub fn is_final(&self, window_start_ns: i64, resolution: Resolution) -> bool {
        window_start_ns.saturating_add(resolution.nanos()).saturating_add(self.lateness_ns) <= self.watermark_ns
    }

    /// Takes note of a request whose events lie between `oldest_ns` and `newest_ns`.
    pub fn advance(&mut self, oldest_ns: i64, newest_ns: i64, received_ns: i64) {
        self.newest_ns = self.newest_ns.max(newest_ns.min(received_ns));
        // A past that is brought in afterwards does not tell how long senders hold what is new: no skew would have waited for it, and
        // what is new must not wait because of it.
        let is_new = newest_ns.saturating_add(SKEW_MAX_NS).saturating_add(self.lateness_ns) > received_ns;
        if is_new {
            let behind_ns = self.newest_ns.saturating_sub(oldest_ns).clamp(0, SKEW_MAX_NS);
            self.behind[0].record((behind_ns / 1_000_000) as u64);
            if self.behind[0].count() >= SKEW_SAMPLE {
                self.set_skew();
            }
        }
        self.watermark_ns = self.watermark_ns.max(self.newest_ns.saturating_sub(self.skew_ns));
    }

    /// Lets the watermark of an idle shard follow the clock. `idle_ns`: how long ago the last record was received.
    pub fn tick(&mut self, now_ns: i64, idle_ns: i64) {
        if idle_ns >= IDLE_NS && self.watermark_ns != i64::MIN {
            self.watermark_ns = self.watermark_ns.max(now_ns.saturating_sub(IDLE_NS).saturating_sub(self.skew_ns));
        }
    }

    /// The watermark in ns; `i64::MIN` before the first record.
    pub fn watermark_ns(&self) -> i64 {
        self.watermark_ns
    }

    /// The newest event time that was plausible, in ns; `i64::MIN` before the first record.
    pub fn newest_ns(&self) -> i64 {
        self.newest_ns
    }

    /// How far the watermark stays behind the newest event, ns.
    pub fn skew_ns(&self) -> i64 {
        self.skew_ns
    }

    /// 99.9 % of the requests of the last two samples lie within the skew.
    fn set_skew(&mut self) {
        let mut both = self.behind[0].clone();
        both.merge(&self.behind[1]);
        let behind_ms = both.quantile(0.999).unwrap_or(0) as i64;
        self.skew_ns = (behind_ms * 1_000_000).clamp(SKEW_MIN_NS, SKEW_MAX_NS);
        self.behind.swap(0, 1);
        self.behind[0] = HdrCells::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000 * NS_PER_S;

    #[test]
    fn times_are_believed_within_reason() {
        let at = |time: i64| EventTime { time_ns: time, original: None, folds: true };
        assert_eq!(place(0, 0, NOW), at(NOW));
        assert_eq!(place(0, 77, 77), at(77));
        assert_eq!(place((NOW - NS_PER_S) as u64, 5, NOW), at(NOW - NS_PER_S));
        assert_eq!(place((NOW + FUTURE_NS) as u64, 0, NOW), at(NOW + FUTURE_NS));
        let future = (NOW + FUTURE_NS) as u64 + 1;
        assert_eq!(place(future, 0, NOW), EventTime { time_ns: NOW, original: Some(future), folds: true });
        assert_eq!(place(u64::MAX, 0, NOW), EventTime { time_ns: NOW, original: Some(u64::MAX), folds: true });
        assert_eq!(place(1, 0, NOW), EventTime { time_ns: 1, original: None, folds: false });
    }

    #[test]
    fn one_bad_clock_does_not_drag_the_watermark() {
        let mut watermark = Watermark::new(60 * NS_PER_S);
        watermark.advance(NOW, NOW, NOW);
        watermark.advance(NOW + 299 * NS_PER_S, NOW + 299 * NS_PER_S, NOW);
        assert_eq!(watermark.newest_ns(), NOW);
        assert_eq!(watermark.watermark_ns(), NOW - SKEW_MIN_NS);
        assert!(!watermark.is_late(NOW - 60 * NS_PER_S));
        assert!(watermark.is_late(NOW - 80 * NS_PER_S));
    }

    #[test]
    fn a_past_that_is_brought_in_keeps_nobody_waiting() {
        let mut watermark = Watermark::new(60 * NS_PER_S);
        for n in 0..4 * SKEW_SAMPLE as i64 {
            let newest = NOW - 3_600 * NS_PER_S + n * NS_PER_S / 2;
            watermark.advance(newest - 20 * NS_PER_S, newest, NOW);
        }
        assert_eq!(watermark.skew_ns(), SKEW_MIN_NS);
        // Event time goes on with it all the same.
        assert!(watermark.watermark_ns() > NOW - 1_600 * NS_PER_S);
    }

    #[test]
    fn the_skew_follows_what_senders_do() {
        let mut watermark = Watermark::new(0);
        for n in 0..SKEW_SAMPLE as i64 {
            let received = NOW + n * 1_000_000;
            watermark.advance(received - 20 * NS_PER_S, received, received);
        }
        assert!((20 * NS_PER_S..21 * NS_PER_S).contains(&watermark.skew_ns()), "{}", watermark.skew_ns());
        let before = watermark.watermark_ns();
        watermark.advance(NOW, NOW, NOW);
        assert!(watermark.watermark_ns() >= before, "the watermark never goes back");
    }

    #[test]
    fn an_idle_shard_closes_its_windows() {
        let mut watermark = Watermark::new(0);
        watermark.tick(NOW, IDLE_NS);
        assert_eq!(watermark.watermark_ns(), i64::MIN);
        watermark.advance(NOW, NOW, NOW);
        watermark.tick(NOW + 2 * IDLE_NS, IDLE_NS);
        assert_eq!(watermark.watermark_ns(), NOW + IDLE_NS - SKEW_MIN_NS);
    }
}
