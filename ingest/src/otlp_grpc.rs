//! OTLP over gRPC: the three `Export` methods.
//!
//! The message frame is read here and not by tonic's codec, for two reasons. That codec reserves what a frame declares
//! before anything can refuse it, and it answers an over-long message with OUT_OF_RANGE, which OTLP clients repeat for ever,
//! and a broken one with INTERNAL. Here a message goes through the same budget and the same decoder as an HTTP body, and
//! errors are told by the table in `error.rs`. HTTP/2 itself is hyper's, and statuses are written by tonic.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use shipwake_model::Signal;
use shipwake_otlp::write;

use crate::admission::Grant;
use crate::body::{Collector, Deadlines, next_chunk};
use crate::decode::Rejected;
use crate::error::{IngestError, Kind, shortened};
use crate::hint;
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::otlp_http::peer_of;
use crate::produce::{Delivery, Origin, Outcome, deliver};
use crate::sender::{Sender, Senders};
use crate::split::Repetition;

const GRPC: &str = "application/grpc";
/// One byte that says whether the message is compressed, and four with its length.
const FRAME_HEADER_BYTES: usize = 5;

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

pub(crate) fn router(core: &Arc<Core>) -> Router {
    let route = |signal: Signal| {
        let core = core.clone();
        any(move |request: Request| export(core, signal, request))
    };
    Router::new()
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", route(Signal::Logs))
        .route("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", route(Signal::Metrics))
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", route(Signal::Traces))
}

/// Whether the sender speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = value.strip_prefix(GRPC.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+proto") || rest.starts_with(b";"))
}

async fn export(core: Arc<Core>, signal: Signal, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    if parts.method != Method::POST || !is_grpc(&parts.headers) {
        let mut response = Response::new(Body::from("this method takes OTLP over gRPC (application/grpc)\n"));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match receive(&core, signal, &parts, &mut body).await {
        Ok(outcome) => success(&outcome),
        Err(error) => {
            core.note_refused(Some(signal), &error);
            refusal(&error)
        }
    }
}

async fn receive(
    core: &Arc<Core>,
    signal: Signal,
    parts: &http::request::Parts,
    body: &mut Body,
) -> Result<Outcome, IngestError> {
    let deadlines = Deadlines::starting_now(&core.config);
    let encoding = Encoding::from_header(parts.headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes))?;
    let journal = core.journal.wait(deadlines.hold).await?;
    let (bytes, grant) = read_message(core, body, encoding, &deadlines).await?;
    let delivery = Delivery {
        signal,
        client_bytes: bytes.len() as u64,
        request: bytes,
        grant,
        peer: peer_of(parts),
        repetition: Repetition::ByBytes,
        rejected_before: Rejected::default(),
        senders: Senders::of_headers(Sender::OtlpGrpc, &parts.headers),
        origin: Origin::Client,
    };
    deliver(core, journal, delivery).await
}

/// Reads the one message of a unary call.
async fn read_message(
    core: &Core,
    body: &mut Body,
    encoding: Encoding,
    deadlines: &Deadlines,
) -> Result<(Bytes, Grant), IngestError> {
    let (packed, length, mut first) = read_frame_header(body, deadlines).await?;
    // A client that asked for compression may still send a small message uncompressed: the flag decides.
    let encoding = match (packed, encoding) {
        (false, _) => Encoding::Identity,
        (true, Encoding::Identity) => {
            return Err(frame_error("the message is marked as compressed, but grpc-encoding names no compression"));
        }
        (true, encoding) => encoding,
    };
    let limit = core.config.message_bytes_max;
    let mut collector = Collector::new(&core.budget, encoding, Some(length), limit, 1, deadlines).await?;
    let mut left = length as usize;
    loop {
        if first.len() > left {
            return Err(frame_error("the call holds more than one message"));
        }
        left -= first.len();
        collector.push(&first).await?;
        match collector.next_chunk(body, deadlines).await? {
            Some(chunk) => first = chunk,
            None if left > 0 => return Err(frame_error("the message ends early")),
            None => return collector.finish().await,
        }
    }
}

/// Whether the message is compressed, its length, and the bytes behind the header that came with it.
async fn read_frame_header(body: &mut Body, deadlines: &Deadlines) -> Result<(bool, u64, Bytes), IngestError> {
    let mut start = BytesMut::new();
    while start.len() < FRAME_HEADER_BYTES {
        match next_chunk(body, deadlines).await? {
            Some(chunk) => start.extend_from_slice(&chunk),
            None if start.is_empty() => return Err(frame_error("the call has no message")),
            None => return Err(frame_error("the message ends early")),
        }
    }
    let packed = match start.get_u8() {
        0 => false,
        1 => true,
        _ => return Err(frame_error("the compressed flag is neither 0 nor 1")),
    };
    let length = u64::from(start.get_u32());
    Ok((packed, length, start.freeze()))
}

fn frame_error(reason: &str) -> IngestError {
    IngestError::Malformed { what: "broken gRPC message", reason: reason.to_owned() }
}

fn success(outcome: &Outcome) -> Response {
    let rejected = outcome.rejected.total();
    let message = if rejected > 0 { outcome.rejected.message() } else { String::new() };
    let message = write::partial_success(rejected, &message);
    let mut data = Vec::with_capacity(FRAME_HEADER_BYTES + message.len());
    data.push(0);
    data.extend_from_slice(&(message.len() as u32).to_be_bytes());
    data.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from(data))), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(Body::new(StreamBody::new(futures::stream::iter(frames))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    response
}

/// A gRPC answer without a message: status, text and details in the headers.
pub(crate) fn refusal(error: &IngestError) -> Response {
    let (code, text) = (error.kind().grpc(), shortened_message(error));
    let passing = error.kind() == Kind::Passing;
    let violations = [write::Violation { field: "", description: &text }];
    let details = write::Status {
        code: i32::from(code),
        message: &text,
        retry_after: passing.then(hint::retry_delay),
        violations: if error.kind() == Kind::Invalid { &violations } else { &[] },
    };
    let status = tonic::Status::with_details(code, text.as_str(), Bytes::from(details.encode()));
    let mut response: Response = status.into_http();
    if matches!(error, IngestError::Encoding { .. }) {
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
    }
    response
}

/// The text of an error, short enough for a header that proxies let through.
fn shortened_message(error: &IngestError) -> String {
    error.to_string().split('\n').map(shortened_line).collect::<Vec<_>>().join(" ")
}

fn shortened_line(line: &str) -> String {
    if line.len() <= 500 { line.to_owned() } else { shortened(line) }
}
