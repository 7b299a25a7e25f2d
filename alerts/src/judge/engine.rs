//! The judge without its thread: what is known, and what a look makes of it. Time is an argument.
//!
//! A look reads the traffic of all services (little of it: the newest windows, and one older slice in turn), follows the rollouts, opens a
//! case for every release, reads the windows of open cases, and judges them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use shipwake_model::pattern::Level;
use shipwake_model::release::OVERFLOW;
use shipwake_model::{HdrCells, Kpi, ReleaseId, Sketch, Source};
use shipwake_rollout::{Limits, Place, Release, Sight, Strategy};
use shipwake_store::{HealthQuery, HealthSeries, MeasureQuery, PatternQuery, ReleaseRow, SlotSeries};
use shipwake_verdict::{Comparison, Verdict, Word};

use super::audit::Audits;
use super::case::{Case, Extras, Moment, Trial, checks, of_version, past_windows};
use super::changes;
use super::idle;
use super::learn::{Again, Learnt, SlotWindows, busiest_routes, learn, source};
use super::measured;
use super::notices::Taken;
use super::windows::{Completeness, Windows, completeness};
use super::words::Told;
use crate::board::{Board, Judged, PlaceId, Versions};
use crate::change::Change;
use crate::policies::Policies;

/// Places that are followed; those that were quiet the longest are forgotten.
const PLACES_MAX: usize = 4_000;
/// Releases that are judged at a time. Further ones wait until one ends.
pub(crate) const OPEN_MAX: usize = 64;
/// Cases that are remembered, with those that ended.
pub(crate) const CASES_MAX: usize = 96;
/// Numbers of changes that are remembered of releases that are forgotten.
const NUMBERS_MAX: usize = 1_000;
/// How long shards keep windows of ten seconds.
pub(crate) const REACH_S: i64 = 3_540;
/// Windows that began this long ago are read at every look.
const GROWING_S: i64 = 120;
/// Of older ones so many seconds are read at a look, in turn.
const SLICE_S: i64 = 60;
/// Traffic of all services is read as far back as rollouts remember it.
const TRAFFIC_S: i64 = 600;
/// And again after so long for a version that was new before and still is, ms.
const READ_ALL_EVERY_MS: i64 = 5_000;
/// Slots are read as far back with every complete window: a minute tells which are alive.
const SLOTS_S: i64 = 180;
/// Late data is waited for so long before what is fed once is fed, in seconds.
const LATE_S: i64 = 10;
/// Quantiles are drawn anew after so long, ms.
const QUANTILES_EVERY_MS: i64 = 15_000;

/// How the judge works.
#[derive(Clone, Debug, Default)]
pub struct JudgeConfig {
    /// By what releases are judged.
    pub policies: Policies,
    /// The declared KPIs.
    pub kpis: Arc<[Kpi]>,
    /// Times by which rollouts are told.
    pub limits: Limits,
}

/// What a look came to.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Changes of words, and endings.
    pub changes: Vec<Change>,
    /// Something was judged.
    pub is_new: bool,
    /// Open releases beyond the bound.
    pub unjudged: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub config: JudgeConfig,
    pub places: BTreeMap<PlaceId, Place>,
    /// The best source that each place has had requests from; not stored.
    sources: HashMap<PlaceId, Source>,
    pub cases: Vec<Case>,
    /// The number of the last change of releases whose cases are forgotten.
    pub numbers: VecDeque<(Arc<ReleaseId>, u64)>,
    pub revision: u64,
    /// How often it would have been wrong, since the start; not stored.
    pub audits: Audits,
    /// Markers that were taken; not stored, taking one again changes nothing.
    taken: Taken,
    traffic_at_ms: i64,
    read_all_ms: i64,
    /// Versions that run and have taken no request yet.
    idle: Vec<Arc<Judged>>,
    /// The versions that were seen of each service, of so many rows; not stored.
    versions: Arc<Versions>,
    rows: usize,
    /// Versions that were new at the last look.
    unsettled: HashSet<Arc<ReleaseId>>,
    traffic_slice_s: i64,
    quantiles_at_ms: i64,
    slots_until_s: i64,
    /// See [`Completeness`]; neither goes back.
    complete_ms: i64,
    nearly_ms: i64,
}

impl Engine {
    pub fn new(config: JudgeConfig) -> Engine {
        Engine { config, complete_ms: i64::MIN, nearly_ms: i64::MIN, traffic_at_ms: i64::MIN, ..Engine::default() }
    }

    /// How many releases are judged.
    pub fn open_releases(&self) -> usize {
        self.cases.iter().filter(|case| case.release.is_open()).count()
    }

    /// One look, and a step of the audit.
    pub fn look(&mut self, windows: &dyn Windows, now_ms: i64) -> Looked {
        let looked = self.step(windows, now_ms);
        if self.complete_ms != i64::MIN {
            let Engine { audits, places, sources, config, complete_ms, .. } = self;
            let complete_s = complete_ms.div_euclid(1_000);
            audits.step(windows, places, |id| sources.get(id).copied(), &config.policies, complete_s);
        }
        looked
    }

    /// One look, without the audit.
    pub fn step(&mut self, windows: &dyn Windows, now_ms: i64) -> Looked {
        let began = Instant::now();
        let completeness = completeness(&windows.status(), false);
        if completeness.until_ms.is_none() {
            return Looked::default();
        }
        let rows = windows.releases();
        if now_ms >= self.traffic_at_ms.saturating_add(1_000) {
            self.follow(windows, &rows, now_ms, completeness);
            self.traffic_at_ms = now_ms;
        }
        let mut looked = Looked::default();
        if self.complete_ms == i64::MIN {
            // Since the start some shard could not be heard, or is catching up.
            return looked;
        }
        self.open_and_end(windows, &rows, now_ms, &mut looked);
        if self.complete_ms.div_euclid(10_000) * 10 > self.slots_until_s {
            // Before anything is read: what is opened anew is fed at this look.
            self.renew(windows, &rows, now_ms);
        }
        self.read(windows, now_ms);
        self.read_seldom(windows, now_ms);
        let is_whole = completeness.is_whole && !windows.is_incomplete(began);
        self.judge(&rows, now_ms, is_whole, &mut looked);
        self.bound();
        looked
    }

    /// Reads the traffic of all services and follows their rollouts.
    fn follow(&mut self, windows: &dyn Windows, rows: &[ReleaseRow], now_ms: i64, completeness: Completeness) {
        let until_ms = completeness.until_ms.unwrap_or(now_ms).min(now_ms);
        if completeness.is_whole {
            self.complete_ms = self.complete_ms.max(until_ms);
            let nearly_ms = completeness.nearly_ms.unwrap_or(until_ms).min(now_ms);
            self.nearly_ms = self.nearly_ms.max(nearly_ms);
        }
        let now_s = now_ms.div_euclid(10_000) * 10;
        let question = |from_s: i64, to_s: i64| query(None, from_s, to_s, false);
        // When a version came is told by its first window, which may have been sent after later ones.
        let is_new = |row: &ReleaseRow| {
            let place = self.places.get(&place_of(&row.release));
            row.requests > 0 && place.is_none_or(|place| !place.has_settled(&row.release.version))
        };
        let unsettled: HashSet<Arc<ReleaseId>> =
            rows.iter().filter(|row| is_new(row)).map(|row| row.release.clone()).collect();
        let is_long_ago = now_ms >= self.read_all_ms.saturating_add(READ_ALL_EVERY_MS);
        let is_newer = unsettled.iter().any(|release| is_long_ago || !self.unsettled.contains(release));
        let reads_all = self.traffic_at_ms == i64::MIN || is_newer;
        if reads_all {
            self.read_all_ms = now_ms;
        }
        self.unsettled = unsettled;
        let mut found = windows.health(&question(now_s - if reads_all { TRAFFIC_S } else { SLICE_S }, now_s + 20));
        if !reads_all {
            let (from_s, to_s) = (now_s - TRAFFIC_S, now_s - SLICE_S);
            let start_s = if (from_s..to_s).contains(&self.traffic_slice_s) { self.traffic_slice_s } else { from_s };
            self.traffic_slice_s = start_s + SLICE_S;
            found.extend(windows.health(&question(start_s, (start_s + SLICE_S).min(to_s))));
        }
        for one in found.iter().filter(|one| one.cells.iter().any(|cell| cell.requests > 0)) {
            let known = self.sources.entry(place_of(&one.release)).or_insert(one.source);
            *known = (*known).min(one.source);
        }
        let mut traffic: HashMap<&ReleaseId, Vec<(i64, u64)>> = HashMap::new();
        for one in &found {
            if self.sources.get(&place_of(&one.release)) == Some(&one.source) {
                let cells = one.cells.iter().map(|cell| (cell.t_ms.div_euclid(1_000), cell.requests));
                traffic.entry(&one.release).or_default().extend(cells);
            }
        }
        let mut seen: BTreeMap<PlaceId, Vec<Sight>> = BTreeMap::new();
        // Of services beyond their bound nobody knows which is which.
        for row in rows.iter().filter(|row| &*row.release.service != OVERFLOW) {
            seen.entry(place_of(&row.release)).or_default().push(Sight {
                version: row.release.version.clone(),
                first_seen_s: row.first_seen_ns.div_euclid(1_000_000_000),
                last_seen_s: row.last_seen_ns.div_euclid(1_000_000_000),
                instances: row.instances,
                windows: traffic.remove(&*row.release).unwrap_or_default(),
            });
        }
        let complete_s = self.complete_ms.div_euclid(1_000);
        if self.complete_ms == i64::MIN {
            return;
        }
        self.taken.take(windows, &mut self.places, now_ms);
        for (id, seen) in seen {
            self.places.entry(id).or_default().look(&seen, complete_s, &self.config.limits);
        }
        self.idle = idle::waiting(rows, &self.places, &self.config.policies, now_ms);
        if self.rows != rows.len() {
            self.rows = rows.len();
            self.versions = idle::versions(rows);
        }
    }

    /// Opens cases of new releases, and tells the ends of old ones.
    fn open_and_end(&mut self, windows: &dyn Windows, rows: &[ReleaseRow], now_ms: i64, looked: &mut Looked) {
        let mut releases: Vec<(PlaceId, Release)> = Vec::new();
        for (id, place) in &self.places {
            releases.extend(place.releases().iter().map(|release| (id.clone(), release.clone())));
        }
        let is_of = |case: &Case, id: &PlaceId, release: &Release| {
            place_of(&case.id) == *id && case.id.version == release.version && case.release.opened_s == release.opened_s
        };
        self.cases
            .retain(|case| releases.iter().any(|(id, release)| is_of(case, id, release)) || !case.release.is_open());
        for (id, release) in releases {
            let has_room = self.open_releases() < OPEN_MAX;
            match self.cases.iter_mut().find(|case| is_of(case, &id, &release)) {
                Some(case) => {
                    if case.release.is_open() && !release.is_open() {
                        case.sequence += 1;
                        case.release = release;
                        case.close();
                        case.tell_end();
                        looked.changes.extend(changes::ended(case, now_ms));
                        looked.is_new = true;
                    } else if case.release.is_open() {
                        case.release = release;
                    }
                }
                None if release.is_open() && has_room => {
                    let case = self.open(windows, rows, &id, release, now_ms);
                    self.cases.retain(|known| known.id != case.id);
                    self.cases.push(case);
                    looked.is_new = true;
                }
                None => looked.unjudged += usize::from(release.is_open()),
            }
        }
        let kept_ms = self.config.limits.kept_s * 1_000;
        let is_kept = |case: &Case| case.release.ending.is_none_or(|(_, at_s)| at_s * 1_000 + kept_ms > now_ms);
        let (kept, forgotten): (Vec<Case>, Vec<Case>) = std::mem::take(&mut self.cases).into_iter().partition(is_kept);
        self.cases = kept;
        self.numbers.extend(forgotten.into_iter().map(|case| (case.id, case.sequence)));
        while self.numbers.len() > NUMBERS_MAX {
            self.numbers.pop_front();
        }
    }

    fn open(&self, windows: &dyn Windows, rows: &[ReleaseRow], place: &PlaceId, release: Release, now_ms: i64) -> Case {
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
    fn renew(&mut self, windows: &dyn Windows, rows: &[ReleaseRow], now_ms: i64) {
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

    /// Feeds every open case with what its windows have grown by.
    fn read(&mut self, windows: &dyn Windows, now_ms: i64) {
        let now_s = now_ms.div_euclid(10_000) * 10;
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
                .or_insert_with(|| windows.health(&query(Some(&case.id), growing_s, now_s + 20, true)));
            feed(case, newest);
            if from_s < growing_s {
                let start_s = if (from_s..growing_s).contains(&case.slice_s) { case.slice_s } else { from_s };
                case.slice_s = start_s + SLICE_S;
                feed(case, &windows.health(&query(Some(&case.id), start_s, (start_s + SLICE_S).min(growing_s), true)));
            }
        }
    }

    /// What is read less often: slots with every complete window, minutes when they are over, quantiles for people.
    fn read_seldom(&mut self, windows: &dyn Windows, now_ms: i64) {
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
        if now_ms >= self.quantiles_at_ms.saturating_add(QUANTILES_EVERY_MS) {
            self.quantiles_at_ms = now_ms;
            for case in self.cases.iter_mut().filter(|case| case.release.is_open()) {
                show_quantiles(case, windows, now_ms);
            }
        }
    }

    fn judge(&mut self, rows: &[ReleaseRow], now_ms: i64, is_whole: bool, looked: &mut Looked) {
        // While a shard cannot be heard, what is there may lack one side: complete is what was before.
        let lacking_ms = |case: &Case| {
            let named = self.config.policies.of(&case.id.service, &case.id.environment);
            now_ms - i64::from(named.policy.lag_max_s) * 1_000 - 1_000
        };
        let moments: Vec<i64> = self
            .cases
            .iter()
            .map(|case| if is_whole { self.nearly_ms } else { self.nearly_ms.min(lacking_ms(case)) })
            .collect();
        for (case, complete_ms) in self.cases.iter_mut().zip(moments).filter(|(case, _)| case.release.is_open()) {
            // Instances that have stopped had names all the same.
            let known = |side: fn(&Moment) -> Option<u32>| case.moment.as_ref().and_then(side);
            let moment = Moment {
                now_ms,
                complete_ms,
                candidate: instances_of(rows, &case.id, Some(&case.release.version)).or(known(|known| known.candidate)),
                baseline: instances_of(rows, &case.id, case.release.baseline.as_deref())
                    .or(known(|known| known.baseline)),
            };
            let baseline = case.release.baseline.clone();
            for (version, known) in [Some(&*case.id.version), baseline.as_deref()].into_iter().zip(&mut case.hashes) {
                remember_hashes(rows, &case.id, version, known);
            }
            looked.is_new = true;
            if let Some(before) = case.judge(&moment) {
                looked.changes.extend(changes::changed(case, before, now_ms));
            }
        }
    }

    fn bound(&mut self) {
        while self.cases.len() > CASES_MAX {
            let ended = self.cases.iter().position(|case| !case.release.is_open()).unwrap_or(0);
            self.cases.remove(ended);
        }
        if self.places.len() > PLACES_MAX {
            let before_s = self.complete_ms.div_euclid(1_000) - 86_400;
            self.places.retain(|_, place| !place.is_forgotten(before_s));
            while self.places.len() > PLACES_MAX {
                let quiet = self.places.iter().find(|(_, place)| place.is_quiet()).map(|(id, _)| id.clone());
                let Some(id) = quiet.or_else(|| self.places.keys().next().cloned()) else { break };
                self.places.remove(&id);
            }
            self.sources.retain(|id, _| self.places.contains_key(id));
            self.audits.keep(&self.places);
        }
    }

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

/// What a baseline did before a release.
struct History {
    routes: Vec<String>,
    source: Source,
    of_baseline: SlotWindows,
    until_s: i64,
}

pub(crate) fn place_of(release: &ReleaseId) -> PlaceId {
    (release.namespace.clone(), release.service.clone(), release.environment.clone())
}

/// The windows of ten seconds of a place, without routes.
pub(crate) fn query_of_place((_, service, environment): &PlaceId, from_s: i64, to_s: i64) -> HealthQuery {
    HealthQuery {
        service: Some(service.to_string()),
        environment: Some(environment.to_string()),
        ..query(None, from_s, to_s, false)
    }
}

fn query(of: Option<&ReleaseId>, from_s: i64, to_s: i64, by_route: bool) -> HealthQuery {
    HealthQuery {
        service: of.map(|id| id.service.to_string()),
        environment: of.map(|id| id.environment.to_string()),
        from_ms: from_s * 1_000,
        to_ms: to_s * 1_000,
        step_s: 10,
        by_route,
    }
}

fn measures(id: &ReleaseId, signals: &'static [&'static str], from_s: i64, to_s: i64) -> MeasureQuery {
    MeasureQuery {
        service: Some(id.service.to_string()),
        environment: Some(id.environment.to_string()),
        signals,
        values: &[],
        from_ms: from_s * 1_000,
        to_ms: to_s * 1_000,
        step_s: 10,
    }
}

/// The levels of the log patterns that a verdict names.
fn levels_of(case: &Case, verdict: &Verdict) -> BTreeMap<u64, Level> {
    let named = verdict.checks.iter().flat_map(|check| &check.patterns);
    named.filter_map(|pattern| Some((pattern.id, *case.levels.get(&pattern.id)?))).collect()
}

/// What is known of a version of a release's service. The version is asked first: it tells nearly all rows apart, and looks are many.
fn row_of<'a>(rows: &'a [ReleaseRow], id: &ReleaseId, version: Option<&str>) -> Option<&'a ReleaseRow> {
    let version = version?;
    rows.iter().find(|row| &*row.release.version == version && place_of(&row.release) == place_of(id))
}

/// Takes note of the pod templates that a version runs from, while it does.
fn remember_hashes(rows: &[ReleaseRow], id: &ReleaseId, version: Option<&str>, known: &mut Vec<Arc<str>>) {
    let row = row_of(rows, id, version);
    if let Some(row) = row.filter(|row| !row.hashes.is_empty() && row.hashes != *known) {
        known.clone_from(&row.hashes);
    }
}

/// How many instances of a version run; `None` where its records name none.
fn instances_of(rows: &[ReleaseRow], id: &ReleaseId, version: Option<&str>) -> Option<u32> {
    let row = row_of(rows, id, version)?;
    // One that was guessed may be many behind one address.
    (row.instances > 1 || (row.instances == 1 && !row.instance_guessed)).then_some(row.instances)
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

/// Which patterns there are in the minutes that are not over: their lines are named at once and weigh when the minute is over.
fn show_patterns(case: &mut Case, windows: &dyn Windows, now_s: i64) {
    if case.main.is_past() || case.main.check("patterns").is_none() {
        return;
    }
    let (from_s, to_s) = (case.minutes_s.max(now_s - REACH_S), now_s.div_euclid(60) * 60 + 60);
    let requests = windows.health(&query(Some(&case.id), from_s, to_s, false));
    measured::show_patterns(case, windows, &requests, from_s, to_s);
}

fn show_quantiles(case: &mut Case, windows: &dyn Windows, now_ms: i64) {
    let Some(baseline) = case.release.baseline.clone() else { return };
    let now_s = now_ms.div_euclid(10_000) * 10;
    let opened_s = case.release.opened_s.div_euclid(10) * 10;
    let from_s = opened_s.max(now_s - REACH_S);
    let of = |from_s: i64, to_s: i64, version: &str| {
        let mut asked = query(Some(&case.id), from_s, to_s, false);
        asked.step_s = 3_600;
        let mut all = HdrCells::new();
        let found = windows.health(&asked);
        let ours = found.iter().filter(|one| {
            one.source == case.source && one.release.namespace == case.id.namespace && &*one.release.version == version
        });
        ours.flat_map(|one| &one.cells).for_each(|cell| all.merge(&cell.duration));
        Sketch::Hdr(all)
    };
    let candidate = of(from_s, now_s + 20, &case.release.version);
    let beside = if case.main.is_past() {
        of(opened_s - REACH_S, opened_s, &baseline)
    } else {
        of(from_s, now_s + 20, &baseline)
    };
    let alpha = 0.05;
    case.show_quantiles(&candidate, &beside, alpha);
}
