//! Finding the records of a file that is damaged: everything that is still as it was written, and what is missing between. Pure.
//!
//! A header has a salted checksum and says which record it is, so it is found again behind any number of bad bytes. Records are
//! passed over only where their bytes are bad; marks and the footer say how many there were.

use super::frame::{self, Frame, Kind};
use super::superblock::SUPERBLOCK_LEN;

/// A record that is whole: its offset and where its frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub offset: u64,
    pub position: usize,
}

/// What is left of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvage {
    /// Whole records, ascending.
    pub records: Vec<Whole>,
    /// The offset after the last record that the file is known to have held.
    pub next_offset: u64,
    /// Largest receive time of a whole record; `i64::MIN` without one.
    pub received_ns_max: i64,
    /// The first place that is not as it was written.
    pub bad: Option<usize>,
}

impl Salvage {
    /// The first whole record at or behind `offset`.
    pub fn at_or_behind(&self, offset: u64) -> Option<usize> {
        let place = self.records.partition_point(|record| record.offset < offset);
        (place < self.records.len()).then_some(place)
    }
}

/// Looks through all bytes of a file whose superblock is good.
pub(super) fn salvage(file: &[u8], salt: u64, base_offset: u64) -> Salvage {
    let mut found = Salvage { next_offset: base_offset, received_ns_max: i64::MIN, ..Salvage::default() };
    let mut position = SUPERBLOCK_LEN.min(file.len());
    while position < file.len() {
        let Ok(frame) = frame::decode(&file[position..], salt) else {
            found.bad.get_or_insert(position);
            position += 1;
            continue;
        };
        // Frames of one file are in order: what says less than what was seen is not where it belongs.
        if frame.offset < found.next_offset {
            found.bad.get_or_insert(position);
            position += 1;
            continue;
        }
        if frame.kind == Kind::Record {
            take_record(&mut found, file, position, &frame);
        } else {
            if frame.offset > found.next_offset {
                found.bad.get_or_insert(position);
            }
            found.next_offset = frame.offset;
            if frame.kind == Kind::Footer {
                break;
            }
        }
        position += frame.len();
    }
    found
}

fn take_record(found: &mut Salvage, file: &[u8], position: usize, frame: &Frame) {
    if frame.offset > found.next_offset {
        found.bad.get_or_insert(position);
    }
    found.next_offset = frame.offset + 1;
    let bytes = file.get(position..position.saturating_add(frame.len())).unwrap_or_default();
    let is_whole = bytes
        .get(frame.header_len..)
        .is_some_and(|payload| bytes.len() == frame.len() && crc32c::crc32c(payload) == frame.payload_crc);
    if is_whole {
        found.records.push(Whole { offset: frame.offset, position });
        found.received_ns_max = found.received_ns_max.max(frame::received_ns(bytes));
    } else {
        found.bad.get_or_insert(position);
    }
}
