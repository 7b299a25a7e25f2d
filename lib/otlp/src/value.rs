//! `AnyValue`: the value of an attribute or the body of a log record, decoded one level deep.
//!
//! The members of the oneof replace each other, the last one counts; but an array that follows an array continues it, and a
//! map a map, and several occurrences of the field that holds the value are one value. Decoding never fails: the bytes
//! were checked by the scan.

use crate::attributes::KeyValues;
use crate::fields::{Fields, FieldsIter, Seen};
use crate::wire::{Depth, FIXED64, LEN, Reader, VARINT, key};

const ARRAY_FIELD: u8 = 5;
const MAP_FIELD: u8 = 6;

/// A value as the sender gave it. Text is bytes that should be UTF-8 but need not be.
#[derive(Clone, Copy, Debug, Default)]
pub enum AnyValue<'a> {
    /// No value, or one of a kind that has no meaning outside profiles (an index of a string table).
    #[default]
    Empty,
    /// Text.
    String(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; may be NaN or infinite.
    Double(f64),
    /// A list of values.
    Array(ArrayValue<'a>),
    /// Named values.
    Map(KeyValues<'a>),
    /// Bytes that are not text.
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// The text of a string; `None` for every other kind.
    #[inline]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            AnyValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number of an int; `None` for every other kind, also for text that looks like a number.
    #[inline]
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            AnyValue::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self, AnyValue::Empty)
    }

    /// The value of a message field `field` that was `seen`.
    #[inline(always)]
    pub(crate) fn from_seen(seen: &Seen<'a>, field: u8) -> Self {
        if seen.is_empty() {
            return AnyValue::Empty;
        }
        match seen.single() {
            Some(content) => Self::from_message(content),
            None => Self::merged(seen.region(), field),
        }
    }

    /// The value whose message is exactly `content`.
    #[inline(always)]
    pub(crate) fn from_message(content: &'a [u8]) -> Self {
        match quick_value(content) {
            Some(value) => value,
            None => Self::from_any_message(content),
        }
    }

    #[inline(never)]
    fn from_any_message(content: &'a [u8]) -> Self {
        let mut decoder = Decoder { region: content, outer: 0, value: AnyValue::Empty, from: 0 };
        decoder.message(Reader::new(content));
        decoder.value
    }

    /// The value of all occurrences of the message field `field` in `region`.
    #[cold]
    fn merged(region: &'a [u8], field: u8) -> Self {
        let mut decoder = Decoder { region, outer: field, value: AnyValue::Empty, from: 0 };
        for mut occurrence in Fields::flat(region, field).iter() {
            if let Ok(message) = occurrence.value.message() {
                decoder.message(message);
            }
        }
        decoder.value
    }
}

/// A value as nearly every sender writes it: one field, text up to 127 bytes or a number. `None` says nothing.
#[inline(always)]
pub(crate) fn quick_value(content: &[u8]) -> Option<AnyValue<'_>> {
    const STRING: u8 = key(1, LEN) as u8;
    const BOOL: u8 = key(2, VARINT) as u8;
    const INT: u8 = key(3, VARINT) as u8;
    match *content {
        [STRING, len @ 0..0x80, ref text @ ..] if text.len() == usize::from(len) => Some(AnyValue::String(text)),
        [BOOL, value @ 0..0x80] => Some(AnyValue::Bool(value != 0)),
        [INT, value @ 0..0x80] => Some(AnyValue::Int(i64::from(value))),
        [INT, low @ 0x80..=0xff, high @ 0..0x80] => Some(AnyValue::Int(i64::from(low & 0x7f) | i64::from(high) << 7)),
        _ => None,
    }
}

struct Decoder<'a> {
    region: &'a [u8],
    /// The field of `region` that holds the value; 0 when `region` is the value's message.
    outer: u8,
    value: AnyValue<'a>,
    /// Where in `region` the current array or map begins.
    from: usize,
}

impl<'a> Decoder<'a> {
    #[inline]
    fn message(&mut self, mut r: Reader<'a>) {
        while !r.is_at_end() {
            if self.field(&mut r).is_none() {
                return;
            }
        }
    }

    /// Reads one field; `None` when the bytes are not what the scan checked.
    #[inline(always)]
    fn field(&mut self, r: &mut Reader<'a>) -> Option<()> {
        const STRING: u64 = key(1, LEN);
        const BOOL: u64 = key(2, VARINT);
        const INT: u64 = key(3, VARINT);
        const DOUBLE: u64 = key(4, FIXED64);
        const ARRAY: u64 = key(ARRAY_FIELD as u64, LEN);
        const MAP: u64 = key(MAP_FIELD as u64, LEN);
        const BYTES: u64 = key(7, LEN);
        const STRING_INDEX: u64 = key(8, VARINT);
        let at = *r;
        match r.key().ok()? {
            STRING => self.value = AnyValue::String(r.bytes().ok()?),
            BOOL => self.value = AnyValue::Bool(r.varint().ok()? != 0),
            INT => self.value = AnyValue::Int(r.varint().ok()?.cast_signed()),
            DOUBLE => self.value = AnyValue::Double(r.double().ok()?),
            ARRAY => {
                let values = self.list(at, r.bytes().ok()?, ARRAY_FIELD);
                self.value = AnyValue::Array(ArrayValue { values });
            }
            MAP => {
                let values = self.list(at, r.bytes().ok()?, MAP_FIELD);
                self.value = AnyValue::Map(KeyValues::new(values));
            }
            BYTES => self.value = AnyValue::Bytes(r.bytes().ok()?),
            STRING_INDEX => {
                r.varint().ok()?;
                self.value = AnyValue::Empty;
            }
            other => r.skip(other, at, Depth::ROOT).ok()?,
        }
        Some(())
    }

    /// The elements of an array or map field that begins `at`: only its own, or with those it continues.
    fn list(&mut self, at: Reader<'a>, content: &'a [u8], field: u8) -> Fields<'a> {
        let continues = match self.value {
            AnyValue::Array(_) => field == ARRAY_FIELD,
            AnyValue::Map(_) => field == MAP_FIELD,
            _ => false,
        };
        if continues {
            return Fields::nested(self.region, [self.outer, field, 1], self.from);
        }
        self.from = at.pos();
        Fields::flat(content, 1)
    }
}

/// The elements of a list, decoded as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct ArrayValue<'a> {
    values: Fields<'a>,
}

impl<'a> ArrayValue<'a> {
    /// The elements in order.
    pub fn iter(&self) -> ArrayIter<'a> {
        ArrayIter { values: self.values.iter() }
    }
}

impl<'a> IntoIterator for ArrayValue<'a> {
    type Item = AnyValue<'a>;
    type IntoIter = ArrayIter<'a>;

    #[inline]
    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

/// Iterates over the elements of an [`ArrayValue`].
#[derive(Clone, Debug)]
pub struct ArrayIter<'a> {
    values: FieldsIter<'a>,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = AnyValue<'a>;

    fn next(&mut self) -> Option<AnyValue<'a>> {
        self.values.next_message().map(AnyValue::from_message)
    }
}
