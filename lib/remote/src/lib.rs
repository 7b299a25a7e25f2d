//! A shard that another process folds answers as if it were here.
//!
//! Both sides of it: the owner's routes, which serve the shards that are registered in its store, and the reader's side, which the
//! store asks ([`shipwake_store::Elsewhere`]). Whom to ask is what the newest manifests say; there is no protocol of membership.
//! The bytes between the two are described in `WIRE.md`.
//!
//! - [`serve`]: the owner's routes.
//! - [`shards`]: the reader: whom to ask, what is missing. `follow`: its threads; `states`: what is known of each shard; `flights`: equal
//!   questions asked once; `mirror`: hot rows that need not be fetched again; `ask`: one question to one owner.
//! - `wire`: the bytes. Pure.

mod ask;
pub mod config;
pub mod error;
mod flights;
mod follow;
mod mirror;
pub mod serve;
pub mod shards;
mod states;
mod wire;

pub use config::RemoteConfig;
pub use error::RemoteError;
pub use serve::{router, router_in_pieces};
pub use shards::RemoteShards;
