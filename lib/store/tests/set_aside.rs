//! Files are damaged or gone: the shard opens all the same, goes on from what is whole, counts nothing twice, and says what is missing.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Lent, log_commit, open, scratch};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use shipwake_store::{LostSegment, Severity, ShardCommitter, Store, Table};

const EVER: std::ops::Range<i64> = i64::MIN..i64::MAX;
/// Rows of each commit.
const ROWS: u64 = 50;

/// What happens to a file, and a word for it.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path));

/// A folder after so many commits, each of one offset.
fn committed(dir: &Path, commits: u64) {
    let store = open(dir);
    let (mut committer, _) = store.open_shard(0).expect("opens");
    (1..=commits).for_each(|offset| drop(committer.commit(log_commit(offset, ROWS as usize)).expect("commits")));
}

/// A shard that was opened after something had happened to its files.
struct Opened {
    store: Arc<Store>,
    committer: ShardCommitter,
    next_offset: u64,
    state: String,
}

fn reopen(dir: &Path) -> Opened {
    let store = open(dir);
    let (committer, recovered) = store.open_shard(0).expect("damage does not keep a shard from opening");
    Lent::register(&store, committer.files());
    let (next_offset, state) = match recovered {
        Some(recovered) => (recovered.next_offset, String::from_utf8_lossy(&recovered.state).into_owned()),
        None => (0, String::new()),
    };
    Opened { store, committer, next_offset, state }
}

impl Opened {
    /// Rows that answers are made of: what turns out to be damaged is set aside, as a query does it.
    fn rows(&self) -> u64 {
        let mut rows = 0;
        for file in self.store.snapshot(&[]).files(Table::Logs) {
            match self.store.read_segment(file, None, EVER) {
                Ok(batches) => rows += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>(),
                Err(error) => assert!(self.store.set_aside(&error), "{error}"),
            }
        }
        rows
    }

    fn lost(&self) -> Vec<LostSegment> {
        self.store.lost()
    }

    /// Commits what the journal would give again, up to an offset.
    fn replay_to(&mut self, end: u64) {
        for offset in self.next_offset + 1..=end {
            let files = self.committer.commit(log_commit(offset, ROWS as usize)).expect("commits");
            Lent::register(&self.store, files);
        }
        self.next_offset = self.next_offset.max(end);
    }
}

fn files(dir: &Path, folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir.join(folder)).expect("lists").map(|entry| entry.expect("lists").path()).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).expect("reads");
    let at = at(bytes.len());
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("writes");
}

fn cut(path: &Path, by: usize) {
    let bytes = fs::read(path).expect("reads");
    fs::write(path, &bytes[..bytes.len() - by]).expect("writes");
}

#[test]
fn a_damaged_segment_is_set_aside_said_after_every_start_and_taken_up_when_it_is_good_again() {
    let damages: [Damage<'_>; 5] = [
        ("missing", &|path| fs::remove_file(path).expect("removes")),
        ("bytes instead of", &|path| cut(path, 100)),
        ("bytes instead of", &|path| fs::write(path, b"").expect("writes")),
        ("checksum", &|path| flip(path, |bytes| bytes / 2)),
        ("checksum", &|path| flip(path, |bytes| bytes - 5)),
    ];
    for (expected, damage) in damages {
        let dir = scratch();
        committed(dir.path(), 2);
        let victim = files(dir.path(), "data/logs")
            .into_iter()
            .find(|path| path.extension().is_some_and(|end| end == "parquet"));
        let victim = victim.expect("a segment");
        let good = fs::read(&victim).expect("reads");
        damage(&victim);

        let mut opened = reopen(dir.path());
        assert_eq!((opened.next_offset, opened.rows()), (2, ROWS), "{expected}: the rest is read");
        let lost = opened.lost();
        assert_eq!((lost.len(), lost[0].rows, lost[0].table), (1, ROWS, Table::Logs));
        assert!(lost[0].reason.contains(expected), "{}", lost[0].reason);
        let said = lost[0].to_string();
        assert!(said.starts_with("50 rows of logs from 2026-11-23T00:0") && said.contains("data/logs/0-"), "{said}");
        assert_eq!(opened.store.snapshot(&[]).files(Table::Logs).count(), 1, "answers are made without it");
        opened.replay_to(3);
        assert_eq!(opened.rows(), 2 * ROWS);
        drop(opened);

        let findings = shipwake_store::check(dir.path()).findings;
        assert!(findings.iter().any(|finding| finding.path == victim && finding.severity == Severity::Error));
        // Nobody has read it this time: the manifest says it.
        let again = reopen(dir.path());
        assert_eq!(again.lost().len(), 1, "{expected}");
        assert_eq!(again.rows(), 2 * ROWS);
        drop(again);

        fs::write(&victim, good).expect("restored");
        let restored = reopen(dir.path());
        assert_eq!((restored.rows(), restored.lost().len()), (3 * ROWS, 0), "{expected}");
    }
}

#[test]
fn a_segment_that_cannot_be_read_is_not_deleted_and_not_merged() {
    let dir = scratch();
    committed(dir.path(), 4);
    let segments = files(dir.path(), "data/logs");
    let victim = segments.iter().find(|path| path.extension().is_some_and(|end| end == "parquet")).expect("a segment");
    flip(victim, |bytes| bytes / 2);
    let mut opened = reopen(dir.path());
    opened.store.compact_now(common::START + 3_600 * common::SECOND).expect("the rest can be compacted");
    opened.replay_to(6);
    assert_eq!(opened.rows(), 5 * ROWS);
    assert_eq!(opened.lost().len(), 1);
    assert!(victim.exists());
}

#[test]
fn a_damaged_state_costs_nothing_that_the_journal_can_give_again() {
    let damages: [&dyn Fn(&Path); 3] =
        [&|path| flip(path, |bytes| bytes - 1), &|path| fs::remove_file(path).expect("removes"), &|path| {
            fs::write(path, b"").expect("writes");
        }];
    for damage in damages {
        let dir = scratch();
        committed(dir.path(), 3);
        // A start in between leaves what going back needs.
        drop(reopen(dir.path()));
        damage(files(dir.path(), "state/0").last().expect("a state"));
        let mut opened = reopen(dir.path());
        assert_eq!((opened.next_offset, opened.state.as_str(), opened.rows()), (2, "state at 2", 2 * ROWS));
        // It ends before it has committed anything: the next start finds the same.
        drop(opened);
        opened = reopen(dir.path());
        assert_eq!((opened.next_offset, opened.rows()), (2, 2 * ROWS));
        opened.replay_to(4);
        assert_eq!(opened.rows(), 4 * ROWS);
        drop(opened);
        let again = reopen(dir.path());
        assert_eq!((again.next_offset, again.state.as_str(), again.rows()), (4, "state at 4", 4 * ROWS));
        assert_eq!(again.lost(), []);
    }
}

#[test]
fn without_any_state_the_segments_and_the_position_are_kept() {
    let dir = scratch();
    committed(dir.path(), 3);
    files(dir.path(), "state/0").iter().for_each(|path| fs::remove_file(path).expect("removes"));
    let mut opened = reopen(dir.path());
    assert_eq!((opened.next_offset, opened.state.as_str(), opened.rows()), (3, "", 3 * ROWS));
    opened.replay_to(4);
    drop(opened);
    let again = reopen(dir.path());
    assert_eq!((again.next_offset, again.state.as_str(), again.rows()), (4, "state at 4", 4 * ROWS));
}

#[test]
fn when_the_newest_manifest_is_damaged_the_one_before_and_the_journal_give_the_same() {
    let damages: [&dyn Fn(&Path); 3] =
        [&|path| flip(path, |bytes| bytes / 2), &|path| fs::write(path, b"").expect("writes"), &|path| {
            fs::remove_file(path).expect("removes");
        }];
    for damage in damages {
        let dir = scratch();
        committed(dir.path(), 3);
        damage(files(dir.path(), "manifest/0").last().expect("a manifest"));
        let mut opened = reopen(dir.path());
        assert_eq!((opened.next_offset, opened.rows()), (2, 2 * ROWS));
        opened.replay_to(5);
        assert_eq!(opened.rows(), 5 * ROWS);
        drop(opened);
        let again = reopen(dir.path());
        assert_eq!((again.next_offset, again.rows(), again.lost().len()), (5, 5 * ROWS, 0));
    }
}

#[test]
fn any_one_manifest_can_be_lost() {
    for gone in 0..5 {
        for damage in [&(|path: &Path| fs::remove_file(path).expect("removes")) as &dyn Fn(&Path), &|path| cut(path, 1)]
        {
            let dir = scratch();
            committed(dir.path(), 5);
            let manifest = dir.path().join(format!("manifest/0/{gone:020}.json"));
            damage(&manifest);
            let is_newest = gone == 4;
            let findings = shipwake_store::check(dir.path()).findings;
            let is_named = findings.iter().any(|finding| finding.path == manifest);
            // Where the newest was never written, or was removed, is the same to see.
            assert!(is_named || is_newest && !manifest.exists(), "{gone}: {findings:?}");
            let mut opened = reopen(dir.path());
            assert_eq!(opened.next_offset, if is_newest { 4 } else { 5 });
            opened.replay_to(7);
            assert_eq!((opened.rows(), opened.lost().len()), (7 * ROWS, 0), "{gone}");
            drop(opened);
            assert_eq!(reopen(dir.path()).rows(), 7 * ROWS, "{gone}");
        }
    }
}

#[test]
fn when_all_manifests_are_gone_nothing_is_deleted_and_the_journal_is_read_again() {
    let dir = scratch();
    committed(dir.path(), 2);
    files(dir.path(), "manifest/0").iter().for_each(|path| fs::write(path, b"").expect("writes"));
    let segments = files(dir.path(), "data/logs").len();
    let mut opened = reopen(dir.path());
    assert_eq!((opened.next_offset, opened.rows()), (0, 0));
    assert_eq!(files(dir.path(), "data/logs").len(), segments);
    opened.replay_to(3);
    drop(opened);
    assert_eq!(reopen(dir.path()).rows(), 3 * ROWS);
}

#[test]
fn when_the_folder_of_manifests_is_gone_no_segment_is_taken_for_one_that_nobody_needs() {
    let dir = scratch();
    committed(dir.path(), 3);
    fs::remove_dir_all(dir.path().join("manifest")).expect("removes");
    let segments = files(dir.path(), "data/logs").len();
    let findings = shipwake_store::check(dir.path()).findings;
    assert!(findings.iter().any(|finding| finding.what.contains("no manifest")), "{findings:?}");
    let mut opened = reopen(dir.path());
    assert_eq!((opened.next_offset, opened.rows()), (0, 0));
    assert_eq!(files(dir.path(), "data/logs").len(), segments);
    opened.replay_to(4);
    drop(opened);
    assert_eq!(reopen(dir.path()).rows(), 4 * ROWS);
}

#[test]
fn a_superblock_is_mended_and_made_again() {
    let dir = scratch();
    committed(dir.path(), 1);
    let path = dir.path().join("SUPERBLOCK");
    let id = open(dir.path()).id();
    flip(&path, |_| 10);
    assert_eq!(open(dir.path()).id(), id, "the other copy says it");
    assert_eq!(shipwake_store::check(dir.path()).findings, [], "it is mended");
    for damage in [&(|path: &Path| fs::remove_file(path).expect("removes")) as &dyn Fn(&Path), &|path| cut(path, 100)] {
        damage(&path);
        assert_eq!(reopen(dir.path()).rows(), ROWS);
        assert_eq!(shipwake_store::check(dir.path()).findings, []);
    }
}

/// Whatever one file suffers: never more rows than were sent, never fewer than the good files hold, and what is missing is said.
#[test]
fn after_random_damage_rows_and_what_is_said_to_be_lost_add_up() {
    const COMMITS: u64 = 7;
    let seed =
        std::env::var("SHIPWAKE_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("SHIPWAKE_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let original = scratch();
    {
        committed(original.path(), COMMITS - 2);
        let mut opened = reopen(original.path());
        opened.store.compact_now(common::START + 3_600 * common::SECOND).expect("compacts");
        opened.replay_to(COMMITS);
    }
    let rounds = if std::env::var("SHIPWAKE_TORTURE").is_ok_and(|value| value == "long") { 1_000 } else { 120 };
    for round in 0..rounds {
        let dir = scratch();
        copy(original.path(), dir.path());
        let all: Vec<PathBuf> = every_file(dir.path()).into_iter().filter(|path| !path.ends_with("LOCK")).collect();
        let victim = all.choose(&mut random).expect("files").clone();
        let how = suffer(&victim, &mut random);
        let context = format!("seed {seed}, round {round}: {} {how}", victim.display());
        let mut opened = reopen(dir.path());
        opened.replay_to(COMMITS);
        let first = opened.rows();
        let (rows, lost) = (opened.rows(), opened.lost().iter().map(|lost| lost.rows).sum::<u64>());
        assert_eq!(rows, first, "{context}");
        assert_eq!(rows + lost, COMMITS * ROWS, "{context}");
        let is_segment = victim.extension().is_some_and(|end| end == "parquet");
        assert!(lost == 0 || is_segment, "{context}");
        drop(opened);
        let again = reopen(dir.path());
        let found = again.rows();
        let lost: u64 = again.lost().iter().map(|lost| lost.rows).sum();
        assert_eq!((found, found + lost), (rows, COMMITS * ROWS), "{context}, once more");
    }
}

fn suffer(path: &Path, random: &mut StdRng) -> String {
    let mut bytes = fs::read(path).expect("reads");
    let at = random.random_range(0..bytes.len().max(1));
    match random.random_range(0..5) {
        0..=2 if !bytes.is_empty() => {
            bytes[at] ^= 1 << random.random_range(0..8);
            fs::write(path, bytes).expect("writes");
            format!("a bit of byte {at} flipped")
        }
        3 => {
            fs::write(path, &bytes[..at.min(bytes.len())]).expect("writes");
            format!("cut at {at}")
        }
        _ => {
            fs::remove_file(path).expect("removes");
            "removed".to_owned()
        }
    }
}

fn every_file(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("lists") {
        let path = entry.expect("lists").path();
        if path.is_dir() { found.extend(every_file(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}
