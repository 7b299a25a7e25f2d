//! What becomes of segments with time: few large ones, with blooms and index, every row once, and nothing that has outlived its time.

mod common;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use arrow::util::display::array_value_to_string;
use common::{Lent, SECOND, START, config, log_commit, open, rows, scratch};
use prometheus_client::registry::Registry;
use shipwake_store::{
    Candidates, Commit, Compaction, HotRows, SegmentFile, ServiceRetention, Severity, ShardCommitter, Store,
    StoreConfig, Table, Wanted,
};

const EVER: std::ops::Range<i64> = i64::MIN..i64::MAX;
const HOUR: i64 = 3600 * SECOND;

/// Every row as its texts, in the order of the files.
fn lines(store: &Store, files: &[SegmentFile], table: Table) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| file.table == table) {
        for batch in store.read_segment(file, None, EVER).expect("reads") {
            lines.extend((0..batch.num_rows()).map(|row| line(&batch, row)));
        }
    }
    lines
}

fn line(batch: &RecordBatch, row: usize) -> String {
    let mut line = String::new();
    for column in batch.columns() {
        if let Some(texts) = column.as_string_opt::<i32>() {
            line += if texts.is_valid(row) { texts.value(row) } else { "-" };
        } else if let Some(times) = column.as_primitive_opt::<TimestampNanosecondType>() {
            line += &times.value(row).to_string();
        } else if let Some(map) = column.as_map_opt() {
            let entries = map.value(row);
            for entry in 0..entries.len() {
                line += entries.column(0).as_string::<i32>().value(entry);
                line += entries.column(1).as_string::<i32>().value(entry);
            }
        }
        line.push('|');
    }
    line
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Commits of so many log rows each, a second apart, within one window; the segments after them.
fn commits_of(committer: &mut ShardCommitter, rows: &[usize]) -> Arc<[SegmentFile]> {
    for (commit, rows) in (1..).zip(rows) {
        let chunk = rows::logs(START + (99 + commit) * SECOND, *rows);
        let rows = vec![(Table::Logs, vec![HotRows::Chunk(Arc::new(chunk))])];
        let next_offset = commit as u64;
        committer.commit(Commit { next_offset, commit_ns: START, rows, ..Commit::default() }).expect("commits");
    }
    committer.files()
}

/// Twelve commits of log rows within one window and a shard that lends them.
fn twelve_commits(store: &Store) -> (ShardCommitter, Arc<Lent>) {
    let (mut committer, _) = store.open_shard(0).expect("opens");
    for offset in 1..=12 {
        let mut commit = log_commit(offset * 60, 40);
        let time_ns = START + offset as i64 * 60 * SECOND;
        commit.rows.push((Table::Spans, vec![HotRows::Chunk(Arc::new(rows::spans(time_ns, 20)))]));
        commit.rows.push((Table::Windows, vec![HotRows::Batch(rows::windows(time_ns, 10, 6))]));
        commit.rows.push((Table::Windows1s, vec![HotRows::Batch(rows::windows(time_ns, 1, 3))]));
        committer.commit(commit).expect("commits");
    }
    let lent = Lent::register(store, committer.files());
    (committer, lent)
}

#[test]
fn a_window_that_is_over_becomes_one_sorted_segment_with_every_row_once() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, lent) = twelve_commits(&store);
    let before = committer.files();
    assert_eq!(store.compact_now(START + 800 * SECOND).expect("compacts"), 0, "the window is filling");
    assert!(!store.is_commit_wanted(0));
    assert!(store.compact_now(START + 3 * HOUR).expect("compacts") > 0);
    assert!(store.is_commit_wanted(0));
    assert_eq!(format!("{:?}", committer.files()), format!("{before:?}"), "nothing is published yet");

    let files = committer.commit(Commit { commit_ns: START + 3 * HOUR, ..log_commit(721, 0) }).expect("commits");
    lent.publish(files.clone());
    for table in [Table::Logs, Table::Spans, Table::Windows] {
        let of_table: Vec<&SegmentFile> = files.iter().filter(|file| file.table == table).collect();
        assert_eq!(of_table.len(), 1, "{table}");
        assert_eq!((of_table[0].level, of_table[0].first_offset, of_table[0].next_offset), (2, 0, 720));
        assert_eq!(of_table[0].committed_ns, START + 720 * SECOND, "its rows are kept as long as the newest");
        assert_eq!(of_table[0].index.is_some(), table == Table::Logs);
        assert_eq!(sorted(lines(&store, &files, table)), sorted(lines(&store, &before, table)), "{table}");
    }
    assert!(files.iter().all(|file| file.table != Table::Windows1s), "their time was over");
    assert_sorted(&store, files.iter().find(|file| file.table == Table::Logs).expect("is there"));
    assert_eq!(store.compact_now(START + 3 * HOUR).expect("compacts"), 0, "it is done");

    // A reader that holds what was listed before reads it as long as it likes.
    let later = Commit { commit_ns: START + 4 * HOUR, ..log_commit(722, 0) };
    committer.commit(later).expect("commits");
    assert_eq!(lines(&store, &before, Table::Logs).len(), 480);
    let old: Vec<_> = before.iter().map(|file| dir.path().join(&*file.path)).collect();
    drop(before);
    committer.commit(Commit { commit_ns: START + 5 * HOUR, ..log_commit(723, 0) }).expect("commits");
    assert!(old.iter().all(|path| !path.exists()));
    let in_folder = std::fs::read_dir(dir.path().join("data/logs")).expect("lists").count();
    assert_eq!(in_folder, 3, "a segment, its blooms, its index");
    drop((store, committer, files, lent));
    assert_eq!(shipwake_store::check(dir.path()).findings, []);
}

fn assert_sorted(store: &Store, file: &SegmentFile) {
    let mut keys = Vec::new();
    for batch in store.read_segment(file, Some(&["service", "version", "time"]), EVER).expect("reads") {
        let times = batch.column(2).as_primitive::<TimestampNanosecondType>();
        let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
        keys.extend((0..batch.num_rows()).map(|row| (text(0, row), text(1, row), times.value(row))));
    }
    assert!(keys.is_sorted());
    let times = || keys.iter().map(|key| key.2);
    assert_eq!((times().min(), times().max()), (Some(file.time_min_ns), Some(file.time_max_ns)));
}

#[test]
fn blooms_and_index_rule_out_rows_and_never_one_that_matches() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, lent) = twelve_commits(&store);
    let before = committer.files();
    store.compact_now(START + 3 * HOUR).expect("compacts");
    let files = committer.commit(Commit { commit_ns: START + 3 * HOUR, ..log_commit(721, 0) }).expect("commits");
    lent.publish(files.clone());
    for files in [&before, &files] {
        for file in files.iter().filter(|file| file.table == Table::Logs) {
            assert!(file.blooms.is_some());
            let batches = store.read_segment(file, Some(&["body", "trace_id", "attributes"]), EVER).expect("reads");
            let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("the same columns");
            let (bodies, traces) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            for row in 0..batch.num_rows() {
                let found = |wanted: &Wanted| {
                    let candidates = store.candidates(file, wanted);
                    assert!(!matches!(candidates, Candidates::All));
                    candidates.ranges(file.rows).iter().any(|range| range.contains(&(row as u64)))
                };
                assert!(found(&Wanted::text(bodies.value(row))));
                assert!(found(&Wanted { trace_id: Some(traces.value(row).to_owned()), ..Wanted::default() }));
                let attributes = batch.column(2).as_map().value(row);
                let pair = |column: usize| attributes.column(column).as_string::<i32>().value(2).to_owned();
                assert!(found(&Wanted { attributes: vec![(pair(0), pair(1))], ..Wanted::default() }));
            }
            let none = |wanted: &Wanted| store.candidates(file, wanted).is_none();
            assert!(none(&Wanted::text("order placed nowhere")));
            assert!(none(&Wanted { trace_id: Some("0".repeat(32)), ..Wanted::default() }));
            assert!(none(&Wanted {
                attributes: vec![("user.id".to_owned(), "u-none".to_owned())],
                ..Wanted::default()
            }));
        }
    }
    let file = files.iter().find(|file| file.table == Table::Logs).expect("is there");
    let bodies = |candidates: &Candidates| {
        let mut bodies = Vec::new();
        let each = |batch: RecordBatch| {
            bodies.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
            ControlFlow::Continue(())
        };
        store.read_candidates(file, candidates, Some(&["body"]), EVER, each).expect("reads");
        bodies
    };
    let all = bodies(&Candidates::All);
    // What was the time it took has three digits at the most, and is in the index.
    let took = shipwake_model::words::words(&all[17])[11].clone();
    let has_took = |body: &&String| shipwake_model::words::words(body).contains(&took);
    let expected: Vec<&String> = all.iter().filter(has_took).collect();
    let candidates = store.candidates(file, &Wanted::text(&took));
    // The number of the cart has more: the blooms alone find its row group.
    let cart = shipwake_model::words::words(&all[17])[4].clone();
    let of_cart = store.candidates(file, &Wanted::text(&cart));
    assert!(matches!(&of_cart, Candidates::Ranges(ranges) if ranges.first() == Some(&(0..480))), "{of_cart:?}");
    assert!(matches!(&candidates, Candidates::Rows(rows) if rows.len() == expected.len()), "{candidates:?}");
    assert_eq!(bodies(&candidates).iter().collect::<Vec<_>>(), expected);
    assert_eq!(
        store.candidates(file, &Wanted::text("order")).ranges(file.rows).first(),
        Some(&(0..480)),
        "every row has it"
    );
    assert_eq!(store.candidates(file, &Wanted::default()), Candidates::All);
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("reads");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("writes");
}

#[test]
fn damaged_and_missing_side_files_slow_a_search_down_and_are_named_and_made_again() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm, &str); 6] = [
        ("blooms", |path| flip(path, 40), "offset 28"),
        ("blooms", |path| flip(path, 3), "offset 0"),
        ("blooms", |path| std::fs::remove_file(path).expect("removes"), "missing"),
        ("index", |path| flip(path, 12), "checksum"),
        ("index", |path| flip(path, std::fs::metadata(path).expect("is there").len() as usize - 1), "offset"),
        ("index", |path| std::fs::remove_file(path).expect("removes"), "missing"),
    ];
    for (kind, harm, named) in harms {
        let dir = scratch();
        let compacted = {
            let store = open(dir.path());
            let (mut committer, lent) = twelve_commits(&store);
            store.compact_now(START + 3 * HOUR).expect("compacts");
            let files =
                committer.commit(Commit { commit_ns: START + 3 * HOUR, ..log_commit(721, 0) }).expect("commits");
            lent.publish(files.clone());
            files.iter().find(|file| file.table == Table::Logs).expect("is there").clone()
        };
        let side = if kind == "blooms" { &compacted.blooms } else { &compacted.index };
        let path = dir.path().join(&*side.as_ref().expect("is there").path);
        harm(&path);
        let findings = shipwake_store::check(dir.path()).findings;
        let finding = findings.iter().find(|finding| finding.path == path).expect("is found");
        assert!(finding.severity == Severity::Warning && finding.what.contains(named), "{finding}");

        let store = open(dir.path());
        let (mut committer, recovered) = store.open_shard(0).expect("opens");
        let files = recovered.expect("has commits").files;
        let lent = Lent::register(&store, files.clone());
        let file = files.iter().find(|file| file.table == Table::Logs).expect("is there");
        let before = lines(&store, &files, Table::Logs);
        assert!(!store.candidates(file, &Wanted::text("placed")).is_none());
        let missing = Wanted::text("nowhere");
        let candidates = store.candidates(file, &missing);
        assert!(kind == "index" || candidates == Candidates::All, "{candidates:?}");
        assert_eq!(store.compact_now(START + 3 * HOUR).expect("compacts"), 1, "{kind} {named}");
        let files = committer.commit(Commit { commit_ns: START + 3 * HOUR, ..log_commit(722, 0) }).expect("commits");
        lent.publish(files.clone());
        let file = files.iter().find(|file| file.table == Table::Logs).expect("is there");
        assert!(store.candidates(file, &missing).is_none());
        assert_eq!(lines(&store, &files, Table::Logs), before);
        assert_eq!(store.compact_now(START + 3 * HOUR).expect("compacts"), 0);
    }
}

#[test]
fn a_damaged_segment_is_left_as_it_is_and_stops_neither_commits_nor_the_compaction_of_others() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, lent) = twelve_commits(&store);
    let before = committer.files();
    let victim = before.iter().find(|file| file.table == Table::Logs).expect("is there");
    flip(&dir.path().join(&*victim.path), 100);
    assert!(store.compact_now(START + 3 * HOUR).expect("goes on") > 0);
    let files = committer.commit(Commit { commit_ns: START + 3 * HOUR, ..log_commit(721, 0) }).expect("commits");
    lent.publish(files.clone());
    assert_eq!(files.iter().filter(|file| file.table == Table::Spans).count(), 1);
    assert!(files.iter().any(|file| file.path == victim.path));
}

#[test]
fn rows_of_a_service_go_when_its_own_time_is_over_and_segments_when_the_longest_is() {
    let dir = scratch();
    let mut config = StoreConfig { ..config(dir.path()) };
    config.retention.services = vec![ServiceRetention { logs_ns: Some(24 * HOUR), ..ServiceRetention::new("search") }];
    let store = Store::open(config, &mut Registry::default()).expect("opens");
    let (mut committer, lent) = twelve_commits(&store);
    let mut offset = 721;
    let mut rows_at = |hours: i64| {
        let now_ns = START + hours * HOUR;
        store.compact_now(now_ns).expect("compacts");
        offset += 1;
        let files = committer.commit(Commit { commit_ns: now_ns, ..log_commit(offset, 0) }).expect("commits");
        lent.publish(files.clone());
        let logs: Vec<String> = lines(&store, &files, Table::Logs);
        let search = logs.iter().filter(|line| line.starts_with("search|")).count();
        (search, logs.len() - search)
    };
    assert_eq!(rows_at(20), (240, 240));
    assert_eq!(rows_at(25), (0, 240));
    assert_eq!(rows_at(13 * 24), (0, 240));
    assert_eq!(rows_at(15 * 24), (0, 0));
}

#[test]
fn what_was_made_from_a_segment_that_is_gone_is_not_published() {
    let dir = scratch();
    let store = open(dir.path());
    let (mut committer, _lent) = twelve_commits(&store);
    store.compact_now(START + 3 * HOUR).expect("compacts");
    let drop_one = committer.files().iter().find(|file| file.table == Table::Logs).expect("is there").id;
    let commit = Commit { drop: vec![drop_one], commit_ns: START + 3 * HOUR, ..log_commit(721, 0) };
    let files = committer.commit(commit).expect("commits");
    let logs: Vec<&SegmentFile> = files.iter().filter(|file| file.table == Table::Logs).collect();
    assert_eq!((logs.len(), logs.iter().map(|file| file.rows).sum::<u64>()), (11, 440));
    let of_folder = std::fs::read_dir(dir.path().join("data/logs")).expect("lists");
    let names: Vec<String> = of_folder.map(|entry| entry.expect("lists").path().display().to_string()).collect();
    assert!(names.iter().all(|name| !name.ends_with(".index")), "{names:?}");
}

#[test]
fn segments_of_many_row_groups_and_index_parts_are_searched_as_a_whole() {
    let dir = scratch();
    let config =
        StoreConfig { compaction: Compaction { bytes_max: 1 << 30, ..Compaction::default() }, ..config(dir.path()) };
    let store = Store::open(config, &mut Registry::default()).expect("opens");
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let lent = Lent::register(&store, commits_of(&mut committer, &[100_000; 6]));
    store.compact_now(START + 3 * HOUR).expect("compacts");
    let files = committer.commit(Commit { commit_ns: START + 3 * HOUR, ..log_commit(721, 0) }).expect("commits");
    lent.publish(files.clone());
    assert_eq!((files.len(), files[0].rows), (1, 600_000));
    let mut bodies = Vec::new();
    for batch in store.read_segment(&files[0], Some(&["body"]), EVER).expect("reads") {
        bodies.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    for row in [0, 131_071, 131_072, 400_000, 524_287, 524_288, 599_999] {
        let Candidates::Rows(found) = store.candidates(&files[0], &Wanted::text(&bodies[row])) else {
            panic!("row {row} is not found by the index")
        };
        let indexed = |body: &str| {
            let mut words = shipwake_model::words::words(body);
            words.retain(|word| shipwake_model::words::is_indexed(word));
            words
        };
        let wanted = indexed(&bodies[row]);
        let has_all = |body: &str| wanted.iter().all(|word| indexed(body).contains(word));
        assert!(found.contains(&(row as u32)) && found.len() < 1000, "row {row}: {}", found.len());
        assert!(found.iter().all(|found| has_all(&bodies[*found as usize])), "row {row}");
    }
}

/// Lines by service, version, level and minute.
fn counted(store: &Store, files: &[SegmentFile]) -> BTreeMap<String, i64> {
    let mut counted = BTreeMap::new();
    for file in files.iter().filter(|file| file.table == Table::Logs) {
        let counts = store.counts(file).expect("reads").expect("worth it");
        let lines = counts["lines"].as_primitive::<Int64Type>();
        for row in 0..counts.num_rows() {
            let key: Vec<String> = ["service", "version", "severity_number", "severity_text", "time"]
                .iter()
                .map(|name| array_value_to_string(&counts[*name], row).expect("is shown"))
                .collect();
            *counted.entry(key.join(" ")).or_default() += lines.value(row);
        }
    }
    counted
}

/// Large row groups are copied, small ones merged into one of them; whoever asks sees the same rows, and so does a later merge.
#[test]
fn large_segments_are_put_one_behind_the_other_as_they_are_with_small_ones_merged_between() {
    let dir = scratch();
    let mut config = StoreConfig { ..config(dir.path()) };
    config.retention.services = vec![ServiceRetention { logs_ns: Some(24 * HOUR), ..ServiceRetention::new("search") }];
    let store = Store::open(config, &mut Registry::default()).expect("opens");
    let (mut committer, _) = store.open_shard(0).expect("opens");
    let before = commits_of(&mut committer, &[40_000, 300, 35_000, 200, 33_000]);
    let lent = Lent::register(&store, before.clone());
    let mut next_offset = 10;
    let mut compact = |now_ns: i64| {
        store.compact_now(now_ns).expect("compacts");
        next_offset += 1;
        let commit = Commit { next_offset, commit_ns: now_ns, ..Commit::default() };
        let files = committer.commit(commit).expect("commits");
        lent.publish(files.clone());
        files
    };
    let files = compact(START + 2 * HOUR);
    assert_eq!(files.len(), 1);
    let file = &files[0];
    assert_eq!(sorted(lines(&store, &files, Table::Logs)), sorted(lines(&store, &before, Table::Logs)));
    assert_eq!(counted(&store, &files), counted(&store, &before));
    let groups = store.open_segment(file, &[]).expect("opens");
    let sizes: Vec<usize> = groups.groups().iter().map(|group| group.rows).collect();
    assert_eq!(sizes, [40_000, 500, 35_000, 33_000], "by time");
    let times = groups.groups().iter().map(|group| (group.time_min_ns, group.time_max_ns));
    let (min_ns, max_ns) = times.reduce(|one, two| (one.0.min(two.0), one.1.max(two.1))).expect("groups");
    assert_eq!((file.time_min_ns, file.time_max_ns), (min_ns, max_ns));
    // The compressed pages of the first are in it, byte by byte, and what follows is checked as in every segment.
    let read = |file: &SegmentFile| std::fs::read(dir.path().join(&*file.path)).expect("reads");
    assert_eq!(read(file)[..1 << 20], read(&before[0])[..1 << 20]);
    let blooms_of = |word: &str| store.candidates(file, &Wanted::text(word));
    assert!(blooms_of("nowhere").is_none());
    let all: Vec<String> = {
        let batches = store.read_segment(file, Some(&["body"]), EVER).expect("reads");
        batches
            .iter()
            .flat_map(|batch| batch.column(0).as_string::<i32>().iter())
            .flatten()
            .map(str::to_owned)
            .collect()
    };
    for row in [0, 39_999, 40_000, 40_499, 40_500, 75_500, 108_499] {
        let found = blooms_of(&all[row]);
        assert!(found.overlaps(&(row as u32..row as u32 + 1)), "row {row}: {found:?}");
        assert!(matches!(&found, Candidates::Rows(rows) if rows.len() < 1000), "row {row}: {found:?}");
    }

    // Merged again, because rows are to go: each row group is then an input of its own, and what comes out is in one order.
    let files = compact(START + 30 * HOUR);
    let kept = |files: &[SegmentFile]| {
        let mut lines = sorted(lines(&store, files, Table::Logs));
        lines.retain(|line| !line.starts_with("search|"));
        lines
    };
    assert_eq!(sorted(lines(&store, &files, Table::Logs)), kept(&before));
    assert_sorted(&store, &files[0]);
    drop((store, committer, groups, files, lent, before));
    // What was replaced is still there for a while, for those who read it.
    let findings = shipwake_store::check(dir.path()).findings;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:?}");
}

/// What lies beside a segment is no reason to lose a row, and damage of it is not handed on.
#[test]
fn large_segments_with_damaged_blooms_are_merged_row_by_row_and_get_new_ones() {
    type Harm = fn(&Path);
    let harms: [(Harm, &[usize]); 4] = [
        (|_| {}, &[33_000, 33_001]),
        (|path| flip(path, 3), &[66_001]),
        (|path| flip(path, std::fs::metadata(path).expect("is there").len() as usize - 9), &[66_001]),
        (|path| std::fs::remove_file(path).expect("removes"), &[66_001]),
    ];
    for (harm, groups) in harms {
        let dir = scratch();
        let store = open(dir.path());
        let (mut committer, _) = store.open_shard(0).expect("opens");
        let before = commits_of(&mut committer, &[33_000, 33_001]);
        let lent = Lent::register(&store, before.clone());
        harm(&dir.path().join(&*before[0].blooms.as_ref().expect("is there").path));
        store.compact_now(START + HOUR).expect("compacts");
        let commit = Commit { next_offset: 3, commit_ns: START + HOUR, ..Commit::default() };
        let files = committer.commit(commit).expect("commits");
        lent.publish(files.clone());
        assert_eq!(files.len(), 1);
        let opened = store.open_segment(&files[0], &[]).expect("opens");
        assert_eq!(opened.groups().iter().map(|group| group.rows).collect::<Vec<_>>(), groups);
        assert_eq!(sorted(lines(&store, &files, Table::Logs)), sorted(lines(&store, &before, Table::Logs)));
        assert!(store.candidates(&files[0], &Wanted::text("nowhere")).is_none(), "its blooms are good");
    }
}
