//! One stream of counts of a release beside its baseline: what came in, and the evidence in it.
//!
//! Windows are kept as integers while late data may still change them, in blocks; their evidence is taken out and put in again
//! when they do. Older ones are sealed: their evidence stays, they do not. So memory is bounded by time, the order in which
//! data comes changes nothing, and a look costs no more after a day than after a minute.
//!
//! A release may be fine for an hour and then break. Evidence since its first request would have to outweigh that hour, so it is also
//! counted from later starts on (`marks`): a mixture of evidence that begins at different times is evidence, too.

use std::collections::BTreeMap;

use crate::bets::{Bets, Won};
use crate::counts::{Counts, Tally};
use crate::grid::{Addend, Likelihood, Point};
use crate::marks::{self, Mark};

/// Strata beyond this are one: the interning in `comparison` sees to it.
pub(crate) const STRATA_MAX: u16 = 21;
/// The first blocks, whose traffic says how large deviations will be.
pub(crate) const BLOCKS_SIZED: u32 = 5;

/// Blocks that are open at a time: two days of the shortest, for whoever feeds a long past before the first look. Looks close what is
/// older than an hour.
const BLOCKS_MAX: usize = 20_000;

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
    /// Windows that came too late to count, or were too many.
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
    /// What bets on "worse" and on "fine" have won.
    pub worse: Bets,
    pub fine: Bets,
    /// Exposure of the first blocks.
    pub sized: Counts,
    pub sized_blocks: u32,
    /// Windows that begin before this are refused.
    pub before_s: i64,
}

/// What bets win by the deviations of a block.
#[derive(Clone, Debug)]
pub(crate) struct Drift {
    pub worse: Won,
    pub fine: Won,
    pub counts: Counts,
}

/// Both margins and their floors, between which a block's deviations are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Margins2 {
    pub worse: Point,
    pub worse_extra: f64,
    pub fine: Point,
    pub fine_extra: f64,
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
        let number = start_s.div_euclid(self.block_s);
        let is_too_much = self.blocks.len() >= BLOCKS_MAX && !self.blocks.contains_key(&number);
        if start_s < self.sealed.before_s || is_too_much {
            self.late = self.late.saturating_add(1);
            return;
        }
        let block = self.blocks.entry(number).or_default();
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

    /// Makes the counts of a window at least these, and gives what was added. For whoever reads the same growing windows again and
    /// again: what is known already changes nothing. Windows that are sealed stay as they are.
    pub fn raise(&mut self, start_s: i64, stratum: u16, is_warm: bool, counts: Counts) -> Counts {
        if start_s < self.sealed.before_s {
            return Counts::default();
        }
        let block = self.blocks.get(&start_s.div_euclid(self.block_s));
        let known = block.and_then(|block| block.windows.get(&(start_s, stratum)));
        let more = counts.beyond(known.map_or(Counts::default(), |window| window.counts));
        self.add(start_s, stratum, is_warm, more);
        more
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
            marks::freeze(&mut self.marks, start_s, &self.sealed.worse);
            let Some(drift) = block.drift_at(margins) else { continue };
            self.sealed.blocks = self.sealed.blocks.saturating_add(1);
            self.sealed.worse.add_all(&drift.worse);
            self.sealed.fine.add_all(&drift.fine);
            if self.sealed.sized_blocks < BLOCKS_SIZED {
                self.sealed.sized_blocks += 1;
                self.sealed.sized += drift.counts;
            }
        }
        self.sealed.before_s = self.sealed.before_s.max(first_open.saturating_mul(self.block_s));
        marks::freeze(&mut self.marks, self.sealed.before_s, &self.sealed.worse);
    }

    /// A start at the last full minute, if there is none yet.
    pub fn mark(&mut self, complete_until_s: i64) {
        let every_s = marks::every_s(self.block_s);
        let at_s = complete_until_s.div_euclid(every_s) * every_s;
        let known = self.marks.last().is_some_and(|mark| mark.at_s >= at_s);
        if known || at_s <= self.origin_s || at_s < self.sealed.before_s || self.counts == Counts::default() {
            return;
        }
        // Rounded up: each number is given once, so that the weights add up.
        let number = (at_s - self.origin_s + every_s - 1) / every_s;
        let mut mark = Mark::new(at_s, number, self.total.clone(), self.counts);
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

    /// The window with which a run of too many events began, of windows that ended by `complete_until_s` or still grow and that late data
    /// may still change: what comes after it deviates most from the limit. `None` when nothing does.
    pub fn began(&self, margins: Margins2, complete_until_s: i64) -> Option<i64> {
        let mut windows: BTreeMap<i64, [f64; 2]> = BTreeMap::new();
        for ((start_s, _), window) in self.blocks.values().flat_map(|block| &block.windows) {
            if window.counts.is_paired() && *start_s < complete_until_s {
                let counts = window.counts;
                let extra = margins.worse_extra * counts.baseline.exposure as f64;
                let expected = counts.share(margins.worse.ratio()) * (counts.events() as f64 + extra);
                let sums = windows.entry(*start_s).or_default();
                sums[0] += counts.candidate.events as f64;
                sums[1] += expected;
            }
        }
        let rough_s = run_beyond(&windows, 1.0)?;
        // Chance before it looks like a beginning, too: what counts is nearer to the run than to the limit.
        let [seen, expected] =
            windows.range(rough_s..).fold([0.0, 0.0], |sum, (_, of)| [sum[0] + of[0], sum[1] + of[1]]);
        run_beyond(&windows, 0.5 * (1.0 + seen / expected.max(f64::MIN_POSITIVE))).or(Some(rough_s))
    }

    /// When the last window with the candidate's exposure began, of those that ended by `complete_until_s`, taken as its end; and its
    /// exposure a second in the minute before.
    pub fn last_of_candidate(&self, complete_until_s: i64) -> Option<(i64, f64)> {
        const WINDOW_S: i64 = 10;
        const BEFORE_S: i64 = 60;
        let windows = || self.blocks.values().rev().flat_map(|block| block.windows.iter().rev());
        let has_own = |window: &Window| window.counts.candidate.exposure > 0;
        let last_s = windows().find(|(_, window)| has_own(window)).map(|((start_s, _), _)| *start_s)?;
        let from_s = last_s - BEFORE_S;
        let before = windows().take_while(|((start_s, _), _)| *start_s >= from_s);
        let before = before.filter(|((start_s, _), _)| *start_s < last_s);
        let had: u64 = before.fold(0, |sum, (_, window)| sum.saturating_add(window.counts.candidate.exposure));
        (last_s < complete_until_s).then_some((last_s + WINDOW_S, had as f64 / BEFORE_S as f64))
    }

    /// What the baseline did between two times, all strata together.
    pub fn recent_baseline(&self, from_s: i64, to_s: i64) -> Tally {
        let first = from_s.div_euclid(self.block_s);
        let windows = self.blocks.range(first..).flat_map(|(_, block)| &block.windows);
        let within = windows.filter(|((start_s, _), _)| (from_s..to_s).contains(start_s));
        within.fold(Tally::default(), |sum, (_, window)| sum + window.counts.baseline)
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
    pub fn drift_at(&mut self, margins: Margins2) -> Option<&Drift> {
        if self.drift.as_ref().is_none_or(|(at, _)| *at != margins) {
            self.drift = Some((margins, self.drift_of(margins)));
        }
        self.drift.as_ref().map(|(_, drift)| drift).filter(|drift| drift.counts.is_paired())
    }

    fn drift_of(&self, margins: Margins2) -> Drift {
        let mut strata: BTreeMap<u16, Counts> = BTreeMap::new();
        for ((_, stratum), window) in &self.windows {
            if window.speaks() {
                *strata.entry(*stratum).or_default() += window.counts;
            }
        }
        let (mut worse, mut fine, mut all) = (0.0, 0.0, Counts::default());
        for counts in strata.values() {
            let deviation = |margin: Point, extra: f64| {
                let extra = extra * counts.baseline.exposure as f64;
                counts.candidate.events as f64 - counts.share(margin.ratio()) * (counts.events() as f64 + extra)
            };
            worse += deviation(margins.worse, margins.worse_extra);
            fine += deviation(margins.fine, margins.fine_extra);
            all += *counts;
        }
        Drift { worse: Won::of(worse), fine: Won::of(-fine), counts: all }
    }
}

/// The window from which on there are most events beyond so many times what is expected.
fn run_beyond(windows: &BTreeMap<i64, [f64; 2]>, times: f64) -> Option<i64> {
    let (mut sum, mut most, mut began_s) = (0.0, 0.0, None);
    for (start_s, [seen, expected]) in windows.iter().rev() {
        sum += seen - times * expected;
        if sum > most {
            (most, began_s) = (sum, Some(*start_s));
        }
    }
    began_s
}

pub(crate) fn take_out(counts: &mut Counts, window: Counts) {
    let sides = [(&mut counts.candidate, window.candidate), (&mut counts.baseline, window.baseline)];
    for (sum, part) in sides {
        // What was put in is there; only of damaged stored bytes it may not be.
        sum.events = sum.events.saturating_sub(part.events);
        sum.exposure = sum.exposure.saturating_sub(part.exposure);
    }
}
