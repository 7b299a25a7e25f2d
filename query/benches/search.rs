//! What a search costs on a day of log lines: `cargo bench -p shipwake-query --bench search`.
//!
//! Fills a store in a folder with `LINES` million lines (default 2) over 24 hours, compacts it as the background does, opens it
//! anew, and times questions, each with a process's own caches cold (a store opened anew) and then warm. `FOLDER=…` keeps the store
//! there and uses it again; `QUESTION=…` asks only those with the text in their name. The system's file cache is as it is.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StringBuilder, TimestampNanosecondArray, UInt32Array,
};
use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use shipwake_query::{PipelineSource, PipelineStatus, Query, QueryConfig};
use shipwake_store::tables::text_map_builder;
use shipwake_store::{
    Commit, HealthQuery, HealthSeries, HotRows, HotShard, PatternQuery, PatternRow, ReleaseRow, RowChunk, SegmentFile,
    ShardSnapshot, ShardStatus, Store, StoreConfig, Table,
};
use tower::ServiceExt;

/// 2026-11-23T00:00:00Z.
const START_NS: i64 = 1_795_392_000_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;
const WINDOW_NS: i64 = 900 * SECOND_NS;
const WINDOWS: u64 = 96;
const CHUNK_ROWS: u64 = 35_000;
/// Chunks of a commit: as many lines as a shard commits at a time under load.
const COMMIT_CHUNKS: u64 = 2;
const RESOURCES: u32 = 12;
/// One line in so many has the word.
const RARE: u64 = 1_000_000;

struct Lent {
    shard: u32,
    files: Mutex<Arc<[SegmentFile]>>,
}

impl HotShard for Lent {
    fn snapshot(&self, _tables: &[Table]) -> ShardSnapshot {
        let files = self.files.lock().expect("a benchmark").clone();
        ShardSnapshot {
            shard: self.shard,
            seq: None,
            writer: 0,
            files,
            hot: Vec::new(),
            next_offset: 0,
            watermark_ns: 0,
            last_line: 0,
        }
    }
    fn health(&self, _query: &HealthQuery) -> Vec<HealthSeries> {
        Vec::new()
    }
    fn patterns(&self, _query: &PatternQuery) -> Vec<PatternRow> {
        Vec::new()
    }
    fn releases(&self) -> Vec<ReleaseRow> {
        Vec::new()
    }
    fn status(&self) -> ShardStatus {
        ShardStatus { ready: true, ..ShardStatus::default() }
    }
}

struct NoSource;

impl PipelineSource for NoSource {
    fn status(&self) -> PipelineStatus {
        PipelineStatus::default()
    }
}

fn main() {
    let lines = std::env::var("LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(2) * 1_000_000;
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = std::env::var("FOLDER").map_or_else(|_| scratch.path().join("store"), PathBuf::from);
    if !folder.exists() {
        fill(&folder, lines);
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let only = std::env::var("QUESTION").unwrap_or_default();
    for question in QUESTIONS.iter().filter(|question| question.0.contains(&only)) {
        let asked = Asked::open(&folder);
        let mut times = Vec::new();
        let mut answer = Value::Null;
        for _ in 0..4 {
            let (started, worked) = (Instant::now(), cpu_ms());
            answer = runtime.block_on(asked.ask(question));
            times.push((started.elapsed().as_secs_f64() * 1e3, cpu_ms() - worked));
        }
        let (cold, warm) = times.split_first().expect("asked four times");
        let least = |of: fn(&(f64, f64)) -> f64| warm.iter().map(of).fold(f64::MAX, f64::min);
        println!(
            "{:<44} cold {:>7.1} ms (CPU {:>6.1}), warm {:>7.1} ms (CPU {:>6.1})  {}",
            question.0,
            cold.0,
            cold.1,
            least(|time| time.0),
            least(|time| time.1),
            found(&answer)
        );
    }
}

/// CPU time of the threads that there are: what a question costs where others use the machine too.
fn cpu_ms() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux says it").flatten();
    let of_thread = |thread: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    threads.filter_map(of_thread).sum::<f64>() / 1e6
}

/// What is asked, of which route, and how.
type Question = (&'static str, &'static str, &'static str);

const QUESTIONS: [Question; 9] = [
    ("a word of 1 in 10^6 lines, all of them", "search", r#"{"q":"zebracrossing","limit":1000,"timeout_ms":600000}"#),
    ("a phrase of two frequent words, newest 200", "search", r#"{"q":"\"payment accepted\"","timeout_ms":600000}"#),
    ("an order number that is there once", "search", r#"{"q":"\"order A-777777\"","timeout_ms":600000}"#),
    ("a word that is nowhere", "search", r#"{"q":"nowhere","timeout_ms":600000}"#),
    ("newest 200 errors of a version", "search", r#"{"q":"level:error version:2.1","timeout_ms":600000}"#),
    ("lines by version over 24 h", "volume", r#"{"timeout_ms":600000}"#),
    ("the same from the middle of a minute on", "volume", r#"{"from":"now-86355s","timeout_ms":600000}"#),
    ("errors by version over 24 h", "volume", r#"{"q":"level:error","timeout_ms":600000}"#),
    ("lines with the rare word by version", "volume", r#"{"q":"zebracrossing","timeout_ms":600000}"#),
];

struct Asked {
    query: Query,
    /// Its files are lent.
    _store: Arc<Store>,
}

impl Asked {
    fn open(folder: &Path) -> Self {
        let store = Store::open(StoreConfig::new(folder), &mut Registry::default()).expect("opens");
        // One as it is filled; more where somebody has put more shards into the folder.
        for shard in std::fs::read_dir(folder.join("manifest")).expect("there are commits").flatten() {
            let shard: u32 = shard.file_name().to_string_lossy().parse().expect("folders of shards");
            let (committer, _) = store.open_shard(shard).expect("opens");
            store.register(shard, Arc::new(Lent { shard, files: Mutex::new(committer.files()) }));
        }
        let end_ms = (START_NS + WINDOWS as i64 * WINDOW_NS) / 1_000_000;
        let config = QueryConfig { clock: Arc::new(move || end_ms), ..QueryConfig::default() };
        let query = Query::new(config, store.clone(), Arc::new(NoSource), &mut Registry::default()).expect("threads");
        Self { query, _store: store }
    }

    async fn ask(&self, (_, route, body): &Question) -> Value {
        let mut body: Value = serde_json::from_str(body).expect("JSON");
        if body["from"].is_null() {
            body["from"] = json!("now-24h");
        }
        let request = Request::post(format!("/api/v1/logs/{route}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = self.query.router().oneshot(request).await.expect("a router never fails");
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        serde_json::from_slice(&bytes).expect("JSON")
    }
}

fn found(answer: &Value) -> String {
    let lines = answer["lines"].as_array().map(Vec::len);
    let found = lines.map_or_else(|| answer["total"].to_string(), |lines| lines.to_string());
    let scanned = &answer["meta"]["scanned"];
    format!(
        "found {found}; {} rows of {} segments compared, {} segments ruled out{}",
        scanned["rows"],
        scanned["segments"],
        scanned["segments_skipped"],
        if answer["meta"]["partial"] == false { "" } else { ", NOT ALL" }
    )
}

fn fill(folder: &Path, lines: u64) {
    let started = Instant::now();
    let store = Store::open(StoreConfig::new(folder), &mut Registry::default()).expect("opens");
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let lent = Arc::new(Lent { shard: 0, files: Mutex::new(committer.files()) });
    store.register(0, lent.clone());
    let per_window = lines / WINDOWS;
    let mut first = 0;
    let mut offset = 0;
    for window in 0..WINDOWS {
        let start_ns = START_NS + window as i64 * WINDOW_NS;
        let last = if window + 1 == WINDOWS { lines } else { first + per_window };
        let step_ns = WINDOW_NS / (last - first).max(1) as i64;
        let mut at = first;
        while at < last {
            let to = (at + COMMIT_CHUNKS * CHUNK_ROWS).min(last);
            let chunks = (at..to).step_by(CHUNK_ROWS as usize).map(|from| {
                let rows = from..(from + CHUNK_ROWS).min(to);
                HotRows::Chunk(Arc::new(chunk(rows, start_ns - first as i64 * step_ns, step_ns)))
            });
            offset += 1;
            let rows = vec![(Table::Logs, chunks.collect())];
            commit(&mut committer, &lent, offset, start_ns + WINDOW_NS, rows);
            at = to;
        }
        first = last;
        // As the background does it: the window is over.
        while store.compact_now(start_ns + 4 * WINDOW_NS).expect("compacts") > 0 {
            offset += 1;
            commit(&mut committer, &lent, offset, start_ns + 4 * WINDOW_NS, Vec::new());
        }
        if window % 8 == 7 {
            eprintln!("{first} lines in {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    let files = committer.files();
    let side = |of: fn(&SegmentFile) -> u64| files.iter().map(of).sum::<u64>() as f64 / lines as f64;
    println!(
        "{lines} lines in {} segments: {:.1} B a line, blooms {:.1}, index {:.1}; made in {:.0} s",
        files.len(),
        side(|file| file.bytes),
        side(|file| file.blooms.as_ref().map_or(0, |side| side.bytes)),
        side(|file| file.index.as_ref().map_or(0, |side| side.bytes)),
        started.elapsed().as_secs_f64()
    );
}

fn commit(
    committer: &mut shipwake_store::ShardCommitter,
    lent: &Lent,
    next_offset: u64,
    commit_ns: i64,
    rows: Vec<(Table, Vec<HotRows>)>,
) {
    let state = Bytes::from_static(b"benchmark");
    let commit = Commit { next_offset, watermark_ns: commit_ns, commit_ns, rows, state, ..Commit::default() };
    *lent.files.lock().expect("a benchmark") = committer.commit(commit).expect("commits");
}

fn chunk(rows: std::ops::Range<u64>, start_ns: i64, step_ns: i64) -> RowChunk {
    let all = || rows.clone();
    let count = (rows.end - rows.start) as usize;
    let text = |bytes: usize, of: &dyn Fn(u64, &mut StringBuilder)| -> ArrayRef {
        let mut texts = StringBuilder::with_capacity(count, count * bytes);
        for row in all() {
            of(row, &mut texts);
            texts.append_value("");
        }
        Arc::new(texts.finish())
    };
    let times = || -> ArrayRef {
        let times = TimestampNanosecondArray::from_iter_values(all().map(|row| start_ns + row as i64 * step_ns));
        Arc::new(times.with_timezone("UTC"))
    };
    let mut attributes = text_map_builder();
    for row in all() {
        ["http.route", "http.request.method", "user.id", "thread.name"]
            .iter()
            .for_each(|name| attributes.keys().append_value(name));
        let values = attributes.values();
        write(values, format_args!("/cart/{}", row % 7));
        values.append_value("");
        values.append_value("POST");
        write(values, format_args!("u-{}", mixed(row) % 50_000));
        values.append_value("");
        write(values, format_args!("worker-{}", row % 16));
        values.append_value("");
        attributes.append(true).expect("as many keys as values");
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(all().map(|row| (mixed(row) % u64::from(RESOURCES)) as u32))),
        times(),
        times(),
        Arc::new(Int32Array::from_iter_values(all().map(|row| if row % 97 == 0 { 17 } else { 9 }))),
        Arc::new(StringArray::new_null(count)),
        text(120, &body),
        Arc::new(StringArray::new_null(count)),
        text(16, &|row, texts| hexadecimal(texts, mixed(row % 40))),
        text(32, &|row, texts| {
            hexadecimal(texts, mixed(row / 3));
            hexadecimal(texts, mixed(row / 3 + 1));
        }),
        text(16, &|row, texts| hexadecimal(texts, mixed(row))),
        Arc::new(StringArray::new_null(count)),
        Arc::new(attributes.finish()),
        Arc::new(Int64Array::from_iter_values(all().map(|row| row as i64 + 1))),
    ];
    let rows = RecordBatch::try_new(Table::Logs.rows_schema(), columns).expect("the schema of log rows");
    RowChunk::new(Table::Logs, rows, Arc::new(resources())).expect("rows that fit")
}

fn write(to: &mut StringBuilder, text: std::fmt::Arguments<'_>) {
    std::fmt::Write::write_fmt(to, text).expect("there is memory");
}

fn hexadecimal(to: &mut StringBuilder, number: u64) {
    write(to, format_args!("{number:016x}"));
}

/// About 100 bytes.
fn body(row: u64, to: &mut StringBuilder) {
    if row % RARE == RARE / 2 {
        let customer = mixed(row) % 90_000;
        return write(
            to,
            format_args!("customer {customer} was seen on the zebracrossing before the shop, order A-{row}"),
        );
    }
    let (order, user, took) = (row, mixed(row) % 50_000, mixed(row + 1) % 900);
    match row % 5 {
        0 => write(
            to,
            format_args!(
                "payment accepted for order A-{order} of user u-{user} after {took} ms by acquirer north-{}",
                row % 9
            ),
        ),
        1 => write(
            to,
            format_args!(
                "GET /cart/{user} answered 200 in {took} ms, {} bytes, cache miss, upstream cart-{}",
                took * 31,
                row % 12
            ),
        ),
        2 => write(
            to,
            format_args!(
                "order A-{order} placed by user u-{user}: {} items, total {took}.{:02} EUR, voucher none",
                row % 8,
                row % 100
            ),
        ),
        3 => write(
            to,
            format_args!(
                "reserved stock for order A-{order} in warehouse w-{}: took {took} ms, {} retries",
                row % 30,
                row % 3
            ),
        ),
        _ => write(
            to,
            format_args!(
                "session of user u-{user} refreshed, token expires in {} seconds, device class {}",
                took * 4,
                row % 5
            ),
        ),
    }
}

fn resources() -> RecordBatch {
    let text =
        |of: &dyn Fn(u32) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..RESOURCES).map(of))) };
    let mut attributes = text_map_builder();
    for resource in 0..RESOURCES {
        attributes.keys().append_value("host.name");
        attributes.values().append_value(format!("web-{resource}"));
        attributes.append(true).expect("as many keys as values");
    }
    let columns = vec![
        text(&|resource| format!("shop-{}", resource % 3)),
        text(&|_| String::new()),
        text(&|_| "prod".to_owned()),
        text(&|resource| format!("2.{}", resource / 3 % 2)),
        text(&|resource| format!("i-{resource}")),
        Arc::new(attributes.finish()) as ArrayRef,
    ];
    RecordBatch::try_new(Table::Logs.resources_schema(), columns).expect("the schema of resources")
}

/// Numbers without an order.
fn mixed(seed: u64) -> u64 {
    let x = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
