//! Ingest: accept, decode, tag with the release, append to the journal, answer.
//!
//! A request goes [`otlp_grpc`], [`otlp_http`] or [`lines`] → `body` → `decode` → `tag` → `split` → `produce` → journal, and
//! its client is answered when the journal says that it is durable. Only this crate knows client protocols; it knows no
//! storage, and keeps no record after the answer.
//!
//! - [`IngestConfig`], [`ServeConfig`]: limits and times.
//! - [`Ingest`]: the stage. [`JournalHandle`]: a journal that may still be opening. [`serve`]: a listening socket.
//! - [`IngestError`]: everything that can be wrong, and the table from kinds of errors to status codes.
//! - [`IngestStatus`]: what the pipeline page shows.

mod admission;
mod answer;
mod body;
mod config;
mod connection;
mod decode;
mod error;
mod handle;
mod hint;
mod inflate;
mod ingest;
mod lines;
mod metrics;
mod otlp_grpc;
mod otlp_http;
#[doc(hidden)]
pub mod probe;
mod produce;
mod remote_write;
mod serve;
mod split;
mod status;
mod tag;
mod transcode;
mod wrong_path;

pub use config::{IngestConfig, ServeConfig};
pub use error::{IngestError, Kind};
pub use handle::JournalHandle;
pub use ingest::Ingest;
pub use serve::serve;
pub use status::{IngestStatus, Rejection, SignalStatus};
