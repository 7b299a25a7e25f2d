//! What to tell a sender that asked for a path which does not exist: the mistakes that people make with the endpoint of an
//! OTLP exporter have shapes of their own. Pure; the text is shown on the Start page, too.

const KNOWN: &str = "POST to /v1/logs, /v1/metrics, /v1/traces, /v1/lines, /v1/events, /v1/markers or /api/v1/write (Prometheus), or use OTLP over gRPC";
const TWICE: &str = "the endpoint is set with a path, and SDKs add /v1/logs, /v1/metrics or /v1/traces themselves: set \
                     OTEL_EXPORTER_OTLP_ENDPOINT to the address alone";
const NOTHING: &str = "an endpoint of one signal is taken as it is: end it with /v1/logs, /v1/metrics or /v1/traces, or set \
                       OTEL_EXPORTER_OTLP_ENDPOINT instead, to which SDKs add the path";
const OTHER_FORMAT: &str = "that is the path of another format than OTLP: use an OTLP exporter, over HTTP or gRPC";

/// Paths of the three signals.
const SIGNALS: [&str; 3] = ["/v1/logs", "/v1/metrics", "/v1/traces"];
/// Where Zipkin, Jaeger, Loki and Elasticsearch take their own formats.
const OTHER_FORMATS: [&str; 5] = ["/api/v2/spans", "/api/v1/spans", "/api/traces", "/loki/api/v1/push", "/_bulk"];

/// What would have been right in place of `path`.
pub(crate) fn advice(path: &str) -> &'static str {
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return NOTHING;
    }
    if SIGNALS.iter().any(|signal| path.len() > signal.len() && path.ends_with(signal)) {
        return TWICE;
    }
    if OTHER_FORMATS.contains(&path) { OTHER_FORMAT } else { KNOWN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_mistakes_are_told_apart() {
        for (path, expected) in [
            ("/", NOTHING),
            ("", NOTHING),
            ("/v1/traces/v1/traces", TWICE),
            ("/otlp/v1/logs", TWICE),
            ("/v1/metrics/v1/logs/", TWICE),
            ("/api/v2/spans", OTHER_FORMAT),
            ("/loki/api/v1/push", OTHER_FORMAT),
            ("/v1/trace", KNOWN),
            ("/favicon.ico", KNOWN),
        ] {
            assert_eq!(advice(path), expected, "{path}");
        }
    }
}
