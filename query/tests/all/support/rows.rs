//! Rows as the aggregator makes them, from a few fields.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array,
};
use shipwake_model::pattern::id_text;
use shipwake_model::sketch::{HdrCells, Sketch};
use shipwake_model::{ReleaseId, Resolution, Source};
use shipwake_store::tables::text_map_builder;
use shipwake_store::{PatternRow, PatternVersion, RowChunk, Table};

pub fn release(service: &str, version: &str) -> Arc<ReleaseId> {
    release_in(service, "prod", version)
}

pub fn release_in(service: &str, environment: &str, version: &str) -> Arc<ReleaseId> {
    Arc::new(ReleaseId {
        service: service.into(),
        namespace: "".into(),
        environment: environment.into(),
        version: version.into(),
    })
}

/// A log record.
#[derive(Clone, Debug)]
pub struct Log {
    pub release: Arc<ReleaseId>,
    pub time_ns: i64,
    pub severity: i32,
    pub body: String,
    pub attributes: Vec<(String, String)>,
}

/// Requests of one second that are alike.
#[derive(Clone, Debug)]
pub struct Requests {
    pub release: Arc<ReleaseId>,
    pub source: Source,
    pub route: Arc<str>,
    pub t_ms: i64,
    pub count: u64,
    pub errors: u64,
    pub duration_us: u64,
    pub slot: i8,
    pub is_final: bool,
}

impl Requests {
    pub fn new(release: &Arc<ReleaseId>, t_ms: i64, count: u64) -> Self {
        Self {
            release: release.clone(),
            source: Source::Spans,
            route: "/pay".into(),
            t_ms,
            count,
            errors: 0,
            duration_us: 100_000,
            slot: 0,
            is_final: false,
        }
    }

    pub fn errors(self, errors: u64) -> Self {
        Self { errors, ..self }
    }

    pub fn taking(self, duration_us: u64) -> Self {
        Self { duration_us, ..self }
    }

    pub fn of_source(self, source: Source) -> Self {
        Self { source, ..self }
    }
}

fn text(values: Vec<&str>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn time(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(values).with_timezone("UTC"))
}

fn maps(rows: &[&[(String, String)]]) -> ArrayRef {
    let mut builder = text_map_builder();
    for row in rows {
        for (key, value) in *row {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true).expect("as many keys as values");
    }
    Arc::new(builder.finish())
}

fn null_text() -> ArrayRef {
    Arc::new(StringArray::from(vec![None::<&str>]))
}

/// `line` is its number in the shard.
pub fn log_chunk(log: &Log, line: i64) -> RowChunk {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(vec![0])),
        time(vec![log.time_ns]),
        Arc::new(TimestampNanosecondArray::from(vec![None::<i64>]).with_timezone("UTC")),
        Arc::new(Int32Array::from(vec![log.severity])),
        null_text(),
        text(vec![&log.body]),
        null_text(),
        null_text(),
        null_text(),
        null_text(),
        null_text(),
        maps(&[&log.attributes]),
        Arc::new(Int64Array::from(vec![line])),
    ];
    let rows = RecordBatch::try_new(Table::Logs.rows_schema(), columns).expect("the schema of log rows");
    let resource = [("service.name".to_owned(), log.release.service.to_string())];
    let columns: Vec<ArrayRef> = vec![
        text(vec![&log.release.service]),
        text(vec![&log.release.namespace]),
        text(vec![&log.release.environment]),
        text(vec![&log.release.version]),
        text(vec!["i-1"]),
        maps(&[&resource]),
    ];
    let resources = RecordBatch::try_new(Table::Logs.resources_schema(), columns).expect("the schema of resources");
    RowChunk::new(Table::Logs, rows, Arc::new(resources)).expect("rows that fit")
}

pub fn span_batch(requests: &Requests) -> RecordBatch {
    let release = &requests.release;
    let status = if requests.errors > 0 { "error" } else { "unset" };
    let columns: Vec<ArrayRef> = vec![
        text(vec![&release.service]),
        text(vec![&release.namespace]),
        text(vec![&release.environment]),
        text(vec![&release.version]),
        text(vec!["i-1"]),
        time(vec![requests.t_ms * 1_000_000]),
        Arc::new(Int64Array::from(vec![requests.duration_us as i64 * 1_000])),
        text(vec![&requests.route]),
        text(vec!["server"]),
        text(vec![status]),
        text(vec![&requests.route]),
        null_text(),
        null_text(),
        null_text(),
        maps(&[&[("http.request.method".to_owned(), "POST".to_owned())]]),
        maps(&[&[]]),
    ];
    RecordBatch::try_new(Table::Spans.schema(), columns).expect("the schema of spans")
}

/// The partial rows of one commit: requests, errors and duration of one window.
pub fn window_batch(requests: &Requests, resolution: Resolution) -> RecordBatch {
    let release = &requests.release;
    let start_ns = resolution.window_start_ns(requests.t_ms * 1_000_000);
    let mut cells = HdrCells::new();
    cells.record_n(requests.duration_us, requests.count);
    let histogram = Sketch::Hdr(cells).encode();
    let sum_us = requests.duration_us as f64 * requests.count as f64;
    let us = requests.duration_us as f64;
    let rows = if requests.source == Source::Logs { 2 } else { 3 };
    let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; rows])) };
    let of_duration =
        |value: f64| -> ArrayRef { Arc::new(Float64Array::from([None, None, Some(value)][..rows].to_vec())) };
    let counts = [requests.count as i64, requests.errors as i64, requests.count as i64];
    let columns: Vec<ArrayRef> = vec![
        same(&release.service),
        same(&release.namespace),
        same(&release.environment),
        same(&release.version),
        same(""),
        time(vec![start_ns; rows]),
        Arc::new(Int32Array::from(vec![resolution.seconds(); rows])),
        text(["requests", "errors", "duration"][..rows].to_vec()),
        same(""),
        text(["", "", "us"][..rows].to_vec()),
        same(requests.source.as_str()),
        same(&requests.route),
        Arc::new(Int8Array::from(vec![requests.slot; rows])),
        maps(&vec![&[][..]; rows]),
        Arc::new(Int64Array::from(counts[..rows].to_vec())),
        of_duration(sum_us),
        of_duration(us),
        of_duration(us),
        Arc::new(BinaryArray::from_opt_vec([None, None, Some(histogram.as_slice())][..rows].to_vec())),
        Arc::new(Int64Array::from(vec![1; rows])),
        Arc::new(BooleanArray::from(vec![requests.is_final; rows])),
    ];
    RecordBatch::try_new(Table::Windows.schema(), columns).expect("the schema of windows")
}

/// The partial row of one commit: the lines of a pattern in one window.
pub fn pattern_batch(row: &PatternRow, version: &PatternVersion, resolution: Resolution) -> RecordBatch {
    let attributes = [("level", version.level.as_str()), ("template", &*row.template)];
    let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let seconds = |time_ns: i64| -> ArrayRef { Arc::new(Float64Array::from(vec![time_ns as f64 / 1e9])) };
    let columns: Vec<ArrayRef> = vec![
        text(vec![&row.service]),
        text(vec![&row.namespace]),
        text(vec![&row.environment]),
        text(vec![&version.version]),
        text(vec![""]),
        time(vec![resolution.window_start_ns(version.first_seen_ns)]),
        Arc::new(Int32Array::from(vec![resolution.seconds()])),
        text(vec!["pattern"]),
        text(vec![&id_text(row.id)]),
        text(vec![""]),
        text(vec!["logs"]),
        text(vec![""]),
        Arc::new(Int8Array::from(vec![0])),
        maps(&[&attributes]),
        Arc::new(Int64Array::from(vec![version.count as i64])),
        Arc::new(Float64Array::from(vec![None::<f64>])),
        seconds(version.first_seen_ns),
        seconds(version.last_seen_ns),
        Arc::new(BinaryArray::from_opt_vec(vec![None])),
        Arc::new(Int64Array::from(vec![1])),
        Arc::new(BooleanArray::from(vec![false])),
    ];
    RecordBatch::try_new(Table::Windows.schema(), columns).expect("the schema of windows")
}
