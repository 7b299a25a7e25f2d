//! A service in an environment: its versions, which of them the others are compared with, and its releases.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::UNVERSIONED;
use shipwake_model::release::OVERFLOW;

use crate::endings;
use crate::notice::{Notice, NoticeKind, Role};
use crate::release::{Ending, Release, Strategy};
use crate::version::{KEPT_S, Version, WINDOW_S};

/// Versions that are remembered of a place; those that were quiet the longest are forgotten.
const VERSIONS_MAX: usize = 64;
/// Releases of a place that are open at a time. The oldest gives way: a version that changes with every build has had its time.
const OPEN_MAX: usize = 4;
/// Releases of a place that are remembered, with those that ended.
const RELEASES_MAX: usize = 16;

/// Times and shares by which releases are told. The defaults are for everybody; the demo runs time faster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Versions first seen within this many seconds of the place's first record were there before: nobody knows which is newer.
    pub settle_s: i64,
    /// A version that was seen earlier than this before the first look at its place was there before, too.
    pub history_s: i64,
    /// Without a request for so many seconds of complete data a version has left.
    pub gone_s: i64,
    /// A version whose records stopped, and whose traffic nobody took over, is waited for so long, in seconds.
    pub silent_s: i64,
    /// Traffic side by side for fewer seconds is a switch, not a comparison.
    pub beside_min_s: i64,
    /// How long a release that has all the traffic is still watched, in seconds.
    pub watch_s: i64,
    /// How long a release that has ended is remembered, in seconds.
    pub kept_s: i64,
    /// Others with less than this part of the traffic do not keep a release from having all of it: connections that linger.
    pub leak_share: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            settle_s: 15,
            history_s: 3_600,
            gone_s: 60,
            silent_s: 600,
            beside_min_s: 60,
            watch_s: 3_600,
            kept_s: 86_400,
            leak_share: 0.01,
        }
    }
}

/// What was seen of a version at a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// The version.
    pub version: Arc<str>,
    /// Event time of its first record, in seconds since the epoch.
    pub first_seen_s: i64,
    /// Event time of its newest record, in seconds since the epoch.
    pub last_seen_s: i64,
    /// Instances that run.
    pub instances: u32,
    /// Requests by window of ten seconds, with the window's start. Any windows: they may still grow, and may have been told before.
    pub windows: Vec<(i64, u64)>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// The first record of any version, in seconds since the epoch.
    pub(crate) began_s: Option<i64>,
    pub(crate) versions: BTreeMap<Arc<str>, Version>,
    pub(crate) stable: Option<Arc<str>>,
    pub(crate) releases: Vec<Release>,
    /// Complete data of the last look.
    pub(crate) until_s: i64,
}

impl Place {
    /// The releases, oldest first: open ones, and those that ended within the last day.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The version that others are compared with.
    pub fn stable(&self) -> Option<&Arc<str>> {
        self.stable.as_ref()
    }

    /// Whether it was decided what a version is.
    pub fn has_settled(&self, version: &str) -> bool {
        self.versions.get(version).is_some_and(|known| known.is_settled)
    }

    /// Whether a version has taken a request.
    pub fn has_traffic(&self, version: &str) -> bool {
        self.versions.get(version).is_some_and(|known| known.traffic_s.is_some())
    }

    /// Whether there is a release to follow, or could be one at any time: a place with one version that nothing was ever compared
    /// with needs no more than a glance.
    pub fn is_quiet(&self) -> bool {
        self.releases.is_empty()
    }

    /// Whether everything about it is so old that it can be forgotten.
    pub fn is_forgotten(&self, before_s: i64) -> bool {
        let is_old = |version: &Version| version.traffic_s.map_or(version.first_seen_s, |(_, last)| last) < before_s;
        self.releases.iter().all(|release| !release.is_open()) && self.versions.values().all(is_old)
    }

    /// Takes note of an announcement. Versions that were not seen yet are remembered by it.
    pub fn announce(&mut self, notice: &Notice) {
        let is_stable = self.stable.as_ref() == Some(&notice.version);
        let is_released = self.releases.iter().any(|of| of.version == notice.version && of.is_over_since(notice.at_s));
        let version = self.versions.entry(notice.version.clone()).or_insert_with(|| Version::new(i64::MAX));
        version.told(notice);
        let is_on_trial = matches!(notice.role, Some(Role::Candidate | Role::Dark | Role::Shadow) | None);
        if notice.kind == NoticeKind::Deploy && is_on_trial && !is_stable && !version.was_stable && !is_released {
            // Somebody says that it comes: also when it was there before anybody looked.
            version.announced_s = Some(notice.at_s);
            version.is_settled = false;
        }
        let of_notice = |release: &&mut Release| release.is_open() && release.opened_s <= notice.at_s + KEPT_S;
        for release in self.releases.iter_mut().filter(of_notice) {
            let is_it = release.version == notice.version;
            match notice.kind {
                // It says who comes back; who is on trial leaves.
                NoticeKind::Rollback if !is_it => {
                    release.called_back_s = release.called_back_s.or(Some(notice.at_s));
                }
                NoticeKind::Promote if is_it => release.full_since_s = release.full_since_s.or(Some(notice.at_s)),
                NoticeKind::Deploy if is_it => {
                    release.weight = notice.weight.map(|weight| (weight, notice.at_s)).or(release.weight);
                    if notice.is_internal || matches!(notice.role, Some(Role::Dark | Role::Shadow)) {
                        (release.is_internal, release.strategy) = (true, Strategy::Dark);
                    }
                }
                _ => {}
            }
        }
        self.bound();
    }

    /// Takes in what was seen. `complete_until_s` never goes back.
    pub fn look(&mut self, seen: &[Sight], complete_until_s: i64, limits: &Limits) {
        let is_first = self.began_s.is_none();
        self.until_s = self.until_s.max(complete_until_s.div_euclid(WINDOW_S) * WINDOW_S);
        for sight in seen {
            let version =
                self.versions.entry(sight.version.clone()).or_insert_with(|| Version::new(sight.first_seen_s));
            version.first_seen_s = version.first_seen_s.min(sight.first_seen_s);
            version.seen_s = version.seen_s.max(sight.last_seen_s);
            version.instances = sight.instances;
            version.saw(&sight.windows);
            version.forget_before(self.until_s - KEPT_S);
        }
        self.began_s = self.versions.values().map(|version| version.first_seen_s).chain(self.began_s).min();
        if self.stable.is_none() {
            self.stable = self.busiest(|_, _| true);
        }
        self.open_new(is_first, limits);
        endings::follow(self, limits);
        self.keep_stable();
        self.releases.retain(|release| {
            release.ending.is_none_or(|(_, at_s)| at_s.saturating_add(limits.kept_s) > complete_until_s)
        });
        self.bound();
    }

    /// Opens a release for every version that takes its first request.
    fn open_new(&mut self, is_first: bool, limits: &Limits) {
        let began_s = self.began_s.unwrap_or(i64::MIN);
        let old_s = self.until_s.saturating_sub(limits.history_s);
        let mut came: Vec<(i64, Arc<str>)> = Vec::new();
        let (from_s, until_s) = (self.until_s - limits.gone_s, self.until_s);
        let all = self.versions.values().fold(0u64, |sum, of| sum.saturating_add(of.requests(from_s, until_s)));
        for (name, version) in &mut self.versions {
            if is_first && version.first_seen_s < old_s {
                // It may be on its way back as well as on its way in: nobody knows.
                version.is_settled = true;
            }
            let again_s = version.came_again(until_s - limits.gone_s, until_s, all);
            let Some((first_s, _)) = version.traffic_s.filter(|_| !version.is_settled || again_s.is_some()) else {
                continue;
            };
            version.is_settled = true;
            version.rolled_back = None;
            let is_announced = version.role.is_some() || version.weight.is_some() || version.previous.is_some();
            let was_there = again_s.is_none() && version.first_seen_s < began_s.saturating_add(limits.settle_s);
            let is_release = is_announced || !was_there;
            if is_release && version.role != Some(Role::Stable) && ![UNVERSIONED, OVERFLOW].contains(&&**name) {
                // Within its first window the first record tells the second.
                let first_s = first_s.max(version.first_seen_s.min(first_s + WINDOW_S - 1));
                // Long before it was announced it was something else.
                let first_s = first_s.max(version.announced_s.map_or(i64::MIN, |at_s| at_s - KEPT_S));
                came.push((again_s.unwrap_or(first_s), name.clone()));
            }
        }
        came.sort();
        for (opened_s, version) in came {
            self.open(version, opened_s, limits);
        }
    }

    fn open(&mut self, version: Arc<str>, opened_s: i64, limits: &Limits) {
        if self.stable.as_ref() == Some(&version) {
            self.stable = self.busiest(|name, _| *name != version);
        }
        // What had all the traffic when this one came is what it is compared with.
        for release in self.releases.iter_mut().filter(|release| release.is_open() && release.full_since_s.is_some()) {
            release.ending = Some((Ending::Promoted, opened_s));
            if let Some(promoted) = self.versions.get_mut(&release.version) {
                promoted.was_stable = true;
            }
            self.stable = Some(release.version.clone());
        }
        let told = self.versions[&version].clone();
        let baseline = self.baseline_for(&version, told.previous.as_ref(), opened_s);
        let beside =
            |name: &Arc<str>| self.versions.get(name).is_some_and(|of| of.has_traffic_since(opened_s - limits.gone_s));
        let strategy = match &baseline {
            _ if told.is_internal => Strategy::Dark,
            Some(name) if beside(name) => Strategy::Canary,
            _ => Strategy::BeforeAfter,
        };
        let baseline_instances =
            baseline.as_ref().and_then(|name| self.versions.get(name)).map_or(0, |of| of.instances);
        self.releases.push(Release {
            version,
            baseline,
            opened_s,
            strategy,
            share: None,
            share_max: 0.0,
            weight: told.weight,
            is_internal: told.is_internal,
            full_since_s: None,
            called_back_s: None,
            beside_s: 0,
            leaked: 0,
            baseline_instances,
            ending: None,
            counted_s: opened_s.div_euclid(WINDOW_S) * WINDOW_S,
        });
        let open: Vec<usize> = (0..self.releases.len()).filter(|at| self.releases[*at].is_open()).collect();
        if open.len() > OPEN_MAX {
            self.releases[open[0]].ending = Some((Ending::Replaced, opened_s));
        }
    }

    /// What is announced to be the one before; else the stable version, if it runs; else the busiest of those that run; else the stable
    /// one's past.
    fn baseline_for(&self, version: &Arc<str>, previous: Option<&Arc<str>>, opened_s: i64) -> Option<Arc<str>> {
        let has_run =
            |name: &&Arc<str>| *name != version && self.versions.get(*name).is_some_and(|of| of.traffic_s.is_some());
        let runs = |of: &Version| of.has_traffic_since(opened_s - KEPT_S / 2);
        let stable = self.stable.as_ref().filter(has_run);
        let running = stable.filter(|name| runs(&self.versions[*name])).cloned();
        let is_released = |name: &Arc<str>| self.releases.iter().any(|open| open.is_open() && open.version == *name);
        previous
            .filter(has_run)
            .cloned()
            .or(running)
            .or_else(|| self.busiest(|name, of| name != version && runs(of) && !is_released(name)))
            .or_else(|| stable.cloned())
            .or_else(|| self.busiest(|name, _| name != version))
    }

    /// The version with the most requests of the last minutes.
    pub(crate) fn busiest(&self, is_wanted: impl Fn(&Arc<str>, &Version) -> bool) -> Option<Arc<str>> {
        let wanted = self.versions.iter().filter(|(name, of)| &***name != OVERFLOW && is_wanted(name, of));
        let requests =
            wanted.map(|(name, of)| (of.requests(i64::MIN, i64::MAX), std::cmp::Reverse(of.first_seen_s), name));
        requests.filter(|(requests, _, _)| *requests > 0).max().map(|(_, _, name)| name.clone())
    }

    /// What others are compared with follows the traffic once nothing is on trial.
    fn keep_stable(&mut self) {
        let is_gone = self.stable.as_ref().is_none_or(|stable| {
            self.versions.get(stable).is_none_or(|of| !of.has_traffic_since(self.until_s - KEPT_S))
        });
        if is_gone
            && !self.releases.iter().any(Release::is_open)
            && let Some(busiest) = self.busiest(|_, of| of.is_settled)
        {
            self.stable = Some(busiest);
        }
        if let Some(stable) = self.stable.as_ref().and_then(|stable| self.versions.get_mut(stable)) {
            stable.was_stable = true;
        }
    }

    /// Forgets what is beyond the bounds.
    fn bound(&mut self) {
        while self.releases.len() > RELEASES_MAX {
            let ended = self.releases.iter().position(|release| !release.is_open()).unwrap_or(0);
            self.releases.remove(ended);
        }
        while self.versions.len() > VERSIONS_MAX {
            let is_free = |name: &Arc<str>| {
                self.stable.as_ref() != Some(name)
                    && !self
                        .releases
                        .iter()
                        .any(|of| of.is_open() && (of.version == *name || of.baseline.as_ref() == Some(name)))
            };
            let free = self.versions.iter().filter(|(name, _)| is_free(name));
            let quiet = free.min_by_key(|(_, of)| of.traffic_s.map_or(i64::MIN, |(_, last)| last));
            let Some(name) = quiet.map(|(name, _)| name.clone()) else { break };
            self.versions.remove(&name);
        }
    }
}
