//! One process per data directory: an advisory lock on a file that names the holder.
//!
//! The system drops the lock when the process ends, however it ends, so there is no stale lock to clean up by hand.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::StoreError;
use crate::durable::make_directories;

/// Name of the file in the directory of a store.
pub const LOCK: &str = "LOCK";
/// Name of the file in the data directory of a process, which may be that of its store, too.
const PROCESS: &str = "PROCESS";

/// Held as long as it lives.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the lock of `dir`, or says which process has it.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        Self::take_as(dir, LOCK)
    }

    /// Takes the data directory of a whole process, whatever it keeps there; makes it when it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] with the process that has it, or [`StoreError::Io`].
    pub fn of_process(dir: &Path) -> Result<Self, StoreError> {
        make_directories(dir).map_err(|error| StoreError::io("cannot make", dir, error, 0))?;
        Self::take_as(dir, PROCESS)
    }

    fn take_as(dir: &Path, name: &str) -> Result<Self, StoreError> {
        let path = dir.join(name);
        let io = |error| StoreError::io("cannot lock", &path, error, 0);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { path: dir.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        // The pid is for people only; a full disk must not keep the directory from being opened for reading it.
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "cannot write the process id into the lock file");
        }
        Ok(Self { file })
    }

    /// The same for somebody who changes nothing, the lock's own file included: that may be on a file system that cannot be written to.
    /// `None` where nobody has ever taken the lock.
    pub fn take_to_check(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(LOCK);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("cannot read", &path, error, 0)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: dir.to_owned(), pid: holder(&mut file) }),
            Err(TryLockError::Error(error)) => Err(StoreError::io("cannot lock", &path, error, 0)),
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file would be enough, but for a child process that was forked and has not yet called exec: it
        // shares the lock for that moment.
        let _ = self.file.unlock();
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let pid = text.trim();
    if read.is_err() || pid.is_empty() { "unknown".to_owned() } else { pid.to_owned() }
}
