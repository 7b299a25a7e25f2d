//! What Kayenta's judge would have said of a release, on the same minutes: for teams that move, beside our own verdict. Pure but for
//! reading windows.
//!
//! Kayenta takes one number a minute of each side. Ours are what most of its configurations ask for: the part of requests that failed in
//! per cent, quantiles of durations in milliseconds, crashed sessions in per cent, bad log lines by a thousand requests. The
//! units matter: its solver stops at an absolute 1e-4, so as a plain fraction an error ratio could not be seen to move.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::pattern::Level;
use shipwake_model::{HdrCells, ReleaseId};
use shipwake_store::{HealthCell, HealthQuery, HealthSeries, MeasureQuery, PatternQuery};
use shipwake_verdict::kayenta::{Direction, Metric, MetricResult, Score, Scored, Thresholds, classify, score};

use super::learn::source;
use super::questions::REACH_S;
use super::windows::Windows;

/// Scores of Spinnaker's canary stage as it is set up by default.
pub const THRESHOLDS: Thresholds = Thresholds { pass: 95.0, marginal: 75.0 };
const MINUTE_MS: i64 = 60_000;
const QUANTILES: [(f64, &str); 3] = [(0.5, "p50 latency"), (0.9, "p90 latency"), (0.99, "p99 latency")];

/// Which release, beside what, and when.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The candidate.
    pub release: ReleaseId,
    /// The version beside it.
    pub baseline: Option<Arc<str>>,
    /// Whether the baseline's time before stands in for it.
    pub is_before: bool,
    /// The candidate's first request, ms.
    pub opened_ms: i64,
    /// Up to when: the present, or the end; ms.
    pub until_ms: i64,
    /// How far back windows are there, ms.
    pub reach_from_ms: i64,
}

/// What it would have said.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The first minute, ms.
    pub from_ms: i64,
    /// The end of the last, ms.
    pub to_ms: i64,
    /// The release began before the first minute that is there.
    pub is_cut: bool,
    /// The score, and the word for it.
    pub score: Score,
    /// Metric by metric.
    pub metrics: Vec<MetricSaid>,
}

/// One metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSaid {
    /// The check that asks the same.
    pub check: &'static str,
    /// For people.
    pub name: &'static str,
    /// Of its numbers.
    pub unit: &'static str,
    /// How it stands.
    pub result: MetricResult,
    /// Minutes with a number, and their mean: control and experiment.
    pub sides: [(usize, Option<f64>); 2],
}

/// One side, minute by minute.
#[derive(Default)]
struct Minutes {
    requests: BTreeMap<i64, (u64, u64, HdrCells)>,
    sessions: BTreeMap<i64, [u64; 2]>,
    lines: BTreeMap<i64, u64>,
}

impl Asked {
    /// The present reach of windows.
    pub fn reach_from(now_ms: i64) -> i64 {
        now_ms - REACH_S * 1_000
    }

    /// Whole minutes of the release that are still there.
    fn range(&self) -> (i64, i64, bool) {
        let up = |ms: i64| (ms + MINUTE_MS - 1).div_euclid(MINUTE_MS) * MINUTE_MS;
        let (opened, reach) = (up(self.opened_ms), up(self.reach_from_ms));
        let to = self.until_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        (opened.max(reach), to.max(opened.max(reach)), reach > opened)
    }
}

/// Reads the minutes and judges them; `None` when there is not one.
pub fn said(windows: &dyn Windows, asked: &Asked) -> Option<Said> {
    let (from_ms, to_ms, is_cut) = asked.range();
    if from_ms >= to_ms {
        return None;
    }
    let experiment = minutes(windows, asked, &asked.release.version, from_ms, to_ms);
    let control = match &asked.baseline {
        // As Kayenta does it without a control beside it: the same length of time, before.
        Some(baseline) if asked.is_before => {
            let until_ms = asked.opened_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
            let since_ms = (until_ms - (to_ms - from_ms)).max(asked.reach_from_ms);
            minutes(windows, asked, baseline, since_ms, until_ms)
        }
        Some(baseline) => minutes(windows, asked, baseline, from_ms, to_ms),
        None => Minutes::default(),
    };
    let metrics = metrics(&control, &experiment);
    let scored: Vec<Scored> = metrics
        .iter()
        .map(|metric| Scored { groups: vec![metric.check.to_owned()], muted: false, result: metric.result.clone() })
        .collect();
    // Every group weighs the same.
    Some(Said { from_ms, to_ms, is_cut, score: score(&scored, &BTreeMap::new(), THRESHOLDS), metrics })
}

fn minutes(windows: &dyn Windows, asked: &Asked, version: &str, from_ms: i64, to_ms: i64) -> Minutes {
    let (service, environment) = (&asked.release.service, &asked.release.environment);
    let health = windows.health(&HealthQuery {
        service: Some(service.to_string()),
        environment: Some(environment.to_string()),
        from_ms,
        to_ms,
        step_s: 60,
        by_route: false,
    });
    let ours: Vec<HealthSeries> =
        health.into_iter().filter(|one| one.release.namespace == asked.release.namespace).collect();
    let source = source(&ours, asked.baseline.as_deref(), &asked.release.version);
    let mut minutes = Minutes::default();
    let wanted = ours.iter().filter(|one| Some(one.source) == source && &*one.release.version == version);
    for HealthCell { t_ms, requests, errors, duration, .. } in wanted.flat_map(|one| &one.cells) {
        let minute = minutes.requests.entry(*t_ms).or_default();
        minute.0 += requests;
        minute.1 += errors;
        minute.2.merge(duration);
    }
    let usage = windows.measures(&MeasureQuery {
        service: Some(service.to_string()),
        environment: Some(environment.to_string()),
        signals: &["usage"],
        values: &[],
        from_ms,
        to_ms,
        step_s: 60,
    });
    let is_ours = |release: &ReleaseId| release.namespace == asked.release.namespace && &*release.version == version;
    for one in usage.iter().filter(|one| is_ours(&one.key.release)) {
        let Some(at) = ["crashed_sessions", "sessions"].iter().position(|name| *name == &*one.key.metric) else {
            continue;
        };
        for cell in &one.cells {
            let many = cell.distinct.as_ref().map_or(cell.count, |distinct| distinct.count());
            minutes.sessions.entry(cell.t_ms.div_euclid(MINUTE_MS) * MINUTE_MS).or_default()[at] += many;
        }
    }
    let patterns = windows.patterns(&PatternQuery {
        service: Some(service.to_string()),
        environment: Some(environment.to_string()),
        from_ms,
        to_ms,
    });
    for row in patterns.iter().filter(|row| row.namespace == asked.release.namespace) {
        let bad = row.versions.iter().filter(|of| &*of.version == version && of.level >= Level::Warn);
        for cell in bad.flat_map(|of| &of.cells) {
            *minutes.lines.entry(cell.t_ms).or_default() += cell.count;
        }
    }
    minutes
}

impl Minutes {
    fn errors(&self) -> Vec<f64> {
        let with = self.requests.values().filter(|(requests, ..)| *requests > 0);
        with.map(|(requests, errors, _)| *errors as f64 / *requests as f64 * 100.0).collect()
    }

    fn quantile(&self, q: f64) -> Vec<f64> {
        let timed = self.requests.values().filter_map(|(.., durations)| durations.quantile(q));
        timed.map(|micros| micros as f64 / 1_000.0).collect()
    }

    fn crashes(&self) -> Vec<f64> {
        let with = self.sessions.values().filter(|[_, sessions]| *sessions > 0);
        with.map(|[crashed, sessions]| *crashed as f64 / *sessions as f64 * 100.0).collect()
    }

    fn lines(&self) -> Vec<f64> {
        let with = self.requests.iter().filter(|(_, (requests, ..))| *requests > 0);
        let lines = |at: &i64| self.lines.get(at).copied().unwrap_or_default() as f64;
        with.map(|(at, (requests, ..))| lines(at) / *requests as f64 * 1_000.0).collect()
    }
}

/// Every metric that either side has a number of.
fn metrics(control: &Minutes, experiment: &Minutes) -> Vec<MetricSaid> {
    /// Check, name, unit, and the numbers of control and experiment.
    type Compared = (&'static str, &'static str, &'static str, Vec<f64>, Vec<f64>);
    let mut all: Vec<Compared> = vec![("errors", "failed requests", "%", control.errors(), experiment.errors())];
    for (q, name) in QUANTILES {
        all.push(("latency", name, "ms", control.quantile(q), experiment.quantile(q)));
    }
    all.push(("crashes", "crashed sessions", "%", control.crashes(), experiment.crashes()));
    if !control.lines.is_empty() || !experiment.lines.is_empty() {
        all.push(("patterns", "bad log lines", "per 1000 requests", control.lines(), experiment.lines()));
    }
    let worse_is_more = Metric { direction: Direction::Increase, ..Metric::default() };
    let is_told = |control: &[f64], experiment: &[f64]| !control.is_empty() || !experiment.is_empty();
    let told =
        all.into_iter().filter(|(check, _, _, control, experiment)| *check == "errors" || is_told(control, experiment));
    let side =
        |values: &[f64]| (values.len(), (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64));
    told.map(|(check, name, unit, control, experiment)| MetricSaid {
        check,
        name,
        unit,
        result: classify(name, &control, &experiment, &worse_is_more),
        sides: [side(&control), side(&experiment)],
    })
    .collect()
}
