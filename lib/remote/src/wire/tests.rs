//! What goes over the wire comes back as it was, and whatever else comes is refused and never taken for an answer.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use shipwake_model::marker::MarkerKind;
use shipwake_model::pattern::Level;
use shipwake_model::sketch::{Distinct, Exponential, HdrCells};
use shipwake_model::{Marker, ReleaseId, Signal, Source, VerdictChange};
use shipwake_store::{
    HealthCell, HealthSeries, MarkerRow, MeasureCell, MeasureKey, MeasureSeries, PatternCell, PatternRow,
    PatternVersion, Rejected, ReleaseRow, ShardStatus, SlotSeries, ToggleRow, UsageOfDay, VerdictRow,
};

use super::{Answer, Answering, Heard, read_answer, write_answer};

fn release() -> impl Strategy<Value = Arc<ReleaseId>> {
    ("[a-c]{0,2}", "[ab]", "[pt]", "v[12]").prop_map(|(service, namespace, environment, version)| {
        Arc::new(ReleaseId {
            service: service.into(),
            namespace: namespace.into(),
            environment: environment.into(),
            version: version.into(),
        })
    })
}

fn hdr() -> impl Strategy<Value = HdrCells> {
    prop::collection::vec(any::<u32>(), 0..6).prop_map(|values| {
        let mut cells = HdrCells::new();
        values.into_iter().for_each(|value| cells.record(u64::from(value)));
        cells
    })
}

fn distinct() -> impl Strategy<Value = Distinct> {
    prop::collection::vec(any::<u64>(), 0..40).prop_map(|things| {
        let mut distinct = Distinct::new();
        things.into_iter().for_each(|thing| distinct.insert_hash(thing));
        distinct
    })
}

fn values() -> impl Strategy<Value = Exponential> {
    prop::collection::vec(-1e6..1e6f64, 0..8).prop_map(|values| {
        let mut exponential = Exponential::for_values();
        values.into_iter().for_each(|value| exponential.record(value));
        exponential
    })
}

prop_compose! {
    fn health()(
        release in release(),
        source in prop::sample::select(Source::ALL.to_vec()),
        route in "(/[a-z]{1,4})?",
        cells in prop::collection::vec((any::<i64>(), any::<u64>(), any::<u64>(), any::<u8>(), hdr()), 0..4),
    ) -> HealthSeries {
        let cell = |(t_ms, requests, errors, slots, duration)| HealthCell { t_ms, requests, errors, duration, slots };
        HealthSeries { release, source, route: route.into(), cells: cells.into_iter().map(cell).collect() }
    }
}

prop_compose! {
    fn measure()(
        release in release(),
        signal in prop::sample::select(vec!["kpi", "usage", "toggle"]),
        attributes in prop::collection::vec(("[a-z]", ".{0,4}"), 0..3),
        cells in prop::collection::vec(
            (any::<i64>(), any::<u64>(), any::<f64>(), prop::option::of(distinct()), prop::option::of(values())), 0..4),
    ) -> MeasureSeries {
        let key = MeasureKey { release, signal, metric: "m".into(), unit: "USD".into(), attributes };
        let cell = |(t_ms, count, sum, distinct, values)| MeasureCell { t_ms, count, sum, distinct, values };
        MeasureSeries { key: Arc::new(key), cells: cells.into_iter().map(cell).collect() }
    }
}

prop_compose! {
    fn pattern()(
        id in any::<u64>(),
        template in ".{0,12}",
        versions in prop::collection::vec(
            ("v[0-9]", prop::sample::select(Level::ALL.to_vec()), any::<i64>(), any::<u64>(), any::<u8>()), 0..3),
    ) -> PatternRow {
        let version = |(version, level, seen, count, slots): (String, Level, i64, u64, u8)| PatternVersion {
            version: version.into(),
            level,
            first_seen_ns: seen,
            last_seen_ns: seen.saturating_add(1),
            count,
            cells: vec![PatternCell { t_ms: seen, count, slots }],
        };
        let (service, namespace, environment) = ("s".into(), "".into(), "p".into());
        let (template, example) = (Arc::from(template.as_str()), Arc::from(format!("{template}!")));
        PatternRow {
            service, namespace, environment, id, template, example,
            versions: versions.into_iter().map(version).collect(),
        }
    }
}

fn rows(release: &Arc<ReleaseId>, number: u64) -> (ToggleRow, ReleaseRow, ShardStatus) {
    let ns = number as i64;
    let toggle = ToggleRow {
        release: release.clone(),
        key: "new-checkout".into(),
        variant: "on".into(),
        evaluations: number,
        recent: 2,
        first_seen_ns: ns,
        last_seen_ns: ns,
        changed_ns: -ns,
        hot: number.is_multiple_of(2),
    };
    let seen = ReleaseRow {
        release: release.clone(),
        first_seen_ns: ns,
        last_seen_ns: ns,
        records: number,
        requests: 3,
        instances: 7,
        instance_guessed: number.is_multiple_of(3),
        hashes: vec![format!("7d9f{number}").into()],
    };
    let rejected = Rejected {
        reason: "too_old".into(),
        signal: Signal::Traces,
        count: number,
        last_ns: ns,
        detail: "a \"case\"".into(),
    };
    let status = ShardStatus {
        shard: 3,
        next_offset: number,
        journal_end: u64::MAX,
        stored_by_signal: [1, number, 3],
        rejected: vec![rejected.clone()],
        left_out: vec![rejected],
        memory_bytes: vec![("rows", number), ("request_hashes", 5)],
        ready: number.is_multiple_of(2),
        problem: (number % 2 == 1).then(|| "full".into()),
        ..ShardStatus::default()
    };
    (toggle, seen, status)
}

fn said(release: &ReleaseId, number: u32) -> (MarkerRow, VerdictRow) {
    let at_ns = 1_800_000_000_000_000_000 + i64::from(number);
    let marker = Marker {
        weight: Some(1.0 / f64::from(number.max(1))),
        until_ns: number.is_multiple_of(2).then_some(at_ns),
        text: format!("\"{number}\""),
        source: "api".to_owned(),
        ..Marker::new(format!("d-{number}"), MarkerKind::Deploy, release.clone(), at_ns)
    };
    let change = VerdictChange {
        release: release.clone(),
        at_ns,
        sequence: number.into(),
        baseline: String::new(),
        verdict: "no_go".to_owned(),
        previous: "wait".to_owned(),
        ending: String::new(),
        summary: "p99 +38 %".to_owned(),
        policy: "default".to_owned(),
        checks: "[{\"id\":\"latency\"}]".to_owned(),
    };
    let received_ns = i64::from(number);
    (MarkerRow { marker: Arc::new(marker), received_ns }, VerdictRow { change: Arc::new(change), received_ns })
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        prop::collection::vec(health(), 0..4).prop_map(Answer::Health),
        (prop::collection::vec(health(), 0..4), 0u8..8).prop_map(|(all, slot)| {
            let slot = |of: HealthSeries| SlotSeries { release: of.release, source: of.source, slot, cells: of.cells };
            Answer::Slots(all.into_iter().map(slot).collect())
        }),
        prop::collection::vec(measure(), 0..4).prop_map(Answer::Measures),
        prop::collection::vec(pattern(), 0..4).prop_map(Answer::Patterns),
        prop::collection::vec((release(), distinct(), distinct(), distinct(), distinct()), 0..4).prop_map(|all| {
            let usage = |(release, users, sessions, crashed, errored)| UsageOfDay {
                release,
                users,
                sessions,
                crashed,
                errored,
            };
            Answer::Usage(all.into_iter().map(usage).collect())
        }),
        (release(), any::<u64>()).prop_map(|(release, n)| Answer::Toggles(vec![rows(&release, n).0; 2])),
        (release(), any::<u32>()).prop_map(|(release, n)| Answer::Markers(vec![said(&release, n).0; 2])),
        (release(), any::<u32>()).prop_map(|(release, n)| Answer::Verdicts(vec![said(&release, n).1; 2])),
        (release(), any::<u64>()).prop_map(|(release, n)| Answer::Releases(vec![(1, vec![rows(&release, n).1])])),
        (release(), any::<u64>()).prop_map(|(release, n)| Answer::Status(vec![rows(&release, n).2])),
    ]
}

proptest! {
    #[test]
    fn an_answer_is_heard_as_it_was_given_and_never_from_less(answer in answer(), cut in any::<prop::sample::Index>()) {
        let answering = vec![Answering { shard: 1, writer: u64::MAX, ready: true }];
        let heard = Heard { answering, refused: vec![7], answer };
        let bytes = Bytes::from(write_answer(&heard));
        let back = read_answer(&bytes).expect("reads");
        prop_assert_eq!(format!("{back:?}"), format!("{heard:?}"));
        let cut = cut.index(bytes.len());
        prop_assert!(read_answer(&bytes.slice(..cut)).is_err(), "cut at {} of {}", cut, bytes.len());
    }

    /// Bytes that somebody made up or damaged may happen to be an answer; they never end the reader.
    #[test]
    fn damaged_bytes_are_read_without_harm(answer in answer(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let heard = Heard { answering: Vec::new(), refused: Vec::new(), answer };
        let mut bytes = write_answer(&heard);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read_answer(&Bytes::from(bytes));
    }
}
