//! Markers, changes of verdicts and attempts to tell of them become an `ExportLogsServiceRequest`: log records with an event name, each on the resource of its
//! release. Pure.

use shipwake_model::release::{DEPLOYMENT_ENVIRONMENT, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION};
use shipwake_model::{
    Marker, Notification, ReleaseId, UNVERSIONED, VerdictChange, marker, notification, verdict_change,
};
use shipwake_otlp::write::{LogLine, Value, put_log_record, put_resource_logs};

use crate::split::{Repetition, hash_of_key};

/// The scope of records that say something about a release.
const SCOPE: &str = "shipwake.markers";

/// The request of some markers.
pub(super) fn request(markers: &[Marker], received_ns: i64) -> Vec<u8> {
    let mut request = Vec::new();
    for marker in markers {
        put(&mut request, &marker.release, marker.at_ns, received_ns, marker::EVENT_NAME, &marker.attributes());
    }
    request
}

/// The request of a change of a verdict.
pub(super) fn request_of_verdict(change: &VerdictChange, received_ns: i64) -> Vec<u8> {
    let mut request = Vec::new();
    let (name, attributes) = (verdict_change::EVENT_NAME, change.attributes());
    put(&mut request, &change.release, change.at_ns, received_ns, name, &attributes);
    request
}

/// The request of an attempt to tell somebody.
pub(super) fn request_of_notification(told: &Notification, received_ns: i64) -> Vec<u8> {
    let mut request = Vec::new();
    put(&mut request, &told.release, told.at_ns, received_ns, notification::EVENT_NAME, &told.attributes());
    request
}

/// What tells markers that are sent again: everything that they say.
pub(super) fn repetition(tenant: &str, markers: &[Marker]) -> Repetition {
    // The time of receipt is no part of it.
    Repetition::ByKey(hash_of_key(tenant, "markers", &request(markers, 0)))
}

/// What tells a change that is recorded again: its release and its number.
pub(super) fn repetition_of_verdict(tenant: &str, change: &VerdictChange) -> Repetition {
    let ReleaseId { service, namespace, environment, version } = &change.release;
    let key = [service, namespace, environment, version].map(|text| text.to_string()).join("\0");
    Repetition::ByKey(hash_of_key(tenant, &format!("verdict {}", change.sequence), key.as_bytes()))
}

/// What tells an attempt that is recorded again: everything that it says.
pub(super) fn repetition_of_notification(tenant: &str, told: &Notification) -> Repetition {
    // The time of receipt is no part of it.
    Repetition::ByKey(hash_of_key(tenant, "notification", &request_of_notification(told, 0)))
}

fn put(
    request: &mut Vec<u8>,
    release: &ReleaseId,
    at_ns: i64,
    received_ns: i64,
    event_name: &str,
    attributes: &[(&'static str, String)],
) {
    let resource: Vec<(&str, Value<'_>)> = [
        (SERVICE_NAME, &release.service, ""),
        (SERVICE_NAMESPACE, &release.namespace, ""),
        (DEPLOYMENT_ENVIRONMENT, &release.environment, ""),
        (SERVICE_VERSION, &release.version, UNVERSIONED),
    ]
    .into_iter()
    .filter(|(_, text, nothing)| ***text != **nothing)
    .map(|(name, text, _)| (name, Value::String(text.as_bytes())))
    .collect();
    let attributes: Vec<(&str, Value<'_>)> =
        attributes.iter().map(|(name, text)| (*name, Value::String(text.as_bytes()))).collect();
    let record = LogLine {
        time_unix_nano: u64::try_from(at_ns).unwrap_or(0),
        observed_time_unix_nano: u64::try_from(received_ns).unwrap_or(0),
        attributes: &attributes,
        event_name: event_name.as_bytes(),
        ..LogLine::default()
    };
    put_resource_logs(request, &resource, SCOPE, |out| put_log_record(out, &record));
}
