//! Everything that can go wrong in the store, by what the caller does about it.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the store. [`StoreError::retryable`] says whether trying again later can help without a restart.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory open. Fault of the operator: stop that process or choose another directory.
    #[error("data directory {path} is in use by process {pid}", path = path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The process that holds the lock, or `unknown`.
        pid: String,
    },
    /// The disk has no room. Nothing of the failed commit is visible; it works again once there is space.
    #[error("no space left for {path} ({needed} bytes needed)", path = path.display())]
    Full {
        /// The file or directory that was to be written.
        path: PathBuf,
        /// How many bytes were to be written.
        needed: u64,
    },
    /// The directory cannot be written: a read-only mount, or missing rights.
    #[error("cannot write to {path}: {source}", path = path.display())]
    ReadOnly {
        /// The file or directory that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Our own data is not what was written. The shard must not go on; nothing is skipped silently.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory was written by a version that this one cannot read.
    #[error(
        "{path} has format version {found}, this version of shipwake reads up to {known}: use a newer shipwake",
        path = path.display()
    )]
    TooNew {
        /// The file that names the version.
        path: PathBuf,
        /// The version that a reader must understand.
        found: u32,
        /// The newest version that this reader understands.
        known: u32,
    },
    /// The directory uses features that this version does not know.
    #[error(
        "{path} needs features that this version of shipwake does not know (bits {bits:#x}): use a newer shipwake",
        path = path.display()
    )]
    Features {
        /// The file that names the features.
        path: PathBuf,
        /// The bits that are not known.
        bits: u64,
    },
    /// Another writer has committed to the shard. Drop all state of the shard and open it again.
    #[error("another writer has committed sequence {seq} of shard {shard}")]
    Fenced {
        /// The shard.
        shard: u32,
        /// The sequence number that was lost.
        seq: u64,
    },
    /// The manifest was written and the disk did not confirm it. Go on neither with the old state nor with the new: end
    /// the process, and truncate no journal.
    #[error("whether sequence {seq} of shard {shard} was committed is not known: {source}")]
    InDoubt {
        /// The shard.
        shard: u32,
        /// The sequence number.
        seq: u64,
        /// What went wrong.
        source: Box<StoreError>,
    },
    /// The caller handed in rows that do not have the table's schema. A bug of the caller.
    #[error("rows for table {table} do not fit its schema: {reason}")]
    Rows {
        /// The table.
        table: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The object store is not one that a store can be in. Fault of the operator: another server, bucket or credentials.
    #[error("the store cannot be at {place}: {reason}")]
    Unsuitable {
        /// What a person calls the place.
        place: String,
        /// Why.
        reason: String,
    },
    /// There is no store yet where one is to be read. Whoever folds makes it; look again in a moment.
    #[error("there is no store at {place} yet: the first process that folds makes it")]
    NotYet {
        /// What a person calls the place.
        place: String,
    },
    /// A segment is not there any more, where other processes drop segments: take a new snapshot and read again. If it is missing
    /// then too, it is lost.
    #[error("{path} is missing, and a manifest lists it", path = path.display())]
    Gone {
        /// The segment.
        path: PathBuf,
    },
    /// The configuration cannot work.
    #[error("store configuration: {0}")]
    Config(String),
    /// The system refused an operation for another reason.
    #[error("{operation} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the same call can succeed later, with nothing but time or a person's help in between.
    pub fn retryable(&self) -> bool {
        matches!(self, StoreError::Full { .. } | StoreError::ReadOnly { .. })
    }

    /// The error of an operation on a file, told apart by what the caller can do.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error, needed: u64) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path, needed },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                StoreError::ReadOnly { path, source }
            }
            _ => StoreError::Io { operation, path, source },
        }
    }

    pub(crate) fn damaged(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        StoreError::Damaged { path: path.into(), reason: reason.into() }
    }
}
