//! A committed state of every version is kept in `testdata/` and must open with what it was written with. Version 1 is in
//! `state_bytes.rs`; this is version 2, with log patterns, usage and toggles in its sections.
//!
//! The files are never changed. One of a new version is written by this test with `SHIPWAKE_WRITE_GOLDEN=v3` in the
//! environment.

use std::path::Path;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use shipwake_model::Signal;
use shipwake_store::PatternQuery;

use crate::commit::Cut;
use crate::config::AggregateConfig;
use crate::requests::*;
use crate::state::State;
use crate::state_bytes::{compress, decode, encode};

const V2: &[u8] = include_bytes!("testdata/state-v2.bin");

/// A state with something in every part: patterns of two services, three sessions of two users, a toggle of two variants,
/// a running total, a request hash and a rejected point.
fn written() -> State {
    let mut state = State::new(&AggregateConfig::default());
    let named = |name: &str, attributes| LogRecord {
        time_unix_nano: NOW as u64,
        event_name: name.to_owned(),
        attributes,
        ..LogRecord::default()
    };
    let evaluated = |variant: &str| {
        let attributes = vec![text("feature_flag.key", "pay-v2"), text("feature_flag.result.variant", variant)];
        named("feature_flag.evaluation", attributes)
    };
    let who = |user: &str, session: &str| vec![text("user.id", user), text("session.id", session)];
    let shop = vec![
        log(NOW as u64, 17, "payment 17 refused"),
        log(NOW as u64, 17, "payment 4711 refused"),
        evaluated("on"),
        evaluated("on"),
        evaluated("off"),
        named("order_placed", who("u1", "s1")),
        named("order_placed", who("u1", "s2")),
        named("app.crash", who("u2", "s3")),
    ];
    let points = vec![number(NOW, NOW - 1_000_000_000, 4.5, Vec::new()), number(NOW, 0, f64::NAN, Vec::new())];
    let requests = [
        (Signal::Logs, logs("shop", "1.0", shop), Some(5)),
        (Signal::Logs, logs("cart", "2.0", vec![log(NOW as u64, 9, "cart opened")]), None),
        (Signal::Metrics, metrics("shop", "1.0", vec![sum("orders", 2, points)]), None),
    ];
    for (offset, (signal, value, hash)) in requests.into_iter().enumerate() {
        state.fold(&stored(offset as u64, record(signal, NOW, 9, value, hash)));
    }
    // The day and the patterns take what was folded when it is committed.
    drop(Cut::take(&mut state));
    state
}

#[test]
fn a_state_of_version_2_opens_with_its_patterns_usage_and_toggles() {
    if let Ok(version) = std::env::var("SHIPWAKE_WRITE_GOLDEN") {
        let to = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/testdata/state-{version}.bin"));
        assert!(!to.exists(), "{} is there already and is never changed", to.display());
        std::fs::write(to, compress(&encode(&written()))).expect("written");
        return;
    }
    let config = AggregateConfig::default();
    let state = decode(V2, &config).expect("opens");
    let written_again = decode(&compress(&encode(&state)), &config).expect("opens");
    check(state);
    check(written_again);
}

/// That everything is there which [`written`] put in.
fn check(mut state: State) {
    let question = PatternQuery { service: None, environment: None, from_ms: 0, to_ms: 0 };
    let mut patterns: Vec<_> = state
        .patterns
        .rows(&question, &state.lines, &state.series.metric_metas())
        .into_iter()
        .map(|row| (row.service.to_string(), row.template.to_string(), row.versions[0].version.to_string()))
        .collect();
    patterns.sort();
    let pattern =
        |service: &str, template: &str, version: &str| (service.to_owned(), template.to_owned(), version.to_owned());
    assert!(patterns.contains(&pattern("shop", "payment <*> refused", "1.0")), "{patterns:?}");
    assert!(patterns.contains(&pattern("cart", "cart opened", "2.0")), "{patterns:?}");

    let State { product, watermark, series, .. } = &state;
    let day = product.day.totals("shop", "prod", watermark.newest_ns(), &product.windows, &series.metric_metas());
    assert_eq!((day[0].users.count(), day[0].sessions.count()), (2, 3));
    let toggles = product.toggles.rows(Some(("shop", "prod")), NOW);
    let mut seen: Vec<_> =
        toggles.iter().map(|row| (&*row.key, &*row.variant, &*row.release.version, row.evaluations)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("pay-v2", "off", "1.0", 1), ("pay-v2", "on", "1.0", 2)]);

    assert_eq!((state.next_offset, state.counters.stored), (3, [9, 1, 0]));
    assert_eq!((&*state.counters.rejected[0].reason, state.counters.rejected[0].count), ("not_a_number", 1));
    let mut releases: Vec<_> = state.releases.iter().map(|release| (&*release.id.service, release.records)).collect();
    releases.sort_unstable();
    assert_eq!(releases, [("cart", 1), ("shop", 9)]);
    assert_eq!(state.streams.totals().count(), 1);
    assert!(!state.dedup.is_new(5, NOW), "a retry of before is still known");
}
