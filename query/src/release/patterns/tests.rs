//! Versions with patterns: what is told, and as what.

use super::*;
use crate::release::testing::{T0, grid, traffic};

const SLOTS: u8 = 0b101;

/// Lines by minute.
fn version(name: &str, level: Level, minutes: &[u64]) -> PatternVersion {
    let cell = |(minute, count): (usize, &u64)| PatternCell {
        t_ms: T0 + minute as i64 * MINUTE_MS,
        count: *count,
        slots: SLOTS,
    };
    let cells: Vec<PatternCell> = minutes.iter().enumerate().filter(|(_, count)| **count > 0).map(cell).collect();
    PatternVersion {
        version: name.into(),
        level,
        first_seen_ns: cells.first().map_or(0, |cell| cell.t_ms * 1_000_000),
        last_seen_ns: cells.last().map_or(0, |cell| cell.t_ms * 1_000_000),
        count: cells.iter().map(|cell| cell.count).sum(),
        cells,
    }
}

fn row(id: u64, template: &str, versions: Vec<PatternVersion>) -> PatternRow {
    PatternRow {
        service: "shop".into(),
        namespace: "".into(),
        environment: "prod".into(),
        id,
        template: template.into(),
        example: "an example".into(),
        versions,
    }
}

/// Ten minutes: the baseline with 90 requests in ten seconds, the candidate from minute 2 on with 10.
fn found(rows: &[PatternRow]) -> Found {
    let candidate: Vec<u64> = (0..60).map(|window| if window < 12 { 0 } else { 10 }).collect();
    let lines = [traffic("1", -99, &[90; 60]), traffic("2", 12, &candidate)];
    let grid = grid(60);
    let pair = crate::release::pair::choose(&lines, &grid, None, None);
    find(&Facts { shapes: &Shapes::of(rows.to_vec()), lines: &lines, pair: &pair, grid: &grid, kept_from_ms: T0 })
}

/// `class template` of what is told.
fn check(rows: &[PatternRow], expected: &[&str]) {
    let told = found(rows).told;
    let said: Vec<String> = told.iter().map(|told| format!("{} {}", told.class.as_str(), told.text)).collect();
    assert_eq!(said, expected, "{told:#?}");
}

#[test]
fn a_line_that_only_the_candidate_has_is_new() {
    let rows = [row(7, "card <*> rejected", vec![version("2", Level::Error, &[0, 0, 0, 0, 2, 4])])];
    check(&rows, &["new card <*> rejected"]);
    let found = found(&rows);
    let told = &found.told[0];
    assert_eq!((told.counts.candidate, told.counts.baseline, told.first_ms), (6, 0, T0 + 4 * MINUTE_MS));
    assert_eq!((found.new, found.since_ms), (1, Some(T0 + 2 * MINUTE_MS)));
    assert!((told.rate_candidate - 6.0 / 480.0).abs() < 1e-9, "{}", told.rate_candidate);
}

#[test]
fn what_any_other_version_had_is_not_new() {
    let lines = |other: &str| vec![version("2", Level::Error, &[0, 0, 0, 0, 2, 4]), version(other, Level::Error, &[1])];
    check(&[row(7, "card <*> rejected", lines("0.9"))], &["escalated card <*> rejected"]);
    // A shape of the same pattern counts as having had it.
    let rows = [
        row(7, "card <*> rejected by lighthouse today", vec![version("2", Level::Error, &[0, 0, 0, 0, 2, 4])]),
        row(
            8,
            "card <*> rejected by meridian today",
            vec![version("1", Level::Error, &[9, 9, 9, 9, 9, 9, 9, 9, 9, 9])],
        ),
    ];
    check(&rows, &[]);
}

#[test]
fn known_noise_at_the_same_rate_is_not_told() {
    let rows = [row(
        7,
        "read timed out",
        vec![version("1", Level::Error, &[9; 10]), version("2", Level::Error, &[0, 0, 1, 1, 1, 1, 1, 1, 1, 1])],
    )];
    check(&rows, &[]);
}

#[test]
fn a_known_pattern_escalates_by_its_rate_per_request() {
    let rows = [row(
        7,
        "read timed out",
        vec![version("1", Level::Warn, &[9; 10]), version("2", Level::Warn, &[0, 0, 1, 1, 9, 9, 9, 9, 9, 9])],
    )];
    check(&rows, &["escalated read timed out"]);
    let found = found(&rows);
    let ratio = found.told[0].ratio;
    assert!(
        (ratio.value.expect("a ratio") - 9.0).abs() < 0.01
            && ratio.low > 5.0
            && ratio.high.is_some_and(|high| high < 16.0),
        "{ratio:?}"
    );
    assert_eq!(found.new, 0);
}

#[test]
fn what_a_version_writes_while_it_warms_up_is_no_escalation() {
    let rows = [row(
        7,
        "cache is cold, loading failed",
        vec![version("0.9", Level::Warn, &[1]), version("2", Level::Warn, &[0, 0, 40, 30])],
    )];
    check(&rows, &[]);
}

#[test]
fn a_success_line_that_vanished_is_gone() {
    let rows = [row(7, "order <*> placed", vec![version("1", Level::Info, &[90; 10])])];
    check(&rows, &["gone order <*> placed"]);
    assert_eq!(found(&rows).told[0].first_ms, T0 + 9 * MINUTE_MS, "when the baseline last had it");
    // Too rare to be missed.
    check(&[row(7, "nightly report sent", vec![version("1", Level::Info, &[0, 0, 1, 0, 1])])], &[]);
    // The candidate has had it.
    check(
        &[row(
            7,
            "order <*> placed",
            vec![version("1", Level::Info, &[90; 10]), version("2", Level::Info, &[0, 0, 1])],
        )],
        &[],
    );
    check(&[row(7, "cache hit", vec![version("1", Level::Debug, &[90; 10])])], &[]);
}

#[test]
fn what_does_not_hurt_is_not_told_as_new() {
    let lines = |level| vec![version("2", level, &[0, 0, 0, 0, 20, 40])];
    check(&[row(7, "feature enabled", lines(Level::Info))], &[]);
    check(&[row(7, "payment failed", lines(Level::Info))], &["new payment failed"]);
    check(&[row(7, "payment failed", lines(Level::Debug))], &[]);
    check(&[row(7, "feature enabled", lines(Level::Unknown))], &[]);
}

#[test]
fn a_few_lines_of_one_instance_are_an_accident() {
    let lonely = |count: u64| {
        let mut version = version("2", Level::Error, &[0, 0, 0, 0, count]);
        version.cells[0].slots = 1;
        [row(7, "disk failed", vec![version])]
    };
    check(&lonely(4), &[]);
    check(&lonely(5), &["new disk failed"]);
    check(&[row(7, "disk failed", vec![version("2", Level::Error, &[0, 0, 0, 0, 2])])], &[]);
}

#[test]
fn without_two_versions_nothing_is_compared() {
    let lines = [traffic("1", -99, &[90; 60])];
    let grid = grid(60);
    let pair = crate::release::pair::choose(&lines, &grid, None, None);
    let rows = [row(7, "disk failed", vec![version("1", Level::Error, &[50; 10])])];
    let shapes = Shapes::of(rows.to_vec());
    let found = find(&Facts { shapes: &shapes, lines: &lines, pair: &pair, grid: &grid, kept_from_ms: T0 });
    assert_eq!(found, Found::default());
}

#[test]
fn of_many_only_the_most_frequent_are_told_and_all_are_counted() {
    let words = ["alpha", "beta", "gamma", "delta", "omega", "kappa"];
    let mut rows = Vec::new();
    for (a, first) in words.iter().enumerate() {
        for (b, second) in words.iter().enumerate() {
            let lines = vec![version("2", Level::Error, &[0, 0, 0, 10 + (a * 6 + b) as u64])];
            rows.push(row((a * 6 + b + 1) as u64, &format!("{first} {second}"), lines));
        }
    }
    let found = found(&rows);
    assert_eq!((found.told.len(), found.new), (TOLD_MAX, 36));
    assert!(found.told.windows(2).all(|two| two[0].counts.candidate >= two[1].counts.candidate));
}

/// What it takes is printed: `cargo test --release -p shipwake-query --lib a_tick_with -- --nocapture`.
#[test]
fn a_tick_with_a_thousand_patterns_of_twenty_versions() {
    let versions: Vec<String> = (0..20).map(|n| format!("1.{n}")).collect();
    let of_row = |id: u64| {
        let of = |name: &String| version(name, Level::Error, &[3 + id % 7; 60]);
        row(id, &format!("step {} of job <*> at <*> ended with {}", id % 40, id), versions.iter().map(of).collect())
    };
    let rows: Vec<PatternRow> = (0..1_000).map(of_row).collect();
    let lines: Vec<VersionLine> =
        versions.iter().enumerate().map(|(n, name)| traffic(name, n as i64, &[50; 360])).collect();
    let grid = grid(360);
    let pair = crate::release::pair::choose(&lines, &grid, None, None);
    let started = std::time::Instant::now();
    let shapes = Shapes::of(rows);
    let grouped = started.elapsed();
    let started = std::time::Instant::now();
    let ticks = 20u32;
    for _ in 0..ticks {
        let found = find(&Facts { shapes: &shapes, lines: &lines, pair: &pair, grid: &grid, kept_from_ms: T0 });
        assert!(found.told.len() <= TOLD_MAX);
    }
    println!("grouping {grouped:?} once, then {:?} a tick", started.elapsed() / ticks);
}

#[test]
fn a_rate_is_of_the_time_in_which_the_version_was_there() {
    // Windows of ten minutes; the candidate comes in the last minute of the second one, and writes six lines a minute.
    let grid =
        Grid { step_ms: 10 * MINUTE_MS, to_ms: T0 + 30 * MINUTE_MS, watermark_ms: T0 + 30 * MINUTE_MS, ..grid(3) };
    let mut lines = [traffic("1", -99, &[900; 3]), traffic("2", 0, &[0, 90, 900])];
    lines[1].first_seen_ms = Some(T0 + 19 * MINUTE_MS);
    let pair = crate::release::pair::choose(&lines, &grid, None, None);
    let written = [[0; 19].as_slice(), &[6; 11]].concat();
    let rows = [row(7, "card <*> rejected", vec![version("2", Level::Error, &written)])];
    let shapes = Shapes::of(rows.to_vec());
    let found = find(&Facts { shapes: &shapes, lines: &lines, pair: &pair, grid: &grid, kept_from_ms: T0 });
    assert!((found.told[0].rate_candidate - 0.1).abs() < 1e-9, "{:?}", found.told[0]);
}
