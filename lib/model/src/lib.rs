//! The vocabulary of Shipwake: values that every stage speaks of. No I/O, no async, no clock: time is an argument.
//!
//! - [`kpi`]: declared business figures and what they are counted from.
//! - [`marker`]: what somebody said about a release: deployed, rolled back, weighted.
//! - [`moment`]: a point in time as a person writes it.
//! - [`notification`]: an attempt to tell somebody of a verdict, as it is recorded.
//! - [`pattern`]: what stays the same in log lines that differ only in their parameters.
//! - [`release`]: which release a record belongs to, read from resource attributes.
//! - [`signal`]: logs, metrics, traces, and the source that release health is derived from.
//! - [`slot`]: replicate slots, the unit of noise of the verdict.
//! - [`verdict_change`]: a change of the word that is said about a release, as it is recorded.
//! - [`window`]: resolutions and window arithmetic.
//! - [`sketch`]: mergeable histograms and distinct counts, and their binary form.
//! - [`words`]: what a word of a log line is, for blooms, index and search.
//! - [`phrase`]: whether a line has certain words in a row.

pub mod kpi;
pub mod marker;
pub mod moment;
pub mod notification;
pub mod pattern;
pub mod phrase;
pub mod release;
pub mod signal;
pub mod sketch;
pub mod slot;
pub mod verdict_change;
pub mod window;
pub mod words;

pub use kpi::Kpi;
pub use marker::Marker;
pub use notification::Notification;
pub use release::{Identity, ReleaseId, UNVERSIONED};
pub use signal::{Signal, Source};
pub use sketch::{HdrCells, Sketch};
pub use verdict_change::VerdictChange;
pub use window::Resolution;
