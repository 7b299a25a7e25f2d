//! Tables of cases for the differences between two versions.

use super::*;
use crate::release::testing::{T0, cell, grid, line, spread_cell, traffic};

fn found(baseline: VersionLine, candidate: VersionLine, before_after: bool) -> Vec<(String, i64)> {
    let grid = grid(candidate.cells.len());
    let all = [baseline, candidate];
    find(&all[0], &all[1], &all, &grid, before_after)
        .into_iter()
        .map(|difference| (difference.metric.to_owned(), (difference.since_ms - T0) / 10_000))
        .collect()
}

fn repeat(good: Cell, windows: usize) -> Vec<Cell> {
    vec![good; windows]
}

fn then(mut cells: Vec<Cell>, bad: Cell, windows: usize) -> Vec<Cell> {
    cells.extend(std::iter::repeat_n(bad, windows));
    cells
}

#[test]
fn equal_versions_have_no_difference() {
    let baseline = line("1", -9, repeat(spread_cell(900, 5, 50_000, 400_000), 18));
    let candidate = line("2", 0, repeat(spread_cell(100, 1, 50_000, 400_000), 18));
    assert_eq!(found(baseline, candidate, false), []);
}

#[test]
fn errors_are_dated_to_the_window_they_began_in() {
    let baseline = line("1", -9, repeat(cell(900, 4, 100_000), 18));
    let candidate = line("2", 0, then(repeat(cell(100, 0, 100_000), 12), cell(100, 30, 100_000), 6));
    assert_eq!(found(baseline.clone(), candidate.clone(), false), [("error_ratio".to_owned(), 12)]);
    let text = find(&baseline, &candidate, &[], &grid(18), false)[0].text.clone();
    assert_eq!(text, "error ratio 0.4 % → 30.0 % since 14:02:00 UTC");
}

#[test]
fn a_small_canary_is_dated_as_well() {
    // Five requests a second; good for a minute and a half, then a fifth fail; in windows of half a minute.
    let baseline = line("1", -9, repeat(cell(1_000, 4, 100_000), 6));
    let mut cells = repeat(cell(50, 0, 100_000), 3);
    cells.extend(repeat(cell(50, 10, 100_000), 3));
    assert_eq!(found(baseline.clone(), line("2", 0, cells.clone()), false), [("error_ratio".to_owned(), 3)]);
    cells.truncate(5);
    cells.push(cell(20, 3, 100_000));
    assert_eq!(found(baseline, line("2", 0, cells), false), [("error_ratio".to_owned(), 3)]);
}

#[test]
fn fewer_errors_are_a_difference_too() {
    let baseline = line("1", -9, repeat(cell(900, 90, 100_000), 18));
    let candidate = line("2", 0, repeat(cell(100, 0, 100_000), 18));
    assert_eq!(found(baseline, candidate, false), [("error_ratio".to_owned(), 0)]);
}

#[test]
fn chance_and_trifles_are_not_notable() {
    // 3 errors of 40 requests: too few. 0.2 points more on many requests: too small to speak of.
    let few = found(line("1", -9, vec![cell(400, 0, 9)]), line("2", 0, vec![cell(40, 3, 9)]), false);
    assert_eq!(few, []);
    let small = found(line("1", -9, vec![cell(100_000, 100, 9)]), line("2", 0, vec![cell(100_000, 300, 9)]), false);
    assert_eq!(small, []);
    let plausible = found(line("1", -9, vec![cell(500, 5, 9)]), line("2", 0, vec![cell(100, 3, 9)]), false);
    assert_eq!(plausible, []);
}

#[test]
fn a_slow_tail_shows_in_the_upper_quantiles_only() {
    let good = || spread_cell(1_000, 0, 50_000, 400_000);
    let mut slow = spread_cell(980, 0, 50_000, 400_000);
    slow.add(&cell(20, 0, 900_000));
    let baseline = line("1", -9, repeat(good(), 30));
    let candidate = line("2", 0, then(repeat(good(), 10), slow, 20));
    assert_eq!(found(baseline, candidate, false), [("p99".to_owned(), 10)]);
}

#[test]
fn everything_slower_shows_in_every_quantile() {
    let baseline = line("1", -9, repeat(spread_cell(500, 0, 50_000, 400_000), 12));
    let candidate = line("2", 0, repeat(spread_cell(500, 0, 80_000, 640_000), 12));
    let metrics: Vec<String> = found(baseline, candidate, false).into_iter().map(|(metric, _)| metric).collect();
    assert_eq!(metrics, ["p50", "p95", "p99"]);
}

#[test]
fn before_and_after_compares_with_the_past() {
    let mut before = repeat(cell(500, 2, 100_000), 10);
    before.extend(repeat(Cell::default(), 10));
    let mut after = repeat(Cell::default(), 10);
    after.extend(repeat(cell(500, 100, 100_000), 10));
    let differences = found(line("1", -9, before), line("2", 10, after), true);
    assert_eq!(differences, [("error_ratio".to_owned(), 10)]);
}

#[test]
fn after_a_rollback_the_difference_stays_dated() {
    let baseline = line("1", -9, repeat(cell(900, 0, 100_000), 20));
    let mut cells = then(repeat(cell(100, 0, 100_000), 5), cell(100, 30, 100_000), 5);
    cells.extend(repeat(Cell::default(), 10));
    assert_eq!(found(baseline, line("2", 0, cells), false), [("error_ratio".to_owned(), 5)]);
}

#[test]
fn a_service_that_loses_its_traffic_is_noticed() {
    let old: Vec<u64> = (0..24).map(|n| if n < 12 { 100 } else { 20 }).collect();
    let new: Vec<u64> = (0..24).map(|n| if n < 12 { 0 } else { 10 }).collect();
    assert_eq!(found(traffic("1", -9, &old), traffic("2", 12, &new), false), [("throughput".to_owned(), 12)]);
    let steady: Vec<u64> = (0..24).map(|n| if n < 12 { 100 } else { 90 }).collect();
    assert_eq!(found(traffic("1", -9, &steady), traffic("2", 12, &new), false), []);
}

#[test]
fn a_difference_is_never_dated_before_its_release_was_seen() {
    let baseline = line("1", -9, repeat(cell(900, 4, 100_000), 12));
    let mut candidate = line("2", 6, then(repeat(Cell::default(), 6), cell(100, 30, 100_000), 6));
    candidate.first_seen_ms = Some(T0 + 63_000);
    let found = find(&baseline, &candidate, &[], &grid(12), false);
    assert_eq!(found[0].since_ms, T0 + 63_000);
    assert!(found[0].text.ends_with("since 14:01:03 UTC"), "{}", found[0].text);
}

#[test]
fn numbers_are_written_for_people() {
    let all = [
        percent_text(0.0),
        percent_text(0.00034),
        percent_text(0.301),
        percent_text(1.0),
        percent_text(0.9999),
        seconds_text(0.00081),
        seconds_text(0.0412),
        seconds_text(1.2351),
        rate_text(0.44),
        rate_text(119.6),
    ];
    assert_eq!(all, ["0 %", "0.03 %", "30.1 %", "100 %", "99.9 %", "0.8 ms", "41 ms", "1.24 s", "0.4/s", "120/s"]);
}

#[test]
fn good_minutes_are_not_blamed_when_the_baselines_own_ratio_moves() {
    let baseline = line("1", -9, then(repeat(cell(2_000, 0, 100_000), 2), cell(500, 3, 100_000), 4));
    let candidate = line("2", 0, then(repeat(cell(25, 0, 100_000), 2), cell(100, 30, 100_000), 4));
    assert_eq!(found(baseline, candidate, false), [("error_ratio".to_owned(), 2)]);
}

#[test]
fn what_the_range_cuts_off_began_before_it() {
    let baseline = line("1", -9, repeat(cell(900, 4, 100_000), 12));
    let candidate = line("2", -3, repeat(cell(100, 30, 100_000), 12));
    let said = find(&baseline, &candidate, &[], &grid(12), false);
    assert!(said[0].since_before && said[0].text.contains("since before"), "{said:?}");
}

#[test]
fn a_quiet_first_window_does_not_hide_that_the_range_cuts_it_off() {
    let baseline = line("1", -9, repeat(cell(900, 4, 100_000), 12));
    let candidate = line("2", -3, then(repeat(Cell::default(), 2), cell(100, 30, 100_000), 10));
    let said = find(&baseline, &candidate, &[], &grid(12), false);
    assert!(said[0].since_before && said[0].text.ends_with("since before 14:00:20 UTC"), "{said:?}");
}

#[test]
fn a_swapped_pair_differs_from_when_both_were_there() {
    let newer = line("2", 4, then(repeat(Cell::default(), 4), cell(100, 40, 100_000), 8));
    let older = line("1", -99, repeat(cell(900, 4, 100_000), 12));
    let said = find(&newer, &older, &[], &grid(12), false);
    assert_eq!((said[0].metric, said[0].since_before), ("error_ratio", false), "{said:?}");
    assert!(said[0].since_ms >= T0 + 40_000, "{said:?}");
}

#[test]
fn a_service_that_falls_silent_has_not_lost_throughput() {
    let mut cells = repeat(cell(400, 0, 100_000), 12);
    let mut gone = cells.clone();
    cells.extend(repeat(Cell::default(), 24));
    cells[..12].fill(Cell::default());
    cells[12..24].fill(cell(400, 0, 100_000));
    gone.extend(repeat(Cell::default(), 24));
    assert_eq!(found(line("1", -9, gone), line("2", 12, cells), true), []);
}
