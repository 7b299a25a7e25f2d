//! A stored window, and which of two resolutions is used. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use shipwake_model::pattern::Level;
use shipwake_model::{HdrCells, ReleaseId, Source};
use shipwake_store::{MeasureCell, MeasureKey};

/// What the table `windows` has of one series in one window.
#[derive(Clone, Debug)]
pub struct StoredWindow {
    /// Of which release.
    pub release: Arc<ReleaseId>,
    /// Where it starts, in seconds since the epoch.
    pub start_s: i64,
    /// How long it is, in seconds: 1, 10 or 60.
    pub length_s: i64,
    /// What is in it.
    pub what: Stored,
}

/// What is in a window.
#[derive(Clone, Debug)]
pub enum Stored {
    /// Requests, errors, durations, or any of them.
    Health {
        /// What they were derived from.
        source: Source,
        /// The route, or empty.
        route: Arc<str>,
        /// The replicate slot.
        slot: u8,
        /// Requests.
        requests: u64,
        /// Of these, errors.
        errors: u64,
        /// Durations, in microseconds.
        duration: HdrCells,
    },
    /// A KPI, or usage.
    Measure {
        /// What it is.
        key: Arc<MeasureKey>,
        /// What was counted; its time is the window's.
        cell: MeasureCell,
    },
    /// Lines of a log pattern.
    Lines {
        /// The pattern.
        id: u64,
        /// Its text.
        template: Arc<str>,
        /// Their level.
        level: Level,
        /// The replicate slot.
        slot: u8,
        /// How many; none when it is only known that there were some.
        count: u64,
        /// Event time of the first, ns.
        first_ns: i64,
        /// Event time of the last, ns.
        last_ns: i64,
    },
}

impl StoredWindow {
    fn weight(&self) -> u64 {
        match &self.what {
            Stored::Health { requests, errors, duration, .. } => requests + errors + duration.count(),
            Stored::Measure { .. } | Stored::Lines { .. } => 0,
        }
    }
}

/// Of requests, errors and durations the windows of a second where they are all there, else those of ten seconds; whatever else there
/// is, as it is. Ten seconds of a release come from one of the two, so nothing counts twice. Those that are not over at `until_s`, up to
/// where windows were read, are told by their seconds.
pub fn finest(windows: Vec<StoredWindow>, until_s: i64) -> Vec<StoredWindow> {
    let place = |window: &StoredWindow| (window.release.clone(), window.start_s.div_euclid(10));
    let mut sums: HashMap<(Arc<ReleaseId>, i64), [u64; 2]> = HashMap::new();
    let is_health = |window: &StoredWindow| matches!(window.what, Stored::Health { .. });
    for window in windows.iter().filter(|window| is_health(window)) {
        let sums = sums.entry(place(window)).or_default();
        sums[usize::from(window.length_s == 1)] += window.weight();
    }
    let is_kept = |window: &StoredWindow| {
        let [tens, ones] = sums.get(&place(window)).copied().unwrap_or_default();
        let is_growing = window.start_s.div_euclid(10) * 10 + 10 > until_s;
        !is_health(window) || (window.length_s == 1) == (ones > 0 && (ones >= tens || is_growing))
    };
    windows.into_iter().filter(is_kept).collect()
}
