//! What sites append to the combined format: how long it took, where the request was sent, what was in a header.
//!
//! In order of certainty: names (`rt=0.005`), texts that the upstream mapping knows, the fixed tails of ingress-nginx and of
//! HAProxy's `httplog clf`, then the shape of a value: `host:port` is an upstream, a decimal is seconds. A lone whole number
//! is microseconds with httpd and Varnish (`%D`) and says nothing otherwise, unless `duration_unit` tells its unit.

use std::net::IpAddr;

use super::scan::{Scan, decimal, host_and_port, last_of_list, whole};
use super::{Access, Server};
use crate::lines::rules::Rules;

/// Words of a tail that are looked at; a line may have as many as it has bytes.
const WORDS_MAX: usize = 48;

/// How far the reading of a tail is.
struct Tail<'r> {
    server: Server,
    rules: &'r Rules,
    quoted: usize,
}

pub(super) fn read_tail<'a>(scan: &mut Scan<'a>, server: Server, rules: &Rules, access: &mut Access<'a>) {
    if access.referer.is_empty() && access.agent.is_empty() && read_haproxy_clf(*scan, access) {
        return;
    }
    let mut tail = Tail { server, rules, quoted: 0 };
    for _ in 0..WORDS_MAX {
        scan.skip_blanks();
        match scan.peek() {
            None => return,
            Some(b'"') => match scan.quoted() {
                Some(text) => tail.quoted(text, access),
                None => return,
            },
            Some(b'[') if !matches!(server, Server::Haproxy) => {
                if read_ingress(scan, access).is_none() {
                    let word = scan.list();
                    // An address of IPv6, or a mapped name that looks like one.
                    if tail.is_mapped(word) || is_upstream_address(word) {
                        tail.word(word, scan, access);
                    }
                }
            }
            Some(_) => {
                let word = scan.list();
                tail.word(word, scan, access);
            }
        }
    }
}

impl Tail<'_> {
    fn quoted<'a>(&mut self, text: &'a [u8], access: &mut Access<'a>) {
        self.quoted += 1;
        if self.is_mapped(text) {
            mapped(text, access);
        } else if is_upstream_address(text) {
            access.upstream.address = text;
        } else if self.quoted == 1 && looks_forwarded(text) {
            access.forwarded_for = text;
        } else {
            self.number(text, access);
        }
    }

    fn word<'a>(&mut self, word: &'a [u8], scan: &mut Scan<'a>, access: &mut Access<'a>) {
        if self.is_mapped(word) {
            mapped(word, access);
        } else if let Some(equals) = memchr::memchr(b'=', word).filter(|at| is_name(&word[..*at])) {
            let name = &word[..equals];
            // The value's quotes may hold blanks: read it again from its first byte.
            let value = match word.get(equals + 1) {
                Some(b'"') => scan.back_to_quote(word.len() - equals - 1),
                _ => Some(&word[equals + 1..]),
            };
            self.named(name, value.unwrap_or(b""), access);
        } else if is_upstream_address(word) {
            access.upstream.address = word;
        } else {
            self.number(word, access);
        }
    }

    fn named<'a>(&mut self, name: &[u8], value: &'a [u8], access: &mut Access<'a>) {
        let is = |names: &[&str]| names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if is(&["rt", "request_time", "duration", "time", "d"]) {
            access.duration_s = self.seconds(value).or(access.duration_s);
        } else if is(&["urt", "upstream_response_time", "upstream_time", "uresp"]) {
            access.upstream.duration_s = decimal(last_of_list(value));
        } else if is(&["us", "upstream_status"]) {
            access.upstream.status = whole(last_of_list(value));
        } else if is(&["backend", "be", "pool", "upstream_name", "color", "colour"]) {
            access.upstream.backend = value;
        } else if is(&["version", "release", "app_version", "service_version"]) {
            access.version = value;
        } else if is(&["host", "server_name", "vhost", "sn"]) {
            access.host = value;
        } else if is(&["xff", "x_forwarded_for", "http_x_forwarded_for"]) {
            access.forwarded_for = value;
        } else if self.is_mapped(value) {
            mapped(value, access);
        } else if is_upstream_address(value) {
            access.upstream.address = value;
        }
    }

    /// A number without a name: the first is how long the request took, the second how long the upstream took.
    fn number(&mut self, word: &[u8], access: &mut Access<'_>) {
        let Some(seconds) = self.bare_seconds(word) else { return };
        if access.duration_s.is_none() {
            access.duration_s = Some(seconds);
        } else if access.upstream.duration_s.is_none() {
            access.upstream.duration_s = Some(seconds);
        }
    }

    fn bare_seconds(&self, word: &[u8]) -> Option<f64> {
        // httpd's `%T/%D`: seconds, and the same again in microseconds.
        if let Some(slash) = memchr::memchr(b'/', word)
            && let (Some(_), Some(us)) = (whole(&word[..slash]), whole(&word[slash + 1..]))
        {
            return Some(us as f64 / 1e6);
        }
        self.seconds(last_of_list(word))
    }

    /// The seconds of a value that is a duration: in the unit that was said; else a decimal is seconds, and a whole number
    /// microseconds with httpd and Varnish and unknown with the others.
    fn seconds(&self, value: &[u8]) -> Option<f64> {
        let (number, is_whole) = match whole(value) {
            Some(number) => (number as f64, true),
            None => (decimal(value)?, false),
        };
        let in_second = match (self.rules.duration_unit, self.server) {
            (Some(unit), _) => unit.in_second(),
            (None, Server::Httpd | Server::Varnish) if is_whole => 1e6,
            (None, _) if is_whole => return None,
            (None, _) => 1.0,
        };
        Some(number / in_second)
    }

    fn is_mapped(&self, text: &[u8]) -> bool {
        self.rules.upstreams.knows(text)
    }
}

/// A text that stands for a version: an address is one whether it is mapped or not, everything else is the name of a backend.
fn mapped<'a>(text: &'a [u8], access: &mut Access<'a>) {
    let is_address = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
    let upstream = &mut access.upstream;
    if is_upstream_address(text) || is_address(text) {
        upstream.address = text;
    } else {
        upstream.backend = text;
    }
}

/// ingress-nginx: `length time [backend] [alternative] address length time status id`. The part from the first bracket.
fn read_ingress<'a>(scan: &mut Scan<'a>, access: &mut Access<'a>) -> Option<()> {
    let mut ahead = *scan;
    let backend = ahead.bracketed()?;
    let alternative = ahead.bracketed()?;
    let [address, _length, time, status] = [(); 4].map(|()| ahead.list());
    *scan = ahead;
    // A canary answers under the name of the alternative.
    access.upstream.backend = if matches!(alternative, b"" | b"-") { backend } else { alternative };
    access.upstream.address = address;
    access.upstream.duration_s = decimal(last_of_list(time));
    access.upstream.status = whole(last_of_list(status));
    Some(())
}

/// HAProxy's `httplog clf`: `port ms "frontend" "backend" "server" TR Tw Tc Tr Ta "state" …`. Whether it is that.
fn read_haproxy_clf<'a>(mut scan: Scan<'a>, access: &mut Access<'a>) -> bool {
    let (port, ms) = (whole(scan.word()), whole(scan.word()));
    let names = [(); 3].map(|()| scan.quoted());
    let ([Some(frontend), Some(backend), Some(server)], Some(port), Some(_)) = (names, port, ms) else { return false };
    let [_, _, _, _, total] = [(); 5].map(|()| scan.word());
    let total = whole(total.strip_prefix(b"+").unwrap_or(total));
    access.client_port = Some(port);
    access.upstream.frontend = frontend;
    access.upstream.backend = backend;
    access.upstream.server = server;
    access.duration_s = total.map(|ms| ms as f64 / 1e3);
    access.termination = scan.quoted().unwrap_or(b"");
    access.bytes_with_header = true;
    true
}

/// `host:port`, an IP address in a list, or a unix socket, as nginx writes `$upstream_addr`. A bare address is a client's.
fn is_upstream_address(text: &[u8]) -> bool {
    let last = last_of_list(text);
    if last.starts_with(b"unix:/") || last.starts_with(b"http://") {
        return true;
    }
    // A time of day is no address.
    let named =
        |host: &[u8]| !host.contains(&b':') && host.iter().any(|byte| *byte == b'.' || byte.is_ascii_alphabetic());
    host_and_port(last).is_some_and(|(host, _)| last.starts_with(b"[") || named(host))
}

fn looks_forwarded(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b',' | b' '))
        && text.iter().any(|byte| matches!(byte, b'.' | b':'))
        && decimal(text).is_none()
}

fn is_name(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= 40
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}
