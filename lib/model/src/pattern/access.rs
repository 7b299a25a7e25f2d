//! Whether a line is one of an access log, for lines that came as the plain body of a log record. `ingest` reads those that
//! it is sent as lines and marks them; a Collector that follows a proxy's file sends them as they stand.
//!
//! Such a line says what a client asked and not what the program says: as a pattern it would be one that every version has,
//! counted once for each request. Only what is certain is told: the date of an access log in brackets, and behind it a request
//! in quotes with its status, or HAProxy's backend and timers.

/// A date is looked for so far into a line: behind a syslog header, a virtual host, an address and a user.
const DATE_WITHIN_BYTES: usize = 512;
/// Brackets that are looked at: a syslog tag has some.
const BRACKETS_MAX: usize = 4;
/// Longest request that is passed over to find the status.
const REQUEST_BYTES_MAX: usize = 8192;

/// Whether `line` is one of an access log.
#[inline]
pub fn is_access_line(line: &[u8]) -> bool {
    let head = &line[..line.len().min(DATE_WITHIN_BYTES)];
    // Most lines have no bracket, and this is the fast way to know.
    head.contains(&b'[') && has_request_behind_date(line, head)
}

fn has_request_behind_date(line: &[u8], head: &[u8]) -> bool {
    let brackets = head.iter().enumerate().filter(|(_, byte)| **byte == b'[').take(BRACKETS_MAX);
    for (at, _) in brackets {
        let Some(len) = date(&line[at + 1..]) else { continue };
        let rest = line[at + 1 + len..].trim_ascii_start();
        return match rest.split_first() {
            Some((b'"', request)) => has_status_behind_quotes(request),
            _ => is_of_haproxy(rest),
        };
    }
    false
}

/// The length of `10/Oct/2026:13:55:36 +0000]`, with any fraction or zone, closing bracket included.
fn date(text: &[u8]) -> Option<usize> {
    let fixed = text.get(..20)?;
    let separated = fixed[2] == b'/'
        && fixed[6] == b'/'
        && matches!(fixed[11], b':' | b' ')
        && fixed[14] == b':'
        && fixed[17] == b':';
    let numbers = [0, 1, 7, 8, 9, 10, 12, 13, 15, 16, 18, 19].iter().all(|at| fixed[*at].is_ascii_digit());
    let close = text.iter().take(36).position(|byte| *byte == b']')?;
    (separated && numbers).then_some(close + 1)
}

/// `GET / HTTP/1.1" 200 …` without the opening quote.
fn has_status_behind_quotes(request: &[u8]) -> bool {
    let request = &request[..request.len().min(REQUEST_BYTES_MAX)];
    request.windows(5).any(|five| {
        let status =
            matches!(five, [b'"', b' ', b'1'..=b'5', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit());
        status || matches!(five, [b'"', b' ', b'-', b' ', _])
    })
}

/// `frontend backend/server 0/0/1/2/3 200 …`.
fn is_of_haproxy(rest: &[u8]) -> bool {
    let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (Some(_), Some(backend), Some(timers)) = (words.next(), words.next(), words.next()) else { return false };
    let is_timer = |part: &[u8]| {
        let digits = part.strip_prefix(b"+").unwrap_or(part);
        part == b"-1" || !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    let parts = timers.split(|byte| *byte == b'/');
    backend.contains(&b'/') && parts.clone().all(is_timer) && matches!(parts.count(), 3 | 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_proxies_are_known_and_what_only_looks_like_one_is_not() {
        for line in [
            r#"10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "GET /pay HTTP/1.1" 200 5"#,
            r#"10.1.2.3 - ada [23/Nov/2026:10:00:00 +0000] "GET /a \"b\" HTTP/1.1" 503 12 "-" "curl" 0.25"#,
            r#"shop:80 10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "-" 408 -"#,
            r#"10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "" - 0"#,
            r#"<190>Nov 23 10:00:00 web nginx[7]: 10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5"#,
            r#"127.0.0.1 - - [26/Nov/2026 10:55:41] "GET / HTTP/1.1" 200 -"#,
            r#"10.0.0.1:5 [06/Feb/2026:12:14:14.655] web~ blue/s1 0/0/1/-1/+3 200 12 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1""#,
            "10.0.0.1:5 [06/Feb/2026:12:14:14.655] f b/s 0/0/3 12 -- 1/1/1/1/0 0/0",
        ] {
            assert!(is_access_line(line.as_bytes()), "{line}");
        }
        for line in [
            "",
            "[",
            "payment refused",
            "[23/Nov/2026:10:00:00 +0000] payment refused",
            r#"[23/Nov/2026:10:00:00 +0000] "payment" refused"#,
            r#"[23/Nov/2026:10:00:00 +0000] "payment refused""#,
            "[23/Nov/2026:10:00:00 +0000] db cart/orders slow",
            r#"worker [23-11-2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5"#,
            "2026-11-23 10:00:00 ERROR [http-nio-1] \"GET /pay\" 500 x",
            "[23/Nov/2026:10:00:00",
        ] {
            assert!(!is_access_line(line.as_bytes()), "{line}");
        }
    }
}
