//! The time, as a value that tests and the demo can run faster. The only place of this crate that asks the system for it.
//!
//! Ages and pauses count by a clock that no setting of the time of day moves; it starts at the time of day.

use std::time::{Duration, Instant, SystemTime};

use crate::time::system_ms;

/// Tells the time. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start_ms: i64,
    started: Instant,
    /// Milliseconds that pass in one.
    speed: u32,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::faster(1)
    }
}

impl Clock {
    /// A clock that runs so many times as fast as the system's.
    pub fn faster(speed: u32) -> Self {
        Clock { start_ms: system_ms(SystemTime::now()), started: Instant::now(), speed: speed.max(1) }
    }

    /// Milliseconds since the epoch; never goes back, and does not jump when the time of day is set.
    pub fn now_ms(&self) -> i64 {
        let passed_ms = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(passed_ms.saturating_mul(self.speed.into()) / 1_000)
    }

    /// The time of day, as the other end knows it.
    pub fn time_of_day_ms(&self) -> i64 {
        if self.speed == 1 { system_ms(SystemTime::now()) } else { self.now_ms() }
    }

    /// How long it really takes until so much has passed.
    pub fn really(&self, ms: i64) -> Duration {
        let micros = u64::try_from(ms.max(0)).unwrap_or(0).saturating_mul(1_000) / u64::from(self.speed);
        Duration::from_micros(micros)
    }
}
