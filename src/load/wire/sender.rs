//! The sockets of a sender: one connection, OTLP/gRPC or OTLP/HTTP with protobuf, optionally gzip.
//!
//! Bodies are encoded before they come here; gRPC passes them through a codec that copies bytes. Nothing here decides:
//! answers are read by [`super::answer`], repeats are the caller's.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use bytes::{Buf, BufMut, Bytes};
use shipwake_model::Signal;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

use super::Answer;
use super::answer::{of_grpc_status, of_http_status, of_success};

/// The SDKs' default for one export.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

type Cause = dyn std::error::Error + 'static;

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf bodies.
    Http,
}

/// One connection to a receiver. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Sender {
    gzip: bool,
    transport: Transport,
}

#[derive(Clone)]
enum Transport {
    Grpc(Channel),
    Http { client: reqwest::Client, base: String },
}

impl Sender {
    /// A sender to `endpoint` (`http://host:port`) that connects at the first request.
    ///
    /// # Errors
    /// When the endpoint is not a URL.
    pub fn new(protocol: Protocol, endpoint: &str, gzip: bool, user_agent: &str) -> anyhow::Result<Self> {
        let transport = match protocol {
            Protocol::Grpc => Transport::Grpc(
                Endpoint::from_shared(endpoint.to_owned())
                    .and_then(|endpoint| endpoint.user_agent(user_agent.to_owned()))
                    .with_context(|| format!("`{endpoint}` is not an endpoint like http://127.0.0.1:4317"))?
                    .connect_timeout(CONNECT_WITHIN)
                    .tcp_nodelay(true)
                    .connect_lazy(),
            ),
            Protocol::Http => Transport::Http {
                client: reqwest::Client::builder()
                    .user_agent(user_agent)
                    .connect_timeout(CONNECT_WITHIN)
                    .timeout(ANSWER_WITHIN)
                    .tcp_nodelay(true)
                    .no_proxy()
                    .build()
                    .context("failed to make an HTTP client")?,
                base: endpoint.trim_end_matches('/').to_owned(),
            },
        };
        Ok(Self { gzip, transport })
    }

    /// Sends one encoded export request and waits for the answer, ten seconds at the most.
    pub async fn send(&self, signal: Signal, body: Bytes) -> Answer {
        match &self.transport {
            Transport::Grpc(channel) => self.send_grpc(channel.clone(), signal, body).await,
            Transport::Http { client, base } => self.send_http(client, base, signal, body).await,
        }
    }

    async fn send_grpc(&self, channel: Channel, signal: Signal, body: Bytes) -> Answer {
        let mut grpc = Grpc::new(channel);
        if self.gzip {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
        }
        let mut request = tonic::Request::new(body);
        request.set_timeout(ANSWER_WITHIN);
        let export = async {
            grpc.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
            grpc.unary(request, PathAndQuery::from_static(grpc_path(signal)), RawCodec).await
        };
        match tokio::time::timeout(ANSWER_WITHIN, export).await {
            Err(_) => Answer::Lost { reason: "no answer in time".to_owned() },
            Ok(Ok(response)) => of_success(signal, response.get_ref()),
            // A status that the server sent has no source; one that was made from a broken connection names its cause.
            Ok(Err(status)) => match std::error::Error::source(&status) {
                Some(cause) => unanswered(cause, chain(cause).any(|cause| cause.is::<tonic::ConnectError>())),
                None => of_grpc_status(status.code(), status.message(), status.details()),
            },
        }
    }

    async fn send_http(&self, client: &reqwest::Client, base: &str, signal: Signal, body: Bytes) -> Answer {
        let mut request =
            client.post(format!("{base}/v1/{}", signal.as_str())).header("content-type", "application/x-protobuf");
        if self.gzip {
            request = request.header("content-encoding", "gzip").body(gzipped(&body));
        } else {
            request = request.body(body);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return unanswered(&error, error.is_connect()),
        };
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        match response.bytes().await {
            Ok(body) if status == 200 => of_success(signal, &body),
            Ok(body) => of_http_status(status, retry_after.as_deref(), &body),
            Err(error) => unanswered(&error, false),
        }
    }
}

fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    }
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to a vector cannot fail")
}

/// What a failure of the connection says: where none came about, nothing was sent.
fn unanswered(error: &Cause, never_connected: bool) -> Answer {
    let reason = chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    match never_connected {
        true => Answer::Refused { retryable: true, hint: None, maybe_taken: false, reason },
        false => Answer::Lost { reason },
    }
}

/// The error and its causes.
fn chain(error: &Cause) -> impl Iterator<Item = &Cause> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Passes messages through as bytes: they were encoded before.
#[derive(Clone, Copy, Debug, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
