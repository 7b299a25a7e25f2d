//! Deploys made of a few releases, markers and verdicts.

use std::sync::Arc;

use shipwake_model::VerdictChange;
use shipwake_model::marker::DeployStatus;

use super::*;

const MINUTE_MS: i64 = 60_000;
const NOW: i64 = 1_800_000_000_000;

fn id(version: &str) -> ReleaseId {
    ReleaseId {
        service: "checkout".into(),
        namespace: "shop".into(),
        environment: "production".into(),
        version: version.into(),
    }
}

/// A release that was seen from so many minutes ago until so many minutes ago.
fn seen(version: &str, from: i64, until: i64) -> ReleaseRow {
    ReleaseRow {
        release: Arc::new(id(version)),
        first_seen_ns: (NOW - from * MINUTE_MS) * 1_000_000,
        last_seen_ns: (NOW - until * MINUTE_MS) * 1_000_000,
        records: 10,
        requests: 10,
        instances: 1,
        instance_guessed: false,
        hashes: Vec::new(),
    }
}

fn marker(kind: MarkerKind, version: &str, ago: i64) -> Marker {
    let at_ns = (NOW - ago * MINUTE_MS) * 1_000_000;
    Marker { source: "api".to_owned(), ..Marker::new(format!("{kind:?} {ago}"), kind, id(version), at_ns) }
}

fn verdict(version: &str, word: &str, ending: &str, ago: i64) -> VerdictRow {
    let change = VerdictChange {
        release: id(version),
        at_ns: (NOW - ago * MINUTE_MS) * 1_000_000,
        sequence: 1,
        baseline: String::new(),
        verdict: word.to_owned(),
        previous: String::new(),
        ending: ending.to_owned(),
        summary: format!("{word} in words"),
        policy: String::new(),
        checks: String::new(),
    };
    VerdictRow { change: Arc::new(change), received_ns: 0 }
}

fn all(releases: &[ReleaseRow], markers: &[Marker], verdicts: &[VerdictRow]) -> Vec<wire::Deploy> {
    let mut rows: Vec<MarkerRow> =
        markers.iter().map(|marker| MarkerRow { marker: Arc::new(marker.clone()), received_ns: 0 }).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.marker.at_ns));
    deploys(&Facts {
        releases,
        markers: &rows,
        verdicts,
        now_ms: NOW,
        from_ms: NOW - 10_000 * MINUTE_MS,
        to_ms: NOW + 1,
        limit: 10,
    })
}

fn outcomes(deploys: &[wire::Deploy]) -> Vec<(&str, &str)> {
    deploys.iter().map(|deploy| (deploy.version.as_str(), deploy.outcome)).collect()
}

#[test]
fn what_became_of_a_release_is_read_from_what_runs() {
    let canary = [seen("1", 500, 0), seen("2", 10, 1)];
    assert_eq!(outcomes(&all(&canary, &[], &[])), [("2", "live_beside_others"), ("1", "live_beside_others")]);
    let replaced = [seen("1", 500, 60), seen("2", 70, 0)];
    assert_eq!(outcomes(&all(&replaced, &[], &[])), [("2", "live"), ("1", "replaced")]);
    let back = [seen("1", 500, 0), seen("2", 70, 60)];
    assert_eq!(outcomes(&all(&back, &[], &[])), [("2", "rolled_back"), ("1", "live")]);
    let of_verdict = all(&back, &[], &[verdict("2", "watch", "gone_silent", 50)]);
    assert_eq!(outcomes(&of_verdict), [("2", "gone_silent"), ("1", "live")]);
    // Rolled back, and later something newer came.
    let mended = [seen("1", 500, 30), seen("2", 70, 60), seen("3", 40, 0)];
    let of_verdict = all(&mended, &[], &[verdict("2", "no_go", "rolled_back", 61)]);
    assert_eq!(outcomes(&of_verdict), [("3", "live"), ("2", "rolled_back"), ("1", "replaced")]);
    let gone = [seen("1", 500, 300)];
    assert_eq!(outcomes(&all(&gone, &[], &[])), [("1", "no_traffic")]);
    let silent = [ReleaseRow { requests: 0, ..seen("1", 5, 0) }, seen("unversioned", 5, 0), seen("__overflow__", 5, 0)];
    assert_eq!(outcomes(&all(&silent, &[], &[])), [("1", "no_traffic")]);
    let mut elsewhere = [seen("1", 500, 0), seen("2", 10, 0)];
    elsewhere[0].release = Arc::new(ReleaseId { environment: "staging".into(), ..id("1") });
    assert_eq!(outcomes(&all(&elsewhere, &[], &[])), [("2", "live"), ("1", "live")]);
}

#[test]
fn markers_say_who_and_why_and_what_is_only_announced() {
    let releases = [seen("2.13", 500, 0), seen("2.14", 10, 0)];
    let deploy = Marker {
        by: "ana".to_owned(),
        url: "https://ci/7".to_owned(),
        commit: "a84d88e".to_owned(),
        source: "github".to_owned(),
        status: Some(DeployStatus::Started),
        ..marker(MarkerKind::Deploy, "2.14", 12)
    };
    let weight = Marker { weight: Some(0.1), ..marker(MarkerKind::Weight, UNVERSIONED, 9) };
    let mut unplaced = marker(MarkerKind::Promote, "2.14", 3);
    unplaced.release = ReleaseId { environment: "default".into(), namespace: "".into(), ..id("2.14") };
    let toggle = Marker { toggle: "pay".to_owned(), ..marker(MarkerKind::Toggle, UNVERSIONED, 2) };
    let coming = Marker { previous: "2.14".to_owned(), ..marker(MarkerKind::Deploy, "2.15", 1) };
    let note = marker(MarkerKind::Note, "9.9", 1);
    let found = all(&releases, &[deploy, weight, unplaced, toggle, coming, note], &[verdict("2.14", "wait", "", 5)]);
    let seen = |deploy: &wire::Deploy| -> Vec<&str> { deploy.markers.iter().map(|marker| marker.kind).collect() };
    assert_eq!(
        outcomes(&found),
        [("2.15", "announced_only"), ("2.14", "live_beside_others"), ("2.13", "live_beside_others")]
    );
    assert_eq!(
        (found[0].previous.as_deref(), found[0].first_seen, found[0].announced),
        (Some("2.14"), None, Some(NOW - MINUTE_MS))
    );
    let told = &found[1];
    assert_eq!(seen(told), ["promote", "weight", "deploy"]);
    assert_eq!(
        (told.by.as_deref(), told.commit.as_deref(), told.previous.as_deref()),
        (Some("ana"), Some("a84d88e"), Some("2.13"))
    );
    assert_eq!((told.announced, told.is_rollback), (Some(NOW - 12 * MINUTE_MS), false));
    assert_eq!(
        told.verdict.as_ref().map(|verdict| (&*verdict.state, &*verdict.headline)),
        Some(("wait", "wait in words"))
    );
    assert_eq!(seen(&found[2]), Vec::<&str>::new());
}

#[test]
fn who_did_it_is_of_one_marker_and_not_of_one_that_is_to_come() {
    let releases = [seen("1", 500, 0), seen("2", 10, 0)];
    let told = |kind, by: &str, source: &str, ago| Marker {
        by: by.to_owned(),
        source: source.to_owned(),
        ..marker(kind, "2", ago)
    };
    let deploy = told(MarkerKind::Deploy, "ana", "github", 12);
    let weight = Marker { weight: Some(0.3), ..told(MarkerKind::Weight, "", "api", 5) };
    let later = told(MarkerKind::Promote, "ben", "argocd", -5_000_000);
    let found = all(&releases, &[deploy, weight, later.clone()], &[]);
    assert_eq!((found[0].by.as_deref(), found[0].source.as_deref()), (Some("ana"), Some("github")));
    assert_eq!(found[0].markers.len(), 3, "it is shown all the same");
    let alone = all(&releases, &[later], &[]);
    assert_eq!((alone[0].by.as_deref(), alone[0].source.as_deref()), (Some("ben"), Some("argocd")));
}

#[test]
fn a_rollback_that_was_told_marks_both_versions() {
    let releases = [seen("1", 500, 0), seen("2", 70, 6)];
    let rollback = Marker { previous: "2".to_owned(), ..marker(MarkerKind::Rollback, "1", 6) };
    let found = all(&releases, &[rollback], &[]);
    assert_eq!(outcomes(&found), [("2", "rolled_back"), ("1", "live")]);
    assert_eq!([found[0].is_rollback, found[1].is_rollback], [false, true]);
}

#[test]
fn the_range_and_the_limit_are_kept() {
    let releases: Vec<ReleaseRow> = (1..40).map(|n| seen(&n.to_string(), n * 600, 0)).collect();
    let found = all(&releases, &[], &[]);
    assert_eq!((found.len(), &*found[0].version, &*found[9].version), (10, "1", "10"));
}

#[test]
fn markers_are_events_in_words() {
    let check = |marker: &Marker, expected: &str| assert_eq!(title(marker), expected);
    let by = Marker { by: "ana".to_owned(), ..marker(MarkerKind::Deploy, "2", 1) };
    check(&by, "deploy of 2 by ana");
    check(&Marker { status: Some(DeployStatus::Failed), ..by.clone() }, "deploy of 2 failed by ana");
    check(&Marker { text: "hot fix\nmore".to_owned(), ..by }, "deploy of 2 by ana: hot fix");
    check(&Marker { weight: Some(0.125), ..marker(MarkerKind::Weight, "2", 1) }, "2 is to get 12.5 % of the traffic");
    check(
        &Marker { weight: Some(0.2), ..marker(MarkerKind::Weight, UNVERSIONED, 1) },
        "the candidate is to get 20 % of the traffic",
    );
    check(&marker(MarkerKind::Rollback, "1", 1), "rollback to 1");
    check(&Marker { toggle: "pay".to_owned(), ..marker(MarkerKind::Toggle, UNVERSIONED, 1) }, "toggle pay");
    check(
        &Marker { text: "config reloaded".to_owned(), ..marker(MarkerKind::Note, UNVERSIONED, 1) },
        "config reloaded",
    );
    let rows: Vec<MarkerRow> = [marker(MarkerKind::Deploy, "2", 5), marker(MarkerKind::Freeze, UNVERSIONED, 50)]
        .into_iter()
        .map(|marker| MarkerRow { marker: Arc::new(marker), received_ns: 0 })
        .collect();
    let range = NOW - 10 * MINUTE_MS..NOW;
    let found = events(&rows, &[verdict("2", "no_go", "", 3)], ("checkout", "production"), range.clone());
    let seen: Vec<(&str, &str)> = found.iter().map(|event| (event.kind, event.version.as_str())).collect();
    assert_eq!(seen, [("verdict", "2"), ("deploy", "2")]);
    assert_eq!(found[0].title, "no_go in words");
    assert!(events(&rows, &[], ("checkout", "staging"), range).is_empty());
}
