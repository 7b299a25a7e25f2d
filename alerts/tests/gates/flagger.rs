//! Flagger: a value below the threshold or a hook that says no is a failed check, five of them roll back; `rollback` rolls back when it
//! says yes, and `confirm-promotion` holds without counting.

use serde_json::{Value, json};
use shipwake_verdict::Word;

use super::boards::{Release, board_of};
use super::shipwake::change::Ending;
use super::{Server, files};

const FILE: &str = "flagger/canary.yaml";

/// What one interval comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    RolledBack,
    /// Counts against the canary.
    Failed,
    /// Waits for a promotion.
    Held,
    Promoted,
}

/// Whether a hook says yes: up to 202; the body of a no is shown.
async fn says_yes(server: &Server, hook: &Value, phase: &str) -> bool {
    let url = server.here(hook["url"].as_str().expect("a text"));
    let payload = json!({"name": "checkout", "namespace": "shop", "phase": phase, "checksum": "85d557f47b", "metadata": hook["metadata"]});
    let answer = reqwest::Client::new().post(url).json(&payload).send().await.expect("an answer");
    let (status, text) = (answer.status().as_u16(), answer.text().await.expect("text"));
    assert!(status <= 202 || !text.trim().is_empty(), "a no without a word is shown as nothing");
    status <= 202
}

/// A value of the metric: exactly one is wanted, as text. `None` halts, and is a failed check.
async fn value(server: &Server, address: &str, query: &str) -> Option<f64> {
    let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
    let request = reqwest::Client::new().get(format!("{}/api/v1/query", server.here(address)));
    let answer = request.query(&[("query", query)]).send().await.expect("an answer");
    assert!(answer.status().as_u16() < 400, "{}", answer.text().await.expect("text"));
    let read: Value = answer.json().await.expect("JSON");
    let mut found = None;
    for sample in read["data"]["result"].as_array().expect("a list") {
        assert!(sample["values"].is_null(), "several values are an error");
        found = sample["value"][1].as_str().map(|text| text.parse::<f64>().expect("a number"));
    }
    found.filter(|value| !value.is_nan())
}

/// One interval, as the scheduler goes through it when the canary has its last weight.
async fn interval(server: &Server) -> Step {
    let canary = files::document(FILE, "Canary", "checkout");
    let template = files::document(FILE, "MetricTemplate", "shipwake");
    let analysis = &canary["spec"]["analysis"];
    let hooks = |kind: &str| -> Vec<Value> {
        let all = analysis["webhooks"].as_array().expect("a list").clone();
        all.into_iter().filter(|hook| hook["type"] == kind).collect()
    };
    for hook in hooks("rollback") {
        if says_yes(server, &hook, "Progressing").await {
            return Step::RolledBack;
        }
    }
    for hook in hooks("rollout") {
        if !says_yes(server, &hook, "Progressing").await {
            return Step::Failed;
        }
    }
    let provider = &template["spec"]["provider"];
    let address = provider["address"].as_str().expect("a text");
    assert_eq!(provider["type"], "prometheus");
    assert_eq!(value(server, address, "vector(1)").await, Some(1.0), "it asks first whether anybody is there");
    let query = template["spec"]["query"].as_str().expect("a text").replace("{{ target }}", "checkout");
    let min = analysis["metrics"][0]["thresholdRange"]["min"].as_f64().expect("a number");
    match value(server, address, &query).await {
        Some(value) if value >= min => {}
        _ => return Step::Failed,
    }
    for hook in hooks("confirm-promotion") {
        if !says_yes(server, &hook, "Progressing").await {
            return Step::Held;
        }
    }
    Step::Promoted
}

#[tokio::test]
async fn a_canary_is_promoted_at_go_rolled_back_at_no_go_and_held_in_between() {
    let mut server = Server::start().await;
    for (word, step) in [
        (Word::Wait, Step::Held),
        (Word::Watch, Step::Held),
        (Word::Go, Step::Promoted),
        (Word::NoGo, Step::RolledBack),
    ] {
        server.show(word);
        assert_eq!(interval(&server).await, step, "{word:?}");
    }
}

#[tokio::test]
async fn what_is_not_known_is_a_failed_check_and_never_a_rollback() {
    let mut server = Server::start().await;
    server.show_board(board_of(vec![Release::new("search", "1").word(Word::NoGo)]));
    assert_eq!(interval(&server).await, Step::Failed);
    let rollback =
        json!({"url": format!("{}/v1/gates/flagger/rollback", super::ADDRESS), "metadata": {"env": "nowhere"}});
    assert!(!says_yes(&server, &rollback, "Progressing").await);
}

#[tokio::test]
async fn of_two_releases_the_newest_counts() {
    let mut server = Server::start().await;
    server.show_board(board_of(vec![
        Release::new("checkout", "2.15.0").word(Word::NoGo),
        Release::new("checkout", "2.14.0").word(Word::Go),
    ]));
    assert_eq!(interval(&server).await, Step::RolledBack);
    server.show_board(board_of(vec![
        Release::new("checkout", "2.15.0").word(Word::Go),
        Release::new("checkout", "2.14.0").word(Word::NoGo),
    ]));
    assert_eq!(interval(&server).await, Step::Promoted);
}

#[tokio::test]
async fn what_is_elsewhere_or_over_changes_nothing() {
    let mut server = Server::start().await;
    let good = || Release::new("checkout", "2.15.0").word(Word::Go);
    server.show_board(board_of(vec![
        Release::new("checkout", "2.16.0").env("staging").word(Word::NoGo),
        good(),
        Release::new("checkout", "2.14.0").word(Word::NoGo).ended(Ending::RolledBack),
    ]));
    assert_eq!(interval(&server).await, Step::Promoted);
    // Two services of one name: the canary has to say which.
    server.show_board(board_of(vec![good().namespace("a"), good().namespace("b")]));
    assert_eq!(interval(&server).await, Step::Failed);
}
