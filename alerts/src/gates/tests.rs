//! Every face over one board: the table of `verdict.md`, word by word, and what must never be answered.

use std::sync::Arc;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use shipwake_verdict::Word;
use tower::ServiceExt;

use super::boards::{Release, board_of};
use super::*;
use crate::board::{Publisher, SelfAudit, board};
use crate::change::Ending;

/// Gates over one board.
fn gates(board_shown: Board) -> (Gates, Publisher) {
    let (publisher, reader) = board();
    publisher.publish(board_shown);
    (Gates::new(reader, Some("https://shipwake.example/"), Clock::default(), CancellationToken::new()), publisher)
}

/// One release for each word, and one whose time is over.
fn everything() -> Board {
    board_of(vec![
        Release::new("waiting", "2").word(Word::Wait),
        Release::new("watched", "2").word(Word::Watch),
        Release::new("good", "2").word(Word::Go).hash("7d9f", "5c6b"),
        Release::new("bad", "2").word(Word::NoGo),
        Release::new("over", "2").word(Word::Go).ended(Ending::Promoted),
        Release::new("twice", "2"),
        Release::new("twice", "3").env("staging"),
    ])
}

struct Answered {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

async fn ask(router: &Router, method: &str, path: &str, body: &str) -> Answered {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "shipwake:4400");
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    assert_ne!(status, StatusCode::NO_CONTENT, "{path}");
    assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{method} {path}: {status}");
    Answered { status, headers, text: String::from_utf8(bytes.to_vec()).expect("text") }
}

async fn get(router: &Router, path: &str) -> Answered {
    ask(router, "GET", path, "").await
}

#[tokio::test]
async fn the_verdict_is_one_document_with_what_it_rests_on() {
    let (gates, _publisher) = gates(everything());
    let router = gates.router();
    let bad = get(&router, "/v1/verdict?service=bad&env=production&candidate=2&baseline=2.13.4").await;
    assert_eq!(bad.status, StatusCode::OK);
    let bad = bad.json();
    assert_eq!((&bad["verdict"], &bad["ok"], &bad["decided"]), (&json!("no_go"), &json!(false), &json!(true)));
    assert_eq!((&bad["score"], &bad["status"], &bad["reason"]), (&json!(0), &json!("FAILED"), &Value::Null));
    assert!(
        bad["summary"].as_str().expect("a sentence").starts_with("Roll back: errors 0.5 % → "),
        "{}",
        bad["summary"]
    );
    assert_eq!(
        (&bad["candidate"], &bad["baseline"], &bad["next"]["need"]),
        (&json!("2"), &json!("2.13.4"), &json!("none"))
    );
    let errors = &bad["metrics"][0];
    assert_eq!((&errors["id"], &errors["state"]), (&json!("errors"), &json!("worse")));
    assert!(errors["evidence"]["e_worse"].as_f64().expect("a number") > 100.0);
    // Of the windows after the warm-up.
    assert_eq!(errors["counts"]["baseline"], json!([19 * 45, 19 * 9_000]));
    assert_eq!(bad["new_log_patterns"][0]["template"], "pool exhausted for <*>");
    assert_eq!(bad["url"], "https://shipwake.example/s/bad?env=production&cand=2&base=2.13.4");
    assert_eq!(bad["guards"]["lag"], "ok");
    let wait = get(&router, "/v1/verdict?service=waiting").await.json();
    assert_eq!((&wait["verdict"], &wait["score"], &wait["status"]), (&json!("wait"), &json!(50), &json!("RUNNING")));
    let need = wait["next"]["need"].as_str().expect("words");
    assert!(need.contains("more requests") && wait["next"]["seconds"].as_f64() > Some(0.0), "{need}");
    let watch = get(&router, "/v1/verdict?service=watched").await.json();
    assert_eq!((&watch["verdict"], &watch["decided"]), (&json!("watch"), &json!(false)));
    assert_ne!(watch["guards"]["instances"], "ok");
}

#[tokio::test]
async fn what_is_not_known_waits_and_says_what_is_near() {
    let (gates, _publisher) = gates(everything());
    let router = gates.router();
    let unknown = get(&router, "/v1/verdict?service=god&candidate=9").await;
    assert_eq!(unknown.status, StatusCode::OK);
    let unknown = unknown.json();
    assert_eq!((&unknown["verdict"], &unknown["reason"]), (&json!("wait"), &json!("unknown_release")));
    assert!(unknown["summary"].as_str().is_some_and(|text| text.contains("did you mean `good`?")));
    assert_eq!((&unknown["candidate"], &unknown["metrics"]), (&json!("9"), &json!([])));
    let twice = get(&router, "/v1/verdict?service=twice").await.json();
    assert_eq!(
        (&twice["reason"], &twice["choices"]),
        (&json!("ambiguous_environment"), &json!(["production", "staging"]))
    );
    let wrong = get(&router, "/v1/verdict?servce=x").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(wrong.headers["content-type"], "application/problem+json");
    assert_eq!((&wrong.json()["status"], &wrong.json()["argument"]), (&json!(400), &json!("servce")));
    assert_eq!(get(&router, "/v1/verdict").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_gate_is_a_status_with_the_sentence() {
    let (gates, publisher) = gates(everything());
    let router = gates.router();
    for (question, status) in [
        ("service=good", 200),
        ("service=bad", 412),
        ("service=waiting", 425),
        ("service=watched", 425),
        ("service=nobody", 425),
        ("service=over", 425),
        ("service=over&candidate=2", 200),
        ("service=twice", 400),
        ("", 400),
    ] {
        let answer = get(&router, &format!("/v1/gate?{question}")).await;
        assert_eq!(answer.status.as_u16(), status, "{question}: {}", answer.text);
        assert!(answer.text.len() > 10, "{question}");
    }
    publisher.publish(Board::default());
    assert_eq!(get(&router, "/v1/gate?service=good").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_go_that_nobody_renews_is_no_go_ahead() {
    let mut board = everything();
    board.as_of_ms -= 61_000;
    let (gates, _publisher) = gates(board);
    let router = gates.router();
    let stale = get(&router, "/v1/verdict?service=good").await.json();
    assert_eq!((&stale["verdict"], &stale["reason"], &stale["ok"]), (&json!("watch"), &json!("stale"), &json!(false)));
    assert_eq!(get(&router, "/v1/gate?service=good").await.status, StatusCode::TOO_EARLY);
    let value = get(&router, "/api/v1/query?query=shipwake_verdict%7Bservice%3D%22good%22%7D").await.json();
    assert_eq!(value["data"]["result"][0]["value"][1], "0");
    // What was shown to be bad stays bad.
    assert_eq!(get(&router, "/v1/gate?service=bad").await.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_go_that_was_rolled_back_is_no_go_ahead() {
    let back = Release::new("shop", "2").word(Word::Go).ended(Ending::RolledBack);
    let (gates, _publisher) = gates(board_of(vec![back]));
    let router = gates.router();
    let answer = get(&router, "/v1/verdict?service=shop&candidate=2").await.json();
    assert_eq!(
        (&answer["verdict"], &answer["reason"], &answer["ending"]),
        (&json!("watch"), &json!("rolled_back"), &json!("rolled_back"))
    );
    assert_eq!(get(&router, "/v1/gate?service=shop&candidate=2").await.status, StatusCode::TOO_EARLY);
}

#[tokio::test]
async fn a_go_that_has_gone_silent_is_no_go_ahead_and_what_was_not_decided_needs_nothing_more() {
    let silent = Release::new("shop", "2").word(Word::Go).ended(Ending::GoneSilent);
    let open = Release::new("cart", "2").ended(Ending::RolledBack);
    let (gates, _publisher) = gates(board_of(vec![silent, open]));
    let router = gates.router();
    let answer = get(&router, "/v1/verdict?service=shop&candidate=2").await.json();
    assert_eq!((&answer["verdict"], &answer["reason"]), (&json!("watch"), &json!("gone_silent")));
    assert_eq!(answer["ending"], "gone_silent");
    assert!(answer["summary"].as_str().is_some_and(|text| text.starts_with("It was GO, and has gone silent since.")));
    let answer = get(&router, "/v1/verdict?service=cart&candidate=2").await.json();
    assert_eq!(answer["next"]["need"], "nothing more comes: it was rolled back");
}

/// A board on which `checkout` 2 runs without a request, and of `cart` only the version before was seen.
fn idle() -> Board {
    let mut board = everything();
    let mut judged = Release::new("checkout", "2").judged();
    judged.verdict = shipwake_verdict::Verdict {
        summary: "Wait: 2 was first seen at 02:19:08 UTC and has taken no request yet.".to_owned(),
        checks: Vec::new(),
        guards: vec![shipwake_verdict::Guard::NoTraffic],
        missing: None,
        ..judged.verdict
    };
    judged.sequence = 0;
    board.idle = vec![Arc::new(judged)];
    board.versions = Arc::new([("cart".into(), ["1".into()].into())].into());
    board
}

#[tokio::test]
async fn a_version_without_a_request_waits_for_one_and_is_not_unknown() {
    let (gates, _publisher) = gates(idle());
    let router = gates.router();
    for question in ["service=checkout", "service=checkout&candidate=2&env=production"] {
        let answer = get(&router, &format!("/v1/verdict?{question}")).await.json();
        assert_eq!((&answer["verdict"], &answer["reason"]), (&json!("wait"), &json!("no_traffic")), "{question}");
        assert_eq!(answer["next"]["need"], "2 was first seen at 02:19:08 UTC and has taken no request yet");
        assert_eq!(
            (&answer["candidate"], &answer["guards"]["no_traffic"].is_string()),
            (&json!("2"), &true),
            "{question}"
        );
        assert_eq!(get(&router, &format!("/v1/gate?{question}")).await.status, StatusCode::TOO_EARLY);
    }
    let page = get(&router, "/api/v1/services/checkout/verdict?candidate=2").await;
    assert_eq!((page.status, &page.json()["verdict"]["state"]), (StatusCode::OK, &json!("wait")));
    // It is on no list of what is judged, and nothing is promoted or rolled back by it.
    let listed = get(&router, "/api/v1/verdicts?service=checkout").await.json();
    assert_eq!(listed["verdicts"], json!([]));
    let payload = r#"{"name":"checkout","metadata":{"candidate":"2"}}"#;
    for (hook, expected) in [("confirm", 403), ("check", 200), ("rollback", 403)] {
        let answer = ask(&router, "POST", &format!("/v1/gates/flagger/{hook}"), payload).await;
        assert_eq!(answer.status.as_u16(), expected, "{hook}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_pipeline_may_be_early_for_a_service_that_is_known() {
    let (gates, publisher) = gates(idle());
    let router = gates.router();
    for (body, status) in [
        (r#"{"service":"checkout","candidate":"2"}"#, 201),
        (r#"{"service":"cart","env":"production","candidate":"2"}"#, 201),
        (r#"{"service":"good","candidate":"9"}"#, 201),
        (r#"{"service":"cart"}"#, 404),
        (r#"{"service":"crat","candidate":"2"}"#, 404),
    ] {
        let answer = ask(&router, "POST", "/v1/evaluations", body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
    }
    let made =
        ask(&router, "POST", "/v1/evaluations", r#"{"service":"cart","env":"production","candidate":"2"}"#).await;
    let location = made.headers["location"].to_str().expect("text").to_owned();
    let path = location.strip_prefix("http://shipwake:4400").expect("where we were asked");
    let state = async || get(&router, path).await.json()["status"].clone();
    assert_eq!(state().await, "RUNNING");
    publisher.publish(board_of(vec![Release::new("cart", "2").word(Word::NoGo)]));
    assert_eq!(state().await, "FAILED");
}

#[tokio::test]
async fn the_namespace_of_a_canary_chooses_among_several() {
    let (gates, _publisher) = gates(board_of(vec![
        Release::new("cart", "2").namespace("team-a"),
        Release::new("cart", "2").namespace("team-b").word(Word::NoGo),
        Release::new("shop", "2").namespace("retail").word(Word::NoGo),
    ]));
    let router = gates.router();
    let rollback = async |name: &str, namespace: &str| {
        let payload = json!({"name": name, "namespace": namespace, "metadata": {"env": "production"}}).to_string();
        ask(&router, "POST", "/v1/gates/flagger/rollback", &payload).await.status.as_u16()
    };
    assert_eq!([rollback("cart", "team-a").await, rollback("cart", "team-b").await], [403, 200]);
    // None of them, and one alone that is named otherwise.
    assert_eq!([rollback("cart", "prod").await, rollback("shop", "prod").await], [403, 200]);
}

#[tokio::test]
async fn flagger_is_told_yes_by_200_and_rollback_is_inverted() {
    let (gates, publisher) = gates(everything());
    let router = gates.router();
    let payload = |name: &str| {
        json!({"name": name, "namespace": "prod", "phase": "Progressing", "checksum": "1", "metadata": {"env": "production"}}).to_string()
    };
    for (name, confirm, check, rollback) in [
        ("good", 200, 200, 403),
        ("bad", 403, 412, 200),
        ("waiting", 403, 200, 403),
        ("watched", 403, 200, 403),
        ("nobody", 403, 412, 403),
        ("over", 403, 412, 403),
    ] {
        for (hook, expected) in [("confirm", confirm), ("check", check), ("rollback", rollback)] {
            let answer = ask(&router, "POST", &format!("/v1/gates/flagger/{hook}"), &payload(name)).await;
            assert_eq!(answer.status.as_u16(), expected, "{hook} {name}: {}", answer.text);
        }
    }
    // Whatever comes in, and before anything is known, nothing is rolled back.
    for body in ["", "{", "[]", "null", r#"{"name":7}"#, r#"{"name":""}"#, r#"{"metadata":{"service":"a b\u0000"}}"#] {
        for (hook, expected) in [("confirm", 403), ("check", 412), ("rollback", 403)] {
            let answer = ask(&router, "POST", &format!("/v1/gates/flagger/{hook}"), body).await;
            assert_eq!(answer.status.as_u16(), expected, "{hook} {body}");
        }
    }
    let large = "x".repeat(BODY_BYTES_MAX + 1);
    assert_eq!(ask(&router, "POST", "/v1/gates/flagger/rollback", &large).await.status, StatusCode::FORBIDDEN);
    publisher.publish(Board::default());
    assert_eq!(ask(&router, "POST", "/v1/gates/flagger/rollback", &payload("bad")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ask(&router, "POST", "/v1/gates/flagger/check", &payload("bad")).await.status, StatusCode::OK);
    assert_eq!(ask(&router, "POST", "/v1/gates/flagger/rolback", &payload("bad")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_evaluation_has_a_name_that_says_which_release_it_is_of() {
    let (gates, publisher) = gates(everything());
    let router = gates.router();
    let made = ask(&router, "POST", "/v1/evaluations", r#"{"service":"bad","env":"production","candidate":2}"#).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let location = made.headers["location"].to_str().expect("text");
    let path = location.strip_prefix("http://shipwake:4400").expect("where we were asked");
    assert_eq!(made.json()["status"], "FAILED");
    let polled = get(&router, path).await;
    assert_eq!((polled.status, &polled.json()["status"]), (StatusCode::OK, &json!("FAILED")));
    assert!(polled.json()["progress"].is_string());
    // After a restart the job goes on, and a release that is not known any more has none.
    publisher.publish(Board::default());
    assert_eq!(get(&router, path).await.json()["status"], "RUNNING");
    publisher.publish(board_of(vec![Release::new("other", "1")]));
    assert_eq!(get(&router, path).await.status, StatusCode::NOT_FOUND);
    for (body, status) in [
        (r#"{"service":"nobody"}"#, 404),
        (r#"{"servce":"other"}"#, 400),
        (r#"{"service":["other"]}"#, 400),
        ("", 400),
        ("{", 400),
    ] {
        let answer = ask(&router, "POST", "/v1/evaluations", body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
    }
    assert_eq!(ask(&router, "POST", "/v1/evaluations?service=other", "").await.status, StatusCode::CREATED);
    assert_eq!(get(&router, "/v1/evaluations/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn verdicts_are_metrics() {
    let (gates, _publisher) = gates(everything());
    let router = gates.router();
    let query = async |text: &str| {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let by_get = get(&router, &format!("/api/v1/query?query={encoded}")).await;
        let by_post = ask(&router, "POST", "/api/v1/query", &format!("query={encoded}&time=1")).await;
        assert_eq!(by_get.status, by_post.status);
        assert_eq!(by_get.json()["data"]["resultType"], by_post.json()["data"]["resultType"]);
        by_get
    };
    let value = async |text: &str| {
        let answer = query(text).await.json();
        assert_eq!((&answer["status"], &answer["data"]["resultType"]), (&json!("success"), &json!("vector")), "{text}");
        let result = answer["data"]["result"].as_array().expect("a list").clone();
        result.into_iter().map(|one| one["value"][1].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(value("vector(1)").await, ["1"]);
    assert_eq!(value(r#"shipwake_verdict{service="good"}"#).await, ["1"]);
    assert_eq!(value(r#"shipwake_verdict{service="bad"}"#).await, ["-1"]);
    assert_eq!(value(r#"shipwake_verdict{service=~"waiting|watched"}"#).await, ["0", "0"]);
    assert_eq!(value(r#"shipwake_score{service="waiting"}"#).await, ["50"]);
    assert!(value(r#"shipwake_verdict{service="nobody"}"#).await.is_empty());
    assert!(value(r#"shipwake_verdict{service="over"}"#).await.is_empty(), "a release of the past has no value of now");
    let ratio = value(r#"shipwake_metric_ratio_low{service="bad",metric="errors"}"#).await;
    assert!(ratio[0].parse::<f64>().expect("a number") > 2.0, "{ratio:?}");
    let wrong = query("sum(shipwake_verdict)").await;
    assert_eq!((wrong.status, &wrong.json()["errorType"]), (StatusCode::BAD_REQUEST, &json!("bad_data")));
    assert_eq!(get(&router, "/api/v1/query").await.status, StatusCode::BAD_REQUEST);
    let series = get(&router, "/api/v1/series?match[]=shipwake_verdict").await.json();
    assert_eq!(series["data"].as_array().map(Vec::len), Some(6));
    assert!(
        get(&router, "/api/v1/labels").await.json()["data"].as_array().expect("a list").contains(&json!("candidate"))
    );
}

#[tokio::test]
async fn of_several_releases_the_newest_is_last_and_says_so() {
    let (gates, _publisher) =
        gates(board_of(vec![Release::new("shop", "3").word(Word::NoGo), Release::new("shop", "2").word(Word::Go)]));
    let answer = get(&gates.router(), "/api/v1/query?query=shipwake_verdict").await.json();
    let found: Vec<(String, String)> = answer["data"]["result"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            (
                one["metric"]["candidate"].as_str().expect("text").to_owned(),
                one["metric"]["latest"].as_str().expect("text").to_owned(),
            )
        })
        .collect();
    assert_eq!(found, [("2".into(), "false".into()), ("3".into(), "true".into())]);
}

#[tokio::test]
async fn a_long_poll_answers_at_the_change() {
    let (gates, publisher) = gates(board_of(vec![Release::new("shop", "2")]));
    let router = gates.router();
    let asking = {
        let router = router.clone();
        tokio::spawn(async move { get(&router, "/v1/verdict?service=shop&wait=20s").await.json() })
    };
    let changing = {
        let router = router.clone();
        tokio::spawn(async move { get(&router, "/v1/verdict?service=shop&wait=20s&after=1").await.json() })
    };
    let page = tokio::spawn(async move { get(&router, "/api/v1/verdicts?after=1&wait=20").await.json() });
    tokio::task::yield_now().await;
    let mut next = board_of(vec![Release::new("shop", "2").word(Word::NoGo)]);
    next.revision = 2;
    publisher.publish(next);
    for waiting in [asking, changing] {
        let answer = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("at once").expect("an answer");
        assert_eq!((&answer["verdict"], &answer["sequence"]), (&json!("no_go"), &json!(2)));
    }
    let page = tokio::time::timeout(Duration::from_secs(5), page).await.expect("at once").expect("an answer");
    assert_eq!((&page["meta"]["revision"], &page["verdicts"][0]["state"]), (&json!(2), &json!("no_go")));
}

#[tokio::test]
async fn a_program_that_stops_does_not_wait_for_those_who_wait() {
    let (publisher, reader) = board();
    publisher.publish(board_of(vec![Release::new("shop", "2")]));
    let stop = CancellationToken::new();
    let router = Gates::new(reader, None, Clock::default(), stop.clone()).router();
    let asking = tokio::spawn(async move { get(&router, "/v1/verdict?service=shop&wait=30s").await.json() });
    tokio::task::yield_now().await;
    stop.cancel();
    let answer = tokio::time::timeout(Duration::from_secs(5), asking).await.expect("at once").expect("an answer");
    assert_eq!(answer["verdict"], "wait");
}

#[tokio::test]
async fn a_long_poll_ends_with_its_time_and_too_many_are_answered_at_once() {
    let (gates, _publisher) = gates(board_of(vec![Release::new("shop", "2")]));
    let router = gates.router();
    assert_eq!(get(&router, "/v1/verdict?service=shop&wait=20ms").await.json()["verdict"], "wait");
    let all = gates.waiting.clone().acquire_many_owned(WAITING_MAX as u32).await.expect("places");
    let answer = tokio::time::timeout(Duration::from_secs(5), get(&router, "/v1/verdict?service=shop&wait=30s")).await;
    assert_eq!(answer.expect("at once").json()["verdict"], "wait");
    drop(all);
}

#[tokio::test]
async fn pages_read_short_forms_and_whole_ones() {
    let (gates, _publisher) = gates(everything());
    let router = gates.router();
    let all = get(&router, "/api/v1/verdicts").await.json();
    assert_eq!(all["verdicts"].as_array().map(Vec::len), Some(7));
    let bad = &get(&router, "/api/v1/verdicts?service=bad").await.json()["verdicts"][0];
    assert_eq!(
        (&bad["state"], &bad["share"], &bad["need"], &bad["ending"]),
        (&json!("no_go"), &json!(0.1), &Value::Null, &Value::Null)
    );
    let whole = get(&router, "/api/v1/services/bad/verdict").await.json();
    let verdict = &whole["verdict"];
    assert_eq!((&verdict["state"], &verdict["evidence"]["ready"]), (&json!("no_go"), &json!(1.0)));
    let check = &verdict["checks"][0];
    assert_eq!(
        (&check["group"], &check["strength"], &check["noise"]["block_s"]),
        (&json!("errors"), &json!("decisive"), &json!(60))
    );
    assert_eq!(check["trail"]["low"], json!([null]));
    let pattern = &verdict["checks"][1]["patterns"][0];
    assert_eq!((&pattern["pattern_id"], &pattern["level"]), (&json!("00000000000000ab"), &json!("error")));
    assert_eq!(whole["audit"], Value::Null, "no hour was audited yet");
    let waiting = get(&router, "/api/v1/services/waiting/verdict").await.json();
    let ready = waiting["verdict"]["evidence"]["ready"].as_f64().expect("a part");
    assert!(ready > 0.0 && ready < 1.0, "{ready}");
    // A page shows what a gate does not answer for: a release whose time is over.
    let over = get(&router, "/api/v1/services/over/verdict").await.json();
    assert_eq!(over["verdict"]["ending"]["kind"], "promoted");
    let nobody = get(&router, "/api/v1/services/wating/verdict").await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    assert!(nobody.json()["detail"].as_str().is_some_and(|text| text.contains("`waiting`")), "{}", nobody.text);
    assert_eq!(get(&router, "/api/v1/services/twice/verdict").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn pages_read_how_often_the_judge_would_have_been_wrong() {
    let audit = SelfAudit {
        releases: 214,
        no_go: 0,
        rate: 0.0,
        rate_below: 0.0139,
        doubled: 32,
        doubled_found: 32,
        found_within_s: Some(180),
        dispersion_floor: None,
    };
    let place = |env: &str| ("".into(), "bad".into(), env.into());
    let audits = [(place("production"), audit.clone()), (place("staging"), SelfAudit { no_go: 3, ..audit })].into();
    let (gates, _publisher) = gates(Board { audits: Arc::new(audits), ..everything() });
    let router = gates.router();
    let whole = get(&router, "/api/v1/services/bad/verdict").await.json();
    assert_eq!(
        whole["audit"],
        json!({"releases": 214, "no_go": 0, "rate": 0.0, "rate_below": 0.0139, "dispersion_floor": null,
            "doubled": {"releases": 32, "found": 32, "within_s": 180, "part": 0.95}})
    );
    let all = get(&router, "/api/v1/verdicts?env=staging").await.json();
    assert_eq!(all["audits"].as_array().map(Vec::len), Some(1));
    assert_eq!((&all["audits"][0]["service"], &all["audits"][0]["no_go"]), (&json!("bad"), &json!(3)));
}

#[tokio::test]
async fn what_kayenta_would_have_said_needs_windows() {
    let (gates, _publisher) = gates(everything());
    let answer = get(&gates.router(), "/api/v1/services/bad/verdict/kayenta").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.json()["detail"].as_str().is_some_and(|text| text.contains("windows")), "{}", answer.text);
}

#[tokio::test]
async fn kayenta_is_a_score_between_the_thresholds_until_there_is_a_decision() {
    let (gates, publisher) = gates(everything());
    let router = gates.router();
    let configs = get(&router, "/canaryConfig?application=x&configurationAccountName=").await.json();
    assert_eq!(
        (&configs[0]["name"], &configs[0]["applications"]),
        (&json!("shipwake"), &json!(["bad", "good", "over", "twice", "waiting", "watched"]))
    );
    let body = |pass: u32, marginal: u32| {
        json!({"scopes": {"default": {
        "experimentScope": {"scope": "2", "location": "production", "step": 60},
        "controlScope": {"scope": "2.13.4", "location": "production", "step": 60}}},
        "thresholds": {"pass": pass, "marginal": marginal}})
        .to_string()
    };
    for (service, score) in [("good", 100), ("bad", 0), ("waiting", 62), ("watched", 62)] {
        let made = ask(&router, "POST", &format!("/canary/shipwake?application={service}"), &body(75, 50)).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text);
        let id = made.json()["canaryExecutionId"].as_str().expect("a name").to_owned();
        let execution = get(&router, &format!("/canary/{id}?storageAccountName=x")).await.json();
        assert_eq!((&execution["complete"], &execution["status"]), (&json!(true), &json!("SUCCEEDED")));
        assert_eq!(execution["result"]["judgeResult"]["score"]["score"], score, "{service}");
        assert_eq!(execution["application"], service);
    }
    for (path, body, status) in [
        ("/canary/shipwake?application=nobody", body(75, 50), 404),
        ("/canary/other?application=good", body(75, 50), 404),
        ("/canary/shipwake?application=good", body(75, 75), 400),
        ("/canary/shipwake?application=good", body(75, 0), 400),
        ("/canary/shipwake", body(75, 50), 400),
        ("/canary/shipwake?application=good", "{}".to_owned(), 400),
        ("/canary/shipwake?application=good", String::new(), 400),
        ("/judge", String::new(), 400),
        ("/judge", "[]".to_owned(), 400),
    ] {
        let answer = ask(&router, "POST", path, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}: {}", answer.text);
    }
    assert_eq!(get(&router, "/canary/nothing").await.status, StatusCode::NOT_FOUND);
    publisher.publish(Board::default());
    let id = reference::Reference::of(
        &Release::new("good", "2").judged(),
        json!({"application": "good", "pass": 75, "marginal": 50, "at": 1}).as_object().cloned().expect("a map"),
    )
    .name();
    let execution = get(&router, &format!("/canary/{id}")).await.json();
    assert_eq!((&execution["complete"], &execution["status"]), (&json!(false), &json!("RUNNING")));
}

#[tokio::test]
async fn every_path_of_the_list_is_served() {
    let (gates, _publisher) = gates(everything());
    let router: Router = gates.router();
    for path in PATHS.into_iter().filter(|path| !path.contains("github")) {
        let path = path.replace("{id}", "shipwake").replace("{hook}", "check").replace("{service}", "good");
        let request = Request::builder().method("PATCH").uri(&path).body(Body::empty()).expect("a request");
        let status = router.clone().oneshot(request).await.expect("an answer").status();
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}
