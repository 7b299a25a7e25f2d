//! Random damage to random files of a journal: it opens, what is whole is read, and what is not is named with its place and counted as lost:
//! both together are what was acknowledged. The seed is printed; `SHIPWAKE_TORTURE_SEED` repeats it, and `SHIPWAKE_TORTURE=long` makes a
//! thousand rounds of two hundred.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;
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
async fn after_random_damage_what_is_read_and_what_is_lost_add_up() {
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
    let (whole, lost) = read(original.path()).await;
    assert_eq!((whole.len() as u64, lost.len()), (RECORDS, 0));
    let (mut costly, rounds) = (0, if is_long { 1_000 } else { 200 });
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        let all = files(dir.path());
        assert!(all.len() >= 4, "the journal's own file and some segments: {all:?}");
        let victim = all.choose(&mut random).unwrap().clone();
        let how = damage(&victim, &mut random);
        let context = format!("seed {seed}, round {round}: {} {how}", victim.display());

        let findings = check(dir.path()).unwrap().findings;
        let named = findings.iter().find(|finding| finding.path == victim && !finding.harmless);
        let (records, lost) = read(dir.path()).await;
        assert_eq!(records.len() + lost.len(), RECORDS as usize, "{context}: {lost:?}");
        let mut expected = whole.clone();
        lost.iter().for_each(|offset| drop(expected.remove(offset)));
        assert!(records == expected, "{context}: not what was written");
        if !lost.is_empty() {
            let finding = named.unwrap_or_else(|| panic!("{context}: {findings:?}"));
            assert!(
                finding.offset <= fs::metadata(&victim).map_or(u64::MAX, |found| found.len()),
                "{context}: {finding:?}"
            );
            costly += 1;
        }
        // Once more: it says the same, and gives no offset a second time.
        assert!(read(dir.path()).await == (records, lost), "{context}, opened again");
    }
    println!("{rounds} rounds, {costly} of them lost something");
    assert!(costly > rounds / 4, "hardly any damage was done");
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

/// All records by their offsets, as a process that starts now reads them, and the offsets that it is told are lost.
async fn read(dir: &Path) -> (BTreeMap<u64, Vec<u8>>, Vec<u64>) {
    let journal = open(dir).unwrap();
    let (mut records, mut lost, mut next) = (BTreeMap::new(), Vec::new(), 0);
    while next < journal.end(0) {
        match journal.read(0, next, 20_000).await {
            Ok(found) => {
                for stored in found {
                    assert_eq!(stored.offset, next);
                    records.insert(next, stored.value.to_vec());
                    next += 1;
                }
            }
            Err(JournalError::Lost { oldest, .. } | JournalError::OffsetGone { oldest, .. }) => {
                lost.extend(next..oldest);
                next = oldest;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (records, lost)
}

/// Does one of the things that disks do; gives its description.
fn damage(path: &Path, random: &mut StdRng) -> String {
    let mut bytes = fs::read(path).unwrap();
    let at = random.random_range(0..bytes.len());
    let how = match random.random_range(0..5) {
        0..=2 => {
            bytes[at] ^= 1 << random.random_range(0..8);
            format!("a bit of byte {at} flipped")
        }
        3 => {
            bytes.truncate(at);
            format!("cut off at byte {at}")
        }
        _ => {
            let end = (at + random.random_range(1..5_000)).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = if *byte == 0 { 0xff } else { 0 });
            format!("bytes {at} to {end} are others")
        }
    };
    fs::write(path, bytes).unwrap();
    how
}

/// Every file but the lock.
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
