//! What a caller of Kayenta asks for, and which release that is. Pure.
//!
//! `application` is the service, unless `extendedScopeParams.service` says otherwise; the scope of the experiment is the candidate:
//! a version, a hash of a pod template, or either with the service in front (`checkout-2.14.0`), and the service's name alone is
//! the newest release. The location is the environment where there is one of that name.

use serde_json::Value;
use url::form_urlencoded;

use super::super::arguments::{Arguments, checked};
use super::super::problem::Problem;
use super::super::question::{NAMES, Question, find};
use crate::board::{Board, Judged};

/// From which scores on a release passes, and up to which it fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Thresholds {
    pub pass: f64,
    pub marginal: f64,
}

impl Thresholds {
    /// A whole number strictly between the two, near the middle: whoever compares it with either goes on.
    pub fn between(self) -> Option<i64> {
        let Thresholds { pass, marginal } = self;
        if !(pass <= 100.0 && marginal > 0.0) {
            return None;
        }
        let above_marginal = marginal.floor() + 1.0;
        let middle = (f64::midpoint(marginal, pass)).floor().max(above_marginal);
        (middle > marginal && middle < pass).then_some(middle as i64)
    }
}

/// A request for an execution.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub application: String,
    pub thresholds: Thresholds,
    /// Scope and location of the candidate.
    experiment: [String; 2],
    /// The baseline's scope.
    control: String,
    extended: Arguments,
}

impl Request {
    pub fn read(query: Option<&str>, body: &[u8]) -> Result<Self, Problem> {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let application = pairs.find(|(name, _)| name == "application").map(|(_, value)| value.into_owned());
        let application = application.filter(|application| !application.is_empty());
        let application = application
            .ok_or_else(|| Problem::argument("application", "`application` is missing: the name of the service"))?;
        checked("application", &application)?;
        let read: Value = serde_json::from_slice(body)
            .map_err(|error| Problem::Body(format!("expected {{\"scopes\":{{…}},\"thresholds\":{{…}}}}: {error}")))?;
        let thresholds = thresholds(&read["thresholds"])?;
        let scopes = read["scopes"].as_object().filter(|scopes| !scopes.is_empty());
        let scopes = scopes.ok_or_else(|| Problem::Body("`scopes` is missing: which release?".to_owned()))?;
        let scope = scopes.get("default").or_else(|| scopes.values().next()).unwrap_or(&Value::Null);
        let text = |side: &str, name: &str| scope[side][name].as_str().unwrap_or_default().trim().to_owned();
        let experiment = [text("experimentScope", "scope"), text("experimentScope", "location")];
        let control = text("controlScope", "scope");
        for value in experiment.iter().chain([&control]) {
            checked("scope", value)?;
        }
        let params = &scope["experimentScope"]["extendedScopeParams"];
        let named = NAMES.iter().filter_map(|name| Some((name.to_string(), params[*name].as_str()?.to_owned())));
        let extended: Arguments = named.filter(|(_, value)| !value.is_empty()).collect();
        for (name, value) in &extended {
            checked(name, value)?;
        }
        Ok(Request { application, thresholds, experiment, control, extended })
    }

    /// The question that it comes to on this board.
    pub fn question(&self, board: &Board) -> Result<Question, Problem> {
        let mut arguments = self.extended.clone();
        let service = arguments.entry("service".to_owned()).or_insert_with(|| self.application.clone()).clone();
        let of_service = || board.releases.iter().filter(|judged| *judged.release.service == *service);
        let [scope, location] = &self.experiment;
        if of_service().any(|judged| *judged.release.environment == **location) {
            arguments.entry("env".to_owned()).or_insert_with(|| location.clone());
        }
        let mut question = Question::of(&arguments)?;
        if question.candidate.is_some() || question.candidate_hash.is_some() {
            return Ok(question);
        }
        let readings = readings(scope, &service);
        let fits = |name: &String| find(board, &named(&question, name)).is_ok();
        if let Some(name) = readings.iter().find(|name| fits(name)).or(readings.first()) {
            question = named(&question, name);
        }
        if let (Ok(judged), Some(other)) = (find(board, &question), self.other_baseline(board, &service)) {
            let is_the_baseline = |judged: &Judged| {
                judged.baseline.as_deref() == Some(&other) || judged.hashes[1].iter().any(|hash| **hash == *other)
            };
            if !is_the_baseline(&judged) && *judged.release.version != *other {
                question.baseline = Some(other);
            }
        }
        Ok(question)
    }

    /// The version that the control's scope names, if it names one that is known: many sites have other words there.
    fn other_baseline(&self, board: &Board, service: &str) -> Option<String> {
        let of_service: Vec<_> = board.releases.iter().filter(|judged| *judged.release.service == *service).collect();
        let is_known = |name: &String| {
            of_service
                .iter()
                .any(|judged| *judged.release.version == **name || judged.baseline.as_deref() == Some(name.as_str()))
        };
        readings(&self.control, service).into_iter().find(is_known)
    }
}

/// The same question about a release of this name, which may be a hash as well.
fn named(question: &Question, name: &str) -> Question {
    Question { candidate: Some(name.to_owned()), candidate_hash: Some(name.to_owned()), ..question.clone() }
}

/// What a scope may mean: itself, or what is behind the service's name. Nothing when it is the service.
fn readings(scope: &str, service: &str) -> Vec<String> {
    if scope.is_empty() || scope == service {
        return Vec::new();
    }
    let mut readings = vec![scope.to_owned()];
    for separator in ["-", "@", ":"] {
        let behind = scope.strip_prefix(service).and_then(|rest| rest.strip_prefix(separator));
        readings.extend(behind.filter(|behind| !behind.is_empty()).map(str::to_owned));
    }
    readings
}

fn thresholds(read: &Value) -> Result<Thresholds, Problem> {
    let number = |name: &str| {
        let wrong = || Problem::Body(format!("`thresholds.{name}` is missing: a number"));
        read[name].as_f64().ok_or_else(wrong)
    };
    let thresholds = Thresholds { pass: number("pass")?, marginal: number("marginal")? };
    if thresholds.between().is_none() {
        return Err(Problem::Body(format!(
            "thresholds pass {} and marginal {}: 100 is GO, 0 is NO-GO, and what is not decided needs a whole number between the \
             two, so pass is at most 100, marginal is above 0, and there are at least two between them",
            thresholds.pass, thresholds.marginal
        )));
    }
    Ok(thresholds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::super::boards::{Release, board_of};
    use super::*;

    fn request(application: &str, scope: &str, location: &str, control: &str) -> Request {
        let body = json!({"thresholds": {"pass": 75, "marginal": 50}, "scopes": {"default": {
            "experimentScope": {"scope": scope, "location": location, "step": 60},
            "controlScope": {"scope": control, "location": location, "step": 60}}}});
        Request::read(Some(&format!("application={application}")), body.to_string().as_bytes()).expect("a request")
    }

    #[test]
    fn a_scope_is_a_version_a_hash_or_the_service() {
        let board = board_of(vec![
            Release::new("checkout", "2.15.0").env("staging"),
            Release::new("checkout", "2.14.0").hash("7d9f", "5c6b"),
        ]);
        let check = |scope: &str, location: &str, control: &str, expected: &str| {
            let question = request("checkout", scope, location, control).question(&board).expect("read");
            let found = find(&board, &question).map(|judged| judged.release.version.to_string());
            assert_eq!(
                found.unwrap_or_else(|unfound| unfound.reason.as_str().to_owned()),
                expected,
                "{scope} {location}"
            );
        };
        check("2.14.0", "production", "2.13.4", "2.14.0");
        check("checkout-2.14.0", "eu-1", "checkout-2.13.4", "2.14.0");
        check("checkout@7d9f", "production", "baseline", "2.14.0");
        check("checkout", "production", "checkout", "2.14.0");
        check("", "staging", "", "2.15.0");
        check("checkout", "eu-1", "checkout", "ambiguous_environment");
        check("2.16.0", "production", "", "unknown_release");
        check("2.14.0", "production", "2.15.0", "other_baseline");
    }

    #[test]
    fn what_is_not_decided_lies_strictly_between() {
        let between = |marginal: f64, pass: f64| Thresholds { pass, marginal }.between();
        assert_eq!(between(50.0, 75.0), Some(62));
        assert_eq!(between(75.0, 95.0), Some(85));
        assert_eq!(between(74.0, 76.0), Some(75));
        assert_eq!(between(74.0, 75.0), None);
        assert_eq!(between(0.0, 75.0), None);
        assert_eq!(between(75.0, 101.0), None);
        assert_eq!(between(f64::NAN, 75.0), None);
    }

    proptest! {
        #[test]
        fn a_score_between_is_above_marginal_and_below_pass(marginal in 0.0f64..101.0, pass in 0.0f64..101.0) {
            if let Some(score) = (Thresholds { pass, marginal }).between() {
                prop_assert!((score as f64) > marginal && (score as f64) < pass && score > 0 && score < 100);
            }
        }
    }
}
