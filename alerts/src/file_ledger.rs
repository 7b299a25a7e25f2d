//! A ledger in a folder of the local disk: numbered files that are created once and never change; the highest number counts.
//!
//! Relies on hard links, which fail when the name is taken, on a lock that ends with its process, and on `fsync` of file and
//! folder. Bytes are described in `alerts/FORMAT.md`. Never removes the newest state or the one before it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::LedgerError;
use crate::ledger::Ledger;

/// States that stay: the newest, and the one before it for a person who has to repair by hand.
const KEPT: u64 = 2;

/// See the module. Dropping it gives the folder free.
#[derive(Debug)]
pub struct FileLedger {
    dir: PathBuf,
    /// The number of the next state.
    next: u64,
    _lock: File,
}

impl FileLedger {
    /// Takes a folder; makes it when it is not there.
    ///
    /// # Errors
    /// When another process has it, or it cannot be used.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| LedgerError::Io { doing, path, source }
        };
        fs::create_dir_all(dir).map_err(failed("make the folder", dir))?;
        let path = dir.join("lock");
        let lock = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let lock = lock.map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent).map_err(failed("sync the folder", parent))?;
        }
        let mut next = 0;
        for entry in fs::read_dir(dir).map_err(failed("list the folder", dir))? {
            let path = entry.map_err(failed("list the folder", dir))?.path();
            match number_of(&path) {
                Some(number) => next = next.max(number + 1),
                // An attempt of a process that ended before it was linked.
                None if path.extension().is_some_and(|ending| ending == "new") => {
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                }
                None => {}
            }
        }
        Ok(FileLedger { dir: dir.to_owned(), next, _lock: lock })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:020}.state"))
    }

    fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
        let path = path.to_owned();
        move |source| LedgerError::Io { doing, path, source }
    }

    /// Whether a state with a higher number is there: then somebody else goes on, and what was linked below it is void.
    fn is_overtaken(&self) -> Result<bool, io::Error> {
        for entry in fs::read_dir(&self.dir)? {
            if number_of(&entry?.path()).is_some_and(|number| number > self.next) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Ledger for FileLedger {
    fn load(&mut self) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(newest) = self.next.checked_sub(1) else { return Ok(None) };
        let path = self.path(newest);
        fs::read(&path).map(Some).map_err(Self::failed("read", &path))
    }

    fn commit(&mut self, state: &[u8]) -> Result<(), LedgerError> {
        let path = self.path(self.next);
        let unnamed = path.with_extension("new");
        if let Err(error) = write_synced(&unnamed, state) {
            // Gives its room back, and the next attempt begins with a file of which no page was ever lost.
            let _ = fs::remove_file(&unnamed);
            return Err(Self::failed("write", &unnamed)(error));
        }
        let linked = fs::hard_link(&unnamed, &path);
        let removed = fs::remove_file(&unnamed);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(LedgerError::Fenced { path }),
            Err(error) => return Err(Self::failed("link", &path)(error)),
        }
        // From here on it is visible: a failure leaves in doubt what a start would find.
        let in_doubt = |path: &Path, source| LedgerError::InDoubt { path: path.to_owned(), source };
        removed.and_then(|()| sync_dir(&self.dir)).map_err(|error| in_doubt(&path, error))?;
        if self.is_overtaken().map_err(|error| in_doubt(&path, error))? {
            // It is below the newest and counts for nothing.
            let _ = fs::remove_file(&path);
            return Err(LedgerError::Fenced { path });
        }
        self.next += 1;
        if let Some(old) = self.next.checked_sub(KEPT + 1)
            && let Err(error) = fs::remove_file(self.path(old))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path(old).display(), %error, "failed to remove an old state of alerts");
        }
        Ok(())
    }
}

fn number_of(path: &Path) -> Option<u64> {
    if path.extension()? != "state" {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_commit_is_loaded_and_few_files_stay() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().join("data/alerts");
        let mut ledger = FileLedger::open(&dir).expect("opens");
        assert_eq!(ledger.load().expect("loads"), None);
        for number in 0..10u8 {
            ledger.commit(&[number; 100]).expect("commits");
        }
        drop(ledger);
        fs::write(dir.join("00000000000000000010.new"), b"half an att").expect("written");
        let mut ledger = FileLedger::open(&dir).expect("opens");
        assert_eq!(ledger.load().expect("loads").as_deref(), Some([9; 100].as_slice()));
        ledger.commit(b"next").expect("commits");
        let names = fs::read_dir(&dir).expect("lists").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().expect("text")).collect();
        names.sort();
        assert_eq!(names, ["00000000000000000009.state", "00000000000000000010.state", "lock"]);
    }

    #[test]
    fn a_second_process_is_refused_and_the_end_of_the_first_frees_the_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = FileLedger::open(dir.path()).expect("opens");
        assert!(matches!(FileLedger::open(dir.path()), Err(LedgerError::InUse { .. })));
        drop(ledger);
        FileLedger::open(dir.path()).expect("opens");
    }

    /// On a file system whose locks do not hold (some network ones), the numbers still tell who goes on.
    #[test]
    fn whoever_was_overtaken_is_fenced() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut old = FileLedger::open(dir.path()).expect("opens");
        old.commit(b"one").expect("commits");
        fs::remove_file(dir.path().join("lock")).expect("removed");
        let mut new = FileLedger::open(dir.path()).expect("opens");
        new.commit(b"two").expect("commits");
        let error = old.commit(b"of the old one").expect_err("overtaken");
        assert!(matches!(error, LedgerError::Fenced { .. }) && !error.is_retryable(), "{error}");
        for _ in 0..5 {
            new.commit(b"three").expect("commits");
        }
        let error = old.commit(b"of the old one").expect_err("overtaken, and its number is free");
        assert!(matches!(error, LedgerError::Fenced { .. }), "{error}");
        drop(new);
        fs::remove_file(dir.path().join("lock")).expect("removed");
        let mut next = FileLedger::open(dir.path()).expect("opens");
        assert_eq!(next.load().expect("loads").as_deref(), Some(b"three".as_slice()));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_may_be_tried_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = FileLedger::open(&dir.path().join("alerts")).expect("opens");
        ledger.commit(b"one").expect("commits");
        fs::rename(dir.path().join("alerts"), dir.path().join("elsewhere")).expect("moved");
        let error = ledger.commit(b"two").expect_err("no folder");
        assert!(error.is_retryable(), "{error}");
        fs::rename(dir.path().join("elsewhere"), dir.path().join("alerts")).expect("moved back");
        ledger.commit(b"two").expect("commits");
    }
}
