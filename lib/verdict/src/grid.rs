//! The evidence of counts: how likely they are under each of some seventy ratios of the two rates, and the e-values, estimate and
//! interval that follow.
//!
//! Given that an event happened in a window, it is the candidate's with the probability `θ(r) = N_c r / (N_c r + N_b)` when the
//! candidate's rate is `r` times the baseline's. Traffic, season and incidents that both sides share cancel: nothing is
//! assumed about the rates themselves (Lindon and Malek, *Anytime-Valid Inference for Multinomial Count Data*). So
//! `L(r) = Σ x_c ln θ(r) + x_b ln(1 − θ(r))` over windows and strata, kept for a fixed grid of `r` in fixed point, is everything
//! there is to remember.
//!
//! A mixture of `exp(L(r) − L(r0))` over `r > r0` is a test supermartingale whatever the true ratio up to `r0` is: it passes
//! `1/α` with a chance of at most `α`, however often one looks. Dividing by the dispersion keeps that for noise beyond Poisson.
//!
//! *The floor.* A rise below an absolute amount should never count. The baseline is therefore given `a` extra events for each unit
//! of its exposure. As `ln B ≤ B − 1` for the factor `B` of a baseline event, a fixed amount of events is worth no
//! more than a Poisson count with that mean, so the mixture stays a supermartingale for "rate of the candidate at most `r0` times
//! (rate of the baseline plus `a`)". It makes an error-free baseline an ordinary case, too. The extra events have their own sums,
//! so that `a` need not be known while windows come in.

use std::sync::LazyLock;

use libm::{exp, log};

use crate::counts::Counts;
use crate::fixed::Sum;

/// How many ratios there are.
pub(crate) const POINTS: usize = 71;

/// The logarithms of the ratios, rising. Dense where decisions are made; with the margins in use among them: 1/1.1, 1, 1/0.95,
/// 1.1, 1.25, 1.5, 2, 3, 5.
#[rustfmt::skip]
const LN_RATIOS: [f64; POINTS] = [
    -3.0, -2.5, -2.0, -1.6, -1.3, -1.05, -0.85, -0.7, -0.6, -0.5, -0.42, -0.35, -0.3, -0.25, -0.2, -0.15,
    -0.095_310_179_804_324_87, -0.05, 0.0, 0.025, 0.051_293_294_387_550_58, 0.07, 0.095_310_179_804_324_87, 0.12,
    0.15, 0.185, 0.223_143_551_314_209_76, 0.26, 0.3, 0.35, 0.405_465_108_108_164_4, 0.45, 0.5, 0.55, 0.6, 0.65,
    std::f64::consts::LN_2, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.098_612_288_668_109_8, 1.15, 1.2, 1.3, 1.4, 1.5,
    1.609_437_912_434_100_3, 1.7, 1.8, 1.9, 2.0, 2.15, 2.3, 2.45, 2.6, 2.8, 3.0, 3.25, 3.5, 3.75, 4.0, 4.4, 4.8, 5.3,
    5.8, 6.4, 7.0,
];

/// What is expected of a release that is worse: where the weight of the mixture lies. Any is valid; one is faster than the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prior {
    /// Half of its weight lies within a factor of 1.4 of the margin: for the careful path.
    Close,
    /// Within a factor of 2.7: for catastrophes and for log patterns, which are new more often than they are a little more.
    Wide,
}

struct Tables {
    ratios: [f64; POINTS],
    /// `ln_prior[from][k]`: the weight of point `k` in a mixture about `from`, not yet normalised to a side.
    ln_prior: Vec<[f64; POINTS]>,
    /// The logarithm of the sum of the weights above and below `from`, and of all.
    ln_above: [f64; POINTS],
    ln_below: [f64; POINTS],
    ln_all: [f64; POINTS],
}

/// Of [`Prior::Close`].
static TABLES: LazyLock<Tables> = LazyLock::new(|| tables(0.35));
/// Of [`Prior::Wide`].
static WIDE: LazyLock<Tables> = LazyLock::new(|| tables(1.0));

/// With a half-Cauchy prior of this scale in the logarithm of the ratio.
fn tables(scale: f64) -> Tables {
    let width = |k: usize| {
        let low = if k == 0 { LN_RATIOS[0] } else { LN_RATIOS[k - 1] };
        let high = if k + 1 == POINTS { LN_RATIOS[k] } else { LN_RATIOS[k + 1] };
        (high - low) / 2.0
    };
    let weight = |from: usize, k: usize| {
        let distance = (LN_RATIOS[k] - LN_RATIOS[from]) / scale;
        width(k) / (1.0 + distance * distance)
    };
    let sum = |from: usize, points: std::ops::Range<usize>| points.map(|k| weight(from, k)).sum::<f64>();
    Tables {
        ratios: LN_RATIOS.map(exp),
        ln_prior: (0..POINTS).map(|from| std::array::from_fn(|k| log(weight(from, k)))).collect(),
        ln_above: std::array::from_fn(|from| log(sum(from, from + 1..POINTS))),
        ln_below: std::array::from_fn(|from| log(sum(from, 0..from))),
        ln_all: std::array::from_fn(|from| log(sum(from, 0..POINTS))),
    }
}

impl Prior {
    fn tables(self) -> &'static Tables {
        match self {
            Prior::Close => &TABLES,
            Prior::Wide => &WIDE,
        }
    }
}

/// A ratio of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point(usize);

impl Point {
    /// The smallest ratio of the grid that is not below `ratio`: a margin for "worse" may be made wider, never narrower. Never the
    /// last one, above which there is nothing to test against.
    pub fn at_least(ratio: f64) -> Point {
        let ln_ratio = log(ratio) - 1e-9;
        Point(LN_RATIOS.partition_point(|point| *point < ln_ratio).min(POINTS - 2))
    }

    /// The largest ratio of the grid that is not above `ratio`: a margin for "fine" may be made narrower, never wider.
    pub fn at_most(ratio: f64) -> Point {
        let ln_ratio = log(ratio) + 1e-9;
        Point(LN_RATIOS.partition_point(|point| *point <= ln_ratio).saturating_sub(1).max(1))
    }

    /// The ratio.
    pub fn ratio(self) -> f64 {
        TABLES.ratios[self.0]
    }
}

/// The sums of `L(r)`, relative to `L(1)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Likelihood {
    /// Of the events that were counted.
    pub events: [Sum; POINTS],
    /// Of one extra event of the baseline for each unit of its exposure.
    pub floor: [Sum; POINTS],
}

impl Default for Likelihood {
    fn default() -> Self {
        Likelihood { events: [Sum::default(); POINTS], floor: [Sum::default(); POINTS] }
    }
}

/// What one window adds.
pub(crate) struct Addend {
    events: [Sum; POINTS],
    floor: [Sum; POINTS],
}

impl Addend {
    /// Of a window in which both sides have exposure.
    pub fn of(counts: Counts) -> Addend {
        let (n_c, n_b) = (counts.candidate.exposure as f64, counts.baseline.exposure as f64);
        let (x_c, n) = (counts.candidate.events as f64, counts.events() as f64);
        let scale = 1.0 / (n_c + n_b);
        let mut addend = Addend { events: [Sum::default(); POINTS], floor: [Sum::default(); POINTS] };
        for (k, (ratio, ln_ratio)) in TABLES.ratios.iter().zip(LN_RATIOS).enumerate() {
            // ln θ(r) − ln θ(1) is ln r − spread, ln(1 − θ(r)) − ln(1 − θ(1)) is −spread.
            let spread = log((n_c * ratio + n_b) * scale);
            if n > 0.0 {
                addend.events[k] = Sum::of(x_c * ln_ratio - n * spread);
            }
            addend.floor[k] = Sum::of(-n_b * spread);
        }
        addend
    }
}

impl Likelihood {
    pub fn add(&mut self, addend: &Addend) {
        for k in 0..POINTS {
            self.events[k] += addend.events[k];
            self.floor[k] += addend.floor[k];
        }
    }

    pub fn subtract(&mut self, addend: &Addend) {
        for k in 0..POINTS {
            self.events[k] -= addend.events[k];
            self.floor[k] -= addend.floor[k];
        }
    }

    pub fn merge(&mut self, other: &Likelihood) {
        for k in 0..POINTS {
            self.events[k] += other.events[k];
            self.floor[k] += other.floor[k];
        }
    }

    /// What was added since an earlier state of the same sums.
    pub fn since(&self, earlier: &Likelihood) -> Likelihood {
        let mut since = self.clone();
        for k in 0..POINTS {
            since.events[k] -= earlier.events[k];
            since.floor[k] -= earlier.floor[k];
        }
        since
    }

    /// The likelihood ratio of two points without floor and discount, as a logarithm.
    pub fn ln_ratio(&self, of: Point, to: Point) -> f64 {
        self.events[of.0].value() - self.events[to.0].value()
    }

    /// [`Curve::ln_worse`] of what was added since, where it is worth asking: a few points show whether it can be above the price of
    /// asking at all. Evidence that is not counted makes nothing worse.
    pub fn ln_worse_since(
        &self,
        earlier: &Likelihood,
        margin: Point,
        floor: f64,
        dispersion: f64,
        price: f64,
        prior: Prior,
    ) -> Option<f64> {
        /// Below the price by so much, a start would add next to nothing.
        const SLACK: f64 = 1.0;
        let at = |k: usize| {
            let (mut events, mut extra) = (self.events[k], self.floor[k]);
            events -= earlier.events[k];
            extra -= earlier.floor[k];
            weighed(events, floor, extra) / dispersion
        };
        let here = at(margin.0);
        let promising = (margin.0 + 1..POINTS).step_by(4).any(|k| at(k) - here > price - SLACK);
        promising.then(|| self.since(earlier).curve(floor, dispersion).ln_worse(margin, prior))
    }

    /// The curve with `floor` extra events for each unit of the baseline's exposure, discounted by the dispersion.
    pub fn curve(&self, floor: f64, dispersion: f64) -> Curve {
        Curve(std::array::from_fn(|k| weighed(self.events[k], floor, self.floor[k]) / dispersion))
    }
}

/// Of counted and of extra events together. Most parts have no floor, whose sums are the larger numbers.
fn weighed(events: Sum, floor: f64, extra: Sum) -> f64 {
    if floor == 0.0 { events.value() } else { events.value() + floor * extra.value() }
}

/// `L(r)`, discounted.
pub(crate) struct Curve([f64; POINTS]);

impl Curve {
    /// The logarithm of the evidence against "at most `margin` times the baseline".
    pub fn ln_worse(&self, margin: Point, prior: Prior) -> f64 {
        let (from, tables) = (margin.0, prior.tables());
        self.ln_mixture(tables, from, from + 1..POINTS) - tables.ln_above[from] - self.0[from]
    }

    /// The logarithm of the evidence against "at least `margin` times the baseline".
    pub fn ln_fine(&self, margin: Point) -> f64 {
        let from = margin.0;
        self.ln_mixture(&TABLES, from, 0..from) - TABLES.ln_below[from] - self.0[from]
    }

    /// The logarithm of the likelihood ratio of two points.
    pub fn ln_ratio(&self, of: Point, to: Point) -> f64 {
        self.0[of.0] - self.0[to.0]
    }

    /// The most likely point of the grid.
    pub fn peak(&self) -> Point {
        let best = (0..POINTS).fold(0, |best, k| if self.0[k] > self.0[best] { k } else { best });
        Point(best)
    }

    /// The most likely ratio, between the points of the grid.
    pub fn estimate(&self) -> f64 {
        let k = self.peak().0;
        if k == 0 || k + 1 == POINTS {
            return TABLES.ratios[k];
        }
        // The vertex of the parabola through three points that need not be evenly spaced.
        let (left, right) = (LN_RATIOS[k] - LN_RATIOS[k - 1], LN_RATIOS[k + 1] - LN_RATIOS[k]);
        let (fall_left, fall_right) = (self.0[k] - self.0[k - 1], self.0[k] - self.0[k + 1]);
        let curvature = fall_left / left + fall_right / right;
        if curvature <= 0.0 {
            return TABLES.ratios[k];
        }
        exp(LN_RATIOS[k] + 0.5 * (fall_left * right / left - fall_right * left / right) / curvature)
    }

    /// The ratios that the evidence does not exclude at `alpha`, at every look at once: those against which a mixture about one
    /// stays below `1/alpha`. `None` where the interval has no end within the grid.
    pub fn interval(&self, alpha: f64) -> (Option<f64>, Option<f64>) {
        let centre = Point::at_least(1.0).0;
        let threshold = self.ln_mixture(&TABLES, centre, 0..POINTS) - TABLES.ln_all[centre] + log(alpha);
        // The curve is concave, so a chord would end too early: a parabola through one more point does not.
        let crossing = |outside: usize, inside: usize, further: usize| {
            let (u0, u1, u2) = (LN_RATIOS[outside], LN_RATIOS[inside], LN_RATIOS[further]);
            let slope = |a: usize, b: usize| (self.0[b] - self.0[a]) / (LN_RATIOS[b] - LN_RATIOS[a]);
            let bend = (slope(inside, further) - slope(outside, inside)) / (u2 - u0);
            let value = |u: f64| self.0[outside] + (u - u0) * (slope(outside, inside) + bend * (u - u1));
            let (mut below, mut above) = (u0, u1);
            for _ in 0..40 {
                let middle = 0.5 * (below + above);
                if value(middle) > threshold { above = middle } else { below = middle }
            }
            exp(below)
        };
        let first = (0..POINTS).find(|k| self.0[*k] > threshold);
        let last = (0..POINTS).rev().find(|k| self.0[*k] > threshold);
        // Narrower than the grid: the whole step is given, which is never too narrow.
        let (Some(first), Some(last)) = (first, last) else {
            let k = self.peak().0;
            let end = |k: usize| Some(TABLES.ratios[k]);
            return (end(k.saturating_sub(1)), end((k + 1).min(POINTS - 1)));
        };
        let low = (first > 0).then(|| crossing(first - 1, first, (first + 1).min(POINTS - 1)));
        let high = (last + 1 < POINTS).then(|| crossing(last + 1, last, last.saturating_sub(1)));
        (low, high)
    }

    /// `ln Σ prior(k) exp(L(k))` over a range of points.
    fn ln_mixture(&self, tables: &Tables, from: usize, points: std::ops::Range<usize>) -> f64 {
        let prior = &tables.ln_prior[from];
        let top = points.clone().map(|k| prior[k] + self.0[k]).fold(f64::NEG_INFINITY, f64::max);
        top + log(points.map(|k| exp(prior[k] + self.0[k] - top)).sum::<f64>())
    }
}

#[cfg(test)]
mod tests;
