//! Toggles: which variants each service serves, from which version, since when, and which toggles are hot.
//!
//! A toggle is *hot* while more than one variant was served within the last hour, or while the set of variants changed within
//! a day; the fifty busiest of a service are. Only hot toggles have windows: nobody compares what everybody gets. Bounded in
//! toggles of a service, variants of a toggle, and entries in all; toggles that were silent for a day make room.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::window::NS_PER_S;
use shipwake_model::{ReleaseId, Source};
use shipwake_store::ToggleRow;

use super::evaluation::Evaluation;
use super::series::{Name, What};
use crate::config::Limits;
use crate::resources::KnownResource;
use crate::routes::OTHER;
use crate::state::State;

/// Hot toggles of one service.
const HOT_MAX: usize = 50;
/// Variants of a toggle, each counted once for every version that serves it.
const SERVED_MAX: usize = 64;
/// What is hot is decided anew so often, by receive time.
const DECIDED_EVERY_NS: i64 = 60 * NS_PER_S;
const HOUR_NS: i64 = 3600 * NS_PER_S;
const DAY_NS: i64 = 24 * HOUR_NS;
/// Evaluations of the last hour are kept in steps.
pub(crate) const STEPS: usize = 6;
const STEP_NS: i64 = HOUR_NS / STEPS as i64;

/// Service, namespace, environment.
pub(crate) type Service = [Arc<str>; 3];
/// Variant, version.
pub(crate) type Variant = (Arc<str>, Arc<str>);

/// All toggles of a shard.
#[derive(Debug)]
pub(crate) struct Toggles {
    pub(crate) services: HashMap<Service, OfService, ahash::RandomState>,
    entries: usize,
    per_service_max: usize,
    entries_max: usize,
}

/// The toggles of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OfService {
    pub(crate) toggles: BTreeMap<Arc<str>, Toggle>,
    /// When it was last decided which are hot, by receive time.
    pub(crate) decided_ns: i64,
}

/// A toggle of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Toggle {
    pub(crate) served: BTreeMap<Variant, Served>,
    /// When the set of variants last changed, by event time.
    pub(crate) changed_ns: i64,
    /// Variants that were served within the hour before it was last looked at.
    pub(crate) live: u32,
    pub(crate) hot: bool,
}

/// A variant that a version serves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Served {
    pub(crate) evaluations: u64,
    pub(crate) first_ns: i64,
    pub(crate) last_ns: i64,
    /// Evaluations by step of ten minutes; `step` is the number of the newest.
    pub(crate) recent: [u32; STEPS],
    pub(crate) step: i64,
}

impl Toggles {
    pub(crate) fn new(limits: &Limits) -> Self {
        Toggles {
            services: HashMap::default(),
            entries: 0,
            per_service_max: limits.toggles_per_service,
            entries_max: limits.toggle_entries,
        }
    }

    /// Counts an evaluation; says whether the toggle is hot, and `None` when it is beyond a bound.
    fn count(&mut self, release: &ReleaseId, found: &Evaluation, time_ns: i64, received_ns: i64) -> Option<bool> {
        let service = [release.service.clone(), release.namespace.clone(), release.environment.clone()];
        let of_service = self.services.entry(service).or_default();
        let is_due = received_ns.saturating_sub(of_service.decided_ns) >= DECIDED_EVERY_NS;
        if is_due && of_service.toggles.len() >= self.per_service_max {
            self.entries -= of_service.make_room(received_ns);
        }
        let key = String::from_utf8_lossy(&found.key);
        if !of_service.toggles.contains_key(&*key) {
            if of_service.toggles.len() >= self.per_service_max || self.entries >= self.entries_max {
                return None;
            }
            let hot = of_service.toggles.values().filter(|toggle| toggle.hot).count() < HOT_MAX;
            of_service.toggles.insert((&*key).into(), Toggle { changed_ns: time_ns, hot, ..Toggle::default() });
        }
        let toggle = of_service.toggles.get_mut(&*key)?;
        let variant: Arc<str> = String::from_utf8_lossy(&found.variant).into();
        let mut place = (variant, release.version.clone());
        if !toggle.served.contains_key(&place) {
            if self.entries >= self.entries_max || toggle.served.len() >= SERVED_MAX {
                place.0 = OTHER.into();
                if !toggle.served.contains_key(&place) && toggle.served.len() > SERVED_MAX {
                    return None;
                }
            }
            let is_new_variant = !toggle.served.keys().any(|(variant, _)| *variant == place.0);
            if is_new_variant {
                toggle.changed_ns = toggle.changed_ns.max(time_ns);
                toggle.live += 1;
            }
            self.entries += usize::from(!toggle.served.contains_key(&place));
        }
        toggle.served.entry(place).or_insert_with(|| Served::begins(time_ns)).add(time_ns);
        if is_due {
            of_service.decided_ns = received_ns;
            self.entries -= of_service.decide(received_ns);
        }
        of_service.toggles.get(&*key).map(|toggle| toggle.hot)
    }

    /// Forgets what was silent for a day, in all services, when little room is left.
    pub(crate) fn forget_silent(&mut self, now_ns: i64) {
        if self.entries > self.entries_max / 4 * 3 {
            self.entries -= self.services.values_mut().map(|of_service| of_service.make_room(now_ns)).sum::<usize>();
            self.services.retain(|_, of_service| !of_service.toggles.is_empty());
        }
    }

    /// What is known of a service in an environment, or of all, as readers see it.
    pub(crate) fn rows(&self, place: Option<(&str, &str)>, now_ns: i64) -> Vec<ToggleRow> {
        let mut rows = Vec::new();
        for ([service, namespace, environment], of_service) in &self.services {
            if place.is_some_and(|place| place != (&**service, &**environment)) {
                continue;
            }
            for (key, toggle) in &of_service.toggles {
                for ((variant, version), served) in &toggle.served {
                    let release = ReleaseId {
                        service: service.clone(),
                        namespace: namespace.clone(),
                        environment: environment.clone(),
                        version: version.clone(),
                    };
                    rows.push(ToggleRow {
                        release: Arc::new(release),
                        key: key.clone(),
                        variant: variant.clone(),
                        evaluations: served.evaluations,
                        recent: served.within_hour(now_ns),
                        first_seen_ns: served.first_ns,
                        last_seen_ns: served.last_ns,
                        changed_ns: toggle.changed_ns,
                        hot: toggle.hot,
                    });
                }
            }
        }
        rows
    }

    /// Takes back a service of the committed state.
    pub(crate) fn restore(&mut self, service: Service, of_service: OfService) {
        self.entries += of_service.toggles.values().map(|toggle| toggle.served.len()).sum::<usize>();
        self.services.insert(service, of_service);
    }

    /// Bytes on the heap, estimated.
    pub(crate) fn heap_bytes(&self) -> usize {
        /// An entry with its texts and its share of the trees.
        const ENTRY_BYTES: usize = size_of::<(Variant, Served)>() + 64;
        self.entries * ENTRY_BYTES + self.services.len() * 128
    }
}

impl OfService {
    /// Decides which toggles are hot, and takes note of variants that are not served any more. Where a toggle has many
    /// entries, those that were silent for a day make room; gives how many did.
    fn decide(&mut self, now_ns: i64) -> usize {
        let mut forgotten = 0;
        let mut hot: Vec<(u64, Arc<str>)> = Vec::new();
        for (key, toggle) in &mut self.toggles {
            if toggle.served.len() > SERVED_MAX / 2 {
                let before = toggle.served.len();
                toggle.served.retain(|_, served| now_ns.saturating_sub(served.last_ns) < DAY_NS);
                forgotten += before - toggle.served.len();
            }
            let live: std::collections::BTreeSet<&Arc<str>> = toggle
                .served
                .iter()
                .filter(|(_, served)| served.within_hour(now_ns) > 0)
                .map(|((variant, _), _)| variant)
                .collect();
            let live = live.len() as u32;
            if live != toggle.live && toggle.live != 0 && live != 0 {
                toggle.changed_ns = toggle.changed_ns.max(now_ns);
            }
            toggle.live = live;
            toggle.hot = false;
            if live > 1 || (live == 1 && now_ns.saturating_sub(toggle.changed_ns) < DAY_NS) {
                hot.push((toggle.served.values().map(|served| served.within_hour(now_ns)).sum(), key.clone()));
            }
        }
        hot.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
        for (_, key) in hot.into_iter().take(HOT_MAX) {
            if let Some(toggle) = self.toggles.get_mut(&key) {
                toggle.hot = true;
            }
        }
        forgotten
    }

    /// Forgets the toggles that were silent for a day. Gives how many entries they had.
    fn make_room(&mut self, now_ns: i64) -> usize {
        let last = |toggle: &Toggle| toggle.served.values().map(|served| served.last_ns).max().unwrap_or(i64::MIN);
        let mut entries = 0;
        self.toggles.retain(|_, toggle| {
            let kept = now_ns.saturating_sub(last(toggle)) < DAY_NS;
            entries += if kept { 0 } else { toggle.served.len() };
            kept
        });
        entries
    }
}

impl Served {
    fn begins(time_ns: i64) -> Self {
        Served { first_ns: time_ns, last_ns: time_ns, step: time_ns.div_euclid(STEP_NS), ..Served::default() }
    }

    fn add(&mut self, time_ns: i64) {
        self.evaluations += 1;
        self.first_ns = self.first_ns.min(time_ns);
        self.last_ns = self.last_ns.max(time_ns);
        let step = time_ns.div_euclid(STEP_NS);
        if step > self.step {
            for passed in self.step + 1..=step.min(self.step + STEPS as i64) {
                self.recent[passed.rem_euclid(STEPS as i64) as usize] = 0;
            }
            self.step = step;
        }
        if step > self.step - STEPS as i64 {
            let count = &mut self.recent[step.rem_euclid(STEPS as i64) as usize];
            *count = count.saturating_add(1);
        }
    }

    /// Evaluations of the last hour, to ten minutes.
    pub(crate) fn within_hour(&self, now_ns: i64) -> u64 {
        let first = now_ns.div_euclid(STEP_NS) - STEPS as i64 + 1;
        let steps = (self.step - STEPS as i64 + 1)..=self.step;
        steps
            .filter(|step| *step >= first)
            .map(|step| u64::from(self.recent[step.rem_euclid(STEPS as i64) as usize]))
            .sum()
    }
}

impl State {
    /// Counts an evaluation, and folds it while the toggle is hot.
    pub(crate) fn fold_evaluation(&mut self, known: &KnownResource, source: Source, found: &Evaluation, time_ns: i64) {
        let release = self.releases.get(known.release).id.clone();
        match self.product.toggles.count(&release, found, time_ns, self.received_ns) {
            None => self.counters.overflow += 1,
            Some(false) => {}
            Some(true) => {
                let name = Name::Toggle { key: &found.key, variant: &found.variant, reason: &found.reason };
                let name = self.product_name(known, &name);
                let series = self.product_series(known, source, What::Toggle(name));
                self.product.windows.add(series, time_ns, 1.0);
            }
        }
    }

    /// Folds a request that saw a variant of a hot toggle.
    pub(crate) fn fold_toggled_request(
        &mut self,
        known: &KnownResource,
        found: &Evaluation,
        failed: bool,
        duration_s: f64,
        time_ns: i64,
    ) {
        let release = &self.releases.get(known.release).id;
        let service = [release.service.clone(), release.namespace.clone(), release.environment.clone()];
        let toggles = self.product.toggles.services.get(&service).map(|of_service| &of_service.toggles);
        let toggle = toggles.and_then(|toggles| toggles.get(&*String::from_utf8_lossy(&found.key)));
        if !toggle.is_some_and(|toggle| toggle.hot) {
            return;
        }
        let name = self.product_name(known, &Name::Toggle { key: &found.key, variant: &found.variant, reason: b"" });
        for failed in [false, true].into_iter().take(1 + usize::from(failed)) {
            let series = self.product_series(known, Source::Spans, What::Toggled { name, failed });
            self.product.windows.add(series, time_ns, 1.0);
        }
        let series = self.product_series(known, Source::Spans, What::ToggledTime(name));
        self.product.windows.add_spread(series, time_ns, duration_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str) -> ReleaseId {
        ReleaseId { service: "shop".into(), namespace: "".into(), environment: "prod".into(), version: version.into() }
    }

    fn of(key: &str, variant: &str) -> Evaluation {
        Evaluation { key: key.into(), variant: variant.into(), reason: b"split".to_vec() }
    }

    fn limits() -> Limits {
        Limits { toggles_per_service: 3, toggle_entries: 100, ..Limits::default() }
    }

    const START: i64 = 1_800_000_000 * NS_PER_S;

    #[test]
    fn a_toggle_is_hot_while_its_variants_are_shared_and_a_day_after() {
        let mut toggles = Toggles::new(&limits());
        let mut at = |minute: i64, variant: &str| {
            let time_ns = START + minute * 60 * NS_PER_S;
            toggles.count(&release("1"), &of("pay-v2", variant), time_ns, time_ns).expect("within bounds")
        };
        assert!(at(0, "off") && at(10, "off"));
        // Nothing changed for a day.
        assert!(!at(24 * 60 + 1, "off"));
        // A second variant makes it hot at the next decision.
        at(24 * 60 + 2, "on");
        assert!(at(24 * 60 + 4, "off"));
        // All get the new one; hot for a day more.
        for minute in 0..30 {
            assert!(at(25 * 60 + 10 + minute, "on"));
        }
        assert!(at(26 * 60 + 20, "on"));
        at(50 * 60 + 21, "on");
        assert!(!at(51 * 60 + 30, "on"));
    }

    #[test]
    fn a_change_is_dated_when_a_variant_comes_and_when_it_goes() {
        let mut toggles = Toggles::new(&limits());
        let minute = 60 * NS_PER_S;
        let mut at = |n: i64, variant: &str| {
            let time_ns = START + n * minute;
            toggles.count(&release("1"), &of("pay-v2", variant), time_ns, time_ns);
            (toggles.rows(None, time_ns)[0].changed_ns - START) / minute
        };
        assert_eq!([at(0, "off"), at(0, "on")], [0, 0]);
        assert_eq!([at(2, "off"), at(4, "on"), at(30, "off")], [0, 0, 0], "both were there from the start");
        // The last `on` is more than an hour ago.
        assert_eq!(at(70, "off"), 70);
        assert_eq!([at(80, "off"), at(90, "on"), at(92, "off")], [70, 90, 90], "it is back");
    }

    #[test]
    fn evaluations_of_the_last_hour_are_those_of_the_last_hour() {
        let mut served = Served::begins(START);
        for minute in 0..180 {
            served.add(START + minute * 60 * NS_PER_S);
        }
        assert_eq!((served.evaluations, served.within_hour(START + 179 * 60 * NS_PER_S)), (180, 60));
        assert_eq!(served.within_hour(START + (180 + 30) * 60 * NS_PER_S), 20);
        assert_eq!(served.within_hour(START + 400 * 60 * NS_PER_S), 0);
        served.add(START);
        assert_eq!(served.within_hour(START + 179 * 60 * NS_PER_S), 60, "too late for the hour");
        assert_eq!(served.evaluations, 181);
    }

    #[test]
    fn toggles_variants_and_entries_are_bounded() {
        let mut toggles = Toggles::new(&limits());
        let mut count =
            |key: &str, variant: &str, time_ns: i64| toggles.count(&release("1"), &of(key, variant), time_ns, time_ns);
        for n in 0..10 {
            assert_eq!(count(&format!("t{n}"), "on", START).is_some(), n < 3);
        }
        for n in 0..1_000 {
            count("t0", &format!("v{n}"), START);
        }
        // A day later the quiet ones make room.
        assert!(count("t7", "on", START + DAY_NS + 1).is_some());
        let rows = toggles.rows(None, START);
        assert!(rows.len() <= 3 + SERVED_MAX + 1, "{}", rows.len());
        // Versions come and go: their entries do too, and the newest is told apart.
        for day in 2..60 {
            let time_ns = START + day * (DAY_NS + 1);
            let version = release(&format!("2.{day}"));
            assert!(toggles.count(&version, &of("t7", "on"), time_ns, time_ns).is_some());
            assert!(toggles.count(&version, &of("t7", "off"), time_ns, time_ns).is_some());
        }
        let newest = toggles.rows(None, START);
        assert!(newest.iter().any(|row| &*row.release.version == "2.59" && &*row.variant == "off"));
        assert!(newest.len() <= SERVED_MAX + 1 && newest.len() == toggles.entries, "{}", newest.len());
        let counted = |key: &str| rows.iter().filter(|row| &*row.key == key).map(|row| row.evaluations).sum::<u64>();
        assert_eq!(counted("t0"), 0, "it was silent for a day");
    }
}
