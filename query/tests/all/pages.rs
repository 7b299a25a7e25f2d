//! The answers of the pages, asked over HTTP.

use axum::http::StatusCode;
use serde_json::{Value, json};
use shipwake_model::Source;

use crate::support::rows::{Requests, release, release_in};
use crate::support::{T0, World};

const MINUTE: i64 = 60_000;

/// Ten minutes of `checkout` at 10 requests a second; from minute 5 on version 2 has a tenth of them, and from minute 8 on
/// a third of those fail and take long.
fn canary() -> World {
    let world = World::new();
    let (old, new) = (release("checkout", "2.13.4"), release("checkout", "2.14.0"));
    for second in 0..600 {
        let t_ms = T0 + second * 1_000;
        world.shard.requests(&Requests::new(&old, t_ms, 9).errors(u64::from(second % 90 == 0)).taking(85_000));
        if second >= 300 {
            let bad = second >= 480;
            let errors = if bad { 1 } else { 0 };
            world.shard.requests(&Requests::new(&new, t_ms, 3).errors(errors).taking(if bad {
                900_000
            } else {
                90_000
            }));
        }
        world.shard.requests(&Requests::new(&old, t_ms, 20).of_source(Source::Logs));
    }
    world.set_now(T0 + 10 * MINUTE);
    world
}

#[tokio::test]
async fn the_release_page_says_what_differs_and_since_when() {
    let world = canary();
    let (status, answer) = world.get("/api/v1/services/checkout/release?env=prod&from=now-10m&to=now&step=10s").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["pair"]["candidate"], "2.14.0");
    assert_eq!(answer["pair"]["baseline"], "2.13.4");
    assert_eq!((&answer["pair"]["strategy"], &answer["pair"]["before_after"]), (&json!("canary"), &json!(false)));
    assert_eq!((&answer["source"], &answer["unversioned"]), (&json!("spans"), &json!(false)));

    let differences = answer["differences"].as_array().expect("differences");
    let error = differences.iter().find(|one| one["metric"] == "error_ratio").expect("errors differ");
    assert_eq!(error["since"], json!(T0 + 8 * MINUTE), "{error}");
    assert!((error["candidate"].as_f64().expect("a number") - 1.0 / 3.0).abs() < 0.001);
    let p99 = differences.iter().find(|one| one["metric"] == "p99").expect("the tail differs");
    assert_eq!(p99["since"], json!(T0 + 8 * MINUTE), "{p99}");
    let headline = answer["headline"].as_str().expect("a sentence");
    assert!(
        headline.starts_with("2.14.0 differs from 2.13.4: error ratio 0.09 % → 33.3 % since 14:08:00 UTC"),
        "{headline}"
    );

    let t = answer["t"].as_array().expect("times");
    assert_eq!(t.len(), 60);
    let lanes = answer["lanes"].as_array().expect("lanes");
    assert_eq!((&lanes[0]["role"], &lanes[1]["role"]), (&json!("baseline"), &json!("candidate")));
    for lane in lanes {
        for column in ["share", "rps", "err", "p50", "p95", "p99", "n"] {
            assert_eq!(lane[column].as_array().map(Vec::len), Some(60), "{column}");
        }
    }
    // Before it was first seen a version has no data, which is not zero.
    assert_eq!(
        (&lanes[1]["n"][29], &lanes[1]["rps"][29], &lanes[1]["share"][29]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&lanes[1]["n"][30], &lanes[1]["rps"][30], &lanes[1]["share"][30]),
        (&json!(30), &json!(3.0), &json!(0.25))
    );
    assert_eq!(lanes[0]["rps"][0], json!(9.0));
    let route = &answer["routes"][0];
    assert_eq!((&route["route"], &route["versions"][1]["role"]), (&json!("/pay"), &json!("candidate")));
    let events = answer["events"].as_array().expect("events");
    assert!(events.iter().any(|event| event["kind"] == "release"
        && event["version"] == "2.14.0"
        && event["t"] == json!(T0 + 5 * MINUTE)));
    let meta = &answer["meta"];
    assert_eq!(
        (&meta["wm"], &meta["lag_ms"], &meta["step_s"], &meta["partial"]),
        (&json!(T0 + 10 * MINUTE), &json!(0), &json!(10), &json!(false))
    );
}

#[tokio::test]
async fn memory_and_windows_give_the_same_page() {
    let world = canary();
    let recent =
        world.get("/api/v1/services/checkout/release?env=prod&from=1795442400000&to=1795443000000&step=60s").await.1;
    world.shard.commit();
    world.set_now(T0 + 3 * 60 * MINUTE);
    let (status, old) =
        world.get("/api/v1/services/checkout/release?env=prod&from=1795442400000&to=1795443000000&step=60s").await;
    assert_eq!(status, StatusCode::OK, "{old}");
    for member in ["pair", "headline", "differences", "source", "t", "routes", "events"] {
        assert_eq!(old[member], recent[member], "{member}");
    }
    for (now, before) in recent["lanes"].as_array().expect("lanes").iter().zip(old["lanes"].as_array().expect("lanes"))
    {
        for column in ["version", "n", "rps", "share", "err", "p50", "p95", "p99"] {
            assert_eq!(now[column], before[column], "{column}");
        }
    }
}

#[tokio::test]
async fn versions_can_be_asked_for_and_times_be_anchored() {
    let world = canary();
    let (_, answer) = world.get("/api/v1/services/checkout/release?env=prod&cand=2.13.4&base=2.14.0").await;
    assert_eq!((&answer["pair"]["candidate"], &answer["pair"]["baseline"]), (&json!("2.13.4"), &json!("2.14.0")));
    let (_, answer) = world.get("/api/v1/services/checkout/release?from=deploy:2.14.0-1m").await;
    assert_eq!(answer["t"][0], json!(T0 + 4 * MINUTE));
    let (_, answer) = world.get("/api/v1/services/checkout/release?cand=9.9").await;
    assert!(answer["meta"]["warnings"][0].as_str().is_some_and(|text| text.contains("9.9")), "{}", answer["meta"]);
    for (address, argument) in
        [("from=yesterday", "from"), ("to=now-x", "to"), ("step=never", "step"), ("from=deploy:9.9", "from")]
    {
        let (status, problem) = world.get(&format!("/api/v1/services/checkout/release?{address}")).await;
        assert_eq!((status, problem["argument"].as_str()), (StatusCode::BAD_REQUEST, Some(argument)), "{problem}");
    }
    let (status, problem) = world.get("/api/v1/services/nothing/release").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    let (status, problem) = world.get("/api/v1/services/checkout/release?env=staging").await;
    assert!(
        status == StatusCode::NOT_FOUND && problem["detail"].as_str().is_some_and(|text| text.contains("prod")),
        "{problem}"
    );
}

#[tokio::test]
async fn every_name_that_can_be_stored_has_a_page() {
    let world = World::new();
    // As the pages write them: percent-encoded, with a tilde in front of what a path cannot hold.
    let names = [
        (".", "~."),
        ("..", "~.."),
        ("~home", "~~home"),
        ("%2e", "%252e"),
        ("a/b", "a%2Fb"),
        ("?", "%3F"),
        ("#", "%23"),
        (" ", "%20"),
        ("plain", "plain"),
    ];
    for (name, _) in names {
        world.shard.requests(&Requests::new(&release(name, "1"), T0, 1));
    }
    for (name, segment) in names {
        let (status, answer) = world.get(&format!("/api/v1/services/{segment}/release")).await;
        assert_eq!((status, &answer["service"]), (StatusCode::OK, &json!(name)), "{segment}: {answer}");
    }
}

#[tokio::test]
async fn the_overview_has_a_line_for_each_service() {
    let world = canary();
    for second in 0..600 {
        let t_ms = T0 + second * 1_000;
        world.shard.requests(&Requests::new(&release("search", "8"), t_ms, 5));
        world.shard.requests(&Requests::new(&release("legacy", "unversioned"), t_ms, 1).of_source(Source::Logs));
        world.shard.requests(&Requests::new(&release_in("checkout", "staging", "3"), t_ms, 1));
    }
    let (status, answer) = world.get("/api/v1/overview?env=prod").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["meta"]["envs"], json!(["prod", "staging"]));
    assert_eq!(answer["summary"], json!({"services": 3, "rollouts": 1, "steady": 1, "unversioned": 1, "differing": 1}));
    let services = answer["services"].as_array().expect("services");
    let names: Vec<&str> = services.iter().filter_map(|line| line["service"].as_str()).collect();
    assert_eq!(names, ["checkout", "legacy", "search"], "what differs comes first");
    let checkout = &services[0];
    assert_eq!((&checkout["state"], &checkout["source"]), (&json!("rollout"), &json!("spans")));
    assert_eq!(checkout["lanes"][1]["version"], "2.14.0");
    assert!((checkout["lanes"][1]["share"].as_f64().expect("a share") - 0.25).abs() < 0.01);
    assert!((checkout["red"]["rps"].as_f64().expect("a rate") - 12.0).abs() < 0.5, "{}", checkout["red"]);
    assert!(checkout["red"]["err"]["candidate"].as_f64().expect("a ratio") > 0.1);
    assert!(
        checkout["headline"].as_str().is_some_and(|text| text.contains("2.14.0 differs from 2.13.4")),
        "{checkout}"
    );
    assert_eq!((&services[2]["state"], &services[2]["headline"]), (&json!("steady"), &Value::Null));
    assert_eq!((&services[1]["state"], &services[1]["source"]), (&json!("unversioned"), &json!("logs")));
    let (_, all) = world.get("/api/v1/overview").await;
    assert_eq!(all["summary"]["services"], 4);
    let spark = &checkout["spark"];
    assert_eq!(spark["step_s"], 30);
    assert_eq!(spark["rps"][0], Value::Null, "no data before the first request");
}

#[tokio::test]
async fn a_version_that_only_shows_up_is_told_and_not_compared() {
    let world = World::new();
    for second in 0..300 {
        world.shard.requests(&Requests::new(&release("checkout", "1"), T0 + second * 1_000, 5));
    }
    world.shard.see(&release("checkout", "2"), T0 + 120_000);
    world.set_now(T0 + 5 * MINUTE);
    let (_, answer) = world.get("/api/v1/services/checkout/release?from=now-5m&step=10s").await;
    assert_eq!(
        answer["headline"],
        "1 takes all traffic; 2 was first seen at 14:02:00 UTC and has taken no request yet"
    );
    assert_eq!((&answer["pair"]["candidate"], &answer["lanes"][1]["role"]), (&Value::Null, &json!("no_traffic")));
    assert_eq!((&answer["lanes"][1]["n"][11], &answer["lanes"][1]["n"][12]), (&Value::Null, &json!(0)));
    let (_, overview) = world.get("/api/v1/overview?env=prod").await;
    assert_eq!(
        overview["services"][0]["headline"],
        "1 takes all traffic; 2 was first seen at 14:02:00 UTC and has taken no request yet"
    );
}

#[tokio::test]
async fn an_empty_store_has_empty_pages() {
    let world = World::new();
    let (status, answer) = world.get("/api/v1/overview").await;
    assert_eq!((status, &answer["services"], &answer["meta"]["wm"]), (StatusCode::OK, &json!([]), &Value::Null));
    assert_eq!(world.rows("select count(*) as n from release_health").await, json!([[0]]));
    assert_eq!(world.rows("select count(*) as n from logs").await, json!([[0]]));
}

#[tokio::test]
async fn the_pipeline_page_has_what_ingest_and_the_shards_say() {
    let world = canary();
    let (status, answer) = world.get("/api/v1/pipeline").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["received"], json!({"logs": 7, "metrics": 0, "spans": 0}));
    assert_eq!(
        answer["rejected"][0],
        json!({"reason": "nan", "count": 2, "signal": "metrics", "last": 5000, "detail": "value is NaN"})
    );
    assert_eq!(
        (&answer["deduplicated"], &answer["services"], &answer["services_with_two_versions"]),
        (&json!(3), &json!(1), &json!(1))
    );
    assert_eq!(answer["endpoints"]["otlp_http"], "http://127.0.0.1:4318");
    assert_eq!((&answer["shards"][0]["ready"], &answer["shards"][0]["lag_ms"]), (&json!(true), &json!(0)));
    assert_eq!((&answer["memory_bytes"], &answer["instances_guessed"]), (&json!(1000), &json!(false)));
    assert_eq!(answer["services_without_version"], json!([]));
    assert_eq!(answer["problems"], json!(["of now (4 spans so far)"]), "what was left out long ago is no problem");
    let seen = |version: &str| json!({"service": "checkout", "env": "prod", "version": version, "last": 1_795_442_999_000_i64});
    assert_eq!(answer["releases"], json!([seen("2.14.0"), seen("2.13.4")]), "the newest first");
    world.set_now(T0 + 60 * MINUTE);
    let (_, answer) = world.get("/api/v1/pipeline").await;
    assert_eq!(answer["services_with_two_versions"], 1, "a silent service keeps the versions that it had");
}
