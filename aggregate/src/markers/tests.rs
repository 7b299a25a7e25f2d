//! Markers and verdicts from the bytes of requests to what readers are told, and through the committed state.

use arrow::array::{Array, AsArray};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use shipwake_model::Signal;
use shipwake_model::window::NS_PER_S;
use shipwake_store::{MarkerQuery, Table};

use super::KEPT_NS;
use crate::commit::Cut;
use crate::config::{AggregateConfig, Limits};
use crate::requests::*;
use crate::state::State;
use crate::state_bytes::{compress, decode, encode};

struct Folder {
    state: State,
    offset: u64,
}

impl Folder {
    fn new(limits: Limits) -> Self {
        Folder { state: State::new(&AggregateConfig { limits, ..AggregateConfig::default() }), offset: 0 }
    }

    fn fold(&mut self, signal: Signal, received_ns: i64, value: Vec<u8>) -> crate::Folded {
        let folded = self.state.fold(&stored(self.offset, record(signal, received_ns, 1, value, None)));
        self.offset += 1;
        folded
    }

    fn say(&mut self, version: &str, event: &str, at_ns: i64, attributes: &[(&str, &str)]) {
        let record = said(event, at_ns, attributes);
        let folded = self.fold(Signal::Logs, at_ns.min(NOW + KEPT_NS * 2), logs("shop", version, vec![record]));
        assert_eq!((folded.stored, folded.rejected), (1, 0), "what is said is a row");
    }

    /// The markers as `id=version kind`, newest first.
    fn markers(&self) -> Vec<String> {
        let rows = self.state.markers.markers(&MarkerQuery::all());
        rows.iter()
            .map(|row| format!("{}={} {}", row.marker.id, row.marker.release.version, row.marker.kind.as_str()))
            .collect()
    }
}

fn said(event: &str, at_ns: i64, attributes: &[(&str, &str)]) -> LogRecord {
    LogRecord {
        time_unix_nano: at_ns as u64,
        event_name: event.to_owned(),
        attributes: attributes.iter().map(|(name, value)| text(name, value)).collect(),
        ..LogRecord::default()
    }
}

const MARKER: &str = "shipwake.marker";
const ID: &str = "shipwake.marker.id";
const KIND: &str = "shipwake.marker.kind";

#[test]
fn a_marker_is_kept_once_and_is_no_sign_that_its_version_runs() {
    let mut folder = Folder::new(Limits::default());
    folder.fold(Signal::Logs, NOW, logs("shop", "1", vec![log(NOW as u64, 9, "a request")]));
    for _ in 0..2 {
        folder.say("2", MARKER, NOW, &[(ID, "d-1"), (KIND, "deploy"), ("shipwake.marker.by", "ana")]);
    }
    assert_eq!(folder.markers(), ["d-1=2 deploy"]);
    let seen = |state: &State| -> Vec<(String, u64)> {
        let known = state.releases.iter().filter(|release| release.records > 0);
        known.map(|release| (release.id.version.to_string(), release.requests_of_best_source())).collect()
    };
    assert_eq!(seen(&folder.state), [("1".to_owned(), 1)]);
    // Its rows are there to be searched, and belong to no pattern.
    let rows: usize = folder.state.rows.of(Table::Logs).iter().map(|rows| rows.num_rows()).sum();
    assert_eq!(rows, 3);
    // The name of an event may be an attribute, too.
    let mut old = said("", NOW, &[("event.name", MARKER), (ID, "d-2"), (KIND, "rollback")]);
    old.severity_number = 17;
    folder.fold(Signal::Logs, NOW, logs("shop", "1.9", vec![old]));
    assert_eq!(folder.markers(), ["d-1=2 deploy", "d-2=1.9 rollback"]);
    assert_eq!(seen(&folder.state).len(), 1);
}

#[test]
fn an_attempt_to_tell_somebody_is_a_row_and_no_sign_that_its_version_runs() {
    let mut folder = Folder::new(Limits { services: 2, ..Limits::default() });
    for n in 0..50 {
        let told = said("shipwake.notification", NOW, &[("shipwake.notification.result", "delivered")]);
        let folded = folder.fold(Signal::Logs, NOW, logs(&format!("service-{n}"), "1", vec![told]));
        assert_eq!((folded.stored, folded.rejected), (1, 0));
    }
    assert_eq!((folder.state.releases.iter().count(), folder.state.counters.overflow), (0, 0));
    assert!(folder.markers().is_empty() && folder.state.markers.verdicts(&MarkerQuery::all()).is_empty());
    let rows: usize = folder.state.rows.of(Table::Logs).iter().map(|rows| rows.num_rows()).sum();
    assert_eq!(rows, 50);
}

#[test]
fn what_is_only_talked_about_takes_no_place_of_what_runs() {
    let mut folder = Folder::new(Limits { releases_per_service: 2, services: 2, ..Limits::default() });
    for n in 0..50 {
        folder.say(&format!("announced-{n}"), MARKER, NOW, &[(ID, &format!("d-{n}")), (KIND, "deploy")]);
        let record = said(MARKER, NOW, &[(ID, &format!("s-{n}")), (KIND, "note")]);
        folder.fold(Signal::Logs, NOW, logs(&format!("service-{n}"), "1", vec![record]));
    }
    // One request may speak of another release and be of its own sender, too.
    let own = log(NOW as u64, 9, "a request");
    let both = said(MARKER, NOW, &[(ID, "both"), (KIND, "note")]);
    folder.fold(Signal::Logs, NOW, logs("shop", "1", vec![own.clone(), both]));
    folder.fold(Signal::Logs, NOW, logs("shop", "2", vec![own]));
    let mut known: Vec<String> = folder.state.releases.iter().map(|release| release.id.version.to_string()).collect();
    known.sort_unstable();
    assert_eq!((known, folder.state.counters.overflow), (vec!["1".to_owned(), "2".to_owned()], 0));
    assert_eq!(folder.markers().len(), 101);
    let versions: Vec<String> = folder
        .state
        .rows
        .of(Table::Logs)
        .iter()
        .flat_map(|rows| {
            let batch = rows.to_batch(None);
            let column = batch.column_by_name("version").expect("a column").as_string::<i32>().clone();
            (0..column.len()).map(|row| column.value(row).to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert!(versions.contains(&"announced-49".to_owned()), "rows name what was talked about");
}

#[test]
fn what_was_said_later_counts_whichever_comes_first() {
    let said_at = |minutes: i64| (NOW + minutes * 60 * NS_PER_S).to_string();
    for order in [[0, 1], [1, 0]] {
        let mut folder = Folder::new(Limits::default());
        for which in order {
            let (version, said) = [("2", said_at(1)), ("3", said_at(2))][which].clone();
            folder.say(version, MARKER, NOW, &[(ID, "d-1"), (KIND, "deploy"), ("shipwake.marker.said", &said)]);
        }
        assert_eq!(folder.markers(), ["d-1=3 deploy"], "{order:?}");
    }
}

#[test]
fn a_correction_counts_even_if_it_is_about_an_earlier_time() {
    let mut folder = Folder::new(Limits::default());
    folder.say("2", MARKER, NOW, &[(ID, "d-1"), (KIND, "deploy")]);
    let earlier = said(MARKER, NOW - 600 * NS_PER_S, &[(ID, "d-1"), (KIND, "rollback")]);
    folder.fold(Signal::Logs, NOW + 1, logs("shop", "1", vec![earlier]));
    assert_eq!(folder.markers(), ["d-1=1 rollback"]);
}

#[test]
fn a_marker_about_tomorrow_keeps_its_time_and_moves_no_clock() {
    let mut folder = Folder::new(Limits::default());
    let tomorrow = NOW + 24 * 3600 * NS_PER_S;
    let record = said(MARKER, tomorrow, &[(ID, "f"), (KIND, "freeze")]);
    folder.fold(Signal::Logs, NOW, logs("shop", "1", vec![record]));
    let rows = folder.state.markers.markers(&MarkerQuery::all());
    assert_eq!((rows[0].marker.at_ns, rows[0].received_ns), (tomorrow, NOW));
    assert_eq!(folder.state.watermark.newest_ns(), i64::MIN);
}

#[test]
fn a_marker_that_cannot_be_used_is_a_row_and_its_fault_is_told() {
    let mut folder = Folder::new(Limits::default());
    folder.say("2", MARKER, NOW, &[(ID, "d-1"), (KIND, "deplyo")]);
    folder.say("2", "shipwake.verdict", NOW, &[]);
    assert_eq!(folder.markers(), Vec::<String>::new());
    let left_out = &folder.state.counters.left_out;
    assert_eq!((&*left_out[0].reason, left_out[0].count), ("bad_marker", 2));
    assert!(folder.state.counters.unusual().contains(&("bad_marker", 2)));
}

#[test]
fn deployments_by_opentelemetrys_names_are_markers() {
    let mut folder = Folder::new(Limits::default());
    let attributes =
        [("deployment.id", "1216"), ("deployment.name", "deploy shop"), ("deployment.status", "succeeded")];
    folder.say("2", "", NOW, &attributes);
    let span = Span {
        start_time_unix_nano: NOW as u64,
        end_time_unix_nano: (NOW + NS_PER_S) as u64,
        attributes: vec![
            text("cicd.pipeline.task.type", "deploy"),
            text("cicd.pipeline.task.run.id", "77"),
            text("cicd.pipeline.task.run.result", "failure"),
        ],
        ..Span::default()
    };
    let built = Span { attributes: vec![text("cicd.pipeline.task.type", "build")], ..span.clone() };
    folder.fold(Signal::Traces, NOW + NS_PER_S, spans("shop", "3", vec![span, built]));
    let rows = folder.state.markers.markers(&MarkerQuery::all());
    let found: Vec<_> =
        rows.iter().map(|row| (&*row.marker.release.version, row.marker.status.map(|s| s.as_str()))).collect();
    assert_eq!(found, [("3", Some("failed")), ("2", Some("succeeded"))]);
    assert_eq!(rows[0].marker.at_ns, NOW + NS_PER_S);
}

#[test]
fn markers_are_bounded_by_service_bytes_and_age() {
    let mut folder = Folder::new(Limits { markers_per_service: 3, ..Limits::default() });
    for n in 0..5i64 {
        folder.say("2", MARKER, NOW + n, &[(ID, &format!("d-{n}")), (KIND, "note")]);
    }
    assert_eq!(folder.markers(), ["d-4=2 note", "d-3=2 note", "d-2=2 note"]);
    // An old one that comes late is the oldest, and makes room for itself.
    folder.say("2", MARKER, NOW - 1, &[(ID, "old"), (KIND, "note")]);
    assert_eq!(folder.markers().len(), 3);
    assert!(!folder.markers().contains(&"old=2 note".to_owned()));

    let mut folder = Folder::new(Limits { marker_bytes: 20_000, ..Limits::default() });
    for n in 0..200i64 {
        let record = said(MARKER, NOW + n, &[(ID, &format!("d-{n}")), (KIND, "note")]);
        folder.fold(Signal::Logs, NOW + n, logs(&format!("s-{n}"), "2", vec![record]));
    }
    assert!(folder.state.markers.bytes() <= 20_000);
    let kept = folder.markers();
    assert!(kept.len() > 10 && kept[0].starts_with("d-199"), "{kept:?}");
    folder.state.markers.prune(NOW + KEPT_NS + 190);
    assert_eq!(folder.markers().len(), 10);
    folder.state.markers.prune(i64::MAX);
    assert_eq!((folder.markers().len(), folder.state.markers.bytes()), (0, 0));
}

#[test]
fn what_was_said_comes_back_from_the_committed_state() {
    let mut folder = Folder::new(Limits::default());
    let more = [
        ("shipwake.marker.weight", "0.25"),
        ("shipwake.marker.role", "candidate"),
        ("shipwake.marker.text", "a \"b\""),
    ];
    folder.say("2", MARKER, NOW, &[&[(ID, "d-1"), (KIND, "weight")], &more[..]].concat());
    for sequence in ["1", "2", "2"] {
        let verdict = [
            ("shipwake.verdict.sequence", sequence),
            ("shipwake.verdict.verdict", "no_go"),
            ("shipwake.verdict.checks", "[1]"),
        ];
        folder.say("2", "shipwake.verdict", NOW, &verdict);
    }
    drop(Cut::take(&mut folder.state));
    let bytes = compress(&encode(&folder.state));
    let back = decode(&bytes, &AggregateConfig::default()).expect("opens");
    let all = MarkerQuery::all();
    assert_eq!(back.markers.markers(&all), folder.state.markers.markers(&all));
    assert_eq!(back.markers.verdicts(&all), folder.state.markers.verdicts(&all));
    assert_eq!((back.markers.verdicts(&all).len(), back.markers.bytes()), (2, folder.state.markers.bytes()));
    assert_eq!(encode(&back), encode(&folder.state));
}
