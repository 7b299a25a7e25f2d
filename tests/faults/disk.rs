//! Disks that fail, are full, or can no longer be written to, while the program is busy. (F5, F6 and a part of F7 of `docs/faults.md`)
//!
//! Mounting needs root; where it is not allowed the test says so and passes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use prost::Message;
use rand::Rng;

use crate::chance::{chances, rounds};
use crate::harness::{Shipwake, Start, eventually, free_ports, spawn};
use crate::load::{Load, doctor, judge, terminate};
use crate::old_lines::OldLines;
use crate::otlp::{logs, resource};
use crate::shim::spawn_faulty;

const EIO: i32 = 5;
const EROFS: i32 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_synced_ends_the_program_at_once_and_nothing_is_lost() {
    let mut random = chances("sync of the journal");
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let start = Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) };
    let mut load = None;
    for _ in 0..rounds(2, 40) {
        let fault = format!("sync,/journal/p,{},error:{EIO}", random.random_range(5..300));
        let mut shipwake = spawn_faulty(&start, &fault);
        load.get_or_insert_with(|| Load::start(ports, &oracle, "grpc", "2000/s"));
        eventually("the failure is said", || async { shipwake.log().contains("the journal failed").then_some(()) })
            .await;
        let said = Instant::now();
        let status = shipwake.wait_exit().await;
        let took = said.elapsed();
        assert!(status.code().is_some_and(|code| code != 0), "{fault}: {status}");
        assert!(took < Duration::from_secs(5), "{fault}: {took:?} from the failure to the end\n{}", shipwake.log());
        let log = shipwake.log();
        assert!(log.contains("sync") && log.contains("/journal/p") && log.contains("Input/output error"), "{log}");
    }
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    load.expect("was started").stop().await;
    judge(&shipwake, &oracle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_a_commit_that_fails_once_is_made_again() {
    let mut random = chances("steps of commits");
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let start = Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) };
    let mut load = None;
    for (call, occurrences) in [
        ("write,/store/tmp/", 10),
        ("sync,/store/tmp/", 10),
        ("link,/store/manifest/", 3),
        ("sync,/store/manifest/", 3),
    ] {
        for _ in 0..rounds(1, 10) {
            let fault = format!("{call},{},once:{EIO}", random.random_range(1..=occurrences));
            let mut shipwake = spawn_faulty(&start, &fault);
            load.get_or_insert_with(|| Load::start(ports, &oracle, "grpc", "2000/s"));
            eventually("the failed commit is said", || async {
                shipwake.log().contains("Input/output error").then_some(())
            })
            .await;
            if call == "sync,/store/manifest/" {
                // Whether that commit is on the disk nobody knows: the next start looks.
                let status = shipwake.wait_exit().await;
                assert!(status.code().is_some_and(|code| code != 0), "{fault}: {status}");
                assert!(shipwake.log().contains("is not known"), "{}", shipwake.log());
                continue;
            }
            let commits = shipwake.metric("shipwake_commit_seconds_count", "").await;
            eventually("commits go on", || async {
                (shipwake.metric("shipwake_commit_seconds_count", "").await >= commits + 3.0).then_some(())
            })
            .await;
            shipwake.wait_ready().await;
            // Judged at the end; killed here, so that what was committed shows.
            shipwake.kill();
        }
    }
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    load.expect("was started").stop().await;
    judge(&shipwake, &oracle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_under_load_refuses_and_keeps_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let start = Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) };
    let mut load = None;
    for call in ["write,/journal/p", "write,/store/tmp/", "create,/store/"] {
        let mut shipwake = spawn_faulty(&start, &format!("{call},40,error:{EROFS}"));
        load.get_or_insert_with(|| Load::start(ports, &oracle, "grpc", "2000/s"));
        eventually("it is said that nothing can be written", || async {
            let log = shipwake.log();
            let is_said = log.contains("Read-only file system") || log.contains("not writable");
            (is_said && log.contains(&data.display().to_string())).then_some(())
        })
        .await;
        if shipwake.has_ended().is_none() {
            assert!(shipwake.number("select count(*) from logs").await > 0, "queries still work");
        }
        shipwake.kill();
    }
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    load.expect("was started").stop().await;
    judge(&shipwake, &oracle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tmpfs_that_gets_full_under_load_is_waited_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    match Mounted::tmpfs(&disk, 300) {
        Some(mounted) => fill_and_free(&mounted.0).await,
        None => println!("not run: this user may not mount a tmpfs"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ext4_that_gets_full_under_load_is_waited_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    match Mounted::ext4(&disk, &folder.path().join("image"), 400) {
        Some(mounted) => fill_and_free(&mounted.0).await,
        None => println!("not run: this user may not mount a disk image"),
    }
}

/// Fills the disk to the last byte under a program that takes, commits, merges and indexes, and frees it again, some times.
async fn fill_and_free(disk: &Path) {
    let mut random = chances("full disk");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (disk.join("data"), elsewhere.path().join("oracle"));
    let ports = free_ports();
    let shipwake = spawn(&Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) });
    shipwake.wait_ready().await;
    let load = Load::start(ports, &oracle, "grpc", "1000/s");
    let old_lines = OldLines::start(ports[1]);
    for _ in 0..rounds(1, 10) {
        load.wait_acknowledged(random.random_range(10..100)).await;
        fill(&disk.join("filler"));
        let (status, hint) = refused(&shipwake).await;
        assert!([429, 503].contains(&status), "{status}");
        assert!((1..=30).contains(&hint), "a hint of {hint} s");
        eventually("commits fail, and that is said", || async {
            let text = reqwest::get(format!("{}/readyz", shipwake.ui())).await.ok()?.text().await.ok()?;
            (text.contains("no space left") || text.contains("cannot commit")).then_some(())
        })
        .await;
        assert!(shipwake.number("select count(*) from logs").await > 0, "queries still work");
        tokio::time::sleep(Duration::from_millis(random.random_range(0..2_000))).await;
        // What the program freed meanwhile it may have taken again.
        fs::remove_file(disk.join("filler")).expect("removed");
        load.wait_acknowledged(20).await;
        shipwake.wait_ready().await;
    }
    load.stop().await;
    judge(&shipwake, &oracle).await;
    old_lines.stop(&shipwake).await;
    assert!(terminate(shipwake).await.0.success());
    let (code, said) = doctor(&data);
    assert_eq!(code, Some(0), "{said}");
}

/// Sends until a request is refused; gives the status and the hint in seconds.
async fn refused(shipwake: &Shipwake) -> (u16, u64) {
    let client = reqwest::Client::new();
    let text: String = rand::rng().sample_iter(rand::distr::Alphanumeric).take(100_000).map(char::from).collect();
    let mut number = 0;
    eventually("a request is refused", || {
        number += 1;
        let body = logs(resource("probe", "1", "a"), &[&format!("{number} {text}")]).encode_to_vec();
        let request =
            client.post(format!("{}/v1/logs", shipwake.http())).header("content-type", "application/x-protobuf");
        async move {
            let answer = request.body(body).send().await.expect("an answer");
            let hint = answer.headers().get("retry-after").and_then(|hint| hint.to_str().ok()?.parse().ok());
            (!answer.status().is_success()).then(|| (answer.status().as_u16(), hint.unwrap_or(0)))
        }
    })
    .await
}

/// Writes a file until nothing more fits.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    let mut block = vec![1u8; 1 << 20];
    while !block.is_empty() {
        // What does not fit whole is tried in halves: a part of it may have been written, which fills as well.
        if file.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
}

/// A file system of its own, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let option = format!("size={megabytes}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(at).status();
        status.is_ok_and(|status| status.success()).then(|| Mounted(at.to_owned()))
    }

    fn ext4(at: &Path, image: &Path, megabytes: u64) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        fs::File::create(image).and_then(|file| file.set_len(megabytes << 20)).expect("an image");
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(image).status();
        let mounted = Command::new("mount").args(["-o", "loop"]).args([image, at]).status();
        let is_done = |status: std::io::Result<std::process::ExitStatus>| status.is_ok_and(|status| status.success());
        (is_done(made) && is_done(mounted)).then(|| Mounted(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
