//! How noisy a metric is, learnt from the baseline before the candidate came.
//!
//! Instances are hashed into eight replicate slots (`shipwake_model::slot`). What differs between slots of one and the
//! same release is noise, by definition: the dispersion beyond Poisson within a block, the spread between instances that
//! stays, and how long deviations persist. A test of counts that knows nothing of it calls every third good release bad on a service with bursts.

use std::collections::BTreeMap;

use libm::sqrt;
use shipwake_model::slot::SLOTS;

use crate::counts::Tally;

/// Tallies of the eight slots.
pub type Slots = [Tally; SLOTS as usize];

/// Block lengths to choose from, in seconds: the first at which neighbouring blocks are independent.
pub const BLOCKS_S: [u32; 6] = [10, 20, 30, 60, 120, 300];
/// The block length when nothing is known.
pub const BLOCK_UNKNOWN_S: u32 = 60;
/// Deviations of neighbouring blocks that correlate more than this are not independent evidence.
const CORRELATION_MAX: f64 = 0.1;
/// The dispersion is an estimate: so much is added to it, and so many blocks' worth of "Poisson" are mixed in, so that a few
/// quiet minutes do not make a service quiet.
const DISPERSION_MARGIN: f64 = 1.15;
const DISPERSION_PRIOR: f64 = 5.0;
/// What is assumed of a metric of which nothing is known: bursts of four at a time. Ten minutes of eight slots, or an hour of two,
/// replace it by what was seen.
const DISPERSION_UNKNOWN: f64 = 4.0;
const FREEDOM_KNOWN: f64 = 60.0;
/// What was learnt from less than ten minutes, and lies between twice chance and what is assumed, is more assumed than learnt.
const ASSUMED_BELOW_S: u64 = 600;
const ASSUMED_FROM: f64 = 2.0;
/// Standard deviations of a statistic beyond which it is not chance: five per cent.
const BEYOND_CHANCE: f64 = 1.645;
/// Fewer deviations do not tell a correlation.
const BLOCKS_MIN: usize = 20;

/// What is known of a metric's noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Variance over Poisson variance of ten seconds, at least one.
    pub dispersion_fast: f64,
    /// The same of a block of [`Noise::block_s`].
    pub dispersion: f64,
    /// Standard deviation of the logarithm of the rate between instances of one release; somewhat more, as it is an estimate.
    pub spread: f64,
    /// The length of blocks that are independent of each other, in seconds.
    pub block_s: u32,
    /// Events by exposure of the baseline; `None` when it had no exposure.
    pub rate: Option<f64>,
    /// How much history this was learnt from, in seconds.
    pub learnt_s: u64,
}

impl Noise {
    /// What is assumed without any history.
    pub fn unknown() -> Noise {
        Noise {
            dispersion_fast: DISPERSION_UNKNOWN,
            dispersion: DISPERSION_UNKNOWN,
            spread: 0.0,
            block_s: BLOCK_UNKNOWN_S,
            rate: None,
            learnt_s: 0,
        }
    }

    /// Learns from windows of the baseline: the start of each, in seconds, and its slots. Windows of one second or ten; an hour
    /// or more is worth having. `instances` is how many there were.
    pub fn learn(history: &[(i64, Slots)], instances: Option<u32>) -> Noise {
        let total = summed(history.iter().map(|(_, slots)| slots));
        let (sum, occupied) = (whole(&total), total.iter().filter(|slot| slot.exposure > 0).count());
        let learnt_s = span_s(history);
        let rate = sum.rate();
        if occupied < 2 || sum.events == 0 {
            return Noise { rate, learnt_s, ..Noise::unknown() };
        }
        let blocks = BLOCKS_S.map(|block_s| Blocks::of(history, block_s, &total));
        let chosen = blocks.iter().position(Blocks::is_independent).unwrap_or(BLOCKS_S.len() - 1);
        // With too little to tell a correlation the usual length is taken, not the shortest.
        let told = blocks[0].blocks.len() >= BLOCKS_MIN;
        let chosen = if told { chosen } else { BLOCKS_S.iter().position(|s| *s == BLOCK_UNKNOWN_S).unwrap_or(0) };
        let longest = &blocks[BLOCKS_S.len() - 1];
        Noise {
            dispersion_fast: blocks[0].dispersion(),
            dispersion: blocks[chosen].dispersion().max(blocks[0].dispersion()),
            spread: spread(&total, longest.dispersion(), f64::from(instances.unwrap_or(0)).max(occupied as f64)),
            block_s: BLOCKS_S[chosen],
            rate,
            learnt_s,
        }
    }

    /// Whether most of it is assumed: there was no past, or too little happened in it.
    pub fn is_assumed(&self) -> bool {
        let is_untouched = self.dispersion == DISPERSION_UNKNOWN && self.dispersion_fast == DISPERSION_UNKNOWN;
        let is_guess = (ASSUMED_FROM..=DISPERSION_UNKNOWN).contains(&self.dispersion);
        is_untouched || (self.learnt_s < ASSUMED_BELOW_S && is_guess)
    }

    /// The same noise judged in blocks of a given length.
    pub fn with_block(self, block_s: u32) -> Noise {
        Noise { block_s, ..self }
    }

    /// The same, at least as noisy as a self-audit found to be necessary.
    pub fn at_least(self, dispersion: f64) -> Noise {
        Noise {
            dispersion: self.dispersion.max(dispersion),
            dispersion_fast: self.dispersion_fast.max(dispersion),
            ..self
        }
    }

    /// By what factor a rate may differ by machines alone, at `z` standard deviations.
    pub fn allowance(&self, z: f64, candidates: u32, baselines: u32) -> f64 {
        let parts = 1.0 / f64::from(candidates.max(1)) + 1.0 / f64::from(baselines.max(1));
        libm::exp(z * self.spread * sqrt(parts))
    }
}

/// The history in blocks of one length.
struct Blocks {
    blocks: Vec<Slots>,
    /// Each slot's own rate over the whole history: what stays is spread, not dispersion.
    rates: [f64; SLOTS as usize],
}

impl Blocks {
    fn of(history: &[(i64, Slots)], block_s: u32, total: &Slots) -> Blocks {
        let mut blocks: BTreeMap<i64, Slots> = BTreeMap::new();
        for (start_s, slots) in history {
            let block = blocks.entry(start_s.div_euclid(i64::from(block_s))).or_default();
            for (sum, slot) in block.iter_mut().zip(slots) {
                *sum += *slot;
            }
        }
        Blocks { blocks: blocks.into_values().collect(), rates: total.map(|slot| slot.rate().unwrap_or(0.0)) }
    }

    /// What each slot should have of a block's events.
    fn expected(&self, block: &Slots) -> [f64; SLOTS as usize] {
        let weights: [f64; SLOTS as usize] = std::array::from_fn(|s| block[s].exposure as f64 * self.rates[s]);
        let sum: f64 = weights.iter().sum();
        let events = whole(block).events as f64;
        weights.map(|weight| if sum > 0.0 { events * weight / sum } else { 0.0 })
    }

    /// `1.15 (X² + 5) / (df + 5)` of Pearson's statistic of slots within blocks.
    fn dispersion(&self) -> f64 {
        let (mut statistic, mut freedom) = (0.0, 0.0);
        for block in self.blocks.iter().filter(|block| whole(block).events > 0) {
            let expected = self.expected(block);
            let slots = block.iter().zip(expected).filter(|(_, expected)| *expected > 0.0);
            let mut used = 0.0;
            for (slot, expected) in slots {
                let deviation = slot.events as f64 - expected;
                statistic += deviation * deviation / expected;
                used += 1.0;
            }
            freedom += f64::max(used - 1.0, 0.0);
        }
        // The slots' own rates were fitted to the same blocks.
        let fitted = self.rates.iter().filter(|rate| **rate > 0.0).count().saturating_sub(1) as f64;
        // Given each slot's total, `N` events of all have exactly this many: with few events the usual count is too small.
        let events = self.blocks.iter().map(|block| whole(block).events as f64).sum::<f64>();
        let freedom = f64::max(freedom - fitted, 0.0) * if events > 1.0 { events / (events - 1.0) } else { 1.0 };
        let seen = DISPERSION_MARGIN * (statistic + DISPERSION_PRIOR) / (freedom + DISPERSION_PRIOR);
        let known = (freedom / FREEDOM_KNOWN).min(1.0);
        seen.max(1.0).max(1.0 + (DISPERSION_UNKNOWN - 1.0) * (1.0 - known))
    }

    /// Whether the deviations of neighbouring blocks are nearly uncorrelated, all slots taken together.
    fn is_independent(&self) -> bool {
        if self.blocks.len() < BLOCKS_MIN {
            return true;
        }
        let deviations: Vec<[f64; SLOTS as usize]> = self
            .blocks
            .iter()
            .map(|block| {
                let expected = self.expected(block);
                std::array::from_fn(|s| block[s].events as f64 - expected[s])
            })
            .collect();
        let squares: f64 = deviations.iter().flatten().map(|d| d * d).sum();
        let products: f64 =
            deviations.windows(2).map(|pair| pair[0].iter().zip(&pair[1]).map(|(a, b)| a * b).sum::<f64>()).sum();
        products < CORRELATION_MAX * squares
    }
}

/// The spread between instances, by the moments of the slots' totals (DerSimonian and Laird): what they differ by beyond their
/// noise. Several instances of a slot average out, which is undone.
fn spread(total: &Slots, dispersion: f64, instances: f64) -> f64 {
    let sum = whole(total);
    let Some(rate) = sum.rate() else { return 0.0 };
    let expected: Vec<(f64, f64)> = total
        .iter()
        .filter(|slot| slot.exposure > 0)
        .map(|slot| (slot.events as f64, rate * slot.exposure as f64))
        .collect();
    let statistic: f64 = expected.iter().map(|(events, mean)| (events - mean) * (events - mean) / mean).sum();
    let (first, second) = expected.iter().fold((0.0, 0.0), |(a, b), (_, mean)| (a + mean, b + mean * mean));
    let slots = expected.len() as f64;
    // Only what is beyond chance: a handful of events always differs, and cannot say that machines do. Where machines matter, there
    // are many events and this takes little away.
    let by_chance = dispersion * (slots - 1.0 + BEYOND_CHANCE * sqrt(2.0 * (slots - 1.0)));
    let between = (statistic - by_chance) / (first - second / first);
    sqrt(between.max(0.0) * instances / slots) * student(slots - 1.0)
}

/// How much wider than with a known deviation one must reckon with an estimate of so many degrees of freedom: Student's quantile over
/// the normal one, at five per cent (Abramowitz and Stegun 26.7.5).
fn student(freedom: f64) -> f64 {
    let (z, z2, n) = (BEYOND_CHANCE, BEYOND_CHANCE * BEYOND_CHANCE, freedom.max(1.0));
    let t = z * (1.0 + (z2 + 1.0) / (4.0 * n) + ((5.0 * z2 + 16.0) * z2 + 3.0) / (96.0 * n * n));
    t / z
}

fn summed<'a>(windows: impl Iterator<Item = &'a Slots>) -> Slots {
    let mut total = Slots::default();
    for slots in windows {
        for (sum, slot) in total.iter_mut().zip(slots) {
            *sum += *slot;
        }
    }
    total
}

fn whole(slots: &Slots) -> Tally {
    slots.iter().fold(Tally::default(), |sum, slot| sum + *slot)
}

fn span_s(history: &[(i64, Slots)]) -> u64 {
    let starts = || history.iter().map(|(start_s, _)| *start_s);
    starts().max().zip(starts().min()).map_or(0, |(last, first)| last.abs_diff(first))
}
