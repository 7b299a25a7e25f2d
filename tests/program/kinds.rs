//! Every kind of metric, in both temporalities, sent as OTLP in JSON and asked for in SQL: the point as it was received, and
//! what windows make of it.

use serde_json::{Value, json};

use crate::harness::{Shipwake, start};
use crate::otlp::now_ns;
use crate::senders::{assert_conserved, post_json};

const S: u64 = 1_000_000_000;

fn resource(service: &str) -> Value {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    json!({"attributes": [
        attribute("service.name", service),
        attribute("service.version", "1"),
        attribute("service.instance.id", "a"),
        attribute("deployment.environment.name", "test"),
    ]})
}

/// A request with one metric.
fn metric(service: &str, name: &str, data: &str, content: &Value) -> Value {
    let metric = json!({"name": name, "unit": "s", data: content});
    json!({"resourceMetrics": [{"resource": resource(service), "scopeMetrics": [{"metrics": [metric]}]}]})
}

/// A point of `at` seconds ago with the given fields.
fn point(now: u64, start: u64, at: u64, fields: &Value) -> Value {
    let mut point = fields.clone();
    point["startTimeUnixNano"] = json!((now - start * S).to_string());
    point["timeUnixNano"] = json!((now - at * S).to_string());
    point
}

async fn total(shipwake: &Shipwake, name: &str, column: &str) -> f64 {
    let query = format!(
        "select cast(sum({column}) as double) from windows where metric = '{name}' and resolution_s = 60 and signal = 'metric'"
    );
    shipwake.sql(&query).await[0][0].as_f64().unwrap_or(f64::NAN)
}

fn sum_points(now: u64, values: &[(f64, u64)]) -> Vec<Value> {
    values.iter().map(|(value, at)| point(now, 100, *at, &json!({"asDouble": value}))).collect()
}

fn explicit(now: u64, counts: [u64; 3], at: u64) -> Value {
    let count: u64 = counts.iter().sum();
    let bounds = [0.1, 1.0];
    let fields =
        json!({"count": count.to_string(), "sum": count as f64, "bucketCounts": counts, "explicitBounds": bounds});
    point(now, 100, at, &fields)
}

fn exponential(now: u64, counts: [u64; 2], at: u64) -> Value {
    let count: u64 = counts.iter().sum();
    let positive = json!({"offset": 0, "bucketCounts": counts.map(|count| count.to_string())});
    let fields = json!({"count": count, "sum": count as f64, "scale": 0, "zeroCount": "0", "positive": positive});
    point(now, 100, at, &fields)
}

/// One metric of each kind and temporality. The cumulative total goes on from 5 to 8, begins again at 2, and an older point
/// comes late.
fn every_kind(now: u64) -> Vec<Value> {
    let sum = |name: &str, temporality: u64, is_monotonic: bool, values: &[(f64, u64)]| {
        let points = sum_points(now, values);
        let content = json!({"aggregationTemporality": temporality, "isMonotonic": is_monotonic, "dataPoints": points});
        metric("kinds", name, "sum", &content)
    };
    let histogram = |name: &str, form: &str, temporality: u64, points: [Value; 2]| {
        metric("kinds", name, form, &json!({"aggregationTemporality": temporality, "dataPoints": points}))
    };
    let [first, more, total] = [[1, 2, 0], [0, 1, 1], [1, 3, 1]];
    let quantiles = json!([{"quantile": 0.5, "value": 0.2}, {"quantile": 0.99, "value": 1.5}]);
    let summary = point(now, 100, 5, &json!({"count": "7", "sum": 3.5, "quantileValues": quantiles}));
    let gauge = json!({"dataPoints": sum_points(now, &[(3.0, 20), (5.0, 10)])});
    let explicit = |first, second| [explicit(now, first, 20), explicit(now, second, 10)];
    let exponential = |first, second| [exponential(now, first, 20), exponential(now, second, 10)];
    vec![
        metric("kinds", "m.gauge", "gauge", &gauge),
        sum("m.delta", 1, true, &[(3.0, 20), (5.0, 10)]),
        sum("m.total", 2, true, &[(5.0, 40), (8.0, 30), (2.0, 20), (3.0, 10), (8.0, 30)]),
        sum("m.level", 2, false, &[(3.0, 20), (1.0, 10)]),
        histogram("m.hist.delta", "histogram", 1, explicit(first, more)),
        histogram("m.hist.total", "histogram", 2, explicit(first, total)),
        histogram("m.exp.delta", "exponentialHistogram", 1, exponential([3, 1], [2, 2])),
        histogram("m.exp.total", "exponentialHistogram", 2, exponential([3, 1], [4, 4])),
        metric("kinds", "m.summary", "summary", &json!({"dataPoints": [summary]})),
    ]
}

#[tokio::test]
async fn sums_gauges_and_histograms_of_both_temporalities_are_points_and_windows() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    for request in every_kind(now_ns()) {
        let (status, answer) = post_json(&shipwake, "metrics", &request.to_string()).await;
        assert_eq!((status, answer), (200, json!({})), "{request}");
    }
    shipwake.wait_number("select count(*) from points where service = 'kinds'", 20).await;
    let kinds = "select metric, min(kind), min(temporality), cast(bool_or(monotonic) as int), cast(sum(value) as double), \
                 cast(sum(count) as bigint), cast(sum(sum) as double) from points group by metric order by metric";
    let found = json!(shipwake.sql(kinds).await);
    let expected = json!([
        ["m.delta", "sum", "delta", 1, 8.0, null, null],
        ["m.exp.delta", "exponential_histogram", "delta", null, null, 8, 8.0],
        ["m.exp.total", "exponential_histogram", "cumulative", null, null, 12, 12.0],
        ["m.gauge", "gauge", null, null, 8.0, null, null],
        ["m.hist.delta", "histogram", "delta", null, null, 5, 5.0],
        ["m.hist.total", "histogram", "cumulative", null, null, 8, 8.0],
        ["m.level", "sum", "cumulative", 0, 4.0, null, null],
        ["m.summary", "summary", null, null, null, 7, 3.5],
        ["m.total", "sum", "cumulative", 1, 26.0, null, null],
    ]);
    assert_eq!(found, expected);
    // Totals of a process that began a moment ago count whole: 8, and 3 after the reset.
    for (name, column, expected) in [
        ("m.delta", "sum", 8.0),
        ("m.total", "sum", 11.0),
        ("m.gauge", "count", 2.0),
        ("m.level", "count", 2.0),
        ("m.hist.delta", "count", 5.0),
        ("m.hist.total", "count", 5.0),
        ("m.exp.delta", "count", 8.0),
        ("m.exp.total", "count", 8.0),
        ("m.summary", "count", 7.0),
        ("m.summary", "sum", 3.5),
    ] {
        assert_eq!(total(&shipwake, name, column).await, expected, "{name}");
    }
    // Explicit and exponential histograms keep their own form and are converted when they are asked: within a bucket.
    for (name, low, high) in [("m.hist.total", 0.1, 1.0), ("m.exp.total", 1.0, 4.0)] {
        let query = format!(
            "select hdr_quantile(hdr_merge(histogram), 0.5) from windows where metric = '{name}' and resolution_s = 60"
        );
        let median = shipwake.sql(&query).await[0][0].as_f64().unwrap_or(f64::NAN);
        assert!((low..=high).contains(&median), "{name}: {median}");
    }
    for (name, expected) in [
        ("m.hist.total", json!([0.1, 1.0, true])),
        ("m.exp.total", json!([1.0, 2.0, true])),
        // A summary says nothing that could be merged: there is no quantile, and none is made up.
        ("m.summary", json!([null, null, null])),
    ] {
        let query = format!(
            "select b['low'], b['high'], b['approximate'] from (select hdr_quantile_bounds(hdr_merge(histogram), 0.5) as b \
             from windows where metric = '{name}' and resolution_s = 60)"
        );
        assert_eq!(json!(shipwake.sql(&query).await[0]), expected, "{name}");
    }
    let quantiles = "select quantiles['0.5'], quantiles['0.99'], quantiles from points where metric = 'm.summary'";
    assert_eq!(json!(shipwake.sql(quantiles).await), json!([[0.2, 1.5, {"0.5": 0.2, "0.99": 1.5}]]));
    let others = "select count(*) from points where quantiles is not null and metric <> 'm.summary'";
    assert_eq!(shipwake.number(others).await, 0);
    assert_conserved(&shipwake).await;
}

#[tokio::test]
async fn old_and_new_names_of_durations_give_the_same_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now = now_ns();
    let cases = [
        ("old", "http.server.duration", "ms", "http.status_code", [100.0, 1000.0]),
        ("new", "http.server.request.duration", "s", "http.response.status_code", [0.1, 1.0]),
    ];
    for (service, name, unit, status_name, bounds) in cases {
        let points: Vec<Value> = [(200, [3, 4, 1]), (503, [0, 2, 0])]
            .iter()
            .map(|(status, counts): &(i64, [u64; 3])| {
                let count: u64 = counts.iter().sum();
                let attributes = json!([
                    {"key": status_name, "value": {"intValue": status.to_string()}},
                    {"key": "http.route", "value": {"stringValue": "/pay"}},
                ]);
                let fields = json!({"count": count, "sum": 1.0, "bucketCounts": counts, "explicitBounds": bounds, "attributes": attributes});
                point(now, 60, 5, &fields)
            })
            .collect();
        let mut request =
            metric(service, name, "histogram", &json!({"aggregationTemporality": 1, "dataPoints": points}));
        request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["unit"] = json!(unit);
        assert_eq!(post_json(&shipwake, "metrics", &request.to_string()).await.0, 200);
        let requests =
            format!("select sum(requests) from release_health where service = '{service}' and resolution_s = 60");
        shipwake.wait_number(&requests, 10).await;
        let errors =
            format!("select sum(errors) from release_health where service = '{service}' and resolution_s = 60");
        assert_eq!(shipwake.number(&errors).await, 2, "{service}");
        let median = format!(
            "select hdr_quantile(hdr_merge(histogram), 0.3) from windows where service = '{service}' and signal = 'duration' and resolution_s = 60"
        );
        let median_us = shipwake.sql(&median).await[0][0].as_f64().expect("a duration");
        assert!(median_us <= 100_500.0, "{service}: {median_us} µs");
        let flags = format!(
            "select cast(bool_and(approximate) as int) from release_health where service = '{service}' and resolution_s = 60"
        );
        assert_eq!(shipwake.number(&flags).await, 1, "{service}: durations are estimates");
        let page = shipwake.api(&format!("/api/v1/services/{service}/release?env=test&from=now-5m&to=now")).await;
        assert_eq!((&page["source"], &page["approximate"]), (&json!("metrics"), &json!(true)));
    }
    assert_conserved(&shipwake).await;
}
