//! Work in the background on what is stored: small segments of a window become few large ones, text gets its full-text index, rows
//! whose time is over go, and what lies damaged beside a segment is made again.
//!
//! - `plan`: what to do next, from the list of segments alone.
//! - `join`: segments one behind the other, as they are.
//! - `merge`: the rows of several segments in one order.
//! - `run`: one job: read, join or merge, write, and propose it to the committer, which publishes it with its next commit.
//! - [`background`]: one job after the other, within a budget.

pub mod background;
mod join;
mod merge;
mod plan;
mod run;
