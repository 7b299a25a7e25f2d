//! Sums in fixed point: the order and grouping of their terms changes no bit, and a term can be taken out again exactly.
//!
//! Evidence is added up from windows that come late, twice in parts, and from several shards. With floating point two orders
//! would give two verdicts now and then; a replay must give the same one.

use std::ops::{AddAssign, SubAssign};

/// A term keeps forty binary places: a millionth of a millionth of a nat.
const SCALE: f64 = (1u64 << 40) as f64;

/// A sum of terms that were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum(i128);

impl Sum {
    /// One term, cut to forty binary places. It must be finite, and below 2^80 in size.
    pub fn of(term: f64) -> Sum {
        debug_assert!(term.abs() < (1u128 << 80) as f64, "a term of {term}");
        let scaled = term * SCALE;
        // Most terms fit into a word, for which the conversion is one instruction.
        if scaled.abs() < (1u64 << 62) as f64 {
            Sum(i128::from(libm::rint(scaled) as i64))
        } else {
            Sum(scaled as i128)
        }
    }

    /// The sum.
    pub fn value(self) -> f64 {
        // Most sums fit into a word, too.
        i64::try_from(self.0).map_or_else(|_| self.0 as f64, |small| small as f64) / SCALE
    }

    /// The bits as they are stored.
    pub fn to_bits(self) -> i128 {
        self.0
    }

    /// The sum of which these are the bits.
    pub fn from_bits(bits: i128) -> Sum {
        Sum(bits)
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Sum) {
        // Sums of windows are far from the end; those of damaged stored bytes may wrap, and say nothing anyway.
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl SubAssign for Sum {
    fn sub_assign(&mut self, other: Sum) {
        self.0 = self.0.wrapping_sub(other.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_gives_the_same_bits(terms in proptest::collection::vec(-1e9f64..1e9, 0..60), seed in 0usize..60) {
            let (mut forth, mut back) = (Sum::default(), Sum::default());
            for term in &terms {
                forth += Sum::of(*term);
            }
            let mut turned = terms.clone();
            turned.rotate_left(seed % terms.len().max(1));
            turned.reverse();
            for term in &turned {
                back += Sum::of(*term);
            }
            prop_assert_eq!(forth, back);
            for term in &terms {
                back -= Sum::of(*term);
            }
            prop_assert_eq!(back, Sum::default());
            prop_assert!((forth.value() - terms.iter().sum::<f64>()).abs() < 1e-3);
        }
    }
}
