//! Comparisons of made-up requests: cohorts as text, A against A, swapped sides, known shifts, parts that add up.

use std::sync::Arc;

use proptest::prelude::*;
use shipwake_model::kpi::{Better, Kpi, KpiSource, KpiValue, Per};
use shipwake_model::pattern::Level;
use shipwake_model::sketch::{Distinct, Explicit, Exponential, HdrCells, Sketch};
use shipwake_model::{ReleaseId, Source};
use shipwake_store::{
    MeasureCell, MeasureKey, MeasureSeries, PatternCell, PatternRow, PatternVersion, ReleaseRow, ToggleRow,
};

use super::answer::{Facts, answer};
use super::bins::bins;
use super::cells::{Measured, Part};
use super::metric::Metric;
use super::numbers::{distance, quantile};
use super::patterns::{self, Lines};
use super::request::{Asked, Body, Cohort, Known, Routes, Selection, Window, read};
use super::values::{Explaining, Valued};
use super::wire;
use crate::error::QueryError;
use crate::release::patterns::Shapes;

const NOW: i64 = 1_795_442_400_000;
const MINUTE: i64 = 60_000;

fn release(version: &str) -> Arc<ReleaseId> {
    let name = |text: &str| Arc::from(text);
    Arc::new(ReleaseId {
        service: name("shop"),
        namespace: name(""),
        environment: name("prod"),
        version: name(version),
    })
}

fn releases() -> Vec<ReleaseRow> {
    let row = |version: &str, seen_min: i64, requests: u64| ReleaseRow {
        release: release(version),
        first_seen_ns: (NOW - seen_min * MINUTE) * 1_000_000,
        last_seen_ns: NOW * 1_000_000,
        records: requests,
        requests,
        instances: 2,
        instance_guessed: false,
        hashes: Vec::new(),
    };
    vec![row("1.0", 90, 1_000), row("2.0", 10, 100), row("0.9 beta", 200, 3)]
}

fn toggles() -> Vec<ToggleRow> {
    let row = |variant: &str| ToggleRow {
        release: release("1.0"),
        key: "pay=v2".into(),
        variant: variant.into(),
        evaluations: 5,
        recent: 5,
        first_seen_ns: 0,
        last_seen_ns: 0,
        changed_ns: 0,
        hot: true,
    };
    vec![row("on"), row("off")]
}

fn asked(body: &Body) -> Result<Asked, QueryError> {
    let (releases, toggles) = (releases(), toggles());
    read(body, &Known { service: "shop", releases: &releases, toggles: &toggles, now_ms: NOW })
}

fn body(a: &str, b: &str) -> Body {
    Body { service: "shop".into(), a: Some(a.into()), b: Some(b.into()), ..Body::default() }
}

#[test]
fn a_cohort_is_read_from_its_text() {
    let version = |version: &str| Cohort { version: Some(version.into()), flag: None };
    let flag = |version: Option<&str>, variant: &str| Cohort {
        version: version.map(str::to_owned),
        flag: Some(("pay=v2".into(), variant.into())),
    };
    let cases = [
        ("1.0", version("1.0")),
        ("ver:1.0", version("1.0")),
        ("  ver: 1.0 ", version("1.0")),
        ("0.9 beta", version("0.9 beta")),
        ("flag:pay=v2=on", flag(None, "on")),
        ("ver:0.9 beta flag:pay=v2=off", flag(Some("0.9 beta"), "off")),
        ("win:now-1h..now-30m", Cohort::default()),
        ("win:now-1h..now-30m ver:2.0", version("2.0")),
        ("2.0 win:deploy:2.0..now", version("2.0")),
    ];
    for (text, expected) in cases {
        let found = asked(&body(text, "2.0")).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.a, expected, "{text}");
    }
}

#[test]
fn a_side_has_the_window_that_is_nearest_to_it() {
    let minutes =
        |window: Window| ((window.from_ms - NOW) / MINUTE, (window.to_ms - NOW) / MINUTE, window.resolution_s);
    let both = |body: &Body| {
        let found = asked(body).expect("understood");
        (minutes(found.window_a), minutes(found.window_b))
    };
    assert_eq!(both(&body("1.0", "2.0")), ((-30, 0, 10), (-30, 0, 10)));
    let own = Body { wa: Some("now-2h..now-1h".into()), from: Some("now-5h".into()), ..body("1.0", "2.0") };
    assert_eq!(both(&own), ((-120, -60, 10), (-300, 0, 60)));
    let nearest =
        Body { wa: Some("now-2h..now-1h".into()), ..body("1.0 win:deploy:2.0-5m..deploy:2.0", "win:now-3d..now") };
    assert_eq!(both(&nearest), ((-15, -10, 10), (-3 * 24 * 60, 0, 3_600)));
}

#[test]
fn what_is_not_understood_is_answered_with_what_is_known() {
    let cases = [
        (body("9.9", "2.0"), "a", "its versions: 2.0, 1.0, 0.9 beta"),
        (body("1.0", "flag:nope=on"), "b", "its toggles: pay=v2"),
        (body("flag:pay=v2=maybe", "2.0"), "a", "it has on, off"),
        (body("flag:pay", "2.0"), "a", "flag:key=variant"),
        (body("ver:1.0 ver:2.0", "2.0"), "a", "twice"),
        (body("ver:", "2.0"), "a", "without a value"),
        (body("win:now-1h", "2.0"), "a", "from..to"),
        (body("win:now..now-1h", "2.0"), "a", "begins only at"),
        (Body { from: Some("lately".into()), ..body("1.0", "2.0") }, "from", "now-30m"),
        (Body { to: Some("lately".into()), ..body("1.0", "2.0") }, "to", "now-30m"),
        (Body { wb: Some("x..now".into()), ..body("1.0", "2.0") }, "wb", "now-30m"),
        (Body { from: Some("now-500d".into()), ..body("1.0", "2.0") }, "from", "at most 400 days"),
        (Body { metric: Some("p99".into()), ..body("1.0", "2.0") }, "metric", "duration"),
        (Body { filters: vec!["region:eq:eu".into()], ..body("1.0", "2.0") }, "filters", "route:eq:NAME"),
        (Body { filters: vec!["route:eq:/".into()], ..body("1.0", "flag:pay=v2=on") }, "filters", "not kept by route"),
        (Body { select: Some(Selection { from: 2.0, to: 1.0 }), ..body("1.0", "2.0") }, "select", "smaller one first"),
        (Body { select: Some(Selection { from: 0.0, to: f64::NAN }), ..body("1.0", "2.0") }, "select", "seconds"),
    ];
    for (body, expected, says) in cases {
        match asked(&body) {
            Err(QueryError::BadArgument { argument, reason, .. }) => {
                assert_eq!(argument, expected, "{body:?}: {reason}");
                assert!(reason.contains(says), "{body:?}: {reason}");
            }
            other => panic!("{body:?}: {other:?}"),
        }
    }
}

#[test]
fn sides_that_nobody_names_are_the_newest_release_and_the_busiest_other() {
    let chosen = |a: Option<&str>, b: Option<&str>| {
        let body = Body { a: a.map(str::to_owned), b: b.map(str::to_owned), service: "shop".into(), ..Body::default() };
        let found = asked(&body).expect("understood");
        [found.a, found.b].map(|cohort| cohort.version.unwrap_or_default())
    };
    assert_eq!(chosen(None, None), ["1.0", "2.0"]);
    assert_eq!(chosen(Some("2.0"), None), ["2.0", "1.0"]);
    assert_eq!(chosen(None, Some("1.0")), ["2.0", "1.0"]);
    assert_eq!(chosen(Some(""), Some("2.0")), ["1.0", "2.0"]);
}

/// A standard normal value for a number of 0 to 1.
fn normal(u: f64) -> f64 {
    shipwake_verdict::special::normal_quantile(u)
}

/// Log-normal durations, evenly spread over their quantiles.
fn cells(n: u32, median_us: f64, sigma: f64) -> HdrCells {
    let mut cells = HdrCells::new();
    for k in 0..n {
        cells.record((median_us * (sigma * normal((f64::from(k) + 0.5) / f64::from(n))).exp()) as u64);
    }
    cells
}

fn part(version: &str, route: &str, slot: u8, errors: u64, durations: HdrCells) -> Part {
    Part {
        namespace: "".into(),
        version: version.into(),
        measured: Measured::By(Source::Spans),
        route: route.into(),
        slot,
        flag: None,
        requests: durations.count(),
        errors,
        durations: (!durations.is_empty()).then_some(Sketch::Hdr(durations)),
        first_ms: NOW - 20 * MINUTE,
        last_ms: NOW - MINUTE,
    }
}

fn window(from_min: i64, to_min: i64) -> Window {
    Window { from_ms: NOW - from_min * MINUTE, to_ms: NOW - to_min * MINUTE, resolution_s: 10 }
}

fn question(a: &str, b: &str) -> Asked {
    let cohort = |version: &str| Cohort { version: Some(version.into()), flag: None };
    Asked {
        a: cohort(a),
        b: cohort(b),
        window_a: window(30, 0),
        window_b: window(30, 0),
        routes: Routes::default(),
        select: None,
        metric: Metric::Duration,
    }
}

fn compare_with(asked: &Asked, parts: &[Part], toggled: &[Part]) -> wire::Comparison {
    answer(&Facts {
        service: "shop",
        environment: "prod",
        asked,
        parts_a: parts,
        parts_b: parts,
        toggled_a: toggled,
        toggled_b: toggled,
        shapes: Some(&Shapes::default()),
        releases: &releases(),
        toggles: &toggles(),
        kpis: &[],
        measures: [&[], &[]],
        valued: [&[], &[]],
        own: [&[], &[]],
        filters: &[],
        watermark_ms: NOW,
        meta: Default::default(),
    })
}

fn compare(asked: &Asked, parts: &[Part]) -> wire::Comparison {
    compare_with(asked, parts, &[])
}

#[test]
fn a_known_shift_is_found_and_the_interval_covers_it() {
    let parts = [
        part("1.0", "/pay", 0, 450, cells(50_000, 200_000.0, 0.6)),
        part("2.0", "/pay", 1, 1_050, cells(50_000, 276_000.0, 0.6)),
    ];
    let found = compare(&question("1.0", "2.0"), &parts);
    assert_eq!(found.source, Some("spans"));
    for one in &found.quantiles[..5] {
        let truth = 0.2 * (0.6 * normal(one.q)).exp() * 0.38;
        let (low, high) = (one.lo.expect("bounded"), one.hi.expect("bounded"));
        assert!(low < truth && truth < high && one.ok && one.differs, "{one:?} {truth}");
        let (a, resolution) = (one.a.expect("durations"), found.resolution.expect("closed buckets"));
        assert!((one.diff.expect("durations") - truth).abs() < 2.0 * 1.38 * a * resolution + 0.001, "{one:?} {truth}");
    }
    assert!(
        found.resolution.is_some_and(|resolution| resolution > 0.001 && resolution < 0.01),
        "{:?}",
        found.resolution
    );
    let ks = found.stats.ks.expect("both sides");
    assert!(ks > found.stats.ks_chance.expect("many requests") && (ks - 0.2116).abs() < 0.01, "{:?}", found.stats);
    let errors = found.stats.errors.expect("both sides");
    assert!(errors.lo < 0.012 && 0.012 < errors.hi && errors.lo > 0.0 && errors.differs, "{errors:?}");
    assert!((found.stats.mean_b.expect("known") / found.stats.mean_a.expect("known") - 1.38).abs() < 0.001);
    assert!(found.sentence.starts_with("2.0 is slower than 1.0: p99 8"), "{}", found.sentence);
    assert_eq!(found.a.counts.iter().sum::<u64>(), 50_000);
    assert_eq!(found.edges.len(), found.b.counts.len() + 1);
    assert!(found.shift.windows(2).all(|pair| pair[0].q < pair[1].q));
    assert!(found.meta.warnings.is_empty(), "{:?}", found.meta.warnings);
}

#[test]
fn a_against_a_marks_nothing_and_says_so() {
    let found = compare(&question("1.0", "1.0"), &[part("1.0", "/pay", 0, 90, cells(20_000, 200_000.0, 0.6))]);
    assert!(found.quantiles.iter().chain(&found.shift).all(|one| !one.differs && one.diff == Some(0.0)));
    assert_eq!((found.stats.ks, found.stats.errors.clone().map(|errors| errors.differs)), (Some(0.0), Some(false)));
    assert!(found.sentence.starts_with("B is not shown to be slower or faster than A: p99"), "{}", found.sentence);
    assert!(found.meta.warnings[0].starts_with("A and B are the same requests"), "{:?}", found.meta.warnings);
}

#[test]
fn a_quantile_that_few_requests_lie_beyond_is_not_told() {
    let few = [part("1.0", "", 0, 0, cells(999, 2e5, 0.5)), part("2.0", "", 0, 0, cells(5_000, 9e5, 0.5))];
    let found = compare(&question("1.0", "2.0"), &few);
    let ok: Vec<bool> = found.quantiles.iter().map(|one| one.ok).collect();
    assert_eq!(ok, [true, true, true, true, false, false], "999 · 0.01 is less than ten");
    assert!(found.sentence.contains("p95"), "{}", found.sentence);
}

#[test]
fn nothing_in_common_lists_what_each_side_has() {
    let logs = Part {
        measured: Measured::By(Source::Logs),
        durations: None,
        requests: 40,
        ..part("1.0", "", 0, 0, HdrCells::new())
    };
    let spans = part("2.0", "", 0, 0, cells(100, 2e5, 0.5));
    let found = compare(&question("1.0", "2.0"), &[logs.clone(), spans.clone()]);
    assert_eq!((found.source, found.edges.len(), found.quantiles.len()), (None, 0, 0));
    assert_eq!(found.a.has, [wire::Has { source: "logs", requests: 40, durations: 0 }]);
    assert_eq!(found.b.has, [wire::Has { source: "spans", requests: 100, durations: 100 }]);
    assert_eq!(
        found.sentence,
        "nothing to compare: 1.0 has requests without durations, 2.0 has durations of another kind"
    );
    let metrics = Part { measured: Measured::By(Source::Metrics), ..part("1.0", "", 0, 0, cells(100, 1e5, 0.5)) };
    let both = Part { version: "2.0".into(), ..metrics.clone() };
    let found = compare(&question("1.0", "2.0"), &[logs, metrics, spans, both]);
    assert_eq!((found.source, found.approximate), (Some("metrics"), true), "what both have, though one has better");
    assert_eq!(
        compare(&question("1.0", "2.0"), &[]).sentence,
        "nothing to compare: 1.0 has no requests, 2.0 has no requests"
    );
}

#[test]
fn the_route_that_became_slow_explains_the_difference() {
    let parts = [
        part("1.0", "GET /cart", 0, 0, cells(8_000, 50_000.0, 0.4)),
        part("1.0", "POST /pay", 1, 0, cells(2_000, 200_000.0, 0.4)),
        part("2.0", "GET /cart", 0, 0, cells(8_000, 50_000.0, 0.4)),
        part("2.0", "POST /pay", 1, 0, cells(2_000, 320_000.0, 0.4)),
    ];
    let found = compare(&question("1.0", "2.0"), &parts);
    let of = |found: &wire::Comparison, dim: &str| -> Vec<wire::Explained> {
        found.explain.iter().filter(|row| row.dim == dim).cloned().collect()
    };
    let routes = of(&found, "route");
    assert_eq!(routes[0].value, "POST /pay");
    assert!(routes[0].part.is_some_and(|part| part > 0.99) && routes[0].score > 0.99, "{routes:?}");
    assert_eq!((routes[0].a, routes[0].b, routes[0].adds_by_share), (Some(0.2), 0.2, 0.0));
    let slots = of(&found, "instance slot of B");
    assert_eq!((slots[0].value.as_str(), slots[0].a), ("1", None));
    assert!(of(&found, "version").is_empty(), "there is one version on each side");
    // Only the slow ones are asked about.
    let select = Some(Selection { from: 0.4, to: 5.0 });
    let slow = compare(&Asked { select, ..question("1.0", "2.0") }, &parts);
    assert_eq!(slow.explains, "selection");
    let row = &of(&slow, "route")[0];
    assert!(row.value == "POST /pay" && row.adds > 0.04 && row.adds < 0.06, "{row:?}");
}

#[test]
fn a_toggle_that_is_on_for_one_side_explains_it_and_can_be_a_cohort() {
    let toggled = |version: &str, variant: &str, n: u32, median_us: f64| {
        let mut values = Exponential::default();
        let exact = cells(n, median_us, 0.5);
        for (low, _, count) in exact.iter() {
            (0..count).for_each(|_| values.record(low as f64 / 1e6));
        }
        Part {
            measured: Measured::Toggled,
            flag: Some(("pay=v2".into(), variant.into())),
            durations: Some(Sketch::Exponential(values)),
            ..part(version, "", 0, 0, exact)
        }
    };
    let parts = [part("1.0", "/", 0, 0, cells(3_000, 1e5, 0.5)), part("2.0", "/", 0, 0, cells(3_000, 2e5, 0.5))];
    let flags = [
        toggled("1.0", "off", 2_500, 1e5),
        toggled("1.0", "on", 500, 3e5),
        toggled("2.0", "off", 500, 1e5),
        toggled("2.0", "on", 2_500, 3e5),
    ];
    let found = compare_with(&question("1.0", "2.0"), &parts, &flags);
    let on = found.explain.iter().find(|row| row.dim == "toggle.pay=v2" && row.value == "on").expect("a variant");
    assert!(on.a.is_some_and(|a| (a - 1.0 / 6.0).abs() < 1e-3) && (on.b - 5.0 / 6.0).abs() < 1e-3, "{on:?}");
    assert!((on.adds - on.adds_by_share).abs() < 1e-3, "it is as slow as it was, and there is more of it");
    let flag = |variant: &str| Cohort { version: None, flag: Some(("pay=v2".into(), variant.into())) };
    let variants = Asked { a: flag("off"), b: flag("on"), ..question("1.0", "2.0") };
    let found = compare_with(&variants, &parts, &flags);
    assert_eq!((found.source, found.a.n, found.b.n), (Some("toggled_requests"), 3_000, 3_000));
    let median = found.quantiles[0].clone();
    let (low, high) = (median.lo.expect("bounded"), median.hi.expect("bounded"));
    assert!(low < 0.2 && 0.2 < high && median.differs, "{median:?}");
    let mixed = Asked { b: flag("on"), ..question("1.0", "2.0") };
    assert_eq!(compare_with(&mixed, &parts, &flags).source, None, "a version has no requests by variant");
}

#[test]
fn what_weakens_a_comparison_is_said() {
    let of = |version: &str, n: u32, from_min: i64, to_min: i64| Part {
        first_ms: NOW - from_min * MINUTE,
        last_ms: NOW - to_min * MINUTE,
        ..part(version, "/", 0, 0, cells(n, 1e5, 0.5))
    };
    let said = |asked: &Asked, parts: &[Part]| compare(asked, parts).meta.warnings;
    let has = |said: &[String], what: &str| said.iter().any(|one| one.contains(what));
    let windows = Asked { window_a: window(60, 30), ..question("1.0", "2.0") };
    let found = said(&windows, &[of("1.0", 5_000, 50, 35), of("2.0", 1_000, 20, 5)]);
    assert!(
        has(&found, "different times") && has(&found, "the load differs: 2.8 requests a second in A, 0.6 in B"),
        "{found:?}"
    );
    let overlapping = Asked { window_a: window(60, 20), ..question("1.0", "2.0") };
    assert!(has(&said(&overlapping, &[of("1.0", 50, 50, 25), of("2.0", 50, 20, 5)]), "are not the same"));
    let after = said(&question("1.0", "2.0"), &[of("1.0", 1_000, 28, 15), of("2.0", 1_000, 12, 5)]);
    assert!(has(&after, "before/after"), "{after:?}");
    let mut mixed = [of("1.0", 1_000, 28, 5), of("2.0", 1_000, 28, 5)];
    mixed[1].route = "/other".into();
    assert!(has(&said(&question("1.0", "2.0"), &mixed), "the mix of routes differs (100 %"));
}

#[test]
fn patterns_of_one_side_are_told_unless_they_may_be_chance() {
    let version = |version: &str, level: Level, t_min: i64, count: u64| PatternVersion {
        version: version.into(),
        level,
        first_seen_ns: (NOW - t_min * MINUTE) * 1_000_000,
        last_seen_ns: NOW * 1_000_000,
        count,
        cells: vec![PatternCell { t_ms: NOW - t_min * MINUTE, count, slots: 3 }],
    };
    let row = |id: u64, template: &str, versions: Vec<PatternVersion>| PatternRow {
        service: "shop".into(),
        namespace: "".into(),
        environment: "prod".into(),
        id,
        template: template.into(),
        example: template.into(),
        versions,
    };
    let shapes = Shapes::of(vec![
        row(1, "pool exhausted for <*>", vec![version("2.0", Level::Error, 5, 60)]),
        row(2, "timeout after <*> ms", vec![version("1.0", Level::Warn, 5, 30), version("2.0", Level::Warn, 5, 300)]),
        row(3, "order placed", vec![version("1.0", Level::Info, 5, 500)]),
        row(4, "cache warmed", vec![version("2.0", Level::Info, 5, 40)]),
        row(5, "old trouble with <*>", vec![version("1.0", Level::Error, 90, 40), version("2.0", Level::Error, 5, 40)]),
        row(6, "equal trouble", vec![version("1.0", Level::Error, 5, 40), version("2.0", Level::Error, 5, 41)]),
    ]);
    let cohort = |version: &str| Cohort { version: Some(version.into()), flag: None };
    let (one, two) = (cohort("1.0"), cohort("2.0"));
    let lines = |cohort, requests| Lines { cohort, window: window(30, 0), requests };
    let found = patterns::find(&shapes, &lines(&one, 1_000), &lines(&two, 1_000));
    let texts = |of: &[crate::pages::wire::Pattern]| of.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&found.only_b), ["pool exhausted for <*>", "old trouble with <*>"]);
    assert_eq!(texts(&found.escalated), ["timeout after <*> ms"]);
    assert_eq!(texts(&found.only_a), ["order placed"]);
    assert_eq!((found.only_b[0].count, found.only_b[0].count_base, found.only_b[0].class), (60, 0, "new"));
    let swapped = patterns::find(&shapes, &lines(&two, 1_000), &lines(&one, 1_000));
    assert!(texts(&swapped.only_a).contains(&"pool exhausted for <*>".to_owned()), "{:?}", texts(&swapped.only_a));
    assert_eq!(patterns::find(&shapes, &lines(&one, 0), &lines(&two, 9)), patterns::Found::default());
}

#[test]
fn distributions_that_are_apart_have_distance_one() {
    let (fast, slow) = (cells(1_000, 1e4, 0.1), cells(1_000, 1e6, 0.1));
    assert_eq!(distance(&fast, &slow).map(|found| found.ks), Some(1.0));
    assert_eq!(distance(&fast, &fast).map(|found| found.ks), Some(0.0));
    assert_eq!(distance(&fast, &HdrCells::new()), None);
    assert_eq!(distance(&fast, &cells(50, 1e6, 0.1)).and_then(|found| found.chance), None, "too few for a band");
}

fn series(signal: &'static str, metric: &str, version: &str, cell: MeasureCell) -> MeasureSeries {
    let key = MeasureKey {
        release: release(version),
        signal,
        metric: metric.into(),
        unit: if signal == "kpi" { "EUR".into() } else { "".into() },
        attributes: Vec::new(),
    };
    MeasureSeries { key: Arc::new(key), cells: vec![cell] }
}

/// Ids of a kind, from one on.
fn distinct(from: u64, n: u64) -> MeasureCell {
    let mut distinct = Distinct::new();
    (from..from + n).for_each(|id| distinct.insert(&id.to_le_bytes()));
    MeasureCell { t_ms: NOW - 5 * MINUTE, count: n, distinct: Some(distinct), ..MeasureCell::default() }
}

fn spread(values: impl IntoIterator<Item = f64>) -> (Exponential, u64, f64) {
    let (mut found, mut count, mut sum) = (Exponential::for_values(), 0, 0.0);
    for value in values {
        found.record(value);
        (count, sum) = (count + 1, sum + value);
    }
    (found, count, sum)
}

fn orders(version: &str, values: impl IntoIterator<Item = f64>) -> MeasureSeries {
    let (values, count, sum) = spread(values);
    let cell = MeasureCell { t_ms: NOW - 5 * MINUTE, count, sum, values: Some(values), ..MeasureCell::default() };
    series("kpi", "order", version, cell)
}

fn kpi(key: &str, value: KpiValue, per: Per) -> Kpi {
    Kpi {
        key: key.into(),
        title: format!("The {key}"),
        unit: "EUR".into(),
        source: KpiSource::Event("order".into()),
        value,
        service: None,
        environment: None,
        better: Better::Higher,
        per,
    }
}

/// Everything that is not told by requests.
#[derive(Default)]
struct Told {
    kpis: Vec<Kpi>,
    measures: Vec<MeasureSeries>,
    valued: Vec<Valued>,
    own: Vec<Explaining>,
}

fn compare_told(asked: &Asked, parts: &[Part], told: &Told) -> wire::Comparison {
    answer(&Facts {
        service: "shop",
        environment: "prod",
        asked,
        parts_a: parts,
        parts_b: parts,
        toggled_a: &[],
        toggled_b: &[],
        shapes: Some(&Shapes::default()),
        releases: &releases(),
        toggles: &toggles(),
        kpis: &told.kpis,
        measures: [&told.measures, &told.measures],
        valued: [&told.valued, &told.valued],
        own: [&told.own, &told.own],
        filters: &[],
        watermark_ms: NOW,
        meta: Default::default(),
    })
}

fn of_metric(metric: &str) -> Asked {
    Asked { metric: Metric::read(metric).expect("a metric"), ..question("1.0", "2.0") }
}

fn row<'a>(found: &'a wire::Comparison, metric: &str) -> &'a wire::Measure {
    let mut rows = found.measures.iter().filter(|row| row.metric == metric);
    rows.next().unwrap_or_else(|| panic!("{metric} in {:?}", found.measures))
}

fn requests(errors: [u64; 2]) -> [Part; 2] {
    [
        part("1.0", "/pay", 0, errors[0], cells(20_000, 200_000.0, 0.5)),
        part("2.0", "/pay", 1, errors[1], cells(10_000, 200_000.0, 0.5)),
    ]
}

#[test]
fn requests_sessions_and_kpis_stand_in_one_list_with_their_intervals() {
    let told = Told {
        kpis: vec![kpi("orders", KpiValue::Count, Per::Request), kpi("basket", KpiValue::Mean, Per::None)],
        measures: vec![
            series("usage", "sessions", "1.0", distinct(0, 4_000)),
            series("usage", "crashed_sessions", "1.0", distinct(0, 4)),
            series("usage", "sessions", "2.0", distinct(10_000, 2_000)),
            series("usage", "crashed_sessions", "2.0", distinct(10_000, 200)),
            series("kpi", "orders", "1.0", MeasureCell { count: 2_000, ..MeasureCell::default() }),
            series("kpi", "orders", "2.0", MeasureCell { count: 500, ..MeasureCell::default() }),
            series("kpi", "basket", "1.0", MeasureCell { count: 10, sum: 400.0, ..MeasureCell::default() }),
            series("kpi", "basket", "2.0", MeasureCell { count: 10, sum: 300.0, ..MeasureCell::default() }),
            series("kpi", "signup", "2.0", MeasureCell { count: 7, ..MeasureCell::default() }),
            series("kpi", "__other__", "2.0", MeasureCell { count: 900, ..MeasureCell::default() }),
        ],
        ..Told::default()
    };
    let found = compare_told(&question("1.0", "2.0"), &requests([20, 310]), &told);
    let titles: Vec<&str> = found.measures.iter().map(|row| row.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "p50 duration",
            "p95 duration",
            "p99 duration",
            "Error ratio",
            "Requests",
            "Crash-free sessions",
            "Sessions without an error",
            "The orders",
            "The basket",
            "signup"
        ]
    );
    let errors = row(&found, "errors");
    assert!(
        errors.differs && errors.lo.is_some_and(|lo| lo > 0.02) && errors.hi.is_some_and(|hi| hi < 0.04),
        "{errors:?}"
    );
    let crash_free = row(&found, "crash_free");
    assert!(crash_free.differs && (crash_free.b.expect("sessions") - 0.9).abs() < 0.02, "{crash_free:?}");
    let orders = row(&found, "kpi:orders");
    assert_eq!((orders.a, orders.b, orders.unit.as_str()), (Some(100.0), Some(50.0), "per 1,000 requests"));
    assert!(
        orders.differs && orders.hi.is_some_and(|hi| hi < -25.0) && orders.lo.is_some_and(|lo| lo > -75.0),
        "{orders:?}"
    );
    let basket = row(&found, "kpi:basket");
    assert_eq!((basket.a, basket.b, basket.differs, basket.lo), (Some(40.0), Some(30.0), false, None));
    assert!(basket.note.is_some_and(|note| note.contains("each quantile")), "no interval, and why: {basket:?}");
    let rate = row(&found, "rate");
    assert!(rate.rel.is_some_and(|rel| (rel + 0.5).abs() < 1e-6) && !rate.differs && rate.note.is_some(), "{rate:?}");
    assert_eq!(row(&found, "kpi:signup").a, Some(0.0), "events that a side has none of happened no time");
}

#[test]
fn what_is_compared_is_told_in_a_sentence_and_explained() {
    let parts = [
        part("1.0", "GET /cart", 0, 8, cells(8_000, 50_000.0, 0.4)),
        part("1.0", "POST /pay", 1, 2, cells(2_000, 50_000.0, 0.4)),
        part("2.0", "GET /cart", 0, 8, cells(8_000, 50_000.0, 0.4)),
        part("2.0", "POST /pay", 1, 202, cells(2_000, 50_000.0, 0.4)),
    ];
    let errors = compare_told(&of_metric("errors"), &parts, &Told::default());
    assert!(
        errors.sentence.starts_with("Error ratio: higher in 2.0 than in 1.0: 0.1 % → 2.1 %, +2.0 points"),
        "{}",
        errors.sentence
    );
    assert_eq!((errors.explains, errors.form, errors.edges.len()), ("errors", "ratio", 0));
    let pay = errors.explain.iter().find(|row| row.dim == "route").expect("routes");
    assert!(pay.value == "POST /pay" && pay.part.is_some_and(|part| part > 0.99), "{pay:?}");
    assert!((pay.adds - 0.02).abs() < 1e-6, "{pay:?}");
    let half = [&parts[..2], &[part("2.0", "GET /cart", 0, 0, cells(4_000, 5e4, 0.4))]].concat();
    let rate = compare_told(&of_metric("rate"), &half, &Told::default());
    let adds: f64 = rate.explain.iter().map(|row| row.adds).sum();
    assert!((adds - row(&rate, "rate").diff.expect("both")).abs() < 1e-5, "{:?}", rate.explain);
    assert!(rate.sentence.starts_with("Requests of 1.0 and 2.0: 8.7/s → 3.5/s, −60 %"), "{}", rate.sentence);
    let none = compare_told(&of_metric("crash_free"), &parts, &Told::default());
    assert_eq!(none.sentence, "nothing to compare: 1.0 and 2.0 do not both have sessions");
}

#[test]
fn requests_without_durations_are_compared_by_their_errors() {
    let logs = |version: &str, errors: u64| Part {
        measured: Measured::By(Source::Logs),
        durations: None,
        requests: 5_000,
        ..part(version, "", 0, errors, HdrCells::new())
    };
    let parts = [logs("1.0", 10), logs("2.0", 400)];
    let found = compare_told(&of_metric("errors"), &parts, &Told::default());
    assert_eq!((found.source, found.explains), (Some("logs"), "errors"));
    assert!(found.sentence.starts_with("Error ratio: higher in 2.0"), "{}", found.sentence);
    let found = compare_told(&question("1.0", "2.0"), &parts, &Told::default());
    assert_eq!((found.source, row(&found, "errors").differs), (None, true), "durations are not there, the rest is");
}

#[test]
fn the_values_of_a_kpi_are_laid_over_each_other() {
    let of = |version: &str, slot: u8, values: Exponential| Explaining {
        unit: "EUR".into(),
        part: Part {
            measured: Measured::Kpi,
            requests: values.count,
            durations: Some(Sketch::Exponential(values)),
            ..part(version, "", slot, 0, HdrCells::new())
        },
        attributes: Vec::new(),
    };
    let tens = || (0..4_000).map(|n| 10.0 + f64::from(n % 1_000) / 10.0);
    let halved = || tens().map(|value| value / 2.0);
    let told = Told {
        kpis: vec![kpi("order", KpiValue::Mean, Per::None)],
        measures: vec![orders("1.0", tens()), orders("2.0", halved())],
        own: vec![of("1.0", 0, spread(tens()).0), of("2.0", 0, spread(tens()).0), of("2.0", 3, spread(halved()).0)],
        ..Told::default()
    };
    let found = compare_told(&of_metric("kpi:order"), &requests([0, 0]), &told);
    assert_eq!((found.source, found.title.as_str(), found.unit.as_str()), (Some("kpi"), "The order", "EUR"));
    assert_eq!((found.a.n, found.b.n, found.a.requests), (4_000, 8_000, 20_000));
    assert!(row(&found, "kpi:order").distribution);
    let median = &found.quantiles[0];
    assert!(median.differs && median.a.is_some_and(|a| (a - 60.0).abs() < 1.5), "{median:?}");
    assert_eq!(found.edges.len(), found.a.counts.len() + 1);
    assert!(found.edges[0] <= 10.0 && *found.edges.last().expect("edges") >= 109.9, "in EUR: {:?}", found.edges);
    assert!(found.sentence.contains("values of The order are smaller in 2.0 than in 1.0: p"), "{}", found.sentence);
    let slots: Vec<_> = found.explain.iter().filter(|row| row.dim == "instance slot of B").collect();
    assert_eq!(slots[0].value, "3", "the instance whose orders are smaller: {slots:?}");
    // Refunds have no place on an axis of logarithms; their quantiles are told all the same.
    let refunds = Told {
        own: vec![of("1.0", 0, spread(tens()).0), of("2.0", 0, spread(tens().map(|value| -value)).0)],
        ..Told::default()
    };
    let found = compare_told(&of_metric("kpi:order"), &[], &refunds);
    assert!(found.edges.is_empty() && found.quantiles[0].b.is_some_and(|b| b < -50.0), "{:?}", found.quantiles[0]);
}

#[test]
fn a_metric_is_explained_by_its_attributes_and_listed_with_those_that_both_sides_have() {
    let explicit = |slow: u64| {
        let mut sketch = Explicit::new(Arc::from([0.1, 0.5, 1.0, 5.0].as_slice()));
        sketch.counts = vec![500, 400, 50, slow, 0];
        sketch.count = sketch.counts.iter().sum();
        sketch.sum = Some(300.0 + 3.0 * slow as f64);
        Sketch::Explicit(sketch)
    };
    let own = |version: &str, shard: &str, values: Sketch| Explaining {
        unit: "s".into(),
        part: Part {
            measured: Measured::Metric,
            requests: values.count(),
            durations: Some(values),
            ..part(version, "", 0, 0, HdrCells::new())
        },
        attributes: vec![("db.shard".into(), shard.into())],
    };
    let valued = |version: &str, name: &str, values: Sketch| Valued {
        namespace: "".into(),
        version: version.into(),
        name: name.into(),
        unit: "s".into(),
        values,
    };
    let told = Told {
        valued: vec![
            valued("1.0", "db.wait", explicit(50)),
            valued("2.0", "db.wait", explicit(900)),
            valued("2.0", "only.new", explicit(5)),
        ],
        own: vec![
            own("1.0", "a", explicit(50)),
            own("1.0", "b", explicit(50)),
            own("2.0", "a", explicit(50)),
            own("2.0", "b", explicit(900)),
        ],
        ..Told::default()
    };
    let found = compare_told(&of_metric("metric:db.wait"), &requests([0, 0]), &told);
    assert_eq!((found.source, found.form, found.title.as_str()), (Some("metric"), "seconds", "db.wait"));
    let shard = found.explain.iter().find(|row| row.dim == "attribute.db.shard").expect("an attribute");
    assert!(shard.value == "b" && shard.part.is_some_and(|part| part > 0.9), "{shard:?}");
    assert!(found.sentence.starts_with("values of db.wait are larger in 2.0 than in 1.0: p"), "{}", found.sentence);
    let listed: Vec<&str> =
        found.measures.iter().filter(|row| row.group == "metric").map(|row| row.metric.as_str()).collect();
    assert_eq!(listed, ["metric:db.wait"]);
    let nothing = compare_told(&of_metric("metric:only.new"), &requests([0, 0]), &Told::default());
    assert_eq!(nothing.sentence, "nothing to compare: 1.0 and 2.0 do not both have values of only.new");
}

#[test]
fn what_requests_do_not_tell_is_not_asked_by_route_or_variant() {
    for (filters, b) in [(vec!["route:eq:/".to_owned()], "2.0"), (Vec::new(), "flag:pay=v2=on")] {
        let of = |metric: &str| Body { metric: Some(metric.into()), filters: filters.clone(), ..body("1.0", b) };
        assert!(asked(&of("errors")).is_ok());
        let Err(QueryError::BadArgument { argument, .. }) = asked(&of("kpi:orders")) else { panic!("{b}") };
        assert_eq!(argument, "metric");
    }
    let routes = Routes { only: vec!["/pay".into()], ..Routes::default() };
    let told = Told { measures: vec![orders("1.0", [1.0])], ..Told::default() };
    let found = compare_told(&Asked { routes, ..question("1.0", "2.0") }, &requests([0, 0]), &told);
    assert!(found.measures.iter().all(|row| row.group == "requests"));
    assert!(found.measures_note.is_some_and(|note| note.contains("not kept by route")));
}

fn any_cells() -> impl Strategy<Value = HdrCells> {
    prop::collection::vec((0u64..5_000_000, 1u64..400), 1..60).prop_map(|values| {
        let mut cells = HdrCells::new();
        values.into_iter().for_each(|(value, count)| cells.record_n(value, count));
        cells
    })
}

fn any_parts(version: &'static str) -> impl Strategy<Value = Vec<Part>> {
    let one = (any_cells(), 0usize..4, 0u8..8, 0.0f64..1.0);
    prop::collection::vec(one, 1..6).prop_map(move |parts| {
        let routes = ["", "/a", "/b", "/c"];
        let of = |(cells, route, slot, bad): (HdrCells, usize, u8, f64)| {
            let errors = (cells.count() as f64 * bad) as u64;
            part(version, routes[route], slot, errors, cells)
        };
        parts.into_iter().map(of).collect()
    })
}

/// Equal but for the last digit of what is on the wire.
fn near(x: Option<f64>, y: Option<f64>) -> bool {
    match (x, y) {
        (Some(x), Some(y)) => (x - y).abs() < 2.1e-6 * x.abs().max(1.0),
        (None, None) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn swapping_the_sides_turns_every_sign(a in any_parts("1.0"), b in any_parts("2.0")) {
        let parts = [a, b].concat();
        let (there, back) = (compare(&question("1.0", "2.0"), &parts), compare(&question("2.0", "1.0"), &parts));
        for (x, y) in there.quantiles.iter().chain(&there.shift).zip(back.quantiles.iter().chain(&back.shift)) {
            prop_assert!(near(x.diff, y.diff.map(|v| -v)), "{:?} {:?}", x, y);
            prop_assert!(near(x.lo, y.hi.map(|v| -v)) && near(x.hi, y.lo.map(|v| -v)), "{:?} {:?}", x, y);
            prop_assert_eq!((x.ok, x.differs), (y.ok, y.differs));
            if let (Some(lo), Some(diff), Some(hi)) = (x.lo, x.diff, x.hi) {
                prop_assert!(lo <= diff && diff <= hi, "{:?}", x);
            }
        }
        prop_assert_eq!(there.stats.ks, back.stats.ks);
        let (x, y) = (there.stats.errors.clone().expect("requests"), back.stats.errors.clone().expect("requests"));
        prop_assert!(near(Some(x.lo), Some(-y.hi)) && near(Some(x.hi), Some(-y.lo)) && x.lo <= x.diff && x.diff <= x.hi, "{:?} {:?}", x, y);
        prop_assert_eq!((&there.edges, &there.a.counts, &there.b.counts), (&back.edges, &back.b.counts, &back.a.counts));
        for (x, y) in there.measures.iter().zip(&back.measures) {
            prop_assert_eq!((&x.title, x.ok, x.differs), (&y.title, y.ok, y.differs));
            prop_assert!(near(x.diff, y.diff.map(|v| -v)) && near(x.lo, y.hi.map(|v| -v)), "{:?} {:?}", x, y);
        }
        for row in there.explain.iter().filter(|row| row.dim == "route") {
            let same = back.explain.iter().find(|other| other.dim == "route" && other.value == row.value);
            prop_assert!(same.is_some_and(|same| near(Some(row.adds), Some(-same.adds))), "{:?}", row);
        }
    }

    #[test]
    fn the_parts_of_every_dimension_add_up_to_the_difference(a in any_parts("1.0"), b in any_parts("2.0")) {
        let found = compare(&question("1.0", "2.0"), &[a, b].concat());
        let whole = found.stats.mean_b.expect("known") - found.stats.mean_a.expect("known");
        for dim in ["route", "instance slot of B"] {
            let rows: Vec<_> = found.explain.iter().filter(|row| row.dim == dim).collect();
            let sum: f64 = rows.iter().map(|row| row.adds).sum();
            prop_assert!(rows.is_empty() || (sum - whole).abs() < 2e-5, "{} {} {:?}", sum, whole, rows);
        }
    }

    #[test]
    fn nothing_is_beyond_chance_in_a_against_a(a in any_parts("1.0")) {
        let found = compare(&question("1.0", "1.0"), &a);
        for one in found.quantiles.iter().chain(&found.shift) {
            prop_assert!(one.lo.is_none_or(|lo| lo <= 0.0) && one.hi.is_none_or(|hi| hi >= 0.0), "{:?}", one);
        }
        prop_assert!(found.stats.errors.is_some_and(|errors| !errors.differs));
    }

    #[test]
    fn every_request_lies_in_its_bin(a in any_cells(), b in any_cells()) {
        let found = bins(&a, &b);
        prop_assert!(found.edges.len() >= 2 && found.edges.len() <= 125, "{}", found.edges.len());
        prop_assert!(found.edges.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!((found.a.iter().sum::<u64>(), found.b.iter().sum::<u64>()), (a.count(), b.count()));
        let us = |seconds: f64| (seconds * 1e6).round() as u64;
        for (bin, count) in found.a.iter().enumerate() {
            let (low, high) = (us(found.edges[bin]), us(found.edges[bin + 1]));
            let within: u64 = a.iter().filter(|(first, last, _)| *first >= low && *last < high).map(|(_, _, n)| n).sum();
            prop_assert_eq!(within, *count, "cells do not cross edges: {} {}", low, high);
        }
    }

    #[test]
    fn a_quantile_of_zero_is_compared_too(n in 50u64..5_000, slow in 1u64..1_000_000) {
        let (mut zero, mut some) = (HdrCells::new(), HdrCells::new());
        zero.record_n(0, n);
        some.record_n(slow, n);
        let (zero, some) = (Sketch::Hdr(zero), Sketch::Hdr(some));
        let (there, back) = (quantile(&zero, &some, 0.5, 1e-6), quantile(&some, &zero, 0.5, 1e-6));
        prop_assert_eq!((there.low, there.high), (back.high.map(|v| -v), back.low.map(|v| -v)));
        prop_assert!(there.diff.is_some_and(|diff| diff > 0.0) && there.relative.is_none());
    }
}
