//! KPIs, usage and toggles from the bytes of requests to windows, pages and the committed state.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use shipwake_model::kpi::{Better, Kpi, KpiSource, KpiValue, Per};
use shipwake_model::sketch::Distinct;
use shipwake_model::window::NS_PER_S;
use shipwake_model::{Signal, Sketch};
use shipwake_store::{MeasureQuery, Table};

use crate::commit::Cut;
use crate::config::{AggregateConfig, Limits};
use crate::requests::*;
use crate::state::State;
use crate::state_bytes::{compress, decode, encode};
use crate::window_rows::rows_of_windows;

struct Folder {
    state: State,
    offset: u64,
}

impl Folder {
    fn new(config: &AggregateConfig) -> Self {
        Folder { state: State::new(config), offset: 0 }
    }

    fn fold(&mut self, signal: Signal, received_ns: i64, value: Vec<u8>) {
        let records = 1_000_000;
        self.state.fold(&stored(self.offset, record(signal, received_ns, records, value, None)));
        self.offset += 1;
    }

    /// Count, sum, and things of a distinct count or values of a distribution, of windows of ten seconds of these signals, by "version signal metric unit
    /// attributes", over slots and time.
    fn windows(&self) -> BTreeMap<String, (i64, f64, u64)> {
        let mut out: BTreeMap<String, (i64, f64, Distinct, u64)> = BTreeMap::new();
        for rows in rows_of_windows(&self.state.deltas()) {
            let batch = rows.to_batch(None);
            let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")).clone();
            for row in 0..batch.num_rows() {
                let text = |name: &str| column(name).as_string::<i32>().value(row).to_owned();
                let resolution_s = column("resolution_s").as_primitive::<Int32Type>().value(row);
                if resolution_s != 10 || !["kpi", "usage", "toggle"].contains(&text("signal").as_str()) {
                    continue;
                }
                let entries = column("attributes").as_map().value(row);
                let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
                let attributes: Vec<String> =
                    (0..entries.len()).map(|at| format!("{}={}", keys.value(at), values.value(at))).collect();
                let key = ["version", "signal", "metric", "unit"].map(text).join(" ") + " " + &attributes.join(",");
                let place = out.entry(key).or_default();
                place.0 += column("count").as_primitive::<Int64Type>().value(row);
                place.1 += column("sum").as_primitive::<Float64Type>().value(row);
                let histogram = column("histogram");
                let histogram = histogram.as_binary::<i32>();
                if histogram.is_valid(row) {
                    match Sketch::decode(histogram.value(row)) {
                        Ok(Sketch::Distinct(found)) => place.2.merge(&found),
                        Ok(Sketch::Exponential(values)) => place.3 += values.count,
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        out.into_iter()
            .map(|(key, (count, sum, things, values))| {
                (key.trim_end().to_owned(), (count, sum, things.count() + values))
            })
            .collect()
    }
}

fn event(name: &str, attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> LogRecord {
    LogRecord { time_unix_nano: NOW as u64, event_name: name.to_owned(), attributes, ..LogRecord::default() }
}

fn double(key: &str, value: f64) -> opentelemetry_proto::tonic::common::v1::KeyValue {
    attribute(key, Value::DoubleValue(value))
}

fn kpi(key: &str, source: KpiSource, value: KpiValue) -> Kpi {
    Kpi {
        key: key.into(),
        title: key.to_owned(),
        unit: "EUR".into(),
        source,
        value,
        service: Some("shop".to_owned()),
        environment: None,
        better: Better::Higher,
        per: Per::None,
    }
}

#[test]
fn events_count_by_name_and_add_up_their_values() {
    let mut folder = Folder::new(&AggregateConfig::default());
    let records = vec![
        event("order_placed", vec![double("value", 40.0), text("unit", "EUR")]),
        event("order_placed", vec![attribute("value", Value::StringValue("2.5".into())), text("unit", "EUR")]),
        event("order_placed", vec![double("value", 7.0), text("unit", "USD")]),
        event("signup", vec![]),
        event("exception", vec![]),
        log(NOW as u64, 9, "no event"),
    ];
    folder.fold(Signal::Logs, NOW, logs("shop", "1", records));
    let windows = folder.windows();
    assert_eq!(windows["1 kpi order_placed EUR"], (2, 42.5, 2));
    assert_eq!(windows["1 kpi order_placed USD"], (1, 7.0, 1));
    assert_eq!(windows["1 kpi signup"], (1, 0.0, 0));
    assert_eq!(windows.len(), 3, "{windows:?}");
    let requests = folder.state.releases.iter().next().expect("one").requests;
    assert_eq!(requests[3], 1, "an event without a severity is no request");
    assert_eq!(folder.state.counters.stored[0], 6, "and a log record like all others");
}

#[test]
fn declared_kpis_are_counted_from_events_logs_and_metrics() {
    let matching = vec![("logger".to_owned(), "stock".to_owned()), ("code".to_owned(), "17".to_owned())];
    let kpis = vec![
        kpi("orders", KpiSource::Event("order".to_owned()), KpiValue::Count),
        kpi("revenue", KpiSource::Event("order".to_owned()), KpiValue::Sum),
        kpi("signup", KpiSource::Event("signup".to_owned()), KpiValue::Count),
        kpi("stock_outs", KpiSource::Log { matching: matching.clone(), field: None }, KpiValue::Count),
        kpi("missing", KpiSource::Log { matching, field: Some("pieces".to_owned()) }, KpiValue::Mean),
        kpi("sold", KpiSource::Metric("shop.sold".to_owned()), KpiValue::Sum),
        kpi("prices", KpiSource::Metric("shop.price".to_owned()), KpiValue::Mean),
    ];
    let mut folder = Folder::new(&AggregateConfig { kpis: kpis.into(), ..AggregateConfig::default() });
    let mut stock_out = log(NOW as u64, 13, "out of stock");
    stock_out.attributes = vec![text("logger", "stock"), int("code", 17), int("pieces", 4)];
    let mut other = stock_out.clone();
    other.attributes[1] = int("code", 18);
    let records = || {
        vec![
            event("order", vec![double("value", 10.0)]),
            event("order", vec![]),
            event("signup", vec![]),
            stock_out.clone(),
            other.clone(),
        ]
    };
    folder.fold(Signal::Logs, NOW, logs("shop", "1", records()));
    folder.fold(Signal::Logs, NOW, logs("elsewhere", "1", records()));
    let points = vec![number(NOW, NOW - NS_PER_S, 5.0, vec![]), number(NOW + 1, NOW - NS_PER_S, 8.0, vec![])];
    let prices = histogram("shop.price", "EUR", 1, vec![buckets(NOW, NOW - NS_PER_S, [1, 2, 1], 3.0, 200)]);
    folder.fold(Signal::Metrics, NOW, metrics("shop", "1", vec![sum("shop.sold", 2, points), prices]));

    let windows = folder.windows();
    let of = |key: &str| windows.get(key).map(|(count, sum, _)| (*count, *sum));
    assert_eq!(of("1 kpi orders EUR"), Some((2, 10.0)));
    assert_eq!(of("1 kpi revenue EUR"), Some((1, 10.0)), "an order without a value has no revenue");
    assert_eq!(of("1 kpi stock_outs EUR"), Some((1, 0.0)));
    assert_eq!(of("1 kpi missing EUR"), Some((1, 4.0)));
    assert_eq!(of("1 kpi sold EUR").map(|found| found.1), Some(8.0), "what the total grew by");
    assert_eq!(of("1 kpi prices EUR"), Some((4, 3.0)));
    // The event of the same key is counted once here, and by its name elsewhere.
    assert_eq!((of("1 kpi signup EUR"), of("1 kpi signup")), (Some((1, 0.0)), Some((1, 0.0))));
    // Both services count orders by name.
    assert_eq!(of("1 kpi order").map(|found| found.0), Some(4));
}

#[test]
fn values_in_another_unit_are_not_added_to_a_declared_kpi_and_that_is_said() {
    let of = |key: &str, value| kpi(key, KpiSource::Event("order".to_owned()), value);
    let mut without_unit = of("raw", KpiValue::Sum);
    without_unit.unit = "".into();
    let kpis =
        vec![of("revenue", KpiValue::Sum), of("basket", KpiValue::Mean), of("orders", KpiValue::Count), without_unit];
    let mut folder = Folder::new(&AggregateConfig { kpis: kpis.into(), ..AggregateConfig::default() });
    let order = |value: f64, unit: &str| event("order", vec![double("value", value), text("unit", unit)]);
    let unknown = event("order", vec![double("value", 5.0)]);
    let records = vec![order(42.5, "USD"), order(42.5, "USD"), order(10.0, "EUR"), unknown];
    folder.fold(Signal::Logs, NOW, logs("shop", "1", records));

    let windows = folder.windows();
    let of = |key: &str| windows.get(key).map(|(count, sum, _)| (*count, *sum));
    assert_eq!(of("1 kpi revenue EUR"), Some((2, 15.0)), "what names no unit is in the declared one");
    assert_eq!(of("1 kpi basket EUR"), Some((2, 15.0)));
    assert_eq!(of("1 kpi orders EUR"), Some((4, 15.0)), "all are counted");
    assert_eq!(of("1 kpi raw"), Some((4, 100.0)), "without a declared unit values are added as they are");
    assert_eq!(of("1 kpi order USD"), Some((2, 85.0)), "and by its name each unit by itself");
    let unusual = folder.state.counters.unusual();
    assert_eq!(unusual[4], ("other_unit", 4), "two events, left out of two KPIs");
    let detail = &folder.state.counters.left_out[0].detail;
    assert!(["revenue", "EUR", "shop", "USD"].iter().all(|word| detail.contains(word)), "{detail}");
}

#[test]
fn users_and_sessions_are_counted_once_from_logs_and_server_spans() {
    let mut folder = Folder::new(&AggregateConfig::default());
    let who = |user: &str, session: &str| vec![text("user.id", user), text("session.id", session)];
    let said = |severity: i32, user: &str, session: &str| LogRecord {
        attributes: who(user, session),
        ..log(NOW as u64, severity, "x")
    };
    let records = vec![
        said(9, "a", "s1"),
        said(9, "a", "s2"),
        said(17, "b", "s3"),
        said(21, "c", "s4"),
        LogRecord {
            attributes: vec![text("enduser.id", "d"), text("session.id", "s5")],
            ..event("device.crash", vec![])
        },
    ];
    folder.fold(Signal::Logs, NOW, logs("app", "1", records));
    let with = |status: i64, user: &str, session: &str| {
        let mut span = span("/", NOW, 5, status);
        span.attributes.extend(who(user, session));
        span
    };
    let client = Span { kind: 3, ..with(200, "nobody", "none") };
    folder.fold(Signal::Traces, NOW, spans("app", "1", vec![with(200, "a", "s1"), with(500, "e", "s6"), client]));
    let windows = folder.windows();
    let of = |metric: &str| windows[&format!("1 usage {metric}")].2;
    assert_eq!((of("users"), of("sessions")), (5, 6));
    assert_eq!((of("crashed_sessions"), of("errored_sessions")), (2, 4));
}

#[test]
fn evaluations_of_all_three_kinds_and_both_generations_of_names_are_folded() {
    let mut folder = Folder::new(&AggregateConfig::default());
    let today = vec![
        text("feature_flag.key", "pay-v2"),
        text("feature_flag.result.variant", "on"),
        text("feature_flag.result.reason", "SPLIT"),
    ];
    let before = vec![
        text("feature_flag.key", "pay-v2"),
        text("feature_flag.variant", "off"),
        text("feature_flag.evaluation.reason", "split"),
    ];
    let by_value = vec![text("feature_flag.key", "limit"), attribute("feature_flag.result.value", Value::IntValue(7))];
    let failed = vec![text("feature_flag.key", "gone"), text("error.type", "flag_not_found")];
    let records = vec![
        event("feature_flag.evaluation", today.clone()),
        event("feature_flag", before.clone()),
        event("feature_flag.evaluation", by_value),
        event("feature_flag.evaluation", failed),
        event("feature_flag.evaluation", vec![text("nothing", "here")]),
    ];
    folder.fold(Signal::Logs, NOW, logs("shop", "1", records));
    // On a request's span, twice as an event and once as attributes of another span.
    let asked =
        |attributes: &[_]| Event { name: "feature_flag".into(), attributes: attributes.to_vec(), ..Event::default() };
    let request = Span { events: vec![asked(&today), asked(&today)], ..span("/pay", NOW, 5, 500) };
    let inner = Span { kind: 1, attributes: before, ..span("/pay", NOW, 5, 200) };
    folder.fold(Signal::Traces, NOW, spans("shop", "1", vec![request, inner]));
    let windows = folder.windows();
    let count = |key: &str| windows.get(key).map(|found| found.0);
    assert_eq!(count("1 toggle pay-v2 evaluations reason=split,variant=on"), Some(3));
    assert_eq!(count("1 toggle pay-v2 evaluations reason=split,variant=off"), Some(2));
    assert_eq!(count("1 toggle limit evaluations reason=,variant=7"), Some(1));
    assert_eq!(count("1 toggle gone evaluations reason=,variant=(error)"), Some(1));
    assert_eq!(count("1 toggle pay-v2 requests variant=on"), Some(1), "one request, however often it asked");
    assert_eq!(count("1 toggle pay-v2 errors variant=on"), Some(1));
    assert_eq!(windows.get("1 toggle pay-v2 s variant=on").map(|found| (found.0, found.1)), Some((1, 0.005)));
    let rows = folder.state.product.toggles.rows(Some(("shop", "prod")), NOW);
    let seen: Vec<_> = rows.iter().map(|row| (&*row.key, &*row.variant, row.evaluations)).collect();
    assert!(seen.contains(&("pay-v2", "on", 3)) && seen.len() == 4, "{seen:?}");
}

#[test]
fn what_is_remembered_survives_a_commit_and_a_restart() {
    let config = AggregateConfig::default();
    let mut folder = Folder::new(&config);
    let records = vec![
        event(
            "feature_flag.evaluation",
            vec![text("feature_flag.key", "k"), text("feature_flag.result.variant", "on")],
        ),
        event("order", vec![double("value", 3.0), text("user.id", "u"), text("session.id", "s")]),
    ];
    folder.fold(Signal::Logs, NOW, logs("shop", "1", records.clone()));
    let before = encode(&folder.state);
    let cut = Cut::take(&mut folder.state);
    drop(cut);
    let bytes = encode(&folder.state);
    assert_ne!(bytes, before, "the day takes the commit's sessions");
    let restored = decode(&compress(&bytes), &config).expect("our own bytes");
    assert_eq!(encode(&restored), bytes);

    let question = MeasureQuery {
        service: Some("shop".to_owned()),
        environment: Some("prod".to_owned()),
        signals: &["kpi", "usage"],
        values: &["kpi"],
        from_ms: NOW / 1_000_000 - 60_000,
        to_ms: NOW / 1_000_000 + 60_000,
        step_s: 60,
    };
    // A second request after the commit: kept and fresh cells add up, and users are not counted twice.
    folder.fold(Signal::Logs, NOW, logs("shop", "1", records));
    let State { product, series, watermark, .. } = &folder.state;
    let metas = series.metric_metas();
    let found: BTreeMap<String, (u64, f64, u64)> = product
        .recent
        .measures(&question, &product.windows, &metas)
        .into_iter()
        .map(|series| {
            let cell = &series.cells[0];
            (
                series.key.metric.to_string(),
                (
                    cell.count,
                    cell.sum,
                    cell.distinct.as_ref().map_or(0, Distinct::count)
                        + cell.values.as_ref().map_or(0, |values| values.count),
                ),
            )
        })
        .collect();
    assert_eq!(found["order"], (2, 6.0, 2), "the kept value and the fresh one");
    assert_eq!((found["users"].2, found["sessions"].2), (1, 1));
    let day = product.day.totals("shop", "prod", watermark.newest_ns(), &product.windows, &metas);
    assert_eq!((day.len(), day[0].users.count(), day[0].sessions.count()), (1, 1, 1));
}

/// A million users, sessions, event names, units, toggles, variants and label values in a minute.
#[test]
fn a_million_different_values_leave_memory_bounded_and_others_exact() {
    const REQUESTS: usize = 250;
    const EACH: usize = 4_000;
    let limits = Limits { series: 60_000, ..Limits::default() };
    let mut folder = Folder::new(&AggregateConfig { limits, ..AggregateConfig::default() });
    let quiet = || vec![event("order", vec![double("value", 1.0), text("user.id", "u1"), text("session.id", "s1")])];
    folder.fold(Signal::Logs, NOW, logs("quiet", "1", quiet()));
    for request in 0..REQUESTS {
        let at = NOW + request as i64 * 240_000_000;
        let mut records = Vec::with_capacity(EACH * 2);
        for n in request * EACH..(request + 1) * EACH {
            let who = vec![
                text("user.id", &format!("u{n}")),
                text("session.id", &format!("s{n}")),
                text("unit", &format!("U{n}")),
            ];
            let time_unix_nano = at as u64;
            records.push(LogRecord { time_unix_nano, ..event(&format!("event-{n}"), who) });
            if n % 4 == 0 {
                let toggle = vec![
                    text("feature_flag.key", &format!("k{}", n % 1_000)),
                    text("feature_flag.result.variant", &format!("v{n}")),
                ];
                records.push(LogRecord { time_unix_nano, ..event("feature_flag.evaluation", toggle) });
            }
        }
        folder.fold(Signal::Logs, at, logs("noisy", "1", records));
        let points =
            (0..EACH).map(|n| number(at, at, 1.0, vec![text("label", &format!("{}", request * EACH + n))])).collect();
        folder.fold(Signal::Metrics, at, metrics("noisy", "1", vec![gauge("level", points)]));
        // As a shard does when much is hot.
        if request % 50 == 49 {
            folder.fold(Signal::Logs, at, logs("quiet", "1", quiet()));
            assert!(
                folder.state.product.windows.heap_bytes() < 2 << 20,
                "{}",
                folder.state.product.windows.heap_bytes()
            );
            let rows = folder.state.rows.take();
            drop(rows);
        }
    }
    let product = &folder.state.product;
    assert!(product.bytes() < 8 << 20, "{} bytes", product.bytes());
    assert!(folder.state.series.len() < 25_000, "{} series", folder.state.series.len());
    assert!(folder.state.counters.overflow > 1_000_000);
    let day = |service: &str| {
        let State { product, series, watermark, .. } = &folder.state;
        product.day.totals(service, "prod", watermark.newest_ns(), &product.windows, &series.metric_metas())
    };
    let noisy = day("noisy")[0].users.count() as f64;
    assert!((noisy / 1_000_000.0 - 1.0).abs() < 0.05, "{noisy}");
    assert_eq!(day("quiet")[0].sessions.count(), 1);
    let question = MeasureQuery {
        service: Some("quiet".to_owned()),
        environment: None,
        signals: &["kpi"],
        values: &["kpi"],
        from_ms: NOW / 1_000_000 - 60_000,
        to_ms: NOW / 1_000_000 + 120_000,
        step_s: 3_600,
    };
    let found = product.recent.measures(&question, &product.windows, &folder.state.series.metric_metas());
    let orders: (u64, f64) =
        found.iter().flat_map(|series| &series.cells).fold((0, 0.0), |(n, sum), cell| (n + cell.count, sum + cell.sum));
    assert_eq!((found.len(), orders), (1, (6, 6.0)));
}

#[test]
fn an_event_is_a_row_and_toggles_are_too() {
    let mut folder = Folder::new(&AggregateConfig::default());
    folder.fold(Signal::Logs, NOW, logs("shop", "1", vec![event("a", vec![]), event("feature_flag", vec![])]));
    let rows: usize = folder.state.rows.of(Table::Logs).iter().map(|rows| rows.num_rows()).sum();
    assert_eq!(rows, 2);
}
