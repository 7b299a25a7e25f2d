//! The Mann-Whitney test as Kayenta takes it: a shift of location and its interval, found by inverting the normal approximation with
//! corrections for ties and continuity, by a root search whose tolerance is an absolute 1e-4.

use libm::{fabs, pow, sqrt};

use crate::special::normal_quantile;

/// The shift of the experiment against the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Ends of the interval.
    pub interval: [f64; 2],
    /// The most likely shift.
    pub estimate: f64,
}

/// The test at a level of confidence. `None` when all observations are tied at some shift that is asked for: then there is no
/// statistic.
pub fn test(experiment: &[f64], control: &[f64], confidence: f64) -> Option<MannWhitney> {
    let least = minimum(experiment) - maximum(control);
    let most = maximum(experiment) - minimum(control);
    let quantile = normal_quantile((1.0 - confidence) / 2.0);
    let root = |quantile: f64| {
        let at = |shift: f64| shift_statistic(shift, quantile, experiment, control);
        let (low, high) = (at(least)?, at(most)?);
        if low <= 0.0 {
            Some(least)
        } else if high >= 0.0 {
            Some(most)
        } else {
            solve(least, most, low, high, &at)
        }
    };
    let interval = [root(-quantile)?, root(quantile)?];
    let at = |shift: f64| shift_statistic(shift, 0.0, experiment, control);
    let estimate = solve(least, most, at(least)?, at(most)?, &at)?;
    Some(MannWhitney { interval, estimate })
}

/// The corrected statistic of the experiment, shifted down by `shift`, against the control; less `quantile`. `None` when all
/// observations are tied.
pub fn shift_statistic(shift: f64, quantile: f64, experiment: &[f64], control: &[f64]) -> Option<f64> {
    let (m, n) = (experiment.len() as f64, control.len() as f64);
    let all: Vec<f64> = experiment.iter().map(|value| value - shift).chain(control.iter().copied()).collect();
    let ranked = ranks(&all);
    let sum: f64 = ranked.iter().take(experiment.len()).sum();
    let deviation = sum - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let continuity = if deviation > 0.0 {
        0.5
    } else if deviation < 0.0 {
        -0.5
    } else {
        0.0
    };
    let ties: f64 = tie_sizes(ranked).into_iter().map(|size| pow(size, 3.0) - size).sum();
    let sigma = sqrt(m * n / 12.0 * (m + n + 1.0 - ties / ((m + n) * (m + n - 1.0))));
    (sigma != 0.0).then(|| (deviation - continuity) / sigma - quantile)
}

/// Whether every observation has the same value.
pub fn all_tied(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// Ranks from one on; equal values have the mean of theirs.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let value = values[order[from]];
        let to = from + order[from..].iter().take_while(|place| values[**place] == value).count().max(1);
        for place in &order[from..to] {
            ranks[*place] = (from + to + 1) as f64 / 2.0;
        }
        from = to;
    }
    ranks
}

/// How many observations share each rank.
fn tie_sizes(mut ranks: Vec<f64>) -> Vec<f64> {
    ranks.sort_by(f64::total_cmp);
    ranks.chunk_by(|a, b| a == b).map(|tied| tied.len() as f64).collect()
}

/// Brent's method between two ends whose values differ in sign, stopping at an absolute 1e-4: that it stops there, and where it then
/// stands, is what the judge's answers rest on, so steps are taken in the same order (Brent, *Algorithms for Minimization without
/// Derivatives*, 1973, chapter 4).
fn solve(low: f64, high: f64, at_low: f64, at_high: f64, value: &dyn Fn(f64) -> Option<f64>) -> Option<f64> {
    const STEPS_MAX: u32 = 1_001;
    const TOLERANCE: f64 = 1e-4;
    if is_zero(at_low) {
        return Some(low);
    }
    if is_zero(at_high) {
        return Some(high);
    }
    // `best` is the latest point, `last` the one before, `other` lies on the other side of the root.
    let (mut last, mut best, mut other) = (low, high, low);
    let (mut at_last, mut at_best, mut at_other) = (at_low, at_high, at_low);
    for _ in 0..STEPS_MAX {
        let step_before = best - last;
        if fabs(at_other) < fabs(at_best) {
            (last, best, other) = (best, other, best);
            (at_last, at_best, at_other) = (at_best, at_other, at_best);
        }
        let tolerance = 2.0 * f64::EPSILON * fabs(best) + TOLERANCE / 2.0;
        let mut step = (other - best) / 2.0;
        if fabs(step) <= tolerance || is_zero(at_best) {
            return Some(best);
        }
        if fabs(step_before) >= tolerance && fabs(at_last) > fabs(at_best) {
            let interpolated = interpolate([last, best, other], [at_last, at_best, at_other], step_before, tolerance);
            step = interpolated.unwrap_or(step);
        }
        if fabs(step) < tolerance {
            step = if step > 0.0 { tolerance } else { -tolerance };
        }
        (last, at_last) = (best, at_best);
        best += step;
        at_best = value(best)?;
        if (at_best > 0.0 && at_other > 0.0) || (at_best < 0.0 && at_other < 0.0) {
            (other, at_other) = (last, at_last);
        }
    }
    Some(best)
}

/// A secant's or a parabola's step, where it is short enough to be trusted.
fn interpolate(points: [f64; 3], values: [f64; 3], step_before: f64, tolerance: f64) -> Option<f64> {
    let [last, best, other] = points;
    let [at_last, at_best, at_other] = values;
    let width = other - best;
    let (mut p, mut q) = if last == other {
        let ratio = at_best / at_last;
        (width * ratio, 1.0 - ratio)
    } else {
        let (q, t1, t2) = (at_last / at_other, at_best / at_other, at_best / at_last);
        (t2 * (width * q * (q - t1) - (best - last) * (t1 - 1.0)), (q - 1.0) * (t1 - 1.0) * (t2 - 1.0))
    };
    if p > 0.0 {
        q = -q;
    } else {
        p = -p;
    }
    let short = p < 0.75 * width * q - fabs(tolerance * q) / 2.0 && p < fabs(step_before * q / 2.0);
    short.then(|| p / q)
}

/// Zero to within one unit in the last place.
fn is_zero(value: f64) -> bool {
    fabs(value) <= f64::from_bits(1)
}

fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn maximum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
