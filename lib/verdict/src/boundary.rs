//! Bounds on sums that hold at every look at once, and the mixtures that they are made of.
//!
//! Howard, Ramdas, McAuliffe and Sekhon, *Time-uniform, nonparametric, nonasymptotic confidence sequences* (1810.08240), and
//! Howard and Ramdas, *Sequential estimation of quantiles* (1906.09712). `s` is a sum of deviations, `v` its intrinsic time
//! (a variance), `v_opt` the intrinsic time at which the bound is tightest, `alpha` the chance that it is ever passed. The numbers
//! in the tests are those of the authors' own reference implementation (confseq, MIT).

use libm::{exp, lgamma, log, pow, sqrt};

use crate::special::{incomplete_beta, incomplete_gamma, incomplete_gamma_upper, ln_beta, ln_normal_cdf, zeta};

/// At which chance of error a mixture is tuned to its intrinsic time.
pub const ALPHA_TUNED: f64 = 0.05;

/// The parameter of a two-sided normal mixture that is tightest at `v_opt`.
pub fn best_rho(v_opt: f64, alpha: f64) -> f64 {
    let level = -2.0 * log(alpha);
    v_opt / (level + libm::log1p(level))
}

/// The logarithm of a two-sided normal mixture with parameter `rho`.
pub fn normal_two_sided(s: f64, v: f64, rho: f64) -> f64 {
    0.5 * log(rho / (v + rho)) + s * s / (2.0 * (v + rho))
}

/// The logarithm of a one-sided normal mixture with parameter `rho`: large when `s` is.
pub fn normal_one_sided(s: f64, v: f64, rho: f64) -> f64 {
    0.5 * log(4.0 * rho / (v + rho)) + s * s / (2.0 * (v + rho)) + ln_normal_cdf(s / sqrt(v + rho))
}

/// The logarithm of a mixture for sub-exponential sums of scale `c`.
pub fn gamma_exponential(s: f64, v: f64, rho: f64, c: f64) -> f64 {
    let (shape, square) = (rho / (c * c), c * c);
    let leading = shape * log(shape) - lgamma(shape) - log(incomplete_gamma(shape, shape));
    let (moved, total) = ((c * s + v) / square, (v + rho) / square);
    leading + lgamma(total) + log(incomplete_gamma(total, moved + shape)) - total * log(moved + shape) + moved
}

/// The logarithm of a mixture for sub-Poisson sums of scale `c`.
pub fn gamma_poisson(s: f64, v: f64, rho: f64, c: f64) -> f64 {
    let (shape, square) = (rho / (c * c), c * c);
    let leading = shape * log(shape) - lgamma(shape) - log(incomplete_gamma_upper(shape, shape));
    let total = (v + rho) / square;
    let moved = s / c + total;
    leading + lgamma(moved) + log(incomplete_gamma_upper(moved, total)) - moved * log(total) + v / square
}

/// A mixture for sums of bounded deviations, at least `-g` and at most `h`.
#[derive(Clone, Copy, Debug)]
pub struct BetaBinomial {
    r: f64,
    g: f64,
    h: f64,
    one_sided: bool,
    normalizer: f64,
}

impl BetaBinomial {
    /// Tuned to `v_opt`.
    pub fn new(v_opt: f64, g: f64, h: f64, one_sided: bool) -> Self {
        let alpha = if one_sided { 2.0 * ALPHA_TUNED } else { ALPHA_TUNED };
        // Below zero the prior would not exist; a thousandth is what the authors use.
        let r = (best_rho(v_opt, alpha) - g * h).max(1e-3 * g * h);
        let mut mixture = BetaBinomial { r, g, h, one_sided, normalizer: 0.0 };
        mixture.normalizer = mixture.ln_incomplete(r / (g * (g + h)), r / (h * (g + h)));
        mixture
    }

    /// The logarithm of the mixture.
    pub fn ln(&self, s: f64, v: f64) -> f64 {
        let BetaBinomial { r, g, h, .. } = *self;
        v / (g * h) * log(g + h) - (v + h * s) / (h * (g + h)) * log(g) - (v - g * s) / (g * (g + h)) * log(h)
            + self.ln_incomplete((r + v - g * s) / (g * (g + h)), (r + v + h * s) / (h * (g + h)))
            - self.normalizer
    }

    fn ln_incomplete(&self, a: f64, b: f64) -> f64 {
        let part = if self.one_sided { log(incomplete_beta(a, b, self.h / (self.g + self.h))) } else { 0.0 };
        ln_beta(a, b) + part
    }
}

/// The largest sum at `v` at which a rising mixture stays below `1/alpha`. `s_max` bounds the sum where something does.
pub fn mixture_bound(ln_mixture: impl Fn(f64) -> f64, v: f64, alpha: f64, s_max: Option<f64>) -> f64 {
    let passes = |s: f64| ln_mixture(s) > -log(alpha);
    let mut high = match s_max {
        Some(s_max) if !passes(s_max) => return s_max,
        Some(s_max) => s_max,
        None => (0..60).map(|doubling| v * pow(2.0, f64::from(doubling))).find(|s| passes(*s)).unwrap_or(f64::MAX),
    };
    let mut low = 0.0;
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if passes(middle) { high = middle } else { low = middle }
    }
    0.5 * (low + high)
}

/// How epochs of a stitched bound are spaced (`eta`) and weighted (`s`); the authors' defaults.
#[derive(Clone, Copy, Debug)]
pub struct Stitching {
    /// How the chance of error is spread over epochs.
    pub s: f64,
    /// The ratio of one epoch's intrinsic time to the last one's.
    pub eta: f64,
}

impl Default for Stitching {
    fn default() -> Self {
        Stitching { s: 1.4, eta: 2.0 }
    }
}

impl Stitching {
    fn k1(&self) -> f64 {
        (pow(self.eta, 0.25) + pow(self.eta, -0.25)) / std::f64::consts::SQRT_2
    }

    fn k2(&self) -> f64 {
        (sqrt(self.eta) + 1.0) / 2.0
    }

    /// A bound that follows the law of the iterated logarithm, for sub-gamma sums of scale `c`, from `v_min` on.
    pub fn polynomial(&self, v: f64, alpha: f64, v_min: f64, c: f64) -> f64 {
        let v = v.max(v_min);
        let level =
            self.s * log(log(self.eta * v / v_min)) + log(zeta(self.s) / pow(log(self.eta), self.s)) - log(alpha);
        let linear = self.k2() * c * level;
        sqrt(self.k1() * self.k1() * v * level + linear * linear) + linear
    }

    /// How far, in ranks, the count of values below the `p` quantile of `t` values ever is from `p t`: at every `t` and for
    /// every `p` at once (theorem 3 of the paper on quantiles). Tightest at `t_opt`.
    pub fn quantile_ranks(&self, p: f64, t: f64, alpha: f64, t_opt: f64) -> f64 {
        /// How fine the grid of quantiles is on which the bound is built.
        const DELTA: f64 = 0.5;
        let t = t.max(t_opt);
        let logit = log(p / (1.0 - p));
        let r = if p >= 0.5 {
            p
        } else {
            let moved = logit + 2.0 * DELTA * sqrt(t_opt * self.eta / t);
            (1.0 / (1.0 + exp(-moved))).min(0.5)
        };
        let variance = r * (1.0 - r);
        let epoch = sqrt(t / t_opt) * logit.abs() / (2.0 * DELTA) + 1.0;
        let zeta = zeta(self.s);
        let level = self.s * log(log(self.eta * t / t_opt))
            + self.s * log(epoch)
            + log(2.0 * zeta * (2.0 * zeta + 1.0) / (alpha * pow(log(self.eta), self.s)));
        let linear = self.k2() * (1.0 - 2.0 * p) / 3.0 * level;
        DELTA * sqrt(self.eta * t * variance / t_opt)
            + sqrt(self.k1() * self.k1() * variance * t * level + linear * linear)
            + linear
    }
}

/// How far the share of values below any point is ever from the true one, for all points at once, from `t_min` values on.
/// `a` is the leading constant (larger than `1/sqrt 2`; the authors use 0.85).
pub fn distribution_band(t: f64, alpha: f64, t_min: f64, a: f64) -> f64 {
    if t < t_min {
        return f64::INFINITY;
    }
    a * sqrt((libm::log1p(log(t / t_min)) + band_constant(alpha, a)) / t)
}

/// The smallest constant whose chance of error, at its best spacing of epochs, is `alpha`.
fn band_constant(alpha: f64, a: f64) -> f64 {
    let chance = |c: f64, eta: f64| {
        let square = 2.0 / eta * pow(a - sqrt(2.0 * (eta - 1.0) / c), 2.0);
        if square <= 1.0 {
            return f64::INFINITY;
        }
        4.0 * exp(-square * c) * (1.0 + 1.0 / ((square - 1.0) * log(eta)))
    };
    let least_chance = |c: f64| {
        let widest = bisect(1.0, 2.0 * a * a, |eta| sqrt(eta / 2.0) + sqrt(2.0 * (eta - 1.0) / c) > a);
        minimum(1.0, widest, |eta| chance(c, eta))
    };
    let mut high = 5.0;
    while least_chance(high) > alpha {
        high *= 2.0;
    }
    bisect(high / 64.0, high, |c| least_chance(c) < alpha)
}

/// Where a condition begins to hold between `low` and `high`.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if holds(middle) { high = middle } else { low = middle }
    }
    0.5 * (low + high)
}

/// The smallest value of a function with one valley, by golden sections.
fn minimum(mut low: f64, mut high: f64, value: impl Fn(f64) -> f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    for _ in 0..80 {
        let (left, right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
        // Both are infinite only where epochs are too wide: the valley lies to the left.
        if value(left) <= value(right) { high = right } else { low = left }
    }
    value(0.5 * (low + high))
}

/// Between which rates a proportion of `successes` of `trials` surely lies, at every look. Tightest at `t_opt` trials.
pub fn proportion_interval(successes: u64, trials: u64, alpha: f64, t_opt: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (t, observed) = (trials as f64, successes as f64 / trials as f64);
    let excluded = |p: f64| {
        let variance = p * (1.0 - p);
        let mixture = BetaBinomial::new(variance * t_opt, p, 1.0 - p, false);
        mixture.ln((observed - p) * t, variance * t) > -log(alpha)
    };
    let low = if successes == 0 { 0.0 } else { bisect(0.0, observed, |p| !excluded(p)) };
    let high = if successes == trials { 1.0 } else { bisect(observed, 1.0, excluded) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-5, "{value} instead of {expected}");
    }

    const V: f64 = 100.0;
    const ALPHA: f64 = 0.05;

    #[test]
    fn mixtures_agree_with_the_reference() {
        near(best_rho(V, ALPHA), 12.60056);
        let (two_sided, one_sided) = (best_rho(V, ALPHA), best_rho(V, 2.0 * ALPHA));
        near(normal_two_sided(10.0, V, two_sided), -0.6510052);
        near(mixture_bound(|s| normal_two_sided(s, V, two_sided), V, ALPHA, None), 30.35209);
        near(normal_one_sided(10.0, V, one_sided), -0.06502391);
        near(mixture_bound(|s| normal_one_sided(s, V, one_sided), V, ALPHA, None), 27.66071);
        near(gamma_exponential(10.0, V, one_sided, 2.0), -0.2490165);
        near(mixture_bound(|s| gamma_exponential(s, V, one_sided, 2.0), V, ALPHA, None), 33.02017);
        near(gamma_poisson(10.0, V, one_sided, 2.0), -0.06991219);
        near(mixture_bound(|s| gamma_poisson(s, V, one_sided, 2.0), V, ALPHA, None), 30.1949);
        for (one_sided, ln, bound) in [(false, -0.6941012, 31.4308), (true, -0.07134019, 28.41238)] {
            let mixture = BetaBinomial::new(V, 0.2, 0.8, one_sided);
            near(mixture.ln(10.0, V), ln);
            near(mixture_bound(|s| mixture.ln(s, V), V, ALPHA, Some(V / 0.2)), bound);
        }
        let mixture = BetaBinomial::new(V, 0.2, 0.8, true);
        near(mixture_bound(|s| mixture.ln(s, 2.0 * 0.16), 2.0 * 0.16, ALPHA, Some(2.0 * 0.8)), 1.6);
    }

    #[test]
    fn stitched_bounds_agree_with_the_reference() {
        let stitching = Stitching::default();
        near(stitching.polynomial(100.0, ALPHA, 10.0, 3.0), 64.48755);
        near(stitching.polynomial(100.0, ALPHA, 10.0, -1.0), 28.99389);
        near(distribution_band(1000.0, ALPHA, 100.0, 0.85), 0.08204769);
        for (p, ranks) in [(0.5, 68.62803), (0.9, 43.72119), (0.1, 59.96521)] {
            near(stitching.quantile_ranks(p, 1000.0, ALPHA, 100.0), ranks);
        }
    }

    #[test]
    fn intervals_of_proportions_agree_with_the_reference() {
        let cases = [
            (700, 1000, 100.0, 0.651629, 0.745949),
            (15, 50, 50.0, 0.129556, 0.511896),
            (5, 50, 50.0, 0.013021, 0.269264),
            (1, 50, 50.0, 0.0, 0.13489),
            (1, 2, 50.0, 0.0, 1.0),
            (100, 200, 1.0, 0.328923, 0.671076),
            (0, 1, 50.0, 0.0, 1.0),
            (1, 1, 50.0, 0.0, 1.0),
        ];
        for (successes, trials, t_opt, low, high) in cases {
            let interval = proportion_interval(successes, trials, ALPHA, t_opt);
            near(interval.0, low);
            near(interval.1, high);
        }
    }
}
