//! What the memory journal adds to the contract: its faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::conformance::{self, Subject, read_all, record};

/// Keeps a handle, and crashes what it points to before opening again.
#[derive(Default)]
struct InMemory(Mutex<Option<MemoryJournal>>);

#[async_trait]
impl Subject for InMemory {
    async fn open(&self) -> Arc<dyn Journal> {
        let mut last = self.0.lock().unwrap();
        let next = last.as_ref().map_or_else(|| MemoryJournal::new(2), MemoryJournal::restart);
        *last = Some(next.clone());
        Arc::new(next)
    }

    fn record_bytes_max(&self) -> usize {
        MemoryJournal::RECORD_BYTES_MAX
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_journal_keeps_the_contract() {
    conformance::run(InMemory::default).await;
}

#[tokio::test]
async fn acknowledged_records_survive_restarts_under_every_fault_and_a_retry_is_at_most_a_repetition() {
    for seed in 0..20 {
        let mut journal =
            MemoryJournal::with_faults(2, FaultPlan { delay_max: Duration::ZERO, ..FaultPlan::seeded(seed) });
        let mut acknowledged = BTreeMap::new();
        let mut errors = 0;
        for number in 0..300 {
            match journal.append(vec![record(0, number, 20), record(1, number, 20)]).await {
                Ok(positions) => {
                    acknowledged.insert(number, positions);
                }
                Err(error) => {
                    assert!(error.retryable());
                    errors += 1;
                }
            }
            if number % 100 == 99 {
                journal = journal.restart();
            }
        }
        assert!(errors > 20 && acknowledged.len() > 200, "the plan injects some faults: {errors}");
        for partition in [0, 1] {
            let all = read_all(&journal, partition, 0).await.unwrap();
            for (number, positions) in &acknowledged {
                assert_eq!(all[positions[partition as usize].offset as usize].header.records, *number as u32);
            }
            assert!(all.len() > acknowledged.len(), "some answers were lost although the records were kept");
        }
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let run = async |seed| {
        let journal = MemoryJournal::with_faults(1, FaultPlan { delay_max: Duration::ZERO, ..FaultPlan::seeded(seed) });
        let mut answers = Vec::new();
        for number in 0..100 {
            answers.push(journal.append(vec![record(0, number, 1)]).await.map_err(|error| error.to_string()).ok());
        }
        answers
    };
    assert_eq!(run(5).await, run(5).await);
    assert_ne!(run(5).await, run(6).await);
}

#[tokio::test]
async fn a_restart_may_keep_a_first_part_of_what_was_in_flight() {
    let mut kept_counts = std::collections::BTreeSet::new();
    for seed in 0..30 {
        let plan = FaultPlan { seed, delay_max: Duration::from_secs(60), ..FaultPlan::none() };
        let journal = MemoryJournal::with_faults(1, plan);
        let in_flight = tokio::spawn({
            let journal = journal.clone();
            async move { journal.append((0..4).map(|number| record(0, number, 1)).collect()).await }
        });
        while journal.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(journal.end(0), 0, "nothing is visible before it is durable");
        let after = journal.restart();
        in_flight.abort();
        assert!(matches!(journal.append(vec![record(0, 9, 1)]).await, Err(JournalError::Closed)));
        let all = read_all(&after, 0, 0).await.unwrap();
        assert!(all.iter().enumerate().all(|(index, stored)| stored.header.records == index as u32));
        kept_counts.insert(all.len());
    }
    assert!(kept_counts.len() >= 3, "seeds differ in what they keep: {kept_counts:?}");
}

#[tokio::test]
async fn full_and_poisoned_are_answered_as_such() {
    let journal = MemoryJournal::new(1);
    journal.set_full(true);
    assert!(matches!(journal.append(vec![record(0, 0, 1)]).await, Err(JournalError::Full { .. })));
    journal.set_full(false);
    journal.append(vec![record(0, 0, 1)]).await.unwrap();
    journal.poison("test");
    assert!(matches!(journal.append(vec![record(0, 1, 1)]).await, Err(JournalError::Poisoned { .. })));
    assert!(matches!(journal.read(0, 1, 1).await, Err(JournalError::Poisoned { .. })));
    assert_eq!(journal.read(0, 0, 1).await.unwrap().len(), 1);
    let plan = FaultPlan { poison_after: Some(2), ..FaultPlan::none() };
    let journal = MemoryJournal::with_faults(1, plan);
    for number in 0..2 {
        journal.append(vec![record(0, number, 1)]).await.unwrap();
    }
    assert!(journal.append(vec![record(0, 2, 1)]).await.unwrap_err().must_stop());
}
