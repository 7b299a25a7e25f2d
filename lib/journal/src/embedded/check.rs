//! The offline check of a journal directory: every checksum of every file, and that the files follow one another. It
//! changes nothing and goes on after the first finding, so that a person sees the whole extent.

use std::path::{Path, PathBuf};

use zstd::bulk::Decompressor;

use super::recover::{self, SegmentFile};
use super::{files, identity, read, scan};
use crate::error::JournalError;

/// Something in a journal directory that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there, and for damage that opening would refuse as well, why.
    pub reason: String,
    /// True for what a crash leaves and the next start repairs without losing anything acknowledged; false for damage.
    pub harmless: bool,
}

/// Checks the journal in `dir` while no process uses it. Fails when the check itself cannot be made: the directory is
/// in use, not readable, or written by a newer version.
pub fn check(dir: &Path) -> Result<Vec<Finding>, JournalError> {
    let _lock = files::lock_dir(dir)?;
    let mut findings = Vec::new();
    let Some(journal) = noted(identity::read(dir), &mut findings)? else {
        if findings.is_empty() {
            findings.push(damage(dir.join(identity::FILE_NAME), 0, "there is no journal in this directory"));
        }
        return Ok(findings);
    };
    for partition in 0..journal.partitions {
        let partition_dir = dir.join(identity::partition_dir(partition));
        // A partition without records has no directory before its first start.
        if partition_dir.is_dir() {
            check_partition(&partition_dir, partition, journal.journal_id, &mut findings)?;
        }
    }
    Ok(findings)
}

fn check_partition(
    dir: &Path,
    partition: u32,
    journal_id: u128,
    findings: &mut Vec<Finding>,
) -> Result<(), JournalError> {
    let segments = recover::list(dir)?;
    let mut due = None;
    for (index, segment) in segments.iter().enumerate() {
        if let Err(error) = recover::check_base(segment, due) {
            note(error, findings)?;
        }
        let last = index + 1 == segments.len();
        if !last && let Err(error) = recover::open_sealed(segment, partition, journal_id) {
            note(error, findings)?;
        }
        due = check_segment(segment, partition, journal_id, last, findings)?;
    }
    Ok(())
}

/// Checks one file and returns the offset after its last record, if it could be found out.
fn check_segment(
    segment: &SegmentFile,
    partition: u32,
    journal_id: u128,
    last: bool,
    findings: &mut Vec<Finding>,
) -> Result<Option<u64>, JournalError> {
    let path = &segment.path;
    let bytes = files::read_whole(path)?;
    let Some(block) = noted(recover::check_superblock(segment, &bytes, partition, journal_id).map(Some), findings)?
    else {
        return Ok(None);
    };
    let mut decompressor = Decompressor::new().map_err(|error| files::io_error("decompress", path, error))?;
    let visit = |frame: &_, bytes: &[u8]| read::decode(&mut decompressor, frame, bytes).map(drop);
    let scan = match scan::scan(&bytes, block.salt, block.base_offset, visit) {
        Ok(scan) => scan,
        Err(bad) => {
            findings.push(damage(path.clone(), bad.position, bad.reason));
            return Ok(None);
        }
    };
    if scan.good_len < bytes.len() as u64 {
        let reason =
            format!("{} bytes that were being written when the program stopped", bytes.len() as u64 - scan.good_len);
        findings.push(Finding { harmless: last, ..damage(path.clone(), scan.good_len, reason) });
    }
    Ok(Some(scan.summary.next_offset))
}

/// Turns damage into a finding; other errors end the check.
fn noted<T>(result: Result<Option<T>, JournalError>, findings: &mut Vec<Finding>) -> Result<Option<T>, JournalError> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => note(error, findings).map(|()| None),
    }
}

fn note(error: JournalError, findings: &mut Vec<Finding>) -> Result<(), JournalError> {
    let JournalError::Damaged { path, offset, reason } = error else { return Err(error) };
    let finding = damage(path, offset, reason);
    // A bad superblock or footer is met on two ways.
    if !findings.contains(&finding) {
        findings.push(finding);
    }
    Ok(())
}

fn damage(path: PathBuf, offset: u64, reason: impl Into<String>) -> Finding {
    Finding { path, offset, reason: reason.into(), harmless: false }
}
