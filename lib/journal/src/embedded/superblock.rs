//! The first 64 bytes of every segment file, and of the file `JOURNAL` that says what the directory is. Pure: bytes in,
//! values out. Layout: `FORMAT.md`. A file whose superblock asks for more than this version knows is refused,
//! unchanged.

/// Size of both kinds of superblock, in bytes.
pub(super) const SUPERBLOCK_LEN: usize = 64;

/// The version that this code writes. Readers of `MIN_READER` and later can read it.
const FORMAT_VERSION: u16 = 1;
const MIN_READER: u16 = 1;
/// Features that a reader must know to read the file.
const INCOMPATIBLE_KNOWN: u32 = 0;

const SEGMENT_MAGIC: [u8; 8] = *b"SWJSEGM\n";
const DIRECTORY_MAGIC: [u8; 8] = *b"SWJRDIR\n";
const CRC_AT: usize = 60;

/// What a segment file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentBlock {
    /// The partition it belongs to.
    pub partition: u32,
    /// The offset of its first record; also in the file's name.
    pub base_offset: u64,
    /// The journal it belongs to, so that a file copied in from elsewhere is noticed.
    pub journal_id: u128,
    /// Goes into every checksum of the file. Nobody outside knows it, so no sender can put bytes into a value that look
    /// like a frame of this file.
    pub salt: u64,
}

/// What the directory says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectoryBlock {
    /// How many partitions the journal has.
    pub partitions: u32,
    /// Random, made once.
    pub journal_id: u128,
    /// The lower half of the id of the journal in whose place this one was made, because it was gone; 0 otherwise.
    pub replaces: u64,
}

/// Why a superblock is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BlockError {
    /// Not what was written.
    Damaged(&'static str),
    /// Written by a version that this one must not imitate.
    Newer(String),
}

impl SegmentBlock {
    pub(super) fn encode(&self) -> [u8; SUPERBLOCK_LEN] {
        let mut block = start(SEGMENT_MAGIC);
        block[20..24].copy_from_slice(&self.partition.to_le_bytes());
        block[24..32].copy_from_slice(&self.base_offset.to_le_bytes());
        block[32..48].copy_from_slice(&self.journal_id.to_le_bytes());
        block[48..56].copy_from_slice(&self.salt.to_le_bytes());
        finish(block)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let block = check(bytes, SEGMENT_MAGIC)?;
        Ok(Self {
            partition: u32::from_le_bytes(take(block, 20)),
            base_offset: u64::from_le_bytes(take(block, 24)),
            journal_id: u128::from_le_bytes(take(block, 32)),
            salt: u64::from_le_bytes(take(block, 48)),
        })
    }
}

impl DirectoryBlock {
    pub(super) fn encode(&self) -> [u8; SUPERBLOCK_LEN] {
        let mut block = start(DIRECTORY_MAGIC);
        block[20..24].copy_from_slice(&self.partitions.to_le_bytes());
        block[32..48].copy_from_slice(&self.journal_id.to_le_bytes());
        block[48..56].copy_from_slice(&self.replaces.to_le_bytes());
        finish(block)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let block = check(bytes, DIRECTORY_MAGIC)?;
        Ok(Self {
            partitions: u32::from_le_bytes(take(block, 20)),
            journal_id: u128::from_le_bytes(take(block, 32)),
            replaces: u64::from_le_bytes(take(block, 48)),
        })
    }
}

/// `N` bytes from `at` on. The caller has checked the length.
pub(super) fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn start(magic: [u8; 8]) -> [u8; SUPERBLOCK_LEN] {
    let mut block = [0; SUPERBLOCK_LEN];
    block[..8].copy_from_slice(&magic);
    block[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    block[10..12].copy_from_slice(&MIN_READER.to_le_bytes());
    block
}

fn finish(mut block: [u8; SUPERBLOCK_LEN]) -> [u8; SUPERBLOCK_LEN] {
    let crc = crc32c::crc32c(&block[..CRC_AT]);
    block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    block
}

fn check(bytes: &[u8], magic: [u8; 8]) -> Result<&[u8; SUPERBLOCK_LEN], BlockError> {
    let Some(block) = bytes.first_chunk::<SUPERBLOCK_LEN>() else {
        return Err(BlockError::Damaged("the file is shorter than a superblock"));
    };
    if block[..8] != magic {
        return Err(BlockError::Damaged("the superblock does not start with the magic bytes"));
    }
    // The checksum comes before the version: a flipped bit must not look like a newer version.
    if crc32c::crc32c(&block[..CRC_AT]) != u32::from_le_bytes(take(block, CRC_AT)) {
        return Err(BlockError::Damaged("the checksum of the superblock is wrong"));
    }
    let (version, min_reader) = (u16::from_le_bytes(take(block, 8)), u16::from_le_bytes(take(block, 10)));
    if min_reader > FORMAT_VERSION {
        let reason = format!("format {version} needs a reader of format {min_reader}, this one reads {FORMAT_VERSION}");
        return Err(BlockError::Newer(reason));
    }
    let unknown = u32::from_le_bytes(take(block, 12)) & !INCOMPATIBLE_KNOWN;
    if unknown != 0 {
        return Err(BlockError::Newer(format!("feature bits {unknown:#x} are unknown to this version")));
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> SegmentBlock {
        SegmentBlock { partition: 3, base_offset: 77, journal_id: 0x1234_5678_9abc, salt: 99 }
    }

    #[test]
    fn blocks_come_back_as_they_were_written() {
        assert_eq!(SegmentBlock::decode(&segment().encode()), Ok(segment()));
        let directory = DirectoryBlock { partitions: 2, journal_id: 7, replaces: 9 };
        assert_eq!(DirectoryBlock::decode(&directory.encode()), Ok(directory));
        assert!(matches!(SegmentBlock::decode(&directory.encode()), Err(BlockError::Damaged(_))));
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        for bit in 0..SUPERBLOCK_LEN * 8 {
            let mut block = segment().encode();
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SegmentBlock::decode(&block), Err(BlockError::Damaged(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_file_is_refused_and_a_compatible_one_is_read() {
        let newer = |at: usize| {
            let mut block = segment().encode();
            block[at] = 2;
            SegmentBlock::decode(&finish(block))
        };
        assert!(matches!(newer(10), Err(BlockError::Newer(_))), "minimum reader");
        assert!(matches!(newer(12), Err(BlockError::Newer(_))), "incompatible feature");
        assert_eq!(newer(8), Ok(segment()), "version alone");
        assert_eq!(newer(16), Ok(segment()), "compatible feature");
    }
}
