//! A million different values of labels, users, sessions, event names, routes, toggles, services and versions within a minute:
//! memory stays bounded, and what another service sends is exact to the last record.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use prost::Message;

use crate::harness::{LIMIT, Shipwake, start};
use crate::otlp::{counter, logs, now_ns, resource, spans, text};
use crate::senders::assert_conserved;

const ROUNDS: u64 = 100;
/// What one round brings of each kind; the values of all rounds differ.
const LABELS: u64 = 4_000;
const ROUTES: u64 = 2_000;
const EVENTS: u64 = 1_000;
const LINES: u64 = 1_000;
const TOGGLES: u64 = 500;
const SERVICES: u64 = 500;
const VERSIONS: u64 = 500;
/// Different values of a round: an event has a name, a user and a session; a line an attribute and words of its own.
const VALUES: u64 = LABELS + ROUTES + 3 * EVENTS + 2 * LINES + TOGGLES + SERVICES + VERSIONS;

/// What the process may use in the worst moment, in bytes: the bound that `docs/decisions/0004` gives.
const MEMORY_MAX: u64 = 768 << 20;
const TIME_MAX: Duration = Duration::from_secs(60);
const MS: u64 = 1_000_000;

/// A word of letters for a number: digits would be masked in routes and patterns.
fn word(mut n: u64) -> String {
    let mut word = String::new();
    loop {
        word.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
        if n == 0 {
            return word;
        }
    }
}

/// Posts until it is taken, as a client does: a refused request comes again after its hint.
async fn send(client: &reqwest::Client, shipwake: &Shipwake, signal: &str, request: &impl Message) {
    let (url, bytes) = (format!("{}/v1/{signal}", shipwake.http()), request.encode_to_vec());
    let deadline = Instant::now() + LIMIT;
    loop {
        let request = client.post(&url).header("content-type", "application/x-protobuf").body(bytes.clone());
        let answer = request.send().await.expect("an answer");
        if answer.status().is_success() {
            return;
        }
        assert_eq!(answer.status(), 503, "{}", shipwake.log());
        assert!(Instant::now() < deadline, "refused for too long");
        let hint = answer.headers().get("retry-after").and_then(|hint| hint.to_str().ok()?.parse().ok());
        tokio::time::sleep(Duration::from_secs(hint.unwrap_or(1))).await;
    }
}

fn event(name: &str, attributes: &[(&str, &str)]) -> LogRecord {
    let attributes = attributes.iter().map(|(key, value)| text(key, value)).collect();
    LogRecord { time_unix_nano: now_ns(), event_name: name.to_owned(), attributes, ..LogRecord::default() }
}

fn log_request(entries: Vec<(&str, &str, Vec<LogRecord>)>) -> ExportLogsServiceRequest {
    let entry = |(service, version, log_records): (&str, &str, Vec<LogRecord>)| ResourceLogs {
        resource: Some(resource(service, version, "a")),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest { resource_logs: entries.into_iter().map(entry).collect() }
}

/// Values that nobody has seen before, of every kind.
async fn noise(client: &reqwest::Client, shipwake: &Shipwake, round: u64) {
    let of = |each: u64| round * each..(round + 1) * each;
    let now = now_ns();
    let point = |n: u64| NumberDataPoint {
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsDouble(1.0)),
        attributes: vec![text("label", &word(n))],
        ..NumberDataPoint::default()
    };
    let data = Some(metric::Data::Gauge(Gauge { data_points: of(LABELS).map(point).collect() }));
    let metrics = vec![Metric { name: "noise.level".to_owned(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let of_noisy = Some(resource("noisy", "1", "a"));
    let resource_metrics = vec![ResourceMetrics { resource: of_noisy, scope_metrics, ..ResourceMetrics::default() }];
    send(client, shipwake, "metrics", &ExportMetricsServiceRequest { resource_metrics }).await;

    let requests: Vec<_> = of(ROUTES).map(|n| (now - n % 1_000, MS, 200)).collect();
    let mut routes = spans(resource("noisy", "1", "a"), &requests);
    for (span, n) in routes.resource_spans[0].scope_spans[0].spans.iter_mut().zip(of(ROUTES)) {
        span.attributes[1] = text("http.route", &format!("/{}", word(n)));
    }
    send(client, shipwake, "traces", &routes).await;

    let events = of(EVENTS).map(|n| {
        let word = word(n);
        event(&format!("event_{word}"), &[("user.id", &word), ("session.id", &word)])
    });
    let toggles = of(TOGGLES).map(|n| {
        let (key, variant) = (format!("toggle-{}", n % 1_000), word(n));
        event("feature_flag.evaluation", &[("feature_flag.key", &key), ("feature_flag.result.variant", &variant)])
    });
    let mut records: Vec<LogRecord> = events.chain(toggles).collect();
    for n in of(LINES) {
        let body = format!("{} {} happened", word(n), word(n * 31));
        let mut line = logs(resource("noisy", "1", "a"), &[&body]).resource_logs[0].scope_logs[0].log_records.remove(0);
        line.attributes = vec![text("request.id", &word(n))];
        records.push(line);
    }
    send(client, shipwake, "logs", &log_request(vec![("noisy", "1", records)])).await;

    let names: Vec<String> = of(SERVICES).map(|n| format!("service-{}", word(n))).collect();
    let versions: Vec<String> = of(VERSIONS).map(|n| format!("v-{}", word(n))).collect();
    let one = || vec![event("started", &[])];
    let services = names.iter().map(|name| (name.as_str(), "1", one()));
    let all = services.chain(versions.iter().map(|version| ("many-versions", version.as_str(), one())));
    send(client, shipwake, "logs", &log_request(all.collect())).await;
}

/// What the other service sends in a round: a counter grows by three, ten requests of which one fails, five lines and two events.
async fn quiet(client: &reqwest::Client, shipwake: &Shipwake, begun: u64, round: u64) {
    let from = || resource("quiet", "1.0", "a");
    send(client, shipwake, "metrics", &counter(from(), "orders", begun, now_ns(), 3 * (round as i64 + 1))).await;
    let now = now_ns();
    let requests: Vec<_> = (0..10).map(|n| (now - n * MS, MS, if n == 0 { 500 } else { 200 })).collect();
    send(client, shipwake, "traces", &spans(from(), &requests)).await;
    send(client, shipwake, "logs", &logs(from(), &["order 17 was placed"; 5])).await;
    let (user, session) = (format!("u{}", round % 7), format!("s{}", round % 13));
    let who = [("user.id", user.as_str()), ("session.id", session.as_str()), ("value", "1.5")];
    let events = vec![event("order_placed", &who), event("order_placed", &who)];
    send(client, shipwake, "logs", &log_request(vec![("quiet", "1.0", events)])).await;
}

/// A line of the kernel's account of the process's memory, in bytes.
fn memory(shipwake: &Shipwake, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", shipwake.pid())).expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_different_values_leave_memory_bounded_and_every_other_series_exact() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let (client, began, begun) = (reqwest::Client::new(), Instant::now(), now_ns());
    for round in 0..ROUNDS {
        quiet(&client, &shipwake, begun, round).await;
        noise(&client, &shipwake, round).await;
    }
    let (took, values) = (began.elapsed(), VALUES * ROUNDS);
    assert_conserved(&shipwake).await;

    let rounds = ROUNDS as i64;
    let of_quiet = "where service = 'quiet' and version = '1.0' and resolution_s = 3600";
    for (what, query, expected) in [
        ("requests", format!("select sum(requests) from release_health {of_quiet}"), 10 * rounds),
        ("errors", format!("select sum(errors) from release_health {of_quiet}"), rounds),
        (
            "the counter",
            format!("select cast(sum(sum) as bigint) from windows {of_quiet} and metric = 'orders'"),
            3 * rounds,
        ),
        (
            "events",
            format!("select sum(count) from windows {of_quiet} and signal = 'kpi' and metric = 'order_placed'"),
            2 * rounds,
        ),
        (
            "their values",
            format!(
                "select cast(sum(sum) as bigint) from windows {of_quiet} and signal = 'kpi' and metric = 'order_placed'"
            ),
            3 * rounds,
        ),
        (
            "users",
            format!(
                "select distinct_count(hdr_merge(histogram)) from windows {of_quiet} and signal = 'usage' and metric = 'users'"
            ),
            7,
        ),
        (
            "sessions",
            format!(
                "select distinct_count(hdr_merge(histogram)) from windows {of_quiet} and signal = 'usage' and metric = 'sessions'"
            ),
            13,
        ),
        ("rows", "select count(*) from logs where service = 'quiet'".to_owned(), 7 * rounds),
        (
            "lines of its pattern",
            "select sum(count) from patterns where service = 'quiet' and template = 'order <*> was placed'".to_owned(),
            5 * rounds,
        ),
    ] {
        assert_eq!(shipwake.number(&query).await, expected, "{what}");
    }

    let (now, most) = (memory(&shipwake, "VmRSS:"), memory(&shipwake, "VmHWM:"));
    let (parts, series) =
        (shipwake.metric("shipwake_memory_bytes", "").await, shipwake.metric("shipwake_series", "").await);
    println!(
        "{values} values in {took:.1?}: {} MB at most, {} MB at the end, {:.0} MB in parts, {series} series",
        most >> 20,
        now >> 20,
        parts / f64::from(1 << 20),
    );
    assert!(values >= 1_000_000 && took <= TIME_MAX, "{values} values took {took:?}");
    assert!(most <= MEMORY_MAX, "{} MB", most >> 20);
    assert!(shipwake.metric("shipwake_unusual_records", "overflow").await > 100_000.0, "the bounds were met");
}
