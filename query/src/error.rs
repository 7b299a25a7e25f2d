//! What can go wrong with a question. One place turns it into RFC 9457 problem documents: `problem.rs`.
//!
//! A variant exists because the asker does something different with it: correct the text, ask for less, ask later, or
//! call us.

use shipwake_store::StoreError;

/// A place in the text of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Character of the line, from 1.
    pub column: u64,
    /// Character of the whole text, from 0.
    pub offset: u64,
}

/// Which budget a query used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// It ran longer than it was given.
    Time {
        /// The budget, in milliseconds.
        ms: u64,
    },
    /// It needed more memory than one query may use.
    Memory {
        /// The budget, in bytes.
        bytes: usize,
    },
    /// Its window functions needed more memory than one query may use.
    WindowMemory {
        /// The budget, in bytes.
        bytes: usize,
    },
    /// All running queries together needed more memory than they may use.
    SharedMemory {
        /// The budget, in bytes.
        bytes: usize,
    },
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The asker's fault: an argument of the address.
    #[error("argument `{argument}`: {value:?} is not understood: {reason}")]
    BadArgument {
        /// The argument's name.
        argument: &'static str,
        /// What was given.
        value: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The asker's fault: the route is asked in another way. The answer's `Allow` says in which.
    #[error("{method} is not how this is asked: the header `Allow` says what is")]
    Method {
        /// What was used.
        method: String,
    },
    /// The asker's fault: the body of the request.
    #[error("{reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// The asker's fault: the SQL text cannot be read or planned.
    #[error("{message}")]
    Sql {
        /// What the planner says.
        message: String,
        /// Where, when the planner knows.
        position: Option<Position>,
    },
    /// The asker's fault: the text of a search for log lines cannot be read.
    #[error("{message}")]
    Search {
        /// What is wrong, and what would be right.
        message: String,
        /// Where.
        position: Position,
    },
    /// The asker's fault: a statement that would change something, or reach outside.
    #[error(
        "{what} is not allowed: queries only read, with SELECT, WITH, VALUES, EXPLAIN, SHOW TABLES, SHOW COLUMNS and DESCRIBE"
    )]
    NotAllowed {
        /// The statement's kind.
        what: String,
    },
    /// The asker's fault: a text that would take more to plan than any real question does.
    #[error("the query is too complex: {what} (at most {limit})")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// A web page of another site asks for a live connection.
    #[error("a page of {origin:?} may not open a live connection here; allow it in the configuration if it is yours")]
    ForeignOrigin {
        /// The page's origin.
        origin: String,
    },
    /// The asker's fault, found while the query ran: a division by zero, a text that is no number.
    #[error("{message}")]
    Evaluation {
        /// What could not be computed.
        message: String,
    },
    /// The query used up a budget. It may be asked again with less to do, or with a larger budget.
    #[error("{}", budget_text(*.0))]
    OverBudget(Budget),
    /// Too many queries at once. May be asked again.
    #[error("{running} queries are running and {waiting} are waiting, which is all there may be")]
    Busy {
        /// Queries that run.
        running: usize,
        /// Queries that wait.
        waiting: usize,
        /// When to ask again, in seconds.
        retry_after_s: u32,
    },
    /// There is no such thing in the data.
    #[error("{what}")]
    NotFound {
        /// What was asked for, and what there is instead.
        what: String,
    },
    /// The store could not be read: our fault or the disk's.
    #[error("the store could not be read: {message}")]
    Store {
        /// What it says, with the file.
        message: String,
    },
    /// A segment is damaged: our fault or the disk's. What is set aside is not met again.
    #[error("the store could not be read: {0}")]
    Damaged(StoreError),
    /// A segment went away while it was read, where other processes drop segments. It may be asked again: the next snapshot is
    /// without it.
    #[error("the store could not be read: {message}")]
    Gone {
        /// What it says, with the file.
        message: String,
    },
    /// The query engine failed in a way that no question should make it fail.
    #[error("the query engine failed: {message}")]
    Engine {
        /// What it says.
        message: String,
    },
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone { .. } => QueryError::Gone { message: error.to_string() },
            StoreError::Damaged { .. } => QueryError::Damaged(error),
            _ => QueryError::Store { message: error.to_string() },
        }
    }
}

fn budget_text(budget: Budget) -> String {
    match budget {
        Budget::Time { ms } => format!(
            "the query was cancelled after its time budget of {ms} ms; ask for a shorter time range or fewer rows, or give it more with timeout_ms"
        ),
        Budget::Memory { bytes } => format!(
            "the query was cancelled at its memory budget of {} MiB; group by fewer columns, sort less, or ask for a shorter time range",
            bytes >> 20
        ),
        Budget::WindowMemory { bytes } => format!(
            "the query was cancelled at its memory budget of {} MiB: a window function (OVER) keeps the rows of its window, and a list or text it makes stands in every one of them; compute it once per group with GROUP BY in a subquery and join that, or ask for a shorter time range",
            bytes >> 20
        ),
        Budget::SharedMemory { bytes } => format!(
            "the query was cancelled because all queries together reached their memory budget of {} MiB; ask again in a moment, or for less",
            bytes >> 20
        ),
    }
}
