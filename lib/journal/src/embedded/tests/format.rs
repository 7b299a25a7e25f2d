//! Directories that older versions have written must open for ever. Each lies in `tests/format-N`, made once by the
//! code of its time, with segments named `p0-BASE.segment` (the version control ignores `*.log`).

use std::fs;
use std::path::{Path, PathBuf};

use super::{open, small};
use crate::conformance::{read_all, record};
use crate::embedded::{check, recover};
use crate::journal::{Journal, Record};

/// Set it to a path to write the directory of the present version there.
const WRITE_TO: &str = "SHIPWAKE_JOURNAL_WRITE_FORMAT";

fn kept(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/format-{version}"))
}

/// Raw and compressed, empty and not, with and without hash, in sealed segments and in one that is not.
fn expected() -> Vec<Record> {
    (0..60u64).map(|number| record(0, number, (number as usize * 37) % 900)).collect()
}

#[tokio::test]
async fn a_directory_of_format_1_opens() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("p0")).unwrap();
    for entry in fs::read_dir(kept(1)).unwrap() {
        let from = entry.unwrap().path();
        let name = from.file_name().unwrap().to_str().unwrap();
        let to = match name.strip_prefix("p0-").and_then(|name| name.strip_suffix(".segment")) {
            Some(base) => format!("p0/{base}.log"),
            None => name.to_owned(),
        };
        fs::copy(&from, dir.path().join(to)).unwrap();
    }
    assert_eq!(check(dir.path()).unwrap().findings, []);
    assert_eq!(recover::list(&dir.path().join("p0")).unwrap().len(), 3);
    let journal = open(small(dir.path())).unwrap();
    let found = read_all(&journal, 0, 0).await.unwrap();
    let found: Vec<Record> = found
        .iter()
        .map(|stored| Record { partition: 0, header: stored.header.clone(), value: stored.value.clone() })
        .collect();
    assert_eq!(found, expected());
    assert_eq!(journal.append(vec![record(0, 60, 10)]).await.unwrap()[0].offset, 60);
}

/// Writes the directory of the present version when asked to.
#[tokio::test]
async fn write_the_present_format() {
    let Some(to) = std::env::var_os(WRITE_TO).map(PathBuf::from) else { return };
    let dir = tempfile::tempdir().unwrap();
    let journal = open(small(dir.path())).unwrap();
    for record in expected() {
        journal.append(vec![record]).await.unwrap();
    }
    drop(journal);
    fs::create_dir_all(&to).unwrap();
    fs::copy(dir.path().join("JOURNAL"), to.join("JOURNAL")).unwrap();
    for segment in recover::list(&dir.path().join("p0")).unwrap() {
        fs::copy(&segment.path, to.join(format!("p0-{:020}.segment", segment.base_offset))).unwrap();
    }
}
