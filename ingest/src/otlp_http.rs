//! OTLP over HTTP: `POST /v1/logs`, `/v1/metrics` and `/v1/traces` with protobuf bodies.
//!
//! Every answer follows the OTLP specification: an empty `Export…ServiceResponse` on full success, `partial_success` when
//! records were rejected, `google.rpc.Status` otherwise, with `Retry-After` where the sender should come again. Cross-origin
//! requests get no permission. The status codes come from `error.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::routing::any;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;
use shipwake_model::Signal;
use shipwake_otlp::write::{Status, partial_success};

use crate::body::{Collector, Deadlines, discard, read_body};
use crate::decode::Rejected;
use crate::error::{IngestError, Kind, shortened};
use crate::hint;
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::produce::{Delivery, Outcome, deliver};
use crate::split::{Repetition, hash_of_key};
use crate::wrong_path;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// A key that a client chose to mark repetitions of a request with.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longest idempotency key in bytes.
const KEY_BYTES_MAX: usize = 256;

pub(crate) fn router(core: &Arc<Core>) -> Router {
    let route = |signal: Signal| {
        let core = core.clone();
        any(move |request: Request| export(core, signal, request))
    };
    Router::new()
        .route("/v1/logs", route(Signal::Logs))
        .route("/v1/metrics", route(Signal::Metrics))
        .route("/v1/traces", route(Signal::Traces))
}

/// The answer for a path that does not exist on the senders' ports. Counted and shown like every refusal: a sender with a
/// wrong endpoint sees its own errors, but the person who set it up looks here.
pub(crate) async fn not_found(core: Arc<Core>, request: Request) -> Response {
    let path = request.uri().path();
    let error = IngestError::NotFound { path: shortened(path), known: wrong_path::advice(path) };
    core.note_refused(None, &error);
    if crate::otlp_grpc::is_grpc(request.headers()) {
        return crate::otlp_grpc::refusal(&error);
    }
    refusal(&error, answers_protobuf(request.headers()))
}

async fn export(core: Arc<Core>, signal: Signal, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let protobuf = answers_protobuf(&parts.headers);
    match receive(&core, signal, &parts, &mut body).await {
        Ok(outcome) => success(&outcome),
        Err(error) => {
            core.note_refused(Some(signal), &error);
            leave(&parts, &mut body).await;
            refusal(&error, protobuf)
        }
    }
}

async fn receive(
    core: &Arc<Core>,
    signal: Signal,
    parts: &http::request::Parts,
    body: &mut Body,
) -> Result<Outcome, IngestError> {
    if parts.method != Method::POST {
        return Err(IngestError::Method { found: shortened(parts.method.as_str()) });
    }
    check_content_type(&parts.headers)?;
    let repetition = match idempotency_key(&parts.headers)? {
        Some(key) => Repetition::ByKey(hash_of_key(&core.tenant, signal.as_str(), key)),
        None => Repetition::ByBytes,
    };
    let deadlines = Deadlines::starting_now(&core.config);
    let encoding = Encoding::from_header(parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    let journal = core.journal.wait(deadlines.hold).await?;
    let limit = core.config.message_bytes_max;
    let collector =
        Collector::new(&core.budget, encoding, declared_length(&parts.headers), limit, 1, deadlines.hold).await?;
    let (bytes, grant) = read_body(body, collector, &deadlines).await?;
    let delivery = Delivery {
        signal,
        client_bytes: bytes.len() as u64,
        request: bytes,
        grant,
        peer: peer_of(parts),
        repetition,
        rejected_before: Rejected::default(),
    };
    deliver(core, journal, delivery).await
}

/// Reads what is left of a refused body, unless the client waits for permission to send it.
pub(crate) async fn leave(parts: &http::request::Parts, body: &mut Body) {
    if !parts.headers.contains_key(EXPECT) && parts.version < http::Version::HTTP_2 {
        discard(body).await;
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), IngestError> {
    let found = media_type(headers);
    if found.eq_ignore_ascii_case(PROTOBUF) {
        return Ok(());
    }
    let expected = if found.eq_ignore_ascii_case(JSON) {
        "OTLP in JSON is not taken by this version: set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or grpc"
    } else {
        "OTLP is taken as application/x-protobuf"
    };
    Err(IngestError::ContentType { found: shortened(found), expected })
}

/// The body's declared type without parameters; empty when there is none.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim()
}

/// An error is told in the sender's own encoding. A sender without any, such as a person with curl, gets JSON.
fn answers_protobuf(headers: &HeaderMap) -> bool {
    media_type(headers).eq_ignore_ascii_case(PROTOBUF)
}

pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The sender's address without its port, which changes with every connection.
pub(crate) fn peer_of(parts: &http::request::Parts) -> Option<Arc<str>> {
    let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip().to_canonical().to_string().into())
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, IngestError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY).map(HeaderValue::as_bytes) else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let reason = format!("must have 1 to {KEY_BYTES_MAX} bytes");
        return Err(IngestError::Malformed { what: "bad Idempotency-Key header", reason });
    }
    Ok(Some(key))
}

fn success(outcome: &Outcome) -> Response {
    let rejected = outcome.rejected.total();
    let message = if rejected > 0 { outcome.rejected.message() } else { String::new() };
    respond(StatusCode::OK, PROTOBUF, partial_success(rejected, &message))
}

fn refusal(error: &IngestError, protobuf: bool) -> Response {
    let (kind, message) = (error.kind(), error.to_string());
    let code = i32::from(kind.grpc());
    let mut response = if protobuf {
        let status = Status { code, message: &message, retry_after: None, violations: &[] };
        respond(kind.http(), PROTOBUF, status.encode())
    } else {
        respond(kind.http(), JSON, json!({ "code": code, "message": message }).to_string().into_bytes())
    };
    add_hints(&mut response, error);
    response
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
