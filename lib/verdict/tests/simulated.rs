//! Simulated releases in small: good ones under every kind of noise are not called bad, bad ones are found as soon as they were
//! when the table was written. `make verdict-bench` runs the same worlds many more times.

mod simulation;

use simulation::scenario::{Judging, Outcome, run, upper_99};
use simulation::table::{HOUR, RATIOS, bad_releases, beside_an_error_free_baseline, good_releases, wrongly_good};
use simulation::whole::{self, whole_releases};
use simulation::world::{Burst, World};

/// One per cent may be called bad. In so few runs of each world none should be, and one is bad luck.
#[test]
fn good_releases_are_not_called_bad() {
    for good in good_releases().into_iter().filter(|good| good.judging.windows <= 360) {
        let outcome = run(&good.world, &good.judging, 1_000, 30);
        assert!(outcome.no_go <= 1, "{}: {outcome:?}", good.name);
    }
}

/// The noise that a test of counts alone gets wrong every third time.
#[test]
fn bursts_do_not_exceed_the_budget() {
    let world = World { burst: Burst::Windows(4.0), ..World::default() };
    let outcome = run(&world, &Judging::default(), 5_000, 400);
    assert!(upper_99(outcome.no_go, outcome.runs) <= 0.015, "{outcome:?}");
    assert!(outcome.go >= 396, "{outcome:?}");
}

/// What is worse by just the limit is called good once in twenty times at most.
#[test]
fn releases_at_the_limit_are_not_called_good() {
    for bad in wrongly_good() {
        let outcome = run(&bad.world, &Judging { windows: HOUR, ..bad.judging }, 3_000, 12);
        assert!(outcome.go <= 1, "{}: {outcome:?}", bad.name);
    }
}

/// Beside a baseline without errors, one without errors is good, and one that fails more often than is granted is not called so.
#[test]
fn beside_an_error_free_baseline_what_fails_too_often_is_not_called_good() {
    for (times, bad) in beside_an_error_free_baseline() {
        let runs = if times == 0.0 { 5 } else { 20 };
        let outcome = run(&bad.world, &bad.judging, 7_000, runs);
        let is_as_it_should = if times == 0.0 { outcome.go == runs && outcome.no_go == 0 } else { outcome.go <= 3 };
        assert!(is_as_it_should && (times < 2.0 || outcome.go <= 1), "{times} times, {}: {outcome:?}", bad.name);
    }
}

/// Errors, crashes, durations, orders, revenue, patterns and instances at once, which one budget is for.
#[test]
fn whole_releases_are_judged_by_one_budget() {
    for release in whole_releases() {
        let outcome = whole::run(&release, 1_000, 5);
        let is_good = release.failing <= 1.0 && release.slower <= 1.0;
        let expected = if is_good { 0 } else { outcome.runs };
        assert_eq!(outcome.no_go, expected, "{}: {outcome:?}", release.name);
        assert!(is_good || outcome.go == 0, "{}: {outcome:?}", release.name);
    }
}

/// Runs of each world and factor in the table below.
const RUNS: u32 = 20;

/// Twenty runs of each: how many of a hundred were called "no go" within the time, and the median of the seconds it took (0: more
/// than half were not). Written by `SHIPWAKE_WRITE_TABLE=1 cargo test --release -p shipwake-verdict --test simulated`.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/power.txt");

#[test]
fn bad_releases_are_found_as_soon_as_before() {
    let mut table = String::new();
    for bad in bad_releases() {
        for ratio in RATIOS {
            let world = World { ratio, ..bad.world.clone() };
            let outcome = run(&world, &bad.judging, 9_000, RUNS);
            let median_s = Outcome::median(&outcome.no_go_after_s, RUNS).unwrap_or(0);
            table.push_str(&format!("{} | {ratio} | {} | {median_s}\n", bad.name, 100 * outcome.no_go / RUNS));
            assert!(world.breaks_at > 0 || outcome.go <= 3, "called good: {} {ratio}: {outcome:?}", bad.name);
        }
    }
    if std::env::var_os("SHIPWAKE_WRITE_TABLE").is_some() {
        std::fs::write(TABLE, &table).expect("a folder to write to");
    }
    let golden = std::fs::read_to_string(TABLE).expect("the table");
    assert_eq!(golden.lines().count(), table.lines().count());
    for (was, is) in golden.lines().zip(table.lines()) {
        let fields = |line: &str| -> Vec<String> { line.split(" | ").map(str::to_owned).collect() };
        let (was_fields, is_fields) = (fields(was), fields(is));
        assert_eq!(was_fields[..2], is_fields[..2]);
        let number = |fields: &[String], at: usize| fields[at].parse::<f64>().expect("a number");
        // Five per cent, or one run of the twenty, or one look.
        let near = |at: usize, least: f64| {
            let (was, is) = (number(&was_fields, at), number(&is_fields, at));
            (was - is).abs() <= (0.05 * was).max(least)
        };
        assert!(near(2, 5.0) && near(3, 10.0), "was {was}, is {is}");
    }
}
