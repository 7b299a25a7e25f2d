//! Files are damaged on the disk of a stopped program: bits flip, ends are cut off, pieces turn to zeros. The program starts all the same, what
//! it then says and serves is true, and `shipwake doctor` names the file. (F4 of `docs/faults.md`; `lib/store/tests/damage.rs` and
//! `lib/journal/tests/damage.rs` do the same a hundred times as often, without the program)

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::chance::{chances, rounds};
use crate::harness::{Shipwake, Start, eventually, free_ports, spawn};
use crate::load::{Load, doctor};
use crate::old_lines::OldLines;

/// Files by what is in them: how their names end, and what of the path besides.
const KINDS: [(&str, &str, &str); 8] = [
    ("journal", "/journal/p", ".log"),
    ("journal's own file", "/journal/", "JOURNAL"),
    ("superblock", "/store/", "SUPERBLOCK"),
    ("manifest", "/store/manifest/", ".json"),
    ("state", "/store/state/", ".bin"),
    ("segment", "/store/data/", ".parquet"),
    ("blooms", "/store/data/", ".blooms"),
    ("index", "/store/data/", ".index"),
];

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_and_never_answered_from() {
    let mut random = chances("damage");
    let folder = tempfile::tempdir().expect("a folder");
    let original = folder.path().join("original");
    let whole = worked_in(&original).await;
    for round in 0..rounds(8, 200) {
        let (kind, part, ending) = KINDS[round as usize % KINDS.len()];
        let data = folder.path().join(format!("round-{round}"));
        copy(&original, &data);
        let candidates: Vec<PathBuf> = files(&data)
            .into_iter()
            .filter(|path| {
                let text = path.to_string_lossy();
                text.contains(part) && text.ends_with(ending) && fs::metadata(path).is_ok_and(|found| found.len() > 0)
            })
            .collect();
        let victim = candidates.choose(&mut random).unwrap_or_else(|| panic!("there is no {kind}")).clone();
        let how = damage(&victim, &mut random);
        println!("{round}: {kind} {}: {how}", victim.display());
        let name = victim.file_name().expect("a name").to_string_lossy().into_owned();
        let (code, said) = doctor(&data);
        let is_named = said.lines().any(|line| line.contains(&name));
        assert!(is_named || code == Some(0) && is_of_no_matter(&victim), "{how} of {kind} {name}: {code:?} {said}");
        served_truly(&data, &name, &whole, &how).await;
        fs::remove_dir_all(&data).expect("removed");
    }
}

/// A mark of the journal says that what is before it is on disk, in case that it is torn; without it the record is there all the same.
/// Files that no manifest lists any more are not read, but for older manifests.
fn is_of_no_matter(victim: &Path) -> bool {
    let text = victim.to_string_lossy();
    text.contains("/journal/p") || text.contains("/store/state/") || text.contains("/store/data/")
}

/// What a whole folder answers.
#[derive(Debug, PartialEq)]
struct Answers {
    rows: i64,
    bodies: i64,
    windows: i64,
}

/// The answers, and what they say that they lack.
async fn ask(shipwake: &Shipwake) -> (Answers, String) {
    let mut warnings = String::new();
    let mut numbers = [0; 3];
    let questions = [
        "select count(*) from logs where body is not null and length(body) > 0",
        "select count(distinct body) from logs where matches(body, 'order placed')",
        "select sum(count) from windows where resolution_s = 60 and signal = 'requests' and length(metric) >= 0",
    ];
    for (number, question) in numbers.iter_mut().zip(questions) {
        let (status, answer) = shipwake.sql_answer(question).await;
        assert_eq!(status, 200, "{answer}");
        *number = answer["rows"][0][0].as_i64().unwrap_or(0);
        warnings += &answer["meta"]["warnings"].to_string();
    }
    let [rows, bodies, windows] = numbers;
    (Answers { rows, bodies, windows }, warnings)
}

/// The program starts. Every answer is right, or lacks what the log and the answer say it lacks; nothing is counted twice, and nothing that
/// never was. Only a segment and the journal can cost anything: what else there is is said by others too.
async fn served_truly(data: &Path, name: &str, whole: &Answers, how: &str) {
    let shipwake = spawn(&Start { data, options: &["--commit-seconds", "600"], ports: None });
    shipwake.wait_ready().await;
    let (answers, warnings) = ask(&shipwake).await;
    let log = shipwake.log();
    if answers == *whole {
        return;
    }
    let is_part = answers.rows <= whole.rows && answers.bodies <= whole.bodies && answers.windows <= whole.windows;
    assert!(is_part, "{how} of {name}: {answers:?} instead of {whole:?}: {log}");
    assert!(log.contains("ERROR") && log.contains(name), "{how} of {name}: {log}");
    if name.ends_with(".parquet") {
        assert!(warnings.contains(name), "{how} of {name}: {warnings}");
        let missing = shipwake.metric("shipwake_store_damaged_rows", "\"logs\"").await as i64;
        assert_eq!(answers.rows + missing, whole.rows, "{how} of {name}: {missing} are said to be missing");
    } else {
        assert!(name.ends_with(".log"), "{how} of {name}: {answers:?} instead of {whole:?}: {log}");
        assert!(shipwake.metric("shipwake_journal_lost_records_total", "").await > 0.0, "{how} of {name}: {log}");
    }
}

/// A folder with files of every kind, and records that are in the journal only; and what it answers.
async fn worked_in(data: &Path) -> Answers {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let ports = free_ports();
    let options = ["--commit-seconds", "1", "--partitions", "1"];
    let start = Start { data, options: &options, ports: Some(ports) };
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let load = Load::start(ports, &elsewhere.path().join("oracle"), "grpc", "500/s");
    let old_lines = OldLines::start(ports[1]);
    eventually("there is a full-text index", || {
        std::future::ready(
            files(data).iter().any(|path| path.extension().is_some_and(|end| end == "index")).then_some(()),
        )
    })
    .await;
    load.wait_acknowledged(20).await;
    load.stop().await;
    old_lines.stop(&shipwake).await;
    shipwake.kill();
    // Another life, whose records are committed by nobody.
    let options = ["--commit-seconds", "600", "--partitions", "1"];
    let shipwake = spawn(&Start { data, options: &options, ports: Some(ports) });
    shipwake.wait_ready().await;
    let load = Load::start(ports, &elsewhere.path().join("another"), "grpc", "500/s");
    load.wait_acknowledged(20).await;
    load.stop().await;
    crate::load::accounted(&shipwake).await;
    let (answers, _) = ask(&shipwake).await;
    shipwake.kill();
    answers
}

/// Does one of the things that disks do; gives its description.
fn damage(path: &Path, random: &mut StdRng) -> String {
    let mut bytes = fs::read(path).expect("read");
    let at = random.random_range(0..bytes.len());
    let how = match random.random_range(0..4) {
        0 | 1 => {
            let bit = random.random_range(0..8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        2 => {
            bytes.truncate(at);
            format!("cut off at byte {at}")
        }
        _ => {
            let end = (at + random.random_range(1..5_000)).min(bytes.len());
            if bytes[at..end].iter().all(|byte| *byte == 0) {
                bytes[at] = 1;
            } else {
                bytes[at..end].fill(0);
            }
            format!("zeros from byte {at} to {end}")
        }
    };
    fs::write(path, bytes).expect("written");
    how
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp exists");
    assert!(status.success());
}
