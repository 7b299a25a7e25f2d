//! Walks what a record carries lazily (attributes, nested values, exemplars) to its end, so that reading it later cannot
//! fail. Each function takes a reader on a message's content and the depth inside that message.

use crate::ScanError;
use crate::attributes::quick;
use crate::fields::Seen;
use crate::value::quick_value;
use crate::wire::{Depth, FIXED64, LEN, Reader, VARINT, key};

/// The wire key of `KeyValue.key`, `KeyValue.value` and `KeyValue.key_strindex`.
const KV_KEY: u64 = key(1, LEN);
const KV_VALUE: u64 = key(2, LEN);
const KV_KEY_INDEX: u64 = key(3, VARINT);

/// Reads a key-value field whose key stands `at` and has just been read, checks it, and notes it.
#[inline(always)]
pub(crate) fn attribute<'a>(
    r: &mut Reader<'a>,
    at: Reader<'a>,
    depth: Depth,
    seen: &mut Seen<'a>,
) -> Result<(), ScanError> {
    let content = r.message()?;
    key_value(content, depth.enter(at)?)?;
    seen.note(at, content.rest(), *r);
    Ok(())
}

/// Checks the message of a body, as [`attribute`] does with a key-value.
#[inline(always)]
pub(crate) fn value<'a>(
    r: &mut Reader<'a>,
    at: Reader<'a>,
    depth: Depth,
    seen: &mut Seen<'a>,
) -> Result<(), ScanError> {
    let content = r.message()?;
    any_value(content, depth.enter(at)?)?;
    seen.note(at, content.rest(), *r);
    Ok(())
}

#[inline(always)]
pub(crate) fn key_value(r: Reader<'_>, depth: Depth) -> Result<(), ScanError> {
    // The value inside is one more level; what is quick holds nothing that is nested deeper.
    if depth.has_room() && quick(r.rest()).is_some() {
        return Ok(());
    }
    any_key_value(r, depth)
}

fn any_key_value(mut r: Reader<'_>, depth: Depth) -> Result<(), ScanError> {
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            KV_KEY => drop(r.bytes()?),
            KV_VALUE => any_value(r.message()?, depth.enter(at)?)?,
            KV_KEY_INDEX => drop(r.varint()?),
            other => r.unknown(other, at, 0b1110, depth)?,
        }
    }
    Ok(())
}

#[inline(always)]
fn any_value(r: Reader<'_>, depth: Depth) -> Result<(), ScanError> {
    if quick_value(r.rest()).is_some() {
        return Ok(());
    }
    any_kind_of_value(r, depth)
}

fn any_kind_of_value(mut r: Reader<'_>, depth: Depth) -> Result<(), ScanError> {
    const STRING: u64 = key(1, LEN);
    const BOOL: u64 = key(2, VARINT);
    const INT: u64 = key(3, VARINT);
    const DOUBLE: u64 = key(4, FIXED64);
    const ARRAY: u64 = key(5, LEN);
    const MAP: u64 = key(6, LEN);
    const BYTES: u64 = key(7, LEN);
    const STRING_INDEX: u64 = key(8, VARINT);
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            STRING | BYTES => drop(r.bytes()?),
            BOOL | INT | STRING_INDEX => drop(r.varint()?),
            DOUBLE => drop(r.fixed64()?),
            ARRAY => list(r.message()?, depth.enter(at)?, any_kind_of_value)?,
            MAP => list(r.message()?, depth.enter(at)?, any_key_value)?,
            other => r.unknown(other, at, 0b1_1111_1110, depth)?,
        }
    }
    Ok(())
}

/// `ArrayValue` and `KeyValueList`: a repeated message in field 1.
fn list(
    mut r: Reader<'_>,
    depth: Depth,
    element: fn(Reader<'_>, Depth) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    const VALUES: u64 = key(1, LEN);
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            VALUES => element(r.message()?, depth.enter(at)?)?,
            other => r.unknown(other, at, 0b10, depth)?,
        }
    }
    Ok(())
}

/// `EntityRef`: nothing of it is read, but it must be well formed.
pub(crate) fn entity_ref(mut r: Reader<'_>, depth: Depth) -> Result<(), ScanError> {
    const FIRST: u64 = key(1, LEN);
    const LAST: u64 = key(4, LEN);
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            found @ FIRST..=LAST if found & 7 == LEN => drop(r.bytes()?),
            other => r.unknown(other, at, 0b1_1110, depth)?,
        }
    }
    Ok(())
}

/// `Exemplar`: nothing of it is read, but it must be well formed.
pub(crate) fn exemplar(mut r: Reader<'_>, depth: Depth) -> Result<(), ScanError> {
    const TIME: u64 = key(2, FIXED64);
    const DOUBLE: u64 = key(3, FIXED64);
    const SPAN_ID: u64 = key(4, LEN);
    const TRACE_ID: u64 = key(5, LEN);
    const INT: u64 = key(6, FIXED64);
    const ATTRIBUTES: u64 = key(7, LEN);
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            TIME | DOUBLE | INT => drop(r.fixed64()?),
            SPAN_ID | TRACE_ID => drop(r.bytes()?),
            ATTRIBUTES => key_value(r.message()?, depth.enter(at)?)?,
            other => r.unknown(other, at, 0b1111_1100, depth)?,
        }
    }
    Ok(())
}
