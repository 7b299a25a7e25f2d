//! A change of a verdict in the words of messages. Pure.

use shipwake_rollout as rollout;
use shipwake_verdict::verdict::{CheckResult, EffectKind, State};
use shipwake_verdict::{Counts as Both, Word as Said};

use super::case::Case;
use crate::board::Strategy;
use crate::change::{CHECKS_MAX, Change, Check, CheckState, Counts, Effect, Ending, Word};

/// Larger evidence is written as this.
const EVIDENCE_MAX: f64 = 1e300;

/// The change from the word `before` to that of now.
pub(crate) fn changed(case: &Case, before: Said, now_ms: i64) -> Option<Change> {
    let verdict = case.verdict.as_ref()?;
    Some(Change { summary: verdict.summary.clone(), ..change(case, word(before), None, now_ms)? })
}

/// The change that says that a release is judged no more.
pub(crate) fn ended(case: &Case, now_ms: i64) -> Option<Change> {
    let (how, _) = case.release.ending?;
    let summary = end_sentence(&case.release)?;
    // A release may end before its first look.
    let change = change(case, word(case.told.word), Some(ending(how)), now_ms)?;
    Some(Change { summary, ..change })
}

/// What became of a release that is judged no more.
pub(crate) fn end_sentence(release: &rollout::Release) -> Option<String> {
    let baseline = release.baseline.as_deref().unwrap_or("the version before");
    Some(match release.ending?.0 {
        rollout::Ending::RolledBack => format!("Rolled back: the traffic went back to {baseline}."),
        rollout::Ending::Replaced => "Replaced: a later version took its traffic.".to_owned(),
        rollout::Ending::Promoted => {
            "Promoted: it has all the traffic, and others are compared with it now.".to_owned()
        }
        rollout::Ending::GoneSilent => {
            format!("Gone silent: nothing came from it any more, nobody got its traffic, and {baseline} went on.")
        }
    })
}

fn change(case: &Case, from: Word, ending: Option<Ending>, now_ms: i64) -> Option<Change> {
    let verdict = case.verdict.as_ref()?;
    let mut telling: Vec<&CheckResult> = verdict.checks.iter().collect();
    telling.sort_by(|a, b| loud(b).total_cmp(&loud(a)));
    Some(Change {
        release: (*case.id).clone(),
        baseline: case.release.baseline.clone(),
        share: case.release.share,
        from,
        to: word(verdict.word),
        ending,
        summary: verdict.summary.clone(),
        checks: telling.into_iter().take(CHECKS_MAX).map(check).collect(),
        links: Vec::new(),
        at_ms: now_ms,
        sequence: case.sequence,
    })
}

fn loud(check: &CheckResult) -> f64 {
    let evidence = check.ln_fast.max(check.ln_worse);
    if check.state == State::NoData { f64::NEG_INFINITY } else { evidence }
}

fn check(result: &CheckResult) -> Check {
    let counts = |side: fn(&Both) -> shipwake_verdict::Tally| {
        let tally = side(&result.counts);
        (result.state != State::NoData).then_some(Counts { bad: tally.events, all: tally.exposure })
    };
    Check {
        id: result.id.clone(),
        title: result.title.clone(),
        state: match result.state {
            State::Worse => CheckState::Worse,
            State::Suspicious => CheckState::Suspicious,
            State::Fine => CheckState::Fine,
            State::Undecided => CheckState::Undecided,
            State::NoData => CheckState::NoData,
        },
        effect: result.effect.filter(|effect| effect.value.is_finite()).map(|effect| Effect {
            kind: match effect.kind {
                EffectKind::Ratio => "ratio",
                EffectKind::Change => "change",
            }
            .to_owned(),
            value: effect.value,
            low: effect.low.filter(|end| end.is_finite()),
            high: effect.high.filter(|end| end.is_finite()),
            margin: effect.limit_worse,
        }),
        e_worse: Some(result.ln_fast.max(result.ln_worse).exp().min(EVIDENCE_MAX)),
        candidate: counts(|both| both.candidate),
        baseline: counts(|both| both.baseline),
        why: result.why.clone(),
    }
}

pub(crate) fn word(said: Said) -> Word {
    match said {
        Said::Go => Word::Go,
        Said::NoGo => Word::NoGo,
        Said::Watch => Word::Watch,
        Said::Wait => Word::Wait,
    }
}

pub(crate) fn ending(how: rollout::Ending) -> Ending {
    match how {
        rollout::Ending::RolledBack => Ending::RolledBack,
        rollout::Ending::Replaced => Ending::Replaced,
        rollout::Ending::Promoted => Ending::Promoted,
        rollout::Ending::GoneSilent => Ending::GoneSilent,
    }
}

pub(crate) fn strategy(how: rollout::Strategy) -> Strategy {
    match how {
        rollout::Strategy::Canary => Strategy::Canary,
        rollout::Strategy::BlueGreen => Strategy::BlueGreen,
        rollout::Strategy::Rolling => Strategy::Rolling,
        rollout::Strategy::Dark => Strategy::Dark,
        rollout::Strategy::BeforeAfter => Strategy::BeforeAfter,
    }
}
