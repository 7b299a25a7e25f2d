//! Prometheus remote-write, 1.0 and 2.0: what is answered, and what stands in the journal.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsDouble;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics};
use prost::Message;

use crate::support::{Answer, Server, count, small, stored};

/// The messages, written down from their definitions, not taken from the code under test.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<MetricMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct MetricMetadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    family: String,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeriesV2>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata>,
    #[prost(int64, tag = "6")]
    created_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, optional, tag = "2")]
    count_float: Option<f64>,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(uint64, tag = "6")]
    zero_count: u64,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "13")]
    positive_counts: Vec<f64>,
    #[prost(int32, tag = "14")]
    reset_hint: i32,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

const TIME_MS: i64 = 1_795_428_000_000;
const TIME_NS: u64 = TIME_MS as u64 * 1_000_000;
const STALE: u64 = 0x7ff0_0000_0000_0002;
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// A series from its text form, `name{label="value",…}` without quotes, and one sample.
fn series(text: &str, value: f64) -> TimeSeries {
    let (name, labels) = text.trim_end_matches('}').split_once('{').unwrap_or((text, ""));
    let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
    let labels = std::iter::once(("__name__", name)).chain(pairs).map(label).collect();
    TimeSeries { labels, samples: vec![Sample { value, timestamp: TIME_MS }], ..TimeSeries::default() }
}

fn v1(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
}

/// The same series as a 2.0 request.
fn v2(timeseries: &[TimeSeries], kind: i32, unit: &str, created_timestamp: i64) -> Vec<u8> {
    let mut symbols = vec![String::new(), unit.to_owned()];
    let mut entries = Vec::new();
    for series in timeseries {
        let mut labels_refs = Vec::new();
        for text in series.labels.iter().flat_map(|label| [&label.name, &label.value]) {
            let known = symbols.iter().position(|symbol| symbol == text);
            labels_refs.push(known.unwrap_or(symbols.len()) as u32);
            if known.is_none() {
                symbols.push(text.clone());
            }
        }
        let (samples, histograms) = (series.samples.clone(), series.histograms.clone());
        let metadata = Some(Metadata { kind, unit_ref: 1 });
        entries.push(TimeSeriesV2 { labels_refs, samples, histograms, metadata, created_timestamp });
    }
    Request { symbols, timeseries: entries }.encode_to_vec()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("to memory")
}

async fn write(server: &Server, path: &str, content_type: &str, message: &[u8]) -> Answer {
    let headers = [("content-type", content_type), ("content-encoding", "snappy")];
    server.post(path, &headers, &snappy(message)).await
}

async fn write_v1(server: &Server, timeseries: Vec<TimeSeries>) -> Answer {
    write(server, "/api/v1/write", "application/x-protobuf", &v1(timeseries)).await
}

/// All resources in the journal.
async fn resources(journal: &shipwake_journal::MemoryJournal) -> Vec<ResourceMetrics> {
    let requests = stored(journal).await;
    let decode = |value: &[u8]| ExportMetricsServiceRequest::decode(value).expect("valid").resource_metrics;
    requests.iter().flat_map(|stored| decode(&stored.value)).collect()
}

fn metrics(resource: &ResourceMetrics) -> Vec<Metric> {
    resource.scope_metrics.iter().flat_map(|scope| scope.metrics.clone()).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

fn of_resource(resource: &ResourceMetrics, key: &str) -> String {
    text(&resource.resource.as_ref().expect("a resource").attributes, key)
}

fn written(answer: &Answer) -> [Option<&str>; 3] {
    ["samples", "histograms", "exemplars"]
        .map(|what| answer.header(&format!("x-prometheus-remote-write-{what}-written")))
}

#[tokio::test]
async fn counters_and_gauges_become_sums_and_gauges_of_their_job() {
    let (server, journal) = Server::in_memory().await;
    let target = "job=shop/checkout,instance=10.0.0.1:9090,version=1.2.3";
    let answer = write_v1(
        &server,
        vec![
            series(&format!("requests_total{{{target},code=200}}"), 7.0),
            series(&format!("requests_total{{{target},code=500}}"), 1.0),
            series(&format!("queue_length{{{target}}}"), 3.5),
            series(&format!("lag_seconds{{{target}}}"), f64::from_bits(STALE)),
            series(&format!("ratio{{{target}}}"), f64::NAN),
        ],
    )
    .await;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    assert_eq!(written(&answer), [None; 3], "1.0 has no such headers");
    let resources = resources(&journal).await;
    let [resource] = &resources[..] else { panic!("one target: {resources:?}") };
    for (key, expected) in [
        ("service.name", "checkout"),
        ("service.namespace", "shop"),
        ("service.version", "1.2.3"),
        ("service.instance.id", "10.0.0.1:9090"),
    ] {
        assert_eq!(of_resource(resource, key), expected, "{key}");
    }
    let metrics = metrics(resource);
    let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["requests_total", "queue_length", "ratio"], "a stale marker is no point");
    let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
    let points: Vec<_> = sum.data_points.iter().map(|point| (text(&point.attributes, "code"), point.value)).collect();
    assert_eq!(points, [("200".to_owned(), Some(AsDouble(7.0))), ("500".to_owned(), Some(AsDouble(1.0)))]);
    assert_eq!(sum.data_points[0].time_unix_nano, TIME_NS);
    assert_eq!(sum.data_points[0].attributes.len(), 1, "what is in the resource is not an attribute");
    let Some(Data::Gauge(gauge)) = &metrics[1].data else { panic!("{:?}", metrics[1]) };
    assert_eq!(gauge.data_points[0].value, Some(AsDouble(3.5)));
    let Some(Data::Gauge(gauge)) = &metrics[2].data else { panic!("{:?}", metrics[2]) };
    assert_eq!((gauge.data_points[0].value, gauge.data_points[0].flags), (None, 1), "no recorded value");
    assert_eq!(server.metric("shipwake_records_received_total"), 4);
    assert_eq!(server.metric("shipwake_records_rejected_total"), 0);
}

#[tokio::test]
async fn a_classic_histogram_is_put_together_and_one_that_lacks_a_part_is_not() {
    let (server, journal) = Server::in_memory().await;
    let histogram = |route: &str, parts: &[(&str, f64)]| -> Vec<TimeSeries> {
        parts
            .iter()
            .map(|(part, value)| match part.strip_prefix("le=") {
                Some(le) => series(&format!("wait_seconds_bucket{{job=a,route={route},le={le}}}"), *value),
                None => series(&format!("wait_seconds_{part}{{job=a,route={route}}}"), *value),
            })
            .collect()
    };
    let whole = [("le=0.1", 2.0), ("le=1", 4.0), ("le=+Inf", 5.0), ("sum", 6.5), ("count", 5.0)];
    let mut all = histogram("/pay", &whole);
    all.extend(histogram("/cut", &whole[..3]));
    all.push(series("rpc_seconds{job=a,quantile=0.5}", 0.2));
    all.push(series("rpc_seconds{job=a,quantile=0.99}", f64::NAN));
    all.push(series("rpc_seconds_sum{job=a}", 1.5));
    all.push(series("rpc_seconds_count{job=a}", 3.0));
    all.push(series("node_count{job=a}", 3.0));
    assert_eq!(write_v1(&server, all).await.status, 200);
    let resources = resources(&journal).await;
    let metrics = metrics(&resources[0]);
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}"));
    let Some(Data::Histogram(found)) = &find("wait_seconds").data else { panic!("{metrics:?}") };
    assert_eq!((found.data_points.len(), found.aggregation_temporality), (1, 2));
    let point = &found.data_points[0];
    assert_eq!((point.count, point.sum), (5, Some(6.5)));
    assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[2, 2, 1][..], &[0.1, 1.0][..]));
    assert_eq!((text(&point.attributes, "route"), point.attributes.len()), ("/pay".to_owned(), 1));
    assert_eq!(find("wait_seconds").unit, "s");
    let Some(Data::Sum(buckets)) = &find("wait_seconds_bucket").data else { panic!("{metrics:?}") };
    assert_eq!((buckets.data_points.len(), text(&buckets.data_points[0].attributes, "le").as_str()), (3, "0.1"));
    let Some(Data::Summary(summary)) = &find("rpc_seconds").data else { panic!("{metrics:?}") };
    assert_eq!((summary.data_points[0].count, summary.data_points[0].sum), (3, 1.5));
    assert_eq!(summary.data_points[0].quantile_values.len(), 2);
    assert!(matches!(find("node_count").data, Some(Data::Sum(_))), "a count whose other parts came elsewhere");
    assert_eq!(count(&journal).await, 6);
}

#[tokio::test]
async fn version_two_says_kinds_units_and_starts_and_is_told_what_was_written() {
    let (server, journal) = Server::in_memory().await;
    let histogram = Histogram {
        count: 12,
        sum: 18.4,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 2,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 2 }],
        positive_deltas: vec![1, 1, -1, 5],
        timestamp: TIME_MS,
        ..Histogram::default()
    };
    let native = TimeSeries { samples: Vec::new(), histograms: vec![histogram], ..series("latency{job=a}", 0.0) };
    let answer = write(&server, "/api/v1/write", V2, &v2(&[native], 3, "seconds", TIME_MS - 1000)).await;
    assert_eq!((answer.status, written(&answer)), (200, [Some("0"), Some("1"), Some("0")]));
    let answer = write(&server, "/api/v1/write", V2, &v2(&[series("hits{job=a}", 4.0)], 1, "", TIME_MS - 5000)).await;
    assert_eq!((answer.status, written(&answer)), (200, [Some("1"), Some("0"), Some("0")]));
    let resources = resources(&journal).await;
    let all: Vec<Metric> = resources.iter().flat_map(metrics).collect();
    let Some(Data::ExponentialHistogram(found)) = &all[0].data else { panic!("{all:?}") };
    let point = &found.data_points[0];
    assert_eq!((all[0].unit.as_str(), point.start_time_unix_nano), ("s", TIME_NS - 1_000_000_000));
    assert_eq!((point.count, point.sum, point.scale, point.zero_count), (12, Some(18.4), 1, 2));
    let positive = point.positive.as_ref().expect("buckets");
    // Prometheus' bucket 0 ends at 1; OTLP's bucket -1 does.
    assert_eq!((positive.offset, &positive.bucket_counts[..]), (-1, &[1, 2, 0, 1, 6][..]));
    let Some(Data::Sum(sum)) = &all[1].data else { panic!("{all:?}") };
    assert_eq!(sum.data_points[0].start_time_unix_nano, TIME_NS - 5_000_000_000);
}

#[tokio::test]
async fn the_address_and_target_info_say_whose_metrics_these_are() {
    let (server, journal) = Server::in_memory().await;
    let path = "/api/v1/write?service=checkout&version=2.0&environment=production";
    let message = v1(vec![
        series("up{job=node,instance=a}", 1.0),
        series("up{job=node,instance=b,app_kubernetes_io_version=2.1,env=staging}", 1.0),
        series("go_info{job=node,instance=a,version=go1.22}", 1.0),
        series("target_info{job=pay,instance=c,service_version=9,k8s_pod_name=pay-7}", 1.0),
        series("up{job=pay,instance=c}", 1.0),
    ]);
    assert_eq!(write(&server, path, "application/x-protobuf", &message).await.status, 200);
    let mut found: Vec<String> = Vec::new();
    for resource in resources(&journal).await {
        let say = |key: &str| of_resource(&resource, key);
        let identity = [say("service.name"), say("service.version"), say("deployment.environment.name")].join(" ");
        found
            .push(format!("{} {} {}", say("service.instance.id"), identity, say("k8s_pod_name")).trim_end().to_owned());
    }
    found.sort();
    let expected = ["a checkout 2.0 production", "b checkout 2.1 staging", "c checkout 9 production pay-7"];
    assert_eq!(found, expected);
    let answer = write(&server, "/api/v1/write?sevice=x", "application/x-protobuf", &message).await;
    assert!(answer.status == 400 && String::from_utf8_lossy(&answer.body).contains("sevice"), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_be_kept_is_told_and_costs_nothing_else() {
    let (server, journal) = Server::in_memory().await;
    let unnamed = TimeSeries { labels: Vec::new(), ..series("x", 1.0) };
    let twice = series("x{job=a,job=b}", 1.0);
    let infinite = series("x{job=a}", f64::INFINITY);
    let good = series("y{job=a}", 1.0);
    let all = [unnamed, twice, infinite, good];
    let answer = write_v1(&server, all.to_vec()).await;
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 400, "{said}");
    assert!(said.starts_with("3 not kept, 1 kept") && said.contains("metric name"), "{said}");
    let answer = write(&server, "/api/v1/write", V2, &v2(&all, 0, "", 0)).await;
    assert_eq!((answer.status, written(&answer)), (400, [Some("1"), Some("0"), Some("0")]));
    let mut dangling = Request::decode(v2(&all[3..], 0, "", 0).as_slice()).expect("valid");
    dangling.timeseries[0].labels_refs.push(99);
    let answer = write(&server, "/api/v1/write", V2, &dangling.encode_to_vec()).await;
    assert_eq!((answer.status, written(&answer)), (400, [Some("0"), Some("0"), Some("0")]));
    let received = server.metric("shipwake_records_received_total");
    let rejected = server.metric("shipwake_records_rejected_total");
    assert_eq!((received, rejected, count(&journal).await), (9, 7, 2));
}

#[tokio::test]
async fn other_messages_and_broken_bodies_are_refused_as_the_specification_says() {
    let (server, journal) = Server::in_memory_with(small(1 << 20)).await;
    let message = v1(vec![series("x{job=a}", 1.0)]);
    let other = "application/x-protobuf;proto=io.prometheus.write.v3.Request";
    for (content_type, encoding, expected) in [
        (other, "snappy", 415),
        ("application/json", "snappy", 415),
        ("application/x-protobuf", "zstd", 415),
        ("application/x-protobuf; proto=prometheus.WriteRequest", "snappy", 200),
    ] {
        let headers = [("content-type", content_type), ("content-encoding", encoding)];
        let answer = server.post("/api/v1/write", &headers, &snappy(&message)).await;
        assert_eq!(answer.status, expected, "{content_type} {encoding}");
    }
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
    let mut lying = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    lying.extend_from_slice(&snappy(&message));
    let mut claiming = vec![0x80, 0x80, 0x20];
    claiming.extend_from_slice(&[0; 20]);
    for (what, body, expected) in [
        ("a length of 4 GiB", lying, 413),
        ("a length beyond what it can hold", claiming, 400),
        ("no snappy", message.clone(), 400),
        ("cut", snappy(&message)[..10].to_vec(), 400),
        ("no protobuf", snappy(b"{\"a\":1}"), 400),
        ("nothing", Vec::new(), 400),
    ] {
        let answer = server.post("/api/v1/write", &headers, &body).await;
        assert_eq!(answer.status, expected, "{what}: {:?}", String::from_utf8_lossy(&answer.body));
        assert!(!answer.body.is_empty(), "{what}");
    }
    let answer = server.exchange(b"GET /api/v1/write HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(answer.status, 405);
    assert_eq!(count(&journal).await, 1);
}

#[tokio::test]
async fn symbols_that_are_used_a_thousand_times_do_not_multiply_memory() {
    let (server, journal) = Server::in_memory_with(small(1 << 20)).await;
    let mut bomb =
        Request { symbols: vec![String::new(), "__name__".to_owned(), "x".repeat(200_000)], timeseries: Vec::new() };
    let samples = vec![Sample { value: 1.0, timestamp: TIME_MS }];
    let entry = TimeSeriesV2 { labels_refs: vec![1, 2], samples, ..TimeSeriesV2::default() };
    bomb.timeseries = vec![entry; 1000];
    let answer = write(&server, "/api/v1/write", V2, &bomb.encode_to_vec()).await;
    assert_eq!(answer.status, 413, "{:?}", String::from_utf8_lossy(&answer.body));
    assert_eq!(count(&journal).await, 0);
}

#[tokio::test]
async fn a_repetition_has_the_same_hash() {
    let (server, journal) = Server::in_memory().await;
    let all: Vec<TimeSeries> =
        (0..40).map(|n| series(&format!("x_{}{{job=j{},a={n}}}", n % 7, n % 5), f64::from(n))).collect();
    for _ in 0..2 {
        assert_eq!(write_v1(&server, all.clone()).await.status, 200);
    }
    let hashes = || async {
        let stored = stored(&journal).await;
        let mut hashes: Vec<_> = stored.iter().map(|stored| stored.header.request_hash.expect("a hash")).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len()
    };
    assert_eq!(hashes().await, 1, "all parts of a request have the hash of its bytes, and so has its repetition");
    assert_eq!(write_v1(&server, vec![series("x_1{job=j1}", 1.0)]).await.status, 200);
    assert_eq!(hashes().await, 2);
    let path = "/api/v1/write?service=other";
    assert_eq!(write(&server, path, "application/x-protobuf", &v1(vec![series("x_1{job=j1}", 1.0)])).await.status, 200);
    assert_eq!(hashes().await, 3, "the same bytes to another address are other data");
}

/// What a metric is, and its unit.
fn form(metrics: &[Metric], name: &str) -> (&'static str, String) {
    let metric = metrics.iter().rfind(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} in {metrics:?}"));
    let form = match &metric.data {
        Some(Data::Gauge(_)) => "gauge",
        Some(Data::Sum(_)) => "sum",
        Some(Data::Histogram(found)) if found.aggregation_temporality == 0 => "gauge histogram",
        Some(Data::Histogram(_)) => "histogram",
        Some(Data::ExponentialHistogram(found)) if found.aggregation_temporality == 0 => "gauge exponential",
        Some(Data::ExponentialHistogram(_)) => "exponential",
        Some(Data::Summary(_)) => "summary",
        None => "nothing",
    };
    (form, metric.unit.clone())
}

#[tokio::test]
async fn metadata_of_another_request_says_what_series_are() {
    let (server, journal) = Server::in_memory().await;
    let names = ["hits", "pool_count", "wait_sum", "wait_count", "lag_sum", "lag_count", "size_gcount", "depth_sum"];
    let all = |at: f64| names.iter().map(|name| series(&format!("{name}{{job=a}}"), at)).collect::<Vec<_>>();
    let mut first = all(1.0);
    first.push(series("depth_sum{job=a,below=zero}", -1.0));
    assert_eq!(write_v1(&server, first).await.status, 200);
    let forms = |metrics: &[Metric]| names.map(|name| form(metrics, name).0);
    let before = resources(&journal).await;
    assert_eq!(forms(&metrics(&before[0])), ["gauge", "sum", "sum", "sum", "sum", "sum", "gauge", "gauge"]);

    let said =
        |kind, family: &str, unit: &str| MetricMetadata { kind, family: family.to_owned(), unit: unit.to_owned() };
    let metadata = vec![
        said(1, "hits", "bytes"),
        said(2, "pool_count", ""),
        said(5, "wait", "seconds"),
        said(3, "lag", ""),
        said(4, "size", ""),
    ];
    let words = WriteRequest { timeseries: Vec::new(), metadata }.encode_to_vec();
    assert_eq!(write(&server, "/api/v1/write", "application/x-protobuf", &words).await.status, 200);
    assert_eq!(write_v1(&server, all(2.0)).await.status, 200);
    let after = resources(&journal).await;
    let found = metrics(after.last().expect("one more"));
    assert_eq!(form(&found, "hits"), ("sum", "By".to_owned()));
    assert_eq!(form(&found, "pool_count").0, "gauge");
    assert_eq!(form(&found, "wait"), ("summary", "s".to_owned()), "sum and count are all that this summary has");
    assert_eq!((form(&found, "lag_sum").0, form(&found, "lag_count").0), ("sum", "sum"), "parts of a cut histogram");
    assert_eq!(form(&found, "size_gcount").0, "gauge");

    // Another address of the same server is another sender.
    let path = "/api/v1/write?service=other";
    assert_eq!(write(&server, path, "application/x-protobuf", &v1(all(3.0))).await.status, 200);
    let other = resources(&journal).await;
    let other = other.iter().find(|resource| of_resource(resource, "service.name") == "other").expect("one more");
    assert_eq!(form(&metrics(other), "hits").0, "gauge");
}

#[tokio::test]
async fn float_and_gauge_histograms_are_kept_and_exemplars_are_counted() {
    let (server, journal) = Server::in_memory().await;
    let float = |counts: &[f64], reset_hint| Histogram {
        count_float: Some(counts.iter().sum()),
        sum: 2.5,
        positive_spans: vec![Span { offset: 1, length: counts.len() as u32 }],
        positive_counts: counts.to_vec(),
        reset_hint,
        timestamp: TIME_MS,
        ..Histogram::default()
    };
    let of = |name: &str, histogram| TimeSeries {
        samples: Vec::new(),
        histograms: vec![histogram],
        ..series(&format!("{name}{{job=a}}"), 0.0)
    };
    let mut traced = series("hits_total{job=a}", 1.0);
    traced.exemplars = vec![Sample { value: 0.5, timestamp: TIME_MS }; 3];
    let gauge_bucket = |le: &str, value| series(&format!("size_bucket{{job=a,le={le}}}"), value);
    let request = WriteRequest {
        timeseries: vec![
            of("whole", float(&[2.0, 3.0], 0)),
            of("cut", float(&[2.4, 3.4], 0)),
            of("rate", float(&[0.25, 0.5], 3)),
            traced,
            gauge_bucket("1", 2.0),
            gauge_bucket("+Inf", 3.0),
            series("size_gcount{job=a}", 3.0),
            series("size_gsum{job=a}", 4.0),
        ],
        metadata: vec![MetricMetadata { kind: 4, family: "size".to_owned(), unit: String::new() }],
    };
    let answer = write(&server, "/api/v1/write", "application/x-protobuf", &request.encode_to_vec()).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let found = metrics(&resources(&journal).await[0]);
    assert_eq!(form(&found, "whole").0, "exponential");
    assert_eq!(form(&found, "rate").0, "gauge exponential");
    assert_eq!(form(&found, "size").0, "gauge histogram");
    let point = |name: &str| {
        let metric = found.iter().find(|metric| metric.name == name).expect("is there");
        let Some(Data::ExponentialHistogram(histogram)) = &metric.data else { panic!("{metric:?}") };
        let point = histogram.data_points[0].clone();
        let buckets = point.positive.expect("buckets").bucket_counts;
        (point.count, point.sum, buckets, text(&point.attributes, "shipwake.histogram.scale"))
    };
    assert_eq!(point("whole"), (5, Some(2.5), vec![2, 3], String::new()));
    assert_eq!(point("cut"), (5, Some(2.5), vec![2, 3], String::new()));
    assert_eq!(point("rate"), (750_000, Some(2_500_000.0), vec![250_000, 500_000], "1000000".to_owned()));
    let not_kept =
        |what: &str| server.metric(&format!("shipwake_remote_write_parts_not_kept_total{{what=\"{what}\"}}"));
    assert_eq!((not_kept("exemplars"), not_kept("fractions")), (3, 1));
}
