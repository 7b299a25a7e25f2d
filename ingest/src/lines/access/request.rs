//! The request line of an access log: method, target, protocol, as proxies and servers write it. What is no request line
//! (bytes of a TLS hello on the plain port, a scanner's nonsense) is told from one.

use memchr::{memchr, memrchr};

const METHOD_BYTES_MAX: usize = 24;

/// What a request line says; parts that it does not have are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestLine<'a> {
    /// As it stands: `GET`, `PROPFIND`, or empty when the line is none.
    pub(crate) method: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) query: &'a [u8],
    pub(crate) scheme: &'a [u8],
    /// Of an absolute target, with its port.
    pub(crate) host: &'a [u8],
    /// `1.1`, `2`.
    pub(crate) version: &'a [u8],
}

impl<'a> RequestLine<'a> {
    /// Reads the text between the quotes, escapes and all.
    #[inline]
    pub(crate) fn parse(text: &'a [u8]) -> Self {
        let Some(space) = text.iter().position(|byte| *byte == b' ') else { return RequestLine::default() };
        let (method, rest) = (&text[..space], text[space + 1..].trim_ascii());
        let is_method = !method.is_empty()
            && method.len() <= METHOD_BYTES_MAX
            && method.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'));
        if !is_method || rest.is_empty() {
            return RequestLine::default();
        }
        // HTTP/0.9 has no protocol, and a target may have blanks in it that should have been escaped.
        let last_blank = match rest {
            // As nearly all end: ` HTTP/1.1`.
            [.., b' ', b'H', b'T', b'T', b'P', b'/', _, b'.', _] => Some(rest.len() - " HTTP/1.1".len()),
            _ => memrchr(b' ', rest),
        };
        let (target, version) = match last_blank {
            Some(last) if rest[last + 1..].starts_with(b"HTTP/") => (rest[..last].trim_ascii(), &rest[last + 6..]),
            _ => (rest, &b""[..]),
        };
        RequestLine { method, version: whole_version(version), ..RequestLine::of_target(target) }
    }

    /// Path and query of a target, and the host of an absolute one.
    #[inline]
    pub(crate) fn of_target(target: &'a [u8]) -> Self {
        let mut line = RequestLine::default();
        let mut rest = target;
        let absolute = |target: &[u8]| target.windows(3).take(9).position(|three| three == b"://");
        // Most begin with a slash, and are not absolute.
        let scheme = if target.first() == Some(&b'/') { None } else { absolute(target) };
        if let Some(at) = scheme.filter(|at| target[..*at].iter().all(u8::is_ascii_alphabetic)) {
            line.scheme = &target[..at];
            let behind = &target[at + 3..];
            let len = behind.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(behind.len());
            line.host = &behind[..len];
            rest = &behind[len..];
        }
        let end = memchr(b'?', rest).unwrap_or(rest.len());
        line.path = &rest[..end];
        line.query = rest.get(end + 1..).unwrap_or(b"");
        if line.path.is_empty() && !line.host.is_empty() {
            line.path = b"/";
        }
        line
    }
}

/// Whether OpenTelemetry's conventions name this method; all others are `_OTHER` there.
#[inline]
pub(crate) fn is_known_method(method: &[u8]) -> bool {
    matches!(
        method,
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"OPTIONS" | b"PATCH" | b"CONNECT" | b"TRACE" | b"QUERY"
    )
}

/// `2.0` and `3.0` are written as `2` and `3`.
#[inline]
pub(crate) fn whole_version(version: &[u8]) -> &[u8] {
    match version {
        b"2.0" => b"2",
        b"3.0" => b"3",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_of_all_kinds() {
        let check = |text: &str, expected: [&str; 6]| {
            let line = RequestLine::parse(text.as_bytes());
            let found = [line.method, line.path, line.query, line.scheme, line.host, line.version];
            assert_eq!(found, expected.map(str::as_bytes), "{text}");
        };
        check("GET /cart?id=7 HTTP/1.1", ["GET", "/cart", "id=7", "", "", "1.1"]);
        check("GET http://shop.example:8080/a HTTP/2.0", ["GET", "/a", "", "http", "shop.example:8080", "2"]);
        check("GET https://shop.example?x HTTP/1.1", ["GET", "/", "x", "https", "shop.example", "1.1"]);
        check("GET /a b HTTP/1.0", ["GET", "/a b", "", "", "", "1.0"]);
        check("GET /old", ["GET", "/old", "", "", "", ""]);
        check("CONNECT db:443 HTTP/1.1", ["CONNECT", "db:443", "", "", "", "1.1"]);
        check("OPTIONS * HTTP/1.1", ["OPTIONS", "*", "", "", "", "1.1"]);
        check("VERSION-CONTROL /x HTTP/1.1", ["VERSION-CONTROL", "/x", "", "", "", "1.1"]);
        check("GET /r?to=http://x/ HTTP/1.1", ["GET", "/r", "to=http://x/", "", "", "1.1"]);
        for none in [r"\x16\x03\x01 \x02", "", "-", "<BADREQ>", "get / HTTP/1.1", "GET", "GET ", " / HTTP/1.1"] {
            check(none, [""; 6]);
        }
        assert!(is_known_method(b"GET") && !is_known_method(b"PROPFIND"));
    }
}
