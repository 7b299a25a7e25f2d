//! A world in which everything fails: receivers in every way, and the process at any moment. Seeded; a failure names its seed.
//!
//! What survives a crash is the bytes of the last commit, as in the real program. An attempt that was under way may or may not
//! have reached its receiver. At the end all recover, and what was told is held against what was accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::attempts::{Answer, Outcome};
use super::pace::Pace;
use super::policy::{Policy, Rate, Wants};
use super::row::{Body, Key, Row, RowId};
use super::tests::policy;
use super::{Busy, Outbox};
use crate::change::tests::change;
use crate::change::{Ending, Word};
use crate::state_bytes::{self, State};

const SECOND: i64 = 1_000;
const RELEASES: u64 = 3;

/// Numbers that look random and follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        RowId(u128::from(self.0).to_le_bytes()).scatter(7) % sides
    }
}

/// What a receiver got.
struct Told {
    receiver: Arc<str>,
    row: Row,
}

struct World {
    dice: Dice,
    policies: Vec<Policy>,
    /// Whether receivers refuse contents, go away for good, and rows get too old.
    loses: bool,
    committed: Vec<u8>,
    outbox: Outbox,
    busy: Busy,
    pace: Pace,
    /// What the clock shows; it goes back now and then while the process is down.
    now: i64,
    /// How much time has really passed.
    passed: i64,
    /// Until when receivers have asked to be left alone, as passed time.
    pauses: BTreeMap<Arc<str>, i64>,
    told: Vec<Told>,
    accepted: BTreeMap<(Arc<str>, Key), BTreeSet<u64>>,
    given_up: BTreeMap<(Arc<str>, Key), BTreeSet<u64>>,
    sequence: [u64; RELEASES as usize],
    last: [Word; RELEASES as usize],
    /// Per receiver: answers that did not come back though the receiver had got the message.
    lost_answers: BTreeMap<Arc<str>, usize>,
    crashes: usize,
    calls: BTreeMap<Arc<str>, Vec<i64>>,
}

impl World {
    fn new(seed: u64, loses: bool) -> Self {
        let minute = 60 * SECOND;
        let max_age_ms = if loses { 20 * minute } else { 10_000 * minute };
        let pager = Wants { trouble_only: true, ..Wants::default() };
        let policies = vec![
            Policy { rate: Rate { interval_ms: SECOND, burst: 1 }, max_age_ms, ..policy("chat") },
            Policy { max_age_ms, fallback: Some("chat".into()), ..policy("hook") },
            Policy { merges: false, wants: pager, max_age_ms, fallback: Some("chat".into()), ..policy("pager") },
        ];
        let now = 1_795_428_000_000;
        World {
            dice: Dice(seed),
            policies,
            loses,
            committed: state_bytes::encode(&State::default()),
            outbox: Outbox::default(),
            busy: Busy::new(),
            pace: Pace::new(now),
            now,
            passed: 0,
            pauses: BTreeMap::new(),
            told: Vec::new(),
            accepted: BTreeMap::new(),
            given_up: BTreeMap::new(),
            sequence: [0; RELEASES as usize],
            last: [Word::Wait; RELEASES as usize],
            lost_answers: BTreeMap::new(),
            crashes: 0,
            calls: BTreeMap::new(),
        }
    }

    /// Commits the next state, unless the process dies before that. Returns whether it is committed.
    fn commit(&mut self, next: Outbox, delivered: Option<u64>, merges: bool) -> bool {
        if self.dice.below(40) == 0 {
            self.crash();
            return false;
        }
        for (order, row) in self.outbox.rows.iter().filter(|(order, _)| !next.rows.contains_key(*order)) {
            if delivered != Some(*order) && !merges {
                let given_up = self.given_up.entry((row.receiver.clone(), row.key.clone())).or_default();
                given_up.extend(sequences(row));
            }
        }
        self.committed = state_bytes::encode(&State { caller: Arc::default(), outbox: next.clone() });
        self.outbox = next;
        if self.dice.below(60) == 0 {
            self.crash();
        }
        true
    }

    fn crash(&mut self) {
        self.crashes += 1;
        let under_way: Vec<u64> = self.busy.values().copied().collect();
        for order in under_way {
            if let (Some(row), true) = (self.outbox.rows.get(&order).cloned(), self.dice.below(2) == 0) {
                self.told.push(Told { receiver: row.receiver.clone(), row });
            }
        }
        self.outbox = state_bytes::decode(&self.committed).expect("what was committed can be read").outbox;
        self.busy.clear();
        let down = self.dice.below(30) as i64 * SECOND;
        self.pass(down);
        if self.dice.below(4) == 0 {
            self.now -= self.dice.below(900) as i64 * SECOND;
            self.pauses.clear();
        }
        self.pace = Pace::new(self.now);
    }

    fn pass(&mut self, ms: i64) {
        self.now += ms;
        self.passed += ms;
    }

    fn submit(&mut self) {
        let release = self.dice.below(RELEASES) as usize;
        let to = [Word::Go, Word::NoGo, Word::Watch, Word::Wait][self.dice.below(4) as usize];
        let sequence = self.sequence[release] + 1;
        let mut told = change(&release.to_string(), sequence, self.last[release], to);
        told.at_ms = self.now;
        told.ending = (self.dice.below(8) == 0).then_some(Ending::RolledBack);
        let mut next = self.outbox.clone();
        next.accept(told.clone(), self.now, &self.policies, &self.busy);
        let merges = true;
        if self.commit(next, None, merges) {
            self.sequence[release] = sequence;
            self.last[release] = to;
            for policy in self.policies.iter().filter(|policy| policy.wants.wants(&told)) {
                let key = (policy.name.clone(), Key::Release(told.release.clone()));
                self.accepted.entry(key).or_default().insert(sequence);
            }
        }
    }

    fn start_due(&mut self) {
        for order in self.outbox.due(self.now, &self.policies, &self.pace, &self.busy) {
            let row = &self.outbox.rows[&order];
            let policy = self.policies.iter().find(|policy| policy.name == row.receiver).expect("configured");
            let until = self.pauses.get(&row.receiver).copied().unwrap_or(0);
            assert!(self.passed >= until, "{} asked to be left alone", row.receiver);
            self.calls.entry(row.receiver.clone()).or_default().push(self.passed);
            self.pace.called(&row.receiver, policy.rate, self.now);
            assert!(self.busy.insert(row.receiver.clone(), order).is_none(), "two attempts at a time");
        }
    }

    /// One of the attempts under way ends.
    fn answer(&mut self, well: bool) {
        let Some((receiver, order)) = self.busy.iter().min().map(|(name, order)| (name.clone(), *order)) else {
            return;
        };
        let row = self.outbox.rows[&order].clone();
        let roll = if well { 0 } else { self.dice.below(if self.loses { 40 } else { 36 }) };
        let pause_ms = self.dice.below(40) as i64 * SECOND;
        let (outcome, reaches) = match roll {
            0..12 => (Outcome::Delivered, true),
            12..16 => (Outcome::Busy(Some(pause_ms)), false),
            16..18 => (Outcome::Busy(None), false),
            18..20 => (Outcome::Failed(Some(pause_ms)), false),
            20..28 => (Outcome::Failed(None), false),
            28..36 => (Outcome::Failed(None), true),
            36..39 if matches!(row.body, Body::Lost(_)) => (Outcome::Failed(None), false),
            36..39 => (Outcome::Rejected, false),
            _ => (Outcome::Gone, false),
        };
        if reaches {
            self.told.push(Told { receiver: receiver.clone(), row });
        }
        if reaches && outcome != Outcome::Delivered {
            *self.lost_answers.entry(receiver.clone()).or_default() += 1;
        }
        let mut next = self.outbox.clone();
        let answer = Answer { outcome, status: None, text: String::new(), took_ms: 1 };
        next.settle(order, answer, self.now, &self.policies);
        let mut busy = self.busy.clone();
        busy.remove(&receiver);
        // The attempt is over, whatever becomes of the commit.
        self.busy = busy;
        let is_delivered = outcome == Outcome::Delivered;
        let until = self.passed + pause_ms;
        // Nobody knows of a pause that was not committed.
        let is_pause = matches!(outcome, Outcome::Busy(Some(_)) | Outcome::Failed(Some(_)));
        let clock = self.now - self.passed;
        let is_committed = self.commit(next, is_delivered.then_some(order), false);
        if is_pause && is_committed && clock == self.now - self.passed {
            self.pauses.insert(receiver, until);
        }
    }

    fn tidy(&mut self) {
        let mut next = self.outbox.clone();
        next.tidy(self.now, &self.policies, &self.busy);
        if next.changed {
            next.changed = false;
            self.commit(next, None, false);
        }
    }

    fn run(&mut self) {
        for _ in 0..1_500 {
            match self.dice.below(10) {
                0 => self.submit(),
                1..5 => self.start_due(),
                5..9 => self.answer(false),
                _ => {
                    let ms = self.dice.below(20) as i64 * SECOND;
                    self.pass(ms);
                }
            }
            self.tidy();
            self.outbox.changed = false;
        }
        // Somebody puts right what was gone.
        self.policies.iter_mut().for_each(|policy| policy.address += 1);
        for _ in 0..20_000 {
            if self.outbox.rows.is_empty() && self.busy.is_empty() {
                break;
            }
            self.start_due();
            self.answer(true);
            self.tidy();
            // While an attempt is under way, time does not leap to when something else is due.
            let idle = self.busy.is_empty();
            let next = self.outbox.next_ms(self.now, &self.policies, &self.pace, &self.busy).filter(|_| idle);
            self.pass((next.unwrap_or(self.now) - self.now).max(1));
        }
        assert!(self.outbox.rows.is_empty(), "all recovered, and something is still owed: {:?}", self.outbox.rows);
    }

    fn judge(&self) {
        let mut known: BTreeMap<(Arc<str>, Key), BTreeSet<u64>> = BTreeMap::new();
        let mut newest: BTreeMap<(Arc<str>, Key), u64> = BTreeMap::new();
        let mut seen: BTreeSet<(Arc<str>, RowId)> = BTreeSet::new();
        let mut repeated: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for Told { receiver, row } in &self.told {
            if !seen.insert((receiver.clone(), row.id)) {
                *repeated.entry(receiver.clone()).or_default() += 1;
            }
            let sequences = sequences(row);
            let Some(last) = sequences.iter().max().copied() else { continue };
            let owner = row.stands_in_for.clone();
            if owner.is_none() {
                let before = newest.insert((receiver.clone(), row.key.clone()), last);
                assert!(before.is_none_or(|before| before <= last), "{receiver}: {last} after {before:?}");
            }
            // What the fallback was told counts for whom it stands in.
            known.entry((owner.unwrap_or(receiver.clone()), row.key.clone())).or_default().extend(sequences);
        }
        for ((receiver, key), accepted) in &self.accepted {
            let owner = (receiver.clone(), key.clone());
            let told = known.get(&owner).cloned().unwrap_or_default();
            let given_up = self.given_up.get(&owner).cloned().unwrap_or_default();
            let missing: Vec<u64> = accepted.iter().copied().filter(|sequence| !told.contains(sequence)).collect();
            if self.loses {
                assert!(
                    missing.iter().all(|sequence| given_up.contains(sequence)),
                    "{receiver}: silently lost {missing:?}"
                );
            } else {
                assert!(missing.is_empty(), "{receiver} was never told of {missing:?}");
            }
            // What was handed on is the fallback's to tell, or to miss.
            let fallback =
                self.policies.iter().find(|policy| policy.name == *receiver).and_then(|p| p.fallback.clone());
            let is_summed_up = |told: &Told| {
                let is_theirs = told.receiver == *receiver || Some(&told.receiver) == fallback.as_ref();
                is_theirs && matches!(told.row.body, Body::Lost(_))
            };
            assert!(
                missing.is_empty() || self.told.iter().any(is_summed_up),
                "{receiver} was not told that it missed {missing:?}"
            );
        }
        for (receiver, repeated) in repeated {
            let lost_answers = self.lost_answers.get(&receiver).copied().unwrap_or(0);
            let most = self.crashes + lost_answers;
            assert!(
                repeated <= most,
                "{receiver}: {repeated} repetitions, {} crashes, {lost_answers} lost answers",
                self.crashes
            );
        }
        let chat = self.calls.get("chat").into_iter().flatten().copied().collect::<Vec<_>>();
        assert!(chat.windows(2).all(|pair| pair[1] - pair[0] >= SECOND), "more than one message a second");
    }
}

/// The changes of a row; one that only counts some stands for all between the first and the second that it tells.
fn sequences(row: &Row) -> Vec<u64> {
    let Body::Changes(changes) = &row.body else { return Vec::new() };
    let told: Vec<u64> = changes.told.iter().map(|change| change.sequence).collect();
    match (changes.left_out, &told[..]) {
        (1.., [first, second, ..]) => (*first..*second).chain(told[1..].iter().copied()).collect(),
        _ => told,
    }
}

fn simulate(seeds: std::ops::Range<u64>, loses: bool) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, loses);
            world.run();
            world.judge();
            (world.crashes, world.told.len())
        });
        let Ok((crashes, told)) = outcome else { panic!("seed {seed}, loses {loses}") };
        assert!(crashes > 3 && told > 20, "seed {seed}: {crashes} crashes, {told} messages: too little happened");
    }
}

/// How many worlds; more with `SHIPWAKE_SEEDS`.
fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("SHIPWAKE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(15)
}

#[test]
fn everything_is_told_at_least_once_in_order_and_again_only_after_a_crash() {
    simulate(seeds(), false);
}

#[test]
fn what_cannot_be_told_is_said_to_be_lost() {
    simulate(seeds(), true);
}
