//! What a damaged segment costs, in words: how many rows of what, of which time and of whom. From its manifest, and from its footer
//! as far as that can be read.

use arrow::temporal_conversions::timestamp_ns_to_datetime;
use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;

use crate::SegmentFile;

/// `1234 rows of logs from 10:00 to 10:15 of the services a to k cannot be read`, with dates. `bytes` is what is left of the file.
pub(crate) fn words(file: &SegmentFile, bytes: Option<&Bytes>) -> String {
    let footer = bytes.and_then(|bytes| ParquetMetaDataReader::new().parse_and_finish(bytes).ok());
    let whose = footer.as_ref().and_then(services).unwrap_or_default();
    let time =
        |ns: i64| timestamp_ns_to_datetime(ns).map_or_else(|| ns.to_string(), |time| time.format("%FT%TZ").to_string());
    format!(
        "{} rows of {} from {} to {}{whose} cannot be read",
        file.rows,
        file.table,
        time(file.time_min_ns),
        time(file.time_max_ns)
    )
}

/// ` of the service a`, or the first and the last of them by name.
fn services(footer: &ParquetMetaData) -> Option<String> {
    let mut names: Vec<(String, String)> = Vec::new();
    for group in footer.row_groups() {
        let column = group.columns().iter().find(|column| column.column_path().string() == "service")?;
        let Some(Statistics::ByteArray(values)) = column.statistics() else { return None };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        names.push((text(values.min_bytes_opt()?), text(values.max_bytes_opt()?)));
    }
    let first = names.iter().map(|(first, _)| first).min()?;
    let last = names.iter().map(|(_, last)| last).max()?;
    Some(if first == last { format!(" of the service {first}") } else { format!(" of the services {first} to {last}") })
}
