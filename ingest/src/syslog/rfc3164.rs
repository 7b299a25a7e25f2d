//! The header that RFC 3164 describes, as it is really sent: `Feb  6 12:14:14 host app[123]: text`, with or without a year
//! or a fraction, with an ISO time instead (rsyslog), without a host (HAProxy, local loggers), without a tag.
//!
//! Pure. A word is a tag when it ends in `:` or has `[…]`; a first word that is none is the host.

use std::borrow::Cow;

use super::message::{Clock, Message};
use super::stamp;

/// Longest tag: the standard says 32, and names of containers are longer.
const TAG_BYTES_MAX: usize = 128;
const HOST_BYTES_MAX: usize = 255;

/// What is behind the priority.
pub(super) fn read(rest: &[u8], clock: Clock) -> Message<'_> {
    let (time_ns, rest) = match stamp::read(rest, clock) {
        Some((time_ns, rest)) => (Some(time_ns), rest),
        None => (None, rest),
    };
    let rest = rest.trim_ascii_start();
    if let Some((app, process, body)) = tag(rest) {
        return Message { time_ns, app: Some(app), process, body, ..Message::default() };
    }
    // Without a time there is no header: the first word is one of the text.
    let Some((host, behind)) = time_ns.and_then(|_| host(rest)) else {
        return Message { time_ns, body: rest, ..Message::default() };
    };
    let host = Some(host);
    match tag(behind) {
        Some((app, process, body)) => Message { time_ns, host, app: Some(app), process, body, ..Message::default() },
        None => Message { time_ns, host, body: behind, ..Message::default() },
    }
}

fn host(rest: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let end = rest.iter().position(|byte| *byte == b' ')?;
    let word = &rest[..end];
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:%/".contains(byte);
    let is_host = (1..=HOST_BYTES_MAX).contains(&end) && word.iter().all(named);
    is_host.then(|| (String::from_utf8_lossy(word), rest[end..].trim_ascii_start()))
}

/// The application, its process, and the text behind the two.
type Tagged<'a> = (Cow<'a, str>, Option<Cow<'a, str>>, &'a [u8]);

/// `app:`, `app[123]:` or `app[123]`: the name, the process, and the text behind it.
fn tag(rest: &[u8]) -> Option<Tagged<'_>> {
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_/@()#+".contains(byte);
    let end = rest.iter().position(|byte| !named(byte))?;
    if !(1..=TAG_BYTES_MAX).contains(&end) {
        return None;
    }
    let (name, rest) = rest.split_at(end);
    let (process, rest) = match rest {
        [b'[', inside @ ..] => {
            let end = inside.iter().take(TAG_BYTES_MAX).position(|byte| *byte == b']')?;
            let rest = &inside[end + 1..];
            (Some(&inside[..end]), rest.strip_prefix(b":").unwrap_or(rest))
        }
        [b':', rest @ ..] => (None, rest),
        _ => return None,
    };
    let body = match rest {
        [b' ', body @ ..] => body,
        [] => rest,
        // `a::b`, `10:30`: a colon inside a word ends no tag. Behind a process nothing else can be meant.
        _ if process.is_none() => return None,
        _ => rest,
    };
    let process = process.filter(|process| !process.is_empty()).map(String::from_utf8_lossy);
    Some((String::from_utf8_lossy(name), process, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T10:00:00Z.
    const CLOCK: Clock = Clock { received_ns: 1_795_428_000_000_000_000, offset_s: 0 };
    const FEB_6: u64 = 1_770_380_054_000_000_000;

    #[test]
    fn headers_as_they_are_really_sent() {
        type Expected<'a> = (Option<u64>, Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a str);
        let check = |text: &str, expected: Expected<'_>| {
            let message = read(text.as_bytes(), CLOCK);
            let body = std::str::from_utf8(message.body).expect("text");
            let found =
                (message.time_ns, message.host.as_deref(), message.app.as_deref(), message.process.as_deref(), body);
            assert_eq!(found, expected, "{text}");
        };
        let time = Some(FEB_6);
        // nginx.
        check(
            "Feb  6 12:14:14 web-1 nginx: 10.0.0.9 - - [06/Feb/2026:12:14:14 +0000] \"GET / HTTP/1.1\" 200 615",
            (
                time,
                Some("web-1"),
                Some("nginx"),
                None,
                "10.0.0.9 - - [06/Feb/2026:12:14:14 +0000] \"GET / HTTP/1.1\" 200 615",
            ),
        );
        // HAProxy: no host.
        check(
            "Feb  6 12:14:14 haproxy[14389]: 10.0.1.2:33317 [06/Feb/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 200",
            (
                time,
                None,
                Some("haproxy"),
                Some("14389"),
                "10.0.1.2:33317 [06/Feb/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 200",
            ),
        );
        check("Feb 06 12:14:14 root: hello", (time, None, Some("root"), None, "hello"));
        check("Feb  6 12:14:14 h sshd[1]: a: b", (time, Some("h"), Some("sshd"), Some("1"), "a: b"));
        check("Feb  6 12:14:14 2026 h app: x", (time, Some("h"), Some("app"), None, "x"));
        check("Feb  6 2026 12:14:14 h app: x", (time, Some("h"), Some("app"), None, "x"));
        check("2026-02-06T13:14:14.000000+01:00 h app[7]: x", (time, Some("h"), Some("app"), Some("7"), "x"));
        check("Feb  6 12:14:14 10.0.0.99 Use the BFG!", (time, Some("10.0.0.99"), None, None, "Use the BFG!"));
        check("Feb  6 12:14:14 fe80::1 app: x", (time, Some("fe80::1"), Some("app"), None, "x"));
        check("Feb  6 12:14:14 h app:", (time, Some("h"), Some("app"), None, ""));
        check("Feb  6 12:14:14 h app[]: x", (time, Some("h"), Some("app"), None, "x"));
        check("Feb  6 12:14:14 h docker/web.1[12]: x", (time, Some("h"), Some("docker/web.1"), Some("12"), "x"));
        check("Feb  6 12:14:14 {\"a\":1} b", (time, None, None, None, "{\"a\":1} b"));
        check("app[3]: no time", (None, None, Some("app"), Some("3"), "no time"));
        check("no time, no tag", (None, None, None, None, "no time, no tag"));
        check("level=info at=10:30:00 x", (None, None, None, None, "level=info at=10:30:00 x"));
        check("", (None, None, None, None, ""));
        check("Feb 31 12:14:14 h x", (None, None, None, None, "Feb 31 12:14:14 h x"));
    }
}
