//! What a commit publishes, what readers see of it, and what becomes of it with time.

mod common;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use common::{SECOND, START, config, log_commit, open, rows, scratch};
use prometheus_client::registry::Registry;
use shipwake_store::{Commit, HotRows, SegmentFile, Store, StoreError, Table};

const EVER: std::ops::Range<i64> = i64::MIN..i64::MAX;

fn chunk(rows: shipwake_store::RowChunk) -> Vec<HotRows> {
    vec![HotRows::Chunk(Arc::new(rows))]
}

fn of_table(files: &[SegmentFile], table: Table) -> Vec<&SegmentFile> {
    files.iter().filter(|file| file.table == table).collect()
}

#[test]
fn a_commit_is_there_after_a_restart_with_state_position_and_rows_of_every_table() {
    let dir = scratch();
    let committed = {
        let store = open(dir.path());
        let (mut committer, recovered) = store.open_shard(0).expect("opens");
        assert!(recovered.is_none());
        let mut commit = log_commit(10, 100);
        commit.rows.extend([
            (Table::Spans, chunk(rows::spans(START, 30))),
            (Table::Points, chunk(rows::points(START, 20))),
            (Table::Windows, vec![HotRows::Batch(rows::windows(START + 600 * SECOND, 10, 12))]),
            (Table::Windows1s, vec![HotRows::Batch(rows::windows(START, 1, 5))]),
        ]);
        committer.commit(commit).expect("commits")
    };
    let store = open(dir.path());
    let (_, recovered) = store.open_shard(0).expect("opens");
    let recovered = recovered.expect("has a commit");
    assert_eq!((recovered.next_offset, recovered.seq), (10, 0));
    assert_eq!((recovered.state.as_ref(), recovered.watermark_ns), (&b"state at 10"[..], START + 9 * SECOND));
    assert_eq!(format!("{:?}", recovered.files), format!("{committed:?}"));
    for (table, expected) in Table::ALL.into_iter().zip([100, 30, 20, 12, 5]) {
        let files = of_table(&recovered.files, table);
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), expected, "{table}");
        let batches = store.read_segment(files[0], None, EVER).expect("reads");
        assert_eq!(batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>(), expected, "{table}");
        assert_eq!(batches[0].schema(), table.schema());
    }
}

#[test]
fn rows_are_sorted_by_service_version_and_time_and_keep_their_resource() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let mut commit = log_commit(10, 1000);
    let as_batch = rows::logs(START + SECOND, 500).to_batch(None);
    commit.rows.push((Table::Logs, vec![HotRows::Batch(as_batch)]));
    let files = committer.commit(commit).expect("commits");
    assert_eq!((files.len(), files[0].rows), (1, 1500));
    let batches =
        store.read_segment(&files[0], Some(&["service", "version", "time", "instance"]), EVER).expect("reads");
    let batch = concat_batches(&batches[0].schema(), &batches).expect("the same columns");
    let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
    let times = batch.column(2).as_primitive::<TimestampNanosecondType>();
    let keys: Vec<_> = (0..1500).map(|row| (text(0, row), text(1, row), times.value(row))).collect();
    assert!(keys.is_sorted());
    for row in 0..1500 {
        let expected = match (text(0, row).as_str(), text(1, row).as_str()) {
            ("search", "2.1") => "pod-0",
            ("search", "2.0") => "pod-1",
            ("checkout", "2.1") => "pod-2",
            _ => "pod-3",
        };
        assert_eq!(text(3, row), expected);
    }
    assert_eq!((files[0].time_min_ns, files[0].time_max_ns), extent(&keys));
}

fn extent(keys: &[(String, String, i64)]) -> (i64, i64) {
    let times = || keys.iter().map(|key| key.2);
    (times().min().expect("rows"), times().max().expect("rows"))
}

#[test]
fn stored_rows_are_the_hot_rows() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let hot = rows::logs(START + SECOND, 200);
    let commit = Commit { next_offset: 1, rows: vec![(Table::Logs, chunk(hot.clone()))], ..Commit::default() };
    let files = committer.commit(commit).expect("commits");
    let stored = store.read_segment(&files[0], None, EVER).expect("reads");
    let lines = |batches: &[RecordBatch]| {
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        batches.iter().for_each(|batch| writer.write(&with_plain_times(batch)).expect("formats"));
        let text = String::from_utf8(writer.into_inner()).expect("is text");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 200);
        lines.sort();
        lines
    };
    assert_eq!(lines(&stored), lines(&[hot.to_batch(None)]));
}

/// Times as numbers: without its database of time zones Arrow cannot print them.
fn with_plain_times(batch: &RecordBatch) -> RecordBatch {
    let plain = |column: &ArrayRef| match column.as_primitive_opt::<TimestampNanosecondType>() {
        Some(times) => Arc::new(times.reinterpret_cast::<Int64Type>()) as ArrayRef,
        None => column.clone(),
    };
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    RecordBatch::try_from_iter(names.zip(batch.columns().iter().map(plain))).expect("the columns are as long")
}

#[test]
fn a_projection_of_hot_rows_keeps_its_order_and_may_be_empty() {
    let hot = rows::logs(START, 7);
    let schema = Table::Logs.schema();
    let columns = [schema.index_of("body").expect("is there"), schema.index_of("service").expect("is there")];
    let batch = hot.to_batch(Some(&columns));
    assert_eq!((batch.schema().field(0).name().as_str(), batch.schema().field(1).name().as_str()), ("body", "service"));
    assert_eq!((hot.to_batch(Some(&[])).num_rows(), hot.to_batch(None).schema()), (7, schema));
}

#[test]
fn rows_of_another_table_or_schema_are_refused_and_nothing_is_published() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let wrong =
        [(Table::Logs, chunk(rows::spans(START, 3))), (Table::Logs, vec![HotRows::Batch(rows::windows(START, 10, 3))])];
    for rows in wrong {
        let error = committer.commit(Commit { rows: vec![rows], ..log_commit(5, 1) }).expect_err("refuses");
        assert!(matches!(error, StoreError::Rows { table: "logs", .. }), "{error}");
    }
    assert!(committer.files().is_empty());
    committer.commit(log_commit(5, 1)).expect("goes on");
}

#[test]
fn only_rows_and_columns_that_were_asked_for_are_read() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let start = START + 1800 * SECOND;
    let commit = Commit {
        next_offset: 1,
        rows: vec![(Table::Windows, vec![HotRows::Batch(rows::windows(start, 10, 60))])],
        ..Commit::default()
    };
    let files = committer.commit(commit).expect("commits");
    let last_minute = start - 50 * SECOND..start + SECOND;
    let batches = store.read_segment(&files[0], Some(&["count", "version"]), last_minute).expect("reads");
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 6);
    assert_eq!(batches[0].schema().field(0).name(), "count");
    let none = store.read_segment(&files[0], None, start + SECOND..start + 2 * SECOND).expect("reads");
    assert!(none.is_empty());
}

#[test]
fn segments_are_dropped_when_their_retention_is_over() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let mut first = log_commit(1, 10);
    first.rows.push((Table::Windows1s, vec![HotRows::Batch(rows::windows(START, 1, 5))]));
    assert_eq!(committer.commit(first).expect("commits").len(), 2);
    let after = |next_offset, seconds| Commit { commit_ns: START + seconds * SECOND, ..log_commit(next_offset, 10) };
    let files = committer.commit(after(2, 16 * 60 + 2)).expect("commits");
    assert_eq!((of_table(&files, Table::Windows1s).len(), of_table(&files, Table::Logs).len()), (0, 2));
    let files = committer.commit(after(3, 15 * 24 * 3600)).expect("commits");
    assert_eq!(files.iter().map(|file| file.id.seq).collect::<Vec<_>>(), [2]);
}

#[test]
fn rows_of_each_window_have_a_segment_and_a_few_of_many_windows_share_one() {
    const WINDOW: i64 = 900 * SECOND;
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let logs =
        |windows: i64, count: usize| HotRows::Chunk(Arc::new(rows::logs(START + windows * WINDOW + SECOND, count)));
    let mut wild: Vec<HotRows> = (10..60).map(|window| logs(window, 1)).collect();
    wild.extend([logs(0, 500), logs(1, 400), logs(2, 3)]);
    let commit = Commit { next_offset: 1, rows: vec![(Table::Logs, wild)], commit_ns: START, ..Commit::default() };
    let files = committer.commit(commit).expect("commits");
    let seen: Vec<_> =
        files.iter().map(|file| (file.id.part, file.rows, file.window.map(|window| window.start_ns - START))).collect();
    assert_eq!(seen, [(0, 500, Some(0)), (1, 400, Some(WINDOW)), (2, 53, None)]);
    let hours = HotRows::Batch(rows::windows(START + 3599 * SECOND, 10, 300));
    let commit = Commit { next_offset: 2, rows: vec![(Table::Windows, vec![hours])], ..Commit::default() };
    let files = committer.commit(commit).expect("commits");
    assert_eq!(of_table(&files, Table::Windows).len(), 1, "windows are kept apart by the hour");
    drop((store, committer, files));
    assert_eq!(shipwake_store::check(dir.path()).findings, []);
}

#[test]
fn a_dropped_segment_can_be_read_until_its_grace_is_over_and_nobody_holds_it() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let files = committer.commit(log_commit(1, 10)).expect("commits");
    let held = files[0].clone();
    drop(files);
    let dropped = Commit { drop: vec![held.id], ..log_commit(2, 10) };
    assert!(committer.commit(dropped).expect("commits").iter().all(|file| file.id != held.id));
    let on_disk = || dir.path().join(&*held.path).exists();
    committer.commit(log_commit(50, 1)).expect("commits");
    assert!(on_disk(), "within its grace");
    committer.commit(log_commit(100, 1)).expect("commits");
    assert!(on_disk() && store.read_segment(&held, None, EVER).is_ok(), "somebody holds it");
    let path = dir.path().join(&*held.path);
    drop(held);
    committer.commit(log_commit(101, 1)).expect("commits");
    assert!(!path.exists());
}

#[test]
fn of_two_committers_one_is_fenced_and_the_other_loses_nothing() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut old, _) = store.open_shard(0).expect("opens");
    old.commit(log_commit(1, 10)).expect("commits");
    let (mut new, recovered) = store.open_shard(0).expect("opens");
    assert_eq!(recovered.expect("has a commit").next_offset, 1);
    new.commit(log_commit(2, 20)).expect("the new one commits");
    let error = old.commit(log_commit(2, 10)).expect_err("the old one is fenced");
    assert!(matches!(error, StoreError::Fenced { shard: 0, seq: 1 }), "{error}");
    let files = new.commit(log_commit(3, 30)).expect("the new one goes on");
    let rows: Vec<u64> = files.iter().map(|file| file.rows).collect();
    assert_eq!(rows, [10, 20, 30]);
    for file in files.iter() {
        store.read_segment(file, None, EVER).expect("reads");
    }
}

#[test]
fn a_shard_that_is_committed_to_while_it_is_read_is_read_again() {
    let dir = scratch();
    let mut failing = None;
    let store = Store::open_with(config(dir.path()), &mut Registry::default(), |local| {
        let wrapped = common::failing::Failing::new(local);
        failing = Some(wrapped.clone());
        wrapped
    });
    let (store, failing) = (store.expect("opens"), failing.expect("is wrapped"));
    let (mut committer, _) = store.open_shard(0).expect("opens");
    committer.commit(log_commit(1, 10)).expect("commits");
    failing.interrupt("state/0/", move || {
        // The last of them removes the state that is just about to be read.
        for offset in 2..5 {
            committer.commit(log_commit(offset, 1)).expect("commits");
        }
    });
    let (_new, recovered) = store.open_shard(0).expect("what was removed meanwhile is no damage");
    assert_eq!(recovered.expect("has commits").next_offset, 4);
}

#[test]
fn whoever_takes_a_shard_over_fences_the_writer_before_with_the_same_state_and_files() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut old, _) = store.open_shard(0).expect("opens");
    assert!(old.take_over(START).is_err(), "there is nothing to take over yet");
    old.commit(log_commit(1, 10)).expect("commits");
    let (mut new, _) = store.open_shard(0).expect("opens");
    new.take_over(START).expect("takes over");
    assert_eq!((new.seq(), new.files().len()), (Some(1), 1));
    let error = old.commit(log_commit(2, 10)).expect_err("the old one is fenced");
    assert!(matches!(error, StoreError::Fenced { shard: 0, seq: 1 }), "{error}");
    let (_again, recovered) = store.open_shard(0).expect("opens");
    let recovered = recovered.expect("has commits");
    assert_eq!((recovered.next_offset, recovered.state.as_ref()), (1, b"state at 1".as_ref()));
    // Both manifests name one state: it stays for as long as one of the last two commits has it.
    let path = |seq: u64| dir.path().join(format!("state/0/{seq:020}.bin"));
    new.commit(log_commit(2, 1)).expect("commits");
    assert!(path(0).exists());
    new.commit(log_commit(3, 1)).expect("commits");
    assert!(!path(0).exists() && path(2).exists() && path(3).exists());
}

#[test]
fn shards_do_not_see_each_other() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut one, _) = store.open_shard(1).expect("opens");
    let (mut ten, _) = store.open_shard(10).expect("opens");
    one.commit(log_commit(1, 10)).expect("commits");
    ten.commit(log_commit(7, 20)).expect("commits");
    drop((store, one, ten));
    let store = open(dir.path());
    let (_a, one) = store.open_shard(1).expect("opens");
    let (_b, ten) = store.open_shard(10).expect("opens");
    assert_eq!((one.expect("is there").next_offset, ten.expect("is there").next_offset), (1, 7));
}

#[test]
fn a_long_history_is_opened_by_reading_few_manifests_and_old_ones_are_removed() {
    let dir = scratch();
    {
        let store = open(dir.path());
        let (mut committer, _) = store.open_shard(0).expect("opens");
        for offset in 1..=300 {
            committer.commit(log_commit(offset, 1)).expect("commits");
        }
        let manifests = std::fs::read_dir(dir.path().join("manifest/0")).expect("lists").count();
        assert_eq!(manifests, 300 - 192, "two full snapshots and what follows them");
        assert_eq!(std::fs::read_dir(dir.path().join("state/0")).expect("lists").count(), 2);
    }
    let mut failing = None;
    let store = Store::open_with(config(dir.path()), &mut Registry::default(), |local| {
        let counting = common::failing::Failing::new(local);
        failing = Some(counting.clone());
        counting
    });
    let store = store.expect("opens");
    let (_committer, recovered) = store.open_shard(0).expect("opens");
    assert_eq!(recovered.expect("is there").files.len(), 300);
    let gets = failing.expect("is wrapped").gets.load(std::sync::atomic::Ordering::Relaxed);
    assert!(gets <= 64 + 1, "{gets} objects read");
}

#[test]
fn metrics_count_live_segments_by_table() {
    let dir = scratch();
    let mut registry = Registry::default();
    let store = Store::open(config(dir.path()), &mut registry).expect("opens");
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let files = committer.commit(log_commit(1, 10)).expect("commits");
    committer.commit(Commit { drop: vec![files[0].id], ..log_commit(2, 10) }).expect("commits");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
    assert!(text.contains("shipwake_segments{table=\"logs\"} 1"), "{text}");
    assert!(text.contains("shipwake_commit_seconds_count 2"), "{text}");
}
