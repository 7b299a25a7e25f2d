//! The wire form of a comparison. Times are epoch milliseconds, durations seconds, ratios 0 to 1; `null` means "no data".
//! Differences are B less A. Names are a promise: fields are added, never renamed.

use serde::Serialize;

use crate::pages::wire::{Meta, Pattern};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Comparison {
    pub meta: Meta,
    pub service: String,
    pub env: String,
    /// As it is asked for: `duration`, `errors`, `kpi:KEY` and so on.
    pub metric: String,
    pub title: String,
    /// Of what is compared: of values for KPIs and metrics.
    pub unit: String,
    /// How its numbers are written: `seconds`, `ratio`, `rate`, `number`.
    pub form: &'static str,
    /// What both sides are measured by; null when they have nothing in common, and then `a.has` and `b.has` say what they have.
    pub source: Option<&'static str>,
    /// Durations are estimates within the buckets of the app's own histograms.
    pub approximate: bool,
    pub filters: Vec<String>,
    pub sentence: String,
    pub a: Side,
    pub b: Side,
    /// Of the bins that `a.counts` and `b.counts` are of, one more than counts.
    pub edges: Vec<f64>,
    /// Of the table.
    pub quantiles: Vec<Quantile>,
    /// The same for the plot, from low to high.
    pub shift: Vec<Quantile>,
    pub stats: Stats,
    pub explain: Vec<Explained>,
    /// What `explain` adds up to: `mean` in the unit, `selection` and `errors` as shares of requests, `rate` as requests a second.
    pub explains: &'static str,
    /// Everything that can be compared, and beyond what it differs.
    pub measures: Vec<Measure>,
    /// Why there are not more.
    pub measures_note: Option<String>,
    pub patterns: Patterns,
    /// Half the width of the widest bucket a shown quantile lies in, as a part of its middle; null where a bucket is open.
    pub resolution: Option<f64>,
    /// How the intervals are made.
    pub method: &'static str,
    pub known: Known,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Side {
    /// What it is called.
    pub label: String,
    /// `null` is all versions.
    pub version: Option<String>,
    pub flag: Option<Flag>,
    pub from: i64,
    pub to: i64,
    /// Durations; values, of a KPI or a metric.
    pub n: u64,
    pub requests: u64,
    pub errors: u64,
    /// Requests a second while there were any.
    pub rps: Option<f64>,
    /// Start of the first and of the last window with a request.
    pub first: Option<i64>,
    pub last: Option<i64>,
    pub counts: Vec<u64>,
    pub has: Vec<Has>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Flag {
    pub key: String,
    pub variant: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Has {
    pub source: &'static str,
    pub requests: u64,
    pub durations: u64,
}

/// One thing on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Measure {
    /// What `metric` compares by it.
    pub metric: String,
    /// Which quantile, of what has a distribution.
    pub q: Option<f64>,
    /// `requests`, `sessions`, `kpi`, `metric`.
    pub group: &'static str,
    pub title: String,
    pub form: &'static str,
    pub unit: String,
    pub a: Option<f64>,
    pub b: Option<f64>,
    pub diff: Option<f64>,
    /// The interval of the difference; null where there is no bound.
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    /// The difference as a part of A.
    pub rel: Option<f64>,
    /// Requests, sessions or values that it rests on.
    pub n_a: u64,
    pub n_b: u64,
    /// `higher` or `lower`; null where neither is good in itself.
    pub better: Option<&'static str>,
    /// There is enough on both sides.
    pub ok: bool,
    /// The interval has no zero in it.
    pub differs: bool,
    /// `metric` shows how its values are distributed.
    pub distribution: bool,
    /// Why there is no interval.
    pub note: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Quantile {
    pub q: f64,
    pub a: Option<f64>,
    pub b: Option<f64>,
    pub diff: Option<f64>,
    /// The interval of the difference; null where there is no bound.
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    /// As parts of A.
    pub rel: Option<f64>,
    pub rel_lo: Option<f64>,
    pub rel_hi: Option<f64>,
    /// At least ten requests lie beyond it on both sides.
    pub ok: bool,
    /// The interval has no zero in it.
    pub differs: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Stats {
    pub ks: Option<f64>,
    /// The duration at which the distributions lie furthest apart.
    pub ks_at: Option<f64>,
    /// Up to here the distance may be chance; null while there are too few requests.
    pub ks_chance: Option<f64>,
    pub mean_a: Option<f64>,
    pub mean_b: Option<f64>,
    pub errors: Option<Errors>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Errors {
    pub a: f64,
    pub b: f64,
    pub diff: f64,
    pub lo: f64,
    pub hi: f64,
    pub differs: bool,
}

/// One value of a dimension.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Explained {
    /// `route`, `version`, `instance slot of B`, `toggle.KEY`; of a metric `attribute.KEY`.
    pub dim: String,
    pub value: String,
    /// Share of the requests of a side; null where a side has no such thing.
    pub a: Option<f64>,
    pub b: f64,
    pub n_a: Option<u64>,
    pub n_b: u64,
    pub mean_a: Option<f64>,
    pub mean_b: Option<f64>,
    pub p99_a: Option<f64>,
    pub p99_b: Option<f64>,
    pub err_a: Option<f64>,
    pub err_b: Option<f64>,
    /// What it adds to the difference, and what of that comes from its share alone.
    pub adds: f64,
    pub adds_by_share: f64,
    /// As a part of the difference; null when there is hardly one.
    pub part: Option<f64>,
    /// 0 to 1: its size among its dimension.
    pub score: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Patterns {
    pub only_b: Vec<Pattern>,
    pub escalated: Vec<Pattern>,
    pub only_a: Vec<Pattern>,
    /// Why there are none, where they cannot be told.
    pub note: Option<&'static str>,
}

/// What can be chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Known {
    /// Newest first.
    pub versions: Vec<KnownVersion>,
    pub toggles: Vec<KnownToggle>,
    /// Of both sides, whatever the filter, busiest first.
    pub routes: Vec<String>,
    pub namespaces: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct KnownVersion {
    pub version: String,
    pub first_seen: i64,
    pub last_seen: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct KnownToggle {
    pub key: String,
    pub variants: Vec<String>,
}
