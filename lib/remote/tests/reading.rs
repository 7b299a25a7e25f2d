//! A real shard in front of a real store, asked over a real connection by a reader that has only the manifests and the owner: what
//! the reader sees is what the journal holds up to the position it names, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prometheus_client::registry::Registry;
use prost::Message;
use shipwake_aggregate::{Aggregate, AggregateConfig, AggregateError, Clock};
use shipwake_journal::{Header, Journal, MemoryJournal, Record};
use shipwake_model::Signal;
use shipwake_remote::{RemoteConfig, RemoteShards, router_in_pieces};
use shipwake_store::{
    HealthQuery, HotRows, MarkerQuery, MeasureQuery, PatternQuery, Snapshot, Store, StoreConfig, StoreError, Table,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PARTITIONS: u32 = 2;
/// Some chunks of a few rows. Every question seals a chunk of each table, so less would never come together.
const PIECE_BYTES: usize = 60_000;
/// Records of a request.
const ROWS: usize = 3;
const NS_PER_S: i64 = 1_000_000_000;
const NOW: i64 = 1_800_000_000 * NS_PER_S;
const LIMIT: Duration = Duration::from_secs(20);

/// The process that folds.
struct Owner {
    store: Arc<Store>,
    journal: MemoryJournal,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AggregateError>>,
    stop_server: CancellationToken,
    server: JoinHandle<()>,
    address: SocketAddr,
}

impl Owner {
    async fn start(dir: &Path, journal: &MemoryJournal, address: SocketAddr, piece_bytes: usize) -> Self {
        let config = StoreConfig { free_bytes_min: 0, ..StoreConfig::new(dir) };
        let store = Store::open(config, &mut Registry::default()).expect("opens");
        let config = AggregateConfig {
            commit_interval: Duration::from_secs(3600),
            commit_bytes: 20_000,
            clock: Clock::new(|| NOW),
            ..AggregateConfig::default()
        };
        let stop = CancellationToken::new();
        let stage = Aggregate::new(config, Arc::new(journal.clone()), store.clone(), &mut Registry::default());
        let socket = tokio::net::TcpListener::bind(address).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let routes = router_in_pieces(store.clone(), piece_bytes);
        let stop_server = CancellationToken::new();
        let stopped = stop_server.clone().cancelled_owned();
        let serving = axum::serve(socket, routes).with_graceful_shutdown(stopped);
        let server = tokio::spawn(async move { serving.await.expect("serves") });
        let task = tokio::spawn(stage.run(stop.clone()));
        let owner = Owner { store, journal: journal.clone(), stop, task, stop_server, server, address };
        wait_for("the shards", || owner.store.status().len() == PARTITIONS as usize).await;
        owner
    }

    async fn folds_everything(&self) {
        let is_done = || self.store.status().iter().all(|shard| shard.next_offset == self.journal.end(shard.shard));
        wait_for("everything to be folded", is_done).await;
    }

    /// From then on readers know of all shards.
    async fn has_committed(&self) {
        let is_done = || self.store.snapshot(&[]).shards.iter().all(|shard| shard.seq.is_some());
        wait_for("a commit of every shard", is_done).await;
    }

    /// Ends as a process does that is told to: everything is committed.
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("stops");
        self.stop_server.cancel();
        self.server.await.expect("no panic");
    }
}

/// The process that reads.
fn read(dir: &Path, owner: SocketAddr, mirror_bytes: usize) -> Arc<Store> {
    let store = Store::follow(StoreConfig::new(dir), &mut Registry::default()).expect("opens");
    let config = RemoteConfig {
        owner_if_unnamed: Some(format!("http://{owner}").into()),
        follow_interval: Duration::from_millis(20),
        status_interval: Duration::from_millis(20),
        mirror_bytes,
        // The machine may be busy; who is late is not away.
        deadline: LIMIT,
        ..RemoteConfig::default()
    };
    store.answer_also_from(RemoteShards::start(config, store.follower()).expect("starts"));
    store
}

async fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn resource(version: usize) -> Option<Resource> {
    let attributes = vec![
        attribute("service.name", "shop"),
        attribute("service.version", &format!("v{version}")),
        attribute("deployment.environment.name", "prod"),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

/// The `n`th request: lines and spans take turns.
fn request(n: usize) -> Record {
    let time = (NOW - NS_PER_S * (n as i64 % 20)) as u64;
    let (signal, value) = if n.is_multiple_of(2) {
        let line = |row: usize| LogRecord {
            time_unix_nano: time,
            severity_number: 9,
            body: Some(AnyValue { value: Some(Value::StringValue(format!("order {n} of {row} accepted"))) }),
            ..LogRecord::default()
        };
        let scope_logs = vec![ScopeLogs { log_records: (0..ROWS).map(line).collect(), ..ScopeLogs::default() }];
        let of_resource = ResourceLogs { resource: resource(n % 3), scope_logs, ..ResourceLogs::default() };
        (Signal::Logs, ExportLogsServiceRequest { resource_logs: vec![of_resource] }.encode_to_vec())
    } else {
        let span = |_| Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "GET /pay".to_owned(),
            kind: 2,
            start_time_unix_nano: time - 5_000_000,
            end_time_unix_nano: time,
            attributes: vec![attribute("http.request.method", "GET"), attribute("http.route", "/pay")],
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: (0..ROWS).map(span).collect(), ..ScopeSpans::default() }];
        let of_resource = ResourceSpans { resource: resource(n % 3), scope_spans, ..ResourceSpans::default() };
        (Signal::Traces, ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec())
    };
    let header = Header {
        tenant: "default".into(),
        signal,
        received_ns: NOW,
        records: ROWS as u32,
        time_min_ns: time as i64,
        time_max_ns: time as i64,
        request_hash: None,
    };
    Record { partition: (n / 2) as u32 % PARTITIONS, header, value: Bytes::from(value) }
}

/// A marker and a change of a verdict, as they come to a partition.
fn said_of_v1(partition: u32) -> Record {
    let said = |event_name: &str, attributes: &[(&str, &str)]| LogRecord {
        time_unix_nano: NOW as u64,
        event_name: event_name.to_owned(),
        attributes: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        ..LogRecord::default()
    };
    let log_records = vec![
        said("shipwake.marker", &[("shipwake.marker.id", "d-1"), ("shipwake.marker.kind", "deploy")]),
        said("shipwake.verdict", &[("shipwake.verdict.sequence", "1"), ("shipwake.verdict.verdict", "go")]),
    ];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let of_resource = ResourceLogs { resource: resource(1), scope_logs, ..ResourceLogs::default() };
    let value = ExportLogsServiceRequest { resource_logs: vec![of_resource] }.encode_to_vec();
    let header = Header {
        tenant: "default".into(),
        signal: Signal::Logs,
        received_ns: NOW,
        records: 2,
        time_min_ns: NOW,
        time_max_ns: NOW,
        request_hash: None,
    };
    Record { partition, header, value: Bytes::from(value) }
}

fn batches(store: &Store, snapshot: &Snapshot, shard: u32, table: Table) -> Result<Vec<RecordBatch>, StoreError> {
    let shard = snapshot.shards.iter().find(|found| found.shard == shard).expect("the shard is there");
    let mut batches = Vec::new();
    for file in shard.files.iter().filter(|file| file.table == table) {
        batches.extend(store.read_segment(file, None, i64::MIN..i64::MAX)?);
    }
    let hot = shard.hot.iter().filter(|(of, _)| *of == table).flat_map(|(_, rows)| rows);
    batches.extend(hot.map(|rows: &HotRows| rows.to_batch(None)));
    Ok(batches)
}

/// That a snapshot has every record below the position it names, once, in rows and in windows. Gives the positions.
fn check(store: &Store, snapshot: &Snapshot) -> Result<Vec<u64>, StoreError> {
    for found in &snapshot.shards {
        // Requests come in pairs to each partition: a log request, then a trace request.
        let (logs, traces) = (found.next_offset.div_ceil(2) as usize, found.next_offset as usize / 2);
        let logs_found = batches(store, snapshot, found.shard, Table::Logs)?;
        let mut lines: BTreeSet<i64> = BTreeSet::new();
        let mut rows = 0;
        for batch in &logs_found {
            rows += batch.num_rows();
            lines.extend(batch.column_by_name("line").expect("a column").as_primitive::<Int64Type>().values().iter());
        }
        assert_eq!(rows, logs * ROWS, "lines of shard {} at {}", found.shard, found.next_offset);
        assert_eq!(lines.len(), rows, "every line once");
        // Without its owner nobody knows the number.
        let is_whole = !snapshot.incomplete.iter().any(|missing| missing.shard == found.shard);
        assert!(!is_whole || lines.last().copied().unwrap_or(0) == found.last_line, "the newest line is named");
        let spans = batches(store, snapshot, found.shard, Table::Spans)?;
        let spans: usize = spans.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(spans, traces * ROWS, "spans of shard {} at {}", found.shard, found.next_offset);
        let mut counted = 0;
        for batch in batches(store, snapshot, found.shard, Table::Windows)? {
            let column = |name: &str| batch.column_by_name(name).expect("a column").clone();
            let (signal, source) = (column("signal"), column("source"));
            let (resolution, count) = (column("resolution_s"), column("count"));
            for row in 0..batch.num_rows() {
                let is_one = signal.as_string::<i32>().value(row) == "requests"
                    && source.as_string::<i32>().value(row) == "spans"
                    && resolution.as_primitive::<Int32Type>().value(row) == 10;
                counted += if is_one { count.as_primitive::<Int64Type>().value(row) } else { 0 };
            }
        }
        assert_eq!(counted as usize, traces * ROWS, "requests of shard {} at {}", found.shard, found.next_offset);
    }
    Ok(snapshot.shards.iter().map(|shard| shard.next_offset).collect())
}

async fn append(journal: &MemoryJournal, requests: std::ops::Range<usize>) {
    journal.append(requests.map(request).collect()).await.expect("appends");
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// The owner folds and commits all the time; readers that fetch in small pieces, with a mirror that holds nearly nothing or all,
/// read all the time. No snapshot counts a record twice or lacks one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_interleaving_of_folding_committing_and_reading_counts_a_record_twice_or_loses_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = MemoryJournal::new(PARTITIONS);
    let owner = Owner::start(dir.path(), &journal, any_port(), PIECE_BYTES).await;
    let readers: Vec<Arc<Store>> =
        [1_000, 64 << 20].map(|mirror| read(dir.path(), owner.address, mirror)).into_iter().collect();
    let done = CancellationToken::new();
    let reading: Vec<JoinHandle<(usize, BTreeSet<usize>)>> = readers
        .iter()
        .cloned()
        .map(|store| {
            let done = done.clone();
            tokio::task::spawn_blocking(move || {
                let (mut reads, mut before, mut file_counts) = (0, vec![0; PARTITIONS as usize], BTreeSet::new());
                while !done.is_cancelled() {
                    let snapshot = store.snapshot(&Table::ALL);
                    assert_eq!(snapshot.incomplete, []);
                    // A file that the owner dropped meanwhile is read from the next snapshot.
                    let Ok(positions) = check(&store, &snapshot) else { continue };
                    if positions.len() == before.len() {
                        assert!(before.iter().zip(&positions).all(|(old, new)| old <= new), "{before:?} {positions:?}");
                        before = positions;
                    }
                    file_counts.extend(snapshot.shards.iter().map(|shard| shard.files.len()));
                    reads += 1;
                }
                (reads, file_counts)
            })
        })
        .collect();
    for step in 0..120 {
        append(&journal, step * 20..(step + 1) * 20).await;
        if step % 4 == 0 {
            owner.folds_everything().await;
        }
        if step % 12 == 0 {
            owner.has_committed().await;
        }
    }
    owner.folds_everything().await;
    let reference = owner.store.snapshot(&Table::ALL);
    check(&owner.store, &reference).expect("the owner's own view");
    done.cancel();
    for reader in reading {
        let (reads, file_counts) = reader.await.expect("no reader saw anything else");
        assert!(reads >= 5, "{reads} reads");
        assert!(file_counts.len() >= 3, "commits happened while it read: {file_counts:?}");
    }
    owner.stop().await;
}

/// What the pages ask is answered by the reader as by the owner itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_question_is_answered_as_the_owner_answers_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = MemoryJournal::new(PARTITIONS);
    append(&journal, 0..400).await;
    journal.append(vec![said_of_v1(0), said_of_v1(1)]).await.expect("appends");
    let owner = Owner::start(dir.path(), &journal, any_port(), PIECE_BYTES).await;
    owner.folds_everything().await;
    owner.has_committed().await;
    let reader = read(dir.path(), owner.address, 64 << 20);
    let asked = tokio::task::spawn_blocking(move || {
        let (of_owner, of_reader) = (&owner.store, &reader);
        let health = HealthQuery {
            service: Some("shop".to_owned()),
            environment: None,
            from_ms: 0,
            to_ms: i64::MAX / 2,
            step_s: 10,
            by_route: true,
        };
        let patterns = PatternQuery { service: None, environment: None, from_ms: 0, to_ms: i64::MAX / 2 };
        let measures = MeasureQuery {
            service: None,
            environment: None,
            signals: &["kpi", "usage", "toggle"],
            values: &["kpi"],
            from_ms: 0,
            to_ms: i64::MAX / 2,
            step_s: 10,
        };
        let said = format!("{:?}", of_owner.health(&health));
        assert!(said.contains("/pay"), "{said}");
        assert_eq!(format!("{:?}", of_reader.health(&health)), said);
        let said = of_owner.patterns(&patterns);
        assert!(!said.is_empty());
        assert_eq!(of_reader.patterns(&patterns), said);
        assert_eq!(format!("{:?}", of_reader.measures(&measures)), format!("{:?}", of_owner.measures(&measures)));
        assert_eq!(of_reader.releases(), of_owner.releases());
        assert_eq!(of_reader.releases().len(), 3);
        assert_eq!(of_reader.usage_of_day("shop", "prod"), of_owner.usage_of_day("shop", "prod"));
        assert_eq!(of_reader.toggles(None), of_owner.toggles(None));
        let all = MarkerQuery::all();
        assert_eq!(of_owner.markers(&all).len(), 1, "one id, though it lies in two shards");
        assert_eq!(of_reader.markers(&all), of_owner.markers(&all));
        assert_eq!(of_owner.verdicts(&all).len(), 1);
        assert_eq!(of_reader.verdicts(&all), of_owner.verdicts(&all));
        assert_eq!(of_reader.status().len(), PARTITIONS as usize);
        assert_eq!(of_reader.incomplete(Instant::now()), []);
        owner
    });
    asked.await.expect("equal").stop().await;
}

/// An owner that goes away is named while its files answer, and the next one at its place is asked without anybody's doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_owner_that_is_away_is_named_and_its_successor_makes_the_answers_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = MemoryJournal::new(PARTITIONS);
    append(&journal, 0..100).await;
    let owner = Owner::start(dir.path(), &journal, any_port(), PIECE_BYTES).await;
    owner.folds_everything().await;
    owner.has_committed().await;
    let address = owner.address;
    let reader = read(dir.path(), address, 64 << 20);
    let snapshot = |store: &Arc<Store>| {
        let store = store.clone();
        tokio::task::spawn_blocking(move || {
            let snapshot = store.snapshot(&Table::ALL);
            let positions = check(&store, &snapshot).expect("reads");
            (snapshot, positions)
        })
    };
    let (whole, positions) = snapshot(&reader).await.expect("whole");
    assert_eq!((whole.incomplete.len(), positions), (0, vec![50, 50]));

    let begun = Instant::now();
    owner.stop().await;
    let stored = loop {
        // It has committed everything when it ended; the thread that follows may not have seen it yet.
        let (stored, positions) = snapshot(&reader).await.expect("what is stored");
        assert!(begun.elapsed() < LIMIT, "{positions:?}");
        if positions == [50, 50] && stored.incomplete.len() == 2 {
            break stored;
        }
    };
    assert_eq!(stored.incomplete.iter().map(|missing| missing.shard).collect::<Vec<_>>(), [0, 1]);
    assert!(stored.incomplete[0].reason.contains("does not answer"), "{:?}", stored.incomplete);
    assert!(stored.shards.iter().all(|shard| shard.hot.is_empty()));
    assert_eq!(reader.incomplete(begun).len(), 2);
    let statuses = reader.status();
    assert!(statuses.iter().all(|status| !status.ready && status.stored == 150), "{statuses:?}");

    append(&journal, 100..180).await;
    let successor = Owner::start(dir.path(), &journal, address, PIECE_BYTES).await;
    successor.folds_everything().await;
    wait_for("the reader to be whole", || reader.incomplete(Instant::now()).is_empty()).await;
    let (whole, positions) = snapshot(&reader).await.expect("whole again");
    assert_eq!((whole.incomplete.len(), positions), (0, vec![90, 90]));
    assert_eq!(reader.incomplete(begun).len(), 2, "an answer that was begun before the gap is over may lack something");
    successor.stop().await;
}

/// A process that was stopped while another took its shard still answers as if it had it. Nobody believes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_process_says_of_a_shard_that_it_has_lost_is_void() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = MemoryJournal::new(PARTITIONS);
    append(&journal, 0..100).await;
    let owner = Owner::start(dir.path(), &journal, any_port(), PIECE_BYTES).await;
    owner.folds_everything().await;
    owner.has_committed().await;
    let reader = read(dir.path(), owner.address, 64 << 20);
    let (mut other, recovered) = owner.store.open_shard(0).expect("opens");
    let stored = recovered.expect("has commits").next_offset;
    other.take_over(NOW).expect("nobody commits meanwhile");
    wait_for("the reader to see the other writer", || !reader.incomplete(Instant::now()).is_empty()).await;
    let store = reader.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let snapshot = store.snapshot(&Table::ALL);
        let positions = check(&store, &snapshot).expect("reads");
        (snapshot, positions)
    });
    let (snapshot, positions) = asked.await.expect("what is stored");
    assert_eq!(snapshot.incomplete.iter().map(|missing| missing.shard).collect::<Vec<_>>(), [0]);
    assert!(snapshot.incomplete[0].reason.contains("does not have it"), "{:?}", snapshot.incomplete);
    assert_eq!(positions, vec![stored, 50], "of the lost shard what is stored, of the other one all");
    assert_eq!(snapshot.shards[0].writer, other.writer());
    drop(other);
    owner.stop().await;
}

/// Where there is no store yet, that is said; nothing is made.
#[test]
fn a_store_that_is_not_there_is_waited_for_in_words() {
    let dir = tempfile::tempdir().expect("a folder");
    for place in [dir.path().to_owned(), dir.path().join("nothing")] {
        let opened = Store::follow(StoreConfig::new(&place), &mut Registry::default());
        let error = opened.expect_err("there is none");
        assert!(matches!(error, StoreError::NotYet { .. }), "{error}");
        assert!(error.to_string().contains("no store"), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
}
