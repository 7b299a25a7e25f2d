//! Toggles made of a few windows, and what is said of them.

use std::sync::Arc;

use super::*;
use crate::release::testing::{T0, grid};
use shipwake_model::ReleaseId;
use shipwake_model::sketch::Exponential;
use shipwake_store::{MeasureCell, MeasureKey};

fn release(version: &str) -> Arc<ReleaseId> {
    let [service, namespace, environment] = ["shop", "", "prod"].map(Into::into);
    Arc::new(ReleaseId { service, namespace, environment, version: version.into() })
}

fn row(variant: &str, version: &str) -> ToggleRow {
    ToggleRow {
        release: release(version),
        key: "pay".into(),
        variant: variant.into(),
        evaluations: 5_000,
        recent: 500,
        first_seen_ns: T0 * 1_000_000 - 3_600_000_000_000,
        last_seen_ns: T0 * 1_000_000,
        changed_ns: T0 * 1_000_000,
        hot: true,
    }
}

/// A count in every window; of durations each value.
fn series(version: &str, variant: &str, unit: &str, each: u64, value_s: Option<f64>) -> MeasureSeries {
    let mut attributes = vec![("variant".to_owned(), variant.to_owned())];
    if unit == "evaluations" {
        attributes.push(("reason".to_owned(), "SPLIT".to_owned()));
    }
    let key =
        MeasureKey { release: release(version), signal: "toggle", metric: "pay".into(), unit: unit.into(), attributes };
    let values = value_s.map(|value| {
        let mut values = Exponential::for_values();
        (0..each).for_each(|n| values.record(value * (1.0 + n as f64 / each as f64)));
        values
    });
    let cell =
        |n: i64| MeasureCell { t_ms: T0 + n * 10_000, count: each, sum: 0.0, distinct: None, values: values.clone() };
    MeasureSeries { key: Arc::new(key), cells: (0..12).map(cell).collect() }
}

fn of_variant(version: &str, variant: &str, requests: u64, errors: u64, value_s: f64) -> Vec<MeasureSeries> {
    vec![
        series(version, variant, "evaluations", requests * 2, None),
        series(version, variant, "requests", requests, None),
        series(version, variant, "errors", errors, None),
        series(version, variant, "s", requests, Some(value_s)),
    ]
}

fn ask(measures: &[MeasureSeries], version: Option<&str>) -> wire::ToggleDetail {
    let rows = [row("off", "1"), row("on", "1"), row("on", "2"), row("off", "2")];
    answer(Facts {
        service: "shop",
        environment: "prod",
        key: "pay",
        version,
        version_is_unknown: version.is_some_and(|asked| rows.iter().all(|row| &*row.release.version != asked)),
        rows: &rows,
        measures,
        grid: grid(12),
        watermark_ms: Some(T0 + 120_000),
        now_ms: T0 + 120_000,
        candidate: None,
        baseline: None,
        warnings: Vec::new(),
    })
}

#[test]
fn a_variant_that_fails_is_told_as_a_version_is_and_the_matrix_says_that_it_is_the_toggle() {
    let measures = [
        of_variant("1", "off", 300, 1, 0.050),
        of_variant("1", "on", 100, 20, 0.050),
        of_variant("2", "off", 60, 0, 0.050),
        of_variant("2", "on", 20, 4, 0.050),
    ]
    .concat();
    let found = ask(&measures, None);
    assert_eq!(found.headline, "on differs from off: error ratio 0.3 % → 20.0 % since before 14:00:00 UTC");
    assert_eq!(found.source, Some("toggled_requests"));
    let cell = |version: &str, variant: &str| {
        let of = |cell: &&wire::ToggleCell| cell.version == version && cell.variant == variant;
        found.cells.iter().find(of).map(|cell| (cell.requests, cell.err, cell.p50.map(|p50| (p50 * 100.0).round())))
    };
    assert_eq!(cell("1", "on"), Some((1_200, Some(0.2), Some(7.0))));
    assert_eq!(cell("2", "on"), Some((240, Some(0.2), Some(7.0))));
    assert_eq!(cell("2", "off"), Some((720, Some(0.0), Some(7.0))));
    assert_eq!(found.versions, ["1", "2"]);
    assert!(found.meta.warnings.is_empty(), "a split is by chance: {:?}", found.meta.warnings);
}

#[test]
fn one_version_can_be_looked_at_alone() {
    let measures = [of_variant("1", "off", 300, 0, 0.05), of_variant("2", "on", 20, 10, 0.05)].concat();
    let found = ask(&measures, Some("2"));
    assert_eq!(found.headline, "on takes all traffic");
    assert_eq!(found.variants.iter().map(|variant| variant.requests).collect::<Vec<_>>(), [240, 0]);
    assert_eq!(found.cells.len(), 2, "the matrix is of all versions");
}

#[test]
fn slower_requests_of_a_variant_are_told() {
    let measures = [of_variant("1", "off", 300, 0, 0.05), of_variant("1", "on", 100, 0, 0.1)].concat();
    let found = ask(&measures, None);
    assert!(found.headline.starts_with("on differs from off: p50 "), "{}", found.headline);
    assert!(found.differences.iter().any(|difference| difference.metric == "p95"));
}

#[test]
fn evaluations_without_requests_have_shares_and_the_page_says_what_would_give_more() {
    let mut measures = vec![series("1", "off", "evaluations", 75, None), series("1", "on", "evaluations", 25, None)];
    let found = ask(&measures, None);
    assert!(found.headline.starts_with("off 75.0 %, on 25.0 % of the evaluations; no request"), "{}", found.headline);
    assert_eq!((found.source, found.lanes.len()), (Some("evaluations"), 2));
    assert_eq!(found.lanes[0].columns.share[0], Some(0.75));
    // Chosen by a rule.
    let key = Arc::make_mut(&mut measures[1].key);
    key.attributes[1].1 = "TARGETING_MATCH".to_owned();
    let warned = ask(&measures, None).meta.warnings;
    assert!(warned[0].starts_with("on is served by a rule"), "{warned:?}");
    assert!(ask(&[], None).headline.starts_with("no evaluation in this range is kept"));
}

#[test]
fn a_version_that_the_service_does_not_have_is_said() {
    let measures = [of_variant("1", "on", 100, 20, 0.050)];
    let said = ask(&measures.concat(), Some("7"));
    assert_eq!(said.headline, "this service has no version 7");
    assert!(said.meta.warnings.iter().any(|warning| warning.contains("no version 7")), "{:?}", said.meta.warnings);
}
