//! The lines around a line: of the same service, environment and instance, before and after it.

use super::id::LineId;
use super::language::{Field, Search, Test};
use super::wire::Line;
use crate::error::QueryError;

/// Lines on each side when nothing is said, and the most there may be.
const LINES: usize = 25;
const LINES_MAX: usize = 500;
/// How far around a line others are looked for.
pub(crate) const AROUND_NS: i64 = 6 * 3_600 * 1_000_000_000;

/// How many lines are wanted on a side.
pub(crate) fn lines(argument: &'static str, value: Option<&str>) -> Result<usize, QueryError> {
    let Some(value) = value else { return Ok(LINES) };
    value.parse().map(|lines: usize| lines.min(LINES_MAX)).map_err(|_| QueryError::BadArgument {
        argument,
        value: value.to_owned(),
        reason: format!("expected a number of lines, 0 to {LINES_MAX}"),
    })
}

/// What the lines around a line have in common with it.
pub(crate) fn neighbours(line: &Line) -> Search {
    let is = |column: &'static str, value: &str| Search::Field(Field::Column(column), Test::Is(value.to_owned()));
    Search::And(vec![
        is("service", &line.service),
        is("namespace", &line.namespace),
        is("environment", &line.env),
        is("instance", &line.instance),
    ])
}

/// The problem of a line that is not there.
pub(crate) fn gone(id: LineId) -> QueryError {
    QueryError::NotFound { what: format!("there is no line {id}: it is older than what is kept, or was never here") }
}
