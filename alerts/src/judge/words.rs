//! From the verdict at a look to the word that is told: words that come and go within seconds are not told one after the other. Pure.
//!
//! "No go" counts at once, and so does whatever takes "go" back because something is not in order. Between "watch" and "wait", and
//! from "go" to either for want of evidence alone, the new word has to hold for a while.

use shipwake_verdict::{Guard, Verdict, Word};

/// How long a word that is no decision has to hold, in seconds.
pub(crate) const HELD_S: i64 = 10;

/// The word that is told, and the one that may follow it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub word: Word,
    /// The sentence that was told with it last.
    pub summary: String,
    /// Another word, and since when it holds, in seconds since the epoch.
    pub next: Option<(Word, i64)>,
}

impl Default for Told {
    fn default() -> Self {
        Told { word: Word::Wait, summary: String::new(), next: None }
    }
}

impl Told {
    /// Takes in a verdict. Gives the word before when it changes; the verdict's word and sentence become those that are told.
    pub fn hear(&mut self, verdict: &mut Verdict, now_s: i64) -> Option<Word> {
        let word = verdict.word;
        if word == self.word {
            self.next = None;
            self.summary.clone_from(&verdict.summary);
            return None;
        }
        let is_barred = verdict.guards.iter().any(Guard::blocks_go);
        let at_once = word.is_decided() || (self.word == Word::Go && is_barred) || self.summary.is_empty();
        let since_s = match self.next {
            Some((next, since_s)) if next == word => since_s,
            _ => now_s,
        };
        if at_once || now_s - since_s >= HELD_S {
            let before = self.word;
            *self = Told { word, summary: verdict.summary.clone(), next: None };
            return Some(before);
        }
        self.next = Some((word, since_s));
        verdict.word = self.word;
        verdict.summary.clone_from(&self.summary);
        None
    }
}
