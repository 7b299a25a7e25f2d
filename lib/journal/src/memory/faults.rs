//! Which faults a memory journal shows, and the numbers that decide when. The same seed and the same order of calls
//! give the same faults.

use std::time::Duration;

/// Faults to inject. Probabilities are between 0 and 1, each drawn once per append.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultPlan {
    /// What everything below is drawn from.
    pub seed: u64,
    /// An append fails with `Io` and nothing is kept.
    pub refuse: f64,
    /// An append fails with `Full` and nothing is kept.
    pub full: f64,
    /// An append fails with `Io` although its records were kept: all of them, or those of some partitions.
    pub lose_answer: f64,
    /// An append is answered after a time drawn between zero and this. Needs a runtime with time when it is not zero.
    pub delay_max: Duration,
    /// After so many appends the journal is poisoned.
    pub poison_after: Option<u64>,
}

impl FaultPlan {
    /// No faults at all, except what a cancelled append and a restart draw from seed 0.
    pub fn none() -> Self {
        Self { seed: 0, refuse: 0.0, full: 0.0, lose_answer: 0.0, delay_max: Duration::ZERO, poison_after: None }
    }

    /// One append in six goes wrong in one of the three ways, and answers take up to 3 ms.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            refuse: 0.06,
            full: 0.04,
            lose_answer: 0.06,
            delay_max: Duration::from_millis(3),
            poison_after: None,
        }
    }
}

/// SplitMix64: small, good enough to choose faults, and the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        // 53 bits fill the mantissa of an f64 exactly.
        ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// Between zero and `max`.
    pub(super) fn duration(&mut self, max: Duration) -> Duration {
        if max.is_zero() { Duration::ZERO } else { max.mul_f64((self.next() >> 11) as f64 / (1u64 << 53) as f64) }
    }

    /// A number below `bound`, or 0 when there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}
