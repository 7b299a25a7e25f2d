//! What the pages read of verdicts: all of them in short, and one service's with everything it rests on. Times are epoch ms.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use shipwake_verdict::noise::Noise;
use shipwake_verdict::patterns::FoundPattern;
use shipwake_verdict::quantile::QuantileDifference;
use shipwake_verdict::verdict::{Verdict, strength};
use shipwake_verdict::{CheckResult, Guard, Word};

use super::form::{as_json, effect_json, evidence, group_name, missing_json, next_need};
use super::problem::{Problem, json_answer};
use super::question::{Question, Unfound, find};
use super::{Gates, arguments};
use crate::board::{Board, Judged, PlaceId, SelfAudit, TrailPoint};

pub(super) fn routes() -> Router<Gates> {
    Router::new().route("/api/v1/verdicts", get(verdicts)).route("/api/v1/services/{service}/verdict", get(of_service))
}

async fn verdicts(State(gates): State<Gates>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let given = arguments::read(query.as_deref(), &["service", "env", "namespace", "after", "wait"])?;
    let (wait, after) = (arguments::wait(&given)?, arguments::after(&given)?);
    let board = newer(&gates, wait, after).await;
    let fits = |judged: &&Arc<Judged>| {
        let is = |name: &str, value: &str| given.get(name).is_none_or(|asked| asked == value);
        let release = &judged.release;
        is("service", &release.service) && is("env", &release.environment) && is("namespace", &release.namespace)
    };
    let verdicts: Vec<Value> = board.releases.iter().filter(fits).map(|judged| short(judged)).collect();
    let audits = board.audits.iter().filter(|((namespace, service, env), _)| {
        let is = |name: &str, value: &str| given.get(name).is_none_or(|asked| asked == value);
        is("service", service) && is("env", env) && is("namespace", namespace)
    });
    let of_place = |((namespace, service, env), of): (&PlaceId, &SelfAudit)| {
        let mut found = audit(of);
        let fields = found.as_object_mut().expect("made as one");
        let place = [("service", service), ("namespace", namespace), ("env", env)];
        fields.extend(place.map(|(name, value)| (name.to_owned(), json!(&**value))));
        found
    };
    let audits: Vec<Value> = audits.map(of_place).collect();
    Ok(json_answer(StatusCode::OK, &json!({"meta": meta(&board), "verdicts": verdicts, "audits": audits})))
}

async fn of_service(
    State(gates): State<Gates>,
    Path(service): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known = ["env", "namespace", "candidate", "baseline", "after", "wait"];
    let given = arguments::read(query.as_deref(), &known)?;
    let (wait, after) = (arguments::wait(&given)?, arguments::after(&given)?);
    let question = asked_of(&service, &given);
    let board = newer(&gates, wait, after).await;
    let judged = newest(&board, &question).map_err(problem)?;
    let others = board.releases.iter().filter(|other| {
        other.release.service == judged.release.service
            && other.release.environment == judged.release.environment
            && other.release.namespace == judged.release.namespace
            && other.release.version != judged.release.version
    });
    let mut verdict = short(&judged);
    let fields = verdict.as_object_mut().expect("made as one");
    fields.insert("guards".to_owned(), judged.verdict.guards.iter().map(guard).collect());
    fields.insert("evidence".to_owned(), progress(&judged));
    fields.insert("policy_says".to_owned(), json!(judged.verdict.policy_says));
    fields.insert("checks".to_owned(), checks(&judged));
    let past = judged
        .past
        .iter()
        .map(|past| json!({"state": past.word.as_str(), "at": past.at_ms, "headline": &*past.summary}));
    fields.insert("past".to_owned(), past.collect());
    let others: Vec<Value> = others.map(|other| short(other)).collect();
    let audit = board.audit_of(&judged.release).map(audit);
    Ok(json_answer(
        StatusCode::OK,
        &json!({"meta": meta(&board), "verdict": verdict, "others": others, "audit": audit}),
    ))
}

/// Which release of a service is meant.
pub(super) fn asked_of(service: &str, given: &arguments::Arguments) -> Question {
    // A tilde in front keeps `.` and `..` in a path, and is doubled in front of names that begin with one.
    let service = service.strip_prefix('~').unwrap_or(service).to_owned();
    let get = |name: &str| given.get(name).cloned();
    Question {
        service,
        namespace: get("namespace"),
        env: get("env"),
        candidate: get("candidate"),
        ..Question::default()
    }
}

/// The board once it is newer than what the page has, or after `wait`.
async fn newer(gates: &Gates, wait: std::time::Duration, after: Option<u64>) -> Arc<Board> {
    gates.board_when(wait, |board| after.is_none_or(|seen| board.revision > seen)).await
}

/// The release that a page is about. Other than a gate, it also shows one whose time is over when there is none that is judged.
pub(super) fn newest(board: &Board, question: &Question) -> Result<Arc<Judged>, Unfound> {
    find(board, question).or_else(|unfound| {
        let fits = |judged: &&Arc<Judged>| {
            let release = &judged.release;
            let is = |asked: &Option<String>, value: &str| asked.as_deref().is_none_or(|asked| asked == value);
            *release.service == *question.service
                && is(&question.namespace, &release.namespace)
                && is(&question.env, &release.environment)
        };
        let mut found = board.releases.iter().filter(fits);
        // What fits several stays a question, and so does a version that nobody has seen.
        if question.candidate.is_some() || !unfound.choices.is_empty() {
            return Err(unfound);
        }
        found.next().cloned().ok_or(unfound)
    })
}

pub(super) fn problem(unfound: Unfound) -> Problem {
    if unfound.choices.is_empty() {
        Problem::NotFound(unfound.summary)
    } else {
        Problem::Ambiguous { detail: unfound.summary, choices: unfound.choices }
    }
}

pub(super) fn meta(board: &Board) -> Value {
    json!({"as_of": board.as_of_ms, "revision": board.revision})
}

fn short(judged: &Judged) -> Value {
    let (release, verdict) = (&judged.release, &judged.verdict);
    let is_open = !verdict.word.is_decided() && judged.ending.is_none();
    json!({
        "service": &*release.service,
        "namespace": &*release.namespace,
        "env": &*release.environment,
        "candidate": &*release.version,
        "baseline": judged.baseline.as_deref(),
        "strategy": judged.strategy.as_str(),
        "share": judged.share,
        "state": verdict.word.as_str(),
        "sequence": judged.sequence,
        "since": judged.since_ms,
        "opened": judged.opened_ms,
        "data_lag_ms": judged.data_lag_ms,
        "ending": judged.ending.map(|(ending, at_ms)| json!({"kind": ending.as_str(), "at": at_ms})),
        "headline": verdict.summary,
        "need": is_open.then(|| next_need(verdict, verdict.word)),
        "policy": &*judged.policy,
    })
}

/// How often it would have been wrong on this service's own traffic, and how soon it would have been right.
fn audit(of: &SelfAudit) -> Value {
    json!({
        "releases": of.releases,
        "no_go": of.no_go,
        "rate": of.rate,
        "rate_below": of.rate_below,
        "doubled": {
            "releases": of.doubled,
            "found": of.doubled_found,
            "within_s": of.found_within_s,
            "part": SelfAudit::PART,
        },
        "dispersion_floor": of.dispersion_floor,
    })
}

fn guard(guard: &Guard) -> Value {
    json!({"id": guard.id(), "text": guard.text(), "suspicious": guard.is_suspicious()})
}

/// How far the evidence has come.
fn progress(judged: &Judged) -> Value {
    let verdict = &judged.verdict;
    let busiest = verdict.checks.iter().map(|check| check.counts).max_by_key(|counts| counts.candidate.exposure);
    let busiest = busiest.unwrap_or_default();
    let elapsed_s = (verdict.complete_until_s - judged.opened_ms / 1_000).max(0);
    json!({
        "ready": ready(verdict, elapsed_s),
        "candidate_n": busiest.candidate.exposure,
        "baseline_n": busiest.baseline.exposure,
        "elapsed_s": elapsed_s,
        "missing": missing_json(verdict.missing.as_ref()),
    })
}

/// The part of the time that a decision takes which has passed; nothing when there is no telling.
fn ready(verdict: &Verdict, elapsed_s: i64) -> Option<f64> {
    match (verdict.word, verdict.missing) {
        (Word::Go | Word::NoGo, _) => Some(1.0),
        (_, Some(missing)) => {
            let elapsed = elapsed_s as f64;
            Some((elapsed / (elapsed + missing.seconds).max(1.0)).clamp(0.0, 1.0))
        }
        (_, None) => None,
    }
}

fn checks(judged: &Judged) -> Value {
    let none: Vec<TrailPoint> = Vec::new();
    let trails = judged.trails.iter().chain(std::iter::repeat(&none));
    judged.verdict.checks.iter().zip(trails).map(|(of, trail)| check(judged, of, trail)).collect()
}

fn check(judged: &Judged, check: &CheckResult, trail: &[TrailPoint]) -> Value {
    let mut effect = as_json(check.effect.as_ref(), effect_json);
    if let (Some(fields), Some(of)) = (effect.as_object_mut(), &check.effect) {
        fields.insert("limit".to_owned(), json!(of.limit_worse));
        fields.insert("limit_fine".to_owned(), json!(of.limit_fine));
    }
    let counts = check.counts;
    let worse = evidence(check.ln_worse.max(check.ln_fast));
    let ms = |seconds: Option<i64>| seconds.map(|seconds| seconds.saturating_mul(1_000));
    json!({
        "id": check.id,
        "group": group_name(check.group),
        "title": check.title,
        "state": check.state.as_str(),
        "required": check.required,
        "critical": check.critical,
        "weight": check.weight,
        "part": check.part,
        "effect": effect,
        "counts": {
            "candidate": [counts.candidate.events, counts.candidate.exposure],
            "baseline": [counts.baseline.events, counts.baseline.exposure],
        },
        "e_worse": worse,
        "e_fine": evidence(check.ln_fine),
        "strength": strength(worse),
        "blocks": check.blocks,
        "late": check.late,
        "since": ms(check.since_s),
        "suspicious_since": ms(check.suspicious_since_s),
        "dominant": check.dominant.as_ref().map(|of| json!({"stratum": of.stratum, "share": of.share})),
        "quantiles": check.quantiles.iter().map(quantile).collect::<Vec<_>>(),
        "patterns": check.patterns.iter().map(|of| pattern(judged, of)).collect::<Vec<_>>(),
        "noise": check.noise.as_ref().map(noise),
        "missing": missing_json(check.missing.as_ref()),
        "why": check.why,
        "trail": columns(trail),
    })
}

fn quantile(of: &QuantileDifference) -> Value {
    json!({
        "q": of.q,
        "baseline": of.baseline_s,
        "candidate": of.candidate_s,
        "low": of.low_s,
        "high": of.high_s,
        "relative": of.relative,
        "relative_low": of.relative_low,
        "relative_high": of.relative_high,
    })
}

fn pattern(judged: &Judged, of: &FoundPattern) -> Value {
    json!({
        "pattern_id": format!("{:016x}", of.id),
        "template": of.template,
        "level": judged.levels.get(&of.id).map(|level| level.as_str()),
        "candidate": of.candidate,
        "baseline": of.baseline,
        "e": evidence(of.ln_evidence),
        "class": if of.is_new { "new" } else { "escalated" },
    })
}

fn noise(of: &Noise) -> Value {
    json!({"dispersion": of.dispersion, "spread": of.spread, "block_s": of.block_s, "learnt_s": of.learnt_s, "assumed": of.is_assumed()})
}

fn columns(trail: &[TrailPoint]) -> Value {
    json!({
        "t": trail.iter().map(|point| point.t_ms).collect::<Vec<_>>(),
        "value": trail.iter().map(|point| point.value).collect::<Vec<_>>(),
        "low": trail.iter().map(|point| point.low).collect::<Vec<_>>(),
        "high": trail.iter().map(|point| point.high).collect::<Vec<_>>(),
        "strength": trail.iter().map(|point| strength(evidence(point.ln_worse))).collect::<Vec<_>>(),
    })
}
