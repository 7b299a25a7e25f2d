//! Whether traffic is split as it was declared: if not, the two sides are not comparable, whatever else they show.
//!
//! The multinomial e-process of Lindon and Malek (2011.03567): how much likelier the observed counts are under a Dirichlet prior about
//! the declared shares than under these shares exactly. It depends on sums only and may be looked at any time.
//!
//! Balancers are not exact, and enough requests prove any difference: a small one is let pass however sure it is.

use libm::{lgamma, log};

/// How tightly the prior sits about the declared shares. Ten thousand requests' worth: splits of rollout tools are exact
/// or wrong by much.
const CONCENTRATION: f64 = 10_000.0;
/// A share is let pass that is off by no more than this part of the declared one,
const TOLERANCE: f64 = 0.1;
/// or by no more than two percentage points, if that is more.
const TOLERANCE_POINTS: f64 = 0.02;

/// Counts of one side after the other against declared shares, which may change from stage to stage of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    stages: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq)]
struct Stage {
    expected: Vec<f64>,
    observed: Vec<u64>,
}

/// More stages than a rollout has; later ones are judged as parts of the last.
const STAGES_MAX: usize = 64;

impl Split {
    /// Adds counts under declared shares. Shares are taken in proportion; all must be above zero.
    pub fn add(&mut self, observed: &[u64], expected: &[f64]) {
        let whole: f64 = expected.iter().sum();
        if observed.len() != expected.len() || expected.iter().any(|share| *share <= 0.0) || !whole.is_finite() {
            return;
        }
        let expected: Vec<f64> = expected.iter().map(|share| share / whole).collect();
        let known = self.stages.iter().position(|stage| stage.expected == expected);
        let at = match known {
            Some(at) => at,
            None if self.stages.len() < STAGES_MAX => {
                self.stages.push(Stage { observed: vec![0; expected.len()], expected });
                self.stages.len() - 1
            }
            None => return,
        };
        for (sum, more) in self.stages[at].observed.iter_mut().zip(observed) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// The declared and the observed share of the first side in the last stage that was split otherwise than declared: by more than
    /// balancers are off, and with so much evidence (its logarithm). Stages before it do not hide one, nor do they speak for one.
    pub fn mismatch(&self, ln_needed: f64) -> Option<(f64, f64)> {
        let is_off = |stage: &&Stage| stage.is_off() && stage.ln_evidence() >= ln_needed;
        let stage = self.stages.iter().rev().find(is_off)?;
        Some((stage.expected[0], stage.observed_share()?))
    }

    pub(crate) fn add_stage(&mut self, expected: Vec<f64>, observed: Vec<u64>) {
        self.stages.push(Stage { expected, observed });
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = (&[f64], &[u64])> {
        self.stages.iter().map(|stage| (stage.expected.as_slice(), stage.observed.as_slice()))
    }
}

impl Stage {
    fn ln_evidence(&self) -> f64 {
        ln_stage(&self.observed, &self.expected, CONCENTRATION)
    }

    /// The first side's share; `None` before the first request.
    fn observed_share(&self) -> Option<f64> {
        let whole: u64 = self.observed.iter().fold(0, |sum, count| sum.saturating_add(*count));
        (whole > 0).then(|| self.observed[0] as f64 / whole as f64)
    }

    fn is_off(&self) -> bool {
        let declared = self.expected[0];
        let let_pass = f64::max(TOLERANCE * declared, TOLERANCE_POINTS);
        self.observed_share().is_some_and(|observed| (observed - declared).abs() > let_pass)
    }
}

fn ln_stage(observed: &[u64], expected: &[f64], concentration: f64) -> f64 {
    let total: u64 = observed.iter().sum();
    let sides = observed.iter().zip(expected);
    let gain = |(count, share): (&u64, &f64)| {
        let (count, prior) = (*count as f64, concentration * share);
        lgamma(prior + count) - lgamma(prior) - count * log(*share)
    };
    lgamma(concentration) - lgamma(concentration + total as f64) + sides.map(gain).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `M1 - M0` of the published implementation's own test (optimizely/ssrm, Apache-2.0), whose multinomial factors cancel.
    /// Its prior is given by concentration 3 about even shares.
    #[test]
    fn the_evidence_agrees_with_the_reference() {
        let rows = [[20, 17, 9], [18, 21, 8], [4, 6, 4], [18, 19, 11]];
        let expected = [
            (-7.028201432058012, -4.0776406466061985),
            (-11.947847738358888, -8.265946861099877),
            (-15.471401950257842, -11.610743519545139),
            (-19.96484521090386, -15.781031228536165),
        ];
        let null: [f64; 3] = [0.4, 0.4, 0.2];
        let mut sum = [0u64; 3];
        for (row, (with_prior, without)) in rows.iter().zip(expected) {
            for (total, more) in sum.iter_mut().zip(row) {
                *total += more;
            }
            // The reference's prior is not about the null: its evidence is ours about even shares, turned to the null.
            let about_even = ln_stage(&sum, &[1.0 / 3.0; 3], 3.0);
            let turned: f64 =
                sum.iter().zip(null).map(|(count, share)| *count as f64 * (log(1.0 / 3.0) - log(share))).sum();
            assert!((about_even + turned - (with_prior - without)).abs() < 1e-9, "{}", about_even + turned);
        }
        // Ten units, prior of ten thousand about the null: the Bayes factor of the reference's regression test.
        let factor = libm::exp(ln_stage(&[3, 5, 2], &[0.1, 0.5, 0.4], 10_000.0));
        assert!((factor - 1.0).abs() < 0.01, "{factor}");
    }

    fn split(stages: &[([u64; 2], f64)]) -> Split {
        let mut split = Split::default();
        stages.iter().for_each(|(observed, declared)| split.add(observed, &[*declared, 1.0 - declared]));
        split
    }

    #[test]
    fn a_declared_split_that_is_kept_is_no_mismatch_and_another_one_is() {
        let needed = log(1000.0);
        let kept = [([1_010, 8_990], 0.1), ([2_480, 7_520], 0.25)];
        assert_eq!(split(&kept).mismatch(needed), None);
        let (declared, observed) = split(&[kept[0], ([300, 9_700], 0.1), kept[1]]).mismatch(needed).expect("off");
        assert!(declared == 0.1 && (observed - 0.0655).abs() < 1e-12, "{declared} {observed}");
    }

    #[test]
    fn what_balancers_are_off_by_is_let_pass_however_sure_it_is() {
        let needed = log(1000.0);
        let off = |observed: [u64; 2], declared: f64| split(&[(observed, declared)]).mismatch(needed).is_some();
        // A tenth of three tenths; two points of five.
        let cases = [
            ([294_000, 706_000], 0.3, false),
            ([271_000, 729_000], 0.3, false),
            ([269_000, 731_000], 0.3, true),
            ([331_000, 669_000], 0.3, true),
            ([69_000, 931_000], 0.05, false),
            ([71_000, 929_000], 0.05, true),
            ([0, 1_000_000], 0.01, false),
            ([0, 1_000_000], 0.05, true),
            // Far off, and too few requests to be sure.
            ([0, 8], 0.3, false),
        ];
        for (observed, declared, expected) in cases {
            assert_eq!(off(observed, declared), expected, "{observed:?} where {declared} was declared");
        }
        let sure = Stage { expected: vec![0.3, 0.7], observed: vec![294_000, 706_000] };
        assert!(sure.ln_evidence() > needed, "{}", sure.ln_evidence());
    }
}
