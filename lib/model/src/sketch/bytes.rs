//! Reading and writing the numbers of our tagged histogram forms: LEB128 varints, zigzag, little-endian doubles.
//!
//! The reader never allocates by a length it has not checked against the bytes that are left.

use super::SketchError;

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn put_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    pub(super) fn u8(&mut self) -> Result<u8, SketchError> {
        let byte = *self.bytes.get(self.at).ok_or(SketchError::Truncated { offset: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn varint(&mut self) -> Result<u64, SketchError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(SketchError::Inconsistent { what: "a varint is longer than ten bytes" })
    }

    pub(super) fn zigzag(&mut self) -> Result<i64, SketchError> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub(super) fn f64(&mut self) -> Result<f64, SketchError> {
        let end = self.at + 8;
        let slice = self.bytes.get(self.at..end).ok_or(SketchError::Truncated { offset: self.at })?;
        self.at = end;
        Ok(f64::from_le_bytes(slice.try_into().expect("the slice has eight bytes")))
    }

    /// A number of items that take at least `bytes_each` bytes: refused when so many cannot follow.
    pub(super) fn length(&mut self, bytes_each: usize) -> Result<usize, SketchError> {
        let length = self.varint()?;
        let left = self.bytes.len() - self.at;
        if length > (left / bytes_each) as u64 {
            return Err(SketchError::Truncated { offset: self.bytes.len() });
        }
        Ok(length as usize)
    }

    pub(super) fn finish(&self) -> Result<(), SketchError> {
        if self.at == self.bytes.len() {
            return Ok(());
        }
        Err(SketchError::Inconsistent { what: "bytes follow the histogram" })
    }
}
