//! Log patterns that a release has more of: which ones, and how sure that is.
//!
//! Each pattern is a stream of counts with its own evidence, like errors, at a wide margin. Which patterns are named is decided by
//! e-BH (Wang and Ramdas 2009.02824), which keeps the share of false discoveries under any dependence. What the
//! check weighs is the mean of their evidence over as many patterns as a service usually has, so that patterns which are born
//! later do not renew the budget.
//!
//! Lines come in bursts: a failing call logs ten. The dispersion is that of the bursts themselves, the mean size of the burst that
//! a line belongs to. Patterns that were there before weigh a tenth: some lines are usual in any deploy.

use std::collections::BTreeMap;

use crate::counts::{Counts, Tally};
use crate::fixed::Sum;
use crate::grid::{Addend, Likelihood, POINTS, Point, Prior};
use crate::policy::PatternLimits;

/// More patterns of level warning and worse are not tracked; the first ones stay, and `untracked` says how many lines were not.
pub const PATTERNS_MAX: usize = 500;
/// Over at least so many patterns evidence is averaged.
const PATTERNS_USUAL: usize = 64;

/// The patterns of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patterns {
    tracked: BTreeMap<u64, Pattern>,
    /// Lines of patterns beyond [`PATTERNS_MAX`].
    pub untracked: u64,
    /// With the lines of windows that may still grow, where there are any: what is named, and weighs nothing. Not stored.
    growing: Option<Box<Patterns>>,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    pub template: String,
    /// It was there before the candidate, or in an earlier deploy's first minutes.
    pub known: bool,
    pub likelihood: Likelihood,
    pub counts: Counts,
    /// Lines squared by burst, for the dispersion.
    pub squares: u64,
    /// Which replicate slots of the candidate had lines, a bit for each.
    pub slots: u8,
}

/// Lines of one pattern in one window. Both sides' exposure is that of the window.
#[derive(Clone, Copy, Debug)]
pub struct PatternLines<'a> {
    /// The pattern's stable id.
    pub id: u64,
    /// What people read.
    pub template: &'a str,
    /// It was there before the candidate, or in an earlier deploy's first minutes.
    pub known: bool,
    /// The replicate slot the lines are of.
    pub slot: u8,
    /// Lines and requests of both sides.
    pub counts: Counts,
}

/// A pattern that is held against the release.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundPattern {
    /// The pattern's stable id.
    pub id: u64,
    /// What people read; text from telemetry.
    pub template: String,
    /// It was not there before.
    pub is_new: bool,
    /// Lines of both sides.
    pub candidate: u64,
    /// Of the baseline.
    pub baseline: u64,
    /// The logarithm of its evidence.
    pub ln_evidence: f64,
}

/// What the patterns say at a look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatternsEvidence {
    /// The logarithm of the mean evidence.
    pub ln_worse: f64,
    /// The patterns that e-BH names, clearest first.
    pub found: Vec<FoundPattern>,
}

impl Patterns {
    /// Adds lines of a window. Windows without lines need not be told: given that a line was written, only whose it is matters.
    pub fn add(&mut self, lines: PatternLines<'_>) {
        let counts = lines.counts.capped();
        if counts.events() == 0 || !counts.is_paired() {
            return;
        }
        if !self.tracked.contains_key(&lines.id) && self.tracked.len() >= PATTERNS_MAX {
            self.untracked = self.untracked.saturating_add(counts.events());
            return;
        }
        let pattern = self.tracked.entry(lines.id).or_insert_with(|| Pattern::new(lines.template, lines.known));
        pattern.likelihood.add(&Addend::of(counts));
        pattern.counts += counts;
        let square = |tally: Tally| tally.events.saturating_mul(tally.events);
        pattern.squares =
            pattern.squares.saturating_add(square(counts.candidate)).saturating_add(square(counts.baseline));
        if counts.candidate.events > 0 {
            pattern.slots |= 1 << (lines.slot % 8);
        }
    }

    /// Adds lines of a window that may still grow, to what is named alone.
    pub fn show(&mut self, lines: PatternLines<'_>) {
        if self.growing.is_none() {
            self.growing = Some(Box::new(self.clone()));
        }
        if let Some(growing) = &mut self.growing {
            growing.add(lines);
        }
    }

    /// Takes back what [`Self::show`] added, to be told anew.
    pub fn forget_growing(&mut self) {
        self.growing = None;
    }

    /// The evidence at this look, after requests `seen` on both sides. A pattern is named as soon as it is told from chance; it weighs
    /// only as far as its lines are more of the requests than the floor.
    pub fn look(&self, limits: &PatternLimits, seen: Counts) -> PatternsEvidence {
        let margin = Point::at_least(limits.margin);
        let floor = Floor::of(limits.floor / margin.ratio(), seen);
        let weighed = |floor: Option<&Floor>| -> Vec<(u64, f64, f64)> {
            let tracked = self.tracked.iter();
            let weight = |pattern: &Pattern| if pattern.known { limits.weight_known } else { 1.0 };
            tracked.map(|(id, pattern)| (*id, pattern.ln_worse(margin, floor), weight(pattern))).collect()
        };
        let many = self.tracked.len().max(PATTERNS_USUAL) as f64;
        let ln_worse = ln_mean(&weighed(Some(&floor)), many);
        if let Some(growing) = &self.growing {
            return PatternsEvidence { ln_worse, ..growing.look(limits, seen) };
        }
        let mut found = self.discovered(&weighed(None), many, limits);
        found.sort_by(|a, b| b.ln_evidence.total_cmp(&a.ln_evidence));
        PatternsEvidence { ln_worse, found }
    }

    /// e-BH with weights: the largest `k` for which the `k`-th largest `w E` is at least `many / (k · rate)`.
    fn discovered(&self, weighed: &[(u64, f64, f64)], many: f64, limits: &PatternLimits) -> Vec<FoundPattern> {
        let mut ranked: Vec<(f64, u64, f64)> =
            weighed.iter().map(|(id, ln, weight)| (ln + libm::log(*weight), *id, *ln)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let passes = |k: usize| ranked[k - 1].0 >= libm::log(many / (k as f64 * limits.false_discoveries));
        let discovered = (1..=ranked.len()).rev().find(|k| passes(*k)).unwrap_or(0);
        ranked[..discovered]
            .iter()
            .filter_map(|(_, id, ln)| Some((id, self.tracked.get(id)?, ln)))
            .filter(|(_, pattern, _)| pattern.is_enough(limits))
            .map(|(id, pattern, ln)| FoundPattern {
                id: *id,
                template: pattern.template.clone(),
                is_new: !pattern.known && pattern.counts.baseline.events == 0,
                candidate: pattern.counts.candidate.events,
                baseline: pattern.counts.baseline.events,
                ln_evidence: *ln,
            })
            .collect()
    }

    pub(crate) fn parts(&self) -> impl ExactSizeIterator<Item = (&u64, &Pattern)> {
        self.tracked.iter()
    }

    pub(crate) fn set_part(&mut self, id: u64, pattern: Pattern) {
        self.tracked.insert(id, pattern);
    }
}

impl Pattern {
    pub fn new(template: &str, known: bool) -> Pattern {
        Pattern {
            template: crate::text::name(template),
            known,
            likelihood: Likelihood::default(),
            counts: Counts::default(),
            squares: 0,
            slots: 0,
        }
    }

    fn ln_worse(&self, margin: Point, floor: Option<&Floor>) -> f64 {
        let dispersion = (self.squares as f64 / self.counts.events().max(1) as f64).max(1.0);
        let Some(floor) = floor else { return self.likelihood.curve(0.0, dispersion).ln_worse(margin, Prior::Wide) };
        let mut with_floor = self.likelihood.clone();
        with_floor.floor = floor.sums;
        with_floor.curve(floor.extra, dispersion).ln_worse(margin, Prior::Wide)
    }

    fn is_enough(&self, limits: &PatternLimits) -> bool {
        let lines = self.counts.candidate.events;
        let needed = if self.slots.count_ones() >= 2 { limits.lines_min } else { limits.lines_min_alone };
        lines >= needed
    }
}

/// Lines that the baseline is given for all of its requests. Windows without lines are not told, so the requests are taken as one
/// window.
struct Floor {
    extra: f64,
    sums: [Sum; POINTS],
}

impl Floor {
    fn of(extra: f64, seen: Counts) -> Floor {
        let mut likelihood = Likelihood::default();
        let requests = |tally: Tally| Tally::new(0, tally.exposure);
        let seen = Counts::new(requests(seen.candidate), requests(seen.baseline));
        if seen.is_paired() {
            likelihood.add(&Addend::of(seen));
        }
        Floor { extra, sums: likelihood.floor }
    }
}

/// The logarithm of the weighted mean of evidence over `many` patterns; those that are not there count as one, which is no evidence.
fn ln_mean(weighed: &[(u64, f64, f64)], many: f64) -> f64 {
    let top = weighed.iter().map(|(_, ln, _)| *ln).fold(0.0, f64::max);
    let told: f64 = weighed.iter().map(|(_, ln, weight)| weight * libm::exp(ln - top)).sum();
    let weights: f64 = weighed.iter().map(|(_, _, weight)| weight).sum();
    top + libm::log((told + (many - weights) * libm::exp(-top)) / many)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn lines(id: u64, slot: u8, known: bool, candidate: u64, baseline: u64) -> PatternLines<'static> {
        let counts = Counts::new(Tally::new(candidate, 1_000), Tally::new(baseline, 9_000));
        PatternLines { id, template: "pool exhausted for <*>", known, slot, counts }
    }

    /// Requests of so many windows.
    fn requests(windows: u64) -> Counts {
        Counts::new(Tally::new(0, windows * 1_000), Tally::new(0, windows * 9_000))
    }

    fn limits() -> PatternLimits {
        Policy::default().patterns
    }

    #[test]
    fn a_pattern_of_the_candidate_alone_is_found_on_two_instances() {
        let mut patterns = Patterns::default();
        for slot in 0..8 {
            patterns.add(lines(1, slot, false, 1, 0));
        }
        let found = patterns.look(&limits(), requests(8)).found;
        assert_eq!(found.len(), 1);
        assert!(found[0].is_new && found[0].candidate == 8 && found[0].baseline == 0);
    }

    #[test]
    fn lines_of_a_window_that_grows_are_named_and_weigh_nothing() {
        let mut patterns = Patterns::default();
        patterns.add(lines(1, 0, false, 1, 0));
        let before = patterns.look(&limits(), requests(8));
        (0..8).for_each(|slot| patterns.show(lines(1, slot, false, 1, 0)));
        let shown = patterns.look(&limits(), requests(8));
        assert_eq!((before.found.len(), shown.found[0].candidate), (0, 9));
        assert_eq!(before.ln_worse.to_bits(), shown.ln_worse.to_bits());
        patterns.forget_growing();
        assert_eq!(patterns.look(&limits(), requests(8)), before);
    }

    #[test]
    fn few_lines_and_bursts_are_no_discovery() {
        let mut two = Patterns::default();
        two.add(lines(1, 0, false, 1, 0));
        two.add(lines(1, 1, false, 1, 0));
        assert_eq!(two.look(&limits(), requests(2)).found, []);
        // A hundred lines in one burst are one event.
        let mut burst = Patterns::default();
        burst.add(lines(1, 0, false, 100, 0));
        let seen = burst.look(&limits(), requests(1));
        assert_eq!(seen.found, []);
        assert!(seen.ln_worse < 1.0, "{}", seen.ln_worse);
    }

    #[test]
    fn what_was_there_before_needs_more() {
        let at = |known| {
            let mut patterns = Patterns::default();
            for window in 0..40 {
                patterns.add(lines(1, window % 8, known, 1, 0));
            }
            patterns.look(&limits(), requests(6))
        };
        assert!(at(false).ln_worse > at(true).ln_worse + 1.0);
    }

    #[test]
    fn a_pattern_in_few_of_the_requests_is_named_and_weighs_nothing() {
        let mut patterns = Patterns::default();
        for window in 0..40 {
            patterns.add(lines(1, window % 8, false, 1, 0));
        }
        let (often, seldom) = (patterns.look(&limits(), requests(8)), patterns.look(&limits(), requests(8_000)));
        assert_eq!((often.found.len(), seldom.found.len()), (1, 1));
        assert!(often.ln_worse > 3.0 && seldom.ln_worse <= 0.0, "{} {}", often.ln_worse, seldom.ln_worse);
    }

    #[test]
    fn equal_rates_say_nothing_and_the_number_of_patterns_is_bounded() {
        let mut patterns = Patterns::default();
        for id in 0..1_000 {
            for window in 0..5 {
                patterns.add(lines(id, window, true, 1, 9));
            }
        }
        let seen = patterns.look(&limits(), requests(5_000));
        assert!(seen.ln_worse <= 0.0 && seen.found.is_empty(), "{}", seen.ln_worse);
        assert_eq!((patterns.tracked.len(), patterns.untracked), (PATTERNS_MAX, 500 * 5 * 10));
    }
}
