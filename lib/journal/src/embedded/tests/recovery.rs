//! Recovery against a model: whatever is appended, wherever the crash cuts, and whichever bit flips, acknowledged
//! records are there or the damage is named; nothing panics and nothing is silently gone.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tempfile::TempDir;

use super::{open, small};
use crate::conformance::{read_all, record};
use crate::embedded::codec::CodecPool;
use crate::embedded::frame;
use crate::embedded::recover;
use crate::embedded::superblock::{SUPERBLOCK_LEN, SegmentBlock};
use crate::embedded::{EmbeddedJournal, check};
use crate::error::JournalError;
use crate::journal::{Journal, Record, Stored};

/// The bytes of the mark behind the last acknowledged group.
const MARK_LEN: usize = frame::HEADER_LEN;

/// How the program ended.
#[derive(Clone, Debug)]
enum End {
    /// The page cache is kept: what was written is a first part of the last group, the mark before it included.
    Killed,
    /// What was not synced is kept in part: the file is cut, and a part of what is left is empty.
    PowerLoss { mark_kept: bool, hole_at: prop::sample::Index, hole_len: usize },
}

fn ends() -> impl Strategy<Value = End> {
    let loss = (any::<bool>(), any::<prop::sample::Index>(), 0usize..600);
    prop_oneof![
        Just(End::Killed),
        loss.prop_map(|(mark_kept, hole_at, hole_len)| End::PowerLoss { mark_kept, hole_at, hole_len }),
    ]
}

/// Sizes of the records of each append.
fn appends() -> impl Strategy<Value = Vec<Vec<usize>>> {
    vec(vec(0usize..1500, 1..4), 1..25)
}

/// Files of tests whose syncs need not reach a disk.
fn fast_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn read_everything(journal: &EmbeddedJournal) -> Result<Vec<Record>, JournalError> {
    let stored = block_on(read_all(journal, 0, 0))?;
    Ok(stored.iter().map(|stored| of(stored)).collect())
}

/// What can be read, and the offsets that are said to be lost.
async fn read_what_is_left(journal: &EmbeddedJournal) -> (Vec<Record>, Vec<u64>) {
    let (mut found, mut lost, mut next) = (Vec::new(), Vec::new(), 0);
    while next < journal.end(0) {
        match journal.read(0, next, 10_000).await {
            Ok(records) => {
                next += records.len() as u64;
                found.extend(records.iter().map(|stored| of(stored)));
            }
            Err(JournalError::Lost { oldest, .. } | JournalError::OffsetGone { oldest, .. }) => {
                lost.extend(next..oldest);
                next = oldest;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (found, lost)
}

fn of(stored: &Stored) -> Record {
    Record { partition: 0, header: stored.header.clone(), value: stored.value.clone() }
}

/// Appends everything, group by group, and copies the files as a `kill -9` would leave them.
fn acknowledged(appends: &[Vec<usize>], copy: &Path) -> Vec<Record> {
    let dir = fast_dir();
    let journal = open(small(dir.path())).unwrap();
    let mut acknowledged = Vec::new();
    for sizes in appends {
        let first = acknowledged.len() as u64;
        let group: Vec<Record> = sizes.iter().zip(first..).map(|(bytes, number)| record(0, number, *bytes)).collect();
        block_on(journal.append(group.clone())).unwrap();
        acknowledged.extend(group);
    }
    fs::create_dir(copy.join("p0")).unwrap();
    for name in ["JOURNAL", "p0.end"] {
        fs::copy(dir.path().join(name), copy.join(name)).unwrap();
    }
    for segment in recover::list(&dir.path().join("p0")).unwrap() {
        fs::copy(&segment.path, copy.join("p0").join(segment.path.file_name().unwrap())).unwrap();
    }
    acknowledged
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    recover::list(&dir.join("p0")).unwrap().into_iter().map(|segment| segment.path).collect()
}

/// Leaves behind the acknowledged records what a crash in the middle of writing one more group does.
fn tear(path: &Path, group: &[Record], first_offset: u64, cut: prop::sample::Index, end: &End) {
    let mut bytes = fs::read(path).unwrap();
    let salt = SegmentBlock::decode(&bytes[..SUPERBLOCK_LEN]).unwrap().salt;
    let synced = bytes.len() - MARK_LEN;
    for (record, offset) in group.iter().zip(first_offset..) {
        let mut prepared = CodecPool::default().prepare(&record.header, &record.value);
        frame::place(&mut prepared.header, salt, offset, (bytes.len() - synced) as u32);
        bytes.extend_from_slice(&prepared.header);
        bytes.extend_from_slice(&prepared.payload);
    }
    let keep_at_least = synced + MARK_LEN;
    match end {
        End::Killed => bytes.truncate(keep_at_least + cut.index(bytes.len() - keep_at_least + 1)),
        End::PowerLoss { mark_kept, hole_at, hole_len } => {
            let start = if *mark_kept { keep_at_least } else { synced };
            bytes.truncate(start + cut.index(bytes.len() - start + 1));
            let hole = start + hole_at.index(bytes.len() - start + 1);
            let hole_end = (hole + hole_len).min(bytes.len());
            bytes[hole..hole_end].fill(0);
        }
    }
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_a_crash_everything_acknowledged_is_there_and_of_the_last_group_a_first_part(
        appends in appends(),
        last in vec(0usize..1500, 1..5),
        cut in any::<prop::sample::Index>(),
        end in ends(),
    ) {
        let dir = fast_dir();
        let acknowledged = acknowledged(&appends, dir.path());
        let first = acknowledged.len() as u64;
        let group: Vec<Record> = last.iter().zip(first..).map(|(bytes, number)| record(0, number, *bytes)).collect();
        tear(segments(dir.path()).last().unwrap(), &group, first, cut, &end);
        prop_assert!(check(dir.path()).unwrap().findings.iter().all(|finding| finding.harmless));

        let journal = open(small(dir.path())).unwrap();
        let found = read_everything(&journal).unwrap();
        prop_assert!(found.len() >= acknowledged.len());
        prop_assert_eq!(&found[..acknowledged.len()], &acknowledged[..]);
        let kept = &found[acknowledged.len()..];
        prop_assert_eq!(kept, &group[..kept.len()]);

        // It goes on, and what was found is from now on as safe as what was acknowledged.
        let next = record(0, 777, 50);
        block_on(journal.append(vec![next.clone()])).unwrap();
        drop(journal);
        prop_assert_eq!(check(dir.path()).unwrap().findings, []);
        let mut expected = found;
        expected.push(next);
        prop_assert_eq!(read_everything(&open(small(dir.path())).unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_flipped_bit_is_named_and_costs_what_is_said_to_be_lost(
        appends in appends(),
        segment in any::<prop::sample::Index>(),
        position in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let dir = fast_dir();
        let acknowledged = acknowledged(&appends, dir.path());
        let segments = segments(dir.path());
        let path = segment.get(&segments);
        let mut bytes = fs::read(path).unwrap();
        let at = position.index(bytes.len());
        let in_last_mark = path == segments.last().unwrap() && at >= bytes.len() - MARK_LEN;
        bytes[at] ^= 1 << bit;
        fs::write(path, &bytes).unwrap();
        let findings = check(dir.path()).unwrap().findings;
        prop_assert!(findings.iter().any(|finding| finding.path == *path && finding.harmless == in_last_mark), "{:?}", findings);
        let journal = open(small(dir.path())).unwrap();
        prop_assert_eq!(journal.end(0), acknowledged.len() as u64);
        let (found, lost) = block_on(read_what_is_left(&journal));
        let expected: Vec<Record> =
            (0..).zip(&acknowledged).filter(|(offset, _)| !lost.contains(offset)).map(|(_, record)| record.clone()).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(!in_last_mark || lost.is_empty());
        drop(journal);
        if !in_last_mark && path.exists() {
            prop_assert_eq!(fs::read(path).unwrap(), bytes, "a damaged file is left as it is");
        }
    }

    #[test]
    fn rubbish_in_place_of_a_file_never_panics(
        appends in appends(),
        segment in any::<prop::sample::Index>(),
        position in any::<prop::sample::Index>(),
        rubbish in vec(any::<u8>(), 0..3000),
        cut in any::<bool>(),
    ) {
        let dir = fast_dir();
        acknowledged(&appends, dir.path());
        let segments = segments(dir.path());
        let path = segment.get(&segments);
        let mut bytes = fs::read(path).unwrap();
        let at = position.index(bytes.len());
        let end = (at + rubbish.len()).min(bytes.len());
        bytes.splice(at..if cut { bytes.len() } else { end }, rubbish);
        fs::write(path, bytes).unwrap();
        let _ = check(dir.path());
        let _ = open(small(dir.path())).and_then(|journal| read_everything(&journal));
    }
}

/// Counts how often the cases above really met a torn tail, so that a change of the generator cannot make them empty.
#[test]
fn the_crash_cases_do_tear_the_tail() {
    let mut torn = 0;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let cases = (vec(0usize..1500, 1..5), any::<prop::sample::Index>(), ends());
    for _ in 0..30 {
        let (last, cut, end) = cases.new_tree(&mut runner).unwrap().current();
        let dir = fast_dir();
        let first = acknowledged(&[vec![10], vec![20]], dir.path()).len() as u64;
        let group: Vec<Record> = last.iter().zip(first..).map(|(bytes, number)| record(0, number, *bytes)).collect();
        tear(segments(dir.path()).last().unwrap(), &group, first, cut, &end);
        torn += check(dir.path()).unwrap().findings.len();
    }
    assert!(torn > 15, "{torn}");
}
