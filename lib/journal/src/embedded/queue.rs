//! The queue between appends and the writer thread of a partition: bounded in bytes, first come first served.
//!
//! Space is reserved before anything is queued, so that a caller who gives up while waiting leaves nothing behind, and
//! an append over several partitions is queued everywhere without waiting in between.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::codec::Prepared;
use crate::error::JournalError;
use crate::journal::{Header, Record};

/// One record on its way to the disk.
pub(super) struct Waiting {
    pub prepared: Prepared,
    pub header: Header,
    pub value: bytes::Bytes,
}

/// The records of one append that go to one partition; kept together in one group.
pub(super) struct Job {
    pub records: Vec<Waiting>,
    /// Bytes for the group's limit.
    pub weight: usize,
    /// The space in the queue, given back when the job is answered.
    pub space: Space,
    /// Told the offset of the first record.
    pub reply: oneshot::Sender<Result<u64, JournalError>>,
}

/// Reserved space; gives itself back.
pub(super) struct Space {
    _permit: OwnedSemaphorePermit,
    bytes: i64,
    gauge: Gauge,
}

impl Drop for Space {
    fn drop(&mut self) {
        self.gauge.dec_by(self.bytes);
    }
}

pub(super) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
    space: Arc<Semaphore>,
    capacity: u32,
    gauge: Gauge,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// `capacity` in bytes; `gauge` shows what is reserved, over all queues that share it.
    pub(super) fn new(capacity: usize, gauge: Gauge) -> Self {
        let capacity = u32::try_from(capacity).expect("the configuration limits a queue to 1 GiB");
        let space = Arc::new(Semaphore::new(capacity as usize));
        Self { inner: Mutex::default(), ready: Condvar::new(), space, capacity, gauge }
    }

    /// Waits for space. What is larger than the whole queue waits until the queue is empty.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<Space, JournalError> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity);
        let permit = Arc::clone(&self.space).acquire_many_owned(wanted).await.map_err(|_| JournalError::Closed)?;
        let bytes = bytes as i64;
        self.gauge.inc_by(bytes);
        Ok(Space { _permit: permit, bytes, gauge: self.gauge.clone() })
    }

    /// Hands a job to the writer thread; its answer comes through `reply`.
    pub(super) fn push(&self, job: Job) -> Result<(), JournalError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(JournalError::Closed);
        }
        inner.jobs.push_back(job);
        drop(inner);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes as many as fit into `bytes_max`, at least one; `None` when the queue is closed and
    /// empty.
    pub(super) fn next_group(&self, bytes_max: usize) -> Option<Vec<Job>> {
        let mut inner = self.lock();
        while inner.jobs.is_empty() {
            if inner.closed {
                return None;
            }
            inner = self.ready.wait(inner).expect("no code panics while holding a queue");
        }
        let mut left = bytes_max;
        let mut group = Vec::new();
        while let Some(job) = inner.jobs.front() {
            if !group.is_empty() && job.weight > left {
                break;
            }
            left = left.saturating_sub(job.weight);
            group.extend(inner.jobs.pop_front());
        }
        Some(group)
    }

    /// Refuses everything from now on; what is queued is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.space.close();
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while holding a queue")
    }
}

impl Waiting {
    pub(super) fn new(record: Record, prepared: Prepared) -> Self {
        Self { prepared, header: record.header, value: record.value }
    }
}
