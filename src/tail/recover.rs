//! Finding files again: at the start, when they may have been rotated while nobody looked, and after a truncation, when what
//! was not read yet is in the copy that was made before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::files::{is_generation, siblings};
use super::followed::Followed;
use super::mark::FileId;
use super::state::Entry;
use crate::send::words::say;

/// Clocks of file systems are behind by a tick.
const CLOCK_TICK_MS: u64 = 20;

/// The files of `entries`, wherever they are now, and files that came and went under the same name since then.
pub fn find_again(entries: &[Entry], now_ms: u64) -> Vec<Followed> {
    // First those that are certain. An inode alone says nothing: that of a file that was removed is soon another's.
    let mut certain: Vec<Option<Followed>> =
        entries.iter().map(|entry| where_it_was(entry).or_else(|| elsewhere(entry))).collect();
    let mut taken: BTreeSet<FileId> = certain.iter().flatten().map(|file| file.entry.id).collect();
    let mut found: Vec<Followed> = Vec::new();
    for (entry, certain) in entries.iter().zip(&mut certain) {
        let again = certain.take().or_else(|| copy_of(entry, |_, id| taken.contains(&id)));
        let moved = again.as_ref().is_none_or(|file| file.entry.path != entry.named);
        // Of a file that was still empty nothing is known: it may have been filled, copied and truncated since.
        let unsure = moved || entry.head.bytes == 0;
        let seen = UNIX_EPOCH + Duration::from_millis(entry.seen_ms.saturating_sub(CLOCK_TICK_MS));
        let since = again.as_ref().filter(|_| moved).and_then(|file| modified(&file.entry.path)).unwrap_or(seen);
        match again {
            Some(mut file) => {
                file.entry.rotated |= moved;
                taken.insert(file.entry.id);
                found.push(file);
            }
            None if entry.size > entry.position => say(&format!(
                "{} was rotated away while nobody looked and is not found: {} bytes that it had are not sent",
                entry.path.display(),
                entry.size - entry.position
            )),
            None => {}
        }
        // What was there in between was never seen. Of a file that was rotated before, the successor is remembered too.
        if unsure && !entry.rotated {
            let unseen = generations_since(&entry.named, since, &taken);
            for mut file in unseen.iter().filter_map(|path| Followed::open(path, &entry.named, now_ms).ok()) {
                file.entry.rotated = true;
                taken.insert(file.entry.id);
                found.push(file);
            }
        }
    }
    found
}

/// The copy that `copytruncate` made of the file of `entry`, if it still has what is not delivered. `taken` says which files
/// are known as something else.
pub fn copy_of(entry: &Entry, taken: impl Fn(&Path, FileId) -> bool) -> Option<Followed> {
    let mut candidates: Vec<PathBuf> =
        siblings(&entry.named).into_iter().filter(|path| is_generation(&entry.named, path)).collect();
    candidates.sort_by_key(|path| std::cmp::Reverse(modified(path)));
    let mut copies = candidates.iter().filter_map(|path| Followed::resume_copy(path, entry).ok().flatten());
    let mut copy = copies.find(|copy| !taken(&copy.entry.path, copy.entry.id))?;
    copy.entry.rotated = true;
    Some(copy)
}

fn where_it_was(entry: &Entry) -> Option<Followed> {
    Followed::resume(&entry.path, entry).ok().flatten()
}

/// The same inode under another name of the folder.
fn elsewhere(entry: &Entry) -> Option<Followed> {
    siblings(&entry.named).iter().find_map(|path| {
        let metadata = path.metadata().ok()?;
        if FileId::of(&metadata) != entry.id {
            return None;
        }
        Followed::resume(path, entry).ok().flatten()
    })
}

/// Rotated files of `named` that were written to at `since` or later, oldest first. Clocks of file systems tick a few hundred
/// times a second, so the next file may have the very same time; those that were read are in `taken`.
fn generations_since(named: &Path, since: SystemTime, taken: &BTreeSet<FileId>) -> Vec<PathBuf> {
    let is_new = |path: &PathBuf| {
        let id = path.metadata().map(|metadata| FileId::of(&metadata));
        id.is_ok_and(|id| !taken.contains(&id)) && modified(path).is_some_and(|modified| modified >= since)
    };
    let mut found: Vec<PathBuf> =
        siblings(named).into_iter().filter(|path| is_generation(named, path) && is_new(path)).collect();
    found.sort_by_key(|path| modified(path));
    found
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        folder: tempfile::TempDir,
    }

    impl Case {
        /// Written `age_s` ago.
        fn write(&self, name: &str, text: &str, age_s: u64) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            self.age(name, age_s);
            path
        }

        fn age(&self, name: &str, age_s: u64) {
            let file = std::fs::OpenOptions::new().append(true).open(self.folder.path().join(name)).expect("there");
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).expect("set");
        }

        fn rename(&self, from: &str, to: &str) {
            std::fs::rename(self.folder.path().join(from), self.folder.path().join(to)).expect("renamed");
        }

        fn found(&self, entry: &Entry) -> Vec<(String, u64)> {
            let mut found: Vec<(String, u64)> = find_again(std::slice::from_ref(entry), 0)
                .iter()
                .map(|file| {
                    let name = file.entry.path.file_name().expect("named").to_str().expect("text").to_owned();
                    (name, file.entry.position)
                })
                .collect();
            found.sort();
            found
        }
    }

    fn case() -> (Case, Entry) {
        let case = Case { folder: tempfile::tempdir().expect("a folder") };
        let path = case.write("a.log", "one\ntwo\nthree\n", 100);
        let mut entry = Followed::open(&path, &path, 0).expect("opened").entry;
        entry.position = 8;
        (case, entry)
    }

    #[test]
    fn where_it_was() {
        let (case, entry) = case();
        assert_eq!(case.found(&entry), [("a.log".to_owned(), 8)]);
    }

    #[test]
    fn renamed_twice_with_one_in_between() {
        let (case, entry) = case();
        case.write("a.log.3", "older\n", 200);
        case.rename("a.log", "a.log.2");
        case.write("a.log.1", "between\n", 50);
        case.write("a.log", "now\n", 0);
        case.write("a.log.bak", "something of a person's\n", 0);
        // The one that is there now is found by its name.
        assert_eq!(case.found(&entry), [("a.log.1".to_owned(), 0), ("a.log.2".to_owned(), 8)]);
    }

    #[test]
    fn copied_and_truncated() {
        let (case, entry) = case();
        case.write("a.log.2", "one\nolder, with the same beginning? no\n", 200);
        case.write("a.log.1", "one\ntwo\nthree\nfour\n", 10);
        case.write("a.log", "new\n", 0);
        assert_eq!(case.found(&entry), [("a.log.1".to_owned(), 8)]);
    }

    /// The oldest generation is removed by the rotation, and the copy gets its inode: what a file system likes to do.
    #[test]
    fn copied_into_the_inode_of_a_file_that_was_known() {
        let (case, entry) = case();
        let oldest = case.write("a.log.9", "very old\n", 500);
        let mut old = Followed::open(&oldest, &entry.named, 0).expect("opened").entry;
        (old.position, old.rotated) = (old.size, true);
        // Overwritten in place, which keeps the inode for certain.
        std::fs::write(&oldest, "one\ntwo\nthree\nfour\n").expect("written");
        case.rename("a.log.9", "a.log.1");
        case.write("a.log", "new\n", 0);
        let found = find_again(&[old, entry], 0);
        let found: Vec<_> = found.iter().map(|file| (file.entry.path.clone(), file.entry.position)).collect();
        assert_eq!(found, [(case.folder.path().join("a.log.1"), 8)]);
    }

    #[test]
    fn filled_copied_and_truncated_when_it_was_still_empty() {
        let (case, mut entry) = case();
        std::fs::write(&entry.path, "").expect("truncated");
        entry = Followed::open(&entry.path, &entry.named, 0).expect("opened").entry;
        case.write("a.log.1", "all of it\n", 0);
        assert_eq!(case.found(&entry), [("a.log".to_owned(), 0), ("a.log.1".to_owned(), 0)]);
    }

    #[test]
    fn gone() {
        let (case, entry) = case();
        std::fs::remove_file(&entry.path).expect("removed");
        assert!(case.found(&entry).is_empty());
    }
}
