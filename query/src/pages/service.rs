//! One service: its versions beside each other, what differs, since when. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shipwake_model::{Kpi, Source, UNVERSIONED};
use shipwake_store::{HealthSeries, MarkerRow, MeasureSeries, ReleaseRow, ToggleRow, UsageOfDay, VerdictRow};

use crate::pages::overview::round;
use crate::pages::{deploys, freshness, kpis, overview, toggles, usage, wire};
use crate::release::pair::{Pair, Role};
use crate::release::timeline::{Cell, Grid, VersionLine, error_ratio, quantile_s, source_in_use, version_lines};
use crate::release::{differences, events, headline, pair, patterns};

/// Versions that are shown: a version text that changes with every request makes thousands.
const LANES_MAX: usize = 12;
/// Routes that are shown, busiest first.
const ROUTES_MAX: usize = 30;
/// A window of which less than this part has passed has no rate yet.
const ELAPSED_MIN: f64 = 0.2;

/// What the answer is made of. Series and releases are of this service and environment only.
pub(crate) struct Facts<'a> {
    pub service: &'a str,
    pub environment: &'a str,
    pub series: &'a [HealthSeries],
    /// The same by route; the cells of a route are added up.
    pub routes: &'a [HealthSeries],
    pub releases: &'a [ReleaseRow],
    pub patterns: &'a patterns::Shapes,
    /// Lines of patterns from here on are in `patterns`.
    pub patterns_from_ms: i64,
    pub grid: Grid,
    pub watermark_ms: Option<i64>,
    pub now_ms: i64,
    pub candidate: Option<&'a str>,
    pub baseline: Option<&'a str>,
    pub warnings: Vec<String>,
    /// KPIs, usage and toggles of the range.
    pub measures: &'a [MeasureSeries],
    /// Users and sessions of the last day.
    pub usage: &'a [UsageOfDay],
    pub toggles: &'a [ToggleRow],
    /// What was said about the service in the range, in all environments.
    pub markers: &'a [MarkerRow],
    pub verdicts: &'a [VerdictRow],
    pub kpis: &'a [Kpi],
}

/// The answer.
pub(crate) fn answer(facts: Facts<'_>) -> wire::ServiceRelease {
    let grid = facts.grid;
    let source = source_in_use(facts.series);
    let lines = version_lines(facts.series, facts.releases, source, &grid);
    let pair = pair::choose(&lines, &grid, facts.candidate, facts.baseline);
    let of = |version: &Option<Arc<str>>| lines.iter().find(|line| Some(&line.version) == version.as_ref());
    let of_kpis = kpis::Facts {
        declared: facts.kpis,
        measures: facts.measures,
        service: facts.service,
        environment: facts.environment,
    };
    let both = of(&pair.baseline).zip(of(&pair.candidate));
    let found = both.map(|both| differing(both, &lines, &of_kpis, &pair, &grid)).unwrap_or_default();
    let events = events::find(&lines, &grid);
    let (differences, told) = (&found, &events);
    let said = headline::Facts { lines: &lines, pair: &pair, differences, events: told, grid: &grid, source };
    let said = headline::headline(&said);
    let kept_from_ms = facts.patterns_from_ms;
    let patterns = patterns::find(&patterns::Facts {
        shapes: facts.patterns,
        lines: &lines,
        pair: &pair,
        grid: &grid,
        kept_from_ms,
    });
    let shown_events = all_events(&events, &facts, &grid);
    let (shown, left_out) = shown_lines(&lines, &pair, &grid);
    let (kpis, kpi_columns) = kpis::lanes(&of_kpis, &shown, &grid);
    let mut warnings = facts.warnings;
    warnings.extend(warnings_about(source, left_out, &pair, facts.candidate, facts.baseline));
    wire::ServiceRelease {
        meta: wire::Meta {
            wm: facts.watermark_ms,
            lag_ms: freshness::lag_ms(facts.watermark_ms, facts.now_ms),
            now: facts.now_ms,
            step_s: Some(grid.step_ms / 1_000),
            from: Some(grid.from_ms),
            to: Some(grid.to_ms),
            partial: left_out > 0,
            warnings,
            ..wire::Meta::default()
        },
        service: facts.service.to_owned(),
        env: facts.environment.to_owned(),
        namespaces: namespaces(facts.releases),
        pair: wire_pair(&pair, of(&pair.candidate)),
        headline: said,
        differences: found.into_iter().map(wire_difference).collect(),
        source: source.map(Source::as_str),
        approximate: source == Some(Source::Metrics),
        unversioned: lines.iter().any(|line| &*line.version == UNVERSIONED && line.requests() > 0),
        t: grid.starts(),
        lanes: lanes(&shown, &lines, kpi_columns, &grid),
        routes: routes(facts.routes, source, &shown),
        patterns: patterns.told.into_iter().map(wire_pattern).collect(),
        patterns_since: patterns.since_ms,
        kpis,
        usage: usage::versions(facts.usage, &shown),
        toggles: toggles::toggles(facts.toggles, facts.measures),
        events: shown_events,
    }
}

/// What was seen in the traffic and what was said, newest first.
fn all_events(seen: &[events::Event], facts: &Facts<'_>, grid: &Grid) -> Vec<wire::Event> {
    let place = (facts.service, facts.environment);
    let mut all = deploys::events(facts.markers, facts.verdicts, place, grid.from_ms..grid.to_ms);
    let of_traffic = seen.iter().rev().cloned();
    all.extend(of_traffic.map(|event| overview::wire_event(event, facts.service, facts.environment)));
    all.sort_by_key(|event| std::cmp::Reverse(event.t));
    all
}

/// What differs between baseline and candidate, KPIs last.
pub(crate) fn differing(
    (baseline, candidate): (&VersionLine, &VersionLine),
    all: &[VersionLine],
    of_kpis: &kpis::Facts<'_>,
    pair: &Pair,
    grid: &Grid,
) -> Vec<differences::Difference> {
    let mut found = differences::find(baseline, candidate, all, grid, pair.before_after);
    found.extend(kpis::moved(of_kpis, baseline, candidate, grid, pair.before_after));
    found
}

fn namespaces(releases: &[ReleaseRow]) -> Vec<String> {
    let names: BTreeSet<&str> =
        releases.iter().map(|row| &*row.release.namespace).filter(|name| !name.is_empty()).collect();
    names.into_iter().map(str::to_owned).collect()
}

pub(crate) fn wire_pair(pair: &Pair, candidate: Option<&VersionLine>) -> wire::Pair {
    let both = pair.candidate.is_some() && pair.baseline.is_some();
    wire::Pair {
        candidate: pair.candidate.as_deref().map(str::to_owned),
        baseline: pair.baseline.as_deref().map(str::to_owned),
        strategy: both.then_some(if pair.before_after { "single" } else { "canary" }),
        before_after: pair.before_after,
        since: candidate.and_then(|line| line.first_seen_ms),
    }
}

pub(crate) fn wire_difference(difference: differences::Difference) -> wire::Difference {
    wire::Difference {
        metric: difference.metric,
        key: difference.kpi.as_ref().map(|(key, _)| key.clone()),
        title: difference.kpi.map(|(_, title)| title),
        baseline: Some(round(difference.baseline)),
        candidate: Some(round(difference.candidate)),
        since: Some(difference.since_ms),
        since_before: difference.since_before,
        text: difference.text,
    }
}

fn wire_pattern(told: patterns::Told) -> wire::Pattern {
    wire::Pattern {
        id: told.id,
        ids: told.ids,
        class: told.class.as_str(),
        level: told.level.as_str(),
        text: told.text,
        count: told.counts.candidate,
        count_base: told.counts.baseline,
        rate_cand: round(told.rate_candidate),
        rate_base: round(told.rate_baseline),
        ratio: told.ratio.value.map(round),
        ratio_lo: round(told.ratio.low),
        ratio_hi: told.ratio.high.map(round),
        first: told.first_ms,
        sample: told.sample.to_string(),
    }
}

fn warnings_about(
    source: Option<Source>,
    left_out: usize,
    pair: &Pair,
    candidate: Option<&str>,
    baseline: Option<&str>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if source == Some(Source::Logs) {
        warnings.push(
            "log records stand in for requests; send server spans or HTTP metrics to see requests, errors and durations"
                .to_owned(),
        );
    }
    if left_out > 0 {
        warnings.push(format!("{left_out} more versions had traffic and are not shown"));
    }
    if pair.before_after {
        warnings.push("before/after comparison: weaker than two versions side by side".to_owned());
    }
    warnings.extend(warnings_about_pair(pair, candidate, baseline));
    warnings
}

/// What was asked for in the address and cannot be compared.
fn warnings_about_pair(pair: &Pair, candidate: Option<&str>, baseline: Option<&str>) -> Vec<String> {
    let of = |version: &Option<Arc<str>>| version.as_deref().unwrap_or("none").to_owned();
    if let Some(both) = candidate.filter(|_| candidate == baseline)
        && pair.candidate.as_deref() == Some(both)
    {
        let instead = match &pair.baseline {
            Some(other) => format!("it is compared with {other}"),
            None => "there is no other one to compare it with".to_owned(),
        };
        return vec![format!("cand and base are both {both}: a version cannot be compared with itself; {instead}")];
    }
    let mut warnings = Vec::new();
    for (argument, asked, chosen) in [("cand", candidate, &pair.candidate), ("base", baseline, &pair.baseline)] {
        if let Some(asked) = asked.filter(|asked| chosen.as_deref() != Some(asked)) {
            let what = if argument == "cand" { "candidate" } else { "baseline" };
            warnings.push(format!(
                "{argument}={asked}: this service has no version {asked}; the {what} is {} instead",
                of(chosen)
            ));
        }
    }
    warnings
}

/// The versions to show with their roles: baseline, candidate, then the others by traffic; and how many are left out.
pub(crate) fn shown_lines<'a>(
    lines: &'a [VersionLine],
    pair: &Pair,
    grid: &Grid,
) -> (Vec<(&'a VersionLine, Role)>, usize) {
    let arrived =
        |line: &VersionLine| line.first_seen_ms.is_some_and(|seen_ms| (grid.from_ms..grid.to_ms).contains(&seen_ms));
    let mut shown: Vec<(&VersionLine, Role)> = lines
        .iter()
        .map(|line| (line, pair::role_of(line, pair, grid)))
        .filter(|(line, role)| *role != Role::NoTraffic || arrived(line))
        .collect();
    shown.sort_by_key(|(line, role)| {
        let order = match role {
            Role::Baseline => 0,
            Role::Candidate => 1,
            Role::Other | Role::Retired => 2,
            Role::NoTraffic => 3,
        };
        (order, u64::MAX - line.requests())
    });
    let left_out = shown.len().saturating_sub(LANES_MAX);
    shown.truncate(LANES_MAX);
    (shown, left_out)
}

pub(crate) fn lanes(
    shown: &[(&VersionLine, Role)],
    all: &[VersionLine],
    mut kpis: kpis::ColumnsByVersion,
    grid: &Grid,
) -> Vec<wire::Lane> {
    let starts = grid.starts();
    let totals: Vec<u64> =
        (0..starts.len()).map(|window| all.iter().map(|line| line.cells[window].requests).sum()).collect();
    shown
        .iter()
        .map(|(line, role)| wire::Lane {
            version: line.version.to_string(),
            role: role.as_str(),
            instances: line.instances,
            first_seen: line.first_seen_ms,
            last_seen: line.last_seen_ms,
            requests: line.requests(),
            columns: wire::Columns {
                kpi: kpis.remove(&*line.version).unwrap_or_default(),
                ..columns(line, &totals, &starts, grid)
            },
        })
        .collect()
}

fn columns(line: &VersionLine, totals: &[u64], starts: &[i64], grid: &Grid) -> wire::Columns {
    let mut columns = wire::Columns::default();
    for (window, cell) in line.cells.iter().enumerate() {
        let elapsed_s = grid.elapsed_s(starts[window]);
        // Before a version was first seen it has no data; after that, no request is a true zero.
        let exists = cell.requests > 0
            || line.first_seen_ms.map_or(line.first_traffic().is_some_and(|first| window >= first), |seen_ms| {
                seen_ms < starts[window] + grid.step_ms
            });
        let has_rate = exists && elapsed_s * 1_000.0 >= ELAPSED_MIN * grid.step_ms as f64;
        columns.n.push(exists.then_some(cell.requests));
        columns.rps.push(has_rate.then(|| round(cell.requests as f64 / elapsed_s)));
        columns.share.push((exists && totals[window] > 0).then(|| round(cell.requests as f64 / totals[window] as f64)));
        columns.err.push(error_ratio(cell.requests, cell.errors).map(round));
        columns.p50.push(quantile_s(&cell.duration, 0.5));
        columns.p95.push(quantile_s(&cell.duration, 0.95));
        columns.p99.push(quantile_s(&cell.duration, 0.99));
    }
    columns
}

fn routes(series: &[HealthSeries], source: Option<Source>, shown: &[(&VersionLine, Role)]) -> Vec<wire::Route> {
    let mut cells: BTreeMap<&str, BTreeMap<&str, Cell>> = BTreeMap::new();
    for one in series.iter().filter(|one| Some(one.source) == source && !one.route.is_empty()) {
        let total = cells.entry(&one.route).or_default().entry(&one.release.version).or_default();
        for cell in &one.cells {
            total.add(&Cell {
                requests: cell.requests,
                errors: cell.errors,
                duration: cell.duration.clone(),
                slots: cell.slots,
            });
        }
    }
    let mut routes: Vec<wire::Route> =
        cells.into_iter().map(|(route, versions)| route_of(route, &versions, shown)).collect();
    routes.retain(|route| route.requests > 0);
    routes.sort_by(|a, b| (b.requests, &a.route).cmp(&(a.requests, &b.route)));
    routes.truncate(ROUTES_MAX);
    routes
}

fn route_of(route: &str, versions: &BTreeMap<&str, Cell>, shown: &[(&VersionLine, Role)]) -> wire::Route {
    let of_version = |(line, role): &(&VersionLine, Role)| {
        let cell = versions.get(&*line.version).filter(|cell| cell.requests > 0)?;
        Some(wire::RouteVersion {
            version: line.version.to_string(),
            role: role.as_str(),
            requests: cell.requests,
            err: error_ratio(cell.requests, cell.errors).map(round),
            p50: quantile_s(&cell.duration, 0.5),
            p95: quantile_s(&cell.duration, 0.95),
            p99: quantile_s(&cell.duration, 0.99),
        })
    };
    wire::Route {
        route: route.to_owned(),
        requests: versions.values().map(|cell| cell.requests).sum(),
        versions: shown.iter().filter_map(of_version).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_cannot_be_compared_is_said_in_words() {
        let pair = Pair { candidate: Some("2".into()), baseline: Some("1".into()), before_after: false };
        let said = |candidate: Option<&str>, baseline: Option<&str>| warnings_about_pair(&pair, candidate, baseline);
        assert!(said(None, None).is_empty() && said(Some("2"), Some("1")).is_empty());
        assert_eq!(
            said(Some("2"), Some("2")),
            ["cand and base are both 2: a version cannot be compared with itself; it is compared with 1"]
        );
        assert_eq!(
            said(Some("9"), Some("8")),
            [
                "cand=9: this service has no version 9; the candidate is 2 instead",
                "base=8: this service has no version 8; the baseline is 1 instead"
            ]
        );
        assert_eq!(said(Some("9"), Some("9")).len(), 2, "both are unknown");
        let alone = Pair { candidate: Some("2".into()), ..Pair::default() };
        assert!(
            warnings_about_pair(&alone, Some("2"), Some("2"))[0].ends_with("there is no other one to compare it with")
        );
    }
}
