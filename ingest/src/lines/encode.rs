//! Lines become an `ExportLogsServiceRequest`: one resource for each release and instance that they name.

use std::collections::BTreeMap;

use shipwake_model::release::{
    DEPLOYMENT_ENVIRONMENT, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION,
};
use shipwake_otlp::write::{self, LogLine, put_log_record, put_resource_logs};

use super::fields::{Line, Value};

/// The scope of records that were lines.
const SCOPE: &str = "shipwake.lines";

/// What is said about where a line comes from. What is not said is left to the tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) service: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) version: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) instance: Option<String>,
}

/// The lines of a request.
pub(super) struct Batch<'a> {
    default: &'a Identity,
    received_ns: u64,
    records: BTreeMap<Identity, Vec<u8>>,
    untimed: u64,
}

impl<'a> Batch<'a> {
    /// `default` says what a line does not say itself.
    pub(super) fn new(default: &'a Identity, received_ns: i64) -> Self {
        let received_ns = u64::try_from(received_ns).unwrap_or(0);
        Batch { default, received_ns, records: BTreeMap::new(), untimed: 0 }
    }

    pub(super) fn push(&mut self, line: Line) {
        self.untimed += u64::from(line.time_ns.is_none());
        let identity = line.identity.or(self.default);
        let attributes: Vec<(&str, write::Value<'_>)> =
            line.attributes.iter().map(|(name, value)| (name.as_str(), value.borrowed())).collect();
        let record = LogLine {
            time_unix_nano: line.time_ns.unwrap_or(0),
            observed_time_unix_nano: self.received_ns,
            severity_number: line.severity,
            severity_text: line.severity_text.as_bytes(),
            body: line.message.as_deref().map_or(write::Value::Empty, |text| write::Value::String(text.as_bytes())),
            attributes: &attributes,
            flags: 0,
            trace_id: &line.trace_id,
            span_id: &line.span_id,
            event_name: b"",
        };
        put_log_record(self.records.entry(identity).or_default(), &record);
    }

    /// Whether every line has a time of its own.
    pub(super) fn all_timed(&self) -> bool {
        self.untimed == 0
    }

    /// The request.
    pub(super) fn finish(self) -> Vec<u8> {
        let bytes: usize = self.records.values().map(|records| records.len() + 512).sum();
        let mut request = Vec::with_capacity(bytes);
        for (identity, records) in self.records {
            let resource = identity.attributes();
            put_resource_logs(&mut request, &resource, SCOPE, |out| out.extend_from_slice(&records));
        }
        request
    }
}

impl Identity {
    fn or(self, default: &Identity) -> Identity {
        Identity {
            service: self.service.or_else(|| default.service.clone()),
            namespace: self.namespace.or_else(|| default.namespace.clone()),
            version: self.version.or_else(|| default.version.clone()),
            environment: self.environment.or_else(|| default.environment.clone()),
            instance: self.instance.or_else(|| default.instance.clone()),
        }
    }

    fn attributes(&self) -> Vec<(&'static str, write::Value<'_>)> {
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
    fn borrowed(&self) -> write::Value<'_> {
        match self {
            Value::Text(text) => write::Value::String(text.as_bytes()),
            Value::Int(number) => write::Value::Int(*number),
            Value::Double(number) => write::Value::Double(*number),
            Value::Bool(value) => write::Value::Bool(*value),
        }
    }
}
