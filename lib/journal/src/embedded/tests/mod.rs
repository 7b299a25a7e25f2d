//! The embedded journal as a whole: the contract, its files, its bounds, and what it does when a file fails it.

mod damage;
mod format;
mod recovery;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, Subject, read_all, record};

/// A journal with files so small that every test crosses several of them.
pub(super) fn small(dir: &Path) -> Config {
    Config {
        segment_bytes: 4096,
        tail_cache_bytes: 20_000,
        retention: Duration::ZERO,
        record_bytes_max: 4 << 20,
        ..Config::new(dir)
    }
}

pub(super) fn open(config: Config) -> Result<EmbeddedJournal, JournalError> {
    EmbeddedJournal::open(config, &mut Registry::default())
}

struct OnDisk(TempDir);

#[async_trait]
impl Subject for OnDisk {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(open(small(self.0.path())).unwrap())
    }

    fn record_bytes_max(&self) -> usize {
        4 << 20
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_journal_keeps_the_contract() {
    conformance::run(|| OnDisk(tempfile::tempdir().unwrap())).await;
}

fn segment_paths(dir: &Path) -> Vec<PathBuf> {
    recover::list(&dir.join("p0")).unwrap().into_iter().map(|segment| segment.path).collect()
}

async fn fill(journal: &EmbeddedJournal, numbers: std::ops::Range<u64>) {
    for number in numbers {
        // 1 KiB each and not compressible below a few dozen bytes, so that segments hold several records.
        journal.append(vec![record(0, number, 1024)]).await.unwrap();
    }
}

#[tokio::test]
async fn files_are_private_and_a_second_open_says_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(small(dir.path())).unwrap();
    fill(&journal, 0..3).await;
    for path in [&segment_paths(dir.path())[0], &dir.path().join("JOURNAL"), &dir.path().join("LOCK")] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    match open(small(dir.path())) {
        Err(JournalError::InUse { path, pid }) => {
            assert_eq!((path.as_path(), pid), (dir.path(), Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(check(dir.path()), Err(JournalError::InUse { .. })));
    journal.close().await.unwrap();
    drop(open(small(dir.path())).unwrap());
}

#[tokio::test]
async fn partitions_can_be_added_but_not_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let with = |partitions| open(Config { partitions, ..small(dir.path()) });
    with(2).unwrap().append(vec![record(1, 7, 10)]).await.unwrap();
    let grown = with(3).unwrap();
    assert_eq!((grown.end(1), grown.end(2)), (1, 0));
    drop(grown);
    assert!(matches!(with(2), Err(JournalError::Incompatible { .. })));
    assert!(matches!(with(0), Err(JournalError::Incompatible { .. })));
    assert_eq!(with(3).unwrap().end(1), 1);
}

#[tokio::test]
async fn a_day_of_segments_is_opened_by_footers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(small(dir.path())).unwrap();
    fill(&journal, 0..200).await;
    drop(journal);
    let segments = segment_paths(dir.path());
    assert!(segments.len() > 5, "{}", segments.len());
    // A bad byte among the records of a sealed segment is not looked at when opening, but is when reading.
    let mut bytes = std::fs::read(&segments[1]).unwrap();
    bytes[150] ^= 1;
    std::fs::write(&segments[1], &bytes).unwrap();
    let journal = open(small(dir.path())).unwrap();
    assert_eq!(journal.end(0), 200);
    let lost = read_all(&journal, 0, 0).await.unwrap_err();
    assert!(matches!(lost, JournalError::Lost { partition: 0, from, oldest } if oldest == from + 1), "{lost}");
    assert!(!lost.must_stop() && !lost.retryable());
    drop(journal);
    let findings = check(dir.path()).unwrap().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].path == segments[1] && !findings[0].harmless);
}

#[tokio::test]
async fn a_foreign_segment_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(small(dir.path())).unwrap();
    fill(&journal, 0..100).await;
    drop(journal);
    let segments = segment_paths(dir.path());
    std::fs::copy(&segments[0], &segments[1]).unwrap();
    let findings = check(dir.path()).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.path == segments[1] && !finding.harmless), "{findings:?}");
    let journal = open(small(dir.path())).unwrap();
    let lost = read_all(&journal, 0, 0).await.unwrap_err();
    assert!(matches!(lost, JournalError::Lost { partition: 0, .. }), "{lost}");
    assert!(journal.damage()[0].contains("belongs to another journal or has been renamed"), "{:?}", journal.damage());
}

#[tokio::test]
async fn what_a_crash_leaves_unfinished_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(small(dir.path())).unwrap();
    fill(&journal, 0..30).await;
    drop(journal);
    let unfinished = dir.path().join("p0/00000000000000000030.log.tmp");
    std::fs::write(&unfinished, b"half a superblock").unwrap();
    std::fs::write(dir.path().join("p0/notes.txt"), b"a person's file").unwrap();
    let journal = open(small(dir.path())).unwrap();
    assert!(!unfinished.exists() && dir.path().join("p0/notes.txt").exists());
    assert_eq!(read_all(&journal, 0, 0).await.unwrap().len(), 30);
}

#[tokio::test]
async fn truncation_keeps_the_retention_but_not_more_than_the_maximum() {
    let dir = tempfile::tempdir().unwrap();
    // Receive times are one nanosecond apart.
    let config = Config { retention: Duration::from_nanos(100), ..small(dir.path()) };
    let journal = open(config).unwrap();
    fill(&journal, 0..400).await;
    journal.truncate_before(0, 350).await.unwrap();
    let gone = journal.read(0, 0, 1).await.unwrap_err();
    let JournalError::OffsetGone { oldest, .. } = gone else { panic!("{gone}") };
    assert!((200..=300).contains(&oldest), "kept from {oldest} on");
    drop(journal);
    let config = Config { retention: Duration::from_secs(60), retained_bytes_max: 10_000, ..small(dir.path()) };
    let journal = open(config).unwrap();
    journal.truncate_before(0, 390).await.unwrap();
    let JournalError::OffsetGone { oldest, .. } = journal.read(0, 0, 1).await.unwrap_err() else { panic!() };
    assert!(oldest > 300 && oldest <= 390, "kept from {oldest} on");
    let bytes: u64 = segment_paths(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes < 10_000 + 2 * 4096 + 2000, "{bytes}");
    // A file that is gone already does not matter.
    let oldest_path = segment_paths(dir.path()).remove(0);
    std::fs::remove_file(&oldest_path).unwrap();
    fill(&journal, 400..460).await;
    journal.truncate_before(0, 460).await.unwrap();
    assert_eq!(journal.read(0, 459, 1).await.unwrap()[0].offset, 459);
}

#[tokio::test]
async fn the_queue_is_bounded_and_an_append_that_waits_for_space_can_be_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut registry = Registry::default();
    let config = Config { queue_bytes: 10_000, ..small(dir.path()) };
    let journal = EmbeddedJournal::open(config, &mut registry).unwrap();
    let held = journal.shared.partitions[0].queue.reserve(9_000).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(5), journal.append(vec![record(0, 0, 5000)])).await;
    assert!(waiting.is_err() && journal.end(0) == 0);
    assert!(journal.append(vec![record(1, 0, 5000)]).await.is_ok(), "another partition has its own queue");
    drop(held);
    journal.append(vec![record(0, 1, 1 << 20)]).await.expect("a record larger than the queue passes alone");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("shipwake_journal_queue_bytes 0\n"), "{text}");
    assert!(text.contains(&format!("shipwake_journal_append_bytes_total {}\n", 5000 + (1 << 20))), "{text}");
    assert!(text.contains("shipwake_journal_fsync_seconds_count 2\n"), "{text}");
}

#[tokio::test]
async fn a_poisoned_journal_answers_everybody_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(small(dir.path())).unwrap());
    fill(&journal, 0..3).await;
    let waiting = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.read(1, 0, 10).await }
    });
    tokio::task::yield_now().await;
    journal.shared.poison(&"test".into());
    assert!(matches!(waiting.await.unwrap(), Err(JournalError::Poisoned { .. })), "a reader of another partition too");
    let refused = journal.append(vec![record(0, 3, 10)]).await.unwrap_err();
    assert!(matches!(refused, JournalError::Poisoned { .. }) && refused.must_stop(), "{refused}");
    assert_eq!(journal.read(0, 2, 10).await.unwrap().len(), 1, "what is durable can still be read");
    assert!(matches!(journal.close().await, Err(JournalError::Poisoned { .. })));
    drop(journal);
    assert_eq!(open(small(dir.path())).unwrap().end(0), 3);
}

/// A segment whose file has been replaced by a device that accepts writes but not syncs, or no writes at all.
fn segment_on(device: &str, dir: &Path) -> (ActiveSegment, Vec<segment::GroupFrame>) {
    let block = superblock::SegmentBlock { partition: 0, base_offset: 0, journal_id: 1, salt: 2 };
    let histogram = Metrics::register(&mut Registry::default()).fsync_seconds;
    let mut segment = ActiveSegment::create(dir, block, histogram).unwrap();
    segment.replace_file(files::open_existing(Path::new(device)).unwrap());
    let record = record(0, 0, 100);
    let prepared = CodecPool::default().prepare(&record.header, &record.value);
    (segment, vec![segment::GroupFrame { prepared, received_ns: 0 }])
}

#[test]
fn a_failed_sync_poisons() {
    let dir = tempfile::tempdir().unwrap();
    // /dev/null takes writes and refuses fdatasync.
    let (mut segment, mut frames) = segment_on("/dev/null", dir.path());
    let error = segment.write_group(&mut frames).unwrap_err();
    assert!(matches!(&error, JournalError::Poisoned { reason } if reason.contains("sync")), "{error}");
}

#[test]
fn a_group_that_cannot_be_cut_off_again_poisons() {
    let dir = tempfile::tempdir().unwrap();
    // /dev/full has no space for a write, and cannot be truncated.
    let (mut segment, mut frames) = segment_on("/dev/full", dir.path());
    let error = segment.write_group(&mut frames).unwrap_err();
    assert!(matches!(&error, JournalError::Poisoned { reason } if reason.contains("cut off")), "{error}");
}

#[tokio::test]
async fn a_journal_whose_files_are_deleted_under_it_stops_acknowledging() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(small(dir.path())).unwrap();
    fill(&journal, 0..1).await;
    std::fs::remove_dir_all(dir.path()).unwrap();
    let error = journal.append(vec![record(0, 1, 10)]).await.unwrap_err();
    assert!(matches!(&error, JournalError::Poisoned { reason } if reason.contains("removed")), "{error}");
}
