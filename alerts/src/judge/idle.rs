//! Versions that run and have taken no request yet, or none that could be compared. Nothing can be said of them but that; and nobody is told that they
//! are unknown. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::UNVERSIONED;
use shipwake_model::release::OVERFLOW;
use shipwake_rollout::Place;
use shipwake_store::ReleaseRow;
use shipwake_verdict::{Guard, Verdict, Word};

use super::clocks::Clocks;
use super::questions::place_of;
use crate::board::{Judged, PlaceId, Strategy, Versions};
use crate::policies::Policies;
use crate::time::clock_time;

/// More of them are not told of; the newest are.
const IDLE_MAX: usize = 500;
/// A version that sent nothing for so long runs no more, ms.
const RUNS_MS: i64 = 600_000;
/// Versions of a service that are named.
const VERSIONS_MAX: usize = 32;

/// The versions that run without a request so far, newest first, as an answer to whoever asks for one.
pub(crate) fn waiting(
    rows: &[ReleaseRow],
    places: &BTreeMap<PlaceId, Place>,
    clocks: &Clocks,
    policies: &Policies,
    now_ms: i64,
) -> Vec<Arc<Judged>> {
    let ms = |ns: i64| ns.div_euclid(1_000_000);
    let is_idle = |row: &&ReleaseRow| {
        let version = &*row.release.version;
        ![UNVERSIONED, OVERFLOW].contains(&version)
            && (ms(row.last_seen_ns) >= now_ms - RUNS_MS || clocks.behind_s(&row.release).is_some())
            && places.get(&place_of(&row.release)).is_some_and(|place| !place.has_traffic(version))
    };
    let mut idle: Vec<&ReleaseRow> = rows.iter().filter(is_idle).collect();
    idle.sort_by_key(|row| (std::cmp::Reverse(row.first_seen_ns), row.release.clone()));
    idle.truncate(IDLE_MAX);
    let judged = |row: &ReleaseRow| {
        let (id, first_ms) = (&row.release, ms(row.first_seen_ns));
        let baseline = places.get(&place_of(id)).and_then(|place| place.stable().cloned());
        Arc::new(Judged {
            release: (**id).clone(),
            baseline: baseline.filter(|baseline| *baseline != id.version),
            strategy: Strategy::Canary,
            share: None,
            levels: BTreeMap::new(),
            hashes: [Vec::new(), Vec::new()],
            opened_ms: first_ms,
            since_ms: first_ms,
            sequence: 0,
            data_lag_ms: 0,
            policy: policies.of(&id.service, &id.environment).name.clone(),
            ending: None,
            verdict: match clocks.behind_s(id) {
                Some(behind_s) => dated_wrongly(&id.version, behind_s, row.instances, now_ms),
                None => without_requests(&id.version, first_ms, row.instances, now_ms),
            },
            trails: Vec::new(),
            past: Vec::new(),
        })
    };
    idle.into_iter().map(judged).collect()
}

fn short(version: &str) -> String {
    version.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn without_requests(version: &str, first_ms: i64, instances: u32, now_ms: i64) -> Verdict {
    let on = match instances {
        0 => String::new(),
        1 => ", runs on one instance".to_owned(),
        many => format!(", runs on {many} instances"),
    };
    let (version, at) = (short(version), clock_time(first_ms));
    let summary = format!("Wait: {version} was first seen at {at}{on} and has taken no request yet.");
    said(Word::Wait, summary, Guard::NoTraffic, now_ms)
}

/// Somebody has to do something: time alone does not mend a clock.
fn dated_wrongly(version: &str, behind_s: i64, instances: u32, now_ms: i64) -> Verdict {
    let guard = Guard::ClockBehind { seconds: behind_s };
    let on = match instances {
        0 => String::new(),
        1 => ", on one instance,".to_owned(),
        many => format!(", on {many} instances,"),
    };
    let summary = format!("Watch: {}{on} cannot be judged: {}.", short(version), guard.text());
    said(Word::Watch, summary, guard, now_ms)
}

fn said(word: Word, summary: String, guard: Guard, now_ms: i64) -> Verdict {
    Verdict {
        word,
        summary,
        checks: Vec::new(),
        guards: vec![guard],
        latched: None,
        ln_fast: 0.0,
        ln_slow: 0.0,
        missing: None,
        complete_until_s: now_ms.div_euclid(1_000),
        policy_says: Vec::new(),
    }
}

/// The versions of each service.
pub(crate) fn versions(rows: &[ReleaseRow]) -> Arc<Versions> {
    let mut versions = Versions::new();
    let mut newest: Vec<&ReleaseRow> = rows.iter().filter(|row| &*row.release.service != OVERFLOW).collect();
    newest.sort_by_key(|row| std::cmp::Reverse(row.first_seen_ns));
    for row in newest {
        let of_service = versions.entry(row.release.service.clone()).or_default();
        if of_service.len() < VERSIONS_MAX && ![UNVERSIONED, OVERFLOW].contains(&&*row.release.version) {
            of_service.insert(row.release.version.clone());
        }
    }
    Arc::new(versions)
}
