//! Admission by bytes in flight: who may hold how much memory, and who waits for it.
//!
//! A request enters with a small grant, before its first byte is read, and lets the grant grow as bytes come. Room is
//! given in the order in which requests came, and a request that is already in goes before one that is not: the last
//! quarter of the budget is kept for growing, so that many half-read requests cannot block each other. Waiting ends at the
//! request's deadline. A grant gives its bytes back when it is dropped, and so does a wait that is cancelled.

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
    /// Those that grow come before those that enter; among each, the oldest request first.
    waiting: BTreeMap<Turn, Waiter>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    entering: bool,
    arrival: u64,
}

struct Waiter {
    bytes: usize,
    granted: oneshot::Sender<()>,
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
        self.inner.acquire(Turn { entering: true, arrival }, bytes, deadline).await?;
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

    /// Makes the grant at least `bytes` large, waiting until `deadline` for room.
    pub(crate) async fn grow(&mut self, bytes: usize, deadline: Instant) -> Result<(), IngestError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        if bytes > self.inner.capacity {
            return Err(IngestError::TooLarge { limit: self.inner.capacity, when: "in memory" });
        }
        let turn = Turn { entering: false, arrival: self.arrival };
        self.inner.acquire(turn, bytes - self.bytes, deadline).await?;
        self.bytes = bytes;
        Ok(())
    }

    /// Gives back what is not needed above `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let keep = bytes.max(GRANT_BYTES_MIN);
        if keep < self.bytes {
            self.inner.release(self.bytes - keep);
            self.bytes = keep;
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.inner.release(self.bytes);
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

    fn limit(&self, entering: bool) -> usize {
        if entering { self.entry_limit } else { self.capacity }
    }

    async fn acquire(&self, turn: Turn, bytes: usize, deadline: Instant) -> Result<(), IngestError> {
        let granted = {
            let mut state = self.lock();
            let first = state.waiting.keys().next().is_none_or(|next| turn < *next);
            if first && state.used + bytes <= self.limit(turn.entering) {
                state.used += bytes;
                return Ok(());
            }
            if turn.entering && state.waiting.len() >= self.waiting_max {
                return Err(IngestError::Overloaded);
            }
            let (granted, wait) = oneshot::channel();
            state.waiting.insert(turn, Waiter { bytes, granted });
            wait
        };
        let mut place = Place { inner: self, turn, bytes, waiting: true };
        match timeout_at(deadline, granted).await {
            Ok(Ok(())) => {
                place.waiting = false;
                Ok(())
            }
            _ => Err(IngestError::Overloaded),
        }
    }

    fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.used -= bytes;
        self.grant_waiting(&mut state);
    }

    /// Gives room to those whose turn it is, in order. The first that does not fit keeps the others waiting: a large
    /// request would starve otherwise.
    fn grant_waiting(&self, state: &mut State) {
        while let Some(entry) = state.waiting.first_entry() {
            let bytes = entry.get().bytes;
            if state.used + bytes > self.limit(entry.key().entering) {
                return;
            }
            let waiter = entry.remove();
            // Counted before it is told: a waiter that is gone by now gives the bytes back in `Place::drop`.
            state.used += bytes;
            let _ = waiter.granted.send(());
        }
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
        a.grow(65_000, late()).await.expect("the last quarter is for growing");
        assert_eq!(budget.used(), 100_000);
        let mut growing = Box::pin(a.grow(90_000, late()));
        assert!((&mut growing).now_or_never().is_none());
        drop(b);
        growing.await.expect("granted");
        assert!((&mut entering).now_or_never().is_none(), "90 000 of 75 000 are in use for those who enter");
        drop(a);
        assert_eq!(entering.await.expect("granted").bytes(), 10_000);
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
