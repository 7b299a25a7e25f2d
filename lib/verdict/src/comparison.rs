//! A release beside its baseline: windows go in, a verdict comes out, at any time.
//!
//! Everything that is looked at is here and nothing else: no clock, no chance, no configuration but the policy. The same windows,
//! in any order and cut in any way, and the same looks give the same verdict to the bit.

use crate::check::{Check, Kind, weights};
use crate::counts::Counts;
use crate::evidence::Scale;
use crate::patterns::{PatternLines, Patterns};
use crate::policy::Policy;
use crate::quantile::QuantileDifference;
use crate::split::Split;
use crate::track::{STRATA_MAX, Track};
use crate::values::{Side, Values};
use crate::verdict::{Latched, Verdict};

/// What the judge is told beside the windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Now, in seconds since the epoch.
    pub now_s: i64,
    /// Event time up to which windows are complete on both sides, in seconds since the epoch.
    pub complete_until_s: i64,
    /// Of the release that is judged.
    pub candidate: Instances,
    /// Of the release beside it.
    pub baseline: Instances,
    /// Both take traffic at the same time. If not, windows of the baseline's past were given beside the candidate's.
    pub concurrent: bool,
}

/// The instances of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// How many take part; `None` when records name none.
    pub count: Option<u32>,
    /// How many of them have sent nothing of late, though they were not stopped.
    pub silent: u32,
}

/// Times beyond this many seconds before and after the epoch are no times: thirty million years.
const TIME_MAX_S: i64 = 1 << 50;

/// See the module.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub(crate) policy: Policy,
    pub(crate) checks: Vec<Check>,
    /// Names of strata; what is beyond them is the last one.
    pub(crate) strata: Vec<String>,
    /// The candidate's first request, in seconds since the epoch.
    pub(crate) opened_s: i64,
    pub(crate) weights: Vec<f64>,
    pub(crate) bodies: Vec<Body>,
    pub(crate) split: Split,
    /// The newest window's start.
    pub(crate) newest_s: i64,
    /// Exposure of the first check, also where only one side had traffic.
    pub(crate) seen: Counts,
    pub(crate) quantiles: Vec<Vec<QuantileDifference>>,
    pub(crate) suspicious_since_s: Vec<Option<i64>>,
    pub(crate) latched: Option<Latched>,
}

/// What a check has taken in.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Counts(Vec<Track>),
    Values(Values),
    Patterns(Patterns),
}

impl Comparison {
    /// Opens a comparison at the candidate's first request. `strata` are the names of the busiest routes (at most twenty count);
    /// what is in none of them is judged together as the last one.
    pub fn open(policy: Policy, checks: Vec<Check>, strata: Vec<String>, opened_s: i64) -> Comparison {
        let opened_s = clamped(opened_s);
        let mut strata = strata;
        strata.truncate(usize::from(STRATA_MAX - 1));
        let origin_s = opened_s.saturating_add(i64::from(policy.warm_up_s));
        let body = |check: &Check| match &check.kind {
            Kind::Counts(parts) => {
                let block_s = |noise_s: u32| policy.block_s.unwrap_or(noise_s);
                Body::Counts(parts.iter().map(|part| Track::new(block_s(part.noise.block_s), origin_s)).collect())
            }
            Kind::Values { block_s, .. } => Body::Values(Values::new(*block_s)),
            Kind::Patterns => Body::Patterns(Patterns::default()),
        };
        Comparison {
            weights: weights(&checks, &policy.weights),
            bodies: checks.iter().map(body).collect(),
            quantiles: vec![Vec::new(); checks.len()],
            suspicious_since_s: vec![None; checks.len()],
            policy,
            checks,
            strata,
            opened_s,
            split: Split::default(),
            newest_s: i64::MIN,
            seen: Counts::default(),
            latched: None,
        }
    }

    /// The checks, in the order by which they are named below.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The place of a stratum; that of "everything else" for an unknown name.
    pub fn stratum(&self, name: &str) -> u16 {
        self.strata.iter().position(|known| known == name).unwrap_or(self.strata.len()) as u16
    }

    /// The name of a stratum.
    pub(crate) fn stratum_name(&self, stratum: u16) -> &str {
        self.strata.get(usize::from(stratum)).map_or("other routes", String::as_str)
    }

    /// Adds counts of one part of a check in the window that begins at `start_s`. Windows of one second or ten; the same window may
    /// come in any number of parts.
    pub fn add(&mut self, check: usize, part: usize, stratum: u16, start_s: i64, counts: Counts) {
        self.take(check, part, stratum, start_s, counts, |track, at, is_warm, counts| {
            track.add(start_s, at, is_warm, counts);
            counts
        });
    }

    /// Makes the counts of a window at least these: for whoever reads the same windows again while they grow. What was known already
    /// changes nothing, so nothing is counted twice; a window whose late data does not count any more stays as it is.
    pub fn raise(&mut self, check: usize, part: usize, stratum: u16, start_s: i64, counts: Counts) {
        let counts = counts.capped();
        self.take(check, part, stratum, start_s, counts, |track, at, is_warm, counts| {
            track.raise(start_s, at, is_warm, counts)
        });
    }

    /// `put` gives what was added, sides as the part wants them.
    fn take(
        &mut self,
        check: usize,
        part: usize,
        stratum: u16,
        start_s: i64,
        counts: Counts,
        put: impl FnOnce(&mut Track, u16, bool, Counts) -> Counts,
    ) {
        let is_warm = start_s < self.opened_s.saturating_add(i64::from(self.policy.warm_up_s));
        let stratum = stratum.min(self.strata.len() as u16);
        if start_s != clamped(start_s) {
            return;
        }
        let (Some(Body::Counts(tracks)), Some(Kind::Counts(parts))) =
            (self.bodies.get_mut(check), self.checks.get(check).map(|check| &check.kind))
        else {
            return;
        };
        let (Some(track), Some(described)) = (tracks.get_mut(part), parts.get(part)) else { return };
        let turned = |counts: Counts| if described.fewer_is_worse { counts.swapped() } else { counts };
        let added = put(track, stratum, is_warm, turned(counts));
        if (check, part) == (0, 0) {
            self.seen += turned(added).capped();
        }
        self.newest_s = self.newest_s.max(start_s);
    }

    /// Adds a sum of values (revenue) over exposure (sessions) of one side.
    pub fn add_values(&mut self, check: usize, start_s: i64, side: Side, sum: f64, exposure: u64) {
        let is_warm = start_s < self.opened_s.saturating_add(i64::from(self.policy.warm_up_s));
        let counts = !is_warm && start_s == clamped(start_s);
        if let Some(Body::Values(values)) = self.bodies.get_mut(check).filter(|_| counts) {
            values.add(start_s, side, sum, exposure);
        }
    }

    /// Adds log lines of one pattern in one window.
    pub fn add_pattern(&mut self, check: usize, lines: PatternLines<'_>) {
        if let Some(Body::Patterns(patterns)) = self.bodies.get_mut(check) {
            patterns.add(lines);
        }
    }

    /// Adds log lines of a window that may still grow: they are named beside the others and weigh nothing. Not stored.
    pub fn show_pattern(&mut self, check: usize, lines: PatternLines<'_>) {
        if let Some(Body::Patterns(patterns)) = self.bodies.get_mut(check) {
            patterns.show(lines);
        }
    }

    /// Takes back what [`Self::show_pattern`] added, to be told anew.
    pub fn forget_growing_patterns(&mut self, check: usize) {
        if let Some(Body::Patterns(patterns)) = self.bodies.get_mut(check) {
            patterns.forget_growing();
        }
    }

    /// Adds requests of candidate and baseline where the split of traffic was declared.
    pub fn add_split(&mut self, observed: [u64; 2], declared: [f64; 2]) {
        self.split.add(&observed, &declared);
    }

    /// Sets the quantiles that people are shown for a check of durations: of the merged histograms so far.
    pub fn show_quantiles(&mut self, check: usize, quantiles: Vec<QuantileDifference>) {
        if let Some(place) = self.quantiles.get_mut(check) {
            *place = quantiles;
        }
    }

    /// The verdict on everything so far. Looking does not change the evidence; that a release is "no go" is kept from the first
    /// time on.
    pub fn judge(&mut self, facts: &Facts) -> Verdict {
        let facts = Facts { now_s: clamped(facts.now_s), complete_until_s: clamped(facts.complete_until_s), ..*facts };
        self.seal(&facts);
        crate::judge::judge(self, &facts)
    }

    /// Closes all blocks: nothing is added any more, and what is stored of it is small. The evidence stays as it is.
    pub fn close(&mut self, facts: &Facts) {
        self.seal_before(TIME_MAX_S, facts);
    }

    /// What margins are widened by.
    pub(crate) fn scale(&self, facts: &Facts) -> Scale {
        Scale {
            // Where nobody names instances, one of each is assumed.
            candidates: facts.candidate.count.unwrap_or(1),
            baselines: facts.baseline.count.unwrap_or(1),
            allowance_worse: self.policy.allowance_worse,
            allowance_fine: self.policy.allowance_fine,
            alpha_interval: self.policy.alpha_interval,
            alpha_fast: self.policy.alpha_fast,
            alpha_slow: self.policy.alpha_slow,
            warm_up: self.policy.warm_up,
        }
    }

    /// Closes what late data cannot change any more.
    fn seal(&mut self, facts: &Facts) {
        if self.newest_s == i64::MIN {
            return;
        }
        let newest_s = self.newest_s.min(facts.now_s);
        let before_s = newest_s.saturating_sub(i64::from(self.policy.late_max_s)).min(facts.complete_until_s);
        self.seal_before(before_s, facts);
    }

    fn seal_before(&mut self, before_s: i64, facts: &Facts) {
        let scale = self.scale(facts);
        for (body, check) in self.bodies.iter_mut().zip(&self.checks) {
            let (Body::Counts(tracks), Kind::Counts(parts)) = (body, &check.kind) else { continue };
            for (track, part) in tracks.iter_mut().zip(parts) {
                track.seal(before_s, scale.margins(part, track.counts.baseline));
            }
        }
    }
}

/// A time that can be reckoned with.
pub(crate) fn clamped(time_s: i64) -> i64 {
    time_s.clamp(-TIME_MAX_S, TIME_MAX_S)
}
