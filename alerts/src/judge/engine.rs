//! The judge without its thread: what is known, and what a look makes of it. Time is an argument.
//!
//! A look reads the traffic of all services (little of it: the newest windows, and one older slice in turn), follows the rollouts, opens a
//! case for every release, reads the windows of open cases, and judges them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use shipwake_model::release::OVERFLOW;
use shipwake_model::{Kpi, ReleaseId, Source};
use shipwake_rollout::{Limits, Place, Release, Sight};
use shipwake_store::ReleaseRow;

use super::audit::Audits;
use super::case::{Case, Moment};
use super::changes;
use super::clocks::Clocks;
use super::idle;
use super::notices::Taken;
use super::questions::{instances_of, place_of, query, row_of};
use super::windows::{Completeness, Windows, completeness};
use crate::board::{Judged, PlaceId, Versions};
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
/// Of older ones so many seconds are read at a look, in turn.
pub(super) const SLICE_S: i64 = 60;
/// Traffic of all services is read as far back as rollouts remember it.
const TRAFFIC_S: i64 = 600;
/// And again after so long for a version that was new before and still is, ms.
const READ_ALL_EVERY_MS: i64 = 5_000;

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
    pub(super) sources: HashMap<PlaceId, Source>,
    pub cases: Vec<Case>,
    /// The number of the last change of releases whose cases are forgotten.
    pub numbers: VecDeque<(Arc<ReleaseId>, u64)>,
    pub revision: u64,
    /// How often it would have been wrong.
    pub audits: Audits,
    /// Markers that were taken; not stored, taking one again changes nothing.
    taken: Taken,
    traffic_at_ms: i64,
    read_all_ms: i64,
    /// Whose times are those of now; not stored.
    clocks: Clocks,
    /// Versions that run and cannot be judged yet: without a request, or with a clock that is behind.
    pub(super) idle: Vec<Arc<Judged>>,
    /// The versions that were seen of each service, of so many rows; not stored.
    pub(super) versions: Arc<Versions>,
    rows: usize,
    /// Versions that were new at the last look.
    unsettled: HashSet<Arc<ReleaseId>>,
    traffic_slice_s: i64,
    pub(super) growing_at_ms: i64,
    pub(super) quantiles_at_ms: i64,
    pub(super) quantiles_turn: usize,
    pub(super) slots_until_s: i64,
    /// See [`Completeness`]; neither goes back.
    pub(super) complete_ms: i64,
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
        self.complete(completeness, now_ms);
        let now_s = now_ms.div_euclid(10_000) * 10;
        let question = |from_s: i64, to_s: i64| query(None, from_s, to_s, false);
        self.clocks.look(rows, now_ms);
        // What is behind and not known yet stays unknown until its times are those of now.
        let is_behind = |row: &ReleaseRow| {
            let has_settled = |place: &Place| place.has_settled(&row.release.version);
            self.clocks.behind_s(&row.release).is_some()
                && !self.places.get(&place_of(&row.release)).is_some_and(has_settled)
        };
        // When a version came is told by its first window, which may have been sent after later ones.
        let is_new = |row: &ReleaseRow| {
            let place = self.places.get(&place_of(&row.release));
            row.requests > 0 && place.is_none_or(|place| !place.has_settled(&row.release.version)) && !is_behind(row)
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
        for row in rows.iter().filter(|row| &*row.release.service != OVERFLOW && !is_behind(row)) {
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
        self.idle = idle::waiting(rows, &self.places, &self.clocks, &self.config.policies, now_ms);
        if self.rows != rows.len() {
            self.rows = rows.len();
            self.versions = idle::versions(rows);
        }
    }

    /// Takes note of until when everything is there.
    fn complete(&mut self, completeness: Completeness, now_ms: i64) {
        let until_ms = completeness.until_ms.unwrap_or(now_ms).min(now_ms);
        if completeness.is_whole {
            self.complete_ms = self.complete_ms.max(until_ms);
            let nearly_ms = completeness.nearly_ms.unwrap_or(until_ms).min(now_ms);
            self.nearly_ms = self.nearly_ms.max(nearly_ms);
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
}

/// Takes note of the pod templates that a version runs from, while it does.
fn remember_hashes(rows: &[ReleaseRow], id: &ReleaseId, version: Option<&str>, known: &mut Vec<Arc<str>>) {
    let row = row_of(rows, id, version);
    if let Some(row) = row.filter(|row| !row.hashes.is_empty() && row.hashes != *known) {
        known.clone_from(&row.hashes);
    }
}
