//! Random damage to random files of a journal: found, named with its place, and never taken for the end of what was written. The seed
//! is printed; `SHIPWAKE_TORTURE_SEED` repeats it, and `SHIPWAKE_TORTURE=long` makes a thousand rounds of two hundred.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus_client::registry::Registry;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use shipwake_journal::conformance::record;
use shipwake_journal::embedded::{Config, check};
use shipwake_journal::{EmbeddedJournal, Journal, JournalError, Record};

const RECORDS: u64 = 120;

#[tokio::test]
async fn random_damage_is_named_and_never_taken_for_the_end() {
    let seed =
        std::env::var("SHIPWAKE_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("journal damage: SHIPWAKE_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let is_long = std::env::var("SHIPWAKE_TORTURE").is_ok_and(|value| value == "long");
    let original = tempfile::tempdir().unwrap();
    let journal = open(original.path()).unwrap();
    for number in 0..RECORDS {
        let noise: Vec<u8> = std::iter::repeat_with(|| random.random()).take(2_000).collect();
        journal.append(vec![Record { value: noise.into(), ..record(0, number, 0) }]).await.unwrap();
    }
    // As a kill leaves it: nothing is settled or sealed.
    drop(journal);
    let whole = read(original.path()).await.expect("nothing is damaged");
    assert_eq!(whole.len() as u64, RECORDS);
    let (mut refused, rounds) = (0, if is_long { 1_000 } else { 200 });
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        let all = files(dir.path());
        assert!(all.len() >= 4, "the journal's own file and some segments: {all:?}");
        let victim = all.choose(&mut random).unwrap().clone();
        let is_newest = all.last() == Some(&victim);
        let (how, reaches_end) = damage(&victim, &mut random);
        let context = format!("seed {seed}, round {round}: {} {how}", victim.display());

        let findings = check(dir.path()).unwrap().findings;
        let named = findings.iter().find(|finding| finding.path == victim);
        match read(dir.path()).await {
            Ok(records) if records == whole => {}
            Ok(records) => {
                let mut left = whole.iter();
                assert!(records.iter().all(|record| left.any(|one| one == record)), "{context}: not what was written");
                // Cut off where a record ends, nothing in the file tells that there was more. A commit behind it does.
                let is_cut = is_newest && reaches_end && whole.starts_with(&records);
                assert!(is_cut || named.is_some_and(|finding| !finding.harmless), "{context}: {findings:?}");
            }
            Err(JournalError::Damaged { path, offset, reason }) => {
                // Of a file that is gone but for a few bytes, the next one may be the first to notice.
                let is_named = path == victim || reason.contains("missing");
                assert!(is_named, "{context}: {} at {offset}: {reason}", path.display());
                let finding = named.unwrap_or_else(|| panic!("{context}: {findings:?}"));
                let is_within = finding.offset <= fs::metadata(&victim).unwrap().len();
                assert!(!finding.harmless && is_within, "{context}: {finding:?}");
                refused += 1;
            }
            Err(JournalError::Lost { .. }) => assert!(named.is_some(), "{context}: {findings:?}"),
            Err(error) => panic!("{context}: {error}"),
        }
    }
    println!("{rounds} rounds, {refused} of them refused");
}

fn open(dir: &Path) -> Result<EmbeddedJournal, JournalError> {
    let config = Config {
        segment_bytes: 64 << 10,
        partitions: 1,
        tail_cache_bytes: 0,
        retention: Duration::from_secs(1 << 20),
        ..Config::new(dir)
    };
    EmbeddedJournal::open(config, &mut Registry::default())
}

/// All records, as a process that starts now reads them.
async fn read(dir: &Path) -> Result<Vec<Vec<u8>>, JournalError> {
    let journal = open(dir)?;
    let all = shipwake_journal::conformance::read_all(&journal, 0, 0).await?;
    Ok(all.iter().map(|stored| stored.value.to_vec()).collect())
}

/// Does one of the things that disks do; gives its description, and whether it is about all bytes to the end.
fn damage(path: &Path, random: &mut StdRng) -> (String, bool) {
    let mut bytes = fs::read(path).unwrap();
    let at = random.random_range(0..bytes.len());
    let (how, reaches_end) = match random.random_range(0..5) {
        0..=2 => {
            bytes[at] ^= 1 << random.random_range(0..8);
            (format!("a bit of byte {at} flipped"), false)
        }
        3 => {
            bytes.truncate(at);
            (format!("cut off at byte {at}"), true)
        }
        _ => {
            let end = (at + random.random_range(1..5_000)).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = if *byte == 0 { 0xff } else { 0 });
            (format!("bytes {at} to {end} are others"), end == bytes.len())
        }
    };
    fs::write(path, bytes).unwrap();
    (how, reaches_end)
}

/// Every file but the lock; the newest segment last.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("LOCK") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
