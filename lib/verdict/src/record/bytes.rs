//! Bytes of the stored form: whole numbers in as few bytes as they need, fractions as their bits, texts and lists with their length.

use super::RecordError;

/// Bytes that grow.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Seven bits to a byte, low ones first; the high bit says that more follow.
    pub fn u128(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    pub fn u64(&mut self, value: u64) {
        self.u128(u128::from(value));
    }

    /// Small numbers of either sign are short: 0, -1, 1, -2 are 0, 1, 2, 3.
    pub fn i128(&mut self, value: i128) {
        self.u128((value << 1 ^ value >> 127) as u128);
    }

    pub fn i64(&mut self, value: i64) {
        self.i128(i128::from(value));
    }

    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_bits().to_le_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.raw(text.as_bytes());
    }

    pub fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Writer, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub fn list<T>(&mut self, values: &[T], put: impl Fn(&mut Writer, &T)) {
        self.u64(values.len() as u64);
        for value in values {
            put(self, value);
        }
    }
}

/// Bytes that are read from the front.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of the form that is read.
    pub version: u8,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, version: 0 }
    }

    pub fn invalid(&self, what: &'static str) -> RecordError {
        RecordError::Invalid { what, offset: self.at }
    }

    pub fn end(&self) -> Result<(), RecordError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.invalid("end")) }
    }

    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(RecordError::Truncated { offset: self.bytes.len() })?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    pub fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(self.raw(1)?[0])
    }

    pub fn bool(&mut self) -> Result<bool, RecordError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid("yes or no")),
        }
    }

    pub fn u128(&mut self) -> Result<u128, RecordError> {
        let (mut value, mut shift) = (0u128, 0u32);
        loop {
            let byte = self.u8()?;
            let part = u128::from(byte & 0x7f);
            if shift > 126 || (shift == 126 && part > 3) {
                return Err(self.invalid("whole number"));
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub fn u64(&mut self) -> Result<u64, RecordError> {
        u64::try_from(self.u128()?).map_err(|_| self.invalid("whole number"))
    }

    pub fn u32(&mut self) -> Result<u32, RecordError> {
        u32::try_from(self.u64()?).map_err(|_| self.invalid("whole number"))
    }

    pub fn i128(&mut self) -> Result<i128, RecordError> {
        let value = self.u128()?;
        Ok((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    pub fn i64(&mut self) -> Result<i64, RecordError> {
        i64::try_from(self.i128()?).map_err(|_| self.invalid("whole number"))
    }

    /// A time in seconds, or the number of a block.
    pub fn time(&mut self) -> Result<i64, RecordError> {
        let time = self.i64()?;
        // "Never" is the smallest number.
        let is_known = time == i64::MIN || time == crate::comparison::clamped(time);
        if is_known { Ok(time) } else { Err(self.invalid("time")) }
    }

    pub fn f64(&mut self) -> Result<f64, RecordError> {
        let mut bits = [0; 8];
        bits.copy_from_slice(self.raw(8)?);
        Ok(f64::from_bits(u64::from_le_bytes(bits)))
    }

    pub fn text(&mut self) -> Result<String, RecordError> {
        let length = self.length()?;
        let text = std::str::from_utf8(self.raw(length)?).map_err(|_| self.invalid("text"))?;
        Ok(text.to_owned())
    }

    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Option<T>, RecordError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, RecordError>) -> Result<Vec<T>, RecordError> {
        let length = self.length()?;
        (0..length).map(|_| read(self)).collect()
    }

    /// A length: every element takes at least a byte, so one that is beyond the bytes is refused before anything is allocated.
    fn length(&mut self) -> Result<usize, RecordError> {
        let length = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        if length > self.bytes.len() - self.at {
            return Err(RecordError::Truncated { offset: self.bytes.len() });
        }
        Ok(length)
    }
}
