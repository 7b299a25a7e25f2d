//! The resources that the rows of a commit are of, each once, whichever chunk they came in. Pure.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

/// Resources, and which of them the rows of each chunk are of.
pub(crate) struct Resources {
    /// What they say.
    pub(crate) columns: RecordBatch,
    /// For each chunk and each of its rows the number of the resource.
    pub(crate) of_rows: Vec<Vec<u32>>,
}

impl Resources {
    /// Finds those that are the same in several chunks. Of each chunk: its resources, and of which its rows are.
    pub(crate) fn of(schema: SchemaRef, chunks: &[(&RecordBatch, &[u32])]) -> Self {
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut places: Vec<(usize, usize)> = Vec::new();
        let mut of_rows = Vec::with_capacity(chunks.len());
        for (chunk, (resources, references)) in chunks.iter().enumerate() {
            let mut number = |row: usize| {
                *numbers.entry(said_by(resources, row)).or_insert_with(|| {
                    places.push((chunk, row));
                    places.len() as u32 - 1
                })
            };
            let own: Vec<u32> = (0..resources.num_rows()).map(&mut number).collect();
            of_rows.push(references.iter().map(|row| own[*row as usize]).collect());
        }
        let column = |at: usize| {
            let arrays: Vec<&dyn Array> = chunks.iter().map(|(resources, _)| resources.column(at).as_ref()).collect();
            interleave(&arrays, &places).expect("chunks of a table have the same types, and places name what is there")
        };
        let columns: Vec<ArrayRef> = (0..schema.fields().len()).map(column).collect();
        Self { columns: RecordBatch::try_new(schema, columns).expect("the columns are those of the chunks"), of_rows }
    }
}

/// All that a resource says, so that two are the same when this is.
fn said_by(resources: &RecordBatch, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |text: Option<&str>| {
        // No text is as long as this, so that none is taken for a missing one.
        out.extend_from_slice(&text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
        out.extend_from_slice(text.unwrap_or_default().as_bytes());
    };
    for column in resources.columns() {
        let Some(map) = column.as_map_opt() else {
            let texts = column.as_string::<i32>();
            put(texts.is_valid(row).then(|| texts.value(row)));
            continue;
        };
        let (names, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        for entry in map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize {
            put(Some(names.value(entry)));
            put(values.is_valid(entry).then(|| values.value(entry)));
        }
        // Where the entries end.
        put(None);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;
    use crate::Table;
    use crate::tables::text_map_builder;

    /// A service and attributes.
    type Said = (String, Vec<(String, Option<String>)>);

    fn batch(resources: &[Said]) -> RecordBatch {
        let mut attributes = text_map_builder();
        for (_, entries) in resources {
            for (name, value) in entries {
                attributes.keys().append_value(name);
                attributes.values().append_option(value.as_ref());
            }
            attributes.append(true).expect("as many keys as values");
        }
        let services = || -> ArrayRef { Arc::new(StringArray::from_iter_values(resources.iter().map(|said| &said.0))) };
        let mut columns: Vec<ArrayRef> = (0..5).map(|_| services()).collect();
        columns.push(Arc::new(attributes.finish()));
        RecordBatch::try_new(Table::Logs.resources_schema(), columns).expect("the columns fit")
    }

    fn said() -> impl Strategy<Value = Said> {
        ("[ab]{0,2}", prop::collection::vec(("[ab]{0,2}", prop::option::of("[ab]{0,2}")), 0..3))
    }

    proptest! {
        #[test]
        fn every_row_keeps_its_resource_and_none_is_there_twice(
            chunks in prop::collection::vec((prop::collection::vec(said(), 1..6), prop::collection::vec(0_u32..60, 0..9)), 1..5)
        ) {
            let batches: Vec<RecordBatch> = chunks.iter().map(|(resources, _)| batch(resources)).collect();
            let references: Vec<Vec<u32>> = chunks
                .iter()
                .map(|(resources, rows)| rows.iter().map(|row| row % resources.len() as u32).collect())
                .collect();
            let all: Vec<(&RecordBatch, &[u32])> = batches.iter().zip(references.iter().map(Vec::as_slice)).collect();
            let found = Resources::of(Table::Logs.resources_schema(), &all);
            let different: std::collections::BTreeSet<&Said> = chunks.iter().flat_map(|(resources, _)| resources).collect();
            prop_assert_eq!(found.columns.num_rows(), different.len());
            for ((batch, references), numbers) in all.iter().zip(&found.of_rows) {
                prop_assert_eq!(references.len(), numbers.len());
                for (row, number) in references.iter().zip(numbers) {
                    prop_assert_eq!(batch.slice(*row as usize, 1), found.columns.slice(*number as usize, 1));
                }
            }
        }
    }
}
