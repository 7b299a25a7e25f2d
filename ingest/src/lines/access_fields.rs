//! Fields that are those of an access log: nginx's JSON formats, Caddy, Traefik, Envoy, ingress-nginx, and the request
//! loggers of web frameworks. They get the names that the text formats have, so that the record counts as a request.
//!
//! A line is one only when it has a method, a path, a status, and who asked: the address of a client or its user agent. A
//! program that logs the calls that it makes itself has no client, and its calls are not its requests.

use super::access::Upstream;
use super::access::request::{RequestLine, is_known_method, whole_version};
use super::fields::{Line, Value};
use super::rules::{Rules, Unit};

const STATUS: &[&str] = &[
    "http.response.status_code",
    "http.status_code",
    "status",
    "status_code",
    "statuscode",
    "response_code",
    "downstreamstatus",
    "response.status",
    "res.statuscode",
    "http_status",
];
const REQUEST_LINE: &[&str] = &["request", "request_line"];
const METHOD: &[&str] = &[
    "http.request.method",
    "http.method",
    "method",
    "request_method",
    "requestmethod",
    "request.method",
    "req.method",
];
const PATH: &[&str] = &[
    "url.path",
    "http.target",
    "uri",
    "request_uri",
    "path",
    "requestpath",
    "request.uri",
    "request.path",
    "request.url",
    "req.url",
    "url",
];
const CLIENT: &[&str] = &[
    "client.address",
    "remote_addr",
    "client_ip",
    "remote_ip",
    "request.client_ip",
    "request.remote_ip",
    "clienthost",
    "client_addr",
    "clientip",
    "remote_host",
    "req.remoteaddress",
    "downstream_remote_address",
    "ip",
];
const AGENT: &[&str] = &[
    "user_agent.original",
    "http_user_agent",
    "user_agent",
    "useragent",
    "agent",
    "request.headers.user-agent",
    "req.headers.user-agent",
    "request_user-agent",
];
const REFERER: &[&str] = &["http_referer", "http_referrer", "referer", "referrer", "request.headers.referer"];
const PROTOCOL: &[&str] = &["server_protocol", "protocol", "proto", "request.proto", "requestprotocol"];
const HOST: &[&str] =
    &["server.address", "http_host", "host", "server_name", "request.host", "requesthost", "authority"];
const BYTES: &[&str] =
    &["body_bytes_sent", "bytes_sent", "size", "bytes_out", "downstreamcontentsize", "response_size"];
const TIME: &[&str] = &["time_iso8601", "time_local", "msec", "start_time", "startutc", "startlocal"];
const ADDRESS: &[&str] =
    &["upstream_addr", "upstream_address", "upstream_host", "serviceaddr", "serviceurl", "upstream"];
/// A canary of ingress-nginx answers under the name of the alternative, if there is one.
const BACKEND: &[&str] = &[
    "proxy_alternative_upstream_name",
    "backend",
    "backend_name",
    "proxy_upstream_name",
    "upstream_name",
    "upstream_cluster",
    "servicename",
];
const SERVER: &[&str] = &["backend_server", "upstream_server"];
/// Durations whose unit is in their name or beyond doubt.
const DURATIONS: &[(&str, f64)] = &[
    ("http.server.request.duration", 1.0),
    ("request_time", 1.0),
    ("duration_s", 1.0),
    ("duration_seconds", 1.0),
    ("duration_ms", 1e3),
    ("elapsed_ms", 1e3),
    ("latency_ms", 1e3),
    ("response_time_ms", 1e3),
    ("request_time_ms", 1e3),
    ("responsetime", 1e3),
    ("duration_us", 1e6),
    ("latency_human", 1.0),
];
/// Durations whose unit depends on who writes them, or is in their text.
const DURATIONS_OF_SOMEBODY: &[&str] = &["duration", "latency", "elapsed", "response_time", "took"];

/// Gives the line the attributes of a request, if it is one.
pub(super) fn recognise(line: &mut Line, rules: &Rules) {
    let Some((status_at, status)) = status_of(line) else { return };
    let Some(request) = Request::of(line) else { return };
    let agent_at = find(line, AGENT);
    if agent_at.is_none() && find(line, CLIENT).is_none() {
        return;
    }
    let duration = duration_of(line, &line.attributes[status_at].0, rules);
    let mut taken: Vec<usize> = request.taken.iter().copied().chain([status_at]).collect();
    taken.extend(duration.map(|(index, _)| index));

    let mut attributes = request.attributes;
    attributes.push(("http.response.status_code".to_owned(), Value::Int(status)));
    attributes.extend(duration.map(|(_, seconds)| ("http.server.request.duration".to_owned(), Value::Double(seconds))));
    for (name, names) in [
        ("client.address", CLIENT),
        ("user_agent.original", AGENT),
        ("http.request.header.referer", REFERER),
        ("server.address", HOST),
        ("http.response.body.size", BYTES),
    ] {
        if let Some(index) = find(line, names) {
            taken.push(index);
            attributes.push((name.to_owned(), item_of_list(&line.attributes[index].1)));
        }
    }
    take_upstream(line, rules, &mut taken, &mut attributes);
    if line.time_ns.is_none()
        && let Some(index) = find(line, TIME)
    {
        line.time_ns = line.attributes[index].1.to_time(rules);
        taken.extend(line.time_ns.map(|_| index));
    }

    let mut index = 0;
    line.attributes.retain(|_| {
        index += 1;
        !taken.contains(&(index - 1))
    });
    attributes.retain(|(_, value)| !matches!(value, Value::Text(text) if text.is_empty() || text == "-"));
    line.attributes.append(&mut attributes);
    line.is_request = true;
    if line.severity == 0 {
        line.severity = if status >= 500 { 17 } else { 9 };
    }
    line.message = line.message.take().or(Some(format!("{} {status}", request.text)));
}

/// Method and path, and what else belongs to the request.
struct Request {
    /// Method and path, for people.
    text: String,
    attributes: Vec<(String, Value)>,
    taken: Vec<usize>,
}

impl Request {
    fn of(line: &Line) -> Option<Request> {
        let given = |index: usize| match &line.attributes[index].1 {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        if let (Some(method_at), Some(path_at)) = (find(line, METHOD), find(line, PATH)) {
            let (method, target) = (given(method_at)?, given(path_at)?);
            let mut taken = vec![method_at, path_at];
            let protocol = find(line, PROTOCOL).and_then(|index| Some((index, given(index)?.strip_prefix("HTTP/")?)));
            taken.extend(protocol.map(|(index, _)| index));
            // The line says the same again.
            taken.extend(find(line, REQUEST_LINE));
            let version = protocol.map_or(&b""[..], |(_, version)| whole_version(version.as_bytes()));
            let request = RequestLine { version, ..RequestLine::of_target(target.as_bytes()) };
            let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
            let is_path = target.starts_with('/') || target == "*" || !request.host.is_empty();
            return (is_method && is_path).then(|| Request::made_of(&method.to_ascii_uppercase(), &request, taken));
        }
        let index = find(line, REQUEST_LINE)?;
        let request = RequestLine::parse(given(index)?.as_bytes());
        let method = std::str::from_utf8(request.method).ok().filter(|method| !method.is_empty())?;
        Some(Request::made_of(method, &request, vec![index]))
    }

    fn made_of(method: &str, request: &RequestLine<'_>, taken: Vec<usize>) -> Request {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let known = is_known_method(method.as_bytes());
        let mut attributes = vec![
            ("shipwake.access_log".to_owned(), Value::Bool(true)),
            ("http.request.method".to_owned(), Value::Text(if known { method } else { "_OTHER" }.to_owned())),
        ];
        if !known {
            attributes.push(("http.request.method_original".to_owned(), Value::Text(method.to_owned())));
        }
        for (name, part) in [
            ("url.path", request.path),
            ("url.query", request.query),
            ("url.scheme", request.scheme),
            ("network.protocol.version", request.version),
        ] {
            attributes.push((name.to_owned(), Value::Text(text(part))));
        }
        Request { text: format!("{method} {}", text(request.path)), attributes, taken }
    }
}

/// Where the status is, and what it is.
fn status_of(line: &Line) -> Option<(usize, i64)> {
    let index = find(line, STATUS)?;
    let status = match &line.attributes[index].1 {
        Value::Int(status) => *status,
        Value::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (100..=999).contains(&status).then_some((index, status))
}

/// Where the duration is, and what it is in seconds. `status_name` tells whose line this is where the unit depends on it.
fn duration_of(line: &Line, status_name: &str, rules: &Rules) -> Option<(usize, f64)> {
    for (name, in_second) in DURATIONS {
        if let Some(index) = find(line, &[name]) {
            return seconds(&line.attributes[index].1, Some(*in_second)).map(|seconds| (index, seconds));
        }
    }
    let index = find(line, DURATIONS_OF_SOMEBODY)?;
    let in_second = if let Some(unit) = rules.duration_unit {
        Some(unit.in_second())
    } else if status_name.eq_ignore_ascii_case("downstreamstatus") {
        // Traefik counts nanoseconds, Envoy milliseconds, Caddy seconds.
        Some(1e9)
    } else if status_name.eq_ignore_ascii_case("response_code") {
        Some(Unit::Milliseconds.in_second())
    } else {
        find(line, &["request.uri"]).map(|_| 1.0)
    };
    seconds(&line.attributes[index].1, in_second).map(|seconds| (index, seconds))
}

/// The seconds of a number, or of a text that has a unit: `12ms`, `5.8µs`.
fn seconds(value: &Value, in_second: Option<f64>) -> Option<f64> {
    let seconds = match value {
        Value::Int(number) => *number as f64 / in_second?,
        Value::Double(number) => number / in_second?,
        Value::Text(text) => {
            let text = text.trim();
            let len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let in_second = match &text[len..] {
                "" => in_second?,
                "s" => 1.0,
                "ms" => 1e3,
                "us" | "µs" | "μs" => 1e6,
                "ns" => 1e9,
                _ => return None,
            };
            text[..len].parse::<f64>().ok()? / in_second
        }
        Value::Bool(_) => return None,
    };
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// Names the upstream, and gives the line the version that is mapped to it unless it says one itself.
fn take_upstream(line: &mut Line, rules: &Rules, taken: &mut Vec<usize>, attributes: &mut Vec<(String, Value)>) {
    let mut part = |name: &str, names: &[&str]| -> String {
        let Some(index) = find(line, names) else { return String::new() };
        taken.push(index);
        let text = line.attributes[index].1.to_text();
        attributes.push((name.to_owned(), Value::Text(text.clone())));
        text
    };
    let backend = part("proxy.backend", BACKEND);
    let server = part("proxy.server", SERVER);
    let address = part("proxy.upstream.address", ADDRESS);
    let logged = Upstream {
        backend: backend.as_bytes(),
        server: server.as_bytes(),
        address: address.as_bytes(),
        ..Upstream::default()
    };
    let Some(index) = rules.upstreams.find_logged(&logged) else { return };
    let upstream = rules.upstreams.get(index);
    if line.identity.version.is_none() {
        line.identity.version = Some(upstream.version.clone());
        line.identity.service = line.identity.service.take().or_else(|| upstream.service.clone());
    }
}

/// Caddy writes headers as lists: `["curl/8.5.0"]`, which is JSON text here.
fn item_of_list(value: &Value) -> Value {
    if let Value::Text(text) = value
        && text.starts_with("[\"")
        && let Ok(items) = serde_json::from_str::<Vec<String>>(text)
        && let [item] = items.as_slice()
    {
        return Value::Text(item.clone());
    }
    value.clone()
}

/// The attribute with the first of the names that is there and says something.
fn find(line: &Line, names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| {
        let found = |(field, value): &(String, Value)| {
            field.eq_ignore_ascii_case(name) && !matches!(value, Value::Text(text) if text.is_empty() || text == "-")
        };
        line.attributes.iter().position(found)
    })
}

#[cfg(test)]
mod tests;
