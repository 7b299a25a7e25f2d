//! Orca: its webhook stage makes a job and polls it; its canary stage asks a Kayenta. Both read strictly, and so do these.

use serde_json::{Value, json};
use shipwake_verdict::Word;

use super::boards::{Release, board_of};
use super::{Server, WORDS, files};

/// A state of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Running,
    Succeeded,
    Terminal,
}

/// The expressions of the files, filled in.
fn filled(file: &str) -> Value {
    let text = files::json(file)
        .to_string()
        .replace("${ execution.application }", "checkout")
        .replace("${ trigger.artifacts[0].version }", "2.14.0")
        .replace("${ parameters.baseline }", "2.13.4");
    assert!(!text.contains("${"), "{text}");
    serde_json::from_str(&text).expect("still JSON")
}

/// A field that a path like `$.status` leads to; without it the stage fails.
fn at<'a>(answer: &'a Value, path: &Value) -> &'a Value {
    &answer[path.as_str().and_then(|path| path.strip_prefix("$.")).expect("a path")]
}

/// The webhook stage: create, then one poll of where `Location` leads.
async fn webhook(server: &Server) -> Status {
    let stage = filled("spinnaker/webhook-stage.json");
    let client = reqwest::Client::new();
    let url = server.here(stage["url"].as_str().expect("a text"));
    let created = client.post(url).json(&stage["payload"]).send().await.expect("an answer");
    let status = created.status().as_u16();
    if stage["failFastStatusCodes"].as_array().expect("a list").contains(&json!(status)) {
        return Status::Terminal;
    }
    if status >= 500 || status == 429 {
        return Status::Running;
    }
    assert!(created.status().is_success(), "{status}");
    assert_eq!(stage["statusUrlResolution"], "locationHeader");
    let location = created.headers()["location"].to_str().expect("text").to_owned();
    let polled = client.get(location).send().await.expect("an answer");
    assert!(polled.status().is_success());
    let answer: Value = polled.json().await.expect("JSON");
    assert!(at(&answer, &stage["progressJsonPath"]).is_string(), "anything else ends the stage");
    let state = at(&answer, &stage["statusJsonPath"]).as_str().expect("a text: a number would succeed at 100 only");
    let is_in = |name: &str| {
        let words = stage[name].as_str().expect("a text").split(',');
        words.map(str::trim).any(|word| word.eq_ignore_ascii_case(state))
    };
    match () {
        () if is_in("successStatuses") => Status::Succeeded,
        () if is_in("terminalStatuses") || is_in("canceledStatuses") => Status::Terminal,
        () => Status::Running,
    }
}

/// A number that is read into 32 bits with a sign.
fn int(value: &Value) -> i64 {
    let number = value.as_i64().unwrap_or_else(|| panic!("{value} is no integer"));
    assert!(i32::try_from(number).is_ok(), "{number} does not fit");
    number
}

fn is_instant(value: &Value) {
    let text = value.as_str().expect("a time");
    assert!(text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T', "{text}");
}

/// One interval of the canary stage. `Running` is "on to the next interval", which the last one must not be.
async fn canary(server: &Server) -> Status {
    let stage = filled("spinnaker/canary-stage.json");
    let config = &stage["canaryConfig"];
    let threshold =
        |name: &str| -> i64 { config["scoreThresholds"][name].as_str().expect("a text").parse().expect("a number") };
    let (pass, marginal) = (threshold("pass"), threshold("marginal"));
    let scope = &config["scopes"][0];
    let side = |of: &str| {
        json!({"scope": scope[format!("{of}Scope")], "location": scope[format!("{of}Location")], "step": scope["step"],
            "start": "2026-11-23T10:00:00Z", "end": "2026-11-23T10:02:00Z", "extendedScopeParams": scope["extendedScopeParams"]})
    };
    let request = json!({"scopes": {scope["scopeName"].as_str().expect("a text"):
        {"controlScope": side("control"), "experimentScope": side("experiment")}},
        "thresholds": {"pass": pass, "marginal": marginal}, "siteLocal": {}});
    let base = server.here(super::ADDRESS);
    let client = reqwest::Client::new();
    // A config that is named is looked for by its application.
    let configs: Value =
        client.get(format!("{base}/canaryConfig")).send().await.expect("an answer").json().await.expect("JSON");
    let id = config["canaryConfigId"].as_str().expect("a text");
    let listed = configs.as_array().expect("a list").iter().find(|one| one["id"] == id).expect("it is listed");
    assert!(listed["name"].is_string() && listed["applications"].is_array());
    let url =
        format!("{base}/canary/{id}?application=checkout&parentPipelineExecutionId=01ABC&metricsAccountName=shipwake");
    let made = client.post(url).json(&request).send().await.expect("an answer");
    if !made.status().is_success() {
        return Status::Terminal;
    }
    let made: Value = made.json().await.expect("JSON");
    let execution = made["canaryExecutionId"].as_str().expect("a text");
    let read = client.get(format!("{base}/canary/{execution}?storageAccountName=shipwake")).send().await;
    let results: Value = read.expect("an answer").json().await.expect("JSON");
    assert!(results["complete"].is_boolean() && results["application"].is_string());
    if results["status"] == "RUNNING" {
        return Status::Running;
    }
    assert_eq!(results["status"], "SUCCEEDED", "any other word is a state of a pipeline that failed");
    for name in ["buildTimeIso", "startTimeIso", "endTimeIso"] {
        is_instant(&results[name]);
    }
    let judged = &results["result"]["judgeResult"];
    assert!(judged["score"]["classification"].is_string() && judged["score"]["classificationReason"].is_string());
    for result in judged["results"].as_array().expect("a list") {
        int(&result["controlMetadata"]["stats"]["count"]);
    }
    let duration = results["result"]["canaryDuration"].as_str().expect("a duration");
    assert!(duration.starts_with("PT") && duration.ends_with('S'));
    // It looks up the account to know of whom not to expect fifty points.
    let accounts: Value =
        client.get(format!("{base}/credentials")).send().await.expect("an answer").json().await.expect("JSON");
    assert!(accounts.as_array().expect("a list").iter().all(|one| one["name"].is_string() && one["type"].is_string()));
    match int(&judged["score"]["score"]) {
        score if score <= marginal => Status::Terminal,
        score if score >= pass => Status::Succeeded,
        _ => Status::Running,
    }
}

fn expected(word: Word) -> Status {
    match word {
        Word::Go => Status::Succeeded,
        Word::NoGo => Status::Terminal,
        Word::Watch | Word::Wait => Status::Running,
    }
}

#[tokio::test]
async fn a_webhook_stage_ends_with_the_verdict() {
    let mut server = Server::start().await;
    assert_eq!(webhook(&server).await, Status::Running, "just after a start it is asked again");
    for word in WORDS {
        server.show(word);
        assert_eq!(webhook(&server).await, expected(word), "{word:?}");
    }
    server.show_board(board_of(vec![Release::new("search", "1")]));
    assert_eq!(webhook(&server).await, Status::Terminal, "a release that nobody has seen");
}

#[tokio::test]
async fn a_canary_stage_stops_at_no_go_and_goes_on_to_the_next_interval_without_a_decision() {
    let mut server = Server::start().await;
    for word in WORDS {
        server.show(word);
        assert_eq!(canary(&server).await, expected(word), "{word:?}");
    }
}
