//! `POST /v1/lines`: log lines from whatever can send HTTP.
//!
//! `?service=&version=&environment=&instance=&format=auto|json|logfmt|raw`, lines separated by `\n`, optionally gzip or zstd.
//! A field of a line wins over the query; `fields.rs` has the list of names. The lines become an OTLP request and take the
//! same way as every other. A line that cannot be read is rejected with its number; the others are kept. Lines without
//! times of their own are never taken for a repetition, unless the client sends an `Idempotency-Key`: equal lines can be
//! different events.

mod encode;
mod fields;
mod json;
mod logfmt;
mod parse;
mod raw;
mod severity;
mod time;

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
use shipwake_model::{Signal, release};

use crate::admission::Grant;
use crate::answer::{add_hints, respond};
use crate::body::{Collector, Deadlines, read_body};
use crate::decode::Rejected;
use crate::error::{IngestError, shortened};
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::otlp_http::{declared_length, idempotency_key, leave, peer_of};
use crate::produce::{Delivery, Outcome, deliver};
use crate::split::{Repetition, hash_of_key};

use encode::{Batch, Identity};
use parse::Format;

/// How many rejected lines an answer names.
const ERRORS_MAX: usize = 20;
/// Bodies above this are parsed on a blocking thread: about half a millisecond of work.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// Memory for each byte of lines: the text, the records made of it (up to twice as long), and the request around them.
/// It is acquired while the body is read, because a request that waits with its body in hand blocks others.
const WEIGHT: usize = 4;
/// What a line becomes in protobuf besides its own bytes: times, severity, lengths. Only very short lines feel it.
const LINE_OVERHEAD_BYTES: usize = 64;

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new().route("/v1/lines", any(move |request: Request| post(core.clone(), request)))
}

/// What the address of a request may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    service: Option<String>,
    version: Option<String>,
    environment: Option<String>,
    instance: Option<String>,
    format: Option<String>,
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Answer {
    accepted: u64,
    rejected: u64,
    /// Number and reason of the first rejected lines.
    errors: Vec<(u64, String)>,
}

async fn post(core: Arc<Core>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    match receive(&core, &parts, &mut body).await {
        Ok(answer) => {
            let errors: Vec<_> =
                answer.errors.iter().map(|(line, reason)| json!({ "line": line, "reason": reason })).collect();
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
    let format = Format::from_name(parameters.format.as_deref().unwrap_or("auto"))?;
    let key = idempotency_key(&parts.headers)?.map(|key| hash_of_key(&core.tenant, "lines", key));
    let deadlines = Deadlines::starting_now(&core.config);
    let encoding = Encoding::from_header(parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    let journal = core.journal.wait(deadlines.hold).await?;
    let (limit, declared) = (core.config.message_bytes_max / WEIGHT, declared_length(&parts.headers));
    let collector = Collector::new(&core.budget, encoding, declared, limit, WEIGHT, deadlines.hold).await?;
    let (text, mut grant) = read_body(body, collector, &deadlines).await?;

    let overhead = (line_ends(&text) + 1) * LINE_OVERHEAD_BYTES;
    if text.len() + overhead > core.config.message_bytes_max {
        return Err(IngestError::TooLarge { limit: core.config.message_bytes_max, when: "as log records" });
    }
    let room = (text.len() * (WEIGHT - 1) + overhead).min(core.config.in_flight_bytes_max);
    grant.grow(room, true, deadlines.hold).await?;
    let query = parts.uri.query().unwrap_or("").to_owned();
    let job = Job { text, query, identity: identity_of(&parameters), format, key };
    convert_and_deliver(core, journal, job, grant, peer_of(parts)).await
}

/// What is to be done with the lines of a request.
struct Job {
    text: Bytes,
    query: String,
    identity: Identity,
    format: Format,
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
    let Converted { request, repetition, rejected, errors } = converted;
    grant.settle(request.len());
    let delivery = Delivery {
        signal: Signal::Logs,
        request: Bytes::from(request),
        client_bytes,
        grant,
        peer,
        repetition,
        rejected_before: rejected,
    };
    let Outcome { accepted, rejected } = deliver(core, journal, delivery).await?;
    Ok(Answer { accepted, rejected: rejected.total(), errors })
}

struct Converted {
    request: Vec<u8>,
    repetition: Repetition,
    rejected: Rejected,
    errors: Vec<(u64, String)>,
}

fn convert(core: &Core, job: &Job) -> Converted {
    let (mut rejected, mut errors) = (Rejected::default(), Vec::new());
    let mut batch = Batch::new(&job.identity, core.now_ns());
    for (index, line) in job.text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        match parse::parse(line, job.format, core.config.line_bytes_max) {
            Ok(line) => batch.push(line),
            Err(reason) => {
                let number = index as u64 + 1;
                rejected.add("bad_line", 1, || format!("line {number}: {reason}"));
                if errors.len() < ERRORS_MAX {
                    errors.push((number, reason));
                }
            }
        }
    }
    let repetition = match job.key {
        Some(key) => Repetition::ByKey(key),
        None if batch.all_timed() => {
            let bytes = [job.query.as_bytes(), b"\n", &job.text].concat();
            Repetition::ByKey(hash_of_key(&core.tenant, "lines by content", &bytes))
        }
        None => Repetition::Never,
    };
    Converted { request: batch.finish(), repetition, rejected, errors }
}

fn identity_of(parameters: &Parameters) -> Identity {
    let text = |value: &Option<String>| {
        let value = value.as_deref().unwrap_or("").trim();
        (!value.is_empty()).then(|| release::bounded(value))
    };
    Identity {
        service: text(&parameters.service),
        namespace: None,
        version: text(&parameters.version),
        environment: text(&parameters.environment),
        instance: text(&parameters.instance),
    }
}

fn line_ends(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// An error as RFC 9457 wants it.
fn problem(error: &IngestError) -> Response {
    let status = error.kind().http();
    let title = status.canonical_reason().unwrap_or("Error");
    let text = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": error.to_string() });
    let mut response = respond(status, "application/problem+json", text.to_string().into_bytes());
    add_hints(&mut response, error);
    response
}

/// Reads lines in every format, and checks that each is taken or rejected; see [`crate::probe`].
pub(crate) fn probe(text: &[u8]) {
    const LINE_BYTES_MAX: usize = 64 << 10;
    for format in [Format::Auto, Format::Json, Format::Logfmt, Format::Raw] {
        let identity = identity_of(&Parameters::default());
        let (mut batch, mut taken) = (Batch::new(&identity, 1), 0);
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            if let Ok(line) = parse::parse(line, format, LINE_BYTES_MAX) {
                batch.push(line);
                taken += 1;
            }
        }
        let request = batch.finish();
        let decoded = crate::decode::decode(Signal::Logs, &request).expect("what is written can be read");
        assert_eq!(decoded.records(), taken);
    }
}
