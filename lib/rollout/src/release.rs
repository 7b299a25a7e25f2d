//! A release: a version on its way into a place, beside what, how, and how it ended.

use std::sync::Arc;

/// How a release takes traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A share of the traffic, beside the baseline.
    Canary,
    /// The traffic changed over at one moment.
    BlueGreen,
    /// Instances are replaced one by one.
    Rolling,
    /// No customer sees it.
    Dark,
    /// Nothing ran beside it from the beginning.
    BeforeAfter,
}

/// Why a release is one no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its traffic went back to a version from before it: others got what it lost, somebody said so, or it goes on running without.
    RolledBack,
    /// A later version took its traffic.
    Replaced,
    /// It took all traffic and was watched for a while: others are compared with it now.
    Promoted,
    /// Nothing came from it any more, nobody took over what it had, and nobody said why.
    GoneSilent,
}

/// A release of a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The version that came.
    pub version: Arc<str>,
    /// The version that it is compared with; `None` when there was no other.
    pub baseline: Option<Arc<str>>,
    /// Its first request, in seconds since the epoch.
    pub opened_s: i64,
    /// How it takes traffic, as far as it shows.
    pub strategy: Strategy,
    /// Its share of the traffic of the last minute, 0 to 1; `None` when there was no traffic.
    pub share: Option<f64>,
    /// The largest share that it had.
    pub share_max: f64,
    /// The share that was announced, and since when.
    pub weight: Option<(f64, i64)>,
    /// Only traffic of the team's own reaches it, or copies of requests: customers' figures say nothing of it.
    pub is_internal: bool,
    /// Since when it has all the traffic, in seconds since the epoch.
    pub full_since_s: Option<i64>,
    /// Seconds in which it and its baseline had traffic side by side.
    pub beside_s: i64,
    /// Requests that other versions got after it had all the traffic for a minute.
    pub leaked: u64,
    /// Instances that the baseline had when the release came.
    pub baseline_instances: u32,
    /// When somebody said that it is taken back, in seconds since the epoch; it is over once its traffic has gone.
    pub called_back_s: Option<i64>,
    /// Why it is over, and since when, in seconds since the epoch.
    pub ending: Option<(Ending, i64)>,
    /// Up to when windows were counted for `beside_s` and `leaked`.
    pub(crate) counted_s: i64,
}

impl Release {
    /// Whether it is, or was, a release at a time: an announcement of then is about it.
    pub(crate) fn is_over_since(&self, at_s: i64) -> bool {
        self.ending.is_none_or(|(_, ended_s)| ended_s >= at_s)
    }

    /// Whether it is still to be judged.
    pub fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// Whether the baseline had too little traffic beside it to compare by: then its past stands in.
    pub fn needs_past(&self, limits: &crate::Limits) -> bool {
        self.strategy == Strategy::BeforeAfter || (self.full_since_s.is_some() && self.beside_s < limits.beside_min_s)
    }
}
