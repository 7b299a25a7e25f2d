//! Tells people and programs of changes of a verdict: each at least once, in order, and again only after a crash.
//!
//! The verdict engine submits a [`Change`] together with its own state, and both are committed in one write
//! ([`Handle::submit`]); from then on the notifier owes it to every receiver that wants it. Alert rules, routes and silences
//! will live here too, in front of the same outbox.
//!
//! ```no_run
//! use std::path::Path;
//! use shipwake_alerts::{FileLedger, Notifier, NotifierConfig, config_file};
//!
//! # async fn example(changes: Vec<shipwake_alerts::Change>, engine: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! let alerts = config_file::load(Path::new("alerts.yaml")).map_err(|problems| problems.join("; "))?;
//! let ledger = FileLedger::open(Path::new("shipwake-data/alerts"))?;
//! let mut registry = prometheus_client::registry::Registry::default();
//! let notifier = Notifier::open(NotifierConfig::new(alerts), ledger, &mut registry)?;
//! let _engine = notifier.caller_state(); // what the engine goes on from
//! let (handle, stop) = (notifier.handle(), tokio_util::sync::CancellationToken::new());
//! let running = tokio::spawn(notifier.run(stop.clone()));
//! handle.submit(changes, Some(engine)).await?; // durable, and owed to everybody who wants it
//! stop.cancel();
//! running.await??;
//! # Ok(())
//! # }
//! ```
//!
//! - [`judge`]: follows rollouts and judges releases. [`policies`]: by what. [`board`]: what is judged now, for gates and pages.
//! - [`gates`]: the board in the words of rollout tools, CI jobs and pages.
//! - [`change`]: what is told. [`config`], [`config_file`], [`secret`]: who is told.
//! - [`outbox`]: what is owed, decided on as values. [`state_bytes`]: its bytes (`FORMAT.md`).
//! - [`message`], [`receivers`]: words, and the form that each receiver wants them in.
//! - [`address`], [`http`]: requests. [`ledger`], [`file_ledger`]: where the state is durable.
//! - [`notifier`], [`handle`]: the task, and what others hold of it. [`trial`]: one message, for people who set receivers up.

pub mod address;
pub mod board;
pub mod change;
pub mod clock;
pub mod config;
pub mod config_file;
pub mod error;
pub mod file_ledger;
pub mod gates;
pub mod handle;
pub mod http;
pub mod judge;
pub mod ledger;
pub mod message;
mod metrics;
pub mod notifier;
pub mod outbox;
pub mod policies;
pub mod receivers;
pub mod secret;
pub mod state_bytes;
pub mod time;
pub mod trial;

pub use change::{Change, Check, CheckState, Counts, Effect, Ending, Link, Word};
pub use clock::Clock;
pub use config::{AlertsConfig, Receiver};
pub use error::{AlertsError, LedgerError, SubmitError};
pub use file_ledger::FileLedger;
pub use handle::{Handle, ReceiverStatus, Status};
pub use judge::{Judge, JudgeConfig};
pub use ledger::Ledger;
pub use notifier::{Notifier, NotifierConfig};
pub use policies::Policies;
