//! JSON's tokens over bytes: whitespace, strings, literals, and values that are passed over. Strict by RFC 8259, except that
//! a byte order mark is ignored, and that bytes above 0x7f are not checked for UTF-8.

use std::borrow::Cow;

use super::error::{Parsed, fault};
use super::number;

/// How deep lists and objects may nest in a field that is passed over. More than any known field nests.
const SKIPPED_DEPTH_MAX: u32 = 127;

/// A cursor over the text.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Lexer { text, at }
    }

    /// The next byte that is not whitespace, not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Takes `byte` if it comes next.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte`, which must come next.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Parsed<()> {
        if self.take(byte) { Ok(()) } else { self.unexpected(what) }
    }

    /// What stands here instead of `expected`.
    #[cold]
    pub(super) fn unexpected<T>(&mut self, expected: &str) -> Parsed<T> {
        let found = match self.peek() {
            None => "the end of the text".to_owned(),
            Some(b'"') => "a string".to_owned(),
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "a list".to_owned(),
            Some(b'-' | b'0'..=b'9') => "a number".to_owned(),
            Some(b't' | b'f' | b'n') => "a literal".to_owned(),
            Some(byte) => format!("'{}'", byte.escape_ascii()),
        };
        fault(self.at, format!("expected {expected}, found {found}"))
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Takes a `null` if it comes next.
    #[inline]
    pub(super) fn null(&mut self) -> Parsed<bool> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal(b"null").map(|()| true)
    }

    pub(super) fn boolean(&mut self) -> Parsed<bool> {
        match self.peek() {
            Some(b't') => self.literal(b"true").map(|()| true),
            Some(b'f') => self.literal(b"false").map(|()| false),
            _ => self.unexpected("true or false"),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Parsed<()> {
        if !self.text[self.at..].starts_with(word) {
            return fault(self.at, "not a JSON value");
        }
        self.at += word.len();
        Ok(())
    }

    /// The characters of a number.
    #[inline]
    pub(super) fn number(&mut self) -> Parsed<&'a [u8]> {
        let rest = &self.text[self.at..];
        match number::scan(rest) {
            Some(len) => {
                self.at += len;
                Ok(&rest[..len])
            }
            None => fault(self.at, "malformed number"),
        }
    }

    /// A string that is needed as a whole; borrowed when it has no escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.expect(b'"', "a string")?;
        let rest = &self.text[self.at..];
        let len = plain_len(rest);
        if rest.get(len) == Some(&b'"') {
            self.at += len + 1;
            return Ok(Cow::Borrowed(&rest[..len]));
        }
        let mut text = Vec::new();
        self.rest_of_string(&mut text)?;
        Ok(Cow::Owned(text))
    }

    /// Appends what a string says.
    #[inline]
    pub(super) fn string_into(&mut self, out: &mut Vec<u8>) -> Parsed<()> {
        self.expect(b'"', "a string")?;
        self.rest_of_string(out)
    }

    fn rest_of_string(&mut self, out: &mut Vec<u8>) -> Parsed<()> {
        loop {
            let rest = &self.text[self.at..];
            let len = plain_len(rest);
            out.extend_from_slice(&rest[..len]);
            self.at += len;
            match rest.get(len) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(out)?,
                Some(_) => return fault(self.at, "control character in a string; write it as an escape"),
                None => return fault(self.at, "the text ends in the middle of a string"),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Parsed<()> {
        let start = self.at;
        let letter = self.text.get(start + 1).copied();
        self.at += 2;
        let byte = match letter {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode(start, out),
            _ => return fault(start, "malformed escape in a string"),
        };
        out.push(byte);
        Ok(())
    }

    /// An escape `\uXXXX` that begins at `start`, with the second half of a pair if there is one.
    fn unicode(&mut self, start: usize, out: &mut Vec<u8>) -> Parsed<()> {
        let Some(first) = hex4(self.text, self.at) else { return fault(start, "malformed escape in a string") };
        self.at += 4;
        let mut code = first;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let Some(second) = hex4(self.text, self.at + 2) else {
                return fault(self.at, "malformed escape in a string");
            };
            if (0xdc00..0xe000).contains(&second) {
                code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                self.at += 6;
            }
        }
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// Passes over a value of any kind, checking it. No recursion: the open brackets are the bits of a word.
    pub(super) fn skip_value(&mut self) -> Parsed<()> {
        let (mut objects, mut depth) = (0u128, 0u32);
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    if depth == SKIPPED_DEPTH_MAX {
                        return fault(self.at, "nested too deep");
                    }
                    self.at += 1;
                    if !self.take(closing(open == b'{')) {
                        objects = objects << 1 | u128::from(open == b'{');
                        depth += 1;
                        self.skip_key(open == b'{')?;
                        continue;
                    }
                }
                _ => self.skip_scalar()?,
            }
            // A value is complete: close what ends here, or go on to the next one.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let in_object = objects & 1 == 1;
                if self.take(b',') {
                    self.skip_key(in_object)?;
                    break;
                }
                self.expect(closing(in_object), if in_object { "',' or '}'" } else { "',' or ']'" })?;
                objects >>= 1;
                depth -= 1;
            }
        }
    }

    fn skip_key(&mut self, in_object: bool) -> Parsed<()> {
        if in_object {
            self.skip_string()?;
            self.expect(b':', "':'")?;
        }
        Ok(())
    }

    fn skip_scalar(&mut self) -> Parsed<()> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't' | b'f') => self.boolean().map(drop),
            Some(b'n') => self.null().map(drop),
            _ => self.unexpected("a value"),
        }
    }

    fn skip_string(&mut self) -> Parsed<()> {
        self.expect(b'"', "a string")?;
        let mut unescaped = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let len = plain_len(rest);
            self.at += len;
            match rest.get(len) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    unescaped.clear();
                    self.escape(&mut unescaped)?;
                }
                Some(_) => return fault(self.at, "control character in a string; write it as an escape"),
                None => return fault(self.at, "the text ends in the middle of a string"),
            }
        }
    }
}

const fn closing(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}

/// How many bytes stand for themselves in a string.
#[inline]
fn plain_len(text: &[u8]) -> usize {
    // Eight at a time: a word with a quote, a backslash or a control character in it has a high bit set after this.
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut len = 0;
    while let Some(chunk) = text.get(len..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let has_zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let special = has_zero(word ^ (ONES * u64::from(b'"')))
            | has_zero(word ^ (ONES * u64::from(b'\\')))
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let special = special & HIGHS;
        if special != 0 {
            return len + (special.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + text[len..].iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?;
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}
