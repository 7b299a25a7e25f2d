//! Texts that are posted and become OTLP log records: what `/v1/lines` and `/v1/events` have in common.
//!
//! The body is read within its budget, converted where it stops nobody, and delivered like every other request; the answer
//! counts what was taken and names what was not. A repetition is recognised by its `Idempotency-Key`, or by its content when
//! every record has a time of its own: without, equal records can be different ones.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;
use shipwake_model::Signal;

use crate::answer::{add_hints, respond};
use crate::body::{Collector, Deadlines, read_body};
use crate::decode::Rejected;
use crate::error::{IngestError, shortened};
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::otlp_http::{declared_length, idempotency_key, leave};
use crate::produce::{Delivery, Origin, Outcome, deliver};
use crate::sender::Senders;
use crate::split::{Repetition, hash_of_key};

/// What some editors and programs put in front of a text: it says that UTF-8 follows, and is no part of it.
pub(crate) const BYTE_ORDER_MARK: [u8; 3] = *b"\xef\xbb\xbf";
/// How many rejected records an answer names.
pub(crate) const FAULTS_MAX: usize = 20;
/// Memory for each byte of a text: the text, the records made of it (up to twice as long), and the request around them.
/// It is acquired while the body is read, because a request that waits with its body in hand blocks others.
const WEIGHT: usize = 4;

/// A kind of texts.
pub(crate) struct Kind {
    /// What they are called in the keys of repetitions: `lines`.
    pub(crate) name: &'static str,
    /// Larger ones are converted on a blocking thread: about half a millisecond of work.
    pub(crate) inline_bytes_max: usize,
}

/// Where a text comes from.
pub(crate) struct SentBy {
    /// The address that stands for an instance where the records name none.
    pub(crate) peer: Option<Arc<str>>,
    pub(crate) senders: Senders,
}

/// What the records of a text take in bytes besides those of the text: times, lengths, names of attributes.
pub(crate) struct Overhead {
    /// At least: a text for which that is too much is refused before it is converted.
    pub(crate) least: usize,
    /// As it is to be expected: so much memory is acquired.
    pub(crate) expected: usize,
}

/// The request made of a text, and what became of its records.
pub(crate) struct Converted {
    /// An `ExportLogsServiceRequest`.
    pub(crate) request: Vec<u8>,
    pub(crate) rejected: Rejected,
    /// The first that were rejected.
    pub(crate) faults: Vec<Fault>,
    /// Whether each record has a time that tells it from an equal one.
    pub(crate) all_timed: bool,
}

/// A record that was rejected.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What is counted: `line` or `index`.
    pub(crate) place: &'static str,
    pub(crate) number: u64,
    pub(crate) reason: String,
}

/// What became of a text.
#[derive(Debug)]
pub(crate) struct Answer {
    accepted: u64,
    rejected: u64,
    faults: Vec<Fault>,
}

/// Answers the sender; what is left of a refused body is read first, as far as that is bounded.
pub(crate) async fn answer(
    core: &Core,
    parts: &Parts,
    body: &mut Body,
    outcome: Result<Answer, IngestError>,
) -> Response {
    match outcome {
        Ok(Answer { accepted, rejected, faults }) => {
            let fault = |fault: &Fault| json!({ fault.place: fault.number, "reason": fault.reason });
            let errors: Vec<_> = faults.iter().map(fault).collect();
            let text = json!({ "accepted": accepted, "rejected": rejected, "errors": errors });
            respond(StatusCode::OK, "application/json", text.to_string().into_bytes())
        }
        Err(error) => {
            core.note_refused(Some(Signal::Logs), &error);
            leave(parts, body).await;
            problem(&error)
        }
    }
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

/// Texts are posted, and nothing else.
pub(crate) fn check_method(parts: &Parts) -> Result<(), IngestError> {
    if parts.method == Method::POST {
        return Ok(());
    }
    Err(IngestError::Method { found: shortened(parts.method.as_str()) })
}

/// Reads the body, has it converted, and delivers the records.
pub(crate) async fn receive<C>(
    core: &Arc<Core>,
    parts: &Parts,
    body: &mut Body,
    kind: Kind,
    sent_by: SentBy,
    overhead: impl FnOnce(&[u8]) -> Overhead,
    convert: C,
) -> Result<Answer, IngestError>
where
    C: FnOnce(&Core, &[u8]) -> Result<Converted, IngestError> + Send + 'static,
{
    let query = parts.uri.query().unwrap_or("");
    let key = idempotency_key(&parts.headers)?;
    let key = key.map(|key| hash_of_key(&core.tenant, &format!("{}?{query}", kind.name), key));
    let deadlines = Deadlines::starting_now(&core.config);
    let encoding = Encoding::from_header(parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    let journal = core.journal.wait(deadlines.hold).await?;
    let (limit, declared) = (core.config.message_bytes_max / WEIGHT, declared_length(&parts.headers));
    let collector = Collector::new(&core.budget, encoding, declared, limit, WEIGHT, &deadlines).await?;
    let (text, mut grant) = read_body(body, collector, &deadlines).await?;

    let Overhead { least, expected } = overhead(&text);
    if text.len() + least > core.config.message_bytes_max {
        return Err(IngestError::TooLarge { limit: core.config.message_bytes_max, when: "as log records" });
    }
    let room = (text.len() * (WEIGHT - 1) + expected).min(core.config.in_flight_bytes_max);
    grant.grow(room, true, deadlines.hold).await?;
    let client_bytes = text.len() as u64;
    let (converted, repetition) = convert_anywhere(core, kind, query, text, key, convert).await?;
    grant.settle(converted.request.len());
    let delivery = Delivery {
        signal: Signal::Logs,
        request: Bytes::from(converted.request),
        client_bytes,
        grant,
        peer: sent_by.peer,
        repetition,
        rejected_before: converted.rejected,
        senders: sent_by.senders,
        origin: Origin::Client,
    };
    let Outcome { accepted, rejected } = deliver(core, journal, delivery).await?;
    Ok(Answer { accepted, rejected: rejected.total(), faults: converted.faults })
}

/// Converts here, or on a blocking thread if it takes long.
async fn convert_anywhere<C>(
    core: &Arc<Core>,
    kind: Kind,
    query: &str,
    text: Bytes,
    key: Option<u128>,
    convert: C,
) -> Result<(Converted, Repetition), IngestError>
where
    C: FnOnce(&Core, &[u8]) -> Result<Converted, IngestError> + Send + 'static,
{
    let (of, query, is_long) = (core.clone(), query.to_owned(), text.len() > kind.inline_bytes_max);
    let work = move || {
        let converted = convert(&of, &text)?;
        let repetition = match key {
            Some(key) => Repetition::ByKey(key),
            None if converted.all_timed => {
                let bytes = [query.as_bytes(), b"\n", &text].concat();
                Repetition::ByKey(hash_of_key(&of.tenant, &format!("{} by content", kind.name), &bytes))
            }
            None => Repetition::Never,
        };
        Ok((converted, repetition))
    };
    if !is_long {
        return work();
    }
    let work = tokio::task::spawn_blocking(work);
    work.await.expect("converting does not panic, and blocking work is not aborted")
}
