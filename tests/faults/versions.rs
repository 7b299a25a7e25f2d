//! Data folders of every format are kept, each with the oracle of the run that wrote it, and must open with all of it; what a newer
//! Shipwake wrote is refused in words and left as it is. (F20 of `docs/faults.md`)
//!
//! A folder was made so: `serve --commit-seconds 3 --partitions 2`, `load --rate 150/s --duration 4s --batch 30 --cardinality 20
//! --record-bytes 200 --run golden --oracle …`, `kill -9` a moment later, so that a part of it is in the journal only. A new format gets
//! a folder of its own; those that are there are never changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Start, spawn};
use crate::load::{Load, doctor, judge, terminate};

/// Keeps everything: the folders get older.
const RETENTION: &str = "[retention]\nlogs_days = 3650\nspans_days = 3650\npoints_days = 3650\nwindows_days = 3650\n\
                         windows_60s_days = 3650\nwindows_10s_days = 3650\n";

fn unpack(format: u32, to: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/faults/golden/format-{format}.tgz"));
    let status = Command::new("tar").arg("-xzf").arg(golden).arg("-C").arg(to).status();
    assert!(status.expect("tar exists").success());
}

/// From an old folder to this version, with a kill right after the start, then live telemetry into it, and once more.
async fn opens_and_goes_on(format: u32) {
    let folder = tempfile::tempdir().expect("a folder");
    unpack(format, folder.path());
    let (data, oracle, config) =
        (folder.path().join("data"), folder.path().join("oracle"), folder.path().join("config"));
    fs::write(&config, RETENTION).expect("written");
    let (code, said) = doctor(&data);
    assert_eq!(code, Some(0), "{said}");
    let options = ["--config", config.to_str().expect("text"), "--commit-seconds", "1"];
    let start = Start { data: &data, options: &options, ports: None };

    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    judge(&shipwake, &oracle).await;
    shipwake.kill();

    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let more = folder.path().join("more");
    let load = Load::start(shipwake.ports(), &more, "http", "500/s");
    load.wait_acknowledged(30).await;
    load.stop().await;
    assert!(terminate(shipwake).await.0.success());

    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    judge(&shipwake, &oracle).await;
    judge(&shipwake, &more).await;
    assert!(terminate(shipwake).await.0.success());
    let (code, said) = doctor(&data);
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_format_1_opens_with_all_that_was_acknowledged_and_goes_on() {
    opens_and_goes_on(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_format_2_opens_with_all_that_was_acknowledged_and_goes_on() {
    opens_and_goes_on(2).await;
}

/// Every file below a folder with its bytes, but for the locks, which name a process.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.append(&mut contents(&path));
        } else if !path.ends_with("LOCK") && !path.ends_with("PROCESS") {
            found.insert(path.clone(), fs::read(&path).expect("read"));
        }
    }
    found
}

#[tokio::test]
async fn a_folder_of_a_newer_shipwake_is_refused_in_words_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    unpack(2, folder.path());
    let data = folder.path().join("data");
    // Both copies say that a reader has to know version 77.
    let superblock = data.join("store/SUPERBLOCK");
    let mut copy = fs::read(&superblock).expect("read")[..60].to_vec();
    (copy[8], copy[12]) = (77, 77);
    copy.extend(crc32c::crc32c(&copy).to_le_bytes());
    fs::write(&superblock, copy.repeat(2)).expect("written");
    let before = contents(&data);
    let mut shipwake = spawn(&Start { data: &data, options: &[], ports: None });
    let status = shipwake.wait_exit().await;
    assert_eq!(status.code(), Some(1), "{}", shipwake.log());
    let log = shipwake.log();
    assert!(log.contains("format version 77") && log.contains("use a newer shipwake"), "{log}");
    let (code, said) = doctor(&data);
    assert!(code == Some(1) && said.contains("format version 77"), "{code:?} {said}");
    assert!(contents(&data) == before, "something was changed");
}
