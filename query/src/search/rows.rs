//! Some rows in memory, whatever they came from, column by column.
//!
//! Columns with few different values are kept as those values and, for each row, which one it is: a test is made once per value.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, max, min, take};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type};
use shipwake_store::RowChunk;

/// Columns that segments are read with as few values and references.
pub(crate) const FEW_VALUES: [&str; 9] = [
    "service",
    "namespace",
    "environment",
    "version",
    "instance",
    "severity_text",
    "event_name",
    "pattern_id",
    "scope_name",
];

/// A column: its values, and for each row the index of its own where they are not the rows themselves.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    values: ArrayRef,
    references: Option<UInt32Array>,
}

impl Column {
    /// A column as Arrow has it.
    pub fn new(array: &ArrayRef) -> Self {
        match array.data_type() {
            DataType::Dictionary(..) => {
                let dictionary = array.as_dictionary::<Int32Type>();
                // A key that is missing stays missing; the others are not negative.
                let keys = cast(dictionary.keys(), &DataType::UInt32).expect("keys of a dictionary are not negative");
                let references = keys.as_primitive::<UInt32Type>().clone();
                Self { values: dictionary.values().clone(), references: Some(references) }
            }
            _ => Self { values: array.clone(), references: None },
        }
    }

    /// Which rows have a value that `test` accepts; `test` is asked by the index of the value.
    pub fn rows_where(&self, rows: usize, test: impl Fn(usize) -> bool) -> Vec<bool> {
        match &self.references {
            None => (0..rows).map(test).collect(),
            Some(references) => {
                let of_values: Vec<bool> = (0..self.values.len()).map(test).collect();
                let of_row = |row: usize| !references.is_null(row) && of_values[references.value(row) as usize];
                (0..rows).map(of_row).collect()
            }
        }
    }

    /// The values, for [`Column::rows_where`].
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// The values as text, if they are.
    pub fn texts(&self) -> Option<&StringArray> {
        self.values.as_string_opt::<i32>()
    }

    /// The index of the row's value.
    pub fn value_of(&self, row: usize) -> Option<usize> {
        let index = match &self.references {
            None => row,
            Some(references) if references.is_null(row) => return None,
            Some(references) => references.value(row) as usize,
        };
        (!self.values.is_null(index)).then_some(index)
    }

    /// The row's text.
    pub fn text(&self, row: usize) -> Option<&str> {
        let index = self.value_of(row)?;
        self.texts().map(|texts| texts.value(index))
    }

    /// The row's whole number.
    pub fn number(&self, row: usize) -> Option<i64> {
        let index = self.value_of(row)?;
        match self.values.data_type() {
            DataType::Int32 => Some(self.values.as_primitive::<Int32Type>().value(index).into()),
            DataType::Int64 => Some(self.values.as_primitive::<Int64Type>().value(index)),
            DataType::Timestamp(..) => Some(self.values.as_primitive::<TimestampNanosecondType>().value(index)),
            _ => None,
        }
    }

    /// The times of all rows, for columns of times, which are there for every row.
    pub fn all_times(&self) -> Option<&[i64]> {
        let times = self.values.as_primitive_opt::<TimestampNanosecondType>()?;
        (self.references.is_none() && times.null_count() == 0).then(|| &times.values()[..])
    }

    /// The smallest and the largest time.
    pub fn times(&self) -> Option<(i64, i64)> {
        let times = self.values.as_primitive_opt::<TimestampNanosecondType>()?;
        min(times).zip(max(times))
    }

    /// The row's map: names and values, in their order.
    pub fn map(&self, row: usize) -> Vec<(String, String)> {
        let Some((index, map)) = self.value_of(row).zip(self.values.as_map_opt()) else { return Vec::new() };
        let entries = map.value(index);
        let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
        (0..keys.len()).map(|at| (keys.value(at).to_owned(), values.value(at).to_owned())).collect()
    }
}

/// Rows with some of their columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub len: usize,
    columns: HashMap<String, Column>,
}

impl Rows {
    /// Rows of a batch.
    pub fn of_batch(batch: &RecordBatch) -> Self {
        let schema = batch.schema_ref();
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| (field.name().clone(), Column::new(array)));
        Self { len: batch.num_rows(), columns: columns.collect() }
    }

    /// Rows of a chunk, with the columns that are named.
    pub fn of_chunk(chunk: &RowChunk, names: &[&'static str]) -> Self {
        let mut columns = HashMap::new();
        for name in names {
            let column = match chunk.resources().column_by_name(name) {
                Some(values) => Column { values: values.clone(), references: Some(chunk.resource_refs().clone()) },
                None => match chunk.rows().column_by_name(name) {
                    Some(array) => Column::new(array),
                    None => continue,
                },
            };
            columns.insert((*name).to_owned(), column);
        }
        Self { len: chunk.num_rows(), columns }
    }

    /// A column, if it was read and the rows have it.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    /// Only some rows, by their indices.
    pub fn taken(&self, rows: &[u32]) -> Cow<'_, Self> {
        if rows.len() == self.len {
            return Cow::Borrowed(self);
        }
        let indices = UInt32Array::from(rows.to_vec());
        let narrowed = |column: &Column| match &column.references {
            Some(references) => {
                let references = take(references, &indices, None).expect("rows are within bounds");
                Column {
                    values: column.values.clone(),
                    references: Some(references.as_primitive::<UInt32Type>().clone()),
                }
            }
            None => Column {
                values: take(&column.values, &indices, None).expect("rows are within bounds"),
                references: None,
            },
        };
        let columns = self.columns.iter().map(|(name, column)| (name.clone(), narrowed(column))).collect();
        Cow::Owned(Self { len: rows.len(), columns })
    }
}
