//! The file `JOURNAL`: what the directory is, and how many partitions it has. It is written when the directory is first
//! used, and again only when partitions are added.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::config::{Folded, PARTITIONS_MAX};
use super::files;
use super::superblock::{BlockError, DirectoryBlock, SUPERBLOCK_LEN, SegmentBlock};
use crate::error::JournalError;

/// The name of the file.
pub(super) const FILE_NAME: &str = "JOURNAL";

/// The name of a partition's directory.
pub(super) fn partition_dir(partition: u32) -> String {
    format!("p{partition}")
}

/// What a directory is found to be.
pub(super) struct Identity {
    pub block: DirectoryBlock,
    /// The journal that should be here is gone, and this one was made in its place.
    pub is_replacement: bool,
    /// What was damaged, in words.
    pub damage: Vec<String>,
}

/// Reads what the directory is, or makes it a journal with so many partitions. Where its file is damaged or gone it is made again from
/// the segments, which say what they belong to.
pub(super) fn open_or_create(dir: &Path, partitions: u32, folded: Option<&Folded>) -> Result<Identity, JournalError> {
    let path = dir.join(FILE_NAME);
    let mut identity = match read(dir) {
        Ok(Some(block)) => Identity { block, is_replacement: false, damage: Vec::new() },
        Ok(None) => find_out(dir, partitions, folded, None)?,
        Err(JournalError::Damaged { reason, .. }) => find_out(dir, partitions, folded, Some(reason))?,
        Err(error) => return Err(error),
    };
    let block = &mut identity.block;
    refuse_another(dir, block, folded)?;
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
    Ok(identity)
}

/// A journal that is not the one that its reader knows must not be read on from the reader's positions.
fn refuse_another(dir: &Path, block: &DirectoryBlock, folded: Option<&Folded>) -> Result<(), JournalError> {
    match folded.and_then(|folded| folded.journal) {
        Some(known) if known != block.journal_id && known as u64 != block.replaces => {
            let reason = "it is not the journal that the store beside it was made from: bring back the one that belongs to it, or move this \
                          one away to go on without"
                .to_owned();
            Err(JournalError::Incompatible { path: dir.into(), reason })
        }
        _ => Ok(()),
    }
}

/// What a directory is whose file does not say it.
fn find_out(
    dir: &Path,
    partitions: u32,
    folded: Option<&Folded>,
    damage: Option<String>,
) -> Result<Identity, JournalError> {
    let path = dir.join(FILE_NAME);
    let (folders, ids) = look_around(dir)?;
    let is_read = folded.is_some_and(|folded| folded.offsets.iter().any(|offset| *offset > 0));
    if ids.len() > 1 {
        let reason =
            format!("{}, and the files beside it belong to {} journals", damage.unwrap_or("missing".into()), ids.len());
        return Err(JournalError::Damaged { path, offset: 0, reason });
    }
    let is_new = damage.is_none() && folders == 0;
    let known = folded.and_then(|folded| folded.journal);
    let block = DirectoryBlock {
        partitions: folders.max(partitions),
        journal_id: ids.first().copied().unwrap_or_else(random_u128),
        replaces: if ids.is_empty() { known.unwrap_or(0) as u64 } else { 0 },
    };
    let mut said = Vec::new();
    if !is_new {
        let what = damage.clone().unwrap_or_else(|| "it was missing".to_owned());
        said.push(format!(
            "{}: {what}; it was made again from the files beside it, nothing is lost by it",
            path.display()
        ));
    } else if is_read {
        said.push(format!(
            "the journal that was in {} is gone; a new one begins behind what has been committed. Requests that were acknowledged and not \
             committed are lost; how many, nobody knows",
            dir.display()
        ));
    }
    if damage.is_some() {
        files::keep_as_damaged(&path)?;
    }
    files::create_whole(&path, &block.encode())?;
    Ok(Identity { block, is_replacement: is_read && ids.is_empty(), damage: said })
}

/// How many folders of partitions there are, and the journals that their segments belong to.
fn look_around(dir: &Path) -> Result<(u32, Vec<u128>), JournalError> {
    let (mut folders, mut ids) = (0, Vec::new());
    for partition in 0..PARTITIONS_MAX {
        let folder = dir.join(partition_dir(partition));
        if !folder.is_dir() {
            continue;
        }
        folders = partition + 1;
        for segment in super::recover::list(&folder)? {
            let mut start = [0; SUPERBLOCK_LEN];
            let read = File::open(&segment.path).and_then(|file| file.read_exact_at(&mut start, 0));
            let block = read.ok().and_then(|()| SegmentBlock::decode(&start).ok());
            if let Some(block) = block.filter(|block| !ids.contains(&block.journal_id)) {
                ids.push(block.journal_id);
            }
        }
    }
    Ok((folders, ids))
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
