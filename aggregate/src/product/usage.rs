//! Users and sessions by release: how many there are, how many sessions ended in a crash or met an error.
//!
//! Only ids count, never their texts: a window keeps a distinct count of at most four kilobytes. A day of hourly counts is
//! kept for the share of sessions that a release has (adoption); it is part of the committed state.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::sketch::Distinct;
use shipwake_model::{ReleaseId, Resolution, Sketch, Source};
use shipwake_store::UsageOfDay;

use super::series::What;
use super::who::Who;
use crate::health::SEVERITY_ERROR;
use crate::metric_cell::MetricCell;
use crate::resources::KnownResource;
use crate::series::{Measure, MetricMeta};
use crate::state::State;
use crate::windows::MetricWindows;

/// The metrics of usage, in the order of their places.
pub(crate) const METRICS: [&str; 4] = ["users", "sessions", "crashed_sessions", "errored_sessions"];
const USERS: u8 = 0;
const SESSIONS: u8 = 1;
const CRASHED: u8 = 2;
const ERRORED: u8 = 3;
/// SEVERITY_NUMBER_FATAL.
const SEVERITY_FATAL: i32 = 21;
/// How many hours are kept, besides the one that has begun.
const HOURS_KEPT: i64 = 24;
const HOUR_NS: i64 = 3_600_000_000_000;
/// Bytes of the kept hours; the oldest go first.
const DAY_BYTES_MAX: usize = 4 << 20;

/// What a record says about its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing bad.
    Healthy,
    /// An error was met.
    Errored,
    /// It ended in a crash.
    Crashed,
}

impl Outcome {
    /// A crash is a record of severity FATAL, or an event `crash` or `….crash` (`device.crash`, `app.crash`).
    pub(crate) fn of_log(event_name: &[u8], severity: i32) -> Self {
        if severity >= SEVERITY_FATAL || event_name == b"crash" || event_name.ends_with(b".crash") {
            return Outcome::Crashed;
        }
        if severity >= SEVERITY_ERROR { Outcome::Errored } else { Outcome::Healthy }
    }
}

impl State {
    /// Takes note of whose record it is.
    pub(crate) fn fold_usage(
        &mut self,
        known: &KnownResource,
        source: Source,
        who: Who,
        outcome: Outcome,
        time_ns: i64,
    ) {
        if !who.is_known() {
            return;
        }
        self.renew_product();
        let mut add = |place: u8, hash: u64| {
            let series = self.product_series(known, source, What::Usage(place));
            self.product.windows.insert(series, time_ns, hash);
        };
        if who.user != 0 {
            add(USERS, who.user);
        }
        if who.session == 0 {
            return;
        }
        add(SESSIONS, who.session);
        match outcome {
            Outcome::Healthy => {}
            Outcome::Errored => add(ERRORED, who.session),
            Outcome::Crashed => {
                // As with those who invented the words: a crashed session is not also an errored one that went on, but an
                // error it has met all the same.
                add(ERRORED, who.session);
                add(CRASHED, who.session);
            }
        }
    }
}

type Hour = HashMap<Arc<ReleaseId>, [Distinct; 4], ahash::RandomState>;

/// Distinct users and sessions of the last day, by hour and release.
#[derive(Clone, Debug, Default)]
pub(crate) struct UsageDay {
    hours: BTreeMap<i64, Hour>,
}

impl UsageDay {
    /// Adds what a commit takes out of the windows, and drops what is too old at `newest_ns` or beyond the bound.
    pub(crate) fn add_windows(&mut self, windows: &MetricWindows, metas: &[Arc<MetricMeta>], newest_ns: i64) {
        for (start_ns, series, cell) in windows.iter() {
            self.add(start_ns, &metas[series as usize], cell);
        }
        self.prune(newest_ns);
    }

    fn add(&mut self, start_ns: i64, meta: &MetricMeta, cell: &MetricCell) {
        let (Measure::Usage, Some(found)) = (meta.measure, distinct_of(cell)) else { return };
        let Some(place) = METRICS.iter().position(|metric| *metric == &*meta.metric) else { return };
        let hour = self.hours.entry(Resolution::H1.window_start_ns(start_ns)).or_default();
        hour.entry(meta.release.clone()).or_default()[place].merge(found);
    }

    fn prune(&mut self, newest_ns: i64) {
        self.hours = self.hours.split_off(&first_hour(newest_ns));
        let mut bytes = self.heap_bytes();
        while bytes > DAY_BYTES_MAX && self.hours.len() > 1 {
            let Some((_, hour)) = self.hours.pop_first() else { break };
            bytes -= bytes_of(&hour);
        }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.hours.values().map(bytes_of).sum()
    }

    /// The day before `newest_ns` of a service and environment, with what is not committed yet.
    pub(crate) fn totals(
        &self,
        service: &str,
        environment: &str,
        newest_ns: i64,
        fresh: &MetricWindows,
        metas: &[Arc<MetricMeta>],
    ) -> Vec<UsageOfDay> {
        let asked = |release: &ReleaseId| &*release.service == service && &*release.environment == environment;
        let mut whole = UsageDay::default();
        for hour in self.hours.range(first_hour(newest_ns)..).map(|(_, hour)| hour) {
            for (release, counts) in hour.iter().filter(|(release, _)| asked(release)) {
                merge(whole.hours.entry(0).or_default().entry(release.clone()).or_default(), counts);
            }
        }
        for (start_ns, series, cell) in fresh.iter() {
            let meta = &metas[series as usize];
            if asked(&meta.release) && start_ns >= first_hour(newest_ns) {
                whole.add(0, meta, cell);
            }
        }
        let counts = whole.hours.into_values().flatten();
        counts
            .map(|(release, [users, sessions, crashed, errored])| UsageOfDay {
                release,
                users,
                sessions,
                crashed,
                errored,
            })
            .collect()
    }

    /// The counts as the committed state has them: hour, release, the four counts.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (i64, &Arc<ReleaseId>, &[Distinct; 4])> {
        self.hours
            .iter()
            .flat_map(|(start_ns, hour)| hour.iter().map(move |(release, counts)| (*start_ns, release, counts)))
    }

    /// Takes back an entry of the committed state.
    pub(crate) fn restore(&mut self, start_ns: i64, release: ReleaseId, counts: [Distinct; 4]) {
        self.hours.entry(start_ns).or_default().insert(Arc::new(release), counts);
    }
}

fn first_hour(newest_ns: i64) -> i64 {
    Resolution::H1.window_start_ns(newest_ns.saturating_sub(HOURS_KEPT * HOUR_NS).max(0))
}

fn merge(into: &mut [Distinct; 4], more: &[Distinct; 4]) {
    for (into, more) in into.iter_mut().zip(more) {
        into.merge(more);
    }
}

/// The distinct count of a cell, if it is one.
pub(crate) fn distinct_of(cell: &MetricCell) -> Option<&Distinct> {
    match cell {
        MetricCell::Sketch(sketch) => match &**sketch {
            Sketch::Distinct(distinct) => Some(distinct),
            _ => None,
        },
        _ => None,
    }
}

fn bytes_of(hour: &Hour) -> usize {
    let counts: usize = hour.values().flatten().map(Distinct::heap_bytes).sum();
    counts + hour.capacity() * (size_of::<(Arc<ReleaseId>, [Distinct; 4])>() + 1)
}
