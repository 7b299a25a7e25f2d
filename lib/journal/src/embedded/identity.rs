//! The file `JOURNAL`: what the directory is, and how many partitions it has. It is written when the directory is first
//! used, and again only when partitions are added.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use super::files;
use super::superblock::{BlockError, DirectoryBlock};
use crate::error::JournalError;

/// The name of the file.
pub(super) const FILE_NAME: &str = "JOURNAL";

/// The name of a partition's directory.
pub(super) fn partition_dir(partition: u32) -> String {
    format!("p{partition}")
}

/// Reads what the directory is, or makes it a journal with so many partitions.
pub(super) fn open_or_create(dir: &Path, partitions: u32) -> Result<DirectoryBlock, JournalError> {
    let path = dir.join(FILE_NAME);
    let Some(mut block) = read(dir)? else {
        if dir.join(partition_dir(0)).exists() {
            let reason = "the file that says what this directory is has gone missing, and there are records".into();
            return Err(JournalError::Damaged { path, offset: 0, reason });
        }
        let block = DirectoryBlock { partitions, journal_id: random_u128() };
        files::create_whole(&path, &block.encode())?;
        return Ok(block);
    };
    if partitions < block.partitions {
        let reason = format!(
            "the journal has {} partitions and {partitions} are configured; partitions can be added but not removed, \
             because the records in them would not be read any more",
            block.partitions
        );
        return Err(JournalError::Incompatible { path, reason });
    }
    if partitions > block.partitions {
        block.partitions = partitions;
        files::create_whole(&path, &block.encode())?;
    }
    Ok(block)
}

/// What the directory says it is; `None` when it says nothing.
pub(super) fn read(dir: &Path) -> Result<Option<DirectoryBlock>, JournalError> {
    let path = dir.join(FILE_NAME);
    if !path.exists() {
        return Ok(None);
    }
    DirectoryBlock::decode(&files::read_whole(&path)?).map(Some).map_err(|error| block_error(&path, error))
}

/// A superblock's error, with the file it is in.
pub(super) fn block_error(path: &Path, error: BlockError) -> JournalError {
    match error {
        BlockError::Damaged(reason) => JournalError::Damaged { path: path.into(), offset: 0, reason: reason.into() },
        BlockError::Newer(reason) => JournalError::Incompatible { path: path.into(), reason },
    }
}

/// Random enough to tell files apart and not to be guessed by a sender: the standard library's hash keys come from the
/// operating system.
pub(super) fn random_u64() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

fn random_u128() -> u128 {
    (u128::from(random_u64()) << 64) | u128::from(random_u64())
}
