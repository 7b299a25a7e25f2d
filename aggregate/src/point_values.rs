//! The values of a metric point as columns and histograms, and what makes a point unusable.
//!
//! The rules and their words are those by which `ingest` answers the sender; they are applied again here, because the bytes
//! in the journal are the sender's, and because a Collector may have written them without asking us.

use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::Sketch;
use shipwake_model::sketch::{Buckets, Explicit, Exponential};
use shipwake_otlp::{ExponentialHistogramPoint, HistogramPoint, Point};

use crate::points::PointValues;

/// Sets of bounds that are shared between points; a client has a handful.
const SHARED_BOUNDS_MAX: usize = 1_024;
/// More buckets than any SDK makes: such a histogram is stored without its buckets.
const BUCKETS_MAX: usize = 4_096;
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// Why a point cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The word for counters.
    pub reason: &'static str,
    /// What exactly is wrong.
    pub detail: &'static str,
}

/// Bounds of explicit histograms, each list kept once.
#[derive(Debug, Default)]
pub struct SharedBounds {
    lists: HashMap<u64, Arc<[f64]>, ahash::RandomState>,
}

impl SharedBounds {
    fn share(&mut self, bounds: Vec<f64>) -> Arc<[f64]> {
        let hash = bounds
            .iter()
            .fold(0u64, |hash, bound| (hash ^ bound.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23));
        match self.lists.get(&hash) {
            Some(known) if **known == *bounds => known.clone(),
            _ => {
                let shared: Arc<[f64]> = bounds.into();
                if self.lists.len() < SHARED_BOUNDS_MAX {
                    self.lists.insert(hash, shared.clone());
                }
                shared
            }
        }
    }
}

/// The values of a point, or what is wrong with it. A point that only says that there is no value has no values.
pub fn values(point: &Point<'_>, bounds: &mut SharedBounds) -> Result<PointValues, Fault> {
    if point.has_no_value() {
        return Ok(PointValues::default());
    }
    match point {
        Point::Number(number) => {
            let value = number.value.map(|value| value.as_f64());
            let value =
                value.ok_or(Fault { reason: "no_value", detail: "point has neither a value nor the no-value flag" })?;
            finite([value], "value is NaN or infinite")?;
            Ok(PointValues { value: Some(value), ..PointValues::default() })
        }
        Point::Histogram(histogram) => explicit(histogram, bounds),
        Point::ExponentialHistogram(histogram) => exponential(histogram),
        Point::Summary(summary) => {
            if summary.count > 0 {
                finite([summary.sum], "sum is NaN or infinite")?;
            }
            let sum = Some(summary.sum).filter(|sum| sum.is_finite());
            Ok(PointValues { count: Some(summary.count), sum, ..PointValues::default() })
        }
    }
}

fn explicit(point: &HistogramPoint<'_>, shared: &mut SharedBounds) -> Result<PointValues, Fault> {
    finite([point.sum, point.min, point.max].map(|value| value.unwrap_or(0.0)), "sum, min or max is NaN or infinite")?;
    let mut counts: Vec<u64> = point.bucket_counts.iter().collect();
    let mut bounds: Vec<f64> = point.explicit_bounds.iter().collect();
    let total = counts.iter().try_fold(0u64, |total, count| total.checked_add(*count));
    let total = total.ok_or(inconsistent("the buckets' counts overflow"))?;
    if bounds.iter().any(|bound| bound.is_nan()) || !bounds.is_sorted_by(|a, b| a < b) {
        return Err(inconsistent("bounds are not increasing numbers"));
    }
    if counts.is_empty() && bounds.is_empty() {
        counts.push(point.count);
    } else if counts.len() != bounds.len() + 1 {
        return Err(inconsistent("there must be one bucket more than there are bounds"));
    } else if total != point.count {
        return Err(inconsistent("the buckets' counts do not add up to count"));
    }
    drop_infinite_bounds(&mut bounds, &mut counts);
    let (count, sum, min, max) = (point.count, point.sum, point.min, point.max);
    let histogram = (counts.len() <= BUCKETS_MAX)
        .then(|| Sketch::Explicit(Explicit { bounds: shared.share(bounds), counts, count, sum, min, max }));
    Ok(PointValues { value: None, count: Some(count), sum, min, max, histogram })
}

/// An infinite last bound, a habit of some exporters, says nothing: its bucket and the one above are one.
fn drop_infinite_bounds(bounds: &mut Vec<f64>, counts: &mut Vec<u64>) {
    if bounds.last() == Some(&f64::INFINITY) {
        bounds.pop();
        let above = counts.pop().unwrap_or(0);
        if let Some(last) = counts.last_mut() {
            *last += above;
        }
    }
    if bounds.first() == Some(&f64::NEG_INFINITY) {
        bounds.remove(0);
        let below = counts.remove(0);
        if let Some(first) = counts.first_mut() {
            *first += below;
        }
    }
}

fn exponential(point: &ExponentialHistogramPoint<'_>) -> Result<PointValues, Fault> {
    let numbers = [point.sum.unwrap_or(0.0), point.min.unwrap_or(0.0), point.max.unwrap_or(0.0), point.zero_threshold];
    finite(numbers, "sum, min, max or zero_threshold is NaN or infinite")?;
    if point.zero_threshold < 0.0 {
        return Err(inconsistent("zero_threshold is negative"));
    }
    if !SCALES.contains(&point.scale) {
        return Err(inconsistent("scale is outside -10 to 20"));
    }
    let total = side(&point.positive)
        .and_then(|positive| positive.checked_add(side(&point.negative)?))
        .and_then(|total| total.checked_add(point.zero_count));
    match total {
        None => return Err(inconsistent("the buckets' counts or indexes overflow")),
        Some(total) if total != point.count => {
            return Err(inconsistent("the buckets' counts do not add up to count"));
        }
        Some(_) => {}
    }
    let (count, sum, min, max) = (point.count, point.sum, point.min, point.max);
    let histogram = Exponential {
        scale: point.scale,
        zero_count: point.zero_count,
        zero_threshold: point.zero_threshold,
        positive: buckets(&point.positive),
        negative: buckets(&point.negative),
        count,
        sum,
        min,
        max,
    };
    let is_usable = histogram.positive.counts.len() + histogram.negative.counts.len() <= BUCKETS_MAX
        && histogram.is_representable();
    let histogram = is_usable.then(|| Sketch::Exponential(histogram.normalized()));
    Ok(PointValues { value: None, count: Some(count), sum, min, max, histogram })
}

/// The sum of one side's counts, or `None` when it or the last bucket's index overflows.
fn side(buckets: &shipwake_otlp::Buckets<'_>) -> Option<u64> {
    let (mut index, mut total) = (i64::from(buckets.offset), 0u64);
    for count in buckets.bucket_counts.iter() {
        total = total.checked_add(count)?;
        index += 1;
    }
    i32::try_from(index).ok().map(|_| total)
}

fn buckets(buckets: &shipwake_otlp::Buckets<'_>) -> Buckets {
    Buckets { offset: buckets.offset, counts: buckets.bucket_counts.iter().take(BUCKETS_MAX + 1).collect() }
}

fn finite<const N: usize>(values: [f64; N], detail: &'static str) -> Result<(), Fault> {
    if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(Fault { reason: "not_a_number", detail }) }
}

fn inconsistent(detail: &'static str) -> Fault {
    Fault { reason: "inconsistent_buckets", detail }
}
