//! What is said of a release: a word, a sentence, and everything it rests on. One value for all faces. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use shipwake_verdict::{CheckResult, Guard, Word};

use super::form::{as_json, effect_json, evidence, next_need, page_path};
use super::question::{Question, Reason, Unfound, find, is_idle};
use crate::board::{Board, Judged};
use crate::change::Ending;
use crate::time::{rfc3339, span};

/// A board that is older than this says nothing good of anybody: the judge looks every second or so.
const STALE_MS: i64 = 60_000;
/// Evidence from which on a release is bad: one over the share of good ones that may be called so.
const THRESHOLD: f64 = 100.0;
/// What an undecided release scores where nobody names thresholds.
const SCORE_UNDECIDED: u8 = 50;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The word that a tool may act on. What is not known is `wait`.
    pub word: Word,
    /// Why the word is not simply the verdict's.
    pub reason: Option<Reason>,
    /// One sentence.
    pub summary: String,
    /// The release, if there is one.
    pub judged: Option<Arc<Judged>>,
    /// What it could be, if it could be several.
    pub choices: Vec<String>,
    /// Of the board.
    pub revision: u64,
    /// When the board was made, ms.
    pub as_of_ms: i64,
    /// What was asked for.
    pub question: Question,
}

impl Answer {
    /// Answers a question from a board, at a time of day in ms.
    pub fn of(board: &Board, question: &Question, now_ms: i64) -> Self {
        let (revision, as_of_ms) = (board.revision, board.as_of_ms);
        let of = |word, reason, summary, judged, choices| Answer {
            word,
            reason,
            summary,
            judged,
            choices,
            revision,
            as_of_ms,
            question: question.clone(),
        };
        match find(board, question) {
            Ok(judged) => {
                let (word, reason, summary) = said(&judged, now_ms - as_of_ms);
                let is_behind = judged.verdict.guards.iter().any(|guard| matches!(guard, Guard::ClockBehind { .. }));
                let reason = match is_idle(board, &judged) {
                    true if is_behind => Some(Reason::ClockBehind),
                    true => Some(Reason::NoTraffic),
                    false => reason,
                };
                of(word, reason, summary, Some(judged), Vec::new())
            }
            Err(Unfound { reason, summary, choices }) => of(Word::Wait, Some(reason), summary, None, choices),
        }
    }

    /// Whether a tool can act on it.
    pub fn is_decided(&self) -> bool {
        self.word.is_decided()
    }

    /// The word for tools that know states of a job.
    pub fn status(&self) -> &'static str {
        match self.word {
            Word::Go => "SUCCEEDED",
            Word::NoGo => "FAILED",
            Word::Watch | Word::Wait => "RUNNING",
        }
    }

    /// 100, 0, or a number between.
    pub fn score(&self) -> u8 {
        match self.word {
            Word::Go => 100,
            Word::NoGo => 0,
            Word::Watch | Word::Wait => SCORE_UNDECIDED,
        }
    }

    /// Counts the changes of the word; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.judged.as_ref().map_or(0, |judged| judged.sequence)
    }

    /// All fields of `GET /v1/verdict`. `url` is where people reach the pages.
    pub fn to_json(&self, url: Option<&str>) -> Value {
        let mut answer = json!({
            "verdict": self.word.as_str(),
            "ok": self.word == Word::Go,
            "decided": self.is_decided(),
            "score": self.score(),
            "status": self.status(),
            "reason": self.reason.map(Reason::as_str),
            "sequence": self.sequence(),
            "summary": self.summary,
            "service": self.question.service,
            "namespace": self.question.namespace,
            "env": self.question.env,
            "candidate": self.question.candidate.as_ref().or(self.question.candidate_hash.as_ref()),
            "baseline": self.question.baseline.as_ref().or(self.question.baseline_hash.as_ref()),
            "as_of": if self.as_of_ms > 0 { json!(rfc3339(self.as_of_ms)) } else { Value::Null },
            "revision": self.revision,
            "next": {"need": "a first record of this release", "requests": null, "seconds": null, "faster_at_share": null},
            "metrics": [],
            "new_log_patterns": [],
            "guards": {},
        });
        if !self.choices.is_empty() {
            answer["choices"] = json!(self.choices);
        }
        let Some(judged) = &self.judged else {
            if let Some(Reason::AmbiguousEnvironment | Reason::AmbiguousNamespace) = self.reason {
                answer["next"]["need"] = json!(self.summary);
            }
            return answer;
        };
        let path = page_path(judged);
        let known = of_release(judged, self.word, url, &path);
        let fields = answer.as_object_mut().expect("made above");
        fields.extend(known);
        answer
    }
}

/// The word, why it is not the verdict's, and the sentence.
fn said(judged: &Judged, age_ms: i64) -> (Word, Option<Reason>, String) {
    let verdict = &judged.verdict;
    // Somebody had a reason: a pipeline that goes on would bring it back.
    let reason = match judged.ending {
        Some((Ending::RolledBack, _)) => Some(Reason::RolledBack),
        Some((Ending::GoneSilent, _)) => Some(Reason::GoneSilent),
        _ => None,
    };
    if let (Word::Go, Some(reason), Some((ending, _))) = (verdict.word, reason, judged.ending) {
        let summary = format!("It was GO, and {} since. {}", ending.told(), verdict.summary);
        return (Word::Watch, Some(reason), summary);
    }
    if verdict.word == Word::Go && age_ms > STALE_MS {
        let summary = format!("It was GO, and nothing has been judged for {}. {}", span(age_ms), verdict.summary);
        return (Word::Watch, Some(Reason::Stale), summary);
    }
    (verdict.word, None, verdict.summary.clone())
}

fn of_release(judged: &Judged, word: Word, url: Option<&str>, path: &str) -> Map<String, Value> {
    let verdict = &judged.verdict;
    let patterns = verdict.checks.iter().flat_map(|check| &check.patterns);
    let patterns: Vec<Value> = patterns
        .map(|pattern| {
            json!({"pattern_id": format!("{:016x}", pattern.id), "template": pattern.template, "new": pattern.is_new,
                "candidate": pattern.candidate, "baseline": pattern.baseline, "e": evidence(pattern.ln_evidence)})
        })
        .collect();
    let missing = verdict.missing.filter(|_| !word.is_decided());
    let fields = json!({
        "service": &*judged.release.service,
        "namespace": &*judged.release.namespace,
        "env": &*judged.release.environment,
        "candidate": &*judged.release.version,
        "baseline": judged.baseline.as_deref(),
        "strategy": judged.strategy.as_str(),
        "candidate_share": judged.share,
        "since": rfc3339(judged.since_ms),
        "opened": rfc3339(judged.opened_ms),
        "data_lag_ms": judged.data_lag_ms,
        "policy": &*judged.policy,
        "policy_says": verdict.policy_says,
        "ending": judged.ending.map(|(ending, _)| ending.as_str()),
        "page": path,
        "url": url.map(|url| format!("{url}{path}")),
        "next": {
            "need": match judged.ending {
                Some((ending, _)) if !word.is_decided() => format!("nothing more comes: it {}", ending.told()),
                _ => next_need(verdict, word),
            },
            "requests": missing.map(|missing| missing.exposure.ceil()),
            "seconds": missing.map(|missing| missing.seconds.ceil()),
            "faster_at_share": missing.and_then(|missing| missing.faster_at_share),
        },
        "metrics": verdict.checks.iter().map(metric).collect::<Vec<_>>(),
        "new_log_patterns": patterns,
        "guards": guards(&verdict.guards),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => unreachable!("made above"),
    }
}

fn metric(check: &CheckResult) -> Value {
    let mut effect = as_json(check.effect.as_ref(), effect_json);
    if let (Some(fields), Some(of)) = (effect.as_object_mut(), &check.effect) {
        fields.insert("margin".to_owned(), json!(of.limit_worse));
    }
    let counts = check.counts;
    json!({
        "id": check.id,
        "title": check.title,
        "state": check.state.as_str(),
        "required": check.required,
        "critical": check.critical,
        "weight": check.weight,
        "effect": effect,
        "evidence": {
            "e_worse": evidence(check.ln_worse.max(check.ln_fast)),
            "e_fine": evidence(check.ln_fine),
            "threshold": THRESHOLD,
        },
        "counts": {
            "candidate": [counts.candidate.events, counts.candidate.exposure],
            "baseline": [counts.baseline.events, counts.baseline.exposure],
        },
        "why": check.why,
    })
}

/// `ok` or a clause, for the three that tools look at, and every other guard that is open.
fn guards(open: &[Guard]) -> BTreeMap<&'static str, String> {
    let mut guards: BTreeMap<&'static str, String> =
        ["lag", "ratio_mismatch", "instances"].map(|name| (name, "ok".to_owned())).into();
    for guard in open {
        let name = match guard {
            Guard::SplitMismatch { .. } => "ratio_mismatch",
            Guard::FewInstances { .. } | Guard::Silent { .. } => "instances",
            other => other.id(),
        };
        guards.insert(name, guard.text());
    }
    guards
}
