//! Errors as RFC 9457 `application/problem+json`: the one place that knows status codes.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::{Budget, QueryError};

impl QueryError {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            QueryError::BadArgument { .. }
            | QueryError::BadRequest { .. }
            | QueryError::Sql { .. }
            | QueryError::Search { .. }
            | QueryError::NotAllowed { .. }
            | QueryError::TooComplex { .. }
            | QueryError::Evaluation { .. } => StatusCode::BAD_REQUEST,
            QueryError::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            QueryError::ForeignOrigin { .. } => StatusCode::FORBIDDEN,
            QueryError::OverBudget(_) | QueryError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::NotFound { .. } => StatusCode::NOT_FOUND,
            QueryError::Store { .. } | QueryError::Damaged(_) | QueryError::Gone { .. } | QueryError::Engine { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// A short word for programs; it never changes for the same kind of problem.
    pub fn code(&self) -> &'static str {
        match self {
            QueryError::BadArgument { .. } => "bad-argument",
            QueryError::BadRequest { .. } => "bad-request",
            QueryError::Method { .. } => "method",
            QueryError::Sql { .. } => "sql",
            QueryError::Search { .. } => "search",
            QueryError::NotAllowed { .. } => "read-only",
            QueryError::TooComplex { .. } => "too-complex",
            QueryError::ForeignOrigin { .. } => "foreign-origin",
            QueryError::Evaluation { .. } => "evaluation",
            QueryError::OverBudget(Budget::Time { .. }) => "time-budget",
            QueryError::OverBudget(Budget::Memory { .. } | Budget::WindowMemory { .. }) => "memory-budget",
            QueryError::OverBudget(Budget::SharedMemory { .. }) => "shared-memory-budget",
            QueryError::Busy { .. } => "busy",
            QueryError::NotFound { .. } => "not-found",
            QueryError::Store { .. } | QueryError::Damaged(_) | QueryError::Gone { .. } => "store",
            QueryError::Engine { .. } => "engine",
        }
    }

    /// A few words for people.
    pub fn title(&self) -> &'static str {
        match self {
            QueryError::BadArgument { .. } => "An argument is not understood",
            QueryError::BadRequest { .. } => "The request is not understood",
            QueryError::Method { .. } => "Another method is wanted",
            QueryError::Sql { .. } => "The query is not understood",
            QueryError::Search { .. } => "The search is not understood",
            QueryError::NotAllowed { .. } => "Queries only read",
            QueryError::TooComplex { .. } => "The query is too complex",
            QueryError::ForeignOrigin { .. } => "Another site's page",
            QueryError::Evaluation { .. } => "The query failed on a value",
            QueryError::OverBudget(Budget::Time { .. }) => "The query took too long",
            QueryError::OverBudget(_) => "The query needed too much memory",
            QueryError::Busy { .. } => "Too many queries at once",
            QueryError::NotFound { .. } => "Not found",
            QueryError::Store { .. } | QueryError::Damaged(_) | QueryError::Gone { .. } => "The data cannot be read",
            QueryError::Engine { .. } => "The query engine failed",
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            QueryError::Busy { retry_after_s, .. } => Some(*retry_after_s),
            QueryError::OverBudget(Budget::SharedMemory { .. }) => Some(2),
            _ => None,
        }
    }

    /// The problem document.
    pub fn document(&self) -> serde_json::Value {
        let mut document = json!({
            "type": format!("urn:shipwake:problem:{}", self.code()),
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.to_string(),
        });
        match self {
            QueryError::Sql { position: Some(position), .. } | QueryError::Search { position, .. } => {
                document["position"] =
                    json!({"line": position.line, "column": position.column, "offset": position.offset});
            }
            QueryError::BadArgument { argument, .. } => document["argument"] = json!(argument),
            _ => {}
        }
        document
    }
}

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        if self.status().is_server_error() && self.retry_after_s().is_none() {
            tracing::warn!(code = self.code(), detail = %self, "a question could not be answered");
        }
        let mut response = (self.status(), self.document().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
