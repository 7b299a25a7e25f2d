//! A journal in memory for tests of the stages around it: it keeps every promise of [`Journal`] and uses every freedom
//! that the contract leaves, by a seeded [`FaultPlan`]: refused appends, answers that are lost although the records
//! were kept, half-done appends over several partitions, late answers, a restart that forgets what was not
//! acknowledged.
//!
//! It removes exactly what `truncate_before` allows, where a real journal keeps most of it, so that a reader that asks
//! below its own position is found out.

mod faults;
mod state;

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::JournalError;
use crate::journal::{Journal, Position, Record, Stored};
pub use faults::FaultPlan;
use state::{Shared, Ticket};

/// See the module. Clones are handles to the same journal.
#[derive(Clone, Debug)]
pub struct MemoryJournal {
    shared: Arc<Shared>,
}

impl MemoryJournal {
    /// Values larger than this are refused with `TooLarge`.
    pub const RECORD_BYTES_MAX: usize = 64 << 20;

    /// An empty journal without faults. `partitions` is at least 1.
    pub fn new(partitions: u32) -> Self {
        Self { shared: Arc::new(Shared::new(partitions, FaultPlan::none())) }
    }

    /// An empty journal with faults; the plan and its seed are printed, so that a failed test can be repeated.
    pub fn with_faults(partitions: u32, plan: FaultPlan) -> Self {
        eprintln!("memory journal: {plan:?}");
        Self { shared: Arc::new(Shared::new(partitions, plan)) }
    }

    /// What a crash and a new start leave: everything that was acknowledged, and of the appends that were in flight a
    /// part that the seed decides. This handle and its clones answer `Closed` from now on.
    pub fn restart(&self) -> Self {
        Self { shared: Arc::new(self.shared.crash()) }
    }

    /// While true, every append fails with `Full`.
    pub fn set_full(&self, full: bool) {
        self.shared.lock().full = full;
    }

    /// Somebody else deletes the records of a partition below `offset`, whether they were read or not.
    pub fn lose_before(&self, partition: u32, offset: u64) {
        self.shared.truncate(partition, offset, true).expect("the partition exists");
    }

    /// From now on appends, and reads that would wait, fail with `Poisoned`.
    pub fn poison(&self, reason: &str) {
        self.shared.poison(reason);
    }

    /// How many appends have begun and were not answered yet.
    pub fn in_flight(&self) -> usize {
        self.shared.lock().in_flight.len()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn partitions(&self) -> u32 {
        self.shared.partitions()
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, JournalError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let Ticket { id, delay, lose_answer } = self.shared.begin(records)?;
        let in_flight = InFlight { shared: Arc::clone(&self.shared), id };
        if delay.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(delay).await;
        }
        in_flight.finish(lose_answer)
    }

    async fn read(&self, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Arc<Stored>>, JournalError> {
        let mut changes = self.shared.subscribe();
        loop {
            // Seen before looking, so that a change in between is not missed.
            changes.borrow_and_update();
            if let Some(records) = self.shared.look(partition, from, max_bytes)? {
                return Ok(records);
            }
            if changes.changed().await.is_err() {
                return Err(JournalError::Closed);
            }
        }
    }

    fn end(&self, partition: u32) -> u64 {
        self.shared.end(partition)
    }

    async fn truncate_before(&self, partition: u32, offset: u64) -> Result<(), JournalError> {
        self.shared.truncate(partition, offset, false)
    }

    async fn close(&self) -> Result<(), JournalError> {
        let mut changes = self.shared.subscribe();
        self.shared.close();
        while self.in_flight() > 0 {
            if changes.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn record_bytes_max(&self) -> usize {
        Self::RECORD_BYTES_MAX
    }
}

/// An append between its beginning and its answer; dropped without an answer when the caller gives up.
struct InFlight {
    shared: Arc<Shared>,
    id: u64,
}

impl InFlight {
    fn finish(self, lose_answer: bool) -> Result<Vec<Position>, JournalError> {
        self.shared.finish(self.id, lose_answer)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // Does nothing after `finish`.
        self.shared.abandon(self.id);
    }
}

#[cfg(test)]
mod tests;
