//! One release that is judged: its comparison, what it is fed with, and what was said of it.
//!
//! Windows are read again and again while they grow, and a comparison's counts are raised to them: nothing is counted twice, and
//! evidence counts from a window's first record on. What is not counts (values, log patterns) is fed once, when its minute is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::kpi::{Better, Kpi, KpiValue, Per};
use shipwake_model::pattern::Level;
use shipwake_model::{ReleaseId, Sketch, Source};
use shipwake_rollout::Release;
use shipwake_store::{HealthSeries, SlotSeries};
use shipwake_verdict::latency::Thresholds;
use shipwake_verdict::{Check, Comparison, Counts, Facts, Instances, Kind, Noise, Tally, Verdict, Word};

use super::changes;
use super::learn::{Again, Learnt, SlotWindows, UNIT_S, silent};
use super::questions::REACH_S;
use super::words::Told;
use crate::board::{Past, TrailPoint};
use crate::policies::NamedPolicy;

/// Points of a check's trail; beyond them every second of the older ones goes.
const TRAIL_MAX: usize = 120;
/// Words that a release had.
const PAST_MAX: usize = 50;
/// A point of the trail every so many seconds of complete data.
const TRAIL_EVERY_MS: i64 = 10_000;
/// Windows of a past that can stand in for a baseline.
const PAST_WINDOWS_MIN: usize = 6;

/// What a baseline did in one window before the release, all routes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PastWindow {
    pub requests: u64,
    pub errors: u64,
    pub timed: u64,
    pub beyond: [u64; 3],
}

/// A comparison with how it is fed.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub comparison: Comparison,
    pub thresholds: Option<Thresholds>,
    /// Durations count from here on, in seconds since the epoch: thresholds are frozen before what they are held against.
    pub latency_from_s: i64,
    /// Windows of the baseline's past that stand in for it, oldest first; empty where it has traffic of its own.
    pub past: Vec<PastWindow>,
    /// The first window that is compared with the first of the past.
    pub past_from_s: i64,
}

/// What is known of the two sides at a look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub now_ms: i64,
    /// Event time up to which data is complete, ms.
    pub complete_ms: i64,
    pub candidate: Option<u32>,
    pub baseline: Option<u32>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub id: Arc<ReleaseId>,
    /// As the rollout has it at the last look.
    pub release: Release,
    pub source: Source,
    pub policy: Arc<str>,
    pub main: Trial,
    /// Once it has all the traffic: the hour before stands in for the baseline that has left.
    pub after: Option<Trial>,
    pub told: Told,
    pub since_ms: i64,
    pub sequence: u64,
    pub past: Vec<Past>,
    pub trails: BTreeMap<String, Vec<TrailPoint>>,
    /// The newest window in which either side had requests, in seconds since the epoch.
    pub newest_s: i64,
    /// Requests a second of the baseline, before the release.
    pub usual_rate: f64,
    /// Minutes whose patterns and values were fed, up to here, in seconds since the epoch.
    pub minutes_s: i64,
    /// Windows whose split of traffic was held against the announced one, up to here, in seconds since the epoch.
    pub split_s: i64,
    /// Silent slots of candidate and baseline.
    pub silent: [u32; 2],
    /// Where the next older slice begins, in seconds since the epoch; not stored.
    pub slice_s: i64,
    /// The worst level of each bad log pattern that either side has had; not stored, the next minute tells it again.
    pub levels: BTreeMap<u64, Level>,
    /// Hashes of the pod templates of candidate and baseline; not stored, the next look tells them again.
    pub hashes: [Vec<Arc<str>>; 2],
    /// Everything within reach is to be read at the next look; not stored.
    pub reread: bool,
    /// So are slots, sessions and events, which are read with every complete window; not stored.
    pub refill: bool,
    /// When more of the baseline's past may be there; not stored.
    pub again: Again,
    pub verdict: Option<Verdict>,
    /// Of the last look.
    pub moment: Option<Moment>,
}

/// Which checks can be made besides those of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    pub has_sessions: bool,
    pub has_patterns: bool,
    pub kpis: Vec<Kpi>,
}

/// The checks of a release, without those that its policy turns off.
pub(crate) fn checks(named: &NamedPolicy, learnt: &Learnt, extras: &Extras, names_instances: bool) -> Vec<Check> {
    let policy = &named.policy;
    let mut checks = vec![Check::errors(policy, learnt.errors, learnt.requests_per_hour)];
    if let Some((thresholds, noise)) = &learnt.latency {
        checks.push(Check::latency(policy, thresholds, *noise));
    }
    if extras.has_sessions {
        checks.push(Check::crashes(policy, Noise::unknown()));
    }
    if names_instances {
        checks.push(Check::traffic(policy, learnt.traffic));
    }
    if extras.has_patterns {
        checks.push(Check::patterns());
    }
    checks.extend(extras.kpis.iter().filter_map(|kpi| kpi_check(policy, kpi)));
    named.apply(checks)
}

/// The check of a declared KPI. A sum of which less is better, and what is divided by nothing, is shown and not judged.
fn kpi_check(policy: &shipwake_verdict::Policy, kpi: &Kpi) -> Option<Check> {
    match (kpi.value, kpi.better) {
        _ if matches!(kpi.per, Per::None | Per::User) && kpi.value != KpiValue::Mean => None,
        (KpiValue::Count, better) => {
            let mut check = Check::kpi_events(policy, &kpi.key, &kpi.title, Noise::unknown());
            if let Kind::Counts(parts) = &mut check.kind {
                parts.iter_mut().for_each(|part| part.fewer_is_worse = better == Better::Higher);
            }
            Some(check)
        }
        (KpiValue::Sum | KpiValue::Mean, Better::Higher) => Some(Check::kpi_values(policy, &kpi.key, &kpi.title, 60)),
        (KpiValue::Sum | KpiValue::Mean, Better::Lower) => None,
    }
}

impl Trial {
    /// The place of a check by its id.
    pub fn check(&self, id: &str) -> Option<usize> {
        self.comparison.checks().iter().position(|check| check.id == id)
    }

    /// Whether the baseline's past stands in for it.
    pub fn is_past(&self) -> bool {
        !self.past.is_empty()
    }

    /// Raises the counts of requests, errors and durations to what was read, of windows that begin at `from_s` or later.
    pub fn feed(
        &mut self,
        series: &[&HealthSeries],
        source: Source,
        candidate: &str,
        baseline: Option<&str>,
        from_s: i64,
    ) {
        let (errors, latency) = (self.check("errors"), self.check("latency"));
        let mut windows: BTreeMap<(i64, u16), [Counts; 4]> = BTreeMap::new();
        for one in series.iter().filter(|one| one.source == source) {
            let is_candidate = &*one.release.version == candidate;
            if !is_candidate && (self.is_past() || Some(&*one.release.version) != baseline) {
                continue;
            }
            let stratum = self.comparison.stratum(&one.route);
            for cell in &one.cells {
                let start_s = cell.t_ms.div_euclid(1_000);
                if start_s < from_s || cell.requests == 0 {
                    continue;
                }
                let counts = windows.entry((start_s, stratum)).or_default();
                let mut tallies = [Tally::new(cell.errors, cell.requests); 4];
                match &self.thresholds {
                    Some(thresholds) if latency.is_some() && start_s >= self.latency_from_s => {
                        let beyond = thresholds.tallies_of_cells(&cell.duration);
                        tallies[1..].copy_from_slice(&beyond);
                    }
                    _ => tallies[1..].fill(Tally::default()),
                }
                for (counts, tally) in counts.iter_mut().zip(tallies) {
                    let side = if is_candidate { &mut counts.candidate } else { &mut counts.baseline };
                    *side += tally;
                }
            }
        }
        for ((start_s, stratum), mut counts) in windows {
            if let Some(past) = self.past_of(start_s) {
                counts[0].baseline = Tally::new(past.errors, past.requests);
                for (k, counts) in counts[1..].iter_mut().enumerate() {
                    counts.baseline = Tally::new(past.beyond[k], past.timed);
                }
            }
            if let Some(errors) = errors {
                self.comparison.raise(errors, 0, stratum, start_s, counts[0]);
            }
            if let Some(latency) = latency.filter(|_| start_s >= self.latency_from_s) {
                for (part, counts) in counts[1..].iter().enumerate() {
                    self.comparison.raise(latency, part, stratum, start_s, *counts);
                }
            }
        }
    }

    /// The window of the past that a window is compared with: the same number of seconds after the beginning, over and over.
    fn past_of(&self, start_s: i64) -> Option<PastWindow> {
        let number = (start_s - self.past_from_s).div_euclid(10);
        let many = i64::try_from(self.past.len()).unwrap_or(i64::MAX);
        (many > 0).then(|| self.past[number.rem_euclid(many) as usize])
    }

    /// Raises the counts of slots that were alive, of complete windows; gives the silent ones of both sides.
    pub fn feed_slots(&mut self, sides: [&SlotWindows; 2], from_s: i64, until_s: i64) -> [u32; 2] {
        let alive = sides.map(SlotWindows::alive);
        if let Some(traffic) = self.check("traffic").filter(|_| !self.is_past()) {
            let whole = self.comparison.stratum("");
            let sum = |at_s: i64, side: usize| {
                let found = alive[side].iter().find(|(start_s, _)| *start_s == at_s);
                found
                    .map_or(Tally::default(), |(_, slots)| slots.iter().fold(Tally::default(), |sum, slot| sum + *slot))
            };
            for (at_s, _) in alive[0].iter().filter(|(at_s, _)| *at_s >= from_s && at_s + 10 <= until_s) {
                self.comparison.raise(traffic, 0, whole, *at_s, Counts::new(sum(*at_s, 0), sum(*at_s, 1)));
            }
        }
        [silent(&alive[0], until_s), if self.is_past() { 0 } else { silent(&alive[1], until_s) }]
    }

    fn judge(&mut self, moment: &Moment, silent: [u32; 2], past_instances: u32) -> Verdict {
        let is_past = self.is_past();
        let baseline = if is_past { Some(past_instances.max(1)) } else { moment.baseline };
        self.comparison.judge(&Facts {
            now_s: moment.now_ms.div_euclid(1_000),
            complete_until_s: moment.complete_ms.div_euclid(1_000),
            candidate: Instances { count: moment.candidate, silent: silent[0] },
            baseline: Instances { count: baseline, silent: silent[1] },
            concurrent: !is_past,
        })
    }
}

/// The past of a baseline, window by window, for a comparison without one beside it. Empty when there is too little of it.
pub(crate) fn past_windows(history: &SlotWindows, thresholds: Option<&Thresholds>) -> Vec<PastWindow> {
    let window = |slots: &[super::learn::SlotWindow; 8]| {
        let mut window = PastWindow::default();
        for slot in slots {
            window.requests += slot.requests;
            window.errors += slot.errors;
            if let Some(thresholds) = thresholds {
                let beyond = thresholds.tallies_of_cells(&slot.duration);
                window.timed += beyond[0].exposure;
                for (sum, more) in window.beyond.iter_mut().zip(beyond) {
                    *sum += more.events;
                }
            }
        }
        window
    };
    let windows: Vec<PastWindow> = history.0.values().map(window).filter(|window| window.requests > 0).collect();
    if windows.len() < PAST_WINDOWS_MIN { Vec::new() } else { windows }
}

impl Case {
    pub fn candidate(&self) -> Arc<str> {
        self.release.version.clone()
    }

    /// How long a past its noise was learnt from, in seconds.
    pub fn learnt_s(&self) -> u64 {
        match self.main.comparison.checks().first().map(|check| &check.kind) {
            Some(Kind::Counts(parts)) => parts.first().map_or(0, |part| part.noise.learnt_s),
            _ => 0,
        }
    }

    /// From where on is read what is read with every complete window: the last `usual_s` seconds, or all that it missed.
    pub fn seldom_from_s(&self, until_s: i64, usual_s: i64) -> i64 {
        // A minute before the first window tells which slots were alive then.
        let first_s = (self.release.opened_s.div_euclid(10) * 10 - 60).max(until_s - REACH_S);
        if self.refill { first_s.min(until_s - usual_s) } else { until_s - usual_s }
    }

    /// Another comparison takes the place of the one there was: everything is fed to it from the beginning.
    pub fn begin_again(&mut self, main: Trial, source: Source) {
        (self.main, self.source) = (main, source);
        self.minutes_s = self.release.opened_s.div_euclid(60) * 60;
        self.split_s = self.release.opened_s;
        (self.reread, self.refill) = (true, true);
    }

    /// Takes note of when there was traffic on either side.
    pub fn saw(&mut self, series: &[&HealthSeries]) {
        let baseline = self.release.baseline.as_deref();
        let ours = series.iter().filter(|one| {
            let version = &*one.release.version;
            one.source == self.source && (version == &*self.release.version || Some(version) == baseline)
        });
        let newest_ms =
            ours.filter_map(|one| one.cells.iter().rev().find(|cell| cell.requests > 0)).map(|cell| cell.t_ms);
        self.newest_s = newest_ms.max().map_or(self.newest_s, |t_ms| self.newest_s.max(t_ms.div_euclid(1_000)));
    }

    /// Up to when data of these two is complete. Where both are silent for far longer than they usually are between two requests, it
    /// ends where they fell silent: nobody can tell a quiet service from one that cannot be heard.
    fn complete_ms(&self, complete_ms: i64) -> i64 {
        const QUIET_MIN_S: f64 = 30.0;
        const GAPS: f64 = 20.0;
        let usual_s = if self.usual_rate > 0.0 { GAPS / self.usual_rate } else { QUIET_MIN_S };
        let quiet_ms = (usual_s.clamp(QUIET_MIN_S, 600.0) * 1e3) as i64;
        let newest_ms = (self.newest_s + 10) * 1_000;
        if complete_ms.saturating_sub(newest_ms) > quiet_ms { newest_ms } else { complete_ms }
    }

    /// Holds the traffic of complete windows against the share that was announced, once that has had half a minute to come about.
    pub fn feed_split(&mut self, sides: [&SlotWindows; 2], until_s: i64) {
        const SETTLE_S: i64 = 30;
        let Some((weight, at_s)) = self.release.weight.filter(|(weight, _)| *weight > 0.0 && *weight < 1.0) else {
            return;
        };
        let from_s = self.split_s.max(at_s + SETTLE_S).max(self.release.opened_s + SETTLE_S);
        let requests = |side: usize| {
            let within = sides[side].0.iter().filter(|(start_s, _)| **start_s >= from_s && **start_s + 10 <= until_s);
            within.flat_map(|(_, slots)| slots).map(|slot| slot.requests).sum::<u64>()
        };
        let observed = [requests(0), requests(1)];
        if observed.iter().sum::<u64>() > 0 {
            self.main.comparison.add_split(observed, [weight, 1.0 - weight]);
        }
        self.split_s = self.split_s.max(until_s);
    }

    /// The verdict on everything so far; and the word before, if the one that is told has changed.
    pub fn judge(&mut self, moment: &Moment) -> Option<Word> {
        let moment = Moment { complete_ms: self.complete_ms(moment.complete_ms), ..*moment };
        let mut verdict = self.weigh(&moment);
        let before = self.told.hear(&mut verdict, moment.now_ms.div_euclid(1_000));
        tracing::debug!(release = %self.id, word = verdict.word.as_str(), ln_fast = verdict.ln_fast, ln_slow = verdict.ln_slow, summary = verdict.summary, "looked");
        self.draw(&verdict, moment.complete_ms);
        if before.is_some() {
            self.sequence += 1;
            self.since_ms = moment.now_ms;
            self.note(&verdict, moment.now_ms);
        }
        (self.verdict, self.moment) = (Some(verdict), Some(moment));
        before
    }

    /// The verdict of the comparison, or that of the watch once it says "no go".
    fn weigh(&mut self, moment: &Moment) -> Verdict {
        let instances = self.release.baseline_instances;
        let verdict = self.main.judge(moment, self.silent, instances);
        let later = self.after.as_mut().map(|after| after.judge(moment, self.silent, instances));
        match later {
            Some(later) if later.word == Word::NoGo && verdict.word != Word::NoGo => later,
            _ => verdict,
        }
    }

    /// The verdict as it was told last, from what is stored.
    pub fn recall(&mut self) {
        let Some(moment) = self.moment else { return };
        let mut verdict = self.weigh(&moment);
        verdict.word = self.told.word;
        verdict.summary.clone_from(&self.told.summary);
        self.verdict = Some(verdict);
        if !self.release.is_open() {
            self.tell_end();
        }
    }

    /// Keeps of its evidence what the last word rests on: no window can come any more.
    pub fn close(&mut self) {
        let Some(moment) = self.moment else { return };
        let facts = |trial: &Trial| Facts {
            now_s: moment.now_ms.div_euclid(1_000),
            complete_until_s: moment.complete_ms.div_euclid(1_000),
            candidate: Instances { count: moment.candidate, silent: 0 },
            baseline: Instances { count: moment.baseline, silent: 0 },
            concurrent: !trial.is_past(),
        };
        let facts_of_main = facts(&self.main);
        self.main.comparison.close(&facts_of_main);
        if let Some(after) = &mut self.after {
            let facts_of_after = facts(after);
            after.comparison.close(&facts_of_after);
        }
    }

    /// What is said of a release that ended: a decision stays what it was; what it still waited for is of no interest.
    pub fn tell_end(&mut self) {
        let Some(verdict) = self.verdict.as_mut().filter(|verdict| !verdict.word.is_decided()) else { return };
        let Some(end) = changes::end_sentence(&self.release) else { return };
        verdict.summary = format!("{end} It was not decided.");
        verdict.missing = None;
        verdict.guards.retain(|guard| !guard.is_of_time());
        self.told.summary.clone_from(&verdict.summary);
    }

    /// The word of now, among those that it had.
    pub fn note(&mut self, verdict: &Verdict, at_ms: i64) {
        self.past.push(Past { word: verdict.word, at_ms, summary: verdict.summary.as_str().into() });
        if self.past.len() > PAST_MAX {
            self.past.remove(0);
        }
    }

    /// A point of the trail of each check.
    fn draw(&mut self, verdict: &Verdict, complete_ms: i64) {
        for check in &verdict.checks {
            let Some(effect) = check.effect.filter(|effect| effect.value.is_finite()) else { continue };
            let trail = self.trails.entry(check.id.clone()).or_default();
            if trail.last().is_some_and(|last| last.t_ms + TRAIL_EVERY_MS > complete_ms) {
                continue;
            }
            trail.push(TrailPoint {
                t_ms: complete_ms,
                value: effect.value,
                low: effect.low,
                high: effect.high,
                ln_worse: check.ln_worse.max(check.ln_fast),
            });
            if trail.len() > TRAIL_MAX {
                let older = trail.len() / 2;
                let mut at = 0;
                trail.retain(|_| {
                    at += 1;
                    at > older || at % 2 == 0
                });
            }
        }
    }

    /// Quantiles for people.
    pub fn show_quantiles(&mut self, candidate: &Sketch, baseline: &Sketch, alpha: f64) {
        const SHOWN: [f64; 3] = [0.5, 0.9, 0.99];
        let Some(latency) = self.main.check("latency") else { return };
        let dispersion = match &self.main.comparison.checks()[latency].kind {
            Kind::Counts(parts) => parts.iter().map(|part| part.noise.dispersion_fast).collect::<Vec<f64>>(),
            _ => return,
        };
        let differences = SHOWN.iter().zip(dispersion).filter_map(|(q, dispersion)| {
            shipwake_verdict::quantile::difference(candidate, baseline, *q, UNIT_S, alpha, dispersion)
        });
        let differences = differences.collect();
        self.main.comparison.show_quantiles(latency, differences);
    }
}

/// Whether a series by slot is of one version.
pub(crate) fn of_version<'a>(
    id: &'a ReleaseId,
    version: &'a str,
    source: Source,
) -> impl Fn(&SlotSeries) -> bool + use<'a> {
    move |one| one.source == source && one.release.namespace == id.namespace && &*one.release.version == version
}
