//! What time does to rows: those that are too old are given up, those that fail for long are told to the fallback, and there
//! are never more than fit. What is given up is counted, logged and told in a summary.

use std::collections::HashMap;
use std::sync::Arc;

use crate::change::Change;
use crate::outbox::attempts::Result;
use crate::outbox::policy::Policy;
use crate::outbox::row::{Body, Changes, Loss, Lost, Row};
use crate::outbox::{Busy, Event, Outbox};

/// Rows for one receiver. While it cannot be reached, a release has one.
pub const ROWS_PER_RECEIVER_MAX: usize = 500;
/// Rows for all receivers.
pub const ROWS_MAX: usize = 2_000;

impl Outbox {
    /// Does what is due at this time; rows that are being sent are left alone.
    pub fn tidy(&mut self, now_ms: i64, policies: &[Policy], busy: &Busy) {
        self.forget_unknown(now_ms, policies);
        let by_name: HashMap<&Arc<str>, &Policy> = policies.iter().map(|policy| (&policy.name, policy)).collect();
        let orders: Vec<u64> = self.rows.keys().copied().collect();
        for order in orders {
            let row = &self.rows[&order];
            let Some(policy) = by_name.get(&row.receiver) else { continue };
            if busy.get(&row.receiver) == Some(&order) {
                continue;
            }
            if self.fallback_ms(row, policy).is_some_and(|due_ms| due_ms <= now_ms) {
                let mut row = row.clone();
                self.hand_on(&mut row, now_ms, policies);
                self.rows.insert(order, row);
            }
            let row = &self.rows[&order];
            if expiry_ms(row, policy).is_some_and(|due_ms| due_ms <= now_ms) {
                self.give_up(order, Loss::Expired, now_ms, busy);
            }
        }
        self.bound(now_ms, policies, busy);
    }

    /// When [`Outbox::tidy`] will next have something to do.
    pub(super) fn tidy_ms(&self, policies: &[Policy], busy: &Busy) -> Option<i64> {
        let by_name: HashMap<&Arc<str>, &Policy> = policies.iter().map(|policy| (&policy.name, policy)).collect();
        let idle = self.rows.iter().filter(|(order, row)| busy.get(&row.receiver) != Some(*order));
        idle.filter_map(|(_, row)| {
            let policy = by_name.get(&row.receiver)?;
            self.fallback_ms(row, policy).into_iter().chain(expiry_ms(row, policy)).min()
        })
        .min()
    }

    /// Tells the fallback what it was not told yet. Returns whether it knows all of the row.
    pub(super) fn hand_on(&mut self, row: &mut Row, now_ms: i64, policies: &[Policy]) -> bool {
        let named = |name: &Arc<str>| policies.iter().find(|policy| policy.name == *name);
        let fallback = named(&row.receiver).and_then(|policy| policy.fallback.as_ref()).and_then(named);
        let (Body::Changes(changes), None) = (&row.body, &row.stands_in_for) else { return false };
        let untold = untold(changes, row.handed_on);
        row.handed_on = row.changes();
        let Some(fallback) = fallback else { return false };
        let Some(untold) = untold else { return true };
        for message in messages(untold, fallback) {
            let body = Body::Changes(message);
            self.push(Row::new(fallback.name.clone(), body, Some(row.receiver.clone()), now_ms));
        }
        self.events.push(Event { receiver: row.receiver.clone(), result: Result::HandedOn });
        true
    }

    /// Counts a row that will not be delivered, and owes its receiver a summary of such rows.
    pub(crate) fn lose(&mut self, why: Loss, row: &Row, now_ms: i64, busy: &Busy) {
        let sent = busy.get(&row.receiver);
        let of_receiver = self.rows.iter_mut().filter(|(order, other)| {
            other.receiver == row.receiver && sent != Some(*order) && matches!(other.body, Body::Lost(_))
        });
        if let Some((_, summary)) = { of_receiver }.next_back()
            && let Body::Lost(lost) = &mut summary.body
        {
            lost.add(why, row);
            summary.name();
            self.changed = true;
            return;
        }
        let mut lost = Lost::default();
        lost.add(why, row);
        let mut summary = Row::new(row.receiver.clone(), Body::Lost(lost), None, now_ms);
        // When it would have been the turn of the row: a receiver that cannot be reached is not called more often for this.
        summary.next_ms = row.next_ms.max(now_ms);
        self.push(summary);
    }

    /// Gives up rows until the rest fits: what is not about a NO-GO first, then the oldest.
    pub(super) fn bound(&mut self, now_ms: i64, policies: &[Policy], busy: &Busy) {
        let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
        for row in self.rows.values() {
            *counts.entry(row.receiver.clone()).or_default() += 1;
        }
        for policy in policies {
            let of_receiver = counts.get(&policy.name).copied().unwrap_or(0);
            for _ in ROWS_PER_RECEIVER_MAX..of_receiver {
                self.give_up_one_of(&policy.name, now_ms, busy);
            }
            counts.insert(policy.name.clone(), of_receiver.min(ROWS_PER_RECEIVER_MAX));
        }
        let mut total: usize = counts.values().sum();
        while total > ROWS_MAX {
            let Some((receiver, most)) = counts.iter_mut().max_by_key(|(name, count)| (**count, Arc::clone(name)))
            else {
                return;
            };
            let receiver = receiver.clone();
            *most -= 1;
            total -= 1;
            self.give_up_one_of(&receiver, now_ms, busy);
        }
    }

    fn give_up_one_of(&mut self, receiver: &Arc<str>, now_ms: i64, busy: &Busy) {
        let sent = busy.get(receiver);
        let candidates = self.rows.iter().filter(|(order, row)| {
            row.receiver == *receiver && sent != Some(*order) && !matches!(row.body, Body::Lost(_))
        });
        let first = candidates.min_by_key(|(order, row)| (is_trouble(row), **order)).map(|(order, _)| *order);
        if let Some(order) = first {
            self.give_up(order, Loss::Dropped, now_ms, busy);
        }
    }

    fn give_up(&mut self, order: u64, why: Loss, now_ms: i64, busy: &Busy) {
        let Some(row) = self.rows.remove(&order) else { return };
        let (result, reason) = match why {
            Loss::Expired => (Result::Expired, "older than its receiver wants it"),
            Loss::Dropped | Loss::Rejected => (Result::Dropped, "more notifications than are kept"),
        };
        self.log(&row, result, now_ms, (0, None, reason.to_owned(), 0));
        self.lose(why, &row, now_ms, busy);
    }

    /// Gives up rows of receivers that the configuration does not have any more. There is nobody to tell a summary.
    fn forget_unknown(&mut self, now_ms: i64, policies: &[Policy]) {
        let is_known = |name: &Arc<str>| policies.iter().any(|policy| policy.name == *name);
        let unknown: Vec<u64> =
            self.rows.iter().filter(|(_, row)| !is_known(&row.receiver)).map(|(order, _)| *order).collect();
        for order in unknown {
            let Some(row) = self.rows.remove(&order) else { continue };
            let reason = "its receiver is not in the configuration any more".to_owned();
            self.log(&row, Result::Dropped, now_ms, (0, None, reason, 0));
        }
        let known = self.health.len();
        self.health.retain(|name, _| is_known(name));
        self.changed |= known != self.health.len();
    }

    /// When the fallback is to be told of a row, if there is one that was not told all of it.
    fn fallback_ms(&self, row: &Row, policy: &Policy) -> Option<i64> {
        policy.fallback.as_ref()?;
        if row.stands_in_for.is_some() || row.handed_on >= row.changes() {
            return None;
        }
        let health = self.health.get(&row.receiver);
        if health.is_some_and(|health| health.is_gone(policy.address)) {
            return Some(row.created_ms);
        }
        let receiver_ms = health.and_then(|health| health.failing_since_ms);
        let since_ms = receiver_ms.into_iter().chain(row.failing_since_ms).min()?;
        Some(since_ms.saturating_add(policy.fallback_after_ms))
    }
}

/// When a row is too old. A summary never is: it is one row.
fn expiry_ms(row: &Row, policy: &Policy) -> Option<i64> {
    (!matches!(row.body, Body::Lost(_))).then(|| row.created_ms.saturating_add(policy.max_age_ms))
}

fn is_trouble(row: &Row) -> bool {
    matches!(&row.body, Body::Changes(changes) if changes.last().is_trouble())
}

/// Changes as the messages that a stand-in gets: one, or one each where each has an effect of its own.
fn messages(changes: Changes, receiver: &Policy) -> Vec<Changes> {
    if receiver.merges {
        return vec![changes];
    }
    let fits = |change: &&Arc<Change>| !receiver.wants.trouble_only || change.is_trouble() || change.ends_trouble();
    changes.told.iter().filter(fits).map(|change| Changes::one(change.clone())).collect()
}

/// The changes after the first so many.
fn untold(changes: &Changes, known: u64) -> Option<Changes> {
    let place = |index: usize| if index == 0 { 0 } else { index as u64 + changes.left_out };
    let told: Vec<_> = (0..changes.told.len())
        .filter(|index| place(*index) >= known)
        .map(|index| changes.told[index].clone())
        .collect();
    let left_out = if known == 0 { changes.left_out } else { (changes.left_out + 1).saturating_sub(known) };
    (!told.is_empty()).then_some(Changes { told, left_out })
}
