//! The offline check of a journal directory: every checksum of every file, and that the files follow one another. It
//! changes nothing and goes on after the first finding, so that a person sees the whole extent.

use std::path::{Path, PathBuf};

use zstd::bulk::Decompressor;

use super::end_mark::{self, EndMark};
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

/// What a partition holds, as opening it would find: to be compared with the positions of whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: u32,
    /// Its newest file, or its directory when it has none.
    pub path: PathBuf,
    /// The oldest offset; the end when there is no record.
    pub first_offset: u64,
    /// The offset after the last record.
    pub next_offset: u64,
}

/// What a check has found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is not as it was written.
    pub findings: Vec<Finding>,
    /// What each partition holds. Those whose end cannot be found out, because they are damaged, are left out.
    pub extents: Vec<Extent>,
    /// How many partitions there are; `None` when nobody can tell. 0 when there is no journal.
    pub partitions: Option<u32>,
}

/// Checks the journal in `dir` while no process uses it. Fails when the check itself cannot be made: the directory is
/// in use, not readable, or written by a newer version.
pub fn check(dir: &Path) -> Result<Checked, JournalError> {
    let mut checked = Checked::default();
    let nothing = || {
        damage(
            dir.join(identity::FILE_NAME),
            0,
            "there is no journal in this directory (one on Kafka is named with --journal)",
        )
    };
    if !dir.exists() {
        return Ok(Checked { findings: vec![nothing()], partitions: Some(0), ..checked });
    }
    let _lock = files::lock_dir_to_check(dir)?;
    let Some(journal) = noted(identity::read(dir), &mut checked.findings)? else {
        if checked.findings.is_empty() {
            checked.findings.push(nothing());
            // Records without the file that says whose they are may be anything.
            checked.partitions = (!dir.join(identity::partition_dir(0)).exists()).then_some(0);
        }
        return Ok(checked);
    };
    checked.partitions = Some(journal.partitions);
    for partition in 0..journal.partitions {
        let partition_dir = dir.join(identity::partition_dir(partition));
        // A partition without records has no directory before its first start.
        if partition_dir.is_dir() {
            let mut extent = check_partition(&partition_dir, partition, journal.journal_id, &mut checked.findings)?;
            if let (Some(extent), Some(mark)) = (&mut extent, end_mark::read(dir, partition, journal.journal_id)) {
                check_end(mark, extent, &mut checked.findings);
            }
            checked.extents.extend(extent);
        } else if let Some(mark) =
            end_mark::read(dir, partition, journal.journal_id).filter(|mark| mark.next_offset > 0)
        {
            let reason = format!("the folder is gone, and {} requests were written to it", mark.next_offset);
            checked.findings.push(damage(partition_dir, 0, reason));
        } else {
            checked.extents.push(Extent { partition, path: partition_dir, first_offset: 0, next_offset: 0 });
        }
    }
    Ok(checked)
}

fn check_partition(
    dir: &Path,
    partition: u32,
    journal_id: u128,
    findings: &mut Vec<Finding>,
) -> Result<Option<Extent>, JournalError> {
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
    let (Some(oldest), Some(newest)) = (segments.first(), segments.last()) else {
        return Ok(Some(Extent { partition, path: dir.to_owned(), first_offset: 0, next_offset: 0 }));
    };
    let extent =
        |next_offset| Extent { partition, path: newest.path.clone(), first_offset: oldest.base_offset, next_offset };
    Ok(due.map(extent))
}

/// Looks whether everything is there that was known to be on disk.
fn check_end(mark: EndMark, extent: &mut Extent, findings: &mut Vec<Finding>) {
    if mark.next_offset <= extent.next_offset {
        return;
    }
    if mark.len == 0 && extent.next_offset == 0 {
        // It was made in the place of a journal that is gone, and nothing has been written to it yet.
        (extent.first_offset, extent.next_offset) = (mark.next_offset, mark.next_offset);
        return;
    }
    let (from, last) = (extent.next_offset, mark.next_offset - 1);
    let reason = format!(
        "{} requests (offsets {from} to {last}) that were known to be on disk are missing behind it",
        mark.next_offset - from
    );
    let len = std::fs::metadata(&extent.path).ok().filter(std::fs::Metadata::is_file).map_or(0, |found| found.len());
    findings.push(damage(extent.path.clone(), len, reason));
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
