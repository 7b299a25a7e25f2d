//! How a quantile of two histograms differs, with an interval that holds at every look.
//!
//! Howard and Ramdas (1906.09712): each side's quantile lies between two of its own ranks; the difference lies between the
//! opposite ends. Values are known to a bucket, so the interval is drawn to the bucket's edges. Ranks are discounted by the
//! dispersion: bursts make fewer independent requests.

use libm::exp;
use shipwake_model::Sketch;

use crate::boundary::{BetaBinomial, Stitching};

/// Requests at which the bound on ranks is tightest.
const T_OPT: f64 = 100.0;

/// A quantile on both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileDifference {
    /// Which quantile, 0..1.
    pub q: f64,
    /// Of the candidate, in seconds.
    pub candidate_s: f64,
    /// Of the baseline, in seconds.
    pub baseline_s: f64,
    /// How much larger the candidate's is, as a part of the baseline's: 0.38 is 38 % slower.
    pub relative: f64,
    /// The interval of that; `None` where there is no bound yet.
    pub relative_low: Option<f64>,
    /// Its upper end.
    pub relative_high: Option<f64>,
    /// The interval of the difference in seconds.
    pub low_s: Option<f64>,
    /// Its upper end.
    pub high_s: Option<f64>,
    /// The chance of a difference as clear as this at any look, if there were none.
    pub p_value: f64,
}

/// Compares a quantile of two histograms of one unit (in seconds: `unit_s`), at a chance of error `alpha`. `None` when a side
/// is empty.
pub fn difference(
    candidate: &Sketch,
    baseline: &Sketch,
    q: f64,
    unit_s: f64,
    alpha: f64,
    dispersion: f64,
) -> Option<QuantileDifference> {
    let (c, b) = (ends(candidate, q, alpha / 2.0, dispersion)?, ends(baseline, q, alpha / 2.0, dispersion)?);
    let minus = |of: Option<f64>, other: Option<f64>| Some((of? - other?) * unit_s);
    let ratio = |of: Option<f64>, other: Option<f64>| Some(of? / other.filter(|other| *other > 0.0)? - 1.0);
    let steps = |sketch: &Sketch| Steps::of(sketch, unit_s, dispersion);
    Some(QuantileDifference {
        q,
        candidate_s: c.value * unit_s,
        baseline_s: b.value * unit_s,
        relative: ratio(Some(c.value), Some(b.value))?,
        relative_low: ratio(c.low, b.high),
        relative_high: ratio(c.high, b.low),
        low_s: minus(c.low, b.high),
        high_s: minus(c.high, b.low),
        p_value: p_value(&steps(candidate), &steps(baseline), q),
    })
}

/// A quantile and between which values it surely lies.
struct Ends {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
}

fn ends(sketch: &Sketch, q: f64, alpha: f64, dispersion: f64) -> Option<Ends> {
    let value = sketch.quantile(q)?.0;
    let t = (sketch.count() as f64 / dispersion.max(1.0)).max(1.0);
    let ranks = |q: f64| Stitching::default().quantile_ranks(q, t, alpha, T_OPT) / t;
    let (below, above) = (q - ranks(1.0 - q), q + ranks(q));
    let low = if below > 0.0 { sketch.quantile_bounds(below).and_then(|bounds| bounds.low) } else { None };
    let high = if above < 1.0 { sketch.quantile_bounds(above).and_then(|bounds| bounds.high) } else { None };
    Some(Ends { value, low, high })
}

/// Values in rising order with how many are not larger, discounted.
pub struct Steps {
    values: Vec<f64>,
    up_to: Vec<f64>,
}

impl Steps {
    /// Of values and their counts, rising.
    pub fn new(steps: impl IntoIterator<Item = (f64, f64)>) -> Steps {
        let (mut values, mut up_to, mut total) = (Vec::new(), Vec::new(), 0.0);
        for (value, count) in steps {
            total += count;
            values.push(value);
            up_to.push(total);
        }
        Steps { values, up_to }
    }

    fn of(sketch: &Sketch, unit_s: f64, dispersion: f64) -> Steps {
        // Cells of the common form, so that both sides have the same edges.
        let (cells, _) = sketch.to_hdr(unit_s * 1e6);
        Steps::new(
            cells.iter().map(|(low, _, count)| (low as f64, count as f64 / dispersion.max(1.0))).collect::<Vec<_>>(),
        )
    }

    fn total(&self) -> f64 {
        self.up_to.last().copied().unwrap_or(0.0)
    }

    /// How many values are smaller than `x`, and how many are not larger.
    fn ranks(&self, x: f64) -> (f64, f64) {
        let at = |place: usize| place.checked_sub(1).map_or(0.0, |k| self.up_to[k]);
        (at(self.values.partition_point(|value| *value < x)), at(self.values.partition_point(|value| *value <= x)))
    }
}

/// The two-sided chance that two samples with one and the same `q` quantile ever differ as clearly in it (Howard and Ramdas,
/// section 4: the least joint evidence against any common value of the quantile).
pub fn p_value(left: &Steps, right: &Steps, q: f64) -> f64 {
    if left.total() == 0.0 || right.total() == 0.0 {
        return 1.0;
    }
    let mixture = BetaBinomial::new(T_OPT * q * (1.0 - q), q, 1.0 - q, false);
    let least = left
        .values
        .iter()
        .chain(&right.values)
        .map(|x| against(left, &mixture, q, *x) + against(right, &mixture, q, *x));
    exp(-least.fold(f64::INFINITY, f64::min)).min(1.0)
}

/// The evidence of one sample against `x` being its quantile: the least over what share may lie below `x`.
fn against(steps: &Steps, mixture: &BetaBinomial, q: f64, x: f64) -> f64 {
    let n = steps.total();
    let (smaller, not_larger) = steps.ranks(x);
    let share = q.clamp(smaller / n, not_larger / n);
    mixture.ln((share - q) * n, q * (1.0 - q) * n)
}

#[cfg(test)]
mod tests {
    use shipwake_model::HdrCells;

    use super::*;

    fn whole_numbers(from: u32) -> Steps {
        Steps::new((from..from + 1000).map(|value| (f64::from(value), 1.0)))
    }

    #[test]
    fn chances_agree_with_the_reference() {
        let cases = [(0.5, 70, 0.814704), (0.5, 85, 0.0838055), (0.5, 100, 0.0054947), (0.9, 55, 0.0340463)];
        for (q, offset, expected) in cases {
            let value = p_value(&whole_numbers(1), &whole_numbers(offset + 1), q);
            assert!((value - expected).abs() < 1e-5, "{q} {offset}: {value} instead of {expected}");
        }
    }

    fn hdr(n: u32, factor: f64) -> Sketch {
        let mut cells = HdrCells::new();
        for k in 0..n {
            let z = crate::special::normal_quantile((f64::from(k) + 0.5) / f64::from(n));
            cells.record((factor * 200_000.0 * exp(0.6 * z)) as u64);
        }
        Sketch::Hdr(cells)
    }

    #[test]
    fn the_interval_holds_the_difference_and_narrows() {
        let narrow = |n| difference(&hdr(n, 1.38), &hdr(n, 1.0), 0.99, 1e-6, 0.05, 1.0).expect("both sides");
        let (few, many) = (narrow(20_000), narrow(200_000));
        for found in [few, many] {
            let (low, high) = (found.relative_low.expect("low"), found.relative_high.expect("high"));
            assert!(low < 0.38 && 0.38 < high && low < found.relative && found.relative < high, "{found:?}");
        }
        let width = |found: QuantileDifference| found.high_s.expect("high") - found.low_s.expect("low");
        assert!(width(many) < width(few) / 2.0 && many.p_value < 1e-6);
        let noisy = difference(&hdr(20_000, 1.38), &hdr(20_000, 1.0), 0.99, 1e-6, 0.05, 8.0).expect("both sides");
        assert!(noisy.relative_high.is_none_or(|high| few.relative_high.is_some_and(|less| less < high)));
    }

    #[test]
    fn a_few_requests_have_no_bound() {
        let found = difference(&hdr(30, 1.0), &hdr(30, 1.0), 0.99, 1e-6, 0.05, 1.0).expect("both sides");
        assert_eq!((found.relative_low.is_some(), found.relative_high), (false, None));
        assert!(found.p_value > 0.9);
        assert_eq!(difference(&hdr(0, 1.0), &hdr(30, 1.0), 0.99, 1e-6, 0.05, 1.0), None);
    }
}
