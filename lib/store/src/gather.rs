//! Texts of several arrays put into one, in an order of the caller's. Pure.
//!
//! Arrow's own `interleave` does the same for any type; this knows the types and takes half of the time. Most of what is copied for a
//! commit are texts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, StringBuilder};

use crate::tables::TextMapBuilder;

/// The texts at `places`: the array and the entry in it. Panics where there is none.
pub(crate) fn gather_texts<'a>(arrays: impl Iterator<Item = &'a ArrayRef>, places: &[(usize, usize)]) -> ArrayRef {
    let arrays: Vec<&StringArray> = arrays.map(|array| array.as_string()).collect();
    let bytes = places.iter().map(|&(array, entry)| arrays[array].value_length(entry) as usize).sum();
    let mut out = StringBuilder::with_capacity(places.len(), bytes);
    if arrays.iter().all(|array| array.null_count() == 0) {
        places.iter().for_each(|&(array, entry)| out.append_value(arrays[array].value(entry)));
    } else {
        for &(array, entry) in places {
            let texts = arrays[array];
            out.append_option(texts.is_valid(entry).then(|| texts.value(entry)));
        }
    }
    Arc::new(out.finish())
}

/// The maps from text to text at `places`.
pub(crate) fn gather_map<'a>(arrays: impl Iterator<Item = &'a ArrayRef>, places: &[(usize, usize)]) -> ArrayRef {
    let maps: Vec<(&MapArray, &StringArray, &StringArray)> =
        arrays.map(|array| array.as_map()).map(|map| (map, map.keys().as_string(), map.values().as_string())).collect();
    let entries_of = |array: usize, row: usize| {
        let offsets = maps[array].0.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    };
    let (mut entries, mut bytes) = (0, [0; 2]);
    for &(array, row) in places {
        let (of_row, (_, keys, values)) = (entries_of(array, row), maps[array]);
        entries += of_row.len();
        for (bytes, texts) in bytes.iter_mut().zip([keys, values]) {
            let offsets = texts.value_offsets();
            *bytes += (offsets[of_row.end] - offsets[of_row.start]) as usize;
        }
    }
    let texts = |bytes: usize| StringBuilder::with_capacity(entries, bytes);
    let mut out = TextMapBuilder::with_capacity(None, texts(bytes[0]), texts(bytes[1]), places.len());
    for &(array, row) in places {
        let (map, keys, values) = maps[array];
        for entry in entries_of(array, row) {
            out.keys().append_value(keys.value(entry));
            out.values().append_option(values.is_valid(entry).then(|| values.value(entry)));
        }
        out.append(map.is_valid(row)).expect("as many keys as values were appended");
    }
    Arc::new(out.finish())
}

#[cfg(test)]
mod tests {
    use arrow::compute::interleave;
    use proptest::prelude::*;

    use super::*;
    use crate::tables::text_map_builder;

    type Rows = Vec<Vec<(String, Option<String>)>>;

    fn map(rows: &Rows) -> ArrayRef {
        let mut out = text_map_builder();
        for row in rows {
            for (key, value) in row {
                out.keys().append_value(key);
                out.values().append_option(value.as_ref());
            }
            out.append(true).expect("as many keys as values");
        }
        Arc::new(out.finish())
    }

    proptest! {
        #[test]
        fn what_is_gathered_is_what_arrow_gathers(
            sources in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(("[aé]{0,3}", prop::option::weighted(0.8, "[aé]{0,5}")), 0..4), 3..20),
                1..4,
            ),
            places in prop::collection::vec((0_usize..9, 0_usize..60), 0..50),
        ) {
            let texts = |rows: &Rows| -> ArrayRef {
                let first = |row: &Vec<(String, Option<String>)>| row.first().and_then(|(_, value)| value.clone());
                Arc::new(rows.iter().map(first).collect::<StringArray>())
            };
            let names = |rows: &Rows| -> ArrayRef {
                let first = |row: &Vec<(String, Option<String>)>| row.first().map_or(String::new(), |(name, _)| name.clone());
                Arc::new(StringArray::from_iter_values(rows.iter().map(first)))
            };
            let place = |(array, row): &(usize, usize)| (array % sources.len(), row % (sources[array % sources.len()].len() - 2));
            let places: Vec<(usize, usize)> = places.iter().map(place).collect();
            // Slices of arrays, so that nothing begins at the first entry.
            let all = |of: &dyn Fn(&Rows) -> ArrayRef| -> Vec<ArrayRef> {
                sources.iter().map(|rows| of(rows).slice(2, rows.len() - 2)).collect()
            };
            let by_arrow = |arrays: &[ArrayRef]| {
                let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
                interleave(&arrays, &places).expect("the places are there")
            };
            for arrays in [all(&texts), all(&names)] {
                prop_assert_eq!(&gather_texts(arrays.iter(), &places), &by_arrow(&arrays));
            }
            let maps = all(&map);
            prop_assert_eq!(&gather_map(maps.iter(), &places), &by_arrow(&maps));
        }
    }
}
