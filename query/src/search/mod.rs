//! Finding log lines: one snapshot of the store, looked through newest first, by a search in a language of its own.
//!
//! - [`language`]: what people type; pure. [`matching`]: which of some rows a search finds; pure.
//! - [`scan`]: which rows are looked at, in what order, and when it ends: time, statistics of segments and row groups, then cheap
//!   columns, then texts. What it finds goes into a [`scan::Sink`].
//! - [`lines`], [`volume`], [`patterns`], [`fields`], [`context`], [`tail`], [`without`]: what is made of it, a file per question.
//! - [`request`]: what can be asked. [`id`]: the name of a line, which holds whatever becomes of its file. [`wire`]: the answers.
//! - [`answer`]: each question within its budget. [`http`]: the routes.

pub(crate) mod answer;
pub(crate) mod context;
pub(crate) mod fields;
pub(crate) mod http;
pub(crate) mod id;
pub(crate) mod language;
pub(crate) mod lines;
pub(crate) mod matching;
pub(crate) mod patterns;
pub(crate) mod prune;
pub(crate) mod request;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod tail;
pub(crate) mod volume;
pub(crate) mod wire;
pub(crate) mod without;
