//! What people see of cases besides the verdict itself: the board, quantiles, and log patterns that do not weigh yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::pattern::Level;
use shipwake_model::{HdrCells, Sketch};
use shipwake_store::HealthSeries;
use shipwake_verdict::Verdict;

use super::case::Case;
use super::changes;
use super::engine::Engine;
use super::measured;
use super::questions::{REACH_S, query};
use super::windows::Windows;
use crate::board::{Board, Judged};

impl Engine {
    /// The board of now; a new revision if something is new.
    pub fn board(&mut self, now_ms: i64, is_new: bool) -> Board {
        self.revision += u64::from(is_new);
        let judged = self.cases.iter().filter_map(|case| {
            let verdict = case.verdict.clone()?;
            let trail = |id: &String| case.trails.get(id).cloned().unwrap_or_default();
            Some(Arc::new(Judged {
                release: (*case.id).clone(),
                baseline: case.release.baseline.clone(),
                strategy: changes::strategy(case.release.strategy),
                share: case.release.share,
                levels: levels_of(case, &verdict),
                hashes: case.hashes.clone(),
                opened_ms: case.release.opened_s * 1_000,
                since_ms: case.since_ms,
                sequence: case.sequence,
                data_lag_ms: (now_ms - verdict.complete_until_s * 1_000).max(0),
                policy: case.policy.clone(),
                ending: case.release.ending.map(|(ending, at_s)| (changes::ending(ending), at_s * 1_000)),
                trails: verdict.checks.iter().map(|check| trail(&check.id)).collect(),
                past: case.past.clone(),
                verdict,
            }))
        });
        let mut releases: Vec<Arc<Judged>> = judged.collect();
        releases.sort_by_key(|judged| (std::cmp::Reverse(judged.opened_ms), judged.release.clone()));
        let sums = self.audits.sums.iter().filter(|(_, sum)| sum.audit.releases > 0);
        let audits = Arc::new(sums.map(|(id, sum)| (id.clone(), sum.told())).collect());
        let (idle, versions) = (self.idle.clone(), self.versions.clone());
        Board { revision: self.revision, as_of_ms: now_ms, releases, idle, versions, audits }
    }
}

/// The levels of the log patterns that a verdict names.
fn levels_of(case: &Case, verdict: &Verdict) -> BTreeMap<u64, Level> {
    let named = verdict.checks.iter().flat_map(|check| &check.patterns);
    named.filter_map(|pattern| Some((pattern.id, *case.levels.get(&pattern.id)?))).collect()
}

/// Which patterns there are in the minutes that are not over: their lines are named at once and weigh when the minute is over.
pub(super) fn show_patterns(case: &mut Case, windows: &dyn Windows, now_s: i64) {
    if case.main.is_past() || case.main.check("patterns").is_none() {
        return;
    }
    let (from_s, to_s) = (case.minutes_s.max(now_s - REACH_S), now_s.div_euclid(60) * 60 + 60);
    let requests = windows.health(&query(Some(&case.id), from_s, to_s, false));
    measured::show_patterns(case, windows, &requests, from_s, to_s);
}

pub(super) fn show_quantiles(case: &mut Case, windows: &dyn Windows, now_ms: i64) {
    let Some(baseline) = case.release.baseline.clone() else { return };
    let now_s = now_ms.div_euclid(10_000) * 10;
    let opened_s = case.release.opened_s.div_euclid(10) * 10;
    let from_s = opened_s.max(now_s - REACH_S);
    let read = |from_s: i64, to_s: i64| {
        let mut asked = query(Some(&case.id), from_s, to_s, false);
        asked.step_s = 3_600;
        windows.health(&asked)
    };
    let beside = read(from_s, now_s + 20);
    let before = case.main.is_past().then(|| read(opened_s - REACH_S, opened_s));
    let of = |found: &[HealthSeries], version: &str| {
        let mut all = HdrCells::new();
        let ours = found.iter().filter(|one| {
            one.source == case.source && one.release.namespace == case.id.namespace && &*one.release.version == version
        });
        ours.flat_map(|one| &one.cells).for_each(|cell| all.merge(&cell.duration));
        Sketch::Hdr(all)
    };
    let candidate = of(&beside, &case.release.version);
    let baseline = of(before.as_ref().unwrap_or(&beside), &baseline);
    let alpha = 0.05;
    case.show_quantiles(&candidate, &baseline, alpha);
}
