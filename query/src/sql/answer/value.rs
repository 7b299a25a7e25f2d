//! One value of a column as JSON: times as RFC 3339, maps as objects, bytes as base64, numbers that JSON cannot hold as
//! null.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

use crate::time::rfc3339_ns;

/// The value of a row.
pub(super) fn json_value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(row)).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => base64(array.as_binary::<i32>().value(row)).into(),
        DataType::LargeBinary => base64(array.as_binary::<i64>().value(row)).into(),
        DataType::BinaryView => base64(array.as_binary_view().value(row)).into(),
        DataType::Timestamp(unit, _) => time_value(array, *unit, row),
        DataType::Map(..) => map_value(array, row),
        DataType::List(_) => list_value(&array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list_value(&array.as_list::<i64>().value(row)),
        DataType::Struct(_) => struct_value(array, row),
        _ => displayed(array, row),
    }
}

fn time_value(array: &ArrayRef, unit: TimeUnit, row: usize) -> Value {
    let ns = match unit {
        TimeUnit::Nanosecond => Some(array.as_primitive::<TimestampNanosecondType>().value(row)),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row).checked_mul(1_000),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000_000),
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000_000),
    };
    ns.and_then(rfc3339_ns).map_or_else(|| displayed(array, row), Value::from)
}

fn map_value(array: &ArrayRef, row: usize) -> Value {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let mut object = Map::new();
    for entry in 0..entries.len() {
        let key = match json_value(keys, entry) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        object.insert(key, json_value(values, entry));
    }
    object.into()
}

fn list_value(items: &ArrayRef) -> Value {
    (0..items.len()).map(|item| json_value(items, item)).collect::<Vec<_>>().into()
}

fn struct_value(array: &ArrayRef, row: usize) -> Value {
    let array = array.as_struct();
    let fields = array.fields().iter().zip(array.columns());
    fields.map(|(field, column)| (field.name().clone(), json_value(column, row))).collect::<Map<_, _>>().into()
}

/// Intervals, decimals, dates and whatever else has a text of its own.
fn displayed(array: &ArrayRef, row: usize) -> Value {
    match ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default()) {
        Ok(formatter) => formatter.value(row).to_string().into(),
        Err(_) => Value::Null,
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            if digit <= group.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Float64Array, TimestampNanosecondArray};

    #[test]
    fn base64_is_padded() {
        let all: Vec<String> = ["", "f", "fo", "foo", "foob"].iter().map(|text| base64(text.as_bytes())).collect();
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn values_that_json_cannot_hold_are_null_or_text() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(1.5), None]));
        let all: Vec<Value> = (0..3).map(|row| json_value(&floats, row)).collect();
        assert_eq!(all, [Value::Null, 1.5.into(), Value::Null]);
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000_000_001]).with_timezone("UTC"));
        assert_eq!(json_value(&times, 0), Value::from("1970-01-01T00:00:01.000000001Z"));
        let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"foo"]));
        assert_eq!(json_value(&bytes, 0), Value::from("Zm9v"));
    }
}
