//! One statement computed by several query nodes, over the crate datafusion-distributed: its worker service, its transport
//! and its coordinator. What is ours is where a plan is cut ([`cut`]), who reads what ([`shares`]), and that no answer is
//! taken for whole which is not ([`seal`]).
//!
//! The asked node takes the snapshot, plans, keeps hot rows and everything above the cut, and computes a part like the others.
//! A part that fails is no answer: the caller computes the statement once more, alone, over the same snapshot.

mod checked;
mod codec;
mod cut;
mod nodes;
mod seal;
mod shares;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use axum::Router;
use axum::http::HeaderMap;
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{
    DistributedExt, RouteTasksEvent, RouteTasksEventResponse, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
    SessionStateBuilderExt, Worker, WorkerResolver,
};
use shipwake_store::{SegmentFile, Snapshot, Store, Table};
use tokio::runtime::Handle;
use url::Url;

use crate::config::QueryConfig;
use crate::sql::budget::SharedMemory;
use crate::sql::session::Sessions;
use checked::Reading;
use nodes::Peers;
use seal::Sealed;

/// Rows of other nodes that wait here to be used, bytes for each node: they count towards the memory of the statement.
const BUFFER_BYTES: usize = 8 << 20;
/// Our own address in plans: nothing is sent there.
const HERE: &str = "http://here.invalid";

/// Other nodes that compute with us.
pub(crate) type Others = Vec<Url>;

/// What is needed to compute with others.
pub(crate) struct Spread {
    peers: Arc<Peers>,
    worker: Worker,
    token: Option<String>,
    store: Arc<Store>,
    bytes_min: u64,
    partitions: usize,
}

/// A plan, and the session it has to run in.
pub(crate) struct Spreading {
    pub plan: Arc<dyn ExecutionPlan>,
    pub state: SessionState,
    /// How many nodes compute it.
    pub nodes: usize,
}

impl Spread {
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        config: &QueryConfig,
        store: &Arc<Store>,
        sessions: &Arc<Sessions>,
        shared_memory: &Arc<SharedMemory>,
    ) -> Result<Self, String> {
        let here = worker::Here {
            store: store.clone(),
            sessions: sessions.clone(),
            shared_memory: shared_memory.clone(),
            memory_bytes: config.memory_bytes_per_query,
        };
        let version = nodes::version(rand::random());
        let peers = Peers::new(config.peers.clone(), version.clone(), config.cluster_token.as_deref())?;
        Ok(Self {
            peers: Arc::new(peers),
            worker: worker::worker(here, version),
            token: config.cluster_token.clone(),
            store: store.clone(),
            bytes_min: config.spread_bytes_min,
            partitions: config.threads.max(1),
        })
    }

    /// The service for other nodes, on the threads of `handle`.
    pub fn router(&self, handle: Handle) -> Router {
        worker::router(&self.worker, self.token.as_deref(), handle)
    }

    /// The other nodes that can compute, if the segments of these tables are worth asking them.
    pub async fn others(&self, snapshot: &Snapshot, tables: &[Table]) -> Others {
        let files = || tables.iter().flat_map(|table| snapshot.files(*table));
        let bytes = files().map(|file| file.bytes).sum();
        if self.peers.is_empty() || !shares::pays(bytes, files().count(), self.bytes_min) {
            return Vec::new();
        }
        self.peers.able().await
    }

    /// What to do when a part has failed: the nodes are asked anew who is able.
    pub async fn failed(&self) {
        self.peers.forget().await;
    }

    /// The plan as it is computed by these others and by this node; scans are checked when they are read, wherever that is.
    pub async fn plan(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        state: &SessionState,
        others: &[Url],
        snapshot: &Snapshot,
        deadline: Instant,
    ) -> Result<Spreading> {
        let segments = segments_of(snapshot);
        let here = Url::parse(HERE).expect("an address");
        let mut urls = vec![here.clone()];
        urls.extend_from_slice(others);
        let nodes =
            cut::Nodes { urls: &urls, bytes_min: self.bytes_min, partitions: self.partitions, segments: &segments };
        let cut = cut::cut(&plan, &nodes)?;
        let (plan, nodes) = cut.unwrap_or((plan, 1));
        let plan = cut::checked_here(plan, &segments)?;
        let reading = Arc::new(Reading { store: self.store.clone(), deadline });
        if nodes == 1 {
            let mut state = state.clone();
            state.config_mut().set_extension(reading);
            return Ok(Spreading { plan, state, nodes });
        }
        // What was cut must still be what the operators above it rely on.
        let plan = SanityCheckPlan::new().optimize(plan, state.config_options())?;
        let mut state = self.session(&plan, state, here, deadline)?;
        state.config_mut().set_extension(reading);
        let nothing = datafusion::logical_expr::LogicalPlanBuilder::empty(false).build()?;
        let plan = state.query_planner().create_physical_plan(&nothing, &state).await?;
        Ok(Spreading { plan, state, nodes })
    }

    /// A session in which the crate takes `plan` for its own, as it is.
    fn session(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        state: &SessionState,
        here: Url,
        deadline: Instant,
    ) -> Result<SessionState> {
        // It has one stream: the crate computes a plan by its first one.
        let plan: Arc<dyn ExecutionPlan> = match plan.output_partitioning().partition_count() {
            1 => plan.clone(),
            _ => Arc::new(CoalescePartitionsExec::new(plan.clone())),
        };
        let left_ms = deadline.saturating_duration_since(Instant::now()).as_millis();
        let headers = HeaderMap::from_iter([(worker::LEFT_MS, u64::try_from(left_ms).unwrap_or(u64::MAX).into())]);
        let builder = SessionStateBuilder::new_from_existing(state.clone())
            .with_query_planner(Arc::new(Prepared(plan)))
            .with_distributed_worker_resolver(Nobody)
            .with_distributed_channel_resolver(Shared(self.peers.clone()))
            .with_distributed_route_tasks_handler(as_sealed)
            .with_distributed_scale_up_leaf_node_handler(as_it_is)
            .with_distributed_user_codec(codec::Codec)
            .with_distributed_passthrough_headers(headers)?
            .with_distributed_metrics_collection(false)?
            .with_distributed_worker_connection_buffer_budget_bytes(BUFFER_BYTES)?
            .with_distributed_local_worker_context(self.worker.to_local_worker_context(here))
            .with_distributed_planner();
        Ok(builder.build())
    }
}

impl fmt::Debug for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spread").field("bytes_min", &self.bytes_min).finish_non_exhaustive()
    }
}

fn segments_of(snapshot: &Snapshot) -> HashMap<Arc<str>, SegmentFile> {
    let files = Table::ALL.into_iter().flat_map(|table| snapshot.files(table));
    files.map(|file| (file.path.clone(), file.clone())).collect()
}

/// Gives a plan that was made before.
#[derive(Debug)]
struct Prepared(Arc<dyn ExecutionPlan>);

#[async_trait]
impl QueryPlanner for Prepared {
    async fn create_physical_plan(&self, _: &LogicalPlan, _: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.0.clone())
    }
}

/// The connections of all statements.
#[derive(Clone)]
struct Shared(Arc<Peers>);

#[async_trait]
impl datafusion_distributed::ChannelResolver for Shared {
    async fn get_worker_client_for_url(
        &self,
        url: &Url,
    ) -> Result<Box<dyn datafusion_distributed::WorkerChannel>, DataFusionError> {
        self.0.get_worker_client_for_url(url).await
    }
}

/// Every stage of ours says by itself where it is computed.
struct Nobody;

impl WorkerResolver for Nobody {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Err(DataFusionError::Internal("a stage does not say where it is computed".to_owned()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form of a handler")]
fn as_sealed(event: RouteTasksEvent<'_>) -> Option<Result<RouteTasksEventResponse>> {
    let sealed = event.plan.downcast_ref::<Sealed>()?;
    Some(Ok(RouteTasksEventResponse::new(sealed.urls.clone())))
}

/// A scan that stays here stays as it is; those that do not were shared out before.
fn as_it_is(event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    Some(Ok(ScaleUpLeafNodeEventResponse::new(event.plan.clone())))
}
