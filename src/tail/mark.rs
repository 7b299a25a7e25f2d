//! Which file is which: device and inode, and a hash of the first bytes. A name says nothing after a rotation, an inode is
//! given to a new file as soon as the old one is gone, and a file that was truncated has the inode that it had.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// How many first bytes are hashed at the most.
const HEAD_BYTES_MAX: u64 = 1024;

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub dev: u64,
    pub ino: u64,
}

/// The first bytes of a file, as far as it had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many bytes the hash is over.
    pub bytes: u64,
    pub hash: u64,
}

impl FileId {
    pub fn of(metadata: &Metadata) -> Self {
        FileId { dev: metadata.dev(), ino: metadata.ino() }
    }
}

impl Head {
    /// The head of a file that has `size` bytes.
    pub fn of(file: &File, size: u64) -> io::Result<Self> {
        Self::over(file, size.min(HEAD_BYTES_MAX))
    }

    /// Whether the file still begins with these bytes.
    pub fn is_of(self, file: &File, size: u64) -> io::Result<bool> {
        Ok(size >= self.bytes && Self::over(file, self.bytes)? == self)
    }

    /// Whether a longer file would give a head that says more.
    pub fn is_short_for(self, size: u64) -> bool {
        self.bytes < size.min(HEAD_BYTES_MAX)
    }

    fn over(file: &File, bytes: u64) -> io::Result<Self> {
        let mut buffer = [0; HEAD_BYTES_MAX as usize];
        let head = &mut buffer[..bytes.min(HEAD_BYTES_MAX) as usize];
        file.read_exact_at(head, 0)?;
        // Two different checksums side by side: 32 bits alone are too few to be sure.
        let (front, back) = (
            crc32c::crc32c(head),
            crc32c::crc32c_append(0x5157_5157, head.iter().rev().copied().collect::<Vec<_>>().as_slice()),
        );
        Ok(Head { bytes, hash: u64::from(front) << 32 | u64::from(back) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_head_is_known_again_when_the_file_grows_and_not_when_it_is_another() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"first line\n").expect("written");
        let head = Head::of(&file, 11).expect("read");
        assert!(head.is_of(&file, 11).expect("read") && !head.is_short_for(11));
        file.write_all(&[b'x'; 2000]).expect("written");
        assert!(head.is_of(&file, 2011).expect("read") && head.is_short_for(2011));
        let longer = Head::of(&file, 2011).expect("read");
        assert!(!longer.is_short_for(2011) && longer != head);
        file.set_len(0).expect("truncated");
        assert!(!head.is_of(&file, 0).expect("read"));
        let empty = Head::of(&file, 0).expect("read");
        assert!(empty.is_of(&file, 0).expect("read"), "of an empty file nothing is known");
    }
}
