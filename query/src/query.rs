//! The stage: what questions run on, and the questions themselves.
//!
//! Queries run on a runtime of their own with few threads: a query that burns time slows other queries, never the taking
//! in of records. A question that its asker gave up on, or that used up its time, is cancelled.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use prometheus_client::registry::Registry;
use shipwake_model::kpi::{Kpi, Per};
use shipwake_model::release::DEFAULT_ENVIRONMENT;
use shipwake_store::{
    HealthQuery, HealthSeries, MarkerQuery, MeasureQuery, MeasureSeries, PatternQuery, ReleaseRow, Store, Table,
};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::config::QueryConfig;
use crate::damage::missing_in;
use crate::error::{Budget, QueryError};
use crate::incomplete;
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::pages::patterns::KeptPatterns;
use crate::pages::pipeline::PipelineSource;
use crate::pages::range::{Asked, RECENT_KEPT_MS};
use crate::pages::recent::Recent;
use crate::pages::{
    annotations, deploys, freshness, history, overview, pattern_history, pipeline, range, service, toggle, wire,
};
use crate::release::patterns::Shapes;
use crate::release::timeline::Grid;
use crate::search::scan::Readers;
use crate::spans::QuestionSpan;
use crate::sql::answer::SqlAnswer;
use crate::sql::budget::SharedMemory;
use crate::sql::run::{Engine, Limits, SqlRequest};
use crate::sql::session::Sessions;
use crate::sql::spread::Spread;
use crate::time::{HOUR_MS, parse_time};

/// The planner walks syntax trees by recursion. Address space, not memory: a page is used when it is touched. Belongs
/// together with `WORDS_MAX` in `sql/guard.rs`.
const STACK_BYTES: usize = 128 << 20;
/// Threads for reads of segments and for pages; each read is short.
const BLOCKING_THREADS_MAX: usize = 16;
/// How long a query waits for a place before it is told to come back.
const PLACE_WAIT: Duration = Duration::from_secs(2);
/// Looks for new log lines that run at once. They have places of their own: they come once a second, and are short.
const TAILS_MAX: usize = 4;
/// When to come back, for those that found no place.
const RETRY_AFTER_S: u32 = 2;
/// Time that a page gets for reading older windows.
pub(crate) const HISTORY_TIMEOUT: Duration = Duration::from_secs(10);
/// After its time is over and its asker told so, a computation that cannot be aborted ends by itself.
const ABANDONED_AFTER: Duration = Duration::from_millis(250);
/// How far back deploys are listed where nobody says it, and how far ahead.
const DEPLOYS_SHOWN_MS: i64 = 30 * 24 * HOUR_MS;
const DEPLOYS_AHEAD_MS: i64 = 24 * HOUR_MS;
/// Deploys of one answer.
const DEPLOYS_DEFAULT: usize = 200;
const DEPLOYS_MAX: usize = 1_000;
/// Windows of the table that pages read are at least this long.
const STORED_STEP_MS: i64 = 10_000;
/// Cells of a route are added up, so their length only decides how many are handed over.
const ROUTE_STEP_S: u32 = 600;

/// Answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Query {
    inner: Arc<Inner>,
}

struct Inner {
    config: QueryConfig,
    store: Arc<Store>,
    source: Arc<dyn PipelineSource>,
    engine: Arc<Engine>,
    places: Arc<Semaphore>,
    /// For those who follow log lines.
    tails: Arc<Semaphore>,
    waiting: AtomicUsize,
    metrics: Metrics,
    hub: Arc<Hub>,
    /// Locked on threads that may compute for a while, never on those that wait for sockets.
    recent: Arc<Mutex<Recent>>,
    patterns: Arc<KeptPatterns>,
    readers: Arc<Readers>,
    runtime: Option<Runtime>,
}

/// The cells of a service in a range of time.
struct Cells {
    /// Requests in total.
    series: Vec<HealthSeries>,
    /// Requests by route.
    routes: Vec<HealthSeries>,
    /// KPIs, usage and toggles.
    measures: Vec<MeasureSeries>,
}

/// Which release page is asked for, as in its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ServiceQuestion {
    pub service: String,
    pub environment: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub step: Option<String>,
    pub candidate: Option<String>,
    pub baseline: Option<String>,
}

/// Which deploys are asked for, as in their address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeploysQuestion {
    pub service: Option<String>,
    pub environment: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub limit: Option<usize>,
}

/// Which toggle is asked for, as in its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ToggleQuestion {
    pub key: String,
    /// Only what this version did.
    pub version: Option<String>,
    /// Service and range; candidate and baseline are variants here.
    pub of: ServiceQuestion,
}

impl Query {
    /// Builds the stage and starts its threads. `source` is what ingest knows, for the pipeline page.
    ///
    /// # Errors
    /// [`QueryError::Engine`] when the threads cannot be started.
    pub fn new(
        config: QueryConfig,
        store: Arc<Store>,
        source: Arc<dyn PipelineSource>,
        registry: &mut Registry,
    ) -> Result<Self, QueryError> {
        let engine_error = |message: String| QueryError::Engine { message };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // One more than a query uses, so that one query in a long computation does not stop all others.
            .worker_threads(config.threads.max(1) + 1)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| engine_error(format!("the query threads could not be started: {error}")))?;
        let sessions = Sessions::new(store.object_store(), config.threads.max(1))
            .map_err(|error| engine_error(error.to_string()))?;
        let (sessions, shared_memory) = (Arc::new(sessions), SharedMemory::new(config.memory_bytes));
        let spread = Spread::new(&config, &store, &sessions, &shared_memory).map_err(engine_error)?;
        let metrics = Metrics::register(registry);
        let engine = Engine { store: store.clone(), sessions, shared_memory, spread, metrics: metrics.clone() };
        let engine = Arc::new(engine);
        let inner = Inner {
            places: Arc::new(Semaphore::new(config.running_max.max(1))),
            tails: Arc::new(Semaphore::new(TAILS_MAX)),
            waiting: AtomicUsize::new(0),
            metrics,
            hub: Arc::new(Hub::default()),
            recent: Arc::default(),
            patterns: Arc::default(),
            readers: Arc::default(),
            runtime: Some(runtime),
            config,
            store,
            source,
            engine,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Everything below `/api/v1` that reads.
    pub fn router(&self) -> Router {
        crate::http::router(self.clone())
    }

    /// Where other query nodes have their parts of statements computed; without [`QueryConfig::peers`] there is nothing there. It
    /// belongs on a port that only they reach, or behind [`QueryConfig::cluster_token`].
    pub fn worker_router(&self) -> Router {
        if self.inner.config.peers.is_empty() {
            return Router::new();
        }
        self.inner.engine.spread.router(self.runtime().handle().clone())
    }

    /// Ends all live connections, so that a server can finish its connections. Questions are still answered.
    pub fn close(&self) {
        self.inner.hub.close();
    }

    /// Answers one SQL statement.
    ///
    /// # Errors
    /// See [`QueryError`]: the asker's text, a budget that was used up, too many queries at once, or the store.
    pub async fn sql(&self, request: SqlRequest) -> Result<SqlAnswer, QueryError> {
        let asked = QuestionSpan::sql(&request.query);
        let answer = self.answer_sql(request).await;
        asked.answered(&answer, |answer| answer.meta.rows);
        answer
    }

    async fn answer_sql(&self, request: SqlRequest) -> Result<SqlAnswer, QueryError> {
        let started = Instant::now();
        let config = &self.inner.config;
        let timeout = request.timeout_ms.map_or(config.timeout, Duration::from_millis).min(config.timeout_max);
        let limits = Limits {
            rows: request.limit.unwrap_or(config.rows).min(config.rows_max),
            result_bytes: config.result_bytes_max,
            query_bytes: config.query_bytes_max,
            memory_bytes: config.memory_bytes_per_query,
            deadline: started + timeout + ABANDONED_AFTER,
        };
        let place = self.place(timeout).await?;
        let (engine, now_ms) = (self.inner.engine.clone(), self.now_ms());
        let left = timeout.saturating_sub(started.elapsed());
        let answered = self
            .on_query_threads(left, timeout, async move {
                // The place is given back when the work has ended, not when its asker was told so.
                let _place = place;
                match engine.run(&request.query, &limits, now_ms).await {
                    // The next snapshot is without it.
                    Err(QueryError::Gone { .. }) => engine.run(&request.query, &limits, now_ms).await,
                    answered => answered,
                }
            })
            .await;
        let elapsed = started.elapsed();
        self.inner.metrics.observe("sql", elapsed.as_secs_f64());
        let mut answer = answered?;
        answer.meta.incomplete = self.inner.store.incomplete(started);
        answer.meta.warnings.extend(incomplete::in_words(&answer.meta.incomplete));
        answer.meta.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Ok(answer)
    }

    /// The overview page, of one environment or of all.
    pub(crate) async fn overview(&self, environment: Option<String>) -> Result<wire::Overview, QueryError> {
        let (asked, started, now_ms) = (QuestionSpan::page("overview"), Instant::now(), self.now_ms());
        let (recent, patterns) = (self.inner.recent.clone(), self.inner.patterns.clone());
        let kpis = self.inner.config.kpis.clone();
        let stored = self.stored_overview(now_ms).await?;
        let answer = self.page("overview", move |store, _| {
            let watermark_ms = freshness::watermark_ms(&store.status());
            let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
            let is_stored = stored.is_some();
            let (stored_series, stored_measures) = stored.unwrap_or_default();
            let series = if is_stored {
                recent.forget();
                stored_series.as_slice()
            } else {
                recent.update(&overview::question(now_ms), |part| store.health(part))
            };
            let patterns_of = |service: &str, environment: &str| patterns.of(store, service, environment, now_ms);
            let measures =
                if is_stored { stored_measures } else { store.measures(&overview::measure_question(now_ms)) };
            let measured = overview::Measured { kpis: &kpis, measures: &measures, patterns_of: &patterns_of };
            overview::answer(environment.as_deref(), series, &store.releases(), measured, watermark_ms, now_ms)
        });
        let answer = answer.await;
        asked.answered(&answer, |(answer, _)| answer.services.len());
        let (mut answer, query_ms) = answer?;
        answer.meta.query_ms = query_ms;
        self.say_what_is_missing(&mut answer.meta, started);
        Ok(answer)
    }

    /// What the overview is made of, from stored windows: while some shards cannot be asked. `None` when all can.
    async fn stored_overview(
        &self,
        now_ms: i64,
    ) -> Result<Option<(Vec<HealthSeries>, Vec<MeasureSeries>)>, QueryError> {
        if !self.is_incomplete() {
            return Ok(None);
        }
        let place = self.place(HISTORY_TIMEOUT).await?;
        let (engine, memory_bytes) = (self.inner.engine.clone(), self.inner.config.memory_bytes_per_query);
        let stored = self.on_query_threads(HISTORY_TIMEOUT, HISTORY_TIMEOUT, async move {
            let _place = place;
            let series = history::health(&engine, &overview::question(now_ms), memory_bytes).await?;
            let measures = history::measures(&engine, &overview::measure_question(now_ms), memory_bytes).await?;
            Ok((series, measures))
        });
        stored.await.map(Some)
    }

    /// The pipeline page.
    pub(crate) async fn pipeline(&self) -> Result<wire::Pipeline, QueryError> {
        let (asked, started, now_ms) = (QuestionSpan::page("pipeline"), Instant::now(), self.now_ms());
        let answer = self.page("pipeline", move |store, source| {
            pipeline::answer(source.status(), &store.status(), &store.releases(), now_ms)
        });
        let answer = answer.await;
        asked.answered(&answer, |(answer, _)| answer.shards.len());
        let (mut answer, query_ms) = answer?;
        answer.meta.query_ms = query_ms;
        self.say_what_is_missing(&mut answer.meta, started);
        Ok(answer)
    }

    /// The release page of a service.
    pub(crate) async fn service(&self, question: ServiceQuestion) -> Result<wire::ServiceRelease, QueryError> {
        let asked = QuestionSpan::page("service");
        let answer = self.answer_service(question).await;
        asked.answered(&answer, |answer| answer.lanes.len());
        answer
    }

    async fn answer_service(&self, question: ServiceQuestion) -> Result<wire::ServiceRelease, QueryError> {
        let started = Instant::now();
        let now_ms = self.now_ms();
        let store = self.inner.store.clone();
        let releases = of_service(&self.releases().await?, &question)?;
        let environment = releases[0].release.environment.to_string();
        let watermark_ms = freshness::watermark_ms(&store.status());
        let (grid, warnings) = grid_of(&question, &releases, now_ms, watermark_ms, None)?;
        let health = HealthQuery {
            service: Some(question.service.clone()),
            environment: Some(environment.clone()),
            from_ms: grid.from_ms,
            to_ms: grid.to_ms,
            step_s: u32::try_from(grid.step_ms / 1_000).unwrap_or(u32::MAX),
            by_route: false,
        };
        // The first window may lie partly before what is kept in memory; it is still in memory as a whole.
        let recent = self.is_in_memory(&grid, now_ms);
        let Cells { series, routes, measures } = self.cells(health, recent).await?;
        let kpis = self.inner.config.kpis.clone();
        let patterns = self.patterns(&question.service, &environment, &grid, now_ms, recent).await?;
        let answered = self.on_blocking_threads(move || {
            let usage = store.usage_of_day(&question.service, &environment);
            let toggles = store.toggles(Some((&question.service, &environment)));
            let said = MarkerQuery {
                service: Some(question.service.clone()),
                from_ms: grid.from_ms,
                to_ms: grid.to_ms,
                ..MarkerQuery::all()
            };
            let (markers, verdicts) = (store.markers(&said), store.verdicts(&said));
            service::answer(service::Facts {
                service: &question.service,
                environment: &environment,
                series: &series,
                routes: &routes,
                releases: &releases,
                patterns: &patterns,
                patterns_from_ms: if recent { now_ms - RECENT_KEPT_MS } else { grid.from_ms },
                grid,
                watermark_ms,
                now_ms,
                candidate: question.candidate.as_deref(),
                baseline: question.baseline.as_deref(),
                warnings,
                measures: &measures,
                usage: &usage,
                toggles: &toggles,
                markers: &markers,
                verdicts: &verdicts,
                kpis: &kpis,
            })
        });
        let mut answer = answered.await?;
        let is_read = |table: Table| matches!(table, Table::Windows | Table::Windows1s);
        let missing = missing_in(self.store(), is_read, grid.from_ms * 1_000_000..grid.to_ms * 1_000_000);
        answer.meta.partial |= !missing.is_empty();
        answer.meta.warnings.extend(missing);
        self.inner.metrics.observe("service", started.elapsed().as_secs_f64());
        answer.meta.query_ms = milliseconds(started.elapsed());
        self.say_what_is_missing(&mut answer.meta, started);
        Ok(answer)
    }

    /// Releases with what was said about them and what became of them.
    pub(crate) async fn deploys(&self, question: DeploysQuestion) -> Result<wire::Deploys, QueryError> {
        let asked = QuestionSpan::page("deploys");
        let answer = self.answer_deploys(question).await;
        asked.answered(&answer, |answer| answer.deploys.len());
        answer
    }

    async fn answer_deploys(&self, question: DeploysQuestion) -> Result<wire::Deploys, QueryError> {
        let started = Instant::now();
        let now_ms = self.now_ms();
        let time = |argument: &'static str, text: Option<String>, default_ms: i64| match text {
            Some(text) => parse_time(argument, &text, now_ms, |_| None),
            None => Ok(default_ms),
        };
        let from_ms = time("from", question.from, now_ms - DEPLOYS_SHOWN_MS)?;
        // What is announced lies ahead.
        let to_ms = time("to", question.to, now_ms + DEPLOYS_AHEAD_MS)?;
        let limit = question.limit.unwrap_or(DEPLOYS_DEFAULT).min(DEPLOYS_MAX);
        let store = self.inner.store.clone();
        let (service, environment) = (question.service, question.environment);
        let deploys = self.on_blocking_threads(move || {
            let is_asked = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
            let mut releases = store.releases();
            releases.retain(|row| {
                is_asked(&service, &row.release.service) && is_asked(&environment, &row.release.environment)
            });
            // A marker may say no environment, and then is about all of them.
            let told = MarkerQuery { service, ..MarkerQuery::all() };
            let mut markers = store.markers(&told);
            let is_here = |found: &str| is_asked(&environment, found) || found == DEFAULT_ENVIRONMENT;
            markers.retain(|row| is_here(&row.marker.release.environment));
            let verdicts = store.verdicts(&MarkerQuery { environment, ..told });
            let (releases, markers, verdicts) = (&releases, &markers, &verdicts);
            deploys::deploys(&deploys::Facts { releases, markers, verdicts, now_ms, from_ms, to_ms, limit })
        });
        let mut meta = wire::Meta::default();
        let deploys = deploys.await?;
        self.say_what_is_missing(&mut meta, started);
        self.inner.metrics.observe("deploys", started.elapsed().as_secs_f64());
        let meta = wire::DeploysMeta { as_of: now_ms, partial: meta.partial, incomplete: meta.incomplete };
        Ok(wire::Deploys { meta, deploys })
    }

    /// What was said about releases, as annotations of Grafana.
    pub(crate) async fn annotations(
        &self,
        asked: annotations::Asked,
    ) -> Result<Vec<annotations::Annotation>, QueryError> {
        let span = QuestionSpan::page("annotations");
        let store = self.inner.store.clone();
        let answer = self
            .on_blocking_threads(move || {
                let range = MarkerQuery { from_ms: asked.from_ms, to_ms: asked.to_ms, ..MarkerQuery::all() };
                annotations::find(&asked, &store.markers(&range), &store.verdicts(&range))
            })
            .await;
        span.answered(&answer, Vec::len);
        answer
    }

    /// The page of a toggle.
    pub(crate) async fn toggle(&self, question: ToggleQuestion) -> Result<wire::ToggleDetail, QueryError> {
        let asked = QuestionSpan::page("toggle");
        let answer = self.answer_toggle(question).await;
        asked.answered(&answer, |answer| answer.variants.len());
        answer
    }

    async fn answer_toggle(&self, question: ToggleQuestion) -> Result<wire::ToggleDetail, QueryError> {
        let (started, now_ms, store) = (Instant::now(), self.now_ms(), self.inner.store.clone());
        let ToggleQuestion { key, version, of } = question;
        let releases = of_service(&self.releases().await?, &of)?;
        let environment = releases[0].release.environment.to_string();
        let watermark_ms = freshness::watermark_ms(&store.status());
        let (grid, warnings) = grid_of(&of, &releases, now_ms, watermark_ms, Some("10s"))?;
        let query = MeasureQuery {
            service: Some(of.service.clone()),
            environment: Some(environment.clone()),
            signals: &["toggle"],
            values: &["toggle"],
            from_ms: grid.from_ms,
            to_ms: grid.to_ms,
            step_s: u32::try_from(grid.step_ms / 1_000).unwrap_or(u32::MAX),
        };
        let measures = self.measures(query, self.is_in_memory(&grid, now_ms)).await?;
        let place = (of.service.clone(), environment.clone());
        let toggles = self.on_blocking_threads(move || store.toggles(Some((&place.0, &place.1))));
        let mut rows = toggles.await?;
        rows.retain(|row| *row.key == *key);
        if rows.is_empty() && !measures.iter().any(|series| *series.key.metric == *key) {
            let what = format!("{} in {environment} has no toggle {key}: nobody has evaluated it of late", of.service);
            return Err(QueryError::NotFound { what });
        }
        let has_version = |asked: &str| releases.iter().any(|row| &*row.release.version == asked);
        let version_is_unknown = version.as_deref().is_some_and(|asked| !has_version(asked));
        let answered = self.on_blocking_threads(move || {
            toggle::answer(toggle::Facts {
                service: &of.service,
                environment: &environment,
                key: &key,
                version: version.as_deref(),
                version_is_unknown,
                rows: &rows,
                measures: &measures,
                grid,
                watermark_ms,
                now_ms,
                candidate: of.candidate.as_deref(),
                baseline: of.baseline.as_deref(),
                warnings,
            })
        });
        let mut answer = answered.await?;
        self.inner.metrics.observe("toggle", started.elapsed().as_secs_f64());
        answer.meta.query_ms = milliseconds(started.elapsed());
        self.say_what_is_missing(&mut answer.meta, started);
        Ok(answer)
    }

    /// KPIs, usage and toggles, from memory or from windows.
    async fn measures(&self, query: MeasureQuery, recent: bool) -> Result<Vec<MeasureSeries>, QueryError> {
        if recent {
            let store = self.inner.store.clone();
            return self.on_blocking_threads(move || store.measures(&query)).await;
        }
        let place = self.place(HISTORY_TIMEOUT).await?;
        let (engine, memory_bytes) = (self.inner.engine.clone(), self.inner.config.memory_bytes_per_query);
        self.on_query_threads(HISTORY_TIMEOUT, HISTORY_TIMEOUT, async move {
            let _place = place;
            history::measures(&engine, &query, memory_bytes).await
        })
        .await
    }

    /// The cells of a service, from memory or from windows.
    async fn cells(&self, total: HealthQuery, recent: bool) -> Result<Cells, QueryError> {
        let by_route = HealthQuery { by_route: true, step_s: total.step_s.max(ROUTE_STEP_S), ..total.clone() };
        let measures = MeasureQuery {
            service: total.service.clone(),
            environment: total.environment.clone(),
            signals: self.signals(&total),
            values: &["kpi"],
            from_ms: total.from_ms,
            to_ms: total.to_ms,
            step_s: total.step_s,
        };
        if recent {
            let store = self.inner.store.clone();
            let ask = move || Cells {
                series: store.health(&total),
                routes: store.health(&by_route),
                measures: store.measures(&measures),
            };
            return self.on_blocking_threads(ask).await;
        }
        let place = self.place(HISTORY_TIMEOUT).await?;
        let (engine, memory_bytes) = (self.inner.engine.clone(), self.inner.config.memory_bytes_per_query);
        self.on_query_threads(HISTORY_TIMEOUT, HISTORY_TIMEOUT, async move {
            let _place = place;
            let series = history::health(&engine, &total, memory_bytes).await?;
            let by_route = HealthQuery { step_s: total.step_s, ..by_route };
            let routes = history::health(&engine, &by_route, memory_bytes).await?;
            let measures = history::measures(&engine, &measures, memory_bytes).await?;
            Ok(Cells { series, routes, measures })
        })
        .await
    }

    /// The log patterns of a service, from memory or from windows.
    async fn patterns(
        &self,
        service: &str,
        environment: &str,
        grid: &Grid,
        now_ms: i64,
        recent: bool,
    ) -> Result<Arc<Shapes>, QueryError> {
        let (kept, store) = (self.inner.patterns.clone(), self.inner.store.clone());
        let (service, environment) = (service.to_owned(), environment.to_owned());
        let query = PatternQuery {
            service: Some(service.clone()),
            environment: Some(environment.clone()),
            from_ms: grid.from_ms,
            to_ms: grid.to_ms,
        };
        let remembered = self.on_blocking_threads(move || kept.of(&store, &service, &environment, now_ms)).await?;
        if recent {
            return Ok(remembered);
        }
        let place = self.place(HISTORY_TIMEOUT).await?;
        let (engine, memory_bytes) = (self.inner.engine.clone(), self.inner.config.memory_bytes_per_query);
        let step_ms = grid.step_ms;
        self.on_query_threads(HISTORY_TIMEOUT, HISTORY_TIMEOUT, async move {
            let _place = place;
            let found = pattern_history::patterns(&engine, &query, step_ms, memory_bytes).await?;
            Ok(Arc::new(Shapes::of(pattern_history::with_memory(remembered.rows(), found))))
        })
        .await
    }

    /// What a page has to ask for. Distinct counts of every window are large, and only some KPIs are divided by them.
    fn signals(&self, total: &HealthQuery) -> &'static [&'static str] {
        let (service, environment) =
            (total.service.as_deref().unwrap_or(""), total.environment.as_deref().unwrap_or(""));
        let by_usage = |kpi: &Kpi| matches!(kpi.per, Per::Session | Per::User) && kpi.concerns(service, environment);
        if self.inner.config.kpis.iter().any(by_usage) { &["kpi", "usage", "toggle"] } else { &["kpi", "toggle"] }
    }

    /// Every release seen.
    pub(crate) async fn releases(&self) -> Result<Vec<ReleaseRow>, QueryError> {
        let store = self.inner.store.clone();
        self.on_blocking_threads(move || store.releases()).await
    }

    /// Whether the shards answer for a range from memory. What a process had in memory that is away is only partly there, as
    /// stored windows.
    fn is_in_memory(&self, grid: &Grid, now_ms: i64) -> bool {
        let is_kept = grid.from_ms >= now_ms - RECENT_KEPT_MS && grid.step_ms < RECENT_KEPT_MS;
        let is_stored_so_finely = grid.step_ms >= STORED_STEP_MS;
        is_kept && !(is_stored_so_finely && self.is_incomplete())
    }

    fn is_incomplete(&self) -> bool {
        !self.inner.store.incomplete(Instant::now()).is_empty()
    }

    /// Says what an answer that was begun at a moment lacks.
    pub(crate) fn say_what_is_missing(&self, meta: &mut wire::Meta, started: Instant) {
        meta.incomplete = incomplete::listed(&self.inner.store.incomplete(started));
        meta.partial |= !meta.incomplete.is_empty();
    }

    /// Watermark and lag, for heartbeats.
    pub(crate) fn freshness(&self) -> (i64, Option<i64>, Option<i64>) {
        let now_ms = self.now_ms();
        let watermark_ms = freshness::watermark_ms(&self.inner.store.status());
        (now_ms, watermark_ms, freshness::lag_ms(watermark_ms, now_ms))
    }

    pub(crate) fn config(&self) -> &QueryConfig {
        &self.inner.config
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    /// Segments of log lines that were opened.
    pub(crate) fn log_readers(&self) -> &Arc<Readers> {
        &self.inner.readers
    }

    pub(crate) fn observe(&self, kind: &'static str, elapsed: Duration) {
        self.inner.metrics.observe(kind, elapsed.as_secs_f64());
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.inner.config.clock)()
    }

    /// Runs a task of ours on the query threads until it ends or its handle is dropped.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.runtime().spawn(task))
    }

    fn runtime(&self) -> &Runtime {
        self.inner.runtime.as_ref().expect("the runtime is taken only when the stage is dropped")
    }

    /// A place among the running queries, waited for within bounds.
    pub(crate) async fn place(&self, timeout: Duration) -> Result<OwnedSemaphorePermit, QueryError> {
        let (config, places) = (&self.inner.config, self.inner.places.clone());
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let busy =
            |waiting: usize| QueryError::Busy { running: config.running_max, waiting, retry_after_s: RETRY_AFTER_S };
        let waiting = WaitingCount::enter(&self.inner.waiting);
        if waiting.before >= config.waiting_max {
            return Err(busy(waiting.before));
        }
        match tokio::time::timeout(PLACE_WAIT.min(timeout), places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(busy(waiting.before)),
        }
    }

    /// A place among those who follow log lines, waited for within bounds.
    pub(crate) async fn place_of_tail(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        match tokio::time::timeout(PLACE_WAIT, self.inner.tails.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(QueryError::Busy { running: TAILS_MAX, waiting: 0, retry_after_s: RETRY_AFTER_S }),
        }
    }

    /// The memory of all queries together.
    pub(crate) fn shared_memory(&self) -> &Arc<SharedMemory> {
        &self.inner.engine.shared_memory
    }

    /// What reads tables.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.inner.engine
    }

    /// Runs a question on the query threads within `left` of its `budget`. Dropping the future cancels the question.
    pub(crate) async fn on_query_threads<T: Send + 'static>(
        &self,
        left: Duration,
        budget: Duration,
        question: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        match tokio::time::timeout(left, self.spawn(question)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ended)) => Err(QueryError::Engine { message: format!("the query ended unexpectedly: {ended}") }),
            Err(_) => {
                Err(QueryError::OverBudget(Budget::Time { ms: u64::try_from(budget.as_millis()).unwrap_or(u64::MAX) }))
            }
        }
    }

    /// Computes on a thread that may be busy for a while.
    pub(crate) async fn on_blocking_threads<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let ended = self.runtime().spawn_blocking(work).await;
        ended.map_err(|error| QueryError::Engine { message: format!("the answer could not be made: {error}") })
    }

    /// Makes a page on a thread that may compute for a while; gives the page and the milliseconds it took.
    async fn page<T: Send + 'static>(
        &self,
        kind: &'static str,
        make: impl FnOnce(&Store, &dyn PipelineSource) -> T + Send + 'static,
    ) -> Result<(T, f64), QueryError> {
        let started = Instant::now();
        let (store, source) = (self.inner.store.clone(), self.inner.source.clone());
        let page = self.on_blocking_threads(move || make(&store, source.as_ref())).await?;
        let elapsed = started.elapsed();
        self.inner.metrics.observe(kind, elapsed.as_secs_f64());
        Ok((page, milliseconds(elapsed)))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The last clone may be dropped on an async thread, where waiting for a runtime is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Counts who waits, also when the wait is cancelled.
struct WaitingCount<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> WaitingCount<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// To a hundredth of a millisecond.
fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e5).round() / 100.0
}

/// The grid of a question about a service. `finest` is the step of what is kept most finely; shorter ones are lengthened.
fn grid_of(
    question: &ServiceQuestion,
    releases: &[ReleaseRow],
    now_ms: i64,
    watermark_ms: Option<i64>,
    finest: Option<&str>,
) -> Result<(Grid, Vec<String>), QueryError> {
    let first_seen = |version: &str| {
        let of_version = releases.iter().filter(|row| &*row.release.version == version);
        of_version.map(|row| row.first_seen_ns.div_euclid(1_000_000)).min()
    };
    let ask = |step: Option<&str>| {
        let asked = Asked { from: question.from.as_deref(), to: question.to.as_deref(), step };
        range::grid(asked, now_ms, watermark_ms.unwrap_or(now_ms).min(now_ms), first_seen)
    };
    let (grid, warnings) = ask(question.step.as_deref())?;
    if finest.is_some() && grid.step_ms < 10_000 { ask(finest) } else { Ok((grid, warnings)) }
}

/// The releases of the service in the environment that was asked for, or in its busiest one; at least one.
pub(crate) fn of_service(all: &[ReleaseRow], question: &ServiceQuestion) -> Result<Vec<ReleaseRow>, QueryError> {
    let mut rows: Vec<&ReleaseRow> = all.iter().filter(|row| *row.release.service == *question.service).collect();
    let environment = match &question.environment {
        Some(environment) => environment.clone(),
        None => {
            let busiest = rows.iter().max_by_key(|row| (row.requests, row.records));
            busiest.map(|row| row.release.environment.to_string()).unwrap_or_default()
        }
    };
    let mut environments: Vec<String> = rows.iter().map(|row| row.release.environment.to_string()).collect();
    rows.retain(|row| *row.release.environment == *environment);
    if rows.is_empty() {
        environments.sort_unstable();
        environments.dedup();
        let instead = if environments.is_empty() {
            "no record of it has been seen".to_owned()
        } else {
            format!("it has been seen in {}", environments.join(", "))
        };
        let place = question.environment.as_ref().map(|name| format!(" in environment {name}")).unwrap_or_default();
        return Err(QueryError::NotFound {
            what: format!("there is no service {}{place}: {instead}", question.service),
        });
    }
    Ok(rows.into_iter().cloned().collect())
}
