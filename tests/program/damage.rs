//! Files are damaged or gone while the program is stopped: it starts, answers from what is whole, and says what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Shipwake, start_with};
use crate::otlp::{logs, post, resource};

/// Lines of each request, and requests of each life.
const LINES: i64 = 20;
const REQUESTS: i64 = 15;
const OF_A_LIFE: i64 = LINES * REQUESTS * 4;
const ALL: &str = "select count(*) from logs";

/// What happens to a file or a folder, and a word for it.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path));

async fn send(shipwake: &Shipwake) {
    for service in ["a", "b", "c", "d"] {
        for n in 0..REQUESTS {
            let body = format!("record {n}");
            post(&shipwake.http(), "logs", &logs(resource(service, "1", "a"), &[body.as_str(); LINES as usize])).await;
        }
    }
}

/// A folder after two lives that have ended in order, and, if asked for, one that was killed before it committed.
async fn worked_in(data: &Path, is_killed: bool) -> i64 {
    for _ in 0..2 {
        let shipwake = start_with(data, &[]).await;
        send(&shipwake).await;
        assert!(shipwake.terminate().0.success());
    }
    if !is_killed {
        return 2 * OF_A_LIFE;
    }
    let shipwake = start_with(data, &["--commit-seconds", "600"]).await;
    send(&shipwake).await;
    shipwake.wait_number(ALL, 3 * OF_A_LIFE).await;
    shipwake.kill();
    3 * OF_A_LIFE
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp exists");
    assert!(status.success());
}

/// The files of a folder whose names end so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

fn flip(path: &Path) {
    flip_at(path, fs::metadata(path).expect("is there").len() as usize / 2);
}

fn flip_at(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[at] ^= 0x40;
    fs::write(path, bytes).expect("written");
}

/// What `/readyz` says, which must be that it is ready.
async fn degraded(shipwake: &Shipwake) -> String {
    let answer = reqwest::get(format!("{}/readyz", shipwake.ui())).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let said: Value = answer.json().await.expect("JSON");
    // It is left out where there is nothing to say.
    said.get("degraded").map_or("[]".to_owned(), ToString::to_string)
}

/// Rows of logs that are missing by the metrics.
async fn missing_rows(shipwake: &Shipwake) -> i64 {
    shipwake.metric("shipwake_store_damaged_rows", "\"logs\"").await as i64
}

#[tokio::test]
async fn answers_are_made_of_the_good_segments_and_say_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let original = folder.path().join("original");
    let all = worked_in(&original, false).await;
    let damages: [Damage<'_>; 3] = [
        ("gone", &|path| fs::remove_file(path).expect("removed")),
        ("short", &|path| {
            let bytes = fs::read(path).expect("read");
            fs::write(path, &bytes[..bytes.len() - 100]).expect("written");
        }),
        ("flipped", &flip),
    ];
    for (name, damage) in damages {
        let data = folder.path().join(name);
        copy(&original, &data);
        let victim = files(&data.join("store/data/logs"), ".parquet").remove(0);
        let good = fs::read(&victim).expect("read");
        damage(&victim);
        let shipwake = start_with(&data, &[]).await;
        let (status, answer) = shipwake.sql_answer(ALL).await;
        assert_eq!(status, 200, "{name}: {answer}");
        let (rows, missing) = (answer["rows"][0][0].as_i64().expect("a number"), missing_rows(&shipwake).await);
        assert!(missing > 0 && rows + missing == all, "{name}: {rows} and {missing}");
        let file = victim.file_name().expect("a name").to_string_lossy().into_owned();
        let warning = answer["meta"]["warnings"].to_string();
        assert!(warning.contains(&file) && warning.contains(&format!("{missing} rows of logs")), "{name}: {answer}");
        let volume =
            reqwest::Client::new().post(format!("{}/api/v1/logs/volume", shipwake.ui())).json(&serde_json::json!({}));
        let volume: Value = volume.send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(volume["total"].as_i64(), Some(rows), "{volume}");
        assert!(volume["meta"]["warnings"].to_string().contains(&file), "{volume}");
        assert!(degraded(&shipwake).await.contains(&file), "{name}");
        assert_eq!(shipwake.log().matches("answers are made without them").count(), 1, "{}", shipwake.log());
        send(&shipwake).await;
        shipwake.wait_number(ALL, rows + OF_A_LIFE).await;
        assert!(shipwake.terminate().0.success());

        fs::write(&victim, good).expect("restored");
        let shipwake = start_with(&data, &[]).await;
        assert_eq!(shipwake.number(ALL).await, all + OF_A_LIFE, "{name}, restored");
        assert_eq!(degraded(&shipwake).await, "[]");
    }
}

#[tokio::test]
async fn a_bad_state_manifest_or_superblock_costs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let original = folder.path().join("original");
    let all = worked_in(&original, true).await;
    let newest = |data: &Path, kind: &str| files(&data.join(format!("store/{kind}/0")), "").pop().expect("a file");
    let remove = |path: &Path| fs::remove_file(path).expect("removed");
    let damages: [Damage<'_>; 11] = [
        ("state-flipped", &|data| flip(&newest(data, "state"))),
        ("state-gone", &|data| remove(&newest(data, "state"))),
        ("manifest-flipped", &|data| flip(&newest(data, "manifest"))),
        ("manifest-gone", &|data| remove(&newest(data, "manifest"))),
        ("old-manifest-flipped", &|data| flip(&files(&data.join("store/manifest/0"), ".json")[0])),
        ("old-manifest-gone", &|data| remove(&files(&data.join("store/manifest/0"), ".json")[0])),
        ("all-states-gone", &|data| files(&data.join("store/state/0"), "").iter().for_each(|path| remove(path))),
        ("all-manifests-gone", &|data| fs::remove_dir_all(data.join("store/manifest/0")).expect("removed")),
        ("superblock-half", &|data| flip_at(&data.join("store/SUPERBLOCK"), 10)),
        ("superblock-gone", &|data| remove(&data.join("store/SUPERBLOCK"))),
        ("journal-flipped", &|data| flip(&data.join("journal/JOURNAL"))),
    ];
    for (name, damage) in damages {
        let data = folder.path().join(name);
        copy(&original, &data);
        damage(&data);
        let shipwake = start_with(&data, &[]).await;
        shipwake.wait_number(ALL, all).await;
        let said = shipwake.log();
        assert!(said.contains("ERROR") || name == "manifest-gone", "{name}: {said}");
        assert!(shipwake.terminate().0.success(), "{name}");
        let shipwake = start_with(&data, &[]).await;
        assert_eq!(shipwake.number(ALL).await, all, "{name}, started again");
        fs::remove_dir_all(&data).expect("removed");
    }
}

#[tokio::test]
async fn what_a_damaged_journal_costs_is_said_as_a_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let original = folder.path().join("original");
    let all = worked_in(&original, true).await;
    let last = |data: &Path| files(&data.join("journal/p1"), ".log").pop().expect("a file");
    let damages: [Damage<'_>; 5] = [
        ("file-gone", &|data| fs::remove_file(last(data)).expect("removed")),
        ("emptied", &|data| fs::write(last(data), b"").expect("written")),
        ("folder-gone", &|data| fs::remove_dir_all(data.join("journal/p1")).expect("removed")),
        ("flipped", &|data| flip(&last(data))),
        ("cut", &|data| {
            let bytes = fs::read(last(data)).expect("read");
            fs::write(last(data), &bytes[..bytes.len() - 3_000]).expect("written");
        }),
    ];
    for (name, damage) in damages {
        let data = folder.path().join(name);
        copy(&original, &data);
        damage(&data);
        let doctor = Command::new(env!("CARGO_BIN_EXE_shipwake")).args(["doctor", "--data"]).arg(&data).output();
        assert!(!doctor.expect("it runs").status.success(), "{name}: doctor finds nothing");
        let shipwake = start_with(&data, &[]).await;
        let (rows, lost) =
            (shipwake.number(ALL).await, shipwake.metric("shipwake_journal_lost_records_total", "").await);
        // Every request has as many lines.
        assert_eq!(rows + lost as i64 * LINES, all, "{name}: {rows} rows, {lost} requests lost\n{}", shipwake.log());
        assert!(rows >= 2 * OF_A_LIFE, "{name}: what was committed is there");
        assert!(shipwake.log().contains("ERROR") && degraded(&shipwake).await != "[]", "{name}: {}", shipwake.log());
        send(&shipwake).await;
        shipwake.wait_number(ALL, rows + OF_A_LIFE).await;
        assert!(shipwake.terminate().0.success(), "{name}");
        let shipwake = start_with(&data, &[]).await;
        assert_eq!(shipwake.number(ALL).await, rows + OF_A_LIFE, "{name}, started again");
    }
}

#[tokio::test]
async fn without_its_journal_the_store_goes_on_and_with_another_one_it_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let all = worked_in(&data, false).await;
    fs::remove_dir_all(data.join("journal")).expect("removed");
    let shipwake = start_with(&data, &[]).await;
    assert_eq!(shipwake.number(ALL).await, all);
    assert_eq!(shipwake.log().matches("a new one begins behind").count(), 1, "{}", shipwake.log());
    send(&shipwake).await;
    shipwake.wait_number(ALL, all + OF_A_LIFE).await;
    assert!(shipwake.terminate().0.success());

    let other = folder.path().join("other");
    worked_in(&other, false).await;
    fs::remove_dir_all(data.join("journal")).expect("removed");
    copy(&other.join("journal"), &data.join("journal"));
    let mut shipwake = crate::harness::spawn(&crate::harness::Start { data: &data, options: &[], ports: None });
    assert!(!shipwake.wait_exit().await.success());
    assert!(shipwake.log().contains("not the journal that the store beside it was made from"), "{}", shipwake.log());
}
