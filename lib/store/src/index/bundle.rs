//! The file of a full-text index: tantivy's files in one, with a checksum for every 64 KiB of it.
//!
//! A search reads a few ranges of a file that may be large; each is checked before it is used, so that a damaged index is
//! found out and never hides a row. The bytes are described in `FORMAT.md`.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, OpenReadError, OpenWriteError};
use tantivy::directory::{Directory, FileHandle, OwnedBytes, WatchCallback, WatchHandle, WritePtr};

const MAGIC: &[u8; 4] = b"SWIX";
/// 2: words as they are cut since letters of scripts without spaces are a word each.
const VERSION: u32 = 2;
/// What precedes the description: magic, version, its length and its checksum.
const HEAD_BYTES: usize = 16;
/// What one checksum covers.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// What was read last and is kept while the index is open: so many readings, none of them larger than its share.
const RECENT: usize = 16;
const RECENT_BYTES: usize = 4 << 20;

/// How ranges of the file are read. Whole ranges or an error.
pub(crate) type Ranges = dyn Fn(Range<u64>) -> io::Result<Vec<u8>> + Send + Sync;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Description {
    rows: u32,
    parts: Vec<PartFiles>,
    chunk_crc32c: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PartFiles {
    first_row: u32,
    rows: u32,
    files: Vec<Entry>,
}

/// A file of tantivy: its name, and where it is behind the description.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: PathBuf,
    at: u64,
    bytes: u64,
}

/// Puts the files together.
#[derive(Debug, Default)]
pub(super) struct BundleWriter {
    description: Description,
    contents: Vec<u8>,
}

impl BundleWriter {
    pub(super) fn begin_part(&mut self, first_row: u32, rows: u32) {
        self.description.parts.push(PartFiles { first_row, rows, files: Vec::new() });
    }

    pub(super) fn add_file(&mut self, name: &Path, contents: &[u8]) {
        let part = self.description.parts.last_mut().expect("a part was begun");
        let (at, bytes) = (self.contents.len() as u64, contents.len() as u64);
        part.files.push(Entry { name: name.to_owned(), at, bytes });
        self.contents.extend_from_slice(contents);
    }

    pub(super) fn finish(mut self, rows: u32) -> Vec<u8> {
        self.description.rows = rows;
        self.description.chunk_crc32c = self.contents.chunks(CHUNK_BYTES).map(crc32c::crc32c).collect();
        let description = serde_json::to_vec(&self.description).expect("numbers and names are valid JSON");
        let mut file = Vec::with_capacity(HEAD_BYTES + description.len() + self.contents.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&(description.len() as u32).to_le_bytes());
        file.extend_from_slice(&crc32c::crc32c(&description).to_le_bytes());
        file.extend_from_slice(&description);
        file.extend_from_slice(&self.contents);
        file
    }
}

/// Whether the head is of an older version, whose words were cut by other rules.
pub(crate) fn is_older(head: &[u8]) -> bool {
    let version = head.get(4..8).map(|four| u32::from_le_bytes(four.try_into().expect("four bytes")));
    head.starts_with(MAGIC) && version.is_some_and(|version| (1..VERSION).contains(&version))
}

/// Length of the description that begins behind the head; the error says what is wrong with the head.
pub(crate) fn read_head(head: &[u8]) -> Result<u64, String> {
    if head.len() < HEAD_BYTES || &head[..4] != MAGIC {
        return Err("it does not begin like a full-text index".to_owned());
    }
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    match number(4) {
        VERSION => Ok(u64::from(number(8))),
        version => Err(format!("it has version {version}, this version of shipwake reads {VERSION}")),
    }
}

/// An index that can be searched.
pub(crate) struct Bundle {
    description: Description,
    /// Where the contents begin in the file, and how many bytes they have.
    start: u64,
    bytes: u64,
    read: Box<Ranges>,
    /// Chunks that are read at a time.
    ahead: u64,
    recent: Mutex<VecDeque<(u64, Arc<[u8]>)>>,
}

impl Bundle {
    /// Reads the description. `file_bytes` is the size of the file, `rows` those of its segment; where every reading takes its time,
    /// `ahead` says how many chunks to read at a time. The error says what is wrong.
    pub(crate) fn open(file_bytes: u64, rows: u64, ahead: u64, read: Box<Ranges>) -> Result<Self, String> {
        let words = |error: io::Error| error.to_string();
        let head = read(0..(HEAD_BYTES as u64).min(file_bytes)).map_err(words)?;
        let length = read_head(&head)?;
        let start = HEAD_BYTES as u64 + length;
        if start > file_bytes {
            return Err("its description is cut".to_owned());
        }
        let description = read(HEAD_BYTES as u64..start).map_err(words)?;
        if crc32c::crc32c(&description).to_le_bytes() != head[12..16] {
            return Err("the checksum of its description is wrong".to_owned());
        }
        let description: Description =
            serde_json::from_slice(&description).map_err(|error| format!("its description cannot be read: {error}"))?;
        let bytes = file_bytes - start;
        if description.chunk_crc32c.len() as u64 != bytes.div_ceil(CHUNK_BYTES as u64) {
            return Err("its end is missing".to_owned());
        }
        if u64::from(description.rows) != rows {
            return Err(format!("it is of {} rows, its segment has {rows}", description.rows));
        }
        Ok(Self { description, start, bytes, read, ahead: ahead.max(1), recent: Mutex::default() })
    }

    pub(super) fn parts(&self) -> usize {
        self.description.parts.len()
    }

    pub(super) fn first_row(&self, part: usize) -> u32 {
        self.description.parts[part].first_row
    }

    /// The files of a part, as tantivy opens them.
    pub(super) fn directory(self: &Arc<Self>, part: usize) -> PartDirectory {
        let files = &self.description.parts[part].files;
        let files = files.iter().map(|entry| (entry.name.clone(), entry.at..entry.at + entry.bytes)).collect();
        PartDirectory { bundle: self.clone(), files: Arc::new(files) }
    }

    /// A range of the contents, checked. Opening an index reads a few bytes here and there, often of the same chunk.
    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let chunk = CHUNK_BYTES as u64;
        if range.end > self.bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its description names what is behind its end"));
        }
        let mut wanted = Vec::with_capacity((range.end - range.start) as usize);
        let mut at = range.start;
        while at < range.end {
            let number = at / chunk;
            let (first, chunks) = self.chunks(number, range.end.div_ceil(chunk) - number)?;
            let from = (at - first * chunk) as usize;
            let to = ((range.end - first * chunk) as usize).min(chunks.len());
            wanted.extend_from_slice(&chunks[from..to]);
            at = first * chunk + to as u64;
        }
        Ok(wanted)
    }

    /// Chunks of which one is `number`, and the number of the first of them: some that were read before, or this one and those behind it, as many as are
    /// wanted.
    fn chunks(&self, number: u64, wanted: u64) -> io::Result<(u64, Arc<[u8]>)> {
        let chunk = CHUNK_BYTES as u64;
        let has = |(first, chunks): &&(u64, Arc<[u8]>)| {
            *first <= number && number < first + (chunks.len() as u64).div_ceil(chunk)
        };
        if let Some(recent) = self.recent().iter().find(has) {
            return Ok(recent.clone());
        }
        let to = ((number + wanted.max(self.ahead)) * chunk).min(self.bytes);
        let bytes = (self.read)(self.start + number * chunk..self.start + to)?;
        for (number, contents) in (number..).zip(bytes.chunks(CHUNK_BYTES)) {
            if self.description.chunk_crc32c.get(number as usize) != Some(&crc32c::crc32c(contents)) {
                let at = self.start + number * chunk;
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("offset {at}: the checksum is wrong")));
            }
        }
        let read: (u64, Arc<[u8]>) = (number, bytes.into());
        // What is large is read once, and would only push out what is small.
        if read.1.len() <= RECENT_BYTES / RECENT {
            let mut recent = self.recent();
            recent.push_back(read.clone());
            if recent.len() > RECENT {
                recent.pop_front();
            }
        }
        Ok(read)
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Arc<[u8]>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads and checks everything. The error names the offset.
    pub(crate) fn check(&self) -> io::Result<()> {
        for from in (0..self.bytes).step_by(CHUNK_BYTES) {
            self.read(from..(from + CHUNK_BYTES as u64).min(self.bytes))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("rows", &self.description.rows).field("bytes", &self.bytes).finish()
    }
}

/// A part as a directory that can only be read.
#[derive(Clone, Debug)]
pub(super) struct PartDirectory {
    bundle: Arc<Bundle>,
    files: Arc<HashMap<PathBuf, Range<u64>>>,
}

#[derive(Debug)]
struct PartFile {
    bundle: Arc<Bundle>,
    range: Range<u64>,
}

impl HasLen for PartFile {
    fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }
}

impl FileHandle for PartFile {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let from = self.range.start + range.start as u64;
        Ok(OwnedBytes::new(self.bundle.read(from..self.range.start + range.end as u64)?))
    }
}

impl PartDirectory {
    fn file(&self, path: &Path) -> Result<PartFile, OpenReadError> {
        match self.files.get(path) {
            Some(range) => Ok(PartFile { bundle: self.bundle.clone(), range: range.clone() }),
            None => Err(OpenReadError::FileDoesNotExist(path.to_owned())),
        }
    }
}

impl Directory for PartDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(self.file(path)?))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.files.contains_key(path))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let file = self.file(path)?;
        self.bundle.read(file.range).map_err(|error| OpenReadError::wrap_io_error(error, path.to_owned()))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(read_only()), filepath: path.to_owned() })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(read_only(), path.to_owned()))
    }

    fn atomic_write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "an index is never changed")
}
