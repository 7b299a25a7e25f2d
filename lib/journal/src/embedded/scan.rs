//! Walks over the frames of a segment's bytes and decides what a place that is not a good frame means: a torn tail,
//! which no append was answered for, or damage, which must be refused. Pure. The rule, and why it holds, is in
//! `FORMAT.md`.
//!
//! In short: a frame is written with the position up to which the file was known to be on disk. When a good header
//! anywhere after a bad place says that the bad place was on disk already, the bad place is damage. Otherwise what
//! begins there was never synced, so nobody was told that it was kept.

use super::footer::{self, Footer, IndexEntry, TRAILER_LEN};
use super::frame::{self, Frame, FrameError, HEADER_LEN, Kind};
use super::superblock::SUPERBLOCK_LEN;

/// An index entry is made when the last one is at least so many bytes back. Reading from any offset then walks over at
/// most this much, and the index of a 64 MiB segment has 1024 entries.
const INDEX_STRIDE: u64 = 64 << 10;

/// What is known about the records of a segment, kept up to date as frames are added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub base_offset: u64,
    pub next_offset: u64,
    pub received_ns_max: i64,
    pub data_crc: u32,
    pub index: Vec<IndexEntry>,
}

impl Summary {
    pub(super) fn new(base_offset: u64) -> Self {
        Self { base_offset, next_offset: base_offset, received_ns_max: i64::MIN, data_crc: 0, index: Vec::new() }
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.next_offset - self.base_offset
    }

    /// Adds the record at `next_offset`, whose frame is at `position`.
    pub(super) fn add(&mut self, position: u64, header_crc: u32, received_ns: i64) {
        if self.index.last().is_none_or(|last| position - last.position >= INDEX_STRIDE) {
            self.index.push(IndexEntry { offset: self.next_offset, position });
        }
        self.next_offset += 1;
        self.received_ns_max = self.received_ns_max.max(received_ns);
        self.data_crc = crc32c::crc32c_append(self.data_crc, &header_crc.to_le_bytes());
    }

    /// The footer that seals these records.
    pub(super) fn footer(&self) -> Footer {
        Footer {
            next_offset: self.next_offset,
            records: self.records(),
            received_ns_max: self.received_ns_max,
            data_crc: self.data_crc,
            index: self.index.clone(),
        }
    }
}

/// The good part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    pub summary: Summary,
    /// Bytes of superblock and good frames.
    pub good_len: u64,
    /// Whether the good part ends in a mark, so that nothing of it can be taken for a torn tail.
    pub marked: bool,
    /// Whether the good part is a sealed segment, footer and trailer included.
    pub sealed: bool,
}

/// A place that held acknowledged bytes and does not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadPlace {
    pub position: u64,
    pub reason: &'static str,
}

/// Walks over `file`, all bytes of a segment whose superblock is good. Calls `visit` with every record frame and its
/// bytes. The bytes after `good_len` are a torn tail; damage is an error.
pub(super) fn scan(
    file: &[u8],
    salt: u64,
    base_offset: u64,
    mut visit: impl FnMut(&Frame, &[u8]) -> Result<(), &'static str>,
) -> Result<Scan, BadPlace> {
    let mut summary = Summary::new(base_offset);
    let mut position = SUPERBLOCK_LEN;
    let mut marked = false;
    loop {
        let rest = file.get(position..).unwrap_or_default();
        let frame = match good_frame(rest, salt, summary.next_offset, position) {
            Ok(frame) => frame,
            Err(_) if rest.is_empty() => break,
            Err(reason) => {
                if was_on_disk(file, salt, position) {
                    return Err(BadPlace { position: position as u64, reason });
                }
                break;
            }
        };
        let bytes = &rest[..frame.len()];
        if frame.kind == Kind::Footer {
            if let Some(len) = sealed_len(file, salt, position, &frame, &summary)? {
                return Ok(Scan { summary, good_len: len, marked: true, sealed: true });
            }
            break;
        }
        marked = frame.kind == Kind::Mark;
        if frame.kind == Kind::Record {
            visit(&frame, bytes).map_err(|reason| BadPlace { position: position as u64, reason })?;
            summary.add(position as u64, frame.header_crc, frame::received_ns(bytes));
        }
        position += frame.len();
    }
    Ok(Scan { summary, good_len: position.min(file.len()) as u64, marked, sealed: false })
}

/// The frame at the start of `rest` if it is whole and the one that belongs there.
fn good_frame(rest: &[u8], salt: u64, next_offset: u64, position: usize) -> Result<Frame, &'static str> {
    let frame = match frame::decode(rest, salt) {
        Ok(frame) => frame,
        Err(FrameError::Short) => return Err("the file ends inside a frame's header"),
        Err(FrameError::Bad(reason)) => return Err(reason),
    };
    if frame.offset != next_offset {
        return Err("the frame has another offset than the one that is due");
    }
    if frame.back as usize > position - SUPERBLOCK_LEN {
        return Err("the frame points back before the first frame");
    }
    let Some(payload) = rest.get(frame.header_len..frame.len()) else {
        return Err("the file ends inside a frame's payload");
    };
    if crc32c::crc32c(payload) != frame.payload_crc {
        return Err("the payload's checksum is wrong");
    }
    Ok(frame)
}

/// Whether a later frame proves that what is at `bad` had reached the disk. A header is proof enough: it carries a
/// salted checksum of its own. No frame boundary after `bad` can be relied on, so every byte is tried.
fn was_on_disk(file: &[u8], salt: u64, bad: usize) -> bool {
    let last = file.len().saturating_sub(HEADER_LEN);
    (bad + 1..=last).any(|position| match frame::decode(&file[position..], salt) {
        Ok(frame) => (position as u64).saturating_sub(u64::from(frame.back)) > bad as u64,
        Err(_) => false,
    })
}

/// The file's length if the footer at `position` and the trailer behind it seal exactly these records; `None` when
/// the trailer did not make it to the disk.
fn sealed_len(
    file: &[u8],
    salt: u64,
    position: usize,
    frame: &Frame,
    summary: &Summary,
) -> Result<Option<u64>, BadPlace> {
    let end = position + frame.len();
    let payload = &file[position + frame.header_len..end];
    let bad = |reason| BadPlace { position: position as u64, reason };
    let footer = Footer::decode(payload).map_err(|_| bad("the footer cannot be read"))?;
    if footer != summary.footer() {
        return Err(bad("the footer does not agree with the records"));
    }
    let Some(trailer) = file.get(end..end + TRAILER_LEN) else { return Ok(None) };
    if footer::decode_trailer(trailer, salt) != Some(position as u64) {
        return Ok(None);
    }
    if file.len() > end + TRAILER_LEN {
        return Err(BadPlace {
            position: (end + TRAILER_LEN) as u64,
            reason: "there are bytes after the end of a sealed segment",
        });
    }
    Ok(Some((end + TRAILER_LEN) as u64))
}

#[cfg(test)]
mod tests;
