//! Stands in the place of `spread` in a program that was built without it: every statement is computed where it is asked.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use shipwake_store::{Snapshot, Store, Table};
use tokio::runtime::Handle;

use crate::config::QueryConfig;
use crate::sql::budget::SharedMemory;
use crate::sql::session::Sessions;

/// Nobody.
#[derive(Default)]
pub(crate) struct Others;

impl Others {
    pub fn is_empty(&self) -> bool {
        true
    }
}

/// Nothing.
#[derive(Debug)]
pub(crate) struct Spread;

/// A plan, and the session it has to run in.
pub(crate) struct Spreading {
    pub plan: Arc<dyn ExecutionPlan>,
    pub state: SessionState,
    pub nodes: usize,
}

impl Spread {
    /// # Errors
    /// When the configuration asks for what is not there.
    pub fn new(config: &QueryConfig, _: &Arc<Store>, _: &Arc<Sessions>, _: &Arc<SharedMemory>) -> Result<Self, String> {
        match config.peers.is_empty() {
            true => Ok(Self),
            false => Err("peers are named, and this program was built without the feature `distributed`".to_owned()),
        }
    }

    pub fn router(&self, _: Handle) -> Router {
        Router::new()
    }

    pub async fn others(&self, _: &Snapshot, _: &[Table]) -> Others {
        Others
    }

    pub async fn failed(&self) {}

    pub async fn plan(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        state: &SessionState,
        _: &Others,
        _: &Snapshot,
        _: Instant,
    ) -> Result<Spreading> {
        Ok(Spreading { plan, state: state.clone(), nodes: 1 })
    }
}
