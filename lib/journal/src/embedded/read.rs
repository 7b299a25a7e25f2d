//! Reading records from segment files. Every checksum is verified on every read. Where bytes are not what was written, the records
//! that are still whole are found again, and what is missing is [`JournalError::Lost`], with a line that names the file and the place:
//! never skipped in silence. Blocks.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zstd::bulk::Decompressor;

use super::codec;
use super::footer::{self, Footer, TRAILER_LEN};
use super::frame::{self, Frame, FrameError, HEADER_LEN, Kind};
use super::salvage::salvage;
use crate::error::JournalError;
use crate::journal::Stored;

/// What one read takes from a file: large enough that a disk streams, small beside the caller's own budget.
const CHUNK_BYTES: usize = 1 << 20;

/// Where a record can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub partition: u32,
    pub path: PathBuf,
    pub salt: u64,
    pub base_offset: u64,
    /// The offset after the last record that is or was in the file.
    pub end: u64,
    /// The readable part of the file ends here.
    pub limit: u64,
    pub start: Start,
}

/// Where to start looking in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At this index entry.
    At(footer::IndexEntry),
    /// At the entry that the footer at `limit` gives.
    ByFooter,
    /// The file is known to be damaged: whole records are looked for in all of it.
    Anywhere,
}

/// Records from `from` on, at least one and up to `max_bytes` of values, not beyond the end of this file. `None` when
/// the file has been removed meanwhile.
pub(super) fn read(place: &Place, from: u64, max_bytes: usize) -> Result<Option<Vec<Arc<Stored>>>, JournalError> {
    if place.start == Start::Anywhere {
        return read_whole_ones(place, from, max_bytes, None);
    }
    match read_frames(place, from, max_bytes) {
        Err(JournalError::Damaged { offset, reason, .. }) => {
            read_whole_ones(place, from, max_bytes, Some((offset, reason)))
        }
        done => done,
    }
}

/// The same of a file that is damaged.
fn read_whole_ones(
    place: &Place,
    from: u64,
    max_bytes: usize,
    damage: Option<(u64, String)>,
) -> Result<Option<Vec<Arc<Stored>>>, JournalError> {
    let bytes = match std::fs::read(&place.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(super::files::io_error("read", &place.path, error)),
    };
    // What is being written behind the limit is nobody's business yet.
    let is_written_to = matches!(place.start, Start::At(_));
    let readable = if is_written_to { &bytes[..bytes.len().min(place.limit as usize)] } else { &bytes[..] };
    let salvage = salvage(readable, place.salt, place.base_offset);
    let mut decompressor =
        Decompressor::new().map_err(|error| super::files::io_error("decompress", &place.path, error))?;
    let (mut found, mut left, mut next) = (Vec::new(), max_bytes, from);
    let first = salvage.at_or_behind(from).unwrap_or(salvage.records.len());
    for whole in &salvage.records[first..] {
        let Ok(frame) = frame::decode(&readable[whole.position..], place.salt) else { break };
        let is_next = whole.offset == next && (found.is_empty() || frame.raw_len <= left);
        let bytes = &readable[whole.position..whole.position + frame.len()];
        let Some(stored) = is_next.then(|| decode(&mut decompressor, &frame, bytes).ok()).flatten() else { break };
        left = left.saturating_sub(frame.raw_len);
        next += 1;
        found.push(Arc::new(stored));
    }
    if !found.is_empty() {
        return Ok(Some(found));
    }
    let behind = salvage.at_or_behind(from + 1).map_or(place.end, |at| salvage.records[at].offset);
    let oldest = behind.clamp(from + 1, place.end.max(from + 1));
    let (at, reason) = damage.unwrap_or_else(|| {
        let at = salvage.bad.unwrap_or(readable.len());
        (at as u64, "the bytes are not what was written".to_owned())
    });
    tracing::error!(
        path = %place.path.display(),
        offset = at,
        partition = place.partition,
        "the journal is damaged: {reason} (byte {at}); requests {from} to {} of the partition are lost, it is read on behind them",
        oldest - 1
    );
    Err(JournalError::Lost { partition: place.partition, from, oldest })
}

fn read_frames(place: &Place, from: u64, max_bytes: usize) -> Result<Option<Vec<Arc<Stored>>>, JournalError> {
    let file = match File::open(&place.path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(super::files::io_error("open", &place.path, error)),
    };
    let entry = match place.start {
        Start::At(entry) => entry,
        Start::ByFooter | Start::Anywhere => {
            let footer = read_footer(&file, &place.path, place.salt, place.limit)?;
            let missing = || damaged(&place.path, place.limit, "the index does not reach the offset");
            footer::seek(&footer.index, from).ok_or_else(missing)?
        }
    };
    let mut frames =
        Frames { file: &file, place, position: entry.position, next_offset: entry.offset, buffer: Vec::new(), at: 0 };
    let mut decompressor =
        Decompressor::new().map_err(|error| super::files::io_error("decompress", &place.path, error))?;
    let mut left = max_bytes;
    let mut found: Vec<Arc<Stored>> = Vec::new();
    while frames.position < place.limit {
        let position = frames.position;
        let (frame, bytes) = match frames.next() {
            // What is good so far comes first.
            Err(JournalError::Damaged { .. }) if !found.is_empty() => break,
            next => next?,
        };
        if frame.kind != Kind::Record || frame.offset < from {
            continue;
        }
        if !found.is_empty() && frame.raw_len > left {
            break;
        }
        let stored = match decode(&mut decompressor, &frame, bytes) {
            Err(_) if !found.is_empty() => break,
            stored => stored.map_err(|reason| damaged(&place.path, position, reason))?,
        };
        left = left.saturating_sub(frame.raw_len);
        found.push(Arc::new(stored));
    }
    if found.is_empty() {
        return Err(damaged(
            &place.path,
            place.limit,
            "the records end before the offset that the segment should hold",
        ));
    }
    Ok(Some(found))
}

/// The footer at `position` of a sealed segment, verified.
pub(super) fn read_footer(file: &File, path: &Path, salt: u64, position: u64) -> Result<Footer, JournalError> {
    let bad = |reason| damaged(path, position, reason);
    let len = super::files::length(file, path)?;
    let len = len.checked_sub(position + TRAILER_LEN as u64).ok_or_else(|| bad("the file ends before its footer"))?;
    let bytes = super::files::read_at(file, path, position, len as usize)?;
    let frame = match frame::decode(&bytes, salt) {
        Ok(frame) if frame.kind == Kind::Footer && frame.len() == bytes.len() => frame,
        Ok(_) => return Err(bad("there is another frame where the footer should be")),
        Err(FrameError::Short) => return Err(bad("the footer is cut off")),
        Err(FrameError::Bad(reason)) => return Err(bad(reason)),
    };
    let payload = &bytes[frame.header_len..];
    if crc32c::crc32c(payload) != frame.payload_crc {
        return Err(bad("the footer's checksum is wrong"));
    }
    match Footer::decode(payload) {
        Ok(footer) if footer.next_offset == frame.offset => Ok(footer),
        _ => Err(bad("the footer cannot be read")),
    }
}

/// A record from its frame's bytes, whose checksums have been verified.
pub(super) fn decode(decompressor: &mut Decompressor<'_>, frame: &Frame, bytes: &[u8]) -> Result<Stored, &'static str> {
    let header = frame::decode_record(&bytes[..frame.header_len]).map_err(|error| match error {
        FrameError::Short => "the header is cut off",
        FrameError::Bad(reason) => reason,
    })?;
    let value = codec::unpack(decompressor, frame.codec, &bytes[frame.header_len..], frame.raw_len)?;
    Ok(Stored { offset: frame.offset, header, value })
}

/// The error for bytes that are not what was written.
pub(super) fn damaged(path: &Path, offset: u64, reason: impl Into<String>) -> JournalError {
    JournalError::Damaged { path: path.into(), offset, reason: reason.into() }
}

/// A walk over the frames of a file.
struct Frames<'a> {
    file: &'a File,
    place: &'a Place,
    /// Of the next frame, in the file.
    position: u64,
    next_offset: u64,
    buffer: Vec<u8>,
    /// Of the next frame, in the buffer.
    at: usize,
}

impl Frames<'_> {
    /// The next frame, whole and verified. The caller has checked that there is one.
    fn next(&mut self) -> Result<(Frame, &[u8]), JournalError> {
        let frame = self.header()?;
        self.fill(frame.len())?;
        let bytes = self.at..self.at + frame.len();
        if crc32c::crc32c(&self.buffer[bytes.start + frame.header_len..bytes.end]) != frame.payload_crc {
            return Err(damaged(&self.place.path, self.position, "the payload's checksum is wrong"));
        }
        if frame.offset != self.next_offset {
            return Err(damaged(
                &self.place.path,
                self.position,
                "the frame has another offset than the one that is due",
            ));
        }
        self.position += frame.len() as u64;
        self.at = bytes.end;
        if frame.kind == Kind::Record {
            self.next_offset += 1;
        }
        Ok((frame, &self.buffer[bytes]))
    }

    fn header(&mut self) -> Result<Frame, JournalError> {
        self.fill(HEADER_LEN)?;
        let header_len = u16::from_le_bytes(super::superblock::take(&self.buffer[self.at..], 4)) as usize;
        self.fill(header_len.max(HEADER_LEN))?;
        frame::decode(&self.buffer[self.at..], self.place.salt).map_err(|error| match error {
            FrameError::Short => damaged(&self.place.path, self.position, "the header is cut off"),
            FrameError::Bad(reason) => damaged(&self.place.path, self.position, reason),
        })
    }

    /// Makes `len` bytes from `position` on available in the buffer.
    fn fill(&mut self, len: usize) -> Result<(), JournalError> {
        if self.buffer.len() - self.at >= len {
            return Ok(());
        }
        let in_file = usize::try_from(self.place.limit - self.position).unwrap_or(usize::MAX);
        if len > in_file {
            return Err(damaged(&self.place.path, self.position, "the frame does not end where the records end"));
        }
        let mut buffer = vec![0; len.max(CHUNK_BYTES).min(in_file)];
        self.file.read_exact_at(&mut buffer, self.position).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged(&self.place.path, self.position, "the file has become shorter"),
            _ => super::files::io_error("read", &self.place.path, error),
        })?;
        self.buffer = buffer;
        self.at = 0;
        Ok(())
    }
}
