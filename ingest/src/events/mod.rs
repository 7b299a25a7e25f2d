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
use http::request::Parts;
use serde::Deserialize;

use crate::decode::Rejected;
use crate::error::IngestError;
use crate::ingest::Core;
use crate::lines::Identity;
use crate::posted::{self, Answer, BYTE_ORDER_MARK, Converted, FAULTS_MAX, Fault, Kind, Overhead, SentBy};
use crate::sender::{Sender, Senders};

use encode::Batch;
use split::Place;

const KIND: Kind = Kind { name: "events", inline_bytes_max: 32 << 10 };
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

async fn post(core: Arc<Core>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let outcome = receive(&core, &parts, &mut body).await;
    posted::answer(&core, &parts, &mut body, outcome).await
}

async fn receive(core: &Arc<Core>, parts: &Parts, body: &mut Body) -> Result<Answer, IngestError> {
    posted::check_method(parts)?;
    let Query(parameters) = Query::<Parameters>::try_from_uri(&parts.uri).map_err(|error| IngestError::Malformed {
        what: "bad query",
        reason: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
    })?;
    let identity = identity_of(parameters);
    let overhead = |text: &[u8]| {
        let bytes = memchr::memchr_iter(b'{', text).count() * OBJECT_OVERHEAD_BYTES;
        Overhead { least: bytes, expected: bytes }
    };
    let convert = move |core: &Core, text: &[u8]| convert(core, text, &identity);
    // Who posts events is often no instance of the service that they are about, and would count as one of each version.
    let sent_by = SentBy { peer: None, senders: Senders::one(Sender::Events) };
    posted::receive(core, parts, body, KIND, sent_by, overhead, convert).await
}

fn convert(core: &Core, text: &[u8], identity: &Identity) -> Result<Converted, IngestError> {
    let (mut rejected, mut faults) = (Rejected::default(), Vec::new());
    let mut batch = Batch::new(identity, core.now_ns());
    let text = text.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(text);
    let events = split::split(text).map_err(|reason| IngestError::Malformed { what: "bad events", reason })?;
    for (place, text) in events {
        let parsed = parse::parse(text, core.config.line_bytes_max).and_then(|event| batch.push(event));
        if let Err(reason) = parsed {
            rejected.add("bad_event", 1, || format!("{place}: {reason}"));
            if faults.len() < FAULTS_MAX {
                faults.push(fault(place, reason));
            }
        }
    }
    let all_timed = batch.all_timed();
    Ok(Converted { request: batch.finish(), rejected, faults, all_timed })
}

fn fault(place: Place, reason: String) -> Fault {
    let (place, number) = match place {
        Place::Index(index) => ("index", index),
        Place::Line(line) => ("line", line),
    };
    Fault { place, number, reason }
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
