//! Segments one behind the other, as they are: row groups, blooms and counts are copied, not decoded. A row is encoded once in its
//! life then; only the index is made here, from the bodies.
//!
//! Each row group of what comes out is sorted by itself, and their times may overlap, so the file says so: who merges it again takes
//! every row group as an input of its own. What is copied is checked while it is read; where something cannot be copied
//! ([`NotCopied::Unfit`]) the rows are merged one by one instead.

use std::fmt;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowSchemaConverter, ProjectionMask};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::writer::SerializedFileWriter;

use super::run::Pace;
use crate::bloom::BloomsBuilder;
use crate::counts::{self, CountsBuilder};
use crate::encode::{Beside, Encoded, index_words, properties};
use crate::index::IndexBuilder;
use crate::parts::{Behind, Parts};
use crate::shared::Shared;
use crate::{SegmentFile, StoreError, Table};

/// Row groups that are copied have at least this many rows on average: each costs every reader its part of the footer.
pub(super) const GROUP_ROWS_MIN: u64 = 32 * 1024;
/// Bodies that are read at a time.
const BATCH_ROWS: usize = 4096;
/// What the metadata of a file says whose row groups are sorted each by itself.
const SORTED: &str = "shipwake.sorted";
const BY_ROW_GROUP: &str = "row group";

/// Segments that are put together.
pub(super) struct Join {
    parquet: SerializedFileWriter<Vec<u8>>,
    rows: u64,
    /// More than one was copied, or one that is so.
    is_by_row_group: bool,
    counts: Option<CountsBuilder>,
    blooms: Option<BloomsBuilder>,
    index: Option<IndexBuilder>,
}

/// A segment, all of it, with what is copied besides. Checked already.
pub(super) struct Piece {
    pub(super) segment: Bytes,
    pub(super) parts: Parts,
    pub(super) blooms: Option<Bytes>,
}

/// Why a segment was not copied.
#[derive(Debug)]
pub(super) enum NotCopied {
    /// It is of an older form, or what lies beside it is damaged: its rows have to be written anew.
    Unfit(String),
    /// It is damaged, or the disk.
    Failed(StoreError),
    /// The program is to stop.
    Stopped,
}

impl From<StoreError> for NotCopied {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<ParquetError> for NotCopied {
    fn from(error: ParquetError) -> Self {
        Self::Unfit(error.to_string())
    }
}

/// Whether the row groups of a segment are large enough to be kept as they are, as far as its description says.
pub(super) fn is_fit(file: &SegmentFile) -> bool {
    file.parts.is_some() && file.rows >= GROUP_ROWS_MIN && (file.table != Table::Logs || file.blooms.is_some())
}

/// Whether the row groups of a file are sorted each by itself, and not the file as a whole.
pub(super) fn is_by_row_group(metadata: &ParquetMetaData) -> bool {
    let said = metadata.file_metadata().key_value_metadata();
    said.is_some_and(|said| said.iter().any(|said| said.key == SORTED && said.value.as_deref() == Some(BY_ROW_GROUP)))
}

impl From<Encoded> for Piece {
    fn from(encoded: Encoded) -> Self {
        Self { segment: encoded.segment, parts: encoded.parts, blooms: encoded.blooms }
    }
}

impl Piece {
    /// Reads and checks a segment.
    pub(super) fn read(shared: &Shared, file: &SegmentFile) -> Result<Self, NotCopied> {
        let Some(parts) = file.parts else { return Err(NotCopied::Unfit("it has no parts".to_owned())) };
        let blooms = match &file.blooms {
            None => None,
            Some(side) => {
                // Rows can do without their blooms, whatever is wrong with them.
                let unfit = |what: &dyn fmt::Display| NotCopied::Unfit(format!("{}: {what}", side.path));
                let read = shared.objects.get(&side.path).map_err(|error| unfit(&error))?;
                Some(read.ok_or_else(|| unfit(&"missing"))?)
            }
        };
        Ok(Self { segment: shared.segment_bytes(file)?, parts, blooms })
    }
}

impl Join {
    /// For about `bytes` bytes.
    pub(super) fn new(table: Table, rows: usize, bytes: usize, beside: Beside) -> ParquetResult<Self> {
        let schema = ArrowSchemaConverter::new().convert(&table.schema())?.root_schema_ptr();
        let file = Vec::with_capacity(bytes);
        let parquet = SerializedFileWriter::new(file, schema, properties(table, rows).into())?;
        let is_searched = table == Table::Logs;
        Ok(Self {
            parquet,
            rows: 0,
            is_by_row_group: false,
            counts: is_searched.then(CountsBuilder::default),
            blooms: is_searched.then(BloomsBuilder::new),
            index: (is_searched && beside == Beside::BloomsAndIndex).then(IndexBuilder::default),
        })
    }

    /// Copies a segment behind those before. `pace` is asked after each row group and every few thousand bodies.
    pub(super) fn add(&mut self, piece: &Piece, pace: &mut dyn FnMut() -> Pace) -> Result<(), NotCopied> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let arrow = ArrowReaderMetadata::load(&piece.segment, options)?;
        let metadata = arrow.metadata();
        if metadata.file_metadata().schema_descr().root_schema() != self.parquet.schema_descr().root_schema() {
            return Err(NotCopied::Unfit("it was written without a column".to_owned()));
        }
        let rows: u64 = metadata.row_groups().iter().map(|group| group.num_rows() as u64).sum();
        self.add_beside(piece, rows)?;
        self.is_by_row_group |= self.rows > 0 || is_by_row_group(metadata);
        for group in 0..metadata.num_row_groups() {
            self.add_group(&piece.segment, metadata, group)?;
            stop_if(pace)?;
        }
        self.rows += rows;
        self.add_bodies(piece, arrow, pace)
    }

    /// Blooms and counts.
    fn add_beside(&mut self, piece: &Piece, rows: u64) -> Result<(), NotCopied> {
        if let Some(blooms) = &mut self.blooms {
            let file = piece.blooms.as_ref().ok_or_else(|| NotCopied::Unfit("it has no blooms".to_owned()))?;
            let added = blooms.append(file, rows);
            added.map_err(|(at, what)| NotCopied::Unfit(format!("blooms, offset {at}: {what}")))?;
        }
        if let Some(all) = &mut self.counts {
            let at = piece.parts.counts();
            let counts = counts::read(&piece.segment[at.start as usize..at.end as usize]);
            all.append(counts.as_ref(), rows as usize);
        }
        Ok(())
    }

    fn add_group(&mut self, file: &Bytes, metadata: &ParquetMetaData, group: usize) -> Result<(), NotCopied> {
        let of = metadata.row_group(group);
        let column_indexes = metadata.column_index().and_then(|groups| groups.get(group));
        let offset_indexes = metadata.offset_index().and_then(|groups| groups.get(group));
        let mut writer = self.parquet.next_row_group()?;
        for (leaf, column) in of.columns().iter().enumerate() {
            let is_there = |index: &&ColumnIndexMetaData| !matches!(index, ColumnIndexMetaData::NONE);
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size() as u64,
                rows_written: of.num_rows() as u64,
                metadata: column.clone(),
                bloom_filter: Sbbf::read_from_column_chunk(column, file)?,
                column_index: column_indexes.and_then(|columns| columns.get(leaf)).filter(is_there).cloned(),
                offset_index: offset_indexes.and_then(|columns| columns.get(leaf)).cloned(),
            };
            writer.append_column(file, close)?;
        }
        writer.close()?;
        Ok(())
    }

    fn add_bodies(
        &mut self,
        piece: &Piece,
        metadata: ArrowReaderMetadata,
        pace: &mut dyn FnMut() -> Pace,
    ) -> Result<(), NotCopied> {
        let Some(index) = &mut self.index else { return Ok(()) };
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(piece.segment.clone(), metadata);
        let body = ProjectionMask::columns(reader.parquet_schema(), ["body"]);
        for batch in reader.with_projection(body).with_batch_size(BATCH_ROWS).build()? {
            let batch = batch.map_err(ParquetError::from)?;
            index_words(index, &batch).map_err(|error| ParquetError::External(Box::new(error)))?;
            stop_if(pace)?;
        }
        Ok(())
    }

    /// The files.
    pub(super) fn finish(mut self) -> ParquetResult<Encoded> {
        let external = |error| ParquetError::External(Box::new(error));
        let index = self.index.map(IndexBuilder::finish).transpose().map_err(external)?;
        let counts = self.counts.map(CountsBuilder::finish).unwrap_or_default();
        if self.is_by_row_group {
            self.parquet.append_key_value_metadata(KeyValue::new(SORTED.to_owned(), BY_ROW_GROUP.to_owned()));
        }
        self.parquet.flush()?;
        let behind = Behind::of(self.parquet.inner(), counts);
        self.parquet.write_all(&behind.bytes())?;
        let segment = self.parquet.into_inner()?;
        let parts = behind.parts(&segment);
        Ok(Encoded {
            rows: self.rows,
            segment: segment.into(),
            parts,
            blooms: self.blooms.map(|blooms| blooms.finish().into()),
            index: index.map(Bytes::from),
        })
    }
}

fn stop_if(pace: &mut dyn FnMut() -> Pace) -> Result<(), NotCopied> {
    if pace() == Pace::Stop { Err(NotCopied::Stopped) } else { Ok(()) }
}
