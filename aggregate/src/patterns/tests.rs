//! Log records in, ids, counts and what is remembered out.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use shipwake_model::Signal;
use shipwake_model::pattern::{OTHER, id_text};
use shipwake_model::window::NS_PER_S;
use shipwake_store::{PatternQuery, PatternRow, Table};

use super::book::FACES_MAX;
use crate::commit::Cut;
use crate::config::{AggregateConfig, Limits};
use crate::requests::*;
use crate::state::State;
use crate::state_bytes;
use crate::window_rows::window_rows;

fn config(limits: Limits) -> AggregateConfig {
    AggregateConfig { limits, ..AggregateConfig::default() }
}

fn fold(state: &mut State, received_ns: i64, version: &str, records: Vec<LogRecord>) {
    let count = records.len() as u32;
    let record = record(Signal::Logs, received_ns, count, logs("shop", version, records), None);
    state.fold(&stored(state.next_offset, record));
}

fn lines(state: &mut State, version: &str, bodies: &[&str]) {
    let records = bodies.iter().map(|body| log(NOW as u64, 17, body)).collect();
    fold(state, NOW, version, records);
}

/// `body: pattern_id` of all rows.
fn rows(state: &mut State) -> BTreeMap<String, Option<String>> {
    let batches: Vec<RecordBatch> = state.rows.of(Table::Logs).iter().map(|rows| rows.to_batch(None)).collect();
    let mut out = BTreeMap::new();
    for batch in &batches {
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (body, id) = (text("body"), text("pattern_id"));
        for row in 0..batch.num_rows() {
            out.insert(body.value(row).to_owned(), id.is_valid(row).then(|| id.value(row).to_owned()));
        }
    }
    out
}

fn known(state: &State) -> Vec<PatternRow> {
    let query =
        PatternQuery { service: Some("shop".to_owned()), environment: None, from_ms: 0, to_ms: i64::MAX / 2_000_000 };
    let mut rows = state.patterns.rows(&query, &state.lines, &state.series.metric_metas());
    rows.sort_by_key(|row| row.id);
    rows
}

/// `template` to lines of all versions, as the pages see them.
fn counts(state: &State) -> BTreeMap<String, u64> {
    let count = |row: &PatternRow| row.versions.iter().map(|version| version.count).sum();
    known(state).iter().map(|row| (row.template.to_string(), count(row))).collect()
}

#[test]
fn a_record_has_the_id_of_its_pattern_and_counts_in_its_window() {
    let mut state = State::new(&config(Limits::default()));
    let at = |second: i64| (NOW + second * NS_PER_S) as u64;
    let records =
        vec![log(at(1), 17, "timeout after 31 ms"), log(at(4), 17, "timeout after 7 ms"), log(at(2), 9, "started")];
    fold(&mut state, NOW + 5 * NS_PER_S, "2", records);
    let rows = rows(&mut state);
    assert_eq!(rows["timeout after 31 ms"], rows["timeout after 7 ms"]);
    assert_ne!(rows["timeout after 31 ms"], rows["started"]);

    let id = rows["timeout after 7 ms"].clone().unwrap();
    let mut found = Vec::new();
    for (_, rows) in window_rows(&state.deltas()) {
        for batch in rows.iter().map(|rows| rows.to_batch(None)) {
            let column = |name: &str| batch.column_by_name(name).unwrap();
            let text = |name: &str, row: usize| column(name).as_string::<i32>().value(row).to_owned();
            for row in (0..batch.num_rows()).filter(|row| text("metric", *row) == id) {
                assert_eq!((text("signal", row).as_str(), text("source", row).as_str()), ("pattern", "logs"));
                let number = |name: &str| column(name).as_primitive::<Float64Type>().value(row);
                assert!(column("sum").is_null(row));
                found.push((
                    column("resolution_s").as_primitive::<Int32Type>().value(row),
                    column("count").as_primitive::<Int64Type>().value(row),
                    (number("min") * 1e9) as i64 - NOW,
                    (number("max") * 1e9) as i64 - NOW,
                ));
            }
        }
    }
    assert_eq!(found, [10, 60, 3600].map(|resolution| (resolution, 2, NS_PER_S, 4 * NS_PER_S)));
}

#[test]
fn what_is_remembered_is_dated_by_version_and_has_an_example() {
    let mut state = State::new(&config(Limits::default()));
    lines(&mut state, "1", &["card 4711 rejected"]);
    Cut::take(&mut state);
    lines(&mut state, "2", &["card 9 rejected", "card 10 rejected"]);
    let rows = known(&state);
    assert_eq!((rows.len(), &*rows[0].template, &*rows[0].example), (1, "card <*> rejected", "card 4711 rejected"));
    let versions: Vec<_> = rows[0].versions.iter().map(|seen| (&*seen.version, seen.count, seen.cells.len())).collect();
    assert_eq!(versions, [("1", 1, 1), ("2", 2, 1)]);
    assert!(rows[0].versions.iter().all(|seen| seen.first_seen_ns == NOW && seen.last_seen_ns == NOW));
    assert_eq!(rows[0].versions[1].cells[0].count, 2);
}

#[test]
fn an_exception_is_its_type_and_message_whatever_the_body_says() {
    let mut state = State::new(&config(Limits::default()));
    let thrown = |route: &str, message: &str| LogRecord {
        attributes: vec![text("exception.type", "ValueError"), text("exception.message", message)],
        ..log(NOW as u64, 17, &format!("Exception on {route} [GET]"))
    };
    fold(
        &mut state,
        NOW,
        "1",
        vec![thrown("/a", "rate 7 unknown"), thrown("/b", "rate 9 unknown"), thrown("/b", "no rate")],
    );
    assert_eq!(
        counts(&state),
        [("ValueError: no rate".to_owned(), 1), ("ValueError: rate <*> unknown".to_owned(), 2)].into()
    );
}

#[test]
fn access_logs_and_records_without_a_message_have_no_pattern() {
    let mut state = State::new(&config(Limits::default()));
    let access = LogRecord {
        attributes: vec![attribute(
            "shipwake.access_log",
            opentelemetry_proto::tonic::common::v1::any_value::Value::BoolValue(true),
        )],
        ..log(NOW as u64, 9, "GET /pay 200")
    };
    let event = LogRecord { event_name: "order_placed".to_owned(), body: None, ..log(NOW as u64, 9, "") };
    let line = r#"10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] "GET /pay HTTP/1.1" 200 5"#;
    let of_a_collector = [log(NOW as u64, 0, line), log(NOW as u64, 9, line)];
    let records = [access, LogRecord { body: None, ..log(NOW as u64, 9, "") }, event].into_iter().chain(of_a_collector);
    fold(&mut state, NOW, "1", records.collect());
    let rows = rows(&mut state);
    assert_eq!((&rows["GET /pay 200"], &rows[line]), (&None, &None));
    assert_eq!(counts(&state), [("order_placed".to_owned(), 1)].into());
    fold(&mut state, NOW, "1", vec![log(NOW as u64, 17, line)]);
    assert_eq!(counts(&state).len(), 2, "somebody says that it is trouble");
}

#[test]
fn a_section_that_is_damaged_is_refused() {
    let mut state = State::new(&config(Limits::default()));
    lines(&mut state, "1", &["card 4711 rejected", "card rejected"]);
    Cut::take(&mut state);
    let bytes = super::encode(&state.patterns);
    let read = |bytes: &[u8]| {
        let mut into = State::new(&config(Limits::default()));
        super::decode(&mut state_bytes::Reader::new(bytes), &mut into.patterns).map(|()| into)
    };
    let back = read(&bytes).unwrap();
    assert_eq!(super::encode(&back.patterns), bytes);
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end]).is_err(), "cut at {end}");
    }
}

/// A name that no mask recognises.
fn name(mut n: usize) -> String {
    let mut out = String::from("u");
    loop {
        out.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
        if n == 0 {
            return out;
        }
    }
}

#[test]
fn a_word_that_varies_without_end_becomes_one_pattern() {
    let mut state = State::new(&config(Limits::default()));
    let bodies: Vec<String> = (0..500).map(|n| format!("user {} logged in from berlin", name(n))).collect();
    for chunk in bodies.chunks(7) {
        lines(&mut state, "1", &chunk.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let found = counts(&state);
    assert_eq!(found.len(), FACES_MAX + 1);
    assert_eq!(found["user <*> logged in from berlin"], 500 - FACES_MAX as u64);
}

#[test]
fn a_million_different_lines_stay_within_the_bounds() {
    let limits = Limits { patterns_per_service: 300, ..Limits::default() };
    let mut state = State::new(&config(limits));
    for chunk in 0..1_000usize {
        let records = (0..1_000usize).map(|n| {
            let n = chunk * 1_000 + n;
            log(NOW as u64, 9, &format!("{} {} {}", name(n), name(n * 31), name(n * 17)))
        });
        fold(&mut state, NOW + chunk as i64, "1", records.collect());
        if chunk % 100 == 0 {
            Cut::take(&mut state);
        }
    }
    assert!(known(&state).len() <= 300, "{}", known(&state).len());
    assert!(state.patterns.heap_bytes() < 2 << 20, "{}", state.patterns.heap_bytes());
    assert!(rows(&mut state).values().any(|id| id.as_deref() == Some(OTHER)));
    assert!(state.counters.overflow > 900_000);
}

#[test]
fn quiet_patterns_make_room_and_busy_ones_do_not() {
    let limits = Limits { patterns_per_service: 20, ..Limits::default() };
    let mut state = State::new(&config(limits));
    let minute = 60 * NS_PER_S;
    let say = |state: &mut State, at: i64, what: &str| fold(state, at, "1", vec![log(at as u64, 9, what)]);
    for n in 0..20 {
        say(&mut state, NOW, &format!("{} happened", name(n)));
    }
    say(&mut state, NOW + minute, "something else happened");
    assert!(!counts(&state).contains_key("something else happened"));
    for at in 1..=12 {
        say(&mut state, NOW + at * minute, &format!("{} happened", name(0)));
        Cut::take(&mut state);
    }
    say(&mut state, NOW + 12 * minute, "something else happened");
    let found = counts(&state);
    assert!(
        found.contains_key("something else happened") && found.contains_key(&format!("{} happened", name(0))),
        "{found:?}"
    );
}

#[test]
fn a_forgotten_pattern_is_learnt_again_when_it_comes_back() {
    let limits = Limits { patterns_per_service: 2, ..Limits::default() };
    let mut state = State::new(&config(limits));
    let minute = 60 * NS_PER_S;
    let say = |state: &mut State, at: i64, what: &str| fold(state, at, "1", vec![log(at as u64, 9, what)]);
    say(&mut state, NOW, "first happened");
    Cut::take(&mut state);
    say(&mut state, NOW + minute, "second happened");
    Cut::take(&mut state);
    // Makes room by forgetting the first, which comes back when the second has been quiet.
    say(&mut state, NOW + 10 * minute + 1, "third happened");
    assert!(!counts(&state).contains_key("first happened"));
    say(&mut state, NOW + 12 * minute, "first happened");
    assert_eq!(counts(&state)["first happened"], 1);
}

#[test]
fn services_without_patterns_are_not_kept() {
    let mut state = State::new(&config(Limits { patterns: 0, ..Limits::default() }));
    lines(&mut state, "1", &["nothing is remembered"]);
    assert_eq!(state.patterns.services().count(), 1);
    state.patterns.sweep(NOW);
    assert_eq!(state.patterns.services().count(), 0);
    lines(&mut state, "1", &["nothing is remembered"]);
    assert_eq!(rows(&mut state)["nothing is remembered"].as_deref(), Some(OTHER));
}

fn bodies() -> impl Strategy<Value = Vec<String>> {
    let word =
        prop_oneof![Just("disk"), Just("net"), Just("cache"), Just("lost"), Just("found"), Just("7"), Just("/a/b")];
    prop::collection::vec(prop::collection::vec(word, 1..6).prop_map(|words| words.join(" ")), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_shards_give_the_same_ids_whatever_the_order(bodies in bodies(), rotate in 0usize..60) {
        let mut other_order = bodies.clone();
        other_order.rotate_left(rotate % bodies.len());
        other_order.reverse();
        let mut ids = Vec::new();
        for order in [&bodies, &other_order] {
            let mut state = State::new(&config(Limits::default()));
            lines(&mut state, "1", &order.iter().map(String::as_str).collect::<Vec<_>>());
            ids.push((rows(&mut state), counts(&state)));
        }
        // Of a cluster with more shapes than have ids of their own, which ones have depends on the order.
        let has_wide = ids[0].1.len() > FACES_MAX;
        prop_assert!(has_wide || ids[0] == ids[1]);
    }

    /// A restart from any commit gives the same ids and counts as no restart.
    #[test]
    fn a_restart_changes_no_id_and_no_count(names in prop::collection::vec(0usize..60, 1..120), cut in 0usize..120) {
        let bodies: Vec<String> = names.iter().map(|n| format!("user {} logged in from berlin", name(*n))).collect();
        let config = config(Limits::default());
        let (mut through, mut restarted) = (State::new(&config), State::new(&config));
        let mut seen = BTreeMap::new();
        for (at, body) in bodies.iter().enumerate() {
            lines(&mut through, "1", &[body]);
            lines(&mut restarted, "1", &[body]);
            if at == cut {
                Cut::take(&mut through);
                seen.extend(rows(&mut restarted));
                Cut::take(&mut restarted);
                restarted = state_bytes::decode(&state_bytes::compress(&state_bytes::encode(&restarted)), &config).unwrap();
            }
        }
        let templates = |state: &State| -> BTreeSet<String> { counts(state).into_keys().collect() };
        prop_assert_eq!(counts(&through), counts(&restarted));
        prop_assert_eq!(templates(&through), templates(&restarted));
        prop_assert_eq!(counts(&through).values().sum::<u64>(), bodies.len() as u64);
        seen.extend(rows(&mut restarted));
        let ids: BTreeSet<String> = known(&through).iter().map(|row| id_text(row.id)).collect();
        prop_assert!(seen.values().flatten().all(|id| ids.contains(id)));
    }
}
