//! The common log format and what grew from it: `common`, `combined`, `vhost_combined`, nginx's `main`, ingress-nginx,
//! varnishncsa, HAProxy's `httplog clf`, each with whatever a site appended.
//!
//! `[host[:port]] client ident user [time] "request" status bytes ["referer" "agent"] …`, behind a syslog header or not.

use super::header::Header;
use super::scan::{Fault, Scan, has_escapes, whole};
use super::tail::read_tail;
use super::{Access, RequestLine, Server};
use crate::lines::rules::Rules;
use crate::lines::time;

/// Brackets that are looked at before the time is given up: a syslog tag has some, `nginx[123]:`.
const BRACKETS_MAX: usize = 4;

pub(super) fn read<'a>(line: &'a [u8], server: Server, rules: &Rules) -> Result<Access<'a>, Fault> {
    let header = Header::of(line);
    let mut access = Access { log_host: header.host, has_escapes: has_escapes(line), ..Access::default() };
    let (open, mut scan) = find_time(line, header.bytes, rules, &mut access)?;
    scan.skip_blanks();
    let Some(request) = scan.quoted() else { return Err(scan.fault("a request in quotes")) };
    read_client(&line[header.bytes..open], &mut access);
    // A connection that ended before it asked for anything is logged with `-`, or with nothing.
    access.has_request = !matches!(request, b"" | b"-");
    access.request = RequestLine::parse(request);
    read_status(&mut scan, &mut access)?;
    access.bytes_with_header = matches!(server, Server::Httpd | Server::Haproxy);

    scan.skip_blanks();
    if scan.peek() == Some(b'"') {
        access.referer = scan.quoted().ok_or_else(|| scan.fault("the end of the referer's quotes"))?;
        access.agent = scan.quoted().unwrap_or(b"");
    }
    scan.skip_blanks();
    if !scan.rest().is_empty() {
        read_tail(&mut scan, server, rules, &mut access);
    }
    Ok(access)
}

/// Finds the time in brackets. Gives where its bracket opens, and the place behind it.
fn find_time<'a>(
    line: &'a [u8],
    start: usize,
    rules: &Rules,
    access: &mut Access<'a>,
) -> Result<(usize, Scan<'a>), Fault> {
    let mut from = start;
    for _ in 0..BRACKETS_MAX {
        let Some(at) = memchr::memchr(b'[', &line[from..]).map(|at| from + at) else { break };
        let mut scan = Scan::new(line, at);
        let text = scan.bracketed().unwrap_or(b"");
        let time_ns = match text.get(2) {
            Some(b'/') => time::from_clf(text, Some(rules.zone())),
            // nginx's `$time_iso8601` in the place of `$time_local`.
            Some(_) if text.get(4) == Some(&b'-') => {
                std::str::from_utf8(text).ok().and_then(|text| time::from_text(text, Some(rules.zone())))
            }
            _ => None,
        };
        if time_ns.is_some() {
            access.time_ns = time_ns;
            return Ok((at, scan));
        }
        from = at + 1;
    }
    Err(Fault { expected: "a time in brackets, as [10/Oct/2026:13:55:36 +0000]", at: start })
}

/// Client, ident and user, and the virtual host that may stand in front of them. A user's name may have blanks in it.
fn read_client<'a>(text: &'a [u8], access: &mut Access<'a>) {
    let mut scan = Scan::new(text, 0);
    let (first, second) = (scan.word(), scan.word());
    let behind_second = scan;
    let third = scan.word();
    let (client, user) = if third == b"-" && second != b"-" {
        access.host = first;
        (second, scan.rest())
    } else if second == b"-" {
        (first, behind_second.rest())
    } else if third.is_empty() {
        (first, second)
    } else {
        // Somebody really asks for idents, or has a format of his own.
        (first, scan.rest())
    };
    access.client = client;
    access.user = user.trim_ascii();
}

fn read_status(scan: &mut Scan<'_>, access: &mut Access<'_>) -> Result<(), Fault> {
    scan.skip_blanks();
    let at_status = *scan;
    access.status = match scan.word() {
        // No answer was begun.
        b"-" | b"000" | b"-1" | b"0" => 0,
        word => match whole(word) {
            Some(status @ 100..=999) if word.len() == 3 => status as u16,
            _ => return Err(at_status.fault("a status of three digits")),
        },
    };
    scan.skip_blanks();
    let at_bytes = *scan;
    access.bytes = match scan.word() {
        b"-" | b"" => None,
        word => match whole(word.strip_prefix(b"+").unwrap_or(word)) {
            Some(bytes) => Some(bytes),
            // Some formats leave the bytes out and go on with a quoted text.
            None if word.first() == Some(&b'"') => {
                *scan = at_bytes;
                None
            }
            None => return Err(at_bytes.fault("a number of bytes")),
        },
    };
    Ok(())
}
