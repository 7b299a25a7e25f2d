//! A second opinion that needs no model of the noise: bets on the sign of deviations, block by block.
//!
//! `D` of a block is how many events more the candidate has than its share at the margin. If each `D` is as likely up as down,
//! whatever its size is, a bet of `tanh(λ|D|)` on "up" is fair: what is left of a unit, `Π (1 + tanh λD)`, is a test martingale for
//! every `λ`, and so is its mean over sizes that were fixed beforehand. As `ln(1 + tanh y) = y − ln cosh y ≥ y − y²/2`, it is never
//! less than the usual self-normalised bound `exp(λ ΣD − λ² ΣD² / 2)`, which charges a clear difference for being clear: blocks of
//! which each lies 1.8 deviations up convince after nine, with that bound after eighteen.
//!
//! Where the two sides are unequal the `D` are only nearly symmetric: counts have a long tail upwards, so bets on "down" win more
//! than is fair, by at most `λ³` times a third of the third moment in each block. That is taken off; the advantage of bets on "up" is not made
//! use of. And this is used beside the likelihood and never alone: the smaller of the two counts.

use std::sync::LazyLock;

use libm::{exp, exp2, fabs, floor, log, log1p, sqrt};

use crate::evidence::ln_sum;

/// How many sizes there are.
pub(crate) const BETS: usize = 20;
/// The largest is `2^3` for each event, each further one half of it: for deviations of a tenth of an event to some ten thousand. The same for every
/// block, so that sums can be kept before anybody knows how large deviations will be.
static SIZES: LazyLock<[f64; BETS]> = LazyLock::new(|| std::array::from_fn(|k| exp2(3.0 - k as f64)));

/// The size, in expected deviations, about which most is bet: right for differences that take some twenty blocks to tell.
const USUAL: f64 = 0.5;
/// How far from it, in the logarithm, bets weigh half as much.
const SCALE: f64 = 0.8;
/// Sizes beyond these are not worth their weight.
const LEAST: f64 = 1.0 / 64.0;
const MOST: f64 = 4.5;

/// Units of what is won, of which a nat has so many: the order in which blocks are added changes no bit, and a sum over a century fits into a word.
const NAT: f64 = (1u64 << 24) as f64;

/// The logarithms of what a bet of each size on "up" makes of a unit in one block, cut to units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Won([i64; BETS]);

impl Won {
    /// Of a deviation.
    pub fn of(deviation: f64) -> Won {
        /// What has lost so many nats never comes back: a block makes up for seven tenths of one.
        const LOST: f64 = 16_384.0;
        Won(SIZES.map(|size| floor(ln_left(size * deviation).max(-LOST) * NAT) as i64))
    }
}

/// The same of many blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bets {
    pub won: [i64; BETS],
    pub blocks: u32,
}

impl Bets {
    /// Adds those of a block that are in the book.
    pub fn add(&mut self, won: &Won, book: &Book) {
        self.add_sizes(won, book.sizes());
    }

    /// Adds all of a block.
    pub fn add_all(&mut self, won: &Won) {
        self.add_sizes(won, 0..BETS);
    }

    fn add_sizes(&mut self, won: &Won, sizes: std::ops::Range<usize>) {
        for (sum, won) in self.won[sizes.clone()].iter_mut().zip(&won.0[sizes]) {
            // Only sums of damaged stored bytes may wrap, and they say nothing anyway.
            *sum = sum.wrapping_add(*won);
        }
        self.blocks = self.blocks.saturating_add(1);
    }

    /// What bets have won at least, of blocks of which only the sum of deviations and that of their squares is known.
    pub fn at_least(sum: f64, squares: f64, blocks: u32) -> Bets {
        // As a conversion it keeps to what a word holds.
        let won = SIZES.map(|size| floor((size * sum - 0.5 * size * size * squares) * NAT) as i64);
        Bets { won, blocks }
    }
}

/// Which sizes are bet on a question, and how much of a unit on each.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    first: usize,
    pages: Vec<Page>,
}

/// A size.
#[derive(Clone, Copy, Debug)]
struct Page {
    ln_weight: f64,
    /// What is taken off for each block.
    skew: f64,
}

/// What a block's deviation was expected to be like, known beforehand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    pub variance: f64,
    /// The third central moment, in the direction of the bet: below zero, the long tail is on the other side.
    pub third: f64,
}

impl Expected {
    /// The same for bets on the other side.
    pub fn turned(self) -> Expected {
        Expected { third: -self.third, ..self }
    }
}

impl Book {
    /// Empty when nothing is known of the deviations: then nothing is bet.
    pub fn new(expected: Expected) -> Book {
        let deviation = sqrt(expected.variance);
        if deviation <= 0.0 || !deviation.is_finite() {
            return Book { first: 0, pages: Vec::new() };
        }
        let page = |k: usize| {
            let (size, far) = (SIZES[k], log(SIZES[k] * deviation / USUAL) / SCALE);
            let skew = log1p(size * size * size * (-expected.third).max(0.0) / 3.0);
            Page { ln_weight: -log1p(far * far), skew }
        };
        // The nearest one where none is usual.
        let first = (0..BETS).find(|k| SIZES[*k] * deviation <= MOST).unwrap_or(BETS - 1);
        let usual = (first..BETS).take_while(|k| *k == first || SIZES[*k] * deviation >= LEAST);
        let mut pages: Vec<Page> = usual.map(page).collect();
        let whole = ln_sum(&pages.iter().map(|page| page.ln_weight).collect::<Vec<f64>>());
        pages.iter_mut().for_each(|page| page.ln_weight -= whole);
        Book { first, pages }
    }

    fn sizes(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.pages.len()
    }

    /// The logarithm of the evidence.
    pub fn ln_evidence(&self, sums: &Bets) -> f64 {
        self.ln_evidence_since(sums, &Bets::default())
    }

    /// The same of the blocks since an earlier state of the same sums.
    pub fn ln_evidence_since(&self, sums: &Bets, earlier: &Bets) -> f64 {
        if self.pages.is_empty() {
            return 0.0;
        }
        let blocks = f64::from(sums.blocks.saturating_sub(earlier.blocks));
        let mut ln_values = [f64::NEG_INFINITY; BETS];
        for (ln_value, (k, page)) in ln_values.iter_mut().zip(self.sizes().zip(&self.pages)) {
            let won = sums.won[k].wrapping_sub(earlier.won[k]) as f64 / NAT;
            *ln_value = page.ln_weight + won - blocks * page.skew;
        }
        ln_sum(&ln_values[..self.pages.len()])
    }
}

/// `ln(1 + tanh y)`.
fn ln_left(y: f64) -> f64 {
    y.min(0.0) * 2.0 + std::f64::consts::LN_2 - log1p(exp(-2.0 * fabs(y)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn book(deviation: f64) -> Book {
        Book::new(Expected { variance: deviation * deviation, third: 0.0 })
    }

    fn after(deviations: &[f64]) -> Bets {
        let mut sums = Bets::default();
        deviations.iter().for_each(|deviation| sums.add_all(&Won::of(*deviation)));
        sums
    }

    proptest! {
        /// One more deviation, up or down with equal chance, leaves the expectation where it was.
        #[test]
        fn a_fair_coin_is_not_expected_to_speak(
            before in proptest::collection::vec(-60.0f64..60.0, 0..30), size in 0.01f64..60.0, expected in 0.05f64..100.0,
        ) {
            let book = book(expected);
            let with = |last: f64| book.ln_evidence(&after(&[before.as_slice(), &[last]].concat()));
            let now = book.ln_evidence(&after(&before));
            let mean = 0.5 * (exp(with(size) - now) + exp(with(-size) - now));
            prop_assert!((mean - 1.0).abs() < 1e-6, "{}", mean);
        }

        /// What is read of sums and squares alone never claims more than the blocks do.
        #[test]
        fn sums_and_squares_are_a_lower_bound(deviations in proptest::collection::vec(-1e4f64..1e4, 1..40)) {
            let squares = deviations.iter().map(|deviation| deviation * deviation).sum();
            let least = Bets::at_least(deviations.iter().sum(), squares, deviations.len() as u32);
            for (least, exact) in least.won.iter().zip(after(&deviations).won) {
                prop_assert!((*least - exact) as f64 <= 1e-5 * NAT);
            }
        }

        /// Poisson counts of unequal sides at the edge of the null: neither bets on "down", which have the long tail on the other side, nor
        /// bets on "up" are expected to win. Exact, by summing over both counts.
        #[test]
        fn a_long_tail_on_the_other_side_wins_nothing(events in 0.05f64..40.0, share in 0.02f64..0.5) {
            let variance = events * share * (1.0 - share);
            let third = variance * (1.0 - 2.0 * share);
            let expected = Expected { variance, third };
            let books = [(Book::new(expected), 1.0), (Book::new(expected.turned()), -1.0)];
            let chance = |mean: f64, n: u32| exp(f64::from(n) * log(mean) - mean - libm::lgamma(f64::from(n) + 1.0));
            let many = |mean: f64| (mean + 12.0 * sqrt(mean) + 12.0) as u32;
            let (up, down) = (events * share, events * (1.0 - share));
            for (book, side) in books {
                let mut mean = 0.0;
                for x in 0..many(up) {
                    for y in 0..many(down) {
                        let deviation = f64::from(x) - share * f64::from(x + y);
                        mean += chance(up, x) * chance(down, y) * exp(book.ln_evidence(&after(&[side * deviation])));
                    }
                }
                prop_assert!(mean <= 1.0 + 1e-6, "{} {}", side, mean);
            }
        }
    }

    #[test]
    fn blocks_that_all_deviate_one_way_are_convincing_after_a_while() {
        let blocks = |many: usize, deviation: f64| book(1.0).ln_evidence(&after(&vec![deviation; many]));
        assert!(blocks(5, 3.0) < log(111.0), "{}", blocks(5, 3.0));
        assert!(blocks(9, 3.0) > log(111.0), "{}", blocks(9, 3.0));
        assert!(blocks(40, 0.5) > log(111.0), "{}", blocks(40, 0.5));
        // However large they are: a sign says one bit.
        assert!(blocks(1, 1e9) <= std::f64::consts::LN_2 + 1e-9);
        assert!(blocks(20, -3.0) < -3.0);
    }

    #[test]
    fn nothing_says_nothing() {
        assert!(book(1.0).ln_evidence(&Bets::default()).abs() < 1e-12);
        assert_eq!(book(0.0).ln_evidence(&after(&[3.0; 40])), 0.0);
        // Deviations beyond all sizes are bet on with the nearest one.
        assert_eq!(book(1e9).sizes(), BETS - 1..BETS);
        assert_eq!(book(1e-9).sizes(), 0..1);
    }
}
