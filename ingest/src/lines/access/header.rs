//! The syslog header that stands in front of an access-log line when the line took that way: RFC 5424, RFC 3164 with or
//! without a priority, a host name and a tag, and the ISO stamps of rsyslog's files. It is passed over, not judged: a line
//! without one begins at byte 0.

use memchr::memchr;

use super::super::time;
use super::scan::Scan;

/// What a header says, and where the line begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// Bytes of the header.
    pub(super) bytes: usize,
    /// The stamp, as text.
    pub(super) stamp: &'a [u8],
    pub(super) host: &'a [u8],
}

impl<'a> Header<'a> {
    /// The header of the line, or the empty one.
    #[inline]
    pub(super) fn of(line: &'a [u8]) -> Header<'a> {
        match line.first() {
            Some(b'<') => with_priority(line),
            Some(b'A'..=b'Z') => rfc3164(line, 0),
            Some(b'0'..=b'9') if line.get(4) == Some(&b'-') && line.get(10) == Some(&b'T') => iso(line, 0),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// The time of the stamp.
    pub(super) fn time_ns(&self, zone: i64, received_ns: u64) -> Option<u64> {
        match self.stamp.first()? {
            b'0'..=b'9' => time::from_text(std::str::from_utf8(self.stamp).ok()?, Some(zone)),
            _ => time::from_syslog(self.stamp, zone, received_ns),
        }
    }
}

fn with_priority(line: &[u8]) -> Option<Header<'_>> {
    let end = memchr(b'>', line.get(..6).unwrap_or(line))?;
    if end < 2 || !line[1..end].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let start = end + 1;
    match &line[start..] {
        [b'1', b' ', ..] => rfc5424(line, start + 2),
        [b'0'..=b'9', ..] => iso(line, start),
        _ => rfc3164(line, start),
    }
}

/// `Nov 26 10:55:41 host nginx: ` from `start` on; host and tag may be missing.
fn rfc3164(line: &[u8], start: usize) -> Option<Header<'_>> {
    let stamp = line.get(start..start + 15)?;
    let plausible = stamp[3] == b' ' && stamp[9] == b':' && stamp[12] == b':' && line.get(start + 15) == Some(&b' ');
    plausible.then(|| host_and_tag(line, stamp, start + 16))
}

/// `2026-11-26T10:55:41.123+00:00 host nginx: `.
fn iso(line: &[u8], start: usize) -> Option<Header<'_>> {
    let len = memchr(b' ', &line[start..]).filter(|len| (19..=35).contains(len))?;
    Some(host_and_tag(line, &line[start..start + len], start + len + 1))
}

fn host_and_tag<'a>(line: &'a [u8], stamp: &'a [u8], start: usize) -> Header<'a> {
    let mut scan = Scan::new(line, start);
    let first = scan.word();
    if first.last() == Some(&b':') {
        // HAProxy sends no host name to a local log.
        scan.skip_blanks();
        return Header { bytes: scan.at(), stamp, host: b"" };
    }
    let behind_host = scan;
    if scan.word().last() != Some(&b':') {
        scan = behind_host;
    }
    scan.skip_blanks();
    Header { bytes: scan.at(), stamp, host: first }
}

/// `2026-11-26T10:55:41Z host nginx 123 - [a@1 b="c"] ` behind the version.
fn rfc5424(line: &[u8], start: usize) -> Option<Header<'_>> {
    let mut scan = Scan::new(line, start);
    let [stamp, host, _app, _process, _message] = [(); 5].map(|()| scan.word());
    scan.skip_blanks();
    while scan.peek() == Some(b'[') {
        // A value may hold brackets; its quotes are escaped.
        let rest = scan.rest();
        let mut in_value = false;
        let mut escaped = false;
        let len = rest.iter().position(|byte| {
            let ends = *byte == b']' && !in_value;
            in_value ^= *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        })?;
        scan = Scan::new(line, scan.at() + len + 1);
    }
    if scan.peek() == Some(b'-') {
        scan.word();
    }
    scan.skip_blanks();
    if scan.rest().starts_with("\u{feff}".as_bytes()) {
        scan = Scan::new(line, scan.at() + 3);
    }
    let given = |text: &'static [u8]| move |found: &&[u8]| *found != text;
    let host = Some(host).filter(given(b"-")).unwrap_or(b"");
    let stamp = Some(stamp).filter(given(b"-")).unwrap_or(b"");
    Some(Header { bytes: scan.at(), stamp, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_forms_are_passed_over() {
        let check = |line: &str, host: &str, rest: &str| {
            let header = Header::of(line.as_bytes());
            assert_eq!(header.host, host.as_bytes(), "{line}");
            assert_eq!(&line.as_bytes()[header.bytes..], rest.as_bytes(), "{line}");
        };
        check("<190>Nov 26 10:55:41 web-1 nginx: 10.0.0.1 - - [", "web-1", "10.0.0.1 - - [");
        check("<134>Nov  6 10:55:41 haproxy[123]: 10.0.0.1:4", "", "10.0.0.1:4");
        check("Nov 26 10:55:41 lb haproxy[123]: 10.0.0.1:4", "lb", "10.0.0.1:4");
        check("2026-11-26T10:55:41.123+00:00 lb haproxy[1]: x y", "lb", "x y");
        check("<190>2026-11-26T10:55:41.123+00:00 lb nginx: x y", "lb", "x y");
        check("<190>1 2026-11-26T10:55:41Z web nginx - - - x y", "web", "x y");
        check("<190>1 - - nginx 12 id [a@1 b=\"]\\\"\"][c] x y", "", "x y");
        check("<190>1 2026-11-26T10:55:41Z web nginx - - - \u{feff}x", "web", "x");
        for none in ["10.0.0.1 - - [", "<x>y", "<190", "", "Connect from 10.0.0.1:1", "No v", "<190>1 - - - - - [a"] {
            check(none, "", none);
        }
    }

    #[test]
    fn a_stamp_is_a_time() {
        let received = time::from_text("2026-11-26T11:00:00Z", None).expect("a time");
        let check = |line: &str, zone: i64, expected: &str| {
            let found = Header::of(line.as_bytes()).time_ns(zone, received);
            assert_eq!(found, time::from_text(expected, None), "{line}");
        };
        check("<190>Nov 26 10:55:41 web nginx: x", 0, "2026-11-26T10:55:41Z");
        check("<190>Nov 26 10:55:41 web nginx: x", 3600, "2026-11-26T09:55:41Z");
        check("<190>1 2026-11-26T10:55:41.5+01:00 web nginx - - - x", 7, "2026-11-26T09:55:41.5Z");
        assert_eq!(Header::of(b"<190>1 - web nginx - - - x").time_ns(0, received), None);
    }
}
