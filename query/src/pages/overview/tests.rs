//! The line of a service, from cells and measures.

use super::*;
use shipwake_model::ReleaseId;
use shipwake_model::sketch::HdrCells;
use shipwake_store::{HealthCell, MeasureCell, MeasureKey};

const NOW_MS: i64 = 1_795_443_000_000;

fn release(version: &str) -> Arc<ReleaseId> {
    let id =
        ReleaseId { service: "shop".into(), namespace: "".into(), environment: "prod".into(), version: version.into() };
    Arc::new(id)
}

/// Ten minutes in windows of ten seconds.
fn windows() -> impl Iterator<Item = i64> {
    (1..=60).rev().map(|n| NOW_MS - n * STEP_MS)
}

fn requests(version: &str, requests: u64) -> HealthSeries {
    let cell = |t_ms| HealthCell { t_ms, requests, errors: 0, duration: HdrCells::default(), slots: 1 };
    let cells = windows().map(cell).collect();
    HealthSeries { release: release(version), source: Source::Spans, route: "".into(), cells }
}

fn orders(version: &str, count: u64) -> MeasureSeries {
    let key = MeasureKey {
        release: release(version),
        signal: "kpi",
        metric: "orders".into(),
        unit: "".into(),
        attributes: Vec::new(),
    };
    let cell = |t_ms| MeasureCell { t_ms, count, sum: 0.0, distinct: None, values: None };
    MeasureSeries { key: Arc::new(key), cells: windows().map(cell).collect() }
}

fn seen(version: &str, first_ms: i64) -> ReleaseRow {
    ReleaseRow {
        release: release(version),
        first_seen_ns: first_ms * 1_000_000,
        last_seen_ns: NOW_MS * 1_000_000,
        records: 1,
        requests: 1,
        instances: 1,
        instance_guessed: false,
        hashes: Vec::new(),
    }
}

/// The overview of a rollout whose candidate has so many orders in ten seconds; the baseline has 60.
fn overview(orders_of_candidate: u64) -> wire::Overview {
    let series = [requests("1", 100), requests("2", 100)];
    let releases = [seen("1", NOW_MS - HOUR_MS), seen("2", NOW_MS - 10 * MINUTE_MS)];
    let measures = [orders("1", 60), orders("2", orders_of_candidate)];
    let patterns_of = |_: &str, _: &str| Arc::new(patterns::Shapes::default());
    let measured = Measured { kpis: &[], measures: &measures, patterns_of: &patterns_of };
    answer(Some("prod"), &series, &releases, measured, Some(NOW_MS), NOW_MS)
}

#[test]
fn a_kpi_that_moved_is_named_and_counted() {
    let moved = overview(30);
    let line = &moved.services[0];
    let said = line.headline.as_deref().expect("a rollout has a sentence");
    assert!(said.starts_with("2 differs from 1: orders per 1,000 requests 600 → 300 since "), "{said}");
    assert_eq!((moved.summary.differing, line.kpi.as_ref().map(|kpi| kpi.moved)), (1, Some(true)));
    let steady = overview(59);
    let kpi = steady.services[0].kpi.as_ref().map(|kpi| kpi.moved);
    assert_eq!((steady.summary.differing, kpi), (0, Some(false)), "{:?}", steady.services[0].headline);
}
