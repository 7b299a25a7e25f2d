//! The values of a metric point as columns and histograms, and what makes a point unusable.
//!
//! The rules and their words are those by which `ingest` answers the sender; they are applied again here, because the bytes
//! in the journal are the sender's, and because a Collector may have written them without asking us.

use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::Sketch;
use shipwake_model::sketch::{Buckets, Explicit, Exponential};
use shipwake_otlp::{ExponentialHistogramPoint, HistogramPoint, Metric, MetricKind, Point, SummaryPoint};

use crate::points::PointValues;

/// Sets of bounds that are shared between points; a client has a handful.
const SHARED_BOUNDS_MAX: usize = 1_024;
/// More buckets than any SDK makes.
const BUCKETS_MAX: usize = 4_096;
/// More quantiles than anybody asks for.
const QUANTILES_MAX: usize = 256;
/// Delta and cumulative; 0, unspecified, must not be used.
const TEMPORALITIES: std::ops::RangeInclusive<i32> = 1..=2;
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
pub fn values(metric: &Metric<'_>, point: &Point<'_>, bounds: &mut SharedBounds) -> Result<PointValues, Fault> {
    whole(metric)?;
    if point.has_no_value() {
        return Ok(PointValues::default());
    }
    match point {
        Point::Number(number) => {
            let value = number.value.map(|value| value.as_f64());
            let value =
                value.ok_or(Fault { reason: "no_value", detail: "point has neither a value nor the no-value flag" })?;
            finite([value], "value is NaN or infinite")?;
            if metric.kind == MetricKind::Sum && metric.monotonic && value < 0.0 {
                return Err(Fault { reason: "negative_sum", detail: "a sum that only grows is negative" });
            }
            Ok(PointValues { value: Some(value), ..PointValues::default() })
        }
        Point::Histogram(histogram) => explicit(histogram, bounds),
        Point::ExponentialHistogram(histogram) => exponential(histogram),
        Point::Summary(summary) => {
            if summary.count > 0 {
                finite([summary.sum], "sum is NaN or infinite")?;
            }
            let sum = Some(summary.sum).filter(|sum| sum.is_finite());
            let quantiles = quantiles(summary);
            Ok(PointValues { count: Some(summary.count), sum, quantiles, ..PointValues::default() })
        }
    }
}

/// What is wrong with a metric as a whole: nobody could ask for it, or could say what its points add up to.
fn whole(metric: &Metric<'_>) -> Result<(), Fault> {
    if metric.name.is_empty() {
        return Err(Fault { reason: "no_name", detail: "a metric without a name" });
    }
    // A histogram without one is the gauge histogram of Prometheus: it is a row of `points` and adds up nowhere.
    if metric.kind == MetricKind::Sum && !TEMPORALITIES.contains(&metric.temporality) {
        let detail = "aggregationTemporality must be 1 (delta) or 2 (cumulative)";
        return Err(Fault { reason: "no_temporality", detail });
    }
    Ok(())
}

/// The quantiles of a summary, in rising order. What the door refuses today may be in an older journal: it is passed over.
fn quantiles(point: &SummaryPoint<'_>) -> Vec<(f64, f64)> {
    let all = point.quantiles.iter().map(|found| (found.quantile, found.value));
    // Minus zero is zero: as text they would be two keys.
    let within = all.filter(|(quantile, _)| (0.0..=1.0).contains(quantile)).map(|(q, value)| (q.abs(), value));
    let mut kept: Vec<(f64, f64)> = within.take(QUANTILES_MAX).collect();
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    kept.dedup_by(|later, earlier| later.0 == earlier.0);
    kept
}

fn explicit(point: &HistogramPoint<'_>, shared: &mut SharedBounds) -> Result<PointValues, Fault> {
    finite([point.sum, point.min, point.max].map(|value| value.unwrap_or(0.0)), "sum, min or max is NaN or infinite")?;
    summary_agrees(point.count, point.sum, point.min, point.max)?;
    let mut counts: Vec<u64> = point.bucket_counts.iter().take(BUCKETS_MAX + 1).collect();
    let mut bounds: Vec<f64> = point.explicit_bounds.iter().take(BUCKETS_MAX + 1).collect();
    if counts.len() > BUCKETS_MAX || bounds.len() > BUCKETS_MAX {
        return Err(TOO_MANY_BUCKETS);
    }
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
    let histogram = Sketch::Explicit(Explicit { bounds: shared.share(bounds), counts, count, sum, min, max });
    Ok(PointValues { count: Some(count), sum, min, max, histogram: Some(histogram), ..PointValues::default() })
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
    summary_agrees(point.count, point.sum, point.min, point.max)?;
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
    if histogram.positive.counts.len() + histogram.negative.counts.len() > BUCKETS_MAX {
        return Err(TOO_MANY_BUCKETS);
    }
    if !histogram.is_representable() {
        return Err(inconsistent("a bucket lies beyond what a number can hold"));
    }
    let histogram = Sketch::Exponential(histogram.normalized());
    Ok(PointValues { count: Some(count), sum, min, max, histogram: Some(histogram), ..PointValues::default() })
}

/// What a histogram says about all of its values must be possible.
fn summary_agrees(count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) -> Result<(), Fault> {
    if count == 0 && sum.is_some_and(|sum| sum != 0.0) {
        return Err(inconsistent("there is a sum of no values"));
    }
    if count > 0 && min.zip(max).is_some_and(|(min, max)| min > max) {
        return Err(inconsistent("min is above max"));
    }
    Ok(())
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

const TOO_MANY_BUCKETS: Fault = Fault { reason: "too_many_buckets", detail: "a histogram has more than 4096 buckets" };

fn inconsistent(detail: &'static str) -> Fault {
    Fault { reason: "inconsistent_buckets", detail }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics,
    };
    use proptest::prelude::*;
    use prost::Message;
    use shipwake_model::sketch::EXPONENTIAL_BUCKETS_MAX;
    use shipwake_otlp::{MetricSink, Resource, Scope, scan_metrics};

    use super::*;

    /// What the points of a request come to.
    #[derive(Default)]
    struct Found(Vec<Result<PointValues, Fault>>);

    impl<'a> MetricSink<'a> for Found {
        fn resource(&mut self, _: &Resource<'a>) {}
        fn scope(&mut self, _: &Scope<'a>) {}
        fn metric(&mut self, _: &shipwake_otlp::Metric<'a>) {}
        fn point(&mut self, metric: &shipwake_otlp::Metric<'a>, point: &Point<'a>) {
            self.0.push(values(metric, point, &mut SharedBounds::default()));
        }
    }

    fn values_of(point: ExponentialHistogramDataPoint) -> Result<PointValues, Fault> {
        let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: 1 };
        let metrics =
            vec![Metric { name: "m".to_owned(), data: Some(Data::ExponentialHistogram(data)), ..Metric::default() }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        let bytes = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        let mut found = Found::default();
        scan_metrics(&bytes, &mut found).unwrap();
        found.0.pop().unwrap()
    }

    fn side() -> impl Strategy<Value = Buckets> {
        let offset = prop_oneof![any::<i32>(), -3_000i32..3_000, Just(i32::MAX), Just(i32::MIN)];
        let counts = prop_oneof![
            prop::collection::vec(0u64..5, 0..40),
            (0usize..6_000).prop_map(|length| vec![1; length]),
            Just(vec![u64::MAX, 1]),
        ];
        (offset, counts).prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts })
    }

    proptest! {
        /// Whatever a sender claims, a point is refused or takes a bounded number of buckets that hold all of its count, and
        /// two that are taken can be merged and compared.
        #[test]
        fn an_absurd_histogram_costs_nothing(
            scale in prop_oneof![any::<i32>(), -12i32..23],
            sides in prop::collection::vec((side(), side()), 2),
            zero_threshold in prop_oneof![Just(0.0), Just(-1.0), Just(f64::MAX), any::<f64>()],
        ) {
            let points = sides.into_iter().map(|(positive, negative)| {
                let counts = positive.bucket_counts.iter().chain(&negative.bucket_counts);
                let count = counts.fold(0u64, |sum, count| sum.wrapping_add(*count));
                values_of(ExponentialHistogramDataPoint {
                    scale, zero_threshold, count, positive: Some(positive), negative: Some(negative), ..Default::default()
                })
            });
            let taken: Vec<Exponential> = points.flatten().map(|values| match values.histogram {
                Some(Sketch::Exponential(buckets)) => buckets,
                other => panic!("{other:?}"),
            }).collect();
            for one in &taken {
                prop_assert!(one.positive.counts.len() <= EXPONENTIAL_BUCKETS_MAX);
                prop_assert!(one.negative.counts.len() <= EXPONENTIAL_BUCKETS_MAX);
                let total: u64 = one.positive.counts.iter().chain(&one.negative.counts).sum();
                prop_assert_eq!(total + one.zero_count, one.count);
            }
            if let [one, other] = &taken[..] {
                let mut both = one.clone();
                both.merge(other);
                prop_assert!(both.positive.counts.len() <= EXPONENTIAL_BUCKETS_MAX);
                let back = both.since(one).expect("the whole is no less than a part");
                prop_assert_eq!(back.count, other.count);
                both.to_hdr(1e6);
            }
        }
    }
}
