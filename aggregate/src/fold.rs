//! Where a journal record is folded into the state of its shard: rows, windows, releases, watermark.
//!
//! Pure: the same records in the same order give the same counts, whatever the time of day. A request is checked as a
//! whole before any of it is used, so that a damaged one leaves nothing behind.

use std::sync::Arc;

use shipwake_journal::Stored;
use shipwake_model::window::NS_PER_S;
use shipwake_model::{Signal, Source};
use shipwake_otlp::{
    LogRecord, LogSink, Metric, MetricSink, Point, Resource, ScanError, Scope, Span, SpanSink, scan_logs, scan_metrics,
    scan_spans,
};

use crate::health::{self, Family, duration_metric};
use crate::markers::Said;
use crate::metrics_fold::MetricFold;
use crate::product::Product;
use crate::resources::{KnownResource, describe};
use crate::routes::{Routes, write_route};
use crate::series::{HealthKey, HealthMeta};
use crate::spans::duration_ns;
use crate::state::{FUTURE, State, TOO_OLD};
use crate::text::{ORIGINAL_TIME, rfc3339};
use crate::watermark::{EventTime, oldest_ns, place};

/// Events older than this are not folded into windows of one second, which are kept for a quarter of an hour.
const SECONDS_OLDEST_NS: i64 = 900 * NS_PER_S;

/// What became of the records of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Stored as rows.
    pub stored: u64,
    /// Part of a request that was seen before.
    pub deduplicated: u64,
    /// Could not be used.
    pub rejected: u64,
}

/// Records of a request that cannot be used, for one reason.
pub(crate) struct Faulty {
    pub(crate) reason: &'static str,
    pub(crate) count: u64,
    /// The first case in words.
    pub(crate) detail: String,
}

/// Oldest and newest event time of a request, where windows took it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeSpan {
    oldest_ns: i64,
    newest_ns: i64,
}

/// The resource whose records are being folded.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) known: Arc<KnownResource>,
    /// Its number in the open chunk.
    pub(crate) row_ref: u32,
}

impl State {
    /// Folds a record of the journal. Records must come in the order of their offsets.
    pub fn fold(&mut self, stored: &Stored) -> Folded {
        let header = &stored.header;
        self.next_offset = stored.offset + 1;
        self.received_ns = self.received_ns.max(header.received_ns);
        let is_new = header.request_hash.is_none_or(|hash| self.dedup.is_new(hash, header.received_ns));
        if !is_new {
            let deduplicated = u64::from(header.records);
            self.counters.deduplicated += deduplicated;
            return Folded { deduplicated, ..Folded::default() };
        }
        let folded = match header.signal {
            Signal::Logs => self.fold_logs(&stored.value, header.received_ns),
            Signal::Traces => self.fold_spans(&stored.value, header.received_ns),
            Signal::Metrics => self.fold_metrics(&stored.value, header.received_ns),
        };
        let (mut folded, faults) = folded.unwrap_or_else(|error| {
            let detail = format!("offset {}: {error}", stored.offset);
            (Folded::default(), vec![Faulty { reason: "malformed", count: header.records.into(), detail }])
        });
        // The header counts records without those that were refused at the door, whose bytes are still in the request: only
        // what is missing beyond them is news.
        let missing = u64::from(header.records).saturating_sub(folded.stored);
        for fault in faults {
            let count = fault.count.min(missing - folded.rejected);
            folded.rejected += count;
            self.reject(header.signal, fault.reason, count, fault.detail);
        }
        self.counters.stored[header.signal as usize - 1] += folded.stored;
        self.rows.seal_large();
        folded
    }

    fn fold_logs(&mut self, request: &[u8], received_ns: i64) -> Result<(Folded, Vec<Faulty>), ScanError> {
        let mut check = SaidCheck::default();
        scan_logs(request, &mut check)?;
        let (base, about_others) = (Base::new(self, Signal::Logs, received_ns), check.finish());
        let mut sink = LogFold { base, scope: b"", book: 0, resources: 0, about_others };
        scan_logs(request, &mut sink)?;
        Ok(sink.base.finish())
    }

    fn fold_spans(&mut self, request: &[u8], received_ns: i64) -> Result<(Folded, Vec<Faulty>), ScanError> {
        scan_spans(request, &mut Check::default())?;
        let mut sink = SpanFold { base: Base::new(self, Signal::Traces, received_ns) };
        scan_spans(request, &mut sink)?;
        Ok(sink.base.finish())
    }

    fn fold_metrics(&mut self, request: &[u8], received_ns: i64) -> Result<(Folded, Vec<Faulty>), ScanError> {
        let mut check = Check::default();
        scan_metrics(request, &mut check)?;
        let mut sink = MetricFold::new(Base::new(self, Signal::Metrics, received_ns), check.new_names);
        scan_metrics(request, &mut sink)?;
        Ok(sink.finish())
    }

    /// The series of requests of a release; counts an overflow.
    pub(crate) fn health_series(&mut self, known: &KnownResource, source: Source, route: u32) -> u32 {
        let key = HealthKey { release: known.release, route, slot: known.slot, source };
        let State { series, releases, routes, counters, .. } = self;
        let (number, overflow) = series.health(key, |key| HealthMeta {
            release: releases.get(key.release).id.clone(),
            source: key.source,
            route: routes.text(key.route).clone(),
            slot: key.slot,
        });
        counters.overflow += u64::from(overflow);
        number
    }

    /// Folds one request into the windows of ten seconds and, without its route, of one second.
    #[inline]
    pub(crate) fn request(
        &mut self,
        known: &KnownResource,
        source: Source,
        route: u32,
        time_ns: i64,
        duration_us: Option<u64>,
        error: bool,
    ) {
        let by_route = self.health_series(known, source, route);
        let whole = if route == Routes::NONE { by_route } else { self.health_series(known, source, Routes::NONE) };
        let fold_seconds = self.folds_seconds(time_ns);
        match duration_us {
            Some(duration_us) => {
                self.ten.observe(by_route, time_ns, duration_us, error);
                if fold_seconds {
                    self.one.observe(whole, time_ns, duration_us, error);
                }
            }
            None => {
                self.ten.count(by_route, time_ns, 1, error.into());
                if fold_seconds {
                    self.one.count(whole, time_ns, 1, error.into());
                }
            }
        }
        known.requested(&mut self.releases, source, 1);
    }

    /// Whether windows of one second take an event.
    pub(crate) fn folds_seconds(&self, time_ns: i64) -> bool {
        time_ns > self.received_ns.saturating_sub(SECONDS_OLDEST_NS)
    }

    fn route_number(&mut self, known: &KnownResource, route: &[u8]) -> u32 {
        let number = self.routes.number(known.service, route);
        self.counters.overflow += u64::from(number == Routes::OTHER);
        number
    }
}

/// What the folds of all signals share.
pub(crate) struct Base<'s> {
    pub(crate) state: &'s mut State,
    signal: Signal,
    pub(crate) received_ns: i64,
    pub(crate) context: Option<Context>,
    times: Option<TimeSpan>,
    folded: Folded,
    faults: Vec<Faulty>,
}

impl<'s> Base<'s> {
    fn new(state: &'s mut State, signal: Signal, received_ns: i64) -> Self {
        Base { state, signal, received_ns, context: None, times: None, folded: Folded::default(), faults: Vec::new() }
    }

    pub(crate) fn resource(&mut self, resource: &Resource<'_>) -> Arc<KnownResource> {
        let State { resources, releases, counters, .. } = &mut *self.state;
        let overflowed = releases.overflowed();
        let known = resources.find(resource, releases, self.received_ns);
        counters.overflow += releases.overflowed() - overflowed;
        known
    }

    /// Places a record in time and takes note of it.
    #[inline]
    pub(crate) fn place(&mut self, time: u64, observed: u64, release: u32) -> EventTime {
        let placed = self.store(time, observed);
        self.saw(placed, release);
        placed
    }

    /// Places a record in time; it is going to be a row.
    #[inline]
    fn store(&mut self, time: u64, observed: u64) -> EventTime {
        self.folded.stored += 1;
        place(time, observed, self.received_ns)
    }

    /// Takes note of a record as a sign of its release.
    #[inline]
    fn saw(&mut self, placed: EventTime, release: u32) {
        let state = &mut *self.state;
        if placed.folds {
            state.releases.get_mut(release).saw(placed.time_ns);
        } else {
            self.too_old(release);
        }
        if let Some(stated) = placed.original {
            self.ahead(release, stated);
        }
        let state = &mut *self.state;
        if placed.folds && state.watermark.is_late(placed.time_ns) {
            state.counters.late += 1;
        }
    }

    /// Takes note of a record that is stored and that no window takes.
    #[cold]
    fn too_old(&mut self, release: u32) {
        let oldest_ns = oldest_ns(self.received_ns);
        self.state.releases.get_mut(release).saw_too_old(oldest_ns);
        let id = self.state.releases.get(release).id.clone();
        self.state.leave_out(TOO_OLD, self.signal, || {
            format!("service {} sends what happened more than 24 h ago: kept as rows, counted in no window", id.service)
        });
    }

    /// Takes note of a record that has the time of its receipt, because its own was too far ahead.
    #[cold]
    fn ahead(&mut self, release: u32, stated: u64) {
        let service = self.state.releases.get(release).id.service.clone();
        self.state.counters.future += 1;
        self.state.leave_out(FUTURE, self.signal, || {
            let stated = rfc3339(stated);
            format!(
                "the clock of service {service} is ahead, the last time was {stated}: a record of more than 5 min ahead counts when it \
                 was received, and its row has its own time in {ORIGINAL_TIME}"
            )
        });
        self.state.count_ahead(service);
    }

    /// Lets an event that windows take move the watermark, once the request is done.
    #[inline]
    pub(crate) fn note_event(&mut self, time_ns: i64) {
        self.times = Some(match self.times {
            None => TimeSpan { oldest_ns: time_ns, newest_ns: time_ns },
            Some(times) => {
                TimeSpan { oldest_ns: times.oldest_ns.min(time_ns), newest_ns: times.newest_ns.max(time_ns) }
            }
        });
    }

    /// Takes note of a record that cannot be used.
    pub(crate) fn fault(&mut self, reason: &'static str, detail: impl FnOnce() -> String) {
        match self.faults.iter_mut().find(|known| known.reason == reason) {
            Some(known) => known.count += 1,
            None => self.faults.push(Faulty { reason, count: 1, detail: detail() }),
        }
    }

    pub(crate) fn finish(self) -> (Folded, Vec<Faulty>) {
        if let Some(times) = self.times {
            self.state.watermark.advance(times.oldest_ns, times.newest_ns, self.received_ns);
        }
        (self.folded, self.faults)
    }
}

struct LogFold<'s, 'a> {
    base: Base<'s>,
    scope: &'a [u8],
    /// Number of the service's patterns.
    book: u32,
    /// How many resources there were so far.
    resources: usize,
    /// Numbers of the resources that only say something about a release, in order.
    about_others: Vec<usize>,
}

impl<'a> LogSink<'a> for LogFold<'_, 'a> {
    fn resource(&mut self, resource: &Resource<'a>) {
        self.resources += 1;
        if self.about_others.binary_search(&(self.resources - 1)).is_ok() {
            // Who is only talked about takes no place among the releases that are seen.
            let known = describe(resource);
            let row_ref = self.base.state.rows.logs.resource(&known);
            self.base.context = Some(Context { known, row_ref });
            return;
        }
        let known = self.base.resource(resource);
        let state = &mut *self.base.state;
        let row_ref = state.rows.logs.resource(&known);
        self.book = state.patterns.book(&state.releases.get(known.release).id);
        self.base.context = Some(Context { known, row_ref });
    }

    fn scope(&mut self, scope: &Scope<'a>) {
        self.scope = scope.name;
    }

    #[inline]
    fn log(&mut self, record: &LogRecord<'a>) {
        let Some(context) = self.base.context.take() else { return };
        let (time, observed) = (record.time_unix_nano, record.observed_time_unix_nano);
        let placed = self.base.store(time, observed);
        let state = &mut *self.base.state;
        let line = state.counters.stored[Signal::Logs as usize - 1] + self.base.folded.stored;
        let parts = state.rows.logs.append(context.row_ref, self.scope, record, placed, line);
        if let Some(said) = Said::of_log(&parts) {
            state.rows.logs.end(None);
            state.fold_said(said, &context.known.id, record, placed);
            self.base.context = Some(context);
            return;
        }
        self.base.saw(placed, context.known.release);
        let state = &mut *self.base.state;
        let record = &LogRecord { event_name: parts.event_name, ..*record };
        let counted_ns = placed.folds.then_some(placed.time_ns);
        let pattern = state.pattern(self.book, &context.known, record, &parts, counted_ns);
        state.rows.logs.end(pattern);
        if placed.folds {
            if parts.access_log {
                let mut route = std::mem::take(&mut state.scratch);
                write_route(&parts.route, &mut route);
                let number = state.route_number(&context.known, &route);
                state.scratch = route;
                let duration_us = parts.duration_s.map(|seconds| (seconds * 1e6).round() as u64);
                let failed = parts.http_status >= 500;
                state.request(&context.known, Source::AccessLog, number, placed.time_ns, duration_us, failed);
            } else if health::stands_in(record.event_name, record.severity_number) {
                let failed = record.severity_number >= health::SEVERITY_ERROR;
                state.request(&context.known, Source::Logs, Routes::NONE, placed.time_ns, None, failed);
            }
            if state.product.wants_log(record, &parts) {
                state.fold_product_log(&context.known, record, &parts, placed.time_ns);
            }
            self.base.note_event(placed.time_ns);
        }
        self.base.context = Some(context);
    }
}

struct SpanFold<'s> {
    base: Base<'s>,
}

impl<'a> SpanSink<'a> for SpanFold<'_> {
    fn resource(&mut self, resource: &Resource<'a>) {
        let known = self.base.resource(resource);
        let row_ref = self.base.state.rows.spans.resource(&known);
        self.base.context = Some(Context { known, row_ref });
    }

    fn scope(&mut self, _: &Scope<'a>) {}

    #[inline]
    fn span(&mut self, span: &Span<'a>) {
        let Some(context) = self.base.context.take() else { return };
        let placed = self.base.place(span.start_time_unix_nano, span.end_time_unix_nano, context.known.release);
        let state = &mut *self.base.state;
        let parts = state.rows.spans.append(context.row_ref, span, placed);
        // A request counts when its outcome is known, as in every metric that clients make of it: at its end.
        let duration_ns = duration_ns(span);
        let end_ns = match placed.original {
            Some(_) => placed.time_ns,
            None => placed.time_ns.saturating_add(duration_ns).min(self.base.received_ns.max(placed.time_ns)),
        };
        if placed.folds {
            if span.kind == health::SERVER {
                let route = state.routes.number(context.known.service, state.rows.spans.last_route());
                state.counters.overflow += u64::from(route == Routes::OTHER);
                let duration_us = (duration_ns / 1_000) as u64;
                let failed = parts.span_failed(span.status_code);
                state.request(&context.known, Source::Spans, route, end_ns, Some(duration_us), failed);
            }
            if Product::wants_span(span, &parts) {
                let failed = parts.span_failed(span.status_code);
                state.fold_product_span(&context.known, span, &parts, failed, end_ns);
            }
            if parts.is_deployment {
                state.fold_deploying_span(&context.known.id, span, end_ns);
            }
            self.base.note_event(end_ns);
        }
        self.base.context = Some(context);
    }
}

/// Looks at a whole request before any of it is used. For metrics it also finds the resources that send a duration metric
/// under its new name: their old one measures the same requests again.
#[derive(Default)]
struct Check {
    new_names: Vec<[bool; 2]>,
}

/// The same for log records. It also finds the resources whose records all say something about a release (`markers`).
#[derive(Default)]
struct SaidCheck {
    resources: usize,
    /// Whether the resource has such records, and others.
    has: [bool; 2],
    about_others: Vec<usize>,
}

impl SaidCheck {
    fn finish(mut self) -> Vec<usize> {
        self.end_resource();
        self.about_others
    }

    fn end_resource(&mut self) {
        if std::mem::take(&mut self.has) == [true, false] {
            self.about_others.push(self.resources - 1);
        }
    }
}

impl<'a> LogSink<'a> for SaidCheck {
    fn resource(&mut self, _: &Resource<'a>) {
        self.end_resource();
        self.resources += 1;
    }

    fn scope(&mut self, _: &Scope<'a>) {}

    #[inline]
    fn log(&mut self, record: &LogRecord<'a>) {
        self.has[usize::from(Said::of_event(record.event_name).is_none())] = true;
    }
}

impl<'a> SpanSink<'a> for Check {
    fn resource(&mut self, _: &Resource<'a>) {}
    fn scope(&mut self, _: &Scope<'a>) {}
    fn span(&mut self, _: &Span<'a>) {}
}

impl<'a> MetricSink<'a> for Check {
    fn resource(&mut self, _: &Resource<'a>) {
        self.new_names.push([false; 2]);
    }

    fn scope(&mut self, _: &Scope<'a>) {}

    fn metric(&mut self, metric: &Metric<'a>) {
        let found = duration_metric(metric.name, metric.unit).filter(|found| found.new_name);
        if let (Some(found), Some(names)) = (found, self.new_names.last_mut()) {
            names[usize::from(found.family == Family::Rpc)] = true;
        }
    }

    fn point(&mut self, _: &Metric<'a>, _: &Point<'a>) {}
}
