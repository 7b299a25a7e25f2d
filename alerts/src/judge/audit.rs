//! How often the judge would have been wrong: between releases, slots of a stable version are judged as if they were releases.
//!
//! The windows of the hour that shards keep make two rounds of fake releases for each slot, every hour anew; what comes out is added up,
//! and kept with the judge's state. One service at a look, and none more than once an hour: a step takes some tens of milliseconds.
//!
//! The same fake releases with their errors doubled tell how soon that is found at today's traffic. Where more are called "no go" than the
//! budget allows, the noise of the service is taken to be larger for a day: by as little as brings them back into it.

use std::collections::{BTreeMap, VecDeque};

use shipwake_model::Source;
use shipwake_rollout::Place;
use shipwake_verdict::audit::{Audit, Cut, audit, dispersion_that_fits};
use shipwake_verdict::{Noise, Part};

use super::learn::SlotWindows;
use super::questions::{REACH_S, query_of_place};
use super::windows::Windows;
use crate::board::{PlaceId, SelfAudit};
use crate::policies::Policies;

/// Services that are audited.
pub(super) const PLACES_MAX: usize = 500;
/// Fake releases are as long as the windows that their noise is learnt from.
const RELEASE_S: i64 = 1_200;

/// Rounds that say how it is now, one an hour.
pub(super) const ROUNDS: usize = 24;
/// The factor by which errors are made worse to see how soon that is found.
const WORSE: f64 = 2.0;
/// More false alarms than the budget allows are no chance below this probability.
const CHANCE: f64 = 0.05;

/// One hour of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Round {
    /// Nothing was wrong.
    pub quiet: Audit,
    /// Errors were doubled.
    pub doubled: Audit,
    /// The dispersion that was needed to stay within the budget, where more was needed than is learnt.
    pub floor: Option<f64>,
}

/// What came of the fake releases of one service since it was first audited.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    /// Counts alone.
    pub audit: Audit,
    /// The last day.
    pub(super) rounds: VecDeque<Round>,
    /// Up to when its windows were used, in seconds since the epoch.
    pub(super) until_s: i64,
}

impl Sum {
    /// At least so noisy the service is taken to be.
    pub fn floor(&self) -> Option<f64> {
        self.rounds.iter().filter_map(|round| round.floor).max_by(f64::total_cmp)
    }

    /// For people.
    pub fn told(&self) -> SelfAudit {
        let doubled = together(self.rounds.iter().map(|round| &round.doubled));
        SelfAudit {
            releases: self.audit.releases,
            no_go: self.audit.no_go,
            rate: self.audit.rate(),
            rate_below: self.audit.rate_upper(0.95),
            doubled: doubled.releases,
            doubled_found: doubled.no_go,
            found_within_s: doubled.found_within_s(SelfAudit::PART),
            dispersion_floor: self.floor(),
        }
    }

    fn add(&mut self, round: Round) {
        self.audit.releases = self.audit.releases.saturating_add(round.quiet.releases);
        self.audit.no_go = self.audit.no_go.saturating_add(round.quiet.no_go);
        self.audit.go = self.audit.go.saturating_add(round.quiet.go);
        self.rounds.push_back(round);
        if self.rounds.len() > ROUNDS {
            self.rounds.pop_front();
        }
    }
}

/// Several audits as one.
fn together<'a>(audits: impl Iterator<Item = &'a Audit>) -> Audit {
    let mut sum = Audit::default();
    for audit in audits {
        sum.releases += audit.releases;
        sum.no_go += audit.no_go;
        sum.go += audit.go;
        sum.no_go_after_s.extend(&audit.no_go_after_s);
    }
    sum.no_go_after_s.sort_unstable();
    sum
}

/// Whether so many false alarms are more than a budget explains.
fn is_beyond(audit: &Audit, budget: f64) -> bool {
    audit.no_go > 0 && audit.chance_of_as_many(budget) < CHANCE
}

/// All services that are audited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audits {
    pub sums: BTreeMap<PlaceId, Sum>,
}

impl Audits {
    /// Audits one service, if it is the turn of one. `complete_s` is up to when windows are complete.
    pub fn step(
        &mut self,
        windows: &dyn Windows,
        places: &BTreeMap<PlaceId, Place>,
        source_of: impl Fn(&PlaceId) -> Option<Source>,
        policies: &Policies,
        complete_s: i64,
    ) {
        let until_s = complete_s.div_euclid(10) * 10 - 10;
        let is_due = |id: &PlaceId| {
            let known = self.sums.get(id);
            known.map_or(self.sums.len() < PLACES_MAX, |sum| sum.until_s + REACH_S <= until_s)
        };
        // While something is on trial, the stable version may be losing its traffic.
        let is_still = |place: &Place| place.releases().iter().all(|release| !release.is_open());
        let found = places.iter().find(|(id, place)| is_still(place) && place.stable().is_some() && is_due(id));
        let Some((id, place)) = found else { return };
        let (Some(stable), Some(source)) = (place.stable(), source_of(id)) else { return };
        let slots = windows.slots(&query_of_place(id, until_s - REACH_S, until_s));
        let history = SlotWindows::of(&slots, |one| {
            one.source == source && one.release.namespace == id.0 && one.release.version == *stable
        });
        let named = policies.of(&id.1, &id.2);
        // What noise there is, the audit learns itself.
        let quiet = Noise { dispersion: 1.0, dispersion_fast: 1.0, ..Noise::unknown() };
        let sum = self.sums.entry(id.clone()).or_default();
        let quiet = quiet.at_least(sum.floor().unwrap_or(1.0));
        let part = Part::of("errors", named.policy.errors_at(history.rate() * 3_600.0), quiet);
        let cut = Cut { release_s: RELEASE_S - 30, history_s: RELEASE_S - 30, ..Cut::default() };
        let (errors, policy) = (history.errors(), &named.policy);
        let mut round = Round {
            quiet: audit(&errors, &part, policy, &cut, 1.0),
            doubled: audit(&errors, &part, policy, &cut, WORSE),
            floor: None,
        };
        let day = together(sum.rounds.iter().map(|round| &round.quiet).chain([&round.quiet]));
        if round.quiet.no_go > 0 && is_beyond(&day, policy.alpha_fast + policy.alpha_slow) {
            round.floor = dispersion_that_fits(&errors, &part, policy, &cut).filter(|floor| *floor > 1.0);
            tracing::warn!(
                service = &*id.1,
                environment = &*id.2,
                no_go = day.no_go,
                releases = day.releases,
                floor = round.floor,
                "more fake releases are called no-go than the budget allows: noise is taken to be larger for a day"
            );
        }
        sum.until_s = until_s;
        sum.add(round);
    }

    /// At least so noisy a service is taken to be.
    pub fn floor(&self, id: &PlaceId) -> Option<f64> {
        self.sums.get(id).and_then(Sum::floor)
    }

    /// Forgets services that are followed no more.
    pub fn keep(&mut self, places: &BTreeMap<PlaceId, Place>) {
        self.sums.retain(|id, _| places.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit_of(releases: u32, no_go_after_s: &[i64]) -> Audit {
        Audit { releases, no_go: no_go_after_s.len() as u32, go: 0, no_go_after_s: no_go_after_s.to_vec() }
    }

    #[test]
    fn a_false_alarm_is_chance_and_several_are_not() {
        for (releases, no_go, expected) in [(16, 0, false), (160, 2, false), (16, 2, true), (400, 12, true)] {
            let audit = audit_of(releases, &vec![60; no_go]);
            assert_eq!(is_beyond(&audit, 0.01), expected, "{no_go} of {releases}");
        }
    }

    #[test]
    fn a_day_tells_how_soon_a_doubling_is_found() {
        let mut sum = Sum::default();
        for hour in 0..30 {
            let doubled = audit_of(16, &[60 + hour, 120, 180]);
            sum.add(Round { quiet: audit_of(16, &[]), doubled, floor: (hour == 3).then_some(2.0) });
        }
        let told = sum.told();
        assert_eq!((told.releases, told.no_go, told.rate), (480, 0, 0.0));
        assert!(told.rate_below < 0.01, "{}", told.rate_below);
        assert_eq!((told.doubled, told.doubled_found, told.found_within_s), (384, 72, None));
        assert_eq!(told.dispersion_floor, None, "it was for a day");
        sum.add(Round { doubled: audit_of(16, &[200; 16]), floor: Some(3.0), ..Round::default() });
        assert_eq!(sum.told().dispersion_floor, Some(3.0));
        let all =
            Sum { rounds: [Round { doubled: audit_of(20, &[9; 19]), ..Round::default() }].into(), ..Sum::default() };
        assert_eq!(all.told().found_within_s, Some(9), "nineteen of twenty");
    }
}
