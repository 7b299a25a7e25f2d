//! The journal on a local disk: a directory of segment files per partition. What `shipwake serve` uses by default.
//!
//! An append is compressed on the caller's side, queued, written by the partition's own thread together with whatever
//! else has queued up, synced, and then answered. Readers that keep up are served from memory, others from the files.
//! Bytes on disk and the rules of recovery: `FORMAT.md`. The way of a record: `append` here, `queue`, `writer`,
//! `segment`, then `partition` and `read`.

mod cache;
mod check;
mod codec;
mod config;
mod end_mark;
mod files;
mod footer;
mod frame;
mod identity;
mod metrics;
mod partition;
mod queue;
mod read;
mod recover;
mod salvage;
mod scan;
mod segment;
mod superblock;
mod truncate;
mod writer;

use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

pub use check::{Checked, Extent, Finding, check};
pub use config::{Config, Folded};

use crate::error::JournalError;
use crate::journal::{Journal, Position, Record, Stored};
use codec::CodecPool;
use files::DirLock;
use metrics::Metrics;
use partition::{Found, Partition};
use queue::{Job, Queue, Waiting};
use recover::Recovered;
#[cfg(test)]
use segment::ActiveSegment;
use writer::Writer;

/// Appends with more bytes than this are compressed on a blocking thread: it takes longer than half a millisecond, and
/// other connections wait on this one's thread meanwhile.
const COMPRESS_INLINE_BYTES_MAX: usize = 256 << 10;
/// Values of one append in one partition: positions inside a group are stored in 32 bits.
const APPEND_BYTES_MAX: usize = 1 << 30;

/// The embedded journal; see the module. Dropping it without `close` does the same, blocking.
pub struct EmbeddedJournal {
    shared: Arc<Shared>,
    writers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// What appends, readers and writer threads share.
struct Shared {
    config: Config,
    partitions: Vec<Partition>,
    metrics: Metrics,
    codecs: CodecPool,
    poison: OnceLock<Arc<str>>,
    /// Kept until the journal is closed.
    lock: Mutex<Option<DirLock>>,
    journal_id: u128,
    /// What was found damaged at the start, in words.
    damage: Vec<String>,
}

impl EmbeddedJournal {
    /// Opens or creates the journal in `config.dir`, and registers its metrics under their whole names. Blocks on the
    /// disk, under a second with a day of data. A torn tail is cut off with a line in the log, and kept beside the file. What is
    /// damaged or gone does not keep it from opening: what is whole can be read, the rest is [`JournalError::Lost`] to readers.
    pub fn open(config: Config, registry: &mut Registry) -> Result<Self, JournalError> {
        config.check()?;
        files::make_dir(&config.dir)?;
        let lock = files::lock_dir(&config.dir)?;
        let identity = identity::open_or_create(&config.dir, config.partitions, config.folded.as_ref())?;
        let (journal_id, mut damage) = (identity.block.journal_id, identity.damage);
        let metrics = Metrics::register(registry);
        let mut partitions = Vec::new();
        let mut recovered_partitions = Vec::new();
        for number in 0..config.partitions {
            let dir = config.dir.join(identity::partition_dir(number));
            files::make_dir(&dir)?;
            let found = recover::Opening { dir: &dir, partition: number, journal_id, config: &config };
            let mut recovered = found.recover(identity.is_replacement, &metrics.fsync_seconds)?;
            damage.append(&mut recovered.damage);
            let sealed = std::mem::take(&mut recovered.sealed);
            let queue = Queue::new(config.queue_bytes, metrics.queue_bytes.clone());
            let cache_bytes = config.tail_cache_bytes / config.partitions as usize;
            partitions.push(Partition::new((number, dir), queue, cache_bytes, sealed, recovered.next_offset));
            recovered_partitions.push(recovered);
        }
        let (codecs, poison, lock) = (CodecPool::default(), OnceLock::new(), Mutex::new(Some(lock)));
        for words in &damage {
            tracing::error!("{words}");
        }
        let shared = Arc::new(Shared { config, partitions, metrics, codecs, poison, lock, journal_id, damage });
        let writers = Arc::new(Mutex::new(Vec::new()));
        let journal = Self { shared, writers };
        for (number, recovered) in (0..).zip(recovered_partitions) {
            journal.start_writer(number, journal_id, recovered)?;
        }
        Ok(journal)
    }

    fn start_writer(&self, partition: u32, journal_id: u128, recovered: Recovered) -> Result<(), JournalError> {
        let writer = Writer::new(Arc::clone(&self.shared), partition, journal_id, recovered);
        let thread = std::thread::Builder::new().name(format!("journal-{partition}"));
        let handle = thread
            .spawn(move || writer.run())
            .map_err(|error| files::io_error("start a writer thread for", &self.shared.config.dir, error))?;
        self.writers.lock().expect("no code panics while holding the list of threads").push(handle);
        Ok(())
    }

    /// Refuses what comes, finishes what is queued, and gives the directory free.
    fn shut_down(shared: &Shared, writers: &Mutex<Vec<JoinHandle<()>>>) {
        for partition in &shared.partitions {
            partition.queue.close();
        }
        let mut writers = writers.lock().expect("no code panics while holding the list of threads");
        for writer in writers.drain(..) {
            // A panic has been reported by the thread itself, and has poisoned the journal.
            let _ = writer.join();
        }
        shared.lock.lock().expect("no code panics while holding the lock file").take();
    }
}

impl Drop for EmbeddedJournal {
    fn drop(&mut self) {
        Self::shut_down(&self.shared, &self.writers);
    }
}

#[async_trait]
impl Journal for EmbeddedJournal {
    fn partitions(&self) -> u32 {
        self.shared.config.partitions
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, JournalError> {
        self.shared.check_poison()?;
        let parts = self.shared.split(records)?;
        let mut reserved = Vec::with_capacity(parts.len());
        // In the order of partitions, so that two appends cannot wait for each other.
        for part in parts {
            let space = self.shared.partitions[part.partition as usize].queue.reserve(part.weight).await?;
            reserved.push((part, space));
        }
        let weight: usize = reserved.iter().map(|(part, _)| part.weight).sum();
        let prepared = if weight <= COMPRESS_INLINE_BYTES_MAX {
            self.shared.prepare(reserved)
        } else {
            let shared = Arc::clone(&self.shared);
            blocking(move || shared.prepare(reserved)).await?
        };
        // No waiting from here to the last push: a caller that gives up leaves nothing half done.
        let mut waiting = Vec::with_capacity(prepared.len());
        for (partition, places, job, reply) in prepared {
            self.shared.partitions[partition as usize].queue.push(job)?;
            waiting.push((partition, places, reply));
        }
        collect(waiting).await
    }

    async fn read(&self, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Arc<Stored>>, JournalError> {
        let part = self.shared.partition(partition)?;
        let mut progress = part.subscribe();
        loop {
            let seen = progress.borrow_and_update().clone();
            if from > seen.end {
                return Err(JournalError::OffsetAhead { from, end: seen.end });
            }
            if from == seen.end {
                seen.check_open()?;
                progress.changed().await.map_err(|_| JournalError::Closed)?;
                continue;
            }
            match part.find(from, max_bytes) {
                Found::Cached(records) => return Ok(records),
                Found::Gone { oldest } => return Err(JournalError::OffsetGone { from, oldest }),
                Found::Lost { oldest } => return Err(JournalError::Lost { partition, from, oldest }),
                Found::OnDisk(place) => {
                    let (path, end) = (place.path.clone(), place.end);
                    // Nothing comes back when the file was removed meanwhile: then it is gone, or another has it.
                    if let Some(records) = blocking(move || read::read(&place, from, max_bytes)).await?? {
                        return Ok(records);
                    }
                    // Not by this journal, which would not send readers to it any more.
                    if part.has(&path) && !path.exists() {
                        tracing::error!(path = %path.display(), "a file of the journal has been removed by somebody else");
                        return Err(JournalError::Lost { partition, from, oldest: end });
                    }
                }
            }
        }
    }

    fn end(&self, partition: u32) -> u64 {
        self.shared.partitions.get(partition as usize).map_or(0, Partition::end)
    }

    async fn truncate_before(&self, partition: u32, offset: u64) -> Result<(), JournalError> {
        self.shared.partition(partition)?;
        let shared = Arc::clone(&self.shared);
        blocking(move || truncate::truncate_before(&shared, partition, offset)).await?
    }

    async fn close(&self) -> Result<(), JournalError> {
        let (shared, writers) = (Arc::clone(&self.shared), Arc::clone(&self.writers));
        blocking(move || Self::shut_down(&shared, &writers)).await?;
        self.shared.check_poison()
    }

    fn record_bytes_max(&self) -> usize {
        self.shared.config.record_bytes_max
    }

    fn id(&self) -> Option<u128> {
        Some(self.shared.journal_id)
    }

    fn damage(&self) -> Vec<String> {
        self.shared.damage.clone()
    }
}

/// The records of one append that go to one partition, and their places in the caller's list.
struct Part {
    partition: u32,
    places: Vec<usize>,
    records: Vec<Record>,
    weight: usize,
}

type Reply = oneshot::Receiver<Result<u64, JournalError>>;

impl Shared {
    fn partition(&self, partition: u32) -> Result<&Partition, JournalError> {
        let partitions = self.config.partitions;
        self.partitions.get(partition as usize).ok_or(JournalError::NoPartition { partition, partitions })
    }

    fn check_poison(&self) -> Result<(), JournalError> {
        match self.poison.get() {
            Some(reason) => Err(JournalError::Poisoned { reason: Arc::clone(reason) }),
            None => Ok(()),
        }
    }

    /// Fails when somebody has removed the lock's file: another process may have taken a lock of the same name since.
    fn check_lock(&self) -> Result<(), JournalError> {
        let lock = self.lock.lock().expect("no code panics while holding the lock file");
        if lock.as_ref().is_none_or(|lock| lock.is_in_place(&self.config.dir)) {
            return Ok(());
        }
        let dir = self.config.dir.display();
        let reason =
            format!("the file LOCK in {dir} was removed while this process held it; another may be writing there");
        Err(JournalError::Poisoned { reason: reason.into() })
    }

    /// Stops the journal for good: nothing is acknowledged any more, and readers that wait are told.
    fn poison(&self, reason: &Arc<str>) {
        if self.poison.set(Arc::clone(reason)).is_ok() {
            tracing::error!(%reason, "the journal stops: what is on disk is no longer certain; start the program again");
        }
        for partition in &self.partitions {
            partition.poisoned(reason);
        }
    }

    /// Checks the records and sorts them by partition.
    fn split(&self, records: Vec<Record>) -> Result<Vec<Part>, JournalError> {
        let mut parts: Vec<Part> = Vec::new();
        for (place, record) in records.into_iter().enumerate() {
            record.check(self.config.partitions, self.config.record_bytes_max)?;
            let index = parts.binary_search_by_key(&record.partition, |part| part.partition).unwrap_or_else(|index| {
                parts.insert(
                    index,
                    Part { partition: record.partition, places: Vec::new(), records: Vec::new(), weight: 0 },
                );
                index
            });
            let part = &mut parts[index];
            part.weight += record.weight();
            if part.weight > APPEND_BYTES_MAX {
                return Err(JournalError::TooLarge { bytes: part.weight, bytes_max: APPEND_BYTES_MAX });
            }
            part.places.push(place);
            part.records.push(record);
        }
        Ok(parts)
    }

    /// Compresses what has got its space in the queues.
    fn prepare(&self, reserved: Vec<(Part, queue::Space)>) -> Vec<(u32, Vec<usize>, Job, Reply)> {
        let mut prepared = Vec::with_capacity(reserved.len());
        for (Part { partition, places, records, weight }, space) in reserved {
            let frame = |record: Record| {
                let frame = self.codecs.prepare(&record.header, &record.value);
                Waiting::new(record, frame)
            };
            let records = records.into_iter().map(frame).collect();
            let (reply, answer) = oneshot::channel();
            prepared.push((partition, places, Job { records, weight, space, reply }, answer));
        }
        prepared
    }
}

/// Waits for the answers of all partitions, also after one has failed: an error then means that nothing is in flight.
async fn collect(waiting: Vec<(u32, Vec<usize>, Reply)>) -> Result<Vec<Position>, JournalError> {
    let records = waiting.iter().map(|(_, places, _)| places.len()).sum();
    let mut positions = vec![Position { partition: 0, offset: 0 }; records];
    let mut failed = None;
    for (partition, places, reply) in waiting {
        // A writer thread that ends without an answer has panicked, and has poisoned the journal.
        match reply.await.unwrap_or(Err(JournalError::Closed)) {
            Ok(first) => {
                for (place, offset) in places.into_iter().zip(first..) {
                    positions[place] = Position { partition, offset };
                }
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(positions), Err)
}

/// Runs what blocks on a thread for it. The only failure besides a panic is a runtime that is shutting down.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JournalError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(JournalError::Closed),
    }
}

impl std::fmt::Debug for EmbeddedJournal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EmbeddedJournal").field("dir", &self.shared.config.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
