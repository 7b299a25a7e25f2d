//! Blocking access to the object store, with errors that name the file and what can be done.
//!
//! Writers and the start of the process work in threads of their own, so they wait here instead of being `async`. Such a
//! thread may be inside a runtime: tokio gives every task a budget of 128 steps until it yields, which a wait that blocks
//! its thread never does, so waits here are exempt from it. Requests to a server need a runtime that goes on while the caller
//! waits, whatever thread that is: they have one of their own.

use std::error::Error as _;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use tokio::runtime::Runtime;
use tokio::task::unconstrained;

use crate::{StoreError, s3};

/// Between attempts to create an object that a server refuses and does not have.
const CONFLICT_PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(60), Duration::from_millis(180)];

/// The object store of a directory, or of a prefix in a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// For messages, and to read files of: what a person calls the place.
    root: PathBuf,
    /// What requests to a server run on; `None` where objects are files.
    requests: Option<Arc<Requests>>,
    /// Whether another process may remove what a manifest that we know lists.
    by_others: bool,
}

/// A runtime that may go away anywhere, also inside another.
#[derive(Debug)]
struct Requests(Option<Runtime>);

impl Drop for Requests {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What became of a put under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// The object is there, with our bytes.
    Yes,
    /// An object of that name was there before, or somebody else has replaced it.
    Exists,
}

/// An object's path and size, and when it was made, in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) modified_s: i64,
}

impl Objects {
    /// Objects that are files below `root`.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, root: &FilePath) -> Self {
        Self { store, root: root.to_owned(), requests: None, by_others: false }
    }

    /// Objects of a server, which a person calls `url`.
    pub(crate) fn remote(store: Arc<dyn ObjectStore>, url: &str) -> Result<Self, StoreError> {
        // What stands behind a question mark is how to get there.
        let root = PathBuf::from(url.split('?').next().unwrap_or(url));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-requests")
            .enable_all()
            .build()
            .map_err(|error| StoreError::io("cannot start threads for", &root, error, 0))?;
        Ok(Self { store, root, requests: Some(Arc::new(Requests(Some(runtime)))), by_others: true })
    }

    /// The same, of a directory that other processes write.
    pub(crate) fn written_by_others(self) -> Self {
        Self { by_others: true, ..self }
    }

    /// What it means that a segment is not there, or is shorter than it was.
    pub(crate) fn missing(&self, path: &str) -> StoreError {
        let file = self.file(path);
        if self.by_others {
            return StoreError::Gone { path: file };
        }
        StoreError::damaged(file, "it is missing or shorter than it was, and a manifest lists it")
    }

    /// Whether objects are at a server: what it has shown is durable, and what it did not answer may still come to be.
    pub(crate) fn is_remote(&self) -> bool {
        self.requests.is_some()
    }

    /// The name of an object in messages.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Creates an object that must not be there yet.
    pub(crate) fn create(&self, path: &str, bytes: Bytes) -> Result<Created, StoreError> {
        for pause in CONFLICT_PAUSES {
            match self.create_once(path, bytes.clone())? {
                // Of two who create it at the same moment a server may refuse both, the one whose answer it has lost and who asks again
                // among them (409). It says to try again, and the client says the same as when there is one.
                Created::Exists if self.is_remote() && !self.is_there(path)? => {
                    self.wait(async move { tokio::time::sleep(pause).await });
                }
                created => return Ok(created),
            }
        }
        self.create_once(path, bytes)
    }

    fn create_once(&self, path: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let (store, location, size) = (self.store.clone(), Path::from(path), bytes.len() as u64);
        match self.wait(async move { store.put_opts(&location, bytes.into(), PutMode::Create.into()).await }) {
            Ok(_) => Ok(Created::Yes),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Created::Exists),
            Err(error) => Err(self.error("cannot write", path, error, size)),
        }
    }

    fn is_there(&self, path: &str) -> Result<bool, StoreError> {
        let (store, location) = (self.store.clone(), Path::from(path));
        match self.wait(async move { store.head(&location).await }) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.error("cannot look at", path, error, 0)),
        }
    }

    /// The bytes of an object, or `None` when there is none.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let (store, location) = (self.store.clone(), Path::from(path));
        match self.wait(async move { store.get(&location).await?.bytes().await }) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("cannot read", path, error, 0)),
        }
    }

    /// The bytes of an object, and which version of it they are.
    pub(crate) fn get_versioned(&self, path: &str) -> Result<Option<(Bytes, UpdateVersion)>, StoreError> {
        let (store, location) = (self.store.clone(), Path::from(path));
        let read = async move {
            let found = store.get(&location).await?;
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            Ok((found.bytes().await?, version))
        };
        match self.wait(read) {
            Ok(read) => Ok(Some(read)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("cannot read", path, error, 0)),
        }
    }

    /// Writes an object again, if it is still this version. Only servers can do that.
    pub(crate) fn replace(&self, path: &str, bytes: Bytes, version: UpdateVersion) -> Result<Created, StoreError> {
        let (store, location, size) = (self.store.clone(), Path::from(path), bytes.len() as u64);
        let mode = PutMode::Update(version);
        match self.wait(async move { store.put_opts(&location, bytes.into(), mode.into()).await }) {
            Ok(_) => Ok(Created::Yes),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. }) => {
                Ok(Created::Exists)
            }
            Err(error) => Err(self.error("cannot write", path, error, size)),
        }
    }

    /// Some bytes of an object; all of the range, or `None` when there is no such object or it ends before. Files are read
    /// directly: a search reads many small ranges, from threads that must not wait for each other's.
    pub(crate) fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        if self.is_remote() {
            return self.get_remote_range(path, range);
        }
        let read = self.get_file_ranges(path, &[range])?;
        Ok(read.and_then(|mut read| read.pop()).map(Vec::from))
    }

    fn get_file_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        let file = self.file(path);
        let read = || -> io::Result<Vec<Bytes>> {
            let open = File::open(&file)?;
            let read = |range: &Range<u64>| {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                open.read_exact_at(&mut bytes, range.start).map(|()| Bytes::from(bytes))
            };
            ranges.iter().map(read).collect()
        };
        match read() {
            Ok(read) => Ok(Some(read)),
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof].contains(&error.kind()) => Ok(None),
            Err(error) => Err(StoreError::io("cannot read", &file, error, 0)),
        }
    }

    /// Several ranges of an object at once; `None` when there is no such object or one of them ends behind it.
    pub(crate) fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, StoreError> {
        if !self.is_remote() {
            return self.get_file_ranges(path, ranges);
        }
        let (store, location, asked) = (self.store.clone(), Path::from(path), ranges.to_vec());
        // Not `get_ranges`, which reads up to a megabyte that nobody wants to save a request.
        let read = async move {
            let reads = asked.into_iter().map(|range| store.get_range(&location, range));
            try_join_all(reads).await
        };
        match self.wait(read) {
            Ok(read) => {
                let is_whole = |(range, read): (&Range<u64>, &Bytes)| read.len() as u64 == range.end - range.start;
                Ok(ranges.iter().zip(&read).all(is_whole).then_some(read))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("cannot read", path, error, 0)),
        }
    }

    fn get_remote_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        let (store, location, length) = (self.store.clone(), Path::from(path), range.end - range.start);
        match self.wait(async move { store.get_range(&location, range).await }) {
            Ok(bytes) => Ok((bytes.len() as u64 == length).then(|| bytes.into())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("cannot read", path, error, 0)),
        }
    }

    /// All objects under a folder, sorted by path.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let (store, location) = (self.store.clone(), Path::from(folder));
        let listed = self.wait(async move { store.list(Some(&location)).try_collect::<Vec<_>>().await });
        let listed = listed.map_err(|error| self.error("cannot list", folder, error, 0))?;
        let file = |meta: ObjectMeta| {
            let modified_s = meta.last_modified.timestamp();
            Listed { path: meta.location.into(), bytes: meta.size, modified_s }
        };
        let mut files: Vec<Listed> = listed.into_iter().map(file).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Names of the folders in a folder.
    pub(crate) fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let (store, location) = (self.store.clone(), Path::from(folder));
        let listed = self.wait(async move { store.list_with_delimiter(Some(&location)).await });
        let listed = listed.map_err(|error| self.error("cannot list", folder, error, 0))?;
        Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// Deletes what nobody needs. A failure is logged and not an error: the object is an orphan, found again at open.
    pub(crate) fn delete_all(&self, paths: Vec<String>) {
        if paths.is_empty() {
            return;
        }
        let store = self.store.clone();
        let locations = futures::stream::iter(paths.into_iter().map(|path| Ok(Path::from(path)))).boxed();
        for result in self.wait(async move { store.delete_stream(locations).collect::<Vec<_>>().await }) {
            match result {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%error, "cannot delete an object that is no longer needed"),
            }
        }
    }

    /// Blocks the thread until the future is done. Whatever is done on other threads meanwhile may be tokio's.
    fn wait<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let Some(runtime) = self.requests.as_ref().and_then(|requests| requests.0.as_ref()) else {
            return futures::executor::block_on(unconstrained(future));
        };
        let (done, result) = sync_channel(1);
        runtime.spawn(async move {
            // The caller waits for it, unless its thread has panicked.
            let _ = done.send(future.await);
        });
        result.recv().expect("requests do not panic, and their runtime lives as long as what asks them")
    }

    fn error(&self, operation: &'static str, path: &str, error: Error, needed: u64) -> StoreError {
        // What a server says at length stands in several of the errors on the way: told once, in short.
        let words = if self.is_remote() { Some(s3::words(&error)) } else { None };
        let kind = io_kind(&error).unwrap_or(io::ErrorKind::Other);
        let source = match words {
            Some(words) => io::Error::new(kind, words),
            None => io::Error::new(kind, error),
        };
        StoreError::io(operation, &self.file(path), source, needed)
    }
}

/// The kind of the system's error at the bottom of an error of the object store.
fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}
