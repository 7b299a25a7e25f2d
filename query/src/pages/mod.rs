//! The answers of the web pages. Each page has a pure function from facts of the store to its answer, and the wire form
//! of all of them is in [`wire`].
//!
//! - [`overview`]: is anything that is being shipped right now hurting users?
//! - [`service`]: one service, its versions beside each other.
//!   [`kpis`], [`usage`], [`toggles`]: what customers do with them. [`toggle`]: one toggle, its variants beside each other.
//! - [`pipeline`]: is data arriving, and what was refused?
//! - [`deploys`]: releases with what was said about them; [`annotations`]: the same as Grafana reads it.
//! - [`patterns`]: log patterns of a service, kept for a moment.
//! - [`history`], [`pattern_history`]: what is older than what shards keep in memory. [`recent`]: cells that are kept between calls.
//!   [`freshness`]: how far the data has come.

pub(crate) mod annotations;
pub(crate) mod deploys;
pub(crate) mod freshness;
pub(crate) mod history;
pub(crate) mod kpis;
pub(crate) mod overview;
pub(crate) mod pattern_history;
pub(crate) mod patterns;
pub mod pipeline;
pub(crate) mod range;
pub(crate) mod recent;
pub(crate) mod service;
pub(crate) mod toggle;
pub(crate) mod toggles;
pub(crate) mod usage;
pub(crate) mod wire;
