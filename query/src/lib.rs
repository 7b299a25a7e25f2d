//! Answers questions from the store: SQL, the pages' API, and live topics.
//!
//! Reads only, and only what [`shipwake_store`] publishes: segments and hot rows as one snapshot. Every question has a
//! budget of time and memory and says when it hit it. Queries run on threads of their own, so that taking in records is
//! never starved.
//!
//! - [`Query`]: the stage; [`Query::router`] is everything below `/api/v1` that reads.
//! - `sql`: one DataFusion session per query; a file per table in `sql/tables`, per function in `sql/functions`.
//! - `damage`: what answers lack because a segment is damaged.
//! - `release`: which versions are compared and what differs; pure.
//! - `search`: finding log lines. `compare`: two cohorts of requests beside each other.
//! - `pages`: the answers of the web pages. `live`: the same answers, pushed.

mod compare;
mod config;
mod damage;
mod error;
mod http;
mod incomplete;
mod live;
mod metrics;
mod pages;
mod problem;
mod query;
mod release;
mod search;
mod spans;
mod sql;
mod time;

pub use config::{Clock, QueryConfig};
pub use error::{Budget, Position, QueryError};
pub use pages::pipeline::{Endpoints, PipelineSource, PipelineStatus, Received, Rejection, SeenSender};
pub use query::Query;
pub use sql::answer::{SqlAnswer, SqlMeta};
pub use sql::run::SqlRequest;
