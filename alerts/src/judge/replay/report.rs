//! What was called then, beside what is called now. Pure.

use std::collections::HashMap;

use serde_json::{Value, json};
use shipwake_model::ReleaseId;

use super::calls::{Call, Part, decision, parting};
use super::rows::{KnownRelease, Recorded};
use super::{Replay, Replayed};
use crate::time;

/// What is recorded.
pub(super) struct Then {
    pub calls: Vec<Recorded>,
    pub releases: Vec<KnownRelease>,
}

/// A release, then and now.
#[derive(Debug)]
struct Beside {
    now: Replayed,
    then: Vec<Call>,
    policy_then: Option<String>,
    part: Option<Part>,
    is_same: bool,
}

/// What a replay comes to, for a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every release is called as it was.
    Same,
    /// At least one is not.
    Otherwise,
    /// There is no release to compare.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Report {
    range_s: [i64; 2],
    policies: Option<String>,
    looks: u64,
    releases: Vec<Beside>,
    notes: Vec<String>,
}

impl Report {
    /// Puts both beside each other. A word that was recorded belongs to the newest coming of its release before it.
    pub(super) fn of(
        range_s: [i64; 2],
        policies: Option<String>,
        replay: Replay,
        then: Then,
        mut notes: Vec<String>,
    ) -> Report {
        let looks = replay.looks();
        let all = replay.finish();
        let many = all.len();
        let replayed: Vec<Replayed> =
            all.into_iter().filter(|one| one.opened_ms.div_euclid(1_000) >= range_s[0]).collect();
        let earlier = many - replayed.len();
        if earlier > 0 {
            notes.push(format!("{earlier} that came before that time are left out"));
        }
        let mut calls: Vec<Vec<Call>> = replayed.iter().map(|_| Vec::new()).collect();
        let mut by: Vec<Option<String>> = vec![None; replayed.len()];
        let mut unmatched: HashMap<ReleaseId, u32> = HashMap::new();
        for recorded in then.calls {
            let is_its = |one: &Replayed| *one.release == recorded.release && one.opened_ms <= recorded.call.at_ms;
            match replayed.iter().rposition(is_its) {
                Some(at) => {
                    by[at] = Some(recorded.policy);
                    calls[at].push(recorded.call);
                }
                None => *unmatched.entry(recorded.release).or_default() += 1,
            }
        }
        let came = |id: &ReleaseId| {
            let known = then.releases.iter().find(|known| *known.release == *id);
            known.is_some_and(|known| known.first_seen_ms.div_euclid(1_000) >= range_s[0])
        };
        let mut lost: Vec<String> = unmatched.keys().filter(|id| came(id)).map(ToString::to_string).collect();
        lost.sort();
        if !lost.is_empty() {
            notes.push(format!("judged then, and not in the replay: {}", lost.join(", ")));
        }
        let beside = replayed.into_iter().zip(calls).zip(by).map(|((now, then), policy)| Beside::of(now, then, policy));
        Report { range_s, policies, looks, releases: beside.collect(), notes }
    }

    /// What it comes to.
    pub fn outcome(&self) -> Outcome {
        if self.releases.is_empty() {
            Outcome::Nothing
        } else if self.releases.iter().all(|one| one.is_same) {
            Outcome::Same
        } else {
            Outcome::Otherwise
        }
    }

    /// The form for programs. Times are epoch ms.
    pub fn json(&self) -> Value {
        let call = |call: &Call| json!({"verdict": call.word.as_str(), "at": call.at_ms, "summary": call.summary});
        let release = |one: &Beside| {
            let (then, now) = (decision(&one.then), decision(&one.now.calls));
            json!({
                "service": &*one.now.release.service,
                "namespace": &*one.now.release.namespace,
                "env": &*one.now.release.environment,
                "candidate": &*one.now.release.version,
                "baseline": one.now.baseline.as_deref(),
                "strategy": one.now.strategy.as_str(),
                "opened": one.now.opened_ms,
                "ending": one.now.ending.map(|(ending, at_ms)| json!({"kind": ending.as_str(), "at": at_ms})),
                "same": one.is_same,
                "then": {"policy": one.policy_then, "call": then.map(call), "calls": one.then.iter().map(call).collect::<Vec<_>>()},
                "now": {
                    "policy": &*one.now.policy,
                    "call": now.map(call),
                    "calls": one.now.calls.iter().map(call).collect::<Vec<_>>(),
                    "last": one.now.word.as_str(),
                },
                "part": one.part.as_ref().map(|part| json!({"check": part.id, "then": part.then, "now": part.now})),
            })
        };
        json!({
            "from": self.range_s[0] * 1_000,
            "to": self.range_s[1] * 1_000,
            "policies": self.policies,
            "looks": self.looks,
            "releases": self.releases.iter().map(release).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    /// The form for people: a line for each release; where it is called otherwise, both sentences below.
    pub fn table(&self) -> String {
        let header = ["service", "env", "candidate", "beside", "called then", "called now", "", "parts at"];
        let rows: Vec<[String; 8]> = self.releases.iter().map(Beside::cells).collect();
        let all = || std::iter::once(header.map(str::to_owned)).chain(rows.iter().cloned());
        let widths: Vec<usize> =
            (0..header.len()).map(|at| all().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        let mut out = String::new();
        let line = |out: &mut String, row: &[String; 8]| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
            out.push_str(cells.join("  ").trim_end());
            out.push('\n');
        };
        if !rows.is_empty() {
            line(&mut out, &header.map(str::to_owned));
        }
        for (one, row) in self.releases.iter().zip(&rows) {
            line(&mut out, row);
            if !one.is_same {
                for (when, calls) in [("then", &one.then), ("now", &one.now.calls)] {
                    let sentence = decision(calls).map_or("no word was told", |call| &call.summary);
                    out.push_str(&format!("    {when}: {}\n", inert(sentence)));
                }
            }
        }
        let otherwise = self.releases.iter().filter(|one| !one.is_same).count();
        let noun = if self.releases.len() == 1 { "release" } else { "releases" };
        let by = self.policies.as_deref().unwrap_or("the defaults");
        out.push_str(&format!(
            "{} {noun}, {otherwise} called otherwise by {by}; {} looks\n",
            self.releases.len(),
            self.looks
        ));
        for note in &self.notes {
            out.push_str(&format!("note: {}\n", inert(note)));
        }
        out
    }
}

impl Beside {
    fn of(now: Replayed, then: Vec<Call>, policy_then: Option<String>) -> Beside {
        let (called_then, called_now) = (decision(&then), decision(&now.calls));
        let word_then = called_then.map_or(shipwake_verdict::Word::Wait, |call| call.word);
        let is_same = word_then == called_now.map_or(now.word, |call| call.word);
        let part = match (called_then, called_now.or(now.calls.last())) {
            (Some(then), Some(now)) if !is_same => parting(&then.checks, &now.checks),
            _ => None,
        };
        Beside { now, then, policy_then, part, is_same }
    }

    fn cells(&self) -> [String; 8] {
        let id = &self.now.release;
        let call = |call: Option<&Call>| {
            call.map_or("wait".to_owned(), |call| format!("{} {}", call.word.as_str(), seconds(call.at_ms)))
        };
        let (then, now) = (decision(&self.then), decision(&self.now.calls));
        let apart = match (self.is_same, then, now) {
            (false, _, _) => "otherwise".to_owned(),
            (true, Some(then), Some(now)) => match now.at_ms.div_euclid(1_000) - then.at_ms.div_euclid(1_000) {
                0 => "same".to_owned(),
                later_s if later_s > 0 => format!("same, {} later", time::span(later_s * 1_000)),
                sooner_s => format!("same, {} sooner", time::span(-sooner_s * 1_000)),
            },
            _ => "same".to_owned(),
        };
        let of = |state: &Option<String>| state.clone().unwrap_or_else(|| "not made".to_owned());
        let part = self.part.as_ref().map(|part| format!("{}: {}, now {}", part.id, of(&part.then), of(&part.now)));
        let texts = [&id.service, &id.environment, &id.version].map(|name| inert(name));
        let [service, env, version] = texts;
        let beside = inert(self.now.baseline.as_deref().unwrap_or("—"));
        [service, env, version, beside, call(then), call(now), apart, part.unwrap_or_default()]
    }
}

/// To the second.
fn seconds(at_ms: i64) -> String {
    time::rfc3339(at_ms.div_euclid(1_000) * 1_000)
}

/// Control characters of telemetry made visible.
fn inert(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::board::Strategy;
    use crate::judge::replay::CheckCall;
    use shipwake_verdict::Word;

    use super::*;

    fn call(word: Word, at_ms: i64, errors: &str) -> Call {
        let check = CheckCall { id: "errors".to_owned(), state: errors.to_owned(), why: String::new() };
        Call { word, at_ms, summary: format!("{} because.", word.as_str()), checks: vec![check] }
    }

    fn beside(then: Vec<Call>, now: Vec<Call>, word: Word) -> Beside {
        let id = ReleaseId {
            service: "checkout".into(),
            namespace: "".into(),
            environment: "production".into(),
            version: "2".into(),
        };
        let replayed = Replayed {
            release: Arc::new(id),
            baseline: Some("1".into()),
            strategy: Strategy::Canary,
            opened_ms: 1_800_000_000_000,
            policy: "strict".into(),
            calls: now,
            word,
            ending: None,
        };
        Beside::of(replayed, then, Some("default".to_owned()))
    }

    fn report(releases: Vec<Beside>) -> Report {
        Report {
            range_s: [1_800_000_000, 1_800_003_600],
            policies: None,
            looks: 7,
            releases,
            notes: vec!["so".to_owned()],
        }
    }

    #[test]
    fn a_release_that_is_called_otherwise_has_both_sentences_and_the_check() {
        let at = 1_800_000_000_000;
        let other = beside(vec![call(Word::Go, at, "fine")], vec![call(Word::NoGo, at + 70_000, "worse")], Word::NoGo);
        let report = report(vec![other]);
        assert_eq!(report.outcome(), Outcome::Otherwise);
        let expected = "\
service   env         candidate  beside  called then              called now                             parts at
checkout  production  2          1       go 2027-01-15T08:00:00Z  no_go 2027-01-15T08:01:10Z  otherwise  errors: fine, now worse
    then: go because.
    now: no_go because.
1 release, 1 called otherwise by the defaults; 7 looks
note: so
";
        assert_eq!(report.table(), expected);
        let json = report.json();
        assert_eq!(json["releases"][0]["part"]["check"], "errors");
        assert_eq!(
            (&json["releases"][0]["same"], &json["releases"][0]["now"]["policy"]),
            (&json!(false), &json!("strict"))
        );
    }

    #[test]
    fn the_same_word_is_the_same_call_whenever_it_came() {
        let at = 1_800_000_000_000;
        let later =
            beside(vec![call(Word::NoGo, at, "worse")], vec![call(Word::NoGo, at + 9_000, "worse")], Word::NoGo);
        assert_eq!((later.is_same, later.cells()[6].as_str()), (true, "same, 9 s later"));
        assert_eq!(report(vec![later]).outcome(), Outcome::Same);
        assert_eq!(report(Vec::new()).outcome(), Outcome::Nothing);
        let never = beside(Vec::new(), Vec::new(), Word::Wait);
        assert_eq!((never.is_same, never.cells()[4].as_str(), never.cells()[5].as_str()), (true, "wait", "wait"));
        let told = beside(Vec::new(), vec![call(Word::Go, at, "fine")], Word::Go);
        assert!(!told.is_same);
    }
}
