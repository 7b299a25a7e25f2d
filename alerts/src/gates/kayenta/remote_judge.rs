//! Kayenta's `RemoteJudge-v1.0`: Kayenta collects metrics as it always did, and asks here what they mean. The answer is that of
//! its own judge, computed by [`shipwake_verdict::kayenta`].

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use shipwake_verdict::kayenta::{
    Classification, Direction, EffectSize, JUDGE_NAME, Metric, MetricResult, NanStrategy, Scored, Summary, Thresholds,
    classify, score,
};
use tokio::sync::Semaphore;

use super::super::problem::{Problem, json_answer};

/// Requests that are judged at a time: each takes a core.
static JUDGING: Semaphore = Semaphore::const_new(1);
/// Pairs of values that one request compares: two hundred metrics of two hours of minutes.
const PAIRS_MAX: u64 = 4_000_000;

/// Answers with a `CanaryJudgeResult`.
pub(super) async fn judge(body: Result<Bytes, BytesRejection>) -> Result<Response, Problem> {
    let body = body.map_err(|error| Problem::Body(error.body_text()))?;
    let _turn = JUDGING.acquire().await.map_err(|_| Problem::Busy("the judge has ended".to_owned()))?;
    let judged = tokio::task::spawn_blocking(move || judged(&body)).await;
    let judged = judged.map_err(|_| Problem::Body("these metrics cannot be judged".to_owned()))??;
    Ok(json_answer(StatusCode::OK, &judged))
}

/// One metric on both sides.
struct Pair<'a> {
    form: &'a Value,
    config: &'a Value,
    control: Vec<f64>,
    experiment: Vec<f64>,
}

fn judged(body: &[u8]) -> Result<Value, Problem> {
    let wrong = |why: String| Problem::Body(format!("not a request of Kayenta's remote judge: {why}"));
    let read: Value = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let config = &read["canaryConfig"];
    let thresholds = [&read["scoreThresholds"], &config["classifier"]["scoreThresholds"]];
    let number = |name: &str| thresholds.iter().find_map(|form| form[name].as_f64());
    let (Some(pass), Some(marginal)) = (number("pass"), number("marginal")) else {
        return Err(wrong("scoreThresholds has no `pass` and `marginal`".to_owned()));
    };
    let pairs = pairs(&read, config).map_err(wrong)?;
    let work = pairs.iter().map(|pair| pair.control.len() as u64 * pair.experiment.len() as u64).sum::<u64>();
    if work > PAIRS_MAX {
        return Err(wrong(format!("{work} pairs of values to compare; at most {PAIRS_MAX}: choose a longer step")));
    }
    let weights: BTreeMap<String, f64> = config["classifier"]["groupWeights"]
        .as_object()
        .map(|weights| weights.iter().filter_map(|(name, weight)| Some((name.clone(), weight.as_f64()?))).collect())
        .unwrap_or_default();
    let results: Vec<Scored> = pairs.iter().map(result).collect();
    let score = score(&results, &weights, Thresholds { pass, marginal });
    let groups: Vec<Value> = score
        .groups
        .iter()
        .map(|group| {
            let word = if group.no_data { "Nodata" } else { "" };
            json!({"name": group.name, "score": group.score, "classification": word, "classificationReason": ""})
        })
        .collect();
    Ok(json!({
        "judgeName": JUDGE_NAME,
        "results": pairs.iter().zip(&results).map(|(pair, result)| written(pair, result)).collect::<Vec<_>>(),
        "groupScores": groups,
        "score": {"score": score.value, "classification": score.word.as_str(),
            "classificationReason": score.reason.unwrap_or_default()},
    }))
}

fn pairs<'a>(read: &'a Value, config: &'a Value) -> Result<Vec<Pair<'a>>, String> {
    let metrics = config["metrics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let list = read["metricSetPairList"].as_array().filter(|list| !list.is_empty());
    let list = list.ok_or("metricSetPairList is missing or empty")?;
    let mut pairs = Vec::new();
    for form in list {
        let name = form["name"].as_str().ok_or("a pair of metrics has no name")?;
        let config = metrics.iter().find(|metric| metric["name"] == name);
        let config = config.ok_or_else(|| format!("canaryConfig has no metric `{name}`"))?;
        let values = |side: &str| -> Result<Vec<f64>, String> {
            let values = form["values"][side].as_array().ok_or_else(|| format!("`{name}` has no values of {side}"))?;
            values.iter().map(|value| number(value).ok_or_else(|| format!("`{name}`: {value} is no number"))).collect()
        };
        pairs.push(Pair { form, config, control: values("control")?, experiment: values("experiment")? });
    }
    Ok(pairs)
}

/// A value; Kayenta writes those that are missing as the text `NaN`.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

fn result(pair: &Pair<'_>) -> Scored {
    let name = pair.form["name"].as_str().unwrap_or_default();
    let groups = pair.config["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    Scored {
        groups: groups.iter().filter_map(|group| Some(group.as_str()?.to_owned())).collect(),
        muted: flag(&pair.config["analysisConfigurations"]["canary"]["muted"]),
        result: classify(name, &pair.control, &pair.experiment, &metric(pair.config)),
    }
}

/// How a metric is judged: `analysisConfigurations.canary`, with the judge's defaults.
fn metric(config: &Value) -> Metric {
    let canary = &config["analysisConfigurations"]["canary"];
    let effect = &canary["effectSize"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_ascii_lowercase();
    let measure = if word(&effect["measure"]) == "cles" { EffectSize::Cles } else { EffectSize::MeanRatio };
    let defaults = Metric::new(measure);
    let of = |name: &str, default: f64| number(&effect[name]).filter(|number| !number.is_nan()).unwrap_or(default);
    let outliers = &canary["outliers"];
    let removes_outliers = word(&outliers["strategy"]) == "remove";
    Metric {
        direction: match word(&canary["direction"]).as_str() {
            "increase" => Direction::Increase,
            "decrease" => Direction::Decrease,
            _ => Direction::Either,
        },
        nan_strategy: if word(&canary["nanStrategy"]) == "replace" {
            NanStrategy::Replace
        } else {
            NanStrategy::Remove
        },
        critical: flag(&canary["critical"]),
        must_have_data: flag(&canary["mustHaveData"]),
        allowed: (of("allowedDecrease", defaults.allowed.0), of("allowedIncrease", defaults.allowed.1)),
        critical_bounds: (
            of("criticalDecrease", defaults.critical_bounds.0),
            of("criticalIncrease", defaults.critical_bounds.1),
        ),
        outlier_factor: removes_outliers.then(|| outliers["outlierFactor"].as_f64().unwrap_or(3.0)),
        ..defaults
    }
}

fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str() == Some("true"))
}

fn written(pair: &Pair<'_>, scored: &Scored) -> Value {
    let MetricResult { classification, reason, ratio, critical } = &scored.result;
    let ratio = if *classification == Classification::Error { f64::NAN } else { *ratio };
    json!({
        "name": pair.form["name"],
        "id": pair.form["id"],
        "tags": if pair.form["tags"].is_object() { pair.form["tags"].clone() } else { json!({}) },
        "classification": classification.as_str(),
        "classificationReason": reason,
        "groups": scored.groups,
        "critical": critical,
        "muted": scored.muted,
        "experimentMetadata": {"stats": stats(&pair.experiment)},
        "controlMetadata": {"stats": stats(&pair.control)},
        "resultMetadata": {"ratio": ratio},
    })
}

fn stats(values: &[f64]) -> Value {
    let known: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let Summary { min, max, mean, std, count } = Summary::of(&known);
    json!({"count": count, "mean": mean, "min": min, "max": max, "std": std})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(control: &[f64], experiment: &[f64]) -> Value {
        json!({
            "canaryConfig": {
                "metrics": [{"name": "errors", "groups": ["health"], "query": {"type": "prometheus"},
                    "analysisConfigurations": {"canary": {"direction": "increase", "critical": true}}}],
                "classifier": {"groupWeights": {"health": 100.0}},
            },
            "scoreThresholds": {"pass": 75.0, "marginal": 50.0},
            "metricSetPairList": [{"name": "errors", "id": "m1", "tags": {"a": "b"},
                "values": {"control": control, "experiment": experiment}, "scopes": {}, "attributes": {}}],
        })
    }

    fn steps(level: f64) -> Vec<f64> {
        (0..60).map(|k| level + f64::from(k % 7)).collect()
    }

    #[test]
    fn a_request_of_kayenta_gets_the_judgement_of_its_own_judge() {
        let bad = judged(request(&steps(10.0), &steps(40.0)).to_string().as_bytes()).expect("judged");
        assert_eq!(bad["judgeName"], "NetflixACAJudge-v1.0");
        assert_eq!((&bad["score"]["score"], &bad["score"]["classification"]), (&json!(0.0), &json!("Fail")));
        let result = &bad["results"][0];
        assert_eq!((&result["classification"], &result["critical"]), (&json!("High"), &json!(true)));
        assert_eq!((&result["id"], &result["tags"]), (&json!("m1"), &json!({"a": "b"})));
        assert_eq!(result["controlMetadata"]["stats"]["count"], 60);
        let good = judged(request(&steps(10.0), &steps(10.0)).to_string().as_bytes()).expect("judged");
        assert_eq!((&good["score"]["score"], &good["score"]["classification"]), (&json!(100.0), &json!("Pass")));
    }

    #[test]
    fn missing_values_are_texts_and_what_is_no_request_is_said() {
        let mut request = request(&steps(10.0), &steps(10.0));
        request["metricSetPairList"][0]["values"]["control"] = json!(["NaN", null, 1.0, 2.0]);
        let judged_with = judged(request.to_string().as_bytes()).expect("judged");
        assert_eq!(judged_with["results"][0]["controlMetadata"]["stats"]["count"], 2);
        let said = |request: &Value| judged(request.to_string().as_bytes()).expect_err("refused").to_string();
        request["metricSetPairList"][0]["name"] = json!("latency");
        assert!(said(&request).contains("no metric `latency`"));
        request["metricSetPairList"] = json!([]);
        assert!(said(&request).contains("metricSetPairList"));
        request["scoreThresholds"] = Value::Null;
        assert!(said(&request).contains("scoreThresholds"));
        assert!(judged(b"{").is_err() && judged(b"[]").is_err());
    }
}
