//! The bytes of a frame: a header with its own checksum, then the payload. Pure. Layout: `FORMAT.md`.
//!
//! The header carries `back`: how far before this frame the part of the file ends that was known to be on disk when the
//! frame was written. That is what tells a torn tail from damage (see `scan`).

use std::sync::Arc;

use shipwake_model::Signal;

use super::superblock::take;
use crate::journal::Header;

/// Size of a header without its tenant, in bytes.
pub(super) const HEADER_LEN: usize = 80;
/// Headers may grow in later versions up to this; anything larger is not a header.
const HEADER_LEN_MAX: usize = 4096;

const FLAG_REQUEST_HASH: u8 = 1;
const FLAGS_KNOWN: u8 = FLAG_REQUEST_HASH;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A record.
    Record = 1,
    /// Says that everything before it was on disk when it was written. `offset` is the next record's.
    Mark = 2,
    /// Ends a sealed segment; its payload is the sparse index. `offset` is the next segment's base.
    Footer = 3,
}

/// How the payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Codec {
    Raw = 0,
    Zstd = 1,
}

/// A frame's header without the record's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: Kind,
    pub codec: Codec,
    /// Bytes of header in the file, fields of later versions included.
    pub header_len: usize,
    /// Bytes of payload in the file.
    pub payload_len: usize,
    /// Checksum of those, see [`checksum`].
    pub payload_crc: u32,
    /// Bytes of payload once decompressed.
    pub raw_len: usize,
    /// Bytes between the end of what was known to be on disk and the start of this frame.
    pub back: u32,
    pub offset: u64,
    /// The header's own checksum, as stored.
    pub header_crc: u32,
}

impl Frame {
    /// Bytes of header and payload in the file.
    pub(super) fn len(&self) -> usize {
        self.header_len + self.payload_len
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    /// The bytes end before the header does.
    Short,
    /// They cannot be a header of this file.
    Bad(&'static str),
}

/// The checksum of everything in a segment file: CRC32C that starts from the file's salt.
pub(super) fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}

/// A header that lacks only what the writer thread knows: `offset`, `back`, and with them the checksum.
pub(super) fn encode_record(
    header: &Header,
    codec: Codec,
    raw_len: usize,
    payload: &[u8],
    payload_crc: u32,
) -> Vec<u8> {
    let tenant = header.tenant.as_bytes();
    let mut bytes = blank(Kind::Record, codec, payload.len(), payload_crc, raw_len, HEADER_LEN + tenant.len());
    bytes[32..40].copy_from_slice(&header.received_ns.to_le_bytes());
    bytes[40..48].copy_from_slice(&header.time_min_ns.to_le_bytes());
    bytes[48..56].copy_from_slice(&header.time_max_ns.to_le_bytes());
    bytes[56..60].copy_from_slice(&header.records.to_le_bytes());
    bytes[60] = header.signal as u8;
    bytes[61] = if header.request_hash.is_some() { FLAG_REQUEST_HASH } else { 0 };
    bytes[62..64].copy_from_slice(&(tenant.len() as u16).to_le_bytes());
    bytes[64..80].copy_from_slice(&header.request_hash.unwrap_or(0).to_le_bytes());
    bytes[80..].copy_from_slice(tenant);
    bytes
}

/// A header of a mark or a footer, to be finished with [`place`].
pub(super) fn encode_plain(kind: Kind, payload: &[u8]) -> Vec<u8> {
    blank(kind, Codec::Raw, payload.len(), crc32c::crc32c(payload), payload.len(), HEADER_LEN)
}

/// Fills in what depends on the place in the file, and the header's checksum, which it returns.
pub(super) fn place(header: &mut [u8], salt: u64, offset: u64, back: u32) -> u32 {
    header[20..24].copy_from_slice(&back.to_le_bytes());
    header[24..32].copy_from_slice(&offset.to_le_bytes());
    let crc = checksum(salt, &header[4..]);
    header[..4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Reads the header at the start of `bytes`. Only a header that was written to this very file passes.
pub(super) fn decode(bytes: &[u8], salt: u64) -> Result<Frame, FrameError> {
    let Some(fixed) = bytes.first_chunk::<HEADER_LEN>() else { return Err(FrameError::Short) };
    let header_len = u16::from_le_bytes(take(fixed, 4)) as usize;
    if !(HEADER_LEN..=HEADER_LEN_MAX).contains(&header_len) {
        return Err(FrameError::Bad("the header's length is impossible"));
    }
    // The checksum comes last: the search for a later header tries every byte of a tail, and most fail here.
    let kind = match fixed[6] {
        1 => Kind::Record,
        2 => Kind::Mark,
        3 => Kind::Footer,
        _ => return Err(FrameError::Bad("the frame is of an unknown kind")),
    };
    let codec = match fixed[7] {
        0 => Codec::Raw,
        1 => Codec::Zstd,
        _ => return Err(FrameError::Bad("the payload's compression is unknown")),
    };
    let Some(header) = bytes.get(..header_len) else { return Err(FrameError::Short) };
    let header_crc = u32::from_le_bytes(take(fixed, 0));
    if checksum(salt, &header[4..]) != header_crc {
        return Err(FrameError::Bad("the header's checksum is wrong"));
    }
    Ok(Frame {
        kind,
        codec,
        header_len,
        payload_len: u32::from_le_bytes(take(fixed, 8)) as usize,
        payload_crc: u32::from_le_bytes(take(fixed, 12)),
        raw_len: u32::from_le_bytes(take(fixed, 16)) as usize,
        back: u32::from_le_bytes(take(fixed, 20)),
        offset: u64::from_le_bytes(take(fixed, 24)),
        header_crc,
    })
}

/// Receive time of a record frame, without building its header.
pub(super) fn received_ns(header: &[u8]) -> i64 {
    i64::from_le_bytes(take(header, 32))
}

/// The record's header, from the bytes that [`decode`] accepted.
pub(super) fn decode_record(header: &[u8]) -> Result<Header, FrameError> {
    let signal = Signal::from_number(header[60]).ok_or(FrameError::Bad("the signal is unknown"))?;
    let flags = header[61];
    if flags & !FLAGS_KNOWN != 0 {
        return Err(FrameError::Bad("a flag of the record is unknown"));
    }
    let tenant_len = u16::from_le_bytes(take(header, 62)) as usize;
    let tenant = header.get(HEADER_LEN..HEADER_LEN + tenant_len).ok_or(FrameError::Bad("the tenant is cut off"))?;
    let tenant = std::str::from_utf8(tenant).map_err(|_| FrameError::Bad("the tenant is not UTF-8"))?;
    let hash = u128::from_le_bytes(take(header, 64));
    Ok(Header {
        tenant: Arc::from(tenant),
        signal,
        received_ns: received_ns(header),
        records: u32::from_le_bytes(take(header, 56)),
        time_min_ns: i64::from_le_bytes(take(header, 40)),
        time_max_ns: i64::from_le_bytes(take(header, 48)),
        request_hash: (flags & FLAG_REQUEST_HASH != 0).then_some(hash),
    })
}

fn blank(kind: Kind, codec: Codec, payload_len: usize, payload_crc: u32, raw_len: usize, header_len: usize) -> Vec<u8> {
    let mut bytes = vec![0; header_len];
    bytes[4..6].copy_from_slice(&(header_len as u16).to_le_bytes());
    bytes[6] = kind as u8;
    bytes[7] = codec as u8;
    bytes[8..12].copy_from_slice(&(payload_len as u32).to_le_bytes());
    bytes[12..16].copy_from_slice(&payload_crc.to_le_bytes());
    bytes[16..20].copy_from_slice(&(raw_len as u32).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(request_hash: Option<u128>) -> Header {
        Header {
            tenant: "defäult".into(),
            signal: Signal::Traces,
            received_ns: -5,
            records: 17,
            time_min_ns: i64::MIN,
            time_max_ns: i64::MAX,
            request_hash,
        }
    }

    fn written(request_hash: Option<u128>) -> Vec<u8> {
        let payload = b"payload";
        let mut bytes = encode_record(&header(request_hash), Codec::Raw, 7, payload, crc32c::crc32c(payload));
        place(&mut bytes, 42, 1234, 56);
        bytes
    }

    #[test]
    fn a_record_header_comes_back_as_it_was_written() {
        for hash in [None, Some(0), Some(u128::MAX)] {
            let bytes = written(hash);
            let frame = decode(&bytes, 42).unwrap();
            assert_eq!((frame.kind, frame.codec, frame.payload_len, frame.raw_len), (Kind::Record, Codec::Raw, 7, 7));
            assert_eq!((frame.offset, frame.back, frame.header_len), (1234, 56, bytes.len()));
            assert_eq!(decode_record(&bytes).unwrap(), header(hash));
        }
    }

    #[test]
    fn a_header_of_another_file_is_not_accepted() {
        assert!(matches!(decode(&written(None), 43), Err(FrameError::Bad(_))));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = written(Some(9));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, 42).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len], 42), Err(FrameError::Short), "cut to {len}");
        }
    }
}
