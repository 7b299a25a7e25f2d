//! Directories that cannot be used, disks that are full, files that are damaged: each has an error that names it.

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use common::{config, log_commit, open, scratch, try_open};
use object_store::ObjectStoreExt;
use prometheus_client::registry::Registry;
use shipwake_store::{Store, StoreConfig, StoreError};

const EVER: std::ops::Range<i64> = i64::MIN..i64::MAX;

#[test]
fn a_directory_in_use_names_the_process() {
    let dir = scratch();
    let _store = open(dir.path());
    match try_open(dir.path()) {
        Err(StoreError::InUse { path, pid }) => {
            assert_eq!((path.as_path(), pid), (dir.path(), std::process::id().to_string()));
        }
        other => panic!("{other:?}"),
    }
    assert!(shipwake_store::check(dir.path()).findings[0].what.contains("in use by process"));
}

#[test]
fn the_lock_is_held_until_the_last_committer_is_gone() {
    let dir = scratch();
    let store = open(dir.path());
    let (committer, _) = store.open_shard(0).expect("opens");
    drop(store);
    assert!(matches!(try_open(dir.path()), Err(StoreError::InUse { .. })));
    drop(committer);
    open(dir.path());
}

#[test]
fn a_directory_of_a_newer_format_is_refused_and_left_alone() {
    let dir = scratch();
    drop(open(dir.path()));
    let path = dir.path().join("SUPERBLOCK");
    let mut copy = fs::read(&path).expect("reads")[..60].to_vec();
    copy[8] = 3;
    copy[12] = 3;
    copy.extend(crc32c::crc32c(&copy).to_le_bytes());
    fs::write(&path, copy.repeat(2)).expect("writes");
    let error = try_open(dir.path()).expect_err("refuses");
    assert!(matches!(error, StoreError::TooNew { found: 3, known: 2, .. }), "{error}");
    assert_eq!(fs::read(&path).expect("reads")[..60], copy[..60]);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let dir = scratch();
    let mut wrong = config(dir.path());
    (wrong.retention.logs_ns, wrong.drop_grace_ns) = (0, -1);
    let error = Store::open(wrong, &mut Registry::default()).expect_err("refuses").to_string();
    assert!(error.contains("retention of logs") && error.contains("drop_grace_ns"), "{error}");
}

/// What is read of a segment, and only that, is checked before it is used, by whatever way it is read.
#[test]
fn damage_is_found_by_whoever_reads_it_and_named_with_its_offset() {
    let dir = scratch();
    let files = {
        let store = open(dir.path());
        let (mut committer, _) = store.open_shard(0).expect("opens");
        committer.commit(log_commit(1, 30_000)).expect("commits")
    };
    let (path, bytes) = (dir.path().join(&*files[0].path), files[0].bytes);
    let whole = fs::read(&path).expect("reads");
    let count = |batch: RecordBatch, rows: &mut usize| {
        *rows += batch.num_rows();
        ControlFlow::Continue(())
    };
    let by_columns = |store: &Arc<Store>, columns: &[&str]| -> Result<usize, StoreError> {
        let reader = store.open_segment(&files[0], &["service"])?;
        let mut rows = 0;
        (0..reader.groups().len())
            .try_for_each(|group| reader.read(group, columns, None, |batch| count(batch, &mut rows)))?;
        Ok(rows)
    };
    let by_objects = |store: &Arc<Store>| -> Result<(), String> {
        store.know_segment(&files[0]).map_err(|error| error.to_string())?;
        let (objects, location) = (store.object_store(), object_store::path::Path::from(&*files[0].path));
        let read =
            |from: u64| futures::executor::block_on(objects.get_range(&location, from..(from + 5000).min(bytes)));
        (0..bytes).step_by(5000).try_for_each(|from| read(from).map(drop)).map_err(|error| error.to_string())
    };
    // Of the first columns, of the last, of the sums or counts, of the footer.
    let (mut found, mut unseen, mut rows_found) = (0, 0, 0);
    for part in 0..40 {
        let at = (bytes as usize - 1) * part / 39;
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).expect("writes");
        let store = open(dir.path());
        let says = |error: String| {
            assert!(error.contains("data/logs/0-0-0-0-1.parquet is damaged: the checksum at offset"), "{error}");
        };
        // The filters of trace ids are not rows.
        match store.read_segment(&files[0], None, EVER) {
            Ok(batches) => assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 30_000),
            Err(error) => {
                says(error.to_string());
                rows_found += 1;
            }
        }
        says(by_objects(&store).expect_err("reads all of it"));
        match by_columns(&store, &["service", "version"]) {
            Ok(rows) => {
                assert_eq!(rows, 30_000);
                unseen += 1;
            }
            Err(error) => {
                says(error.to_string());
                found += 1;
            }
        }
        drop(store);
        let findings = shipwake_store::check(dir.path()).findings;
        assert!(
            findings.iter().any(|finding| finding.path == path && finding.what.starts_with("offset ")),
            "{findings:?}"
        );
    }
    assert!(found > 0 && unseen > 20 && rows_found > 35, "{found} found, {unseen} not read, {rows_found} in rows");
    fs::write(&path, &whole).expect("writes");
    let store = open(dir.path());
    assert_eq!(by_columns(&store, &["body", "attributes"]).expect("reads"), 30_000);
    by_objects(&store).expect("reads");
}

#[test]
fn the_lines_of_a_segment_are_counted_when_it_is_written() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let files = committer.commit(log_commit(1, 30_000)).expect("commits");
    let counts = store.counts(&files[0]).expect("reads").expect("lines are counted");
    assert_eq!(arrow::compute::sum(counts["lines"].as_primitive::<Int64Type>()), Some(30_000));
}

/// Runs the body of `test` again, in a mount namespace of its own, with a tmpfs of `bytes` bytes; `false` when this
/// process is already inside. Where namespaces are not allowed the test says so and passes.
fn inside_small_disk(test: &str, bytes: u64) -> Option<PathBuf> {
    const INSIDE: &str = "SHIPWAKE_STORE_TEST_DISK";
    if let Some(dir) = std::env::var_os(INSIDE) {
        return Some(dir.into());
    }
    let namespaces = ["-m", "-Urm"].into_iter().find(|flags| {
        let probe = Command::new("unshare").args([flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        probe.is_ok_and(|output| output.status.success())
    });
    let Some(flags) = namespaces else {
        eprintln!("not run: this system allows no mount namespaces");
        return None;
    };
    let dir = scratch();
    let script = format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && exec \"$@\"");
    let output = Command::new("unshare")
        .args([flags, "sh", "-c", &script])
        .arg(dir.path())
        .arg(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, dir.path())
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    None
}

#[test]
fn a_full_disk_is_a_clear_error_and_the_commit_works_once_there_is_space() {
    let Some(disk) =
        inside_small_disk("a_full_disk_is_a_clear_error_and_the_commit_works_once_there_is_space", 1 << 20)
    else {
        return;
    };
    let error = Store::open(StoreConfig::new(disk.join("store")), &mut Registry::default()).expect_err("too small");
    assert!(matches!(error, StoreError::Full { .. }), "{error}");

    let store = open(&disk.join("store"));
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(1, 100)).expect("commits");
    let filler = disk.join("filler");
    let mut zeros = vec![0; 1 << 20];
    while fs::write(&filler, &zeros).is_err() {
        zeros.truncate(zeros.len() - 4096);
    }
    for _attempt in 0..3 {
        let error = committer.commit(log_commit(2, 100)).expect_err("the disk is full");
        assert!(matches!(error, StoreError::Full { needed, .. } if needed > 0) && error.retryable(), "{error}");
        assert_eq!(committer.files().len(), 1);
        store.read_segment(&committer.files()[0], None, EVER).expect("what is stored can be read");
    }
    fs::remove_file(&filler).expect("removes");
    committer.commit(log_commit(3, 150)).expect("commits again");
    drop((committer, store));
    assert_eq!(shipwake_store::check(&disk.join("store")).findings, []);
    let store = open(&disk.join("store"));
    let (_committer, recovered) = store.open_shard(0).expect("opens");
    let recovered = recovered.expect("has commits");
    let rows: Vec<u64> = recovered.files.iter().map(|file| file.rows).collect();
    assert_eq!((recovered.next_offset, rows), (3, vec![100, 150]));
}

#[test]
fn a_read_only_directory_is_a_clear_error() {
    let Some(disk) = inside_small_disk("a_read_only_directory_is_a_clear_error", 1 << 20) else { return };
    let dir = disk.join("store");
    {
        let store = open(&dir);
        let (mut committer, _) = store.open_shard(0).expect("opens");
        committer.commit(log_commit(1, 10)).expect("commits");
    }
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().expect("mount runs");
    assert!(remounted.success());
    for dir in [dir, disk.join("another")] {
        let error = try_open(&dir).expect_err("refuses");
        let named = matches!(&error, StoreError::ReadOnly { path, .. } if path.starts_with(&dir));
        assert!(named && error.to_string().contains("Read-only file system"), "{error}");
    }
}
