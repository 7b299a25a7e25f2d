//! hdrhistogram's V2 encoding of [`HdrCells`], without deflate, byte for byte what that crate's serializer writes.
//!
//! Header of 40 bytes, then the counts from cell 0 to the last populated one: zigzag varints in which a negative number is a
//! run of empty cells. The varint is LEB128 of at most nine bytes: the ninth carries eight bits.

use super::hdr::{HDR_TICKS_MAX, INDEXES};
use super::{HdrCells, SketchError};

const COOKIE: u32 = 0x1c84_9313;
const HEADER_BYTES: usize = 40;
const SIGNIFICANT_DIGITS: u32 = 2;
/// What tells this form from ours: the first byte of the cookie.
pub(super) const FIRST_BYTE: u8 = (COOKIE >> 24) as u8;

impl HdrCells {
    /// Appends the V2 encoding.
    pub fn encode_v2(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&COOKIE.to_be_bytes());
        out.extend_from_slice(&[0; 4]); // The length of the counts, filled in below.
        out.extend_from_slice(&[0; 4]); // No normalizing offset.
        out.extend_from_slice(&SIGNIFICANT_DIGITS.to_be_bytes());
        out.extend_from_slice(&1u64.to_be_bytes());
        out.extend_from_slice(&HDR_TICKS_MAX.to_be_bytes());
        out.extend_from_slice(&1f64.to_be_bytes());
        let mut next = 0;
        for (index, count) in self.cells() {
            put_gap(out, index - next);
            put_zigzag(out, count as i64);
            next = index + 1;
        }
        if self.is_empty() {
            put_zigzag(out, 0);
        }
        let length = (out.len() - start - HEADER_BYTES) as u32;
        out[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
    }

    /// Reads a V2 encoding with the parameters that [`HdrCells::encode_v2`] writes. Sum, minimum and maximum are
    /// estimated; see [`HdrCells::with_summary`].
    pub fn decode_v2(bytes: &[u8]) -> Result<HdrCells, SketchError> {
        if bytes.len() < HEADER_BYTES {
            return Err(SketchError::Truncated { offset: bytes.len() });
        }
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let double_word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let expected = [
            (word(0) == COOKIE, "cookie"),
            (word(8) == 0, "normalizing offset"),
            (word(12) == SIGNIFICANT_DIGITS, "significant digits"),
            (double_word(16) == 1, "lowest value"),
            (double_word(24) == HDR_TICKS_MAX, "highest value"),
            (double_word(32) == 1f64.to_bits(), "conversion ratio"),
        ];
        if let Some((_, what)) = expected.into_iter().find(|(holds, _)| !holds) {
            return Err(SketchError::Unsupported { what });
        }
        let end = HEADER_BYTES + word(4) as usize;
        if bytes.len() < end {
            return Err(SketchError::Truncated { offset: bytes.len() });
        }
        if bytes.len() > end {
            return Err(SketchError::Inconsistent { what: "bytes follow the histogram" });
        }
        decode_counts(&bytes[HEADER_BYTES..])
    }
}

fn decode_counts(mut bytes: &[u8]) -> Result<HdrCells, SketchError> {
    let mut pairs = Vec::new();
    let mut index = 0u64;
    while !bytes.is_empty() {
        let number = take_zigzag(&mut bytes)?;
        if number <= 0 {
            index = index.saturating_add(number.unsigned_abs().max(1));
            continue;
        }
        if index >= u64::from(INDEXES) {
            return Err(SketchError::Inconsistent { what: "a count beyond the last cell" });
        }
        pairs.push((index as u16, number as u64));
        index += 1;
    }
    Ok(HdrCells::from_cells(&pairs))
}

/// A run of empty cells; hdrhistogram writes a run of one as the count 0.
fn put_gap(out: &mut Vec<u8>, empty_cells: u16) {
    match empty_cells {
        0 => {}
        1 => put_zigzag(out, 0),
        run => put_zigzag(out, -i64::from(run)),
    }
}

fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    for _ in 0..8 {
        if rest < 0x80 {
            break;
        }
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn take_zigzag(bytes: &mut &[u8]) -> Result<i64, SketchError> {
    let mut raw = 0u64;
    for nth in 0..9 {
        let (&byte, rest) =
            bytes.split_first().ok_or(SketchError::Inconsistent { what: "the counts end inside a number" })?;
        *bytes = rest;
        if nth == 8 || byte < 0x80 {
            raw |= u64::from(byte) << (7 * nth);
            break;
        }
        raw |= u64::from(byte & 0x7f) << (7 * nth);
    }
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}
