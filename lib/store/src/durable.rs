//! An object store in a local directory that keeps what it has acknowledged.
//!
//! `object_store`'s own local store never calls fsync. Here a put writes a temporary file, fsyncs it, links it to its
//! name (create-only) or renames it over its name, and fsyncs the directory; when it returns, the object is on the
//! disk. An object is either whole or absent, whatever happens in between. Reads are those of the local store.
//! Multi-part uploads and copies are refused: nothing here uses them, and the local store would not make them durable.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Folder of temporary files. What is in it when a directory is opened was never acknowledged.
pub const TEMPORARY: &str = "tmp";

/// See the head of the file.
#[derive(Debug)]
pub struct DurableLocal {
    inner: LocalFileSystem,
    temporary: PathBuf,
    next_temporary: AtomicU64,
}

impl DurableLocal {
    /// An object store in `root`, which must exist. Empties the folder of temporary files.
    pub fn open(root: &FilePath) -> Result<Self> {
        let temporary = root.join(TEMPORARY);
        make_directories(&temporary).map_err(generic)?;
        for entry in fs::read_dir(&temporary).map_err(generic)? {
            fs::remove_file(entry.map_err(generic)?.path()).map_err(generic)?;
        }
        Ok(Self { inner: LocalFileSystem::new_with_prefix(root)?, temporary, next_temporary: AtomicU64::new(0) })
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create_only = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return Err(unsupported("put with PutMode::Update")),
        };
        let target = self.inner.path_to_filesystem(location)?;
        let temporary = self.temporary.join(self.next_temporary.fetch_add(1, Ordering::Relaxed).to_string());
        let put = move || {
            let parts: Vec<&[u8]> = payload.iter().map(AsRef::as_ref).collect();
            match write_durably(&temporary, &target, &parts, create_only) {
                Ok(()) => Ok(PutResult { e_tag: None, version: None }),
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                    Err(Error::AlreadyExists { path: target.display().to_string(), source: source.into() })
                }
                Err(source) => Err(generic(source)),
            }
        };
        // A writer's own thread does the work itself; a task of a runtime must not block its worker on the disk.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(put).await?,
            Err(_) => put(),
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported("put_multipart"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unsupported("copy"))
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableLocal({})", self.temporary.display())
    }
}

/// Makes `target` with exactly these bytes, durably, by way of `temporary` on the same file system.
///
/// With `create_only` an existing target is the error `AlreadyExists` and stays as it is. On any error the temporary
/// file is removed, and the target is what it was, except when the very last step fails, the fsync of the directory:
/// then the target is there but may be gone after a power loss.
pub(crate) fn write_durably(
    temporary: &FilePath,
    target: &FilePath,
    parts: &[&[u8]],
    create_only: bool,
) -> io::Result<()> {
    let parent = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_directories(parent)?;
    let published = write_synced(temporary, parts)
        .and_then(|()| if create_only { fs::hard_link(temporary, target) } else { fs::rename(temporary, target) });
    if create_only || published.is_err() {
        // A left-over is removed at the next open; it must not hide the error that led here.
        let _ = fs::remove_file(temporary);
    }
    published?;
    sync_directory(parent)
}

fn write_synced(path: &FilePath, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// Makes a directory and its parents, each of them durable, readable by the owner only.
pub(crate) fn make_directories(path: &FilePath) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => FilePath::new("."),
    };
    make_directories(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_directory(parent)
}

fn sync_directory(path: &FilePath) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn generic(source: io::Error) -> Error {
    Error::Generic { store: "DurableLocal", source: source.into() }
}

fn unsupported(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "DurableLocal".to_owned() }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use object_store::ObjectStoreExt;

    use super::*;

    fn put(store: &DurableLocal, path: &str, bytes: &'static [u8], mode: PutMode) -> Result<PutResult> {
        block_on(store.put_opts(&Path::from(path), bytes.into(), mode.into()))
    }

    #[test]
    fn create_only_puts_have_one_winner_and_leave_no_temporary_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = DurableLocal::open(dir.path()).expect("opens");
        put(&store, "a/b/c", b"first", PutMode::Create).expect("the first put wins");
        let second = put(&store, "a/b/c", b"second", PutMode::Create);
        assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
        let read = || block_on(async { store.get(&Path::from("a/b/c")).await?.bytes().await }).expect("reads");
        assert_eq!(read(), "first");
        put(&store, "a/b/c", b"third", PutMode::Overwrite).expect("overwrites");
        assert_eq!(read(), "third");
        assert_eq!(fs::read_dir(dir.path().join(TEMPORARY)).expect("lists").count(), 0);
    }

    #[test]
    fn files_and_folders_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let store = DurableLocal::open(dir.path()).expect("opens");
        put(&store, "a/b", b"x", PutMode::Create).expect("puts");
        let mode = |name: &str| fs::metadata(dir.path().join(name)).expect("is there").permissions().mode() & 0o777;
        assert_eq!((mode("a"), mode("a/b")), (0o700, 0o600));
    }

    #[test]
    fn what_would_not_be_durable_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = DurableLocal::open(dir.path()).expect("opens");
        let path = Path::from("a");
        assert!(block_on(store.put_multipart(&path)).is_err());
        put(&store, "a", b"x", PutMode::Create).expect("puts");
        assert!(block_on(store.copy(&path, &Path::from("b"))).is_err());
    }
}
