//! `POST /api/v1/write`: what a Prometheus writes to a remote, 1.0 and 2.0. Samples become an OTLP metrics request and take
//! the same way as every other.
//!
//! `?service=&version=&environment=` says whose the metrics are, where the labels do not (`identity.rs` has the rules). The
//! answers are those of the specification: no body on success, 400 with a text when something was not kept (what could be
//! kept is kept, and must not be sent again), 415 for another message or compression, 503 with `Retry-After` for what may
//! come again. In 2.0 headers count what was written.
//!
//! 1.0 says what metrics are in requests of their own; `metadata.rs` remembers it. A repetition is recognised by the sender's
//! bytes, not by what became of them, which that memory may have changed.
//!
//! Nothing is allocated on the word of a length in the request: the snappy header's first, then each step's need.

mod classic;
mod convert;
mod family;
mod identity;
mod metadata;
mod metrics;
mod native;
mod read;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use shipwake_model::{Signal, release};
use tokio::time::Instant;

use crate::admission::Grant;
use crate::answer::{add_hints, media_type, respond};
use crate::body::{Collector, Deadlines, read_body};
use crate::error::{IngestError, shortened};
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::otlp_http::{declared_length, idempotency_key, leave, peer_of};
use crate::produce::{Delivery, Origin, Outcome, deliver};
use crate::sender::{Sender, Senders};
use crate::split::{Repetition, hash_of_key};

use convert::Converted;
use identity::Defaults;
pub(crate) use metadata::Metadata;
pub(crate) use metrics::RemoteWriteMetrics;
use read::{Batch, Protocol};

/// The NaN by which Prometheus says that a series has ended.
const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
/// A block of snappy makes at most so many bytes of one: what claims more is broken.
const SNAPPY_RATIO_MAX: usize = 64;
/// Bodies above this are converted on a blocking thread: about half a millisecond of work.
const INLINE_BYTES_MAX: usize = 64 << 10;

fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new().route("/api/v1/write", any(move |request: Request| post(core.clone(), request)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    service: Option<String>,
    version: Option<String>,
    environment: Option<String>,
}

/// What was written, in the sender's units. Exemplars never are.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    samples: u64,
    histograms: u64,
}

/// What a request brought.
#[derive(Clone, Copy, Debug, Default)]
struct Brought {
    samples: u64,
    histograms: u64,
    exemplars: u64,
}

/// What became of a request that could be read.
struct Taken {
    outcome: Outcome,
    written: Written,
}

async fn post(core: Arc<Core>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let protocol = protocol_of(&parts.headers);
    let (mut response, written) = match receive(&core, &parts, &mut body).await {
        Ok(Taken { outcome, written }) if outcome.rejected.total() == 0 => {
            (respond(StatusCode::OK, "text/plain; charset=utf-8", Vec::new()), written)
        }
        Ok(Taken { outcome, written }) => {
            let text = format!(
                "{} not kept, {} kept: {}",
                outcome.rejected.total(),
                outcome.accepted,
                outcome.rejected.message()
            );
            (respond(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", text.into_bytes()), written)
        }
        Err(error) => {
            core.note_refused(Some(Signal::Metrics), &error);
            leave(&parts, &mut body).await;
            let mut response =
                respond(error.kind().http(), "text/plain; charset=utf-8", error.to_string().into_bytes());
            add_hints(&mut response, &error);
            (response, Written::default())
        }
    };
    if matches!(protocol, Ok(Protocol::V2)) {
        add_written(&mut response, written);
    }
    response
}

fn add_written(response: &mut Response, written: Written) {
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", written.samples),
        ("x-prometheus-remote-write-histograms-written", written.histograms),
        ("x-prometheus-remote-write-exemplars-written", 0),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(count));
    }
}

async fn receive(core: &Arc<Core>, parts: &http::request::Parts, body: &mut Body) -> Result<Taken, IngestError> {
    if parts.method != Method::POST {
        return Err(IngestError::Method { found: shortened(parts.method.as_str()) });
    }
    let protocol = protocol_of(&parts.headers)?;
    check_encoding(&parts.headers)?;
    let Query(parameters) = Query::<Parameters>::try_from_uri(&parts.uri).map_err(|error| IngestError::Malformed {
        what: "bad query",
        reason: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
    })?;
    let key = idempotency_key(&parts.headers)?.map(|key| hash_of_key(&core.tenant, "remote-write", key));
    let query = parts.uri.query().unwrap_or_default();
    let deadlines = Deadlines::starting_now(&core.config);
    let journal = core.journal.wait(deadlines.hold).await?;
    let (limit, declared) = (core.config.message_bytes_max, declared_length(&parts.headers));
    let collector = Collector::new(&core.budget, Encoding::Identity, declared, limit, 1, &deadlines).await?;
    let (packed, mut grant) = read_body(body, collector, &deadlines).await?;

    let (work, client_bytes) = unpack(core, &packed, &mut grant, deadlines.hold).await?;
    drop(packed);
    let peer = peer_of(parts);
    let key = match key {
        Some(key) => key,
        None => {
            let of_query = hash_of_key(&core.tenant, "remote-write by content", query.as_bytes());
            let bytes = work.clone();
            blocking(work.len(), move || hash_of_key(&of_query.to_string(), "content", &bytes)).await
        }
    };
    let sender = metadata::sender(peer.as_deref(), query);
    let job = Job { bytes: work, protocol, defaults: defaults_of(&parameters), sender };
    let (converted, totals) = job.run(core, &mut grant, deadlines.hold).await?;
    core.metrics.remote_write().not_kept(totals.exemplars, converted.histograms_rounded);
    grant.settle(converted.request.len());
    let delivery = Delivery {
        signal: Signal::Metrics,
        request: Bytes::from(converted.request),
        client_bytes,
        grant,
        peer,
        repetition: Repetition::ByKey(key),
        rejected_before: converted.rejected,
        senders: Senders::one(Sender::RemoteWrite),
        origin: Origin::Client,
    };
    let outcome = deliver(core, journal, delivery).await?;
    // What was rejected behind the conversion were single points, of samples more often than of histograms.
    let rejected = outcome.rejected.total();
    let histograms = totals.histograms - converted.histograms_rejected;
    let samples = totals.samples - (rejected - converted.histograms_rejected).min(totals.samples);
    Ok(Taken { outcome, written: Written { samples, histograms } })
}

/// Which message the headers announce.
fn protocol_of(headers: &HeaderMap) -> Result<Protocol, IngestError> {
    let whole = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let refused = |expected| Err(IngestError::ContentType { found: shortened(whole), expected });
    if !media_type(headers).eq_ignore_ascii_case("application/x-protobuf") {
        return refused("remote-write is taken as application/x-protobuf");
    }
    let parameters = whole.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let proto = parameters.map(|(name, value)| (name.trim(), value.trim().trim_matches('"')));
    match proto.filter(|(name, _)| name.eq_ignore_ascii_case("proto")).map(|(_, value)| value).next() {
        None | Some("prometheus.WriteRequest") => Ok(Protocol::V1),
        Some("io.prometheus.write.v2.Request") => Ok(Protocol::V2),
        Some(_) => refused("messages are prometheus.WriteRequest and io.prometheus.write.v2.Request"),
    }
}

fn check_encoding(headers: &HeaderMap) -> Result<(), IngestError> {
    // Early senders left the header out.
    let found = headers.get(CONTENT_ENCODING).map_or("snappy", |value| value.to_str().unwrap_or(""));
    if found.trim().eq_ignore_ascii_case("snappy") {
        return Ok(());
    }
    Err(IngestError::ContentType { found: shortened(found), expected: "remote-write is compressed with snappy" })
}

/// The bytes of the message, and how many there are.
async fn unpack(
    core: &Arc<Core>,
    packed: &Bytes,
    grant: &mut Grant,
    hold: Instant,
) -> Result<(Bytes, u64), IngestError> {
    let broken = |reason: String| IngestError::Malformed { what: "broken snappy body", reason };
    let len = snap::raw::decompress_len(packed).map_err(|error| broken(error.to_string()))?;
    let limit = core.config.message_bytes_max;
    if len > limit {
        return Err(IngestError::TooLarge { limit, when: "after decompression" });
    }
    if len > packed.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(broken("it claims more bytes than it can hold".to_owned()));
    }
    grant.grow((packed.len() + len).min(core.config.in_flight_bytes_max), false, hold).await?;
    let packed = packed.clone();
    let unpacked = blocking(len, move || snap::raw::Decoder::new().decompress_vec(&packed)).await;
    let unpacked = unpacked.map_err(|error| broken(error.to_string()))?;
    Ok((Bytes::from(unpacked), len as u64))
}

/// What is to be done with the bytes of a request.
#[derive(Clone)]
struct Job {
    bytes: Bytes,
    protocol: Protocol,
    defaults: Defaults,
    sender: u128,
}

impl Job {
    /// Measures, acquires what is needed, and converts.
    async fn run(
        self,
        core: &Arc<Core>,
        grant: &mut Grant,
        hold: Instant,
    ) -> Result<(Converted, Brought), IngestError> {
        let len = self.bytes.len();
        let (limit, room) = (core.config.message_bytes_max, core.config.in_flight_bytes_max);
        let reading = read::memory(&self.bytes, self.protocol)?;
        grant.grow(len.saturating_add(reading).min(room), false, hold).await?;
        let job = self.clone();
        let writing = blocking(len, move || convert::memory(&read::read(&job.bytes, job.protocol)?)).await?;
        if reading.max(writing) > limit {
            return Err(IngestError::TooLarge { limit, when: "as metric points" });
        }
        grant.grow(len.saturating_add(reading).saturating_add(writing).min(room), true, hold).await?;
        let core = core.clone();
        blocking(len, move || {
            let mut batch = read::read(&self.bytes, self.protocol)?;
            let said = core.metadata.exchange(self.sender, &batch);
            batch.fill_in(&said);
            let Batch { samples, histograms, exemplars, .. } = batch;
            let converted = convert::convert(&mut batch, &self.defaults)?;
            Ok((converted, Brought { samples, histograms, exemplars }))
        })
        .await
    }
}

/// Runs work over so many bytes where it does not keep others waiting.
async fn blocking<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    tokio::task::spawn_blocking(work).await.expect("converting does not panic, and blocking work is not aborted")
}

fn defaults_of(parameters: &Parameters) -> Defaults {
    let text = |value: &Option<String>| {
        let value = value.as_deref().unwrap_or("").trim();
        (!value.is_empty()).then(|| release::bounded(value))
    };
    Defaults {
        service: text(&parameters.service),
        version: text(&parameters.version),
        environment: text(&parameters.environment),
    }
}

/// Converts bytes as both messages, if they are measured to fit, and checks what comes out; see [`crate::probe`].
pub(crate) fn probe(message: &[u8]) {
    const LIMIT: usize = 16 << 20;
    for protocol in [Protocol::V1, Protocol::V2] {
        let Ok(reading) = read::memory(message, protocol) else { continue };
        let batch = read::read(message, protocol).ok().filter(|_| reading <= LIMIT);
        let Some(mut batch) = batch else { continue };
        let Ok(writing) = convert::memory(&batch) else { continue };
        if writing > LIMIT {
            continue;
        }
        let brought = batch.samples + batch.histograms;
        let Ok(converted) = convert::convert(&mut batch, &Defaults::default()) else { continue };
        assert!(converted.request.len() <= writing + 1024, "measured {writing}, made {}", converted.request.len());
        let decoded = crate::decode::decode(Signal::Metrics, &converted.request).expect("what is written can be read");
        let kept = decoded.records() + decoded.rejected.total() + converted.rejected.total();
        assert!(kept <= brought, "{kept} points of {brought} samples");
    }
}
