//! What a track says at a look: the evidence of both paths, the estimate, and what explains it.
//!
//! Looking reads sums and adds none: what was counted is the track's, what it means is decided here. Each path is a mixture over
//! starts (`marks`); the careful one takes, start by start, the smaller of the likelihood's and of the bets' evidence.

use crate::bets::{Bets, Book, Expected};
use crate::check::Part;
use crate::counts::{Counts, Tally};
use crate::grid::{Curve, Likelihood, Point, Prior};
use crate::marks;
use crate::policy::Margins;
use crate::track::{BLOCKS_SIZED, Margins2, Stratum, Track, take_out};

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

/// A later start is shown once it looks worse: at evidence of ten.
const LOUD: f64 = std::f64::consts::LN_10;

/// The evidence of one path, over all starts.
struct Path {
    ln: f64,
    /// The largest part of it.
    top: f64,
    /// The later start that it is of, if it is none of the first request.
    loudest: Option<usize>,
}

impl Path {
    fn starting(ln: f64) -> Path {
        Path { ln, top: ln, loudest: None }
    }

    /// Adds the evidence from a later start, already paid for.
    fn add(&mut self, at: usize, ln: f64) {
        self.ln = ln_sum(&[self.ln, ln]);
        if ln > self.top && ln > LOUD {
            (self.top, self.loudest) = (ln, Some(at));
        }
    }
}

/// What people are shown.
struct Shown {
    curve: Curve,
    counts: Counts,
    weight: f64,
    since_s: Option<i64>,
    is_warm: bool,
}

/// The second opinion.
struct Opinion {
    ln_worse: f64,
    ln_fine: f64,
    blocks: u32,
    worse: Bets,
    /// What had been won before each later start.
    before: Vec<Bets>,
    book: Book,
}

impl Opinion {
    /// From a later start on.
    fn ln_worse_since(&self, at: usize) -> f64 {
        self.book.ln_evidence_since(&self.worse, &self.before[at])
    }
}

/// What all parts of a comparison are widened by at this look.
pub(crate) struct Scale {
    pub candidates: u32,
    pub baselines: u32,
    pub allowance_worse: f64,
    pub allowance_fine: f64,
    pub alpha_interval: f64,
    pub alpha_fast: f64,
    pub alpha_slow: f64,
    pub warm_up: Margins,
}

impl Track {
    /// The evidence, of blocks that ended by `complete_until_s` and of all windows.
    pub fn look(&mut self, part: &Part, scale: &Scale, complete_until_s: i64) -> Evidence {
        self.mark(complete_until_s);
        let noise = &part.noise;
        let margins = scale.margins(part, self.counts.baseline);
        let fine = self.total.curve(margins.fine_extra, noise.dispersion);
        let opinion = self.second_opinion(part, margins, complete_until_s);
        let (slow, fast) = (self.slow(part, margins, &opinion), self.fast(part, scale));
        let shown = self.shown(part, scale, &slow, &fast);
        let known = shown.counts.events() > 0;
        Evidence {
            ln_fast: fast.ln,
            ln_slow: slow.ln,
            ln_fine: with_floor(
                fine.ln_fine(margins.fine).min(opinion.ln_fine),
                part.floor_rate(margins.fine.ratio(), margins.fine_extra),
                self.counts.candidate,
                noise.dispersion,
            ),
            estimate: shown.curve.estimate(),
            interval: if known { shown.curve.interval(scale.alpha_interval * shown.weight) } else { (None, None) },
            since_s: shown.since_s,
            margin_worse: if shown.is_warm { scale.warm_up.worse } else { margins.worse.ratio() },
            margin_fine: margins.fine.ratio(),
            blocks: opinion.blocks,
            counts: shown.counts,
            dominant: self.dominant(&self.total.curve(0.0, noise.dispersion), margins.worse),
        }
    }

    /// What people are shown: the time that speaks loudest, on the path that is nearer to what it needs. The interval of a later
    /// start pays for its having been chosen.
    fn shown(&self, part: &Part, scale: &Scale, slow: &Path, fast: &Path) -> Shown {
        let curve = |likelihood: &Likelihood| likelihood.curve(0.0, part.noise.dispersion);
        if !self.counts.is_paired() && self.warm_counts.is_paired() {
            let counts = self.warm_counts;
            return Shown { curve: curve(&self.warm), counts, weight: 1.0, since_s: None, is_warm: true };
        }
        let nearer_fast = fast.top + libm::log(scale.alpha_fast) > slow.top + libm::log(scale.alpha_slow);
        let loudest = if nearer_fast { fast.loudest } else { slow.loudest };
        match loudest.map(|at| &self.marks[at]) {
            Some(mark) => Shown {
                curve: curve(&self.total.since(&mark.before)),
                counts: since(self.counts, mark.counts),
                weight: mark.weight(),
                since_s: Some(mark.at_s),
                is_warm: false,
            },
            None => {
                Shown { curve: curve(&self.total), counts: self.counts, weight: 1.0, since_s: None, is_warm: false }
            }
        }
    }

    /// The careful path: from the first request on, and from each later start.
    fn slow(&self, part: &Part, margins: Margins2, opinion: &Opinion) -> Path {
        let dispersion = part.noise.dispersion;
        let whole = self
            .total
            .curve(margins.worse_extra, dispersion)
            .ln_worse(margins.worse, Prior::Close)
            .min(opinion.ln_worse);
        let mut path = Path::starting(marks::LN_WEIGHT_FIRST + whole);
        for (at, mark) in self.marks.iter().enumerate() {
            let ln_worse = self.total.ln_worse_since(
                &mark.before,
                margins.worse,
                margins.worse_extra,
                dispersion,
                mark.price(),
                Prior::Close,
            );
            if let Some(ln_worse) = ln_worse {
                path.add(at, ln_worse.min(opinion.ln_worse_since(at)) - mark.price());
            }
        }
        path
    }

    /// The fast path, likewise; and the warm-up with its own wide margin. The mean of the two is evidence, whatever they have to do
    /// with each other.
    fn fast(&self, part: &Part, scale: &Scale) -> Path {
        let dispersion = part.noise.dispersion_fast;
        let margin_of = |margins: &Margins| {
            let margin = Point::at_least(margins.catastrophe * scale.widen(part));
            (margin, margins.extra_at(margin.ratio(), part.noise.rate))
        };
        let (margin, extra) = margin_of(&part.margins);
        let whole = self.total.curve(extra, dispersion).ln_worse(margin, Prior::Wide);
        let mut path = Path::starting(marks::LN_WEIGHT_FIRST + whole);
        for (at, mark) in self.marks.iter().enumerate() {
            let ln_worse =
                self.total.ln_worse_since(&mark.before, margin, extra, dispersion, mark.price(), Prior::Wide);
            if let Some(ln_worse) = ln_worse {
                path.add(at, ln_worse - mark.price());
            }
        }
        if self.warm_counts != Counts::default() {
            let (margin, extra) = margin_of(&scale.warm_up);
            let warm = self.warm.curve(extra, dispersion).ln_worse(margin, Prior::Wide);
            path.ln = ln_mean(&[path.ln, warm]);
        }
        path
    }

    fn second_opinion(&mut self, part: &Part, margins: Margins2, complete_until_s: i64) -> Opinion {
        let first_incomplete = complete_until_s.div_euclid(self.block_s);
        let (mut sized, mut sized_blocks) = (self.sealed.sized, self.sealed.sized_blocks);
        for (_, block) in self.blocks.range_mut(..first_incomplete) {
            if sized_blocks >= BLOCKS_SIZED {
                break;
            }
            if let Some(drift) = block.drift_at(margins) {
                sized_blocks += 1;
                sized += drift.counts;
            }
        }
        let block_s = self.block_s;
        let expected = |margin: Point| expected(part, sized, sized_blocks, margin);
        let book = Book::new(expected(margins.worse));
        let book_fine = Book::new(expected(margins.fine).turned());
        let (mut worse, mut fine) = (self.sealed.worse.clone(), self.sealed.fine.clone());
        // The sums up to each later start: those that are sealed know theirs.
        let mut before: Vec<Bets> = Vec::with_capacity(self.marks.len());
        let (mut blocks, starts) = (self.sealed.blocks, &self.marks);
        for (number, block) in self.blocks.range_mut(..first_incomplete) {
            marks::sums_before(starts, &mut before, number * block_s, &worse);
            let Some(drift) = block.drift_at(margins) else { continue };
            blocks = u32::saturating_add(blocks, 1);
            worse.add(&drift.worse, &book);
            fine.add(&drift.fine, &book_fine);
        }
        marks::sums_before(starts, &mut before, i64::MAX, &worse);
        let (ln_worse, ln_fine) = (book.ln_evidence(&worse), book_fine.ln_evidence(&fine));
        Opinion { ln_worse, ln_fine, blocks, worse, before, book }
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

impl Scale {
    fn widen(&self, part: &Part) -> f64 {
        part.noise.allowance(self.allowance_worse, self.candidates, self.baselines)
    }

    /// The margins of a part whose baseline was seen to be like this beside the candidate.
    pub fn margins(&self, part: &Part, baseline: Tally) -> Margins2 {
        // Where the past tells no rate, "worse" grants the whole floor; "fine" must not, or it would be lenient.
        let here = baseline.rate().filter(|_| !part.fewer_is_worse);
        let worse = Point::at_least(part.margins.worse * self.widen(part));
        let narrowed = part.noise.allowance(self.allowance_fine, self.candidates, self.baselines);
        let fine = Point::at_most(part.margins.fine / narrowed);
        Margins2 {
            worse,
            worse_extra: part.margins.extra_at(worse.ratio(), part.noise.rate),
            fine,
            fine_extra: part.margins.extra_at(fine.ratio(), part.noise.rate.or(here)),
        }
    }
}

/// Rates below the floor that the candidate's is compared with, as parts of it.
const BELOW_FLOOR: [f64; 4] = [0.5, 0.25, 0.0625, 0.0];

/// The evidence for "fine" together with another: a candidate that is worse than the limit fails at least as often as the limit grants to a
/// baseline without any failure. That it fails less often than that is evidence from its own counts alone: a mixture of Poisson likelihoods
/// against that rate, discounted like the others. Where hardly anything fails it says in minutes what the comparison says in hours. The
/// mean of the two is evidence, whatever they have to do with each other; where the floor plays no part there is no other.
fn with_floor(ln_compared: f64, floor: Option<f64>, candidate: Tally, dispersion: f64) -> f64 {
    let Some(floor) = floor else { return ln_compared };
    let (events, exposure) = (candidate.events as f64, candidate.exposure as f64);
    let against = |part: &f64| {
        let of_events = if events > 0.0 { events * libm::log(*part) } else { 0.0 };
        (of_events + (1.0 - part) * floor * exposure) / dispersion
    };
    ln_mean(&[ln_compared, ln_mean(&BELOW_FLOOR.each_ref().map(against))])
}

/// Exposure until the evidence of [`with_floor`] suffices, at the candidate's present rate; `None` where it never will.
pub(crate) fn exposure_by_floor(ln_needed: f64, floor: f64, candidate: Tally, dispersion: f64) -> Option<f64> {
    let rate = candidate.rate()?;
    let gain = if rate > 0.0 { floor - rate + rate * libm::log(rate / floor) } else { floor };
    let price = libm::log(2.0 * BELOW_FLOOR.len() as f64);
    (rate < floor && gain > 0.0).then(|| ((ln_needed + price) * dispersion / gain - candidate.exposure as f64).max(0.0))
}

/// What the deviation of one block was expected to be like: by the baseline's usual rate and the traffic of the first blocks,
/// neither of which knows whether the candidate is worse.
fn expected(part: &Part, sized: Counts, blocks: u32, margin: Point) -> Expected {
    if blocks == 0 || !sized.is_paired() {
        return Expected { variance: 0.0, third: 0.0 };
    }
    // Without history the rate is that of the baseline in those blocks. Where nothing ever failed, deviations are of single events of
    // the floor's size.
    let here = Some(sized.baseline.events as f64 / sized.baseline.exposure as f64).filter(|rate| *rate > 0.0);
    let usual = part.noise.rate.filter(|rate| *rate > 0.0);
    let rate = usual.or(here).unwrap_or(part.margins.floor).max(0.5 / sized.baseline.exposure as f64);
    let events = rate * (sized.candidate.exposure as f64 + sized.baseline.exposure as f64) / f64::from(blocks);
    let (share, dispersion) = (sized.share(margin.ratio()), part.noise.dispersion);
    let variance = dispersion * events * share * (1.0 - share);
    // The tail of a count is the longer the burstier it is: of gamma bursts, `2 φ − 1` times that of single events.
    Expected { variance, third: variance * (2.0 * dispersion - 1.0) * (1.0 - 2.0 * share) }
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
