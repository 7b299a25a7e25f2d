//! Protobuf's wire format as far as remote-write needs it: the fields of a message, one after the other, borrowed. Unknown
//! fields are passed over by whoever matches on numbers. Groups do not occur in these messages and are refused.

use crate::error::IngestError;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// The message is not protobuf, or a field has another type than the protocol gives it.
pub(super) fn broken(reason: &str) -> IngestError {
    IngestError::Malformed { what: "broken remote-write request", reason: reason.to_owned() }
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    /// Number and value of the next field, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, IngestError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take()?)),
            2 => {
                let len = usize::try_from(self.varint()?).ok();
                let Some((content, rest)) = len.and_then(|len| self.rest.split_at_checked(len)) else {
                    return Err(broken("a length goes beyond the end of its message"));
                };
                self.rest = rest;
                Value::Bytes(content)
            }
            5 => self.take::<4>().map(|_| Value::Fixed32)?,
            _ => return Err(broken("a field has a wire type that does not occur here")),
        };
        Ok(Some((key >> 3, value)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, IngestError> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index == 9 && byte > 1 {
                    break;
                }
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(broken("malformed variable-length integer"))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], IngestError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(broken("message ends in the middle of a number"));
        };
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], IngestError> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(broken("a number where text or a message belongs")),
        }
    }

    pub(super) fn integer(self) -> Result<u64, IngestError> {
        match self {
            Value::Varint(value) => Ok(value),
            _ => Err(broken("a field that is no integer where one belongs")),
        }
    }

    pub(super) fn double(self) -> Result<f64, IngestError> {
        match self {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(broken("a field that is no double where one belongs")),
        }
    }
}

/// Undoes protobuf's zigzag.
pub(super) fn signed(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Hands over the numbers of a repeated field's occurrence, packed or not.
pub(super) fn integers(value: Value<'_>, mut each: impl FnMut(u64)) -> Result<(), IngestError> {
    let Value::Bytes(packed) = value else { return value.integer().map(each) };
    let mut fields = Fields::of(packed);
    while !fields.is_at_end() {
        each(fields.varint()?);
    }
    Ok(())
}

/// The same for doubles.
pub(super) fn doubles(value: Value<'_>, mut each: impl FnMut(f64)) -> Result<(), IngestError> {
    let Value::Bytes(packed) = value else { return value.double().map(each) };
    let mut fields = Fields::of(packed);
    while !fields.is_at_end() {
        each(f64::from_le_bytes(fields.take()?));
    }
    Ok(())
}
