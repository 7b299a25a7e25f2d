//! Which metric points no consumer could use: numbers that would turn sums into NaN, and histograms that contradict
//! themselves. Their sender is told; the other points of the request are kept.
//!
//! Only contradictions are faults. What is odd but has a meaning (a reset, a gap, a bucket that is empty) is not.

use shipwake_model::sketch::Exponential;
use shipwake_otlp::{
    Buckets, ExponentialHistogramPoint, HistogramPoint, Metric, MetricKind, NumberValue, Point, SummaryPoint,
};

/// Why a point is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The word for counters.
    pub(crate) reason: &'static str,
    /// What exactly is wrong.
    pub(crate) detail: &'static str,
}

/// Scales that a receiver must understand reach from -10 to 20; beyond them a bucket's bounds leave the range of f64.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// More buckets than any SDK makes. A histogram beyond costs the reader memory for every series, and says nothing more.
const BUCKETS_MAX: usize = 4_096;

/// More quantiles than anybody asks for.
const QUANTILES_MAX: usize = 256;

/// Delta and cumulative; 0, unspecified, must not be used.
const TEMPORALITIES: std::ops::RangeInclusive<i32> = 1..=2;

/// What is wrong with a point, if anything.
pub(crate) fn fault(metric: &Metric<'_>, point: &Point<'_>) -> Option<Fault> {
    if let Some(fault) = whole(metric) {
        return Some(fault);
    }
    if point.has_no_value() {
        return None;
    }
    match point {
        Point::Number(number) => match number.value {
            Some(NumberValue::Double(value)) if !value.is_finite() => not_finite([value], "value is NaN or infinite"),
            Some(value) => negative(metric, value),
            None => Some(Fault { reason: "no_value", detail: "point has neither a value nor the no-value flag" }),
        },
        Point::Histogram(histogram) => explicit(histogram),
        Point::ExponentialHistogram(histogram) => exponential(histogram),
        Point::Summary(summary) => quantiles(summary),
    }
}

/// What is wrong with a metric as a whole: nobody could ask for it, or could say what its points add up to.
fn whole(metric: &Metric<'_>) -> Option<Fault> {
    if metric.name.is_empty() {
        return Some(Fault { reason: "no_name", detail: "a metric without a name" });
    }
    // A histogram without one is the gauge histogram of Prometheus: it is a row of `points` and adds up nowhere.
    let detail = "aggregationTemporality must be 1 (delta) or 2 (cumulative)";
    (metric.kind == MetricKind::Sum && !TEMPORALITIES.contains(&metric.temporality))
        .then_some(Fault { reason: "no_temporality", detail })
}

fn not_finite<const N: usize>(values: [f64; N], detail: &'static str) -> Option<Fault> {
    let bad = values.iter().any(|value| !value.is_finite());
    bad.then_some(Fault { reason: "not_a_number", detail })
}

fn negative(metric: &Metric<'_>, value: NumberValue) -> Option<Fault> {
    let only_grows = metric.kind == MetricKind::Sum && metric.monotonic;
    let fault = Fault { reason: "negative_sum", detail: "a sum that only grows is negative" };
    (only_grows && value.as_f64() < 0.0).then_some(fault)
}

fn too_many_buckets() -> Option<Fault> {
    Some(Fault { reason: "too_many_buckets", detail: "a histogram has more than 4096 buckets" })
}

/// What a histogram says about all of its values must be possible.
fn summary(count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) -> Option<Fault> {
    if count == 0 && sum.is_some_and(|sum| sum != 0.0) {
        return inconsistent("there is a sum of no values");
    }
    if count > 0 && min.zip(max).is_some_and(|(min, max)| min > max) {
        return inconsistent("min is above max");
    }
    None
}

fn inconsistent(detail: &'static str) -> Option<Fault> {
    Some(Fault { reason: "inconsistent_buckets", detail })
}

fn explicit(point: &HistogramPoint<'_>) -> Option<Fault> {
    let sums = [point.sum.unwrap_or(0.0), point.min.unwrap_or(0.0), point.max.unwrap_or(0.0)];
    if let Some(fault) = not_finite(sums, "sum, min or max is NaN or infinite") {
        return Some(fault);
    }
    if let Some(fault) = summary(point.count, point.sum, point.min, point.max) {
        return Some(fault);
    }
    let (mut buckets, mut total) = (0usize, 0u64);
    for count in point.bucket_counts {
        buckets += 1;
        if buckets > BUCKETS_MAX {
            return too_many_buckets();
        }
        total = match total.checked_add(count) {
            Some(total) => total,
            None => return inconsistent("the buckets' counts overflow"),
        };
    }
    let (mut bounds, mut last) = (0usize, f64::NEG_INFINITY);
    for bound in point.explicit_bounds {
        // An infinite last bound is a habit of some exporters; NaN and repeated bounds have no meaning.
        if bound.is_nan() || (bounds > 0 && bound <= last) {
            return inconsistent("bounds are not increasing numbers");
        }
        bounds += 1;
        if bounds > BUCKETS_MAX {
            return too_many_buckets();
        }
        last = bound;
    }
    if buckets == 0 && bounds == 0 {
        return None;
    }
    if buckets != bounds + 1 {
        return inconsistent("there must be one bucket more than there are bounds");
    }
    if total != point.count { inconsistent("the buckets' counts do not add up to count") } else { None }
}

fn exponential(point: &ExponentialHistogramPoint<'_>) -> Option<Fault> {
    let sums = [point.sum.unwrap_or(0.0), point.min.unwrap_or(0.0), point.max.unwrap_or(0.0), point.zero_threshold];
    if let Some(fault) = not_finite(sums, "sum, min, max or zero_threshold is NaN or infinite") {
        return Some(fault);
    }
    if let Some(fault) = summary(point.count, point.sum, point.min, point.max) {
        return Some(fault);
    }
    if point.zero_threshold < 0.0 {
        return inconsistent("zero_threshold is negative");
    }
    if !SCALES.contains(&point.scale) {
        return inconsistent("scale is outside -10 to 20");
    }
    let sides = [&point.positive, &point.negative];
    let total = sides.iter().try_fold(point.zero_count, |total, buckets| total.checked_add(side(buckets)?));
    match total {
        None => return inconsistent("the buckets' counts or indexes overflow"),
        Some(total) if total != point.count => return inconsistent("the buckets' counts do not add up to count"),
        Some(_) => {}
    }
    let lengths = sides.map(|buckets| buckets.bucket_counts.iter().count());
    if lengths.iter().sum::<usize>() > BUCKETS_MAX {
        return too_many_buckets();
    }
    let is_representable = sides
        .iter()
        .zip(lengths)
        .all(|(buckets, length)| Exponential::holds(point.scale, i64::from(buckets.offset), length));
    if is_representable { None } else { inconsistent("a bucket lies beyond what a number can hold") }
}

/// The sum of one side's counts, or `None` when it or the last bucket's index overflows.
fn side(buckets: &Buckets<'_>) -> Option<u64> {
    let (mut index, mut total) = (i64::from(buckets.offset), 0u64);
    for count in buckets.bucket_counts {
        total = total.checked_add(count)?;
        index += 1;
    }
    i32::try_from(index).ok().map(|_| total)
}

fn quantiles(point: &SummaryPoint<'_>) -> Option<Fault> {
    // A summary without observations has a sum of NaN in some clients, and NaN values of quantiles by definition.
    if point.count > 0
        && let Some(fault) = not_finite([point.sum], "sum is NaN or infinite")
    {
        return Some(fault);
    }
    let mut seen = Vec::new();
    for found in point.quantiles {
        if !(0.0..=1.0).contains(&found.quantile) {
            return Some(Fault { reason: "inconsistent_quantiles", detail: "a quantile lies outside 0 to 1" });
        }
        if seen.len() == QUANTILES_MAX {
            return Some(Fault { reason: "too_many_quantiles", detail: "a summary has more than 256 quantiles" });
        }
        seen.push(found.quantile);
    }
    seen.sort_by(f64::total_cmp);
    let is_twice = seen.windows(2).any(|pair| pair[0] == pair[1]);
    is_twice.then_some(Fault { reason: "inconsistent_quantiles", detail: "a quantile is given twice" })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
    use opentelemetry_proto::tonic::metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, number_data_point,
    };
    use prost::Message;
    use shipwake_model::Signal;

    use crate::decode::decode;

    /// The reasons for which the points of `data` are rejected.
    fn check(data: &Data, expected: &[&str]) {
        check_named("m", data, expected);
    }

    fn check_named(name: &str, data: &Data, expected: &[&str]) {
        let metrics = vec![Metric { name: name.to_owned(), data: Some(data.clone()), ..Metric::default() }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        let bytes = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        let decoded = decode(Signal::Metrics, &bytes).expect("valid");
        let found: Vec<&str> = decoded.rejected.reasons.keys().copied().collect();
        assert_eq!(found, expected, "{data:?}");
    }

    #[test]
    fn numbers_must_be_numbers() {
        use number_data_point::Value::{AsDouble, AsInt};
        let gauge = |value, flags| {
            Data::Gauge(Gauge { data_points: vec![NumberDataPoint { value, flags, ..NumberDataPoint::default() }] })
        };
        for fine in [AsDouble(-0.0), AsDouble(f64::MIN_POSITIVE / 2.0), AsDouble(-5.0), AsInt(i64::MIN)] {
            check(&gauge(Some(fine), 0), &[]);
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            check(&gauge(Some(AsDouble(bad)), 0), &["not_a_number"]);
        }
        check(&gauge(None, 0), &["no_value"]);
        check(&gauge(None, 1), &[]);
    }

    #[test]
    fn a_metric_needs_a_name_and_what_adds_up_a_temporality() {
        let value = Some(number_data_point::Value::AsInt(1));
        let points = vec![NumberDataPoint { value, ..NumberDataPoint::default() }];
        let gauge = Data::Gauge(Gauge { data_points: points.clone() });
        check_named("", &gauge, &["no_name"]);
        check(&gauge, &[]);
        for (temporality, expected) in [(0, &["no_temporality"][..]), (3, &["no_temporality"]), (1, &[]), (2, &[])] {
            for is_monotonic in [true, false] {
                let data_points = points.clone();
                check(&Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic }), expected);
            }
            // The gauge histograms of Prometheus have none.
            let data_points = vec![HistogramDataPoint::default()];
            check(&Data::Histogram(Histogram { data_points, aggregation_temporality: temporality }), &[]);
        }
    }

    #[test]
    fn a_sum_that_only_grows_is_not_negative() {
        use number_data_point::Value::{AsDouble, AsInt};
        let sum = |is_monotonic, aggregation_temporality, value| {
            let data_points = vec![NumberDataPoint { value: Some(value), ..NumberDataPoint::default() }];
            Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        };
        for temporality in [1, 2] {
            for fine in [AsDouble(-0.0), AsDouble(0.0), AsInt(i64::MAX), AsDouble(f64::MAX)] {
                check(&sum(true, temporality, fine), &[]);
            }
            for bad in [AsDouble(-f64::MIN_POSITIVE / 2.0), AsInt(-1), AsInt(i64::MIN), AsDouble(f64::MIN)] {
                check(&sum(true, temporality, bad), &["negative_sum"]);
                check(&sum(false, temporality, bad), &[]);
            }
            check(&sum(true, temporality, AsDouble(f64::NEG_INFINITY)), &["not_a_number"]);
        }
    }

    #[test]
    fn histograms_must_agree_with_themselves() {
        let histogram = |count, counts: &[u64], bounds: &[f64], sum| {
            let (bucket_counts, explicit_bounds) = (counts.to_vec(), bounds.to_vec());
            let point =
                HistogramDataPoint { count, bucket_counts, explicit_bounds, sum, ..HistogramDataPoint::default() };
            Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 1 })
        };
        check(&histogram(6, &[1, 2, 3], &[0.5, 1.0], Some(3.0)), &[]);
        check(&histogram(6, &[], &[], Some(3.0)), &[]);
        check(&histogram(6, &[6], &[], None), &[]);
        check(&histogram(1, &[1, 0], &[f64::INFINITY], None), &[]);
        check(&histogram(6, &[1, 2, 3], &[0.5, 1.0], Some(f64::NAN)), &["not_a_number"]);
        for (count, counts, bounds) in [
            (6, &[1, 2, 3][..], &[0.5][..]),
            (7, &[1, 2, 3], &[0.5, 1.0]),
            (6, &[1, 2, 3], &[1.0, 0.5]),
            (6, &[1, 2, 3], &[1.0, 1.0]),
            (6, &[1, 2, 3], &[0.5, f64::NAN]),
            (6, &[], &[0.5]),
            (1, &[u64::MAX, 2], &[0.5]),
        ] {
            check(&histogram(count, counts, bounds, None), &["inconsistent_buckets"]);
        }
    }

    #[test]
    fn what_a_histogram_says_about_its_values_must_be_possible() {
        let point = |count: u64, sum, min, max| {
            let bucket_counts = vec![count];
            HistogramDataPoint { count, bucket_counts, sum, min, max, ..HistogramDataPoint::default() }
        };
        let histogram = |point| Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 1 });
        for (point, expected) in [
            (point(0, None, None, None), &[][..]),
            (point(0, Some(-0.0), Some(0.0), Some(0.0)), &[]),
            (point(0, Some(0.5), None, None), &["inconsistent_buckets"]),
            (point(2, Some(-7.0), Some(-9.0), Some(2.0)), &[]),
            (point(2, Some(3.0), Some(2.0), Some(1.0)), &["inconsistent_buckets"]),
            (point(2, Some(3.0), Some(2.0), None), &[]),
        ] {
            check(&histogram(point), expected);
        }
        let mut wide = point(0, None, None, None);
        (wide.bucket_counts, wide.explicit_bounds) = (vec![0; 4_096], (0..4_095).map(f64::from).collect());
        check(&histogram(wide.clone()), &[]);
        (wide.bucket_counts, wide.explicit_bounds) = (vec![0; 4_097], (0..4_096).map(f64::from).collect());
        check(&histogram(wide), &["too_many_buckets"]);
    }

    #[test]
    fn exponential_histograms_must_agree_with_themselves() {
        let histogram = |count, scale, offset, counts: &[u64], zero_threshold| {
            let positive = Some(Buckets { offset, bucket_counts: counts.to_vec() });
            let point = ExponentialHistogramDataPoint {
                count,
                scale,
                positive,
                zero_count: 1,
                zero_threshold,
                ..ExponentialHistogramDataPoint::default()
            };
            Data::ExponentialHistogram(ExponentialHistogram { data_points: vec![point], aggregation_temporality: 2 })
        };
        check(&histogram(4, 12, 27_213, &[1, 2], 0.0), &[]);
        for (count, scale, offset, threshold) in
            [(5, 12, 0, 0.0), (4, 21, 0, 0.0), (4, -11, 0, 0.0), (4, 0, i32::MAX, 0.0), (4, 0, 0, -1.0)]
        {
            check(&histogram(count, scale, offset, &[1, 2], threshold), &["inconsistent_buckets"]);
        }
        check(&histogram(4, 0, 0, &[1, 2], f64::NAN), &["not_a_number"]);
        check(&histogram(1, 0, 0, &[0; 4_097], 0.0), &["too_many_buckets"]);
        // No number lies in a bucket so far out.
        for (scale, offset) in [(0, 1_300), (0, -1_300), (-10, 5), (20, i32::MAX - 10), (5, i32::MIN)] {
            check(&histogram(4, scale, offset, &[1, 2], 0.0), &["inconsistent_buckets"]);
        }
        for (scale, offset) in [(0, 1_000), (0, -1_074), (-10, 0), (20, 1_000 << 20)] {
            check(&histogram(4, scale, offset, &[1, 2], 0.0), &[]);
        }
    }

    #[test]
    fn summaries_need_a_sum_only_when_they_count() {
        let summary = |count, sum| {
            let point = SummaryDataPoint { count, sum, ..SummaryDataPoint::default() };
            Data::Summary(Summary { data_points: vec![point] })
        };
        check(&summary(0, f64::NAN), &[]);
        check(&summary(1, 2.0), &[]);
        check(&summary(1, f64::NAN), &["not_a_number"]);
    }

    #[test]
    fn quantiles_of_a_summary_lie_within_0_and_1_and_are_given_once() {
        let summary = |quantiles: &[f64]| {
            let quantile_values =
                quantiles.iter().map(|quantile| ValueAtQuantile { quantile: *quantile, value: f64::NAN }).collect();
            let point = SummaryDataPoint { count: 1, quantile_values, ..SummaryDataPoint::default() };
            Data::Summary(Summary { data_points: vec![point] })
        };
        check(&summary(&[1.0, 0.0, 0.5]), &[]);
        for bad in [&[1.1][..], &[-0.1], &[f64::NAN], &[0.5, 0.9, 0.5], &[0.0, -0.0]] {
            check(&summary(bad), &["inconsistent_quantiles"]);
        }
        let many = |count: u32| (0..count).map(|n| f64::from(n) / 1e3).collect::<Vec<_>>();
        check(&summary(&many(256)), &[]);
        check(&summary(&many(257)), &["too_many_quantiles"]);
    }
}
