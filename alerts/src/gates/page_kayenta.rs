//! What Kayenta's judge would have said, for the pages: computed when somebody asks, from windows of the last hour.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use shipwake_verdict::kayenta::JUDGE_NAME;

use super::page::{asked_of, meta, newest, problem};
use super::problem::{Problem, json_answer};
use super::{Gates, arguments};
use crate::board::{Judged, Strategy};
use crate::judge::kayenta::{Asked, MetricSaid, Said, said};
use crate::judge::windows::Windows;

/// Answers that are computed at a time: each reads an hour of windows.
pub(super) const COMPUTED_MAX: usize = 2;

pub(super) fn routes() -> Router<Gates> {
    Router::new().route("/api/v1/services/{service}/verdict/kayenta", get(kayenta))
}

async fn kayenta(
    State(gates): State<Gates>,
    Path(service): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let given = arguments::read(query.as_deref(), &["env", "namespace", "candidate"])?;
    let board = gates.reader.now();
    let judged = newest(&board, &asked_of(&service, &given)).map_err(problem)?;
    let Some(windows) = gates.windows.clone() else {
        return Err(Problem::NotFound("this process has no windows to judge".to_owned()));
    };
    let Ok(permit) = gates.computing.clone().try_acquire_owned() else {
        return Err(Problem::Busy("others are being computed: ask again in a moment".to_owned()));
    };
    let asked = asked(&judged, gates.clock.time_of_day_ms());
    // Windows may be in other processes.
    let computed = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        said(&*windows.0, &asked)
    });
    let said = computed.await.map_err(|error| Problem::Busy(format!("it could not be computed: {error}")))?;
    let answer = json!({"meta": meta(&board), "kayenta": said.as_ref().map(|said| as_json(&judged, said))});
    Ok(json_answer(StatusCode::OK, &answer))
}

fn asked(judged: &Judged, now_ms: i64) -> Asked {
    let ended_ms = judged.ending.map(|(_, at_ms)| at_ms);
    Asked {
        release: judged.release.clone(),
        baseline: judged.baseline.clone(),
        is_before: matches!(judged.strategy, Strategy::BlueGreen | Strategy::BeforeAfter),
        opened_ms: judged.opened_ms,
        until_ms: ended_ms.unwrap_or(judged.verdict.complete_until_s.saturating_mul(1_000)),
        reach_from_ms: Asked::reach_from(now_ms),
    }
}

fn as_json(judged: &Judged, said: &Said) -> Value {
    json!({
        "judge": JUDGE_NAME,
        "service": &*judged.release.service,
        "candidate": &*judged.release.version,
        "baseline": judged.baseline.as_deref(),
        "from": said.from_ms,
        "to": said.to_ms,
        "minutes": (said.to_ms - said.from_ms) / 60_000,
        "cut": said.is_cut,
        "score": said.score.value,
        "classification": said.score.word.as_str(),
        "reason": said.score.reason,
        "metrics": said.metrics.iter().map(metric).collect::<Vec<_>>(),
    })
}

fn metric(of: &MetricSaid) -> Value {
    let side = |(minutes, mean): (usize, Option<f64>)| json!({"minutes": minutes, "mean": mean});
    json!({
        "check": of.check,
        "name": of.name,
        "unit": of.unit,
        "classification": of.result.classification.as_str(),
        "reason": of.result.reason,
        "ratio": of.result.ratio.is_finite().then_some(of.result.ratio),
        "control": side(of.sides[0]),
        "experiment": side(of.sides[1]),
    })
}

/// Where windows are read; without a form of its own for people.
#[derive(Clone)]
pub(super) struct Readable(pub Arc<dyn Windows>);

impl std::fmt::Debug for Readable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("windows")
    }
}
