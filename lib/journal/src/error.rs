//! What can go wrong with a journal, told apart by what the caller does about it.
//!
//! Errors are `Clone` because one failed group commit answers many waiting appends.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// An error of a journal. [`JournalError::retryable`] says what to tell the sender, [`JournalError::must_stop`] whether
/// the program can go on with this journal.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Bytes on disk are not what was written, in a place that held acknowledged records. Nothing was changed: the file
    /// is as it was found. A person has to decide.
    #[error("journal is damaged: {reason} (file {}, byte {offset})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file the first bad frame starts, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The directory was written by a newer version, or for another configuration, and must not be touched.
    #[error("journal cannot be opened: {reason} ({})", path.display())]
    Incompatible {
        /// The file or directory.
        path: PathBuf,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// Another process has this directory open.
    #[error("journal directory {} is in use{}", path.display(), pid.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    InUse {
        /// The journal directory.
        path: PathBuf,
        /// The process that holds the lock, if it left its number.
        pid: Option<u32>,
    },
    /// No space (or no quota) for these records. None of them was kept in the partition that was full; the journal goes
    /// on working when space comes back.
    #[error("no space left for the journal in {}", path.display())]
    Full {
        /// The file or directory that could not grow.
        path: PathBuf,
    },
    /// The file system is read-only, or the directory does not allow writing.
    #[error("journal is not writable: {}", path.display())]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
    },
    /// Another error of the operating system. The records may or may not have been kept.
    #[error("failed to {doing} {}", path.display())]
    Io {
        /// What was being done: a verb phrase that the path completes.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: Arc<io::Error>,
    },
    /// A sync failed, so nobody knows any more what is on disk, and asking again would not tell (the kernel drops the
    /// pages it could not write). Nothing is acknowledged from then on; the program has to end and recover from disk.
    #[error("journal stopped after a failed sync: {reason}")]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The journal takes nothing at the moment: its brokers do not answer, a partition has no leader, or something that it
    /// needs is missing. If the records had been handed over already, they may be kept all the same.
    #[error("the journal takes nothing at the moment: {reason}")]
    Unavailable {
        /// What is wrong, in words for a person.
        reason: Arc<str>,
    },
    /// A record's value (or its tenant's name) is larger than the journal accepts. Nothing was appended.
    #[error("record with {bytes} bytes is larger than the limit of {bytes_max} bytes")]
    TooLarge {
        /// The size of the value.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A record or a call names a partition that does not exist. Nothing was appended.
    #[error("partition {partition} does not exist: the journal has {partitions}")]
    NoPartition {
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The journal was closed, or is being closed. An append over several partitions that met the closing half-way may
    /// have been kept in some of them.
    #[error("journal is closed")]
    Closed,
    /// Records at the offset asked for have been removed by `truncate_before`.
    #[error("offset {from} is gone: the oldest is {oldest}")]
    OffsetGone {
        /// The offset asked for.
        from: u64,
        /// The first offset that can still be read.
        oldest: u64,
    },
    /// Records were removed by somebody else before they were read: a retention that was too short, or a person. They
    /// cannot be had any more; whoever goes on at `oldest` has to say what is missing.
    #[error(
        "{} records of partition {partition} are lost: offset {from} is wanted and the oldest that is there is {oldest}",
        oldest - from
    )]
    Lost {
        /// The partition.
        partition: u32,
        /// The offset asked for, and the first that is missing.
        from: u64,
        /// The first offset that can be read.
        oldest: u64,
    },
    /// The offset asked for lies beyond the end: whoever asks remembers records that this journal does not have.
    #[error(
        "offset {from} lies beyond the end {end} of the journal: it is not the journal that this position came from"
    )]
    OffsetAhead {
        /// The offset asked for.
        from: u64,
        /// The next offset to be assigned.
        end: u64,
    },
}

impl JournalError {
    /// Whether a sender whose records were refused with this error may send them again later with a chance of success
    /// (to this process or to the one that takes over). An error that is retryable does not promise that nothing was
    /// kept: the sender's retry is recognised by [`crate::Header::request_hash`].
    pub fn retryable(&self) -> bool {
        match self {
            Self::Full { .. }
            | Self::ReadOnly { .. }
            | Self::Io { .. }
            | Self::Poisoned { .. }
            | Self::Unavailable { .. }
            | Self::Closed => true,
            Self::Damaged { .. }
            | Self::Incompatible { .. }
            | Self::InUse { .. }
            | Self::TooLarge { .. }
            | Self::NoPartition { .. }
            | Self::OffsetGone { .. }
            | Self::Lost { .. }
            | Self::OffsetAhead { .. } => false,
        }
    }

    /// Whether the program must end because of it: this journal will acknowledge nothing more, or its content cannot be
    /// trusted.
    pub fn must_stop(&self) -> bool {
        matches!(self, Self::Poisoned { .. } | Self::Damaged { .. } | Self::Incompatible { .. } | Self::InUse { .. })
    }
}
