//! Records become an `ExportLogsServiceRequest`: one resource for each release and instance that they name.

use std::collections::HashMap;

use shipwake_model::release::{
    DEPLOYMENT_ENVIRONMENT, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION, bounded,
};
use shipwake_otlp::write::{self, LogLine, put_log_record, put_record_in_pieces, put_resource_logs_of};

use super::access::Access;
use super::fields::{Line, Value};
use super::upstreams::Upstreams;

/// The scope of records that were lines.
const SCOPE: &str = "shipwake.lines";

/// What is said about where a line comes from. What is not said is left to the tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) service: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) instance: Option<String>,
}

/// What is known about a record besides its text: from the query of a request, or the header of a syslog message. The text
/// goes before all of it, but for the attributes, which are added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'s> {
    pub(crate) identity: &'s Identity,
    /// Nanoseconds since the epoch.
    pub(crate) time_ns: Option<u64>,
    /// OpenTelemetry's number; 0 when unknown.
    pub(crate) severity: i32,
    pub(crate) attributes: &'s [(&'s str, write::Value<'s>)],
}

impl<'s> Source<'s> {
    /// A source of which only this is known.
    pub(crate) fn of(identity: &'s Identity) -> Self {
        Source { identity, time_ns: None, severity: 0, attributes: &[] }
    }
}

/// The records of a request.
pub(super) struct Batch {
    received_ns: u64,
    /// In the order in which they were first named.
    parts: Vec<Part>,
    by_identity: HashMap<Identity, usize>,
    /// Where access-log lines of one source go: without an upstream that is mapped, and with each that is.
    routes: Option<Routes>,
    untimed: u64,
    bytes: usize,
}

struct Part {
    identity: Identity,
    records: Vec<u8>,
}

struct Routes {
    source: Identity,
    /// By the number of the upstream, counted from 1; 0 is for none.
    parts: Vec<Option<usize>>,
}

impl Batch {
    pub(super) fn new(received_ns: u64) -> Self {
        Batch { received_ns, parts: Vec::new(), by_identity: HashMap::new(), routes: None, untimed: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, line: &Line, source: &Source<'_>) {
        let time_ns = line.time_ns.or(source.time_ns);
        let coarse = line.is_request && time_ns.is_some_and(|time_ns| time_ns.is_multiple_of(1_000_000_000));
        self.untimed += u64::from(time_ns.is_none() || coarse);
        let mut attributes: Vec<(&str, write::Value<'_>)> =
            line.attributes.iter().map(|(name, value)| (name.as_str(), value.borrowed())).collect();
        attributes.extend_from_slice(source.attributes);
        let record = LogLine {
            time_unix_nano: time_ns.unwrap_or(0),
            observed_time_unix_nano: self.received_ns,
            severity_number: if line.severity == 0 { source.severity } else { line.severity },
            severity_text: line.severity_text.as_bytes(),
            body: line.message.as_deref().map_or(write::Value::Empty, |text| write::Value::String(text.as_bytes())),
            attributes: &attributes,
            flags: 0,
            trace_id: &line.trace_id,
            span_id: &line.span_id,
            event_name: b"",
        };
        let part = self.part_of(line.identity.clone().or(source.identity));
        let records = &mut self.parts[part].records;
        let before = records.len();
        put_log_record(records, &record);
        self.bytes += records.len() - before;
    }

    /// A line of an access log, as it stands and what was found in it.
    pub(super) fn push_access(&mut self, line: &[u8], access: &Access<'_>, upstreams: &Upstreams, source: &Source<'_>) {
        let time_ns = access.time_ns.or(source.time_ns);
        self.untimed += u64::from(!access.time_is_fine());
        let part = self.part_of_access(access, upstreams, source);
        let received_ns = self.received_ns;
        let records = &mut self.parts[part].records;
        let before = records.len();
        put_record_in_pieces(records, time_ns.unwrap_or(0), received_ns, access.severity(), |out| {
            out.body(line);
            access.write(out);
            for (name, value) in source.attributes {
                out.attribute_value(name, *value);
            }
        });
        self.bytes += records.len() - before;
    }

    /// Whether every record has a time that tells it from an equal one.
    pub(super) fn all_timed(&self) -> bool {
        self.untimed == 0
    }

    /// Bytes of the records so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The request.
    pub(super) fn finish(self) -> Vec<u8> {
        let bytes = self.parts.iter().map(|part| part.records.len() + 2048).sum();
        let mut request = Vec::with_capacity(bytes);
        for part in self.parts {
            put_resource_logs_of(&mut request, &part.identity.attributes(), SCOPE, &part.records);
        }
        request
    }

    fn part_of(&mut self, identity: Identity) -> usize {
        if let Some(part) = self.by_identity.get(&identity) {
            return *part;
        }
        self.parts.push(Part { identity: identity.clone(), records: Vec::new() });
        self.by_identity.insert(identity, self.parts.len() - 1);
        self.parts.len() - 1
    }

    fn part_of_access(&mut self, access: &Access<'_>, upstreams: &Upstreams, source: &Source<'_>) -> usize {
        let upstream = upstreams.find(access);
        if !matches!(access.version, b"" | b"-") {
            let version = bounded(&String::from_utf8_lossy(access.version));
            let service = upstream.and_then(|index| upstreams.get(index).service.clone());
            let said = Identity { version: Some(version), service, ..Identity::default() };
            return self.part_of(said.or(source.identity));
        }
        if self.routes.as_ref().is_none_or(|routes| routes.source != *source.identity) {
            self.routes = Some(Routes { source: source.identity.clone(), parts: Vec::new() });
        }
        let slot = upstream.map_or(0, |index| index + 1);
        let known = self.routes.as_ref().and_then(|routes| routes.parts.get(slot).copied().flatten());
        if let Some(part) = known {
            return part;
        }
        let said = upstream.map(|index| upstreams.get(index)).map_or_else(Identity::default, |upstream| Identity {
            service: upstream.service.clone(),
            version: Some(upstream.version.clone()),
            ..Identity::default()
        });
        let part = self.part_of(said.or(source.identity));
        if let Some(routes) = &mut self.routes {
            routes.parts.resize(routes.parts.len().max(slot + 1), None);
            routes.parts[slot] = Some(part);
        }
        part
    }
}

impl Identity {
    pub(crate) fn or(self, default: &Identity) -> Identity {
        Identity {
            service: self.service.or_else(|| default.service.clone()),
            namespace: self.namespace.or_else(|| default.namespace.clone()),
            version: self.version.or_else(|| default.version.clone()),
            environment: self.environment.or_else(|| default.environment.clone()),
            instance: self.instance.or_else(|| default.instance.clone()),
        }
    }

    pub(crate) fn attributes(&self) -> Vec<(&'static str, write::Value<'_>)> {
        [
            (SERVICE_NAME, &self.service),
            (SERVICE_NAMESPACE, &self.namespace),
            (SERVICE_VERSION, &self.version),
            (DEPLOYMENT_ENVIRONMENT, &self.environment),
            (SERVICE_INSTANCE_ID, &self.instance),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, write::Value::String(value.as_deref()?.as_bytes()))))
        .collect()
    }
}

impl Value {
    pub(crate) fn borrowed(&self) -> write::Value<'_> {
        match self {
            Value::Text(text) => write::Value::String(text.as_bytes()),
            Value::Int(number) => write::Value::Int(*number),
            Value::Double(number) => write::Value::Double(*number),
            Value::Bool(value) => write::Value::Bool(*value),
        }
    }
}
