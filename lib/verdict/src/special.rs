//! Special functions: the normal distribution, incomplete beta and gamma functions, the zeta function.
//!
//! Everything here is built on `libm`, whose results are the same bits on every machine, because verdicts are replayed bit for
//! bit. Formulas are those of the Digital Library of Mathematical Functions (DLMF), cited where they are used.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use libm::{erfc, exp, lgamma, log, pow};

/// Continued fractions and series stop here at the latest; they need about the square root of their largest argument.
const TERMS_MAX: u32 = 100_000;
/// Relative size of a step that changes nothing any more.
const SETTLED: f64 = 1e-15;
/// Stands in for a zero denominator (Lentz's method).
const TINY: f64 = 1e-300;

/// The distribution function of the standard normal distribution.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// The logarithm of [`normal_cdf`], which stays finite where that is rounded to zero.
pub fn ln_normal_cdf(x: f64) -> f64 {
    if x > -30.0 {
        return log(normal_cdf(x));
    }
    // Mills' ratio (DLMF 7.12.1): four terms are exact to fifteen digits below -30.
    let inverse = 1.0 / (x * x);
    let series = 1.0 - inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse));
    -0.5 * x * x - log(-x) - 0.5 * log(2.0 * PI) + log(series)
}

/// The quantile of the standard normal distribution at `p`, which must lie between 0 and 1.
pub fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-40.0_f64, 40.0_f64);
    // Bisection to the last bit: nobody waits for this function.
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            break;
        }
        if normal_cdf(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The logarithm of the beta function.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    lgamma(a) + lgamma(b) - lgamma(a + b)
}

/// The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22).
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction settles fast below the mean only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = exp(a * log(x) + b * libm::log1p(-x) - ln_beta(a, b)) / a;
    let term = |n: u32| {
        let m = f64::from(n / 2);
        if n.is_multiple_of(2) {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        }
    };
    (front / fraction(1.0, |n| (term(n), 1.0))).clamp(0.0, 1.0)
}

/// The regularised lower incomplete gamma function.
pub fn incomplete_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x < a + 1.0 {
        return gamma_series(a, x);
    }
    1.0 - gamma_fraction(a, x)
}

/// The regularised upper incomplete gamma function.
pub fn incomplete_gamma_upper(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < a + 1.0 { 1.0 - gamma_series(a, x) } else { gamma_fraction(a, x) }
}

/// The Riemann zeta function for `s > 1`, by the Euler-Maclaurin formula (DLMF 25.2.9).
pub fn zeta(s: f64) -> f64 {
    const TERMS: u32 = 200;
    let n = f64::from(TERMS);
    let head: f64 = (1..TERMS).map(|k| pow(f64::from(k), -s)).sum();
    let tail = pow(n, 1.0 - s) / (s - 1.0) + 0.5 * pow(n, -s);
    let first = s * pow(n, -s - 1.0) / 12.0;
    let second = s * (s + 1.0) * (s + 2.0) * pow(n, -s - 3.0) / 720.0;
    head + tail + first - second
}

/// The series of the lower function (DLMF 8.11.4).
fn gamma_series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0 / a, 1.0 / a);
    for n in 1..TERMS_MAX {
        term *= x / (a + f64::from(n));
        sum += term;
        if term < sum * SETTLED {
            break;
        }
    }
    (sum * exp(a * log(x) - x - lgamma(a))).clamp(0.0, 1.0)
}

/// The continued fraction of the upper function (DLMF 8.9.2).
fn gamma_fraction(a: f64, x: f64) -> f64 {
    let value = fraction(x + 1.0 - a, |n| {
        let n = f64::from(n);
        (n * (a - n), x + 2.0 * n + 1.0 - a)
    });
    (exp(a * log(x) - x - lgamma(a)) / value).clamp(0.0, 1.0)
}

/// `first + p1 / (q1 + p2 / (q2 + …))`, from the front (Lentz); `term` gives `(p, q)` from one on.
fn fraction(first: f64, term: impl Fn(u32) -> (f64, f64)) -> f64 {
    let away_from_zero = |x: f64| if x.abs() < TINY { TINY } else { x };
    let mut value = away_from_zero(first);
    let (mut c, mut d) = (value, 0.0);
    for n in 1..TERMS_MAX {
        let (p, q) = term(n);
        d = 1.0 / away_from_zero(q + p * d);
        c = away_from_zero(q + p / c);
        let step = c * d;
        value *= step;
        if (step - 1.0).abs() < SETTLED {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-12 * expected.abs().max(1e-3), "{value} instead of {expected}");
    }

    #[test]
    fn functions_agree_with_known_values() {
        near(normal_cdf(1.959963984540054), 0.975);
        near(normal_quantile(0.01), -2.3263478740408408);
        near(ln_normal_cdf(-10.0), -53.23128515051247);
        near(zeta(1.4), 3.105547277977581);
        near(incomplete_beta(2.0, 3.0, 0.25), 0.26171875);
        near(incomplete_gamma(3.0, 2.5), 0.45618688411667035);
        near(incomplete_gamma_upper(0.5, 4.0), 0.004677734981047266);
    }

    #[test]
    fn the_far_tail_joins_the_near_one() {
        let (near_side, far_side) = (ln_normal_cdf(-29.999_999), ln_normal_cdf(-30.000_001));
        assert!((near_side - far_side - 30.0 * 2e-6).abs() < 1e-6, "{near_side} {far_side}");
        assert!(ln_normal_cdf(-1e6).is_finite());
    }

    #[test]
    fn both_gamma_functions_add_up_to_one() {
        for (a, x) in [(0.3, 0.1), (5.0, 4.0), (5.0, 40.0), (900.0, 950.0), (1e6, 1e6)] {
            near(incomplete_gamma(a, x) + incomplete_gamma_upper(a, x), 1.0);
        }
    }
}
