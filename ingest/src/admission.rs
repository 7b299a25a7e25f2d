//! Admission by bytes in flight: who may hold how much memory, and who waits for it.
//!
//! A request enters with a small grant, before its first byte is read, and lets the grant grow as bytes come. Room is
//! given in the order in which requests came, and a request that is already in goes before one that is not. Waiting ends
//! at the request's deadline. A grant gives its bytes back when it is dropped, and so does a wait that is cancelled.
//!
//! Half-read requests must not block each other, each holding what another needs. So the last quarter of the budget, the
//! reserve, is open only to a request that grows for the last time and will therefore end, and to one request at a time
//! that may grow again. That one goes first, and the reserve is free again when it has all its bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::IngestError;

/// The smallest grant: what a waiting request costs besides its bytes (task, stream, buffers), so that very many tiny
/// requests are bounded too.
const GRANT_BYTES_MIN: usize = 4096;

/// The memory that requests share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget {
    inner: Arc<Inner>,
}

struct Inner {
    /// All there is.
    capacity: usize,
    /// What requests may hold in sum when another one enters.
    entry_limit: usize,
    waiting_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    arrivals: u64,
    /// The request that took from the reserve and may grow again.
    holds_reserve: Option<u64>,
    /// Those that grow come before those that enter; among each, the oldest request first.
    waiting: BTreeMap<Turn, Waiter>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    entering: bool,
    arrival: u64,
}

struct Waiter {
    need: Need,
    granted: oneshot::Sender<()>,
}

#[derive(Clone, Copy)]
struct Need {
    bytes: usize,
    /// The request will not ask again.
    last: bool,
}

/// Whether a need can be met now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    TooLittle,
    /// There is room in the reserve, but another request holds it.
    Held,
}

/// Bytes of the budget that belong to one request. Dropping it gives them back.
pub(crate) struct Grant {
    inner: Arc<Inner>,
    arrival: u64,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(capacity: usize, waiting_max: usize) -> Self {
        let entry_limit = capacity - capacity / 4;
        Budget { inner: Arc::new(Inner { capacity, entry_limit, waiting_max, state: Mutex::default() }) }
    }

    /// A first grant for a request, waiting until `deadline` for room.
    pub(crate) async fn enter(&self, bytes: usize, deadline: Instant) -> Result<Grant, IngestError> {
        let bytes = bytes.clamp(GRANT_BYTES_MIN, self.inner.entry_limit.max(GRANT_BYTES_MIN));
        let arrival = self.inner.arrive();
        self.inner.acquire(Turn { entering: true, arrival }, Need { bytes, last: false }, deadline).await?;
        Ok(Grant { inner: self.inner.clone(), arrival, bytes })
    }

    /// Bytes granted now.
    pub(crate) fn used(&self) -> usize {
        self.inner.lock().used
    }

    /// Requests that wait for room now.
    pub(crate) fn waiting(&self) -> usize {
        self.inner.lock().waiting.len()
    }
}

impl Grant {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the grant at least `bytes` large, waiting until `deadline` for room. `last` promises that it will be enough.
    pub(crate) async fn grow(&mut self, bytes: usize, last: bool, deadline: Instant) -> Result<(), IngestError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        if bytes > self.inner.capacity {
            return Err(IngestError::TooLarge { limit: self.inner.capacity, when: "in memory" });
        }
        let turn = Turn { entering: false, arrival: self.arrival };
        self.inner.acquire(turn, Need { bytes: bytes - self.bytes, last }, deadline).await?;
        self.bytes = bytes;
        Ok(())
    }

    /// The request has all its bytes: gives back what is not needed above `bytes`, and the reserve.
    pub(crate) fn settle(&mut self, bytes: usize) {
        let keep = bytes.max(GRANT_BYTES_MIN).min(self.bytes);
        self.inner.release(self.arrival, self.bytes - keep);
        self.bytes = keep;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.inner.release(self.arrival, self.bytes);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is changed by additions that cannot panic half-way, so it is good whatever happened to a holder.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self) -> u64 {
        let mut state = self.lock();
        state.arrivals += 1;
        state.arrivals
    }

    fn room(&self, state: &State, turn: Turn, need: Need) -> Room {
        let after = state.used + need.bytes;
        if after <= self.entry_limit {
            return Room::Enough;
        }
        if turn.entering || after > self.capacity {
            return Room::TooLittle;
        }
        let free = state.holds_reserve.is_none_or(|holder| holder == turn.arrival);
        if need.last || free { Room::Enough } else { Room::Held }
    }

    fn take(&self, state: &mut State, turn: Turn, need: Need) {
        state.used += need.bytes;
        if !turn.entering && !need.last && state.used > self.entry_limit {
            state.holds_reserve = Some(turn.arrival);
        }
    }

    async fn acquire(&self, turn: Turn, need: Need, deadline: Instant) -> Result<(), IngestError> {
        let granted = {
            let mut state = self.lock();
            if state.waiting.is_empty() && self.room(&state, turn, need) == Room::Enough {
                self.take(&mut state, turn, need);
                return Ok(());
            }
            if turn.entering && state.waiting.len() >= self.waiting_max {
                return Err(IngestError::Overloaded);
            }
            let (granted, wait) = oneshot::channel();
            state.waiting.insert(turn, Waiter { need, granted });
            self.grant_waiting(&mut state);
            wait
        };
        let mut place = Place { inner: self, turn, bytes: need.bytes, waiting: true };
        match timeout_at(deadline, granted).await {
            Ok(Ok(())) => {
                place.waiting = false;
                Ok(())
            }
            _ => Err(IngestError::Overloaded),
        }
    }

    fn release(&self, arrival: u64, bytes: usize) {
        let mut state = self.lock();
        state.used -= bytes;
        if state.holds_reserve == Some(arrival) {
            state.holds_reserve = None;
        }
        self.grant_waiting(&mut state);
    }

    fn grant_waiting(&self, state: &mut State) {
        while let Some(turn) = self.next_turn(state) {
            let waiter = state.waiting.remove(&turn).expect("the turn is of one who waits");
            // Counted before it is told: a waiter that is gone by now gives the bytes back in `Place::drop`.
            self.take(state, turn, waiter.need);
            let _ = waiter.granted.send(());
        }
    }

    /// Whose turn it is, if there is room: the holder of the reserve, then the others in order. One that needs more than
    /// there is keeps those behind it waiting, or a large request would starve.
    fn next_turn(&self, state: &State) -> Option<Turn> {
        if let Some(arrival) = state.holds_reserve {
            let turn = Turn { entering: false, arrival };
            if let Some(waiter) = state.waiting.get(&turn) {
                return (self.room(state, turn, waiter.need) == Room::Enough).then_some(turn);
            }
        }
        for (turn, waiter) in &state.waiting {
            match self.room(state, *turn, waiter.need) {
                Room::Enough => return Some(*turn),
                Room::TooLittle => return None,
                Room::Held => {}
            }
        }
        None
    }
}

/// A place in the queue; leaving it early takes the waiter out, or gives back what it was granted in the meantime.
struct Place<'a> {
    inner: &'a Inner,
    turn: Turn,
    bytes: usize,
    waiting: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.waiting {
            return;
        }
        let mut state = self.inner.lock();
        if state.waiting.remove(&self.turn).is_none() {
            state.used -= self.bytes;
        }
        // The reserve, if this request holds it, is given back with its grant.
        self.inner.grant_waiting(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn room_is_given_back_when_a_grant_is_dropped() {
        let budget = Budget::new(100_000, 10);
        let first = budget.enter(75_000, soon()).await.expect("fits");
        assert!(matches!(budget.enter(5_000, soon()).await, Err(IngestError::Overloaded)));
        drop(first);
        let second = budget.enter(70_000, soon()).await.expect("fits now");
        assert_eq!(budget.used(), 70_000);
        drop(second);
        assert_eq!((budget.used(), budget.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn the_oldest_waits_first_and_growing_goes_before_entering() {
        let budget = Budget::new(100_000, 10);
        let mut a = budget.enter(40_000, late()).await.expect("fits");
        let b = budget.enter(35_000, late()).await.expect("fits");
        let mut entering = Box::pin(budget.enter(10_000, late()));
        assert!((&mut entering).now_or_never().is_none(), "the entry limit is reached");
        a.grow(65_000, false, late()).await.expect("the last quarter is for growing");
        assert_eq!(budget.used(), 100_000);
        let mut growing = Box::pin(a.grow(90_000, false, late()));
        assert!((&mut growing).now_or_never().is_none());
        drop(b);
        growing.await.expect("granted");
        assert!((&mut entering).now_or_never().is_none(), "90 000 of 75 000 are in use for those who enter");
        drop(a);
        assert_eq!(entering.await.expect("granted").bytes(), 10_000);
    }

    /// Without the rule of the reserve each of these would hold a part of it and wait for the others for ever.
    #[tokio::test]
    async fn requests_that_grow_in_steps_take_the_reserve_one_after_the_other() {
        let budget = Budget::new(100_000, 10);
        let mut a = budget.enter(25_000, late()).await.expect("fits");
        let mut b = budget.enter(25_000, late()).await.expect("fits");
        let mut c = budget.enter(25_000, late()).await.expect("fits");
        b.grow(35_000, false, late()).await.expect("the reserve is free");
        let mut waits = Box::pin(a.grow(35_000, false, late()));
        assert!((&mut waits).now_or_never().is_none(), "b may grow again");
        c.grow(30_000, true, late()).await.expect("c will end with it");
        b.grow(45_000, false, late()).await.expect("the holder goes before the older a");
        b.settle(35_000);
        waits.await.expect("the reserve is free again, although b still holds its bytes");
        drop((a, b, c));
        assert_eq!((budget.used(), budget.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let budget = Budget::new(100_000, 10);
        let held = budget.enter(75_000, late()).await.expect("fits");
        let mut waits = Box::pin(budget.enter(50_000, late()));
        assert!((&mut waits).now_or_never().is_none());
        let mut behind = Box::pin(budget.enter(20_000, late()));
        assert!((&mut behind).now_or_never().is_none());
        drop(waits);
        assert_eq!(budget.waiting(), 1);
        drop(held);
        // Granted, and dropped before it could see it.
        drop(behind);
        assert_eq!((budget.used(), budget.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_request_too_many_is_refused_without_waiting() {
        let budget = Budget::new(100_000, 1);
        let _held = budget.enter(75_000, late()).await.expect("fits");
        let mut waits = Box::pin(budget.enter(10_000, late()));
        assert!((&mut waits).now_or_never().is_none());
        let refused = budget.enter(10_000, late()).now_or_never().expect("at once");
        assert!(matches!(refused, Err(IngestError::Overloaded)));
    }
}
