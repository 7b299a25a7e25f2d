//! The routes of log lines: parses arguments and prints answers, decides nothing.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::{get, post};

use super::context;
use super::request::{Body, line_id};
use crate::error::QueryError;
use crate::http::{Arguments, arguments, header_text, page};
use crate::query::Query;

/// All routes below `/api/v1/logs`.
pub(crate) fn routes() -> Router<Query> {
    Router::new()
        .route("/api/v1/logs/search", post(search))
        .route("/api/v1/logs/volume", post(volume))
        .route("/api/v1/logs/patterns", post(patterns))
        .route("/api/v1/logs/tail", post(tail))
        .route("/api/v1/logs/context", get(context))
        .route("/api/v1/logs/fields", get(fields))
}

type Given = Result<Bytes, BytesRejection>;

async fn search(State(query): State<Query>, headers: HeaderMap, given: Given) -> Result<Response, QueryError> {
    Ok(page(&query.log_lines(body(&headers, given)?).await?))
}

async fn volume(State(query): State<Query>, headers: HeaderMap, given: Given) -> Result<Response, QueryError> {
    Ok(page(&query.log_volume(body(&headers, given)?).await?))
}

async fn patterns(State(query): State<Query>, headers: HeaderMap, given: Given) -> Result<Response, QueryError> {
    Ok(page(&query.log_patterns(body(&headers, given)?).await?))
}

async fn tail(State(query): State<Query>, headers: HeaderMap, given: Given) -> Result<Response, QueryError> {
    Ok(page(&query.log_tail(&body(&headers, given)?).await?))
}

async fn context(State(query): State<Query>, given: Arguments) -> Result<Response, QueryError> {
    let given = arguments(given)?;
    let id = line_id("line", given.get("line").map_or("", String::as_str))?;
    let lines = |name: &'static str| context::lines(name, given.get(name).map(String::as_str));
    let (before, after) = (lines("before")?, lines("after")?);
    Ok(page(&query.log_context(id, before, after).await?))
}

/// Arguments that are not known are left alone, as for pages.
async fn fields(State(query): State<Query>, given: Arguments) -> Result<Response, QueryError> {
    let mut given = arguments(given)?;
    let mut next = |name: &str| given.remove(name);
    let body = Body {
        q: next("q").unwrap_or_default(),
        service: next("service"),
        env: next("env"),
        version: next("version"),
        from: next("from"),
        to: next("to"),
        ..Body::default()
    };
    Ok(page(&query.log_fields(body).await?))
}

fn body(headers: &HeaderMap, given: Given) -> Result<Body, QueryError> {
    let bad = |reason: String| QueryError::BadRequest { reason };
    let bytes = given.map_err(|error| bad(error.body_text()))?;
    // A form of another site can send text to this address, but not JSON without asking first.
    let content_type = header_text(headers, header::CONTENT_TYPE);
    if !content_type.starts_with("application/json") {
        return Err(bad(format!("the body is JSON, with `Content-Type: application/json` (not {content_type:?})")));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| bad(format!("expected {{\"q\":\"…\",\"from\":\"now-1h\",\"to\":\"now\"}}: {error}")))
}
