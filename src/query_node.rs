//! A process that only answers: it reads the store, asks the owners of shards for what is in no segment yet, and those that take
//! telemetry for what they have seen. It keeps nothing, so it starts and stops at any time.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use axum::Router;
use shipwake_query::{Endpoints, PipelineSource, PipelineStatus, Query};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::{GRACE, declared_kpis, joined, query_config, serve_router, store_config};
use crate::config::Config;
use crate::health::{self, Readiness};
use crate::journal::Waiting;
use crate::late::Late;
use crate::metrics::SharedRegistry;
use crate::peers::Peers;
use crate::pipeline::{now_ms, resident_bytes};
use crate::reader;
use crate::telemetry::Telemetry;

/// A process that runs.
pub struct QueryNode {
    query: Query,
    server: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
    telemetry: Telemetry,
}

impl QueryNode {
    /// Starts it; waits for a store as long as there is none.
    ///
    /// # Errors
    /// With what could not be started and why.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let telemetry = Telemetry::start(&config)?;
        let (registry, readiness, waiting) = (SharedRegistry::default(), Readiness::default(), Waiting::default());
        let bound = TcpListener::bind(config.ui_addr).await;
        let ui = bound.with_context(|| format!("failed to listen on {} for pages and API", config.ui_addr))?;
        let address = ui.local_addr()?;
        let (late, stop) = (Late::new(), CancellationToken::new());
        let of_store = waiting.clone();
        readiness.add("store", move || of_store.reason().into_iter().collect());
        let early = late.router(health::router(readiness.clone(), registry.clone(), || ()));
        let server = serve_router(ui, early, &stop);

        let kpis = declared_kpis(&config)?;
        let store = reader::follow_store(store_config(&config), &registry, &waiting).await?;
        reader::ask_owners(&store, None).await?;
        reader::look_at_owners(&readiness, &store);
        let own = Arc::new(Nothing { readiness: readiness.clone(), started_ms: now_ms(), ui: address });
        let urls = config.peers().map_err(|problem| anyhow!("peers: {problem}"))?;
        let source = Peers::start(own, urls, stop.clone())?;
        let query = Query::new(query_config(&config, &kpis), store, source, &mut registry.lock())?;
        late.is(router(&query, readiness, registry.clone()));
        telemetry.export_metrics(&registry);
        info!(ui = %address, roles = %config.roles, "ready to answer");
        Ok(Self { query, server, stop, telemetry })
    }

    /// Finishes what is in flight.
    ///
    /// # Errors
    /// With what failed while it ran.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.query.close();
        let ended = tokio::time::timeout(GRACE, self.server).await;
        self.telemetry.shutdown();
        joined("pages", ended.with_context(|| format!("not finished after {GRACE:?}: the server"))?)
    }
}

fn router(query: &Query, readiness: Readiness, registry: SharedRegistry) -> Router {
    health::router(readiness, registry, || ()).merge(query.router()).fallback_service(shipwake_dashboards::router())
}

/// What a process that takes nothing knows of what was taken.
struct Nothing {
    readiness: Readiness,
    started_ms: i64,
    ui: SocketAddr,
}

impl PipelineSource for Nothing {
    fn status(&self) -> PipelineStatus {
        let missing = self.readiness.missing().into_iter().chain(self.readiness.degraded());
        PipelineStatus {
            memory_bytes: resident_bytes(),
            started_ms: self.started_ms,
            problems: missing.map(|(_, reason)| reason).collect(),
            endpoints: Endpoints { ui: format!("http://{}", self.ui), ..Endpoints::default() },
            ..PipelineStatus::default()
        }
    }
}
