//! `GET /v1/verdict`, the answer with everything it rests on, and `GET /v1/gate`, the same as a status for `curl --fail`.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use shipwake_verdict::Word;

use super::answer::Answer;
use super::problem::{Problem, json_answer, text_answer};
use super::question::{NAMES, Question, Reason};
use super::{Gates, arguments};

pub(super) fn routes() -> Router<Gates> {
    Router::new().route("/v1/verdict", get(verdict)).route("/v1/gate", get(gate))
}

/// Always 200 for a question that makes sense: to some callers everything else is an error, and five of those end a rollout.
async fn verdict(State(gates): State<Gates>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let answer = answer(&gates, query.as_deref()).await?;
    Ok(json_answer(StatusCode::OK, &answer.to_json(gates.url.as_deref())))
}

/// 200 go, 412 no go, 425 not decided, 400 for a question that has to say more, 503 while nothing is known.
async fn gate(State(gates): State<Gates>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let answer = answer(&gates, query.as_deref()).await?;
    let status = match (answer.word, answer.reason) {
        (_, Some(reason)) if reason.is_of_the_question() => {
            return Err(Problem::Ambiguous { detail: answer.summary, choices: answer.choices });
        }
        (_, Some(Reason::Starting)) => StatusCode::SERVICE_UNAVAILABLE,
        (Word::Go, _) => StatusCode::OK,
        (Word::NoGo, _) => StatusCode::PRECONDITION_FAILED,
        (Word::Watch | Word::Wait, _) => StatusCode::TOO_EARLY,
    };
    Ok(text_answer(status, &answer.summary))
}

/// The answer once it is decided, or once its word has changed beyond `after`, or after `wait`.
async fn answer(gates: &Gates, query: Option<&str>) -> Result<Answer, Problem> {
    let known: Vec<&str> = NAMES.into_iter().chain(["wait", "after"]).collect();
    let given = arguments::read(query, &known)?;
    let question = Question::of(&given)?;
    let (wait, after) = (arguments::wait(&given)?, arguments::after(&given)?);
    let board = gates
        .board_when(wait, |board| {
            let answer = gates.answer_of(board, &question);
            let is_settled = answer.is_decided() || answer.reason.is_some_and(Reason::is_of_the_question);
            // Whoever names what it has seen wants what comes after that, even if it is decided.
            after.map_or(is_settled, |seen| answer.sequence() > seen)
        })
        .await;
    Ok(gates.answer_of(&board, &question))
}
