//! Whether traffic is split as it was declared: if not, the two sides are not comparable, whatever else they show.
//!
//! The multinomial e-process of Lindon and Malek (2011.03567): how much likelier the observed counts are under a Dirichlet prior about
//! the declared shares than under these shares exactly. It depends on sums only and may be looked at any time.

use libm::{lgamma, log};

/// How tightly the prior sits about the declared shares. Ten thousand requests' worth: splits of rollout tools are exact
/// or wrong by much.
const CONCENTRATION: f64 = 10_000.0;

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

    /// The logarithm of the evidence that the split is not the declared one.
    pub fn ln_evidence(&self) -> f64 {
        // Stages follow each other, so the product of their evidence is evidence.
        self.stages.iter().map(|stage| ln_stage(&stage.observed, &stage.expected, CONCENTRATION)).sum()
    }

    /// The declared and the observed share of the first side in the last stage.
    pub fn shares(&self) -> Option<(f64, f64)> {
        let stage = self.stages.last()?;
        let whole: u64 = stage.observed.iter().sum();
        (whole > 0).then(|| (stage.expected[0], stage.observed[0] as f64 / whole as f64))
    }

    pub(crate) fn add_stage(&mut self, expected: Vec<f64>, observed: Vec<u64>) {
        self.stages.push(Stage { expected, observed });
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = (&[f64], &[u64])> {
        self.stages.iter().map(|stage| (stage.expected.as_slice(), stage.observed.as_slice()))
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

    #[test]
    fn a_declared_split_that_is_kept_is_no_mismatch_and_another_one_is() {
        let mut kept = Split::default();
        kept.add(&[1_010, 8_990], &[0.1, 0.9]);
        kept.add(&[2_480, 7_520], &[25.0, 75.0]);
        assert!(kept.ln_evidence() < 2.0, "{}", kept.ln_evidence());
        let mut off = kept.clone();
        off.add(&[300, 9_700], &[0.1, 0.9]);
        assert!(off.ln_evidence() > log(1000.0), "{}", off.ln_evidence());
        assert_eq!(kept.shares(), Some((0.25, 0.248)));
    }
}
