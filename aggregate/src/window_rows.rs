//! Rows of the table `windows` from the cells of a shard: one partial row per series, window, resolution and signal.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int8Builder, Int32Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampNanosecondBuilder, UInt32Builder,
};
use hashbrown::HashMap;
use shipwake_model::{ReleaseId, Resolution, Sketch};
use shipwake_store::tables::{TextMapBuilder, text_map_builder};
use shipwake_store::{HotRows, RowChunk, Table};

use crate::cells::FullCell;
use crate::metric_cell::MetricCell;
use crate::series::{HealthMeta, Measure, MetricForm, MetricMeta};
use crate::watermark::Watermark;
use crate::windows::Deltas;

/// Resolutions of the table `windows`; one second has a table of its own.
const RESOLUTIONS: [Resolution; 3] = [Resolution::S10, Resolution::S60, Resolution::H1];

/// The partial rows of all cells, by table.
pub fn window_rows(deltas: &Deltas) -> Vec<(Table, Vec<HotRows>)> {
    vec![(Table::Windows, rows_of_windows(deltas)), (Table::Windows1s, rows_of_seconds(deltas))]
}

/// The partial rows of ten seconds, a minute and an hour.
pub fn rows_of_windows(deltas: &Deltas) -> Vec<HotRows> {
    let mut builder = Builder::new();
    for resolution in RESOLUTIONS {
        for (start_ns, cells) in deltas.ten.rolled_up(resolution) {
            let window = Window::of(start_ns, resolution, &deltas.watermark);
            for (series, cell) in &cells {
                builder.health(&window, &deltas.health_metas[*series as usize], cell);
            }
        }
        for windows in [&deltas.metrics, &deltas.lines, &deltas.product] {
            for (start_ns, cells) in windows.rolled_up(resolution) {
                let window = Window::of(start_ns, resolution, &deltas.watermark);
                for (series, cell) in &cells {
                    builder.metric(&window, &deltas.metric_metas[*series as usize], cell);
                }
            }
        }
    }
    builder.finish(Table::Windows)
}

/// The partial rows of one second.
pub fn rows_of_seconds(deltas: &Deltas) -> Vec<HotRows> {
    let mut builder = Builder::new();
    for (start_ns, series, cell) in deltas.one.iter() {
        let window = Window::of(start_ns, Resolution::S1, &deltas.watermark);
        builder.health(&window, &deltas.health_metas[series as usize], &cell);
    }
    builder.finish(Table::Windows1s)
}

struct Window {
    start_ns: i64,
    resolution: Resolution,
    is_final: bool,
}

impl Window {
    fn of(start_ns: i64, resolution: Resolution, watermark: &Watermark) -> Self {
        Window { start_ns, resolution, is_final: watermark.is_final(start_ns, resolution) }
    }
}

/// One row, as far as it differs between signals.
#[derive(Default)]
struct Row<'a> {
    signal: &'static str,
    metric: &'a str,
    unit: &'a str,
    source: &'static str,
    route: &'a str,
    slot: u8,
    attributes: &'a [(String, String)],
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    histogram: Option<Vec<u8>>,
}

struct Builder {
    releases: HashMap<Arc<ReleaseId>, u32, ahash::RandomState>,
    order: Vec<Arc<ReleaseId>>,
    resource_ref: UInt32Builder,
    window_start: TimestampNanosecondBuilder,
    resolution_s: Int32Builder,
    signal: StringBuilder,
    metric: StringBuilder,
    unit: StringBuilder,
    source: StringBuilder,
    route: StringBuilder,
    slot: Int8Builder,
    attributes: TextMapBuilder,
    count: Int64Builder,
    sum: Float64Builder,
    min: Float64Builder,
    max: Float64Builder,
    histogram: BinaryBuilder,
    revision: Int64Builder,
    is_final: BooleanBuilder,
}

impl Builder {
    fn new() -> Self {
        Builder {
            releases: HashMap::default(),
            order: Vec::new(),
            resource_ref: UInt32Builder::new(),
            window_start: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            resolution_s: Int32Builder::new(),
            signal: StringBuilder::new(),
            metric: StringBuilder::new(),
            unit: StringBuilder::new(),
            source: StringBuilder::new(),
            route: StringBuilder::new(),
            slot: Int8Builder::new(),
            attributes: text_map_builder(),
            count: Int64Builder::new(),
            sum: Float64Builder::new(),
            min: Float64Builder::new(),
            max: Float64Builder::new(),
            histogram: BinaryBuilder::new(),
            revision: Int64Builder::new(),
            is_final: BooleanBuilder::new(),
        }
    }

    /// Requests, errors where there are any, and durations where there are any.
    fn health(&mut self, window: &Window, meta: &HealthMeta, cell: &FullCell) {
        let (source, route, slot) = (meta.source.as_str(), &*meta.route, meta.slot);
        let common = |signal| Row { signal, source, route, slot, ..Row::default() };
        if cell.requests > 0 {
            self.row(window, &meta.release, Row { count: cell.requests, ..common("requests") });
        }
        if cell.errors > 0 {
            self.row(window, &meta.release, Row { count: cell.errors, ..common("errors") });
        }
        if cell.duration.is_empty() {
            return;
        }
        let mut bytes = Vec::with_capacity(128);
        cell.duration.encode_v2(&mut bytes);
        let row = Row {
            unit: "us",
            count: cell.duration.count(),
            sum: Some(cell.duration.sum() as f64),
            min: cell.duration.min().map(|min| min as f64),
            max: cell.duration.max().map(|max| max as f64),
            histogram: Some(bytes),
            ..common("duration")
        };
        self.row(window, &meta.release, row);
    }

    fn metric(&mut self, window: &Window, meta: &MetricMeta, cell: &MetricCell) {
        let mut row = Row {
            signal: meta.measure.as_str(),
            metric: &meta.metric,
            unit: &meta.unit,
            source: meta.source.as_str(),
            slot: meta.slot,
            attributes: &meta.attributes,
            ..Row::default()
        };
        match cell {
            MetricCell::Empty => return,
            MetricCell::Sketch(sketch) => {
                row.count = sketch.count();
                (row.sum, row.min, row.max) = summary(sketch);
                row.histogram = Some(sketch.encode());
            }
            MetricCell::One(_) | MetricCell::Many(_) | MetricCell::Spread(_) => {
                let Some(totals) = cell.totals() else { return };
                row.count = totals.count;
                // Of lines the times are kept, which do not add up.
                row.sum = (meta.measure != Measure::Pattern).then_some(totals.sum);
                // The smallest increase says something about the export interval and nothing about the metric.
                if meta.form == MetricForm::Level {
                    (row.min, row.max) = (Some(totals.min), Some(totals.max));
                }
                if let MetricCell::Spread(spread) = cell {
                    row.histogram = Some(Sketch::Exponential(spread.values.clone()).encode());
                }
            }
        }
        self.row(window, &meta.release, row);
    }

    fn row(&mut self, window: &Window, release: &Arc<ReleaseId>, row: Row<'_>) {
        let number = *self.releases.entry(release.clone()).or_insert_with(|| {
            self.order.push(release.clone());
            self.order.len() as u32 - 1
        });
        self.resource_ref.append_value(number);
        self.window_start.append_value(window.start_ns);
        self.resolution_s.append_value(window.resolution.seconds());
        self.signal.append_value(row.signal);
        self.metric.append_value(row.metric);
        self.unit.append_value(row.unit);
        self.source.append_value(row.source);
        self.route.append_value(row.route);
        self.slot.append_value(row.slot as i8);
        for (key, value) in row.attributes {
            self.attributes.keys().append_value(key);
            self.attributes.values().append_value(value);
        }
        self.attributes.append(true).expect("as many keys as values were appended");
        self.count.append_value(i64::try_from(row.count).unwrap_or(i64::MAX));
        self.sum.append_option(row.sum);
        self.min.append_option(row.min);
        self.max.append_option(row.max);
        self.histogram.append_option(row.histogram);
        self.revision.append_value(1);
        self.is_final.append_value(window.is_final);
    }

    fn finish(mut self, table: Table) -> Vec<HotRows> {
        if self.order.is_empty() {
            return Vec::new();
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.resource_ref.finish()),
            Arc::new(self.window_start.finish()),
            Arc::new(self.resolution_s.finish()),
            Arc::new(self.signal.finish()),
            Arc::new(self.metric.finish()),
            Arc::new(self.unit.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.route.finish()),
            Arc::new(self.slot.finish()),
            Arc::new(self.attributes.finish()),
            Arc::new(self.count.finish()),
            Arc::new(self.sum.finish()),
            Arc::new(self.min.finish()),
            Arc::new(self.max.finish()),
            Arc::new(self.histogram.finish()),
            Arc::new(self.revision.finish()),
            Arc::new(self.is_final.finish()),
        ];
        let rows = RecordBatch::try_new(table.rows_schema(), columns).expect("the builders follow the table's schema");
        let resources = Arc::new(releases_batch(table, &self.order));
        let chunk = RowChunk::new(table, rows, resources).expect("every row points at a release of its chunk");
        vec![HotRows::Chunk(Arc::new(chunk))]
    }
}

fn releases_batch(table: Table, releases: &[Arc<ReleaseId>]) -> RecordBatch {
    let text = |get: &dyn Fn(&ReleaseId) -> &str| -> ArrayRef {
        let mut column = StringBuilder::new();
        for release in releases {
            column.append_value(get(release));
        }
        Arc::new(column.finish())
    };
    let columns = vec![
        text(&|release| &release.service),
        text(&|release| &release.namespace),
        text(&|release| &release.environment),
        text(&|release| &release.version),
        // Windows add up over instances; their slot says enough about which.
        text(&|_| ""),
    ];
    RecordBatch::try_new(table.resources_schema(), columns).expect("the columns follow the table's schema")
}

fn summary(sketch: &Sketch) -> (Option<f64>, Option<f64>, Option<f64>) {
    match sketch {
        Sketch::Hdr(cells) => {
            (Some(cells.sum() as f64), cells.min().map(|min| min as f64), cells.max().map(|max| max as f64))
        }
        Sketch::Explicit(explicit) => (explicit.sum, explicit.min, explicit.max),
        Sketch::Exponential(buckets) => (buckets.sum, buckets.min, buckets.max),
        Sketch::Distinct(_) => (None, None, None),
    }
}
