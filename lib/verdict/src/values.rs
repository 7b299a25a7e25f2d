//! Means of values by exposure (revenue by session) of two sides, block by block.
//!
//! The difference of a block is that of the two means in it, so that season and shared incidents cancel. Differences of blocks are the
//! units; from thirty on, an asymptotic confidence sequence holds at every look (Waudby-Smith et al. 2103.06476): the
//! normal mixture with an estimated variance. As for counts, a self-normalised sum is the second opinion.

use std::collections::BTreeMap;

use libm::{log, sqrt};

use crate::boundary::{best_rho, normal_one_sided};
use crate::fixed::Sum;
use crate::symmetric;

/// Fewer blocks say nothing: the sequence is asymptotic.
pub const BLOCKS_MIN: u32 = 30;
/// Blocks at which the mixture is tightest: an hour of minutes.
const BLOCKS_TUNED: f64 = 60.0;
/// Blocks that are kept; older ones are dropped, which loses evidence and makes none up.
const BLOCKS_MAX: usize = 4_096;

/// Values and their exposure on both sides, by block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    block_s: i64,
    blocks: BTreeMap<i64, [Amount; 2]>,
}

/// A sum of values over exposure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Amount {
    sum: Sum,
    exposure: u64,
}

/// Which side a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The release that is judged.
    Candidate,
    /// The release beside it.
    Baseline,
}

/// What the values say at a look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValuesEvidence {
    /// How many blocks had both sides.
    pub blocks: u32,
    /// Means by exposure over all blocks.
    pub candidate: f64,
    /// Of the baseline.
    pub baseline: f64,
    /// Candidate less baseline as a part of the baseline, and its interval.
    pub relative: f64,
    /// Its interval; `None` before thirty blocks.
    pub interval: Option<(f64, f64)>,
    /// Evidence that the candidate's mean is lower by more than the limit.
    pub ln_worse: f64,
    /// Evidence that it is not.
    pub ln_fine: f64,
}

impl Values {
    /// Blocks of this many seconds.
    pub fn new(block_s: u32) -> Values {
        Values { block_s: i64::from(block_s.max(1)), blocks: BTreeMap::new() }
    }

    /// Adds a sum of values and its exposure. Sums that are not finite, or beyond 2^40, are cut.
    pub fn add(&mut self, start_s: i64, side: Side, sum: f64, exposure: u64) {
        const SUM_MAX: f64 = (1u64 << 40) as f64;
        if sum.is_nan() {
            return;
        }
        let amounts = self.blocks.entry(start_s.div_euclid(self.block_s)).or_default();
        let amount = &mut amounts[usize::from(side == Side::Baseline)];
        amount.sum += Sum::of(sum.clamp(-SUM_MAX, SUM_MAX));
        amount.exposure = amount.exposure.saturating_add(exposure);
        if self.blocks.len() > BLOCKS_MAX {
            self.blocks.pop_first();
        }
    }

    /// The evidence of blocks that ended by `complete_until_s`, against a fall by more than `limit` (a part of the baseline's
    /// mean). `alpha` is of the interval.
    pub fn look(&self, complete_until_s: i64, limit: f64, alpha: f64) -> Option<ValuesEvidence> {
        let first_incomplete = complete_until_s.div_euclid(self.block_s);
        let means: Vec<(f64, f64)> = self
            .blocks
            .range(..first_incomplete)
            .filter(|(_, [candidate, baseline])| candidate.exposure > 0 && baseline.exposure > 0)
            .map(|(_, [candidate, baseline])| (candidate.mean(), baseline.mean()))
            .collect();
        let t = means.len() as f64;
        if means.is_empty() {
            return None;
        }
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| means.iter().map(of).sum::<f64>() / t;
        let (candidate, baseline) = (mean(&|m| m.0), mean(&|m| m.1));
        let relative = if baseline == 0.0 { 0.0 } else { (candidate - baseline) / baseline.abs() };
        let mut evidence = ValuesEvidence {
            blocks: means.len() as u32,
            candidate,
            baseline,
            relative,
            interval: None,
            ln_worse: 0.0,
            ln_fine: 0.0,
        };
        if evidence.blocks >= BLOCKS_MIN && baseline != 0.0 {
            // A fall to the limit is where the two questions part.
            let from_limit: Vec<f64> = means.iter().map(|(c, b)| b - limit * b.abs() - c).collect();
            (evidence.ln_worse, evidence.ln_fine) = (ln_above_zero(&from_limit), ln_above_zero(&negated(&from_limit)));
            let differences: Vec<f64> = means.iter().map(|(c, b)| c - b).collect();
            let half = half_width(&differences, alpha) / baseline.abs();
            evidence.interval = Some((relative - half, relative + half));
        }
        Some(evidence)
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = (i64, [(i128, u64); 2])> + '_ {
        let bits = |amount: &Amount| (amount.sum.to_bits(), amount.exposure);
        self.blocks.iter().map(move |(block, [candidate, baseline])| (*block, [bits(candidate), bits(baseline)]))
    }

    pub(crate) fn set_part(&mut self, block: i64, sides: [(i128, u64); 2]) {
        let amount = |(bits, exposure): (i128, u64)| Amount { sum: Sum::from_bits(bits), exposure };
        self.blocks.insert(block, sides.map(amount));
    }
}

impl Amount {
    fn mean(&self) -> f64 {
        self.sum.value() / self.exposure as f64
    }
}

/// Evidence that differences lie above zero: the smaller of the mixture's and of the self-normalised sum's.
fn ln_above_zero(differences: &[f64]) -> f64 {
    let (mean, deviation) = moments(differences);
    let t = differences.len() as f64;
    if deviation <= 0.0 {
        return 0.0;
    }
    let rho = best_rho(BLOCKS_TUNED, 0.02);
    let sum = mean * t / deviation;
    let squares: f64 = differences.iter().map(|d| d * d).sum();
    normal_one_sided(sum, t, rho).min(symmetric::ln_evidence(
        mean * t,
        squares,
        deviation * deviation,
        BLOCKS_TUNED / 2.0,
    ))
}

/// Half of the width of the confidence sequence of a mean.
fn half_width(differences: &[f64], alpha: f64) -> f64 {
    let (_, deviation) = moments(differences);
    let t = differences.len() as f64;
    let rho = best_rho(BLOCKS_TUNED, alpha);
    deviation * sqrt((t + rho) * (log((t + rho) / rho) - 2.0 * log(alpha))) / t
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, sqrt(squares / (n - 1.0).max(1.0)))
}

fn negated(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| -value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The width as it is usually written, with `ρ` for what is `1/√rho` here.
    fn published_width(deviation: f64, t: f64, alpha: f64) -> f64 {
        let level = -2.0 * log(alpha);
        let rho = sqrt((level + log(level + 1.0)) / BLOCKS_TUNED);
        let grown = t * rho * rho + 1.0;
        deviation * sqrt(2.0 * grown / (t * t * rho * rho) * log(sqrt(grown) / alpha))
    }

    #[test]
    fn the_width_is_the_published_one() {
        let differences: Vec<f64> = (0..90).map(|k| f64::from(k * 37 % 90)).collect();
        let (_, deviation) = moments(&differences);
        let (ours, published) = (half_width(&differences, 0.05), published_width(deviation, 90.0, 0.05));
        assert!((ours / published - 1.0).abs() < 1e-12, "{ours} {published}");
    }

    fn revenue(factor: f64, blocks: i64) -> Values {
        let mut values = Values::new(60);
        for block in 0..blocks {
            // A season that both share, and noise that they do not.
            let season = 40.0 + 10.0 * libm::sin(block as f64 / 9.0);
            let noise = |k: i64| ((block * k) % 13 - 6) as f64 / 6.0;
            values.add(block * 60, Side::Candidate, 100.0 * factor * (season + noise(37)), 100);
            values.add(block * 60, Side::Baseline, 900.0 * (season + noise(59)), 900);
        }
        values
    }

    #[test]
    fn less_revenue_is_proven_worse_and_the_same_is_proven_fine() {
        let worse = revenue(0.85, 120).look(i64::MAX, 0.05, 0.05).expect("blocks");
        assert!(worse.ln_worse > log(111.0) && worse.ln_fine < 0.0, "{worse:?}");
        let (low, high) = worse.interval.expect("enough blocks");
        assert!(low < -0.15 && -0.15 < high && high < -0.12, "{worse:?}");
        let same = revenue(1.0, 120).look(i64::MAX, 0.05, 0.05).expect("blocks");
        assert!(same.ln_fine > log(20.0) && same.ln_worse < 0.0, "{same:?}");
    }

    #[test]
    fn a_few_blocks_say_nothing() {
        let early = revenue(0.5, 29).look(i64::MAX, 0.05, 0.05).expect("blocks");
        assert_eq!((early.ln_worse, early.ln_fine, early.interval), (0.0, 0.0, None));
        assert_eq!(Values::new(60).look(i64::MAX, 0.05, 0.05), None);
    }
}
