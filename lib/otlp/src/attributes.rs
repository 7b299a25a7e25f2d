//! Attributes: a list of key-values that stays on the wire until somebody iterates, looks up or hashes it.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::fields::{Fields, FieldsIter, Seen};
use crate::value::{AnyValue, quick_value};
use crate::wire::{Depth, LEN, Reader, key};

/// Attributes as the sender gave them: in the sender's order, duplicates included. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct KeyValues<'a> {
    fields: Fields<'a>,
}

/// One attribute. The key is bytes that should be UTF-8 but need not be.
#[derive(Clone, Copy, Debug)]
pub struct KeyValue<'a> {
    /// The name.
    pub key: &'a [u8],
    /// The value.
    pub value: AnyValue<'a>,
}

impl<'a> KeyValues<'a> {
    /// No attributes.
    pub const EMPTY: KeyValues<'static> = KeyValues { fields: Fields::EMPTY };

    #[inline(always)]
    pub(crate) fn new(fields: Fields<'a>) -> Self {
        KeyValues { fields }
    }

    /// The attributes in the sender's order.
    #[inline(always)]
    pub fn iter(&self) -> KeyValuesIter<'a> {
        KeyValuesIter { fields: self.fields.iter() }
    }

    /// The encoded `KeyValue` messages, one by one, without the field key and length in front of each.
    #[inline]
    pub fn raw(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut fields = self.fields.iter();
        std::iter::from_fn(move || fields.next_message())
    }

    /// The value of the first attribute with this key. The first, because `ingest` puts the attributes it resolved in
    /// front of the sender's.
    pub fn get(&self, key: &str) -> Option<AnyValue<'a>> {
        self.iter().find(|attribute| attribute.key == key.as_bytes()).map(|attribute| attribute.value)
    }

    /// Whether there are no attributes.
    pub fn is_empty(&self) -> bool {
        self.fields.iter().next().is_none()
    }

    /// A hash of the set of attributes. The order and the kind of message they were sent in do not matter: an attribute
    /// is hashed as its encoded `KeyValue`, and the hashes are added up. Not for keys that a stranger may want to make
    /// collide: use [`KeyValues::hash128`] for identity.
    #[inline]
    pub fn hash(&self, seed: u64) -> u64 {
        self.raw().fold(seed, |sum, attribute| sum.wrapping_add(xxh3_64_with_seed(attribute, seed)))
    }

    /// As [`KeyValues::hash`], with 128 bits: equal hashes can be taken for equal attributes.
    #[inline]
    pub fn hash128(&self, seed: u64) -> u128 {
        self.raw().fold(u128::from(seed), |sum, attribute| sum.wrapping_add(xxh3_128_with_seed(attribute, seed)))
    }
}

impl Default for KeyValues<'_> {
    #[inline(always)]
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> IntoIterator for KeyValues<'a> {
    type Item = KeyValue<'a>;
    type IntoIter = KeyValuesIter<'a>;

    #[inline(always)]
    fn into_iter(self) -> KeyValuesIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &KeyValues<'a> {
    type Item = KeyValue<'a>;
    type IntoIter = KeyValuesIter<'a>;

    #[inline(always)]
    fn into_iter(self) -> KeyValuesIter<'a> {
        self.iter()
    }
}

/// Iterates over [`KeyValues`].
#[derive(Clone, Debug)]
pub struct KeyValuesIter<'a> {
    fields: FieldsIter<'a>,
}

impl<'a> Iterator for KeyValuesIter<'a> {
    type Item = KeyValue<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<KeyValue<'a>> {
        let content = self.fields.next_message()?;
        Some(quick(content).unwrap_or_else(|| decode(content)))
    }
}

/// An attribute as nearly every sender writes it: a key of up to 127 bytes, then a quick value. `None` says nothing.
#[inline(always)]
pub(crate) fn quick(content: &[u8]) -> Option<KeyValue<'_>> {
    const KEY: u8 = key(1, LEN) as u8;
    const VALUE: u8 = key(2, LEN) as u8;
    let [KEY, key_len @ 0..0x80, ref rest @ ..] = *content else {
        return None;
    };
    let (key, rest) = rest.split_at_checked(usize::from(key_len))?;
    match *rest {
        [VALUE, len @ 0..0x80, ref value @ ..] if value.len() == usize::from(len) => {
            Some(KeyValue { key, value: quick_value(value)? })
        }
        _ => None,
    }
}

/// Decodes any checked `KeyValue`.
#[inline(never)]
fn decode(content: &[u8]) -> KeyValue<'_> {
    let mut r = Reader::new(content);
    const KEY: u64 = key(1, LEN);
    const VALUE: u64 = key(2, LEN);
    let mut name: &[u8] = &[];
    let mut value = Seen::default();
    while !r.is_at_end() {
        let at = r;
        let read = match r.key() {
            Ok(KEY) => r.bytes().map(|bytes| name = bytes),
            Ok(VALUE) => r.bytes().map(|content| value.note(at, content, r)),
            Ok(other) => r.skip(other, at, Depth::ROOT),
            Err(error) => Err(error),
        };
        if read.is_err() {
            break;
        }
    }
    KeyValue { key: name, value: AnyValue::from_seen(&value, 2) }
}
