//! What is remembered of a version: when it was seen, and its requests of the last minutes.

use std::collections::BTreeMap;

use crate::notice::{Notice, Role};

/// Length of the windows of traffic, in seconds.
pub const WINDOW_S: i64 = 10;
/// Requests of so many seconds are remembered.
pub(crate) const KEPT_S: i64 = 600;

/// A version of a place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Version {
    /// Its first record, in seconds since the epoch.
    pub first_seen_s: i64,
    /// Its first and its newest window with a request.
    pub traffic_s: Option<(i64, i64)>,
    /// Whether it was decided what it is: there from the start, or a release.
    pub is_settled: bool,
    /// Others were compared with it once.
    pub was_stable: bool,
    /// When its release ended by a rollback or in silence, and the share of traffic beyond which it has come again.
    pub rolled_back: Option<(i64, f64)>,
    /// Instances of now.
    pub instances: u32,
    /// What was announced.
    pub role: Option<Role>,
    pub weight: Option<(f64, i64)>,
    pub previous: Option<std::sync::Arc<str>>,
    pub is_internal: bool,
    /// When it was said to come, in seconds since the epoch.
    pub announced_s: Option<i64>,
    /// Its newest record of any kind, in seconds since the epoch; not stored, the next look tells it again.
    pub seen_s: i64,
    /// Requests by window; not stored, the next look tells them again.
    pub windows: BTreeMap<i64, u64>,
}

impl Version {
    pub fn new(first_seen_s: i64) -> Version {
        Version { first_seen_s, seen_s: i64::MIN, ..Version::default() }
    }

    /// Takes note of requests; windows only grow.
    pub fn saw(&mut self, windows: &[(i64, u64)]) {
        for (start_s, requests) in windows.iter().filter(|(_, requests)| *requests > 0) {
            let known = self.windows.entry(*start_s).or_default();
            *known = (*known).max(*requests);
            let (first, last) = self.traffic_s.unwrap_or((*start_s, *start_s));
            self.traffic_s = Some((first.min(*start_s), last.max(*start_s)));
        }
    }

    pub fn forget_before(&mut self, before_s: i64) {
        self.windows = self.windows.split_off(&before_s);
    }

    /// Requests in windows that begin in a range.
    pub fn requests(&self, from_s: i64, to_s: i64) -> u64 {
        if from_s >= to_s {
            return 0;
        }
        self.windows.range(from_s..to_s).fold(0, |sum, (_, requests)| u64::saturating_add(sum, *requests))
    }

    /// Whether it has taken a request since.
    pub fn has_traffic_since(&self, from_s: i64) -> bool {
        self.traffic_s.is_some_and(|(_, last)| last >= from_s)
    }

    /// Whether it has sent anything since: a request, or any other record.
    pub fn runs_since(&self, from_s: i64) -> bool {
        self.seen_s >= from_s || self.has_traffic_since(from_s)
    }

    /// When the version came again after it was taken back, if it has by the requests of the last minute, `all` with those of
    /// other versions.
    pub fn came_again(&self, from_s: i64, until_s: i64, all: u64) -> Option<i64> {
        let (ended_s, beyond) = self.rolled_back?;
        let own = self.requests(from_s.max(ended_s), until_s);
        if own == 0 || own as f64 <= beyond * all as f64 {
            return None;
        }
        self.windows.range(ended_s..).next().map(|(start_s, _)| *start_s)
    }

    pub fn told(&mut self, notice: &Notice) {
        self.role = notice.role.or(self.role);
        self.weight = notice.weight.map(|weight| (weight, notice.at_s)).or(self.weight);
        self.is_internal |= notice.is_internal || matches!(notice.role, Some(Role::Dark | Role::Shadow));
        if notice.previous.is_some() {
            self.previous.clone_from(&notice.previous);
        }
    }
}
