//! Fields that are those of an access log: nginx's JSON formats, Caddy, Traefik, Envoy, ingress-nginx, and the request
//! loggers of web frameworks. They get the names that the text formats have, so that the record counts as a request.
//!
//! A line is one only when it has a method, a path, a status, and who asked: the address of a client or its user agent. A
//! program that logs the calls that it makes itself has no client, and its calls are not its requests.

use std::borrow::Cow;

use super::access::Upstream;
use super::access::request::{RequestLine, is_known_method, whole_version};
use super::fields::{Field, Line, Value};
use super::names::{CADDYS_URI, DURATION_UNITS, Known, Role, name};
use super::rules::{Rules, Unit};

/// Room for the attributes of a usual request.
const ATTRIBUTES: usize = 16;

/// The fields of a line, by what they may say.
struct Fields<'f, 'a> {
    all: &'f mut [Field<'a>],
    known: &'f Known,
    /// Those that are something else already.
    taken: &'f mut [bool],
}

/// Gives the line the attributes of a request, if it is one: those that are given back, for the fields that are now taken.
pub(super) fn recognise<'a>(
    line: &mut Line<'a>,
    fields: &mut [Field<'a>],
    known: &Known,
    taken: &mut [bool],
    rules: &Rules,
) -> Vec<Field<'a>> {
    let mut fields = Fields { all: fields, known, taken };
    let none = Vec::new();
    let Some((status_at, status, status_rank)) = fields.status() else { return none };
    let Some(request) = Request::of(&fields, line.message.is_none()) else { return none };
    if fields.find(Role::Agent).is_none() && fields.find(Role::Client).is_none() {
        return none;
    }
    let duration = fields.duration(name(Role::Status, status_rank), rules);
    request.taken.iter().flatten().chain([&status_at]).for_each(|index| fields.taken[*index] = true);
    let mut attributes = request.attributes;
    put(&mut attributes, "http.response.status_code", Value::Int(status));
    if let Some((index, seconds)) = duration {
        fields.taken[index] = true;
        put(&mut attributes, "http.server.request.duration", Value::Double(seconds));
    }
    for (name, role) in [
        ("client.address", Role::Client),
        ("user_agent.original", Role::Agent),
        ("http.request.header.referer", Role::Referer),
        ("server.address", Role::Host),
        ("http.response.body.size", Role::Bytes),
    ] {
        if let Some(index) = fields.find(role) {
            put(&mut attributes, name, item_of_list(fields.take(index)));
        }
    }
    take_upstream(line, &mut fields, rules, &mut attributes);
    if line.time_ns.is_none()
        && let Some(index) = fields.find(Role::TimeOfRequest)
    {
        line.time_ns = fields.all[index].1.to_time(rules);
        fields.taken[index] = line.time_ns.is_some();
    }
    line.is_request = true;
    if line.severity == 0 {
        line.severity = if status >= 500 { 17 } else { 9 };
    }
    if let Some(text) = request.text {
        line.message = Some(Cow::Owned(text + " " + &status.to_string()));
    }
    attributes
}

/// Appends an attribute that says something.
fn put<'a>(attributes: &mut Vec<Field<'a>>, name: &'static str, value: Value<'a>) {
    if says_something(&value) {
        attributes.push((Cow::Borrowed(name), value));
    }
}

fn says_something(value: &Value<'_>) -> bool {
    match value {
        Value::Text(text) => !text.is_empty() && text != "-",
        Value::Null => false,
        _ => true,
    }
}

impl<'a> Fields<'_, 'a> {
    /// The field with the first of the role's names that is there and says something.
    fn find(&self, role: Role) -> Option<usize> {
        self.ranked(role).map(|(_, index)| index)
    }

    /// The same, and which of the names it has.
    fn ranked(&self, role: Role) -> Option<(usize, usize)> {
        self.known.any(role, |index| !self.taken[index] && says_something(&self.all[index].1))
    }

    fn text(&self, index: usize) -> Option<&Cow<'a, str>> {
        match &self.all[index].1 {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a field that is nothing else from now on.
    fn take(&mut self, index: usize) -> Value<'a> {
        self.taken[index] = true;
        std::mem::take(&mut self.all[index].1)
    }

    /// Where the status is, what it is, and under which name.
    fn status(&self) -> Option<(usize, i64, usize)> {
        let (rank, index) = self.ranked(Role::Status)?;
        let status = match &self.all[index].1 {
            Value::Int(status) => *status,
            Value::Text(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        (100..=999).contains(&status).then_some((index, status, rank))
    }

    /// Where the duration is, and what it is in seconds. `status_name` tells whose line this is where the unit depends on it.
    fn duration(&self, status_name: &str, rules: &Rules) -> Option<(usize, f64)> {
        if let Some((rank, index)) = self.ranked(Role::Duration) {
            return seconds(&self.all[index].1, Some(DURATION_UNITS[rank])).map(|seconds| (index, seconds));
        }
        let index = self.find(Role::DurationOfSomebody)?;
        let in_second = if let Some(unit) = rules.duration_unit {
            Some(unit.in_second())
        } else {
            // Traefik counts nanoseconds, Envoy milliseconds, Caddy seconds.
            match status_name {
                "downstreamstatus" => Some(1e9),
                "response_code" => Some(Unit::Milliseconds.in_second()),
                _ => self.has(CADDYS_URI).then_some(1.0),
            }
        };
        seconds(&self.all[index].1, in_second).map(|seconds| (index, seconds))
    }

    /// Whether there is a field with this name that says something.
    fn has(&self, name: &str) -> bool {
        let mut fields = self.all.iter().zip(&*self.taken);
        fields.any(|((field, value), taken)| !taken && field.eq_ignore_ascii_case(name) && says_something(value))
    }
}

/// Method and path, and what else belongs to the request.
struct Request<'a> {
    /// Method and path, for people, if they are wanted.
    text: Option<String>,
    attributes: Vec<Field<'a>>,
    taken: [Option<usize>; 4],
}

impl<'a> Request<'a> {
    fn of(fields: &Fields<'_, 'a>, with_text: bool) -> Option<Request<'a>> {
        let said = fields.find(Role::RequestLine);
        let (Some(method_at), Some(path_at)) = (fields.find(Role::Method), fields.find(Role::Path)) else {
            let parts = Parts::of(fields.text(said?)?, |text| RequestLine::parse(text));
            return (!parts.method.is_empty()).then(|| Request::made_of(parts, [said, None, None, None], with_text));
        };
        let (method, target) = (fields.text(method_at)?, fields.text(path_at)?);
        let mut parts = Parts::of(target, |text| RequestLine::of_target(text));
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
        let is_path = target.starts_with('/') || &**target == "*" || parts.has_host;
        if !is_method || !is_path {
            return None;
        }
        let is_lower = method.bytes().any(|byte| byte.is_ascii_lowercase());
        parts.method = if is_lower { Cow::Owned(method.to_ascii_uppercase()) } else { method.clone() };
        let protocol_at = fields.find(Role::Protocol).filter(|index| {
            let version = fields.text(*index).and_then(|protocol| rest_of(protocol, "HTTP/"));
            version.map(|version| parts.version = version).is_some()
        });
        // The request line says the same again.
        Some(Request::made_of(parts, [Some(method_at), Some(path_at), protocol_at, said], with_text))
    }

    fn made_of(parts: Parts<'a>, taken: [Option<usize>; 4], with_text: bool) -> Request<'a> {
        let text = with_text.then(|| [&*parts.method, " ", &parts.path].concat());
        let mut attributes = Vec::with_capacity(ATTRIBUTES);
        put(&mut attributes, "shipwake.access_log", Value::Bool(true));
        if is_known_method(parts.method.as_bytes()) {
            put(&mut attributes, "http.request.method", Value::Text(parts.method));
        } else {
            put(&mut attributes, "http.request.method", Value::Text("_OTHER".into()));
            put(&mut attributes, "http.request.method_original", Value::Text(parts.method));
        }
        put(&mut attributes, "url.path", Value::Text(parts.path));
        put(&mut attributes, "url.query", Value::Text(parts.query));
        put(&mut attributes, "url.scheme", Value::Text(parts.scheme));
        put(&mut attributes, "network.protocol.version", Value::Text(parts.version));
        Request { text, attributes, taken }
    }
}

/// The parts of a request line: slices of the line's own text, where it was one.
struct Parts<'a> {
    method: Cow<'a, str>,
    path: Cow<'a, str>,
    query: Cow<'a, str>,
    scheme: Cow<'a, str>,
    version: Cow<'a, str>,
    has_host: bool,
}

impl<'a> Parts<'a> {
    fn of(text: &Cow<'a, str>, read: impl for<'t> Fn(&'t [u8]) -> RequestLine<'t>) -> Self {
        match text {
            Cow::Borrowed(text) => Parts::made_of(&read(text.as_bytes()), slice),
            Cow::Owned(text) => {
                Parts::made_of(&read(text.as_bytes()), |part| String::from_utf8_lossy(part).into_owned().into())
            }
        }
    }

    fn made_of<'t>(line: &RequestLine<'t>, text: impl Fn(&'t [u8]) -> Cow<'a, str>) -> Self {
        Parts {
            method: text(line.method),
            path: text(line.path),
            query: text(line.query),
            scheme: text(line.scheme),
            version: text(line.version),
            has_host: !line.host.is_empty(),
        }
    }
}

/// A part of a text, cut at bytes that are characters.
fn slice(part: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(part).map_or_else(|_| String::from_utf8_lossy(part), Cow::Borrowed)
}

/// The version behind the name of a protocol.
fn rest_of<'a>(protocol: &Cow<'a, str>, name: &str) -> Option<Cow<'a, str>> {
    let version = |text: &str| text.strip_prefix(name).map(|version| whole_version(version.as_bytes()).len());
    // What is left of a version is its beginning.
    let (start, len) = (name.len(), version(protocol)?);
    Some(match protocol {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..start + len]),
        Cow::Owned(text) => Cow::Owned(text[start..start + len].to_owned()),
    })
}

/// The seconds of a number, or of a text that has a unit: `12ms`, `5.8µs`.
fn seconds(value: &Value<'_>, in_second: Option<f64>) -> Option<f64> {
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
        Value::Bool(_) | Value::Null | Value::Object(_) => return None,
    };
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// Names the upstream, and gives the line the version that is mapped to it unless it says one itself.
fn take_upstream<'a>(line: &mut Line<'a>, fields: &mut Fields<'_, 'a>, rules: &Rules, attributes: &mut Vec<Field<'a>>) {
    let mut part = |name: &'static str, role: Role| -> Cow<'a, str> {
        let Some(index) = fields.find(role) else { return Cow::Borrowed("") };
        let text = fields.take(index).to_text();
        put(attributes, name, Value::Text(text.clone()));
        text
    };
    let backend = part("proxy.backend", Role::Backend);
    let server = part("proxy.server", Role::Server);
    let address = part("proxy.upstream.address", Role::Address);
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
fn item_of_list(value: Value<'_>) -> Value<'_> {
    if let Value::Text(text) = &value
        && text.starts_with("[\"")
        && let Ok([item]) = serde_json::from_str::<[String; 1]>(text)
    {
        return Value::Text(item.into());
    }
    value
}

#[cfg(test)]
mod tests;
