//! A data directory that is full, read-only, in use, or damaged in the middle: said in words, and nothing is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Start, eventually, free_ports, spawn, start};
use crate::otlp::{logs, post, post_bytes, resource};
use prost::Message;

#[tokio::test]
async fn a_directory_in_use_names_the_process_that_uses_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let first = start(&data).await;
    let mut second = spawn(&Start { data: &data, options: &[], ports: None });
    let status = second.wait_exit().await;
    assert!(!status.success());
    assert!(second.log().contains(&first.pid().to_string()), "{}", second.log());
    post(&first.http(), "logs", &logs(resource("a", "1", "a"), &["unharmed"])).await;
}

/// There is next to nothing of them in the folder, and no journal or store that could be in use.
#[tokio::test]
async fn a_directory_of_a_process_with_few_roles_is_in_use_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let nobody = free_ports()[0];
    let (journal, store) =
        (format!("kafka://127.0.0.1:{nobody}/journal"), format!("s3://bucket/shop?endpoint=http://127.0.0.1:{nobody}"));
    let options = |roles: &'static str| ["--roles", roles, "--journal", &journal, "--store", &store];
    let first = spawn(&Start { data: &data, options: &options("ingest"), ports: None });
    eventually("the first one answers", || async {
        let answer = reqwest::get(format!("{}/healthz", first.ui())).await.ok()?;
        (answer.status().is_success() && data.join("PROCESS").exists()).then_some(())
    })
    .await;
    let embedded = ["--roles", "all"];
    for options in [&options("ingest")[..], &options("aggregate"), &options("query"), &embedded] {
        let mut second = spawn(&Start { data: &data, options, ports: None });
        let status = second.wait_exit().await;
        assert_eq!(status.code(), Some(1), "{options:?}: {}", second.log());
        let expected = format!("in use by process {}", first.pid());
        assert!(second.log().contains(&expected) && second.log().contains("--data"), "{options:?}: {}", second.log());
    }
    // It is the process that has it, not its file.
    first.kill();
    let third = spawn(&Start { data: &data, options: &options("ingest"), ports: None });
    eventually("the next one answers", || async { reqwest::get(format!("{}/healthz", third.ui())).await.ok() }).await;
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a-file");
    fs::write(&file, "not a folder").expect("written");
    let mut shipwake = spawn(&Start { data: &file, options: &[], ports: None });
    assert!(!shipwake.wait_exit().await.success());
    assert!(shipwake.log().contains("a-file"), "{}", shipwake.log());
}

/// Every file below a folder whose name ends so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn damage_in_the_middle_of_the_journal_is_named_and_costs_no_more_than_a_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let shipwake = start(&data).await;
    for n in 0..40 {
        let body = format!("record {n}");
        post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &[body.as_str(); 20])).await;
    }
    shipwake.kill();
    let segment = files(&data, ".log")
        .into_iter()
        .max_by_key(|path| fs::metadata(path).map_or(0, |m| m.len()))
        .expect("a segment");
    let mut bytes = fs::read(&segment).expect("read");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("written");
    bytes[used / 2] ^= 0x40;
    fs::write(&segment, bytes).expect("written");

    let doctor =
        Command::new(env!("CARGO_BIN_EXE_shipwake")).args(["doctor", "--data"]).arg(&data).output().expect("it runs");
    let again = start(&data).await;
    let rows = again.number("select count(*) from logs").await;
    // What was hit may be a mark, which costs nothing.
    assert!(rows == 39 * 20 || rows == 40 * 20, "{rows}: {}", again.log());
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(again.log().contains(&name) && again.log().contains("byte"), "{}", again.log());
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(!doctor.status.success() && said.contains(&name), "{said}");
}

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let option = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(at).status();
        status.is_ok_and(|status| status.success()).then(|| SmallDisk(at.to_owned()))
    }

    fn remount(&self, option: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(&self.0)
            .status()
            .expect("mount exists");
        assert!(status.success(), "remount {option}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_with_a_hint_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), "400m") else {
        println!("not run: this user may not mount a tmpfs");
        return;
    };
    let data = disk.0.join("data");
    let shipwake = start(&data).await;
    let url = format!("{}/v1/logs", shipwake.http());
    post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &["before"])).await;
    shipwake.wait_number("select count(*) from logs", 1).await;

    let filler = disk.0.join("filler");
    let free = free_bytes(&disk.0);
    fs::write(&filler, vec![1u8; free as usize]).expect_err("the disk is full before the filler ends");
    let refused = eventually("a request is refused", || async {
        let bytes = logs(resource("a", "1", "a"), &[&random_text(200_000)]).encode_to_vec();
        let (status, _, _) = post_bytes(&url, bytes).await;
        (status != 200).then_some(status)
    })
    .await;
    assert!(refused == 503 || refused == 429, "{refused}");
    assert!(shipwake.number("select count(*) from logs where body = 'before'").await == 1, "queries still work");

    fs::remove_file(&filler).expect("removed");
    eventually("a request is taken again without a restart", || async {
        let bytes = logs(resource("a", "1", "a"), &["after"]).encode_to_vec();
        (post_bytes(&url, bytes).await.0 == 200).then_some(())
    })
    .await;
    shipwake.wait_number("select least(count(*), 1) from logs where body = 'after'", 1).await;
}

/// Status of `/readyz` and its reasons.
async fn readiness(shipwake: &crate::harness::Shipwake) -> (u16, String) {
    let answer = reqwest::get(format!("{}/readyz", shipwake.ui())).await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn readiness_tells_of_a_full_disk_before_anything_has_failed_and_takes_it_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), "400m") else {
        println!("not run: this user may not mount a tmpfs");
        return;
    };
    let shipwake = crate::harness::start_with(&disk.0.join("data"), &["--commit-seconds", "1"]).await;
    post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &["before"])).await;
    assert_eq!(readiness(&shipwake).await.0, 200);

    let filler = disk.0.join("filler");
    let leave = 20 << 20;
    fs::write(&filler, vec![1u8; (free_bytes(&disk.0) - (1 << 20) - leave) as usize]).expect("written");
    let (status, said) = readiness(&shipwake).await;
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("\"disk\"") && said.contains("no space left"), "{said}");
    let page = shipwake.api("/api/v1/pipeline").await;
    assert!(page["problems"][0].as_str().is_some_and(|text| text.contains("no space left")), "{page}");

    // Filled up to the last byte: a request is refused, a commit fails, and both are told.
    let rest = disk.0.join("rest");
    fs::write(&rest, vec![1u8; 64 << 20]).expect_err("the disk is full before the file ends");
    let url = format!("{}/v1/logs", shipwake.http());
    eventually("a request is refused", || async {
        let bytes = logs(resource("a", "1", "a"), &[&random_text(200_000)]).encode_to_vec();
        (post_bytes(&url, bytes).await.0 != 200).then_some(())
    })
    .await;
    let (status, said) = readiness(&shipwake).await;
    assert!(status == 503 && said.contains("records are refused"), "{said}");

    fs::remove_file(&filler).expect("removed");
    fs::remove_file(&rest).expect("removed");
    eventually("ready again without a restart", || async {
        let taken = post_bytes(&url, logs(resource("a", "1", "a"), &["after"]).encode_to_vec()).await.0 == 200;
        (taken && readiness(&shipwake).await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(shipwake.api("/api/v1/pipeline").await["problems"], serde_json::json!([]));
}

fn free_bytes(path: &Path) -> u64 {
    let out = Command::new("df").args(["--output=avail", "-B1"]).arg(path).output().expect("df exists");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let available: u64 = text.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("a number");
    available + (1 << 20)
}

/// Text that does not compress.
fn random_text(bytes: usize) -> String {
    use rand::Rng;
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(bytes).map(char::from).collect()
}

#[tokio::test]
async fn a_disk_that_turns_read_only_refuses_and_keeps_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), "300m") else {
        println!("not run: this user may not mount a tmpfs");
        return;
    };
    let mut shipwake = {
        fs::create_dir(disk.0.join("data")).expect("made");
        disk.remount("ro");
        spawn(&Start { data: &disk.0.join("data"), options: &[], ports: None })
    };
    assert!(!shipwake.wait_exit().await.success());
    assert!(shipwake.log().to_lowercase().contains("read-only"), "{}", shipwake.log());
}
