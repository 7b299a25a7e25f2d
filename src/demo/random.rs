//! Chance with a seed: the same seed gives the same shop. Pure.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A stream of random values.
pub struct Chance(StdRng);

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// True with this probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// 64 random bits, never zero.
    pub fn bits(&mut self) -> u64 {
        self.0.random::<u64>().max(1)
    }

    /// Log-normal: `median` in the caller's unit, `sigma` of the logarithm.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let (a, b) = (1.0 - self.unit(), self.unit());
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        median * (sigma * normal).exp()
    }

    /// How many of independent events happen when `mean` are expected.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        // Above this, the product of uniforms would run out of the range of a double.
        const MEAN_AT_ONCE: f64 = 200.0;
        let mut events = 0;
        let mut left = mean;
        while left > 0.0 {
            let limit = (-left.min(MEAN_AT_ONCE)).exp();
            left -= MEAN_AT_ONCE;
            let mut product = self.unit();
            while product > limit {
                events += 1;
                product *= self.unit();
            }
        }
        events
    }

    /// An index with a probability in proportion to its weight; `None` when all weights are zero.
    pub fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> Option<usize> {
        let total: f64 = weights.clone().sum();
        let mut left = self.unit() * total;
        let mut chosen = None;
        for (index, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
            chosen = Some(index);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_and_another_seed_another() {
        let stream = |seed| {
            let mut chance = Chance::new(seed);
            (0..20).map(|_| chance.bits()).collect::<Vec<_>>()
        };
        assert_eq!(stream(7), stream(7));
        assert_ne!(stream(7), stream(8));
    }

    #[test]
    fn distributions_have_their_means() {
        let mut chance = Chance::new(1);
        let mean = |draw: &mut dyn FnMut() -> f64| (0..20_000).map(|_| draw()).sum::<f64>() / 20_000.0;
        assert!((mean(&mut || chance.poisson(7.3) as f64) - 7.3).abs() < 0.1);
        assert!((mean(&mut || chance.poisson(450.0) as f64) - 450.0).abs() < 1.0);
        let mut values: Vec<f64> = (0..20_001).map(|_| chance.log_normal(40.0, 0.5)).collect();
        values.sort_by(f64::total_cmp);
        assert!((values[10_000] - 40.0).abs() < 1.0);
    }

    #[test]
    fn weights_of_zero_are_never_chosen() {
        let mut chance = Chance::new(1);
        let chosen: Vec<_> = (0..1_000).map(|_| chance.weighted([0.0, 3.0, 1.0, 0.0].into_iter())).collect();
        assert!(chosen.iter().all(|index| matches!(index, Some(1 | 2))));
        assert_eq!(chance.weighted([0.0, 0.0].into_iter()), None);
    }
}
