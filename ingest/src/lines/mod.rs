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
mod exact;
mod fields;
mod json;
mod logfmt;
mod names;
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
use http::request::Parts;
use shipwake_model::Signal;

use crate::error::IngestError;
use crate::ingest::Core;
use crate::otlp_http::peer_of;
use crate::posted::{self, Answer, Fault, Kind, Overhead, SentBy};
use crate::sender::{Sender, Senders};

pub(crate) use convert::{Converted, Converter};
pub use convert::{ConvertedLines, convert_lines};
pub(crate) use encode::{Identity, Source};
pub(crate) use exact::with_wide_integers_quoted;
pub(crate) use fields::Value;
pub(crate) use json::flatten;
pub(crate) use pattern::Patterns;
pub(crate) use rules::{Parameters, Rules};
pub use upstreams::Upstream;

const KIND: Kind = Kind { name: "lines", inline_bytes_max: 64 << 10 };
/// What a line becomes in protobuf besides its own bytes: times, severity, lengths. Only very short lines feel it.
const LINE_OVERHEAD_BYTES: usize = 64;
/// The same for a line that may be of an access log: the names of a dozen attributes come on top.
const ACCESS_LINE_OVERHEAD_BYTES: usize = 320;

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new().route("/v1/lines", any(move |request: Request| post(core.clone(), request)))
}

async fn post(core: Arc<Core>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let outcome = receive(&core, &parts, &mut body).await;
    posted::answer(&core, &parts, &mut body, outcome).await
}

async fn receive(core: &Arc<Core>, parts: &Parts, body: &mut Body) -> Result<Answer, IngestError> {
    posted::check_method(parts)?;
    let parameters = Parameters::of(&parts.uri)?;
    let identity = parameters.identity();
    let rules = rules_of(core, parameters).await?;
    let each = if rules.may_be_access() { ACCESS_LINE_OVERHEAD_BYTES } else { LINE_OVERHEAD_BYTES };
    let overhead = |text: &[u8]| {
        let lines = memchr::memchr_iter(b'\n', text).count() + 1;
        Overhead { least: lines * LINE_OVERHEAD_BYTES, expected: lines * each }
    };
    let senders = Senders::of_headers(Sender::Lines, &parts.headers);
    let senders = rules.server().map_or(senders, |server| senders.with(server));
    let sent_by = SentBy { peer: peer_of(parts), senders };
    let convert = move |core: &Core, text: &[u8]| convert(core, text, &identity, &rules);
    posted::receive(core, parts, body, KIND, sent_by, overhead, convert).await
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

fn convert(core: &Core, text: &[u8], identity: &Identity, rules: &Rules) -> Result<posted::Converted, IngestError> {
    let mut converter = Converter::new(rules, core.now_ns(), &core.config);
    converter.text(text, &Source::of(identity))?;
    let Converted { request, rejected, errors, all_timed, .. } = converter.finish();
    let fault = |(number, reason)| Fault { place: "line", number, reason };
    Ok(posted::Converted { request, rejected, faults: errors.into_iter().map(fault).collect(), all_timed })
}

/// Reads lines in every format, and checks that each record is taken or rejected; see [`crate::probe`].
pub(crate) fn probe(text: &[u8]) {
    let config = crate::config::IngestConfig { line_bytes_max: 64 << 10, ..Default::default() };
    for format in ["auto", "json", "logfmt", "raw", "nginx", "httpd", "haproxy", "varnish"] {
        let query = format!("service=s&upstream=blue=1,10.0.0.5:8080=shop@2&format={format}");
        let converted = match convert_lines(&query, text, 1, &config) {
            Ok(converted) => converted,
            Err(IngestError::TooLarge { .. }) => continue,
            Err(error) => panic!("the query is valid: {error}"),
        };
        let decoded = crate::decode::decode(Signal::Logs, &converted.request).expect("what is written can be read");
        assert_eq!(decoded.records(), converted.accepted);
    }
}
