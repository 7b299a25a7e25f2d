//! SQL over one snapshot of the store.
//!
//! - [`guard`]: what may be asked at all. [`session`]: a DataFusion session that can only read our tables.
//! - [`tables`]: one file per table. [`functions`]: one file per function.
//! - [`budget`]: memory. [`metered`]: window functions that are charged for it. [`run`]: one query from text to batches, with every budget. [`answer`]: batches to bytes.
//! - [`one_input`]: what nodes of a plan have in common. [`spread`]: one statement computed by several query nodes.

pub(crate) mod answer;
pub(crate) mod budget;
pub(crate) mod failure;
pub(crate) mod functions;
pub(crate) mod guard;
pub(crate) mod metered;
mod one_input;
pub(crate) mod run;
pub(crate) mod session;
#[cfg_attr(not(feature = "distributed"), path = "alone.rs")]
pub(crate) mod spread;
pub(crate) mod tables;
mod wording;
