//! Feeds open cases with what their windows have grown by: the newest at every look and older ones in turn; slots, sessions and declared events
//! with every complete window; log patterns and values when their minute is over.

use std::collections::HashMap;
use std::sync::Arc;

use shipwake_model::Kpi;
use shipwake_store::{HealthSeries, SlotSeries};

use super::case::{Case, of_version};
use super::engine::{Engine, SLICE_S};
use super::learn::SlotWindows;
use super::measured;
use super::questions::{REACH_S, measures, query};
use super::showing::{show_patterns, show_quantiles};
use super::windows::Windows;

/// Windows that began this long ago are read at every look: what nearly all senders hold records for, and a window.
const NEWEST_S: i64 = 40;
/// And those of so long ago often: some senders hold records for a minute.
const GROWING_S: i64 = 120;
/// How often that is, ms.
const GROWING_EVERY_MS: i64 = 5_000;
/// Slots are read as far back with every complete window: a minute tells which are alive.
const SLOTS_S: i64 = 180;
/// Late data is waited for so long before what is fed once is fed, in seconds.
const LATE_S: i64 = 10;
/// Quantiles of a release are drawn anew after so many seconds in which there were looks.
const QUANTILES_EVERY: usize = 15;

impl Engine {
    /// Feeds every open case with what its windows have grown by.
    pub(super) fn read(&mut self, windows: &dyn Windows, now_ms: i64) {
        let now_s = now_ms.div_euclid(10_000) * 10;
        let is_long_ago = now_ms >= self.growing_at_ms.saturating_add(GROWING_EVERY_MS);
        if is_long_ago {
            self.growing_at_ms = now_ms;
        }
        let newest_s = now_s - if is_long_ago { GROWING_S } else { NEWEST_S };
        let mut growing: HashMap<(Arc<str>, Arc<str>), Vec<HealthSeries>> = HashMap::new();
        for case in self.cases.iter_mut().filter(|case| case.release.is_open()) {
            let first_s = case.release.opened_s.div_euclid(10) * 10;
            let (from_s, growing_s) = (first_s.max(now_s - REACH_S), now_s - GROWING_S);
            if case.reread {
                case.reread = false;
                feed(case, &windows.health(&query(Some(&case.id), from_s, now_s + 20, true)));
                continue;
            }
            let place = (case.id.service.clone(), case.id.environment.clone());
            let newest = growing
                .entry(place)
                .or_insert_with(|| windows.health(&query(Some(&case.id), newest_s, now_s + 20, true)));
            feed(case, newest);
            if from_s < growing_s {
                let start_s = if (from_s..growing_s).contains(&case.slice_s) { case.slice_s } else { from_s };
                case.slice_s = start_s + SLICE_S;
                feed(case, &windows.health(&query(Some(&case.id), start_s, (start_s + SLICE_S).min(growing_s), true)));
            }
        }
    }

    /// What is read less often: slots with every complete window, minutes when they are over, quantiles for people.
    pub(super) fn read_seldom(&mut self, windows: &dyn Windows, now_ms: i64) {
        let until_s = self.complete_ms.div_euclid(10_000) * 10;
        if until_s > self.slots_until_s {
            self.slots_until_s = until_s;
            for case in self.cases.iter_mut().filter(|case| case.release.is_open()) {
                let from_s = case.seldom_from_s(until_s, SLOTS_S);
                feed_slots(case, &windows.slots(&query(Some(&case.id), from_s, until_s, false)), until_s);
            }
            feed_measures(&mut self.cases, windows, &self.config.kpis, until_s);
            self.cases.iter_mut().for_each(|case| case.refill = false);
            for case in self.cases.iter_mut().filter(|case| case.release.is_open()) {
                show_patterns(case, windows, now_ms.div_euclid(1_000));
            }
        }
        for case in self.cases.iter_mut().filter(|case| case.release.is_open()) {
            let over_s = (self.complete_ms.div_euclid(1_000) - LATE_S).div_euclid(60) * 60;
            if over_s > case.minutes_s {
                feed_minutes(case, windows, &self.config.kpis, over_s);
                case.minutes_s = over_s;
            }
        }
        if now_ms >= self.quantiles_at_ms.saturating_add(1_000) {
            self.quantiles_at_ms = now_ms;
            self.quantiles_turn = (self.quantiles_turn + 1) % QUANTILES_EVERY;
            let open = self.cases.iter_mut().filter(|case| case.release.is_open());
            for case in open.skip(self.quantiles_turn).step_by(QUANTILES_EVERY) {
                show_quantiles(case, windows, now_ms);
            }
        }
    }
}

fn feed(case: &mut Case, series: &[HealthSeries]) {
    let ours: Vec<&HealthSeries> = series.iter().filter(|one| one.release.namespace == case.id.namespace).collect();
    case.saw(&ours);
    let (candidate, baseline) = (case.candidate(), case.release.baseline.clone());
    let first_s = case.release.opened_s.div_euclid(10) * 10;
    case.main.feed(&ours, case.source, &candidate, baseline.as_deref(), first_s);
    if let Some(after) = &mut case.after {
        let from_s = after.past_from_s;
        after.feed(&ours, case.source, &candidate, baseline.as_deref(), from_s);
    }
}

fn feed_slots(case: &mut Case, slots: &[SlotSeries], until_s: i64) {
    let of = |version: &str| SlotWindows::of(slots, of_version(&case.id, version, case.source));
    let candidate = of(&case.release.version);
    let baseline = case.release.baseline.as_deref().map(of).unwrap_or_default();
    case.feed_split([&candidate, &baseline], until_s);
    case.silent = case.main.feed_slots([&candidate, &baseline], case.release.opened_s + 60, until_s);
}

/// Raises the counts of sessions and of declared events, of the last two minutes.
fn feed_measures(cases: &mut [Case], windows: &dyn Windows, kpis: &[Kpi], until_s: i64) {
    for case in cases.iter_mut().filter(|case| case.release.is_open() && !case.main.is_past()) {
        let is_asked =
            case.main.comparison.checks().iter().any(|check| check.id == "crashes" || check.id.starts_with("kpi."));
        if !is_asked {
            continue;
        }
        let first_s = case.release.opened_s.div_euclid(10) * 10;
        let from_s = case.seldom_from_s(until_s, GROWING_S).max(first_s);
        let found = windows.measures(&measures(&case.id, &["kpi", "usage"], from_s, until_s));
        let requests = windows.health(&query(Some(&case.id), from_s, until_s, false));
        measured::feed_counts(case, &found, &requests, kpis);
    }
}

/// Feeds what is fed once: log patterns and values of minutes that are over.
fn feed_minutes(case: &mut Case, windows: &dyn Windows, kpis: &[Kpi], over_s: i64) {
    if case.main.is_past() {
        return;
    }
    let from_s = case.minutes_s.max(over_s - REACH_S);
    let requests = windows.health(&query(Some(&case.id), from_s, over_s, false));
    measured::feed_patterns(case, windows, &requests, from_s, over_s);
    if case.main.comparison.checks().iter().any(|check| check.id.starts_with("kpi.")) {
        let found = windows.measures(&measures(&case.id, &["kpi", "usage"], from_s, over_s));
        measured::feed_values(case, &found, &requests, kpis);
    }
}
