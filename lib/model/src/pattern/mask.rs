//! Replaces the parameters of a line by `<*>`: numbers with their units, ids, addresses, paths, times, quoted text.
//!
//! One pass over the bytes, no regular expressions. A word with a digit in it is a parameter, unless it is the name of a
//! technique (`http2`, `sha256`) or of a field (`p99=`). What was masked next to each other becomes one: `10.0.0.7:5432`,
//! `2026-11-23T14:00:00.123Z` and `1, 2, 3` are one parameter each, however many parts they have. Masking what is
//! masked changes nothing.

use super::PARAMETER;

/// A shape is cut here, at a token: two lines that are alike so far are the same pattern.
pub const SHAPE_BYTES_MAX: usize = 256;
/// Of a line no more is looked at: parameters may be huge, and what happened stands in front.
const LINE_BYTES_MAX: usize = 2_048;
/// A longer word is no word of a language.
const WORD_BYTES_MAX: usize = 64;
/// A quote that is not closed within so many bytes is an apostrophe.
const QUOTED_BYTES_MAX: usize = 200;
/// A word with a digit in it that names a field is at most so long.
const FIELD_BYTES_MAX: usize = 32;

/// Names with digits in them that are no parameters, in lower case.
const NAMES: [&[u8]; 34] = [
    b"amd64", b"arm64", b"base64", b"ec2", b"float32", b"float64", b"h2", b"h2c", b"http2", b"http3", b"i386",
    b"int32", b"int64", b"ipv4", b"ipv6", b"k8s", b"log4j", b"md5", b"oauth2", b"p50", b"p90", b"p95", b"p99", b"s3",
    b"sha1", b"sha256", b"sha512", b"uint32", b"uint64", b"utf-8", b"utf8", b"x509", b"x64", b"x86",
];
const MONTHS: [&[u8]; 12] = [
    b"January",
    b"February",
    b"March",
    b"April",
    b"May",
    b"June",
    b"July",
    b"August",
    b"September",
    b"October",
    b"November",
    b"December",
];
const DAYS: [&[u8]; 7] = [b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"];
/// The longest name of a month or a day.
const DATE_BYTES_MAX: usize = 9;

/// What a byte is to the scanner.
const WORD: u8 = 1;
const DIGIT: u8 = 2;
const SPACE: u8 = 4;
/// Ends a path or an address.
const CLOSES: u8 = 8;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut byte = 0usize;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => WORD | DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' | 0x80..=0xff => WORD,
            b'_' | b'-' | b'.' | b'+' | b'%' | b'$' | b'~' | b'^' | b'\\' => WORD,
            0..=b' ' | 0x7f => SPACE,
            b'"' | b'\'' | b'`' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b',' | b';' | b'|' => CLOSES,
            _ => 0,
        };
        byte += 1;
    }
    table
}

#[inline]
fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// Appends the shape of a line to `out`. Tokens are divided by one space; at most [`SHAPE_BYTES_MAX`] bytes are appended.
pub fn mask(line: &[u8], out: &mut Vec<u8>) {
    let line = &line[..line.len().min(LINE_BYTES_MAX)];
    let mut scan = Scan { line, at: 0, kept_from: 0, begin: out.len(), out };
    while scan.at < line.len() && scan.length() <= SHAPE_BYTES_MAX {
        scan.step();
    }
    scan.finish();
}

struct Scan<'l, 'o> {
    line: &'l [u8],
    at: usize,
    /// Bytes from here to `at` stay as they are; they are copied when something else follows.
    kept_from: usize,
    begin: usize,
    out: &'o mut Vec<u8>,
}

impl<'l> Scan<'l, '_> {
    #[inline]
    fn step(&mut self) {
        let byte = self.line[self.at];
        if is(byte, WORD) {
            self.word();
        } else if is(byte, SPACE) {
            self.space(byte);
        } else {
            match byte {
                b'<' if self.line[self.at..].starts_with(PARAMETER.as_bytes()) => self.parameter(PARAMETER.len()),
                b'/' if self.opens() => self.path(),
                b'"' | b'\'' if self.opens() => self.quoted(byte),
                _ => self.at += 1,
            }
        }
    }

    /// How long the shape is so far.
    #[inline]
    fn length(&self) -> usize {
        self.out.len() - self.begin + self.at - self.kept_from
    }

    /// Copies what stays as it is.
    #[inline]
    fn copy(&mut self) {
        self.out.extend_from_slice(&self.line[self.kept_from..self.at]);
        self.kept_from = self.at;
    }

    /// One space for any number of them, and none in front.
    #[inline]
    fn space(&mut self, byte: u8) {
        let is_first = if self.at == self.kept_from {
            self.out.len() > self.begin && self.out.last() != Some(&b' ')
        } else {
            self.line[self.at - 1] != b' '
        };
        if is_first && byte == b' ' {
            self.at += 1;
            return;
        }
        self.copy();
        if is_first {
            self.out.push(b' ');
        }
        self.at += 1;
        self.kept_from = self.at;
    }

    /// A run of letters, digits and what joins them.
    #[inline]
    fn word(&mut self) {
        let rest = &self.line[self.at..];
        let mut classes = 0;
        let mut end = 0;
        for byte in rest {
            let class = CLASSES[*byte as usize];
            if class & WORD == 0 {
                break;
            }
            classes |= class;
            end += 1;
        }
        // The stop of a sentence is not part of its last word.
        let mut length = end;
        while length > 1 && matches!(rest[length - 1], b'.' | b'-' | b'+') {
            length -= 1;
        }
        let (word, next) = (&rest[..length], rest.get(length).copied().unwrap_or(b' '));
        let is_address = next == b':' && rest[length..].starts_with(b"://")
            || next == b'@' && rest.get(length + 1).is_some_and(|byte| is(*byte, WORD));
        if is_address {
            let length = self.address_length(length);
            self.parameter(length);
        } else if length > WORD_BYTES_MAX
            || classes & DIGIT != 0 && !is_name(word, next)
            || (3..=DATE_BYTES_MAX).contains(&length) && is_date(word, &rest[length..])
        {
            self.parameter(length);
        } else {
            self.at += length;
        }
    }

    /// How long the address or path is that begins here; `from` bytes of it are known.
    fn address_length(&self, from: usize) -> usize {
        let rest = &self.line[self.at..];
        let open = rest[from..].iter().position(|byte| is(*byte, SPACE | CLOSES));
        let mut length = open.map_or(rest.len(), |open| from + open);
        while length > 1 && matches!(rest[length - 1], b'.' | b':' | b'!' | b'?' | b'=') {
            length -= 1;
        }
        length
    }

    fn path(&mut self) {
        match self.address_length(1) {
            // The root, as in `GET / took`.
            1 if self.line.get(self.at + 1).is_none_or(|byte| is(*byte, SPACE)) => self.parameter(1),
            0 | 1 => self.at += 1,
            length => self.parameter(length),
        }
    }

    /// Text in quotes is a parameter; the key of a JSON member is not.
    fn quoted(&mut self, quote: u8) {
        let rest = &self.line[self.at + 1..];
        let within = &rest[..rest.len().min(QUOTED_BYTES_MAX)];
        self.at += 1;
        let Some(length) = within.iter().position(|byte| *byte == quote) else { return };
        let after = rest.get(length + 1).copied().unwrap_or(b' ');
        if !is(after, SPACE) && !matches!(after, b'.' | b',' | b';' | b':' | b')' | b']' | b'}' | b'|' | b'=') {
            return;
        }
        let content = &rest[..length];
        let is_key = after == b':' && quote == b'"' && content.iter().all(|byte| is(*byte, WORD));
        if !is_key {
            self.copy();
            self.out.extend_from_slice(PARAMETER.as_bytes());
            self.kept_from = self.at + length;
        }
        self.at += length + 1;
    }

    /// Whether something that begins here stands at the beginning of a value.
    fn opens(&self) -> bool {
        let before = self.at.checked_sub(1).map(|before| self.line[before]);
        before
            .is_none_or(|before| is(before, SPACE) || matches!(before, b'(' | b'[' | b'{' | b'=' | b':' | b',' | b'|'))
    }

    /// Puts `<*>` in the place of the next `length` bytes, and makes one of what was masked next to each other.
    #[inline]
    fn parameter(&mut self, length: usize) {
        self.copy();
        self.at += length;
        self.kept_from = self.at;
        let mark = PARAMETER.as_bytes();
        let written = &self.out[self.begin..];
        if written.ends_with(mark) {
            return;
        }
        let joined = match written {
            [before @ .., b'.' | b',' | b':' | b'/' | b'-' | b'_' | b'@' | b'*' | b'#'] if before.ends_with(mark) => 1,
            [before @ .., b',', b' '] if before.ends_with(mark) => 2,
            _ => {
                self.out.extend_from_slice(mark);
                return;
            }
        };
        self.out.truncate(self.out.len() - joined);
    }

    /// Cuts what is too long at a token.
    fn finish(&mut self) {
        self.copy();
        if self.out.len() - self.begin > SHAPE_BYTES_MAX {
            let kept = &self.out[self.begin..self.begin + SHAPE_BYTES_MAX + 1];
            let end = kept.iter().rposition(|byte| *byte == b' ').unwrap_or(SHAPE_BYTES_MAX);
            self.out.truncate(self.begin + end);
        }
        while self.out.len() > self.begin && self.out.last() == Some(&b' ') {
            self.out.pop();
        }
    }
}

/// Whether a word with a digit in it is a name and no parameter.
#[inline]
fn is_name(word: &[u8], next: u8) -> bool {
    if !word[0].is_ascii_alphabetic() {
        return false;
    }
    if next == b'=' && word.len() <= FIELD_BYTES_MAX {
        return true;
    }
    word.len() <= 7 && NAMES.iter().any(|name| name.eq_ignore_ascii_case(word))
}

/// Whether a word is the month or the day of a date: `Nov 26`, `26/Nov/2026`, `Thu Nov 26`, `Thu, 26 Nov`, `Thursday, November 26`.
fn is_date(word: &[u8], rest: &[u8]) -> bool {
    if !word[0].is_ascii_uppercase() {
        return false;
    }
    if is_named(&MONTHS, word) {
        let rest = rest.strip_prefix(b"/").or_else(|| rest.strip_prefix(b"-")).unwrap_or_else(|| after_spaces(rest));
        return rest.first().is_some_and(u8::is_ascii_digit);
    }
    if !is_named(&DAYS, word) {
        return false;
    }
    let next = after_spaces(rest.strip_prefix(b",").unwrap_or(rest));
    let letters = next.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    if letters == 0 { next.first().is_some_and(u8::is_ascii_digit) } else { is_named(&MONTHS, &next[..letters]) }
}

/// Whether a word is one of the names, or its first three letters.
fn is_named(names: &[&[u8]], word: &[u8]) -> bool {
    names.iter().any(|name| *name == word || name[..3] == *word)
}

/// What follows one space or more; nothing where there is none.
fn after_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| is(**byte, SPACE)).count();
    if spaces > 0 { &text[spaces..] } else { b"" }
}
