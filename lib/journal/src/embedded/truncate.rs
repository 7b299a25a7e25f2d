//! Removing segments that nobody needs any more. Blocks.
//!
//! Oldest first, and each removal is made durable before the next one begins: whatever a loss of power leaves, the
//! files that are there follow one another without a gap. (A pointer to the oldest file, written ahead, would do it
//! with one sync less, but on a full disk it could not be written, just when removing is what helps.)

use super::Shared;
use super::files;
use crate::error::JournalError;

/// Removes what `offset` and the retention allow.
pub(super) fn truncate_before(shared: &Shared, partition: u32, offset: u64) -> Result<(), JournalError> {
    let config = &shared.config;
    let partition = &shared.partitions[partition as usize];
    let retention_ns = i64::try_from(config.retention.as_nanos()).unwrap_or(i64::MAX);
    let _alone = partition.truncating.lock().expect("no code panics while removing segments");
    while let Some(sealed) = partition.take_removable(offset, retention_ns, config.retained_bytes_max) {
        if let Err(error) = files::remove(&sealed.path) {
            partition.put_back(sealed);
            return Err(error);
        }
        // What was kept of its end goes with it.
        let _ = files::remove(&files::damaged_path(&sealed.path));
        if let Err(error) = files::sync_dir(&partition.dir) {
            if let JournalError::Poisoned { reason } = &error {
                shared.poison(reason);
            }
            return Err(error);
        }
        tracing::debug!(path = %sealed.path.display(), next_offset = sealed.next_offset, "removed a journal segment");
    }
    Ok(())
}
