//! The memory of queries: a cap for each and a cap for all. Operators reserve before they allocate, so a query fails at
//! its cap instead of taking the process with it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};

use crate::error::{Budget, QueryError};
use crate::sql::metered;

/// What all queries together use.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    used: AtomicUsize,
    limit: usize,
}

impl SharedMemory {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    /// Reserves bytes for a question that is not SQL, until they are dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, QueryError> {
        let mut held = Held { shared: self.clone(), bytes: 0 };
        held.grow(bytes)?;
        Ok(held)
    }

    /// Bytes reserved now.
    #[cfg(test)]
    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes that are reserved. Gives them back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    shared: Arc<SharedMemory>,
    bytes: usize,
}

impl Held {
    /// Reserves more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), QueryError> {
        if !try_add(&self.shared.used, bytes, self.shared.limit) {
            return Err(QueryError::OverBudget(Budget::SharedMemory { bytes: self.shared.limit }));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What one query uses. Gives back everything when it is dropped.
#[derive(Debug)]
pub(crate) struct QueryMemory {
    shared: Arc<SharedMemory>,
    used: AtomicUsize,
    limit: usize,
    hit_own: AtomicBool,
    hit_shared: AtomicBool,
    /// It was a window that wanted more: there is a way around it that is worth saying.
    hit_window: AtomicBool,
}

impl QueryMemory {
    pub fn new(shared: Arc<SharedMemory>, limit: usize) -> Arc<Self> {
        let limit = limit.min(shared.limit);
        Arc::new(Self {
            shared,
            used: AtomicUsize::new(0),
            limit,
            hit_own: AtomicBool::new(false),
            hit_shared: AtomicBool::new(false),
            hit_window: AtomicBool::new(false),
        })
    }

    /// Which budget was refused, if any was.
    pub fn exhausted(&self) -> Budget {
        if self.hit_shared.load(Ordering::Relaxed) && !self.hit_own.load(Ordering::Relaxed) {
            Budget::SharedMemory { bytes: self.shared.limit }
        } else if self.hit_window.load(Ordering::Relaxed) {
            Budget::WindowMemory { bytes: self.limit }
        } else {
            Budget::Memory { bytes: self.limit }
        }
    }

    fn refuse(&self, flag: &AtomicBool, reservation: &MemoryReservation, additional: usize) -> DataFusionError {
        flag.store(true, Ordering::Relaxed);
        let consumer = reservation.consumer().name();
        if consumer.starts_with(metered::CONSUMER) {
            self.hit_window.store(true, Ordering::Relaxed);
        }
        DataFusionError::ResourcesExhausted(format!("{consumer} needs {additional} bytes more"))
    }
}

/// Adds unless the limit would be passed.
fn try_add(used: &AtomicUsize, additional: usize, limit: usize) -> bool {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        used.checked_add(additional).filter(|total| *total <= limit)
    })
    .is_ok()
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &str {
        "shipwake query"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.shared.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.shared.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> datafusion::common::Result<()> {
        if !try_add(&self.used, additional, self.limit) {
            return Err(self.refuse(&self.hit_own, reservation, additional));
        }
        if !try_add(&self.shared.used, additional, self.shared.limit) {
            self.used.fetch_sub(additional, Ordering::Relaxed);
            return Err(self.refuse(&self.hit_shared, reservation, additional));
        }
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.used.load(Ordering::Relaxed), self.limit)
    }
}

impl Drop for QueryMemory {
    fn drop(&mut self) {
        // Reservations hold the pool, so normally nothing is left; a leak in one query must not shrink the others' share.
        self.shared.used.fetch_sub(*self.used.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::MemoryConsumer;

    #[test]
    fn a_query_stops_at_its_own_cap_and_all_at_the_shared_one() {
        let shared = SharedMemory::new(150);
        let (first, second) = (QueryMemory::new(shared.clone(), 100), QueryMemory::new(shared.clone(), 100));
        let pool: Arc<dyn MemoryPool> = first.clone();
        let one = MemoryConsumer::new("one").register(&pool);
        one.try_grow(100).expect("within the cap");
        assert!(one.try_grow(1).is_err());
        assert_eq!(first.exhausted(), Budget::Memory { bytes: 100 });
        let pool: Arc<dyn MemoryPool> = second.clone();
        let two = MemoryConsumer::new("two").register(&pool);
        assert!(two.try_grow(60).is_err());
        assert_eq!(second.exhausted(), Budget::SharedMemory { bytes: 150 });
        two.try_grow(50).expect("what is left");
        drop((one, two, pool, first, second));
        assert_eq!(shared.used(), 0, "everything is given back");
    }

    #[test]
    fn what_is_not_sql_has_the_same_cap_and_gives_back_what_it_held() {
        let shared = SharedMemory::new(100);
        let mut one = shared.hold(60).expect("within the cap");
        let refused = shared.hold(41).expect_err("beyond");
        assert!(matches!(refused, QueryError::OverBudget(Budget::SharedMemory { bytes: 100 })), "{refused}");
        one.grow(40).expect("what is left");
        assert!(one.grow(1).is_err());
        drop(one);
        assert_eq!(shared.used(), 0);
    }
}
