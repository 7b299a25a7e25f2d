//! What a look of the judge costs: ten open releases, each with twenty checks and twenty routes beside its baseline, whose windows lie in
//! the hot state of two shards with an hour of past. `cargo bench -p shipwake-alerts --bench judge`; figures go to `docs/benchmarks.md`.
//!
//! Time is simulated: every second of it is folded and then looked at. CPU time of the judge's thread, in milliseconds.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use shipwake_aggregate::view::Shared;
use shipwake_aggregate::{AggregateConfig, Clock, State};
use shipwake_alerts::judge::{JudgeConfig, Looks};
use shipwake_journal::{Header, MemoryJournal, Stored};
use shipwake_model::Signal;
use shipwake_model::kpi::{Better, Kpi, KpiSource, KpiValue, Per};
use shipwake_store::{Store, StoreConfig};

const BEGIN_S: u64 = 1_800_000_000;
const SERVICES: usize = 10;
const ROUTES: u64 = 20;
const INSTANCES: usize = 4;
const SHARDS: usize = 2;
/// With errors, latency, requests by instance and log patterns: twenty checks.
const KPIS: usize = 16;
const PAST_S: u64 = 3_600;
const BESIDE_S: u64 = 400;
/// Commits take away what is hot so often, as in the program.
const COMMIT_S: u64 = 60;
/// Looks of the end are measured: by then slices, minutes and quantiles are what they always are.
const MEASURED_S: u64 = 120;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StoreConfig { free_bytes_min: 0, ..StoreConfig::new(folder.path()) };
    let store = Store::open(config, &mut Default::default()).expect("an empty folder");
    let shards: Vec<Shard> = (0..SHARDS).map(|shard| Shard::open(&store, shard as u32)).collect();
    let mut looks = Looks::new(JudgeConfig { kpis: kpis().into(), ..JudgeConfig::default() });
    let mut took: Vec<f64> = Vec::new();
    let mut shards = shards;
    for second in 0..PAST_S + BESIDE_S {
        let is_beside = second >= PAST_S;
        // In the past, every tenth second has ten seconds of traffic: the same windows for a tenth of the work.
        if !is_beside && !second.is_multiple_of(10) {
            continue;
        }
        for service in 0..SERVICES {
            for instance in 0..INSTANCES {
                let shard = &mut shards[(service + instance) % SHARDS];
                shard.fold_second(service, "1.0", instance, BEGIN_S + second, is_beside);
                if is_beside {
                    shard.fold_second(service, "1.1", instance, BEGIN_S + second, true);
                }
            }
        }
        if !is_beside || second.is_multiple_of(COMMIT_S) {
            shards.iter().for_each(Shard::forget_rows);
        }
        if is_beside || second + 30 > PAST_S {
            let began_ms = thread_ms();
            looks.look(&store, (BEGIN_S + second + 1) as i64 * 1_000);
            took.push(thread_ms() - began_ms);
        }
    }
    let measured = took.split_off(took.len() - MEASURED_S as usize);
    let (checks, open) = (looks.checks(), looks.open_releases());
    println!("{open} open releases, {checks} checks, {ROUTES} routes each, {SHARDS} shards with an hour of past");
    let opening = took.iter().copied().fold(0.0, f64::max);
    let mean = measured.iter().sum::<f64>() / measured.len() as f64;
    let mut sorted = measured;
    sorted.sort_by(f64::total_cmp);
    let at = |q: f64| sorted[((sorted.len() - 1) as f64 * q) as usize];
    println!(
        "a look, once a second: mean {mean:.1} ms of CPU, median {:.1}, p90 {:.1}, longest {:.1}; the one that opened all of them {opening:.1}",
        at(0.5),
        at(0.9),
        at(1.0)
    );
}

struct Shard {
    shared: Arc<Shared>,
    offset: u64,
}

impl Shard {
    fn open(store: &Arc<Store>, number: u32) -> Shard {
        let clock = Clock::new(|| (BEGIN_S * 1_000_000_000) as i64);
        let config = AggregateConfig { kpis: kpis().into(), clock: clock.clone(), ..AggregateConfig::default() };
        let (committer, _) = store.open_shard(number).expect("nobody else has it");
        let journal = Arc::new(MemoryJournal::new(SHARDS as u32));
        let shared = Arc::new(Shared::new(&committer, journal, clock, State::new(&config)));
        shared.lock().ready = true;
        store.register(number, shared.clone());
        Shard { shared, offset: 0 }
    }

    /// What one instance does in a second: a request of each route, and now and then an event of each kind and a line.
    fn fold_second(&mut self, service: usize, version: &str, instance: usize, at_s: u64, has_events: bool) {
        let name = format!("pod-{service}-{version}-{instance}");
        let at_ns = at_s * 1_000_000_000;
        let resource = || Some(resource(service, version, &name));
        let spans = (0..ROUTES).map(|route| span(at_ns, route, at_s + route + instance as u64)).collect();
        let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
        let resource_spans = vec![ResourceSpans { resource: resource(), scope_spans, ..Default::default() }];
        self.fold(Signal::Traces, at_ns, ROUTES, ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        if has_events && at_s % 5 == instance as u64 {
            let log_records: Vec<LogRecord> = (0..KPIS).map(|kpi| event(at_ns, kpi)).chain([line(at_ns)]).collect();
            let records = log_records.len() as u64;
            let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
            let resource_logs = vec![ResourceLogs { resource: resource(), scope_logs, ..Default::default() }];
            self.fold(Signal::Logs, at_ns, records, ExportLogsServiceRequest { resource_logs }.encode_to_vec());
        }
    }

    fn fold(&mut self, signal: Signal, at_ns: u64, records: u64, value: Vec<u8>) {
        let header = Header {
            tenant: "default".into(),
            signal,
            received_ns: at_ns as i64 + 1_000_000_000,
            records: records as u32,
            time_min_ns: at_ns as i64,
            time_max_ns: at_ns as i64,
            request_hash: None,
        };
        let stored = Arc::new(Stored { offset: self.offset, header, value: Bytes::from(value) });
        self.offset += 1;
        self.shared.lock().state.fold(&stored);
    }

    /// Rows are of no interest here, and an hour of them is large; what a commit takes away goes, and recent cells stay.
    fn forget_rows(&self) {
        drop(shipwake_aggregate::commit::Cut::take(&mut self.shared.lock().state));
    }
}

fn kpis() -> Vec<Kpi> {
    let kpi = |n: usize| Kpi {
        key: format!("kpi-{n}").into(),
        title: format!("events {n}"),
        unit: "".into(),
        source: KpiSource::Event(format!("event-{n}")),
        value: KpiValue::Count,
        service: None,
        environment: None,
        better: Better::Higher,
        per: Per::Request,
    };
    (0..KPIS).map(kpi).collect()
}

fn resource(service: usize, version: &str, instance: &str) -> Resource {
    let attributes = vec![
        text("service.name", &format!("service-{service}")),
        text("service.version", version),
        text("deployment.environment.name", "production"),
        text("service.instance.id", instance),
    ];
    Resource { attributes, ..Default::default() }
}

fn span(end_ns: u64, route: u64, number: u64) -> Span {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let status = if mixed.is_multiple_of(200) { 500 } else { 200 };
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: format!("GET /route/{route}"),
        kind: 2,
        start_time_unix_nano: end_ns - (5 + mixed % 120) * 1_000_000,
        end_time_unix_nano: end_ns,
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", &format!("/route/{route}")),
            int("http.response.status_code", status),
        ],
        ..Default::default()
    }
}

fn event(time_ns: u64, kpi: usize) -> LogRecord {
    LogRecord { time_unix_nano: time_ns, event_name: format!("event-{kpi}"), ..Default::default() }
}

fn line(time_ns: u64) -> LogRecord {
    let body = AnyValue { value: Some(Value::StringValue("slow request took 812 ms".to_owned())) };
    LogRecord { time_unix_nano: time_ns, severity_number: 13, body: Some(body), ..Default::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}

fn int(key: &str, value: i64) -> KeyValue {
    let value = AnyValue { value: Some(Value::IntValue(value)) };
    KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}

/// CPU time of this thread.
fn thread_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says it");
    let ns: f64 = text.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number");
    ns / 1e6
}
