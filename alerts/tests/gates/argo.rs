//! Argo Rollouts: how it measures by `web`, `prometheus` and `kayenta`, what phase a measurement has, and what becomes of the analysis.

use serde_json::{Value, json};
use shipwake_verdict::Word;

use super::boards::{Release, board_of};
use super::{Server, WORDS, files};

const FILE: &str = "argo-rollouts/analysis-templates.yaml";

/// What a measurement or an analysis has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Successful,
    Failed,
    Inconclusive,
    Error,
    Running,
}

/// A metric of a template, its arguments filled in.
fn metric(template: &str, given: &[(&str, &str)]) -> Value {
    let document = files::document(FILE, "AnalysisTemplate", template);
    let mut text = document["spec"]["metrics"][0].to_string();
    for arg in document["spec"]["args"].as_array().expect("a list") {
        let name = arg["name"].as_str().expect("a name");
        let value = given.iter().find(|(of, _)| *of == name).map(|(_, value)| *value).or(arg["value"].as_str());
        let value = value.unwrap_or_else(|| panic!("{template}: nobody gives {name}"));
        text = text.replace(&format!("{{{{args.{name}}}}}"), value);
    }
    assert!(!text.contains("{{"), "an argument that is not declared: {text}");
    serde_json::from_str(&text).expect("still JSON")
}

/// The phase of a result by the conditions: with both, neither is "inconclusive".
fn evaluated(metric: &Value, result: &Value) -> Phase {
    let holds = |name: &str| metric[name].as_str().map(|condition| holds(condition, result));
    match (holds("successCondition"), holds("failureCondition")) {
        (_, Some(true)) => Phase::Failed,
        (Some(true), _) => Phase::Successful,
        (Some(false), None) => Phase::Failed,
        (None, Some(false)) | (None, None) => Phase::Successful,
        (Some(false), Some(false)) => Phase::Inconclusive,
    }
}

/// The few expressions that the templates use.
fn holds(condition: &str, result: &Value) -> bool {
    condition.split("&&").all(|clause| {
        let (left, right) = clause.split_once("==").expect("a comparison");
        let value = match left.trim() {
            "len(result)" => json!(result.as_array().expect("a list").len()),
            "result[0]" => match result.as_array().and_then(|list| list.first()) {
                Some(first) => first.clone(),
                None => return false,
            },
            field => result[field.strip_prefix("result.").expect("a field")].clone(),
        };
        let right: Value = serde_json::from_str(right.trim()).expect("a value");
        match (value.as_f64(), right.as_f64()) {
            (Some(value), Some(right)) => value == right,
            _ => value == right,
        }
    })
}

/// One measurement by `web`: ten seconds unless it is said, anything but 2xx is an error, `{$}` is the whole body.
async fn by_web(server: &Server, metric: &Value) -> Phase {
    let web = &metric["provider"]["web"];
    let url = server.here(web["url"].as_str().expect("a text"));
    let timeout_s = web["timeoutSeconds"].as_u64().unwrap_or(10);
    assert!(url.contains("wait=9s") && timeout_s > 9, "the server answers before the caller gives up");
    let answer = reqwest::get(url.replace("wait=9s", "wait=10ms")).await.expect("an answer");
    if !answer.status().is_success() {
        return Phase::Error;
    }
    assert_eq!(web["jsonPath"], "{$}");
    evaluated(metric, &answer.json().await.expect("JSON"))
}

/// One by `prometheus`: a form is posted, and a vector comes back whose values are texts.
async fn by_prometheus(server: &Server, metric: &Value) -> Phase {
    let prometheus = &metric["provider"]["prometheus"];
    let url = format!("{}/api/v1/query", server.here(prometheus["address"].as_str().expect("a text")));
    let query = prometheus["query"].as_str().expect("a text");
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("query", query)
        .append_pair("time", "1795404000.123")
        .finish();
    let request = reqwest::Client::new().post(url).header("content-type", "application/x-www-form-urlencoded");
    let answer: Value = request.body(body).send().await.expect("an answer").json().await.expect("JSON");
    if answer["status"] != "success" {
        return Phase::Error;
    }
    assert_eq!(answer["data"]["resultType"], "vector");
    let values = answer["data"]["result"].as_array().expect("a list").iter();
    let numbers: Vec<f64> =
        values.map(|sample| sample["value"][1].as_str().expect("a text").parse().expect("a number")).collect();
    evaluated(metric, &json!(numbers))
}

/// One by `kayenta`: the config is looked up by its name, an execution is made, and its score is read once it is complete. Only 200 is
/// an answer.
async fn by_kayenta(server: &Server, metric: &Value) -> Phase {
    let kayenta = &metric["provider"]["kayenta"];
    let text = |name: &str| kayenta[name].as_str().expect("a text");
    let base = server.here(text("address"));
    let (application, account) = (text("application"), text("storageAccountName"));
    let client = reqwest::Client::new();
    let url = format!("{base}/canaryConfig?application={application}&configurationAccountName={account}");
    let answer = client.get(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let configs: Value = answer.json().await.expect("JSON");
    let configs = configs.as_array().expect("a list");
    let config = configs.iter().find(|config| config["name"] == text("canaryConfigName"));
    let Some(config) = config else { return Phase::Error };
    assert!(config["updatedTimestamp"].is_i64(), "it is read into an integer");
    let scope = &kayenta["scopes"][0];
    let side = |name: &str| {
        json!({"scope": scope[name]["scope"], "location": scope[name]["region"], "step": scope[name]["step"],
            "start": "2026-11-23T10:00:00Z", "end": "2026-11-23T10:01:00Z"})
    };
    let scopes = json!({scope["name"].as_str().expect("a text"):
        {"controlScope": side("controlScope"), "experimentScope": side("experimentScope")}});
    let body = json!({"scopes": scopes, "thresholds": kayenta["threshold"]});
    let id = config["id"].as_str().expect("a text");
    let url = format!(
        "{base}/canary/{id}?application={application}&metricsAccountName={account}&configurationAccountName={account}&storageAccountName={account}"
    );
    let answer = client.post(url).json(&body).send().await.expect("an answer");
    if answer.status() != 200 {
        return Phase::Error;
    }
    let made: Value = answer.json().await.expect("JSON");
    let execution = made["canaryExecutionId"].as_str().expect("a text");
    let answer = client.get(format!("{base}/canary/{execution}")).send().await.expect("an answer");
    if answer.status() != 200 {
        return Phase::Error;
    }
    let read: Value = answer.json().await.expect("JSON");
    if !read["complete"].as_bool().expect("it says whether it is complete") {
        return Phase::Running;
    }
    // It is read as a float and cut to an integer.
    let score = read["result"]["judgeResult"]["score"]["score"].as_f64().expect("a score") as i64;
    let threshold = |name: &str| kayenta["threshold"][name].as_i64().expect("a number");
    match score {
        score if score >= threshold("pass") => Phase::Successful,
        score if score >= threshold("marginal") => Phase::Inconclusive,
        _ => Phase::Failed,
    }
}

/// What becomes of an analysis after these measurements.
fn assessed(metric: &Value, measured: &[Phase]) -> Phase {
    let number = |name: &str, default: usize| metric[name].as_u64().map_or(default, |number| number as usize);
    let count = |phase: Phase| measured.iter().filter(|of| **of == phase).count();
    let at_the_end = |phase: Phase| measured.iter().rev().take_while(|of| **of == phase).count();
    if at_the_end(Phase::Error) > number("consecutiveErrorLimit", 4) {
        return Phase::Error;
    }
    if count(Phase::Inconclusive) > number("inconclusiveLimit", 0) {
        return Phase::Inconclusive;
    }
    if count(Phase::Failed) > number("failureLimit", 0) {
        return Phase::Failed;
    }
    let needed = number("consecutiveSuccessLimit", 0);
    if needed > 0 && at_the_end(Phase::Successful) >= needed {
        return Phase::Successful;
    }
    if metric["count"].as_u64().is_some_and(|count| measured.len() as u64 >= count) {
        return if needed > 0 { Phase::Inconclusive } else { Phase::Successful };
    }
    Phase::Running
}

fn expected(word: Word) -> Phase {
    match word {
        Word::Go => Phase::Successful,
        Word::NoGo => Phase::Failed,
        Word::Watch | Word::Wait => Phase::Inconclusive,
    }
}

/// What an analysis comes to when every measurement has this phase.
fn in_the_end(metric: &Value, phase: Phase) -> Phase {
    let mut measured = Vec::new();
    loop {
        measured.push(phase);
        match assessed(metric, &measured) {
            Phase::Running => {}
            ended => return ended,
        }
    }
}

#[tokio::test]
async fn a_web_analysis_goes_on_at_go_aborts_at_no_go_and_pauses_without_a_decision() {
    let mut server = Server::start().await;
    let by_version = metric("shipwake-web", &[("service", "checkout"), ("candidate", "2.14.0")]);
    let by_hash = [("service", "checkout"), ("candidate-hash", "7d9f"), ("baseline-hash", "5c6b")];
    let by_hash = metric("shipwake-web", &by_hash);
    for word in WORDS {
        server.show(word);
        for metric in [&by_version, &by_hash] {
            let phase = by_web(&server, metric).await;
            assert_eq!(phase, expected(word), "{word:?}");
            assert_eq!(in_the_end(metric, phase), phase, "{word:?}");
        }
    }
    // Nobody has seen it yet, or everything is being restarted: no error, and so no abort.
    server.show_board(board_of(vec![Release::new("search", "1")]));
    assert_eq!(by_web(&server, &by_version).await, Phase::Inconclusive);
    server.show_board(Default::default());
    assert_eq!(by_web(&server, &by_version).await, Phase::Inconclusive);
    assert_eq!(assessed(&by_version, &[Phase::Inconclusive, Phase::Error, Phase::Successful]), Phase::Successful);
}

#[tokio::test]
async fn a_prometheus_analysis_reads_the_same_from_a_value() {
    let mut server = Server::start().await;
    let metric = metric("shipwake-prometheus", &[("service", "checkout"), ("candidate", "2.14.0")]);
    for word in WORDS {
        server.show(word);
        assert_eq!(by_prometheus(&server, &metric).await, expected(word), "{word:?}");
    }
    server.show_board(board_of(vec![Release::new("search", "1")]));
    assert_eq!(by_prometheus(&server, &metric).await, Phase::Inconclusive, "no value is no decision");
}

#[tokio::test]
async fn a_kayenta_analysis_reads_the_same_from_a_score() {
    let mut server = Server::start().await;
    let given = [("service", "checkout"), ("candidate", "2.14.0"), ("baseline", "2.13.4")];
    let metric = metric("shipwake-kayenta", &given);
    for word in WORDS {
        server.show(word);
        let phase = by_kayenta(&server, &metric).await;
        assert_eq!(phase, expected(word), "{word:?}");
        assert_eq!(in_the_end(&metric, phase), phase);
    }
    server.show_board(board_of(vec![Release::new("search", "1")]));
    assert_eq!(by_kayenta(&server, &metric).await, Phase::Error);
}
