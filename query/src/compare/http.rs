//! The route of comparisons: reads the body and prints the answer, decides nothing.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::post;

use super::request::Body;
use crate::error::QueryError;
use crate::http::{header_text, page};
use crate::query::Query;

/// `POST /api/v1/compare`.
pub(crate) fn routes() -> Router<Query> {
    Router::new().route("/api/v1/compare", post(compare))
}

async fn compare(
    State(query): State<Query>,
    headers: HeaderMap,
    given: Result<Bytes, BytesRejection>,
) -> Result<Response, QueryError> {
    let bad = |reason: String| QueryError::BadRequest { reason };
    let bytes = given.map_err(|error| bad(error.body_text()))?;
    // A form of another site can send text to this address, but not JSON without asking first.
    let content_type = header_text(&headers, header::CONTENT_TYPE);
    if !content_type.starts_with("application/json") {
        return Err(bad(format!("the body is JSON, with `Content-Type: application/json` (not {content_type:?})")));
    }
    let body: Body = serde_json::from_slice(&bytes).map_err(|error| {
        bad(format!(
            "expected {{\"service\":\"checkout\",\"a\":\"ver:2.13.4\",\"b\":\"ver:2.14.0\",\"from\":\"now-30m\",\"to\":\"now\"}}: {error}"
        ))
    })?;
    Ok(page(&query.compare(body).await?))
}
