//! Past releases, judged again: the same engine, a clock that is moved by hand, and windows as they were stored.
//!
//! Whoever replays hands over stored windows in the order of their times ([`Replay::take`]) and moves the clock ([`Replay::run_until`]);
//! in between the engine looks as it did then, once a second where there are windows of a second, and with every window of ten seconds
//! where there are only those. Nothing is told to anybody. What a replay cannot know: when a record arrived (it takes them for on
//! time), and how many looks there were within a second.
//!
//! - `past`: what is visible at a moment. `stored`: a stored window, and the finer of two.
//! - `calls`: what was called, and where two calls part.
//! - [`run`]: a replay from a running Shipwake. `ask`: statements and answers. `rows`: rows as windows, markers and words. `report`: then
//!   beside now.

mod ask;
mod calls;
mod past;
mod report;
mod rows;
pub mod run;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::ReleaseId;
use shipwake_store::MarkerRow;
use shipwake_verdict::Word;

pub use calls::{Call, CheckCall, Part, decision, parting};
pub use past::TooMuch;
pub use report::{Outcome, Report};
pub use stored::{Stored, StoredWindow, finest};

use super::engine::{Engine, JudgeConfig};
use super::questions::REACH_S;
use super::{case::Case, changes};
use crate::board::Strategy;
use crate::change::Ending;
use past::Past;

/// So long before the first release that counts the clock begins: rollouts look back as far.
pub const LEAD_S: i64 = 600;
/// Windows are needed from so long before the clock begins: what noise is learnt from.
pub const HISTORY_S: i64 = REACH_S + 60;
/// Releases that are told of; further ones are counted.
const TOLD_MAX: usize = 10_000;
/// Words of one release that are kept; later ones replace the last.
const WORDS_MAX: usize = 200;

/// A release, judged again.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// Which one.
    pub release: Arc<ReleaseId>,
    /// The version that it was compared with.
    pub baseline: Option<Arc<str>>,
    /// How it took traffic.
    pub strategy: Strategy,
    /// Its first request, ms.
    pub opened_ms: i64,
    /// The name of the policy.
    pub policy: Arc<str>,
    /// The words that would have been told, oldest first.
    pub calls: Vec<Call>,
    /// The word at the end, also when none was ever told.
    pub word: Word,
    /// Why it was judged no more, and since when, ms.
    pub ending: Option<(Ending, i64)>,
}

/// See the module.
pub struct Replay {
    engine: Engine,
    past: Past,
    now_s: i64,
    told: BTreeMap<(Arc<ReleaseId>, i64), Replayed>,
    untold: u64,
    looks: u64,
}

impl Replay {
    /// A replay whose clock stands at `begin_s`, in seconds since the epoch. `cells_max` bounds its memory: cells of windows that are
    /// kept at a time, some hundred bytes each.
    pub fn new(config: JudgeConfig, begin_s: i64, cells_max: usize) -> Replay {
        Replay {
            engine: Engine::new(config),
            past: Past::new(cells_max),
            now_s: begin_s,
            told: BTreeMap::new(),
            untold: 0,
            looks: 0,
        }
    }

    /// When a release was seen first, where that is known better than by its windows; ns since the epoch. `guessed`: its instances
    /// were guessed from hosts or addresses.
    pub fn know_release(&mut self, release: Arc<ReleaseId>, first_seen_ns: i64, guessed: bool) {
        self.past.know_release(release, first_seen_ns, guessed);
    }

    /// How many instances of a release were heard of in the five minutes from `start_s` on. Without it they are told by slots.
    pub fn know_instances(&mut self, release: &Arc<ReleaseId>, start_s: i64, instances: u32) {
        self.past.know_instances(release, start_s, instances);
    }

    /// What was announced.
    pub fn know_markers(&mut self, markers: Vec<MarkerRow>) {
        self.past.know_markers(markers);
    }

    /// Takes stored windows. All that begin before a moment have to be taken before the clock is moved there.
    ///
    /// # Errors
    /// When that is more than may be kept.
    pub fn take(&mut self, windows: Vec<StoredWindow>) -> Result<(), TooMuch> {
        self.past.take(windows)
    }

    /// Moves the clock, and looks as often as there is something new.
    pub fn run_until(&mut self, until_s: i64) {
        while self.now_s < until_s {
            let next_s = if self.past.is_fine(self.now_s) { 1 } else { 10 - self.now_s.rem_euclid(10) };
            self.now_s = (self.now_s + next_s).min(until_s);
            self.past.move_to(self.now_s);
            let now_ms = self.now_s * 1_000;
            self.looks += 1;
            let before: Vec<(Arc<ReleaseId>, u64)> =
                self.engine.cases.iter().map(|case| (case.id.clone(), case.sequence)).collect();
            self.engine.step(&self.past, now_ms);
            let Replay { engine, told, untold, .. } = self;
            for case in &engine.cases {
                let known = before.iter().find(|(id, _)| *id == case.id).map_or(0, |(_, sequence)| *sequence);
                note(told, untold, case, case.sequence > known, now_ms);
            }
        }
    }

    /// How often it looked.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// Releases beyond the bound, of which nothing is told.
    pub fn untold(&self) -> u64 {
        self.untold
    }

    /// All releases that were judged, by their first request.
    pub fn finish(self) -> Vec<Replayed> {
        let mut all: Vec<Replayed> = self.told.into_values().collect();
        all.sort_by(|a, b| (a.opened_ms, &a.release).cmp(&(b.opened_ms, &b.release)));
        all
    }
}

/// Takes down what a look made of a release.
fn note(
    told: &mut BTreeMap<(Arc<ReleaseId>, i64), Replayed>,
    untold: &mut u64,
    case: &Case,
    has_changed: bool,
    now_ms: i64,
) {
    let key = (case.id.clone(), case.release.opened_s);
    if !told.contains_key(&key) && told.len() >= TOLD_MAX {
        *untold += u64::from(has_changed);
        return;
    }
    let known = told.entry(key).or_insert_with(|| Replayed {
        release: case.id.clone(),
        baseline: None,
        strategy: Strategy::Canary,
        opened_ms: case.release.opened_s * 1_000,
        policy: case.policy.clone(),
        calls: Vec::new(),
        word: Word::Wait,
        ending: None,
    });
    known.baseline.clone_from(&case.release.baseline);
    known.strategy = changes::strategy(case.release.strategy);
    known.word = case.told.word;
    known.ending = case.release.ending.map(|(how, at_s)| (changes::ending(how), at_s * 1_000));
    let is_other = known.calls.last().map_or(Word::Wait, |last| last.word) != case.told.word;
    if let (true, Some(verdict)) = (is_other, &case.verdict) {
        if known.calls.len() >= WORDS_MAX {
            known.calls.pop();
        }
        known.calls.push(Call {
            word: case.told.word,
            at_ms: now_ms,
            summary: verdict.summary.clone(),
            checks: verdict.checks.iter().map(CheckCall::of).collect(),
        });
    }
}
