//! Which release somebody means, and which one of the board that is. Pure.
//!
//! Whoever names a candidate gets that one or none. Whoever names none gets the newest that is judged now, never one whose time is
//! over: the release before must not answer for one that has not been seen yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use shipwake_model::ReleaseId;

use super::arguments::{Arguments, checked, instead};
use super::problem::Problem;
use crate::board::{Board, Judged};

/// The names by which a release is asked for.
pub(crate) const NAMES: [&str; 7] =
    ["service", "namespace", "env", "candidate", "baseline", "candidate_hash", "baseline_hash"];

/// A release in the words of whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub service: String,
    pub namespace: Option<String>,
    pub env: Option<String>,
    pub candidate: Option<String>,
    pub baseline: Option<String>,
    /// Pod template hashes, for tools that know no versions.
    pub candidate_hash: Option<String>,
    pub baseline_hash: Option<String>,
}

/// Why a question leads to no release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing has been judged since the start.
    Starting,
    /// Nobody has seen it.
    UnknownRelease,
    /// It is in several environments.
    AmbiguousEnvironment,
    /// Several namespaces have a service of this name.
    AmbiguousNamespace,
    /// It is compared with another version than the one that was named.
    OtherBaseline,
    /// It was shown to be fine, and nothing has been heard of the judge since.
    Stale,
    /// It was shown to be fine, and its traffic went back to the version before all the same.
    RolledBack,
    /// It was shown to be fine, and nothing comes from it any more.
    GoneSilent,
    /// It runs, and has taken no request yet.
    NoTraffic,
    /// It runs, and its records are dated long before they come.
    ClockBehind,
}

impl Reason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Starting => "starting",
            Reason::UnknownRelease => "unknown_release",
            Reason::AmbiguousEnvironment => "ambiguous_environment",
            Reason::AmbiguousNamespace => "ambiguous_namespace",
            Reason::OtherBaseline => "other_baseline",
            Reason::Stale => "stale",
            Reason::RolledBack => "rolled_back",
            Reason::GoneSilent => "gone_silent",
            Reason::NoTraffic => "no_traffic",
            Reason::ClockBehind => "clock_behind",
        }
    }

    /// No time will change it: the question has to.
    pub fn is_of_the_question(self) -> bool {
        matches!(self, Reason::AmbiguousEnvironment | Reason::AmbiguousNamespace)
    }
}

/// A question that leads to no release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfound {
    pub reason: Reason,
    /// A sentence: what is known instead.
    pub summary: String,
    /// What it could be, when it could be several.
    pub choices: Vec<String>,
}

impl Question {
    /// Reads it from arguments.
    pub fn of(arguments: &Arguments) -> Result<Self, Problem> {
        let get = |name: &str| arguments.get(name).filter(|value| !value.is_empty()).cloned();
        let question = Question {
            service: get("service").ok_or_else(|| Problem::argument("service", "`service` is missing: which one?"))?,
            namespace: get("namespace"),
            env: get("env"),
            candidate: get("candidate"),
            baseline: get("baseline"),
            candidate_hash: get("candidate_hash"),
            baseline_hash: get("baseline_hash"),
        };
        for name in NAMES {
            if let Some(value) = arguments.get(name) {
                checked(name, value)?;
            }
        }
        Ok(question)
    }

    /// What is asked for, in words: `checkout 2.14.0 in production`.
    pub fn in_words(&self) -> String {
        let named = self.candidate.as_deref().or(self.candidate_hash.as_deref());
        let version = named.map(|version| format!(" {version}")).unwrap_or_default();
        let env = self.env.as_deref().map(|env| format!(" in {env}")).unwrap_or_default();
        format!("{}{version}{env}", self.service)
    }

    fn names_a_candidate(&self) -> bool {
        self.candidate.is_some() || self.candidate_hash.is_some()
    }

    fn is_candidate(&self, judged: &Judged) -> bool {
        is_named(self.candidate.as_deref(), self.candidate_hash.as_deref(), &judged.release.version, &judged.hashes[0])
    }

    fn is_baseline(&self, judged: &Judged) -> bool {
        let version = judged.baseline.as_deref().unwrap_or("");
        is_named(self.baseline.as_deref(), self.baseline_hash.as_deref(), version, &judged.hashes[1])
    }
}

/// A version is meant by its name or by a hash of its pods; where pods name no version the hash is the version.
fn is_named(name: Option<&str>, hash: Option<&str>, version: &str, hashes: &[Arc<str>]) -> bool {
    name == Some(version) || hash.is_some_and(|hash| hash == version || hashes.iter().any(|known| **known == *hash))
}

/// Whether anything was seen of the service that is meant: a release of it may come.
pub(crate) fn knows(board: &Board, question: &Question) -> bool {
    board.versions.contains_key(question.service.as_str())
        || board.releases.iter().any(|judged| *judged.release.service == *question.service)
}

/// Whether a release runs without a request so far.
pub(crate) fn is_idle(board: &Board, judged: &Arc<Judged>) -> bool {
    board.idle.iter().any(|idle| Arc::ptr_eq(idle, judged))
}

/// The release that is meant. One without a request so far is meant when it is named, or when nothing else is judged and it is the newest.
pub(crate) fn find(board: &Board, question: &Question) -> Result<Arc<Judged>, Unfound> {
    let all = board.releases.iter().chain(&board.idle);
    let of_service: Vec<&Arc<Judged>> = all.filter(|judged| *judged.release.service == *question.service).collect();
    if of_service.is_empty() {
        return Err(unknown_service(board, question));
    }
    let mut fitting = of_service.clone();
    for (asked, of) in [
        (&question.namespace, (|judged: &Judged| judged.release.namespace.clone()) as fn(&Judged) -> Arc<str>),
        (&question.env, |judged: &Judged| judged.release.environment.clone()),
    ] {
        let Some(asked) = asked else { continue };
        let known: BTreeSet<Arc<str>> = fitting.iter().map(|judged| of(judged)).collect();
        fitting.retain(|judged| *of(judged) == **asked);
        if fitting.is_empty() {
            let known: Vec<&str> = known.iter().map(|known| &**known).collect();
            let service = &question.service;
            let summary = format!("No release of {service} is judged in `{asked}`; {}", instead(asked, &known));
            return Err(unknown(summary));
        }
    }
    let in_place = fitting.clone();
    if question.names_a_candidate() {
        fitting.retain(|judged| question.is_candidate(judged));
    } else {
        fitting.retain(|judged| judged.ending.is_none() && !is_idle(board, judged));
        if fitting.is_empty() {
            // What ran without requests when a later one came is none that anybody waits for.
            let is_newest = |idle: &&Arc<Judged>| {
                let is_beside = |other: &&&Arc<Judged>| is_same_place(&other.release, &idle.release);
                in_place.iter().filter(is_beside).all(|other| other.opened_ms <= idle.opened_ms)
            };
            fitting.extend(in_place.iter().filter(|judged| is_idle(board, judged)).filter(|idle| is_newest(idle)));
        }
    }
    let Some(first) = fitting.first() else { return Err(unknown_candidate(board, &in_place, question)) };
    one_place(&fitting)?;
    if (question.baseline.is_some() || question.baseline_hash.is_some()) && !question.is_baseline(first) {
        return Err(other_baseline(first, question));
    }
    Ok((*first).clone())
}

fn is_same_place(one: &ReleaseId, other: &ReleaseId) -> bool {
    (&one.namespace, &one.service, &one.environment) == (&other.namespace, &other.service, &other.environment)
}

fn unknown(summary: String) -> Unfound {
    Unfound { reason: Reason::UnknownRelease, summary, choices: Vec::new() }
}

fn unknown_service(board: &Board, question: &Question) -> Unfound {
    if board.as_of_ms == 0 {
        let summary = "Nothing is judged yet: Shipwake has just started.".to_owned();
        return Unfound { reason: Reason::Starting, summary, choices: Vec::new() };
    }
    if knows(board, question) {
        return unknown_candidate(board, &[], question);
    }
    let services = board.versions.keys().map(|service| &**service);
    let known: BTreeSet<&str> = board.releases.iter().map(|judged| &*judged.release.service).chain(services).collect();
    let known: Vec<&str> = known.into_iter().collect();
    let near = if known.is_empty() { String::new() } else { format!("; {}", instead(&question.service, &known)) };
    unknown(format!("No release of {} has been seen that could be judged{near}", question.service))
}

fn unknown_candidate(board: &Board, in_place: &[&Arc<Judged>], question: &Question) -> Unfound {
    let what = question.in_words();
    if !question.names_a_candidate() {
        let last = in_place.first().and_then(|judged| Some((&judged.release.version, judged.ending?.0)));
        let last = last.map(|(version, ending)| format!("; the last one, {version}, {}", ending.told()));
        return unknown(format!("No release of {what} is judged now{}", last.unwrap_or_default()));
    }
    if let Some(judged) = in_place.iter().find(|judged| {
        judged.baseline.as_deref().is_some_and(|baseline| Some(baseline) == question.candidate.as_deref())
    }) {
        let with = &judged.release.version;
        return unknown(format!("{what} is not judged: it is what {with} is compared with"));
    }
    let asked = question.candidate.as_deref().or(question.candidate_hash.as_deref()).unwrap_or_default();
    let seen = board.versions.get(question.service.as_str());
    if in_place.is_empty() && seen.is_some_and(|seen| seen.contains(asked)) {
        return unknown(format!("{what} is not judged: it was there before, or its time is over"));
    }
    let mut known: BTreeSet<&str> = in_place.iter().map(|judged| &*judged.release.version).collect();
    if in_place.is_empty() {
        known.extend(seen.into_iter().flatten().map(|version| &**version));
    }
    let known: Vec<&str> = known.into_iter().collect();
    unknown(format!("Nothing has been seen of {what} yet; {}", instead(asked, &known)))
}

/// All that fit are of one environment and namespace, or the question has to say more.
fn one_place(fitting: &[&Arc<Judged>]) -> Result<(), Unfound> {
    let distinct =
        |of: fn(&Judged) -> &Arc<str>| -> BTreeSet<&str> { fitting.iter().map(|judged| &**of(judged)).collect() };
    let ambiguous = |reason, word: &str, found: BTreeSet<&str>| {
        let choices: Vec<String> = found.into_iter().map(str::to_owned).collect();
        let listed = choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
        let summary = format!("{} has releases in several {word}s; say `{}`: {listed}", fitting[0].release.service, {
            if word == "environment" { "env" } else { word }
        });
        Err(Unfound { reason, summary, choices })
    };
    let environments = distinct(|judged| &judged.release.environment);
    if environments.len() > 1 {
        return ambiguous(Reason::AmbiguousEnvironment, "environment", environments);
    }
    let namespaces = distinct(|judged| &judged.release.namespace);
    if namespaces.len() > 1 {
        return ambiguous(Reason::AmbiguousNamespace, "namespace", namespaces);
    }
    Ok(())
}

fn other_baseline(judged: &Judged, question: &Question) -> Unfound {
    let asked = question.baseline.as_deref().or(question.baseline_hash.as_deref()).unwrap_or_default();
    let with = match &judged.baseline {
        Some(baseline) => format!("with {baseline}"),
        None => "with nothing yet".to_owned(),
    };
    let version = &judged.release.version;
    let summary = format!("{} {version} is compared {with}, not with {asked}", judged.release.service);
    Unfound { reason: Reason::OtherBaseline, summary, choices: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::boards::{Release, board_of};
    use super::*;
    use crate::change::Ending;

    fn ask(text: &str) -> Question {
        let names: Vec<&str> = NAMES.to_vec();
        Question::of(&super::super::arguments::read(Some(text), &names).expect("read")).expect("a question")
    }

    fn version(board: &Board, text: &str) -> String {
        match find(board, &ask(text)) {
            Ok(judged) => judged.release.version.to_string(),
            Err(unfound) => format!("{}: {}", unfound.reason.as_str(), unfound.summary),
        }
    }

    #[test]
    fn a_named_candidate_is_that_one_and_no_name_is_the_newest_that_is_judged() {
        let board = board_of(vec![
            Release::new("checkout", "2.15.0"),
            Release::new("checkout", "2.14.0").hash("7d9f", "5c6b"),
            Release::new("checkout", "2.13.9").ended(Ending::Replaced),
        ]);
        assert_eq!(version(&board, "service=checkout"), "2.15.0");
        assert_eq!(version(&board, "service=checkout&candidate=2.14.0"), "2.14.0");
        assert_eq!(version(&board, "service=checkout&candidate_hash=7d9f&baseline_hash=5c6b"), "2.14.0");
        assert_eq!(version(&board, "service=checkout&candidate=2.13.9"), "2.13.9");
        assert_eq!(version(&board, "service=checkout&candidate_hash=2.15.0"), "2.15.0");
    }

    #[test]
    fn a_release_whose_time_is_over_does_not_answer_for_one_that_was_not_seen() {
        let board = board_of(vec![Release::new("checkout", "2.14.0").ended(Ending::Promoted)]);
        assert_eq!(
            version(&board, "service=checkout"),
            "unknown_release: No release of checkout is judged now; the last one, 2.14.0, was promoted"
        );
    }

    #[test]
    fn a_version_that_runs_without_a_request_is_found_when_nothing_else_is_meant() {
        let idle = |board: &mut Board, release: Release, opened_ms: i64| {
            board.idle.push(Arc::new(Judged { opened_ms, ..release.judged() }));
        };
        let late_ms = i64::MAX;
        let mut board = board_of(vec![Release::new("checkout", "2.14.0").ended(Ending::Promoted)]);
        idle(&mut board, Release::new("checkout", "2.15.0"), late_ms);
        idle(&mut board, Release::new("search", "7"), late_ms);
        assert_eq!(version(&board, "service=checkout&candidate=2.15.0"), "2.15.0");
        assert_eq!(version(&board, "service=checkout"), "2.15.0");
        assert_eq!(version(&board, "service=search"), "7");
        assert_eq!(
            version(&board, "service=search&candidate=8"),
            "unknown_release: Nothing has been seen of search 8 yet; did you mean `7`?"
        );
        // One that is judged goes first, and one that ran before the last release is none that anybody waits for.
        let mut board = board_of(vec![Release::new("checkout", "2.14.0")]);
        idle(&mut board, Release::new("checkout", "2.15.0"), late_ms);
        assert_eq!(version(&board, "service=checkout"), "2.14.0");
        let mut board = board_of(vec![Release::new("checkout", "2.14.0").ended(Ending::RolledBack)]);
        idle(&mut board, Release::new("checkout", "worker"), 0);
        assert!(version(&board, "service=checkout").starts_with("unknown_release: No release of checkout is judged"));
    }

    #[test]
    fn versions_of_the_service_are_named_and_not_other_services() {
        let mut board = board_of(vec![Release::new("search", "7")]);
        let versions = [("checkout".into(), ["2.13.4".into()].into())];
        board.versions = Arc::new(versions.into());
        let check = |text: &str, expected: &str| {
            assert_eq!(version(&board, text), format!("unknown_release: {expected}"));
        };
        check(
            "service=checkout&candidate=2.15.0",
            "Nothing has been seen of checkout 2.15.0 yet; did you mean `2.13.4`?",
        );
        check(
            "service=checkout&candidate=2.13.4",
            "checkout 2.13.4 is not judged: it was there before, or its time is over",
        );
        check("service=checkout", "No release of checkout is judged now");
        check("service=chekout", "No release of chekout has been seen that could be judged; did you mean `checkout`?");
    }

    #[test]
    fn what_is_not_known_is_said_with_what_is_near() {
        let board = board_of(vec![Release::new("checkout", "2.14.0"), Release::new("search", "7.0.0")]);
        let check =
            |text: &str, expected: &str| assert_eq!(version(&board, text), format!("unknown_release: {expected}"));
        check("service=chekout", "No release of chekout has been seen that could be judged; did you mean `checkout`?");
        check("service=checkout&env=prod", "No release of checkout is judged in `prod`; known: `production`");
        check(
            "service=checkout&env=productoin",
            "No release of checkout is judged in `productoin`; did you mean `production`?",
        );
        check(
            "service=checkout&candidate=2.15.0",
            "Nothing has been seen of checkout 2.15.0 yet; did you mean `2.14.0`?",
        );
        check("service=checkout&candidate=2.13.4", "checkout 2.13.4 is not judged: it is what 2.14.0 is compared with");
        assert_eq!(version(&Board::default(), "service=a").split(':').next(), Some("starting"));
    }

    #[test]
    fn several_environments_are_listed_unless_the_version_is_in_one() {
        let board = board_of(vec![
            Release::new("checkout", "2.15.0").env("staging"),
            Release::new("checkout", "2.14.0"),
            Release::new("cart", "1").namespace("a"),
            Release::new("cart", "1").namespace("b"),
        ]);
        let unfound = find(&board, &ask("service=checkout")).expect_err("two");
        assert_eq!(
            (unfound.reason, unfound.choices),
            (Reason::AmbiguousEnvironment, vec!["production".into(), "staging".into()])
        );
        assert_eq!(version(&board, "service=checkout&candidate=2.15.0"), "2.15.0");
        assert_eq!(version(&board, "service=checkout&env=production"), "2.14.0");
        assert_eq!(find(&board, &ask("service=cart")).expect_err("two").reason, Reason::AmbiguousNamespace);
        assert_eq!(version(&board, "service=cart&namespace=b"), "1");
    }

    #[test]
    fn another_baseline_than_the_named_one_is_no_answer() {
        let board = board_of(vec![Release::new("checkout", "2.14.0")]);
        assert_eq!(version(&board, "service=checkout&baseline=2.13.4"), "2.14.0");
        assert_eq!(
            version(&board, "service=checkout&baseline=2.13.3"),
            "other_baseline: checkout 2.14.0 is compared with 2.13.4, not with 2.13.3"
        );
    }
}
