//! What every client program sends, once, and the check that it arrived so:
//!
//! - 40 log records, 10 of them errors;
//! - 30 server spans of `GET /pay/{id}`, 3 of them failed, each with an internal child;
//! - one instrument of each kind, exported twice: half of the values are recorded before the first export and half before
//!   the second, so that delta and cumulative have to come to the same sums.

use serde_json::Value;

use crate::harness::Shipwake;

const LOGS: i64 = 40;
const SPANS: i64 = 60;
const POINTS: i64 = 2 * INSTRUMENTS.len() as i64;

/// A metric as it must be found.
struct Instrument {
    name: &'static str,
    kind: &'static str,
    /// Whether a client that prefers delta sends it so: up-down counters and gauges stay as they are.
    may_be_delta: bool,
    monotonic: Option<bool>,
    /// Of its windows, over both exports.
    count: i64,
    sum: f64,
}

const fn number(name: &'static str, kind: &'static str, monotonic: Option<bool>, sum: f64) -> Instrument {
    Instrument { name, kind, may_be_delta: matches!(monotonic, Some(true)), monotonic, count: 2, sum }
}

const fn histogram(name: &'static str, kind: &'static str, sum: f64) -> Instrument {
    Instrument { name, kind, may_be_delta: true, monotonic: None, count: 100, sum }
}

/// In the order of their names. What a counter's windows add up to is the increase; of an up-down counter and a gauge they
/// hold what was observed, twice.
const INSTRUMENTS: [Instrument; 8] = [
    number("cart.items", "sum", Some(false), 10.0 + 7.0),
    number("cpu.ticks", "sum", Some(true), 100.0),
    number("orders", "sum", Some(true), 55.0),
    histogram("pay.duration", "histogram", 5.05),
    histogram("pay.size", "exponential_histogram", 5050.0),
    number("queue.depth", "gauge", None, 20.0 + 21.0),
    number("sessions", "sum", Some(false), -4.0 - 4.0),
    number("temperature", "gauge", None, 3.5 + 3.5),
];

fn of(service: &str, version: &str) -> String {
    format!("service = '{service}' and version = '{version}' and environment = 'test'")
}

/// SQL for the metrics of a dose: clients send some about themselves, too.
fn instruments() -> String {
    let names: Vec<String> = INSTRUMENTS.iter().map(|each| format!("'{}'", each.name)).collect();
    format!("metric in ({})", names.join(", "))
}

/// Waits until the whole dose of a release is there, and checks all of it.
pub async fn assert_arrived(shipwake: &Shipwake, service: &str, version: &str, delta: bool) {
    assert_logs(shipwake, service, version, LOGS).await;
    assert_spans(shipwake, service, version, SPANS).await;
    assert_points(shipwake, service, version, delta).await;
    assert_metric_windows(shipwake, service, version).await;
}

/// All log records of a dose, or none (`expected` is 0).
pub async fn assert_logs(shipwake: &Shipwake, service: &str, version: &str, expected: i64) {
    let release = of(service, version);
    shipwake.wait_number(&format!("select count(*) from logs where {release}"), expected).await;
    let errors = format!("select count(*) from logs where {release} and severity_number >= 17");
    assert_eq!(shipwake.number(&errors).await, expected / 4, "{service} {version}: error records");
    let bodies = format!("select count(distinct body) from logs where {release} and body like 'order %'");
    assert_eq!(shipwake.number(&bodies).await, expected, "{service} {version}: bodies");
}

/// All spans of a dose, or none; and the release's health, which comes from the server spans.
pub async fn assert_spans(shipwake: &Shipwake, service: &str, version: &str, expected: i64) {
    let release = of(service, version);
    shipwake.wait_number(&format!("select count(*) from spans where {release}"), expected).await;
    let ids = format!("select count(distinct span_id) from spans where {release}");
    assert_eq!(shipwake.number(&ids).await, expected, "{service} {version}: span ids");
    let children = format!(
        "select count(*) from spans child join spans parent on child.parent_span_id = parent.span_id
         where child.{release} and parent.kind = 'server' and child.trace_id = parent.trace_id",
        release = release.replace(" and ", " and child.")
    );
    assert_eq!(shipwake.number(&children).await, expected / 2, "{service} {version}: children of a server span");
    let health = format!(
        "select sum(requests), sum(errors) from release_health where {release} and resolution_s = 60 and source = 'spans'"
    );
    let rows = shipwake.sql(&health).await;
    let found: Vec<i64> = rows[0].iter().map(|cell| cell.as_i64().unwrap_or(0)).collect();
    assert_eq!(found, [expected / 2, expected / 20], "{service} {version}: requests and errors");
}

async fn assert_points(shipwake: &Shipwake, service: &str, version: &str, delta: bool) {
    let filter = format!("{} and {}", of(service, version), instruments());
    shipwake.wait_number(&format!("select count(*) from points where {filter}"), POINTS).await;
    let rows = shipwake
        .sql(&format!(
            "select metric, kind, temporality, monotonic, count(*), count(distinct time)
             from points where {filter} group by 1, 2, 3, 4 order by 1"
        ))
        .await;
    assert_eq!(rows.len(), INSTRUMENTS.len(), "{service} {version}: {rows:?}");
    for (row, instrument) in rows.iter().zip(&INSTRUMENTS) {
        let temporality = match instrument.kind {
            "gauge" => Value::Null,
            _ if delta && instrument.may_be_delta => "delta".into(),
            _ => "cumulative".into(),
        };
        let monotonic = instrument.monotonic.map_or(Value::Null, Value::Bool);
        let expected = [instrument.name.into(), instrument.kind.into(), temporality, monotonic, 2.into(), 2.into()];
        assert_eq!(row.as_slice(), expected, "{service} {version}");
    }
}

/// What the windows of each metric add up to.
async fn assert_metric_windows(shipwake: &Shipwake, service: &str, version: &str) {
    let (release, instruments) = (of(service, version), instruments());
    for resolution in [10, 60, 3600] {
        let rows = shipwake
            .sql(&format!(
                "select metric, sum(count), sum(sum) from windows where {release} and {instruments}
                 and signal = 'metric' and resolution_s = {resolution} group by 1 order by 1"
            ))
            .await;
        assert_eq!(rows.len(), INSTRUMENTS.len(), "{service} {version}: {rows:?}");
        for (row, instrument) in rows.iter().zip(&INSTRUMENTS) {
            assert_eq!(row[0], instrument.name, "{service} {version}");
            assert_eq!(row[1], instrument.count, "{service} {version} {resolution} s: count of {}", instrument.name);
            let sum = row[2].as_f64().expect("a sum");
            let close = (sum - instrument.sum).abs() < 1e-6;
            assert!(close, "{service} {version} {resolution} s: {} sums to {sum}", instrument.name);
        }
    }
}

/// Nothing is lost between the counters: received = stored + rejected + deduplicated, for each signal; nothing was rejected,
/// and as many were recognised as repetitions as `deduplicated` says (logs, metrics, traces).
pub async fn assert_conservation(shipwake: &Shipwake, deduplicated: [i64; 3]) {
    for (signal, repeated) in ["logs", "metrics", "traces"].into_iter().zip(deduplicated) {
        let filter = format!("signal=\"{signal}\"");
        let names = ["received", "stored", "rejected", "deduplicated"];
        let what = format!("{signal}: received = stored + rejected + deduplicated");
        let settled = crate::harness::eventually(&what, || async {
            let mut found = [0.0; 4];
            for (count, name) in found.iter_mut().zip(names) {
                *count = shipwake.metric(&format!("shipwake_records_{name}_total"), &filter).await;
            }
            (found[0] == found[1] + found[2] + found[3]).then_some(found)
        });
        let [received, stored, rejected, again] = settled.await;
        assert_eq!(rejected, 0.0, "{signal}: {received} received, {stored} stored");
        assert_eq!(again, repeated as f64, "{signal}: repetitions recognised; {received} received, {stored} stored");
    }
}
