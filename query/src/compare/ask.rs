//! Asks the store for what a comparison needs, within the budgets of a question, and has the answer made.

use std::sync::Arc;
use std::time::Instant;

use shipwake_store::patterns::merge_patterns;
use shipwake_store::{MeasureSeries, PatternQuery, PatternRow, ReleaseRow};

use super::answer::{self, Facts, pattern_window};
use super::cells::{self, Part, Place};
use super::request::{self, Asked, Body, Known, Window};
use super::values::{self, Explaining, Valued};
use super::wire;
use crate::error::QueryError;
use crate::pages::{freshness, pattern_history, wire as pages};
use crate::query::{HISTORY_TIMEOUT, Query, ServiceQuestion, of_service};
use crate::release::patterns::Shapes;
use crate::spans::QuestionSpan;
use crate::sql::run::Engine;
use crate::time::SECOND_MS;

/// What was read.
struct Read {
    parts: [Vec<Part>; 2],
    toggled: [Vec<Part>; 2],
    patterns: Option<Vec<PatternRow>>,
    own: Own,
}

/// What is not told by requests: nothing where a route or a variant of a toggle is asked for.
#[derive(Default)]
struct Own {
    measures: [Vec<MeasureSeries>; 2],
    valued: [Vec<Valued>; 2],
    /// The KPI or metric that is compared.
    compared: [Vec<Explaining>; 2],
}

impl Query {
    /// Two cohorts of a service's requests beside each other.
    pub(crate) async fn compare(&self, body: Body) -> Result<wire::Comparison, QueryError> {
        let asked = QuestionSpan::page("compare");
        let answer = self.answer_comparison(body).await;
        asked.answered(&answer, |answer| answer.edges.len());
        answer
    }

    async fn answer_comparison(&self, body: Body) -> Result<wire::Comparison, QueryError> {
        let (started, now_ms, store) = (Instant::now(), self.now_ms(), self.store().clone());
        if body.service.is_empty() {
            let reason = "which service? Give its name, as in {\"service\":\"checkout\"}".to_owned();
            return Err(QueryError::BadArgument { argument: "service", value: String::new(), reason });
        }
        let question = ServiceQuestion {
            service: body.service.clone(),
            environment: body.env.clone().filter(|env| !env.is_empty()),
            ..ServiceQuestion::default()
        };
        let releases = of_namespace(of_service(&self.releases().await?, &question)?, &body)?;
        let environment = releases[0].release.environment.to_string();
        let at = (body.service.clone(), environment.clone());
        let (held, place) = (store.clone(), at.clone());
        let mut toggles = self.on_blocking_threads(move || held.toggles(Some((&place.0, &place.1)))).await?;
        toggles.retain(|row| is_of(&row.release.namespace, &body));
        let known = Known { service: &body.service, releases: &releases, toggles: &toggles, now_ms };
        let asked = request::read(&body, &known)?;
        let read = self.read_comparison(&asked, at, !toggles.is_empty()).await?;
        let watermark_ms = freshness::watermark_ms(&store.status());
        let kept = self.kept_patterns(&body, &environment, read.patterns, now_ms).await?;
        let kpis = self.config().kpis.clone();
        let made = self.on_blocking_threads(move || {
            let of = |parts: Vec<Part>| -> Vec<Part> {
                parts.into_iter().filter(|part| is_of(&part.namespace, &body)).collect()
            };
            let ([parts_a, parts_b], [toggled_a, toggled_b]) = (read.parts.map(of), read.toggled.map(of));
            let own = of_namespace_only(read.own, &body);
            let meta = pages::Meta {
                wm: watermark_ms,
                lag_ms: freshness::lag_ms(watermark_ms, now_ms),
                now: now_ms,
                from: Some(asked.window_a.from_ms.min(asked.window_b.from_ms)),
                to: Some(asked.window_a.to_ms.max(asked.window_b.to_ms)),
                ..pages::Meta::default()
            };
            answer::answer(&Facts {
                service: &body.service,
                environment: &environment,
                asked: &asked,
                parts_a: &parts_a,
                parts_b: &parts_b,
                toggled_a: &toggled_a,
                toggled_b: &toggled_b,
                shapes: kept.as_ref(),
                releases: &releases,
                toggles: &toggles,
                kpis: &kpis,
                measures: own.measures.each_ref().map(Vec::as_slice),
                valued: own.valued.each_ref().map(Vec::as_slice),
                own: own.compared.each_ref().map(Vec::as_slice),
                filters: &body.filters,
                watermark_ms: watermark_ms.unwrap_or(now_ms).min(now_ms),
                meta,
            })
        });
        let mut answer = made.await?;
        self.observe("compare", started.elapsed());
        answer.meta.query_ms = (started.elapsed().as_secs_f64() * 1e5).round() / 100.0;
        self.say_what_is_missing(&mut answer.meta, started);
        Ok(answer)
    }

    async fn read_comparison(
        &self,
        asked: &Asked,
        (service, environment): (String, String),
        has_toggles: bool,
    ) -> Result<Read, QueryError> {
        let place = self.place(HISTORY_TIMEOUT).await?;
        let (engine, memory_bytes) = (self.engine().clone(), self.config().memory_bytes_per_query);
        let asked = asked.clone();
        self.on_query_threads(HISTORY_TIMEOUT, HISTORY_TIMEOUT, async move {
            let _place = place;
            let versions = asked.a.version.clone().zip(asked.b.version.clone()).map(|(a, b)| vec![a, b]);
            let of = Place { service, environment, versions };
            read(&engine, &asked, &of, has_toggles, memory_bytes).await
        })
        .await
    }

    /// The patterns that were read, with the examples that are remembered of them.
    async fn kept_patterns(
        &self,
        body: &Body,
        environment: &str,
        found: Option<Vec<PatternRow>>,
        now_ms: i64,
    ) -> Result<Option<Shapes>, QueryError> {
        let Some(found) = found else { return Ok(None) };
        let store = self.store().clone();
        let query = PatternQuery {
            service: Some(body.service.clone()),
            environment: Some(environment.to_owned()),
            // Nothing but what is remembered whatever the range.
            from_ms: now_ms,
            to_ms: now_ms,
        };
        let namespace = body.clone();
        let made = self.on_blocking_threads(move || {
            let mut rows = pattern_history::with_memory(&store.patterns(&query), found);
            rows.retain(|row| is_of(&row.namespace, &namespace));
            Shapes::of(rows)
        });
        made.await.map(Some)
    }
}

/// Whether something is of the namespace that is asked for.
fn is_of(namespace: &Arc<str>, body: &Body) -> bool {
    body.namespace.as_deref().is_none_or(|wanted| *wanted == **namespace)
}

fn of_namespace_only(mut own: Own, body: &Body) -> Own {
    for at in [0, 1] {
        own.measures[at].retain(|series| is_of(&series.key.release.namespace, body));
        own.valued[at].retain(|valued| is_of(&valued.namespace, body));
        own.compared[at].retain(|one| is_of(&one.part.namespace, body));
    }
    own
}

fn of_namespace(mut releases: Vec<ReleaseRow>, body: &Body) -> Result<Vec<ReleaseRow>, QueryError> {
    let mut names: Vec<String> = releases.iter().map(|row| row.release.namespace.to_string()).collect();
    releases.retain(|row| is_of(&row.release.namespace, body));
    if releases.is_empty() {
        names.sort_unstable();
        names.dedup();
        let what = format!("{} has no such namespace; it has been seen in {names:?}", body.service);
        return Err(QueryError::NotFound { what });
    }
    Ok(releases)
}

/// Reads each window once.
async fn read(
    engine: &Engine,
    asked: &Asked,
    place: &Place,
    has_toggles: bool,
    memory_bytes: usize,
) -> Result<Read, QueryError> {
    let [a, b] = [asked.window_a, asked.window_b];
    let has_flag = asked.a.flag.is_some() || asked.b.flag.is_some();
    let parts_a = cells::requests(engine, place, &a, memory_bytes).await?;
    let parts_b = if a == b { parts_a.clone() } else { cells::requests(engine, place, &b, memory_bytes).await? };
    // Variants explain only where all routes are asked for.
    let mut toggled = [Vec::new(), Vec::new()];
    if has_toggles && asked.routes.is_empty() {
        toggled[0] = cells::toggled(engine, place, &a, memory_bytes).await?;
        toggled[1] = if a == b { toggled[0].clone() } else { cells::toggled(engine, place, &b, memory_bytes).await? };
    }
    let patterns = if has_flag { None } else { Some(patterns(engine, place, [a, b], memory_bytes).await?) };
    let own = if has_flag || !asked.routes.is_empty() {
        Own::default()
    } else {
        own(engine, place, asked, memory_bytes).await?
    };
    Ok(Read { parts: [parts_a, parts_b], toggled, patterns, own })
}

/// Sessions, KPIs and metrics of both windows.
async fn own(engine: &Engine, place: &Place, asked: &Asked, memory_bytes: usize) -> Result<Own, QueryError> {
    let mut found = Own::default();
    let windows = [&asked.window_a, &asked.window_b];
    for at in [0, 1] {
        if at == 1 && windows[0] == windows[1] {
            found.measures[1] = found.measures[0].clone();
            found.valued[1] = found.valued[0].clone();
            found.compared[1] = found.compared[0].clone();
            break;
        }
        (found.measures[at], found.valued[at]) = values::all(engine, place, windows[at], memory_bytes).await?;
        if let Some(named) = asked.metric.of_windows() {
            found.compared[at] = values::one(engine, place, windows[at], named, memory_bytes).await?;
        }
    }
    Ok(found)
}

/// Lines of patterns in both windows. Windows that overlap are read as one, so that no line is there twice.
async fn patterns(
    engine: &Engine,
    place: &Place,
    windows: [Window; 2],
    memory_bytes: usize,
) -> Result<Vec<PatternRow>, QueryError> {
    let [a, b] = windows.map(|window| pattern_window(&window));
    let apart = !a.overlaps(&b) && a.resolution_s == b.resolution_s;
    let hull = Window {
        from_ms: a.from_ms.min(b.from_ms),
        to_ms: a.to_ms.max(b.to_ms),
        // The finer one serves both.
        resolution_s: a.resolution_s.min(b.resolution_s),
    };
    let mut found = Vec::new();
    for window in if apart { vec![a, b] } else { vec![hull] } {
        let query = PatternQuery {
            service: Some(place.service.clone()),
            environment: Some(place.environment.clone()),
            from_ms: window.from_ms,
            to_ms: window.to_ms,
        };
        found.push(pattern_history::patterns(engine, &query, window.resolution_s * SECOND_MS, memory_bytes).await?);
    }
    Ok(merge_patterns(found))
}
