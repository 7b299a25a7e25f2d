//! Whether two counts over two exposures come from different rates: the exact conditional test, and the interval of their
//! ratio.
//!
//! Of two Poisson counts `x` and `y` over exposures `n` and `m`, given their sum, `x` is binomial with the probability
//! `r n / (r n + m)` at a ratio `r` of the rates (Przyborowski and Wilenski 1940). Its tails are incomplete beta functions
//! (DLMF 8.17.5), the interval is that of Clopper and Pearson. Exact at any size, also for a handful of lines; looks at it
//! every second are not accounted for.

/// The ratio of two rates with its interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// `None` when the smaller side has none.
    pub value: Option<f64>,
    pub low: f64,
    /// `None` when there is no bound.
    pub high: Option<f64>,
}

/// Counts over exposures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub candidate: u64,
    pub baseline: u64,
    pub exposure_candidate: u64,
    pub exposure_baseline: u64,
}

const TAIL: f64 = 0.025;

impl Counts {
    /// How likely the candidate has so many or more when its rate is `margin` times the baseline's.
    pub fn chance_of_more(&self, margin: f64) -> f64 {
        upper_tail(self.candidate, self.candidate + self.baseline, self.probability(margin))
    }

    /// How likely the candidate has so few or fewer at equal rates.
    pub fn chance_of_fewer(&self) -> f64 {
        let (x, n) = (self.candidate, self.candidate + self.baseline);
        1.0 - upper_tail(x + 1, n, self.probability(1.0))
    }

    /// Lines that the candidate would have at the baseline's rate.
    pub fn expected(&self) -> f64 {
        self.baseline as f64 * self.exposure_candidate as f64 / self.exposure_baseline.max(1) as f64
    }

    /// The candidate's rate over the baseline's.
    pub fn ratio(&self) -> Ratio {
        let (x, n) = (self.candidate, self.candidate + self.baseline);
        let of = |p: f64| p / (1.0 - p) * self.exposure_baseline as f64 / self.exposure_candidate.max(1) as f64;
        let low = if x == 0 { 0.0 } else { root(|p| upper_tail(x, n, p) - TAIL) };
        let high = (x < n).then(|| root(|p| upper_tail(x + 1, n, p) - (1.0 - TAIL)));
        let value = (self.baseline > 0).then(|| of(x as f64 / n as f64));
        Ratio { value, low: of(low), high: high.map(of) }
    }

    fn probability(&self, margin: f64) -> f64 {
        let candidate = margin * self.exposure_candidate as f64;
        candidate / (candidate + self.exposure_baseline as f64).max(f64::MIN_POSITIVE)
    }
}

/// P(X >= x) of a binomial X of `n` with probability `p`.
fn upper_tail(x: u64, n: u64, p: f64) -> f64 {
    match x {
        0 => 1.0,
        _ if x > n => 0.0,
        _ => incomplete_beta(x as f64, (n - x + 1) as f64, p),
    }
}

/// Where a rising function of 0 to 1 passes zero.
fn root(rising: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if rising(middle) < 0.0 { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast below the mean, so the other side is asked for above it.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    (front / fraction(a, b, x)).clamp(0.0, 1.0)
}

/// `1 + d1 / (1 + d2 / (1 + …))`, evaluated from the front (Lentz).
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    /// The fraction needs about the square root of the larger count; counts of windows stay far below its square.
    const TERMS_MAX: u32 = 20_000;
    const TINY: f64 = 1e-300;
    let (mut value, mut c, mut d) = (1.0_f64, 1.0_f64, 0.0_f64);
    for term in 1..=TERMS_MAX {
        let m = f64::from(term / 2);
        let part = if term.is_multiple_of(2) {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        d = 1.0 / (1.0 + part * d).abs().max(TINY).copysign(1.0 + part * d);
        c = 1.0 + part / c;
        if c.abs() < TINY {
            c = TINY;
        }
        let step = c * d;
        value *= step;
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    value
}

/// The logarithm of the gamma function for positive numbers: Stirling's series where it is exact to fifteen digits, and
/// below that the recurrence down from there.
fn ln_gamma(x: f64) -> f64 {
    let (mut z, mut product) = (x, 1.0);
    while z < 15.0 {
        product *= z;
        z += 1.0;
    }
    let inverse = 1.0 / z;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (z - 0.5) * z.ln() - z + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tail added up term by term.
    fn added_up(x: u64, n: u64, p: f64) -> f64 {
        let mut term = (1.0 - p).powi(n as i32);
        let mut sum = if x == 0 { term } else { 0.0 };
        for k in 1..=n {
            term *= (n - k + 1) as f64 / k as f64 * p / (1.0 - p);
            if k >= x {
                sum += term;
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn tails_equal_sums_of_terms(n in 1u64..300, part in 0.0f64..1.0, p in 0.02f64..0.9) {
            let x = (part * n as f64) as u64;
            let (tail, sum) = (upper_tail(x, n, p), added_up(x, n, p));
            prop_assert!((tail - sum).abs() < 1e-9, "{} {}", tail, sum);
        }

        #[test]
        fn the_interval_holds_the_ratio(x in 0u64..2_000, y in 1u64..2_000, n in 1u64..1_000_000, m in 1u64..1_000_000) {
            let counts = Counts { candidate: x, baseline: y, exposure_candidate: n, exposure_baseline: m };
            let ratio = counts.ratio();
            let value = ratio.value.expect("the baseline has some");
            prop_assert!(ratio.low <= value && ratio.high.is_some_and(|high| value <= high), "{:?}", ratio);
            let exact = x as f64 / n as f64 / (y as f64 / m as f64);
            prop_assert!((value - exact).abs() <= 1e-9 * exact.max(1.0), "{} {}", value, exact);
        }
    }

    #[test]
    fn three_lines_of_a_tenth_of_the_traffic_are_no_chance() {
        let counts = Counts { candidate: 3, baseline: 0, exposure_candidate: 100, exposure_baseline: 900 };
        assert!((counts.chance_of_more(1.0) - 0.001).abs() < 1e-9);
        assert_eq!((counts.ratio().value, counts.ratio().high), (None, None));
        let equal = Counts { candidate: 10, baseline: 90, exposure_candidate: 100, exposure_baseline: 900 };
        assert!(equal.chance_of_more(1.0) > 0.4 && equal.chance_of_more(2.0) > 0.9);
        let gone = Counts { candidate: 0, ..equal };
        assert!((gone.chance_of_fewer() - 0.9f64.powi(90)).abs() < 1e-12);
        assert!((gone.expected() - 10.0).abs() < 1e-12);
    }

    #[test]
    fn millions_of_lines_are_no_harder() {
        let counts = Counts {
            candidate: 1_000_000,
            baseline: 1_000_000,
            exposure_candidate: 500_000,
            exposure_baseline: 1_000_000,
        };
        let ratio = counts.ratio();
        assert!(ratio.low > 1.99 && ratio.low < 2.0 && ratio.high.is_some_and(|high| high < 2.01), "{ratio:?}");
    }
}
