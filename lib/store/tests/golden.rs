//! A data directory of every format version is kept and must open, with exactly the contents it was written with.
//!
//! A new format version gets a directory of its own beside the old ones: run this test with `SHIPWAKE_WRITE_GOLDEN=v2`
//! in the environment. The directories are never changed.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use common::{Lent, SECOND, START, log_commit, open, rows, scratch};
use shipwake_store::{Candidates, Commit, HotRows, Recovered, Severity, Table, Wanted};

fn golden(version: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

/// Commits of several tables and windows, what was compacted of them with blooms and index, and a shard besides.
fn write(dir: &Path) {
    let store = open(dir);
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let chunk = |rows| vec![HotRows::Chunk(Arc::new(rows))];
    for offset in 1..=4 {
        let mut wide = log_commit(offset, 8);
        let time_ns = START + 600 * SECOND;
        wide.rows.extend([
            (Table::Logs, chunk(rows::logs(time_ns + 900 * SECOND, 3))),
            (Table::Spans, chunk(rows::spans(time_ns, 4))),
            (Table::Points, chunk(rows::points(time_ns, 2))),
            (Table::Windows, vec![HotRows::Batch(rows::windows(time_ns, 10, 6))]),
            (Table::Windows1s, vec![HotRows::Batch(rows::windows(time_ns, 1, 1))]),
        ]);
        committer.commit(wide).expect("commits");
    }
    let lent = Lent::register(&store, committer.files());
    store.compact_now(START + 1300 * SECOND).expect("compacts");
    let mut last = log_commit(12, 2);
    last.rows.push((Table::Windows1s, vec![HotRows::Batch(rows::windows(START, 1, 1))]));
    lent.publish(committer.commit(last).expect("commits"));
    let (mut other, _) = store.open_shard(1).expect("opens");
    other.commit(log_commit(40, 1)).expect("commits");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

#[test]
fn a_directory_of_format_version_2_opens_with_its_contents() {
    if let Ok(version) = std::env::var("SHIPWAKE_WRITE_GOLDEN") {
        let dir = scratch();
        write(dir.path());
        let (to, written) = (golden(&version), dir.path());
        assert!(!to.exists(), "{} is there already and is never changed", to.display());
        // Segments that were replaced wait for their grace; the lock and temporary files are not part of the format.
        copy(written, &to);
        fs::remove_file(to.join("LOCK")).expect("removes");
        fs::remove_dir(to.join("tmp")).expect("removes");
    }
    opens_with_its_contents(&golden("v2-row-groups"), true);
    opens_with_its_contents(&golden("v2-words"), true);
    opens_with_its_contents(&golden("v2"), false);
}

/// The same version, from when the parts of a segment had got checksums of their own and lines were counted.
#[test]
fn a_directory_with_checksums_of_parts_opens_with_its_contents() {
    let recovered = opens_with_its_contents(&golden("v2-parts"), false);
    let compacted = recovered.files.iter().find(|file| file.index.is_some()).expect("is there");
    assert!(compacted.has_counts());
}

/// `has_words`: blooms and index are of the present version; else they are made again once a search has met them.
fn opens_with_its_contents(golden: &Path, has_words: bool) -> Recovered {
    let dir = scratch();
    copy(golden, dir.path());
    let store = open(dir.path());
    let (mut zero, recovered) = store.open_shard(0).expect("opens");
    let recovered = recovered.expect("has commits");
    assert_eq!((recovered.next_offset, recovered.seq, &recovered.state[..]), (12, 4, &b"state at 12"[..]));
    let rows = |table: Table| -> u64 {
        let files = recovered.files.iter().filter(|file| file.table == table);
        let batches = files.flat_map(|file| store.read_segment(file, None, i64::MIN..i64::MAX).expect("reads"));
        batches.map(|batch| batch.num_rows() as u64).sum()
    };
    assert_eq!(Table::ALL.map(rows), [46, 16, 8, 24, 1]);
    let compacted = recovered.files.iter().find(|file| file.index.is_some()).expect("is there");
    let start_ns = Some(START);
    assert_eq!((compacted.rows, compacted.level, compacted.window.map(|window| window.start_ns)), (32, 2, start_ns));
    let bodies = store.read_segment(compacted, Some(&["body"]), i64::MIN..i64::MAX).expect("reads");
    let wanted = Wanted::text(bodies[0].column(0).as_string::<i32>().value(5));
    assert!(store.candidates(compacted, &wanted).ranges(32).iter().any(|rows| rows.contains(&5)));
    assert_eq!(store.candidates(compacted, &Wanted::text("nowhere")).is_none(), has_words);
    if !has_words {
        assert_eq!(store.candidates(compacted, &Wanted::text("nowhere")), Candidates::All);
    }
    let counted: Vec<Option<i64>> = recovered
        .files
        .iter()
        .filter_map(|file| store.counts(file).expect("reads"))
        .map(|counts| arrow::compute::sum(counts["lines"].as_primitive::<Int64Type>()))
        .collect();
    let expected: Vec<Option<i64>> =
        recovered.files.iter().filter(|file| file.has_counts()).map(|file| Some(file.rows as i64)).collect();
    assert_eq!(counted, expected);
    let (_one, other) = store.open_shard(1).expect("opens");
    assert_eq!(other.expect("has a commit").next_offset, 40);
    if !has_words {
        let lent = Lent::register(&store, zero.files());
        store.compact_now(START + 1300 * SECOND).expect("compacts");
        let files = zero.commit(log_commit(13, 0)).expect("commits");
        lent.publish(files.clone());
        let again = files.iter().find(|file| file.index.is_some()).expect("is there");
        assert!(matches!(store.candidates(again, &wanted), Candidates::Rows(rows) if rows.contains(&5)));
        assert!(store.candidates(again, &Wanted::text("nowhere")).is_none());
    }
    drop((store, zero, _one));
    assert!(shipwake_store::check(dir.path()).findings.iter().all(|finding| finding.severity == Severity::Note));
    recovered
}

#[test]
fn a_directory_of_format_version_1_opens_with_its_contents_and_goes_on() {
    let dir = scratch();
    copy(&golden("v1"), dir.path());
    let store = open(dir.path());
    let (mut zero, recovered) = store.open_shard(0).expect("opens");
    let recovered = recovered.expect("has commits");
    assert_eq!((recovered.next_offset, recovered.seq, &recovered.state[..]), (12, 2, &b"state at 12"[..]));
    let rows: Vec<(Table, u64, u64)> =
        recovered.files.iter().map(|file| (file.table, file.id.seq, file.rows)).collect();
    let expected = [
        (Table::Logs, 1, 8),
        (Table::Spans, 1, 4),
        (Table::Points, 1, 2),
        (Table::Windows, 1, 6),
        (Table::Windows1s, 1, 1),
        (Table::Logs, 2, 2),
    ];
    assert_eq!(rows, expected);
    for file in recovered.files.iter() {
        store.read_segment(file, None, i64::MIN..i64::MAX).expect("reads");
    }
    assert_eq!(quantiles(&store, &recovered.files).null_count(), 2, "points had no such column then");
    let logs = store.read_segment(&recovered.files[0], None, i64::MIN..i64::MAX).expect("reads");
    let text = |name: &str| logs[0].column_by_name(name).expect("is there").as_string::<i32>().value(0).to_owned();
    assert_eq!((text("service"), text("version"), text("instance")), ("checkout".into(), "2.0".into(), "pod-3".into()));
    let (_one, recovered) = store.open_shard(1).expect("opens");
    assert_eq!(recovered.expect("has a commit").next_offset, 40);

    let lent = Lent::register(&store, zero.files());
    let later_ns = START + 24 * 3600 * SECOND;
    assert!(store.compact_now(later_ns).expect("compacts") > 0);
    let files = zero.commit(Commit { commit_ns: later_ns, ..log_commit(13, 0) }).expect("commits");
    lent.publish(files.clone());
    let logs: Vec<u64> = files.iter().filter(|file| file.table == Table::Logs).map(|file| file.rows).collect();
    assert_eq!(logs, [10]);
    assert!(files.iter().filter(|file| file.table == Table::Logs).all(|file| file.index.is_some()));
}

/// The column `quantiles` of the only segment of points.
fn quantiles(store: &shipwake_store::Store, files: &[shipwake_store::SegmentFile]) -> ArrayRef {
    let file = files.iter().find(|file| file.table == Table::Points).expect("is there");
    store.read_segment(file, None, i64::MIN..i64::MAX).expect("reads")[0]["quantiles"].clone()
}

#[test]
fn quantiles_of_points_are_kept_as_they_were_written() {
    let dir = scratch();
    copy(&golden("v1-quantiles"), dir.path());
    let store = open(dir.path());
    let (_zero, recovered) = store.open_shard(0).expect("opens");
    let column = quantiles(&store, &recovered.expect("has commits").files);
    // Rows are sorted by service: which of the two has the quantile is not what matters.
    let row = (0..2).find(|row| column.is_valid(*row)).expect("one of two has a quantile");
    let entries = column.as_map().value(row);
    assert_eq!((column.null_count(), entries.len()), (1, 1));
    let value = entries.column(1).as_primitive::<Float64Type>().value(0);
    assert_eq!((entries.column(0).as_string::<i32>().value(0), value), ("0.99", 1.0));
}
