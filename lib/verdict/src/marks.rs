//! Later starts of the evidence: a release that was fine for an hour and breaks is judged from about then on.
//!
//! Evidence from a later start counts as one until then; a weighted mean of starts is evidence as long as the weights were
//! fixed beforehand and add up to at most one. The first request has nine tenths, which costs a tenth of a nat; the `j`-th minute
//! has a tenth of `1/(j(j+1))`. Old starts lie further and further apart, so there are some twenty of them after a day.

use crate::bets::Bets;
use crate::counts::Counts;
use crate::grid::Likelihood;

/// `ln 0.9`: the weight of the first request.
pub(crate) const LN_WEIGHT_FIRST: f64 = -0.105_360_515_657_826_28;
/// The weight of all later starts.
const WEIGHT_LATER: f64 = 0.1;
/// Starts are so many seconds apart, or a multiple of the block that is not shorter.
const EVERY_S: i64 = 60;

/// A later start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub at_s: i64,
    /// The how manieth it is, from one on.
    pub number: i64,
    /// The sums of what came before, and its counts.
    pub before: Likelihood,
    pub counts: Counts,
    /// What bets on "worse" had won before it, once that cannot change.
    pub worse: Option<Bets>,
}

impl Mark {
    pub fn new(at_s: i64, number: i64, before: Likelihood, counts: Counts) -> Mark {
        Mark { at_s, number: number.max(1), before, counts, worse: None }
    }

    pub fn weight(&self) -> f64 {
        let number = self.number as f64;
        WEIGHT_LATER / (number * (number + 1.0))
    }

    /// What evidence from here on pays for being one of many, in nats.
    pub fn price(&self) -> f64 {
        -libm::log(self.weight())
    }
}

/// How far starts are apart, for blocks of a length.
pub(crate) fn every_s(block_s: i64) -> i64 {
    (EVERY_S + block_s - 1) / block_s * block_s
}

/// Notes what bets had won of the starts that lie at or before a time up to which blocks are sealed.
pub(crate) fn freeze(marks: &mut [Mark], before_s: i64, sums: &Bets) {
    for mark in marks.iter_mut().filter(|mark| mark.worse.is_none() && mark.at_s <= before_s) {
        mark.worse = Some(sums.clone());
    }
}

/// Appends to `before`, which has the first starts' sums, those of the starts up to a time at which the running sums are `sums`.
pub(crate) fn sums_before(marks: &[Mark], before: &mut Vec<Bets>, until_s: i64, sums: &Bets) {
    let next = &marks[before.len()..];
    let next = next.iter().take_while(|mark| mark.at_s <= until_s);
    before.extend(next.map(|mark| mark.worse.as_ref().unwrap_or(sums).clone()));
}

/// Leaves fewer of the old ones: at an age of `n`, one in `n/4` or so. One goes where its neighbours are close enough without it, so
/// that looks which come seldom lose none.
pub(crate) fn thin_out(marks: &mut Vec<Mark>) {
    let Some(newest) = marks.last().map(|mark| mark.number) else { return };
    let mut at = marks.len().saturating_sub(2);
    while at > 0 {
        let apart = ((newest - marks[at].number) / 4 + 1).max(1);
        if marks[at + 1].number - marks[at - 1].number <= apart {
            marks.remove(at);
        }
        at -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_some_twenty_starts_and_the_newest_are_close() {
        let mut marks = Vec::new();
        for number in 1..=1_440 {
            marks.push(Mark::new(number * 60, number, Likelihood::default(), Counts::default()));
            thin_out(&mut marks);
            assert!(marks.len() < 60, "{} at {number}", marks.len());
        }
        let numbers: Vec<i64> = marks.iter().map(|mark| mark.number).collect();
        assert!(numbers.ends_with(&[1_437, 1_438, 1_439, 1_440]), "{numbers:?}");
        for pair in numbers.windows(2) {
            assert!(pair[1] - pair[0] <= (1_440 - pair[0]) / 4 + 1, "{pair:?} of {numbers:?}");
        }
    }

    #[test]
    fn weights_add_up_to_one_at_most() {
        let later: f64 =
            (1..10_000).map(|number| Mark::new(0, number, Likelihood::default(), Counts::default()).weight()).sum();
        assert!(libm::exp(LN_WEIGHT_FIRST) + later <= 1.0 + 1e-9 && later > 0.099);
        assert_eq!([every_s(10), every_s(60), every_s(45), every_s(300)], [60, 60, 90, 300]);
    }
}
