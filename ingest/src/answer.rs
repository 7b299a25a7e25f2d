//! How OTLP over HTTP is answered: in the sender's own form, protobuf or JSON. `error.rs` says what, this file says how.

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use shipwake_model::Signal;
use shipwake_otlp::write::{Status, partial_success};

use crate::error::{IngestError, Kind, shortened};
use crate::hint;
use crate::produce::Outcome;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The form of a request, and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Protobuf,
    Json,
}

impl Form {
    /// What a request's body is.
    pub(crate) fn of_request(headers: &HeaderMap) -> Result<Self, IngestError> {
        match media_type(headers) {
            found if found.eq_ignore_ascii_case(PROTOBUF) => Ok(Form::Protobuf),
            found if found.eq_ignore_ascii_case(JSON) => Ok(Form::Json),
            found => Err(IngestError::ContentType {
                found: shortened(found),
                expected: "OTLP is taken as application/x-protobuf or application/json",
            }),
        }
    }

    /// What an answer is written in. A sender whose form is not known, such as a person with curl, gets JSON.
    pub(crate) fn of_answer(headers: &HeaderMap) -> Self {
        Form::of_request(headers).unwrap_or(Form::Json)
    }

    /// The answer when records were taken, or none were sent. `remark` is what the sender should know besides; on full
    /// success there is none, because some clients report an error on any `partial_success`.
    pub(crate) fn success(self, signal: Signal, outcome: &Outcome, remark: Option<&str>) -> Response {
        let rejected = outcome.rejected.total();
        let mut message = if rejected > 0 { outcome.rejected.message() } else { String::new() };
        if let Some(remark) = remark {
            message = if message.is_empty() { remark.to_owned() } else { format!("{message}; {remark}") };
        }
        match self {
            Form::Protobuf => respond(StatusCode::OK, PROTOBUF, partial_success(rejected, &message)),
            Form::Json if rejected == 0 && message.is_empty() => respond(StatusCode::OK, JSON, b"{}".to_vec()),
            Form::Json => {
                let name = match signal {
                    Signal::Logs => "rejectedLogRecords",
                    Signal::Metrics => "rejectedDataPoints",
                    Signal::Traces => "rejectedSpans",
                };
                // A 64-bit integer is a string in protobuf's JSON.
                let partial = json!({ name: rejected.to_string(), "errorMessage": message });
                respond(StatusCode::OK, JSON, json!({ "partialSuccess": partial }).to_string().into_bytes())
            }
        }
    }

    /// A `google.rpc.Status` with its HTTP status and the headers that belong to it.
    pub(crate) fn refusal(self, error: &IngestError) -> Response {
        let (kind, message) = (error.kind(), error.to_string());
        let code = i32::from(kind.grpc());
        let mut response = match self {
            Form::Protobuf => {
                let status = Status { code, message: &message, retry_after: None, violations: &[] };
                respond(kind.http(), PROTOBUF, status.encode())
            }
            Form::Json => {
                let status = json!({ "code": code, "message": message });
                respond(kind.http(), JSON, status.to_string().into_bytes())
            }
        };
        add_hints(&mut response, error);
        response
    }
}

/// The body's declared type without parameters; empty when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim()
}

/// The headers that belong to an error, in every HTTP protocol.
pub(crate) fn add_hints(response: &mut Response, error: &IngestError) {
    let headers = response.headers_mut();
    match error.kind() {
        Kind::Passing => drop(headers.insert(RETRY_AFTER, HeaderValue::from(hint::retry_after_s()))),
        Kind::Method => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
        _ => {}
    }
    if matches!(error, IngestError::Encoding { .. }) {
        headers.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity"));
    }
}

pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
