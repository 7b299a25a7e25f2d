//! Bytes of senders into text columns: what is not UTF-8 becomes U+FFFD and costs nobody else anything.
//!
//! Columns are finished here too: the next chunk of a column begins with room for as much as the last one had, so that a
//! busy shard does not double and copy its buffers some ten times for every chunk.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveBuilder, StringBuilder};
use arrow::temporal_conversions::timestamp_s_to_datetime;
use shipwake_otlp::{AnyValue, KeyValues};
use shipwake_store::tables::TextMapBuilder;

use crate::health::RequestParts;

/// The attribute that keeps the time of a record whose clock was too far ahead, as RFC 3339.
pub const ORIGINAL_TIME: &str = "shipwake.original_time";

/// Appends text.
#[inline]
pub fn append_text(column: &mut StringBuilder, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => column.append_value(text),
        Err(_) => column.append_value(String::from_utf8_lossy(bytes)),
    }
}

/// Appends text, or null where there is none.
#[inline]
pub fn append_optional(column: &mut StringBuilder, bytes: &[u8]) {
    if bytes.is_empty() {
        column.append_null();
    } else {
        append_text(column, bytes);
    }
}

/// Appends the text form of a value. Returns how many bytes it took.
#[inline]
pub fn append_value(column: &mut StringBuilder, value: &AnyValue<'_>, scratch: &mut Vec<u8>) -> usize {
    if let AnyValue::String(text) = value {
        append_text(column, text);
        return text.len();
    }
    scratch.clear();
    value.write_text(scratch);
    append_text(column, scratch);
    scratch.len()
}

/// Appends an id in hexadecimal; null for a length that is none, and for the invalid id of zeros.
#[inline]
pub fn append_id<const BYTES: usize>(column: &mut StringBuilder, id: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let id = <&[u8; BYTES]>::try_from(id).ok().filter(|id| **id != [0; BYTES]);
    let Some(id) = id else {
        column.append_null();
        return;
    };
    // As long as the longest id, which is that of a trace.
    let mut text = [0; 32];
    for (byte, pair) in id.iter().zip(text.as_chunks_mut::<2>().0) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    append_text(column, &text[..2 * BYTES]);
}

/// Ends a column of text.
pub fn finish_text(column: &mut StringBuilder) -> ArrayRef {
    let finished = column.finish();
    *column = StringBuilder::with_capacity(finished.len(), finished.value_data().len());
    Arc::new(finished)
}

/// Ends a column of numbers or times.
pub fn finish_numbers<T: ArrowPrimitiveType>(column: &mut PrimitiveBuilder<T>) -> ArrayRef {
    let finished = column.finish();
    *column = PrimitiveBuilder::with_capacity(finished.len()).with_data_type(finished.data_type().clone());
    Arc::new(finished)
}

/// Ends a column of attributes.
pub fn finish_attributes(column: &mut TextMapBuilder) -> ArrayRef {
    let finished = column.finish();
    let room_of =
        |texts: &ArrayRef| StringBuilder::with_capacity(texts.len(), texts.as_string::<i32>().value_data().len());
    *column = TextMapBuilder::with_capacity(None, room_of(finished.keys()), room_of(finished.values()), finished.len());
    Arc::new(finished)
}

/// Appends the attributes of a record and notes what they say about a request. Returns how many bytes they took.
#[inline]
pub fn append_attributes<'a>(
    column: &mut TextMapBuilder,
    attributes: &KeyValues<'a>,
    original_time: Option<u64>,
    parts: &mut RequestParts<'a>,
    scratch: &mut Vec<u8>,
) -> usize {
    let mut bytes = 8;
    for attribute in attributes {
        parts.take(attribute.key, &attribute.value);
        append_text(column.keys(), attribute.key);
        bytes += 8 + attribute.key.len() + append_value(column.values(), &attribute.value, scratch);
    }
    if let Some(time) = original_time {
        column.keys().append_value(ORIGINAL_TIME);
        column.values().append_value(rfc3339(time));
        bytes += 64;
    }
    column.append(true).expect("as many keys as values were appended");
    bytes
}

/// Nanoseconds since the epoch as people read them.
pub fn rfc3339(time_ns: u64) -> String {
    let (seconds, ns) = ((time_ns / 1_000_000_000).cast_signed(), time_ns % 1_000_000_000);
    match timestamp_s_to_datetime(seconds) {
        Some(time) => format!("{}.{ns:09}Z", time.format("%Y-%m-%dT%H:%M:%S")),
        // The last nanosecond is in the year 2554.
        None => time_ns.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{TimestampNanosecondArray, TimestampNanosecondBuilder};
    use proptest::prelude::*;
    use shipwake_store::tables::text_map_builder;

    #[test]
    fn a_time_that_was_stated_is_written_to_the_nanosecond() {
        assert_eq!(rfc3339(1_795_428_000_000_000_001), "2026-11-23T10:00:00.000000001Z");
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    proptest! {
        #[test]
        fn ids_are_written_as_the_standard_library_would(id in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut column = StringBuilder::new();
            append_id::<16>(&mut column, &id);
            append_id::<8>(&mut column, &id);
            append_id::<16>(&mut column, &[0; 16]);
            let found = column.finish();
            let text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            let expected = |bytes: usize| (id.len() == bytes && id.iter().any(|byte| *byte != 0)).then_some(&*text);
            let found: Vec<Option<&str>> = found.iter().collect();
            prop_assert_eq!(found, vec![expected(16), expected(8), None]);
        }

        /// Every chunk is what was appended to it, whatever the one before it left room for.
        #[test]
        fn a_finished_column_begins_anew(chunks in prop::collection::vec(prop::collection::vec("[a-c]{0,9}", 0..30), 1..4)) {
            let (mut texts, mut maps) = (StringBuilder::new(), text_map_builder());
            let mut times = TimestampNanosecondBuilder::new().with_timezone("UTC");
            for chunk in chunks {
                for (at, text) in chunk.iter().enumerate() {
                    texts.append_option((at % 3 > 0).then_some(text));
                    times.append_option((at % 2 > 0).then_some(at as i64));
                    maps.keys().append_value("key");
                    maps.values().append_value(text);
                    maps.append(true).expect("a key and a value");
                }
                let found = finish_text(&mut texts);
                let expected: Vec<Option<&str>> = chunk.iter().enumerate().map(|(at, text)| (at % 3 > 0).then_some(&**text)).collect();
                prop_assert_eq!(found.as_string::<i32>().iter().collect::<Vec<_>>(), expected);
                let expected: TimestampNanosecondArray = (0..chunk.len()).map(|at| (at % 2 > 0).then_some(at as i64)).collect();
                prop_assert_eq!(&*finish_numbers(&mut times), &expected.with_timezone("UTC") as &dyn Array);
                let found = finish_attributes(&mut maps);
                let values = found.as_map().values().as_string::<i32>().iter().flatten().collect::<Vec<_>>();
                prop_assert_eq!(values, chunk.iter().map(|text| &**text).collect::<Vec<_>>());
                prop_assert_eq!(found.len(), chunk.len());
            }
        }
    }
}
