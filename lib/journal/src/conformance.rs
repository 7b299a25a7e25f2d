//! The promises of [`Journal`] as tests that every implementation runs: what the contract says, and nothing of how it
//! is done. Called from tests only. It panics with the name of the promise that does not hold.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shipwake_model::Signal;

use crate::error::JournalError;
use crate::journal::{Header, Journal, Position, Record, Stored, TENANT_BYTES_MAX};

/// An implementation under test, with two partitions at least, small files, and no minimum retention. It must not
/// inject faults.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Opens the journal: empty the first time, afterwards as it was left by the one before, which has been dropped.
    async fn open(&self) -> Arc<dyn Journal>;

    /// The largest value that is accepted, in bytes.
    fn record_bytes_max(&self) -> usize;
}

/// Nothing here takes this long unless it is stuck.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs the whole suite; `make` gives a new, empty subject for every promise.
pub async fn run<S: Subject>(make: impl Fn() -> S) {
    eprintln!("what is appended is read back in order, header and value");
    in_time(read_back(&make())).await;
    eprintln!("an append that has returned is there after reopening");
    in_time(durable_over_reopening(&make())).await;
    eprintln!("concurrent appends get different offsets without gaps, each task's in its order");
    in_time(concurrent_appenders(&make())).await;
    eprintln!("a cancelled append leaves all of it or nothing, and does not hinder others");
    in_time(cancelled_appends(&make())).await;
    eprintln!("a read waits for a record, and can be cancelled");
    in_time(waiting_and_cancelled_reads(&make())).await;
    eprintln!("a reader sees records in order, none twice, none missing, while others append");
    in_time(reading_while_appending(&make())).await;
    eprintln!("an append over several partitions answers in the order given");
    in_time(several_partitions(&make())).await;
    eprintln!("a read keeps its budget but returns at least one record; large and empty values come back");
    in_time(sizes(&make())).await;
    eprintln!("what cannot be accepted is refused whole");
    in_time(refusals(&make())).await;
    eprintln!("truncation removes nothing that is needed, and what is gone is said to be gone");
    in_time(truncation(&make())).await;
    eprintln!("a closed journal refuses appends, ends waiting reads, and can be read");
    in_time(closing(&make())).await;
}

/// A record whose content can be told from every other: for tests.
pub fn record(partition: u32, number: u64, bytes: usize) -> Record {
    let mut value = vec![b'.'; bytes];
    let text = format!("record {number} ");
    let len = text.len().min(bytes);
    value[..len].copy_from_slice(&text.as_bytes()[..len]);
    let header = Header {
        tenant: "default".into(),
        signal: Signal::ALL[number as usize % Signal::ALL.len()],
        received_ns: 1_000_000_000 + number as i64,
        records: number as u32,
        time_min_ns: -(number as i64),
        time_max_ns: number as i64,
        request_hash: number.is_multiple_of(2).then_some(u128::from(number) << 64 | 1),
    };
    Record { partition, header, value: Bytes::from(value) }
}

/// Everything from `from` to the end of a partition: for tests.
pub async fn read_all(journal: &dyn Journal, partition: u32, from: u64) -> Result<Vec<Arc<Stored>>, JournalError> {
    let mut all = Vec::new();
    let mut next = from;
    while next < journal.end(partition) {
        let records = journal.read(partition, next, 100_000).await?;
        for stored in records {
            assert_eq!(stored.offset, next, "records are consecutive");
            next += 1;
            all.push(stored);
        }
    }
    Ok(all)
}

async fn in_time(test: impl Future<Output = ()>) {
    tokio::time::timeout(LIMIT, test).await.expect("a promise about waiting is broken: nothing happens any more");
}

async fn append(journal: &dyn Journal, records: Vec<Record>) -> Vec<Position> {
    journal.append(records).await.expect("an append without faults succeeds")
}

fn assert_same(stored: &Stored, record: &Record) {
    assert_eq!((&stored.header, &stored.value), (&record.header, &record.value), "offset {}", stored.offset);
}

async fn read_back(subject: &impl Subject) {
    let journal = subject.open().await;
    assert_eq!(journal.end(0), 0);
    let records: Vec<Record> = (0..50).map(|number| record(0, number, number as usize * 40)).collect();
    for (number, record) in (0..).zip(&records) {
        let positions = append(&*journal, vec![record.clone()]).await;
        assert_eq!(positions, [Position { partition: 0, offset: number }]);
        assert_eq!(journal.end(0), number + 1, "the end counts what was answered");
    }
    assert_eq!(journal.end(1), 0, "another partition is not touched");
    for from in [0, 1, 25, 49] {
        let stored = read_all(&*journal, 0, from).await.expect("all of it is there");
        assert_eq!(stored.len() as u64, 50 - from);
        for stored in stored {
            assert_same(&stored, &records[stored.offset as usize]);
        }
    }
}

async fn durable_over_reopening(subject: &impl Subject) {
    let mut number = 0;
    for round in 0..4 {
        let journal = subject.open().await;
        assert_eq!(journal.end(0), number, "round {round}");
        let stored = read_all(&*journal, 0, 0).await.expect("what was answered is there");
        for stored in &stored {
            assert_same(stored, &record(0, stored.offset, 3000));
        }
        for _ in 0..10 {
            append(&*journal, vec![record(0, number, 3000)]).await;
            number += 1;
        }
        if round % 2 == 0 {
            journal.close().await.expect("closing works");
        }
    }
}

async fn concurrent_appenders(subject: &impl Subject) {
    const TASKS: u64 = 8;
    const APPENDS: u64 = 40;
    let journal = subject.open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let journal = Arc::clone(&journal);
        tasks.spawn(async move {
            let mut positions = Vec::new();
            for number in task * APPENDS..(task + 1) * APPENDS {
                positions.push((number, append(&*journal, vec![record(0, number, 500)]).await[0].offset));
            }
            positions
        });
    }
    let mut seen = BTreeSet::new();
    let stored = tasks.join_all().await;
    let all = read_all(&*journal, 0, 0).await.expect("all of it is there");
    for positions in stored {
        assert!(positions.is_sorted_by_key(|(_, offset)| *offset), "an append after another gets a higher offset");
        for (number, offset) in positions {
            assert!(seen.insert(offset), "offset {offset} was given twice");
            assert_same(&all[offset as usize], &record(0, number, 500));
        }
    }
    assert_eq!(seen.len() as u64, TASKS * APPENDS);
    assert_eq!(journal.end(0), TASKS * APPENDS);
}

async fn cancelled_appends(subject: &impl Subject) {
    let journal = subject.open().await;
    for number in 0..40 {
        let triple = (0..3).map(|part| record(0, number * 3 + part, 200)).collect();
        let mut cancelled = Box::pin(journal.append(triple));
        // Polled once or a few times, then dropped at whatever point it has reached.
        for _ in 0..number % 4 {
            if tokio::time::timeout(Duration::ZERO, &mut cancelled).await.is_ok() {
                break;
            }
        }
        drop(cancelled);
    }
    let last = append(&*journal, vec![record(0, 999_999, 100)]).await[0].offset;
    let all = read_all(&*journal, 0, 0).await.expect("all of it is there");
    let kept: Vec<u64> = all[..last as usize].iter().map(|stored| u64::from(stored.header.records)).collect();
    assert!(kept.len().is_multiple_of(3), "a part of an append was kept");
    for triple in kept.chunks(3) {
        assert_eq!(triple, [triple[0], triple[0] + 1, triple[0] + 2]);
    }
}

async fn waiting_and_cancelled_reads(subject: &impl Subject) {
    let journal = subject.open().await;
    for number in 0..5 {
        let cancelled = tokio::time::timeout(Duration::from_millis(1), journal.read(0, number, 1000)).await;
        assert!(cancelled.is_err(), "there is nothing at the end");
        let reader = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move { journal.read(0, number, 1000).await }
        });
        tokio::task::yield_now().await;
        append(&*journal, vec![record(0, number, 100)]).await;
        let read = reader.await.expect("the reader does not panic").expect("the read succeeds");
        assert_eq!(read.len(), 1);
        assert_same(&read[0], &record(0, number, 100));
    }
}

async fn reading_while_appending(subject: &impl Subject) {
    const RECORDS: u64 = 300;
    let journal = subject.open().await;
    let reader = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move {
            let mut next = 0;
            while next < RECORDS {
                for stored in journal.read(0, next, 2000).await.expect("the read succeeds") {
                    assert_same(&stored, &record(0, next, 700));
                    assert_eq!(stored.offset, next);
                    assert!(journal.end(0) > next, "what is visible counts in the end");
                    next += 1;
                }
            }
        }
    });
    for number in 0..RECORDS {
        append(&*journal, vec![record(0, number, 700)]).await;
    }
    reader.await.expect("the reader saw everything");
}

async fn several_partitions(subject: &impl Subject) {
    let journal = subject.open().await;
    assert!(journal.partitions() >= 2, "the suite needs two partitions");
    assert_eq!(append(&*journal, Vec::new()).await, []);
    for round in 0..5 {
        let records =
            [1, 0, 1, 1, 0].into_iter().zip(round * 5..).map(|(partition, number)| record(partition, number, 300));
        let positions = append(&*journal, records.collect()).await;
        let expected = [(1, 0), (0, 0), (1, 1), (1, 2), (0, 1)];
        let base = [round * 2, round * 3];
        let expected =
            expected.map(|(partition, index)| Position { partition, offset: base[partition as usize] + index });
        assert_eq!(positions, expected);
    }
    for (partition, numbers) in [(0, [1, 4]), (1, [0, 2])] {
        let stored = read_all(&*journal, partition, 0).await.expect("all of it is there");
        assert_same(&stored[0], &record(partition, numbers[0], 300));
        assert_same(&stored[1], &record(partition, numbers[1], 300));
    }
}

async fn sizes(subject: &impl Subject) {
    let journal = subject.open().await;
    // Bytes that do not compress, so that the file takes them as they are.
    let mut noise = 1u64;
    let mut random = |bytes: usize| -> Bytes {
        let next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    };
    let mut records: Vec<Record> = [0, 1, 63, 64, 65, 5000, 300_000].map(|bytes| record(0, 7, bytes)).into();
    for bytes in [100_000, 3_000_000] {
        records.push(Record { value: random(bytes), ..record(0, 8, 0) });
    }
    records.push(record(0, 9, 0));
    append(&*journal, records.clone()).await;
    drop(journal);
    let journal = subject.open().await;
    let stored = read_all(&*journal, 0, 0).await.expect("all of it is there");
    assert_eq!(stored.len(), records.len());
    for (stored, record) in stored.iter().zip(&records) {
        assert_same(stored, record);
    }
    for max_bytes in [0, 1, 200, 6000, usize::MAX] {
        let read = journal.read(0, 0, max_bytes).await.expect("the read succeeds");
        let bytes: usize = read.iter().map(|stored| stored.value.len()).sum();
        assert!(read.len() == 1 || bytes <= max_bytes, "{bytes} bytes in spite of a budget of {max_bytes}");
    }
}

async fn refusals(subject: &impl Subject) {
    let journal = subject.open().await;
    let bytes_max = subject.record_bytes_max();
    let too_large = vec![record(0, 0, 10), record(1, 1, bytes_max + 1)];
    let refused = journal.append(too_large).await.expect_err("the value is too large");
    assert!(matches!(refused, JournalError::TooLarge { .. }) && !refused.retryable(), "{refused}");
    let mut long_name = record(0, 0, 10);
    long_name.header.tenant = "t".repeat(TENANT_BYTES_MAX + 1).into();
    let refused = journal.append(vec![long_name]).await.expect_err("the tenant's name is too long");
    assert!(matches!(refused, JournalError::TooLarge { .. }), "{refused}");
    let nowhere = vec![record(0, 0, 10), record(journal.partitions(), 1, 10)];
    let refused = journal.append(nowhere).await.expect_err("there is no such partition");
    assert!(matches!(refused, JournalError::NoPartition { .. }) && !refused.retryable(), "{refused}");
    assert_eq!((journal.end(0), journal.end(1)), (0, 0), "nothing was kept");
    let nowhere = journal.read(journal.partitions(), 0, 10).await.expect_err("there is no such partition");
    assert!(matches!(nowhere, JournalError::NoPartition { .. }), "{nowhere}");
    let ahead = journal.read(0, 1, 10).await.expect_err("nothing will ever be at an offset beyond the end");
    assert!(matches!(ahead, JournalError::OffsetAhead { from: 1, end: 0 }), "{ahead}");
    append(&*journal, vec![record(0, 2, bytes_max.min(1 << 20))]).await;
}

async fn truncation(subject: &impl Subject) {
    const RECORDS: u64 = 100;
    let mut journal = subject.open().await;
    for number in 0..RECORDS {
        append(&*journal, vec![record(0, number, 5000)]).await;
    }
    for needed in [0, 1, 50, 97, RECORDS] {
        journal.truncate_before(0, needed).await.expect("truncating works");
        journal.truncate_before(0, needed / 2).await.expect("truncating backwards does nothing");
        for reopened in [false, true] {
            if reopened {
                drop(journal);
                journal = subject.open().await;
            }
            assert_eq!(journal.end(0), RECORDS, "offsets go on");
            let stored = read_all(&*journal, 0, needed).await.expect("what is needed is there");
            assert_eq!(stored.len() as u64, RECORDS - needed);
            for from in 0..needed {
                match journal.read(0, from, 1).await {
                    Ok(stored) => assert_same(&stored[0], &record(0, from, 5000)),
                    Err(JournalError::OffsetGone { from: asked, oldest }) => {
                        assert!(asked == from && from < oldest && oldest <= needed);
                    }
                    Err(error) => panic!("neither there nor gone: {error}"),
                }
            }
        }
    }
    assert_eq!(append(&*journal, vec![record(0, RECORDS, 10)]).await[0].offset, RECORDS);
}

async fn closing(subject: &impl Subject) {
    let journal = subject.open().await;
    append(&*journal, vec![record(0, 0, 10)]).await;
    let waiting = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.read(0, 1, 10).await }
    });
    tokio::task::yield_now().await;
    journal.close().await.expect("closing works");
    journal.close().await.expect("closing twice works");
    let ended = waiting.await.expect("the reader does not panic").expect_err("nothing more will come");
    assert!(matches!(ended, JournalError::Closed), "{ended}");
    let refused = journal.append(vec![record(0, 1, 10)]).await.expect_err("the journal is closed");
    assert!(matches!(refused, JournalError::Closed), "{refused}");
    assert_same(&journal.read(0, 0, 10).await.expect("what is there can be read")[0], &record(0, 0, 10));
}
