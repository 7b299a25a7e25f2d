//! Window arithmetic: fixed windows of event time at four resolutions, aligned to the epoch.

/// Nanoseconds in a second.
pub const NS_PER_S: i64 = 1_000_000_000;

/// The length of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resolution {
    /// One second: the last minutes of requests, errors and durations.
    S1,
    /// Ten seconds: the finest stored resolution of every series.
    S10,
    /// One minute.
    S60,
    /// One hour.
    H1,
}

impl Resolution {
    /// All resolutions, finest first.
    pub const ALL: [Resolution; 4] = [Resolution::S1, Resolution::S10, Resolution::S60, Resolution::H1];

    /// The length in seconds, as the column `resolution_s` gives it.
    pub fn seconds(self) -> i32 {
        match self {
            Resolution::S1 => 1,
            Resolution::S10 => 10,
            Resolution::S60 => 60,
            Resolution::H1 => 3600,
        }
    }

    /// The length in nanoseconds.
    pub fn nanos(self) -> i64 {
        i64::from(self.seconds()) * NS_PER_S
    }

    /// The start of the window that holds `time_ns`. Windows include their start and exclude their end.
    pub fn window_start_ns(self, time_ns: i64) -> i64 {
        time_ns.div_euclid(self.nanos()) * self.nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_align_to_the_epoch_also_before_it() {
        assert_eq!(Resolution::S10.window_start_ns(19 * NS_PER_S), 10 * NS_PER_S);
        assert_eq!(Resolution::S10.window_start_ns(20 * NS_PER_S), 20 * NS_PER_S);
        assert_eq!(Resolution::S10.window_start_ns(-1), -10 * NS_PER_S);
        assert_eq!(Resolution::H1.window_start_ns(3_599 * NS_PER_S), 0);
    }
}
