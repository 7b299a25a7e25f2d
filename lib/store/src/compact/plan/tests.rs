//! What is compacted when, on lists of segments made up for it.

use super::*;
use crate::segment::testing::file;

const MINUTE: i64 = 60 * NS_PER_S;
const WINDOW: i64 = 15 * MINUTE;
const MB: u64 = 1 << 20;
/// A day that begins at 0.
const START: i64 = 1_000 * DAY_NS;

/// A segment of the window that starts at `window` (in windows from the start), committed at `minute`.
fn in_window(seq: u64, window: i64, minute: i64, bytes: u64) -> SegmentFile {
    SegmentFile {
        bytes,
        committed_ns: START + minute * MINUTE,
        window: Some(Window { start_ns: START + window * WINDOW, length_ns: WINDOW }),
        ..file(Table::Logs, seq)
    }
}

fn plan(files: &[SegmentFile], minute: i64) -> Option<Job> {
    plan_with(files, minute, &Retention::default(), &HashSet::new())
}

fn plan_with(files: &[SegmentFile], minute: i64, retention: &Retention, damaged: &HashSet<SegmentId>) -> Option<Job> {
    let left_alone = HashSet::new();
    let now_ns = START + minute * MINUTE;
    let bytes_max = 32 * MB;
    next(&Situation { files, left_alone: &left_alone, damaged, now_ns, bytes_max, with_index: true, retention })
}

fn seqs(job: &Job) -> Vec<u64> {
    let mut seqs: Vec<u64> = job.inputs.iter().map(|file| file.id.seq).collect();
    seqs.sort_unstable();
    seqs
}

#[test]
fn a_window_is_left_alone_while_it_fills_unless_there_are_many() {
    let files: Vec<_> = (0..15).map(|n| in_window(n, 0, n as i64, MB / 10)).collect();
    assert!(plan(&files, 15).is_none());
    assert!(plan(&files, 19).is_none(), "late ones are waited for");
    let job = plan(&files, 20).expect("the window is over");
    assert_eq!((seqs(&job), job.level, job.beside), ((0..15).collect(), 2, Beside::BloomsAndIndex));
    assert_eq!(job.window, files[0].window);
    let files: Vec<_> = (0..20).map(|n| in_window(n, 0, n as i64 / 2, MB / 10)).collect();
    let job = plan(&files, 10).expect("there are many");
    assert_eq!((seqs(&job).len(), job.level, job.beside), (16, 1, Beside::Blooms));
    let files: Vec<_> = (0..10).map(|n| in_window(n, 0, 1, 4 * MB)).collect();
    let job = plan(&files, 2).expect("they make a large one");
    assert_eq!((seqs(&job).len(), job.level), (10, 2));
}

#[test]
fn windows_are_not_mixed_and_segments_of_several_windows_only_with_their_like() {
    let mut files: Vec<_> = (0..8).map(|n| in_window(n, n as i64 % 2, 30, MB)).collect();
    files.push(SegmentFile { window: None, ..in_window(8, 0, 30, MB) });
    files.push(SegmentFile { window: None, ..in_window(9, 0, 31, MB) });
    files.push(SegmentFile { window: None, ..in_window(10, 0, 8 * 60, MB) });
    let job = plan(&files, 40).expect("two windows are over");
    assert_eq!(seqs(&job), [0, 2, 4, 6]);
    files.retain(|file| file.window.is_none());
    assert!(plan(&files, 40).is_none());
    let job = plan(&files, 6 * 60 + 5).expect("the span of their commits is over");
    assert_eq!((seqs(&job), job.window), (vec![8, 9], None));
}

#[test]
fn a_few_late_rows_do_not_rewrite_a_large_segment_until_they_have_waited() {
    let large = SegmentFile { level: 2, index: crate::segment::testing::side(), ..in_window(0, 0, 20, 10 * MB) };
    let late = |seq: u64, bytes: u64| in_window(seq, 0, 40 + seq as i64, bytes);
    assert!(plan(&[large.clone(), late(1, MB / 10)], 42).is_none());
    let job = plan(&[large.clone(), late(1, MB / 10), late(2, MB / 10)], 43).expect("the late ones among themselves");
    assert_eq!(seqs(&job), [1, 2]);
    let job = plan(&[large.clone(), late(1, 3 * MB)], 43).expect("enough to be worth it");
    assert_eq!(seqs(&job), [0, 1]);
    let job = plan(&[large, late(1, MB / 10)], 101).expect("waited an hour");
    assert_eq!((seqs(&job), job.level), (vec![0, 1], 2));
}

#[test]
fn what_is_done_is_left_alone() {
    let done = |seq, window, bytes| SegmentFile {
        level: 2,
        index: crate::segment::testing::side(),
        ..in_window(seq, window, window * 15 + 20, bytes)
    };
    assert!(plan(&[done(0, 0, 20 * MB), done(1, 0, 30 * MB), done(2, 0, 3 * MB), done(3, 1, MB)], 200).is_none());
    let one = in_window(0, 0, 14, MB);
    let job = plan(std::slice::from_ref(&one), 20).expect("it has no index");
    assert_eq!((job.kind, job.level, job.beside), (Kind::Index, 2, Beside::BloomsAndIndex));
    let spans = SegmentFile { id: SegmentId { table: Table::Spans, ..one.id }, table: Table::Spans, ..one };
    assert!(plan(&[spans], 20).is_none(), "spans have no text to search");
    let windows_1s: Vec<_> = (0..40).map(|n| file(Table::Windows1s, n)).collect();
    assert!(plan(&windows_1s, 200).is_none());
}

#[test]
fn small_windows_of_a_day_that_is_over_become_one() {
    let mut files: Vec<_> = (0..96)
        .map(|n| SegmentFile {
            level: 2,
            index: crate::segment::testing::side(),
            ..in_window(n, n as i64, n as i64 * 15 + 20, MB / 10)
        })
        .collect();
    assert!(plan(&files, 24 * 60 + 170).is_none());
    let mut seq = 96;
    let mut rounds = 0;
    while let Some(job) = plan(&files, 30 * 60) {
        assert_eq!(job.window, Some(Window { start_ns: START, length_ns: DAY_NS }));
        let bytes = job.inputs.iter().map(|file| file.bytes).sum();
        let inputs = seqs(&job);
        files.retain(|file| !inputs.contains(&file.id.seq));
        let index = (job.beside == Beside::BloomsAndIndex).then(crate::segment::testing::side).flatten();
        files.push(SegmentFile { window: job.window, level: job.level, index, ..in_window(seq, 0, 1460, bytes) });
        (seq, rounds) = (seq + 1, rounds + 1);
        assert!(rounds < 20, "it comes to an end");
    }
    assert_eq!(files.len(), 1);
    assert!(files[0].index.is_some() && rounds <= 8, "{rounds}");
}

#[test]
fn plans_always_come_to_an_end_with_few_segments_left() {
    let mut random = 7_u64;
    let mut next_random = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for _ in 0..50 {
        let count = next_random(200);
        let mut files: Vec<SegmentFile> = (0..count)
            .map(|seq| {
                let window = next_random(8) as i64;
                let file = in_window(seq, window, 130, 1 << (10 + next_random(15)));
                if next_random(10) == 0 { SegmentFile { window: None, ..file } } else { file }
            })
            .collect();
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let (mut seq, mut minute, mut written) = (count, 140, 0);
        while minute < 10 * 60 {
            let Some(job) = plan(&files, minute) else {
                minute += 61;
                continue;
            };
            let merged = job.inputs.iter().map(|file| file.bytes).sum();
            assert!(merged <= 40 * MB, "{merged}");
            let inputs = seqs(&job);
            files.retain(|file| !inputs.contains(&file.id.seq));
            let index = (job.beside == Beside::BloomsAndIndex).then(crate::segment::testing::side).flatten();
            let newest = job.inputs.iter().map(|file| file.committed_ns).max().expect("inputs");
            let made = in_window(seq, 0, 0, merged);
            files.push(SegmentFile { window: job.window, level: job.level, index, committed_ns: newest, ..made });
            (seq, written) = (seq + 1, written + merged);
        }
        assert!(files.len() as u64 <= 9 + bytes / (8 * MB), "{} segments of {bytes} bytes", files.len());
        assert!(written <= 4 * bytes, "{written} bytes written for {bytes}");
        assert!(files.iter().all(|file| file.index.is_some()));
    }
}

#[test]
fn damage_comes_first_and_retention_last() {
    let retention = Retention {
        services: vec![crate::ServiceRetention { logs_ns: Some(30 * MINUTE), ..crate::ServiceRetention::new("noisy") }],
        ..Retention::default()
    };
    let file = SegmentFile { level: 2, index: crate::segment::testing::side(), ..in_window(3, 0, 20, MB) };
    let files = [file.clone()];
    assert!(plan_with(&files, 50, &retention, &HashSet::new()).is_none());
    let job = plan_with(&files, 51, &retention, &HashSet::new()).expect("a service's time is over");
    assert_eq!((job.kind, job.level, job.beside), (Kind::Retain, 2, Beside::BloomsAndIndex));
    let job = plan_with(&files, 51, &retention, &HashSet::from([file.id])).expect("a damaged side file");
    assert_eq!(job.kind, Kind::Repair);
    let thinned = [SegmentFile { thinned_ns: 30 * MINUTE, ..file }];
    assert!(plan_with(&thinned, 500, &retention, &HashSet::new()).is_none());
}
