//! What GitHub is told of a deployment that waits: yes at GO, no at NO-GO, and no when there is no decision in time. Pure.

use shipwake_verdict::Word;

use super::super::answer::Answer;
use super::super::question::Question;
use super::pending::Asked;
use crate::board::Board;
use crate::change::cut;
use crate::time::span;

/// GitHub shows a comment of this length.
const COMMENT_BYTES_MAX: usize = 1_000;

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub is_approved: bool,
    /// The sentence, for the person who looks at the deployment.
    pub comment: String,
}

impl Decision {
    /// The word at GitHub.
    pub fn state(&self) -> &'static str {
        if self.is_approved { "approved" } else { "rejected" }
    }
}

/// What is said now; `None` while it waits.
pub(super) fn decide(asked: &Asked, board: &Board, now_ms: i64, give_up_ms: i64) -> Option<Decision> {
    let answer = answer(asked, board, now_ms);
    let decision = |is_approved, mut comment: String| {
        cut(&mut comment, COMMENT_BYTES_MAX);
        Some(Decision { is_approved, comment })
    };
    match answer.word {
        Word::Go => decision(true, answer.summary),
        Word::NoGo => decision(false, answer.summary),
        Word::Watch | Word::Wait if now_ms - asked.asked_ms >= give_up_ms => {
            decision(false, format!("Not decided within {}. {}", span(give_up_ms), answer.summary))
        }
        Word::Watch | Word::Wait => None,
    }
}

/// The answer by the first name that a release is known by.
fn answer(asked: &Asked, board: &Board, now_ms: i64) -> Answer {
    let question = |version: Option<&String>| Question {
        service: asked.service.clone(),
        namespace: asked.namespace.clone(),
        env: Some(asked.env.clone()),
        // A deployment without a name is of no release: never of the newest one there happens to be.
        candidate: Some(version.cloned().unwrap_or_default()),
        ..Question::default()
    };
    let answers = asked.versions.iter().map(|version| Answer::of(board, &question(Some(version)), now_ms));
    let known = answers.into_iter().find(|answer| answer.judged.is_some());
    known.unwrap_or_else(|| Answer::of(board, &question(asked.versions.first()), now_ms))
}
