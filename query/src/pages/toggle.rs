//! One toggle of a service: its variants beside each other, as if they were versions. Pure.
//!
//! A variant is compared with another by the rules for versions: error ratio and durations of the requests whose spans tell
//! of the variant, while the toggle is hot. Where only evaluations are known, shares are all that can be shown.

use std::collections::{BTreeMap, BTreeSet};

use shipwake_model::sketch::HdrCells;
use shipwake_store::{MeasureSeries, ToggleRow};

use crate::pages::overview::round;
use crate::pages::toggles::{attribute, of_toggle, toggle};
use crate::pages::{freshness, kpis, service, wire};
use crate::release::differences::{self, percent_text};
use crate::release::pair;
use crate::release::timeline::{Cell, Grid, VersionLine, error_ratio, quantile_s};
use crate::release::{events, headline};

/// Reasons that are listed.
const REASONS_MAX: usize = 20;
/// Variants with versions that are listed.
const CELLS_MAX: usize = 60;
/// The part of a variant's evaluations from which on it counts as chosen by rules.
const CHOSEN_MIN: f64 = 0.5;
/// OpenFeature's word for a variant that a rule about the customer chose.
const BY_RULE: &str = "targeting_match";

/// What the answer is made of. Rows and measures are of this service and environment; `rows` of this toggle only.
pub(crate) struct Facts<'a> {
    pub service: &'a str,
    pub environment: &'a str,
    pub key: &'a str,
    /// Only what this version did.
    pub version: Option<&'a str>,
    /// No release of the service has that version.
    pub version_is_unknown: bool,
    pub rows: &'a [ToggleRow],
    pub measures: &'a [MeasureSeries],
    pub grid: Grid,
    pub watermark_ms: Option<i64>,
    pub now_ms: i64,
    pub candidate: Option<&'a str>,
    pub baseline: Option<&'a str>,
    pub warnings: Vec<String>,
}

/// The answer.
pub(crate) fn answer(facts: Facts<'_>) -> wire::ToggleDetail {
    let grid = facts.grid;
    let concerned = |version: &str| facts.version.is_none_or(|wanted| wanted == version);
    let rows: Vec<&ToggleRow> = facts.rows.iter().filter(|row| concerned(&row.release.version)).collect();
    let measures: Vec<MeasureSeries> =
        facts.measures.iter().filter(|series| concerned(&series.key.release.version)).cloned().collect();
    let requests = lines(&rows, &measures, facts.key, &grid, Counting::Requests);
    let known = requests.iter().any(|line| line.requests() > 0);
    let lines = if known { requests } else { lines(&rows, &measures, facts.key, &grid, Counting::Evaluations) };
    let pair = pair::choose(&lines, &grid, facts.candidate, facts.baseline);
    let of = |variant: &Option<_>| lines.iter().find(|line| Some(&line.version) == variant.as_ref());
    let found = match (of(&pair.baseline), of(&pair.candidate)) {
        // What a variant does to the throughput of the service cannot be told: it came with nobody's first request.
        (Some(baseline), Some(candidate)) if known => {
            let mut found = differences::find(baseline, candidate, &lines, &grid, pair.before_after);
            found.retain(|difference| difference.metric != "throughput");
            found
        }
        _ => Vec::new(),
    };
    let events = events::find(&lines, &grid);
    let (lines_of, differences) = (&lines, &found);
    let about =
        headline::Facts { lines: lines_of, pair: &pair, differences, events: &events, grid: &grid, source: None };
    let said = match known {
        _ if facts.version_is_unknown => format!("this service has no version {}", facts.version.unwrap_or_default()),
        true => headline::headline(&about),
        false => shares_in_words(&lines),
    };
    let shown = toggle(facts.key, &rows, &measures);
    let reasons = reasons(&measures, facts.key);
    let mut warnings = facts.warnings;
    warnings.extend(chosen_by_rule(&reasons));
    let unknown = facts.version.filter(|_| facts.version_is_unknown);
    warnings.extend(unknown.map(|version| format!("version={version}: this service has no version {version}")));
    let (lanes_shown, _) = service::shown_lines(&lines, &pair, &grid);
    let candidate = of(&pair.candidate);
    wire::ToggleDetail {
        meta: wire::Meta {
            wm: facts.watermark_ms,
            lag_ms: freshness::lag_ms(facts.watermark_ms, facts.now_ms),
            now: facts.now_ms,
            step_s: Some(grid.step_ms / 1_000),
            from: Some(grid.from_ms),
            to: Some(grid.to_ms),
            warnings,
            ..wire::Meta::default()
        },
        service: facts.service.to_owned(),
        env: facts.environment.to_owned(),
        key: facts.key.to_owned(),
        hot: shown.hot,
        changed: shown.changed,
        version: facts.version.map(str::to_owned),
        versions: versions(facts.rows),
        pair: service::wire_pair(&pair, candidate),
        headline: said,
        differences: found.into_iter().map(service::wire_difference).collect(),
        source: source_of(&lines, known),
        t: grid.starts(),
        lanes: service::lanes(&lanes_shown, &lines, kpis::ColumnsByVersion::new(), &grid),
        variants: shown.variants,
        cells: cells(facts.measures, facts.key),
        reasons,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    Requests,
    Evaluations,
}

/// The variants on the grid, in the order in which they were first served.
fn lines(
    rows: &[&ToggleRow],
    measures: &[MeasureSeries],
    key: &str,
    grid: &Grid,
    counting: Counting,
) -> Vec<VersionLine> {
    let windows = grid.starts().len();
    let mut lines: BTreeMap<&str, VersionLine> = BTreeMap::new();
    let empty = |variant: &str| VersionLine {
        version: variant.into(),
        first_seen_ms: None,
        last_seen_ms: None,
        instances: None,
        cells: vec![Cell::default(); windows],
    };
    for row in rows {
        let line = lines.entry(&row.variant).or_insert_with(|| empty(&row.variant));
        let (first, last) = (row.first_seen_ns.div_euclid(1_000_000), row.last_seen_ns.div_euclid(1_000_000));
        line.first_seen_ms = Some(line.first_seen_ms.map_or(first, |seen| seen.min(first)));
        line.last_seen_ms = Some(line.last_seen_ms.map_or(last, |seen| seen.max(last)));
    }
    for (variant, series) in of_toggle(measures, key) {
        let line = lines.entry(variant).or_insert_with(|| empty(variant));
        for found in &series.cells {
            let Some(cell) = grid.index(found.t_ms).and_then(|window| line.cells.get_mut(window)) else { continue };
            match (&*series.key.unit, counting) {
                ("requests", Counting::Requests) | ("evaluations", Counting::Evaluations) => {
                    cell.requests += found.count;
                }
                ("errors", Counting::Requests) => cell.errors += found.count,
                ("s", Counting::Requests) => {
                    let durations = found.values.as_ref().map(|values| values.to_hdr(1e6));
                    cell.duration.merge(&durations.unwrap_or_default());
                }
                _ => {}
            }
        }
    }
    let mut lines: Vec<VersionLine> = lines.into_values().collect();
    lines.sort_by_key(|line| (line.first_seen_ms, line.version.clone()));
    lines
}

fn source_of(lines: &[VersionLine], known: bool) -> Option<&'static str> {
    let any = lines.iter().any(|line| line.requests() > 0);
    any.then_some(if known { "toggled_requests" } else { "evaluations" })
}

/// `on 25.0 %, off 75.0 % of the evaluations; …`
fn shares_in_words(lines: &[VersionLine]) -> String {
    let total: u64 = lines.iter().map(VersionLine::requests).sum();
    if total == 0 {
        return "no evaluation in this range is kept by time: windows of a toggle begin when it is hot".to_owned();
    }
    let mut served: Vec<&VersionLine> = lines.iter().filter(|line| line.requests() > 0).collect();
    served.sort_by_key(|line| std::cmp::Reverse(line.requests()));
    let share =
        |line: &&VersionLine| format!("{} {}", line.version, percent_text(line.requests() as f64 / total as f64));
    let shares: Vec<String> = served.iter().map(share).collect();
    format!(
        "{} of the evaluations; no request tells of its variant: put the evaluation on the request's span to compare them",
        shares.join(", ")
    )
}

fn versions(rows: &[ToggleRow]) -> Vec<String> {
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    for row in rows {
        let last = newest.entry(&row.release.version).or_insert(row.last_seen_ns);
        *last = row.last_seen_ns.max(*last);
    }
    let mut versions: Vec<(&str, i64)> = newest.into_iter().collect();
    versions.sort_by_key(|(version, last)| (std::cmp::Reverse(*last), *version));
    versions.into_iter().map(|(version, _)| version.to_owned()).collect()
}

/// Every variant with every version: is it the toggle or the version?
fn cells(measures: &[MeasureSeries], key: &str) -> Vec<wire::ToggleCell> {
    #[derive(Default)]
    struct Sum {
        evaluations: u64,
        requests: u64,
        errors: u64,
        durations: HdrCells,
    }
    let mut sums: BTreeMap<(&str, &str), Sum> = BTreeMap::new();
    for (variant, series) in of_toggle(measures, key) {
        let sum = sums.entry((&series.key.release.version, variant)).or_default();
        let count: u64 = series.cells.iter().map(|cell| cell.count).sum();
        match &*series.key.unit {
            "evaluations" => sum.evaluations += count,
            "requests" => sum.requests += count,
            "errors" => sum.errors += count,
            "s" => {
                let values = series.cells.iter().filter_map(|cell| cell.values.as_ref());
                values.for_each(|values| sum.durations.merge(&values.to_hdr(1e6)));
            }
            _ => {}
        }
    }
    let cell = |((version, variant), sum): ((&str, &str), Sum)| wire::ToggleCell {
        variant: variant.to_owned(),
        version: version.to_owned(),
        evaluations: sum.evaluations,
        requests: sum.requests,
        err: error_ratio(sum.requests, sum.errors).map(round),
        p50: quantile_s(&sum.durations, 0.5),
        p95: quantile_s(&sum.durations, 0.95),
    };
    sums.into_iter().map(cell).take(CELLS_MAX).collect()
}

fn reasons(measures: &[MeasureSeries], key: &str) -> Vec<wire::ToggleReason> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (variant, series) in of_toggle(measures, key).filter(|(_, series)| &*series.key.unit == "evaluations") {
        let count: u64 = series.cells.iter().map(|cell| cell.count).sum();
        *counts.entry((variant, attribute(series, "reason").unwrap_or(""))).or_insert(0) += count;
    }
    let mut found: Vec<wire::ToggleReason> = counts
        .into_iter()
        .filter(|(_, evaluations)| *evaluations > 0)
        .map(|((variant, reason), evaluations)| wire::ToggleReason {
            variant: variant.to_owned(),
            reason: reason.to_lowercase(),
            evaluations,
        })
        .collect();
    found.sort_by_key(|reason| std::cmp::Reverse(reason.evaluations));
    found.truncate(REASONS_MAX);
    found
}

/// Who gets a variant by a rule may differ from who gets the other, whatever the variant does.
fn chosen_by_rule(reasons: &[wire::ToggleReason]) -> Option<String> {
    let variants: BTreeSet<&str> = reasons.iter().map(|reason| reason.variant.as_str()).collect();
    let is_chosen = |variant: &&str| {
        let of = |wanted: Option<&str>| -> u64 {
            let counted = reasons.iter().filter(|reason| reason.variant == **variant);
            counted
                .filter(|reason| wanted.is_none_or(|wanted| reason.reason == wanted))
                .map(|reason| reason.evaluations)
                .sum()
        };
        of(Some(BY_RULE)) as f64 > CHOSEN_MIN * of(None) as f64
    };
    let chosen: Vec<&str> = variants.into_iter().filter(|variant| is_chosen(variant)).collect();
    (!chosen.is_empty()).then(|| {
        format!(
            "{} served by a rule (targeting_match) and not by chance: customers with it may differ from the others",
            if chosen.len() == 1 { format!("{} is", chosen[0]) } else { format!("{} are", chosen.join(" and ")) }
        )
    })
}

#[cfg(test)]
mod tests;
