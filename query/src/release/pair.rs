//! Which two versions are compared, and the role of every version.
//!
//! The candidate is the newest release (by first sight, never by its version text) that has traffic in the range and is
//! not alone; the baseline is the version beside it with the most traffic up to the candidate's last request. A rollback
//! therefore keeps the names: the version that came back stays the baseline, the one that failed stays the candidate.
//! Records without a version are never the candidate.

use std::sync::Arc;

use shipwake_model::UNVERSIONED;
use shipwake_model::release::OVERFLOW;

use crate::release::timeline::{Grid, VersionLine, arrival_ms};
use crate::time::MINUTE_MS;

/// A version without a request for this long has left.
const RETIRED_AFTER_MS: i64 = MINUTE_MS;

/// What a version is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Baseline,
    Candidate,
    /// Has traffic, and is not part of the comparison.
    Other,
    /// Had traffic in the range, and has none any more.
    Retired,
    /// Was seen, and has taken no request in the range.
    NoTraffic,
}

impl Role {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Baseline => "baseline",
            Role::Candidate => "candidate",
            Role::Other => "other",
            Role::Retired => "retired",
            Role::NoTraffic => "no_traffic",
        }
    }
}

/// The two versions that are compared; either may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub candidate: Option<Arc<str>>,
    pub baseline: Option<Arc<str>>,
    /// The two have no traffic at the same time (any more): the baseline's past stands in, which is weaker than a
    /// comparison side by side.
    pub before_after: bool,
}

/// Chooses the pair. A version that was asked for is taken when it is known, and the other one is chosen to fit.
pub(crate) fn choose(
    lines: &[VersionLine],
    grid: &Grid,
    asked_candidate: Option<&str>,
    asked_baseline: Option<&str>,
) -> Pair {
    let known = |asked: Option<&str>| asked.and_then(|asked| lines.iter().find(|line| &*line.version == asked));
    // Nothing can be said of a version beside itself.
    let asked_baseline = asked_baseline.filter(|_| asked_baseline != asked_candidate);
    let fixed_baseline = known(asked_baseline);
    let candidate = known(asked_candidate).or_else(|| newest_with_traffic(lines, grid, fixed_baseline));
    let baseline = match (fixed_baseline, candidate) {
        (Some(baseline), _) => Some(baseline),
        (None, Some(candidate)) => most_traffic_beside(lines, candidate),
        (None, None) => lines.iter().filter(|line| line.requests() > 0).max_by_key(|line| line.requests()),
    };
    Pair {
        before_after: match (baseline, candidate) {
            (Some(baseline), Some(candidate)) => !side_by_side(baseline, candidate, grid),
            _ => false,
        },
        candidate: candidate.map(|line| line.version.clone()),
        baseline: baseline.map(|line| line.version.clone()),
    }
}

/// The newest release with traffic, unless it is the only one.
fn newest_with_traffic<'a>(
    lines: &'a [VersionLine],
    grid: &Grid,
    baseline: Option<&VersionLine>,
) -> Option<&'a VersionLine> {
    let with_traffic = || lines.iter().filter(|line| line.requests() > 0);
    if with_traffic().count() < 2 {
        return None;
    }
    with_traffic()
        .filter(|line| &*line.version != UNVERSIONED && &*line.version != OVERFLOW)
        .filter(|line| baseline.is_none_or(|baseline| baseline.version != line.version))
        // Of two that were first seen together, as after a start of Shipwake itself, the smaller one is on trial.
        .max_by_key(|line| (arrival_ms(line, grid), u64::MAX - line.requests()))
}

/// The version with the most requests up to the candidate's last one; only when nobody had any, the most in the range.
fn most_traffic_beside<'a>(lines: &'a [VersionLine], candidate: &VersionLine) -> Option<&'a VersionLine> {
    let until = candidate.last_traffic().map_or(usize::MAX, |window| window + 1);
    let requests_until = |line: &VersionLine| line.cells.iter().take(until).map(|cell| cell.requests).sum::<u64>();
    let is_other = |line: &&VersionLine| line.version != candidate.version && &*line.version != OVERFLOW;
    let others = || lines.iter().filter(is_other).filter(|line| line.requests() > 0);
    others()
        .filter(|line| requests_until(line) > 0)
        .max_by_key(|line| requests_until(line))
        .or_else(|| others().max_by_key(|line| line.requests()))
}

/// Whether the baseline still had traffic when the candidate had its last.
fn side_by_side(baseline: &VersionLine, candidate: &VersionLine, grid: &Grid) -> bool {
    let (Some(last), Some(baseline_last)) = (candidate.last_traffic(), baseline.last_traffic()) else { return false };
    let slack = windows_of(RETIRED_AFTER_MS, grid);
    let together = candidate.cells.iter().zip(&baseline.cells).any(|(c, b)| c.requests > 0 && b.requests > 0);
    together && baseline_last + slack > last
}

/// The role of a version under a pair.
pub(crate) fn role_of(line: &VersionLine, pair: &Pair, grid: &Grid) -> Role {
    if pair.candidate.as_ref() == Some(&line.version) {
        return Role::Candidate;
    }
    if pair.baseline.as_ref() == Some(&line.version) {
        return Role::Baseline;
    }
    if line.requests() == 0 {
        return Role::NoTraffic;
    }
    if has_left(line, grid) { Role::Retired } else { Role::Other }
}

/// Whether a version that had traffic has had none for a minute of the range.
pub(crate) fn has_left(line: &VersionLine, grid: &Grid) -> bool {
    left_at(line, grid).is_some()
}

/// When the version's traffic ended, if it has left: the start of its first window without a request.
pub(crate) fn left_at(line: &VersionLine, grid: &Grid) -> Option<i64> {
    let end_ms = grid.from_ms + (line.last_traffic()? as i64 + 1) * grid.step_ms;
    (grid.to_ms.min(grid.watermark_ms) - end_ms >= RETIRED_AFTER_MS).then_some(end_ms)
}

/// When the traffic of the whole service ended, if it had some and has had none for a minute.
pub(crate) fn silent_since(lines: &[VersionLine], grid: &Grid) -> Option<i64> {
    let last = lines.iter().max_by_key(|line| line.last_traffic())?;
    left_at(last, grid)
}

/// How far the rollout of a pair's candidate has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing has been decided, or there is nothing to decide.
    Open,
    /// The candidate alone has traffic.
    Finished,
    /// The candidate has left, and an other version has traffic.
    Withdrawn,
}

/// What became of the pair's candidate.
pub(crate) fn outcome(lines: &[VersionLine], pair: &Pair, grid: &Grid) -> Outcome {
    let of = |version: &Option<Arc<str>>| lines.iter().find(|line| Some(&line.version) == version.as_ref());
    let Some(candidate) = of(&pair.candidate).filter(|line| line.requests() > 0) else { return Outcome::Open };
    let stays = |line: &VersionLine| line.requests() > 0 && !has_left(line, grid);
    let mut others = lines.iter().filter(|line| line.version != candidate.version);
    match (stays(candidate), others.any(stays)) {
        (true, false) if pair.baseline.is_some() => Outcome::Finished,
        (false, true) => Outcome::Withdrawn,
        _ => Outcome::Open,
    }
}

/// The role of a version once the outcome is known: who has the traffic is the baseline, who has left is retired.
pub(crate) fn settled_role_of(line: &VersionLine, pair: &Pair, outcome: Outcome, grid: &Grid) -> Role {
    match (outcome, role_of(line, pair, grid)) {
        (Outcome::Finished, Role::Candidate) => Role::Baseline,
        (Outcome::Finished, Role::Baseline) | (Outcome::Withdrawn, Role::Candidate) => Role::Retired,
        (_, role) => role,
    }
}

/// How many windows cover a time; at least one.
pub(crate) fn windows_of(ms: i64, grid: &Grid) -> usize {
    usize::try_from(ms.div_euclid(grid.step_ms)).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::testing::{grid, traffic};

    /// `candidate/baseline`, with `~` behind it for before/after.
    fn check(lines: &[VersionLine], expected: &str) {
        let windows = lines.iter().map(|line| line.cells.len()).max().unwrap_or(0);
        let pair = choose(lines, &grid(windows), None, None);
        let word = |version: &Option<Arc<str>>| version.as_deref().unwrap_or("-").to_owned();
        let mark = if pair.before_after { "~" } else { "" };
        assert_eq!(format!("{}/{}{mark}", word(&pair.candidate), word(&pair.baseline)), expected);
    }

    #[test]
    fn nothing_and_one_version_have_no_candidate() {
        check(&[], "-/-");
        check(&[traffic("1", -9, &[5, 5])], "-/1");
        check(&[traffic("1", -9, &[5, 5]), traffic("2", 0, &[0, 0])], "-/1");
    }

    #[test]
    fn a_canary_is_compared_with_what_runs_beside_it() {
        check(&[traffic("1", -9, &[90, 90]), traffic("2", 1, &[0, 10])], "2/1");
        check(&[traffic("0", -99, &[10, 10]), traffic("1", -9, &[80, 80]), traffic("2", 1, &[0, 10])], "2/1");
    }

    #[test]
    fn first_sight_decides_and_not_the_version_text() {
        check(
            &[traffic("9.0", -9, &[90, 90]), traffic("10.0-hotfix", 0, &[9, 9]), traffic("8.9", 1, &[0, 10])],
            "8.9/9.0",
        );
        check(&[traffic("b", 0, &[90, 90]), traffic("a", 0, &[10, 10])], "a/b");
    }

    #[test]
    fn a_finished_rollout_is_before_and_after() {
        let switched = |windows: usize| -> (Vec<u64>, Vec<u64>) {
            (0..windows).map(|n| if n < windows / 2 { (50, 0) } else { (0, 50) }).unzip()
        };
        let (blue, green) = switched(20);
        check(&[traffic("blue", -9, &blue), traffic("green", 10, &green)], "green/blue~");
    }

    #[test]
    fn a_rollback_keeps_the_names() {
        let old = [90, 90, 50, 50, 90, 90, 90, 90, 90, 90, 90, 90, 90];
        let new = [0, 10, 50, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let lines = [traffic("1", -9, &old), traffic("2", 1, &new)];
        check(&lines, "2/1");
        assert!(has_left(&lines[1], &grid(13)) && !has_left(&lines[0], &grid(13)));
    }

    #[test]
    fn a_rollout_ends_a_minute_after_one_of_the_two_had_its_last_request() {
        let outcome_of = |old: &[u64], new: &[u64]| {
            let lines = [traffic("1", -9, old), traffic("2", 1, new)];
            let grid = grid(old.len());
            let pair = choose(&lines, &grid, None, None);
            let outcome = outcome(&lines, &pair, &grid);
            let roles = lines.iter().map(|line| settled_role_of(line, &pair, outcome, &grid).as_str());
            (outcome, roles.collect::<Vec<_>>())
        };
        let (busy, idle) = ([50; 4], [0; 6]);
        let (left, stays) = ([&busy[..], &idle].concat(), [50; 10]);
        assert_eq!(outcome_of(&left, &stays), (Outcome::Finished, vec!["retired", "baseline"]));
        assert_eq!(outcome_of(&stays, &left), (Outcome::Withdrawn, vec!["baseline", "retired"]));
        assert_eq!(outcome_of(&left[..9], &stays[..9]), (Outcome::Open, vec!["baseline", "candidate"]));
        assert_eq!(outcome_of(&left, &left), (Outcome::Open, vec!["baseline", "candidate"]));
    }

    #[test]
    fn records_without_a_version_are_never_the_candidate() {
        check(&[traffic("1", -9, &[90]), traffic(UNVERSIONED, 0, &[10])], "1/unversioned");
        check(&[traffic("1", -9, &[50]), traffic("2", 0, &[10]), traffic(OVERFLOW, 0, &[90])], "2/1");
        check(&[traffic(UNVERSIONED, -9, &[90])], "-/unversioned");
    }

    #[test]
    fn what_was_asked_for_is_taken() {
        let lines = [traffic("1", -9, &[80]), traffic("2", -5, &[15]), traffic("3", 0, &[5])];
        let chosen = |candidate, baseline| {
            let pair = choose(&lines, &grid(1), candidate, baseline);
            (pair.candidate.as_deref().unwrap_or("-").to_owned(), pair.baseline.as_deref().unwrap_or("-").to_owned())
        };
        assert_eq!(chosen(Some("2"), None), ("2".into(), "1".into()));
        assert_eq!(chosen(None, Some("2")), ("3".into(), "2".into()));
        assert_eq!(chosen(None, Some("3")), ("2".into(), "3".into()));
        assert_eq!(chosen(Some("nobody"), None), ("3".into(), "1".into()));
        assert_eq!(chosen(Some("2"), Some("2")), ("2".into(), "1".into()), "not with itself");
    }

    #[test]
    fn every_version_has_a_role() {
        let mut lines = vec![traffic("old", -99, &[5]), traffic("1", -9, &[80]), traffic("2", 0, &[5])];
        lines[0].cells.extend(std::iter::repeat_n(Default::default(), 12));
        for line in &mut lines[1..] {
            let cell = line.cells[0].clone();
            line.cells.extend(std::iter::repeat_n(cell, 12));
        }
        lines.push(traffic("idle", 0, &[0; 13]));
        lines.push(traffic("third", -50, &[3; 13]));
        let grid = grid(13);
        let pair = choose(&lines, &grid, None, None);
        let roles: Vec<&str> = lines.iter().map(|line| role_of(line, &pair, &grid).as_str()).collect();
        assert_eq!(roles, ["retired", "baseline", "candidate", "no_traffic", "other"]);
    }
}
