//! The bytes between a reader and an owner, written out by hand: the types that readers know do not say how they are sent.
//!
//! A question is JSON. An answer is a head of JSON and a body of bytes, which has what JSON would be clumsy for: sketches and Arrow
//! IPC streams, in the order in which the head names their lengths. See `WIRE.md`. Pure.

mod envelope;
mod parts;
mod places;
mod question;
mod rows;
#[cfg(test)]
mod rows_tests;
mod said;
mod series;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use envelope::{Answer, Answering, Heard, read_answer, write_answer};
pub(crate) use question::{Have, Question, Request, Wanted};
pub(crate) use rows::{HeardRows, HeardShard, is_stable, read_rows, write_rows};
