//! OTLP metrics for what did not arrive as OTLP: points of every kind, the metrics around them, and the request.
//!
//! Points of all kinds are field 1 of what holds them, so a caller collects the encoded points of a metric first and puts the
//! metric around them when it has them all.

use super::{
    key_value_bytes, put_double_field, put_fixed64_field, put_len_field, put_len_header, put_message, put_varint,
    put_varint_field,
};

/// Flag of a point that says that there is no value.
const NO_RECORDED_VALUE: u64 = 1;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

/// What a metric's points are. Sums and histograms are cumulative, sums monotonic, unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricForm {
    /// A value that goes up and down.
    Gauge,
    /// A monotonic running total.
    Sum,
    /// Running totals of buckets with explicit bounds.
    Histogram,
    /// Running totals of buckets with exponential bounds.
    Exponential,
    /// Buckets with explicit bounds that go up and down. OTLP has no word for them: their temporality is unspecified.
    GaugeHistogram,
    /// The same with exponential bounds.
    GaugeExponential,
    /// Quantiles as the sender calculated them.
    Summary,
}

/// What points of all kinds carry.
#[derive(Clone, Copy, Debug)]
pub struct PointHead<'a> {
    /// Text attributes.
    pub attributes: &'a [(&'a [u8], &'a [u8])],
    /// When the total began, in nanoseconds since the epoch; 0 when unknown.
    pub start_time_unix_nano: u64,
    /// In nanoseconds since the epoch.
    pub time_unix_nano: u64,
}

/// A histogram with explicit bounds to write.
#[derive(Clone, Copy, Debug)]
pub struct HistogramValues<'a> {
    /// Observations in all buckets.
    pub count: u64,
    /// Their sum, when known.
    pub sum: Option<f64>,
    /// One more than bounds, or none.
    pub bucket_counts: &'a [u64],
    /// Upper bounds, increasing, without infinity.
    pub explicit_bounds: &'a [f64],
}

/// One side of an exponential histogram: the index of its first bucket, and the counts from there on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side<'a> {
    /// OTLP's index, which names a bucket by its lower bound.
    pub offset: i32,
    /// Without gaps.
    pub bucket_counts: &'a [u64],
}

/// An exponential histogram to write.
#[derive(Clone, Copy, Debug)]
pub struct ExponentialValues<'a> {
    /// Observations in all buckets.
    pub count: u64,
    /// Their sum, when known.
    pub sum: Option<f64>,
    /// Resolution: bounds are powers of 2^(2^-scale).
    pub scale: i32,
    /// Observations no further from zero than the threshold.
    pub zero_count: u64,
    /// Breadth of the bucket around zero.
    pub zero_threshold: f64,
    /// Observations above zero.
    pub positive: Side<'a>,
    /// Observations below zero, by their absolute value.
    pub negative: Side<'a>,
}

/// Appends a point of a gauge or a sum. `None` is a point that says that there is no value.
pub fn put_number_point(out: &mut Vec<u8>, head: &PointHead<'_>, value: Option<f64>) {
    put_message(out, 1, |out| {
        put_times(out, head);
        match value {
            Some(value) => put_double_field(out, 4, value),
            None => put_varint_field(out, 8, NO_RECORDED_VALUE),
        }
        put_attributes(out, 7, head);
    });
}

/// Appends a point of a histogram with explicit bounds.
pub fn put_histogram_point(out: &mut Vec<u8>, head: &PointHead<'_>, values: &HistogramValues<'_>) {
    put_message(out, 1, |out| {
        put_times(out, head);
        put_fixed64_field(out, 4, values.count);
        if let Some(sum) = values.sum {
            put_double_field(out, 5, sum);
        }
        put_len_header(out, 6, values.bucket_counts.len() * 8);
        values.bucket_counts.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        put_len_header(out, 7, values.explicit_bounds.len() * 8);
        values.explicit_bounds.iter().for_each(|bound| out.extend_from_slice(&bound.to_le_bytes()));
        put_attributes(out, 9, head);
    });
}

/// Appends a point of an exponential histogram.
pub fn put_exponential_point(out: &mut Vec<u8>, head: &PointHead<'_>, values: &ExponentialValues<'_>) {
    put_message(out, 1, |out| {
        put_attributes(out, 1, head);
        put_times(out, head);
        put_fixed64_field(out, 4, values.count);
        if let Some(sum) = values.sum {
            put_double_field(out, 5, sum);
        }
        put_varint_field(out, 6, zigzag(values.scale));
        put_fixed64_field(out, 7, values.zero_count);
        put_side(out, 8, values.positive);
        put_side(out, 9, values.negative);
        put_double_field(out, 14, values.zero_threshold);
    });
}

/// Appends a point of a summary; `quantiles` are pairs of quantile and value.
pub fn put_summary_point(out: &mut Vec<u8>, head: &PointHead<'_>, count: u64, sum: f64, quantiles: &[(f64, f64)]) {
    put_message(out, 1, |out| {
        put_times(out, head);
        put_fixed64_field(out, 4, count);
        put_double_field(out, 5, sum);
        for (quantile, value) in quantiles {
            put_message(out, 6, |out| {
                put_double_field(out, 1, *quantile);
                put_double_field(out, 2, *value);
            });
        }
        put_attributes(out, 7, head);
    });
}

/// Appends a metric as a field of its `ScopeMetrics`; `points` are encoded points of that form.
pub fn put_metric(out: &mut Vec<u8>, name: &[u8], unit: &[u8], form: MetricForm, points: &[u8]) {
    let (field, totals) = match form {
        MetricForm::Gauge => (5, false),
        MetricForm::Sum => (7, true),
        MetricForm::Histogram => (9, true),
        MetricForm::Exponential => (10, true),
        MetricForm::GaugeHistogram => (9, false),
        MetricForm::GaugeExponential => (10, false),
        MetricForm::Summary => (11, false),
    };
    put_message(out, 2, |out| {
        put_len_field(out, 1, name);
        if !unit.is_empty() {
            put_len_field(out, 3, unit);
        }
        put_message(out, field, |out| {
            out.extend_from_slice(points);
            if totals {
                put_varint_field(out, 2, CUMULATIVE);
            }
            if form == MetricForm::Sum {
                put_varint_field(out, 3, 1);
            }
        });
    });
}

/// Appends a `ResourceMetrics` with one scope to an `ExportMetricsServiceRequest`; `metrics` are encoded metrics.
pub fn put_resource_metrics(out: &mut Vec<u8>, resource: &[(&[u8], &[u8])], scope_name: &str, metrics: &[u8]) {
    put_message(out, 1, |out| {
        put_message(out, 1, |out| {
            for (key, value) in resource {
                key_value_bytes(out, 1, key, value);
            }
        });
        put_message(out, 2, |out| {
            put_message(out, 1, |out| put_len_field(out, 1, scope_name.as_bytes()));
            out.extend_from_slice(metrics);
        });
    });
}

fn put_times(out: &mut Vec<u8>, head: &PointHead<'_>) {
    if head.start_time_unix_nano != 0 {
        put_fixed64_field(out, 2, head.start_time_unix_nano);
    }
    put_fixed64_field(out, 3, head.time_unix_nano);
}

fn put_attributes(out: &mut Vec<u8>, field: u32, head: &PointHead<'_>) {
    for (key, value) in head.attributes {
        key_value_bytes(out, field, key, value);
    }
}

fn put_side(out: &mut Vec<u8>, field: u32, side: Side<'_>) {
    if side.bucket_counts.is_empty() {
        return;
    }
    put_message(out, field, |out| {
        put_varint_field(out, 1, zigzag(side.offset));
        put_message(out, 2, |out| side.bucket_counts.iter().for_each(|count| put_varint(out, *count)));
    });
}

fn zigzag(value: i32) -> u64 {
    u64::from((value << 1 ^ value >> 31).cast_unsigned())
}
