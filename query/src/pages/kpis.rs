//! KPIs of a service by version: the lanes of its page, and the one number of its line on the overview. Pure.
//!
//! What is declared comes first, then the events that happen most, without any configuration: as events per 1 000 requests,
//! so that versions with different shares of the traffic can be compared.

use std::collections::BTreeMap;

use shipwake_model::kpi::{Better, Kpi, KpiSource, KpiValue, Per};
use shipwake_model::sketch::{Distinct, Exponential};
use shipwake_store::MeasureSeries;

use crate::pages::overview::round;
use crate::pages::wire;
use crate::release::differences::{self, Difference};
use crate::release::pair::Role;
use crate::release::timeline::{Cell as Requests, Grid, VersionLine};

/// KPIs that are shown.
const SHOWN_MAX: usize = 12;
/// Of these, events that nobody declared.
const UNDECLARED_MAX: usize = 6;
/// Requests of a version, and events of the baseline, from which on the overview speaks of a difference.
const REQUESTS_MIN: u64 = 100;
const EVENTS_MIN: u64 = 20;
/// KPIs that are told when they moved, in the order in which they are shown.
const MOVED_MAX: usize = 3;
/// Bars that show how values are distributed.
const BARS_MAX: usize = 32;
/// Length of the cells that events are counted in.
const CELL_MS: i64 = 10_000;
/// The name under which names beyond the bound of a service are counted.
const BEYOND: &str = "__other__";

/// One number a window, by version and then by key.
pub(crate) type ColumnsByVersion = BTreeMap<String, BTreeMap<String, Vec<Option<f64>>>>;

/// What is known of KPIs.
pub(crate) struct Facts<'a> {
    /// Declarations, in the order of their file.
    pub declared: &'a [Kpi],
    /// KPIs and usage of the service and environment.
    pub measures: &'a [MeasureSeries],
    pub service: &'a str,
    pub environment: &'a str,
}

/// How a KPI is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    value: KpiValue,
    per: Per,
}

/// What happened in one window of one version.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cell {
    count: u64,
    sum: f64,
}

/// A KPI on the grid.
struct Lane<'a> {
    key: &'a str,
    declared: Option<&'a Kpi>,
    unit: &'a str,
    form: Form,
    versions: Versions<'a>,
}

/// What happened by version.
type Versions<'a> = BTreeMap<&'a str, OfVersion>;

/// What happened in one version.
#[derive(Clone, Debug, Default)]
struct OfVersion {
    /// One cell a window.
    cells: Vec<Cell>,
    /// The single values of the whole range.
    values: Option<Exponential>,
}

/// The KPIs to show, and their columns: by version, then by key.
pub(crate) fn lanes(
    facts: &Facts<'_>,
    shown: &[(&VersionLine, Role)],
    grid: &Grid,
) -> (Vec<wire::Kpi>, ColumnsByVersion) {
    let windows = grid.starts().len();
    let found = chosen(facts, grid, windows);
    let usage = Usage::of(facts.measures, grid, windows);
    let mut columns = ColumnsByVersion::new();
    let mut kpis = Vec::with_capacity(found.len());
    for (place, lane) in found.iter().enumerate() {
        let tells = tells_values(lane, &found[..place]);
        let mut versions = Vec::new();
        for (line, role) in shown {
            let found = lane.versions.get(&*line.version);
            let cells = found.map(|found| &found.cells);
            let column = (0..windows).map(|window| {
                let together = windows_of_cell(window, windows, grid)?;
                let cells = cells.map(|cells| &cells[together.clone()]);
                value_of(cells, lane.form, &usage, line, together, grid)
            });
            columns.entry(line.version.to_string()).or_default().insert(lane.key.to_owned(), column.collect());
            versions.push(wire::KpiVersion {
                version: line.version.to_string(),
                role: role.as_str(),
                value: value_of(cells.map(Vec::as_slice), lane.form, &usage, line, 0..windows, grid),
                n: cells.map_or(0, |cells| cells.iter().map(|cell| cell.count).sum()),
                p50: found.filter(|_| tells).and_then(|found| found.quantile(0.5)),
                p95: found.filter(|_| tells).and_then(|found| found.quantile(0.95)),
            });
        }
        kpis.push(wire_kpi(lane, versions, values_of(lane, shown).filter(|_| tells)));
    }
    (kpis, columns)
}

/// The KPIs that moved, by the rule of [`differences::of_kpi`]: those that count records for each request.
pub(crate) fn moved(
    facts: &Facts<'_>,
    baseline: &VersionLine,
    candidate: &VersionLine,
    grid: &Grid,
    before_after: bool,
) -> Vec<Difference> {
    let cells = whole_cells(grid);
    let windows = cells.starts().len();
    let counted = |lane: &Lane<'_>| matches!(lane.form, Form { value: KpiValue::Count, per: Per::Request });
    chosen(facts, &cells, windows)
        .iter()
        .filter(|lane| counted(lane))
        .filter_map(|lane| {
            let side = |line: &VersionLine| with_records(line, lane.versions.get(&*line.version), grid, &cells);
            let (baseline, candidate) = (side(baseline), side(candidate));
            differences::of_kpi((lane.key, &title_of(lane)), &baseline, &candidate, &cells, before_after)
        })
        .take(MOVED_MAX)
        .collect()
}

/// The grid with windows no shorter than cells, which begins with a whole one.
fn whole_cells(grid: &Grid) -> Grid {
    let step_ms = grid.step_ms.max(CELL_MS);
    Grid { from_ms: -(-grid.from_ms).div_euclid(step_ms) * step_ms, step_ms, ..*grid }
}

/// A version on the grid of `cells`, with records in the place of errors.
fn with_records(line: &VersionLine, found: Option<&OfVersion>, grid: &Grid, cells: &Grid) -> VersionLine {
    let mut together = vec![Requests::default(); cells.starts().len()];
    for (cell, start_ms) in line.cells.iter().zip(grid.starts()) {
        if let Some(place) = cells.index(start_ms).and_then(|window| together.get_mut(window)) {
            place.requests += cell.requests;
        }
    }
    for (place, cell) in together.iter_mut().zip(found.map_or(&[][..], |found| &found.cells)) {
        place.errors = cell.count;
    }
    VersionLine { cells: together, ..line.clone() }
}

/// The number of the overview: the first declared KPI that can be compared, else the event that happens most. `windows` are
/// those that are compared, `moved` what differs between the two versions.
pub(crate) fn headline_kpi(
    facts: &Facts<'_>,
    baseline: &VersionLine,
    candidate: &VersionLine,
    grid: &Grid,
    windows: std::ops::Range<usize>,
    moved: &[Difference],
) -> Option<wire::OverviewKpi> {
    let all = grid.starts().len();
    let compared = chosen(facts, grid, all);
    let compared = compared.iter().filter(|lane| matches!(lane.form.per, Per::Request));
    let no_usage = Usage::default();
    for lane in compared {
        let side = |line: &VersionLine| {
            let cells = lane.versions.get(&*line.version).map(|found| &found.cells[windows.clone()]);
            let n: u64 = cells.map_or(0, |cells| cells.iter().map(|cell| cell.count).sum());
            let enough = line.total(windows.clone()).requests >= REQUESTS_MIN;
            (n, value_of(cells, lane.form, &no_usage, line, windows.clone(), grid).filter(|_| enough))
        };
        let ((events, before), (_, after)) = (side(baseline), side(candidate));
        let delta = before.zip(after).filter(|(before, _)| events >= EVENTS_MIN && *before > 0.0);
        if let Some((before, after)) = delta {
            return Some(wire::OverviewKpi {
                key: lane.key.to_owned(),
                title: title_of(lane),
                delta: round(after / before - 1.0),
                better: lane.declared.map(|kpi| kpi.better.as_str()),
                moved: moved.iter().filter_map(|one| one.kpi.as_ref()).any(|(key, _)| key == lane.key),
            });
        }
    }
    None
}

/// The KPIs that have data or are declared, declared ones first.
fn chosen<'a>(facts: &Facts<'a>, grid: &Grid, windows: usize) -> Vec<Lane<'a>> {
    let mut by_key: BTreeMap<&str, (&str, Versions<'a>)> = BTreeMap::new();
    for series in facts.measures.iter().filter(|series| series.key.signal == "kpi") {
        let (_, versions) = by_key.entry(&series.key.metric).or_insert_with(|| (&series.key.unit, BTreeMap::new()));
        let of_version = versions.entry(&series.key.release.version).or_default();
        of_version.cells.resize(windows, Cell::default());
        for found in &series.cells {
            if let Some(window) = grid.index(found.t_ms).filter(|window| *window < windows) {
                of_version.cells[window].count += found.count;
                of_version.cells[window].sum += found.sum;
                if let Some(values) = &found.values {
                    of_version.values.get_or_insert_with(Exponential::for_values).merge(values);
                }
            }
        }
    }
    let mut lanes = Vec::new();
    let concerned = facts.declared.iter().filter(|kpi| kpi.concerns(facts.service, facts.environment));
    for kpi in concerned {
        let found = by_key.remove(&*kpi.key);
        // One that is declared for all services is shown where it happens.
        if found.is_none() && kpi.service.is_none() {
            continue;
        }
        let versions = found.map(|(_, versions)| versions).unwrap_or_default();
        let form = Form { value: kpi.value, per: kpi.per };
        lanes.push(Lane { key: &kpi.key, declared: Some(kpi), unit: &kpi.unit, form, versions });
        if let KpiSource::Event(name) = &kpi.source {
            by_key.remove(name.as_str());
        }
    }
    let mut undeclared: Vec<Lane<'a>> = by_key
        .into_iter()
        .filter(|(key, _)| *key != BEYOND)
        .map(|(key, (unit, versions))| {
            let form = Form { value: KpiValue::Count, per: Per::Request };
            Lane { key, declared: None, unit, form, versions }
        })
        .collect();
    let events =
        |lane: &Lane<'_>| lane.versions.values().flat_map(|found| &found.cells).map(|cell| cell.count).sum::<u64>();
    undeclared.sort_by(|a, b| (events(b), a.key).cmp(&(events(a), b.key)));
    undeclared.truncate(UNDECLARED_MAX);
    lanes.extend(undeclared);
    lanes.truncate(SHOWN_MAX);
    lanes
}

/// The windows that share a cell with this one: cells are of ten seconds, and windows may be shorter. `None` where the cell
/// began before the grid.
fn windows_of_cell(window: usize, windows: usize, grid: &Grid) -> Option<std::ops::Range<usize>> {
    let cell_ms = grid.step_ms.max(CELL_MS);
    let start_ms = (grid.from_ms + window as i64 * grid.step_ms).div_euclid(cell_ms) * cell_ms;
    let first = if grid.step_ms < cell_ms { grid.index(start_ms)? } else { window };
    Some(first..(first + (cell_ms / grid.step_ms) as usize).min(windows))
}

/// Distinct users and sessions by version and window.
#[derive(Default)]
struct Usage<'a> {
    found: BTreeMap<(&'a str, &'a str), Vec<Option<&'a Distinct>>>,
}

impl<'a> Usage<'a> {
    fn of(measures: &'a [MeasureSeries], grid: &Grid, windows: usize) -> Self {
        let mut usage = Usage::default();
        for series in measures.iter().filter(|series| series.key.signal == "usage") {
            let key = (&*series.key.metric, &*series.key.release.version);
            let cells = usage.found.entry(key).or_insert_with(|| vec![None; windows]);
            for cell in &series.cells {
                if let Some(window) = grid.index(cell.t_ms).filter(|window| *window < windows) {
                    cells[window] = cell.distinct.as_ref();
                }
            }
        }
        usage
    }

    /// Distinct users or sessions, each once in every window: over a range that would be once in all of it, a version that runs
    /// for longer would have more to show for each, because they come back.
    fn count(&self, metric: &str, version: &str, windows: std::ops::Range<usize>) -> u64 {
        let Some(cells) = self.found.get(&(metric, version)) else { return 0 };
        cells[windows].iter().flatten().map(|distinct| distinct.count()).sum()
    }
}

/// The KPI of a version over some windows; `None` where it cannot be known: no data is not zero.
fn value_of(
    cells: Option<&[Cell]>,
    form: Form,
    usage: &Usage<'_>,
    line: &VersionLine,
    windows: std::ops::Range<usize>,
    grid: &Grid,
) -> Option<f64> {
    let count: u64 = cells.unwrap_or_default().iter().map(|cell| cell.count).sum();
    let sum: f64 = cells.unwrap_or_default().iter().map(|cell| cell.sum).sum();
    let total = match form.value {
        KpiValue::Count => count as f64,
        KpiValue::Sum => sum,
        KpiValue::Mean => return (count > 0).then(|| round(sum / count as f64)),
    };
    let divisor = match form.per {
        Per::Request => line.total(windows).requests as f64 / 1_000.0,
        Per::Session => usage.count("sessions", &line.version, windows) as f64,
        Per::User => usage.count("users", &line.version, windows) as f64,
        Per::None => {
            // While the version was there: neither before nor after that did nothing happen.
            let present = match (line.first_traffic(), line.last_traffic()) {
                (Some(first), Some(last)) => first.max(windows.start)..(last + 1).min(windows.end),
                _ if count > 0 => windows,
                _ => 0..0,
            };
            present.map(|window| grid.elapsed_s(grid.from_ms + window as i64 * grid.step_ms)).sum::<f64>()
        }
    };
    (divisor > 0.0).then(|| round(total / divisor))
}

/// Whether a KPI is one of values, and no KPI before it is of the same ones.
fn tells_values(lane: &Lane<'_>, before: &[Lane<'_>]) -> bool {
    let Some(kpi) = lane.declared else { return true };
    let is_same = |other: &&Kpi| other.value != KpiValue::Count && other.source == kpi.source;
    kpi.value != KpiValue::Count && !before.iter().filter_map(|lane| lane.declared).any(|other| is_same(&other))
}

impl OfVersion {
    /// Of the single values; 2.2 % wide of the truth at most.
    fn quantile(&self, q: f64) -> Option<f64> {
        self.values.as_ref().and_then(|values| values.quantile(q)).map(round)
    }
}

/// How the values of the versions are distributed, over common bars.
fn values_of(lane: &Lane<'_>, shown: &[(&VersionLine, Role)]) -> Option<wire::KpiValues> {
    let valued = |(line, role): &(&VersionLine, Role)| {
        let values = lane.versions.get(&*line.version)?.values.as_ref()?;
        (values.count > 0).then(|| (line.version.to_string(), role.as_str(), values))
    };
    let found: Vec<_> = shown.iter().filter_map(valued).collect();
    // Events that all are worth the same say no more than how many there are.
    let (low, high) = found.iter().fold((f64::MAX, f64::MIN), |(low, high), (.., values)| {
        (low.min(values.min.unwrap_or(low)), high.max(values.max.unwrap_or(high)))
    });
    if found.is_empty() || low >= high {
        return None;
    }
    let (bars, counts) = Exponential::bars(&found.iter().map(|(.., values)| *values).collect::<Vec<_>>(), BARS_MAX);
    let versions = found.into_iter().zip(counts).map(|((version, role, values), counts)| wire::KpiValuesOf {
        version,
        role,
        n: values.count,
        part: counts.into_iter().map(|count| round(count as f64 / values.count as f64)).collect(),
    });
    Some(wire::KpiValues {
        low: bars.iter().map(|(low, _)| round(*low)).collect(),
        high: bars.iter().map(|(_, high)| round(*high)).collect(),
        versions: versions.collect(),
    })
}

fn title_of(lane: &Lane<'_>) -> String {
    lane.declared.map_or_else(|| lane.key.to_owned(), |kpi| kpi.title.clone())
}

fn wire_kpi(lane: &Lane<'_>, versions: Vec<wire::KpiVersion>, values: Option<wire::KpiValues>) -> wire::Kpi {
    wire::Kpi {
        key: lane.key.to_owned(),
        title: title_of(lane),
        unit: lane.unit.to_owned(),
        value: lane.form.value.as_str(),
        per: lane.form.per.as_str(),
        better: lane.declared.map(|kpi| match kpi.better {
            Better::Higher => "higher",
            Better::Lower => "lower",
        }),
        declared: lane.declared.is_some(),
        versions,
        values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::testing::{grid, traffic};
    use shipwake_model::ReleaseId;
    use shipwake_store::{MeasureCell, MeasureKey};
    use std::sync::Arc;

    fn series(signal: &'static str, metric: &str, version: &str, cells: &[(i64, u64, f64)]) -> MeasureSeries {
        let release = ReleaseId {
            service: "shop".into(),
            namespace: "".into(),
            environment: "prod".into(),
            version: version.into(),
        };
        let key = MeasureKey {
            release: Arc::new(release),
            signal,
            metric: metric.into(),
            unit: "EUR".into(),
            attributes: Vec::new(),
        };
        let cell = |(t_ms, count, sum): &(i64, u64, f64)| {
            let mut distinct = Distinct::new();
            (0..*count).for_each(|n| distinct.insert(format!("{n}").as_bytes()));
            let distinct = (signal == "usage").then_some(distinct);
            MeasureCell { t_ms: *t_ms, count: *count, sum: *sum, distinct, values: None }
        };
        MeasureSeries { key: Arc::new(key), cells: cells.iter().map(cell).collect() }
    }

    fn kpi(key: &str, event: &str, value: KpiValue, per: Per) -> Kpi {
        Kpi {
            key: key.into(),
            title: format!("The {key}"),
            unit: "EUR".into(),
            source: KpiSource::Event(event.into()),
            value,
            service: Some("shop".into()),
            environment: None,
            better: Better::Higher,
            per,
        }
    }

    fn facts<'a>(declared: &'a [Kpi], measures: &'a [MeasureSeries]) -> Facts<'a> {
        Facts { declared, measures, service: "shop", environment: "prod" }
    }

    #[test]
    fn a_version_that_runs_longer_has_no_more_to_show_for_each() {
        let grid = grid(2);
        let (first, second) = (grid.from_ms, grid.from_ms + grid.step_ms);
        let (long, short) = (traffic("1", 0, &[100, 100]), traffic("2", 1, &[0, 100]));
        let both = |signal, metric, sum: f64| {
            [
                series(signal, metric, "1", &[(first, 10, sum), (second, 10, sum)]),
                series(signal, metric, "2", &[(second, 10, sum)]),
            ]
        };
        // The same ten sessions in both windows.
        let measures: Vec<MeasureSeries> =
            [both("kpi", "revenue", 50.0), both("kpi", "rate", 0.0), both("usage", "sessions", 0.0)].concat();
        let declared =
            [kpi("revenue", "order", KpiValue::Sum, Per::Session), kpi("rate", "order", KpiValue::Count, Per::None)];
        let shown = [(&long, Role::Baseline), (&short, Role::Candidate)];
        let (kpis, _) = lanes(&facts(&declared, &measures), &shown, &grid);
        for kpi in kpis {
            assert_eq!(kpi.versions[0].value, kpi.versions[1].value, "{}", kpi.key);
        }
    }

    #[test]
    fn a_kpi_is_divided_by_what_its_declaration_says() {
        let grid = grid(2);
        let line = traffic("1", 0, &[1_000, 500]);
        let measures = [
            series("kpi", "orders", "1", &[(grid.from_ms, 60, 2_400.0)]),
            series("kpi", "revenue", "1", &[(grid.from_ms, 60, 2_400.0), (grid.from_ms + grid.step_ms, 10, 100.0)]),
            series("kpi", "basket", "1", &[(grid.from_ms, 60, 2_400.0)]),
            series("kpi", "per_session", "1", &[(grid.from_ms, 60, 0.0)]),
            series("usage", "sessions", "1", &[(grid.from_ms, 30, 0.0)]),
        ];
        let declared = [
            kpi("orders", "order", KpiValue::Count, Per::Request),
            kpi("revenue", "order", KpiValue::Sum, Per::None),
            kpi("basket", "order", KpiValue::Mean, Per::None),
            kpi("per_session", "order", KpiValue::Count, Per::Session),
        ];
        let (kpis, columns) = lanes(&facts(&declared, &measures), &[(&line, Role::Baseline)], &grid);
        let of = |key: &str| columns["1"][key].clone();
        assert_eq!(of("orders"), [Some(60.0), Some(0.0)]);
        let step_s = grid.step_ms as f64 / 1_000.0;
        assert_eq!(of("revenue"), [Some(round(2_400.0 / step_s)), Some(round(100.0 / step_s))]);
        assert_eq!(of("basket"), [Some(40.0), None]);
        assert_eq!(of("per_session"), [Some(2.0), None], "a window without sessions has no KPI per session");
        assert_eq!(kpis[0].versions[0].value, Some(40.0), "60 of 1 500 requests");
        assert_eq!(
            kpis.iter().map(|kpi| kpi.key.as_str()).collect::<Vec<_>>(),
            ["orders", "revenue", "basket", "per_session"]
        );
    }

    #[test]
    fn values_are_told_by_version_over_common_bars() {
        let grid = grid(2);
        let (old, new) = (traffic("1", 0, &[100, 100]), traffic("2", 0, &[100, 100]));
        let of = |version: &str, values: &[f64]| {
            let mut found = series("kpi", "order", version, &[(grid.from_ms, values.len() as u64, 0.0)]);
            let mut recorded = Exponential::for_values();
            values.iter().for_each(|value| recorded.record(*value));
            found.cells[0].values = Some(recorded);
            found
        };
        let shown = [(&old, Role::Baseline), (&new, Role::Candidate)];
        let tens: Vec<f64> = (1..=100).map(f64::from).collect();
        let halved: Vec<f64> = tens.iter().map(|value| value / 2.0).collect();
        let (kpis, _) = lanes(&facts(&[], &[of("1", &tens), of("2", &halved)]), &shown, &grid);
        let medians: Vec<f64> = kpis[0].versions.iter().map(|version| version.p50.expect("values")).collect();
        assert!((medians[0] - 50.0).abs() < 2.3 && (medians[1] - 25.0).abs() < 1.2, "{medians:?}");
        let values = kpis[0].values.as_ref().expect("a distribution");
        assert!(values.low.len() == values.high.len() && values.low.len() <= BARS_MAX);
        for version in &values.versions {
            assert_eq!((version.n, version.part.len()), (100, values.low.len()));
            assert!((version.part.iter().sum::<f64>() - 1.0).abs() < 1e-4);
        }
        let (same, _) = lanes(&facts(&[], &[of("1", &[5.0; 9]), of("2", &[5.0; 9])]), &shown, &grid);
        assert_eq!((same[0].values.as_ref(), same[0].versions[0].p50), (None, Some(5.0)), "nothing to draw");
        // Of what counts orders, adds them up and averages them, one tells their values.
        let declared = [KpiValue::Count, KpiValue::Sum, KpiValue::Mean].map(|value| {
            let key = value.as_str();
            Kpi { key: key.into(), ..kpi(key, "order", value, Per::None) }
        });
        let measures: Vec<MeasureSeries> = ["count", "sum", "mean"]
            .map(|key| {
                let mut found = of("1", &tens);
                Arc::make_mut(&mut found.key).metric = key.into();
                found
            })
            .to_vec();
        let (kpis, _) = lanes(&facts(&declared, &measures), &shown, &grid);
        assert_eq!(kpis.iter().map(|kpi| kpi.values.is_some()).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn a_kpi_that_moved_is_told_with_its_beginning_and_noise_is_not() {
        let grid = grid(20);
        let (old, new) = (traffic("1", -9, &[900; 20]), traffic("2", 0, &[100; 20]));
        let at = |window: i64| grid.from_ms + window * grid.step_ms;
        let of = |each: fn(i64) -> u64| {
            let cells = |count: fn(i64) -> u64| (0..20).map(|n| (at(n), count(n), 0.0)).collect::<Vec<_>>();
            [series("kpi", "orders", "1", &cells(|_| 90)), series("kpi", "orders", "2", &cells(each))]
        };
        let declared = [kpi("orders", "order", KpiValue::Count, Per::Request)];
        let told = |measures: &[MeasureSeries]| -> Vec<String> {
            let moved = moved(&facts(&declared, measures), &old, &new, &grid, false);
            moved.into_iter().map(|difference| difference.text).collect()
        };
        let halved = of(|n| if n < 10 { 10 } else { 4 });
        assert_eq!(told(&halved), ["The orders per 1,000 requests 100 → 40.0 since 14:01:40 UTC"]);
        assert!(told(&of(|n| 9 + n as u64 % 3)).is_empty(), "10 each on average");
        assert!(told(&of(|_| 200)).is_empty(), "more than one a request is no part of the requests");
        let lost = [halved[0].clone()];
        assert_eq!(told(&lost), ["The orders per 1,000 requests 100 → 0 since 14:00:00 UTC"]);
        let mean = [kpi("orders", "order", KpiValue::Mean, Per::Request)];
        assert!(moved(&facts(&mean, &halved), &old, &new, &grid, false).is_empty(), "a mean has no such test");
    }

    #[test]
    fn windows_shorter_than_a_cell_show_the_cell_that_they_are_part_of() {
        let from_ms = grid(1).from_ms + 5_000;
        let grid = Grid { from_ms, to_ms: from_ms + 18_000, step_ms: 1_000, watermark_ms: from_ms + 18_000 };
        let line = traffic("1", 0, &[100; 18]);
        let cell_ms = from_ms + 5_000;
        let measures =
            [series("kpi", "order", "1", &[(from_ms - 5_000, 7, 0.0), (cell_ms, 50, 0.0), (cell_ms + 10_000, 9, 0.0)])];
        let (_, columns) = lanes(&facts(&[], &measures), &[(&line, Role::Other)], &grid);
        let expected: Vec<Option<f64>> = [None; 5].into_iter().chain([Some(50.0); 10]).chain([Some(30.0); 3]).collect();
        assert_eq!(columns["1"]["order"], expected);
    }

    #[test]
    fn events_are_shown_without_configuration_and_not_beside_their_declaration() {
        let grid = grid(1);
        let line = traffic("1", 0, &[1_000]);
        let measures = [
            series("kpi", "signup", "1", &[(grid.from_ms, 5, 0.0)]),
            series("kpi", "order", "1", &[(grid.from_ms, 50, 0.0)]),
            series("kpi", "orders", "1", &[(grid.from_ms, 50, 0.0)]),
            series("kpi", "__other__", "1", &[(grid.from_ms, 500, 0.0)]),
        ];
        let declared =
            [kpi("orders", "order", KpiValue::Count, Per::Request), kpi("never", "x", KpiValue::Count, Per::Request)];
        let keys = |declared: &[Kpi]| -> Vec<(String, bool)> {
            let (kpis, _) = lanes(&facts(declared, &measures), &[(&line, Role::Other)], &grid);
            kpis.into_iter().map(|kpi| (kpi.key, kpi.declared)).collect()
        };
        let owned = |found: &[(&str, bool)]| {
            found.iter().map(|(key, declared)| ((*key).to_owned(), *declared)).collect::<Vec<_>>()
        };
        assert_eq!(keys(&declared), owned(&[("orders", true), ("never", true), ("signup", false)]));
        assert_eq!(keys(&[]), owned(&[("order", false), ("orders", false), ("signup", false)]));
    }

    #[test]
    fn the_overview_speaks_of_a_kpi_only_with_enough_on_both_sides() {
        let grid = grid(1);
        let (old, new) = (traffic("1", 0, &[1_000]), traffic("2", 0, &[200]));
        let declared = [kpi("orders", "order", KpiValue::Count, Per::Request)];
        let of = |before: u64, after: u64, new: &VersionLine| {
            let measures = [
                series("kpi", "orders", "1", &[(grid.from_ms, before, 0.0)]),
                series("kpi", "orders", "2", &[(grid.from_ms, after, 0.0)]),
            ];
            headline_kpi(&facts(&declared, &measures), &old, new, &grid, 0..1, &[]).map(|found| found.delta)
        };
        assert_eq!(of(50, 8, &new), Some(-0.2));
        assert_eq!(of(50, 0, &new), Some(-1.0));
        assert_eq!(of(19, 8, &new), None);
        assert_eq!(of(50, 8, &traffic("2", 0, &[99])), None);
    }
}
