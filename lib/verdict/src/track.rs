//! One stream of counts of a release beside its baseline: what came in, and the evidence in it.
//!
//! Windows are kept as integers while late data may still change them, in blocks; their evidence is taken out and put in again
//! when they do. Older ones are sealed: their evidence stays, they do not. So memory is bounded by time, the order in which
//! data comes changes nothing, and a look costs no more after a day than after a minute.
//!
//! A release may be fine for an hour and then break. Evidence since its first request would have to outweigh that hour, so it is also
//! counted from later starts on (`marks`): a mixture of evidence that begins at different times is evidence, too.

use std::collections::BTreeMap;

use crate::check::Part;
use crate::counts::{Counts, Tally};
use crate::fixed::Sum;
use crate::grid::{Addend, Curve, Likelihood, Point, Prior};
use crate::marks::{self, Mark};
use crate::policy::Margins;
use crate::symmetric;

/// Strata beyond this are one: the interning in `comparison` sees to it.
pub(crate) const STRATA_MAX: u16 = 21;
/// The first blocks, whose traffic says how large deviations will be.
const BLOCKS_SIZED: u32 = 5;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub block_s: i64,
    /// Of steady windows, all strata together.
    pub total: Likelihood,
    /// The same by stratum, for what explains the evidence.
    pub strata: BTreeMap<u16, Stratum>,
    /// Of windows of the warm-up.
    pub warm: Likelihood,
    pub warm_counts: Counts,
    /// Steady counts where both sides had traffic.
    pub counts: Counts,
    /// Windows that can still change, by the number of their block.
    pub blocks: BTreeMap<i64, Block>,
    pub sealed: Sealed,
    /// Later starts, oldest first.
    pub marks: Vec<Mark>,
    /// When steady traffic began, in seconds since the epoch.
    pub origin_s: i64,
    /// Windows that came too late to count.
    pub late: u64,
}

/// What one stratum adds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stratum {
    pub likelihood: Likelihood,
    pub counts: Counts,
}

/// Windows that can still change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    pub windows: BTreeMap<(i64, u16), Window>,
    drift: Option<(Margins2, Drift)>,
}

/// One window of one stratum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    pub counts: Counts,
    pub is_warm: bool,
}

/// What is left of blocks that cannot change any more.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sealed {
    pub blocks: u32,
    /// Sums of deviations and of their squares, at the margin for "worse" and at the one for "fine".
    pub worse: [Sum; 2],
    pub fine: [Sum; 2],
    /// Exposure of the first blocks.
    pub sized: Counts,
    pub sized_blocks: u32,
    /// Windows that begin before this are refused.
    pub before_s: i64,
}

/// The deviations of a block.
#[derive(Clone, Copy, Debug, Default)]
struct Drift {
    worse: f64,
    fine: f64,
    counts: Counts,
}

/// Both margins and their floors, between which a block's deviations are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Margins2 {
    pub worse: Point,
    pub worse_extra: f64,
    pub fine: Point,
    pub fine_extra: f64,
}

/// The evidence of a track at one look.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub ln_fast: f64,
    pub ln_slow: f64,
    pub ln_fine: f64,
    pub estimate: f64,
    pub interval: (Option<f64>, Option<f64>),
    /// The estimate, its interval and the counts are of the time since then, where it is that time which speaks.
    pub since_s: Option<i64>,
    /// The margins after widening.
    pub margin_worse: f64,
    pub margin_fine: f64,
    pub blocks: u32,
    pub counts: Counts,
    /// The stratum with the largest part of the evidence, and that part.
    pub dominant: Option<(u16, f64)>,
}

impl Track {
    pub fn new(block_s: u32, origin_s: i64) -> Track {
        Track {
            block_s: i64::from(block_s.max(1)),
            total: Likelihood::default(),
            strata: BTreeMap::new(),
            warm: Likelihood::default(),
            warm_counts: Counts::default(),
            counts: Counts::default(),
            blocks: BTreeMap::new(),
            sealed: Sealed { before_s: i64::MIN, ..Sealed::default() },
            marks: Vec::new(),
            origin_s,
            late: 0,
        }
    }

    /// Adds counts to a window. Sides are as the part wants them: more events of the candidate are worse.
    pub fn add(&mut self, start_s: i64, stratum: u16, is_warm: bool, counts: Counts) {
        if counts == Counts::default() {
            return;
        }
        if start_s < self.sealed.before_s {
            self.late += 1;
            return;
        }
        let block = self.blocks.entry(start_s.div_euclid(self.block_s)).or_default();
        block.drift = None;
        let window = block.windows.entry((start_s, stratum)).or_default();
        let before = *window;
        window.counts += counts;
        window.counts = window.counts.capped();
        // Whether a window is of the warm-up follows from its start; the first word stands.
        window.is_warm = if before.counts == Counts::default() { is_warm } else { before.is_warm };
        let now = *window;
        self.weigh(start_s, stratum, before, false);
        self.weigh(start_s, stratum, now, true);
    }

    /// Puts the evidence of a window in, or takes it out.
    fn weigh(&mut self, start_s: i64, stratum: u16, window: Window, put: bool) {
        if !window.counts.is_paired() {
            return;
        }
        let addend = Addend::of(window.counts);
        let apply = |likelihood: &mut Likelihood| {
            if put { likelihood.add(&addend) } else { likelihood.subtract(&addend) }
        };
        let change = |counts: &mut Counts| {
            if put { *counts += window.counts } else { take_out(counts, window.counts) }
        };
        if window.is_warm {
            apply(&mut self.warm);
            change(&mut self.warm_counts);
            return;
        }
        apply(&mut self.total);
        change(&mut self.counts);
        for mark in self.marks.iter_mut().filter(|mark| mark.at_s > start_s) {
            apply(&mut mark.before);
            change(&mut mark.counts);
        }
        let stratum = self.strata.entry(stratum).or_default();
        apply(&mut stratum.likelihood);
        change(&mut stratum.counts);
    }

    /// Closes blocks that ended before `before_s`. Their deviations are taken at the margins of now.
    pub fn seal(&mut self, before_s: i64, margins: Margins2) {
        let first_open = before_s.div_euclid(self.block_s);
        while let Some(entry) = self.blocks.first_entry() {
            if *entry.key() >= first_open {
                break;
            }
            let start_s = *entry.key() * self.block_s;
            let mut block = entry.remove();
            marks::freeze(&mut self.marks, start_s, self.sealed.worse);
            let Some(drift) = block.drift_at(margins) else { continue };
            self.sealed.blocks += 1;
            for (sums, value) in [(&mut self.sealed.worse, drift.worse), (&mut self.sealed.fine, drift.fine)] {
                sums[0] += Sum::of(value);
                sums[1] += Sum::of(value * value);
            }
            if self.sealed.sized_blocks < BLOCKS_SIZED {
                self.sealed.sized_blocks += 1;
                self.sealed.sized += drift.counts;
            }
        }
        self.sealed.before_s = self.sealed.before_s.max(first_open.saturating_mul(self.block_s));
        marks::freeze(&mut self.marks, self.sealed.before_s, self.sealed.worse);
    }

    /// The evidence, of blocks that ended by `complete_until_s` and of all windows.
    pub fn look(&mut self, part: &Part, scale: &Scale, complete_until_s: i64) -> Evidence {
        self.mark(complete_until_s);
        let noise = &part.noise;
        let margins = scale.margins(part);
        let fine = self.total.curve(margins.fine_extra, noise.dispersion);
        let opinion = self.second_opinion(part, margins, complete_until_s);
        let slow = self.slow(part, margins, &opinion);
        // What is shown is of the start that speaks loudest; its interval pays for having been chosen.
        let plain = |likelihood: &Likelihood| likelihood.curve(0.0, noise.dispersion);
        let (shown, counts, price) = match slow.loudest.map(|at| &self.marks[at]) {
            Some(mark) => (plain(&self.total.since(&mark.before)), since(self.counts, mark.counts), mark.weight()),
            None => (plain(&self.total), self.counts, 1.0),
        };
        let known = counts.events() > 0;
        Evidence {
            ln_fast: self.ln_fast(part, scale),
            ln_slow: slow.ln,
            ln_fine: fine.ln_fine(margins.fine).min(opinion.ln_fine),
            estimate: shown.estimate(),
            interval: if known { shown.interval(scale.alpha_interval * price) } else { (None, None) },
            since_s: slow.loudest.map(|at| self.marks[at].at_s),
            margin_worse: margins.worse.ratio(),
            margin_fine: margins.fine.ratio(),
            blocks: opinion.blocks,
            counts,
            dominant: self.dominant(&plain(&self.total), margins.worse),
        }
    }

    /// A start at the last full minute, if there is none yet.
    fn mark(&mut self, complete_until_s: i64) {
        let every_s = marks::every_s(self.block_s);
        let at_s = complete_until_s.div_euclid(every_s) * every_s;
        let known = self.marks.last().is_some_and(|mark| mark.at_s >= at_s);
        if known || at_s <= self.origin_s || at_s < self.sealed.before_s || self.counts == Counts::default() {
            return;
        }
        let mut mark = Mark::new(at_s, (at_s - self.origin_s) / every_s, self.total.clone(), self.counts);
        for (_, block) in self.blocks.range(at_s.div_euclid(self.block_s)..) {
            let windows = block.windows.iter().filter(|((start_s, _), window)| *start_s >= at_s && window.speaks());
            for (_, window) in windows {
                mark.before.subtract(&Addend::of(window.counts));
                take_out(&mut mark.counts, window.counts);
            }
        }
        self.marks.push(mark);
        marks::thin_out(&mut self.marks);
    }

    /// The careful path: from the first request on, and from each later start.
    fn slow(&self, part: &Part, margins: Margins2, opinion: &Opinion) -> Slow {
        let dispersion = part.noise.dispersion;
        let whole = self
            .total
            .curve(margins.worse_extra, dispersion)
            .ln_worse(margins.worse, Prior::Close)
            .min(opinion.ln_worse);
        let mut terms = vec![marks::LN_WEIGHT_FIRST + whole];
        let mut loudest = (None, terms[0]);
        for (at, mark) in self.marks.iter().enumerate() {
            let ln_worse = self.total.ln_worse_since(
                &mark.before,
                margins.worse,
                margins.worse_extra,
                dispersion,
                mark.price(),
                Prior::Close,
            );
            let Some(ln_worse) = ln_worse else { continue };
            let term = ln_worse.min(opinion.ln_worse_since[at]) - mark.price();
            terms.push(term);
            if term > loudest.1 && term > 0.0 {
                loudest = (Some(at), term);
            }
        }
        Slow { ln: ln_sum(&terms), loudest: loudest.0 }
    }

    /// The fast path, likewise; and the warm-up with its own wide margin. The mean of the two is evidence, whatever they have to do
    /// with each other.
    fn ln_fast(&self, part: &Part, scale: &Scale) -> f64 {
        let dispersion = part.noise.dispersion_fast;
        let margin_of = |margins: &Margins| {
            let margin = Point::at_least(margins.catastrophe * scale.widen(part));
            (margin, margins.extra_at(margin.ratio(), part.noise.rate))
        };
        let (margin, extra) = margin_of(&part.margins);
        let mut terms =
            vec![marks::LN_WEIGHT_FIRST + self.total.curve(extra, dispersion).ln_worse(margin, Prior::Wide)];
        for mark in &self.marks {
            let ln_worse =
                self.total.ln_worse_since(&mark.before, margin, extra, dispersion, mark.price(), Prior::Wide);
            terms.extend(ln_worse.map(|ln_worse| ln_worse - mark.price()));
        }
        if self.warm_counts == Counts::default() {
            return ln_sum(&terms);
        }
        let (margin, extra) = margin_of(&scale.warm_up);
        ln_mean(&[ln_sum(&terms), self.warm.curve(extra, dispersion).ln_worse(margin, Prior::Wide)])
    }

    /// What the baseline did between two times, all strata together.
    pub fn recent_baseline(&self, from_s: i64, to_s: i64) -> Tally {
        let first = from_s.div_euclid(self.block_s);
        let windows = self.blocks.range(first..).flat_map(|(_, block)| &block.windows);
        let within = windows.filter(|((start_s, _), _)| (from_s..to_s).contains(start_s));
        within.fold(Tally::default(), |sum, (_, window)| sum + window.counts.baseline)
    }

    fn second_opinion(&mut self, part: &Part, margins: Margins2, complete_until_s: i64) -> Opinion {
        let first_incomplete = complete_until_s.div_euclid(self.block_s);
        let mut sums = [self.sealed.worse, self.sealed.fine];
        // The sums up to each later start: those that are sealed know theirs.
        let mut before: Vec<[Sum; 2]> = Vec::with_capacity(self.marks.len());
        let (mut blocks, mut sized, mut sized_blocks) =
            (self.sealed.blocks, self.sealed.sized, self.sealed.sized_blocks);
        let (block_s, starts) = (self.block_s, &self.marks);
        for (number, block) in self.blocks.range_mut(..first_incomplete) {
            marks::sums_before(starts, &mut before, number * block_s, sums[0]);
            let Some(drift) = block.drift_at(margins) else { continue };
            blocks += 1;
            for (sums, value) in sums.iter_mut().zip([drift.worse, drift.fine]) {
                sums[0] += Sum::of(value);
                sums[1] += Sum::of(value * value);
            }
            if sized_blocks < BLOCKS_SIZED {
                sized_blocks += 1;
                sized += drift.counts;
            }
        }
        marks::sums_before(starts, &mut before, i64::MAX, sums[0]);
        let variance = |margin: Point| expected_variance(part, sized, sized_blocks, margin);
        let [worse, fine] = sums;
        let (variance_worse, tuned) = (variance(margins.worse), symmetric::blocks_tuned(block_s));
        let since = |sums: &[Sum; 2]| {
            let part = |at: usize| {
                let mut sum = worse[at];
                sum -= sums[at];
                sum.value()
            };
            symmetric::ln_evidence(part(0), part(1), variance_worse, tuned)
        };
        Opinion {
            ln_worse: symmetric::ln_evidence(worse[0].value(), worse[1].value(), variance_worse, tuned),
            ln_worse_since: before.iter().map(since).collect(),
            ln_fine: symmetric::ln_evidence(-fine[0].value(), fine[1].value(), variance(margins.fine), tuned),
            blocks,
        }
    }

    /// Which stratum speaks loudest for the estimate against the margin, if the whole does.
    fn dominant(&self, plain: &Curve, margin: Point) -> Option<(u16, f64)> {
        let peak = plain.peak();
        let whole = plain.ln_ratio(peak, margin);
        if self.strata.len() < 2 || peak <= margin || whole <= 0.0 {
            return None;
        }
        let whole = self.total.ln_ratio(peak, margin);
        let part = |stratum: &Stratum| stratum.likelihood.ln_ratio(peak, margin) / whole;
        let parts = self.strata.iter().map(|(name, stratum)| (*name, part(stratum)));
        parts.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

struct Slow {
    ln: f64,
    /// The later start that speaks loudest, if one does.
    loudest: Option<usize>,
}

struct Opinion {
    ln_worse: f64,
    /// From each later start on.
    ln_worse_since: Vec<f64>,
    ln_fine: f64,
    blocks: u32,
}

/// What all parts of a comparison are widened by at this look.
pub(crate) struct Scale {
    pub candidates: u32,
    pub baselines: u32,
    pub allowance_worse: f64,
    pub allowance_fine: f64,
    pub alpha_interval: f64,
    pub warm_up: Margins,
}

impl Scale {
    fn widen(&self, part: &Part) -> f64 {
        part.noise.allowance(self.allowance_worse, self.candidates, self.baselines)
    }

    pub fn margins(&self, part: &Part) -> Margins2 {
        let worse = Point::at_least(part.margins.worse * self.widen(part));
        let narrowed = part.noise.allowance(self.allowance_fine, self.candidates, self.baselines);
        let fine = Point::at_most(part.margins.fine / narrowed);
        Margins2 {
            worse,
            worse_extra: part.margins.extra_at(worse.ratio(), part.noise.rate),
            fine,
            fine_extra: part.margins.extra_at(fine.ratio(), part.noise.rate),
        }
    }
}

impl Window {
    /// Whether its evidence is among the steady one.
    fn speaks(&self) -> bool {
        !self.is_warm && self.counts.is_paired()
    }
}

impl Block {
    /// The block's deviations; `None` when the sides were never there together, or it was all warm-up.
    fn drift_at(&mut self, margins: Margins2) -> Option<Drift> {
        if let Some((at, drift)) = self.drift
            && at == margins
        {
            return drift.counts.is_paired().then_some(drift);
        }
        let mut strata: BTreeMap<u16, Counts> = BTreeMap::new();
        for ((_, stratum), window) in &self.windows {
            if window.speaks() {
                *strata.entry(*stratum).or_default() += window.counts;
            }
        }
        let mut drift = Drift::default();
        for counts in strata.values() {
            let deviation = |margin: Point, extra: f64| {
                let extra = extra * counts.baseline.exposure as f64;
                counts.candidate.events as f64 - counts.share(margin.ratio()) * (counts.events() as f64 + extra)
            };
            drift.worse += deviation(margins.worse, margins.worse_extra);
            drift.fine += deviation(margins.fine, margins.fine_extra);
            drift.counts += *counts;
        }
        self.drift = Some((margins, drift));
        drift.counts.is_paired().then_some(drift)
    }
}

/// How much the deviation of one block was expected to vary: by the baseline's usual rate and the traffic of the first blocks,
/// neither of which knows whether the candidate is worse.
fn expected_variance(part: &Part, sized: Counts, blocks: u32, margin: Point) -> f64 {
    if blocks == 0 || !sized.is_paired() {
        return 0.0;
    }
    // Without history the rate is that of the baseline in those blocks. Where nothing ever failed, deviations are of single events of
    // the floor's size.
    let here = Some(sized.baseline.events as f64 / sized.baseline.exposure as f64).filter(|rate| *rate > 0.0);
    let usual = part.noise.rate.filter(|rate| *rate > 0.0);
    let rate = usual.or(here).unwrap_or(part.margins.floor).max(0.5 / sized.baseline.exposure as f64);
    let events = rate * (sized.candidate.exposure as f64 + sized.baseline.exposure as f64) / f64::from(blocks);
    let share = sized.share(margin.ratio());
    part.noise.dispersion * events * share * (1.0 - share)
}

/// `ln` of the sum of numbers given by their logarithms.
pub(crate) fn ln_sum(ln_values: &[f64]) -> f64 {
    let top = ln_values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return top;
    }
    top + libm::log(ln_values.iter().map(|ln| libm::exp(ln - top)).sum::<f64>())
}

/// `ln` of their mean.
pub(crate) fn ln_mean(ln_values: &[f64]) -> f64 {
    ln_sum(ln_values) - libm::log(ln_values.len() as f64)
}

/// What came after an earlier state of the same sums.
fn since(mut counts: Counts, earlier: Counts) -> Counts {
    take_out(&mut counts, earlier);
    counts
}

fn take_out(counts: &mut Counts, window: Counts) {
    let sides = [(&mut counts.candidate, window.candidate), (&mut counts.baseline, window.baseline)];
    for (sum, part) in sides {
        sum.events -= part.events;
        sum.exposure -= part.exposure;
    }
}
