//! HAProxy's own formats: `httplog` and `httpslog`, `tcplog`, and the default one. The last two know no status: they are
//! records of connections, not requests.
//!
//! `client:port [06/Feb/2026:12:14:14.655] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - ---- a/b/c/d/e s/b "request"`,
//! `client:port [time] frontend backend/server Tw/Tc/Tt bytes -- a/b/c/d/e s/b`, `Connect from A to B (frontend/mode)`.
//! The time has no zone: it is UTC, or what `tz` says. A stage that was not reached is -1.

use memchr::memchr;

use super::header::Header;
use super::scan::{Fault, Scan, has_escapes, host_and_port, whole};
use super::{Access, RequestLine};
use crate::lines::rules::Rules;
use crate::lines::time;

/// A line that somebody says is HAProxy's.
pub(super) fn read<'a>(line: &'a [u8], rules: &Rules, received_ns: u64) -> Result<Access<'a>, Fault> {
    let header = Header::of(line);
    let mut scan = Scan::new(line, header.bytes);
    let mut access = Access { log_host: header.host, has_escapes: has_escapes(line), ..Access::default() };
    if scan.rest().starts_with(b"Connect from ") {
        read_default(scan, &mut access)?;
        access.time_ns = header.time_ns(rules.zone(), received_ns);
        return Ok(access);
    }
    skip_tag(&mut scan);
    let at_client = scan;
    let Some((client, port)) = host_and_port(scan.word()) else {
        return Err(at_client.fault("an address of a client with its port"));
    };
    (access.client, access.client_port) = (client, Some(port));
    scan.skip_blanks();
    let at_time = scan;
    let time = scan.bracketed().unwrap_or(b"");
    access.time_ns = time::from_clf(time, Some(rules.zone()));
    if access.time_ns.is_none() {
        return Err(at_time.fault("a time in brackets, as [06/Feb/2026:12:14:14.655]"));
    }
    let frontend = scan.word();
    // A `~` marks TLS.
    access.upstream.frontend = frontend.strip_suffix(b"~").unwrap_or(frontend);
    if frontend.ends_with(b":") && frontend.contains(&b'/') {
        // `frontend/bind: Connection error during SSL handshake`: what follows is a sentence.
        access.upstream.frontend = &frontend[..frontend.len() - 1];
        return Ok(access);
    }
    let at_backend = scan;
    let backend = scan.word();
    let Some(slash) = memchr(b'/', backend) else { return Err(at_backend.fault("a backend and a server")) };
    (access.upstream.backend, access.upstream.server) = (&backend[..slash], &backend[slash + 1..]);
    read_rest(scan, &mut access)?;
    Ok(access)
}

/// From the timers on. Their number tells the format.
fn read_rest<'a>(mut scan: Scan<'a>, access: &mut Access<'a>) -> Result<(), Fault> {
    let at_timers = scan;
    let timers = scan.word();
    let (mut count, mut total_ms) = (0, None);
    for part in timers.split(|byte| *byte == b'/') {
        total_ms = whole(part.strip_prefix(b"+").unwrap_or(part));
        count += usize::from(total_ms.is_some() || part == b"-1");
    }
    let is_http = count == 5;
    if !is_http && count != 3 {
        return Err(at_timers.fault("three or five timers"));
    }
    if is_http {
        access.duration_s = total_ms.map(|ms| ms as f64 / 1e3);
        let at_status = scan;
        access.status = match scan.word() {
            b"-1" | b"0" => 0,
            word => match whole(word) {
                Some(status @ 100..=999) => status as u16,
                _ => return Err(at_status.fault("a status of three digits")),
            },
        };
    }
    let at_bytes = scan;
    let bytes = scan.word();
    access.bytes = whole(bytes.strip_prefix(b"+").unwrap_or(bytes));
    access.bytes_with_header = true;
    if access.bytes.is_none() {
        return Err(at_bytes.fault("a number of bytes"));
    }
    if is_http {
        let _cookies = [scan.word(), scan.word()];
    }
    access.termination = scan.word();
    if is_http {
        read_request(scan, access);
    }
    Ok(())
}

/// The request behind connections, queues and captured headers. A long one is cut, and has no closing quote then.
fn read_request<'a>(mut scan: Scan<'a>, access: &mut Access<'a>) {
    let _counts = [scan.word(), scan.word()];
    loop {
        scan.skip_blanks();
        match scan.peek() {
            Some(b'{') => {
                let rest = scan.rest();
                let len = memchr(b'}', rest).map_or(rest.len(), |at| at + 1);
                scan.pass(len);
            }
            Some(b'"') => {
                let request = scan.quoted().unwrap_or_else(|| &scan.rest()[1..]);
                access.has_request = !request.is_empty();
                access.request = RequestLine::parse(request);
                return;
            }
            _ => return,
        }
    }
}

fn read_default<'a>(mut scan: Scan<'a>, access: &mut Access<'a>) -> Result<(), Fault> {
    let _words = [scan.word(), scan.word()];
    let at_client = scan;
    let Some((client, port)) = host_and_port(scan.word()) else {
        return Err(at_client.fault("an address of a client with its port"));
    };
    let (_to, server) = (scan.word(), scan.word());
    let at_name = scan;
    let name = scan.word().strip_prefix(b"(").and_then(|name| name.strip_suffix(b")"));
    let Some(name) = name else { return Err(at_name.fault("a frontend in parentheses")) };
    (access.client, access.client_port) = (client, Some(port));
    access.host = server;
    access.upstream.frontend = &name[..memchr(b'/', name).unwrap_or(name.len())];
    Ok(())
}

/// `haproxy[123]: ` in front of a line that lost the rest of its header.
fn skip_tag(scan: &mut Scan<'_>) {
    let mut ahead = *scan;
    let word = ahead.word();
    if word.starts_with(b"haproxy") && word.ends_with(b":") {
        *scan = ahead;
    }
}
