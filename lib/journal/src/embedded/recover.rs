//! Opening a partition: finds its files, checks that they follow one another, and cuts off a torn tail. What is damaged or missing is said
//! and left as it is: readers get what is whole, and are told what is lost. Offsets that were given to records are not given again,
//! so nothing is written to a file that is damaged. Sealed segments are opened by their footers, so the time does not grow with the
//! data.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use prometheus_client::metrics::histogram::Histogram;

use super::config::Config;
use super::end_mark::{self, EndMark, MarkFile};
use super::files::{self, DAMAGED_SUFFIX, UNFINISHED_SUFFIX};
use super::footer::{self, TRAILER_LEN};
use super::identity::block_error;
use super::partition::Sealed;
use super::read::{damaged, read_footer};
use super::salvage::salvage;
use super::scan::{self, Scan};
use super::segment::{ActiveSegment, file_name};
use super::superblock::{SUPERBLOCK_LEN, SegmentBlock};
use crate::error::JournalError;

/// A partition as it was found, ready to be written to.
pub(super) struct Recovered {
    pub sealed: VecDeque<Sealed>,
    /// `None` when the last segment is not to be written to, or when there is none.
    pub active: Option<ActiveSegment>,
    pub next_offset: u64,
    pub end: MarkFile,
    /// What is not as it was written, in words.
    pub damage: Vec<String>,
}

/// A segment file by its name.
pub(super) struct SegmentFile {
    pub path: PathBuf,
    pub base_offset: u64,
}

/// What opens a partition.
pub(super) struct Opening<'a> {
    /// Its directory, which exists.
    pub dir: &'a Path,
    pub partition: u32,
    pub journal_id: u128,
    pub config: &'a Config,
}

/// Files of a partition while they are looked through.
#[derive(Default)]
struct Files {
    sealed: VecDeque<Sealed>,
    active: Option<(SegmentFile, u64, Scan)>,
    next_offset: u64,
    damage: Vec<String>,
}

impl Opening<'_> {
    /// Opens the partition. `is_replacement` says that its journal was made in the place of one that is gone.
    pub(super) fn recover(self, is_replacement: bool, fsync_seconds: &Histogram) -> Result<Recovered, JournalError> {
        remove_unfinished(self.dir)?;
        let mark = end_mark::read(&self.config.dir, self.partition, self.journal_id);
        let mut files = self.look_through(mark)?;
        self.go_on_behind_what_was_there(&mut files, mark, is_replacement);
        let end = MarkFile::open(&self.config.dir, self.partition, self.journal_id);
        let active = match files.active.take() {
            Some((segment, salt, scan)) => Some(resume(segment, salt, scan, fsync_seconds)?),
            None => None,
        };
        if let Some(active) = &active {
            end.set(active.summary.base_offset, active.durable_len(), files.next_offset);
        } else if files.next_offset > 0 && mark.is_none_or(|mark| mark.next_offset < files.next_offset) {
            end.set(files.next_offset, 0, files.next_offset);
        }
        let Files { sealed, next_offset, damage, .. } = files;
        Ok(Recovered { sealed, active, next_offset, end, damage })
    }

    fn look_through(&self, mark: Option<EndMark>) -> Result<Files, JournalError> {
        let mut segments = list(self.dir)?;
        let last = segments.pop();
        let mut files = Files::default();
        let bases: Vec<u64> = segments.iter().skip(1).chain(&last).map(|segment| segment.base_offset).collect();
        for (segment, next_base) in segments.iter().zip(bases) {
            self.note_gap(&mut files, segment);
            let opened = match open_sealed(segment, self.partition, self.journal_id) {
                Err(JournalError::Damaged { offset, reason, .. }) => {
                    self.say(&mut files, segment, offset, &reason);
                    open_damaged(segment, self.partition, self.journal_id, next_base)?
                }
                opened => Some(opened?),
            };
            files.next_offset = opened.as_ref().map_or(segment.base_offset, |opened| opened.next_offset);
            files.sealed.extend(opened);
        }
        if let Some(last) = last {
            self.note_gap(&mut files, &last);
            self.open_last(&mut files, last, mark)?;
        }
        Ok(files)
    }

    fn open_last(&self, files: &mut Files, last: SegmentFile, mark: Option<EndMark>) -> Result<(), JournalError> {
        let bytes = files::read_whole(&last.path)?;
        let known_end = mark.filter(|mark| mark.base_offset == last.base_offset);
        let block = match check_superblock(&last, &bytes, self.partition, self.journal_id) {
            Ok(block) => block,
            Err(JournalError::Damaged { offset, reason, .. }) => {
                self.say(files, &last, offset, &format!("{reason}; without its first bytes nothing in it can be read"));
                files.next_offset = last.base_offset;
                // Its name may be needed for the next file.
                files::keep_as_damaged(&last.path)?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (offset, reason) = match scan::scan(&bytes, block.salt, block.base_offset, |_, _| Ok(())) {
            Ok(scan) if known_end.is_some_and(|end| end.len > scan.good_len) => {
                let known = known_end.map_or(0, |end| end.len);
                (scan.good_len, format!("the file ends here, and {known} bytes of it were known to be on disk"))
            }
            Ok(scan) if scan.sealed => match open_sealed(&last, self.partition, self.journal_id) {
                Ok(sealed) => {
                    files.next_offset = sealed.next_offset;
                    files.sealed.push_back(sealed);
                    return Ok(());
                }
                Err(JournalError::Damaged { offset, reason, .. }) => (offset, reason),
                Err(error) => return Err(error),
            },
            Ok(scan) => {
                files.next_offset = scan.summary.next_offset;
                files.active = Some((last, block.salt, scan));
                return Ok(());
            }
            Err(bad) => (bad.position, bad.reason.to_owned()),
        };
        self.say(files, &last, offset, &reason);
        let end = known_end.map_or(0, |end| end.next_offset);
        let opened = open_damaged(&last, self.partition, self.journal_id, end)?;
        files.next_offset = opened.as_ref().map_or(last.base_offset, |opened| opened.next_offset);
        files.sealed.extend(opened);
        Ok(())
    }

    /// Offsets that were given to records once are not given again: what is missing at the end is a gap like any other.
    fn go_on_behind_what_was_there(&self, files: &mut Files, mark: Option<EndMark>, is_replacement: bool) {
        let folded = self.config.folded.as_ref();
        // Without a name the positions may be of another journal.
        let is_ours = is_replacement || folded.is_some_and(|folded| folded.journal.is_some());
        let folded = folded.filter(|_| is_ours).map_or(0, |folded| folded.offset(self.partition));
        let known = mark.map_or(0, |mark| mark.next_offset);
        let next = files.next_offset.max(known).max(folded);
        if next == files.next_offset {
            return;
        }
        if let Some((segment, salt, scan)) = files.active.take() {
            let offset = scan.good_len;
            self.say(files, &segment, offset, "the file ends here, and there was more behind it");
            files.sealed.push_back(Sealed {
                path: segment.path,
                salt,
                base_offset: segment.base_offset,
                next_offset: scan.summary.next_offset,
                received_ns_max: scan.summary.received_ns_max,
                footer_position: scan.good_len,
                is_damaged: true,
            });
        }
        // A journal that was made in the place of another begins here, which was said then.
        let begins_here = files.sealed.is_empty() && mark.is_some_and(|mark| mark.len == 0 && mark.next_offset == next);
        if !is_replacement && !begins_here {
            files.damage.push(self.gap_words(
                files.next_offset,
                next,
                "the files that held them are gone or cut short",
            ));
            if known < next {
                files.damage.push(format!(
                    "{}: how far it went is not known; requests from offset {next} on that were acknowledged, if there were any, are lost, \
                     and nobody knows how many",
                    self.dir.display()
                ));
            }
        }
        files.next_offset = next;
    }

    fn note_gap(&self, files: &mut Files, segment: &SegmentFile) {
        let due = files.next_offset;
        if due < segment.base_offset && !files.sealed.is_empty() {
            files.damage.push(self.gap_words(due, segment.base_offset, "the file that held them is gone"));
        }
    }

    fn gap_words(&self, from: u64, end: u64, why: &str) -> String {
        let folded = self.config.folded.as_ref().map_or(0, |folded| folded.offset(self.partition)).clamp(from, end);
        let (requests, last, dir) = (end - from, end - 1, self.dir.display());
        let cost = match end - folded {
            0 => "all of them are in the store, nothing is lost".to_owned(),
            lost => format!("{lost} of them are not in the store and are lost"),
        };
        format!("{dir}: {requests} requests (offsets {from} to {last}) are missing: {why}; {cost}")
    }

    fn say(&self, files: &mut Files, segment: &SegmentFile, offset: u64, reason: &str) {
        let path = segment.path.display();
        files.damage.push(format!(
            "{path} is damaged at byte {offset}: {reason}; what is whole in it is read, the file is kept"
        ));
    }
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
            _ if name.ends_with(DAMAGED_SUFFIX) => {}
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
        is_damaged: false,
    })
}

/// Opens a segment of which only a part is as it was written, and which held records up to `end` at least. `None` when nothing in it can be
/// read.
fn open_damaged(
    segment: &SegmentFile,
    partition: u32,
    journal_id: u128,
    end: u64,
) -> Result<Option<Sealed>, JournalError> {
    let bytes = files::read_whole(&segment.path)?;
    let Ok(block) = check_superblock(segment, &bytes, partition, journal_id) else { return Ok(None) };
    let found = salvage(&bytes, block.salt, block.base_offset);
    Ok(Some(Sealed {
        path: segment.path.clone(),
        salt: block.salt,
        base_offset: segment.base_offset,
        next_offset: found.next_offset.max(end),
        received_ns_max: found.received_ns_max,
        footer_position: bytes.len() as u64,
        is_damaged: true,
    }))
}

/// Goes on with the last segment. What was being written when the program stopped is kept beside it and cut off.
fn resume(
    segment: SegmentFile,
    salt: u64,
    scan: Scan,
    fsync_seconds: &Histogram,
) -> Result<ActiveSegment, JournalError> {
    let file = File::open(&segment.path).map_err(|error| files::io_error("open", &segment.path, error))?;
    let torn_len = files::length(&file, &segment.path)?.saturating_sub(scan.good_len);
    if torn_len > 0 {
        let torn = files::read_at(&file, &segment.path, scan.good_len, torn_len as usize)?;
        let kept = files::damaged_path(&segment.path);
        if let Err(error) = files::write_owned(&kept, &torn) {
            tracing::warn!(path = %kept.display(), %error, "the end of a journal file cannot be kept");
        }
        tracing::warn!(
            path = %segment.path.display(),
            kept_bytes = scan.good_len,
            removed_bytes = torn_len,
            next_offset = scan.summary.next_offset,
            kept = %kept.display(),
            "cutting off the end of a journal file that was being written when the program stopped; if the disk keeps what it has confirmed, nothing acknowledged was in it"
        );
    }
    ActiveSegment::resume(segment.path, salt, scan, fsync_seconds.clone())
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
