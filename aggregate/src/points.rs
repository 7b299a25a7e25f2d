//! Rows of the table `points`: every data point as it was received.

use std::sync::Arc;

use arrow::array::{
    BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampNanosecondBuilder,
    UInt32Builder,
};
use shipwake_model::Sketch;
use shipwake_otlp::{KeyValues, Metric, MetricKind};
use shipwake_store::tables::{NumberMapBuilder, TextMapBuilder, number_map_builder, text_map_builder};
use shipwake_store::{RowChunk, Table};

use crate::chunk_resources::ChunkResources;
use crate::health::RequestParts;
use crate::resources::KnownResource;
use crate::text::{append_attributes, append_text, finish_attributes, finish_numbers, finish_text};
use crate::watermark::EventTime;

/// Bytes of a row besides its texts and its histogram.
const ROW_BYTES: usize = 150;

/// The values of a point, as columns.
#[derive(Clone, Debug, Default)]
pub struct PointValues {
    /// Value of a gauge or sum.
    pub value: Option<f64>,
    /// Number of observations.
    pub count: Option<u64>,
    /// Their sum.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// The buckets, in the form in which they came.
    pub histogram: Option<Sketch>,
    /// Quantiles of a summary with their values; a value that is no number says that there was none.
    pub quantiles: Vec<(f64, f64)>,
}

/// An open chunk of points.
#[derive(Debug)]
pub struct PointRows {
    resources: ChunkResources,
    resource_ref: UInt32Builder,
    time: TimestampNanosecondBuilder,
    start_time: TimestampNanosecondBuilder,
    metric: StringBuilder,
    kind: StringBuilder,
    temporality: StringBuilder,
    monotonic: BooleanBuilder,
    unit: StringBuilder,
    value: Float64Builder,
    count: Int64Builder,
    sum: Float64Builder,
    min: Float64Builder,
    max: Float64Builder,
    histogram: BinaryBuilder,
    attributes: TextMapBuilder,
    quantiles: NumberMapBuilder,
    bytes: usize,
    scratch: Vec<u8>,
}

impl Default for PointRows {
    fn default() -> Self {
        PointRows {
            resources: ChunkResources::default(),
            resource_ref: UInt32Builder::new(),
            time: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            start_time: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            metric: StringBuilder::new(),
            kind: StringBuilder::new(),
            temporality: StringBuilder::new(),
            monotonic: BooleanBuilder::new(),
            unit: StringBuilder::new(),
            value: Float64Builder::new(),
            count: Int64Builder::new(),
            sum: Float64Builder::new(),
            min: Float64Builder::new(),
            max: Float64Builder::new(),
            histogram: BinaryBuilder::new(),
            attributes: text_map_builder(),
            quantiles: number_map_builder(),
            bytes: 0,
            scratch: Vec::new(),
        }
    }
}

impl PointRows {
    /// The number by which rows of this chunk point at a resource.
    pub fn resource(&mut self, resource: &Arc<KnownResource>) -> u32 {
        self.resources.number(resource)
    }

    /// Appends a row; says what its attributes mean for release health.
    pub fn append<'a>(
        &mut self,
        resource: u32,
        metric: &Metric<'_>,
        time: EventTime,
        start_ns: Option<i64>,
        values: &PointValues,
        attributes: &KeyValues<'a>,
    ) -> RequestParts<'a> {
        self.resource_ref.append_value(resource);
        self.time.append_value(time.time_ns);
        self.start_time.append_option(start_ns);
        append_text(&mut self.metric, metric.name);
        self.kind.append_value(kind_word(metric.kind));
        self.temporality.append_option(temporality_word(metric));
        self.monotonic.append_option((metric.kind == MetricKind::Sum).then_some(metric.monotonic));
        append_text(&mut self.unit, metric.unit);
        self.value.append_option(values.value);
        self.count.append_option(values.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)));
        self.sum.append_option(values.sum);
        self.min.append_option(values.min);
        self.max.append_option(values.max);
        let histogram = values.histogram.as_ref().map(Sketch::encode);
        let mut bytes = ROW_BYTES + metric.name.len() + metric.unit.len() + histogram.as_ref().map_or(0, Vec::len);
        self.histogram.append_option(histogram);
        let mut parts = RequestParts::default();
        bytes += append_attributes(&mut self.attributes, attributes, time.original, &mut parts, &mut self.scratch);
        self.bytes += bytes + self.append_quantiles(&values.quantiles);
        parts
    }

    /// Appends a map, or null where there are no quantiles. Returns how many bytes it took.
    fn append_quantiles(&mut self, quantiles: &[(f64, f64)]) -> usize {
        for (quantile, value) in quantiles {
            self.quantiles.keys().append_value(quantile.to_string());
            self.quantiles.values().append_option(Some(*value).filter(|value| value.is_finite()));
        }
        self.quantiles.append(!quantiles.is_empty()).expect("as many keys as values were appended");
        24 * quantiles.len()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.resource_ref.values_slice().len()
    }

    /// Estimated bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows so far, or `None` when there are none. The next rows start a new chunk.
    pub fn seal(&mut self) -> Option<RowChunk> {
        if self.len() == 0 {
            return None;
        }
        self.bytes = 0;
        let columns = vec![
            finish_numbers(&mut self.resource_ref),
            finish_numbers(&mut self.time),
            finish_numbers(&mut self.start_time),
            finish_text(&mut self.metric),
            finish_text(&mut self.kind),
            finish_text(&mut self.temporality),
            Arc::new(self.monotonic.finish()) as _,
            finish_text(&mut self.unit),
            finish_numbers(&mut self.value),
            finish_numbers(&mut self.count),
            finish_numbers(&mut self.sum),
            finish_numbers(&mut self.min),
            finish_numbers(&mut self.max),
            Arc::new(self.histogram.finish()) as _,
            finish_attributes(&mut self.attributes),
            Arc::new(self.quantiles.finish()) as _,
        ];
        Some(self.resources.seal(Table::Points, columns))
    }
}

fn kind_word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Sum => "sum",
        MetricKind::Histogram => "histogram",
        MetricKind::ExponentialHistogram => "exponential_histogram",
        MetricKind::Summary => "summary",
    }
}

fn temporality_word(metric: &Metric<'_>) -> Option<&'static str> {
    match metric.temporality {
        1 => Some("delta"),
        2 => Some("cumulative"),
        _ => None,
    }
}
