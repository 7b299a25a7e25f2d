//! What counts as a request, and which of them failed: the rules by which release health is read from spans, metrics and
//! log records.
//!
//! Pure. Old and new names of OpenTelemetry's conventions are understood side by side, because a service's SDKs rarely
//! change all at once.

use shipwake_otlp::AnyValue;

use crate::product::who::Who;
use crate::routes::RouteParts;

/// SPAN_KIND_SERVER: only these count, since a request has one server span and any number of others.
pub const SERVER: i32 = 2;
/// STATUS_CODE_ERROR.
const STATUS_ERROR: i32 = 2;
/// SEVERITY_NUMBER_ERROR.
pub const SEVERITY_ERROR: i32 = 17;
/// gRPC statuses that are the server's fault, by OpenTelemetry's conventions: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
/// INTERNAL, UNAVAILABLE, DATA_LOSS.
const GRPC_FAULTS: [i64; 6] = [2, 4, 12, 13, 14, 15];
const GRPC_FAULT_NAMES: [&[u8]; 6] =
    [b"UNKNOWN", b"DEADLINE_EXCEEDED", b"UNIMPLEMENTED", b"INTERNAL", b"UNAVAILABLE", b"DATA_LOSS"];

/// What the attributes of a span, point or log record say about a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestParts<'a> {
    /// What the route is made from.
    pub route: RouteParts<'a>,
    /// HTTP status, or 0.
    pub http_status: i64,
    /// Whether an RPC status says that the server failed.
    pub rpc_fault: bool,
    /// Whether an RPC status is there.
    pub has_rpc_status: bool,
    /// Whether `error.type` is there.
    pub has_error_type: bool,
    /// Whether the record is an access-log line.
    pub access_log: bool,
    /// `http.server.request.duration` of an access-log line, in seconds.
    pub duration_s: Option<f64>,
    /// `exception.type`, or empty.
    pub exception_type: &'a [u8],
    /// `exception.message`, or empty.
    pub exception_message: &'a [u8],
    /// `event.name`, by which events were named before log records had a field for it; or empty.
    pub event_name: &'a [u8],
    /// Whether it tells of a deployment: `deployment.status`, or a pipeline's task of the type `deploy`.
    pub is_deployment: bool,
    /// Whose record it is.
    pub who: Who,
}

impl<'a> RequestParts<'a> {
    /// Takes note of one attribute.
    #[inline]
    pub fn take(&mut self, key: &[u8], value: &AnyValue<'a>) {
        // Most attributes are none of these: the first letters sort them out before any comparison of whole keys.
        if key.len() < 7 || !matches!(key[0], b'h' | b'u' | b'r' | b'e' | b's' | b'f') {
            match (key.len(), key) {
                (17, b"deployment.status") => self.is_deployment = true,
                (23, b"cicd.pipeline.task.type") => self.is_deployment = text(value) == b"deploy",
                _ => {}
            }
            return;
        }
        match key {
            b"user.id" | b"enduser.id" | b"session.id" | b"feature_flag.key" => self.who.take(key, value),
            b"http.route" => self.route.route = text(value),
            b"http.request.method" | b"http.method" => self.route.method = text(value),
            b"url.path" => self.route.path = text(value),
            b"http.target" if self.route.path.is_empty() => self.route.path = text(value),
            b"http.response.status_code" | b"http.status_code" => self.http_status = number(value),
            b"rpc.service" => self.route.rpc_service = text(value),
            b"rpc.method" => self.route.rpc_method = text(value),
            b"rpc.grpc.status_code" | b"rpc.response.status_code" => {
                self.has_rpc_status = true;
                self.rpc_fault = is_rpc_fault(value);
            }
            b"error.type" => self.has_error_type = true,
            b"event.name" => self.event_name = text(value),
            b"exception.type" => self.exception_type = text(value),
            b"exception.message" => self.exception_message = text(value),
            b"shipwake.access_log" => self.access_log = is_true(value),
            b"http.server.request.duration" => self.duration_s = decimal(value),
            _ => {}
        }
    }

    /// Whether a server span failed: by its own status, by an HTTP status of 500 or more, or by the status of the RPC.
    #[inline]
    pub fn span_failed(&self, status_code: i32) -> bool {
        status_code == STATUS_ERROR || self.http_status >= 500 || self.rpc_fault
    }

    /// Whether the requests of a metric point failed. Without any status the presence of `error.type` decides; with one it
    /// does not, as it is also set for a 404.
    pub fn point_failed(&self) -> bool {
        let has_status = self.http_status != 0 || self.has_rpc_status;
        self.http_status >= 500 || self.rpc_fault || (self.has_error_type && !has_status)
    }
}

/// Whether a log record stands in for a request of a service that sends nothing better. An event without a severity says
/// that something happened to a customer, not that the service answered.
pub fn stands_in(event_name: &[u8], severity: i32) -> bool {
    event_name.is_empty() || severity != 0
}

/// A family of duration metrics: both names measure the same requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// HTTP servers.
    Http,
    /// RPC servers.
    Rpc,
}

/// A metric that release health can be read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DurationMetric {
    /// What it measures.
    pub family: Family,
    /// Whether this is the new name of the family.
    pub new_name: bool,
    /// Microseconds in one of its units.
    pub us_per_unit: f64,
}

/// Recognises the duration metrics of servers by name. The unit is the one the point states, else the one the name implies.
pub fn duration_metric(name: &[u8], unit: &[u8]) -> Option<DurationMetric> {
    let (family, new_name, implied) = match name {
        b"http.server.request.duration" => (Family::Http, true, 1e6),
        b"http.server.duration" => (Family::Http, false, 1e3),
        b"rpc.server.call.duration" => (Family::Rpc, true, 1e6),
        b"rpc.server.duration" => (Family::Rpc, false, 1e3),
        _ => return None,
    };
    let us_per_unit = match unit {
        b"s" => 1e6,
        b"ms" => 1e3,
        b"us" => 1.0,
        b"ns" => 1e-3,
        _ => implied,
    };
    Some(DurationMetric { family, new_name, us_per_unit })
}

fn text<'a>(value: &AnyValue<'a>) -> &'a [u8] {
    value.as_bytes().unwrap_or(b"")
}

fn number(value: &AnyValue<'_>) -> i64 {
    match value {
        AnyValue::Int(number) => *number,
        AnyValue::Double(number) => *number as i64,
        AnyValue::String(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0),
        _ => 0,
    }
}

fn decimal(value: &AnyValue<'_>) -> Option<f64> {
    let number = match value {
        AnyValue::Int(number) => *number as f64,
        AnyValue::Double(number) => *number,
        AnyValue::String(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        _ => return None,
    };
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn is_true(value: &AnyValue<'_>) -> bool {
    matches!(value, AnyValue::Bool(true) | AnyValue::String(b"true"))
}

fn is_rpc_fault(value: &AnyValue<'_>) -> bool {
    match value {
        AnyValue::Int(code) => GRPC_FAULTS.contains(code),
        AnyValue::String(name) => {
            let code = std::str::from_utf8(name).ok().and_then(|text| text.parse::<i64>().ok());
            code.map_or(GRPC_FAULT_NAMES.contains(name), |code| GRPC_FAULTS.contains(&code))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(attributes: &[(&str, AnyValue<'a>)]) -> RequestParts<'a> {
        let mut out = RequestParts::default();
        for (key, value) in attributes {
            out.take(key.as_bytes(), value);
        }
        out
    }

    #[test]
    fn old_and_new_names_say_the_same() {
        let old = parts(&[("http.method", AnyValue::String(b"GET")), ("http.status_code", AnyValue::Int(503))]);
        let new = parts(&[
            ("http.request.method", AnyValue::String(b"GET")),
            ("http.response.status_code", AnyValue::Int(503)),
        ]);
        for found in [old, new] {
            assert_eq!(found.route.method, b"GET");
            assert!(found.span_failed(0) && found.point_failed());
        }
    }

    #[test]
    fn client_errors_are_not_the_servers() {
        let not_found =
            parts(&[("http.response.status_code", AnyValue::Int(404)), ("error.type", AnyValue::String(b"404"))]);
        assert!(!not_found.span_failed(0) && !not_found.point_failed());
        assert!(not_found.span_failed(STATUS_ERROR));
        let rpc = |code| parts(&[("rpc.grpc.status_code", code)]);
        assert!(rpc(AnyValue::Int(13)).span_failed(0) && !rpc(AnyValue::Int(5)).span_failed(0));
        assert!(rpc(AnyValue::String(b"INTERNAL")).point_failed() && !rpc(AnyValue::String(b"OK")).point_failed());
        assert!(parts(&[("error.type", AnyValue::String(b"timeout"))]).point_failed());
    }

    #[test]
    fn duration_metrics_are_known_by_name_and_scaled_by_unit() {
        let scale = |name: &str, unit: &str| duration_metric(name.as_bytes(), unit.as_bytes()).map(|m| m.us_per_unit);
        assert_eq!(scale("http.server.request.duration", "s"), Some(1e6));
        assert_eq!(scale("http.server.duration", "ms"), Some(1e3));
        assert_eq!(scale("http.server.duration", "s"), Some(1e6));
        assert_eq!(scale("rpc.server.duration", ""), Some(1e3));
        assert_eq!(scale("http.client.request.duration", "s"), None);
    }
}
