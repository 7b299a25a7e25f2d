//! Hot rows as a partition that DataFusion reads. A chunk is turned into columns when it is pulled, and only into the
//! columns that are asked for, so a query holds one chunk at a time and not a copy of the hot rows.
//!
//! Of a chunk only the rows are gathered that time and resource let pass: a question about one service costs what that
//! service has sent, not what all have. What passes is still filtered by the plan.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use shipwake_store::{HotRows, RowChunk};

use super::{Read, prune};

/// What a row must have to be of interest.
#[derive(Debug)]
pub(super) struct Wanted {
    time: Range<i64>,
    texts: Vec<(String, Vec<String>)>,
}

/// Which rows of a chunk are of interest.
enum Places {
    All,
    Only(UInt32Array),
}

impl Wanted {
    /// What the filters of a scan leave.
    pub(super) fn by(filters: &[Expr], time_column: &str) -> Self {
        Wanted { time: prune::time_range(filters, time_column), texts: prune::texts(filters) }
    }

    /// The rows that may be of interest.
    fn places(&self, chunk: &RowChunk) -> Places {
        let of_resource = self.resources(chunk);
        let time = chunk.rows().column_by_name(chunk.table().time_column()).expect("every table has its time column");
        let times = time.as_primitive::<TimestampNanosecondType>().values();
        let in_time =
            |time_ns: i64| self.time.start <= time_ns && (time_ns < self.time.end || self.time.end == i64::MAX);
        let references = chunk.resource_refs().values();
        let wanted = |row: &usize| of_resource[references[*row] as usize] && in_time(times[*row]);
        let places: Vec<u32> = (0..times.len()).filter(wanted).map(|row| row as u32).collect();
        if places.len() == times.len() { Places::All } else { Places::Only(places.into()) }
    }

    /// For each resource of a chunk whether its rows are of interest.
    fn resources(&self, chunk: &RowChunk) -> Vec<bool> {
        let resources = chunk.resources();
        let mut wanted = vec![true; resources.num_rows()];
        for (name, texts) in &self.texts {
            let column = resources.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            let Some(column) = column else { continue };
            for (wanted, found) in wanted.iter_mut().zip(column) {
                *wanted &= found.is_some_and(|found| texts.iter().any(|text| text == found));
            }
        }
        wanted
    }
}

/// The hot rows of one shard and table.
#[derive(Debug)]
pub(super) struct HotPartition {
    pub schema: SchemaRef,
    pub projection: Vec<usize>,
    pub rows: Vec<HotRows>,
    pub wanted: Arc<Wanted>,
    pub read: Arc<Read>,
}

impl PartitionStream for HotPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, projection, read) = (self.schema.clone(), self.projection.clone(), self.read.clone());
        let (rows, wanted) = (self.rows.clone().into_iter(), self.wanted.clone());
        let batches = rows.filter_map(move |rows| project(&rows, &wanted, &projection, &schema, &read).transpose());
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

/// The rows of interest, or nothing where there are none.
fn project(
    rows: &HotRows,
    wanted: &Wanted,
    projection: &[usize],
    schema: &SchemaRef,
    read: &Read,
) -> Result<Option<RecordBatch>> {
    let batch = gather(rows, wanted, projection);
    if batch.num_rows() == 0 {
        return Ok(None);
    }
    read.count_hot(batch.get_array_memory_size());
    // The same columns under the plan's own schema, which has no comments.
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?;
    Ok(Some(batch))
}

fn gather(rows: &HotRows, wanted: &Wanted, projection: &[usize]) -> RecordBatch {
    let HotRows::Chunk(chunk) = rows else { return rows.to_batch(Some(projection)) };
    match wanted.places(chunk) {
        Places::All => chunk.to_batch(Some(projection)),
        Places::Only(places) => chunk.to_batch_at(&places, Some(projection)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, Int32Array, Int64Array, StringArray, TimestampNanosecondArray, UInt32Array, new_null_array,
    };
    use arrow::datatypes::{DataType, Int32Type, Schema};
    use datafusion::prelude::{col, lit};
    use datafusion::scalar::ScalarValue;
    use proptest::prelude::*;
    use shipwake_store::Table;
    use shipwake_store::tables::{RESOURCE_REF, text_map_builder};

    /// A row: its resource and its time.
    type Row = (u32, i64);

    fn columns(schema: &Schema, known: impl Fn(&str) -> Option<ArrayRef>, rows: usize) -> RecordBatch {
        let column = |name: &str, data_type: &DataType, nullable: bool| match (known(name), data_type) {
            (Some(column), _) => column,
            (None, _) if nullable => new_null_array(data_type, rows),
            (None, DataType::Utf8) => Arc::new(StringArray::from(vec![""; rows])),
            (None, DataType::Map(..)) => {
                let mut maps = text_map_builder();
                (0..rows).for_each(|_| maps.append(true).expect("empty maps"));
                Arc::new(maps.finish())
            }
            (None, other) => panic!("{name} is {other}"),
        };
        let fields = schema.fields().iter();
        let columns = fields.map(|field| column(field.name(), field.data_type(), field.is_nullable())).collect();
        RecordBatch::try_new(Arc::new(schema.clone()), columns).expect("the columns follow the schema")
    }

    /// Log rows numbered by their severity, of resources that are a service and a version each.
    fn chunk(resources: &[(String, String)], rows: &[Row]) -> RowChunk {
        let row_column = |name: &str| -> Option<ArrayRef> {
            Some(match name {
                RESOURCE_REF => Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.0))),
                "time" => {
                    let times = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
                    Arc::new(times.reinterpret_cast::<TimestampNanosecondType>().with_timezone("UTC"))
                        as Arc<TimestampNanosecondArray>
                }
                "severity_number" => Arc::new(Int32Array::from_iter_values(0..rows.len() as i32)),
                _ => return None,
            })
        };
        let resource_column = |name: &str| -> Option<ArrayRef> {
            let text = |get: fn(&(String, String)) -> &String| -> ArrayRef {
                Arc::new(StringArray::from_iter_values(resources.iter().map(get)))
            };
            match name {
                "service" => Some(text(|resource| &resource.0)),
                "version" => Some(text(|resource| &resource.1)),
                _ => None,
            }
        };
        let table = Table::Logs;
        let rows = columns(&table.rows_schema(), row_column, rows.len());
        let resources = columns(&table.resources_schema(), resource_column, resources.len());
        RowChunk::new(table, rows, Arc::new(resources)).expect("rows that fit")
    }

    fn ns(value: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(value), Some("UTC".into())))
    }

    proptest! {
        /// What is left out would not have passed the filters, and what is gathered is as it was: the same filters over
        /// the gathered rows find what they find over all.
        #[test]
        fn only_rows_that_cannot_pass_are_left_out(
            resources in prop::collection::vec(("[ab]", "[12]"), 1..6),
            rows in prop::collection::vec((any::<prop::sample::Index>(), 0i64..20), 0..60),
            service in prop::option::of("[abc]"),
            versions in prop::collection::vec("[123]", 0..3),
            (from, to) in (0i64..20, 0i64..24),
        ) {
            let rows: Vec<Row> = rows.iter().map(|(at, time)| (at.index(resources.len()) as u32, *time)).collect();
            let mut filters = vec![col("time").gt_eq(ns(from)).and(col("time").lt(ns(to)))];
            filters.extend(service.iter().map(|service| col("service").eq(lit(service.clone()))));
            if !versions.is_empty() {
                filters.push(col("version").in_list(versions.iter().map(|text| lit(text.clone())).collect(), false));
            }
            let passes = |row: &Row| {
                let (of, version) = &resources[row.0 as usize];
                (from..to).contains(&row.1)
                    && service.as_ref().is_none_or(|service| service == of)
                    && (versions.is_empty() || versions.contains(version))
            };
            let chunk = chunk(&resources, &rows);
            let wanted = Wanted::by(&filters, "time");
            let schema = Table::Logs.schema();
            let projection = ["severity_number", "service", "version", "time"].map(|name| schema.index_of(name).unwrap());
            let batch = gather(&HotRows::Chunk(Arc::new(chunk)), &wanted, &projection);
            let found: Vec<usize> = batch.column(0).as_primitive::<Int32Type>().values().iter().map(|n| *n as usize).collect();
            let expected: Vec<usize> = (0..rows.len()).filter(|row| passes(&rows[*row])).collect();
            prop_assert_eq!(&found, &expected);
            for (at, row) in found.iter().enumerate() {
                let (service, version) = &resources[rows[*row].0 as usize];
                prop_assert_eq!(batch.column(1).as_string::<i32>().value(at), service);
                prop_assert_eq!(batch.column(2).as_string::<i32>().value(at), version);
                prop_assert_eq!(batch.column(3).as_primitive::<TimestampNanosecondType>().value(at), rows[*row].1);
            }
        }
    }
}
