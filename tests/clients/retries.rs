//! What each SDK does when it is refused, or when an answer is lost: nothing acknowledged is lost, nothing is counted twice,
//! and what a client drops by its own rules is dropped by the client alone. The rules were observed with the versions that
//! are pinned beside this file; a version that changes one shows up here.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures::future::join_all;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use tonic::Code;

use crate::chaos::{Chaos, Fault, Seen};
use crate::client::{Language, Protocol, Way};
use crate::dose::{assert_arrived, assert_conservation, assert_logs, assert_spans};
use crate::harness::{self, Shipwake, Start};

/// How long Shipwake is away in the tests that have it start late. Clients that repeat at all do so for longer.
const AWAY: Duration = Duration::from_secs(2);

/// What the client does about the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Sends the same again.
    Repeats,
    /// Gives up, and what it gave up never arrives.
    Drops,
    /// Does not repeat a request that was taken: it is there all the same.
    Trusts,
}

/// Faults of the first request of logs, metrics and traces, and what the client makes of them.
struct Case {
    protocol: Protocol,
    faults: [Fault; 3],
    then: Then,
}

/// Everything that Shipwake itself answers under pressure, over HTTP.
const HTTP_BUSY: [Fault; 3] = [Fault::Http(429, Some(1)), Fault::Http(503, None), Fault::Http(503, Some(2))];
/// The same over gRPC.
const GRPC_BUSY: [Fault; 3] = [
    Fault::Grpc(Code::ResourceExhausted, Some(1)),
    Fault::Grpc(Code::Unavailable, None),
    Fault::Grpc(Code::Unavailable, Some(2)),
];
/// RESOURCE_EXHAUSTED without RetryInfo says by the specification that it is of no use to come again.
const GRPC_FULL: [Fault; 3] = [Fault::Grpc(Code::ResourceExhausted, None); 3];
const ANSWERS_LOST: [Fault; 3] = [Fault::AnswerLost; 3];

fn case(protocol: Protocol, faults: [Fault; 3], then: Then) -> Case {
    Case { protocol, faults, then }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_repeats_until_it_is_heard_and_is_counted_once() {
    let cases = [
        case(Protocol::HttpProtobuf, HTTP_BUSY, Then::Repeats),
        case(Protocol::HttpProtobuf, ANSWERS_LOST, Then::Repeats),
        case(Protocol::Grpc, GRPC_BUSY, Then::Repeats),
        case(Protocol::Grpc, GRPC_FULL, Then::Repeats),
        case(Protocol::Grpc, ANSWERS_LOST, Then::Repeats),
    ];
    check(Language::Python, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_repeats_over_http_and_never_over_grpc() {
    let cases = [
        case(Protocol::HttpProtobuf, HTTP_BUSY, Then::Repeats),
        case(Protocol::HttpProtobuf, ANSWERS_LOST, Then::Repeats),
        case(Protocol::Grpc, GRPC_BUSY, Then::Drops),
        case(Protocol::Grpc, GRPC_FULL, Then::Drops),
        case(Protocol::Grpc, ANSWERS_LOST, Then::Trusts),
    ];
    check(Language::JavaScript, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_repeats_what_was_refused_and_is_counted_once() {
    let cases = [
        case(Protocol::HttpProtobuf, HTTP_BUSY, Then::Repeats),
        case(Protocol::HttpProtobuf, ANSWERS_LOST, Then::Trusts),
        case(Protocol::Grpc, GRPC_BUSY, Then::Repeats),
        case(Protocol::Grpc, GRPC_FULL, Then::Repeats),
        case(Protocol::Grpc, ANSWERS_LOST, Then::Trusts),
    ];
    check(Language::Java, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_repeats_what_was_refused_with_a_hint_and_is_counted_once() {
    let cases = [
        case(Protocol::HttpProtobuf, HTTP_BUSY, Then::Repeats),
        case(Protocol::HttpProtobuf, ANSWERS_LOST, Then::Trusts),
        case(Protocol::Grpc, GRPC_BUSY, Then::Repeats),
        case(Protocol::Grpc, GRPC_FULL, Then::Drops),
        case(Protocol::Grpc, ANSWERS_LOST, Then::Repeats),
    ];
    check(Language::Go, &cases).await;
}

/// All cases at once: the clients spend their time waiting.
async fn check(language: Language, cases: &[Case]) {
    join_all(cases.iter().map(|case| check_case(language, case))).await;
}

async fn check_case(language: Language, case: &Case) {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = harness::start(folder.path()).await;
    let chaos = Chaos::start(&shipwake, case.faults).await;
    let way = Way::plain(case.protocol);
    language.start(way, &chaos.endpoint()).finish().await;

    let what = format!("{language:?} {:?} {:?}", case.protocol, case.faults);
    let seen = chaos.seen();
    for signal in ["logs", "metrics", "traces"] {
        assert_eq!(repeats(&seen, signal), usize::from(case.then == Then::Repeats), "{what}: repeats of {signal}");
    }
    let version = way.to_string();
    if case.then == Then::Drops {
        assert_logs(&shipwake, language.name(), &version, 0).await;
        assert_spans(&shipwake, language.name(), &version, 0).await;
        // The second export of the metrics was not refused; of counters it holds everything, as they are cumulative.
        let orders = "select sum(sum) from windows where metric = 'orders' and resolution_s = 60";
        harness::eventually("orders of the second export", || async {
            shipwake.sql(orders).await[0][0].as_f64().filter(|sum| *sum == 55.0)
        })
        .await;
    } else {
        assert_arrived(&shipwake, language.name(), &version, false).await;
    }
    assert_counted_once(&shipwake, &seen, &what).await;
}

/// How often the first request of a signal came again.
fn repeats(seen: &[Seen], signal: &str) -> usize {
    let mut requests = seen.iter().filter(|each| each.signal == signal);
    let first = requests.next().expect("every dose has all signals");
    requests.filter(|each| each.message == first.message).count()
}

/// What Shipwake was given more than once it has recognised as a repetition, record for record.
async fn assert_counted_once(shipwake: &Shipwake, seen: &[Seen], what: &str) {
    let mut passed = HashSet::new();
    let mut again = [0; 3];
    for each in seen.iter().filter(|each| each.passed) {
        if !passed.insert(&each.message) {
            let place = ["logs", "metrics", "traces"].iter().position(|signal| *signal == each.signal);
            again[place.expect("one of the three")] += records(each);
        }
    }
    eprintln!("{what}: {} requests, repetitions recognised: {again:?}", seen.len());
    assert_conservation(shipwake, again).await;
}

/// How many records a request holds.
fn records(seen: &Seen) -> i64 {
    let message = seen.message.clone();
    let records = match seen.signal {
        "logs" => {
            let request = ExportLogsServiceRequest::decode(message).expect("a client's own bytes");
            request.resource_logs.iter().flat_map(|each| &each.scope_logs).map(|scope| scope.log_records.len()).sum()
        }
        "metrics" => {
            let request = ExportMetricsServiceRequest::decode(message).expect("a client's own bytes");
            let scopes = request.resource_metrics.into_iter().flat_map(|each| each.scope_metrics);
            scopes.flat_map(|scope| scope.metrics).filter_map(|metric| metric.data).map(|data| points(&data)).sum()
        }
        _ => {
            let request = ExportTraceServiceRequest::decode(message).expect("a client's own bytes");
            request
                .resource_spans
                .iter()
                .flat_map(|each| &each.scope_spans)
                .map(|scope| scope.spans.len())
                .sum::<usize>()
        }
    };
    records as i64
}

fn points(data: &Data) -> usize {
    match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    }
}

/// A deploy of Shipwake, or a reboot: the clients are there first.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_repeat_lose_nothing_when_shipwake_starts_after_them() {
    let cases = [
        (Language::Python, Protocol::Grpc),
        (Language::Python, Protocol::HttpProtobuf),
        (Language::JavaScript, Protocol::HttpProtobuf),
        (Language::Java, Protocol::Grpc),
        (Language::Java, Protocol::HttpProtobuf),
    ];
    join_all(cases.map(|(language, protocol)| arrives_late(language, protocol))).await;
}

/// Ports that stay free while nobody listens on them: below the range from which the kernel takes those of connections.
pub fn ports_for_later() -> [u16; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 1000) as u16 * 10;
    [(); 3].map(|()| {
        loop {
            let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                break port;
            }
        }
    })
}

async fn arrives_late(language: Language, protocol: Protocol) {
    let folder = tempfile::tempdir().expect("a folder");
    let (shipwake, version) = start_after_the_client(language, protocol, folder.path()).await;
    assert_arrived(&shipwake, language.name(), &version, false).await;
    assert_conservation(&shipwake, [0, 0, 0]).await;
}

/// The client wants to send, and Shipwake starts only then. Gives it when the client has ended, and the client's version.
async fn start_after_the_client(language: Language, protocol: Protocol, data: &Path) -> (Shipwake, String) {
    let ports = ports_for_later();
    let way = Way::plain(protocol);
    let port = if protocol == Protocol::Grpc { ports[0] } else { ports[1] };
    let mut client = language.start(way, &format!("http://127.0.0.1:{port}"));
    client.says("flushing").await;
    // Not a wait for luck: the length of the outage is what is tested.
    tokio::time::sleep(AWAY).await;
    let shipwake = harness::spawn(&Start { data, options: &[], ports: Some(ports) });
    shipwake.wait_ready().await;
    client.finish().await;
    (shipwake, way.to_string())
}

/// The connection is refused, and these do not come again: not even two seconds are bridged.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_repeat_drop_what_they_have_when_nobody_listens() {
    let cases = [(Language::JavaScript, Protocol::Grpc), (Language::Go, Protocol::HttpProtobuf)];
    join_all(cases.map(|(language, protocol)| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let (shipwake, version) = start_after_the_client(language, protocol, folder.path()).await;
        assert_logs(&shipwake, language.name(), &version, 0).await;
        assert_spans(&shipwake, language.name(), &version, 0).await;
        assert_conservation(&shipwake, [0, 0, 0]).await;
    }))
    .await;
}
