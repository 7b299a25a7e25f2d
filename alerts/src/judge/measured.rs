//! What customers do and what instances log, as evidence: sessions and declared KPIs window by window, values and log patterns minute by
//! minute.

use std::collections::BTreeMap;

use shipwake_model::kpi::{Kpi, KpiValue, Per};
use shipwake_model::pattern::Level;
use shipwake_store::{HealthSeries, MeasureSeries, PatternQuery, PatternVersion};
use shipwake_verdict::{Comparison, Counts, PatternLines, Side, Tally};

use super::case::Case;
use super::windows::Windows;

/// Lines of a slot in a minute are taken for so many bursts: those of one failing call come together, those of a minute do not.
const BURSTS: u64 = 3;

/// Numbers by window, of candidate and baseline.
type Sides = BTreeMap<i64, [u64; 2]>;

/// Which side a version is.
fn side_of(case: &Case, version: &str) -> Option<usize> {
    if version == &*case.release.version {
        Some(0)
    } else if Some(version) == case.release.baseline.as_deref() {
        Some(1)
    } else {
        None
    }
}

fn requests_of(case: &Case, requests: &[HealthSeries], step_s: i64) -> Sides {
    let mut sides = Sides::new();
    for one in requests.iter().filter(|one| one.source == case.source && one.release.namespace == case.id.namespace) {
        let Some(side) = side_of(case, &one.release.version) else { continue };
        for cell in &one.cells {
            let start_s = cell.t_ms.div_euclid(1_000 * step_s) * step_s;
            sides.entry(start_s).or_default()[side] += cell.requests;
        }
    }
    sides
}

fn measured(
    case: &Case,
    found: &[MeasureSeries],
    signal: &str,
    metric: &str,
    of: impl Fn(&shipwake_store::MeasureCell) -> u64,
) -> Sides {
    let mut sides = Sides::new();
    for one in found.iter().filter(|one| one.key.signal == signal && &*one.key.metric == metric) {
        let is_ours = one.key.release.namespace == case.id.namespace;
        let Some(side) = side_of(case, &one.key.release.version).filter(|_| is_ours) else { continue };
        for cell in &one.cells {
            sides.entry(cell.t_ms.div_euclid(1_000)).or_default()[side] += of(cell);
        }
    }
    sides
}

fn distinct(cell: &shipwake_store::MeasureCell) -> u64 {
    cell.distinct.as_ref().map_or(cell.count, |distinct| distinct.count())
}

/// Raises the counts of crashed sessions and of declared events.
pub(crate) fn feed_counts(case: &mut Case, found: &[MeasureSeries], requests: &[HealthSeries], kpis: &[Kpi]) {
    let sessions = measured(case, found, "usage", "sessions", distinct);
    let requests = requests_of(case, requests, 10);
    let crashed = measured(case, found, "usage", "crashed_sessions", distinct);
    raise(case, "crashes", &crashed, &sessions);
    for kpi in kpis.iter().filter(|kpi| kpi.value == KpiValue::Count) {
        let events = measured(case, found, "kpi", &kpi.key, |cell| cell.count);
        raise(case, &format!("kpi.{}", kpi.key), &events, if kpi.per == Per::Session { &sessions } else { &requests });
    }
}

fn raise(case: &mut Case, id: &str, events: &Sides, exposure: &Sides) {
    let Some(check) = case.main.check(id) else { return };
    let whole = case.main.comparison.stratum("");
    for (start_s, exposure) in exposure {
        let events = events.get(start_s).copied().unwrap_or_default();
        let tally = |side: usize| Tally::new(events[side], exposure[side]);
        case.main.comparison.raise(check, 0, whole, *start_s, Counts::new(tally(0), tally(1)));
    }
}

/// Feeds the sums of declared values.
pub(crate) fn feed_values(case: &mut Case, found: &[MeasureSeries], requests: &[HealthSeries], kpis: &[Kpi]) {
    let sessions = measured(case, found, "usage", "sessions", distinct);
    let requests = requests_of(case, requests, 10);
    for kpi in kpis.iter().filter(|kpi| kpi.value != KpiValue::Count) {
        let Some(check) = case.main.check(&format!("kpi.{}", kpi.key)) else { continue };
        let counts = measured(case, found, "kpi", &kpi.key, |cell| cell.count);
        let exposure = match (kpi.value, kpi.per) {
            (KpiValue::Mean, _) => &counts,
            (_, Per::Session) => &sessions,
            _ => &requests,
        };
        let mut sums: BTreeMap<i64, [f64; 2]> = BTreeMap::new();
        for one in found.iter().filter(|one| one.key.signal == "kpi" && one.key.metric == kpi.key) {
            let is_ours = one.key.release.namespace == case.id.namespace;
            let Some(side) = side_of(case, &one.key.release.version).filter(|_| is_ours) else { continue };
            for cell in &one.cells {
                sums.entry(cell.t_ms.div_euclid(1_000)).or_default()[side] += cell.sum;
            }
        }
        for (start_s, exposure) in exposure {
            let sums = sums.get(start_s).copied().unwrap_or_default();
            for (place, side) in [Side::Candidate, Side::Baseline].into_iter().enumerate() {
                if exposure[place] > 0 {
                    case.main.comparison.add_values(check, *start_s, side, sums[place], exposure[place]);
                }
            }
        }
    }
}

/// Feeds the lines of patterns of level warning and worse, of the minutes `from_s..over_s`.
pub(crate) fn feed_patterns(
    case: &mut Case,
    windows: &dyn Windows,
    requests: &[HealthSeries],
    from_s: i64,
    over_s: i64,
) {
    let Some(check) = case.main.check("patterns") else { return };
    let put = |comparison: &mut Comparison, lines: PatternLines<'_>| comparison.add_pattern(check, lines);
    lines_of_patterns(case, windows, requests, from_s..over_s, put);
}

/// The same of minutes that are not over, which are read again as they grow: they are named and do not weigh yet.
pub(crate) fn show_patterns(case: &mut Case, windows: &dyn Windows, requests: &[HealthSeries], from_s: i64, to_s: i64) {
    let Some(check) = case.main.check("patterns") else { return };
    case.main.comparison.forget_growing_patterns(check);
    let put = |comparison: &mut Comparison, lines: PatternLines<'_>| comparison.show_pattern(check, lines);
    lines_of_patterns(case, windows, requests, from_s..to_s, put);
}

/// Gives every burst of every pattern of level warning and worse to `put`.
fn lines_of_patterns(
    case: &mut Case,
    windows: &dyn Windows,
    requests: &[HealthSeries],
    range_s: std::ops::Range<i64>,
    put: impl Fn(&mut Comparison, PatternLines<'_>),
) {
    let exposure = requests_of(case, requests, 60);
    let rows = windows.patterns(&PatternQuery {
        service: Some(case.id.service.to_string()),
        environment: Some(case.id.environment.to_string()),
        from_ms: range_s.start * 1_000,
        to_ms: range_s.end * 1_000,
    });
    let opened_ns = case.release.opened_s.saturating_mul(1_000_000_000);
    // All that the shards know of is read every minute: what they have forgotten is forgotten here.
    let mut levels = BTreeMap::new();
    for row in rows.iter().filter(|row| row.namespace == case.id.namespace) {
        let of = |version: &str| row.versions.iter().find(|of| &*of.version == version);
        let (candidate, baseline) = (of(&case.release.version), case.release.baseline.as_deref().and_then(of));
        let is_bad = |of: Option<&PatternVersion>| of.is_some_and(|of| of.level >= Level::Warn);
        if !is_bad(candidate) && !is_bad(baseline) {
            continue;
        }
        let worst = [candidate, baseline].into_iter().flatten().map(|of| of.level).max();
        levels.extend(worst.map(|level| (row.id, level)));
        let is_older = |of: &PatternVersion| of.version != case.release.version && of.first_seen_ns < opened_ns;
        let known = row.versions.iter().any(is_older);
        for (start_s, exposure) in exposure.range(range_s.clone()) {
            let bursts = [candidate, baseline].map(|of| of.map_or(Vec::new(), |of| bursts(of, *start_s)));
            for at in 0..bursts[0].len().max(bursts[1].len()) {
                let lines = |side: usize| bursts[side].get(at).map_or(0, |(_, lines)| *lines);
                let tally = |side: usize| Tally::new(lines(side), exposure[side]);
                let slot = bursts[0].get(at).map_or(0, |(slot, _)| *slot);
                let counts = Counts::new(tally(0), tally(1));
                let lines = PatternLines { id: row.id, template: &row.template, known, slot, counts };
                put(&mut case.main.comparison, lines);
            }
        }
    }
    case.levels = levels;
}

/// The lines of a minute in bursts, each with its slot.
fn bursts(of: &PatternVersion, start_s: i64) -> Vec<(u8, u64)> {
    let Some(cell) = of.cells.iter().find(|cell| cell.t_ms == start_s * 1_000) else { return Vec::new() };
    let slots: Vec<u8> = (0..8).filter(|slot| cell.slots & (1 << slot) != 0).collect();
    let many = (slots.len().max(1) as u64 * BURSTS).min(cell.count);
    let burst = |at: u64| {
        let lines = cell.count * (at + 1) / many - cell.count * at / many;
        (slots.get(at as usize % slots.len().max(1)).copied().unwrap_or(0), lines)
    };
    (0..many).map(burst).collect()
}

#[cfg(test)]
mod tests {
    use shipwake_store::PatternCell;

    use super::*;

    #[test]
    fn bursts_have_all_lines_and_all_slots() {
        let of = |count: u64, slots: u8| PatternVersion {
            version: "2".into(),
            level: Level::Error,
            first_seen_ns: 0,
            last_seen_ns: 0,
            count,
            cells: vec![PatternCell { t_ms: 60_000, count, slots }],
        };
        for (count, slots, many) in [(1, 1, 1), (2, 0b11, 2), (100, 0b1010, 6), (7, 0, 3)] {
            let found = bursts(&of(count, slots), 60);
            assert_eq!((found.len(), found.iter().map(|(_, lines)| lines).sum::<u64>()), (many, count));
            assert!(found.iter().all(|(slot, _)| slots == 0 || slots & (1 << slot) != 0));
        }
        assert!(bursts(&of(5, 1), 120).is_empty());
    }
}
