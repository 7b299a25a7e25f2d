//! Starts the stages in order and stops them in reverse. The only place that knows every stage.
//!
//! Start: sockets are bound first, so that senders of a restarted Shipwake wait instead of failing; then store, journal
//! (which may wait for its brokers), aggregate, query, and the journal is handed to ingest. Stop: no more connections, finish what is in flight, fold and
//! commit what the journal holds, close. Relies on each stage to say when it is done; has one grace period for all. A process with
//! fewer roles starts only what they need.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use axum::Router;
use axum::http::StatusCode;
use shipwake_aggregate::{Aggregate, AggregateConfig, Progress};
use shipwake_ingest::{HookSecret, Ingest, IngestConfig, JournalHandle, ServeConfig, SyslogConfig, SyslogSockets};
use shipwake_journal::kafka::{Membership, TopicsConfig};
use shipwake_journal::{Journal, Member, embedded};
use shipwake_model::Kpi;
use shipwake_query::{Endpoints, PipelineSource, Query, QueryConfig};
use shipwake_store::{DirectoryLock, LostSegment, ShardStatus, Store, StoreConfig};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{Config, EMBEDDED};
use crate::data_folder;
use crate::gates;
use crate::health::{self, Readiness};
use crate::journal::{self, JournalPlace, Waiting, journal_dir};
use crate::late::Late;
use crate::metrics::SharedRegistry;
use crate::notification_records;
use crate::peers::{self, Peers};
use crate::pipeline::IngestSource;
use crate::reader;
use crate::roles::{self, Roles};
use crate::telemetry::Telemetry;
use crate::verdict_records;
use crate::verdicts::Verdicts;

/// How long all stages together may take to stop, below what service managers allow and what the documents promise.
const GRACE: Duration = Duration::from_secs(9);
/// How long connections may finish what they are doing when the program stops.
const CONNECTION_GRACE: Duration = Duration::from_secs(3);

/// Where a running Shipwake listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// OTLP/gRPC, where it takes telemetry.
    pub otlp_grpc: Option<SocketAddr>,
    /// OTLP/HTTP and `/v1/lines`, where it takes telemetry.
    pub otlp_http: Option<SocketAddr>,
    /// Pages and API.
    pub ui: SocketAddr,
}

/// A stage that runs: its name for messages, and its task.
pub type Running = (&'static str, JoinHandle<anyhow::Result<()>>);

/// A running Shipwake. Stop it with [`App::stop`].
pub struct App {
    addresses: Addresses,
    ingest: Option<Ingest>,
    journal: Option<Arc<dyn Journal>>,
    query: Option<Query>,
    servers: Vec<Running>,
    /// Stops the sockets.
    stop_servers: CancellationToken,
    aggregate: Option<Running>,
    verdicts: Option<Verdicts>,
    /// Stops the shards, after ingest has appended its last record.
    stop_aggregate: CancellationToken,
    telemetry: Telemetry,
    /// Held until all have stopped.
    _folder: Option<DirectoryLock>,
}

/// Threads for work that takes longer than a connection can wait: requests that are large to decode or to compress. Each keeps
/// some memory of its own, so there are few, and requests wait for them; shards and queries have their own.
const WORK_THREADS: usize = 4;

/// A tokio runtime with a thread for each core.
///
/// # Errors
/// When the operating system gives no threads.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().max_blocking_threads(WORK_THREADS).build().context("failed to start threads")
}

/// `shipwake serve`: runs until SIGTERM, Ctrl-C, or a failure that a restart has to mend.
///
/// # Errors
/// When a stage cannot be started, fails, or does not stop in time.
pub fn serve(config: Config) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        cancel_on_signal(&shutdown)?;
        // It may wait for brokers for as long as they are away.
        let app = tokio::select! {
            app = App::start(config, shutdown.clone()) => app?,
            () = shutdown.cancelled() => return Ok(()),
        };
        shutdown.cancelled().await;
        app.stop().await
    })
}

/// Cancels `shutdown` at SIGTERM and Ctrl-C. Must be called inside the runtime.
///
/// # Errors
/// When the handlers cannot be set.
pub fn cancel_on_signal(shutdown: &CancellationToken) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for Ctrl-C")?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

impl App {
    /// Starts everything. `shutdown` is cancelled by the app itself when a stage fails in a way that ends the program.
    ///
    /// # Errors
    /// With what could not be started and why: a port in use, a folder that cannot be used, damaged data.
    pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let roles = config.roles().map_err(|problem| anyhow!("roles: {problem}"))?;
        let telemetry = Telemetry::start(&config)?;
        let registry = SharedRegistry::default();
        let sockets = Sockets::bind(&config, roles).await?;
        let addresses = sockets.addresses()?;
        let folder = data_folder::take(&config.data)?;
        let stop_servers = CancellationToken::new();
        let mut servers = Vec::new();
        let senders = sockets.senders;
        let ingest = senders.map(|senders| start_ingest(&config, senders, &registry, &stop_servers, &mut servers));
        let ingest = ingest.transpose()?;
        let (readiness, waiting, late) = (Readiness::default(), Waiting::default(), Late::new());
        if roles.needs_journal() {
            readiness.add("journal", journal_problems(ingest.as_ref(), &waiting));
        }
        let early = late.router(health::router(readiness.clone(), registry.clone(), || ()));
        servers.push(("pages", serve_router(sockets.ui, early, &stop_servers)));

        let kpis = declared_kpis(&config)?;
        let store = open_store(&config, roles, addresses.ui, &registry, &readiness).await?;
        let journal = open_journal(&config, roles, store.as_ref(), &registry, &waiting).await?;
        let recorder = recorder(&config, roles, ingest.as_ref(), journal.as_ref(), &registry)?;
        let stop_aggregate = CancellationToken::new();
        let (mut aggregate, mut progress) = (None, None);
        if let (true, Some(store), Some(journal)) = (roles.aggregate, &store, &journal) {
            let stage = aggregate_config(&config, &kpis);
            let stage = Aggregate::new(stage, journal.clone(), store.clone(), &mut registry.lock());
            progress = Some(stage.progress());
            look_at_shards(&readiness, store, journal, stage.progress());
            let group = join_group(&config, addresses.ui, &readiness)?;
            let running = end_with(start_aggregate(stage, group, &stop_aggregate), shutdown.clone());
            aggregate = Some(("aggregate", running));
        }
        let source = IngestSource::shared(&ingest, &readiness, &progress, endpoints(&addresses));
        let internal = internal_router(roles, store.as_ref(), &source);
        let judged = store.as_ref().filter(|_| roles.alerts);
        let verdicts = Verdicts::start(&config, judged, &kpis, &registry, &readiness, &shutdown).await?;
        let board = verdicts.as_ref().map(Verdicts::board);
        servers.extend(record_what_is_said(verdicts.as_ref(), recorder, store.clone(), &stop_servers));
        let gates = gates::start(&config, roles, board.zip(store.clone()), &stop_servers, &mut servers)?;
        let query = start_query(&config, &kpis, store.filter(|_| roles.query), source, &registry, &stop_servers)?;
        if let (Some(ingest), Some(journal)) = (&ingest, &journal) {
            ingest.journal().open(journal.clone());
            // Where several processes fold, Kafka is the buffer, and nobody knows all of them.
            if let Some(progress) = progress.filter(|_| !config.is_shared()) {
                follow(ingest, progress, &stop_servers);
            }
            servers.extend(read_topics(&config, ingest, &registry, &readiness, &stop_servers)?);
            end_when_journal_fails(ingest, &shutdown);
        }

        let ui = ui_router(roles, ingest.as_ref(), query.as_ref(), readiness, registry.clone());
        late.is(ui.merge(internal).merge(gates));
        telemetry.export_metrics(&registry);
        say_ready(&config, &addresses);
        Ok(Self {
            addresses,
            ingest,
            journal,
            query,
            servers,
            stop_servers,
            aggregate,
            verdicts,
            stop_aggregate,
            telemetry,
            _folder: folder,
        })
    }

    /// Where it listens; ports that were asked for as 0 are the real ones here.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Stops everything in reverse order within the grace period.
    ///
    /// # Errors
    /// With what failed while it ran, or was not finished in time.
    pub async fn stop(self) -> anyhow::Result<()> {
        let telemetry = self.telemetry;
        let mut unfinished = "the servers";
        let stopping = async {
            self.stop_servers.cancel();
            if let Some(query) = &self.query {
                query.close();
            }
            let mut outcome = Ok(());
            for (name, server) in self.servers {
                outcome = outcome.and(joined(name, server.await));
            }
            unfinished = "requests in flight";
            if let Some(ingest) = &self.ingest {
                ingest.close().await;
            }
            unfinished = "verdicts";
            if let Some(verdicts) = self.verdicts {
                outcome = outcome.and(verdicts.stop().await);
            }
            unfinished = "the last commit";
            self.stop_aggregate.cancel();
            if let Some((name, aggregate)) = self.aggregate {
                outcome = outcome.and(joined(name, aggregate.await));
            }
            unfinished = "closing the journal";
            let Some(journal) = self.journal else { return outcome };
            outcome.and(journal.close().await.context("failed to close the journal"))
        };
        let outcome = tokio::time::timeout(GRACE, stopping).await;
        telemetry.shutdown();
        match outcome {
            Ok(outcome) => outcome,
            // What was acknowledged is in the journal; the next start picks it up.
            Err(_) => bail!("not finished after {GRACE:?}: {unfinished}"),
        }
    }
}

fn joined(name: &str, outcome: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Result<()> {
    match outcome {
        Ok(outcome) => outcome.with_context(|| format!("{name} failed")),
        Err(panic) => Err(anyhow!("{name} panicked: {panic}")),
    }
}

/// What a process listens on.
struct Sockets {
    senders: Option<Senders>,
    ui: TcpListener,
}

/// What a process that takes telemetry listens on.
struct Senders {
    grpc: TcpListener,
    http: TcpListener,
    syslog: SyslogSockets,
}

impl Sockets {
    async fn bind(config: &Config, roles: Roles) -> anyhow::Result<Self> {
        let bind = async |address: SocketAddr, what: &str, option: &str| {
            let bound = TcpListener::bind(address).await;
            bound.with_context(|| format!("failed to listen on {address} for {what} (another address: {option})"))
        };
        let mut senders = None;
        if roles.ingest {
            let grpc = bind(config.otlp_grpc_addr, "OTLP/gRPC", "--otlp-grpc-addr").await?;
            let http = bind(config.otlp_http_addr, "OTLP/HTTP", "--otlp-http-addr").await?;
            senders = Some(Senders { grpc, http, syslog: bind_syslog(config).await? });
        }
        Ok(Sockets { senders, ui: bind(config.ui_addr, "pages and API", "--ui-addr").await? })
    }

    fn addresses(&self) -> anyhow::Result<Addresses> {
        let of = |socket: Option<&TcpListener>| socket.map(TcpListener::local_addr).transpose();
        let senders = self.senders.as_ref();
        Ok(Addresses {
            otlp_grpc: of(senders.map(|senders| &senders.grpc))?,
            otlp_http: of(senders.map(|senders| &senders.http))?,
            ui: self.ui.local_addr()?,
        })
    }
}

async fn bind_syslog(config: &Config) -> anyhow::Result<SyslogSockets> {
    let failed = |address: SocketAddr, option: &str| {
        format!("failed to listen on {address} for syslog (another address: {option}; below 1024 needs a right)")
    };
    let mut sockets = SyslogSockets::default();
    if let Some(address) = config.syslog_tcp {
        let bound = TcpListener::bind(address).await;
        sockets.tcp = Some(bound.with_context(|| failed(address, "--syslog-tcp"))?);
    }
    if let Some(address) = config.syslog_udp {
        let bound = UdpSocket::bind(address).await;
        sockets.udp = Some(bound.with_context(|| failed(address, "--syslog-udp"))?);
    }
    for (protocol, address) in [
        ("TCP", sockets.tcp.as_ref().map(TcpListener::local_addr)),
        ("UDP", sockets.udp.as_ref().map(UdpSocket::local_addr)),
    ] {
        if let Some(address) = address {
            info!(address = %address?, "syslog over {protocol}");
        }
    }
    Ok(sockets)
}

/// Takes telemetry from now on; until the journal is there, senders wait.
fn start_ingest(
    config: &Config,
    senders: Senders,
    registry: &SharedRegistry,
    stop: &CancellationToken,
    servers: &mut Vec<Running>,
) -> anyhow::Result<Ingest> {
    let Senders { grpc, http, syslog } = senders;
    let ingest = Ingest::new(ingest_config(config)?, JournalHandle::opening(), &mut registry.lock())?;
    servers.push(("OTLP/gRPC", serve_senders(&ingest, grpc, stop)));
    servers.push(("OTLP/HTTP", serve_senders(&ingest, http, stop)));
    if syslog.tcp.is_some() || syslog.udp.is_some() {
        servers.push(("syslog", serve_syslog(&ingest, syslog, syslog_config(config)?, stop)));
    }
    Ok(ingest)
}

/// Becomes one of the processes that share the partitions, where several can.
fn join_group(config: &Config, ui: SocketAddr, readiness: &Readiness) -> anyhow::Result<Option<(Member, Membership)>> {
    if !config.is_shared() {
        return Ok(None);
    }
    let kafka = config.kafka_journal().map_err(|problem| anyhow!("journal: {problem}"))?;
    let url = advertised(config, ui);
    let name = format!("shipwake-{}", url.trim_start_matches("http://").replace([':', '[', ']'], "-"));
    let (member, membership) = Membership::join(&kafka, &name).context("failed to join the group at Kafka")?;
    let standing = member.standing();
    readiness.add("group", move || standing.reason().iter().map(|reason| reason.to_string()).collect());
    Ok(Some((member, membership)))
}

fn start_aggregate(
    aggregate: Aggregate,
    group: Option<(Member, Membership)>,
    stop: &CancellationToken,
) -> JoinHandle<anyhow::Result<()>> {
    let stop = stop.clone();
    if group.is_none() {
        // Before anybody can ask whether all of them are ready.
        aggregate.assign_all();
    }
    tokio::spawn(async move {
        let Some((member, membership)) = group else { return aggregate.run(stop).await.context("aggregate failed") };
        let outcome = aggregate.run_as_member(member, stop).await.context("aggregate failed");
        // Others get the partitions at once, and not when this process has not been heard of for a while.
        let left = tokio::task::spawn_blocking(move || membership.leave()).await;
        outcome.and(left.context("leaving the group panicked"))
    })
}

/// Reads what a Collector has written to Kafka, where that is asked for, as soon as its brokers and topics are there.
fn read_topics(
    config: &Config,
    ingest: &Ingest,
    registry: &SharedRegistry,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Running>> {
    let Some(config) = topics_config(config)? else { return Ok(None) };
    let (ingest, registry, stop) = (ingest.clone(), registry.clone(), stop.clone());
    let waiting = Waiting::default();
    let (of_waiting, of_topics) = (waiting.clone(), ingest.clone());
    readiness.add("topics", move || of_waiting.reason().into_iter().chain(of_topics.topic_problems()).collect());
    let reading = tokio::spawn(async move {
        let topics = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            topics = journal::open_topics(config, &registry, &waiting) => topics?,
        };
        ingest.read_topics(topics, stop).await;
        Ok(())
    });
    Ok(Some(("topics of a Collector", reading)))
}

/// The journal, for the roles that need it; waits for its brokers.
async fn open_journal(
    config: &Config,
    roles: Roles,
    store: Option<&Arc<Store>>,
    registry: &SharedRegistry,
    waiting: &Waiting,
) -> anyhow::Result<Option<Arc<dyn Journal>>> {
    // Whoever judges appends what it says.
    if !(roles.needs_journal() || roles.alerts && config.is_shared()) {
        return Ok(None);
    }
    Ok(Some(journal::open(journal_place(config, store).await?, registry, waiting).await?))
}

/// What appends changes of verdicts to the journal: what takes telemetry here, or else a way of its own to a journal that is shared.
fn recorder(
    config: &Config,
    roles: Roles,
    ingest: Option<&Ingest>,
    journal: Option<&Arc<dyn Journal>>,
    registry: &SharedRegistry,
) -> anyhow::Result<Option<Ingest>> {
    if !roles.alerts || ingest.is_some() {
        return Ok(ingest.cloned());
    }
    let Some(journal) = journal else { return Ok(None) };
    let handle = JournalHandle::opening();
    handle.open(journal.clone());
    Ok(Some(Ingest::new(ingest_config(config)?, handle, &mut registry.lock())?))
}

/// Records what the judge says, and whom the notifier told.
fn record_what_is_said(
    verdicts: Option<&Verdicts>,
    recorder: Option<Ingest>,
    store: Option<Arc<Store>>,
    stop: &CancellationToken,
) -> Vec<Running> {
    let (Some(verdicts), Some(recorder), Some(store)) = (verdicts, recorder, store) else { return Vec::new() };
    let attempts = notification_records::record(verdicts.notifier(), recorder.clone(), stop.clone());
    let words = verdict_records::record(verdicts.board(), recorder, store, stop.clone());
    vec![("records of verdicts", tokio::spawn(words)), ("records of notifications", tokio::spawn(attempts))]
}

/// What answers queries, where there is a store to ask.
fn start_query(
    config: &Config,
    kpis: &Arc<[Kpi]>,
    store: Option<Arc<Store>>,
    source: Arc<dyn PipelineSource>,
    registry: &SharedRegistry,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Query>> {
    let Some(store) = store else { return Ok(None) };
    let source = with_peers(config, source, stop)?;
    Ok(Some(Query::new(query_config(config, kpis)?, store, source, &mut registry.lock())?))
}

/// The store, for the roles that need it.
async fn open_store(
    config: &Config,
    roles: Roles,
    ui: SocketAddr,
    registry: &SharedRegistry,
    readiness: &Readiness,
) -> anyhow::Result<Option<Arc<Store>>> {
    if !roles.needs_store() {
        return Ok(None);
    }
    let store = reader::open_store(store_config(config, ui), roles, registry, readiness).await?;
    look_at_store(readiness, &store, roles);
    Ok(Some(store))
}

fn serve_senders(ingest: &Ingest, socket: TcpListener, stop: &CancellationToken) -> JoinHandle<anyhow::Result<()>> {
    let (ingest, stop) = (ingest.clone(), stop.clone());
    tokio::spawn(async move { Ok(ingest.serve(socket, serve_limits(), stop).await?) })
}

fn serve_syslog(
    ingest: &Ingest,
    sockets: SyslogSockets,
    config: SyslogConfig,
    stop: &CancellationToken,
) -> JoinHandle<anyhow::Result<()>> {
    let (ingest, stop) = (ingest.clone(), stop.clone());
    tokio::spawn(async move {
        ingest.serve_syslog(sockets, config, stop).await;
        Ok(())
    })
}

fn serve_router(socket: TcpListener, router: Router, stop: &CancellationToken) -> JoinHandle<anyhow::Result<()>> {
    let stop = stop.clone();
    tokio::spawn(async move { Ok(shipwake_ingest::serve(socket, router, serve_limits(), stop).await?) })
}

fn serve_limits() -> ServeConfig {
    ServeConfig { grace: CONNECTION_GRACE, ..ServeConfig::default() }
}

/// Own health; pages and API where queries are answered; the senders' routes for sites that open one port only.
fn ui_router(
    roles: Roles,
    ingest: Option<&Ingest>,
    query: Option<&Query>,
    readiness: Readiness,
    registry: SharedRegistry,
) -> Router {
    let gauges = ingest.cloned();
    let mut router = health::router(readiness, registry, move || {
        if let Some(ingest) = &gauges {
            ingest.refresh_metrics();
        }
    });
    if let Some(ingest) = ingest {
        router = router.merge(ingest.http_router()).merge(ingest.grpc_router());
    }
    match query {
        Some(query) => {
            router.merge(query.router()).merge(query.worker_router()).fallback_service(shipwake_dashboards::router())
        }
        None => router.fallback(move || async move { (StatusCode::NOT_FOUND, roles::elsewhere(roles)) }),
    }
}

/// What other processes of the site ask: the shards that are folded here, and what was received here.
fn internal_router(roles: Roles, store: Option<&Arc<Store>>, source: &Arc<dyn PipelineSource>) -> Router {
    let mut router = Router::new();
    if let (true, Some(store)) = (roles.aggregate, store) {
        router = router.merge(shipwake_remote::router(store.clone()));
    }
    if roles.ingest {
        router = router.merge(peers::router(source.clone()));
    } else if roles.query {
        router = router.merge(peers::silent_router());
    }
    router
}

/// What this process knows of receiving, and its peers, if it has been told of some.
fn with_peers(
    config: &Config,
    own: Arc<dyn PipelineSource>,
    stop: &CancellationToken,
) -> anyhow::Result<Arc<dyn PipelineSource>> {
    let urls = config.peers().map_err(|problem| anyhow!("peers: {problem}"))?;
    if urls.is_empty() {
        return Ok(own);
    }
    Ok(Peers::start(own, urls, stop.clone())?)
}

/// What keeps the journal from being used, asked at every look.
fn journal_problems(ingest: Option<&Ingest>, waiting: &Waiting) -> impl Fn() -> Vec<String> + Send + Sync + 'static {
    let (ingest, waiting) = (ingest.cloned(), waiting.clone());
    move || {
        if let Some(reason) = waiting.reason() {
            return vec![reason];
        }
        let Some(ingest) = &ingest else { return waiting.problems() };
        match ingest.journal().state() {
            "open" => {
                let problems = ingest.journal().problems();
                let refusal = ingest.refusal().map(|reason| format!("records are refused: {reason}"));
                if problems.is_empty() { refusal.into_iter().collect() } else { problems }
            }
            state => vec![format!("the journal is {state}")],
        }
    }
}

fn look_at_store(readiness: &Readiness, store: &Arc<Store>, roles: Roles) {
    let (of_disk, damaged) = (store.clone(), store.clone());
    if roles.aggregate {
        readiness.add("disk", move || match of_disk.check_room() {
            Ok(()) => Vec::new(),
            Err(error) => vec![format!("{error}; free some, Shipwake goes on by itself")],
        });
    }
    readiness.add_wanted("store", move || damage_of(&damaged.lost()));
}

fn look_at_shards(readiness: &Readiness, store: &Arc<Store>, journal: &Arc<dyn Journal>, progress: Progress) {
    let (store, journal, losses) = (store.clone(), journal.clone(), progress.clone());
    readiness.add_wanted("journal", move || journal.damage().into_iter().chain(losses.losses()).collect());
    readiness.add("shards", move || {
        let shards = store.status_here();
        let trouble = |(shard, why): (u32, Option<String>)| match why {
            Some(why) => Some(format!("shard {shard} does not run: {why}")),
            None => shard_trouble(shard, &shards),
        };
        progress.shards().into_iter().filter_map(trouble).collect()
    });
}

/// Damaged segments by name, and of many how many more there are.
fn damage_of(lost: &[LostSegment]) -> Vec<String> {
    const NAMED_MAX: usize = 5;
    let mut words: Vec<String> = lost.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if lost.len() > NAMED_MAX {
        words.push(format!("{} more segments are damaged: see the log, or shipwake doctor", lost.len() - NAMED_MAX));
    }
    words
}

fn say_ready(config: &Config, addresses: &Addresses) {
    let Addresses { ui, otlp_grpc, otlp_http } = addresses;
    let data = config.data.display();
    match (otlp_grpc, otlp_http) {
        (Some(otlp_grpc), Some(otlp_http)) => {
            info!(%ui, %otlp_grpc, %otlp_http, %data, roles = config.roles, "ready to take telemetry");
        }
        _ => info!(%ui, roles = config.roles, "ready"),
    }
}

/// Why a shard is not ready, if it is not.
fn shard_trouble(shard: u32, shards: &[ShardStatus]) -> Option<String> {
    match shards.iter().find(|status| status.shard == shard) {
        Some(ShardStatus { problem: Some(problem), .. }) => Some(format!("shard {shard} cannot commit: {problem}")),
        Some(status) if status.ready => None,
        _ => Some(format!("shard {shard} is reading its state and the journal behind it")),
    }
}

/// Lets ingest see how far the shards are, so that it does not run too far ahead of them.
fn follow(ingest: &Ingest, progress: Progress, stop: &CancellationToken) {
    let (ingest, stop) = (ingest.clone(), stop.clone());
    tokio::spawn(async move { ingest.follow(move |partition| progress.next_offset(partition), stop).await });
}

/// A journal that failed cannot acknowledge anything: the program ends, and what is on disk is the truth for the next.
fn end_when_journal_fails(ingest: &Ingest, shutdown: &CancellationToken) {
    let (ingest, shutdown) = (ingest.clone(), shutdown.clone());
    tokio::spawn(async move {
        let reason = ingest.failed().await;
        error!(%reason, "the journal failed: stopping, a restart recovers what is on disk");
        shutdown.cancel();
    });
}

/// The task's outcome; when it ends before it was asked to, the program ends with it.
fn end_with(task: JoinHandle<anyhow::Result<()>>, shutdown: CancellationToken) -> JoinHandle<anyhow::Result<()>> {
    tokio::spawn(async move {
        let outcome = joined("a stage", task.await);
        if !shutdown.is_cancelled() {
            match &outcome {
                Ok(()) => warn!("a stage ended early: stopping"),
                Err(error) => error!("{error:#}: stopping"),
            }
            shutdown.cancel();
        }
        outcome
    })
}

fn endpoints(addresses: &Addresses) -> Endpoints {
    let url = |address: Option<SocketAddr>| address.map(|address| format!("http://{address}")).unwrap_or_default();
    Endpoints {
        otlp_grpc: url(addresses.otlp_grpc),
        otlp_http: url(addresses.otlp_http),
        ui: format!("http://{}", addresses.ui),
    }
}

/// How long a sender waits for Kafka when a repetition is recognised. A broker that dies is replaced in three to six seconds;
/// senders are told to come again sooner, so that they know.
const KAFKA_APPEND_MAX: Duration = Duration::from_secs(2);

fn ingest_config(config: &Config) -> anyhow::Result<IngestConfig> {
    let defaults = IngestConfig::default();
    let is_kafka = config.journal != EMBEDDED;
    let secret = config.github_secret().map_err(|problem| anyhow!("hook_secret_github_file: {problem}"))?;
    Ok(IngestConfig {
        append_time_max: if is_kafka { KAFKA_APPEND_MAX } else { defaults.append_time_max },
        message_bytes_max: config.request_bytes,
        in_flight_bytes_max: config.inflight_bytes,
        backlog_time_max: Duration::from_secs(config.backlog_seconds),
        upstreams: config.lines.upstreams.iter().map(Into::into).collect(),
        github_secret: secret.map(HookSecret),
        ..defaults
    })
}

fn syslog_config(config: &Config) -> anyhow::Result<SyslogConfig> {
    let wrong = |problem: String| anyhow!("syslog: {problem}");
    Ok(SyslogConfig {
        service: config.syslog_service.clone(),
        version: config.syslog_version.clone(),
        environment: config.syslog_environment.clone(),
        applications: SyslogConfig::read_applications(&config.syslog_apps).map_err(wrong)?,
        offset_s: SyslogConfig::read_offset(&config.syslog_zone).map_err(wrong)?,
        grace: CONNECTION_GRACE,
        ..SyslogConfig::default()
    })
}

/// Folder of the store below the data folder.
pub fn store_dir(data: &Path) -> std::path::PathBuf {
    data.join("store")
}

/// Where the journal is. The address was checked with the configuration.
async fn journal_place(config: &Config, store: Option<&Arc<Store>>) -> anyhow::Result<JournalPlace> {
    if config.journal == EMBEDDED {
        let dir = journal_dir(&config.data);
        let folded = match store {
            Some(store) => Some(folded(store.clone()).await?),
            None => None,
        };
        return Ok(JournalPlace::Embedded(embedded::Config {
            partitions: config.partitions,
            folded,
            ..embedded::Config::new(dir)
        }));
    }
    let place = config.kafka_journal().map_err(|problem| anyhow!("journal: {problem}"))?;
    Ok(JournalPlace::Kafka(place))
}

/// How far the store has read its journal: a journal that has lost less than that has lost nothing.
async fn folded(store: Arc<Store>) -> anyhow::Result<embedded::Folded> {
    let mut folded = embedded::Folded::default();
    let read = tokio::task::spawn_blocking(move || store.read_so_far()).await;
    let read = read.context("reading the store's positions panicked")?;
    for read in read.context("failed to read the store's positions")? {
        let at = read.shard as usize;
        if folded.offsets.len() <= at {
            folded.offsets.resize(at + 1, 0);
        }
        folded.offsets[at] = read.next_offset;
        folded.journal = folded.journal.or(read.journal);
    }
    Ok(folded)
}

fn topics_config(config: &Config) -> anyhow::Result<Option<TopicsConfig>> {
    config.collector_topics().transpose().map_err(|problem| anyhow!("kafka_topics: {problem}"))
}

/// Where others reach this process.
fn advertised(config: &Config, ui: SocketAddr) -> String {
    match config.advertise.as_deref().map(roles::base_url) {
        Some(Ok(url)) => url,
        // It was checked with the configuration.
        Some(Err(_)) | None => roles::advertised(ui, &roles::host_name()),
    }
}

fn store_config(config: &Config, ui: SocketAddr) -> StoreConfig {
    let mut store = StoreConfig::new(store_dir(&config.data));
    match &config.store {
        Some(url) if shipwake_store::s3::is_url(url) => store.url = Some(url.clone()),
        Some(dir) => store.dir = dir.into(),
        None => {}
    }
    store.advertise = config.is_shared().then(|| advertised(config, ui));
    store.retention = config.retention.to_store();
    store.compaction.index = config.full_text_index;
    store
}

/// The declared KPIs. The file was checked with the configuration; it may have changed since.
fn declared_kpis(config: &Config) -> anyhow::Result<Arc<[Kpi]>> {
    let Some(path) = &config.kpis else { return Ok(Arc::default()) };
    crate::kpis::load(path).map_err(|problems| anyhow!("the KPIs cannot be used: {}", problems.join("; ")))
}

fn aggregate_config(config: &Config, kpis: &Arc<[Kpi]>) -> AggregateConfig {
    AggregateConfig {
        commit_interval: Duration::from_secs(config.commit_seconds),
        kpis: kpis.clone(),
        ..AggregateConfig::default()
    }
}

fn query_config(config: &Config, kpis: &Arc<[Kpi]>) -> anyhow::Result<QueryConfig> {
    let wrong = |problem: String| anyhow!(problem);
    Ok(QueryConfig {
        kpis: kpis.clone(),
        peers: if config.is_shared() { config.peers().map_err(wrong)? } else { Vec::new() },
        spread_bytes_min: config.sql_spread_bytes,
        cluster_token: config.cluster_token().map_err(wrong).context("failed to read cluster_token_file")?,
        memory_bytes: config.query_memory_bytes,
        memory_bytes_per_query: config.query_memory_bytes,
        ..QueryConfig::default()
    })
}
