//! The embedded journal on file systems and system calls that really fail: a full disk, a read-only file system, and a
//! sync that returns EIO. Where the machine does not allow such a fault (mounting needs root, failing syncs need
//! `fiu-run`), the test says so and why, and passes.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use shipwake_journal::conformance::{read_all, record};
use shipwake_journal::embedded::{Config, check};
use shipwake_journal::{EmbeddedJournal, Journal, JournalError};
use tempfile::TempDir;

/// Set for the processes that the tests start.
const CHILD_DIR: &str = "SHIPWAKE_JOURNAL_TEST_CHILD_DIR";

fn config(dir: &Path) -> Config {
    Config { segment_bytes: 256 << 10, ..Config::new(dir) }
}

fn open(config: Config) -> Result<EmbeddedJournal, JournalError> {
    EmbeddedJournal::open(config, &mut Registry::default())
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// A file system of its own, unmounted at the end.
struct Mounted(TempDir);

impl Mounted {
    fn tmpfs(bytes: usize) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs", at])?;
        Ok(Self(dir))
    }

    fn ext4(bytes: u64, image: &Path) -> Result<Self, String> {
        fs::File::create(image).and_then(|file| file.set_len(bytes)).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()])?;
        let dir = tempfile::tempdir().unwrap();
        run("mount", &["-o", "loop", image.to_str().unwrap(), dir.path().to_str().unwrap()])?;
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[self.0.path().to_str().unwrap()]) {
            eprintln!("left mounted: {error}");
        }
    }
}

/// Bytes that do not compress.
fn noise(number: u64, bytes: usize) -> bytes::Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

async fn append(journal: &EmbeddedJournal, number: u64) -> Result<u64, JournalError> {
    let record = shipwake_journal::Record { value: noise(number, 20_000), ..record(0, number, 0) };
    journal.append(vec![record]).await.map(|positions| positions[0].offset)
}

async fn assert_holds(journal: &dyn Journal, acknowledged: &[u64]) {
    let all = read_all(journal, 0, 0).await.unwrap();
    let numbers: Vec<u64> = all.iter().map(|stored| u64::from(stored.header.records)).collect();
    assert_eq!(numbers, acknowledged, "acknowledged records, each once and nothing of the refused ones");
    for (stored, number) in all.iter().zip(acknowledged) {
        assert_eq!(stored.value, noise(*number, 20_000));
    }
}

/// Fills the file system until appends are refused, twice, and frees space in between.
async fn fill_and_free(dir: &Path) {
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 600_000]).unwrap();
    let journal =
        open(Config { retention: Duration::ZERO, tail_cache_bytes: 0, ..config(&dir.join("journal")) }).unwrap();
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for _ in 0..2 {
        let error = loop {
            match append(&journal, number).await {
                Ok(_) => acknowledged.push(number),
                Err(error) => break error,
            }
            number += 1;
            assert!(number < 10_000, "the disk never got full");
        };
        assert!(matches!(error, JournalError::Full { .. }) && error.retryable() && !error.must_stop(), "{error}");
        assert_holds(&journal, &acknowledged).await;
        for _ in 0..3 {
            number += 1;
            assert!(matches!(append(&journal, number).await, Err(JournalError::Full { .. })), "still full");
        }
        number += 1;
        let _ = fs::remove_file(&ballast);
    }
    assert!(acknowledged.len() > 40);
    drop(journal);
    assert_eq!(check(&dir.join("journal")).unwrap().findings, []);
    // A start on the full disk works, and removing what is no longer needed helps.
    let journal = open(Config { retention: Duration::ZERO, ..config(&dir.join("journal")) }).unwrap();
    assert_holds(&journal, &acknowledged).await;
    journal.truncate_before(0, journal.end(0)).await.unwrap();
    append(&journal, number).await.unwrap();
}

#[tokio::test]
async fn a_full_tmpfs_refuses_appends_and_takes_them_again_when_there_is_space() {
    match Mounted::tmpfs(2 << 20) {
        Ok(disk) => fill_and_free(disk.path()).await,
        Err(reason) => eprintln!("skipped: cannot mount a tmpfs here ({reason})"),
    }
}

#[tokio::test]
async fn a_full_ext4_refuses_appends_and_takes_them_again_when_there_is_space() {
    let images = tempfile::tempdir().unwrap();
    match Mounted::ext4(12 << 20, &images.path().join("image")) {
        Ok(disk) => fill_and_free(disk.path()).await,
        Err(reason) => eprintln!("skipped: cannot mount an ext4 image here ({reason})"),
    }
}

#[tokio::test]
async fn a_read_only_file_system_is_refused_by_name_and_not_harmed() {
    let disk = match Mounted::tmpfs(4 << 20) {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("skipped: cannot mount a tmpfs here ({reason})"),
    };
    let dir = disk.path().join("journal");
    let journal = open(config(&dir)).unwrap();
    append(&journal, 0).await.unwrap();
    drop(journal);
    run("mount", &["-o", "remount,ro", disk.path().to_str().unwrap()]).unwrap();
    let error = open(config(&dir)).unwrap_err();
    assert!(matches!(&error, JournalError::ReadOnly { path } if path.starts_with(&dir)), "{error}");
    run("mount", &["-o", "remount,rw", disk.path().to_str().unwrap()]).unwrap();
    assert_holds(&open(config(&dir)).unwrap(), &[0]).await;
}

/// Not a test of its own: what a process does until it is killed or `fiu-run` makes a sync fail. Prints the offset of
/// every acknowledgement.
#[tokio::test]
async fn child_appends_until_it_is_stopped() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let journal = match open(config(Path::new(&dir))) {
        Ok(journal) => Arc::new(journal),
        // Opening syncs too.
        Err(error @ JournalError::Poisoned { .. }) => return println!("poisoned {error}"),
        Err(error) => panic!("{error}"),
    };
    let reader = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.read(1, 0, 1).await }
    });
    // What a process before this one has left counts.
    for number in journal.end(0)..1_000_000 {
        match append(&journal, number).await {
            Ok(offset) => println!("acknowledged {offset}"),
            Err(error) => {
                assert!(matches!(error, JournalError::Poisoned { .. }) && error.must_stop(), "{error}");
                assert!(matches!(append(&journal, number).await, Err(JournalError::Poisoned { .. })), "and for good");
                assert!(matches!(reader.await.unwrap(), Err(JournalError::Poisoned { .. })), "readers are told");
                println!("poisoned {error}");
                return;
            }
        }
    }
    panic!("neither killed nor failed");
}

fn start_child(program: &str, arguments: &[&str], dir: &Path) -> std::process::Child {
    Command::new(program)
        .args(arguments)
        .args(["--exact", "child_appends_until_it_is_stopped", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn everything_acknowledged_before_a_kill_is_there_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    for round in 0..8 {
        let mut child = start_child(test.to_str().unwrap(), &[], dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        for _ in 0..3 + round * 7 {
            let line = lines.next().expect("the process runs until it is killed").unwrap();
            if let Some((_, offset)) = line.split_once("acknowledged ") {
                acknowledged = offset.parse::<u64>().unwrap() + 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Lines that were on their way when it was killed are acknowledgements too.
        for line in lines.map_while(Result::ok) {
            let offset = line.split_once("acknowledged ").and_then(|(_, offset)| offset.parse::<u64>().ok());
            acknowledged = offset.map_or(acknowledged, |offset| offset + 1);
        }
        assert!(check(dir.path()).unwrap().findings.iter().all(|finding| finding.harmless));
        let journal = open(config(dir.path())).unwrap();
        assert!(acknowledged > 0 && journal.end(0) >= acknowledged);
        let everything: Vec<u64> = (0..journal.end(0)).collect();
        assert_holds(&journal, &everything).await;
    }
}

#[tokio::test]
async fn a_sync_that_fails_stops_the_journal_and_nothing_acknowledged_is_lost() {
    if let Err(reason) = run("fiu-run", &["-x", "true"]) {
        return eprintln!("skipped: cannot make system calls fail here ({reason}); Debian has it in fiu-utils");
    }
    let dir = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    let mut acknowledged = 0;
    // The same directory again: each start recovers what the one before left.
    for _ in 0..5 {
        let fault = "enable_random name=posix/io/sync/fdatasync,probability=0.03,failinfo=5";
        let mut child = start_child("fiu-run", &["-x", "-c", fault, test.to_str().unwrap()], dir.path());
        let mut poisoned = false;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            // The test harness writes its own words into the first line.
            if let Some((_, offset)) = line.split_once("acknowledged ") {
                assert!(!poisoned, "acknowledged after a failed sync");
                acknowledged = acknowledged.max(offset.parse::<u64>().unwrap() + 1);
            }
            poisoned |= line.contains("poisoned ") && line.contains("sync");
        }
        assert!(child.wait().unwrap().success() && poisoned, "the sync failed and was noticed");
    }
    let journal = open(config(dir.path())).unwrap();
    assert!(journal.end(0) >= acknowledged && acknowledged > 0, "{acknowledged} of {}", journal.end(0));
    read_all(&journal, 0, 0).await.unwrap();
    drop(journal);
    assert_eq!(check(dir.path()).unwrap().findings, []);
}
