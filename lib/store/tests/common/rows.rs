//! Rows of every table. What they say follows from the arguments alone.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int8Array, Int32Array, Int64Array, MapArray, RecordBatch,
    StringArray, TimestampNanosecondArray, UInt32Array,
};
use shipwake_store::tables::{number_map_builder, text_map_builder};
use shipwake_store::{RowChunk, Table};

const RESOURCES: usize = 4;

/// `count` log records from four resources (two services, two versions each), the newest first.
pub fn logs(time_ns: i64, count: usize) -> RowChunk {
    logs_numbered(time_ns, (time_ns / 1_000_000_000) as usize, count)
}

/// The same with what they say following from the number of the first.
pub fn logs_numbered(time_ns: i64, first: usize, count: usize) -> RowChunk {
    let text = |f: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..count).map(f))) };
    let level = |row: usize| if row.is_multiple_of(50) { (17, "ERROR") } else { (9, "INFO") };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values((0..count).map(|row| (row % RESOURCES) as u32))),
        times((0..count).map(|row| time_ns - row as i64)),
        times((0..count).map(|row| time_ns - row as i64)),
        Arc::new(Int32Array::from_iter_values((0..count).map(|row| level(row).0))),
        text(&|row| level(row).1.to_owned()),
        text(&|row| body(first + row)),
        Arc::new(StringArray::new_null(count)),
        Arc::new(StringArray::new_null(count)),
        text(&|row| format!("{:016x}{:016x}", mixed((first + row) as u64 / 3), mixed((first + row) as u64 / 3 + 1))),
        text(&|row| format!("{:016x}", mixed((first + row) as u64))),
        text(&|row| format!("shop.{}", ["cart", "pay", "ship"][row % 3])),
        Arc::new(attributes(count, |row| {
            vec![
                ("http.route".to_owned(), format!("/cart/{}", row % 7)),
                ("http.request.method".to_owned(), "POST".to_owned()),
                ("user.id".to_owned(), format!("u-{}", mixed((first + row) as u64) % 5000)),
                ("thread.name".to_owned(), format!("worker-{}", row % 16)),
                ("code.line.number".to_owned(), (row % 400).to_string()),
            ]
        })),
        Arc::new(Int64Array::from_iter_values((0..count).map(|row| (first + row) as i64))),
    ];
    chunk(Table::Logs, columns)
}

/// `count` spans from the same resources.
pub fn spans(time_ns: i64, count: usize) -> RowChunk {
    let text = |f: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..count).map(f))) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values((0..count).map(|row| (row % RESOURCES) as u32))),
        times((0..count).map(|row| time_ns + row as i64)),
        Arc::new(Int64Array::from_iter_values((0..count).map(|row| 1000 * row as i64))),
        text(&|row| format!("POST /cart/{}", row % 7)),
        text(&|_| "server".to_owned()),
        text(&|row| if row.is_multiple_of(50) { "error" } else { "unset" }.to_owned()),
        text(&|row| format!("/cart/{}", row % 7)),
        text(&|row| format!("{:032x}", mixed(row as u64))),
        text(&|row| format!("{:016x}", mixed(row as u64))),
        Arc::new(StringArray::new_null(count)),
        Arc::new(attributes(count, |row| vec![("http.status".to_owned(), (200 + row % 2).to_string())])),
    ];
    chunk(Table::Spans, columns)
}

/// `count` points of one gauge; every second one has a quantile, as if it were a summary's.
pub fn points(time_ns: i64, count: usize) -> RowChunk {
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; count])) };
    let no_float = || -> ArrayRef { Arc::new(Float64Array::new_null(count)) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values((0..count).map(|row| (row % RESOURCES) as u32))),
        times((0..count).map(|row| time_ns + row as i64)),
        Arc::new(TimestampNanosecondArray::new_null(count).with_timezone("UTC")),
        text("queue.depth"),
        text("gauge"),
        Arc::new(StringArray::new_null(count)),
        Arc::new(BooleanArray::new_null(count)),
        text("1"),
        Arc::new(Float64Array::from_iter_values((0..count).map(|row| row as f64))),
        Arc::new(Int64Array::new_null(count)),
        no_float(),
        no_float(),
        no_float(),
        Arc::new(BinaryArray::new_null(count)),
        Arc::new(attributes(count, |_| Vec::new())),
        quantiles(count),
    ];
    chunk(Table::Points, columns)
}

fn quantiles(count: usize) -> ArrayRef {
    let mut column = number_map_builder();
    for row in 0..count {
        if row % 2 == 1 {
            column.keys().append_value("0.99");
            column.values().append_value(row as f64);
        }
        column.append(row % 2 == 1).expect("as many keys as values");
    }
    Arc::new(column.finish())
}

/// `count` windows of requests, in the public schema.
pub fn windows(time_ns: i64, resolution_s: i32, count: usize) -> RecordBatch {
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; count])) };
    let no_float = || -> ArrayRef { Arc::new(Float64Array::new_null(count)) };
    let columns: Vec<ArrayRef> = vec![
        text("checkout"),
        text("shop"),
        text("production"),
        Arc::new(StringArray::from_iter_values((0..count).map(|row| format!("2.{}", row % 2)))),
        text(""),
        times((0..count).map(|row| time_ns - row as i64 * 10_000_000_000)),
        Arc::new(Int32Array::from(vec![resolution_s; count])),
        text("requests"),
        text(""),
        text(""),
        text("spans"),
        text("/cart"),
        Arc::new(Int8Array::from_iter_values((0..count).map(|row| (row % 8) as i8))),
        Arc::new(attributes(count, |_| Vec::new())),
        Arc::new(Int64Array::from_iter_values((0..count).map(|row| row as i64 + 1))),
        no_float(),
        no_float(),
        no_float(),
        Arc::new(BinaryArray::new_null(count)),
        Arc::new(Int64Array::from(vec![1; count])),
        Arc::new(BooleanArray::from(vec![false; count])),
    ];
    RecordBatch::try_new(Table::Windows.schema(), columns).expect("the columns fit")
}

fn chunk(table: Table, columns: Vec<ArrayRef>) -> RowChunk {
    let rows = RecordBatch::try_new(table.rows_schema(), columns).expect("the columns fit");
    RowChunk::new(table, rows, Arc::new(resources(table))).expect("the rows fit their table")
}

fn resources(table: Table) -> RecordBatch {
    let text =
        |f: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..RESOURCES).map(f))) };
    let columns: Vec<ArrayRef> = vec![
        text(&|n| ["search", "checkout"][n / 2].to_owned()),
        text(&|_| "shop".to_owned()),
        text(&|_| "production".to_owned()),
        text(&|n| format!("2.{}", 1 - n % 2)),
        text(&|n| format!("pod-{n}")),
        Arc::new(attributes(RESOURCES, |n| {
            vec![
                ("service.name".to_owned(), ["search", "checkout"][n / 2].to_owned()),
                ("host.name".to_owned(), format!("node-{n}")),
                ("telemetry.sdk.language".to_owned(), "java".to_owned()),
            ]
        })),
    ];
    RecordBatch::try_new(table.resources_schema(), columns).expect("the columns fit")
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn attributes(count: usize, of: impl Fn(usize) -> Vec<(String, String)>) -> MapArray {
    let mut builder = text_map_builder();
    for row in 0..count {
        for (key, value) in of(row) {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true).expect("keys and values are as many");
    }
    builder.finish()
}

fn body(row: usize) -> String {
    let (cart, cents, took) = (mixed(row as u64) % 1_000_000, mixed(row as u64 + 9) % 100_000, row % 900);
    format!("order placed for cart {cart} amount {cents} cents via card after {took} ms, stock reserved in warehouse 7")
}

/// A number that looks random and is the same in every run.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
