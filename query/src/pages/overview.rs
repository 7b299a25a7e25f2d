//! Is anything that is being shipped right now hurting users? All services of an environment, one line each. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::{Kpi, Source, UNVERSIONED};
use shipwake_store::{HealthQuery, HealthSeries, MeasureQuery, MeasureSeries, ReleaseRow};

use crate::pages::{kpis, service, wire};
use crate::release::pair::{Outcome, Pair, Role};
use crate::release::timeline::{
    Cell, Grid, VersionLine, arrival_ms, error_ratio, quantile_s, source_in_use, version_lines,
};
use crate::release::{differences, events, headline, pair, patterns};
use crate::time::{HOUR_MS, MINUTE_MS, SECOND_MS};

/// What a line is about: the sparkline, and how far back a version counts as one of the running ones.
const RANGE_MS: i64 = 15 * MINUTE_MS;
/// The windows that differences and events are dated by, as on the page of a service.
const STEP_MS: i64 = 10 * SECOND_MS;
/// The windows of the sparkline.
const SPARK_STEP_MS: i64 = 30 * SECOND_MS;
const WINDOWS_PER_POINT: usize = (SPARK_STEP_MS / STEP_MS) as usize;
/// Rates and shares are of the last minute and a half of windows, of which the last is not complete.
const NOW_WINDOWS: usize = 9;
/// Ratios and quantiles are of the last five minutes.
const RATIO_WINDOWS: usize = 30;
/// A release that was first seen within this time is a rollout even when it has all the traffic already.
const NEW_MS: i64 = 10 * MINUTE_MS;
/// A service that has been silent for longer is not shown.
const SILENT_MS: i64 = HOUR_MS;
const LANES_MAX: usize = 6;
const EVENTS_MAX: usize = 50;

/// What to ask the store for: all environments, so that one set of cells serves every question.
pub(crate) fn question(now_ms: i64) -> HealthQuery {
    let grid = grid(now_ms, now_ms);
    HealthQuery {
        service: None,
        environment: None,
        from_ms: grid.from_ms,
        to_ms: grid.to_ms,
        step_s: (STEP_MS / SECOND_MS) as u32,
        by_route: false,
    }
}

fn grid(now_ms: i64, watermark_ms: i64) -> Grid {
    let from_ms = (now_ms - RANGE_MS).div_euclid(SPARK_STEP_MS) * SPARK_STEP_MS;
    // Records of clocks that run a little ahead belong on the page too.
    Grid { from_ms, to_ms: now_ms + SPARK_STEP_MS, step_ms: STEP_MS, watermark_ms }
}

/// What to ask for KPIs: the whole range, as a KPI that moved is looked for in all of it.
pub(crate) fn measure_question(now_ms: i64) -> MeasureQuery {
    let HealthQuery { from_ms, to_ms, step_s, .. } = question(now_ms);
    MeasureQuery { service: None, environment: None, signals: &["kpi"], values: &[], from_ms, to_ms, step_s }
}

/// What a service shows besides its health.
#[derive(Clone, Copy)]
pub(crate) struct Measured<'a> {
    /// What is declared.
    pub kpis: &'a [Kpi],
    /// What was measured lately, of all services.
    pub measures: &'a [MeasureSeries],
    /// Gives the log patterns of a service and environment; asked only about services that ship something.
    pub patterns_of: &'a PatternsOf<'a>,
}

/// The answer. `series` and `releases` may hold other environments: they are left out.
pub(crate) fn answer(
    environment: Option<&str>,
    series: &[HealthSeries],
    releases: &[ReleaseRow],
    measured: Measured<'_>,
    watermark_ms: Option<i64>,
    now_ms: i64,
) -> wire::Overview {
    let grid = grid(now_ms, watermark_ms.unwrap_or(now_ms).min(now_ms));
    let mut services = Vec::new();
    let mut all_events = Vec::new();
    for (key, members) in group(environment, series, releases, now_ms) {
        let (line, found) = service_line(&key, &members, measured, &grid, now_ms);
        services.push(line);
        all_events.extend(found);
    }
    services
        .sort_by_cached_key(|line| (attention(line), line.service.clone(), line.env.clone(), line.namespace.clone()));
    all_events.sort_by(|a: &wire::Event, b| {
        (b.t, &a.service, &a.version, a.kind).cmp(&(a.t, &b.service, &b.version, b.kind))
    });
    all_events.truncate(EVENTS_MAX);
    let with_state = |state: &str| services.iter().filter(|line| line.state == state).count();
    let summary = wire::Summary {
        services: services.len(),
        rollouts: with_state("rollout"),
        steady: with_state("steady"),
        unversioned: with_state("unversioned"),
        differing: services.iter().filter(|line| attention(line) == 0).count(),
    };
    wire::Overview { meta: meta(&grid, releases, watermark_ms, now_ms), summary, services, events: all_events }
}

fn meta(grid: &Grid, releases: &[ReleaseRow], watermark_ms: Option<i64>, now_ms: i64) -> wire::Meta {
    let mut environments: Vec<String> = releases.iter().map(|row| row.release.environment.to_string()).collect();
    environments.sort_unstable();
    environments.dedup();
    wire::Meta {
        wm: watermark_ms,
        lag_ms: crate::pages::freshness::lag_ms(watermark_ms, now_ms),
        now: now_ms,
        step_s: Some(SPARK_STEP_MS / SECOND_MS),
        from: Some(grid.from_ms),
        to: Some(now_ms),
        envs: Some(environments),
        ..wire::Meta::default()
    }
}

/// The log patterns of a service and environment.
pub(crate) type PatternsOf<'a> = dyn Fn(&str, &str) -> Arc<patterns::Shapes> + 'a;

/// Service, environment, namespace.
type Key = (Arc<str>, Arc<str>, Arc<str>);

#[derive(Default)]
struct Members<'a> {
    series: Vec<&'a HealthSeries>,
    releases: Vec<ReleaseRow>,
}

fn group<'a>(
    environment: Option<&str>,
    series: &'a [HealthSeries],
    releases: &[ReleaseRow],
    now_ms: i64,
) -> BTreeMap<Key, Members<'a>> {
    let key = |release: &shipwake_model::ReleaseId| -> Key {
        (release.service.clone(), release.environment.clone(), release.namespace.clone())
    };
    let shown = |release: &shipwake_model::ReleaseId| environment.is_none_or(|wanted| &*release.environment == wanted);
    let mut services: BTreeMap<Key, Members<'a>> = BTreeMap::new();
    for row in releases.iter().filter(|row| shown(&row.release)) {
        services.entry(key(&row.release)).or_default().releases.push(row.clone());
    }
    for one in series.iter().filter(|one| shown(&one.release)) {
        services.entry(key(&one.release)).or_default().series.push(one);
    }
    services.retain(|_, members| {
        let last_ms = members.releases.iter().map(|row| row.last_seen_ns.div_euclid(1_000_000)).max();
        !members.series.is_empty() || last_ms.is_some_and(|last_ms| last_ms >= now_ms - SILENT_MS)
    });
    services
}

fn service_line(
    key: &Key,
    members: &Members<'_>,
    measured: Measured<'_>,
    grid: &Grid,
    now_ms: i64,
) -> (wire::OverviewService, Vec<wire::Event>) {
    let source = source_in_use(members.series.iter().copied());
    let lines = version_lines(members.series.iter().copied(), &members.releases, source, grid);
    let pair = pair::choose(&lines, grid, None, None);
    let outcome = pair::outcome(&lines, &pair, grid);
    let state = state(&lines, &pair, outcome, now_ms);
    let of = |version: &Option<Arc<str>>| lines.iter().find(|line| Some(&line.version) == version.as_ref());
    let (baseline, candidate) = (of(&pair.baseline), of(&pair.candidate));
    // A rollout that ended a moment ago may be what hurts.
    let compared = state == "rollout" || outcome != Outcome::Open && is_new(candidate, now_ms);
    let is_silent = pair::silent_since(&lines, grid).is_some();
    let measures = if compared || is_silent { measures_of(key, measured) } else { Vec::new() };
    let of_kpis = kpis::Facts { declared: measured.kpis, measures: &measures, service: &key.0, environment: &key.1 };
    let found = match (baseline, candidate) {
        // Of a silent service the sentence says what was before.
        (Some(baseline), Some(candidate)) if compared || is_silent => {
            service::differing((baseline, candidate), &lines, &of_kpis, &pair, grid)
        }
        _ => Vec::new(),
    };
    let new_patterns = if compared && pair.candidate.is_some() && pair.baseline.is_some() {
        let shapes = (measured.patterns_of)(&key.0, &key.1);
        let kept_from_ms = grid.from_ms;
        patterns::find(&patterns::Facts { shapes: &shapes, lines: &lines, pair: &pair, grid, kept_from_ms }).new
    } else {
        0
    };
    let told = events::find(&lines, grid);
    let facts = headline::Facts { lines: &lines, pair: &pair, differences: &found, events: &told, grid, source };
    let says = state != "steady"
        || outcome == Outcome::Withdrawn
        || !found.is_empty()
        || is_silent
        // Whoever ships a release that gets no traffic looks here first.
        || headline::waiting_release(&facts).is_some();
    let kpi = baseline
        .zip(candidate)
        .filter(|_| compared)
        .and_then(|(baseline, candidate)| kpi_of(&of_kpis, baseline, candidate, &found, grid));
    let (baseline, candidate) = match outcome {
        Outcome::Open => (baseline, candidate),
        Outcome::Finished => (candidate, None),
        Outcome::Withdrawn => (baseline, None),
    };
    let line = wire::OverviewService {
        service: key.0.to_string(),
        env: key.1.to_string(),
        namespace: key.2.to_string(),
        state,
        source: source.map(Source::as_str),
        approximate: source == Some(Source::Metrics),
        headline: says.then(|| headline::headline(&facts)),
        lanes: lanes(&lines, &pair, outcome, grid),
        red: red(&lines, baseline, candidate, grid),
        kpi,
        spark: spark(&lines, grid),
        new_patterns,
    };
    let told = told.into_iter().map(|event| wire_event(event, &key.0, &key.1)).collect();
    (line, told)
}

fn measures_of((service, environment, _): &Key, measured: Measured<'_>) -> Vec<MeasureSeries> {
    let of_service = |series: &&MeasureSeries| {
        series.key.release.service == *service && series.key.release.environment == *environment
    };
    measured.measures.iter().filter(of_service).cloned().collect()
}

fn kpi_of(
    of_kpis: &kpis::Facts<'_>,
    baseline: &VersionLine,
    candidate: &VersionLine,
    found: &[differences::Difference],
    grid: &Grid,
) -> Option<wire::OverviewKpi> {
    let windows = grid.starts().len();
    kpis::headline_kpi(of_kpis, baseline, candidate, grid, windows.saturating_sub(RATIO_WINDOWS)..windows, found)
}

pub(crate) fn wire_event(event: events::Event, service: &str, environment: &str) -> wire::Event {
    wire::Event {
        t: event.t_ms,
        kind: event.kind,
        service: service.to_owned(),
        env: environment.to_owned(),
        version: event.version.to_string(),
        share: event.share.map(round),
        title: event.title,
    }
}

/// Differing rollouts first, then rollouts, then services that cannot be compared, then the rest.
fn attention(line: &wire::OverviewService) -> u8 {
    match (line.state, &line.headline) {
        ("rollout", Some(headline)) if headline.contains(" differs from ") => 0,
        // It has all the traffic by now. What was withdrawn hurts nobody any more.
        ("steady", Some(headline))
            if headline.contains(" differs from ")
                && !headline.contains(" was withdrawn: ")
                && !headline.starts_with("no traffic ") =>
        {
            0
        }
        ("rollout", _) => 1,
        ("unversioned", _) => 2,
        _ => 3,
    }
}

fn is_new(line: Option<&VersionLine>, now_ms: i64) -> bool {
    line.and_then(|line| line.first_seen_ms).is_some_and(|seen_ms| seen_ms >= now_ms - NEW_MS)
}

fn state(lines: &[VersionLine], pair: &Pair, outcome: Outcome, now_ms: i64) -> &'static str {
    let running = || lines.iter().filter(|line| requests_now(line) > 0);
    let is_unversioned = |line: &VersionLine| &*line.version == UNVERSIONED;
    if !lines.is_empty() && lines.iter().all(is_unversioned) || running().count() > 0 && running().all(is_unversioned) {
        return "unversioned";
    }
    if outcome != Outcome::Open {
        // Without the candidate there may still be two others, which nobody ships.
        return "steady";
    }
    let Some(candidate) =
        pair.candidate.as_ref().and_then(|version| lines.iter().find(|line| line.version == *version))
    else {
        return "steady";
    };
    let is_new = is_new(Some(candidate), now_ms);
    let beside = running().any(|line| line.version != candidate.version);
    if requests_now(candidate) > 0 && (beside || is_new) { "rollout" } else { "steady" }
}

fn requests_now(line: &VersionLine) -> u64 {
    line.cells.iter().rev().take(NOW_WINDOWS).map(|cell| cell.requests).sum()
}

/// The versions that run, the baseline first; of a silent service those that ran last; and who has left the pair.
fn lanes(lines: &[VersionLine], pair: &Pair, outcome: Outcome, grid: &Grid) -> Vec<wire::OverviewLane> {
    let total: u64 = lines.iter().map(requests_now).sum();
    let mut shown: Vec<(&VersionLine, Role)> = lines
        .iter()
        .map(|line| (line, pair::settled_role_of(line, pair, outcome, grid)))
        .filter(|(line, role)| {
            let of_pair = [&pair.baseline, &pair.candidate].contains(&&Some(line.version.clone()));
            requests_now(line) > 0 || line.requests() > 0 && (total == 0 || of_pair && *role == Role::Retired)
        })
        .collect();
    shown.sort_by_key(|(line, role)| {
        let order = match role {
            Role::Baseline => 0,
            Role::Candidate => 1,
            Role::Retired => 3,
            _ => 2,
        };
        (order, u64::MAX - requests_now(line))
    });
    shown.truncate(LANES_MAX);
    shown
        .into_iter()
        .map(|(line, role)| wire::OverviewLane {
            version: line.version.to_string(),
            role: role.as_str(),
            share: (total > 0).then(|| round(requests_now(line) as f64 / total as f64)),
            instances: line.instances,
            since: line.first_seen_ms,
        })
        .collect()
}

fn red(
    lines: &[VersionLine],
    baseline: Option<&VersionLine>,
    candidate: Option<&VersionLine>,
    grid: &Grid,
) -> wire::Red {
    let windows = grid.starts().len();
    let recent = windows.saturating_sub(RATIO_WINDOWS)..windows;
    let total = |line: Option<&VersionLine>| {
        let line = line?;
        let now = line.total(recent.clone());
        // A baseline that has left is still what the candidate is compared with.
        Some(if now.requests > 0 { now } else { line.total(0..windows) })
    };
    let (baseline, candidate) = (total(baseline), total(candidate));
    let err = |cell: &Option<Cell>| cell.as_ref().and_then(|cell| error_ratio(cell.requests, cell.errors)).map(round);
    let p99 = |cell: &Option<Cell>| cell.as_ref().and_then(|cell| quantile_s(&cell.duration, 0.99));
    let starts = grid.starts();
    let first_now_ms = starts.get(windows.saturating_sub(NOW_WINDOWS)).copied().unwrap_or(grid.from_ms);
    // A service that began a moment ago has its rate since then.
    let span_ms = begun_ms(lines, grid).map(|begun_ms| grid.watermark_ms - begun_ms.max(first_now_ms));
    let requests: u64 = lines.iter().map(requests_now).sum();
    let per_second = |span_ms: i64| round(requests as f64 * 1_000.0 / span_ms.max(SECOND_MS) as f64);
    wire::Red {
        rps: span_ms.map(per_second),
        err: wire::BothSides { baseline: err(&baseline), candidate: err(&candidate) },
        p99_s: wire::BothSides { baseline: p99(&baseline), candidate: p99(&candidate) },
    }
}

/// When the service began to take requests, if it has any in the range.
fn begun_ms(lines: &[VersionLine], grid: &Grid) -> Option<i64> {
    lines.iter().filter(|line| line.requests() > 0).map(|line| arrival_ms(line, grid)).min()
}

/// Six digits after the point: what a page can show, in a third of the bytes.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn spark(lines: &[VersionLine], grid: &Grid) -> wire::Spark {
    let begun_ms = begun_ms(lines, grid).unwrap_or(i64::MAX);
    let (mut err, mut rps) = (Vec::new(), Vec::new());
    for (point, starts) in grid.starts().chunks(WINDOWS_PER_POINT).enumerate() {
        let windows = point * WINDOWS_PER_POINT..point * WINDOWS_PER_POINT + starts.len();
        let sum =
            |of: fn(&Cell) -> u64| -> u64 { lines.iter().flat_map(|line| &line.cells[windows.clone()]).map(of).sum() };
        let (requests, errors) = (sum(|cell| cell.requests), sum(|cell| cell.errors));
        let elapsed_ms = (starts[0] + SPARK_STEP_MS).min(grid.watermark_ms) - starts[0].max(begun_ms);
        // Before the first request there is no data, which is not a rate of zero.
        let known = elapsed_ms >= SPARK_STEP_MS / 5;
        err.push(error_ratio(requests, errors).map(round));
        rps.push(known.then(|| round(requests as f64 * 1_000.0 / elapsed_ms as f64)));
    }
    wire::Spark { t0: grid.from_ms, step_s: SPARK_STEP_MS / SECOND_MS, err, rps }
}

#[cfg(test)]
mod tests;
