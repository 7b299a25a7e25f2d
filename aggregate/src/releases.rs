//! The releases a shard has seen: bounded per service, so that a version that changes with every request costs one overflow
//! release and nothing else.
//!
//! When a service is at its bound, a release that has been quiet for ten minutes and never had much traffic makes room; one
//! that has been quiet for a day always does. What was counted of it stays in the windows.

use std::sync::Arc;

use hashbrown::HashMap;
pub use shipwake_model::release::OVERFLOW;
use shipwake_model::window::NS_PER_S;
use shipwake_model::{ReleaseId, Source};

const QUIET_NS: i64 = 600 * NS_PER_S;
const RETIRED_NS: i64 = 24 * 3600 * NS_PER_S;
const FEW_RECORDS: u64 = 1_000;
/// An instance that has missed so many of its own intervals between two exports has stopped.
const EXPORTS_MISSED: i64 = 3;
/// No instance counts as stopped earlier: a quiet one may send nothing but its metrics, every 60 s by default.
const INSTANCE_HELD_MIN_NS: i64 = 90 * NS_PER_S;
/// Every instance counts as stopped after this.
const INSTANCE_HELD_MAX_NS: i64 = 300 * NS_PER_S;
/// Interval of an instance that has sent once: the default of metric exporters.
const INTERVAL_UNKNOWN_NS: i64 = 60 * NS_PER_S;
/// Pod templates of one release that are remembered.
const HASHES_MAX: usize = 4;
/// More instances of one release are not told apart.
const INSTANCES_MAX: usize = 4_096;

/// What is known of a release.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its identity.
    pub id: Arc<ReleaseId>,
    /// Number of its service (with namespace and environment) in this shard.
    pub service: u32,
    /// Event time of the oldest record that windows took, ns; where they took none, the oldest time they would have taken.
    pub first_seen_ns: i64,
    /// Event time of the newest record that windows took, ns; `i64::MIN` where they took none.
    pub last_seen_ns: i64,
    /// Receive time of its newest record, ns.
    pub received_ns: i64,
    /// Records of all signals.
    pub records: u64,
    /// Requests by source, in the order of [`Source::ALL`].
    pub requests: [u64; 4],
    /// Whether an instance was guessed.
    pub instance_guessed: bool,
    /// Whether it sends the HTTP duration metric under its new name: then the old name is not counted again.
    pub http_new: bool,
    /// The same for RPC.
    pub rpc_new: bool,
    /// Whether it made room for another; who refers to its number must look the release up again.
    pub removed: bool,
    /// Running totals kept for it.
    pub streams: usize,
    /// Hashes of the pod templates that its instances come from, oldest first; not stored, every instance tells its own again.
    hashes: Vec<Arc<str>>,
    /// By their hashes.
    instances: HashMap<u64, Instance, ahash::RandomState>,
}

/// What is known of an instance.
#[derive(Clone, Copy, Debug)]
struct Instance {
    /// Receive time of its newest record, ns.
    received_ns: i64,
    /// The longest of its newest intervals between two exports, ns: it may send spans often and metrics seldom.
    interval_ns: i64,
    /// It did not name itself.
    guessed: bool,
}

impl Instance {
    fn received(&mut self, received_ns: i64) {
        let interval_ns = received_ns.saturating_sub(self.received_ns).max(0);
        // One long pause is forgotten after a few exports.
        self.interval_ns = interval_ns.max(self.interval_ns - self.interval_ns / 8).min(INSTANCE_HELD_MAX_NS);
        self.received_ns = self.received_ns.max(received_ns);
    }

    fn is_running(&self, now_ns: i64) -> bool {
        let held_ns = (EXPORTS_MISSED * self.interval_ns).clamp(INSTANCE_HELD_MIN_NS, INSTANCE_HELD_MAX_NS);
        self.received_ns > now_ns.saturating_sub(held_ns)
    }
}

impl Release {
    fn new(id: Arc<ReleaseId>, service: u32) -> Self {
        Release {
            id,
            service,
            first_seen_ns: i64::MAX,
            last_seen_ns: i64::MIN,
            received_ns: i64::MIN,
            records: 0,
            requests: [0; 4],
            instance_guessed: false,
            http_new: false,
            rpc_new: false,
            removed: false,
            streams: 0,
            hashes: Vec::new(),
            instances: HashMap::default(),
        }
    }

    /// Takes note of a record that windows take.
    #[inline]
    pub fn saw(&mut self, time_ns: i64) {
        self.records += 1;
        // What was assumed by `saw_too_old` gives way to the first time that can be believed.
        let is_first = self.last_seen_ns == i64::MIN;
        self.first_seen_ns = if is_first { time_ns } else { self.first_seen_ns.min(time_ns) };
        self.last_seen_ns = self.last_seen_ns.max(time_ns);
    }

    /// Takes note of a record that is too old for windows: its clock says nothing about when the release came, but a release
    /// known by nothing else was there before everything that windows still take. `oldest_ns`: the oldest time they take.
    #[cold]
    pub fn saw_too_old(&mut self, oldest_ns: i64) {
        self.records += 1;
        if self.last_seen_ns == i64::MIN {
            self.first_seen_ns = self.first_seen_ns.min(oldest_ns);
        }
    }

    /// Takes note of requests from a source.
    #[inline]
    pub fn requested(&mut self, source: Source, requests: u64) {
        let count = &mut self.requests[source as usize - 1];
        *count = count.saturating_add(requests);
    }

    /// Takes note of an instance.
    pub fn has_instance(&mut self, instance: u64, guessed: bool, received_ns: i64) {
        self.received_ns = self.received_ns.max(received_ns);
        self.instance_guessed |= guessed;
        if self.instances.len() >= INSTANCES_MAX && !self.instances.contains_key(&instance) {
            self.instances.retain(|_, seen| seen.is_running(received_ns));
            if self.instances.len() >= INSTANCES_MAX {
                return;
            }
        }
        let first = Instance { received_ns, interval_ns: INTERVAL_UNKNOWN_NS, guessed };
        self.instances.entry(instance).and_modify(|seen| seen.received(received_ns)).or_insert(first);
    }

    /// Takes note of the pod template that an instance comes from. Of many the newest are kept: a version that is deployed again and again.
    pub fn has_hash(&mut self, hash: &Arc<str>) {
        if self.hashes.contains(hash) {
            return;
        }
        if self.hashes.len() >= HASHES_MAX {
            self.hashes.remove(0);
        }
        self.hashes.push(hash.clone());
    }

    /// Hashes of the pod templates that it runs from.
    pub fn hashes(&self) -> &[Arc<str>] {
        &self.hashes
    }

    /// Instances that run: those that have not missed several of their own exports. Where some name themselves, others are
    /// senders on their behalf (a job that posts events), and not counted.
    pub fn instances(&self, now_ns: i64) -> u32 {
        let running = |guessed: bool| {
            self.instances.values().filter(|seen| seen.guessed == guessed && seen.is_running(now_ns)).count() as u32
        };
        match running(false) {
            0 => running(true),
            named => named,
        }
    }

    /// Requests from the best source that sent any.
    pub fn requests_of_best_source(&self) -> u64 {
        self.requests.into_iter().find(|count| *count > 0).unwrap_or(0)
    }
}

/// All releases of a shard, by number. Numbers are not part of anything stored.
#[derive(Debug)]
pub struct Releases {
    numbers: HashMap<Arc<ReleaseId>, u32, ahash::RandomState>,
    releases: Vec<Release>,
    /// (service, namespace, environment) to number and number of releases.
    services: HashMap<[Arc<str>; 3], (u32, usize), ahash::RandomState>,
    services_max: usize,
    per_service_max: usize,
    overflowed: u64,
}

impl Releases {
    /// No releases yet.
    pub fn new(services_max: usize, per_service_max: usize) -> Self {
        Releases {
            numbers: HashMap::default(),
            releases: Vec::new(),
            services: HashMap::default(),
            services_max,
            per_service_max: per_service_max.max(1),
            overflowed: 0,
        }
    }

    /// The number of a release, or of the overflow release where the bound is reached.
    pub fn number(&mut self, id: &ReleaseId, received_ns: i64) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let id = match self.room_for(id, received_ns) {
            Some(()) => Arc::new(id.clone()),
            None => {
                self.overflowed += 1;
                Arc::new(self.overflow_of(id))
            }
        };
        match self.numbers.get(&id) {
            Some(number) => *number,
            None => self.add(Release { received_ns, ..Release::new(id, 0) }),
        }
    }

    /// The release of a number.
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> &mut Release {
        &mut self.releases[number as usize]
    }

    /// The release of a number.
    pub fn get(&self, number: u32) -> &Release {
        &self.releases[number as usize]
    }

    /// All releases.
    pub fn iter(&self) -> impl Iterator<Item = &Release> {
        self.numbers.values().map(|number| self.get(*number))
    }

    /// Whether removed releases take up more room than live ones.
    pub fn wants_renumbering(&self) -> bool {
        self.releases.len() > 2 * self.numbers.len() + 1_000
    }

    /// Forgets removed releases and gives new numbers: for each old number the new one.
    pub fn renumber(&mut self) -> Vec<Option<u32>> {
        self.numbers.clear();
        self.services.clear();
        let all = std::mem::take(&mut self.releases);
        all.into_iter().map(|release| if release.removed { None } else { Some(self.add(release)) }).collect()
    }

    /// Sets the number of running totals of all releases to zero, before they are counted again.
    pub fn forget_stream_counts(&mut self) {
        for release in &mut self.releases {
            release.streams = 0;
        }
    }

    /// Takes back a release from the committed state.
    pub fn restore(&mut self, release: Release) {
        if !self.numbers.contains_key(&release.id) {
            self.add(release);
        }
    }

    /// A release as the committed state describes it.
    pub fn blank(id: ReleaseId) -> Release {
        Release::new(Arc::new(id), 0)
    }

    /// How many times a resource had to be put under an overflow release.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    fn add(&mut self, mut release: Release) -> u32 {
        let next = self.services.len() as u32;
        let service = self.services.entry(service_of(&release.id)).or_insert((next, 0));
        service.1 += 1;
        release.service = service.0;
        let id = release.id.clone();
        // Numbers of removed releases are not given again: series and resources may still refer to them.
        let number = self.releases.len() as u32;
        self.releases.push(release);
        self.numbers.insert(id, number);
        number
    }

    /// Whether a new release may be made, after making room if that is possible.
    fn room_for(&mut self, id: &ReleaseId, received_ns: i64) -> Option<()> {
        let Some((_, count)) = self.services.get(&service_of(id)) else {
            return (self.services.len() < self.services_max).then_some(());
        };
        if *count < self.per_service_max {
            return Some(());
        }
        let victim = self
            .numbers
            .values()
            .map(|number| (*number, self.get(*number)))
            .filter(|(_, release)| service_of(&release.id) == service_of(id) && &*release.id.version != OVERFLOW)
            .filter(|(_, release)| {
                let quiet_ns = received_ns.saturating_sub(release.received_ns);
                quiet_ns > RETIRED_NS || (quiet_ns > QUIET_NS && release.records < FEW_RECORDS)
            })
            .min_by_key(|(_, release)| release.received_ns)
            .map(|(number, _)| number)?;
        self.remove(victim);
        Some(())
    }

    fn remove(&mut self, number: u32) {
        let id = self.get(number).id.clone();
        self.numbers.remove(&id);
        self.get_mut(number).removed = true;
        if let Some((_, count)) = self.services.get_mut(&service_of(&id)) {
            *count -= 1;
        }
    }

    fn overflow_of(&self, id: &ReleaseId) -> ReleaseId {
        if self.services.contains_key(&service_of(id)) {
            return ReleaseId { version: OVERFLOW.into(), ..id.clone() };
        }
        let (service, version) = (OVERFLOW.into(), OVERFLOW.into());
        ReleaseId { service, version, namespace: "".into(), environment: OVERFLOW.into() }
    }
}

fn service_of(id: &ReleaseId) -> [Arc<str>; 3] {
    [id.service.clone(), id.namespace.clone(), id.environment.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(service: &str, version: &str) -> ReleaseId {
        ReleaseId { service: service.into(), namespace: "".into(), environment: "prod".into(), version: version.into() }
    }

    #[test]
    fn a_version_per_request_ends_in_one_overflow_release() {
        let mut releases = Releases::new(10, 5);
        let stable = releases.number(&id("shop", "1.0"), 0);
        for n in 0..1000 {
            releases.number(&id("shop", &format!("build-{n}")), n);
        }
        assert_eq!(releases.number(&id("shop", "1.0"), 1000), stable);
        let overflow = releases.number(&id("shop", "another"), 1000);
        assert_eq!(&*releases.get(overflow).id.version, OVERFLOW);
        assert_eq!(releases.iter().count(), 6);
        let other = releases.number(&id("cart", "2.0"), 1000);
        assert_eq!(&*releases.get(other).id.version, "2.0");
    }

    #[test]
    fn a_quiet_release_makes_room_and_a_busy_one_does_not() {
        let mut releases = Releases::new(10, 2);
        for (version, records) in [("junk", 3), ("busy", FEW_RECORDS)] {
            let number = releases.number(&id("shop", version), 0);
            releases.get_mut(number).has_instance(1, false, 0);
            releases.get_mut(number).records = records;
        }
        let name = |releases: &mut Releases, version: &str, at: i64| {
            let number = releases.number(&id("shop", version), at);
            releases.get_mut(number).has_instance(1, false, at);
            releases.get(number).id.version.to_string()
        };
        assert_eq!(name(&mut releases, "new", QUIET_NS), OVERFLOW);
        assert_eq!(name(&mut releases, "new", QUIET_NS + 1), "new");
        assert_eq!(name(&mut releases, "newer", QUIET_NS + 2), OVERFLOW);
        assert!(releases.iter().any(|release| &*release.id.version == "busy"));
    }

    #[test]
    fn services_are_bounded_too() {
        let mut releases = Releases::new(2, 5);
        for n in 0..50 {
            releases.number(&id(&format!("s{n}"), "1"), 0);
        }
        let number = releases.number(&id("s49", "1"), 0);
        assert_eq!(&*releases.get(number).id.service, OVERFLOW);
        assert_eq!(releases.iter().count(), 3);
    }

    #[test]
    fn a_version_that_is_deployed_again_and_again_keeps_its_newest_pod_templates() {
        let mut release = Release::new(Arc::new(id("shop", "1")), 0);
        for hash in ["a", "b", "a", "c", "d", "e", "e"] {
            release.has_hash(&hash.into());
        }
        let kept: Vec<&str> = release.hashes().iter().map(|hash| &**hash).collect();
        assert_eq!(kept, ["b", "c", "d", "e"]);
    }

    #[test]
    fn instances_that_miss_their_own_exports_are_not_counted_any_more() {
        let mut releases = Releases::new(2, 5);
        let number = releases.number(&id("shop", "1"), 0);
        let release = releases.get_mut(number);
        // 1 sends every ten seconds, 2 every eighty, 3 was heard of once, 4 paused once and goes on every ten.
        for second in (0..=400).step_by(10) {
            release.has_instance(1, false, second * NS_PER_S);
            if second % 80 == 0 {
                release.has_instance(2, false, second * NS_PER_S);
            }
            if !(100..300).contains(&second) {
                release.has_instance(4, false, second * NS_PER_S);
            }
        }
        release.has_instance(3, false, 400 * NS_PER_S);
        let running = |release: &Release, second: i64| release.instances(second * NS_PER_S);
        assert_eq!(running(release, 480), 4);
        assert_eq!(running(release, 495), 3, "1 has stopped: 4 is still given the time of its long pause");
        assert_eq!(running(release, 560), 3);
        assert_eq!(running(release, 579), 2);
        assert_eq!(running(release, 581), 1, "3 was given three times the default interval");
        assert_eq!(running(release, 700), 0);
        assert!(!release.instance_guessed);
    }

    #[test]
    fn a_guessed_instance_counts_where_none_names_itself() {
        let mut releases = Releases::new(2, 5);
        let number = releases.number(&id("shop", "1"), 0);
        let release = releases.get_mut(number);
        // A job somewhere else posts events for the version.
        release.has_instance(9, true, 0);
        assert_eq!((release.instances(NS_PER_S), release.instance_guessed), (1, true));
        release.has_instance(1, false, 0);
        release.has_instance(2, false, 0);
        assert_eq!(release.instances(NS_PER_S), 2);
    }
}
