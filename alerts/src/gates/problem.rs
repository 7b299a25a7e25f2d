//! Errors of the gates as RFC 9457 `application/problem+json`: the one place that knows their status codes.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why there is no answer. A caller does something different for each.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Problem {
    /// An argument is missing, unknown, or cannot be what it says.
    #[error("{detail}")]
    Argument {
        /// Which one.
        argument: String,
        /// What is wrong with it, and what might have been meant.
        detail: String,
    },
    /// The body is not what is expected.
    #[error("{0}")]
    Body(String),
    /// The question fits several releases; more words make it one.
    #[error("{detail}")]
    Ambiguous {
        /// What has to be said besides.
        detail: String,
        /// What it can be.
        choices: Vec<String>,
    },
    /// Another method is wanted.
    #[error("{0} is not answered here")]
    Method(String),
    /// No such release, or nothing of this name.
    #[error("{0}")]
    NotFound(String),
    /// Not now: nothing is known yet.
    #[error("{0}")]
    NotYet(String),
    /// A signature is missing or wrong.
    #[error("{0}")]
    Forbidden(String),
    /// As much as there may be waits already, or it could not be written down.
    #[error("{0}")]
    Busy(String),
}

impl Problem {
    /// An argument that is wrong.
    pub fn argument(argument: &str, detail: impl Into<String>) -> Self {
        Problem::Argument { argument: argument.to_owned(), detail: detail.into() }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Problem::Argument { .. } | Problem::Body(_) | Problem::Ambiguous { .. } => StatusCode::BAD_REQUEST,
            Problem::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Problem::NotFound(_) => StatusCode::NOT_FOUND,
            Problem::Forbidden(_) => StatusCode::FORBIDDEN,
            Problem::NotYet(_) | Problem::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> (&'static str, &'static str) {
        match self {
            Problem::Argument { .. } => ("bad-argument", "An argument is not understood"),
            Problem::Body(_) => ("bad-request", "The request is not understood"),
            Problem::Ambiguous { .. } => ("ambiguous", "Several releases fit"),
            Problem::Method(_) => ("method", "Another method is wanted"),
            Problem::NotFound(_) => ("not-found", "Not found"),
            Problem::NotYet(_) => ("starting", "Nothing is known yet"),
            Problem::Forbidden(_) => ("forbidden", "The signature does not fit"),
            Problem::Busy(_) => ("busy", "Not now"),
        }
    }

    fn document(&self) -> Value {
        let (code, title) = self.code();
        let mut document = json!({
            "type": format!("urn:shipwake:problem:{code}"),
            "title": title,
            "status": self.status().as_u16(),
            "detail": self.to_string(),
        });
        match self {
            Problem::Argument { argument, .. } => document["argument"] = json!(argument),
            Problem::Ambiguous { choices, .. } => document["choices"] = json!(choices),
            _ => {}
        }
        document
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = respond(self.status(), "application/problem+json", self.document().to_string());
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

/// An answer that no cache keeps and no browser takes for something else.
pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    ];
    (status, headers, body).into_response()
}

/// An answer in JSON.
pub(crate) fn json_answer(status: StatusCode, body: &Value) -> Response {
    respond(status, "application/json", body.to_string())
}

/// An answer in words, for tools that show the body of what they do not like. A line end keeps terminals in order.
pub(crate) fn text_answer(status: StatusCode, text: &str) -> Response {
    respond(status, "text/plain; charset=utf-8", format!("{}\n", text.trim_end()))
}
