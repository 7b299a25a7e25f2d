//! Markers in: what people and tools say about a release, in our own form and in the forms that deployment tools already send.
//!
//! `POST /v1/markers` is ours, `hooks.rs` has the table of the others; `docs/markers.md` says what is read from each. Whatever the
//! form, it becomes a [`Marker`](shipwake_model::Marker), and that a log record on the resource of its release, which takes the same
//! way as every other; the answer comes when it is durable. Every marker has an id, made of what its sender says where the sender
//! has none, so the same thing delivered twice is one marker. Nothing of a request is taken when anything in it is wrong: a tool that
//! is told so sends all of it again.

mod argocd;
mod cdevents;
mod datadog;
mod draft;
mod encode;
mod flagger;
mod github;
mod grafana;
mod honeycomb;
mod hooks;
mod native;
mod percent;
mod projects;
mod record;
mod sentry;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, post};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde_json::Value as Json;
use shipwake_model::{Marker, Signal};

use crate::answer::{add_hints, media_type, respond};
use crate::body::{Collector, Deadlines, read_body};
use crate::decode::Rejected;
use crate::error::{IngestError, shortened};
use crate::inflate::Encoding;
use crate::ingest::Core;
use crate::otlp_http::{declared_length, leave};
use crate::produce::{Delivery, Origin, deliver};
use crate::sender::Senders;
use draft::{Defaults, Draft};
use hooks::{ALL, Hook};
pub(crate) use projects::Projects;

/// Largest request: a deployment with everything that GitHub says about it is some tens of kilobytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Memory for each byte of a request: the text, the values that are read from it, the record.
const WEIGHT: usize = 4;
/// Markers of one request.
const MARKERS_MAX: usize = 500;

/// What was sent to a hook.
struct Sent<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    /// One of the hook's routes.
    route: &'static str,
    /// What the placeholders of the route stand for, in its order.
    path: Vec<String>,
    /// Null where nothing was sent.
    json: Json,
    /// The time of receipt, ns since 1970.
    received_ns: i64,
    /// Which projects releases of Sentry have.
    projects: &'a Projects,
}

/// What a hook makes of it.
enum Heard {
    /// These.
    Markers(Vec<Draft>),
    /// Nothing that is a marker; the reason is for whoever set the sender up.
    Nothing(String),
}

/// The routes, for both ports that take HTTP.
pub(crate) fn router(core: &Arc<Core>) -> Router {
    ALL.iter().fold(Router::new(), |router, hook| {
        hook.routes.iter().fold(router, |router, route| {
            let core = core.clone();
            let handler = move |request: Request| receive(core.clone(), hook, request);
            // Where another stage answers GET, everything else is left to it.
            router.route(route, if hook.only_post { post(handler) } else { any(handler) })
        })
    })
}

async fn receive(core: Arc<Core>, hook: &'static Hook, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    match take(&core, hook, &parts, &mut body).await {
        Ok((status, answer)) => respond(status, "application/json", answer.to_string().into_bytes()),
        Err(error) => {
            core.note_refused(Some(Signal::Logs), &error);
            leave(&parts, &mut body).await;
            refusal(hook, &error)
        }
    }
}

/// The refusal in the form that the clients of a hook read.
fn refusal(hook: &Hook, error: &IngestError) -> Response {
    let Some(refuse) = hook.refuse else { return crate::posted::problem(error) };
    let body = refuse(&error.to_string()).to_string().into_bytes();
    let mut response = respond(error.kind().http(), "application/json", body);
    add_hints(&mut response, error);
    response
}

async fn take(
    core: &Arc<Core>,
    hook: &'static Hook,
    parts: &Parts,
    body: &mut Body,
) -> Result<(StatusCode, Json), IngestError> {
    if !hook.methods.contains(&parts.method) {
        return Err(IngestError::Method { found: shortened(parts.method.as_str()) });
    }
    let defaults =
        Defaults::of_query(&parts.uri, hook.strict_query).map_err(|reason| malformed("bad query", reason))?;
    let deadlines = Deadlines::starting_now(&core.config);
    let encoding = Encoding::from_header(parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
    let journal = core.journal.wait(deadlines.hold).await?;
    let declared = declared_length(&parts.headers);
    let collector = Collector::new(&core.budget, encoding, declared, BODY_BYTES_MAX, WEIGHT, &deadlines).await?;
    let (bytes, mut grant) = read_body(body, collector, &deadlines).await?;
    (hook.check)(core, &parts.headers, &bytes)?;
    let received_ns = core.now_ns();
    let (route, path) = hook.place(parts.uri.path());
    let sent = Sent {
        method: &parts.method,
        headers: &parts.headers,
        route,
        path,
        json: json_of(&parts.headers, &bytes)?,
        received_ns,
        projects: &core.projects,
    };
    let drafts = match (hook.read)(&sent).map_err(|reason| malformed(hook.what, reason))? {
        Heard::Nothing(why) => return Ok((hook.reply)(&sent, &[], Some(&why))),
        Heard::Markers(drafts) => drafts,
    };
    let markers = finish(hook, drafts, &defaults, received_ns)?;
    let request = encode::request(&markers, received_ns);
    grant.settle(request.len());
    let delivery = Delivery {
        signal: Signal::Logs,
        client_bytes: bytes.len() as u64,
        request: Bytes::from(request),
        grant,
        // Who tells us of a release is no instance of it.
        peer: None,
        repetition: encode::repetition(&core.tenant, &markers),
        rejected_before: Rejected::default(),
        senders: Senders::default(),
        origin: Origin::Client,
    };
    deliver(core, journal, delivery).await?;
    Ok((hook.reply)(&sent, &markers, None))
}

/// The markers, or everything that is wrong with them.
fn finish(hook: &Hook, drafts: Vec<Draft>, defaults: &Defaults, received_ns: i64) -> Result<Vec<Marker>, IngestError> {
    if drafts.len() > MARKERS_MAX {
        return Err(malformed(hook.what, format!("more than {MARKERS_MAX} markers at once")));
    }
    let many = drafts.len() > 1;
    let (mut markers, mut faults) = (Vec::with_capacity(drafts.len()), Vec::new());
    for (index, draft) in drafts.into_iter().enumerate() {
        match draft.finish(hook.source, defaults, received_ns) {
            Ok(marker) => markers.push(marker),
            Err(fault) if many => faults.push(format!("marker {index}: {fault}")),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(markers) } else { Err(malformed(hook.what, faults.join("; "))) }
}

/// The body as JSON; GitHub and others may send it as the field `payload` of a form.
fn json_of(headers: &HeaderMap, bytes: &[u8]) -> Result<Json, IngestError> {
    let bytes = bytes.strip_prefix(&crate::posted::BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Ok(Json::Null);
    }
    let of_form = media_type(headers).eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let payload = of_form.then(|| percent::form_field(bytes, "payload")).flatten();
    let text = payload.as_deref().map_or(bytes, str::as_bytes);
    // The error says line and column.
    serde_json::from_slice(text).map_err(|error| malformed("not valid JSON", error.to_string()))
}

fn malformed(what: &'static str, reason: String) -> IngestError {
    IngestError::Malformed { what, reason }
}
