//! Reads the journal, folds records into rows and windows, and commits them to the store with the position: each record
//! counts once.
//!
//! One shard per journal partition. The path of a record: [`shard`] reads it, [`fold`] checks and takes it apart, `logs`,
//! `spans` and `points` make its row, [`windows`] is where it is folded, [`commit`] where it becomes durable; [`view`] shows
//! it to readers in between. What counts as a request is decided in `health`, how running totals become increases in
//! [`cumulative`]; KPIs, users, sessions and toggles are in `product`; `background`
//! compacts what was committed. Which shards run in this process, where there are several, is in `member`. The bytes of the committed state are described in `FORMAT.md`.

mod background;
pub mod cells;
mod chunk_resources;
pub mod clock;
pub mod commit;
pub mod config;
#[cfg(test)]
mod crash_tests;
pub mod cumulative;
mod dedup;
mod duties;
mod ending;
pub mod error;
pub mod fold;
#[cfg(test)]
mod fold_tests;
mod health;
mod logs;
mod markers;
mod member;
#[cfg(test)]
mod member_tests;
mod metric_cell;
mod metrics;
mod metrics_fold;
pub mod paged;
pub mod patterns;
mod point_values;
mod points;
mod product;
mod progress;
mod recent;
mod recover;
mod releases;
#[cfg(test)]
mod requests;
mod resources;
mod routes;
mod series;
pub mod shard;
#[cfg(test)]
mod shard_tests;
mod spans;
mod stage;
pub mod state;
mod state_bytes;
#[cfg(test)]
mod state_golden_tests;
mod text;
pub mod view;
mod watermark;
mod window_rows;
pub mod windows;

pub use clock::Clock;
pub use config::{AggregateConfig, Limits};
pub use error::AggregateError;
pub use fold::Folded;
pub use progress::Progress;
pub use recover::check_state;
pub use stage::Aggregate;
pub use state::State;
