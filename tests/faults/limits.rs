//! What else a machine can take away: file descriptors, the data folder, a lock that nobody holds. (A part of F7 of `docs/faults.md`)

use std::fs;
use std::process::Command;

use crate::harness::{Shipwake, Start, eventually, free_ports, spawn, start_with};
use crate::load::{Load, doctor, judge};
use crate::otlp::{logs, post, resource};

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_it_says_so_and_goes_on_when_there_are_some() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let shipwake = spawn(&Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) });
    shipwake.wait_ready().await;
    let load = Load::start(ports, &oracle, "grpc", "1000/s");
    load.wait_acknowledged(10).await;
    // Fewer than are open: nothing more can be.
    limit_files(&shipwake, 16);
    eventually("what is missing is said", || async {
        let log = shipwake.log();
        (log.contains("Too many open files") && log.contains("commit")).then_some(())
    })
    .await;
    limit_files(&shipwake, 1024);
    load.wait_acknowledged(50).await;
    shipwake.wait_ready().await;
    load.stop().await;
    judge(&shipwake, &oracle).await;
}

/// Sets the soft limit of open files, which may be raised again.
fn limit_files(shipwake: &Shipwake, files: u64) {
    let status =
        Command::new("prlimit").args(["--pid", &shipwake.pid().to_string(), &format!("--nofile={files}:")]).status();
    assert!(status.expect("prlimit is part of util-linux").success());
}

#[tokio::test]
async fn a_data_folder_that_is_deleted_under_it_ends_the_program_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut shipwake = start_with(&data, &["--commit-seconds", "1", "--partitions", "1"]).await;
    post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &["before"])).await;
    fs::remove_dir_all(&data).expect("removed");
    let client = reqwest::Client::new();
    // Nobody is told that a record is kept that is not.
    let answer = client.post(format!("{}/v1/lines?service=a&version=1", shipwake.http())).body("after").send().await;
    assert!(!answer.is_ok_and(|answer| answer.status().is_success()));
    let status = shipwake.wait_exit().await;
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert!(shipwake.log().contains(&data.display().to_string()), "{}", shipwake.log());
}

#[tokio::test]
async fn a_lock_that_nobody_holds_is_no_obstacle_whoever_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let shipwake = start_with(&data, &[]).await;
    post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &["before"])).await;
    shipwake.kill();
    let mut locks = Vec::new();
    for place in ["journal", "store"] {
        let entries = fs::read_dir(data.join(place)).expect("a folder").flatten().map(|entry| entry.path());
        locks.extend(entries.filter(|path| path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("lock"))));
    }
    assert_eq!(locks.len(), 2, "{locks:?}");
    // A process that runs, and is no Shipwake.
    for lock in &locks {
        fs::write(lock, format!("{}\n", std::process::id())).expect("written");
    }
    assert_eq!(doctor(&data).0, Some(0));
    let again = start_with(&data, &[]).await;
    again.wait_number("select count(*) from logs", 1).await;
}

#[tokio::test]
async fn a_segment_that_is_gone_is_named_and_the_rest_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let shipwake = start_with(&data, &["--partitions", "1"]).await;
    post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &["before"])).await;
    assert!(shipwake.terminate().0.success());
    let again = start_with(&data, &[]).await;
    post(&again.http(), "logs", &logs(resource("a", "1", "a"), &["one", "two"])).await;
    assert!(again.terminate().0.success());
    let files = fs::read_dir(data.join("store/data/logs")).expect("a folder");
    let paths = files.flatten().map(|entry| entry.path());
    let segment =
        paths.filter(|path| path.extension().is_some_and(|end| end == "parquet")).min().expect("there is one");
    fs::remove_file(&segment).expect("removed");
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    let (code, said) = doctor(&data);
    assert!(code == Some(1) && said.contains(&name) && said.contains("missing"), "{code:?} {said}");
    assert!(said.contains("1 rows of logs from "), "what it costs is said: {said}");
    let shipwake = start_with(&data, &[]).await;
    let (status, answer) = shipwake.sql_answer("select count(*) from logs").await;
    assert!(status == 200 && answer["rows"][0][0] == 2, "{answer}");
    let warnings = answer["meta"]["warnings"].to_string();
    assert!(warnings.contains("1 rows of logs from ") && warnings.contains(&name), "{answer}");
    assert!(shipwake.log().contains("ERROR") && shipwake.log().contains(&name), "{}", shipwake.log());
}

#[test]
fn doctor_tells_what_it_cannot_look_at_from_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, said) = doctor(&folder.path().join("nowhere"));
    assert!(code == Some(3) && said.contains("not a folder"), "{code:?} {said}");
    let (code, said) = doctor(folder.path());
    assert!(code == Some(3) && said.contains("neither a journal nor a store"), "{code:?} {said}");
}

#[tokio::test]
async fn doctor_reads_a_store_elsewhere_and_changes_nothing_and_says_who_uses_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, store) = (folder.path().join("data"), folder.path().join("store"));
    let place = store.to_str().expect("text");
    let shipwake = start_with(&data, &["--store", place]).await;
    post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &["before"])).await;
    let run = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipwake"));
        let out = command.args(["doctor", "--data"]).arg(&data).args(options).output().expect("it runs");
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (code, said) = run(&["--store", place]);
    assert!(code == Some(3) && said.contains(&shipwake.pid().to_string()), "{code:?} {said}");
    assert!(shipwake.terminate().0.success());
    // As it is on a disk that cannot be written to: no file is made or touched.
    for place in [data.join("journal"), store.clone()] {
        fs::remove_file(place.join("LOCK")).expect("there is one");
    }
    let (code, said) = run(&["--store", place]);
    assert!(code == Some(0) && said.contains("nothing is damaged"), "{code:?} {said}");
    assert!(!store.join("LOCK").exists() && !data.join("journal/LOCK").exists(), "a check makes no file");
    let (code, said) = run(&[]);
    assert!(code == Some(1), "the store is not below the data folder: {code:?} {said}");
}
