//! Admission by bytes in flight: who may hold how much memory, and who waits for it.
//!
//! A request enters with a small grant, before its first byte is read, and lets the grant grow as bytes come. Room is
//! given in the order in which requests came, and a request that is already in goes before one that is not. Waiting ends
//! at the request's deadline. A grant gives its bytes back when it is dropped, and so does a wait that is cancelled.
//! The door can be closed (see `backlog.rs`): then those who enter wait, and those who are in go on.
//!
//! Half-read requests must not block each other, each holding what another needs. So the last quarter of the budget, the
//! reserve, is open only to a request that grows for the last time and will therefore end, and to one request at a time
//! that may grow again. That one goes first, and the reserve is free again when it has all its bytes.
//!
//! A sender may break its promise and stall. It is found out soon (`pace.rs`), but until then a small request must not wait
//! for it: an eighth of the budget is for first grants only, whatever those who grow hold or wait for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::IngestError;

/// The smallest grant: what a waiting request costs besides its bytes (task, stream, buffers), so that very many tiny
/// requests are bounded too.
const GRANT_BYTES_MIN: usize = 4096;
/// A first grant up to this is small: that of an OTLP body, and of lines with what they become.
const SMALL_BYTES_MAX: usize = 128 << 10;

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
    /// What small first grants may hold beyond it.
    small_limit: usize,
    waiting_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    /// What of it are small first grants beyond the entry limit.
    small: usize,
    /// Nobody enters.
    is_closed: bool,
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
    /// Told what of it counts as small.
    granted: oneshot::Sender<usize>,
}

#[derive(Clone, Copy)]
struct Need {
    bytes: usize,
    /// What the request holds then.
    total: usize,
    /// The request will not ask again.
    last: bool,
}

/// Whether a need can be met now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    /// In the part for small first grants.
    Small,
    TooLittle,
    /// There is room in the reserve, but another request holds it.
    Held,
}

/// Bytes of the budget that belong to one request. Dropping it gives them back.
pub(crate) struct Grant {
    inner: Arc<Inner>,
    arrival: u64,
    bytes: usize,
    /// What of them counts as small.
    small: usize,
}

impl Budget {
    pub(crate) fn new(capacity: usize, waiting_max: usize) -> Self {
        let (entry_limit, small_limit) = (capacity - capacity / 4, capacity / 8);
        Budget { inner: Arc::new(Inner { capacity, entry_limit, small_limit, waiting_max, state: Mutex::default() }) }
    }

    /// A first grant for a request, waiting until `deadline` for room.
    pub(crate) async fn enter(&self, bytes: usize, deadline: Instant) -> Result<Grant, IngestError> {
        let bytes = bytes.clamp(GRANT_BYTES_MIN, self.inner.entry_limit.max(GRANT_BYTES_MIN));
        let arrival = self.inner.arrive();
        let turn = Turn { entering: true, arrival };
        let small = self.inner.acquire(turn, Need { bytes, total: bytes, last: false }, deadline).await?;
        Ok(Grant { inner: self.inner.clone(), arrival, bytes, small })
    }

    /// Opens or closes the door.
    pub(crate) fn set_open(&self, open: bool) {
        let mut state = self.inner.lock();
        state.is_closed = !open;
        self.inner.grant_waiting(&mut state);
    }

    /// Whether somebody waits for memory that others hold.
    pub(crate) fn is_short(&self) -> bool {
        let state = self.inner.lock();
        // Those who grow come first.
        state.waiting.first_key_value().is_some_and(|(turn, _)| !turn.entering || !state.is_closed)
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
        self.inner.acquire(turn, Need { bytes: bytes - self.bytes, total: bytes, last }, deadline).await?;
        self.bytes = bytes;
        Ok(())
    }

    /// The request has all its bytes: gives back what is not needed above `bytes`, and the reserve.
    pub(crate) fn settle(&mut self, bytes: usize) {
        let keep = bytes.max(GRANT_BYTES_MIN).min(self.bytes);
        let small = self.small.min(keep);
        self.inner.release(self.arrival, self.bytes - keep, self.small - small);
        (self.bytes, self.small) = (keep, small);
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.inner.release(self.arrival, self.bytes, self.small);
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
        if turn.entering && state.is_closed {
            return Room::TooLittle;
        }
        let after = state.used + need.bytes;
        if after <= self.entry_limit {
            return Room::Enough;
        }
        if turn.entering {
            return self.small_room(state, need);
        }
        if after > self.capacity {
            return Room::TooLittle;
        }
        let free = state.holds_reserve.is_none_or(|holder| holder == turn.arrival);
        if free || (need.last && after <= self.grow_limit()) { Room::Enough } else { Room::Held }
    }

    fn small_room(&self, state: &State, need: Need) -> Room {
        let fits = need.bytes <= SMALL_BYTES_MAX
            && state.small + need.bytes <= self.small_limit
            && state.used + need.bytes <= self.capacity;
        if fits { Room::Small } else { Room::TooLittle }
    }

    /// What those who grow may hold in sum, without the holder of the reserve.
    fn grow_limit(&self) -> usize {
        self.capacity - self.small_limit
    }

    /// Gives what counts as small.
    fn take(&self, state: &mut State, turn: Turn, need: Need, room: Room) -> usize {
        state.used += need.bytes;
        let small = if room == Room::Small { need.bytes } else { 0 };
        state.small += small;
        let limit = if need.last { self.grow_limit() } else { self.entry_limit };
        if !turn.entering && state.used > limit {
            state.holds_reserve = Some(turn.arrival);
        }
        small
    }

    /// Waits for room; gives what of it counts as small.
    async fn acquire(&self, turn: Turn, need: Need, deadline: Instant) -> Result<usize, IngestError> {
        let granted = {
            let mut state = self.lock();
            let room = self.room(&state, turn, need);
            if state.waiting.is_empty() && matches!(room, Room::Enough | Room::Small) {
                return Ok(self.take(&mut state, turn, need, room));
            }
            if turn.entering && state.waiting.len() >= self.waiting_max {
                return Err(state.refusal(turn));
            }
            let (granted, wait) = oneshot::channel();
            state.waiting.insert(turn, Waiter { need, granted });
            self.grant_waiting(&mut state);
            wait
        };
        let mut place = Place { inner: self, turn, bytes: need.bytes, granted: Some(granted) };
        match timeout_at(deadline, place.granted.as_mut().expect("it was just put there")).await {
            Ok(Ok(small)) => {
                place.granted = None;
                Ok(small)
            }
            _ => Err(self.lock().refusal(turn)),
        }
    }

    fn release(&self, arrival: u64, bytes: usize, small: usize) {
        let mut state = self.lock();
        state.used -= bytes;
        state.small -= small;
        if state.holds_reserve == Some(arrival) {
            state.holds_reserve = None;
        }
        self.grant_waiting(&mut state);
    }

    fn grant_waiting(&self, state: &mut State) {
        while let Some((turn, room)) = self.next_turn(state) {
            let waiter = state.waiting.remove(&turn).expect("the turn is of one who waits");
            // Counted before it is told: a waiter that is gone by now gives the bytes back in `Place::drop`.
            let small = self.take(state, turn, waiter.need, room);
            let _ = waiter.granted.send(small);
        }
    }

    /// Whose turn it is, if there is room: the holder of the reserve, then the others in order. One that needs more than
    /// there is keeps those behind it waiting, or a large request would starve; only small ones go past it.
    fn next_turn(&self, state: &State) -> Option<(Turn, Room)> {
        if let Some(arrival) = state.holds_reserve {
            let turn = Turn { entering: false, arrival };
            if let Some(waiter) = state.waiting.get(&turn) {
                return match self.room(state, turn, waiter.need) {
                    Room::Enough => Some((turn, Room::Enough)),
                    _ => self.next_small(state),
                };
            }
        }
        for (turn, waiter) in &state.waiting {
            match self.room(state, *turn, waiter.need) {
                Room::TooLittle if turn.entering => return None,
                Room::TooLittle => return self.next_small(state),
                Room::Held => {}
                room => return Some((*turn, room)),
            }
        }
        None
    }

    /// The oldest that enters, if it is small, and if nobody who grows needs all there is.
    fn next_small(&self, state: &State) -> Option<(Turn, Room)> {
        let first_entering = Turn { entering: true, arrival: 0 };
        let mut growing = state.waiting.range(..first_entering);
        if state.is_closed || growing.any(|(_, waiter)| waiter.need.total > self.grow_limit()) {
            return None;
        }
        let (turn, waiter) = state.waiting.range(first_entering..).next()?;
        (self.small_room(state, waiter.need) == Room::Small).then_some((*turn, Room::Small))
    }
}

impl State {
    /// What one is told that has waited for too long.
    fn refusal(&self, turn: Turn) -> IngestError {
        if turn.entering && self.is_closed { IngestError::Behind } else { IngestError::Overloaded }
    }
}

/// A place in the queue; leaving it early takes the waiter out, or gives back what it was granted in the meantime.
struct Place<'a> {
    inner: &'a Inner,
    turn: Turn,
    bytes: usize,
    /// Told what of the bytes counts as small; `None` when it has been taken over.
    granted: Option<oneshot::Receiver<usize>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(granted) = &mut self.granted else { return };
        let mut state = self.inner.lock();
        if state.waiting.remove(&self.turn).is_none() {
            state.used -= self.bytes;
            state.small -= granted.try_recv().expect("it was told in the same step");
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
        assert!(matches!(budget.enter(15_000, soon()).await, Err(IngestError::Overloaded)));
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
        let mut entering = Box::pin(budget.enter(15_000, late()));
        assert!((&mut entering).now_or_never().is_none(), "the entry limit is reached");
        a.grow(65_000, false, late()).await.expect("the last quarter is for growing");
        assert_eq!(budget.used(), 100_000);
        let mut growing = Box::pin(a.grow(90_000, false, late()));
        assert!((&mut growing).now_or_never().is_none());
        drop(b);
        growing.await.expect("granted");
        assert!((&mut entering).now_or_never().is_none(), "90 000 of 75 000 are in use for those who enter");
        drop(a);
        assert_eq!(entering.await.expect("granted").bytes(), 15_000);
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
        c.grow(27_000, true, late()).await.expect("c will end with it");
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

    /// Those who grow have promised to end, and have stalled.
    #[tokio::test]
    async fn small_requests_go_past_those_who_hold_and_want_everything() {
        let budget = Budget::new(100_000, 10);
        let mut stalled = Vec::new();
        for _ in 0..3 {
            stalled.push(budget.enter(20_000, late()).await.expect("fits"));
        }
        stalled[0].grow(47_000, true, late()).await.expect("87 000 are for those who grow");
        let mut waits: Vec<_> =
            stalled[1..].iter_mut().map(|other| Box::pin(other.grow(50_000, true, late()))).collect();
        for wait in &mut waits {
            assert!(wait.now_or_never().is_none());
        }
        for _ in 0..20 {
            let small = budget.enter(5_000, soon()).await.expect("an eighth is for small ones");
            assert_eq!(small.small, 5_000);
        }
        let two =
            [budget.enter(6_000, soon()).await, budget.enter(6_000, soon()).await].map(|small| small.expect("fits"));
        assert!(matches!(budget.enter(5_000, soon()).await, Err(IngestError::Overloaded)), "and no more than that");
        drop((waits, two));
        drop(stalled);
        assert_eq!((budget.used(), budget.waiting(), budget.inner.lock().small), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_request_that_needs_everything_is_not_starved_by_small_ones() {
        let budget = Budget::new(100_000, 10);
        let mut large = budget.enter(50_000, late()).await.expect("fits");
        let small = budget.enter(10_000, late()).await.expect("fits");
        let mut grows = Box::pin(large.grow(100_000, true, late()));
        assert!((&mut grows).now_or_never().is_none());
        assert!(matches!(budget.enter(5_000, soon()).await, Err(IngestError::Overloaded)));
        drop(small);
        grows.await.expect("all there is");
    }

    #[tokio::test]
    async fn a_closed_door_holds_those_who_enter_and_lets_the_others_grow() {
        let budget = Budget::new(100_000, 10);
        let mut inside = budget.enter(10_000, late()).await.expect("open");
        budget.set_open(false);
        let mut waits = Box::pin(budget.enter(15_000, late()));
        assert!((&mut waits).now_or_never().is_none());
        assert!(!budget.is_short(), "nobody holds what it waits for");
        inside.grow(90_000, true, late()).await.expect("it is in");
        assert!(matches!(budget.enter(10_000, soon()).await, Err(IngestError::Behind)));
        budget.set_open(true);
        assert!((&mut waits).now_or_never().is_none(), "now it is the memory");
        assert!(budget.is_short());
        drop(inside);
        waits.await.expect("room");
        assert!(!budget.is_short());
    }

    #[tokio::test]
    async fn a_request_too_many_is_refused_without_waiting() {
        let budget = Budget::new(100_000, 1);
        let _held = budget.enter(75_000, late()).await.expect("fits");
        let mut waits = Box::pin(budget.enter(15_000, late()));
        assert!((&mut waits).now_or_never().is_none());
        let refused = budget.enter(15_000, late()).now_or_never().expect("at once");
        assert!(matches!(refused, Err(IngestError::Overloaded)));
    }
}
