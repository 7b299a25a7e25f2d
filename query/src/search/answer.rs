//! The questions about log lines, each within its budget: a place among the running queries, a time, and an end when the asker has
//! gone.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shipwake_store::{PatternQuery, Snapshot, Store, Table};
use tokio::sync::OwnedSemaphorePermit;

use super::context::{self, AROUND_NS};
use super::fields;
use super::id::LineId;
use super::language::Search;
use super::lines::{LINE_AND_RESOURCE, LINE_COLUMNS, Page};
use super::request::{Body, Direction, LINES_MAX, Question, given};
use super::scan::{Readers, Scan, Scanned, Sink, Stop};
use super::tail::{self, Cursor, Unseen};
use super::volume::{self, By};
use super::without::{self, Less, Without};
use super::{patterns, wire};
use crate::damage::missing_in;
use crate::error::QueryError;
use crate::incomplete;
use crate::query::Query;
use crate::spans::QuestionSpan;
use crate::sql::budget::SharedMemory;

/// Bytes of a body in a list; the line itself has all of it.
const LISTED_BODY_BYTES: usize = 8 << 10;
const NS_PER_MS: i64 = 1_000_000;

/// What a question is answered from, on a thread that may block.
pub(crate) struct Ground {
    store: Arc<Store>,
    readers: Arc<Readers>,
    memory: Arc<SharedMemory>,
    threads: usize,
    stop: Stop,
    now_ms: i64,
    /// Given back when the work has ended, not when its asker was told so.
    _place: OwnedSemaphorePermit,
}

impl Ground {
    fn snapshot(&self) -> Snapshot {
        let snapshot = self.store.snapshot(&[Table::Logs]);
        self.readers.keep_only(&snapshot);
        snapshot
    }

    fn scan<S: Sink>(
        &self,
        snapshot: &Snapshot,
        search: &Search,
        range_ns: Range<i64>,
        direction: Direction,
        sink: &mut S,
    ) -> Result<Scanned, QueryError> {
        self.scan_until(&self.stop, snapshot, search, range_ns, direction, sink)
    }

    fn scan_until<S: Sink>(
        &self,
        stop: &Stop,
        snapshot: &Snapshot,
        search: &Search,
        range_ns: Range<i64>,
        direction: Direction,
        sink: &mut S,
    ) -> Result<Scanned, QueryError> {
        let (store, readers, memory, threads) = (&*self.store, &*self.readers, &self.memory, self.threads);
        Scan { store, snapshot, readers, memory, search, range_ns, direction, threads, stop }.run(sink)
    }

    fn meta(&self, search: &Search, scanned: &Scanned, range_ns: &Range<i64>) -> wire::Meta {
        let mut meta = wire::Meta::new(self.now_ms, 0.0, search.to_string(), scanned);
        meta.warnings = missing_in(&self.store, |table| table == Table::Logs, range_ns.clone());
        meta
    }

    /// Whether a question is to be answered anew after this error, because the next snapshot is without what it is about.
    fn is_to_be_repeated(&self, error: &QueryError) -> bool {
        match error {
            QueryError::Damaged(error) => self.store.set_aside(error) && !self.stop.is_due(),
            _ => false,
        }
    }

    /// Up to `limit` lines of a direction, beyond a line.
    fn page(
        &self,
        search: &Search,
        range_ns: Range<i64>,
        (direction, beyond): (Direction, Option<LineId>),
        limit: usize,
    ) -> Result<(Vec<wire::Line>, bool, Scanned), QueryError> {
        let mut page = Page::new(direction, beyond, limit);
        let snapshot = self.snapshot();
        let scanned = self.scan(&snapshot, search, range_ns, direction, &mut page)?;
        let is_full = page.is_full();
        let lines = page.read(&self.memory, &LINE_COLUMNS, LISTED_BODY_BYTES)?;
        Ok((lines, is_full, scanned))
    }
}

impl Ground {
    /// What would be found without one of the conditions, as far as there is time to count.
    fn without(
        &self,
        search: &Search,
        filters: &[&'static str],
        range_ns: &Range<i64>,
    ) -> Result<Vec<Without>, QueryError> {
        let deadline = self.stop.deadline.min(Instant::now() + without::TIME_MAX);
        let stop = Stop { deadline, gone: self.stop.gone.clone() };
        let (snapshot, mut found) = (self.snapshot(), Vec::new());
        for Less { condition, filter, q, rest } in without::each_less(search, filters) {
            let mut lines = without::Lines::default();
            let scanned = self.scan_until(&stop, &snapshot, &rest, range_ns.clone(), Direction::Older, &mut lines)?;
            if lines.0 > 0 {
                found.push(Without { condition, filter, q, lines: lines.0, at_least: scanned.stopped_at_ns.is_some() });
            }
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.lines));
        Ok(found)
    }
}

/// Tells a scan that its asker has gone, unless it was answered.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Query {
    /// A page of lines.
    pub(crate) async fn log_lines(&self, body: Body) -> Result<wire::Lines, QueryError> {
        let started = Instant::now();
        let question = self.log_question(&body).await?;
        let (direction, beyond) = match body.cursor()? {
            None => (Direction::Older, None),
            Some((id, direction)) => (direction, Some(id)),
        };
        let (bytes_max, filters, asked) = (self.config().result_bytes_max, body.filters(), body.limit);
        self.log_answer("logs_search", question.timeout, false, move |ground| {
            let Question { search, range_ns, limit, .. } = &question;
            let page = ground.page(search, range_ns.clone(), (direction, beyond), *limit)?;
            let (mut lines, is_full, scanned) = page;
            let is_empty = lines.is_empty() && beyond.is_none() && scanned.stopped_at_ns.is_none();
            let without = if is_empty { ground.without(search, &filters, range_ns)? } else { Vec::new() };
            let mut meta = ground.meta(search, &scanned, range_ns);
            if asked.is_some_and(|asked| asked > *limit) {
                meta.warnings.push(format!("a page has at most {LINES_MAX} lines: `next` has those that follow"));
            }
            let fits = fitting(&lines, bytes_max);
            if fits < lines.len() {
                meta.warnings.push(format!("the page was cut after {fits} lines, at its largest size"));
            }
            let has_more = is_full || fits < lines.len();
            lines.truncate(fits);
            let next = lines.last().filter(|_| has_more).map(|line| line.id.clone());
            Ok(wire::Lines { meta, lines, next, without })
        })
        .await
        .map(|answered| self.told(answered, started, |answer| &mut answer.meta))
    }

    /// Lines by time.
    pub(crate) async fn log_volume(&self, body: Body) -> Result<wire::Volume, QueryError> {
        let started = Instant::now();
        let question = self.log_question(&body).await?;
        let by = By::parse(given(&body.by))?;
        let now_ns = self.now_ms().saturating_mul(NS_PER_MS);
        // An open end is now; bars end there, and what is newer counts into the last one.
        let shown = question.range_ns.start..question.range_ns.end.min(now_ns.max(question.range_ns.start + 1));
        let step_ms = volume::step_ms(body.step_ms, (shown.end - shown.start) / NS_PER_MS)?;
        self.log_answer("logs_volume", question.timeout, false, move |ground| {
            let mut counts = volume::Counts::new(by, &shown, step_ms);
            let snapshot = ground.snapshot();
            let range_ns = question.range_ns.clone();
            let scanned = ground.scan(&snapshot, &question.search, range_ns, Direction::Older, &mut counts)?;
            let (t, series) = (counts.starts_ms(), counts.series());
            let total = series.iter().map(|one| one.total).sum();
            Ok(wire::Volume {
                meta: ground.meta(&question.search, &scanned, &question.range_ns),
                by: by.as_str(),
                step_ms,
                t,
                series,
                total,
            })
        })
        .await
        .map(|answered| self.told(answered, started, |answer| &mut answer.meta))
    }

    /// Patterns of the lines that are found.
    pub(crate) async fn log_patterns(&self, body: Body) -> Result<wire::Patterns, QueryError> {
        let started = Instant::now();
        let question = self.log_question(&body).await?;
        self.log_answer("logs_patterns", question.timeout, false, move |ground| {
            let mut counts = patterns::Counts::default();
            let snapshot = ground.snapshot();
            let range_ns = question.range_ns.clone();
            let scanned = ground.scan(&snapshot, &question.search, range_ns, Direction::Older, &mut counts)?;
            // Cells are not asked for: what is remembered of a pattern whatever the range.
            let remembered = counts.places().into_iter().flat_map(|(service, environment)| {
                let (service, environment) = (Some(service.to_string()), Some(environment.to_string()));
                ground.store.patterns(&PatternQuery { service, environment, from_ms: 0, to_ms: 0 })
            });
            let (patterns, more) = counts.listed(&remembered.collect::<Vec<_>>());
            let patterns::Counts { total, without, versions, .. } = counts;
            let meta = ground.meta(&question.search, &scanned, &question.range_ns);
            Ok(wire::Patterns { meta, total, without, more, versions, patterns })
        })
        .await
        .map(|answered| self.told(answered, started, |answer| &mut answer.meta))
    }

    /// A line with those around it.
    pub(crate) async fn log_context(
        &self,
        id: LineId,
        before: usize,
        after: usize,
    ) -> Result<wire::Context, QueryError> {
        let (started, timeout) = (Instant::now(), self.log_timeout());
        self.log_answer("logs_context", timeout, false, move |ground| {
            // The next lower number is the line's neighbour, so the first line beyond it is the line.
            let below = LineId { line: id.line.saturating_sub(1), ..id };
            let mut page = Page::new(Direction::Newer, Some(below), 1);
            let snapshot = ground.snapshot();
            let at = id.time_ns..id.time_ns.saturating_add(1);
            let scanned = ground.scan(&snapshot, &Search::All, at, Direction::Newer, &mut page)?;
            let mut found = page.read(&ground.memory, &LINE_AND_RESOURCE, usize::MAX)?;
            let line = found.pop().filter(|line| line.id == id.to_string()).ok_or_else(|| context::gone(id))?;
            let search = context::neighbours(&line);
            let around = id.time_ns.saturating_sub(AROUND_NS)..id.time_ns.saturating_add(AROUND_NS);
            let side = |direction, lines: usize| match lines {
                0 => Ok((Vec::new(), false, Scanned::default())),
                lines => ground.page(&search, around.clone(), (direction, Some(id)), lines),
            };
            let (mut older, _, _) = side(Direction::Older, before)?;
            let (newer, _, _) = side(Direction::Newer, after)?;
            older.reverse();
            Ok(wire::Context { meta: ground.meta(&search, &scanned, &around), line, before: older, after: newer })
        })
        .await
        .map(|answered| self.told(answered, started, |answer| &mut answer.meta))
    }

    /// Fields of the newest lines that are found.
    pub(crate) async fn log_fields(&self, body: Body) -> Result<wire::Fields, QueryError> {
        let started = Instant::now();
        let question = self.log_question(&body).await?;
        self.log_answer("logs_fields", question.timeout, false, move |ground| {
            let mut page = Page::new(Direction::Older, None, fields::SAMPLE);
            let snapshot = ground.snapshot();
            let range_ns = question.range_ns.clone();
            let scanned = ground.scan(&snapshot, &question.search, range_ns, Direction::Older, &mut page)?;
            let lines = page.read(&ground.memory, &LINE_AND_RESOURCE, 0)?;
            let meta = ground.meta(&question.search, &scanned, &question.range_ns);
            Ok(wire::Fields { meta, sample: lines.len(), fields: fields::of(&lines) })
        })
        .await
        .map(|answered| self.told(answered, started, |answer| &mut answer.meta))
    }

    /// The lines that have come since a cursor; without one, none yet and where to begin.
    pub(crate) async fn log_tail(&self, body: &Body) -> Result<wire::Tail, QueryError> {
        let search = body.search()?;
        let limit = body.limit.unwrap_or(tail::LINES).clamp(1, tail::LINES_MAX);
        let seen = given(&body.cursor).map(Cursor::parse).transpose()?;
        let started = Instant::now();
        let answered = self.log_answer("logs_tail", self.log_timeout(), true, move |ground| {
            let snapshot = ground.snapshot();
            let cursor = Cursor::end_of(&snapshot);
            let Some(seen) = seen.clone() else { return Ok((Vec::new(), 0, cursor)) };
            let (unseen, cursor) = (seen.unseen(snapshot), cursor.not_before(&seen));
            let mut sink = Unseen::new(seen, limit);
            ground.scan(&unseen, &search, i64::MIN..i64::MAX, Direction::Older, &mut sink)?;
            let skipped = sink.page.dropped;
            let mut lines = sink.page.read(&ground.memory, &LINE_COLUMNS, tail::BODY_BYTES)?;
            lines.reverse();
            Ok((lines, skipped, cursor))
        });
        let ((lines, skipped, cursor), query_ms) = answered.await?;
        let (_, wm, lag_ms) = self.freshness();
        let mut meta = crate::pages::wire::Meta { wm, lag_ms, query_ms, ..crate::pages::wire::Meta::default() };
        self.say_what_is_missing(&mut meta, started);
        Ok(wire::Tail { meta, lines, skipped, cursor: cursor.to_string() })
    }

    /// The answer with the milliseconds it took, and with what it lacks.
    fn told<T>(
        &self,
        (mut answer, elapsed_ms): (T, f64),
        started: Instant,
        meta: impl FnOnce(&mut T) -> &mut wire::Meta,
    ) -> T {
        let meta = meta(&mut answer);
        meta.elapsed_ms = elapsed_ms;
        let missing = self.store().incomplete(started);
        meta.incomplete = incomplete::listed(&missing);
        meta.warnings.extend(incomplete::in_words(&missing));
        answer
    }

    fn log_timeout(&self) -> Duration {
        Duration::from_secs(10).min(self.config().timeout_max)
    }

    async fn log_question(&self, body: &Body) -> Result<Question, QueryError> {
        let releases = self.releases().await?;
        let service = given(&body.service).map(str::to_owned);
        let first_seen = |version: &str| {
            let wanted = releases.iter().filter(|row| {
                &*row.release.version == version
                    && service.as_deref().is_none_or(|service| &*row.release.service == service)
            });
            wanted.map(|row| row.first_seen_ns.div_euclid(NS_PER_MS)).min()
        };
        body.question(self.now_ms(), self.config().timeout_max, first_seen)
    }

    /// Runs a question on a thread that may block; gives the answer and the milliseconds it took. A question of a page takes a place
    /// among the running queries; those who follow lines ask once a second and have places of their own.
    async fn log_answer<T: Send + 'static>(
        &self,
        kind: &'static str,
        timeout: Duration,
        is_tail: bool,
        answer: impl Fn(&Ground) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<(T, f64), QueryError> {
        let (asked, started) = (QuestionSpan::page(kind), Instant::now());
        let place = if is_tail { self.place_of_tail().await? } else { self.place(timeout).await? };
        let gone = Gone(Arc::default());
        let ground = Ground {
            store: self.store().clone(),
            readers: self.log_readers().clone(),
            memory: self.shared_memory().clone(),
            threads: self.config().threads.max(1),
            stop: Stop { deadline: started + timeout, gone: gone.0.clone() },
            now_ms: self.now_ms(),
            _place: place,
        };
        let answered = self.on_blocking_threads(move || {
            let mut is_repeated = false;
            loop {
                match answer(&ground) {
                    // The next snapshot is without it.
                    Err(QueryError::Gone { .. }) if !is_repeated => is_repeated = true,
                    // So it is without what is damaged, and the answer says so.
                    Err(error) if ground.is_to_be_repeated(&error) => {}
                    answered => return answered,
                }
            }
        });
        let answered = answered.await.and_then(|answered| answered);
        asked.answered(&answered, |_| 1);
        let elapsed = started.elapsed();
        self.observe(kind, elapsed);
        drop(gone);
        answered.map(|answer| (answer, (elapsed.as_secs_f64() * 1e5).round() / 100.0))
    }
}

/// How many of the lines fit into an answer; at least one.
fn fitting(lines: &[wire::Line], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let too_many = lines.iter().position(|line| {
        bytes += line.bytes();
        bytes > bytes_max
    });
    too_many.map_or(lines.len(), |at| at.max(1))
}
