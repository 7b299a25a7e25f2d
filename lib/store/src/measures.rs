//! KPIs, usage and toggles by release and time, as the pages ask for them, merged over shards.
//!
//! Pure. A shard holds only some instances of a release, so cells of the same series and time are added; distinct counts
//! are merged, because the same user may have been served by both.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use shipwake_model::ReleaseId;
use shipwake_model::sketch::{Distinct, Exponential};

/// Which cells a reader wants. `None` means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasureQuery {
    /// The service.
    pub service: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// Of `kpi`, `usage` and `toggle` those that are wanted.
    pub signals: &'static [&'static str],
    /// Of these, signals whose distributions of values are wanted: they are the larger part of a cell.
    pub values: &'static [&'static str],
    /// Start of the first cell, ms, included.
    pub from_ms: i64,
    /// End, ms, excluded.
    pub to_ms: i64,
    /// Length of a cell in seconds: a multiple of 10. Shorter ones are answered at 10.
    pub step_s: u32,
}

/// What a series is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeasureKey {
    /// The release.
    pub release: Arc<ReleaseId>,
    /// `kpi`, `usage` or `toggle`.
    pub signal: &'static str,
    /// Key of the KPI, kind of usage, key of the toggle.
    pub metric: Arc<str>,
    /// Unit of the sum; of a toggle what is counted: `evaluations`, `requests`, `errors`, and `s` for the durations of requests.
    pub unit: Arc<str>,
    /// Of a toggle: `variant`, and for evaluations `reason`.
    pub attributes: Vec<(String, String)>,
}

/// A series with its cells.
#[derive(Clone, Debug)]
pub struct MeasureSeries {
    /// What it is.
    pub key: Arc<MeasureKey>,
    /// The cells that have data, sorted by time.
    pub cells: Vec<MeasureCell>,
}

/// One step of time of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasureCell {
    /// Start, ms.
    pub t_ms: i64,
    /// How many records.
    pub count: u64,
    /// The sum of their values.
    pub sum: f64,
    /// Of usage: who they were.
    pub distinct: Option<Distinct>,
    /// How the single values are distributed, of those that came one by one: values of events in their unit, durations of
    /// requests in seconds.
    pub values: Option<Exponential>,
}

/// Users and sessions of a release over the last day.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageOfDay {
    /// The release.
    pub release: Arc<ReleaseId>,
    /// Users.
    pub users: Distinct,
    /// Sessions.
    pub sessions: Distinct,
    /// Sessions that ended in a crash.
    pub crashed: Distinct,
    /// Sessions that met an error.
    pub errored: Distinct,
}

/// A variant of a toggle that a release serves.
#[derive(Clone, Debug, PartialEq)]
pub struct ToggleRow {
    /// The release.
    pub release: Arc<ReleaseId>,
    /// Key of the toggle.
    pub key: Arc<str>,
    /// The variant.
    pub variant: Arc<str>,
    /// Evaluations since it was first seen.
    pub evaluations: u64,
    /// Evaluations within the last hour, to ten minutes.
    pub recent: u64,
    /// Event time of the first evaluation, ns.
    pub first_seen_ns: i64,
    /// Event time of the newest evaluation, ns.
    pub last_seen_ns: i64,
    /// When the set of variants of the toggle last changed, ns.
    pub changed_ns: i64,
    /// Whether the toggle has windows.
    pub hot: bool,
}

impl MeasureQuery {
    /// Whether it asks for a signal of a release.
    pub fn asks_for(&self, signal: &str, release: &ReleaseId) -> bool {
        let asks = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        self.signals.contains(&signal)
            && asks(&self.service, &release.service)
            && asks(&self.environment, &release.environment)
    }
}

impl MeasureCell {
    /// Adds another cell of the same series and time.
    pub fn add(&mut self, other: &MeasureCell) {
        self.count = self.count.saturating_add(other.count);
        self.sum = (self.sum + other.sum).clamp(f64::MIN, f64::MAX);
        match (&mut self.distinct, &other.distinct) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => mine.clone_from(theirs),
            (Some(_), None) => {}
        }
        match (&mut self.values, &other.values) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => mine.clone_from(theirs),
            (Some(_), None) => {}
        }
    }
}

/// Adds up series that are the same, and their cells of the same time. Series come out in the order of their keys.
pub fn merge_measures(found: impl IntoIterator<Item = MeasureSeries>) -> Vec<MeasureSeries> {
    let mut merged: BTreeMap<Arc<MeasureKey>, BTreeMap<i64, MeasureCell>> = BTreeMap::new();
    for series in found {
        let cells = merged.entry(series.key).or_default();
        for cell in series.cells {
            match cells.get_mut(&cell.t_ms) {
                Some(known) => known.add(&cell),
                None => {
                    cells.insert(cell.t_ms, cell);
                }
            }
        }
    }
    merged.into_iter().map(|(key, cells)| MeasureSeries { key, cells: cells.into_values().collect() }).collect()
}

/// Merges what the shards know of the last day, in the order of releases.
pub fn merge_usage(found: impl IntoIterator<Item = UsageOfDay>) -> Vec<UsageOfDay> {
    let mut merged: BTreeMap<Arc<ReleaseId>, UsageOfDay> = BTreeMap::new();
    for usage in found {
        match merged.get_mut(&usage.release) {
            Some(known) => {
                known.users.merge(&usage.users);
                known.sessions.merge(&usage.sessions);
                known.crashed.merge(&usage.crashed);
                known.errored.merge(&usage.errored);
            }
            None => {
                merged.insert(usage.release.clone(), usage);
            }
        }
    }
    merged.into_values().collect()
}

/// Merges what the shards know of toggles, in the order of releases, keys and variants.
pub fn merge_toggles(found: impl IntoIterator<Item = ToggleRow>) -> Vec<ToggleRow> {
    type Key = (Arc<ReleaseId>, Arc<str>, Arc<str>);
    let mut merged: HashMap<Key, ToggleRow> = HashMap::new();
    for row in found {
        let key = (row.release.clone(), row.key.clone(), row.variant.clone());
        match merged.get_mut(&key) {
            Some(known) => {
                known.evaluations += row.evaluations;
                known.recent += row.recent;
                known.first_seen_ns = known.first_seen_ns.min(row.first_seen_ns);
                known.last_seen_ns = known.last_seen_ns.max(row.last_seen_ns);
                known.changed_ns = known.changed_ns.max(row.changed_ns);
                known.hot |= row.hot;
            }
            None => {
                merged.insert(key, row);
            }
        }
    }
    let mut rows: Vec<ToggleRow> = merged.into_values().collect();
    rows.sort_by(|a, b| (&a.release, &a.key, &a.variant).cmp(&(&b.release, &b.key, &b.variant)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_of_two_shards_is_one_user() {
        let release = Arc::new(ReleaseId {
            service: "s".into(),
            namespace: "".into(),
            environment: "e".into(),
            version: "1".into(),
        });
        let key = |metric: &str| {
            Arc::new(MeasureKey {
                release: release.clone(),
                signal: "usage",
                metric: metric.into(),
                unit: "".into(),
                attributes: Vec::new(),
            })
        };
        let cell = |t_ms: i64, users: &[&str]| {
            let mut distinct = Distinct::new();
            users.iter().for_each(|user| distinct.insert(user.as_bytes()));
            MeasureCell { t_ms, count: 2, sum: 1.5, distinct: Some(distinct), values: None }
        };
        let merged = merge_measures([
            MeasureSeries { key: key("users"), cells: vec![cell(10, &["a", "b"]), cell(20, &["c"])] },
            MeasureSeries { key: key("users"), cells: vec![cell(0, &["z"]), cell(10, &["b", "d"])] },
        ]);
        assert_eq!(merged.len(), 1);
        let seen: Vec<(i64, u64, f64, u64)> = merged[0]
            .cells
            .iter()
            .map(|cell| (cell.t_ms, cell.count, cell.sum, cell.distinct.as_ref().map_or(0, Distinct::count)))
            .collect();
        assert_eq!(seen, [(0, 2, 1.5, 1), (10, 4, 3.0, 3), (20, 2, 1.5, 1)]);
    }
}
