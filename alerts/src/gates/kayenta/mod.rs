//! Kayenta's API, as far as Orca's canary stage and the `kayenta` provider of Argo Rollouts use it: a verdict of ours as a score.
//! And Kayenta's own judge as a service ([`remote_judge`]), for sites that keep Kayenta.
//!
//! 100 is GO, 0 is NO-GO, and what is not decided lies strictly between `marginal` and `pass`: Orca then goes on to its next
//! interval, and Argo says "inconclusive". An execution is complete at once, because a verdict holds at every look.

mod remote_judge;
mod request;

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use serde_json::{Map, Value, json};
use shipwake_verdict::{CheckResult, State as CheckState, Word};

use super::Gates;
use super::answer::Answer;
use super::evaluations::unfound;
use super::form::{group_name, ratios};
use super::problem::{Problem, json_answer};
use super::question::Reason;
use super::reference::Reference;
use crate::time::{rfc3339, span};
use request::{Request, Thresholds};

/// The one canary config: what is judged is declared by policies, not by callers.
const CONFIG: &str = "shipwake";
/// Who judges, in answers.
const JUDGE: &str = "Shipwake-v1";
/// Orca reads counts into 32 bits with a sign.
const COUNT_MAX: u64 = i32::MAX as u64;

pub(super) fn routes() -> Router<Gates> {
    Router::new()
        .route("/canaryConfig", get(configs))
        .route("/canaryConfig/{id}", get(config))
        .route("/canary/{id}", post(create).get(execution))
        .route("/pipelines/{id}/cancel", put(cancel))
        .route("/credentials", get(credentials))
        .route("/judge", post(remote_judge::judge))
}

async fn configs(State(gates): State<Gates>) -> Response {
    json_answer(StatusCode::OK, &json!([summary_of_config(&gates)]))
}

async fn config(State(gates): State<Gates>, Path(id): Path<String>) -> Result<Response, Problem> {
    if id != CONFIG {
        return Err(no_config(&id));
    }
    let mut config = summary_of_config(&gates);
    config["description"] = json!("What Shipwake judges; policies say what that is");
    config["configVersion"] = json!("1");
    config["judge"] = json!({"name": JUDGE, "judgeConfigurations": {}});
    config["metrics"] = json!([]);
    config["templates"] = json!({});
    config["classifier"] = json!({"groupWeights": {}});
    Ok(json_answer(StatusCode::OK, &config))
}

/// Orca looks for its application in the list: every service that is judged is in it.
fn summary_of_config(gates: &Gates) -> Value {
    let board = gates.reader.now();
    let services: BTreeSet<&str> = board.releases.iter().map(|judged| &*judged.release.service).collect();
    let as_of_ms = board.as_of_ms;
    json!({"id": CONFIG, "name": CONFIG, "applications": services, "updatedTimestamp": as_of_ms,
        "updatedTimestampIso": rfc3339(as_of_ms)})
}

fn no_config(id: &str) -> Problem {
    let id: String = id.chars().take(100).collect();
    Problem::NotFound(format!("there is no canary config `{id}`; there is one, `{CONFIG}`"))
}

/// Where Kayenta would look for metrics and keep results; stages name one.
async fn credentials() -> Response {
    let account = json!({"name": CONFIG, "accountName": CONFIG, "type": CONFIG,
        "supportedTypes": ["METRICS_STORE", "OBJECT_STORE", "CONFIGURATION_STORE"]});
    json_answer(StatusCode::OK, &json!([account]))
}

/// Nothing runs that could be stopped.
async fn cancel() -> Response {
    json_answer(StatusCode::OK, &json!({}))
}

async fn create(
    State(gates): State<Gates>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|error| Problem::Body(error.body_text()))?;
    if id != CONFIG {
        return Err(no_config(&id));
    }
    let request = Request::read(query.as_deref(), &body)?;
    let (board, now_ms) = (gates.reader.now(), gates.clock.time_of_day_ms());
    let answer = Answer::of(&board, &request.question(&board)?, now_ms);
    let Some(judged) = &answer.judged else { return Err(unfound(answer)) };
    let Thresholds { pass, marginal } = request.thresholds;
    let more = json!({"application": request.application, "pass": pass, "marginal": marginal, "at": now_ms});
    let more = more.as_object().cloned().unwrap_or_default();
    let id = Reference::of(judged, more).name();
    Ok(json_answer(StatusCode::OK, &json!({"canaryExecutionId": id})))
}

async fn execution(State(gates): State<Gates>, Path(id): Path<String>) -> Result<Response, Problem> {
    let reference = Reference::read(&id)?;
    let Some(execution) = Execution::of(&reference.more) else {
        return Err(Problem::NotFound("no execution has this name".to_owned()));
    };
    let answer = gates.answer(&reference.question);
    let mut form = json!({
        "application": execution.application,
        "pipelineId": id,
        "stageStatus": {},
        "storageAccountName": CONFIG,
        "canaryConfigId": CONFIG,
        "buildTimeIso": rfc3339(execution.at_ms),
        "startTimeIso": rfc3339(execution.at_ms),
    });
    match &answer.judged {
        Some(_) => {
            form["complete"] = json!(true);
            form["status"] = json!("SUCCEEDED");
            form["endTimeIso"] = json!(rfc3339(answer.as_of_ms.max(execution.at_ms)));
            form["result"] = result(&answer, &execution);
        }
        // Just after a start: the caller comes again.
        None if answer.reason == Some(Reason::Starting) => {
            form["complete"] = json!(false);
            form["status"] = json!("RUNNING");
        }
        None => return Err(unfound(answer)),
    }
    Ok(json_answer(StatusCode::OK, &form))
}

/// What a name of an execution carries besides its release.
struct Execution {
    application: String,
    thresholds: Thresholds,
    at_ms: i64,
}

impl Execution {
    fn of(more: &Map<String, Value>) -> Option<Self> {
        let number = |name: &str| more.get(name)?.as_f64();
        let thresholds = Thresholds { pass: number("pass")?, marginal: number("marginal")? };
        let application = more.get("application")?.as_str()?.to_owned();
        thresholds.between()?;
        Some(Execution { application, thresholds, at_ms: more.get("at")?.as_i64()? })
    }
}

fn result(answer: &Answer, execution: &Execution) -> Value {
    let (score, classification) = match answer.word {
        Word::Go => (100, "Pass"),
        Word::NoGo => (0, "Fail"),
        // There is one, or the execution had not been made.
        Word::Watch | Word::Wait => (execution.thresholds.between().unwrap_or_default(), "Marginal"),
    };
    let checks = answer.judged.as_ref().map(|judged| judged.verdict.checks.as_slice()).unwrap_or_default();
    let opened_ms = answer.judged.as_ref().map_or(answer.as_of_ms, |judged| judged.opened_ms);
    let seconds = (answer.as_of_ms - opened_ms).max(0) / 1_000;
    json!({
        "judgeResult": {
            "judgeName": JUDGE,
            "score": {"score": score, "classification": classification, "classificationReason": answer.summary},
            "groupScores": group_scores(checks),
            "results": checks.iter().map(check_result).collect::<Vec<_>>(),
        },
        "canaryDuration": format!("PT{seconds}S"),
        "canaryDurationText": span(seconds * 1_000),
    })
}

fn check_result(check: &CheckResult) -> Value {
    let effect = check.effect.as_ref().map(|effect| ratios(effect)[0]);
    let fewer_is_worse = check.effect.as_ref().is_some_and(|effect| effect.limit_worse < 1.0);
    let classification = match check.state {
        CheckState::Worse if fewer_is_worse => "Low",
        CheckState::Worse => "High",
        CheckState::Fine => "Pass",
        // To Kayenta no evidence is a pass. To us it is not.
        CheckState::Suspicious | CheckState::Undecided | CheckState::NoData => "Nodata",
    };
    let stats = |tally: shipwake_verdict::Tally| json!({"stats": {"count": tally.exposure.min(COUNT_MAX), "bad": tally.events}});
    json!({
        "id": check.id,
        "name": check.title,
        "tags": {},
        "groups": [group_name(check.group)],
        "classification": classification,
        "classificationReason": check.why,
        "critical": check.state == CheckState::Worse,
        "muted": false,
        "experimentMetadata": stats(check.counts.candidate),
        "controlMetadata": stats(check.counts.baseline),
        "resultMetadata": {"ratio": effect},
    })
}

fn group_scores(checks: &[CheckResult]) -> Vec<Value> {
    let mut names: Vec<&str> = checks.iter().map(|check| group_name(check.group)).collect();
    names.dedup();
    let of_group = |name: &str| {
        let mut states = checks.iter().filter(|check| group_name(check.group) == name).map(|check| check.state);
        let (score, word) = if states.clone().any(|state| state == CheckState::Worse) {
            (0.0, "Fail")
        } else if states.all(|state| state == CheckState::Fine) {
            (100.0, "Pass")
        } else {
            (0.0, "Nodata")
        };
        json!({"name": name, "score": score, "classification": word, "classificationReason": ""})
    };
    names.into_iter().map(of_group).collect()
}
