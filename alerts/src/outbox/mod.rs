//! The outbox: notifications that are owed, decided on as values. No clock, no I/O: time and answers are arguments.
//!
//! Per receiver and key the first in is the first out; a row stays until its receiver has taken it, it is too old, or its
//! receiver refuses what is in it, and whatever is not delivered is counted and said. Relies on its owner to commit it before
//! an attempt is made and after its answer has come, and to make one attempt per receiver at a time: so a crash repeats one
//! notification per receiver at the most, and loses none.
//!
//! - [`row`]: a notification; [`policy`]: what a receiver wants.
//! - [`health`], [`pace`]: when a receiver may be called. [`attempts`]: the log.
//! - `tidy`: what time does to rows: age, fallback, bounds.

pub mod attempts;
pub mod health;
pub mod pace;
pub mod policy;
pub mod row;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
pub mod tidy;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::change::Change;
use attempts::{Answer, Attempt, Attempts, Outcome, Result};
use health::{FAILURES_TO_HOLD, Health};
use pace::Pace;
use policy::Policy;
use row::{Body, Changes, Key, Loss, Row};

/// The shortest pause after being told to slow down.
const BUSY_MS_MIN: i64 = 1_000;
/// A notification that waits for longer has a receiver that cannot keep up: what follows becomes part of it.
const MERGE_AFTER_MS: i64 = 5_000;

/// Which row each receiver is being told right now. Not part of what is stored: after a crash nobody knows.
pub type Busy = HashMap<Arc<str>, u64>;

/// Something that happened to a row, for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The receiver.
    pub receiver: Arc<str>,
    /// What happened.
    pub result: Result,
}

/// Notifications that are owed. Cheap to clone: change a copy, commit it, then put it in the place of the original.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    /// By their number, which is their order.
    pub rows: BTreeMap<u64, Row>,
    /// The number of the next row.
    pub next: u64,
    /// By name; a receiver that nothing is known of has no entry.
    pub health: BTreeMap<Arc<str>, Health>,
    /// The log.
    pub attempts: Attempts,
    /// What happened since the last [`Outbox::take_events`]; not stored.
    pub events: Vec<Event>,
    /// Whether something changed that is to be committed; not stored.
    pub changed: bool,
}

impl Outbox {
    /// Owes every receiver that wants it a notification of the change.
    pub fn accept(&mut self, change: Change, now_ms: i64, policies: &[Policy], busy: &Busy) {
        let change = Arc::new(change.bounded());
        for policy in policies.iter().filter(|policy| policy.wants.wants(&change)) {
            if !self.merge(&change, now_ms, policy, busy) {
                let body = Body::Changes(Changes::one(change.clone()));
                self.push(Row::new(policy.name.clone(), body, None, now_ms));
            }
        }
        self.bound(now_ms, policies, busy);
    }

    /// Owes one receiver a message that says that it is being tried out. One that was gone for good is called again: somebody
    /// knows that it is back.
    pub fn accept_test(&mut self, receiver: &Arc<str>, now_ms: i64) {
        if let Some(health) = self.health.get_mut(receiver) {
            health.gone = None;
        }
        self.push(Row::new(receiver.clone(), Body::Test, None, now_ms));
    }

    /// Which rows to send now, one for each receiver that is not busy. The caller notes them in `busy` and in `pace`.
    pub fn due(&self, now_ms: i64, policies: &[Policy], pace: &Pace, busy: &Busy) -> Vec<u64> {
        let heads = self.heads();
        let mut due = Vec::new();
        for policy in policies.iter().filter(|policy| !busy.contains_key(&policy.name)) {
            if self.receiver_ready_ms(policy, now_ms, pace).is_none_or(|ready_ms| ready_ms > now_ms) {
                continue;
            }
            let of_receiver = heads.get(&policy.name).into_iter().flatten();
            // The one that has been due for the longest: a row that always fails must not keep others from their turn.
            let first = of_receiver
                .map(|order| (row_ready_ms(&self.rows[order], now_ms), *order))
                .filter(|(ready_ms, _)| *ready_ms <= now_ms)
                .min();
            due.extend(first.map(|(_, order)| order));
        }
        due
    }

    /// When [`Outbox::due`] or [`Outbox::tidy`] will have something to do, if nothing else happens.
    pub fn next_ms(&self, now_ms: i64, policies: &[Policy], pace: &Pace, busy: &Busy) -> Option<i64> {
        let heads = self.heads();
        let sends = policies.iter().filter(|policy| !busy.contains_key(&policy.name)).filter_map(|policy| {
            let of_receiver = heads.get(&policy.name).into_iter().flatten();
            let first_ms = of_receiver.map(|order| row_ready_ms(&self.rows[order], now_ms)).min()?;
            Some(first_ms.max(self.receiver_ready_ms(policy, now_ms, pace)?))
        });
        sends.chain(self.tidy_ms(policies, busy)).min()
    }

    /// Notes what came back from the attempt at a row.
    pub fn settle(&mut self, order: u64, answer: Answer, now_ms: i64, policies: &[Policy]) {
        let Some(mut row) = self.rows.get(&order).cloned() else { return };
        let Some(policy) = policies.iter().find(|policy| policy.name == row.receiver) else { return };
        self.changed = true;
        row.attempts = row.attempts.saturating_add(1);
        row.attempted_ms = Some(now_ms);
        let result = match answer.outcome {
            Outcome::Delivered => self.delivered(order, &row, now_ms),
            Outcome::Busy(pause_ms) => self.told_to_wait(order, row.clone(), pause_ms, now_ms, policy),
            Outcome::Failed(pause_ms) => self.failed(order, row.clone(), pause_ms, now_ms, policy),
            Outcome::Rejected => self.rejected(order, &row, now_ms, policies),
            Outcome::Gone => self.gone(order, row.clone(), now_ms, policy),
        };
        let Answer { status, text, took_ms, .. } = answer;
        self.log(&row, result, now_ms, (row.attempts, status, text, took_ms));
    }

    /// What happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Rows of a receiver, and when the oldest of them was made.
    pub fn owed(&self, receiver: &str) -> (usize, Option<i64>) {
        let rows = self.rows.values().filter(|row| &*row.receiver == receiver);
        rows.fold((0, None), |(count, oldest_ms): (usize, Option<i64>), row| {
            (count + 1, Some(oldest_ms.map_or(row.created_ms, |oldest_ms| oldest_ms.min(row.created_ms))))
        })
    }

    /// A later change of the same release that the receiver is still to be told of.
    pub fn overtaken_by(&self, order: u64) -> Option<Arc<Change>> {
        let row = self.rows.get(&order)?;
        let later = self.rows.range(order + 1..).map(|(_, later)| later);
        let mut of_key = later.filter(|later| later.receiver == row.receiver && later.key == row.key);
        match &of_key.next_back()?.body {
            Body::Changes(changes) => Some(changes.last().clone()),
            Body::Lost(_) | Body::Test => None,
        }
    }

    /// The first row of each receiver and key.
    fn heads(&self) -> HashMap<Arc<str>, Vec<u64>> {
        let mut seen: HashSet<(&Arc<str>, &Key)> = HashSet::new();
        let mut heads: HashMap<Arc<str>, Vec<u64>> = HashMap::new();
        for (order, row) in &self.rows {
            if seen.insert((&row.receiver, &row.key)) {
                heads.entry(row.receiver.clone()).or_default().push(*order);
            }
        }
        heads
    }

    /// When the receiver may be called; `None` when it is gone for good.
    fn receiver_ready_ms(&self, policy: &Policy, now_ms: i64, pace: &Pace) -> Option<i64> {
        let paced_ms = pace.ready_ms(&policy.name, policy.rate);
        match self.health.get(&policy.name) {
            Some(health) if health.is_gone(policy.address) => None,
            Some(health) => Some(paced_ms.max(health.ready_ms(now_ms))),
            None => Some(paced_ms),
        }
    }

    /// Makes the change part of a message that waits for its receiver; false when there is none.
    ///
    /// The message gets another id: the receiver may have got the one before, and would take this one for a repetition.
    fn merge(&mut self, change: &Arc<Change>, now_ms: i64, policy: &Policy, busy: &Busy) -> bool {
        let key = Key::Release(change.release.clone());
        let mut of_key = self.rows.iter_mut().filter(|(_, row)| row.receiver == policy.name && row.key == key);
        let Some((first, row)) = of_key.next() else { return false };
        let waits = now_ms - row.created_ms >= MERGE_AFTER_MS;
        let (order, row) = of_key.next_back().unwrap_or((first, row));
        let is_failing = self.health.get(&policy.name).is_some_and(|health| health.is_failing(policy.address));
        let waits = waits || row.failing_since_ms.is_some() || is_failing;
        if !policy.merges || !waits || busy.get(&policy.name) == Some(order) || row.stands_in_for.is_some() {
            return false;
        }
        let Body::Changes(changes) = &mut row.body else { return false };
        changes.push(change.clone());
        row.attempts = 0;
        row.created_ms = now_ms;
        row.name();
        let receiver = row.receiver.clone();
        self.changed = true;
        self.events.push(Event { receiver, result: Result::Merged });
        true
    }

    fn push(&mut self, row: Row) {
        self.rows.insert(self.next, row);
        self.next += 1;
        self.changed = true;
    }

    fn delivered(&mut self, order: u64, row: &Row, now_ms: i64) -> Result {
        self.rows.remove(&order);
        let health = self.health.entry(row.receiver.clone()).or_default();
        let was_held = health.failures >= FAILURES_TO_HOLD;
        *health = Health { delivered_ms: Some(now_ms), ..Health::default() };
        if was_held {
            // It is back: what waits for it need not wait any longer.
            let waiting = self.rows.values_mut().filter(|waiting| waiting.receiver == row.receiver);
            waiting.for_each(|waiting| waiting.next_ms = waiting.next_ms.min(now_ms));
        }
        Result::Delivered
    }

    fn told_to_wait(&mut self, order: u64, row: Row, pause_ms: Option<i64>, now_ms: i64, policy: &Policy) -> Result {
        let pause_ms = pause_ms.unwrap_or_else(|| policy.retry.wait_ms(row.id, row.attempts)).max(BUSY_MS_MIN);
        let health = self.health.entry(row.receiver.clone()).or_default();
        health.fails(now_ms);
        health.hold(now_ms, pause_ms);
        self.put_off(order, row, pause_ms, now_ms);
        Result::Busy
    }

    fn failed(&mut self, order: u64, row: Row, pause_ms: Option<i64>, now_ms: i64, policy: &Policy) -> Result {
        let health = self.health.entry(row.receiver.clone()).or_default();
        health.failures = health.failures.saturating_add(1);
        health.fails(now_ms);
        if health.failures >= FAILURES_TO_HOLD {
            health.hold(now_ms, policy.retry.wait_ms(row.id, health.failures));
        }
        if let Some(pause_ms) = pause_ms {
            health.hold(now_ms, pause_ms);
        }
        let wait_ms = policy.retry.wait_ms(row.id, row.attempts).max(pause_ms.unwrap_or(0));
        self.put_off(order, row, wait_ms, now_ms);
        Result::Failed
    }

    fn rejected(&mut self, order: u64, row: &Row, now_ms: i64, policies: &[Policy]) -> Result {
        self.rows.remove(&order);
        // It answers: other notifications may go through.
        let health = self.health.entry(row.receiver.clone()).or_default();
        (health.failures, health.failing_since_ms) = (0, None);
        let was_handed_on = self.hand_on(&mut row.clone(), now_ms, policies);
        if !was_handed_on && !matches!(row.body, Body::Lost(_)) {
            self.lose(Loss::Rejected, row, now_ms, &Busy::from([(row.receiver.clone(), order)]));
        }
        Result::Rejected
    }

    fn gone(&mut self, order: u64, row: Row, now_ms: i64, policy: &Policy) -> Result {
        let health = self.health.entry(row.receiver.clone()).or_default();
        health.gone = Some(policy.address);
        health.fails(now_ms);
        let wait_ms = policy.retry.wait_ms(row.id, row.attempts);
        self.put_off(order, row, wait_ms, now_ms);
        Result::Gone
    }

    fn put_off(&mut self, order: u64, mut row: Row, wait_ms: i64, now_ms: i64) {
        row.failing_since_ms = Some(row.failing_since_ms.map_or(now_ms, |since_ms| since_ms.min(now_ms)));
        row.next_ms = now_ms.saturating_add(wait_ms.min(health::PAUSE_MS_MAX));
        self.rows.insert(order, row);
    }

    /// Puts something that happened to a row into the log and among the events.
    fn log(&mut self, row: &Row, result: Result, now_ms: i64, attempt: (u32, Option<u16>, String, u32)) {
        let (number, status, answer, took_ms) = attempt;
        let (receiver, id, told, about) = (row.receiver.clone(), row.id, row.told(), row.about());
        self.events.push(Event { receiver: receiver.clone(), result });
        self.attempts.push(Attempt {
            at_ms: now_ms,
            receiver,
            id,
            told,
            about,
            number,
            result,
            status,
            answer,
            took_ms,
        });
        self.changed = true;
    }
}

/// When a row may be tried. A clock that went back must not make it wait longer than it was meant to.
fn row_ready_ms(row: &Row, now_ms: i64) -> i64 {
    let set_ms = row.attempted_ms.unwrap_or(row.created_ms);
    if now_ms < set_ms { now_ms.min(row.next_ms) } else { row.next_ms }
}
