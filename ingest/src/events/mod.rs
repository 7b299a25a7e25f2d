//! `POST /v1/events`: KPI events from whatever can send HTTP.
//!
//! One JSON object, an array of them, or one on each line, optionally gzip or zstd; `?service=&version=&environment=&instance=`
//! stand in for what an event does not say. Events become OTLP log records with a name and take the same way as every other.
//! An event that cannot be used is rejected with its place and the reason; the others are kept. A repetition is recognised
//! by its `Idempotency-Key`, or by its content when every event has a time: without, equal events can be different ones.

mod encode;
mod parse;
mod split;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use shipwake_journal::Journal;
use shipwake_model::Signal;

use crate::admission::Grant;
use crate::answer::respond;
use crate::body::{Collector, Deadlines, read_body};
use crate::decode::Rejected;
use crate::error::{IngestError, shortened};
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::lines::{Identity, problem};
use crate::otlp_http::{declared_length, idempotency_key, leave, peer_of};
use crate::produce::{Delivery, Origin, Outcome, deliver};
use crate::split::{Repetition, hash_of_key};

use encode::Batch;
use split::Place;

/// How many rejected events an answer names.
const ERRORS_MAX: usize = 20;
/// Bodies above this are parsed on a blocking thread: about half a millisecond of work.
const INLINE_BYTES_MAX: usize = 32 << 10;
/// Memory for each byte of a body: the text, the records made of it, and the request around them.
const WEIGHT: usize = 4;
/// Memory for each object of a body besides its bytes: times, lengths, and the resource of an event that has its own.
const OBJECT_OVERHEAD_BYTES: usize = 512;

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new().route("/v1/events", any(move |request: Request| post(core.clone(), request)))
}

/// What the address of a request may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    service: Option<String>,
    version: Option<String>,
    environment: Option<String>,
    instance: Option<String>,
}

/// What became of the events.
#[derive(Debug, Default)]
struct Answer {
    accepted: u64,
    rejected: u64,
    /// Place and reason of the first rejected events.
    errors: Vec<(Place, String)>,
}

async fn post(core: Arc<Core>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    match receive(&core, &parts, &mut body).await {
        Ok(answer) => {
            let error = |(place, reason): &(Place, String)| match place {
                Place::Index(index) => json!({ "index": index, "reason": reason }),
                Place::Line(line) => json!({ "line": line, "reason": reason }),
            };
            let errors: Vec<_> = answer.errors.iter().map(error).collect();
            let text = json!({ "accepted": answer.accepted, "rejected": answer.rejected, "errors": errors });
            respond(StatusCode::OK, "application/json", text.to_string().into_bytes())
        }
        Err(error) => {
            core.note_refused(Some(Signal::Logs), &error);
            leave(&parts, &mut body).await;
            problem(&error)
        }
    }
}

async fn receive(core: &Arc<Core>, parts: &http::request::Parts, body: &mut Body) -> Result<Answer, IngestError> {
    if parts.method != Method::POST {
        return Err(IngestError::Method { found: shortened(parts.method.as_str()) });
    }
    let Query(parameters) = Query::<Parameters>::try_from_uri(&parts.uri).map_err(|error| IngestError::Malformed {
        what: "bad query",
        reason: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
    })?;
    let route = format!("events?{}", parts.uri.query().unwrap_or(""));
    let key = idempotency_key(&parts.headers)?.map(|key| hash_of_key(&core.tenant, &route, key));
    let deadlines = Deadlines::starting_now(&core.config);
    let encoding = Encoding::from_header(parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    let journal = core.journal.wait(deadlines.hold).await?;
    let (limit, declared) = (core.config.message_bytes_max / WEIGHT, declared_length(&parts.headers));
    let collector = Collector::new(&core.budget, encoding, declared, limit, WEIGHT, &deadlines).await?;
    let (text, mut grant) = read_body(body, collector, &deadlines).await?;

    let overhead = text.iter().filter(|byte| **byte == b'{').count() * OBJECT_OVERHEAD_BYTES;
    if text.len() + overhead > core.config.message_bytes_max {
        return Err(IngestError::TooLarge { limit: core.config.message_bytes_max, when: "as log records" });
    }
    let room = (text.len() * (WEIGHT - 1) + overhead).min(core.config.in_flight_bytes_max);
    grant.grow(room, true, deadlines.hold).await?;
    let query = parts.uri.query().unwrap_or("").to_owned();
    let job = Job { text, query, identity: identity_of(parameters), key };
    convert_and_deliver(core, journal, job, grant, peer_of(parts)).await
}

/// What is to be done with the events of a request.
struct Job {
    text: Bytes,
    query: String,
    identity: Identity,
    key: Option<u128>,
}

async fn convert_and_deliver(
    core: &Arc<Core>,
    journal: Arc<dyn Journal>,
    job: Job,
    mut grant: Grant,
    peer: Option<Arc<str>>,
) -> Result<Answer, IngestError> {
    let client_bytes = job.text.len() as u64;
    let converted = if job.text.len() > INLINE_BYTES_MAX {
        let core = core.clone();
        let work = tokio::task::spawn_blocking(move || convert(&core, &job));
        work.await.expect("parsing does not panic, and blocking work is not aborted")
    } else {
        convert(core, &job)
    };
    let Converted { request, repetition, rejected, errors } = converted?;
    grant.settle(request.len());
    let delivery = Delivery {
        signal: Signal::Logs,
        request: Bytes::from(request),
        client_bytes,
        grant,
        peer,
        repetition,
        rejected_before: rejected,
        origin: Origin::Client,
    };
    let Outcome { accepted, rejected } = deliver(core, journal, delivery).await?;
    Ok(Answer { accepted, rejected: rejected.total(), errors })
}

struct Converted {
    request: Vec<u8>,
    repetition: Repetition,
    rejected: Rejected,
    errors: Vec<(Place, String)>,
}

fn convert(core: &Core, job: &Job) -> Result<Converted, IngestError> {
    let (mut rejected, mut errors) = (Rejected::default(), Vec::new());
    let mut batch = Batch::new(&job.identity, core.now_ns());
    let events = split::split(&job.text).map_err(|reason| IngestError::Malformed { what: "bad events", reason })?;
    for (place, text) in events {
        let parsed = parse::parse(text, core.config.line_bytes_max).and_then(|event| batch.push(event));
        if let Err(reason) = parsed {
            rejected.add("bad_event", 1, || format!("{place}: {reason}"));
            if errors.len() < ERRORS_MAX {
                errors.push((place, reason));
            }
        }
    }
    let repetition = match job.key {
        Some(key) => Repetition::ByKey(key),
        None if batch.all_timed() => {
            let bytes = [job.query.as_bytes(), b"\n", &job.text].concat();
            Repetition::ByKey(hash_of_key(&core.tenant, "events by content", &bytes))
        }
        None => Repetition::Never,
    };
    Ok(Converted { request: batch.finish(), repetition, rejected, errors })
}

fn identity_of(parameters: Parameters) -> Identity {
    let text = |value: Option<String>| {
        let value = value.unwrap_or_default();
        (!value.trim().is_empty()).then(|| shipwake_model::release::bounded(value.trim()))
    };
    Identity {
        service: text(parameters.service),
        namespace: None,
        version: text(parameters.version),
        environment: text(parameters.environment),
        instance: text(parameters.instance),
    }
}
