//! What DataFusion's errors mean to the asker, and where in the text they are. Pure.

use std::error::Error;

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use shipwake_store::StoreError;

use crate::error::{Position, QueryError};
use crate::sql::budget::QueryMemory;
use crate::sql::wording::{NO_SIGNATURE, in_words};

/// Translates an error. `text` is the query, for positions; `memory` knows which memory budget was refused.
pub(crate) fn explain(error: &DataFusionError, text: &str, memory: Option<&QueryMemory>) -> QueryError {
    let root = error.find_root();
    if is_gone(error) {
        return QueryError::Gone { message: clean(&root.strip_backtrace()) };
    }
    if let Some(error) = of_store(root) {
        return match error {
            StoreError::Damaged { path, reason } => {
                QueryError::Damaged(StoreError::Damaged { path: path.clone(), reason: reason.clone() })
            }
            error => QueryError::Store { message: error.to_string() },
        };
    }
    match root {
        DataFusionError::ResourcesExhausted(message) => match memory {
            Some(memory) => QueryError::OverBudget(memory.exhausted()),
            None => QueryError::Engine { message: message.clone() },
        },
        DataFusionError::SQL(parser_error, _) => {
            let message = parser_error.to_string();
            if message.contains("recursion limit") {
                return QueryError::TooComplex { what: "levels of nesting", limit: 50 };
            }
            QueryError::Sql { position: position_in_message(&message, text), message: clean(&message) }
        }
        DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Diagnostic(..)
        | DataFusionError::Collection(_) => {
            QueryError::Sql { message: clean(&root.strip_backtrace()), position: diagnosed_position(error, text) }
        }
        DataFusionError::ArrowError(arrow_error, _) if is_about_values(arrow_error) => {
            QueryError::Evaluation { message: clean(&arrow_error.to_string()) }
        }
        // The regular expression of a query, from the library that compiles it.
        DataFusionError::External(outside) if outside.to_string().contains("regex") => {
            QueryError::Evaluation { message: outside.to_string() }
        }
        // Arguments of a type that a function does not take are the asker's mistake too.
        DataFusionError::Internal(message) if message.contains(NO_SIGNATURE) => {
            QueryError::Sql { message: clean(message), position: diagnosed_position(error, text) }
        }
        // Functions that fail on their arguments are reported as bugs of the engine, with the reason inside.
        DataFusionError::Internal(message) if message.contains("Compute error: ") => {
            let reason = message.split("Compute error: ").nth(1).unwrap_or(message);
            QueryError::Evaluation { message: clean(reason) }
        }
        DataFusionError::Execution(message) => QueryError::Evaluation { message: clean(message) },
        _ => QueryError::Engine { message: clean(&root.strip_backtrace()) },
    }
}

/// Whether the reason, somewhere down, is that a segment is not there.
fn is_gone(error: &DataFusionError) -> bool {
    let mut found: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = found {
        let of_store = matches!(error.downcast_ref(), Some(StoreError::Gone { .. }));
        if of_store || matches!(error.downcast_ref(), Some(object_store::Error::NotFound { .. })) {
            return true;
        }
        found = error.source();
    }
    false
}

/// What the store has said, which the readers of Parquet and of objects wrap in errors of their own.
fn of_store(error: &DataFusionError) -> Option<&StoreError> {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return Some(error);
        }
        source = error.source();
    }
    None
}

fn is_about_values(error: &ArrowError) -> bool {
    matches!(
        error,
        ArrowError::DivideByZero
            | ArrowError::ArithmeticOverflow(_)
            | ArrowError::CastError(_)
            | ArrowError::ParseError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::InvalidArgumentError(_)
    )
}

/// The message without DataFusion's own prefixes and advice to file bugs with them.
fn clean(message: &str) -> String {
    let mut text = message.split("\n\nbacktrace").next().unwrap_or(message);
    text = text.split("\nThis issue was likely caused by a bug").next().unwrap_or(text);
    for prefix in [
        "SQL error: ",
        "sql parser error: ",
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "This feature is not implemented: ",
        "Invalid or Unsupported Configuration: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    in_words(text.trim_end_matches('.'))
}

fn diagnosed_position(error: &DataFusionError, text: &str) -> Option<Position> {
    let start = error.diagnostic()?.span?.start;
    position(start.line, start.column, text)
}

/// `… at Line: 1, Column: 8`, as the parser writes it.
fn position_in_message(message: &str, text: &str) -> Option<Position> {
    let at = message.rfind("Line: ")?;
    let mut numbers = message[at..].split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let (line, column) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    position(line, column, text)
}

fn position(line: u64, column: u64, text: &str) -> Option<Position> {
    if line == 0 || column == 0 {
        return None; // The parser's way of saying that it does not know.
    }
    let before = usize::try_from(line - 1).ok()?;
    let characters: usize = text.split_inclusive('\n').take(before).map(|line| line.chars().count()).sum();
    Some(Position { line, column, offset: characters as u64 + column - 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_is_gone_is_told_from_one_that_cannot_be_read() {
        let gone = StoreError::Gone { path: "data/logs/1.parquet".into() };
        let error = DataFusionError::External(Box::new(gone)).context("scan");
        assert!(matches!(explain(&error, "", None), QueryError::Gone { message } if message.contains("1.parquet")));
        let not_found = object_store::Error::NotFound { path: "data/logs/2.parquet".into(), source: "none".into() };
        let error = DataFusionError::ObjectStore(Box::new(not_found));
        assert!(matches!(explain(&error, "", None), QueryError::Gone { message } if message.contains("2.parquet")));
        let damaged = StoreError::Damaged { path: "x".into(), reason: "y".into() };
        let error = DataFusionError::External(Box::new(damaged));
        assert!(matches!(explain(&error, "", None), QueryError::Damaged(_)));
    }

    #[test]
    fn a_position_is_counted_in_characters() {
        let text = "select 'é',\n  frm logs";
        let found = position_in_message("Expected: end, found: logs at Line: 2, Column: 7", text);
        assert_eq!(found, Some(Position { line: 2, column: 7, offset: 18 }));
        assert_eq!(text.chars().nth(18), Some('l'));
        assert_eq!(position_in_message("no place", text), None);
        assert_eq!(position_in_message("at Line: 0, Column: 0", text), None);
    }

    #[test]
    fn values_and_questions_are_the_askers_fault_and_the_rest_is_ours() {
        let status = |error: DataFusionError| explain(&error, "select", None).status().as_u16();
        assert_eq!(status(DataFusionError::Plan("no such column".into())), 400);
        assert_eq!(status(DataFusionError::from(ArrowError::DivideByZero)), 400);
        assert_eq!(status(DataFusionError::Execution("cannot cast".into())), 400);
        assert_eq!(status(DataFusionError::Internal("bug".into())), 500);
        let arguments = "Function 'sum' failed to match any signature, errors: ";
        assert_eq!(status(DataFusionError::Internal(arguments.into())), 400);
    }
}
