//! How often the judge would have been wrong: between releases, slots of a stable version are judged as if they were releases.
//!
//! The windows of the hour that shards keep make two rounds of fake releases for each slot, every hour anew; what comes out is added up
//! since the start. One service at a look, and none more than once an hour: a step takes some tens of milliseconds.

use std::collections::BTreeMap;

use shipwake_model::Source;
use shipwake_rollout::Place;
use shipwake_verdict::audit::{Audit, Cut, audit};
use shipwake_verdict::{Noise, Part};

use super::engine::{PlaceId, REACH_S, query_of_place};
use super::learn::SlotWindows;
use super::windows::Windows;
use crate::policies::Policies;

/// Services that are audited.
const PLACES_MAX: usize = 500;
/// Fake releases are as long as the windows that their noise is learnt from.
const RELEASE_S: i64 = 1_200;

/// What came of the fake releases of one service since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub audit: Audit,
    /// Up to when its windows were used, in seconds since the epoch.
    until_s: i64,
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
        let part = Part::of("errors", named.policy.errors_at(history.rate() * 3_600.0), quiet);
        let cut = Cut { release_s: RELEASE_S - 30, history_s: RELEASE_S - 30, ..Cut::default() };
        let came = audit(&history.errors(), &part, &named.policy, &cut, 1.0);
        let sum = self.sums.entry(id.clone()).or_default();
        sum.until_s = until_s;
        sum.audit.releases = sum.audit.releases.saturating_add(came.releases);
        sum.audit.no_go = sum.audit.no_go.saturating_add(came.no_go);
        sum.audit.go = sum.audit.go.saturating_add(came.go);
    }

    /// Forgets services that are followed no more.
    pub fn keep(&mut self, places: &BTreeMap<PlaceId, Place>) {
        self.sums.retain(|id, _| places.contains_key(id));
    }
}
