//! A self-normalised sum of deviations, block by block: the second opinion on means of values, that needs no model of the noise.
//!
//! If each deviation `D` is as likely up as down, `exp(λ ΣD − λ² ΣD² / 2)` is a test supermartingale for every `λ`, whatever the
//! tails are; mixed over a half-normal `λ` of scale `ρ` it has a closed form (Howard et al. 1810.08240, and de la Peña's
//! inequality for symmetric variables), so thousands of blocks cost nothing at a look. Counts, whose blocks are told in
//! minutes, have `bets`, which say more. Deviations are only nearly symmetric, so this is never used alone: the smaller of
//! two opinions counts.

use std::f64::consts::LN_2;

use libm::{log1p, sqrt};

use crate::special::ln_normal_cdf;

/// The logarithm of the evidence that deviations with the sum `sum` and the sum of squares `squares` lie above zero.
/// `variance` is what one deviation was expected to vary by, known beforehand; the mixture is sharpest after `tuned` of them.
pub fn ln_evidence(sum: f64, squares: f64, variance: f64, tuned: f64) -> f64 {
    if squares <= 0.0 || variance <= 0.0 {
        return 0.0;
    }
    let rho_square = 1.0 / (tuned * variance);
    let spread = 1.0 + rho_square * squares;
    LN_2 - 0.5 * log1p(rho_square * squares)
        + rho_square * sum * sum / (2.0 * spread)
        + ln_normal_cdf(sqrt(rho_square / spread) * sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// One more deviation, up or down with equal chance, leaves the expectation at one or lowers it.
        #[test]
        fn a_fair_coin_is_not_expected_to_speak(
            sum in -50.0f64..50.0, more in 0.0f64..400.0, size in 0.01f64..60.0, variance in 0.1f64..100.0,
        ) {
            // A sum of squares is at least the square of one term; any earlier path is allowed.
            let squares = more + sum.abs();
            let now = ln_evidence(sum, squares, variance, 30.0);
            let up = ln_evidence(sum + size, squares + size * size, variance, 30.0);
            let down = ln_evidence(sum - size, squares + size * size, variance, 30.0);
            let expected = 0.5 * (libm::exp(up - now) + libm::exp(down - now));
            prop_assert!(expected <= 1.0 + 1e-9, "{}", expected);
        }
    }

    #[test]
    fn blocks_that_all_deviate_one_way_are_convincing_after_a_while() {
        let after = |blocks: f64| ln_evidence(3.0 * blocks, 9.0 * blocks, 1.0, 30.0);
        assert!(after(3.0) < libm::log(111.0), "{}", after(3.0));
        assert!(after(15.0) > libm::log(111.0), "{}", after(15.0));
        // However large they are: the evidence of n signs is at most 2^n.
        assert!(ln_evidence(1e9, 1e18, 1.0, 30.0) <= LN_2);
    }

    #[test]
    fn nothing_says_nothing() {
        assert_eq!(ln_evidence(0.0, 0.0, 1.0, 30.0), 0.0);
        assert!(ln_evidence(-40.0, 100.0, 4.0, 30.0) < -1.5);
    }
}
