//! Walking over one line of an access log: words, quoted texts, brackets, numbers. No allocation; what is found are slices
//! of the line, escapes and all.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Why a line is not what it was taken for: what was expected, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) expected: &'static str,
    pub(crate) at: usize,
}

/// A place in a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    #[inline]
    pub(super) fn new(line: &'a [u8], at: usize) -> Self {
        Scan { line, at }
    }

    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.line[self.at..]
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    pub(super) fn fault(&self, expected: &'static str) -> Fault {
        Fault { expected, at: self.at }
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Goes so many bytes on, and never beyond the end.
    #[inline]
    pub(super) fn pass(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.line.len());
    }

    /// The bytes up to the next blank, without any in front; empty at the end.
    #[inline]
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.skip_blanks();
        let rest = self.rest();
        let len = len_to_blank(rest);
        self.at += len;
        &rest[..len]
    }

    /// The text between two quotes. The closing one is not escaped, and a blank or the end of the line comes behind it:
    /// some servers write the quotes of a user agent as they come. `None`, and nothing is passed, when there is none.
    #[inline]
    pub(super) fn quoted(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        let inner = self.rest().strip_prefix(b"\"")?;
        let mut from = 0;
        loop {
            let at = from + memchr2(b'"', b'\\', &inner[from..])?;
            if inner[at] == b'\\' {
                // Whatever is escaped, it is not the end.
                from = (at + 2).min(inner.len());
                continue;
            }
            if inner.get(at + 1).is_none_or(|next| is_blank(*next)) {
                self.at += at + 2;
                return Some(&inner[..at]);
            }
            from = at + 1;
        }
    }

    /// The quoted text that begins so many bytes back.
    pub(super) fn back_to_quote(&mut self, bytes: usize) -> Option<&'a [u8]> {
        self.at -= bytes;
        self.quoted()
    }

    /// The text between brackets, `[` and `]`.
    #[inline]
    pub(super) fn bracketed(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        let inner = self.rest().strip_prefix(b"[")?;
        let len = memchr(b']', inner)?;
        self.at += len + 2;
        Some(&inner[..len])
    }

    /// A word, or several that a comma or a lone colon joins: nginx's lists of upstreams, `10.0.0.1:80, 10.0.0.2:80`.
    #[inline]
    pub(super) fn list(&mut self) -> &'a [u8] {
        self.skip_blanks();
        let start = self.at;
        let mut word = self.word();
        loop {
            let rest = self.rest();
            let joined = word.last() == Some(&b',') || word == b":" || rest.starts_with(b" : ");
            if !joined || rest.iter().all(|byte| is_blank(*byte)) {
                return &self.line[start..self.at];
            }
            word = self.word();
        }
    }
}

#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// How many bytes come before the first blank. Words are short: eight bytes at once, in a register, is what pays.
#[inline]
fn len_to_blank(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    const TABS: u64 = u64::from_le_bytes([b'\t'; 8]);
    // The high bit of each byte that is zero, and perhaps of some behind the first that is.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(eight) = text[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let found = zeros(word ^ SPACES) | zeros(word ^ TABS);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + text[at..].iter().position(|byte| is_blank(*byte)).unwrap_or(text.len() - at)
}

/// A whole number of at most 18 digits.
#[inline]
pub(super) fn whole(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let mut sum = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + u64::from(digit);
    }
    Some(sum)
}

/// The powers of ten that a fraction may count in. Each is exact.
const TENS: [f64; 13] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Digits with a point in them, such as `0.005`.
#[inline]
pub(super) fn decimal(text: &[u8]) -> Option<f64> {
    let point = memchr(b'.', text)?;
    let (whole_part, fraction) = (&text[..point], &text[point + 1..]);
    let digits = fraction.len();
    if digits == 0 || digits > 12 {
        return None;
    }
    Some(whole(whole_part)? as f64 + whole(fraction)? as f64 / TENS[digits])
}

/// The last of a list of upstreams: the one that answered.
#[inline]
pub(crate) fn last_of_list(text: &[u8]) -> &[u8] {
    let start = text.iter().rposition(|byte| *byte == b',' || is_blank(*byte)).map_or(0, |at| at + 1);
    &text[start..]
}

/// Host and port of `host:port`, `[::1]:80` or `::1:80`. `None` when there is no port.
#[inline]
pub(crate) fn host_and_port(text: &[u8]) -> Option<(&[u8], u64)> {
    // From behind: a port has five digits at most.
    let colon = text.iter().rposition(|byte| *byte == b':')?;
    let port = whole(&text[colon + 1..]).filter(|port| *port <= 65_535)?;
    let host = &text[..colon];
    let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    (!host.is_empty()).then_some((host, port))
}

/// Whether a line has anything that [`unescaped`] changes.
#[inline]
pub(super) fn has_escapes(line: &[u8]) -> bool {
    memchr(b'\\', line).is_some()
}

/// What escapes stand for: `\x22` as nginx, httpd and varnishncsa write it, and the letters of C.
pub(crate) fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr(b'\\', text) else { return Cow::Borrowed(text) };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        match behind {
            [b'x', high, low, ..] if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = &behind[3..];
            }
            [letter, ..] => {
                out.push(match letter {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'v' => 0x0b,
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    other => *other,
                });
                rest = &behind[1..];
            }
            [] => out.push(b'\\'),
        }
    }
    // An escape may stand for a byte that is no text by itself.
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(_) => Cow::Owned(out),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_ends_where_no_escape_and_no_letter_says_otherwise() {
        let check = |line: &str, expected: Option<&str>, rest: &str| {
            let mut scan = Scan::new(line.as_bytes(), 0);
            assert_eq!(scan.quoted(), expected.map(str::as_bytes), "{line}");
            assert_eq!(scan.rest(), rest.as_bytes(), "{line}");
        };
        check(r#""a b" c"#, Some("a b"), " c");
        check(r#""""#, Some(""), "");
        check(r#""a \"b\" c" d"#, Some(r#"a \"b\" c"#), " d");
        check(r#""a \\" d"#, Some(r"a \\"), " d");
        check(r#""Mozilla "x"y" d"#, Some(r#"Mozilla "x"y"#), " d");
        check(r#""open"#, None, r#""open"#);
        check(r#""open\"#, None, r#""open\"#);
        check("none", None, "none");
        check("", None, "");
    }

    #[test]
    fn a_word_ends_at_the_first_blank_wherever_it_is() {
        for len in 0..40 {
            for blank in [b' ', b'\t'] {
                // Bytes around the blanks, and what comes behind the first one.
                for fill in [0x00, 0x08, 0x0a, 0x1f, 0x21, 0x7f, 0x80, 0xa0, 0xff] {
                    let mut text = vec![fill; len];
                    assert_eq!(len_to_blank(&text), len);
                    text.push(blank);
                    text.extend([blank, fill, b' ', b'\t', fill, fill, fill, fill, fill]);
                    assert_eq!(len_to_blank(&text), len, "{len} of {fill}");
                }
            }
        }
    }

    #[test]
    fn lists_are_joined_and_the_last_answered() {
        let mut scan = Scan::new(b" 10.0.0.1:80, 10.0.0.2:80 0, 0.005 : 0.010, - tail", 0);
        let first = scan.list();
        assert_eq!((first, last_of_list(first)), (&b"10.0.0.1:80, 10.0.0.2:80"[..], &b"10.0.0.2:80"[..]));
        let second = scan.list();
        assert_eq!((second, last_of_list(second)), (&b"0, 0.005 : 0.010, -"[..], &b"-"[..]));
        assert_eq!(scan.list(), b"tail");
        assert_eq!(scan.list(), b"");
        assert_eq!(Scan::new(b"a, ", 0).list(), b"a,");
    }

    #[test]
    fn numbers_and_addresses() {
        assert_eq!((whole(b"200"), whole(b""), whole(b"-1"), whole(&[b'9'; 19])), (Some(200), None, None, None));
        assert_eq!(
            (decimal(b"0.005"), decimal(b"12.5"), decimal(b"1."), decimal(b"7")),
            (Some(0.005), Some(12.5), None, None)
        );
        assert_eq!(host_and_port(b"10.0.0.1:8080"), Some((&b"10.0.0.1"[..], 8080)));
        assert_eq!(host_and_port(b"[::1]:80"), Some((&b"::1"[..], 80)));
        assert_eq!(host_and_port(b"::1:41234"), Some((&b"::1"[..], 41234)));
        assert_eq!((host_and_port(b"x"), host_and_port(b":80"), host_and_port(b"a:99999")), (None, None, None));
    }

    #[test]
    fn escapes_of_all_servers_are_read() {
        for (text, expected) in [
            (r"plain", "plain"),
            (r"\x22a\x5Cb\xC3\xA9", "\"a\\bé"),
            (r#"\"quoted\" \\ \t"#, "\"quoted\" \\ \t"),
            (r"\xfcber \x4", "\u{fffd}ber x4"),
            ("end\\", "end\\"),
        ] {
            assert_eq!(unescaped(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }
}
