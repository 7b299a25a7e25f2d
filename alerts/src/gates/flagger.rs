//! Flagger's webhooks. Its rules: a status up to 202 is yes, everything else is no, and the body of a no goes into the canary's
//! events. `rollback` is inverted: yes means "roll back now", so only a NO-GO may say it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde_json::Value;
use shipwake_verdict::Word;

use super::Gates;
use super::answer::Answer;
use super::arguments::{Arguments, instead};
use super::problem::{Problem, text_answer};
use super::question::{NAMES, Question, Reason};

/// The hooks, by what they are called for.
const HOOKS: [&str; 3] = ["confirm", "check", "rollback"];

pub(super) fn routes() -> Router<Gates> {
    Router::new().route("/v1/gates/flagger/{hook}", post(hook))
}

async fn hook(State(gates): State<Gates>, Path(hook): Path<String>, body: Result<Bytes, BytesRejection>) -> Response {
    let asked = body.map_err(|error| Problem::Body(error.body_text())).and_then(|body| question(&body));
    let answer = asked.map(|(question, namespace)| answer(&gates, question, namespace));
    let (status, text) = match hook.as_str() {
        "confirm" => confirm(answer),
        "check" => check(answer),
        "rollback" => rollback(answer),
        other => (StatusCode::NOT_FOUND, format!("no hook `{other}`; {}", instead(other, &HOOKS))),
    };
    text_answer(status, &text)
}

/// The answer; where several namespaces have such a service, that of the canary's own.
fn answer(gates: &Gates, question: Question, namespace: Option<String>) -> Answer {
    let found = gates.answer(&question);
    match namespace.filter(|namespace| found.choices.contains(namespace)) {
        Some(namespace) if found.reason == Some(Reason::AmbiguousNamespace) => {
            gates.answer(&Question { namespace: Some(namespace), ..question })
        }
        _ => found,
    }
}

/// Goes on at GO; waits otherwise, which does not count against the canary.
fn confirm(answer: Result<Answer, Problem>) -> (StatusCode, String) {
    match answer {
        Ok(answer) if answer.word == Word::Go => (StatusCode::OK, answer.summary),
        Ok(answer) => (StatusCode::FORBIDDEN, answer.summary),
        Err(problem) => (StatusCode::FORBIDDEN, problem.to_string()),
    }
}

/// Fails at NO-GO, and when nothing is known. Waiting is no failure.
fn check(answer: Result<Answer, Problem>) -> (StatusCode, String) {
    match answer {
        // Just after a start nothing is known of anybody: that is no failure of the canary either.
        Ok(answer) if answer.reason == Some(Reason::Starting) => (StatusCode::OK, answer.summary),
        Ok(answer) if answer.word == Word::NoGo || answer.judged.is_none() => {
            (StatusCode::PRECONDITION_FAILED, answer.summary)
        }
        Ok(answer) => (StatusCode::OK, answer.summary),
        Err(problem) => (StatusCode::PRECONDITION_FAILED, problem.to_string()),
    }
}

/// Yes at NO-GO alone. What is not understood, not known or not decided must not roll anything back.
fn rollback(answer: Result<Answer, Problem>) -> (StatusCode, String) {
    match answer {
        Ok(answer) if answer.word == Word::NoGo && answer.judged.is_some() => (StatusCode::OK, answer.summary),
        Ok(answer) => (StatusCode::FORBIDDEN, answer.summary),
        Err(problem) => (StatusCode::FORBIDDEN, problem.to_string()),
    }
}

/// The release that a payload is about: the canary's name is the service's unless `metadata` says otherwise. The canary's namespace is that
/// of Kubernetes, which need not be the service's: `metadata` says that one, and the canary's own only chooses among several.
fn question(body: &[u8]) -> Result<(Question, Option<String>), Problem> {
    let read: Value = serde_json::from_slice(body).map_err(|error| {
        Problem::Body(format!("expected {{\"name\":\"…\",\"namespace\":\"…\",\"phase\":\"…\"}}: {error}"))
    })?;
    let metadata = &read["metadata"];
    let named = NAMES.iter().filter_map(|name| Some((name.to_string(), metadata[*name].as_str()?.to_owned())));
    let mut arguments: Arguments = named.collect();
    if let Some(name) = read["name"].as_str().filter(|_| !arguments.contains_key("service")) {
        arguments.insert("service".to_owned(), name.to_owned());
    }
    Ok((Question::of(&arguments)?, read["namespace"].as_str().map(str::to_owned)))
}
