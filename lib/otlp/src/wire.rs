//! Protobuf's wire format: varints, keys, lengths, unknown fields. The rules are prost's, because a request that one of
//! our readers takes and another refuses would be acknowledged and then lost.
//!
//! A [`Reader`] holds what of a message is not read yet, and knows where in the request the message ends, so that an error
//! can name its offset without anybody counting on the way. Reading never goes beyond the end and never panics.
//!
//! The readers of the hot loops must stay in registers: copying one through memory right after a field of it was written
//! stalls the processor, which cost half of the time before. So what is not inlined takes readers and slices by value and
//! returns what is left.

use crate::ScanError;

/// Wire types, as they stand in the low three bits of a key.
pub(crate) const VARINT: u64 = 0;
pub(crate) const FIXED64: u64 = 1;
pub(crate) const LEN: u64 = 2;
pub(crate) const START_GROUP: u64 = 3;
pub(crate) const END_GROUP: u64 = 4;
pub(crate) const FIXED32: u64 = 5;

/// How deep messages and groups may nest. The same as prost's, which parts of the program still use.
pub(crate) const DEPTH_MAX: u32 = 100;

/// The key of a field: number and wire type in one, as on the wire. Made for `match`.
#[inline(always)]
pub(crate) const fn key(field: u64, wire_type: u64) -> u64 {
    field << 3 | wire_type
}

/// The levels of nesting that are left in a message.
#[derive(Clone, Copy)]
pub(crate) struct Depth(u32);

impl Depth {
    /// Of the request itself.
    pub(crate) const ROOT: Depth = Depth(DEPTH_MAX);

    /// The depth inside a nested message or group that begins at `at`.
    #[inline(always)]
    pub(crate) fn enter(self, at: Reader<'_>) -> Result<Depth, ScanError> {
        match self.0.checked_sub(1) {
            Some(left) => Ok(Depth(left)),
            None => Err(ScanError::Depth { offset: at.pos() }),
        }
    }

    /// Whether a message that holds nothing nested may stand here.
    #[inline(always)]
    pub(crate) fn has_room(self) -> bool {
        self.0 > 0
    }
}

/// A cursor over the fields of one message. A copy is a place to come back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Offset of the end of the message in the request, or in the region cut from it that is read.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads a request, or a region as if it were one.
    #[inline(always)]
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Reader { rest: data, end: data.len() }
    }

    /// Where the reader stands in the request. Never wraps: the rest is never longer than what lies before its end.
    #[inline(always)]
    pub(crate) fn pos(&self) -> usize {
        self.end.wrapping_sub(self.rest.len())
    }

    #[inline(always)]
    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// What of this message is not read yet.
    #[inline(always)]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What lies between this place and `later`, a place in the same message.
    #[inline(always)]
    pub(crate) fn up_to(&self, later: Reader<'_>) -> &'a [u8] {
        let len = self.rest.len().saturating_sub(later.rest.len());
        &self.rest[..len]
    }

    /// This message as if it ended at `later`, a place in it.
    pub(crate) fn cut(&self, later: Reader<'_>) -> Reader<'a> {
        Reader { rest: self.up_to(later), end: later.pos() }
    }

    /// A key as [`key`] makes them, not checked: a key that matches one of the constants is sound, and every other one goes
    /// to [`Reader::unknown`] or [`Reader::skip`], which check it.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<u64, ScanError> {
        self.varint()
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u64, ScanError> {
        match *self.rest {
            [byte @ 0..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => {
                let (value, rest) = long_varint(self.rest, self.pos())?;
                self.rest = rest;
                Ok(value)
            }
        }
    }

    #[inline(always)]
    pub(crate) fn fixed64(&mut self) -> Result<u64, ScanError> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(ScanError::Truncated { offset: self.pos() }),
        }
    }

    #[inline(always)]
    pub(crate) fn double(&mut self) -> Result<f64, ScanError> {
        self.fixed64().map(f64::from_bits)
    }

    #[inline(always)]
    pub(crate) fn fixed32(&mut self) -> Result<u32, ScanError> {
        match self.rest.split_first_chunk::<4>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u32::from_le_bytes(*bytes))
            }
            None => Err(ScanError::Truncated { offset: self.pos() }),
        }
    }

    /// The content of a length-delimited field.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], ScanError> {
        let at = *self;
        let len = match *self.rest {
            // Records and longer texts have lengths of two bytes: worth not being called for.
            [low @ 0x80..=0xff, high @ 0..0x80, ref rest @ ..] => {
                self.rest = rest;
                u64::from(low & 0x7f) | u64::from(high) << 7
            }
            _ => self.varint()?,
        };
        let content = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((content, rest)) = content else {
            return Err(ScanError::Truncated { offset: at.pos() });
        };
        self.rest = rest;
        Ok(content)
    }

    /// The content of a length-delimited field as a reader of its own, which keeps counting offsets from the start.
    #[inline(always)]
    pub(crate) fn message(&mut self) -> Result<Reader<'a>, ScanError> {
        let rest = self.bytes()?;
        Ok(Reader { rest, end: self.pos() })
    }

    /// Passes over a field that OTLP does not define. `at` is where its key begins. `known` has a bit for each field number
    /// that OTLP defines in this message: such a field comes here only when its wire type is wrong.
    #[inline(always)]
    pub(crate) fn unknown(
        &mut self,
        field_key: u64,
        at: Reader<'_>,
        known: u32,
        depth: Depth,
    ) -> Result<(), ScanError> {
        self.rest = after_unknown(*self, field_key, at.pos(), known, depth)?;
        Ok(())
    }

    /// Passes over the value of any field whose key begins at `at`. A group may nest as deep as messages.
    #[inline(always)]
    pub(crate) fn skip(&mut self, field_key: u64, at: Reader<'_>, depth: Depth) -> Result<(), ScanError> {
        self.rest = after_value(*self, field_key, at.pos(), depth)?;
        Ok(())
    }
}

/// A varint and what is behind it. `offset` is where it begins.
#[inline(never)]
fn long_varint(bytes: &[u8], offset: usize) -> Result<(u64, &[u8]), ScanError> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            // The tenth byte holds the 64th bit and no more.
            if index == 9 && byte > 1 {
                return Err(ScanError::Varint { offset });
            }
            return Ok((value, &bytes[index + 1..]));
        }
    }
    Err(if bytes.len() < 10 { ScanError::Truncated { offset } } else { ScanError::Varint { offset } })
}

/// What is behind the value of an unknown field; see [`Reader::unknown`].
#[cold]
#[inline(never)]
fn after_unknown(r: Reader<'_>, field_key: u64, offset: usize, known: u32, depth: Depth) -> Result<&[u8], ScanError> {
    let field = checked(field_key, offset)? >> 3;
    if field < 32 && known >> field & 1 == 1 {
        return Err(ScanError::WireType { offset, field, wire_type: (field_key & 7) as u8 });
    }
    after_value(r, field_key, offset, depth)
}

/// What is behind the value of any field; see [`Reader::skip`].
#[inline(never)]
fn after_value(mut r: Reader<'_>, field_key: u64, offset: usize, depth: Depth) -> Result<&[u8], ScanError> {
    let Some(left) = depth.0.checked_sub(1) else {
        return Err(ScanError::Depth { offset });
    };
    match u64::from(checked(field_key, offset)?) & 7 {
        VARINT => drop(r.varint()?),
        FIXED64 => drop(r.fixed64()?),
        LEN => drop(r.bytes()?),
        FIXED32 => drop(r.fixed32()?),
        START_GROUP => return after_group(r, field_key >> 3, Depth(left)),
        _ => return Err(ScanError::EndGroup { offset }),
    }
    Ok(r.rest)
}

fn after_group(mut r: Reader<'_>, field: u64, depth: Depth) -> Result<&[u8], ScanError> {
    loop {
        let offset = r.pos();
        let inner = r.key()?;
        if u64::from(checked(inner, offset)?) & 7 != END_GROUP {
            r.rest = after_value(r, inner, offset, depth)?;
        } else if inner >> 3 == field {
            return Ok(r.rest);
        } else {
            return Err(ScanError::EndGroup { offset });
        }
    }
}

/// A key that can be: wire types 6 and 7 do not exist, and below 8 the field number is 0.
fn checked(field_key: u64, offset: usize) -> Result<u32, ScanError> {
    match u32::try_from(field_key) {
        Ok(found) if u64::from(found & 7) <= FIXED32 && found >= 8 => Ok(found),
        _ => Err(ScanError::Key { offset }),
    }
}
