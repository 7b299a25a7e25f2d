//! An answer and its forms: JSON, CSV, an Arrow stream.

mod csv;
mod ipc;
mod json;
mod value;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use shipwake_store::Incomplete;

use crate::error::QueryError;

/// Rows with what is known about them.
#[derive(Clone, Debug)]
pub struct SqlAnswer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// About them.
    pub meta: SqlMeta,
}

/// About an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlMeta {
    /// Rows in the answer.
    pub rows: usize,
    /// Bytes read from segments and hot rows.
    pub scanned_bytes: u64,
    /// Time from the request to the answer, in milliseconds.
    pub elapsed_ms: u64,
    /// Moment of the snapshot, in milliseconds since the epoch.
    pub as_of_ms: i64,
    /// Rows are missing: the row limit or the size limit of answers was reached.
    pub truncated: bool,
    /// For each shard the journal offset up to which records are included.
    pub positions: Vec<(u32, u64)>,
    /// Query nodes that computed it: 1 unless its stored rows were shared out.
    pub nodes: usize,
    /// What the asker may have overlooked, a sentence each.
    pub warnings: Vec<String>,
    /// Shards whose newest records are missing, because the process that has them does not answer.
    pub incomplete: Vec<Incomplete>,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
    Arrow,
}

impl Format {
    /// The form that an `Accept` header names first; JSON when it names none of ours.
    pub fn of_accept(accept: &str) -> Self {
        accept
            .split(',')
            .find_map(|part| match part.split(';').next().unwrap_or("").trim() {
                "text/csv" => Some(Format::Csv),
                "application/vnd.apache.arrow.stream" => Some(Format::Arrow),
                "application/json" => Some(Format::Json),
                _ => None,
            })
            .unwrap_or(Format::Json)
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The bytes of an answer.
    pub fn write(self, answer: &SqlAnswer) -> Result<Vec<u8>, QueryError> {
        match self {
            Format::Json => Ok(json::write(answer).into_bytes()),
            Format::Csv => Ok(csv::write(answer).into_bytes()),
            Format::Arrow => ipc::write(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_form_is_taken() {
        assert_eq!(Format::of_accept("*/*"), Format::Json);
        assert_eq!(Format::of_accept("text/html, text/csv;q=0.9, application/json"), Format::Csv);
        assert_eq!(Format::of_accept("application/vnd.apache.arrow.stream"), Format::Arrow);
        assert_eq!(Format::of_accept(""), Format::Json);
    }
}
