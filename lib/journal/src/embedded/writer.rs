//! The writer thread of a partition: takes what has queued up while the last group was being synced, writes and syncs
//! it as one group, makes it visible, and answers everybody who waits for it.
//!
//! There is no waiting for a fuller group. While the disk is slower than the appends, groups fill by themselves during
//! the sync before; while it is faster, waiting would only delay the answer.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Shared;
use super::end_mark::MarkFile;
use super::partition::{Partition, Sealed};
use super::queue::{Job, Space};
use super::recover::Recovered;
use super::segment::{ActiveSegment, GroupFrame};
use super::superblock::SegmentBlock;
use crate::error::JournalError;
use crate::journal::Stored;

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    partition: u32,
    journal_id: u128,
    active: Option<ActiveSegment>,
    next_offset: u64,
    /// Says how far the partition is on disk.
    end: MarkFile,
    /// The last group was refused; the next one that is kept is worth a line.
    refusing: bool,
}

/// Whom to answer when the group is done.
struct Waiter {
    records: u64,
    value_bytes: u64,
    reply: oneshot::Sender<Result<u64, JournalError>>,
    space: Space,
}

/// What has to happen however the thread ends: nobody may wait for it any more.
struct Ending<'a> {
    shared: &'a Shared,
    partition: &'a Partition,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.poison(&"a writer thread of the journal panicked".into());
            self.partition.queue.close();
            // Dropping a job answers its append.
            while self.partition.queue.next_group(usize::MAX).is_some() {}
        }
        self.partition.closed();
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, partition: u32, journal_id: u128, recovered: Recovered) -> Self {
        let Recovered { active, next_offset, end, .. } = recovered;
        if let Some(segment) = &active {
            shared.partitions[partition as usize].show(segment);
        }
        Self { shared, partition, journal_id, active, next_offset, end, refusing: false }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let partition = &shared.partitions[self.partition as usize];
        let _ending = Ending { shared: &shared, partition };
        while let Some(jobs) = partition.queue.next_group(shared.config.group_commit_bytes) {
            self.commit(partition, jobs);
        }
        // A sync after one that failed would tell nothing.
        if shared.check_poison().is_ok()
            && let Some(Err(error)) = self.active.as_mut().map(ActiveSegment::settle)
        {
            self.take_note(&error);
        }
    }

    fn commit(&mut self, partition: &Partition, jobs: Vec<Job>) {
        let first_offset = self.next_offset;
        let (mut frames, records, waiters) = split(jobs, first_offset);
        match self.write(partition, &mut frames) {
            Ok(()) => {
                let segment = self.active.as_ref().expect("a group was just written to it");
                self.next_offset = segment.summary.next_offset;
                partition.publish(records, segment);
                self.answer(waiters, first_offset);
            }
            Err(error) => {
                self.take_note(&error);
                for waiter in waiters {
                    drop(waiter.space);
                    // Nobody listens when the caller gave up.
                    let _ = waiter.reply.send(Err(error.clone()));
                }
            }
        }
    }

    fn write(&mut self, partition: &Partition, frames: &mut [GroupFrame]) -> Result<(), JournalError> {
        self.shared.check_poison()?;
        let group_bytes: u64 = frames.iter().map(|frame| frame.prepared.len() as u64).sum();
        self.make_room(partition, group_bytes)?;
        let segment = self.active.as_mut().expect("make_room leaves a segment to write to");
        segment.write_group(frames)?;
        self.end.set(segment.summary.base_offset, segment.durable_len(), segment.summary.next_offset);
        // Before anybody is answered: what another process writes or cuts off here is nothing to build on.
        self.shared.check_lock()
    }

    /// Sees to it that there is a segment, and that it is not full.
    fn make_room(&mut self, partition: &Partition, group_bytes: u64) -> Result<(), JournalError> {
        let limit = self.shared.config.segment_bytes;
        let full = |segment: &ActiveSegment| segment.summary.records() > 0 && segment.len() + group_bytes > limit;
        if let Some(mut segment) = self.active.take_if(|segment| full(segment)) {
            let footer_position = match segment.seal() {
                Ok(position) => position,
                Err(error) => {
                    self.active = Some(segment);
                    return Err(error);
                }
            };
            partition.sealed(Sealed {
                footer_position,
                base_offset: segment.summary.base_offset,
                next_offset: segment.summary.next_offset,
                received_ns_max: segment.summary.received_ns_max,
                salt: segment.salt,
                path: segment.path,
                is_damaged: false,
            });
        }
        if self.active.is_none() {
            let block = SegmentBlock {
                partition: self.partition,
                base_offset: self.next_offset,
                journal_id: self.journal_id,
                salt: super::identity::random_u64(),
            };
            let segment = ActiveSegment::create(&partition.dir, block, self.shared.metrics.fsync_seconds.clone())?;
            partition.show(&segment);
            self.active = Some(segment);
        }
        Ok(())
    }

    fn answer(&mut self, waiters: Vec<Waiter>, first_offset: u64) {
        if std::mem::take(&mut self.refusing) {
            tracing::info!(partition = self.partition, "the journal takes records again");
        }
        let mut offset = first_offset;
        for waiter in waiters {
            self.shared.metrics.append_bytes.inc_by(waiter.value_bytes);
            drop(waiter.space);
            // Nobody listens when the caller gave up; the records are kept all the same.
            let _ = waiter.reply.send(Ok(offset));
            offset += waiter.records;
        }
    }

    /// Says it once, not with every group, and stops the journal when it must.
    fn take_note(&mut self, error: &JournalError) {
        if let JournalError::Poisoned { reason } = error {
            self.shared.poison(reason);
        } else if !std::mem::replace(&mut self.refusing, true) {
            tracing::error!(partition = self.partition, %error, "the journal refuses records");
        }
    }
}

/// Takes jobs apart into what is written, what readers get, and who waits.
fn split(jobs: Vec<Job>, first_offset: u64) -> (Vec<GroupFrame>, Vec<Arc<Stored>>, Vec<Waiter>) {
    let mut frames = Vec::new();
    let mut records = Vec::new();
    let mut waiters = Vec::with_capacity(jobs.len());
    for Job { records: waiting, space, reply, .. } in jobs {
        let count = waiting.len() as u64;
        let mut value_bytes = 0;
        for (record, offset) in waiting.into_iter().zip(first_offset + frames.len() as u64..) {
            value_bytes += record.value.len() as u64;
            frames.push(GroupFrame { prepared: record.prepared, received_ns: record.header.received_ns });
            records.push(Arc::new(Stored { offset, header: record.header, value: record.value }));
        }
        waiters.push(Waiter { records: count, value_bytes, reply, space });
    }
    (frames, records, waiters)
}
