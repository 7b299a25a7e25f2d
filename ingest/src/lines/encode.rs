//! Records become an `ExportLogsServiceRequest`: one resource for each release and instance that they name.

use std::collections::HashMap;

use shipwake_model::release::{
    DEPLOYMENT_ENVIRONMENT, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION, bounded,
};
use shipwake_otlp::write::{self, put_record, put_record_in_pieces, put_resource_logs_around, put_resource_logs_of};

use super::access::Access;
use super::fields::{Line, Value};
use super::upstreams::Upstreams;

/// The scope of records that were lines.
const SCOPE: &str = "shipwake.lines";

/// What a record takes besides its texts, about: times, lengths, attributes of the source.
const ROOM_BYTES: usize = 256;
/// The same with the names of an access log's attributes.
const ACCESS_ROOM_BYTES: usize = 768;
/// Releases that lines of one source name, and that are found without a hash: blue, green, and a few more.
const RECENT_MAX: usize = 8;

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
    by_identity: HashMap<Identity, usize, ahash::RandomState>,
    /// Where lines of the source at hand go.
    routes: Routes,
    untimed: u64,
    bytes: usize,
    /// What the next part is made large enough for.
    expected_bytes: usize,
}

struct Part {
    identity: Identity,
    records: Vec<u8>,
}

/// Where lines of one source go.
#[derive(Default)]
struct Routes {
    source: Identity,
    /// Lines of access logs, by the number of the upstream, counted from 1; 0 is for none.
    parts: Vec<Option<usize>>,
    /// Other lines, by what they say themselves.
    recent: Vec<(Identity, usize)>,
}

impl Batch {
    pub(super) fn new(received_ns: u64) -> Self {
        Batch {
            received_ns,
            parts: Vec::new(),
            by_identity: HashMap::default(),
            routes: Routes::default(),
            untimed: 0,
            bytes: 0,
            expected_bytes: 0,
        }
    }

    /// A record that was a text of so many bytes.
    pub(super) fn push(&mut self, line: &Line<'_>, text_bytes: usize, source: &Source<'_>) {
        let time_ns = line.time_ns.or(source.time_ns);
        let coarse = line.is_request && time_ns.is_some_and(|time_ns| time_ns.is_multiple_of(1_000_000_000));
        self.untimed += u64::from(time_ns.is_none() || coarse);
        let part = self.part_of(&line.identity, source);
        let received_ns = self.received_ns;
        let records = &mut self.parts[part].records;
        let before = records.len();
        put_record(records, text_bytes * 2 + ROOM_BYTES, |out| {
            out.time(time_ns.unwrap_or(0));
            out.severity(if line.severity == 0 { source.severity } else { line.severity });
            out.severity_text(line.severity_text.as_bytes());
            if let Some(message) = &line.message {
                out.body(message.as_bytes());
            }
            for (name, value) in &line.attributes {
                out.attribute_value(name, value.borrowed());
            }
            for (name, value) in source.attributes {
                out.attribute_value(name, *value);
            }
            out.ids(&line.trace_id, &line.span_id);
            out.observed_time(received_ns);
        });
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
        // What is found in a line is written again, and once only.
        let room = line.len() * 2 + ACCESS_ROOM_BYTES;
        put_record_in_pieces(records, time_ns.unwrap_or(0), received_ns, access.severity(), room, |out| {
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

    /// Makes room for the records of a text, which mostly are of one release. They are up to three times as long as it is;
    /// memory that is not written to costs nothing.
    pub(super) fn expect(&mut self, text_bytes: usize) {
        self.expected_bytes = text_bytes * 3;
    }

    /// The request.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut parts = self.parts.into_iter();
        let Some(Part { identity, records: mut request }) = parts.next() else { return Vec::new() };
        // The first part is the largest, if not the only one: it stays where it is.
        put_resource_logs_around(&mut request, &identity.attributes(), SCOPE);
        for part in parts {
            put_resource_logs_of(&mut request, &part.identity.attributes(), SCOPE, &part.records);
        }
        // A request may wait for the journal, and is charged for its bytes then.
        if request.len() < request.capacity() / 2 {
            request.shrink_to_fit();
        }
        request
    }

    /// Where a line goes that says this of itself.
    fn part_of(&mut self, said: &Identity, source: &Source<'_>) -> usize {
        self.turn_to(source);
        if let Some((_, part)) = self.routes.recent.iter().find(|(recent, _)| recent == said) {
            return *part;
        }
        let part = self.part_with(said.clone().or(source.identity));
        let recent = &mut self.routes.recent;
        if recent.len() == RECENT_MAX {
            recent.remove(0);
        }
        recent.push((said.clone(), part));
        part
    }

    fn part_of_access(&mut self, access: &Access<'_>, upstreams: &Upstreams, source: &Source<'_>) -> usize {
        let upstream = upstreams.find(access);
        if !matches!(access.version, b"" | b"-") {
            let version = bounded(&String::from_utf8_lossy(access.version));
            let service = upstream.and_then(|index| upstreams.get(index).service.clone());
            return self.part_of(&Identity { version: Some(version), service, ..Identity::default() }, source);
        }
        self.turn_to(source);
        let slot = upstream.map_or(0, |index| index + 1);
        if let Some(part) = self.routes.parts.get(slot).copied().flatten() {
            return part;
        }
        let said = upstream.map(|index| upstreams.get(index)).map_or_else(Identity::default, |upstream| Identity {
            service: upstream.service.clone(),
            version: Some(upstream.version.clone()),
            ..Identity::default()
        });
        let part = self.part_with(said.or(source.identity));
        let parts = &mut self.routes.parts;
        parts.resize(parts.len().max(slot + 1), None);
        parts[slot] = Some(part);
        part
    }

    /// Forgets where lines of another source went.
    #[inline]
    fn turn_to(&mut self, source: &Source<'_>) {
        if self.routes.source != *source.identity {
            self.routes = Routes { source: source.identity.clone(), ..Routes::default() };
        }
    }

    fn part_with(&mut self, identity: Identity) -> usize {
        if let Some(part) = self.by_identity.get(&identity) {
            return *part;
        }
        let room = std::mem::take(&mut self.expected_bytes);
        self.parts.push(Part { identity: identity.clone(), records: Vec::with_capacity(room) });
        self.by_identity.insert(identity, self.parts.len() - 1);
        self.parts.len() - 1
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

impl Value<'_> {
    #[inline]
    pub(crate) fn borrowed(&self) -> write::Value<'_> {
        match self {
            Value::Text(text) | Value::Object(text) => write::Value::String(text.as_bytes()),
            Value::Null => write::Value::Empty,
            Value::Int(number) => write::Value::Int(*number),
            Value::Double(number) => write::Value::Double(*number),
            Value::Bool(value) => write::Value::Bool(*value),
        }
    }
}
