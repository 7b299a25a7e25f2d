//! Row groups of a Parquet file in memory, written batch by batch.
//!
//! Columns that come as dictionaries hold what resources say, and rows are numbers of resources (`sort` gives such batches): they are
//! written by `resource_column`, all others by Parquet's own writers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef, UInt32Type};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use crate::resource_column::{self, ResourceColumn};

/// Pages of resources' columns are compressed like all others.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// A file that is written.
pub(crate) struct RowGroups {
    file: SerializedFileWriter<Vec<u8>>,
    writers: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// The columns of the row group that is open.
    open: Option<Vec<Column>>,
    zstd: Compressor<'static>,
}

/// A field of the schema with all its leaves.
enum Column {
    OfRows(Vec<ArrowColumnWriter>),
    OfResources { of_resources: ArrayRef, leaves: Vec<ResourceColumn> },
}

impl RowGroups {
    /// A file of this schema, into `buffer`.
    pub(crate) fn new(buffer: Vec<u8>, schema: SchemaRef, properties: WriterProperties) -> Result<Self> {
        let columns = ArrowSchemaConverter::new().convert(&schema)?;
        let file = SerializedFileWriter::new(buffer, columns.root_schema_ptr(), Arc::new(properties))?;
        let writers = ArrowRowGroupWriterFactory::new(&file, schema.clone());
        Ok(Self { file, writers, schema, open: None, zstd: Compressor::new(ZSTD_LEVEL)? })
    }

    /// Adds rows to the open row group, or to a new one.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_columns() != self.schema.fields().len() {
            return Err(ParquetError::General(format!(
                "{} columns instead of {}",
                batch.num_columns(),
                self.schema.fields().len()
            )));
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(batch)?,
        };
        for ((column, field), values) in open.iter_mut().zip(self.schema.fields()).zip(batch.columns()) {
            match column {
                Column::OfRows(leaves) => {
                    for (leaf, values) in leaves.iter_mut().zip(compute_leaves(field, &of_rows(values)?)?) {
                        leaf.write(&values)?;
                    }
                }
                Column::OfResources { of_resources, leaves } => {
                    let own = of_resources_in(values).filter(|(_, all)| Arc::ptr_eq(all, of_resources));
                    let Some((resources, _)) = own else {
                        let reason = format!("{} is of other resources than before", field.name());
                        return Err(ParquetError::General(reason));
                    };
                    for leaf in leaves {
                        leaf.write(resources, &mut self.zstd)?;
                    }
                }
            }
        }
        self.open = Some(open);
        Ok(())
    }

    /// Ends the open row group, if there is one.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let mut group = self.file.next_row_group()?;
        for column in open {
            match column {
                Column::OfRows(leaves) => {
                    for leaf in leaves {
                        leaf.close()?.append_to_row_group(&mut group)?;
                    }
                }
                Column::OfResources { leaves, .. } => {
                    for leaf in leaves {
                        let (chunk, close) = leaf.close(&mut self.zstd)?;
                        group.append_column(&chunk, close)?;
                    }
                }
            }
        }
        group.close()?;
        Ok(())
    }

    /// What is known of the row groups that have ended.
    pub(crate) fn flushed_row_groups(&self) -> &[RowGroupMetaData] {
        self.file.flushed_row_groups()
    }

    /// Hands on what the writer has not handed on yet.
    pub(crate) fn sync(&mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }

    /// The file so far.
    pub(crate) fn inner(&self) -> &Vec<u8> {
        self.file.inner()
    }

    /// Puts bytes that Parquet knows nothing of behind the row groups.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all(bytes)?)
    }

    /// The whole file.
    pub(crate) fn into_inner(mut self) -> Result<Vec<u8>> {
        self.flush()?;
        self.file.into_inner()
    }

    /// The columns of a row group that begins with these rows.
    fn begin(&self, batch: &RecordBatch) -> Result<Vec<Column>> {
        let mut writers = self.writers.create_column_writers(self.file.flushed_row_groups().len())?.into_iter();
        let mut descrs: &[ColumnDescPtr] = self.file.schema_descr().columns();
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, values) in self.schema.fields().iter().zip(batch.columns()) {
            let leaves = if matches!(field.data_type(), DataType::Map(..)) { 2 } else { 1 };
            let of_rows: Vec<ArrowColumnWriter> = writers.by_ref().take(leaves).collect();
            let Some((own, rest)) = descrs.split_at_checked(leaves) else {
                return Err(ParquetError::General(format!("{} has other leaves than expected", field.name())));
            };
            descrs = rest;
            columns.push(match of_resources_in(values).filter(|(_, all)| resource_column::is_fit(all)) {
                Some((_, all)) => Column::OfResources {
                    of_resources: all.clone(),
                    leaves: ResourceColumn::of_field(all, own, self.file.properties())?,
                },
                None => Column::OfRows(of_rows),
            });
        }
        Ok(columns)
    }
}

/// The numbers of the rows' resources and what all resources say, where a column is of resources.
fn of_resources_in(values: &ArrayRef) -> Option<(&[u32], &ArrayRef)> {
    let dictionary = values.as_dictionary_opt::<UInt32Type>()?;
    Some((dictionary.keys().values(), dictionary.values()))
}

/// A column as Parquet's writers take it.
fn of_rows(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.as_dictionary_opt::<UInt32Type>() {
        Some(dictionary) => take(dictionary.values(), dictionary.keys(), None)?,
        None => values.clone(),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int64Array, RecordBatchReader, StringArray, UInt32Array};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Field, Schema};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::{
        ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    };
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use parquet::file::page_index::column_index::ColumnIndexMetaData;
    use parquet::file::properties::EnabledStatistics;
    use parquet::schema::types::ColumnPath;
    use proptest::prelude::*;

    use super::*;
    use crate::tables::{map_type, text_map_builder};

    /// A service, and attributes.
    type Said = (String, Vec<(String, Option<String>)>);
    /// The smallest and the largest text.
    type Ends = (Option<Vec<u8>>, Option<Vec<u8>>);
    /// Rows of a row group, the ends of its services, and of each page the first row and the ends.
    type GroupSaid = (i64, Ends, Vec<(i64, Ends)>);

    const PAGE_ROWS: usize = 64;

    fn schema() -> SchemaRef {
        let attributes = Field::new("resource", map_type(), false);
        let service = Field::new("service", DataType::Utf8, false);
        Arc::new(Schema::new(vec![service, Field::new("line", DataType::Int64, false), attributes]))
    }

    /// What the resources say: services and attributes.
    fn said(resources: &[Said]) -> [ArrayRef; 2] {
        let mut attributes = text_map_builder();
        for (_, entries) in resources {
            for (name, value) in entries {
                attributes.keys().append_value(name);
                attributes.values().append_option(value.as_ref());
            }
            attributes.append(true).expect("as many keys as values");
        }
        let services = StringArray::from_iter_values(resources.iter().map(|said| &said.0));
        [Arc::new(services), Arc::new(attributes.finish())]
    }

    /// Rows of these resources: with dictionaries, and with the texts themselves.
    fn batches([services, attributes]: &[ArrayRef; 2], numbers: &[u32]) -> [RecordBatch; 2] {
        let keys = UInt32Array::from(numbers.to_vec());
        let dictionary = |said: &ArrayRef| -> ArrayRef { Arc::new(DictionaryArray::new(keys.clone(), said.clone())) };
        let texts = |said: &ArrayRef| take(said, &keys, None).expect("takes");
        let lines: ArrayRef = Arc::new(Int64Array::from_iter_values((0..numbers.len()).map(|line| line as i64)));
        let columns = |of: &dyn Fn(&ArrayRef) -> ArrayRef| {
            let columns = [("service", of(services)), ("line", lines.clone()), ("resource", of(attributes))];
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false))).expect("fits")
        };
        [columns(&dictionary), columns(&texts)]
    }

    fn file_of(batch: &RecordBatch, rows_of_group: usize) -> Bytes {
        let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("a level");
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_write_batch_size(1)
            .set_data_page_row_count_limit(PAGE_ROWS);
        for leaf in ["keys", "values"] {
            let path = ColumnPath::from(vec!["resource".to_owned(), "entries".to_owned(), leaf.to_owned()]);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let mut file = RowGroups::new(Vec::new(), schema(), properties.build()).expect("begins");
        for from in (0..batch.num_rows()).step_by(rows_of_group) {
            file.write(&batch.slice(from, rows_of_group.min(batch.num_rows() - from))).expect("writes");
            file.flush().expect("flushes");
        }
        file.into_inner().expect("ends").into()
    }

    fn read(file: &Bytes, rows: Option<RowSelection>) -> Vec<ArrayRef> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).expect("opens");
        if let Some(rows) = rows {
            builder = builder.with_row_selection(rows);
        }
        let reader = builder.build().expect("reads");
        let schema = reader.schema();
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("reads")).collect();
        concat_batches(&schema, &batches).expect("the same schema").columns().to_vec()
    }

    fn services_said(file: &Bytes) -> Vec<GroupSaid> {
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        let metadata = reader.parse_and_finish(file).expect("reads");
        let ends = |min: Option<&[u8]>, max: Option<&[u8]>| (min.map(<[u8]>::to_vec), max.map(<[u8]>::to_vec));
        let (indexes, offsets) =
            (metadata.column_index().expect("is there"), metadata.offset_index().expect("is there"));
        let of_group = |(number, group): (usize, &RowGroupMetaData)| {
            let whole = group
                .column(0)
                .statistics()
                .map_or((None, None), |found| ends(found.min_bytes_opt(), found.max_bytes_opt()));
            let ColumnIndexMetaData::BYTE_ARRAY(index) = &indexes[number][0] else {
                return (group.num_rows(), whole, Vec::new());
            };
            let pages = offsets[number][0].page_locations.iter().enumerate();
            let pages =
                pages.map(|(page, at)| (at.first_row_index, ends(index.min_value(page), index.max_value(page))));
            (group.num_rows(), whole, pages.collect())
        };
        metadata.row_groups().iter().enumerate().map(of_group).collect()
    }

    fn resources() -> impl Strategy<Value = Vec<Said>> {
        let attributes = |count| prop::collection::vec(("[ab]{0,3}", prop::option::weighted(0.9, "[a-é]{0,4}")), count);
        let attributes = prop_oneof![attributes(0..4), attributes(3..4), attributes(30..70)];
        prop::collection::vec(("[a-d]{0,3}", attributes), 1..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_reader_finds_what_parquets_own_writer_would_have_written(
            resources in resources(),
            numbers in prop::collection::vec(0_u32..40, 1..400),
            rows_of_group in prop_oneof![Just(400_usize), Just(130), Just(PAGE_ROWS)],
            (from, rows) in (0_usize..300, 1_usize..50),
        ) {
            // Few of the resources follow each other in runs, as in a segment.
            let numbers: Vec<u32> = numbers.iter().map(|number| number / 2 % resources.len() as u32).collect();
            let [by_resource, by_row] = batches(&said(&resources), &numbers);
            let (file, expected) = (file_of(&by_resource, rows_of_group), file_of(&by_row, rows_of_group));
            prop_assert_eq!(&read(&file, None), by_row.columns());
            prop_assert_eq!(services_said(&file), services_said(&expected));
            let (from, rows) = (from.min(numbers.len() - 1), rows.min(numbers.len() - from.min(numbers.len() - 1)));
            let selection = vec![RowSelector::skip(from), RowSelector::select(rows)];
            let wanted = by_row.slice(from, rows);
            prop_assert_eq!(&read(&file, Some(selection.into())), wanted.columns());
        }
    }

    #[test]
    fn the_same_rows_are_the_same_bytes() {
        let resources: Vec<Said> =
            (0..9).map(|n| (format!("s{}", n % 4), vec![("host".to_owned(), Some(format!("h{n}")))])).collect();
        let numbers: Vec<u32> = (0..500).map(|row| row * row % 9).collect();
        let [rows, _] = batches(&said(&resources), &numbers);
        assert_eq!(file_of(&rows, 200), file_of(&rows, 200));
    }

    #[test]
    fn long_texts_are_not_named_as_ends_and_what_fills_a_dictionary_is_written_row_by_row() {
        let long = |n: usize| format!("{n}{}", "x".repeat(80));
        let resources = |count: usize, bytes: usize| -> Vec<Said> {
            (0..count).map(|n| (long(n), vec![("id".to_owned(), Some(format!("{n:0bytes$}")))])).collect()
        };
        for (count, bytes, is_dictionary) in [(3, 9, true), (70, 20_000, false)] {
            let said = said(&resources(count, bytes));
            assert_eq!(resource_column::is_fit(&said[1]), is_dictionary);
            let numbers: Vec<u32> = (0..200).map(|row| row % count as u32).collect();
            let [by_resource, by_row] = batches(&said, &numbers);
            let file = file_of(&by_resource, 200);
            assert_eq!(read(&file, None), by_row.columns());
            assert_eq!(services_said(&file), [(200, (None, None), vec![])]);
        }
    }

    #[test]
    fn rows_of_other_resources_than_those_of_the_row_group_are_refused() {
        let of = |service: &str| batches(&said(&[(service.to_owned(), vec![])]), &[0, 0]);
        let mut file = RowGroups::new(Vec::new(), schema(), WriterProperties::default()).expect("begins");
        file.write(&of("one")[0]).expect("writes");
        assert!(file.write(&of("two")[0]).is_err());
    }
}
