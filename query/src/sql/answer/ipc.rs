//! The Arrow IPC stream: types and values as they are.

use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use super::SqlAnswer;
use crate::error::QueryError;

pub(super) fn write(answer: &SqlAnswer) -> Result<Vec<u8>, QueryError> {
    let fail = |error: ArrowError| QueryError::Engine { message: error.to_string() };
    let mut writer = StreamWriter::try_new(Vec::new(), &answer.schema).map_err(fail)?;
    for batch in &answer.batches {
        // Non-null columns may come with nullable fields from the planner: the schema of the answer wins.
        let batch = batch.clone().with_schema(answer.schema.clone()).map_err(fail)?;
        writer.write(&batch).map_err(fail)?;
    }
    writer.into_inner().map_err(fail)
}
