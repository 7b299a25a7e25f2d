//! Opening a partition: finds its files, checks that they follow one another, cuts off a torn tail, and refuses what is
//! damaged without touching it. Sealed segments are opened by their footers, so the time does not grow with the data.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use prometheus_client::metrics::histogram::Histogram;

use super::files::{self, UNFINISHED_SUFFIX};
use super::footer::{self, TRAILER_LEN};
use super::identity::block_error;
use super::partition::Sealed;
use super::read::{damaged, read_footer};
use super::scan::{self, Scan};
use super::segment::{ActiveSegment, file_name};
use super::superblock::{SUPERBLOCK_LEN, SegmentBlock};
use crate::error::JournalError;

/// A partition as it was found, ready to be written to.
pub(super) struct Recovered {
    pub sealed: VecDeque<Sealed>,
    /// `None` when the last segment is sealed, or when there is none.
    pub active: Option<ActiveSegment>,
    pub next_offset: u64,
}

/// A segment file by its name.
pub(super) struct SegmentFile {
    pub path: PathBuf,
    pub base_offset: u64,
}

/// Opens partition `partition` in `dir`, which exists.
pub(super) fn recover(
    dir: &Path,
    partition: u32,
    journal_id: u128,
    fsync_seconds: &Histogram,
) -> Result<Recovered, JournalError> {
    remove_unfinished(dir)?;
    let mut segments = list(dir)?;
    let last = segments.pop();
    let mut sealed = VecDeque::new();
    let mut due = None;
    for segment in &segments {
        check_base(segment, due)?;
        let opened = open_sealed(segment, partition, journal_id)?;
        due = Some(opened.next_offset);
        sealed.push_back(opened);
    }
    let Some(last) = last else { return Ok(Recovered { sealed, active: None, next_offset: 0 }) };
    check_base(&last, due)?;
    let active = match open_last(&last, partition, journal_id, fsync_seconds)? {
        Last::Sealed(segment) => {
            due = Some(segment.next_offset);
            sealed.push_back(segment);
            None
        }
        Last::Active(segment) => {
            due = Some(segment.summary.next_offset);
            Some(segment)
        }
    };
    Ok(Recovered { sealed, active, next_offset: due.unwrap_or(0) })
}

/// The segment files in a partition's directory, oldest first.
pub(super) fn list(dir: &Path) -> Result<Vec<SegmentFile>, JournalError> {
    let mut segments = Vec::new();
    for name in names(dir)? {
        let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20);
        let base_offset = digits.and_then(|digits| digits.parse().ok());
        match base_offset {
            Some(base_offset) if file_name(base_offset) == name => {
                segments.push(SegmentFile { path: dir.join(&name), base_offset });
            }
            _ => {
                let path = dir.join(&name);
                tracing::warn!(path = %path.display(), "a file in the journal's directory is not the journal's; left alone");
            }
        }
    }
    segments.sort_by_key(|segment| segment.base_offset);
    Ok(segments)
}

/// The superblock of a segment, which must be the one of this file.
pub(super) fn check_superblock(
    segment: &SegmentFile,
    bytes: &[u8],
    partition: u32,
    journal_id: u128,
) -> Result<SegmentBlock, JournalError> {
    let block = SegmentBlock::decode(bytes).map_err(|error| block_error(&segment.path, error))?;
    let same =
        block.partition == partition && block.base_offset == segment.base_offset && block.journal_id == journal_id;
    if !same {
        return Err(damaged(&segment.path, 0, "the segment belongs to another journal or has been renamed"));
    }
    Ok(block)
}

/// Fails when a segment does not start where the one before it ended.
pub(super) fn check_base(segment: &SegmentFile, due: Option<u64>) -> Result<(), JournalError> {
    match due {
        Some(due) if due != segment.base_offset => {
            let reason =
                format!("offsets {due} to {} are missing: the segment before this one is gone", segment.base_offset);
            Err(damaged(&segment.path, 0, reason))
        }
        _ => Ok(()),
    }
}

/// Opens a segment by its footer.
pub(super) fn open_sealed(segment: &SegmentFile, partition: u32, journal_id: u128) -> Result<Sealed, JournalError> {
    let path = &segment.path;
    let file = File::open(path).map_err(|error| files::io_error("open", path, error))?;
    let len = files::length(&file, path)?;
    if len < (SUPERBLOCK_LEN + TRAILER_LEN) as u64 {
        return Err(damaged(path, 0, "a segment that is not the last has no footer"));
    }
    let block = check_superblock(segment, &files::read_at(&file, path, 0, SUPERBLOCK_LEN)?, partition, journal_id)?;
    let trailer_position = len - TRAILER_LEN as u64;
    let trailer = files::read_at(&file, path, trailer_position, TRAILER_LEN)?;
    let footer_position = footer::decode_trailer(&trailer, block.salt)
        .filter(|position| *position < trailer_position)
        .ok_or_else(|| damaged(path, trailer_position, "a segment that is not the last has no footer"))?;
    let footer = read_footer(&file, path, block.salt, footer_position)?;
    if footer.next_offset != segment.base_offset + footer.records {
        return Err(damaged(path, footer_position, "the footer does not fit the segment's name"));
    }
    Ok(Sealed {
        path: path.clone(),
        salt: block.salt,
        base_offset: segment.base_offset,
        next_offset: footer.next_offset,
        received_ns_max: footer.received_ns_max,
        footer_position,
    })
}

enum Last {
    Sealed(Sealed),
    Active(ActiveSegment),
}

fn open_last(
    segment: &SegmentFile,
    partition: u32,
    journal_id: u128,
    fsync_seconds: &Histogram,
) -> Result<Last, JournalError> {
    let bytes = files::read_whole(&segment.path)?;
    let block = check_superblock(segment, &bytes, partition, journal_id)?;
    let scan = scan::scan(&bytes, block.salt, block.base_offset, |_, _| Ok(()))
        .map_err(|bad| damaged(&segment.path, bad.position, bad.reason))?;
    if scan.sealed {
        return open_sealed(segment, partition, journal_id).map(Last::Sealed);
    }
    say_torn(segment, &scan, bytes.len() as u64);
    ActiveSegment::resume(segment.path.clone(), block.salt, scan, fsync_seconds.clone()).map(Last::Active)
}

fn say_torn(segment: &SegmentFile, scan: &Scan, len: u64) {
    let torn = len - scan.good_len;
    if torn > 0 {
        tracing::warn!(
            path = %segment.path.display(),
            kept_bytes = scan.good_len,
            removed_bytes = torn,
            next_offset = scan.summary.next_offset,
            "removed the end of a journal file that was being written when the program stopped; nothing acknowledged was in it"
        );
    }
}

fn remove_unfinished(dir: &Path) -> Result<(), JournalError> {
    for name in names(dir)?.iter().filter(|name| name.ends_with(UNFINISHED_SUFFIX)) {
        files::remove(&dir.join(name))?;
    }
    Ok(())
}

fn names(dir: &Path) -> Result<Vec<String>, JournalError> {
    let entries = std::fs::read_dir(dir).map_err(|error| files::io_error("list", dir, error))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| files::io_error("list", dir, error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
