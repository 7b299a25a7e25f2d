//! Blocking access to the object store, with errors that name the file and what can be done.
//!
//! Writers and the start of the process work in threads of their own, so they wait here instead of being `async`. Such a
//! thread may be inside a runtime: tokio gives every task a budget of 128 steps until it yields, which a wait that blocks
//! its thread never does, so waits here are exempt from it.

use std::error::Error as _;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};

use tokio::task::unconstrained;

use crate::StoreError;

/// The object store of a directory.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// For messages only: what a person calls the place.
    root: PathBuf,
}

/// What became of a create-only put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// The object is there, with our bytes.
    Yes,
    /// An object of that name was there before.
    Exists,
}

/// An object's path and size.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

impl Objects {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, root: &FilePath) -> Self {
        Self { store, root: root.to_owned() }
    }

    /// The name of an object in messages.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn create(&self, path: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let size = bytes.len() as u64;
        match wait(self.store.put_opts(&Path::from(path), bytes.into(), PutMode::Create.into())) {
            Ok(_) => Ok(Created::Yes),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Created::Exists),
            Err(error) => Err(self.error("cannot write", path, error, size)),
        }
    }

    /// The bytes of an object, or `None` when there is none.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let read = wait(async { self.store.get(&Path::from(path)).await?.bytes().await });
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("cannot read", path, error, 0)),
        }
    }

    /// Some bytes of an object; all of the range, or `None` when there is no such object or it ends before. Files are read
    /// directly: a search reads many small ranges, from threads that must not wait for each other's.
    pub(crate) fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        let file = self.file(path);
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            File::open(&file)?.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof].contains(&error.kind()) => Ok(None),
            Err(error) => Err(StoreError::io("cannot read", &file, error, 0)),
        }
    }

    /// All objects under a folder, sorted by path.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let listed = wait(self.store.list(Some(&Path::from(folder))).try_collect::<Vec<_>>());
        let listed = listed.map_err(|error| self.error("cannot list", folder, error, 0))?;
        let mut files: Vec<Listed> =
            listed.into_iter().map(|meta| Listed { path: meta.location.into(), bytes: meta.size }).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Deletes what nobody needs. A failure is logged and not an error: the object is an orphan, found again at open.
    pub(crate) fn delete_all(&self, paths: Vec<String>) {
        if paths.is_empty() {
            return;
        }
        let locations = futures::stream::iter(paths.into_iter().map(|path| Ok(Path::from(path)))).boxed();
        let mut results = self.store.delete_stream(locations);
        while let Some(result) = wait(results.next()) {
            match result {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%error, "cannot delete an object that is no longer needed"),
            }
        }
    }

    fn error(&self, operation: &'static str, path: &str, error: Error, needed: u64) -> StoreError {
        let kind = io_kind(&error);
        let source = match kind {
            Some(kind) => io::Error::new(kind, error),
            None => io::Error::other(error),
        };
        StoreError::io(operation, &self.file(path), source, needed)
    }
}

/// Blocks the thread until the future is done. Whatever is done on other threads meanwhile may be tokio's.
fn wait<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(unconstrained(future))
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
