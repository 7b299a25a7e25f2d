//! Objects become messages, guided by the schema: each value is written as it is read, and the length of a message is put in
//! front of it when its end is known.

use std::borrow::Cow;

use super::error::{Fault, JsonError, Parsed, fault};
use super::lexer::Lexer;
use super::schema::{Field, Kind, Message, Presence};
use super::{Transcoded, number};
use crate::wire::{DEPTH_MAX, FIXED32, FIXED64, LEN, VARINT, key};
use crate::write::{put_varint, varint_len};

/// What senders write at the top of another signal's request.
const OTHER_SIGNALS: [&str; 3] = ["resourceLogs", "resourceMetrics", "resourceSpans"];

/// Longer names are no misspelling of a known one.
const NAME_BYTES_MAX: usize = 64;

pub(super) fn request(json: &[u8], schema: &'static Message, bytes_max: usize) -> Result<Transcoded, JsonError> {
    let out = Vec::with_capacity(json.len().min(bytes_max));
    let mut encoder = Encoder { lexer: Lexer::new(json), out, bytes_max, ignored: None };
    match encoder.whole(schema) {
        Ok(()) => Ok(Transcoded { request: encoder.out, ignored: encoder.ignored }),
        Err(fault) => Err(fault.tell(json, bytes_max)),
    }
}

struct Encoder<'a> {
    lexer: Lexer<'a>,
    out: Vec<u8>,
    bytes_max: usize,
    ignored: Option<String>,
}

impl<'a> Encoder<'a> {
    fn whole(&mut self, schema: &'static Message) -> Parsed<()> {
        self.message(schema, DEPTH_MAX)?;
        if self.lexer.is_at_end() { Ok(()) } else { self.lexer.unexpected("the end of the text") }
    }

    /// An object as the content of a message. `depth` is how many levels of messages may be inside.
    fn message(&mut self, schema: &'static Message, depth: u32) -> Parsed<()> {
        self.lexer.expect(b'{', "an object")?;
        if self.lexer.take(b'}') {
            return Ok(());
        }
        let (mut seen, mut chosen, mut next) = (0u32, false, 0);
        loop {
            let start = self.lexer.at;
            let name = self.lexer.string()?;
            self.lexer.expect(b':', "':'")?;
            match find(schema, &name, next) {
                None => {
                    self.note_ignored(schema, &name, depth);
                    self.lexer.skip_value()?;
                }
                Some(index) => {
                    next = index + 1;
                    if !self.lexer.null()? {
                        let field = &schema.fields[index];
                        let is_choice = field.presence == Presence::Choice;
                        if seen >> index & 1 == 1 {
                            return fault(start, format!("{:?} is given twice", field.name));
                        }
                        if is_choice && chosen {
                            return fault(start, format!("{:?} beside another member of the same choice", field.name));
                        }
                        (seen, chosen) = (seen | 1 << index, chosen | is_choice);
                        self.field(field, depth).map_err(|fault| within(fault, field.name))?;
                    }
                }
            }
            if self.out.len() > self.bytes_max {
                return no_room();
            }
            if !self.lexer.take(b',') {
                return self.lexer.expect(b'}', "',' or '}'");
            }
        }
    }

    #[inline]
    fn field(&mut self, field: &'static Field, depth: u32) -> Parsed<()> {
        let start = self.out.len();
        match field.kind {
            Kind::Message(schema) => self.nested(field.number, schema, depth),
            Kind::Messages(schema) => self.list(|encoder| encoder.nested(field.number, schema, depth)),
            Kind::Texts => self.list(|encoder| encoder.text(field.number)),
            Kind::Packed(kind) => {
                let content = self.open(field.number);
                self.list(|encoder| encoder.bare(kind, true).map(drop))?;
                self.close_unless_empty(content, start);
                Ok(())
            }
            Kind::Text | Kind::Hex | Kind::Base64 => {
                let content = self.open(field.number);
                match field.kind {
                    Kind::Text => self.lexer.string_into(&mut self.out)?,
                    Kind::Hex => self.hex()?,
                    _ => self.base64()?,
                }
                if field.presence == Presence::Implicit {
                    self.close_unless_empty(content, start);
                } else {
                    self.close(content);
                }
                Ok(())
            }
            ref number => {
                put_varint(&mut self.out, key(u64::from(field.number), wire_type(number)));
                let is_zero = self.bare(number, false)?;
                if is_zero && field.presence == Presence::Implicit {
                    self.out.truncate(start);
                }
                Ok(())
            }
        }
    }

    fn nested(&mut self, number: u32, schema: &'static Message, depth: u32) -> Parsed<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return fault(self.lexer.at, format!("nested deeper than {DEPTH_MAX} levels"));
        };
        let content = self.open(number);
        self.message(schema, depth)?;
        self.close(content);
        Ok(())
    }

    fn text(&mut self, number: u32) -> Parsed<()> {
        let content = self.open(number);
        self.lexer.string_into(&mut self.out)?;
        self.close(content);
        Ok(())
    }

    fn list(&mut self, mut element: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        self.lexer.expect(b'[', "a list")?;
        if self.lexer.take(b']') {
            return Ok(());
        }
        let mut index = 0usize;
        loop {
            element(self).map_err(|mut fault| {
                fault.path.push(format!("[{index}]"));
                fault
            })?;
            index += 1;
            if self.out.len() > self.bytes_max {
                return no_room();
            }
            if !self.lexer.take(b',') {
                return self.lexer.expect(b']', "',' or ']'");
            }
        }
    }

    /// Writes the key of a length-delimited field and leaves a byte for its length; gives where the content begins.
    #[inline]
    fn open(&mut self, number: u32) -> usize {
        put_varint(&mut self.out, key(u64::from(number), LEN));
        self.out.push(0);
        self.out.len()
    }

    /// Puts the length in front of what was written since [`Encoder::open`].
    #[inline]
    fn close(&mut self, content: usize) {
        let len = self.out.len() - content;
        if len < 0x80 {
            self.out[content - 1] = len as u8;
            return;
        }
        let more = varint_len(len as u64) - 1;
        let end = self.out.len();
        self.out.resize(end + more, 0);
        self.out.copy_within(content..end, content + more);
        let mut rest = len;
        for byte in &mut self.out[content - 1..content + more] {
            *byte = (rest & 0x7f) as u8 | 0x80;
            rest >>= 7;
        }
        self.out[content + more - 1] &= 0x7f;
    }

    /// The same, or takes the field back when nothing was written.
    #[inline]
    fn close_unless_empty(&mut self, content: usize, start: usize) {
        if self.out.len() == content {
            self.out.truncate(start);
        } else {
            self.close(content);
        }
    }

    /// A value without a key; gives whether it is the default.
    #[inline]
    fn bare(&mut self, kind: &Kind, packed: bool) -> Parsed<bool> {
        if packed && self.lexer.peek() == Some(b'n') {
            return self.lexer.unexpected("a number");
        }
        match kind {
            Kind::Bool => {
                let value = self.lexer.boolean()?;
                self.out.push(u8::from(value));
                Ok(!value)
            }
            Kind::Double => {
                let value = self.double()?;
                self.out.extend_from_slice(&value.to_bits().to_le_bytes());
                // As prost has it: minus zero is not the default.
                Ok(value.to_bits() == 0)
            }
            _ => {
                let value = self.integer(kind)?;
                match kind {
                    Kind::Fixed32 => self.out.extend_from_slice(&(value as u32).to_le_bytes()),
                    Kind::Fixed64 | Kind::Sfixed64 => self.out.extend_from_slice(&(value as u64).to_le_bytes()),
                    Kind::Sint32 => put_varint(&mut self.out, zigzag(value as i32)),
                    _ => put_varint(&mut self.out, value as u64),
                }
                Ok(value == 0)
            }
        }
    }

    /// An integer within the bounds of its kind, as a number or, except for an enumeration, a string.
    fn integer(&mut self, kind: &Kind) -> Parsed<i128> {
        let is_string = self.lexer.peek() == Some(b'"');
        let start = self.lexer.at;
        let text = match (is_string, kind) {
            (true, Kind::Enum) => {
                return fault(start, "expected an integer, found a string: OTLP's JSON has no names for enumerations");
            }
            (true, _) => self.lexer.string()?,
            _ => self.digits("an integer")?,
        };
        if is_string && !number::is_number(&text) {
            return fault(start, "expected an integer, found a string that is not one");
        }
        let (min, max) = bounds(kind);
        match number::integer(&text) {
            Some(value) if (min..=max).contains(&value) => Ok(value),
            _ => fault(start, format!("not an integer from {min} to {max}")),
        }
    }

    fn double(&mut self) -> Parsed<f64> {
        let start = self.lexer.peek().map_or(self.lexer.at, |_| self.lexer.at);
        let is_string = self.lexer.peek() == Some(b'"');
        let text = if is_string { self.lexer.string()? } else { self.digits("a number")? };
        if is_string {
            match &*text {
                b"NaN" => return Ok(f64::NAN),
                b"Infinity" => return Ok(f64::INFINITY),
                b"-Infinity" => return Ok(f64::NEG_INFINITY),
                text if number::is_number(text) => {}
                _ => return fault(start, "expected a number, found a string that is not one"),
            }
        }
        match number::double(&text) {
            Some(value) => Ok(value),
            None => fault(start, "number is beyond the range of a double"),
        }
    }

    fn digits(&mut self, what: &'static str) -> Parsed<Cow<'a, [u8]>> {
        match self.lexer.peek() {
            Some(b'-' | b'0'..=b'9') => {}
            _ => return self.lexer.unexpected(what),
        }
        self.lexer.number().map(Cow::Borrowed)
    }

    fn hex(&mut self) -> Parsed<()> {
        let start = self.lexer.peek().map_or(self.lexer.at, |_| self.lexer.at);
        let text = self.lexer.string()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pairs = text.chunks(2).map(|pair| match *pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        });
        for byte in pairs {
            match byte {
                Some(byte) => self.out.push(byte),
                None => return fault(start, "expected an id in hexadecimal, two digits for each byte"),
            }
        }
        Ok(())
    }

    /// Both alphabets, with or without padding, as protobuf's JSON allows.
    fn base64(&mut self) -> Parsed<()> {
        let start = self.lexer.peek().map_or(self.lexer.at, |_| self.lexer.at);
        let text = self.lexer.string()?;
        let unpadded = match &*text {
            [rest @ .., b'=', b'='] | [rest @ .., b'='] if text.len().is_multiple_of(4) => rest,
            whole => whole,
        };
        let (mut bits, mut held) = (0u32, 0u32);
        for byte in unpadded {
            let Some(value) = sextet(*byte) else { return fault(start, "expected bytes in base64") };
            (bits, held) = (bits << 6 | value, held + 6);
            if held >= 8 {
                held -= 8;
                self.out.push((bits >> held) as u8);
                bits &= (1 << held) - 1;
            }
        }
        if held >= 6 { fault(start, "expected bytes in base64") } else { Ok(()) }
    }

    /// Keeps the first name that is passed over and was surely meant.
    fn note_ignored(&mut self, schema: &Message, name: &[u8], depth: u32) {
        if self.ignored.is_some() {
            return;
        }
        let Ok(text) = std::str::from_utf8(name) else { return };
        if text.len() > NAME_BYTES_MAX {
            return;
        }
        let camel = camel_case(text);
        let known = schema.fields.iter().find(|field| camel == field.name);
        self.ignored = match known {
            Some(field) => Some(format!("{text:?} was passed over: OTLP's JSON calls it {:?}", field.name)),
            None if depth == DEPTH_MAX && OTHER_SIGNALS.contains(&&*camel) => Some(format!(
                "{text:?} was passed over: this route takes {:?}",
                schema.fields.first().map_or("", |field| field.name)
            )),
            None => None,
        };
    }
}

/// The field of that name; looked for at `next` first.
#[inline]
fn find(schema: &Message, name: &[u8], next: usize) -> Option<usize> {
    let is = |field: &Field| field.name.as_bytes() == name;
    match schema.fields.get(next) {
        Some(field) if is(field) => Some(next),
        _ => schema.fields.iter().position(is),
    }
}

fn within(mut fault: Box<Fault>, name: &str) -> Box<Fault> {
    fault.path.push(format!(".{name}"));
    fault
}

#[cold]
fn no_room() -> Parsed<()> {
    Err(Box::new(Fault { what: None, offset: 0, path: Vec::new() }))
}

fn wire_type(kind: &Kind) -> u64 {
    match kind {
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => FIXED64,
        Kind::Fixed32 => FIXED32,
        _ => VARINT,
    }
}

fn bounds(kind: &Kind) -> (i128, i128) {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Enum => (i32::MIN.into(), i32::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
        Kind::Int64 | Kind::Sfixed64 => (i64::MIN.into(), i64::MAX.into()),
        _ => (0, u64::MAX.into()),
    }
}

fn zigzag(value: i32) -> u64 {
    u64::from((value << 1 ^ value >> 31).cast_unsigned())
}

fn sextet(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for character in name.chars() {
        match character {
            '_' => upper = true,
            _ if upper => {
                camel.push(character.to_ascii_uppercase());
                upper = false;
            }
            _ => camel.push(character),
        }
    }
    camel
}
