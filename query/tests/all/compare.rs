//! Comparisons, asked over HTTP: over hot and stored windows, and with questions that are not understood.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use shipwake_model::Source;

use crate::support::rows::{Requests, release};
use crate::support::{T0, World};

const MINUTE: i64 = 60_000;

/// Twenty minutes of version 1 on two routes; version 2 for the last ten, slow on one of them.
fn world() -> World {
    let world = World::new();
    let (old, new) = (release("checkout", "1"), release("checkout", "2"));
    for step in 0..120 {
        let t_ms = T0 + step * 10_000;
        let of = |of: &std::sync::Arc<_>, route: &str, count: u64, us: u64, slot: i8| Requests {
            route: route.into(),
            slot,
            ..Requests::new(of, t_ms, count).taking(us)
        };
        world.shard.requests(&of(&old, "/cart", 40, 50_000 + (step as u64 % 7) * 2_000, 1));
        world.shard.requests(&of(&old, "/pay", 10, 200_000 + (step as u64 % 5) * 9_000, 2));
        if step >= 60 {
            world.shard.requests(&of(&new, "/cart", 20, 50_000 + (step as u64 % 7) * 2_000, 1));
            world.shard.requests(&of(&new, "/pay", 5, 400_000 + (step as u64 % 5) * 9_000, 2).errors(2));
        }
        world.shard.requests(&of(&old, "", 90, 0, 0).of_source(Source::Logs));
        if step == 50 {
            world.shard.commit();
        }
    }
    world.set_now(T0 + 20 * MINUTE);
    world
}

async fn compare(world: &World, body: Value) -> (StatusCode, Value) {
    let request = Request::post("/api/v1/compare")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a valid request");
    let (status, _, bytes) = world.ask(request).await;
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

#[tokio::test]
async fn two_versions_are_laid_over_each_other() {
    let world = world();
    let (status, answer) = compare(&world, json!({"service": "checkout", "from": "now-20m"})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["a"]["version"], &answer["b"]["version"]), (&json!("1"), &json!("2")), "chosen by themselves");
    assert_eq!((&answer["a"]["n"], &answer["b"]["n"]), (&json!(6_000), &json!(1_500)), "hot and stored, each once");
    assert_eq!((&answer["source"], &answer["b"]["errors"]), (&json!("spans"), &json!(120)));
    let p99 = answer["quantiles"].as_array().expect("a table").iter().find(|one| one["q"] == 0.99).expect("p99");
    assert_eq!(p99["ok"], true);
    let (low, high) = (p99["lo"].as_f64().expect("bounded"), p99["hi"].as_f64().unwrap_or(f64::MAX));
    assert!(low < 0.2 && 0.2 < high && low > 0.0, "{p99}");
    let route = answer["explain"].as_array().expect("rows").iter().find(|row| row["dim"] == "route").expect("by route");
    assert_eq!((&route["value"], &route["a"], &route["b"]), (&json!("/pay"), &json!(0.2), &json!(0.2)));
    assert!(route["part"].as_f64().is_some_and(|part| part > 0.95), "{route}");
    assert_eq!(answer["known"]["routes"], json!(["/cart", "/pay"]));
    let mean = &answer["stats"]["mean_a"];
    assert!(
        mean.as_f64().is_some_and(|mean| (mean - 0.0883).abs() < 0.0005),
        "the exact sum, not the buckets': {mean}"
    );
}

#[tokio::test]
async fn a_route_and_windows_of_their_own_can_be_asked_for() {
    let world = world();
    let body = json!({"service": "checkout", "a": "ver:1 win:now-20m..now-10m", "b": "ver:1", "wb": "now-10m..now",
        "filters": ["route:eq:/cart"]});
    let (status, answer) = compare(&world, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["a"]["n"], &answer["b"]["n"]), (&json!(2_400), &json!(2_400)));
    assert_eq!((&answer["a"]["to"], &answer["b"]["from"]), (&json!(T0 + 10 * MINUTE), &json!(T0 + 10 * MINUTE)));
    assert!(answer["meta"]["warnings"].to_string().contains("different times"), "{}", answer["meta"]);
    let quantiles = answer["quantiles"].as_array().expect("a table");
    assert!(quantiles.iter().all(|one| one["differs"] == false), "{quantiles:?}");
    let (_, all) =
        compare(&world, json!({"service": "checkout", "a": "win:now-20m..now-10m", "b": "win:now-10m..now"})).await;
    assert_eq!(
        (&all["a"]["label"], &all["a"]["n"], &all["b"]["n"]),
        (&json!("all versions"), &json!(3_000), &json!(4_500))
    );
    assert!(all["explain"].as_array().expect("rows").iter().any(|row| row["dim"] == "version"), "{}", all["explain"]);
}

#[tokio::test]
async fn nothing_in_common_is_an_answer_and_a_bad_question_names_what_is_known() {
    let world = world();
    let (status, answer) =
        compare(&world, json!({"service": "checkout", "a": "ver:1", "b": "ver:2", "from": "now-20m", "to": "now-11m"}))
            .await;
    assert_eq!((status, &answer["source"]), (StatusCode::OK, &Value::Null), "{answer}");
    assert_eq!(answer["a"]["has"][0], json!({"source": "spans", "requests": 2_700, "durations": 2_700}));
    assert_eq!(answer["b"]["has"], json!([]));
    for (body, status, says) in [
        (json!({"service": "checkout", "a": "9"}), StatusCode::BAD_REQUEST, "its versions: 2, 1"),
        (json!({"service": "checkout", "a": "flag:x=on"}), StatusCode::BAD_REQUEST, "its toggles: none"),
        (json!({"service": "nobody"}), StatusCode::NOT_FOUND, "no record of it"),
        (json!({"service": "checkout", "env": "moon"}), StatusCode::NOT_FOUND, "seen in prod"),
        (json!({"service": "checkout", "namespace": "shop"}), StatusCode::NOT_FOUND, "no such namespace"),
        (json!({"a": "1"}), StatusCode::BAD_REQUEST, "which service"),
        (json!({"service": "checkout", "colour": 1}), StatusCode::BAD_REQUEST, "unknown field"),
        (json!([1]), StatusCode::BAD_REQUEST, "expected"),
    ] {
        let (found, problem) = compare(&world, body.clone()).await;
        assert_eq!(found, status, "{body}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{body}: {problem}");
    }
    let form = Request::post("/api/v1/compare").body(Body::from("{}")).expect("a request");
    assert_eq!(world.ask(form).await.0, StatusCode::BAD_REQUEST, "a form of another site");
}
