//! Files of the journal are damaged, cut, or gone: it opens, what is whole is read, and what is missing is counted: records that are read
//! and records that are said to be lost are together those that were acknowledged.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{fill, open, segment_paths, small};
use crate::conformance::{read_all, record};
use crate::embedded::{Config, EmbeddedJournal, Folded, check};
use crate::error::JournalError;
use crate::journal::Journal;

const RECORDS: u64 = 300;

/// A journal as `kill -9` leaves it.
async fn written() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(small(dir.path())).unwrap();
    fill(&journal, 0..RECORDS).await;
    drop(journal);
    assert!(segment_paths(dir.path()).len() > 5);
    assert_eq!(check(dir.path()).unwrap().findings, []);
    dir
}

/// Offsets that can be read from `from` on, and those that are said to be lost.
async fn read_what_is_left(journal: &EmbeddedJournal, from: u64) -> (Vec<u64>, Vec<u64>) {
    let (mut read, mut lost, mut next) = (Vec::new(), Vec::new(), from);
    while next < journal.end(0) {
        match journal.read(0, next, 3_000).await {
            Ok(records) => {
                for stored in records {
                    assert_eq!(stored.offset, next);
                    assert_eq!(stored.value, record(0, next, 1024).value, "what is read is what was written");
                    read.push(next);
                    next += 1;
                }
            }
            Err(JournalError::Lost { partition: 0, from, oldest } | JournalError::OffsetGone { from, oldest }) => {
                assert!(from == next && oldest > next, "{from} {oldest}");
                lost.extend(next..oldest);
                next = oldest;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (read, lost)
}

/// Opens twice with the damage, and appends in between: the same is read and lost, and no offset is given again.
async fn goes_on(dir: &Path, lost_expected: &[u64]) {
    let journal = open(small(dir)).unwrap();
    assert_eq!(journal.end(0), RECORDS, "offsets that were given are not given again");
    let (read, lost) = read_what_is_left(&journal, 0).await;
    assert_eq!(lost, lost_expected);
    assert_eq!(read.len() + lost.len(), RECORDS as usize);
    assert!(!lost_expected.is_empty() && check_finds_damage(dir).await.is_none(), "in use");
    fill(&journal, RECORDS..RECORDS + 5).await;
    drop(journal);
    let journal = open(small(dir)).unwrap();
    let (read_again, lost_again) = read_what_is_left(&journal, 0).await;
    assert_eq!(lost_again, lost);
    assert_eq!(read_again.len(), read.len() + 5);
}

/// Whether the check finds damage; `None` while the journal is in use.
async fn check_finds_damage(dir: &Path) -> Option<bool> {
    check(dir).ok().map(|checked| checked.findings.iter().any(|finding| !finding.harmless))
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

/// Offsets of the records of a segment.
fn offsets_of(paths: &[std::path::PathBuf], index: usize) -> std::ops::Range<u64> {
    let base = |path: &std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    base(&paths[index])..paths.get(index + 1).map_or(RECORDS, base)
}

#[tokio::test]
async fn a_file_that_is_gone_between_others_is_lost_and_counted() {
    for index in [0, 2] {
        let dir = written().await;
        let paths = segment_paths(dir.path());
        fs::remove_file(&paths[index]).unwrap();
        if index > 0 {
            assert_eq!(check_finds_damage(dir.path()).await, Some(true));
        }
        goes_on(dir.path(), &offsets_of(&paths, index).collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn a_last_file_that_is_gone_or_emptied_is_lost_and_counted() {
    for is_gone in [true, false] {
        let dir = written().await;
        let paths = segment_paths(dir.path());
        let last = paths.len() - 1;
        if is_gone {
            fs::remove_file(&paths[last]).unwrap();
        } else {
            fs::write(&paths[last], b"").unwrap();
        }
        assert_eq!(check_finds_damage(dir.path()).await, Some(true));
        goes_on(dir.path(), &offsets_of(&paths, last).collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn a_partition_whose_folder_is_gone_is_lost_and_counted() {
    let dir = written().await;
    fs::remove_dir_all(dir.path().join("p0")).unwrap();
    assert_eq!(check_finds_damage(dir.path()).await, Some(true));
    goes_on(dir.path(), &(0..RECORDS).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_last_file_that_was_cut_short_is_not_taken_for_one_that_was_being_written() {
    let dir = written().await;
    let paths = segment_paths(dir.path());
    let last = paths.len() - 1;
    let bytes = fs::read(&paths[last]).unwrap();
    // In the middle of a record: all records from there on are missing.
    fs::write(&paths[last], &bytes[..bytes.len() / 2]).unwrap();
    let findings = check(dir.path()).unwrap().findings;
    assert!(
        findings.iter().any(|finding| !finding.harmless && finding.reason.contains("known to be on disk")),
        "{findings:?}"
    );
    let journal = open(small(dir.path())).unwrap();
    assert!(journal.damage().iter().any(|words| words.contains("known to be on disk")), "{:?}", journal.damage());
    let (read, lost) = read_what_is_left(&journal, 0).await;
    assert_eq!(read.len() + lost.len(), RECORDS as usize);
    let of_last = offsets_of(&paths, last);
    assert!(!lost.is_empty() && lost.iter().all(|offset| of_last.contains(offset)), "{lost:?}");
    drop(journal);
    assert_eq!(fs::read(&paths[last]).unwrap(), &bytes[..bytes.len() / 2], "nothing more is taken away");
    goes_on(dir.path(), &lost).await;
}

#[tokio::test]
async fn a_bad_record_costs_itself_and_no_other_in_any_file() {
    let whole = written().await;
    let count = segment_paths(whole.path()).len();
    for index in [0, 2, count - 1] {
        let dir = written().await;
        let paths = segment_paths(dir.path());
        // Inside the first record's payload.
        flip(&paths[index], 64 + 90);
        assert_eq!(check_finds_damage(dir.path()).await, Some(true));
        goes_on(dir.path(), &[offsets_of(&paths, index).start]).await;
    }
}

#[tokio::test]
async fn a_bad_end_of_a_sealed_file_costs_nothing() {
    let dir = written().await;
    let path = segment_paths(dir.path()).remove(1);
    let len = fs::metadata(&path).unwrap().len() as usize;
    flip(&path, len - 20);
    assert_eq!(check_finds_damage(dir.path()).await, Some(true));
    let journal = open(small(dir.path())).unwrap();
    assert_eq!(journal.damage().len(), 1, "{:?}", journal.damage());
    assert_eq!(read_all(&journal, 0, 0).await.unwrap().len(), RECORDS as usize);
}

#[tokio::test]
async fn a_file_that_somebody_removes_while_it_is_needed_ends_no_reader() {
    let dir = written().await;
    let journal = open(Config { tail_cache_bytes: 0, ..small(dir.path()) }).unwrap();
    let paths = segment_paths(dir.path());
    fs::remove_file(&paths[1]).unwrap();
    let (read, lost) = read_what_is_left(&journal, 0).await;
    assert_eq!(lost, offsets_of(&paths, 1).collect::<Vec<_>>());
    assert_eq!(read.len() + lost.len(), RECORDS as usize);
}

#[tokio::test]
async fn what_the_directory_is_can_be_found_out_from_its_files() {
    for is_gone in [true, false] {
        let dir = written().await;
        let path = dir.path().join("JOURNAL");
        let before = fs::read(&path).unwrap();
        if is_gone {
            fs::remove_file(&path).unwrap();
        } else {
            flip(&path, 40);
        }
        let journal = open(small(dir.path())).unwrap();
        assert_eq!(journal.damage().len(), 1, "{:?}", journal.damage());
        assert_eq!(read_all(&journal, 0, 0).await.unwrap().len(), RECORDS as usize);
        drop(journal);
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(check(dir.path()).unwrap().findings, []);
    }
}

#[tokio::test]
async fn a_journal_that_is_gone_begins_anew_behind_what_was_read_and_another_one_is_refused() {
    let dir = written().await;
    let id = open(small(dir.path())).unwrap().id();
    let with = |journal, dir: &Path| {
        let folded = Folded { journal, offsets: vec![60, 7] };
        open(Config { folded: Some(folded), ..small(dir) })
    };
    assert_eq!(with(id, dir.path()).unwrap().end(0), RECORDS, "its own");

    let other = tempfile::tempdir().unwrap();
    drop(open(small(other.path())).unwrap());
    assert!(matches!(with(id, other.path()), Err(JournalError::Incompatible { .. })), "a journal of somewhere else");

    fs::remove_dir_all(dir.path()).unwrap();
    let journal = with(id, dir.path()).unwrap();
    assert_eq!((journal.end(0), journal.end(1)), (60, 7));
    assert!(journal.damage()[0].contains("is gone"), "{:?}", journal.damage());
    assert_eq!(journal.append(vec![record(0, 1, 10)]).await.unwrap()[0].offset, 60);
    drop(journal);
    // It ends before its reader has written down that it reads another journal now.
    let journal = with(id, dir.path()).unwrap();
    assert_eq!((journal.end(0), journal.end(1)), (61, 7));
    assert_eq!(journal.damage(), Vec::<String>::new());
    assert_eq!(journal.read(0, 60, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_journal_that_ends_before_what_was_read_goes_on_behind_it() {
    let dir = written().await;
    let id = open(small(dir.path())).unwrap().id();
    let paths = segment_paths(dir.path());
    // A backup from before: its own mark says no more than it holds.
    fs::remove_file(paths.last().unwrap()).unwrap();
    fs::remove_file(dir.path().join("p0.end")).unwrap();
    let folded = Folded { journal: id, offsets: vec![RECORDS] };
    let journal = open(Config { folded: Some(folded), ..small(dir.path()) }).unwrap();
    assert_eq!(journal.end(0), RECORDS);
    assert!(journal.damage()[0].contains("nothing is lost"), "{:?}", journal.damage());
    assert!(journal.damage()[1].contains("nobody knows how many"), "{:?}", journal.damage());
    fill(&journal, RECORDS..RECORDS + 2).await;
    assert_eq!(read_what_is_left(&journal, RECORDS).await, (vec![RECORDS, RECORDS + 1], vec![]));
}

#[tokio::test]
async fn whoever_has_lost_its_lock_acknowledges_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(small(dir.path())).unwrap();
    fill(&first, 0..3).await;
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    let second = open(small(dir.path())).unwrap();
    let refused = first.append(vec![record(0, 3, 10)]).await.unwrap_err();
    assert!(matches!(&refused, JournalError::Poisoned { reason } if reason.contains("LOCK")), "{refused}");
    drop(second);
}
