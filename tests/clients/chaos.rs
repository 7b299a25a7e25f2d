//! A proxy in front of Shipwake that goes wrong as planned: the first request of each signal is refused with a given answer,
//! or taken and its answer lost. Everything after that passes. It speaks HTTP/1 and HTTP/2 like the server behind it, and
//! notes what it saw.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

use crate::harness::Shipwake;

/// In front of a gRPC message: whether it is compressed, and its length.
const GRPC_FRAME_HEADER_BYTES: usize = 5;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An HTTP status, with a `Retry-After` of so many seconds.
    Http(u16, Option<u64>),
    /// A gRPC status, with a `RetryInfo` of so many seconds.
    Grpc(tonic::Code, Option<u64>),
    /// Shipwake has taken it and answered, and the connection breaks before the client hears of it.
    AnswerLost,
}

/// One request that came, and whether Shipwake got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub signal: &'static str,
    /// The export request, as protobuf.
    pub message: Bytes,
    pub passed: bool,
}

pub struct Chaos {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    faults: Mutex<HashMap<&'static str, Fault>>,
    seen: Mutex<Vec<Seen>>,
    behind: Channel,
}

impl Chaos {
    /// Listens in front of `shipwake`. `faults` are for the first request of logs, metrics and traces.
    pub async fn start(shipwake: &Shipwake, faults: [Fault; 3]) -> Chaos {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        // The HTTP port answers gRPC as well, so one connection carries both.
        let behind = Endpoint::from_shared(shipwake.http()).expect("an address").connect_lazy();
        let faults = Mutex::new(["logs", "metrics", "traces"].into_iter().zip(faults).collect());
        let shared = Arc::new(Shared { faults, seen: Mutex::default(), behind });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, shared.clone())));
        Chaos { address, shared, stop }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, shared.clone()));
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let cut = CancellationToken::new();
    let service = service_fn({
        let cut = cut.clone();
        move |request| answer(request, shared.clone(), cut.clone())
    });
    let builder = Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    // Dropping it closes the socket, whatever was being said on it.
    cut.run_until_cancelled(serving).await;
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    cut: CancellationToken,
) -> Result<Response<Body>, Infallible> {
    let signal = signal_of(request.uri().path());
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("clients finish what they send").to_bytes();
    let fault = shared.faults.lock().expect("nobody panics with it").remove(signal);
    let passed = matches!(fault, None | Some(Fault::AnswerLost));
    let is_grpc =
        parts.headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let message = body.slice(if is_grpc { GRPC_FRAME_HEADER_BYTES } else { 0 }..);
    shared.seen.lock().expect("nobody panics with it").push(Seen { signal, message, passed });
    match fault {
        Some(Fault::Http(status, seconds)) => Ok(http_refusal(status, seconds)),
        Some(Fault::Grpc(code, seconds)) => Ok(grpc_refusal(code, seconds)),
        Some(Fault::AnswerLost) => {
            let response = forward(&shared.behind, parts, body).await;
            assert!(response.status().is_success(), "not taken: {}", response.status());
            cut.cancel();
            std::future::pending().await
        }
        None => Ok(forward(&shared.behind, parts, body).await),
    }
}

fn signal_of(path: &str) -> &'static str {
    let signals = [("logs", "LogsService"), ("metrics", "MetricsService"), ("traces", "TraceService")];
    let found = signals.into_iter().find(|(name, service)| path.ends_with(name) || path.contains(service));
    found.unwrap_or_else(|| panic!("a client asked for {path}")).0
}

async fn forward(behind: &Channel, mut parts: http::request::Parts, body: Bytes) -> Response<Body> {
    // These belong to one connection, and the next one is HTTP/2.
    for name in ["connection", "keep-alive", "transfer-encoding", "host", "content-length"] {
        parts.headers.remove(name);
    }
    parts.version = http::Version::HTTP_2;
    let request = Request::from_parts(parts, Body::new(Full::new(body)));
    let response = behind.clone().oneshot(request).await.expect("Shipwake runs");
    response.map(Body::new)
}

fn http_refusal(status: u16, seconds: Option<u64>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    if let Some(seconds) = seconds {
        response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    response
}

fn grpc_refusal(code: tonic::Code, seconds: Option<u64>) -> Response<Body> {
    let details = seconds.map(|seconds| RpcStatus::with_retry_after(code, seconds).encode_to_vec().into());
    tonic::Status::with_details(code, "as planned", details.unwrap_or_default()).into_http()
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Seconds>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Seconds {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

impl RpcStatus {
    fn with_retry_after(code: tonic::Code, seconds: u64) -> RpcStatus {
        let retry = RetryInfo { retry_delay: Some(Seconds { seconds: seconds as i64 }) };
        let detail = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: retry.encode_to_vec() };
        RpcStatus { code: code.into(), message: "as planned".into(), details: vec![detail] }
    }
}
