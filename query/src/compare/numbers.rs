//! How the durations and errors of two sides differ, with intervals that hold at every look. Pure.
//!
//! Differences are B less A. Intervals are those of `lib/verdict` (Howard and Ramdas 2022 for quantiles and for the whole
//! distribution, at all quantiles at once; a beta-binomial mixture for errors): they hold however often somebody looks while
//! requests come in, and are drawn to the edges of the buckets. Requests count as independent.

use shipwake_model::sketch::{HdrCells, Sketch};
use shipwake_verdict::{boundary, quantile};

use super::sides::Total;

/// The chance that an interval is ever wrong.
pub(crate) const ALPHA: f64 = 0.05;
/// Quantiles of the table.
pub(crate) const TABLE: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
/// Quantiles of the plot.
pub(crate) const SHIFT: [f64; 25] = [
    0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9,
    0.95, 0.975, 0.99, 0.995, 0.999,
];
/// Requests beyond a quantile on either side, below which it says little.
const BEYOND_MIN: f64 = 10.0;
/// Requests at which intervals of proportions are tightest: what a canary has within minutes.
const TIGHTEST_AT: f64 = 1_000.0;
/// Requests from which on a band around a distribution is known, and its leading constant.
const BAND_FROM: f64 = 100.0;
const BAND_CONSTANT: f64 = 0.85;

/// A quantile on both sides, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Quantile {
    pub q: f64,
    pub a: Option<f64>,
    pub b: Option<f64>,
    pub diff: Option<f64>,
    /// The interval of the difference; `None` where there is no bound yet.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// The same as parts of A.
    pub relative: Option<f64>,
    pub relative_low: Option<f64>,
    pub relative_high: Option<f64>,
    /// Enough requests lie beyond it on both sides.
    pub enough: bool,
}

impl Quantile {
    /// Whether the difference is beyond chance.
    pub fn differs(&self) -> bool {
        self.low.is_some_and(|low| low > 0.0) || self.high.is_some_and(|high| high < 0.0)
    }
}

/// How far two distributions lie apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Distance {
    /// The largest difference of the shares of requests up to a duration (Kolmogorov and Smirnov).
    pub ks: f64,
    /// Where that is, in seconds.
    pub at_s: f64,
    /// Up to here it may be chance; `None` while there are too few requests.
    pub chance: Option<f64>,
}

/// Error ratios, with the interval of their difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Errors {
    pub a: f64,
    pub b: f64,
    pub low: f64,
    pub high: f64,
}

impl Errors {
    /// B less A.
    pub fn diff(&self) -> f64 {
        self.b - self.a
    }

    /// Whether the difference is beyond chance.
    pub fn differs(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// A quantile of both sides. `unit_s` is what a unit of the histograms is in seconds.
pub(crate) fn quantile(a: &Sketch, b: &Sketch, q: f64, unit_s: f64) -> Quantile {
    let value = |of: &Sketch| of.quantile(q).map(|(value, _)| value * unit_s);
    let beyond = |of: &Sketch| of.count() as f64 * q.min(1.0 - q) >= BEYOND_MIN - 1e-9;
    let (value_a, value_b) = (value(a), value(b));
    let mut found = Quantile { q, a: value_a, b: value_b, enough: beyond(a) && beyond(b), ..Quantile::default() };
    found.diff = value_a.zip(value_b).map(|(a, b)| b - a);
    // A quantile of zero has no ratio, and the engine gives none then: asked the other way round, the interval is the negative.
    if let Some(known) = quantile::difference(b, a, q, unit_s, ALPHA, 1.0) {
        (found.low, found.high) = (known.low_s, known.high_s);
        found.relative = Some(known.relative);
        (found.relative_low, found.relative_high) = (known.relative_low, known.relative_high);
    } else if let Some(known) = quantile::difference(a, b, q, unit_s, ALPHA, 1.0) {
        (found.low, found.high) = (known.high_s.map(|high| -high), known.low_s.map(|low| -low));
    }
    found
}

/// The distance of two distributions.
pub(crate) fn distance(a: &HdrCells, b: &HdrCells) -> Option<Distance> {
    let (n_a, n_b) = (a.count() as f64, b.count() as f64);
    if n_a == 0.0 || n_b == 0.0 {
        return None;
    }
    let mut steps: Vec<(u64, f64)> = a.iter().map(|(_, high, count)| (high, count as f64 / n_a)).collect();
    steps.extend(b.iter().map(|(_, high, count)| (high, -(count as f64) / n_b)));
    steps.sort_by_key(|(high, _)| *high);
    let mut found = Distance::default();
    let mut apart = 0.0f64;
    for (at, (high, step)) in steps.iter().enumerate() {
        apart += step;
        let is_last_of_edge = steps.get(at + 1).is_none_or(|(next, _)| next != high);
        if is_last_of_edge && apart.abs() > found.ks {
            (found.ks, found.at_s) = (apart.abs().min(1.0), *high as f64 / 1e6);
        }
    }
    let band = |n: f64| boundary::distribution_band(n, ALPHA / 2.0, BAND_FROM, BAND_CONSTANT);
    found.chance = Some(band(n_a) + band(n_b)).filter(|chance| chance.is_finite());
    Some(found)
}

/// The error ratios of both sides; `None` where one has no requests.
pub(crate) fn errors(a: &Total, b: &Total) -> Option<Errors> {
    proportion((a.errors, a.requests), (b.errors, b.requests))
}

/// Shares of both sides, of cases and of how many; `None` where a side has none.
pub(crate) fn proportion(a: (u64, u64), b: (u64, u64)) -> Option<Errors> {
    if a.1 == 0 || b.1 == 0 {
        return None;
    }
    let interval = |(cases, n): (u64, u64)| boundary::proportion_interval(cases.min(n), n, ALPHA / 2.0, TIGHTEST_AT);
    let ratio = |(cases, n): (u64, u64)| cases as f64 / n as f64;
    let ((a_low, a_high), (b_low, b_high)) = (interval(a), interval(b));
    Some(Errors { a: ratio(a), b: ratio(b), low: b_low - a_high, high: b_high - a_low })
}

/// The mean in seconds, where it is known.
pub(crate) fn mean_s(sketch: &Sketch, unit_s: f64) -> Option<f64> {
    sum_s(sketch, unit_s).filter(|_| sketch.count() > 0).map(|sum| sum / sketch.count() as f64)
}

/// The sum in seconds, where it is known.
pub(crate) fn sum_s(sketch: &Sketch, unit_s: f64) -> Option<f64> {
    match sketch {
        Sketch::Hdr(cells) => Some(cells.sum() as f64 * unit_s),
        Sketch::Exponential(cells) => cells.sum.map(|sum| sum * unit_s),
        Sketch::Explicit(cells) => cells.sum.map(|sum| sum * unit_s),
        Sketch::Distinct(_) => None,
    }
}

/// How far a shown quantile may be from the truth because of its bucket: half the bucket's width as a part of its middle, the
/// widest that there is. `None` where a bucket has no end.
pub(crate) fn resolution(sketches: [&Sketch; 2]) -> Option<f64> {
    let mut widest = 0.0f64;
    for sketch in sketches {
        for q in TABLE {
            let bounds = sketch.quantile_bounds(q)?;
            let (low, high) = bounds.low.zip(bounds.high)?;
            if low + high > 0.0 {
                widest = widest.max((high - low) / (high + low));
            }
        }
    }
    Some(widest)
}
