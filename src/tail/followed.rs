//! One file that is followed: what it has that is not sent yet, and whether it is still the file that it was.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::mark::{FileId, Head};
use super::state::Entry;
use crate::send::cut;

/// How long the last line may be without an end before it is sent as it is.
const UNENDED_LINE_MAX: Duration = Duration::from_secs(10);
/// A rotated file that did not grow for so long is not written to any more.
const QUIET_AFTER_ROTATION: Duration = Duration::from_secs(5);

/// A file, open, so that it can be read to its end under any name and none.
pub struct Followed {
    pub entry: Entry,
    file: File,
    /// When it was last seen to have changed.
    grew: Instant,
    /// Its size and time of modification then. A file that was truncated may have grown to the very size that it had.
    seen: Seen,
}

type Seen = (u64, Option<SystemTime>);

fn seen(metadata: &Metadata) -> Seen {
    (metadata.len(), metadata.modified().ok())
}

/// What a look at a file found.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing to send.
    Nothing,
    /// Bytes from `entry.position` on that are a batch.
    Batch(Vec<u8>),
    /// It is not the file that it was: truncated, or written anew.
    Truncated,
    /// Rotated, read to its end, and quiet.
    Over,
}

impl Followed {
    /// Opens what is at `path`; its entry begins at the first byte.
    pub fn open(path: &Path, named: &Path, now_ms: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let size = metadata.len();
        let entry = Entry {
            path: path.to_owned(),
            named: named.to_owned(),
            id: FileId::of(&metadata),
            head: Head::of(&file, size)?,
            life: rand::random(),
            position: 0,
            pending: None,
            size,
            rotated: false,
            seen_ms: now_ms,
        };
        Ok(Followed { entry, file, grew: Instant::now(), seen: seen(&metadata) })
    }

    /// Opens what is at `path` if it is the file of `entry`, by its inode and its first bytes.
    pub fn resume(path: &Path, entry: &Entry) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let same = FileId::of(&metadata) == entry.id && holds(&file, metadata.len(), entry)?;
        Ok(same.then(|| Self::of(file, path, entry, &metadata)))
    }

    /// Opens what is at `path` if it is a copy of the file of `entry`, as `copytruncate` makes one.
    pub fn resume_copy(path: &Path, entry: &Entry) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if FileId::of(&metadata) == entry.id || entry.head.bytes == 0 || !holds(&file, metadata.len(), entry)? {
            return Ok(None);
        }
        let mut copy = Self::of(file, path, entry, &metadata);
        copy.entry.id = FileId::of(&metadata);
        Ok(Some(copy))
    }

    fn of(file: File, path: &Path, entry: &Entry, metadata: &Metadata) -> Self {
        let entry = Entry { path: path.to_owned(), ..entry.clone() };
        Followed { entry, file, grew: Instant::now(), seen: seen(metadata) }
    }

    /// Begins behind what is there now.
    pub fn skip_to_end(&mut self) {
        self.entry.position = self.seen.0;
    }

    /// Looks at the file. Reads at most a batch.
    pub fn look(&mut self, now: Instant, now_ms: u64) -> io::Result<Look> {
        let metadata = self.file.metadata()?;
        let size = metadata.len();
        let changed = self.seen != seen(&metadata);
        if changed {
            (self.seen, self.grew) = (seen(&metadata), now);
        }
        self.entry.seen_ms = now_ms;
        let needed = self.entry.pending.unwrap_or(self.entry.position);
        // The head is compared whenever something may have happened: a file may be truncated and grow again unseen.
        let unread = size > self.entry.position;
        if size < needed || ((changed || unread) && !self.entry.head.is_of(&self.file, size)?) {
            return Ok(Look::Truncated);
        }
        self.entry.size = size;
        if self.entry.head.is_short_for(size) {
            self.entry.head = Head::of(&self.file, size)?;
        }
        let quiet = now - self.grew;
        let over = self.entry.rotated && quiet >= QUIET_AFTER_ROTATION;
        if !unread {
            return Ok(if over { Look::Over } else { Look::Nothing });
        }
        let ended = over || quiet >= UNENDED_LINE_MAX;
        let batch = self.read(size, ended)?;
        Ok(if batch.is_empty() { Look::Nothing } else { Look::Batch(batch) })
    }

    /// The pending batch as it was, or the next one.
    fn read(&self, size: u64, ended: bool) -> io::Result<Vec<u8>> {
        let position = self.entry.position;
        if let Some(pending) = self.entry.pending {
            let mut batch = vec![0; usize::try_from(pending.saturating_sub(position)).unwrap_or(0)];
            self.file.read_exact_at(&mut batch, position)?;
            return Ok(batch);
        }
        // One byte more than a batch tells that there is more.
        let wanted = usize::try_from(size - position).unwrap_or(usize::MAX).min(cut::BATCH_BYTES_MAX + 1);
        let mut bytes = vec![0; wanted];
        self.file.read_exact_at(&mut bytes, position)?;
        bytes.truncate(cut::batch_end(&bytes, ended));
        Ok(bytes)
    }

    /// The file was truncated: it begins again, as another.
    pub fn begin_again(&mut self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        (self.seen, self.grew) = (seen(&metadata), Instant::now());
        self.entry.head = Head::of(&self.file, metadata.len())?;
        self.entry.life = rand::random();
        self.entry.position = 0;
        self.entry.pending = None;
        self.entry.size = metadata.len();
        Ok(())
    }

    /// The key of the batch that is pending.
    pub fn key(&self) -> String {
        let entry = &self.entry;
        format!("tail-{:032x}-{}-{}", entry.life, entry.position, entry.pending.unwrap_or(entry.position))
    }
}

/// Whether the file begins as the entry's did and still has what is not delivered.
fn holds(file: &File, size: u64, entry: &Entry) -> io::Result<bool> {
    Ok(size >= entry.pending.unwrap_or(entry.position) && entry.head.is_of(file, size)?)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::PathBuf;

    use super::*;

    struct Case {
        _folder: tempfile::TempDir,
        path: PathBuf,
        followed: Followed,
        start: Instant,
    }

    fn case(text: &str) -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        std::fs::write(&path, text).expect("written");
        let followed = Followed::open(&path, &path, 0).expect("opened");
        Case { _folder: folder, path, followed, start: Instant::now() }
    }

    impl Case {
        fn append(&self, text: &str) {
            let mut file = OpenOptions::new().append(true).open(&self.path).expect("there");
            file.write_all(text.as_bytes()).expect("written");
        }

        fn look(&mut self, after_s: u64) -> Look {
            self.followed.look(self.start + Duration::from_secs(after_s), 0).expect("readable")
        }

        fn take(&mut self, after_s: u64) -> String {
            let Look::Batch(batch) = self.look(after_s) else { panic!("nothing to take") };
            self.followed.entry.position += batch.len() as u64;
            String::from_utf8(batch).expect("text")
        }
    }

    #[test]
    fn whole_lines_are_taken_and_the_last_one_waits_for_its_end() {
        let mut case = case("one\ntwo\nthr");
        assert_eq!(case.take(0), "one\ntwo\n");
        assert_eq!(case.look(1), Look::Nothing);
        case.append("ee\n");
        assert_eq!(case.take(2), "three\n");
        case.append("never ended");
        assert_eq!(case.look(3), Look::Nothing);
        assert_eq!(case.look(12), Look::Nothing);
        assert_eq!(case.take(13), "never ended");
        assert_eq!(case.look(14), Look::Nothing);
    }

    #[test]
    fn a_pending_batch_is_read_as_it_was() {
        let mut case = case("one\ntwo\n");
        case.followed.entry.pending = Some(4);
        assert_eq!(case.look(0), Look::Batch(b"one\n".to_vec()));
        assert_eq!(case.followed.key().rsplit_once('-').expect("dashes").1, "4");
    }

    #[test]
    fn truncation_is_found_also_when_the_file_has_grown_again() {
        let mut case = case("one\ntwo\n");
        case.take(0);
        std::fs::write(&case.path, "").expect("truncated");
        assert_eq!(case.look(1), Look::Truncated);
        let life = case.followed.entry.life;
        case.followed.begin_again().expect("readable");
        assert_ne!(case.followed.entry.life, life, "equal lines at an equal place are not the same batch");
        case.append("1\n");
        assert_eq!(case.take(2), "1\n");
        std::fs::write(&case.path, "another, and longer.\n").expect("written anew");
        assert_eq!(case.look(3), Look::Truncated);
        case.followed.begin_again().expect("readable");
        case.take(4);
        case.followed.seen.1 = None;
        std::fs::write(&case.path, "of just the same len\n").expect("written anew");
        assert_eq!(case.look(5), Look::Truncated);
    }

    #[test]
    fn a_rotated_file_is_over_when_it_is_quiet() {
        let mut case = case("one\n");
        case.take(0);
        case.followed.entry.rotated = true;
        case.append("last words");
        assert_eq!(case.look(1), Look::Nothing);
        assert_eq!(case.take(7), "last words");
        assert_eq!(case.look(8), Look::Over);
    }

    #[test]
    fn a_file_is_known_again_by_inode_and_first_bytes_and_a_copy_by_its_bytes() {
        let mut case = case("one\ntwo\n");
        case.take(0);
        let entry = case.followed.entry.clone();
        let moved = case.path.with_extension("log.1");
        std::fs::rename(&case.path, &moved).expect("renamed");
        assert!(Followed::resume(&moved, &entry).expect("readable").is_some());
        std::fs::copy(&moved, &case.path).expect("copied");
        assert!(Followed::resume(&case.path, &entry).expect("readable").is_none(), "another inode");
        assert!(Followed::resume_copy(&case.path, &entry).expect("readable").is_some());
        std::fs::write(&case.path, "something else\n").expect("written");
        assert!(Followed::resume_copy(&case.path, &entry).expect("readable").is_none());
        std::fs::write(&moved, "one\n").expect("shorter than what was taken");
        assert!(Followed::resume(&moved, &entry).expect("readable").is_none());
    }
}
