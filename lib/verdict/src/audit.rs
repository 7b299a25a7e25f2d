//! How often this would have been wrong, on the service's own traffic.
//!
//! Between releases, one replicate slot of the baseline is called a candidate and the others its baseline: a fake release, known to be
//! good. The same engine judges it on the same windows with noise learnt before it, as it would a real one. What comes out is the rate of false
//! alarms, with an upper bound; and, when the baseline's events are thinned so that the fake candidate is worse by a known
//! factor, how soon that is found.

use crate::check::{Check, Group, Kind, Part};
use crate::comparison::{Comparison, Facts, Instances};
use crate::counts::{Counts, Tally};
use crate::noise::{Noise, Slots};
use crate::policy::Policy;
use crate::special::incomplete_beta;
use crate::verdict::Word;

/// How fake releases are cut out of the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// How long each is judged, in seconds.
    pub release_s: i64,
    /// How long before it noise is learnt, in seconds.
    pub history_s: i64,
    /// How often it is looked at, in seconds.
    pub look_s: i64,
    /// How many instances there are in all slots together.
    pub instances: u32,
}

impl Default for Cut {
    fn default() -> Self {
        Cut { release_s: 3_600, history_s: 3_600, look_s: 60, instances: 8 }
    }
}

/// What became of the fake releases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audit {
    /// How many were judged.
    pub releases: u32,
    /// How many were called "no go".
    pub no_go: u32,
    /// How many were called "go" at some look.
    pub go: u32,
    /// Seconds until "no go", of each that was, rising.
    pub no_go_after_s: Vec<i64>,
}

impl Audit {
    /// The part that was called "no go".
    pub fn rate(&self) -> f64 {
        f64::from(self.no_go) / f64::from(self.releases.max(1))
    }

    /// Below what that part surely lies, with the given confidence (Clopper and Pearson). Slots of the same hour are not quite
    /// independent, so read it as what independent ones would say.
    pub fn rate_upper(&self, confidence: f64) -> f64 {
        let (x, n) = (f64::from(self.no_go), f64::from(self.releases));
        if self.no_go >= self.releases {
            return 1.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            // P(X <= x) at a rate falls as the rate rises.
            if 1.0 - incomplete_beta(x + 1.0, n - x, middle) > 1.0 - confidence { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// How likely it is that independent fake releases are called "no go" as often as these or more, if each were with a chance of
    /// `rate`.
    pub fn chance_of_as_many(&self, rate: f64) -> f64 {
        if self.no_go == 0 {
            return 1.0;
        }
        let (x, n) = (f64::from(self.no_go), f64::from(self.releases));
        incomplete_beta(x, n - x + 1.0, rate)
    }

    /// Seconds within which the given part of all releases was called "no go"; `None` when fewer were.
    pub fn found_within_s(&self, part: f64) -> Option<i64> {
        let rank = libm::ceil(part * f64::from(self.releases)) as usize;
        self.no_go_after_s.get(rank.max(1) - 1).copied()
    }
}

/// Judges fake releases of one stream of counts. `history` are windows of the baseline in rising order of time, with their slots.
/// With `ratio` above one the fake candidates are worse by it.
pub fn audit(history: &[(i64, Slots)], part: &Part, policy: &Policy, cut: &Cut, ratio: f64) -> Audit {
    let mut audit = Audit::default();
    let (Some((first_s, _)), Some((last_s, _))) = (history.first(), history.last()) else { return audit };
    // The last window is as long as the one before it.
    let end_s = last_s + history.len().checked_sub(2).map_or(0, |before| last_s - history[before].0);
    let mut from_s = first_s + cut.history_s;
    while from_s + cut.release_s <= end_s {
        let learnt = between(history, from_s - cut.history_s, from_s);
        let judged = between(history, from_s, from_s + cut.release_s);
        for slot in 0..Slots::default().len() {
            if judged.iter().any(|(_, slots)| slots[slot].exposure > 0) {
                judge_fake(&mut audit, learnt, judged, slot, part, policy, cut, ratio);
            }
        }
        from_s += cut.release_s;
    }
    audit.no_go_after_s.sort_unstable();
    audit
}

/// The least dispersion at which fake releases stay within the budget for false alarms; `None` when none of a few does.
pub fn dispersion_that_fits(history: &[(i64, Slots)], part: &Part, policy: &Policy, cut: &Cut) -> Option<f64> {
    const DISPERSIONS: [f64; 7] = [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0];
    let budget = policy.alpha_fast + policy.alpha_slow;
    DISPERSIONS.into_iter().find(|dispersion| {
        let noisier = Part { noise: part.noise.at_least(*dispersion), ..part.clone() };
        audit(history, &noisier, policy, cut, 1.0).rate() <= budget
    })
}

#[expect(
    clippy::too_many_arguments,
    reason = "a fake release is cut out of these, and nothing else uses them together"
)]
fn judge_fake(
    audit: &mut Audit,
    learnt: &[(i64, Slots)],
    judged: &[(i64, Slots)],
    slot: usize,
    part: &Part,
    policy: &Policy,
    cut: &Cut,
    ratio: f64,
) {
    let from_s = judged[0].0;
    let others: Vec<(i64, Slots)> = learnt.iter().map(|(start_s, slots)| (*start_s, without(slots, slot))).collect();
    let occupied = judged[0].1.iter().filter(|slot| slot.exposure > 0).count().max(2) as u32;
    let each = (cut.instances / occupied).max(1);
    let noise = Noise::learn(&others, Some(each * (occupied - 1))).at_least(part.noise.dispersion);
    let noise = Noise { rate: noise.rate.map(|rate| rate / ratio), ..noise };
    let check = Check {
        id: "audit".to_owned(),
        title: part.name.clone(),
        group: Group::Errors,
        required: true,
        critical: false,
        kind: Kind::Counts(vec![Part { noise, ..part.clone() }]),
    };
    // A fake release has nothing to warm up.
    let policy = Policy { warm_up_s: 0, instances_min: 1, ..policy.clone() };
    let mut comparison = Comparison::open(policy, vec![check], Vec::new(), from_s);
    let mut go = false;
    let mut next_look_s = from_s + cut.look_s;
    let many = |count: u32| Instances { count: Some(count), silent: 0 };
    for (at, (start_s, slots)) in judged.iter().enumerate() {
        let rest = without(slots, slot).iter().fold(Tally::default(), |sum, slot| sum + *slot);
        let thinned = Tally { events: thin(rest.events, ratio, *start_s, slot), ..rest };
        comparison.add(0, 0, 0, *start_s, Counts::new(slots[slot], thinned));
        let end_s = judged.get(at + 1).map_or(from_s + cut.release_s, |(next_s, _)| *next_s);
        if end_s < next_look_s {
            continue;
        }
        next_look_s = end_s + cut.look_s;
        let facts = Facts {
            now_s: end_s,
            complete_until_s: end_s,
            candidate: many(each),
            baseline: many(each * (occupied - 1)),
            concurrent: true,
        };
        match comparison.judge(&facts).word {
            Word::NoGo => {
                audit.no_go += 1;
                audit.no_go_after_s.push(end_s - from_s);
                break;
            }
            Word::Go => go = true,
            Word::Watch | Word::Wait => {}
        }
    }
    audit.releases += 1;
    audit.go += u32::from(go);
}

fn between(history: &[(i64, Slots)], from_s: i64, to_s: i64) -> &[(i64, Slots)] {
    let at = |time_s: i64| history.partition_point(|(start_s, _)| *start_s < time_s);
    &history[at(from_s)..at(to_s)]
}

fn without(slots: &Slots, slot: usize) -> Slots {
    let mut rest = *slots;
    rest[slot] = Tally::default();
    rest
}

/// Keeps each event with a chance of one in `ratio`. The chances come from the window and slot alone, so an audit can be repeated.
fn thin(events: u64, ratio: f64, start_s: i64, slot: usize) -> u64 {
    if ratio <= 1.0 {
        return events;
    }
    /// Beyond this an event stands for several: the noise of thinning is small there.
    const DRAWS_MAX: u64 = 10_000;
    let each = events.div_ceil(DRAWS_MAX).max(1);
    let mut state = (start_s as u64).wrapping_mul(8).wrapping_add(slot as u64);
    let kept = (0..events / each).filter(|_| unit(&mut state) * ratio < 1.0).count() as u64;
    kept * each
}

/// The next number of a fixed sequence in 0..1 (SplitMix64, Steele, Lea and Flood 2014).
fn unit(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_alarm_in_many_fake_releases_bounds_the_rate() {
        let audit = Audit { releases: 214, ..Audit::default() };
        assert!((audit.rate_upper(0.95) - 0.0139).abs() < 1e-4, "{}", audit.rate_upper(0.95));
        let some = Audit { releases: 100, no_go: 3, no_go_after_s: vec![10, 20, 90], ..Audit::default() };
        assert!((some.rate_upper(0.95) - 0.0757).abs() < 1e-3, "{}", some.rate_upper(0.95));
        let sixteen = |no_go: u32| Audit { releases: 16, no_go, ..Audit::default() }.chance_of_as_many(0.01);
        let expected = [1.0, 1.0 - 0.99f64.powi(16), 1.0 - 0.99f64.powi(16) - 16.0 * 0.01 * 0.99f64.powi(15)];
        for (no_go, expected) in (0..).zip(expected) {
            assert!((sixteen(no_go) - expected).abs() < 1e-9, "{no_go}: {}", sixteen(no_go));
        }
        assert_eq!((some.found_within_s(0.02), some.found_within_s(0.5)), (Some(20), None));
    }

    /// Slots with Poisson-like counts from the fixed sequence: 40 requests in ten seconds each, one in fifty fails.
    fn history(hours: i64, rate: f64) -> Vec<(i64, Slots)> {
        let mut state = 7;
        let windows = 0..hours * 360;
        windows
            .map(|k| {
                let slots = std::array::from_fn(|_| {
                    let failed = (0..400).filter(|_| unit(&mut state) < rate).count() as u64;
                    Tally::new(failed, 400)
                });
                (k * 10, slots)
            })
            .collect()
    }

    #[test]
    fn fake_releases_of_a_quiet_service_raise_no_alarm_and_a_doubling_is_found() {
        let policy = Policy::default();
        let part = Part::of("errors", policy.errors, Noise::unknown().at_least(1.0));
        let part = Part { noise: Noise { dispersion: 1.0, dispersion_fast: 1.0, ..part.noise }, ..part };
        let (history, cut) = (history(3, 0.02), Cut::default());
        let quiet = audit(&history, &part, &policy, &cut, 1.0);
        assert_eq!((quiet.releases, quiet.no_go), (16, 0), "{quiet:?}");
        assert_eq!(quiet, audit(&history, &part, &policy, &cut, 1.0));
        let doubled = audit(&history, &part, &policy, &cut, 2.0);
        assert!(doubled.no_go >= 15 && doubled.go == 0, "{doubled:?}");
        assert!(doubled.found_within_s(0.5).is_some_and(|after_s| after_s <= 1_800), "{doubled:?}");
        assert_eq!(dispersion_that_fits(&history, &part, &policy, &cut), Some(1.0));
    }
}
