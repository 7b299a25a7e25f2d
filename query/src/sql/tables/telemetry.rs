//! A stored table as one snapshot: segments read through DataFusion's Parquet source, hot rows from memory, united.
//!
//! Filters go down into the Parquet source (statistics, page index, row filter); segments outside the time range of the
//! filters, and those that lack a word that `matches` looks for, are not opened at all. The snapshot is held until the last read: that is what keeps its files on disk.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use shipwake_store::{SegmentFile, StoreError, Table};

use super::hot::{HotPartition, Wanted};
use super::{Read, plain, prune};
use crate::search::language::Search;
use crate::search::prune::candidates;
use crate::sql::session::segments_url;

/// The rows of `tables` (of one schema) in the snapshot of `read`.
pub(super) fn provider(tables: &'static [Table], read: &Arc<Read>) -> Arc<dyn TableProvider> {
    let schema = plain(&tables[0].schema());
    Arc::new(Telemetry { tables, schema, read: read.clone() })
}

#[derive(Debug)]
struct Telemetry {
    tables: &'static [Table],
    schema: SchemaRef,
    read: Arc<Read>,
}

#[async_trait]
impl TableProvider for Telemetry {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters come here for pruning. DataFusion keeps them and moves them into the Parquet source itself.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let mut parts: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        let mut files = self.with_words(self.files(filters), filters).await?;
        if !self.read.is_checked_later {
            files = self.known(files).await?;
        }
        if !files.is_empty() {
            parts.push(self.scan_segments(state, &files, &projection, limit)?);
        }
        parts.extend(self.scan_hot(filters, &projection, limit)?);
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&projection)?)))),
            1 => Ok(parts.remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }
}

impl Telemetry {
    fn files(&self, filters: &[Expr]) -> Vec<&SegmentFile> {
        let range = prune::time_range(filters, self.tables[0].time_column());
        self.tables
            .iter()
            .flat_map(|table| self.read.snapshot.files(*table))
            .filter(|file| file.overlaps(range.start, range.end))
            .collect()
    }

    /// Those segments that can have what `matches(body, …)` looks for, as their blooms and index know it.
    async fn with_words<'a>(&self, files: Vec<&'a SegmentFile>, filters: &[Expr]) -> Result<Vec<&'a SegmentFile>> {
        let searches: Vec<Search> = filters.iter().filter_map(prune::matches_of).collect();
        if searches.is_empty() {
            return Ok(files);
        }
        let search = Search::And(searches);
        let (store, asked) = (self.read.store.clone(), files.iter().map(|file| (*file).clone()).collect::<Vec<_>>());
        let may_match =
            move || asked.iter().map(|file| !candidates(&store, file, &search).is_none()).collect::<Vec<bool>>();
        let may_match = tokio::task::spawn_blocking(may_match).await;
        let may_match = may_match.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(files.into_iter().zip(may_match).filter_map(|(file, may)| may.then_some(file)).collect())
    }

    /// Makes the store know how to check what DataFusion will read of these segments, so that a damaged one is never answered from.
    /// It is set aside: the rest is the answer, and the answer says so.
    async fn known<'a>(&self, files: Vec<&'a SegmentFile>) -> Result<Vec<&'a SegmentFile>> {
        let outside = |error: StoreError| DataFusionError::External(Box::new(error));
        let store = self.read.store.clone();
        let asked: Vec<SegmentFile> = files.iter().map(|file| (*file).clone()).collect();
        let known = move || -> std::result::Result<Vec<bool>, StoreError> {
            let is_good = |file: &SegmentFile| match store.know_segment(file) {
                Err(error) if store.set_aside(&error) => Ok(false),
                known => known.map(|()| true),
            };
            asked.iter().map(is_good).collect()
        };
        let known = tokio::task::spawn_blocking(known).await;
        let known = known.map_err(|error| DataFusionError::External(Box::new(error)))?.map_err(outside)?;
        Ok(files.into_iter().zip(known).filter_map(|(file, is_good)| is_good.then_some(file)).collect())
    }

    fn scan_segments(
        &self,
        state: &dyn Session,
        files: &[&SegmentFile],
        projection: &[usize],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let environment = state.runtime_env();
        let segments = environment.object_store(segments_url())?;
        let metadata = environment.cache_manager.get_file_metadata_cache();
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_pushdown_filters(true)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(segments, metadata)));
        let config = FileScanConfigBuilder::new(segments_url(), Arc::new(source))
            .with_file_groups(groups(files, state.config().target_partitions()))
            .with_projection_indices(Some(projection.to_vec()))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn scan_hot(
        &self,
        filters: &[Expr],
        projection: &[usize],
        limit: Option<usize>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let schema = Arc::new(self.schema.project(projection)?);
        let wanted = Arc::new(Wanted::by(filters, self.tables[0].time_column()));
        let mut partitions: Vec<Arc<dyn PartitionStream>> = Vec::new();
        for shard in &self.read.snapshot.shards {
            for (_, rows) in shard.hot.iter().filter(|(table, rows)| self.tables.contains(table) && !rows.is_empty()) {
                partitions.push(Arc::new(HotPartition {
                    schema: schema.clone(),
                    projection: projection.to_vec(),
                    rows: rows.clone(),
                    wanted: wanted.clone(),
                    read: self.read.clone(),
                }));
            }
        }
        if partitions.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?)))
    }
}

/// The files in at most `groups_max` groups of about equal size, largest files first.
fn groups(files: &[&SegmentFile], groups_max: usize) -> Vec<FileGroup> {
    let mut files = files.to_vec();
    files.sort_by_key(|file| std::cmp::Reverse(file.bytes));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); groups_max.clamp(1, files.len().max(1))];
    for file in files {
        let smallest = groups.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("there is at least one group");
        smallest.0 += file.bytes;
        smallest.1.push(PartitionedFile::new(file.path.to_string(), file.bytes));
    }
    groups.into_iter().filter(|(_, files)| !files.is_empty()).map(|(_, files)| FileGroup::new(files)).collect()
}
