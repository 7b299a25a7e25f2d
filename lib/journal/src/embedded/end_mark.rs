//! How far a partition is known to be on disk, kept beside its files: `p0.end`, `p1.end`, … A file that has lost its end looks like one
//! that was being written when the program stopped; this tells the two apart, and how many records are missing.
//!
//! It is overwritten in place after each sync and before anybody is answered, and not synced itself: when the process is killed the page
//! cache keeps it, so it is exact; after a loss of power it may be older. It never says more than was on disk.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::superblock::take;

const LEN: usize = 64;
const MAGIC: [u8; 8] = *b"SWJREND\n";
const CRC_AT: usize = 60;

/// What was known to be on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndMark {
    /// The journal it belongs to.
    pub journal_id: u128,
    /// The segment that was written to last.
    pub base_offset: u64,
    /// Bytes of it.
    pub len: u64,
    /// The offset after the last record.
    pub next_offset: u64,
}

impl EndMark {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[16..32].copy_from_slice(&self.journal_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base_offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.len.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.next_offset.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<LEN>()?;
        if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..CRC_AT]) != u32::from_le_bytes(take(bytes, CRC_AT)) {
            return None;
        }
        Some(Self {
            journal_id: u128::from_le_bytes(take(bytes, 16)),
            base_offset: u64::from_le_bytes(take(bytes, 32)),
            len: u64::from_le_bytes(take(bytes, 40)),
            next_offset: u64::from_le_bytes(take(bytes, 48)),
        })
    }
}

/// Where the mark of a partition is.
pub(super) fn path(dir: &Path, partition: u32) -> PathBuf {
    dir.join(format!("p{partition}.end"))
}

/// The mark of a partition; `None` where there is none of this journal that can be read: then nothing is known, as in journals of older
/// versions.
pub(super) fn read(dir: &Path, partition: u32, journal_id: u128) -> Option<EndMark> {
    let bytes = std::fs::read(path(dir, partition)).ok()?;
    EndMark::decode(&bytes).filter(|mark| mark.journal_id == journal_id)
}

/// The mark of a partition that is written to. Where it cannot be written, on a full disk, the journal works as it does with it.
pub(super) struct MarkFile {
    file: Option<File>,
    journal_id: u128,
}

impl MarkFile {
    /// Opens the file, or makes it.
    pub(super) fn open(dir: &Path, partition: u32, journal_id: u128) -> Self {
        let path = path(dir, partition);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        if let Err(error) = &file {
            tracing::warn!(path = %path.display(), %error, "how far the journal is on disk cannot be written down");
        }
        Self { file: file.ok(), journal_id }
    }

    /// Writes down how far the partition is on disk. What cannot be written is older then, which does no harm.
    pub(super) fn set(&self, base_offset: u64, len: u64, next_offset: u64) {
        let mark = EndMark { journal_id: self.journal_id, base_offset, len, next_offset };
        if let Some(file) = &self.file {
            let _ = file.write_all_at(&mark.encode(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_written_and_every_flipped_bit_makes_it_void() {
        let mark = EndMark { journal_id: 0x1234 << 77, base_offset: 5, len: 4711, next_offset: 99 };
        assert_eq!(EndMark::decode(&mark.encode()), Some(mark));
        for bit in 0..LEN * 8 {
            let mut bytes = mark.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Bytes 56 to 60 and 8 to 16 are under the checksum too.
            assert_eq!(EndMark::decode(&bytes), None, "bit {bit}");
        }
        assert_eq!(EndMark::decode(&mark.encode()[..LEN - 1]), None);
    }
}
