//! A data folder belongs to one process, whatever the roles of that process keep there.
//!
//! A journal and a store in files, and what the judge keeps, are locked by themselves as well. With a journal on Kafka and a store in a
//! bucket there may be nothing of that in the folder: two processes in it would start, and stand in each other's way with the first role
//! that is added.

use std::path::Path;

use anyhow::bail;
use shipwake_store::{DirectoryLock, StoreError};
use tracing::warn;

/// Takes the folder for as long as the process runs. `None` where it cannot be locked at all, for example on a file system that is only
/// read: what has to be kept there says so itself.
///
/// # Errors
/// When another process has it.
pub fn take(data: &Path) -> anyhow::Result<Option<DirectoryLock>> {
    match DirectoryLock::of_process(data) {
        Ok(lock) => Ok(Some(lock)),
        Err(StoreError::InUse { path, pid }) => bail!(
            "the data folder {} is in use by process {pid}: every process needs one of its own (another folder: --data)",
            path.display()
        ),
        Err(error) => {
            warn!(%error, "the data folder cannot be locked: going on, as far as nothing has to be kept there");
            Ok(None)
        }
    }
}
