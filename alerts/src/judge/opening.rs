//! Opens the case of a release: what its baseline did before, which checks that allows, and by what they are judged; and opens anew what was
//! opened too soon.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::{ReleaseId, Source};
use shipwake_rollout::{Release, Strategy};
use shipwake_store::{HealthSeries, PatternQuery, ReleaseRow};
use shipwake_verdict::{Comparison, Word};

use super::case::{Case, Extras, Trial, checks, of_version, past_windows};
use super::engine::Engine;
use super::learn::{Again, Learnt, SlotWindows, busiest_routes, learn, source};
use super::questions::{REACH_S, instances_of, measures, place_of, query};
use super::windows::Windows;
use super::words::Told;
use crate::board::PlaceId;

/// What a baseline did before a release.
struct History {
    routes: Vec<String>,
    source: Source,
    of_baseline: SlotWindows,
    until_s: i64,
}

impl Engine {
    pub(super) fn open(
        &self,
        windows: &dyn Windows,
        rows: &[ReleaseRow],
        place: &PlaceId,
        release: Release,
        now_ms: i64,
    ) -> Case {
        let (namespace, service, environment) = place.clone();
        let id = Arc::new(ReleaseId { service, namespace, environment, version: release.version.clone() });
        let known = self.cases.iter().find(|case| case.id == id).map(|case| case.sequence);
        let numbered = self.numbers.iter().rev().find(|(of, _)| *of == id).map(|(_, number)| *number);
        let named = self.config.policies.of(&id.service, &id.environment);
        let history = self.history(windows, &id, &release, release.opened_s);
        let extras = self.extras(windows, &id, &release, now_ms);
        let instances = instances_of(rows, &id, release.baseline.as_deref());
        let (main, learnt) = self.trial(windows, &id, &release, &history, &extras, instances);
        Case {
            told: Told::default(),
            since_ms: now_ms,
            sequence: known.or(numbered).unwrap_or(0),
            past: Vec::new(),
            trails: BTreeMap::new(),
            newest_s: release.opened_s,
            usual_rate: learnt.requests_per_hour / 3_600.0,
            minutes_s: release.opened_s.div_euclid(60) * 60,
            split_s: release.opened_s,
            silent: [0, 0],
            slice_s: i64::MIN,
            levels: BTreeMap::new(),
            hashes: Default::default(),
            reread: true,
            refill: true,
            again: Again::after(history.of_baseline.requests(), now_ms),
            verdict: None,
            moment: None,
            source: history.source,
            policy: named.name.clone(),
            after: None,
            main,
            release,
            id,
        }
    }

    /// The baseline's windows of the hour before `until_s`.
    fn history(&self, windows: &dyn Windows, id: &ReleaseId, release: &Release, until_s: i64) -> History {
        let until_s = until_s.div_euclid(10) * 10;
        let by_route = windows.health(&query(Some(id), until_s - REACH_S, until_s + 20, true));
        let ours: Vec<HealthSeries> =
            by_route.into_iter().filter(|one| one.release.namespace == id.namespace).collect();
        let known = self.sources.get(&place_of(id)).copied();
        let source = source(&ours, release.baseline.as_deref(), &release.version).or(known).unwrap_or(Source::Spans);
        let slots = windows.slots(&query(Some(id), until_s - REACH_S, until_s, false));
        let of_baseline = match &release.baseline {
            Some(baseline) => SlotWindows::of(&slots, of_version(id, baseline, source)),
            None => SlotWindows::default(),
        };
        let is_baseline =
            |one: &HealthSeries| one.source == source && Some(&one.release.version) == release.baseline.as_ref();
        History { routes: busiest_routes(&ours, is_baseline), source, of_baseline, until_s }
    }

    /// Which checks can be made besides those of requests. What customers do says nothing of a release that none of them sees.
    fn extras(&self, windows: &dyn Windows, id: &ReleaseId, release: &Release, now_ms: i64) -> Extras {
        let until_s = now_ms.div_euclid(1_000);
        let has_patterns = windows
            .patterns(&PatternQuery {
                service: Some(id.service.to_string()),
                environment: Some(id.environment.to_string()),
                from_ms: now_ms,
                to_ms: now_ms,
            })
            .iter()
            .any(|row| row.namespace == id.namespace);
        if release.is_internal {
            return Extras { has_patterns, ..Extras::default() };
        }
        let usage = windows.measures(&measures(id, &["usage"], until_s - REACH_S, until_s));
        let has_sessions =
            usage.iter().any(|one| &*one.key.metric == "sessions" && one.key.release.namespace == id.namespace);
        let concerned = self.config.kpis.iter().filter(|kpi| kpi.concerns(&id.service, &id.environment));
        Extras { has_sessions, has_patterns, kpis: concerned.cloned().collect() }
    }

    /// A comparison with what is learnt before it.
    fn trial(
        &self,
        windows: &dyn Windows,
        id: &ReleaseId,
        release: &Release,
        history: &History,
        extras: &Extras,
        instances: Option<u32>,
    ) -> (Trial, Learnt) {
        let named = self.config.policies.of(&id.service, &id.environment);
        let mut learnt = learn(&history.of_baseline, history.until_s - 1_800, instances, &named.policy.latency);
        let mut latency_from_s = release.opened_s;
        if learnt.latency.is_none() {
            // Too little history: what the baseline does beside the release tells what is usual, for the windows after it.
            let now_s = self.complete_ms.div_euclid(10_000) * 10;
            let later = self.history(windows, id, release, now_s);
            let from_s = (now_s - 1_800).min(release.opened_s);
            let found = learn(&later.of_baseline, from_s, instances, &named.policy.latency);
            (learnt.latency, latency_from_s) = (found.latency, now_s);
        }
        if let Some(floor) = self.audits.floor(&place_of(id)) {
            learnt.errors = learnt.errors.at_least(floor);
        }
        let checks = checks(named, &learnt, extras, instances.is_some());
        let thresholds = learnt.latency.map(|(thresholds, _)| thresholds);
        let past = if release.needs_past(&self.config.limits) {
            past_windows(&history.of_baseline, thresholds.as_ref())
        } else {
            Vec::new()
        };
        let strata = if past.is_empty() { history.routes.clone() } else { Vec::new() };
        let comparison = Comparison::open(named.policy.clone(), checks, strata, release.opened_s);
        let past_from_s = release.opened_s.div_euclid(10) * 10;
        (Trial { comparison, thresholds, latency_from_s, past, past_from_s }, learnt)
    }

    /// Opens anew what was opened too soon to know durations or before the baseline's past was there, or beside a baseline that left at
    /// once; and the watch of a release that has all the traffic.
    pub(super) fn renew(&mut self, windows: &dyn Windows, rows: &[ReleaseRow], now_ms: i64) {
        for at in 0..self.cases.len() {
            let case = &self.cases[at];
            let is_latched = case.told.word == Word::NoGo;
            if !case.release.is_open() || is_latched {
                continue;
            }
            let (id, release) = (case.id.clone(), case.release.clone());
            let age_s = self.complete_ms.div_euclid(1_000) - release.opened_s;
            let wants_past = release.needs_past(&self.config.limits) && !case.main.is_past();
            let wants_latency = case.main.thresholds.is_none() && (60..REACH_S).contains(&age_s);
            // What was decided by then stays decided.
            let asks_again = case.told.word != Word::Go && age_s < REACH_S && case.again.is_due(now_ms);
            if wants_past || wants_latency || asks_again {
                let history = self.history(windows, &id, &release, release.opened_s);
                let (requests, span_s) = (history.of_baseline.requests(), history.of_baseline.span_s());
                let case = &mut self.cases[at];
                let is_longer = span_s > case.learnt_s();
                let learns_again = asks_again && case.again.finds(requests, is_longer, now_ms);
                if !wants_past && !wants_latency && !learns_again {
                    continue;
                }
                let extras = self.extras(windows, &id, &release, now_ms);
                let instances = instances_of(rows, &id, release.baseline.as_deref());
                let (main, learnt) = self.trial(windows, &id, &release, &history, &extras, instances);
                let case = &mut self.cases[at];
                if learns_again || main.is_past() != case.main.is_past() || main.thresholds.is_some() {
                    case.usual_rate = learnt.requests_per_hour / 3_600.0;
                    case.begin_again(main, history.source);
                }
            } else if let (Some(full_s), None, false) = (release.full_since_s, &case.after, case.main.is_past()) {
                let mut watched = release;
                (watched.opened_s, watched.strategy) = (full_s, Strategy::BeforeAfter);
                let history = self.history(windows, &id, &watched, full_s - self.config.limits.gone_s);
                let (mut after, _) = self.trial(windows, &id, &watched, &history, &Extras::default(), None);
                if after.is_past() {
                    after.past_from_s = full_s.div_euclid(10) * 10;
                    self.cases[at].after = Some(after);
                    self.cases[at].reread = true;
                }
            }
        }
    }
}
