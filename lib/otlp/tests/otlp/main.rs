//! The scan against prost: on the same bytes both succeed with the same content, or both fail. [`agree`] says what exactly
//! is compared; the other test modules differ in where the bytes come from.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod agree;
mod edges;
mod generate;
mod hash;
mod json;
mod json_writer;
mod lenient;
mod mutated;
mod rebuild;
mod retain;
mod schema;
mod text;
mod wild;
mod write;
