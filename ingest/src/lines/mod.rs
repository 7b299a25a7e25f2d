//! `POST /v1/lines`: log lines from whatever can send HTTP.
//!
//! Lines separated by `\n`, optionally gzip or zstd; `rules.rs` has the parameters of the query, `docs/lines.md` says what
//! they mean. A field of a line wins over the query. The lines become an OTLP request and take the same way as every other.
//! A record that cannot be read is rejected with the number of its line; the others are kept. Records without times of their
//! own, and lines of access logs that have only whole seconds, are never taken for a repetition, unless the client sends an
//! `Idempotency-Key`: equal lines can be different events.

mod access;
mod access_fields;
mod convert;
mod encode;
mod fields;
mod json;
mod logfmt;
mod parse;
mod pattern;
mod raw;
mod records;
mod rules;
mod severity;
pub(crate) mod time;
mod trace;
mod upstreams;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;
use shipwake_journal::Journal;
use shipwake_model::Signal;

use crate::admission::Grant;
use crate::answer::{add_hints, respond};
use crate::body::{Collector, Deadlines, read_body};
use crate::error::{IngestError, shortened};
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::otlp_http::{declared_length, idempotency_key, leave, peer_of};
use crate::produce::{Delivery, Origin, Outcome, deliver};
use crate::split::{Repetition, hash_of_key};

pub(crate) use convert::{Converted, Converter};
pub use convert::{ConvertedLines, convert_lines};
pub(crate) use encode::{Identity, Source};
pub(crate) use fields::Value;
pub(crate) use json::flatten;
pub(crate) use pattern::Patterns;
pub(crate) use rules::{Parameters, Rules};
pub use upstreams::Upstream;

/// Bodies above this are parsed on a blocking thread: about half a millisecond of work.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// Memory for each byte of lines: the text, the records made of it (up to twice as long), and the request around them.
/// It is acquired while the body is read, because a request that waits with its body in hand blocks others.
const WEIGHT: usize = 4;
/// What a line becomes in protobuf besides its own bytes: times, severity, lengths. Only very short lines feel it.
const LINE_OVERHEAD_BYTES: usize = 64;
/// The same for a line that may be of an access log: the names of a dozen attributes come on top.
const ACCESS_LINE_OVERHEAD_BYTES: usize = 320;

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new().route("/v1/lines", any(move |request: Request| post(core.clone(), request)))
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
    let parameters = Parameters::of(&parts.uri)?;
    let identity = parameters.identity();
    let rules = rules_of(core, parameters).await?;
    let route = format!("lines?{}", parts.uri.query().unwrap_or(""));
    let key = idempotency_key(&parts.headers)?.map(|key| hash_of_key(&core.tenant, &route, key));
    let deadlines = Deadlines::starting_now(&core.config);
    let encoding = Encoding::from_header(parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    let journal = core.journal.wait(deadlines.hold).await?;
    let (limit, declared) = (core.config.message_bytes_max / WEIGHT, declared_length(&parts.headers));
    let collector = Collector::new(&core.budget, encoding, declared, limit, WEIGHT, &deadlines).await?;
    let (text, mut grant) = read_body(body, collector, &deadlines).await?;

    let lines = line_ends(&text) + 1;
    if text.len() + lines * LINE_OVERHEAD_BYTES > core.config.message_bytes_max {
        return Err(IngestError::TooLarge { limit: core.config.message_bytes_max, when: "as log records" });
    }
    let overhead = if rules.may_be_access() { ACCESS_LINE_OVERHEAD_BYTES } else { LINE_OVERHEAD_BYTES };
    let room = (text.len() * (WEIGHT - 1) + lines * overhead).min(core.config.in_flight_bytes_max);
    grant.grow(room, true, deadlines.hold).await?;
    let query = parts.uri.query().unwrap_or("").to_owned();
    let job = Job { text, query, identity, rules, key };
    convert_and_deliver(core, journal, job, grant, peer_of(parts)).await
}

/// A pattern may take some milliseconds to compile, so it is done where it stops nobody.
async fn rules_of(core: &Arc<Core>, parameters: Parameters) -> Result<Rules, IngestError> {
    if !parameters.has_pattern() {
        return Rules::new(&parameters, &core.config.upstreams, &core.patterns);
    }
    let core = core.clone();
    let work = move || Rules::new(&parameters, &core.config.upstreams, &core.patterns);
    tokio::task::spawn_blocking(work).await.expect("compiling does not panic, and blocking work is not aborted")
}

/// What is to be done with the lines of a request.
struct Job {
    text: Bytes,
    query: String,
    identity: Identity,
    rules: Rules,
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
    let (Converted { request, rejected, errors, .. }, repetition) = converted?;
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

fn convert(core: &Core, job: &Job) -> Result<(Converted, Repetition), IngestError> {
    let mut converter = Converter::new(&job.rules, core.now_ns(), &core.config);
    converter.text(&job.text, &Source::of(&job.identity))?;
    let converted = converter.finish();
    let repetition = match job.key {
        Some(key) => Repetition::ByKey(key),
        None if converted.all_timed => {
            let bytes = [job.query.as_bytes(), b"\n", &job.text].concat();
            Repetition::ByKey(hash_of_key(&core.tenant, "lines by content", &bytes))
        }
        None => Repetition::Never,
    };
    Ok((converted, repetition))
}

fn line_ends(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

/// An error as RFC 9457 wants it.
pub(crate) fn problem(error: &IngestError) -> Response {
    let status = error.kind().http();
    let title = status.canonical_reason().unwrap_or("Error");
    let text = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": error.to_string() });
    let mut response = respond(status, "application/problem+json", text.to_string().into_bytes());
    add_hints(&mut response, error);
    response
}

/// Reads lines in every format, and checks that each record is taken or rejected; see [`crate::probe`].
pub(crate) fn probe(text: &[u8]) {
    let config = crate::config::IngestConfig { line_bytes_max: 64 << 10, ..Default::default() };
    for format in ["auto", "json", "logfmt", "raw", "nginx", "httpd", "haproxy", "varnish"] {
        let query = format!("service=s&upstream=blue:1,green:2&format={format}");
        let Ok(converted) = convert_lines(&query, text, 1, &config) else { continue };
        let decoded = crate::decode::decode(Signal::Logs, &converted.request).expect("what is written can be read");
        assert_eq!(decoded.records(), converted.accepted);
    }
}
