//! The trait that every journal implements, and the values that go in and come out. The doc comment of [`Journal`] is
//! the contract: stages rely on it and on nothing else, and `conformance` tests it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use shipwake_model::Signal;

use crate::error::JournalError;

/// Longest name of a tenant, in bytes.
pub const TENANT_BYTES_MAX: usize = 1024;

/// What is known about a record without decoding its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose record it is; `default` where there is one tenant. At most [`TENANT_BYTES_MAX`].
    pub tenant: Arc<str>,
    /// What the value is: an export request of this signal.
    pub signal: Signal,
    /// When it was received, nanoseconds since 1970 UTC.
    pub received_ns: i64,
    /// How many telemetry records the value holds.
    pub records: u32,
    /// Earliest event time in the value, nanoseconds since 1970 UTC.
    pub time_min_ns: i64,
    /// Latest event time in the value, nanoseconds since 1970 UTC.
    pub time_max_ns: i64,
    /// Identifies a request that a client may send again; `None` is never taken for a repetition. The journal stores it
    /// and does not look at it: recognising repetitions is the reader's work.
    pub request_hash: Option<u128>,
}

/// A record to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it belongs, below [`Journal::partitions`].
    pub partition: u32,
    /// What is known about the value.
    pub header: Header,
    /// The bytes to keep; may be empty. The journal keeps a reference for as long as the record is among the newest, so
    /// a small slice of a large buffer should be copied first: it would keep the large one alive.
    pub value: Bytes,
}

/// A record as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the partition.
    pub offset: u64,
    /// As it was appended.
    pub header: Header,
    /// As it was appended.
    pub value: Bytes,
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The offset in the partition.
    pub offset: u64,
}

/// A durable, ordered, partitioned sequence of records.
///
/// # Offsets and order
/// Every partition numbers its records 0, 1, 2, … without gaps; an offset is never given to two acknowledged records,
/// and a record's offset never changes. Records of one `append` that go to the same partition get consecutive offsets
/// in the order given. An append that begins after another has returned gets higher offsets. Between partitions there
/// is no order.
///
/// # Durability
/// When [`append`](Journal::append) returns `Ok`, all its records survive the end of the process and the loss of power.
/// A record becomes visible to [`read`](Journal::read) and counts in [`end`](Journal::end) only when it is durable, and
/// at the latest when its append returns. A reader therefore never acts on a record that a restart could take away.
///
/// # Atomicity and errors of an append
/// All records or an error. For each partition by itself it is all or nothing as long as the process runs; after a
/// crash of the process, or of the brokers that keep the records, a first part of an append that was *not* acknowledged may
/// be there. An append over several partitions may
/// fail in one and succeed in another. So an error means "not acknowledged", never "certainly absent": the caller
/// reports failure, and a retry is recognised by its `request_hash`. Some errors say more ([`JournalError::TooLarge`],
/// [`JournalError::NoPartition`]: nothing was kept; [`JournalError::Full`], [`JournalError::ReadOnly`]: nothing was
/// kept in that partition). After [`JournalError::Poisoned`] every later append fails the same way, and a reader that
/// would have to wait gets it too: the program must end and start again.
///
/// # Cancellation
/// Dropping the future of an `append` takes nothing back: the records may become durable and visible, or not. It never
/// leaves a part of them behind in a partition. Dropping a `read` has no effect at all.
///
/// # Waiting and bounds
/// `append` waits while the journal's queue is full (it is bounded in bytes); the caller sets the deadline by dropping
/// the future. `read` waits until there is a record at `from`. Neither holds a lock while it waits.
///
/// # Who may keep what
/// The journal keeps a reference to each value until newer ones have pushed it out of a bounded cache. Readers share
/// records with the journal through `Arc` and may keep them for as long as they like; that memory is then theirs.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// How many partitions there are: fixed while the journal is open, at least 1.
    fn partitions(&self) -> u32;

    /// Appends all records and returns their positions, in the order given, when they are durable. An empty list is
    /// answered at once.
    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, JournalError>;

    /// Returns records of `partition` from offset `from` on: consecutive, in order, at least one, and no more than fit
    /// into `max_bytes` of values (the first is returned whatever its size). Waits while `from` is the end; then fails
    /// with [`JournalError::Closed`] or [`JournalError::Poisoned`] if that becomes the journal's state. Records that
    /// are there can be read after `close`.
    ///
    /// Fails with [`JournalError::OffsetGone`] below the oldest record, [`JournalError::Lost`] where somebody else removed
    /// records that `truncate_before` was not called for, [`JournalError::OffsetAhead`] beyond the end, and [`JournalError::Damaged`] where the stored bytes are not what was written: a bad record is never skipped.
    async fn read(&self, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Arc<Stored>>, JournalError>;

    /// The offset that the next record of `partition` will get, counting durable records only. 0 for a partition that
    /// does not exist.
    fn end(&self, partition: u32) -> u64;

    /// Says that records below `offset` are no longer needed. The journal removes what it can of them, whole files at a
    /// time, and may keep any of them for longer. Records at or above `offset` are never removed. Call it only after
    /// what was made of the records is itself durable.
    async fn truncate_before(&self, partition: u32, offset: u64) -> Result<(), JournalError>;

    /// Says that nobody reads `partition` in this process any more: what was read ahead of it is forgotten, and no more is read
    /// ahead until somebody asks again.
    fn release(&self, _partition: u32) {}

    /// Refuses further appends, finishes those that are in flight, and returns when everything is on disk and the
    /// journal can be opened by somebody else. Closing twice is allowed.
    async fn close(&self) -> Result<(), JournalError>;

    /// The largest value of a record, in bytes. Fixed while the journal is open.
    fn record_bytes_max(&self) -> usize;

    /// The random number of a journal whose files belong to this program alone: positions are of this journal and no other, and what
    /// is missing in it is a loss. `None` where others keep the records, and remove them when their time is over.
    fn id(&self) -> Option<u128> {
        None
    }

    /// What was found damaged or gone when the journal was opened, in words for a person.
    fn damage(&self) -> Vec<String> {
        Vec::new()
    }

    /// What keeps the journal from taking or giving records at this moment, in words for a person; nothing while it works.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Record {
    /// Fails for a record that no journal with so many partitions and this largest value accepts.
    pub(crate) fn check(&self, partitions: u32, value_bytes_max: usize) -> Result<(), JournalError> {
        if self.partition >= partitions {
            return Err(JournalError::NoPartition { partition: self.partition, partitions });
        }
        for (bytes, bytes_max) in [(self.value.len(), value_bytes_max), (self.header.tenant.len(), TENANT_BYTES_MAX)] {
            if bytes > bytes_max {
                return Err(JournalError::TooLarge { bytes, bytes_max });
            }
        }
        Ok(())
    }

    /// Size for limits and budgets, in bytes: the value, and what a header takes at most.
    pub fn weight(&self) -> usize {
        self.value.len() + HEADER_WEIGHT
    }
}

/// What a record costs in memory besides its value: `Header`, `Arc`s and their counts, rounded up. Keeps queues and
/// caches of tiny records bounded too.
pub(crate) const HEADER_WEIGHT: usize = 192;
