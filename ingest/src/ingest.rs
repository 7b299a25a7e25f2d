//! The stage as a whole: what the protocols share, and what the rest of the program sees of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use prometheus_client::registry::Registry;
use shipwake_model::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::admission::Budget;
use crate::backlog::{Backlog, Reader};
use crate::config::IngestConfig;
use crate::error::{IngestError, Kind};
use crate::handle::JournalHandle;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::status::{IngestStatus, StatusBoard};
use crate::{events, lines, markers, otlp_grpc, otlp_http, remote_write, topics};

/// How often the readers of the journal are looked at: short beside the time that a request is held.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Receives telemetry and appends it to the journal. Cheap to clone; all clones are the same stage.
#[derive(Clone)]
pub struct Ingest {
    core: Arc<Core>,
}

/// What requests of all protocols share.
pub(crate) struct Core {
    pub(crate) config: IngestConfig,
    pub(crate) tenant: Arc<str>,
    pub(crate) journal: JournalHandle,
    pub(crate) budget: Budget,
    backlog: Mutex<Backlog>,
    pub(crate) metrics: Metrics,
    pub(crate) status: StatusBoard,
    /// Appends that are under way, some of them for clients that have gone.
    pub(crate) appends: TaskTracker,
    pub(crate) warnings: Warnings,
    pub(crate) refusal: Refusal,
    /// Patterns of senders of lines.
    pub(crate) patterns: lines::Patterns,
    /// What senders of remote-write have said about their metrics.
    pub(crate) metadata: remote_write::Metadata,
    /// What `sentry-cli` has said about its releases.
    pub(crate) projects: markers::Projects,
    pub(crate) topics: topics::Board,
    failed: watch::Sender<Option<Arc<str>>>,
}

impl Ingest {
    /// A stage that appends to `journal`: an open one, or a [`JournalHandle`] that is opened later.
    pub fn new(
        config: IngestConfig,
        journal: impl Into<JournalHandle>,
        registry: &mut Registry,
    ) -> Result<Self, IngestError> {
        config.check()?;
        let core = Core {
            tenant: config.tenant.as_str().into(),
            journal: journal.into(),
            budget: Budget::new(config.in_flight_bytes_max, config.waiting_max),
            backlog: Mutex::new(Backlog::new(config.backlog_time_max)),
            metrics: Metrics::new(&config.tenant, registry),
            status: StatusBoard::default(),
            appends: TaskTracker::new(),
            warnings: Warnings::default(),
            refusal: Refusal::default(),
            patterns: lines::Patterns::default(),
            metadata: remote_write::Metadata::default(),
            projects: markers::Projects::default(),
            topics: topics::Board::default(),
            failed: watch::Sender::new(None),
            config,
        };
        Ok(Ingest { core: Arc::new(core) })
    }

    /// `POST /v1/logs`, `/v1/metrics`, `/v1/traces`, `/v1/lines`, `/v1/events`, `/api/v1/write` and the routes of markers, without a
    /// fall-back: to be merged into another router. The peer's address is taken from axum's `ConnectInfo<SocketAddr>` when the server provides it.
    pub fn http_router(&self) -> Router {
        let core = || self.core.clone();
        let senders =
            [lines::router(core()), events::router(core()), remote_write::router(core()), markers::router(&self.core)];
        senders.into_iter().fold(otlp_http::router(&self.core), Router::merge)
    }

    /// The three gRPC `Export` methods, without a fall-back.
    pub fn grpc_router(&self) -> Router {
        otlp_grpc::router(&self.core)
    }

    /// Everything that a sender may ask for on either port: a client that is configured for the other port is served all
    /// the same, and one that asks for something else is told what there is.
    pub fn senders_router(&self) -> Router {
        let core = self.core.clone();
        let not_found = move |request| otlp_http::not_found(core.clone(), request);
        self.http_router().merge(self.grpc_router()).fallback(not_found)
    }

    /// What the pipeline page shows.
    pub fn status(&self) -> IngestStatus {
        let core = &self.core;
        core.note_pressure();
        IngestStatus {
            in_flight_bytes: core.budget.used() as u64,
            in_flight_bytes_max: core.config.in_flight_bytes_max as u64,
            waiting_requests: core.budget.waiting() as u64,
            journal: core.journal.state(),
            ..core.status.snapshot()
        }
    }

    /// Brings the gauges up to date; to be called before `/metrics` is written.
    pub fn refresh_metrics(&self) {
        self.core.note_pressure();
    }

    /// The journal that requests go to; [`JournalHandle::open`] lets those that wait go on.
    pub fn journal(&self) -> &JournalHandle {
        &self.core.journal
    }

    /// Why the journal refuses records at the moment, a full disk for example; `None` while it takes them.
    pub fn refusal(&self) -> Option<String> {
        self.core.refusal.reason(self.core.now_ns())
    }

    /// Watches how far the journal is folded, and holds new requests while more waits than
    /// [`IngestConfig::backlog_time_max`] allows. `next_offset` gives the offset that the reader of a partition folds next,
    /// or nothing before it has begun; it is asked often and must be cheap. Runs until `stop`, or until the journal is closed. Without it the backlog has no
    /// bound but the disk.
    pub async fn follow(&self, next_offset: impl Fn(u32) -> Option<u64>, stop: CancellationToken) {
        let core = &self.core;
        let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        let opened = tokio::select! {
            () = stop.cancelled() => return,
            opened = core.journal.wait(far) => opened,
        };
        let Ok(journal) = opened else { return };
        core.lock_backlog().begin(journal.partitions());
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = looks.tick() => {}
            }
            let now = Instant::now();
            let reader = |partition| {
                // The end after the position: the other way round a reader could seem to be beyond it.
                let next_offset = next_offset(partition)?;
                Some(Reader { next_offset, end: journal.end(partition) })
            };
            let mut backlog = core.lock_backlog();
            backlog.observe(reader, now - last);
            let is_full = backlog.is_full();
            drop(backlog);
            core.budget.set_open(!is_full);
            last = now;
        }
        core.lock_backlog().begin(0);
        core.budget.set_open(true);
    }

    /// Returns when the journal has failed in a way that only a new start of the program can mend, with the reason. Pends
    /// for ever otherwise. The program has to end then: nothing will be acknowledged any more.
    pub async fn failed(&self) -> Arc<str> {
        let mut failed = self.core.failed.subscribe();
        let reason = failed.wait_for(Option::is_some).await.map(|reason| reason.clone());
        reason.ok().flatten().expect("the sender is in the stage that is borrowed here")
    }

    /// Refuses new requests with a hint and waits until the journal has answered all appends. Call it after the sockets
    /// are closed and before the journal is.
    pub async fn close(&self) {
        self.core.journal.close();
        self.core.appends.close();
        self.core.appends.wait().await;
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Core {
    /// The time of receipt. The one clock of this crate.
    pub(crate) fn now_ns(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
    }

    /// What the journal has taken and nobody has folded.
    pub(crate) fn lock_backlog(&self) -> MutexGuard<'_, Backlog> {
        // Counts that are a little wrong after a panic are mended when the readers have caught up.
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fail(&self, reason: &str) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| reason.into());
            first
        });
    }

    /// Counts a request that is refused as a whole.
    pub(crate) fn note_refused(&self, signal: Option<Signal>, error: &IngestError) {
        // Refused by the journal: its records were counted one by one.
        if !matches!(error, IngestError::Journal(_) | IngestError::AppendSlow { .. }) {
            self.metrics.refused(error.reason());
            self.status.refused(signal, error.reason(), &error.to_string(), self.now_ns());
        }
        // A passing fault is told by the metrics, and that a client went away is its own business.
        let worth_a_line = error.kind() != Kind::Passing && !matches!(error, IngestError::Aborted { .. });
        if worth_a_line && self.warnings.allow() {
            warn!(signal = signal.map(Signal::as_str), %error, "refused a request");
        }
    }

    fn note_pressure(&self) {
        self.metrics.pressure(self.budget.used(), self.budget.waiting());
        let backlog = self.lock_backlog();
        self.metrics.backlog(backlog.bytes(), backlog.seconds());
    }
}

/// Lets one warning through every few seconds: a sender with a fault repeats it a thousand times.
#[derive(Default)]
pub(crate) struct Warnings {
    next_ms: AtomicU64,
}

impl Warnings {
    const PAUSE: Duration = Duration::from_secs(5);

    pub(crate) fn allow(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let next = self.next_ms.load(Ordering::Relaxed);
        let after = now + Self::PAUSE.as_millis() as u64;
        now >= next && self.next_ms.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
