//! Events become an `ExportLogsServiceRequest`: log records with an event name, under one resource for each release and
//! instance that they name. `value`, `unit`, `user.id` and `session.id` are attributes, as in events that come by OTLP.

use std::collections::BTreeMap;

use shipwake_otlp::write::{self, LogLine, put_log_record, put_resource_logs};

use crate::lines::{Identity, Value};

/// The scope of records that came as events.
const SCOPE: &str = "shipwake.events";

/// An event as it was sent. Empty texts were not sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) identity: Identity,
    pub(super) name: String,
    pub(super) value: Option<f64>,
    pub(super) unit: String,
    pub(super) user: String,
    pub(super) session: String,
    /// Nanoseconds since the epoch.
    pub(super) time_ns: Option<u64>,
    pub(super) attributes: Vec<(String, Value<'static>)>,
}

/// The events of a request.
pub(super) struct Batch<'a> {
    default: &'a Identity,
    received_ns: u64,
    records: BTreeMap<Identity, Vec<u8>>,
    untimed: u64,
}

impl<'a> Batch<'a> {
    /// `default` says what an event does not say itself.
    pub(super) fn new(default: &'a Identity, received_ns: i64) -> Self {
        let received_ns = u64::try_from(received_ns).unwrap_or(0);
        Batch { default, received_ns, records: BTreeMap::new(), untimed: 0 }
    }

    /// Adds an event, unless nobody says whose it is.
    pub(super) fn push(&mut self, event: Event) -> Result<(), String> {
        let identity = event.identity.or(self.default);
        if identity.service.is_none() {
            return Err("service is missing".to_owned());
        }
        self.untimed += u64::from(event.time_ns.is_none());
        let mut attributes: Vec<(&str, write::Value<'_>)> = Vec::with_capacity(event.attributes.len() + 4);
        attributes.extend(event.value.map(|value| ("value", write::Value::Double(value))));
        for (name, text) in [("unit", &event.unit), ("user.id", &event.user), ("session.id", &event.session)] {
            if !text.is_empty() {
                attributes.push((name, write::Value::String(text.as_bytes())));
            }
        }
        let meant = attributes.len();
        for (name, value) in &event.attributes {
            // A field of the event says more than an attribute of the same name.
            if !attributes[..meant].iter().any(|(known, _)| known == name) {
                attributes.push((name, value.borrowed()));
            }
        }
        let record = LogLine {
            time_unix_nano: event.time_ns.unwrap_or(0),
            observed_time_unix_nano: self.received_ns,
            attributes: &attributes,
            event_name: event.name.as_bytes(),
            ..LogLine::default()
        };
        put_log_record(self.records.entry(identity).or_default(), &record);
        Ok(())
    }

    /// Whether every event has a time of its own.
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
