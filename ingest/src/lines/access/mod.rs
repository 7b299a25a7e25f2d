//! Access logs of nginx, httpd, HAProxy and Varnish: a line becomes a record with OpenTelemetry's attributes of a request,
//! from which the aggregator takes requests, errors and durations by version.
//!
//! Hand-written scanners over slices of the line. A line that has a status counts as a request (`shipwake.access_log`); one
//! without (HAProxy's TCP format, a connection without a request) is a record like any other. What is not understood of a
//! line is no loss: the whole line is the record's body.

mod combined;
mod haproxy;
mod header;
pub(super) mod request;
pub(super) mod scan;
mod tail;

use std::sync::LazyLock;

use memchr::memmem::Finder;
use shipwake_otlp::write::RecordWriter;

use super::rules::Rules;
use request::RequestLine;
use scan::{Fault, host_and_port, last_of_list, unescaped};

/// Whose lines they are said to be. Where formats leave something open (the unit of a lone number), this decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// Not said: only what is certain is taken.
    Any,
    Nginx,
    Httpd,
    Haproxy,
    Varnish,
}

/// What an access-log line says. Texts are slices of the line, escapes and all; empty when it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Access<'a> {
    pub(super) time_ns: Option<u64>,
    /// Whether the line has escapes at all: most have none, and their texts are copied as they are.
    pub(super) has_escapes: bool,
    pub(super) client: &'a [u8],
    pub(super) client_port: Option<u64>,
    pub(super) user: &'a [u8],
    /// The server's own name, with a port if it is written.
    pub(super) host: &'a [u8],
    /// The host that the syslog header names.
    pub(super) log_host: &'a [u8],
    pub(super) request: RequestLine<'a>,
    /// Whether there was a request line at all, readable or not.
    pub(super) has_request: bool,
    /// 0 when there is none.
    pub(super) status: u16,
    pub(super) bytes: Option<u64>,
    /// Whether `bytes` has the header in it.
    pub(super) bytes_with_header: bool,
    pub(super) referer: &'a [u8],
    pub(super) agent: &'a [u8],
    pub(super) forwarded_for: &'a [u8],
    pub(super) duration_s: Option<f64>,
    pub(super) upstream: Upstream<'a>,
    /// HAProxy's word for how the session ended.
    pub(super) termination: &'a [u8],
    /// A version that the line itself gives.
    pub(super) version: &'a [u8],
}

/// Where a proxy sent the request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Upstream<'a> {
    pub(super) frontend: &'a [u8],
    /// Backend, pool or upstream by name.
    pub(super) backend: &'a [u8],
    pub(super) server: &'a [u8],
    /// `host:port`, or nginx's list of them.
    pub(super) address: &'a [u8],
    pub(super) status: Option<u64>,
    pub(super) duration_s: Option<f64>,
}

/// Reads a line. The error says what was expected and where.
pub(super) fn read<'a>(line: &'a [u8], server: Server, rules: &Rules, received_ns: u64) -> Result<Access<'a>, Fault> {
    match server {
        Server::Haproxy => haproxy::read(line, rules, received_ns)
            .or_else(|fault| combined::read(line, server, rules).map_err(|_| fault)),
        Server::Any => combined::read(line, server, rules)
            .or_else(|fault| haproxy::read(line, rules, received_ns).map_err(|_| fault)),
        _ => combined::read(line, server, rules),
    }
}

/// How HAProxy's default format begins.
static CONNECT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"Connect from "));

/// Whether a line can be an access log at all: a date of one in brackets, or HAProxy's words. Cheap, for lines of any kind.
#[inline]
pub(super) fn may_be(line: &[u8]) -> bool {
    // Behind a syslog header, a virtual host, an address and a user.
    let head = &line[..line.len().min(512)];
    let dated = |at: usize| {
        let date = &line[at + 1..];
        date.len() > 20 && date[0].is_ascii_digit() && (date[2] == b'/' && date[6] == b'/' || date[4] == b'-')
    };
    memchr::memchr_iter(b'[', head).take(4).any(dated) || CONNECT.find(head).is_some()
}

impl Access<'_> {
    /// Whether this counts as a request: the server answered one, or the client gave up waiting for that (499).
    pub(super) fn is_request(&self) -> bool {
        self.has_request && self.status != 0
    }

    /// A server's failure is an error; everything else is information.
    pub(super) fn severity(&self) -> i32 {
        if self.status >= 500 { 17 } else { 9 }
    }

    /// Whether its time is one that only this line can have: in whole seconds, two equal lines may be two requests.
    pub(super) fn time_is_fine(&self) -> bool {
        self.time_ns.is_some_and(|time_ns| !time_ns.is_multiple_of(1_000_000_000))
    }

    /// The attributes.
    #[inline]
    pub(super) fn write(&self, out: &mut RecordWriter<'_>) {
        let escaped = self.has_escapes;
        if self.is_request() {
            out.boolean(b"shipwake.access_log", true);
        }
        self.write_request(out);
        if self.status != 0 {
            out.int(b"http.response.status_code", i64::from(self.status));
        }
        if let Some(bytes) = self.bytes {
            if self.bytes_with_header {
                out.int(b"http.response.size", bytes.cast_signed());
            } else {
                out.int(b"http.response.body.size", bytes.cast_signed());
            }
        }
        if let Some(seconds) = self.duration_s {
            out.double(b"http.server.request.duration", seconds);
        }
        put(out, b"user_agent.original", self.agent, escaped);
        put(out, b"http.request.header.referer", self.referer, escaped);
        put(out, b"http.request.header.x-forwarded-for", self.forwarded_for, escaped);
        put(out, b"client.address", self.client, escaped);
        if let Some(port) = self.client_port {
            out.int(b"client.port", port.cast_signed());
        }
        put(out, b"user.name", self.user, escaped);
        put(out, b"host.name", self.log_host, escaped);
        self.upstream.write(out, escaped);
        put(out, b"proxy.termination_state", self.termination, escaped);
    }

    #[inline]
    fn write_request(&self, out: &mut RecordWriter<'_>) {
        let (request, escaped) = (&self.request, self.has_escapes);
        if self.has_request {
            if request::is_known_method(request.method) {
                out.text(b"http.request.method", request.method);
            } else {
                out.text(b"http.request.method", b"_OTHER");
                if !request.method.is_empty() {
                    out.text(b"http.request.method_original", request.method);
                }
            }
        }
        put(out, b"url.path", request.path, escaped);
        put(out, b"url.query", request.query, escaped);
        put(out, b"url.scheme", request.scheme, escaped);
        put(out, b"network.protocol.version", request.version, escaped);
        let host = if request.host.is_empty() { self.host } else { request.host };
        if host.is_empty() {
            return;
        }
        match host_and_port(host) {
            Some((host, port)) => {
                put(out, b"server.address", host, escaped);
                out.int(b"server.port", port.cast_signed());
            }
            None => put(out, b"server.address", host, escaped),
        }
    }
}

impl Upstream<'_> {
    #[inline]
    fn write(&self, out: &mut RecordWriter<'_>, escaped: bool) {
        put(out, b"proxy.frontend", self.frontend, escaped);
        put(out, b"proxy.backend", self.backend, escaped);
        put(out, b"proxy.server", self.server, escaped);
        put(out, b"proxy.upstream.address", last_of_list(self.address), escaped);
        if let Some(status) = self.status {
            out.int(b"proxy.upstream.status_code", status.cast_signed());
        }
        if let Some(seconds) = self.duration_s {
            out.double(b"proxy.upstream.duration", seconds);
        }
    }
}

/// Inlined, so that names are constants where they are written.
#[inline(always)]
fn put<const N: usize>(out: &mut RecordWriter<'_>, name: &[u8; N], text: &[u8], escaped: bool) {
    if text.is_empty() || text == b"-" {
        return;
    }
    if escaped { put_unescaped(out, name, text) } else { out.text(name, text) }
}

#[inline(never)]
fn put_unescaped<const N: usize>(out: &mut RecordWriter<'_>, name: &[u8; N], text: &[u8]) {
    out.text(name, &unescaped(text));
}

#[cfg(test)]
mod tests;
