//! Reading a segment in ranges, each of them checked before it is used: for readers of this crate ([`Known::read`]) and, as an
//! object store, for what reads Parquet by itself ([`CheckedObjects`]).
//!
//! What is needed for it, the checksums of the row groups, is read once and kept while the segment lives: 4 bytes for every 16 KiB.
//! Segments of older versions have no such checksums and are checked as a whole, before their first read.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as ObjectResult,
};

use crate::objects::Objects;
use crate::parts::{self, Parts};
use crate::shared::Shared;
use crate::{SegmentFile, StoreError};

/// Ranges with less between them are asked of a server at once.
const GAP_BYTES: u64 = 64 << 10;

/// What is known of a segment's file.
#[derive(Debug)]
pub(crate) struct Known {
    path: Arc<str>,
    /// Size of the file.
    bytes: u64,
    parts: Parts,
    sums: Box<[u32]>,
}

impl Known {
    /// Reads what is behind the row groups; gives Parquet's end too. The error names the file and the offset.
    fn read_new(objects: &Objects, file: &SegmentFile, parts: Parts) -> Result<(Self, Bytes), StoreError> {
        let read = read_range(objects, file, parts.data..file.bytes)?;
        parts.check_behind(&read, file.bytes).map_err(|offset| damaged(objects, &file.path, offset))?;
        let at = |place: u64| (place - parts.data) as usize;
        let sums = parts::read_sums(&read[..at(parts.sums().end)]);
        let known = Self { path: file.path.clone(), bytes: file.bytes, parts, sums };
        Ok((known, read.slice(at(parts.counts().end)..)))
    }

    /// Where Parquet's end begins.
    pub(crate) fn end_offset(&self) -> u64 {
        self.parts.counts().end
    }

    /// Reads a range. The error names the file and, where it is damaged, the offset.
    pub(crate) fn read(&self, objects: &Objects, range: Range<u64>) -> Result<Bytes, StoreError> {
        let around = self.parts.around(&range, self.bytes);
        let read = objects.get_range(&self.path, around.clone())?;
        let read: Bytes = read.ok_or_else(|| objects.missing(&self.path))?.into();
        self.check(objects, &around, &read)?;
        Ok(read.slice((range.start - around.start) as usize..(range.end - around.start) as usize))
    }

    /// Reads several ranges at once, each of them or a wider one; gives them by where they begin.
    pub(crate) fn read_all(&self, objects: &Objects, ranges: &[Range<u64>]) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let mut around: Vec<Range<u64>> = ranges.iter().map(|range| self.parts.around(range, self.bytes)).collect();
        around.sort_unstable_by_key(|range| (range.start, range.end));
        let around = joined(around, if objects.is_remote() { GAP_BYTES } else { 0 });
        let read = objects.get_ranges(&self.path, &around)?.ok_or_else(|| objects.missing(&self.path))?;
        for (around, read) in around.iter().zip(&read) {
            self.check(objects, around, read)?;
        }
        Ok(around.into_iter().map(|range| range.start).zip(read).collect())
    }

    fn check(&self, objects: &Objects, around: &Range<u64>, read: &[u8]) -> Result<(), StoreError> {
        let checked = self.parts.check(around.start, read, &self.sums, self.bytes);
        checked.map_err(|offset| damaged(objects, &self.path, offset))
    }
}

/// A range of a segment's file that nobody has checked yet.
fn read_range(objects: &Objects, file: &SegmentFile, range: Range<u64>) -> Result<Bytes, StoreError> {
    match objects.get_range(&file.path, range)? {
        Some(read) => Ok(read.into()),
        None => Err(objects.missing(&file.path)),
    }
}

fn damaged(objects: &Objects, path: &str, offset: u64) -> StoreError {
    StoreError::damaged(objects.file(path), format!("the checksum at offset {offset} is wrong"))
}

/// What is known, and Parquet's end where it was read for that.
pub(crate) type KnownWithEnd = (Arc<Known>, Option<Bytes>);

impl Shared {
    /// What has to be known to read a segment in ranges, and Parquet's end where it had to be read for it. `None` for a segment of an
    /// older version, which has been checked as a whole.
    pub(crate) fn known(&self, file: &SegmentFile) -> Result<Option<KnownWithEnd>, StoreError> {
        let Some(parts) = file.parts else {
            if !self.is_verified(file.id) {
                self.segment_bytes(file)?;
            }
            return Ok(None);
        };
        let of_path = || self.known_segments().get(&*file.path).and_then(Weak::upgrade);
        if let Some(known) = file.pin.known.get().cloned().or_else(of_path) {
            let known = file.pin.known.get_or_init(|| known).clone();
            // Who reads by path only, DataFusion, has to find it, too.
            self.known_segments().entry(file.path.clone()).or_insert_with(|| Arc::downgrade(&known));
            return Ok(Some((known, None)));
        }
        let (known, end) = Known::read_new(&self.objects, file, parts)?;
        let mut by_path = self.known_segments();
        if by_path.len() == by_path.capacity() {
            by_path.retain(|_, known| known.strong_count() > 0);
        }
        // One for each path: what the path says must not go with one of several who hold the segment.
        let faster = by_path.get(&*file.path).and_then(Weak::upgrade);
        let known = faster.unwrap_or_else(|| Arc::new(known));
        by_path.insert(file.path.clone(), Arc::downgrade(&known));
        Ok(Some((file.pin.known.get_or_init(|| known).clone(), Some(end))))
    }

    /// The counts of a segment's lines, as they were written.
    pub(crate) fn counts_of(&self, file: &SegmentFile) -> Result<Option<Bytes>, StoreError> {
        let Some(parts) = file.parts.filter(|parts| parts.counts > 0) else { return Ok(None) };
        let read = read_range(&self.objects, file, parts.counts())?;
        if crc32c::crc32c(&read) != parts.counts_crc32c {
            return Err(damaged(&self.objects, &file.path, parts.counts().start));
        }
        Ok(Some(read))
    }
}

/// The objects of a store, to be read from: what is read of a segment that is known is checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedObjects(pub(crate) Arc<Shared>);

impl CheckedObjects {
    fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.0.objects.store
    }

    fn known(&self, location: &Path) -> Option<Arc<Known>> {
        self.0.known_segments().get(location.as_ref()).and_then(Weak::upgrade)
    }

    fn check(&self, known: &Known, around: &Range<u64>, read: &[u8]) -> ObjectResult<()> {
        if read.len() as u64 != around.end - around.start {
            return Err(generic(self.0.objects.missing(&known.path)));
        }
        known.check(&self.0.objects, around, read).map_err(generic)
    }
}

fn generic(error: StoreError) -> Error {
    Error::Generic { store: "segments", source: Box::new(error) }
}

fn read_only() -> Error {
    Error::NotImplemented { operation: "write".to_owned(), implementer: "CheckedObjects".to_owned() }
}

impl fmt::Display for CheckedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checked {}", self.inner())
    }
}

#[async_trait]
impl ObjectStore for CheckedObjects {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> ObjectResult<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> ObjectResult<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> ObjectResult<GetResult> {
        let Some(known) = self.known(location).filter(|_| !options.head) else {
            return self.inner().get_opts(location, options).await;
        };
        let range = match &options.range {
            None => 0..known.bytes,
            Some(range) => range
                .as_range(known.bytes)
                .map_err(|source| Error::Generic { store: "segments", source: Box::new(source) })?,
        };
        let around = known.parts.around(&range, known.bytes);
        let options = GetOptions { range: Some(around.clone().into()), ..options };
        let got = self.inner().get_opts(location, options).await?;
        let (meta, attributes) = (got.meta.clone(), got.attributes.clone());
        let read = got.bytes().await?;
        self.check(&known, &around, &read)?;
        let wanted = read.slice((range.start - around.start) as usize..(range.end - around.start) as usize);
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(wanted) }).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> ObjectResult<Vec<Bytes>> {
        let Some(known) = self.known(location) else {
            return self.inner().get_ranges(location, ranges).await;
        };
        let mut around: Vec<Range<u64>> = ranges.iter().map(|range| known.parts.around(range, known.bytes)).collect();
        around.sort_unstable_by_key(|range| (range.start, range.end));
        let around = joined(around, GAP_BYTES);
        let read = self.inner().get_ranges(location, &around).await?;
        for (around, read) in around.iter().zip(&read) {
            self.check(&known, around, read)?;
        }
        let part = |range: &Range<u64>| {
            let at = around.partition_point(|around| around.start <= range.start) - 1;
            let start = (range.start - around[at].start) as usize;
            read[at].slice(start..start + (range.end - range.start) as usize)
        };
        Ok(ranges.iter().map(part).collect())
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, ObjectResult<Path>>,
    ) -> BoxStream<'static, ObjectResult<Path>> {
        locations.map(|_| Err(read_only())).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, ObjectResult<ObjectMeta>> {
        self.inner().list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> ObjectResult<ListResult> {
        self.inner().list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> ObjectResult<()> {
        Err(read_only())
    }
}

/// Ranges in the order of their beginnings, those with no more than `gap` between them as one.
fn joined(ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_nearly_touch_are_read_at_once() {
        assert_eq!(joined(vec![0..10, 5..8, 20..30, 41..50], 10), [0..30, 41..50]);
        assert_eq!(joined(vec![0..10, 10..20, 21..30], 0), [0..20, 21..30]);
        assert!(joined(Vec::new(), 0).is_empty());
    }
}
