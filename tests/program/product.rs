//! Events, KPIs, users, sessions and toggles: what was sent is what SQL and the pages say, also after `kill -9`.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Shipwake, Start, eventually, spawn, start_with};
use crate::otlp::{now_ns, post, resource, spans, text};

const MS: u64 = 1_000_000;
const KPIS: &str = "
kpis:
  - { key: orders, title: Orders, source: { event: order_placed }, service: checkout, per: request, better: higher }
  - { key: revenue, title: Revenue, source: { event: order_placed }, service: checkout, value: sum, unit: EUR, per: session }
";

async fn started(data: &Path, kpis: &Path) -> Shipwake {
    start_with(data, &["--kpis", kpis.to_str().expect("text"), "--commit-seconds", "1"]).await
}

async fn post_events(url: &str, body: &Value) -> Value {
    let answer = reqwest::Client::new().post(format!("{url}/v1/events")).json(body).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

/// Requests and orders of two versions: 100 requests each, 50 orders of the first and 25 of the second.
async fn send_all(shipwake: &Shipwake) {
    let now = now_ns();
    for (version, orders) in [("1.0", 50), ("1.1", 25)] {
        let requests: Vec<_> = (0..100).map(|n| (now - n * 10 * MS, MS, 200)).collect();
        let mut request = spans(resource("checkout", version, version), &requests);
        let key = |key: &str, value: &str| text(&format!("feature_flag.{key}"), value);
        for (n, span) in request.resource_spans[0].scope_spans[0].spans.iter_mut().enumerate() {
            span.attributes.push(text("session.id", &format!("{version}-s{}", n % 40)));
            span.attributes
                .extend([key("key", "pay-v2"), key("result.variant", if n % 4 == 0 { "on" } else { "off" })]);
        }
        post(&shipwake.http(), "traces", &request).await;
        let events: Vec<Value> = (0..orders)
            .map(|n| {
                json!({"name": "order_placed", "value": 10.0, "unit": "EUR", "service": "checkout", "version": version,
                    "environment": "test", "user": format!("u{}", n % 20), "session": format!("{version}-s{}", n % 40),
                    "time": (now / MS) as i64, "attributes": {"n": n}})
            })
            .collect();
        // The port of the pages takes events too.
        let url = if version == "1.0" { shipwake.http() } else { shipwake.ui() };
        assert_eq!(post_events(&url, &json!(events)).await["accepted"], orders);
        assert_eq!(post_events(&url, &json!(events)).await["accepted"], orders, "answered alike, and counted once");
    }
    shipwake.wait_number("select count(*) from events where service = 'checkout'", 75).await;
    shipwake.wait_number("select count(*) from spans where service = 'checkout'", 200).await;
}

/// What a reader sees of it.
async fn seen(shipwake: &Shipwake) -> Value {
    let events = shipwake
        .sql("select version, count(*), sum(value), count(distinct \"user\"), count(distinct session), max(unit) from events group by 1 order by 1")
        .await;
    let kpis = shipwake
        .sql(
            "select version, metric, unit, sum(count), sum(sum) from windows \
             where signal = 'kpi' and resolution_s = 3600 group by 1, 2, 3 order by 1, 2",
        )
        .await;
    let usage = shipwake
        .sql(
            "select version, metric, distinct_count(hdr_merge(histogram)), max(count) from windows \
             where signal = 'usage' and resolution_s = 60 group by 1, 2 order by 1, 2",
        )
        .await;
    let toggles =
        shipwake.sql("select version, key, variant, evaluations, share, hot from toggles order by 1, 2, 3").await;
    let variants = shipwake
        .sql(
            "select attributes['variant'] as variant, unit, sum(count) from windows \
             where signal = 'toggle' and resolution_s = 10 group by 1, 2 order by 1, 2",
        )
        .await;
    let health = shipwake
        .sql("select version, sum(requests), max(users) from release_health where resolution_s = 3600 group by 1 order by 1")
        .await;
    json!({"events": events, "kpis": kpis, "usage": usage, "toggles": toggles, "variants": variants, "health": health})
}

#[tokio::test]
async fn what_customers_do_is_seen_by_version_and_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, kpis) = (folder.path().join("data"), folder.path().join("kpis.yaml"));
    std::fs::write(&kpis, KPIS).expect("written");
    let shipwake = started(&data, &kpis).await;
    send_all(&shipwake).await;
    let before = seen(&shipwake).await;
    assert_eq!(before["events"], json!([["1.0", 50, 500.0, 20, 40, "EUR"], ["1.1", 25, 250.0, 20, 25, "EUR"]]));
    assert_eq!(
        before["kpis"],
        json!([
            ["1.0", "order_placed", "EUR", 50, 500.0],
            ["1.0", "orders", "", 50, 500.0],
            ["1.0", "revenue", "EUR", 50, 500.0],
            ["1.1", "order_placed", "EUR", 25, 250.0],
            ["1.1", "orders", "", 25, 250.0],
            ["1.1", "revenue", "EUR", 25, 250.0],
        ])
    );
    // Sessions of orders are among those of requests: merged over both sources they are forty, not eighty.
    let usage = before["usage"].as_array().expect("rows");
    let of = |version: &str, metric: &str| {
        usage.iter().find(|row| row[0] == version && row[1] == metric).map(|row| row[2].as_i64().expect("a count"))
    };
    assert_eq!((of("1.0", "sessions"), of("1.0", "users"), of("1.1", "sessions")), (Some(40), Some(20), Some(40)));
    assert_eq!(before["health"], json!([["1.0", 100, 20], ["1.1", 100, 20]]));
    assert_eq!(
        before["toggles"],
        json!([
            ["1.0", "pay-v2", "off", 75, 0.75, true],
            ["1.0", "pay-v2", "on", 25, 0.25, true],
            ["1.1", "pay-v2", "off", 75, 0.75, true],
            ["1.1", "pay-v2", "on", 25, 0.25, true],
        ])
    );
    assert_eq!(
        before["variants"],
        json!([
            ["off", "evaluations", 150],
            ["off", "requests", 150],
            ["off", "s", 150],
            ["on", "evaluations", 50],
            ["on", "requests", 50],
            ["on", "s", 50]
        ])
    );

    shipwake.kill();
    let again = started(&data, &kpis).await;
    assert_eq!(seen(&again).await, before, "after kill -9");
    let page = eventually("the page has read its windows back", || async {
        let page = again.api("/api/v1/services/checkout/release?env=test&from=now-5m&to=now").await;
        (page["kpis"].as_array()?.len() == 2 && !page["usage"].as_array()?.is_empty()).then_some(page)
    })
    .await;
    let value = |key: &str, version: &str| {
        let kpi = page["kpis"].as_array()?.iter().find(|kpi| kpi["key"] == key)?;
        kpi["versions"].as_array()?.iter().find(|found| found["version"] == version)?["value"].as_f64()
    };
    assert_eq!((value("orders", "1.0"), value("orders", "1.1")), (Some(500.0), Some(250.0)), "per 1 000 requests");
    assert_eq!(value("revenue", "1.0"), Some(12.5), "of forty sessions");
    let lane = &page["lanes"].as_array().expect("lanes")[0];
    assert_eq!(lane["kpi"]["orders"].as_array().map(Vec::len), page["t"].as_array().map(Vec::len));
    let usage = page["usage"].as_array().expect("usage");
    assert!(usage.iter().all(|row| row["adoption"] == 0.5 && row["crash_free"] == 1.0), "{usage:?}");
    assert_eq!(page["toggles"][0]["key"], "pay-v2");
    // Older windows are read from the store and say the same.
    let old = again.api("/api/v1/services/checkout/release?env=test&from=now-6h&to=now").await;
    assert_eq!(old["kpis"][0]["versions"], page["kpis"][0]["versions"]);
}

#[tokio::test]
async fn mistakes_in_kpis_are_all_said_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let kpis = folder.path().join("kpis.yaml");
    std::fs::write(
        &kpis,
        "kpis:\n  - key: orders\n    sorce: { event: x }\n  - key: b\n    source: { event: y }\n    per: week\n",
    )
    .expect("written");
    let options = ["--kpis", kpis.to_str().expect("text")];
    let mut shipwake = spawn(&Start { data: &folder.path().join("data"), options: &options, ports: None });
    assert!(!shipwake.wait_exit().await.success());
    let log = shipwake.log();
    for word in ["kpis.yaml: line 3: unknown key `sorce`; did you mean `source`?", "`source` is missing", "per `week`"]
    {
        assert!(log.contains(word), "{word} is not said: {log}");
    }
}
