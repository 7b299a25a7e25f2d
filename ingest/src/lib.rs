//! Ingest: accept, decode, tag with the release, append to the journal, answer.
//!
//! A request goes [`otlp_grpc`], [`otlp_http`], [`lines`], [`events`] or [`syslog`] → `body` → `decode` → `tag` → `split` → `produce` → journal, and
//! its client is answered when the journal says that it is durable. Only this crate knows client protocols; it knows no
//! storage, and keeps no record after the answer.
//!
//! - [`IngestConfig`], [`ServeConfig`]: limits and times.
//! - [`Ingest`]: the stage. [`JournalHandle`]: a journal that may still be opening. [`serve`]: a listening socket.
//! - [`Ingest::read_topics`]: what an OpenTelemetry Collector has written to Kafka.
//! - [`SyslogConfig`], [`SyslogSockets`]: syslog over TCP and UDP, for [`Ingest::serve_syslog`].
//! - [`IngestError`]: everything that can be wrong, and the table from kinds of errors to status codes.
//! - [`Upstream`]: which version is behind a name that proxies log. [`convert_lines`]: lines to OTLP, without a server.
//! - [`IngestStatus`]: what the pipeline page shows.

mod admission;
mod answer;
mod backlog;
mod body;
mod config;
mod connection;
mod decode;
mod error;
mod events;
mod handle;
mod hint;
mod inflate;
mod ingest;
mod lines;
mod markers;
mod metrics;
mod otlp_grpc;
mod otlp_http;
mod pace;
mod posted;
#[doc(hidden)]
pub mod probe;
mod produce;
mod refusal;
mod remote_write;
mod sender;
mod serve;
mod split;
mod status;
mod syslog;
mod tag;
mod topics;
mod transcode;
mod wrong_path;

pub use config::{HookSecret, IngestConfig, ServeConfig};
pub use error::{IngestError, Kind};
pub use handle::JournalHandle;
pub use ingest::Ingest;
pub use lines::{ConvertedLines, Upstream, convert_lines};
pub use sender::Sender;
pub use serve::serve;
pub use status::{IngestStatus, Rejection, SenderStatus, SignalStatus};
pub use syslog::{Application, SyslogConfig, SyslogSockets, convert_syslog};
