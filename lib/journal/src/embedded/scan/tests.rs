//! The rule that tells a torn tail from damage, case by case on bytes in memory.

use super::*;
use crate::conformance::record;
use crate::embedded::codec::CodecPool;
use crate::embedded::superblock::SegmentBlock;

const SALT: u64 = 77;

/// Builds a segment the way `ActiveSegment` does, without a file.
struct Builder {
    bytes: Vec<u8>,
    durable_len: usize,
    next_offset: u64,
    /// Start of every frame.
    starts: Vec<usize>,
}

impl Builder {
    fn new() -> Self {
        let block = SegmentBlock { partition: 0, base_offset: 10, journal_id: 1, salt: SALT };
        let bytes = block.encode().to_vec();
        Self { durable_len: bytes.len(), bytes, next_offset: 10, starts: Vec::new() }
    }

    fn frame(&mut self, mut header: Vec<u8>, payload: &[u8], offset: u64) {
        let position = self.bytes.len();
        self.starts.push(position);
        frame::place(&mut header, SALT, offset, (position - self.durable_len) as u32);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(payload);
    }

    fn unsynced_group(mut self, records: u64) -> Self {
        for _ in 0..records {
            let record = record(0, self.next_offset, 300);
            let prepared = CodecPool::default().prepare(&record.header, &record.value);
            self.frame(prepared.header, &prepared.payload, self.next_offset);
            self.next_offset += 1;
        }
        self
    }

    fn mark(mut self) -> Self {
        self.durable_len = self.bytes.len();
        self.frame(frame::encode_plain(Kind::Mark, &[]), &[], self.next_offset);
        self
    }

    fn group(self, records: u64) -> Self {
        self.unsynced_group(records).mark()
    }

    fn scan(&self) -> Result<Scan, BadPlace> {
        scan(&self.bytes, SALT, 10, |_, _| Ok(()))
    }

    fn flip(&mut self, position: usize) {
        self.bytes[position] ^= 0x10;
    }
}

#[test]
fn a_whole_segment_is_read_to_its_end() {
    let built = Builder::new().group(3).group(1);
    let scan = built.scan().unwrap();
    assert_eq!((scan.summary.next_offset, scan.good_len as usize), (14, built.bytes.len()));
    assert!(scan.marked && !scan.sealed);
    assert_eq!(scan.summary.index, [IndexEntry { offset: 10, position: 64 }]);
}

#[test]
fn an_empty_segment_is_whole() {
    let scan = Builder::new().scan().unwrap();
    assert_eq!((scan.summary.next_offset, scan.good_len), (10, 64));
    assert!(!scan.marked);
}

#[test]
fn a_group_cut_anywhere_is_a_torn_tail() {
    let whole = Builder::new().group(2).unsynced_group(3);
    let synced = whole.starts[3];
    for len in synced..whole.bytes.len() {
        let scan = scan(&whole.bytes[..len], SALT, 10, |_, _| Ok(())).unwrap();
        assert!((12..15).contains(&scan.summary.next_offset), "cut to {len}");
        assert!(scan.good_len as usize <= len && scan.good_len as usize >= synced);
    }
}

#[test]
fn a_hole_in_a_group_that_was_never_synced_is_a_torn_tail_although_good_frames_follow() {
    let mut built = Builder::new().group(2).unsynced_group(3);
    let hole = built.starts[4];
    built.bytes[hole..hole + 60].fill(0);
    assert_eq!(built.scan().unwrap().summary.next_offset, 13, "one frame of the group is before the hole");
}

#[test]
fn a_mark_lost_with_the_group_after_it_is_a_torn_tail() {
    let mut built = Builder::new().group(2).unsynced_group(3);
    let mark = built.starts[2];
    built.bytes[mark..mark + 80].fill(0);
    assert_eq!(built.scan().unwrap().summary.next_offset, 12);
}

#[test]
fn a_flipped_bit_in_any_synced_group_is_damage_there_also_in_the_last_one() {
    let whole = Builder::new().group(2).group(1).group(1);
    let last_mark = *whole.starts.last().unwrap();
    for position in 64..last_mark {
        let mut built = Builder { bytes: whole.bytes.clone(), starts: whole.starts.clone(), ..whole };
        built.flip(position);
        let bad = built.scan().unwrap_err();
        let frame = *whole.starts.iter().rfind(|start| **start <= position).unwrap();
        assert_eq!(bad.position as usize, frame, "bit flipped at {position}");
    }
}

#[test]
fn a_flipped_bit_in_the_last_mark_loses_no_record() {
    let whole = Builder::new().group(2).group(1);
    let last_mark = *whole.starts.last().unwrap();
    for position in last_mark..whole.bytes.len() {
        let mut built = Builder { bytes: whole.bytes.clone(), starts: whole.starts.clone(), ..whole };
        built.flip(position);
        let scan = built.scan().unwrap();
        assert_eq!((scan.summary.next_offset, scan.good_len as usize, scan.marked), (13, last_mark, false));
    }
}

#[test]
fn a_sealed_segment_is_recognised_and_a_torn_seal_is_a_torn_tail() {
    let mut built = Builder::new().group(2).group(2);
    let footer_position = built.bytes.len();
    let summary = built.scan().unwrap().summary;
    let back = (footer_position - built.durable_len) as u32;
    built.bytes.extend_from_slice(&summary.footer().encode(SALT, footer_position as u64, back));
    let sealed = built.scan().unwrap();
    assert!(sealed.sealed && sealed.good_len as usize == built.bytes.len());
    for len in footer_position..built.bytes.len() {
        let torn = scan(&built.bytes[..len], SALT, 10, |_, _| Ok(())).unwrap();
        assert_eq!((torn.good_len as usize, torn.sealed, torn.summary.next_offset), (footer_position, false, 14));
    }
    built.flip(200);
    assert!(built.scan().is_err());
}

#[test]
fn bytes_of_a_sender_that_look_like_a_frame_are_not_taken_for_one() {
    // A frame of another file, as a whole, inside an incompressible value of a group that was torn.
    let mut foreign = frame::encode_plain(Kind::Mark, &[]);
    frame::place(&mut foreign, SALT + 1, 12, 0);
    let mut built = Builder::new().group(2);
    built.bytes.extend_from_slice(&[0x55; 33]);
    built.bytes.extend_from_slice(&foreign);
    assert_eq!(built.scan().unwrap().summary.next_offset, 12);
}
