//! Verdicts as metrics, in the form of Prometheus' query API: what the `prometheus` providers of Argo Rollouts and Flagger, and a
//! dashboard, can ask. Instant selectors only: this is a face of the board, no time series database.
//!
//! Releases that are judged no more are left out, so that a selector without a version gives the value of now. `latest` tells the
//! newest release of a service where there are several.

mod selector;

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use shipwake_verdict::Word;
use url::form_urlencoded;

use super::Gates;
use super::answer::Answer;
use super::form::ratios;
use super::problem::json_answer;
use super::question::Question;
use crate::board::{Board, Judged};
use selector::{Expression, Selector};

/// What can be asked for, and what it is.
const METRICS: [(&str, Reading); 5] = [
    ("shipwake_verdict", Reading::Verdict),
    ("shipwake_score", Reading::Score),
    ("shipwake_metric_ratio", Reading::Ratio(0)),
    ("shipwake_metric_ratio_low", Reading::Ratio(1)),
    ("shipwake_metric_ratio_high", Reading::Ratio(2)),
];

/// The value of a metric.
#[derive(Clone, Copy)]
enum Reading {
    /// 1 go, 0 watch or wait, -1 no go.
    Verdict,
    /// 100, 50, 0.
    Score,
    /// A check's rate over the baseline's: estimate, lower end, upper end.
    Ratio(usize),
}

/// Labels and their values.
type Labels = BTreeMap<&'static str, String>;

pub(super) fn routes() -> Router<Gates> {
    Router::new()
        .route("/api/v1/query", get(query_in_address).post(query_in_form))
        .route("/api/v1/labels", get(labels).post(labels))
        .route("/api/v1/series", get(series_in_address).post(series_in_form))
}

async fn query_in_address(State(gates): State<Gates>, RawQuery(query): RawQuery) -> Response {
    queried(&gates, query.unwrap_or_default().as_bytes())
}

/// The arguments of a POST are in its body; some clients leave them in the address.
async fn query_in_form(State(gates): State<Gates>, RawQuery(address): RawQuery, body: Bytes) -> Response {
    if body.is_empty() { queried(&gates, address.unwrap_or_default().as_bytes()) } else { queried(&gates, &body) }
}

fn queried(gates: &Gates, arguments: &[u8]) -> Response {
    let Some((_, text)) = form_urlencoded::parse(arguments).find(|(name, _)| name == "query") else {
        return bad_data("invalid parameter \"query\": it is missing");
    };
    let expression = match selector::parse(&text) {
        Ok(expression) => expression,
        Err(problem) => return bad_data(&format!("invalid parameter \"query\": {problem}")),
    };
    let board = gates.reader.now();
    let now_s = gates.clock.time_of_day_ms() as f64 / 1_000.0;
    let result: Vec<Value> = match expression {
        Expression::Vector(number) => vec![json!({"metric": {}, "value": [now_s, written(number)]})],
        Expression::Select(selector) => {
            let found = samples(gates, &board).into_iter().filter(|(labels, _)| selector.selects(labels));
            found.map(|(labels, value)| json!({"metric": labels, "value": [now_s, written(value)]})).collect()
        }
    };
    success(&json!({"resultType": "vector", "result": result}))
}

async fn labels(State(gates): State<Gates>) -> Response {
    let all = samples(&gates, &gates.reader.now());
    let names: BTreeSet<&str> = all.iter().flat_map(|(labels, _)| labels.keys().copied()).collect();
    success(&json!(names))
}

async fn series_in_address(State(gates): State<Gates>, RawQuery(query): RawQuery) -> Response {
    series(&gates, query.unwrap_or_default().as_bytes())
}

async fn series_in_form(State(gates): State<Gates>, body: Bytes) -> Response {
    series(&gates, &body)
}

fn series(gates: &Gates, arguments: &[u8]) -> Response {
    let mut selectors: Vec<Selector> = Vec::new();
    for (_, text) in form_urlencoded::parse(arguments).filter(|(name, _)| name == "match[]").take(10) {
        match selector::parse(&text) {
            Ok(Expression::Select(selector)) => selectors.push(selector),
            Ok(Expression::Vector(_)) => return bad_data("invalid parameter \"match[]\": it is no selector"),
            Err(problem) => return bad_data(&format!("invalid parameter \"match[]\": {problem}")),
        }
    }
    if selectors.is_empty() {
        return bad_data("no match[] parameter provided");
    }
    let all = samples(gates, &gates.reader.now());
    let found = all.into_iter().filter(|(labels, _)| selectors.iter().any(|selector| selector.selects(labels)));
    success(&json!(found.map(|(labels, _)| labels).collect::<Vec<_>>()))
}

/// Every value there is, oldest releases first: a reader that keeps the last of several has the newest.
fn samples(gates: &Gates, board: &Board) -> Vec<(Labels, f64)> {
    let mut seen: BTreeSet<[&str; 3]> = BTreeSet::new();
    let mut samples = Vec::new();
    for judged in board.releases.iter().filter(|judged| judged.ending.is_none()) {
        let release = &judged.release;
        let is_latest = seen.insert([&release.service, &release.namespace, &release.environment]);
        samples.extend(of_release(gates, board, judged, is_latest));
    }
    samples.reverse();
    samples
}

fn of_release(gates: &Gates, board: &Board, judged: &Judged, is_latest: bool) -> Vec<(Labels, f64)> {
    let release = &judged.release;
    let question = Question {
        service: release.service.to_string(),
        namespace: Some(release.namespace.to_string()),
        env: Some(release.environment.to_string()),
        candidate: Some(release.version.to_string()),
        ..Question::default()
    };
    let answer: Answer = gates.answer_of(board, &question);
    let labels = |name: &str| -> Labels {
        Labels::from([
            ("__name__", name.to_owned()),
            ("service", release.service.to_string()),
            ("namespace", release.namespace.to_string()),
            ("env", release.environment.to_string()),
            ("candidate", release.version.to_string()),
            ("baseline", judged.baseline.as_deref().unwrap_or_default().to_owned()),
            ("latest", is_latest.to_string()),
        ])
    };
    let mut samples = Vec::new();
    for (name, value) in METRICS {
        match value {
            Reading::Verdict => {
                let number = match answer.word {
                    Word::Go => 1.0,
                    Word::NoGo => -1.0,
                    Word::Watch | Word::Wait => 0.0,
                };
                samples.push((labels(name), number));
            }
            Reading::Score => samples.push((labels(name), f64::from(answer.score()))),
            Reading::Ratio(place) => {
                for check in &judged.verdict.checks {
                    let Some(number) = check.effect.as_ref().and_then(|effect| ratios(effect)[place]) else { continue };
                    let mut labels = labels(name);
                    labels.insert("metric", check.id.clone());
                    samples.push((labels, number));
                }
            }
        }
    }
    samples
}

/// A number as text, as Prometheus writes it.
fn written(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        number.to_string()
    }
}

fn success(data: &Value) -> Response {
    json_answer(StatusCode::OK, &json!({"status": "success", "data": data}))
}

fn bad_data(problem: &str) -> Response {
    json_answer(StatusCode::BAD_REQUEST, &json!({"status": "error", "errorType": "bad_data", "error": problem}))
}
