//! The part of a process that answers for shards that other processes fold: the store as a reader has it, whom it asks, and what it
//! says when somebody cannot be asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use shipwake_remote::{RemoteConfig, RemoteShards};
use shipwake_store::{Store, StoreConfig, StoreError};
use tracing::info;

use crate::health::Readiness;
use crate::journal::Waiting;
use crate::metrics::SharedRegistry;
use crate::roles::Roles;

/// Between two looks for a store that is not there yet.
const AGAIN: Duration = Duration::from_secs(1);

/// The store as the roles of a process need it: to write, to read what others write, or both. `advertise` of the configuration says
/// that there are others.
///
/// # Errors
/// When it cannot be opened, or nobody asked.
pub async fn open_store(
    config: StoreConfig,
    roles: Roles,
    registry: &SharedRegistry,
    readiness: &Readiness,
) -> anyhow::Result<Arc<Store>> {
    let own = config.advertise.clone();
    if roles.aggregate && (own.is_none() || !roles.answers()) {
        return write_store(config, registry).await;
    }
    let store = if roles.aggregate {
        write_store(config, registry).await?
    } else {
        let waiting = Waiting::default();
        let of_store = waiting.clone();
        readiness.add("store", move || of_store.reason().into_iter().collect());
        follow_store(config, registry, &waiting).await?
    };
    ask_owners(&store, own.filter(|_| roles.aggregate)).await?;
    look_at_owners(readiness, &store);
    Ok(store)
}

/// Opens the store to read what other processes write there. Waits for as long as there is none, and says so.
async fn follow_store(config: StoreConfig, registry: &SharedRegistry, waiting: &Waiting) -> anyhow::Result<Arc<Store>> {
    let place = config.url.clone().unwrap_or_else(|| config.dir.display().to_string());
    loop {
        let (config, of_thread) = (config.clone(), registry.clone());
        let opened = tokio::task::spawn_blocking(move || Store::follow(config, &mut of_thread.lock())).await;
        match opened.context("opening the store panicked")? {
            Ok(store) => {
                waiting.set(None);
                return Ok(store);
            }
            Err(error @ StoreError::NotYet { .. }) => {
                if waiting.reason().is_none() {
                    info!("{error}; waiting for it");
                }
                waiting.set(Some(error.to_string()));
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error).with_context(|| format!("failed to open the store in {place}")),
        }
    }
}

/// Begins to follow the shards of other processes and to ask their owners. `own` is the base URL of this process when it folds
/// shards itself.
async fn ask_owners(store: &Arc<Store>, own: Option<String>) -> anyhow::Result<()> {
    let config = RemoteConfig { own: own.map(Arc::from), ..RemoteConfig::default() };
    let follower = store.follower();
    let started = tokio::task::spawn_blocking(move || RemoteShards::start(config, follower)).await;
    let shards = started.context("following the shards of other processes panicked")?;
    store.answer_also_from(shards.context("failed to follow the shards of other processes")?);
    Ok(())
}

/// Opens the store, which reads its newest files: on a blocking thread.
async fn write_store(config: StoreConfig, registry: &SharedRegistry) -> anyhow::Result<Arc<Store>> {
    let registry = registry.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let place = config.url.clone().unwrap_or_else(|| config.dir.display().to_string());
        Store::open(config, &mut registry.lock()).with_context(|| format!("failed to open the store in {place}"))
    });
    opening.await.context("opening the store panicked")?
}

/// Says in `/readyz` which shards cannot be asked. Answers go on without what they have in memory.
fn look_at_owners(readiness: &Readiness, store: &Arc<Store>) {
    let store = store.clone();
    readiness.add_wanted("owners", move || {
        let missing = store.incomplete(Instant::now());
        missing.into_iter().map(|one| format!("shard {}: {}", one.shard, one.reason)).collect()
    });
}
