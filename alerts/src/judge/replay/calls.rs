//! What was called of a release, then and in a replay, and where the two part. Pure.

use shipwake_verdict::{CheckResult, Word};

/// A word that was told of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The word.
    pub word: Word,
    /// When, ms since the epoch.
    pub at_ms: i64,
    /// The sentence.
    pub summary: String,
    /// How each check stood; empty where that was not recorded.
    pub checks: Vec<CheckCall>,
}

/// How a check stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckCall {
    /// Its name.
    pub id: String,
    /// `worse`, `suspicious`, `fine`, `undecided` or `no_data`.
    pub state: String,
    /// One clause for people.
    pub why: String,
}

/// The first check by which two calls part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub id: String,
    /// How it stood then; `None` where it was not made.
    pub then: Option<String>,
    /// How it stands in the replay; `None` where it is not made.
    pub now: Option<String>,
}

impl CheckCall {
    pub(super) fn of(check: &CheckResult) -> CheckCall {
        CheckCall { id: check.id.clone(), state: check.state.as_str().to_owned(), why: check.why.clone() }
    }
}

/// What a release was called in the end: "no go" if ever, else "go" if ever, else its last word. Of a word the first time counts:
/// that is when a tool acted on it.
pub fn decision(calls: &[Call]) -> Option<&Call> {
    let first = |word: Word| calls.iter().find(|call| call.word == word);
    first(Word::NoGo).or_else(|| first(Word::Go)).or(calls.last())
}

/// The first check that stands otherwise, in the order of the replay, and then those that were only made then. `None` when all stand
/// as they did, or one side does not say.
pub fn parting(then: &[CheckCall], now: &[CheckCall]) -> Option<Part> {
    if then.is_empty() || now.is_empty() {
        return None;
    }
    let of = |side: &[CheckCall], id: &str| side.iter().find(|check| check.id == id).map(|check| check.state.clone());
    let mut ids: Vec<&str> = now.iter().map(|check| check.id.as_str()).collect();
    ids.extend(then.iter().map(|check| check.id.as_str()).filter(|id| of(now, id).is_none()));
    let parts = ids.into_iter().map(|id| Part { id: id.to_owned(), then: of(then, id), now: of(now, id) });
    // What decides a call is worth more than what is on its way.
    let mut parting: Vec<Part> = parts.filter(|part| part.then != part.now).collect();
    parting.sort_by_key(|part| !is_worse(part));
    parting.into_iter().next()
}

fn is_worse(part: &Part) -> bool {
    [&part.then, &part.now].into_iter().any(|state| state.as_deref() == Some("worse"))
}
