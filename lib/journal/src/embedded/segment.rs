//! The segment that a partition writes to. Every method leaves the file either longer by what was asked, synced, or as
//! it was; when neither can be had the error is `Poisoned` and the segment must not be used again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use prometheus_client::metrics::histogram::Histogram;

use super::codec::Prepared;
use super::files;
use super::frame::{self, HEADER_LEN, Kind};
use super::scan::{Scan, Summary};
use super::superblock::{SUPERBLOCK_LEN, SegmentBlock};
use crate::error::JournalError;

/// Payloads from this size on are written from where they are, not copied into the group's buffer first.
const WRITE_DIRECTLY_FROM_BYTES: usize = 256 << 10;
/// A group buffer larger than this is not kept for the next group.
const BUFFER_KEPT_BYTES: usize = 8 << 20;

/// The name of the segment file with this base offset.
pub(super) fn file_name(base_offset: u64) -> String {
    format!("{base_offset:020}.log")
}

/// See the module.
pub(super) struct ActiveSegment {
    file: File,
    pub(super) path: PathBuf,
    pub(super) salt: u64,
    pub(super) summary: Summary,
    /// Everything before it is known to be on disk.
    durable_len: u64,
    /// The end of the file: `durable_len`, or behind it a mark that is not synced.
    len: u64,
    buffer: Vec<u8>,
    fsync_seconds: Histogram,
}

/// A record frame of a group: where the record is, and what it is made of.
pub(super) struct GroupFrame {
    pub prepared: Prepared,
    pub received_ns: i64,
}

impl ActiveSegment {
    /// Makes a new, empty segment file in `dir`.
    pub(super) fn create(dir: &Path, block: SegmentBlock, fsync_seconds: Histogram) -> Result<Self, JournalError> {
        let path = dir.join(file_name(block.base_offset));
        let file = files::create_whole(&path, &block.encode())?;
        let summary = Summary::new(block.base_offset);
        let len = SUPERBLOCK_LEN as u64;
        Ok(Self { file, path, salt: block.salt, summary, durable_len: len, len, buffer: Vec::new(), fsync_seconds })
    }

    /// Goes on with a segment as recovery found it: cuts a torn tail off, and writes down that the rest is on disk.
    pub(super) fn resume(path: PathBuf, salt: u64, scan: Scan, fsync_seconds: Histogram) -> Result<Self, JournalError> {
        let file = files::open_existing(&path)?;
        let Scan { summary, good_len, marked, .. } = scan;
        let mut segment =
            Self { file, path, salt, summary, durable_len: good_len, len: good_len, buffer: Vec::new(), fsync_seconds };
        if files::length(&segment.file, &segment.path)? > good_len {
            segment.file.set_len(good_len).map_err(|error| files::io_error("truncate", &segment.path, error))?;
        }
        // What was read may have been in the page cache only.
        segment.file.sync_all().map_err(|error| files::poisoned("sync", &segment.path, &error))?;
        let dir = segment.path.parent().expect("a segment lies in a partition's directory");
        files::sync_dir(dir)?;
        if !marked && segment.summary.records() > 0 {
            segment.mark();
            segment.sync()?;
        }
        Ok(segment)
    }

    /// Bytes in the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that are known to be on disk.
    pub(super) fn durable_len(&self) -> u64 {
        self.durable_len
    }

    /// Writes a group of records and syncs it. On an error other than `Poisoned` nothing of the group is kept.
    pub(super) fn write_group(&mut self, frames: &mut [GroupFrame]) -> Result<(), JournalError> {
        let start = self.len;
        let added = self.write_frames(frames).map_err(|error| self.undo(start, error))?;
        self.sync()?;
        for (position, header_crc, received_ns) in added {
            self.summary.add(position, header_crc, received_ns);
        }
        self.mark();
        Ok(())
    }

    /// Ends the segment with its footer. On an error other than `Poisoned` it can be written to as before.
    pub(super) fn seal(&mut self) -> Result<u64, JournalError> {
        let footer_position = self.len;
        let back = (self.len - self.durable_len) as u32;
        let footer = self.summary.footer().encode(self.salt, footer_position, back);
        self.write(&footer).map_err(|error| self.undo(footer_position, error))?;
        self.sync()?;
        Ok(footer_position)
    }

    /// Makes the last mark durable too, so that nothing in the file can be taken for a torn tail after a loss of power.
    pub(super) fn settle(&mut self) -> Result<(), JournalError> {
        if self.len > self.durable_len { self.sync() } else { Ok(()) }
    }

    /// Goes on with another file, for tests of what a failing one does.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = file;
    }

    /// Writes the frames behind `len`; returns position, header checksum and receive time of each.
    fn write_frames(&mut self, frames: &mut [GroupFrame]) -> io::Result<Vec<(u64, u32, i64)>> {
        let mut added = Vec::with_capacity(frames.len());
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for (offset, frame) in (self.summary.next_offset..).zip(frames) {
            let position = self.len + buffer.len() as u64;
            let Prepared { header, payload } = &mut frame.prepared;
            // At most a group and a record lie behind `durable_len`, both far below 4 GiB.
            let header_crc = frame::place(header, self.salt, offset, (position - self.durable_len) as u32);
            added.push((position, header_crc, frame.received_ns));
            buffer.extend_from_slice(header);
            if payload.len() < WRITE_DIRECTLY_FROM_BYTES {
                buffer.extend_from_slice(payload);
            } else {
                self.write(&buffer)?;
                buffer.clear();
                self.write(payload)?;
            }
        }
        self.write(&buffer)?;
        if buffer.capacity() <= BUFFER_KEPT_BYTES {
            self.buffer = buffer;
        }
        Ok(added)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Takes back what a failed write may have left behind `start`.
    fn undo(&mut self, start: u64, error: io::Error) -> JournalError {
        self.len = start;
        if let Err(undo) = self.file.set_len(start) {
            return files::poisoned("cut off a group that could not be written to", &self.path, &undo);
        }
        match files::io_error("write", &self.path, error) {
            // The device failed, not the space: what it holds is anybody's guess.
            JournalError::Io { source, .. } => files::poisoned("write", &self.path, &source),
            refused => refused,
        }
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        let begun = std::time::Instant::now();
        self.file.sync_data().map_err(|error| files::poisoned("sync", &self.path, &error))?;
        self.fsync_seconds.observe(begun.elapsed().as_secs_f64());
        // Somebody who deletes the data directory of a running program would otherwise be answered until the file is
        // full.
        let links = self.file.metadata().map(|metadata| metadata.nlink());
        if links.is_ok_and(|links| links == 0) {
            let reason = format!("{} was removed while it was written to", self.path.display());
            return Err(JournalError::Poisoned { reason: reason.into() });
        }
        self.durable_len = self.len;
        Ok(())
    }

    /// Writes down, behind the group that was just synced and before anybody is answered, that it is on disk. It is not
    /// synced itself: the page cache keeps it when the process is killed, and the next sync takes it along. A mark that
    /// cannot be written is left out; the group is on disk without it.
    fn mark(&mut self) {
        let mut mark = frame::encode_plain(Kind::Mark, &[]);
        debug_assert_eq!(mark.len(), HEADER_LEN);
        let back = (self.len - self.durable_len) as u32;
        frame::place(&mut mark, self.salt, self.summary.next_offset, back);
        if self.write(&mark).is_err() {
            // A part of a mark is shorter than any frame, so the next group covers it.
            let _ = self.file.set_len(self.len);
        }
    }
}
