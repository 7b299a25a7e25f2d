//! Forms of numbers and names that several faces share.

use serde_json::{Value, json};
use shipwake_verdict::check::Group;
use shipwake_verdict::verdict::{Effect, EffectKind, Missing, Verdict};
use shipwake_verdict::{Guard, Word};
use url::Url;

use crate::board::Judged;

/// Evidence is written up to here: JSON has no infinity, and nobody needs more.
const EVIDENCE_MAX: f64 = 1e300;

/// Evidence as a number, of its logarithm.
pub(crate) fn evidence(ln: f64) -> f64 {
    // A logarithm of nothing is no evidence, not zero over zero.
    if ln.is_nan() { 1.0 } else { ln.exp().min(EVIDENCE_MAX) }
}

/// `null` for what is not there.
pub(crate) fn as_json<T>(value: Option<&T>, form: impl Fn(&T) -> Value) -> Value {
    value.map_or(Value::Null, form)
}

/// An effect without its limits, which faces name differently.
pub(crate) fn effect_json(effect: &Effect) -> Value {
    let kind = match effect.kind {
        EffectKind::Ratio => "ratio",
        EffectKind::Change => "change",
    };
    json!({"kind": kind, "value": effect.value, "low": effect.low, "high": effect.high})
}

/// The candidate's value over the baseline's, whatever an effect is told as: estimate, lower end, upper end.
pub(crate) fn ratios(effect: &Effect) -> [Option<f64>; 3] {
    let ratio = |value: f64| if effect.kind == EffectKind::Change { 1.0 + value } else { value };
    [Some(effect.value), effect.low, effect.high].map(|value| value.map(ratio).filter(|value| value.is_finite()))
}

/// How much more it takes.
pub(crate) fn missing_json(missing: Option<&Missing>) -> Value {
    let form = |missing: &Missing| json!({"exposure": missing.exposure.ceil(), "seconds": missing.seconds.ceil(), "faster_at_share": missing.faster_at_share});
    as_json(missing, form)
}

/// What it takes until there is a decision, in words; `none` once there is one.
pub(crate) fn next_need(verdict: &Verdict, word: Word) -> String {
    if word.is_decided() {
        return "none".to_owned();
    }
    if verdict.checks.is_empty() && matches!(verdict.guards[..], [Guard::NoTraffic | Guard::ClockBehind { .. }]) {
        // Before the first request that counts the sentence is what there is.
        let said = verdict.summary.trim_start_matches("Wait: ").trim_start_matches("Watch: ");
        return said.trim_end_matches('.').to_owned();
    }
    let guards = verdict.guards.iter().filter(|guard| guard.blocks_go());
    let mut clauses: Vec<String> = guards.map(Guard::text).collect();
    clauses.extend(verdict.missing.map(|missing| missing.text()));
    clauses.extend(verdict.missing.and_then(|_| verdict.noise_note()));
    if clauses.is_empty() { verdict.summary.clone() } else { clauses.join("; ") }
}

/// The word for a group of checks.
pub(crate) fn group_name(group: Group) -> &'static str {
    match group {
        Group::Errors => "errors",
        Group::Latency => "latency",
        Group::Kpi => "kpi",
        Group::Patterns => "patterns",
        Group::Traffic => "traffic",
    }
}

/// The path of a release's page.
pub(crate) fn page_path(judged: &Judged) -> String {
    let mut url = Url::parse("http://pages/s/").expect("an address");
    let service = &*judged.release.service;
    // `.` and `..` would be taken away from the path; a tilde in front keeps them.
    let part =
        if matches!(service, "." | "..") || service.starts_with('~') { format!("~{service}") } else { service.into() };
    url.path_segments_mut().expect("it has a path").pop_if_empty().push(&part);
    let mut pairs = url.query_pairs_mut();
    pairs.append_pair("env", &judged.release.environment).append_pair("cand", &judged.release.version);
    if let Some(baseline) = &judged.baseline {
        pairs.append_pair("base", baseline);
    }
    drop(pairs);
    url[url::Position::BeforePath..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::boards::Release;
    use super::*;

    #[test]
    fn a_page_is_named_by_its_service_whatever_is_in_the_name() {
        let path = |service: &str| page_path(&Release::new(service, "1.0+a b").judged());
        assert_eq!(path("checkout"), "/s/checkout?env=production&cand=1.0%2Ba+b&base=2.13.4");
        assert_eq!(path("a/b?c"), "/s/a%2Fb%3Fc?env=production&cand=1.0%2Ba+b&base=2.13.4");
        assert!(path("..").starts_with("/s/~..?") && path("~x").starts_with("/s/~~x?"), "{}", path(".."));
    }

    #[test]
    fn evidence_is_a_number_that_json_has() {
        assert_eq!(evidence(0.0), 1.0);
        assert_eq!([evidence(1e9), evidence(f64::INFINITY)], [1e300; 2]);
        assert_eq!([evidence(f64::NEG_INFINITY), evidence(f64::NAN)], [0.0, 1.0]);
    }
}
