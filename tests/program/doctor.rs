//! What `serve` has to go on without, `doctor` finds: both are asked about the same damaged folders, and both name the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Shipwake, start};
use crate::otlp::{logs, post, resource};

/// The answer of `shipwake doctor`: whether it found nothing, and what it said.
fn doctor(data: &Path) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_shipwake")).args(["doctor", "--data"]).arg(data).output();
    let out = out.expect("it runs");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

/// The segments of the journal that hold records, largest last.
fn segments(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for partition in fs::read_dir(data.join("journal")).into_iter().flatten().flatten() {
        let files = fs::read_dir(partition.path()).into_iter().flatten().flatten();
        found.extend(files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "log")));
    }
    found.sort_by_key(|path| used_bytes(path));
    found
}

/// Length of a segment without the zeros that are kept ready behind it.
fn used_bytes(path: &Path) -> usize {
    fs::read(path).expect("read").iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp exists");
    assert!(status.success());
}

async fn send(shipwake: &Shipwake) {
    for service in ["a", "b", "c", "d"] {
        for n in 0..20 {
            let body = format!("record {n}");
            post(&shipwake.http(), "logs", &logs(resource(service, "1", "a"), &[body.as_str(); 20])).await;
        }
    }
}

/// A folder after a run that has stopped in order: all records are committed.
async fn stopped_folder(data: &Path) {
    let shipwake = start(data).await;
    send(&shipwake).await;
    assert!(shipwake.terminate().0.success());
    let (whole, said) = doctor(data);
    assert!(whole && said.contains("nothing is damaged"), "{said}");
}

async fn named_by_both(name: &str, data: &Path, file: &str) {
    let (whole, said) = doctor(data);
    assert!(!whole, "{name}: doctor says {said}");
    assert!(said.contains("error: ") && said.contains(file) && said.contains("offset"), "{name}: {said}");
    let shipwake = start(data).await;
    assert!(shipwake.log().contains("ERROR") && shipwake.log().contains("journal"), "{name}: {}", shipwake.log());
    // All of it was committed.
    assert_eq!(shipwake.number("select count(*) % 1600 from logs").await, 0, "{name}");
    assert!(shipwake.terminate().0.success(), "{name}");
}

#[tokio::test]
async fn doctor_finds_every_journal_that_serve_goes_on_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let original = folder.path().join("original");
    stopped_folder(&original).await;
    let damaged = |name: &str| {
        let data = folder.path().join(name);
        copy(&original, &data);
        data
    };

    let data = damaged("newest-segment-gone");
    let newest = segments(&data).pop().expect("a segment");
    fs::remove_file(&newest).expect("removed");
    named_by_both("newest segment gone", &data, ".json").await;

    let data = damaged("truncated");
    let newest = segments(&data).pop().expect("a segment");
    let file = fs::OpenOptions::new().write(true).open(&newest).expect("opened");
    file.set_len(used_bytes(&newest) as u64 / 2).expect("cut");
    drop(file);
    named_by_both("truncated in the middle", &data, &newest.file_name().expect("a name").to_string_lossy()).await;

    let data = damaged("journal-gone");
    fs::remove_dir_all(data.join("journal")).expect("removed");
    named_by_both("whole journal gone", &data, ".json").await;

    // A journal from a backup, beside a store that went on.
    let data = damaged("older-journal");
    stopped_folder(&data).await;
    fs::remove_dir_all(data.join("journal")).expect("removed");
    copy(&original.join("journal"), &data.join("journal"));
    named_by_both("manifest ahead of the journal", &data, ".json").await;
}
