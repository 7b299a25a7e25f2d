//! The file that says what a data directory is and who may read it.
//!
//! Written once, durably, when the directory is made; two copies with a checksum each, so that one bad sector does not
//! lose a directory. The bytes are described in `FORMAT.md`. A reader refuses incompatible bits and newer versions that
//! it does not know, and ignores unknown compatible bits.

use std::fs;
use std::io;
use std::path::Path;

use crate::StoreError;
use crate::durable::write_durably;
use crate::manifest::FOLDER;
use crate::objects::{Created, Objects};

/// The format version that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 2;
/// Name of the file in the data directory.
pub const SUPERBLOCK: &str = "SUPERBLOCK";

const MAGIC: &[u8; 8] = b"SHIPWAKE";
const COPY_BYTES: usize = 64;
const CHECKED_BYTES: usize = 60;
/// No feature is incompatible yet.
const INCOMPATIBLE_KNOWN: u64 = 0;

/// What the superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Version of the writer.
    pub version: u32,
    /// A reader must know at least this version.
    pub reader_version_min: u32,
    /// Features that a reader must know.
    pub incompatible: u64,
    /// Features that a reader may ignore.
    pub compatible: u64,
    /// Random, the same for the life of the directory.
    pub store_id: u128,
}

impl Superblock {
    /// A superblock for a new directory.
    pub fn new(store_id: u128) -> Self {
        let version = FORMAT_VERSION;
        Self { version, reader_version_min: version, incompatible: 0, compatible: 0, store_id }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(COPY_BYTES);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&self.version.to_le_bytes());
        copy.extend_from_slice(&self.reader_version_min.to_le_bytes());
        copy.extend_from_slice(&self.incompatible.to_le_bytes());
        copy.extend_from_slice(&self.compatible.to_le_bytes());
        copy.extend_from_slice(&self.store_id.to_le_bytes());
        copy.resize(CHECKED_BYTES, 0);
        copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
        copy.repeat(2)
    }

    /// Reads the first copy that is whole.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.chunks_exact(COPY_BYTES).take(2).find_map(Self::decode_copy)
    }

    /// How many of the two copies are whole.
    pub fn whole_copies(bytes: &[u8]) -> usize {
        bytes.chunks_exact(COPY_BYTES).take(2).filter(|copy| Self::decode_copy(copy).is_some()).count()
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let checksum = u32::from_le_bytes(copy[CHECKED_BYTES..].try_into().ok()?);
        if &copy[..8] != MAGIC || crc32c::crc32c(&copy[..CHECKED_BYTES]) != checksum {
            return None;
        }
        Some(Self {
            version: u32::from_le_bytes(copy[8..12].try_into().ok()?),
            reader_version_min: u32::from_le_bytes(copy[12..16].try_into().ok()?),
            incompatible: u64::from_le_bytes(copy[16..24].try_into().ok()?),
            compatible: u64::from_le_bytes(copy[24..32].try_into().ok()?),
            store_id: u128::from_le_bytes(copy[32..48].try_into().ok()?),
        })
    }

    /// Refuses what this version cannot read.
    pub fn check_readable(&self, path: &Path) -> Result<(), StoreError> {
        if self.reader_version_min > FORMAT_VERSION {
            let (found, known) = (self.reader_version_min, FORMAT_VERSION);
            return Err(StoreError::TooNew { path: path.to_owned(), found, known });
        }
        let unknown = self.incompatible & !INCOMPATIBLE_KNOWN;
        if unknown != 0 {
            return Err(StoreError::Features { path: path.to_owned(), bits: unknown });
        }
        Ok(())
    }
}

/// Reads the superblock of `dir`, or makes one with `store_id`. A copy that is damaged is mended from the other; where both are, or the
/// file is gone, and there are manifests, it is made again: what is lost is the name of the store, and every file says its version itself.
pub fn read_or_create(dir: &Path, store_id: u128) -> Result<Superblock, StoreError> {
    let path = dir.join(SUPERBLOCK);
    let bytes = match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(StoreError::io("cannot read", &path, error, 0)),
    };
    if let Some(found) = bytes.as_deref().and_then(Superblock::decode) {
        found.check_readable(&path)?;
        if bytes.is_some_and(|bytes| Superblock::whole_copies(&bytes) < 2) {
            tracing::error!(path = %path.display(), "one of the two copies in this file was damaged; the other says the same, and it is mended from that; nothing is lost");
            if let Err(error) = write(dir, &path, &found) {
                // What is whole can be read all the same.
                tracing::warn!(%error, "it could not be mended; the next start tries again");
            }
        }
        return Ok(found);
    }
    let made = Superblock::new(store_id);
    let is_old = dir.join("manifest").exists();
    if is_old || bytes.is_some() {
        let what = if bytes.is_some() { "damaged" } else { "missing" };
        tracing::error!(path = %path.display(), "this file is {what}; it is made again from what is in the folder, which has a new id now; no record is lost");
    }
    write(dir, &path, &made)?;
    Ok(made)
}

fn write(dir: &Path, path: &Path, superblock: &Superblock) -> Result<(), StoreError> {
    let bytes = superblock.encode();
    write_durably(&dir.join("SUPERBLOCK.new"), path, &[&bytes], false)
        .map_err(|error| StoreError::io("cannot write", path, error, bytes.len() as u64))
}

/// Reads and checks the superblock of a place that somebody else makes; `None` while there is no store. One that is damaged or gone keeps
/// nobody from reading: every file says its version itself, and the id is not told to anybody.
pub(crate) fn read_in(objects: &Objects) -> Result<Option<Superblock>, StoreError> {
    let bytes = objects.get(SUPERBLOCK)?;
    if let Some(found) = bytes.as_deref().and_then(Superblock::decode) {
        found.check_readable(&objects.file(SUPERBLOCK))?;
        return Ok(Some(found));
    }
    if bytes.is_none() && objects.folders(FOLDER)?.is_empty() {
        return Ok(None);
    }
    let what = if bytes.is_some() { "damaged" } else { "missing" };
    tracing::error!(path = %objects.file(SUPERBLOCK).display(), "this object is {what}; what is stored is read all the same, and the next process that folds makes it again when it starts");
    Ok(Some(Superblock::new(0)))
}

/// The same in a bucket, made if there is none, and mended or made again as in a folder. Of several that do so at the same time, one
/// does, and the others take its id. A server that does not let it be mended keeps nobody from going on.
pub(crate) fn read_or_create_in(objects: &Objects, store_id: u128) -> Result<Superblock, StoreError> {
    let path = objects.file(SUPERBLOCK);
    let read = objects.get_versioned(SUPERBLOCK)?;
    let found = read.as_ref().and_then(|(bytes, _)| Superblock::decode(bytes));
    if let Some(found) = &found {
        found.check_readable(&path)?;
    }
    let wanted = found.unwrap_or_else(|| Superblock::new(store_id));
    let written = match &read {
        Some((bytes, _)) if Superblock::whole_copies(bytes) == 2 => return Ok(wanted),
        Some((_, version)) => {
            let what = match found {
                Some(_) => {
                    "one of the two copies in this object was damaged; the other says the same, and it is mended from that"
                }
                None => "this object is damaged; it is made again, and the store has a new id now",
            };
            tracing::error!(path = %path.display(), "{what}; no record is lost");
            objects.replace(SUPERBLOCK, wanted.encode().into(), version.clone())
        }
        None => {
            if !objects.folders(FOLDER)?.is_empty() {
                tracing::error!(path = %path.display(), "this object is missing; it is made again, and the store has a new id now; no record is lost");
            }
            objects.create(SUPERBLOCK, wanted.encode().into())
        }
    };
    match written {
        Ok(Created::Yes) => Ok(wanted),
        // Somebody else was first.
        Ok(Created::Exists) => Ok(read_in(objects)?.unwrap_or(wanted)),
        Err(error) if read.is_some() => {
            tracing::warn!(%error, "it could not be mended; the next start tries again");
            Ok(wanted)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_damaged_copy_does_not_lose_the_directory() {
        let made = Superblock::new(7);
        let mut bytes = made.encode();
        assert_eq!(bytes.len(), 128);
        bytes[9] ^= 1;
        assert_eq!(Superblock::decode(&bytes), Some(made));
        assert_eq!(Superblock::whole_copies(&bytes), 1);
        bytes[70] ^= 1;
        assert_eq!(Superblock::decode(&bytes), None);
    }

    #[test]
    fn newer_formats_and_unknown_incompatible_features_are_refused_and_compatible_ones_are_not() {
        let path = Path::new("SUPERBLOCK");
        let base = Superblock::new(7);
        let newer = Superblock { version: 9, reader_version_min: 9, ..base };
        let error = newer.check_readable(path).expect_err("a newer format is refused").to_string();
        assert!(error.contains("format version 9") && error.contains("up to 2"), "{error}");
        assert!(Superblock { incompatible: 4, ..base }.check_readable(path).is_err());
        assert!(Superblock { version: 9, compatible: 4, ..base }.check_readable(path).is_ok());
    }
}
