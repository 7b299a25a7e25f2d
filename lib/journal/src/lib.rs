//! The journal: what stands between "received" and "answered". An append is durable when it returns, and everything
//! after it (windows, log rows, releases) can be rebuilt by reading the journal again from a position.
//!
//! - [`journal`]: the trait and its contract, and the values that go in and come out.
//! - [`embedded`]: segment files on a local disk; what `shipwake serve` uses by default. Bytes: `FORMAT.md`.
//! - [`kafka`]: a topic of Apache Kafka, for several processes; and reading the topics of a Collector.
//! - [`member`]: which partitions a process reads where several share a journal.
//! - [`memory`]: nothing on disk, faults from a seed; for tests of the stages around the journal.
//! - [`conformance`]: the promises of the contract as tests, run against every implementation.
//!
//! This crate knows nothing of OTLP: a record's value is bytes that it gives back as they were.

pub mod conformance;
pub mod embedded;
pub mod error;
pub mod journal;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod member;
pub mod memory;

pub use embedded::EmbeddedJournal;
pub use error::JournalError;
pub use journal::{Header, Journal, Position, Record, Stored};
#[cfg(feature = "kafka")]
pub use kafka::KafkaJournal;
pub use member::{Member, Order};
pub use memory::MemoryJournal;
