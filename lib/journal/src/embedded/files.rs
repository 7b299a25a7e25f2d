//! The few file operations that the journal is made of, with their errors told apart. Everything here blocks.
//!
//! New files appear whole: written under another name, synced, renamed, and the directory synced. Files are 0600 and
//! directories 0700, because telemetry can hold personal data.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::JournalError;

/// Suffix of what was found damaged and kept for a person to look at.
pub(super) const DAMAGED_SUFFIX: &str = ".damaged";

/// Suffix of files that are not finished; left by a crash, they are removed at the next start.
pub(super) const UNFINISHED_SUFFIX: &str = ".tmp";

/// An error of the operating system as the caller should treat it.
pub(super) fn io_error(doing: &'static str, path: &Path, error: io::Error) -> JournalError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            JournalError::Full { path: path.into() }
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => JournalError::ReadOnly { path: path.into() },
        _ => JournalError::Io { doing, path: path.into(), source: Arc::new(error) },
    }
}

/// Makes a directory and its missing parents, and makes their names durable.
pub(super) fn make_dir(path: &Path) -> Result<(), JournalError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| io_error("create", path, error))?;
    for dir in missing {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), JournalError> {
    let dir = File::open(path).map_err(|error| io_error("open the directory", path, error))?;
    dir.sync_all().map_err(|error| poisoned("sync the directory", path, &error))
}

/// An error after which nobody knows what is on disk: a sync that failed, whatever the reason, or a write that the
/// device refused.
pub(super) fn poisoned(doing: &str, path: &Path, error: &io::Error) -> JournalError {
    JournalError::Poisoned { reason: format!("failed to {doing} {}: {error}", path.display()).into() }
}

/// Creates `path` with this content, whole and durable, in place of what may be there. Returns the open file.
pub(super) fn create_whole(path: &Path, content: &[u8]) -> Result<File, JournalError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED_SUFFIX);
    let unfinished = PathBuf::from(unfinished);
    let created = write_new(&unfinished, content).and_then(|file| {
        std::fs::rename(&unfinished, path).map(|()| file).map_err(|error| io_error("rename into place", path, error))
    });
    if created.is_err() {
        // What is left of it takes space and is removed at the next start anyway.
        let _ = std::fs::remove_file(&unfinished);
    }
    let file = created?;
    sync_dir(path.parent().expect("a file of the journal lies in a directory"))?;
    Ok(file)
}

/// The name under which something damaged is kept.
pub(super) fn damaged_path(path: &Path) -> PathBuf {
    let mut kept = path.as_os_str().to_owned();
    kept.push(DAMAGED_SUFFIX);
    PathBuf::from(kept)
}

/// Puts a file out of the way, to be kept under another name.
pub(super) fn keep_as_damaged(path: &Path) -> Result<PathBuf, JournalError> {
    let kept = damaged_path(path);
    std::fs::rename(path, &kept).map_err(|error| io_error("rename", path, error))?;
    sync_dir(path.parent().expect("a file of the journal lies in a directory"))?;
    Ok(kept)
}

/// Writes a file that only its owner may read, in place of what may be there.
pub(super) fn write_owned(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(content)
}

/// Opens an existing file for reading and writing.
pub(super) fn open_existing(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new().read(true).write(true).open(path).map_err(|error| io_error("open", path, error))
}

/// Reads exactly `len` bytes at `position`.
pub(super) fn read_at(file: &File, path: &Path, position: u64, len: usize) -> Result<Vec<u8>, JournalError> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, position).map_err(|error| io_error("read", path, error))?;
    Ok(bytes)
}

/// The whole content of a file.
pub(super) fn read_whole(path: &Path) -> Result<Vec<u8>, JournalError> {
    std::fs::read(path).map_err(|error| io_error("read", path, error))
}

/// The length of an open file.
pub(super) fn length(file: &File, path: &Path) -> Result<u64, JournalError> {
    file.metadata().map(|metadata| metadata.len()).map_err(|error| io_error("examine", path, error))
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<(), JournalError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path, error)),
        _ => Ok(()),
    }
}

/// The lock of a journal directory. It ends with this value, and with the process however that ends.
pub(super) struct DirLock(File);

impl DirLock {
    /// Whether the lock's file is still the one at its path. When somebody has removed it, another process can take a new one.
    pub(super) fn is_in_place(&self, dir: &Path) -> bool {
        let there = std::fs::metadata(dir.join("LOCK"));
        let held = self.0.metadata();
        matches!((there, held), (Ok(there), Ok(held)) if (there.dev(), there.ino()) == (held.dev(), held.ino()))
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing the file would do, but for a child process that has just been forked and has not closed its copy yet.
        let _ = self.0.unlock();
    }
}

/// Takes the lock of a journal directory for this process.
pub(super) fn lock_dir(dir: &Path) -> Result<DirLock, JournalError> {
    let path = dir.join("LOCK");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(|error| io_error("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(JournalError::InUse { path: dir.into(), pid: holder.trim().parse().ok() });
        }
        Err(TryLockError::Error(error)) => return Err(io_error("lock", &path, error)),
    }
    // The number is for people; the lock itself holds without it, on a full disk too.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(DirLock(file))
}

/// The same for somebody who changes nothing, the lock's own file included: that may be on a file system that cannot be written to.
/// `None` where nobody has ever taken the lock.
pub(super) fn lock_dir_to_check(dir: &Path) -> Result<Option<DirLock>, JournalError> {
    let path = dir.join("LOCK");
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", &path, error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(DirLock(file))),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            Err(JournalError::InUse { path: dir.into(), pid: holder.trim().parse().ok() })
        }
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path, error)),
    }
}

fn write_new(path: &Path, content: &[u8]) -> Result<File, JournalError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path).map_err(|error| io_error("create", path, error))?;
    file.write_all_at(content, 0).map_err(|error| io_error("write", path, error))?;
    file.sync_all().map_err(|error| poisoned("sync", path, &error))?;
    Ok(file)
}
