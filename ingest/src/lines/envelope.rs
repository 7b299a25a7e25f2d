//! Lines that come in an envelope of another protocol, such as syslog: the envelope says where a line comes from, when it was
//! written and how bad it is, and the line itself may know better.
//!
//! The text is read as `auto` reads it. Nobody waits for an answer, so a line that cannot be read is kept as it stands.

use super::encode::{Batch, Identity};
use super::fields::Value;
use super::parse::{Format, parse};
use super::raw;

/// What an envelope says. A field that the line has itself wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) service: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) instance: Option<String>,
    /// Nanoseconds since the epoch.
    pub(crate) time_ns: Option<u64>,
    /// OpenTelemetry's number; 0 when unknown.
    pub(crate) severity: i32,
    pub(crate) severity_text: &'static str,
    /// What else is known; kept beside the fields of the line.
    pub(crate) attributes: Vec<(String, String)>,
}

/// Enveloped lines on their way to an export request.
pub(crate) struct Enveloped {
    received_ns: i64,
    bytes_max: usize,
    batch: Batch<'static>,
}

/// An envelope says all there is to say.
const NOTHING: &Identity =
    &Identity { service: None, namespace: None, version: None, environment: None, instance: None };

impl Enveloped {
    /// `bytes_max`: above it a line is not looked into.
    pub(crate) fn new(received_ns: i64, bytes_max: usize) -> Self {
        Enveloped { received_ns, bytes_max, batch: Batch::new(NOTHING, received_ns) }
    }

    /// Adds a line. Any line is taken.
    pub(crate) fn push(&mut self, envelope: Envelope, text: &[u8]) {
        let mut line = parse(text, Format::Auto, self.bytes_max).unwrap_or_else(|_| raw::parse(text));
        let own = &mut line.identity;
        own.service = own.service.take().or(envelope.service);
        own.namespace = own.namespace.take().or(envelope.namespace);
        own.version = own.version.take().or(envelope.version);
        own.environment = own.environment.take().or(envelope.environment);
        own.instance = own.instance.take().or(envelope.instance);
        line.time_ns = line.time_ns.or(envelope.time_ns);
        if line.severity == 0 {
            line.severity = envelope.severity;
            envelope.severity_text.clone_into(&mut line.severity_text);
        }
        for (name, value) in envelope.attributes {
            if !line.attributes.iter().any(|(known, _)| *known == name) {
                line.attributes.push((name, Value::Text(value)));
            }
        }
        self.batch.push(line);
    }

    /// When the lines came.
    pub(crate) fn received_ns(&self) -> i64 {
        self.received_ns
    }

    /// The export request.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.batch.finish()
    }
}
