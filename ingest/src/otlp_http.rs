//! OTLP over HTTP: `POST /v1/logs`, `/v1/metrics` and `/v1/traces` with bodies in protobuf or JSON.
//!
//! Every answer follows the OTLP specification: an empty `Export…ServiceResponse` on full success, `partial_success` when
//! records were rejected, `google.rpc.Status` otherwise, with `Retry-After` where the sender should come again. Cross-origin
//! requests get no permission. The status codes come from `error.rs`, the form of an answer from `answer.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::routing::any;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HeaderMap};
use http::{HeaderValue, Method};
use shipwake_model::Signal;

use crate::answer::Form;
use crate::body::{Collector, Deadlines, discard, read_body};
use crate::decode::Rejected;
use crate::error::{IngestError, shortened};
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::produce::{Delivery, Origin, Outcome, deliver};
use crate::sender::{Sender, Senders};
use crate::split::{Repetition, hash_of_key};
use crate::transcode::transcode;
use crate::wrong_path;

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
    // Nobody sends telemetry with another method: that is a person with a browser, or somebody's probe.
    if request.method() == Method::POST {
        core.note_refused(None, &error);
    }
    if crate::otlp_grpc::is_grpc(request.headers()) {
        return crate::otlp_grpc::refusal(&error);
    }
    Form::of_answer(request.headers()).refusal(&error)
}

async fn export(core: Arc<Core>, signal: Signal, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let form = Form::of_answer(&parts.headers);
    match receive(&core, signal, &parts, &mut body).await {
        Ok((outcome, remark)) => form.success(signal, &outcome, remark.as_deref()),
        Err(error) => {
            core.note_refused(Some(signal), &error);
            leave(&parts, &mut body).await;
            form.refusal(&error)
        }
    }
}

async fn receive(
    core: &Arc<Core>,
    signal: Signal,
    parts: &http::request::Parts,
    body: &mut Body,
) -> Result<(Outcome, Option<String>), IngestError> {
    if parts.method != Method::POST {
        return Err(IngestError::Method { found: shortened(parts.method.as_str()) });
    }
    let form = Form::of_request(&parts.headers)?;
    let repetition = match idempotency_key(&parts.headers)? {
        Some(key) => Repetition::ByKey(hash_of_key(&core.tenant, signal.as_str(), key)),
        None => Repetition::ByBytes,
    };
    let deadlines = Deadlines::starting_now(&core.config);
    let encoding = Encoding::from_header(parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    let journal = core.journal.wait(deadlines.hold).await?;
    let limit = core.config.message_bytes_max;
    let collector =
        Collector::new(&core.budget, encoding, declared_length(&parts.headers), limit, 1, &deadlines).await?;
    let (bytes, mut grant) = read_body(body, collector, &deadlines).await?;
    let client_bytes = bytes.len() as u64;
    let (request, remark) = match form {
        Form::Protobuf => (bytes, None),
        Form::Json => transcode(core, signal, bytes, &mut grant, deadlines.hold).await?,
    };
    let delivery = Delivery {
        signal,
        client_bytes,
        request,
        grant,
        peer: peer_of(parts),
        repetition,
        rejected_before: Rejected::default(),
        senders: Senders::of_headers(Sender::OtlpHttp, &parts.headers),
        origin: Origin::Client,
    };
    deliver(core, journal, delivery).await.map(|outcome| (outcome, remark))
}

/// Reads what is left of a refused body, unless the client waits for permission to send it.
pub(crate) async fn leave(parts: &http::request::Parts, body: &mut Body) {
    if !parts.headers.contains_key(EXPECT) && parts.version < http::Version::HTTP_2 {
        discard(body).await;
    }
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
