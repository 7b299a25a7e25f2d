//! `POST /v1/evaluations`, for tools that create a job and poll it (Spinnaker's webhook stage): a name that says which release it
//! is of, and the state of the job, which is the verdict.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::Gates;
use super::answer::Answer;
use super::arguments::{self, Arguments, instead};
use super::problem::{Problem, json_answer};
use super::question::{NAMES, Question, Reason};
use super::reference::Reference;

pub(super) fn routes() -> Router<Gates> {
    Router::new().route("/v1/evaluations", post(create)).route("/v1/evaluations/{id}", get(state))
}

/// 201 with `Location`, also for a named version of a known service that nobody has seen yet: a pipeline may be early. 404 for a service that
/// nobody has seen, so that a stage says so and not that it runs.
async fn create(
    State(gates): State<Gates>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|error| Problem::Body(error.body_text()))?;
    let mut given = arguments::read(query.as_deref(), &NAMES)?;
    given.extend(in_body(&body)?);
    let question = Question::of(&given)?;
    let answer = gates.answer(&question);
    let reference = match &answer.judged {
        Some(judged) => Reference::of(judged, Map::new()),
        None if gates.may_come(&answer) => Reference { question, more: Map::new() },
        None => return Err(unfound(answer)),
    };
    let id = reference.name();
    let location = format!("{}{}/{id}", origin(&gates, &headers), uri.path().trim_end_matches('/'));
    let mut response = json_answer(StatusCode::CREATED, &evaluation(&gates, &answer, &id, &location));
    let value = HeaderValue::from_str(&location).map_err(|_| Problem::Body("the host has no name".to_owned()))?;
    response.headers_mut().insert(header::LOCATION, value);
    Ok(response)
}

async fn state(
    State(gates): State<Gates>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let reference = Reference::read(&id)?;
    let answer = gates.answer(&reference.question);
    // After a restart nothing is known for a moment; the job goes on.
    if answer.judged.is_none() && answer.reason != Some(Reason::Starting) && !gates.may_come(&answer) {
        return Err(unfound(answer));
    }
    let location = format!("{}{}", origin(&gates, &headers), uri.path());
    Ok(json_answer(StatusCode::OK, &evaluation(&gates, &answer, &id, &location)))
}

fn evaluation(gates: &Gates, answer: &Answer, id: &str, location: &str) -> Value {
    let mut form = answer.to_json(gates.url.as_deref());
    form["id"] = json!(id);
    form["location"] = json!(location);
    // Spinnaker's stage shows a text while it waits, and fails when the path leads to anything else.
    form["progress"] = json!(answer.summary);
    form
}

/// Why a question leads to no release, as a problem.
pub(super) fn unfound(answer: Answer) -> Problem {
    match answer.reason {
        Some(reason) if reason.is_of_the_question() => {
            Problem::Ambiguous { detail: answer.summary, choices: answer.choices }
        }
        Some(Reason::Starting) => Problem::NotYet(answer.summary),
        _ => Problem::NotFound(answer.summary),
    }
}

/// The names of a question in a body of JSON.
fn in_body(body: &[u8]) -> Result<Arguments, Problem> {
    let wrong =
        |why: String| Problem::Body(format!("expected {{\"service\":\"…\",\"env\":\"…\",\"candidate\":\"…\"}}: {why}"));
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Arguments::new());
    }
    let read: Value = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let fields = read.as_object().ok_or_else(|| wrong("not an object".to_owned()))?;
    let mut found = Arguments::new();
    for (name, value) in fields {
        if !NAMES.contains(&name.as_str()) {
            return Err(Problem::argument(name, format!("unknown field `{name}`; {}", instead(name, &NAMES))));
        }
        match value {
            Value::Null => {}
            Value::String(text) => drop(found.insert(name.clone(), text.clone())),
            // A version that looks like a number is a text all the same.
            Value::Number(number) => drop(found.insert(name.clone(), number.to_string())),
            _ => return Err(Problem::argument(name, format!("`{name}` is a text"))),
        }
    }
    Ok(found)
}

/// Where the caller reached us, so that it comes back the same way: what a proxy in front says, or the host that was asked for.
fn origin(gates: &Gates, headers: &HeaderMap) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(host) = header("host").filter(|host| !host.is_empty()) {
        let scheme = header("x-forwarded-proto").filter(|scheme| ["http", "https"].contains(scheme));
        return format!("{}://{host}", scheme.unwrap_or("http"));
    }
    gates.url.as_deref().unwrap_or_default().to_owned()
}
