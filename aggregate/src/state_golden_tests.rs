//! A committed state of every version is kept in `testdata/` and must open with what it was written with. Version 1 is in
//! `state_bytes.rs`; this is version 2, with log patterns, usage and toggles in its sections, and `v2-markers` from after it had got
//! those of markers and verdicts.
//!
//! The files are never changed. One of a new version is written by this test with `SHIPWAKE_WRITE_GOLDEN=v3` in the
//! environment, `v3-markers` for what [`said`] has besides.

use std::path::Path;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use shipwake_model::Signal;
use shipwake_store::{MarkerQuery, PatternQuery};

use crate::commit::Cut;
use crate::config::AggregateConfig;
use crate::requests::*;
use crate::state::State;
use crate::state_bytes::{compress, decode, encode};

const V2: &[u8] = include_bytes!("testdata/state-v2.bin");
const V2_MARKERS: &[u8] = include_bytes!("testdata/state-v2-markers.bin");

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
        let state = if version.ends_with("-markers") { said() } else { written() };
        std::fs::write(to, compress(&encode(&state))).expect("written");
        return;
    }
    let config = AggregateConfig::default();
    let state = decode(V2, &config).expect("opens");
    let written_again = decode(&compress(&encode(&state)), &config).expect("opens");
    check(state);
    check(written_again);
}

/// A state with a marker that has every field, one with few, and two changes of a verdict.
fn said() -> State {
    let mut state = State::new(&AggregateConfig::default());
    let event = |name: &str, prefix: &str, attributes: &[(&str, &str)]| LogRecord {
        time_unix_nano: NOW as u64,
        event_name: name.to_owned(),
        attributes: attributes.iter().map(|(name, value)| text(&format!("{prefix}{name}"), value)).collect(),
        ..LogRecord::default()
    };
    let marker = |attributes: &[(&str, &str)]| event("shipwake.marker", "shipwake.marker.", attributes);
    let verdict = |attributes: &[(&str, &str)]| event("shipwake.verdict", "shipwake.verdict.", attributes);
    let records = vec![
        marker(&[
            ("id", "d-1"),
            ("kind", "weight"),
            ("until", "1800000001000000000"),
            ("said", "1800000002000000000"),
            ("previous", "0.9"),
            ("weight", "0.25"),
            ("role", "candidate"),
            ("exposure", "internal"),
            ("status", "failed"),
            ("toggle", "pay-v2"),
            ("commit", "a84d88e"),
            ("url", "https://ci.example/7"),
            ("by", "ana"),
            ("source", "github"),
            ("text", "Häuser \"7\""),
        ]),
        marker(&[("id", "d-2"), ("kind", "note")]),
        verdict(&[("sequence", "1"), ("verdict", "wait")]),
        verdict(&[
            ("sequence", "2"),
            ("verdict", "no_go"),
            ("baseline", "0.9"),
            ("previous", "wait"),
            ("ending", "rolled_back"),
            ("summary", "Roll back: p99 +38 %"),
            ("policy", "default"),
            ("checks", "[{\"id\":\"latency\"}]"),
        ]),
    ];
    state.fold(&stored(0, record(Signal::Logs, NOW, 4, logs("shop", "1.0", records), None)));
    state
}

#[test]
fn a_state_of_version_2_with_markers_and_verdicts_opens_with_them() {
    let config = AggregateConfig::default();
    let state = decode(V2_MARKERS, &config).expect("opens");
    let again = decode(&compress(&encode(&state)), &config).expect("opens");
    let (all, expected) = (MarkerQuery::all(), said());
    for state in [state, again] {
        assert_eq!(state.markers.markers(&all), expected.markers.markers(&all));
        assert_eq!(state.markers.verdicts(&all), expected.markers.verdicts(&all));
        let (markers, verdicts) = (state.markers.markers(&all), state.markers.verdicts(&all));
        assert_eq!(
            (&*markers[0].marker.id, markers[0].marker.weight, &*markers[0].marker.text),
            ("d-1", Some(0.25), "Häuser \"7\"")
        );
        assert_eq!((markers.len(), verdicts.len(), &*verdicts[0].change.verdict), (2, 2, "no_go"));
    }
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
