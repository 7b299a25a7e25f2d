//! The end of a sealed segment: a footer frame with the sparse index, then a trailer of fixed size that says where the
//! footer starts. Pure. With them a file of any size is opened by three small reads. Layout: `FORMAT.md`.

use super::frame::{self, FrameError, Kind};
use super::superblock::take;

/// Size of the trailer, the last bytes of a sealed file.
pub(super) const TRAILER_LEN: usize = 24;
const TRAILER_MAGIC: [u8; 8] = *b"SWJSEAL\n";
const FIXED_LEN: usize = 40;
const ENTRY_LEN: usize = 16;

/// A place to start reading: the record with `offset` has its frame at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub offset: u64,
    pub position: u64,
}

/// What a sealed segment knows about its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// Offset after the last record: the base of the next segment.
    pub next_offset: u64,
    pub records: u64,
    /// Largest receive time of a record; `i64::MIN` without records.
    pub received_ns_max: i64,
    /// Checksum over the header checksums of all record frames, in order.
    pub data_crc: u32,
    pub index: Vec<IndexEntry>,
}

impl Footer {
    /// Footer frame and trailer, for a file that has `position` bytes, of which those before `position - back` are
    /// known to be on disk.
    pub(super) fn encode(&self, salt: u64, position: u64, back: u32) -> Vec<u8> {
        let mut payload = Vec::with_capacity(FIXED_LEN + self.index.len() * ENTRY_LEN);
        payload.extend_from_slice(&self.next_offset.to_le_bytes());
        payload.extend_from_slice(&self.records.to_le_bytes());
        payload.extend_from_slice(&self.received_ns_max.to_le_bytes());
        payload.extend_from_slice(&self.data_crc.to_le_bytes());
        payload.extend_from_slice(&(self.index.len() as u32).to_le_bytes());
        payload.extend_from_slice(&[0; 8]);
        for entry in &self.index {
            payload.extend_from_slice(&entry.offset.to_le_bytes());
            payload.extend_from_slice(&entry.position.to_le_bytes());
        }
        let mut bytes = frame::encode_plain(Kind::Footer, &payload);
        frame::place(&mut bytes, salt, self.next_offset, back);
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(&encode_trailer(salt, position));
        bytes
    }

    /// Reads a footer's payload, whose checksum has been verified.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        if payload.len() < FIXED_LEN {
            return Err(FrameError::Bad("the footer is too short"));
        }
        let entries = u32::from_le_bytes(take(payload, 28)) as usize;
        let Some(entries) = payload[FIXED_LEN..].get(..entries * ENTRY_LEN) else {
            return Err(FrameError::Bad("the footer's index is cut off"));
        };
        let index = entries.chunks_exact(ENTRY_LEN).map(|entry| IndexEntry {
            offset: u64::from_le_bytes(take(entry, 0)),
            position: u64::from_le_bytes(take(entry, 8)),
        });
        Ok(Self {
            next_offset: u64::from_le_bytes(take(payload, 0)),
            records: u64::from_le_bytes(take(payload, 8)),
            received_ns_max: i64::from_le_bytes(take(payload, 16)),
            data_crc: u32::from_le_bytes(take(payload, 24)),
            index: index.collect(),
        })
    }
}

/// Where the footer starts, by the trailer; `None` when these are not the last bytes of a sealed file.
pub(super) fn decode_trailer(bytes: &[u8], salt: u64) -> Option<u64> {
    let trailer = bytes.last_chunk::<TRAILER_LEN>()?;
    let crc = u32::from_le_bytes(take(trailer, 16));
    let whole =
        trailer[8..16] == TRAILER_MAGIC && trailer[20..] == [0; 4] && frame::checksum(salt, &trailer[..16]) == crc;
    whole.then(|| u64::from_le_bytes(take(trailer, 0)))
}

/// The place to start looking for `offset`: the last entry at or before it.
pub(super) fn seek(index: &[IndexEntry], offset: u64) -> Option<IndexEntry> {
    index[..index.partition_point(|entry| entry.offset <= offset)].last().copied()
}

fn encode_trailer(salt: u64, footer_position: u64) -> [u8; TRAILER_LEN] {
    let mut trailer = [0; TRAILER_LEN];
    trailer[..8].copy_from_slice(&footer_position.to_le_bytes());
    trailer[8..16].copy_from_slice(&TRAILER_MAGIC);
    let crc = frame::checksum(salt, &trailer[..16]);
    trailer[16..20].copy_from_slice(&crc.to_le_bytes());
    trailer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_comes_back_as_it_was_written() {
        let index = vec![IndexEntry { offset: 10, position: 64 }, IndexEntry { offset: 20, position: 90_000 }];
        let footer = Footer { next_offset: 30, records: 20, received_ns_max: 5, data_crc: 6, index };
        let bytes = footer.encode(8, 100_000, 12);
        assert_eq!(decode_trailer(&bytes, 8), Some(100_000));
        assert_eq!(decode_trailer(&bytes, 9), None);
        let frame = frame::decode(&bytes, 8).unwrap();
        let payload = &bytes[frame.header_len..frame.len()];
        assert_eq!(frame.payload_crc, crc32c::crc32c(payload));
        assert_eq!(Footer::decode(payload), Ok(footer));
    }

    #[test]
    fn seek_finds_the_last_entry_at_or_before_an_offset() {
        let index = [IndexEntry { offset: 10, position: 64 }, IndexEntry { offset: 20, position: 900 }];
        assert_eq!(seek(&index, 9), None);
        assert_eq!(seek(&index, 10), Some(index[0]));
        assert_eq!(seek(&index, 19), Some(index[0]));
        assert_eq!(seek(&index, 2000), Some(index[1]));
    }
}
