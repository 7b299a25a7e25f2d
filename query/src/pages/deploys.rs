//! Deploys: every release of a range, what was said about it, and what became of it. Pure.
//!
//! A release is known from its first record; markers add who, why and what was meant. What became of it is read from what runs: it is
//! live, alone or beside others, or something else runs since, newer (replaced) or older (rolled back). A version that was only
//! announced has a line too.

use std::collections::BTreeMap;

use shipwake_model::marker::MarkerKind;
use shipwake_model::release::{DEFAULT_ENVIRONMENT, OVERFLOW};
use shipwake_model::{Marker, ReleaseId, UNVERSIONED};
use shipwake_store::{MarkerRow, ReleaseRow, VerdictRow};

use crate::pages::wire;

/// A release that has sent nothing for so long does not run any more. Metrics of an idle one come every 60 s.
const QUIET_MS: i64 = 5 * 60 * 1_000;
/// A marker without a version is about the release that had come by then, or came so soon after.
const SOON_MS: i64 = 60 * 1_000;
/// Markers of one release that are shown.
const MARKERS_MAX: usize = 100;

/// What the answer is made of, all of the service and environment that is asked for.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub releases: &'a [ReleaseRow],
    /// Newest first.
    pub markers: &'a [MarkerRow],
    /// Newest first.
    pub verdicts: &'a [VerdictRow],
    pub now_ms: i64,
    pub from_ms: i64,
    pub to_ms: i64,
    pub limit: usize,
}

/// The deploys of the range, newest first.
pub(crate) fn deploys(facts: &Facts<'_>) -> Vec<wire::Deploy> {
    let is_release = |row: &&ReleaseRow| !matches!(&*row.release.version, UNVERSIONED | OVERFLOW);
    let seen: Vec<&ReleaseRow> = facts.releases.iter().filter(is_release).collect();
    let mut of_release: BTreeMap<&ReleaseId, Vec<&Marker>> = BTreeMap::new();
    for row in &seen {
        of_release.entry(&row.release).or_default();
    }
    for row in facts.markers {
        let marker = &*row.marker;
        let about: Vec<&ReleaseId> =
            seen.iter().map(|row| &*row.release).filter(|release| concerns(marker, release)).collect();
        if !about.is_empty() {
            about.into_iter().for_each(|release| of_release.entry(release).or_default().push(marker));
        } else if !marker.is_versioned() {
            if let Some(release) = steered(marker, &seen) {
                of_release.entry(release).or_default().push(marker);
            }
        } else if announces(marker) {
            of_release.entry(&marker.release).or_default().push(marker);
        }
    }
    let mut deploys: Vec<wire::Deploy> = of_release
        .into_iter()
        .map(|(release, markers)| {
            let row = seen.iter().find(|row| *row.release == *release).copied();
            deploy(release, row, &markers, &seen, facts)
        })
        .filter(|deploy| (facts.from_ms..facts.to_ms).contains(&time_of(deploy)))
        .collect();
    deploys.sort_by(|a, b| (time_of(b), &a.service, &a.version).cmp(&(time_of(a), &b.service, &b.version)));
    deploys.truncate(facts.limit);
    deploys
}

/// Whether a marker is about a release. One that names no environment or namespace is about all of them.
fn concerns(marker: &Marker, release: &ReleaseId) -> bool {
    let said = &marker.release;
    said.service == release.service
        && said.version == release.version
        && (said.environment == release.environment || &*said.environment == DEFAULT_ENVIRONMENT)
        && (said.namespace == release.namespace || said.namespace.is_empty())
}

/// The release that a marker without a version is about: rollout tools name the service and steer its newest version.
fn steered<'a>(marker: &Marker, seen: &[&'a ReleaseRow]) -> Option<&'a ReleaseId> {
    if matches!(marker.kind, MarkerKind::Toggle | MarkerKind::Freeze | MarkerKind::Note) {
        return None;
    }
    let until_ns = marker.at_ns.saturating_add(SOON_MS * 1_000_000);
    let fits = |row: &&&'a ReleaseRow| {
        let of_version = Marker {
            release: ReleaseId { version: row.release.version.clone(), ..marker.release.clone() },
            ..marker.clone()
        };
        concerns(&of_version, &row.release) && row.first_seen_ns <= until_ns
    };
    seen.iter().filter(fits).max_by_key(|row| row.first_seen_ns).map(|row| &*row.release)
}

/// Whether a marker says that a version comes, which may not have been seen yet.
fn announces(marker: &Marker) -> bool {
    matches!(marker.kind, MarkerKind::Deploy | MarkerKind::Rollback | MarkerKind::Promote | MarkerKind::Weight)
}

fn deploy(
    release: &ReleaseId,
    row: Option<&ReleaseRow>,
    markers: &[&Marker],
    seen: &[&ReleaseRow],
    facts: &Facts<'_>,
) -> wire::Deploy {
    // Newest first, as they came. What is to come says nothing of what was done, unless nothing else is told.
    let is_past = |marker: &&&Marker| ms(marker.at_ns) <= facts.now_ms + SOON_MS;
    let past: Vec<&Marker> = markers.iter().filter(is_past).copied().collect();
    let telling = if past.is_empty() { markers } else { &past[..] };
    let told = |of: fn(&Marker) -> &str| telling.iter().map(|marker| of(marker)).find(|text| !text.is_empty());
    let text = |of: fn(&Marker) -> &str| told(of).map(str::to_owned);
    let turns =
        |marker: &&&Marker| matches!(marker.kind, MarkerKind::Deploy | MarkerKind::Rollback | MarkerKind::Promote);
    let is_rollback = telling.iter().find(turns).is_some_and(|marker| marker.kind == MarkerKind::Rollback);
    // Who did it, and where that is from, are of one marker: the newest turn that names somebody.
    let names_somebody = |marker: &&&Marker| !marker.by.is_empty();
    let who = telling.iter().filter(turns).find(names_somebody).or_else(|| telling.iter().find(names_somebody));
    let who = who.or_else(|| telling.iter().find(turns)).or_else(|| telling.first());
    let of_who = |of: fn(&Marker) -> &str| who.map(|who| of(who).to_owned()).filter(|text| !text.is_empty());
    let verdict = facts.verdicts.iter().map(|row| &row.change).find(|change| change.release == *release);
    let before = row.and_then(|row| before(row, seen)).map(|before| before.release.version.to_string());
    let outcome = match row {
        None => "announced_only",
        Some(row) => {
            let is_back = verdict.is_some_and(|change| change.ending == "rolled_back");
            let is_silent = verdict.is_some_and(|change| change.ending == "gone_silent");
            let is_left = facts.markers.iter().map(|row| &row.marker).any(|marker| leaves(marker, release));
            match outcome(row, seen, is_back || is_left, facts.now_ms) {
                // Others went on, and nobody got what it had.
                "rolled_back" if is_silent && !is_left => "gone_silent",
                outcome => outcome,
            }
        }
    };
    wire::Deploy {
        service: release.service.to_string(),
        namespace: release.namespace.to_string(),
        env: release.environment.to_string(),
        version: release.version.to_string(),
        previous: text(|marker| &marker.previous).or(before),
        first_seen: row.map(|row| ms(row.first_seen_ns)),
        last_seen: row.map(|row| ms(row.last_seen_ns)),
        announced: markers.iter().map(|marker| ms(marker.at_ns)).min(),
        by: of_who(|marker| &marker.by),
        source: of_who(|marker| &marker.source),
        url: text(|marker| &marker.url),
        commit: text(|marker| &marker.commit),
        is_rollback,
        outcome,
        verdict: verdict.map(|change| wire::DeployVerdict {
            state: change.verdict.clone(),
            headline: change.summary.clone(),
            at: ms(change.at_ns),
        }),
        markers: markers.iter().take(MARKERS_MAX).map(|marker| wire_marker(marker)).collect(),
    }
}

/// The release that ran before, in the same place.
fn before<'a>(row: &ReleaseRow, seen: &[&'a ReleaseRow]) -> Option<&'a ReleaseRow> {
    let earlier = seen.iter().filter(|other| is_beside(row, other) && other.first_seen_ns < row.first_seen_ns);
    earlier.max_by_key(|other| other.first_seen_ns).copied()
}

fn is_beside(row: &ReleaseRow, other: &ReleaseRow) -> bool {
    let (own, of_other) = (&row.release, &other.release);
    own.version != of_other.version
        && (&own.service, &own.namespace, &own.environment)
            == (&of_other.service, &of_other.namespace, &of_other.environment)
}

/// Whether a marker says that another version takes the place of this one again.
fn leaves(marker: &Marker, release: &ReleaseId) -> bool {
    let of_previous = Marker {
        release: ReleaseId { version: (&*marker.previous).into(), ..marker.release.clone() },
        ..marker.clone()
    };
    marker.kind == MarkerKind::Rollback && !marker.previous.is_empty() && concerns(&of_previous, release)
}

fn outcome(row: &ReleaseRow, seen: &[&ReleaseRow], is_rolled_back: bool, now_ms: i64) -> &'static str {
    if row.requests == 0 {
        return "no_traffic";
    }
    let is_live = |row: &ReleaseRow| ms(row.last_seen_ns) >= now_ms - QUIET_MS;
    let others = || seen.iter().filter(|other| is_beside(row, other) && other.requests > 0);
    if is_live(row) {
        return if others().any(|other| is_live(other)) { "live_beside_others" } else { "live" };
    }
    let mut after = others().filter(|other| other.last_seen_ns > row.last_seen_ns).peekable();
    if is_rolled_back || (after.peek().is_some() && after.all(|other| other.first_seen_ns < row.first_seen_ns)) {
        return "rolled_back";
    }
    let is_followed = others().any(|other| other.last_seen_ns > row.last_seen_ns);
    if is_followed { "replaced" } else { "no_traffic" }
}

/// When it came: first seen or first announced.
fn time_of(deploy: &wire::Deploy) -> i64 {
    deploy.first_seen.or(deploy.announced).unwrap_or(i64::MIN)
}

fn wire_marker(marker: &Marker) -> wire::DeployMarker {
    wire::DeployMarker {
        id: marker.id.clone(),
        kind: marker.kind.as_str(),
        at: ms(marker.at_ns),
        until: marker.until_ns.map(ms),
        weight: marker.weight,
        role: marker.role.map(|role| role.as_str()),
        status: marker.status.map(|status| status.as_str()),
        toggle: marker.toggle.clone(),
        by: marker.by.clone(),
        source: marker.source.clone(),
        text: marker.text.clone(),
        url: marker.url.clone(),
    }
}

/// Markers and changes of verdicts of a service in an environment as events of its page, newest first.
pub(crate) fn events(
    markers: &[MarkerRow],
    verdicts: &[VerdictRow],
    (service, environment): (&str, &str),
    range_ms: std::ops::Range<i64>,
) -> Vec<wire::Event> {
    let event = |t: i64, kind: &'static str, version: &str, title: String| wire::Event {
        t,
        kind,
        service: service.to_owned(),
        env: environment.to_owned(),
        version: if version == UNVERSIONED { String::new() } else { version.to_owned() },
        share: None,
        title,
    };
    let is_here = |release: &ReleaseId| {
        &*release.service == service
            && (&*release.environment == environment || &*release.environment == DEFAULT_ENVIRONMENT)
    };
    let of_markers = markers.iter().map(|row| &row.marker).filter(|marker| is_here(&marker.release)).map(|marker| {
        let mut event = event(ms(marker.at_ns), marker.kind.as_str(), &marker.release.version, title(marker));
        event.share = marker.weight;
        event
    });
    let of_verdicts = verdicts.iter().map(|row| &row.change).filter(|change| is_here(&change.release)).map(|change| {
        let title = if change.summary.is_empty() { change.verdict.clone() } else { change.summary.clone() };
        event(ms(change.at_ns), "verdict", &change.release.version, title)
    });
    let mut events: Vec<wire::Event> =
        of_markers.chain(of_verdicts).filter(|event| range_ms.contains(&event.t)).collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.t));
    events.truncate(MARKERS_MAX);
    events
}

/// A marker in words.
pub(crate) fn title(marker: &Marker) -> String {
    let version = if marker.is_versioned() { format!(" {}", marker.release.version) } else { String::new() };
    let what = match (marker.kind, marker.weight) {
        (MarkerKind::Deploy, _) => format!("deploy of{}", if version.is_empty() { " a new version" } else { &version }),
        (MarkerKind::Rollback, _) if version.is_empty() => "rollback".to_owned(),
        (MarkerKind::Rollback, _) => format!("rollback to{version}"),
        (MarkerKind::Promote, _) => {
            format!("promotion of{}", if version.is_empty() { " the candidate" } else { &version })
        }
        (MarkerKind::Weight, Some(weight)) => {
            let of = if version.is_empty() { " the candidate" } else { &version };
            format!("{} is to get {} % of the traffic", of.trim_start(), (weight * 1000.0).round() / 10.0)
        }
        (MarkerKind::Toggle, _) => format!("toggle {}", marker.toggle),
        (MarkerKind::Freeze, _) => "freeze".to_owned(),
        _ => "note".to_owned(),
    };
    let status = marker.status.map(|status| format!(" {}", status.as_str())).unwrap_or_default();
    let by = if marker.by.is_empty() { String::new() } else { format!(" by {}", marker.by) };
    match marker.text.lines().next().filter(|text| !text.is_empty()) {
        Some(text) if marker.kind == MarkerKind::Note => format!("{text}{by}"),
        Some(text) => format!("{what}{status}{by}: {text}"),
        None => format!("{what}{status}{by}"),
    }
}

fn ms(ns: i64) -> i64 {
    ns.div_euclid(1_000_000)
}

#[cfg(test)]
mod tests;
