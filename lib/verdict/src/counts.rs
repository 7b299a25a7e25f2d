//! What a window says of one metric: events over exposure, for the candidate and for the baseline.
//!
//! *Events* are what is counted (failed requests, requests slower than a threshold, orders), *exposure* is what they could have
//! happened in (requests, sessions, seconds that instances ran). Counts add up; that is all the merging there is.

use std::ops::{Add, AddAssign};

/// A window holds no more than this of either: far beyond what one service takes in a window, and small enough that the square of
/// a deviation can be added up for months. A client may claim any number.
pub const WINDOW_MAX: u64 = 1 << 36;

/// Events over exposure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many events there were.
    pub events: u64,
    /// In how many requests, sessions or instance seconds.
    pub exposure: u64,
}

impl Tally {
    /// Events over exposure.
    pub fn new(events: u64, exposure: u64) -> Tally {
        Tally { events, exposure }
    }

    /// Cut to what a window holds. Sums of parts that are cut are the same in any order.
    pub fn capped(self) -> Tally {
        Tally { events: self.events.min(WINDOW_MAX), exposure: self.exposure.min(WINDOW_MAX) }
    }

    /// Events by exposure; `None` without exposure.
    pub fn rate(self) -> Option<f64> {
        (self.exposure > 0).then(|| self.events as f64 / self.exposure as f64)
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            events: self.events.saturating_add(other.events),
            exposure: self.exposure.saturating_add(other.exposure),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        *self = *self + other;
    }
}

/// The tallies of both sides in the same window and stratum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the release that is judged.
    pub candidate: Tally,
    /// Of the release beside it.
    pub baseline: Tally,
}

impl Counts {
    /// What is more than in counts that are known.
    pub(crate) fn beyond(self, known: Counts) -> Counts {
        let side = |side: Tally, known: Tally| Tally {
            events: side.events.saturating_sub(known.events),
            exposure: side.exposure.saturating_sub(known.exposure),
        };
        Counts { candidate: side(self.candidate, known.candidate), baseline: side(self.baseline, known.baseline) }
    }

    /// Both sides.
    pub fn new(candidate: Tally, baseline: Tally) -> Counts {
        Counts { candidate, baseline }
    }

    /// The sides exchanged: for events of which fewer are worse.
    pub fn swapped(self) -> Counts {
        Counts { candidate: self.baseline, baseline: self.candidate }
    }

    /// Both sides cut to what a window holds.
    pub fn capped(self) -> Counts {
        Counts { candidate: self.candidate.capped(), baseline: self.baseline.capped() }
    }

    /// Events of both sides.
    pub fn events(self) -> u64 {
        self.candidate.events.saturating_add(self.baseline.events)
    }

    /// Whether both sides took traffic: only then does a window compare anything.
    pub fn is_paired(self) -> bool {
        self.candidate.exposure > 0 && self.baseline.exposure > 0
    }

    /// The probability that an event is the candidate's when its rate is `ratio` times the baseline's. Both sides must have
    /// exposure.
    pub fn share(self, ratio: f64) -> f64 {
        let candidate = self.candidate.exposure as f64 * ratio;
        candidate / (candidate + self.baseline.exposure as f64)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.candidate += other.candidate;
        self.baseline += other.baseline;
    }
}
