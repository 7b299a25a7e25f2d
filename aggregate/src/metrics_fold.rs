//! Folds metric points: a row for each, a window of its series, and the requests that duration metrics tell about.

use std::num::NonZeroU64;
use std::sync::Arc;

use shipwake_model::sketch::Explicit;
use shipwake_model::{HdrCells, Sketch, Source};
use shipwake_otlp::{Metric, MetricKind, MetricSink, Point, Resource, Scope};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::cells::FullCell;
use crate::cumulative::{Stream, Total, Totals};
use crate::fold::{Base, Context, Faulty, Folded};
use crate::health::{DurationMetric, Family, RequestParts, duration_metric};
use crate::point_values::values;
use crate::points::PointValues;
use crate::product::kpis::added;
use crate::releases::OVERFLOW;
use crate::resources::KnownResource;
use crate::routes::{RouteParts, Routes, write_route};
use crate::series::{Measure, MetricForm, MetricMeta};
use crate::watermark::EventTime;

const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;
/// Attributes that tell series of a metric apart. The rest is in `points`.
const ATTRIBUTES_MAX: usize = 8;
const ATTRIBUTE_BYTES_MAX: usize = 128;
/// Attributes that name one end of one connection, or one client: they multiply series and explain no release.
const DROPPED_PREFIXES: [&[u8]; 7] =
    [b"net.", b"network.", b"client.", b"server.", b"peer.", b"user_agent.", b"thread."];
const DROPPED: [&[u8]; 4] = [b"http.url", b"url.full", b"url.query", b"http.user_agent"];

/// What is the same for all points of a metric.
struct OfMetric {
    hash: u128,
    duration: Option<DurationMetric>,
    /// The declared KPIs that are counted from it.
    kpis: Vec<u16>,
}

pub(crate) struct MetricFold<'s> {
    base: Base<'s>,
    /// For each resource of the request, whether it has the new names of HTTP and RPC durations.
    new_names: std::vec::IntoIter<[bool; 2]>,
    scope_hash: u128,
    metric: OfMetric,
}

impl<'s> MetricFold<'s> {
    pub(crate) fn new(base: Base<'s>, new_names: Vec<[bool; 2]>) -> Self {
        MetricFold {
            base,
            new_names: new_names.into_iter(),
            scope_hash: 0,
            metric: OfMetric { hash: 0, duration: None, kpis: Vec::new() },
        }
    }

    pub(crate) fn finish(self) -> (Folded, Vec<Faulty>) {
        self.base.finish()
    }

    /// Folds a point into the window of its series; gives what it added as a histogram, where it is one.
    fn fold(
        &mut self,
        known: &KnownResource,
        metric: &Metric<'_>,
        point: &Point<'_>,
        values: PointValues,
        time: EventTime,
    ) -> Option<Sketch> {
        let (form, total) = match (metric.kind, values) {
            (MetricKind::Gauge, PointValues { value: Some(value), .. }) => (MetricForm::Level, Total::Number(value)),
            // A total that can go down is a level; what its differences mean only the sender knows.
            (MetricKind::Sum, PointValues { value: Some(value), .. }) => {
                let is_level = metric.temporality == CUMULATIVE && !metric.monotonic;
                (if is_level { MetricForm::Level } else { MetricForm::Increase }, Total::Number(value))
            }
            (_, PointValues { histogram: Some(sketch @ Sketch::Explicit(_)), .. }) => {
                (MetricForm::Explicit, Total::Sketch(sketch))
            }
            (_, PointValues { histogram: Some(sketch), .. }) => (MetricForm::Exponential, Total::Sketch(sketch)),
            (MetricKind::Summary, PointValues { count: Some(count), sum, .. }) => {
                (MetricForm::Explicit, Total::Sketch(without_buckets(count, sum)))
            }
            _ => return None,
        };
        // A summary has no temporality: its count and sum are running totals, and begin anew where its start does.
        let temporality = if metric.kind == MetricKind::Summary { CUMULATIVE } else { metric.temporality };
        let is_total = form != MetricForm::Level && temporality == CUMULATIVE;
        if form != MetricForm::Level && !matches!(temporality, DELTA | CUMULATIVE) {
            return None;
        }
        let (series, increase) = self.advance(known, metric, point, form, is_total.then_some(time.time_ns), total)?;
        let state = &mut *self.base.state;
        if !self.metric.kpis.is_empty()
            && let Some(added) = added(&increase)
        {
            state.fold_metric_kpis(known, &self.metric.kpis, added, time.time_ns);
        }
        match increase {
            Total::Number(value) => {
                state.metrics.add(series, time.time_ns, value);
                None
            }
            Total::Sketch(sketch) => {
                state.metrics.add_sketch(series, time.time_ns, &sketch);
                Some(sketch)
            }
        }
    }

    /// The series of a point and what the point adds to it. `cumulative_ns`: the time of a point of a running total.
    fn advance(
        &mut self,
        known: &KnownResource,
        metric: &Metric<'_>,
        point: &Point<'_>,
        form: MetricForm,
        cumulative_ns: Option<i64>,
        total: Total,
    ) -> Option<(u32, Total)> {
        let key = self.metric.hash.wrapping_add(point.attributes().hash128(1)) ^ form as u128;
        let generation = self.base.state.series.generation();
        let known_series =
            self.base.state.streams.get_mut(key).filter(|stream| stream.generation == generation).map(|s| s.series);
        let series = match known_series {
            Some(series) => series,
            None => self.series(known, metric, point, form),
        };
        let (received_ns, limits) = (self.base.received_ns, self.base.state.config.limits);
        let state = &mut *self.base.state;
        if state.streams.get_mut(key).is_none() {
            let release = state.releases.get_mut(known.release);
            let is_full = state.streams.count() >= limits.streams || release.streams >= limits.streams_per_release;
            if is_full {
                // An increase or a level needs no memory of earlier points; a running total does.
                state.counters.overflow += u64::from(cumulative_ns.is_some());
                return cumulative_ns.is_none().then_some((series, total));
            }
            release.streams += 1;
            let release = known.release;
            state
                .streams
                .insert(key, Stream { series, generation, release, received_ns, totals: None, last_delta: None });
        }
        let stream = state.streams.get_mut(key)?;
        (stream.series, stream.generation) = (series, generation);
        (stream.release, stream.received_ns) = (known.release, received_ns);
        let Some(time_ns) = cumulative_ns else {
            let mark = (form != MetricForm::Level).then(|| mark_of(point, &total)).flatten();
            let is_repeated = mark.is_some() && stream.last_delta == mark;
            stream.last_delta = mark;
            return (!is_repeated).then_some((series, total));
        };
        let start_ns = i64::try_from(point.start_time_unix_nano()).unwrap_or(0);
        let totals = stream.totals.get_or_insert_with(|| Box::new(Totals::default()));
        totals.advance(start_ns, time_ns, total).map(|increase| (series, increase))
    }

    #[cold]
    fn series(&mut self, known: &KnownResource, metric: &Metric<'_>, point: &Point<'_>, form: MetricForm) -> u32 {
        let state = &mut *self.base.state;
        let meta = MetricMeta {
            release: state.releases.get(known.release).id.clone(),
            measure: Measure::Metric,
            source: Source::Metrics,
            metric: String::from_utf8_lossy(metric.name).into(),
            unit: String::from_utf8_lossy(metric.unit).into(),
            attributes: kept_attributes(point),
            slot: known.slot,
            form,
        };
        let (series, overflow) = state.series.metric(known.release, meta);
        state.counters.overflow += u64::from(overflow);
        series
    }

    /// Requests that a histogram of durations tells about.
    fn fold_requests(&mut self, known: &KnownResource, parts: &RequestParts<'_>, sketch: &Sketch, time_ns: i64) {
        let Some(metric) = self.metric.duration else { return };
        let state = &mut *self.base.state;
        let release = state.releases.get(known.release);
        let has_new_name = match metric.family {
            Family::Http => release.http_new,
            Family::Rpc => release.rpc_new,
        };
        if sketch.count() == 0 || (has_new_name && !metric.new_name) {
            return;
        }
        let mut route = std::mem::take(&mut state.scratch);
        write_route(&parts.route, &mut route);
        let number = state.routes.number(known.service, &route);
        state.scratch = route;
        let requests = sketch.count();
        let errors = if parts.point_failed() { requests } else { 0 };
        // Count and sum alone say nothing about any duration, and no duration is better than one that was made up.
        let duration = if says_values(sketch) { sketch.to_hdr(metric.us_per_unit).0 } else { HdrCells::new() };
        let cell = FullCell { requests, errors, duration };
        let by_route = state.health_series(known, Source::Metrics, number);
        let whole = state.health_series(known, Source::Metrics, Routes::NONE);
        state.ten.merge(by_route, time_ns, &cell);
        if state.folds_seconds(time_ns) {
            state.one.merge(whole, time_ns, &cell);
        }
        known.requested(&mut state.releases, Source::Metrics, requests);
    }
}

impl<'a> MetricSink<'a> for MetricFold<'_> {
    fn resource(&mut self, resource: &Resource<'a>) {
        let known = self.base.resource(resource);
        let [http_new, rpc_new] = self.new_names.next().unwrap_or_default();
        let release = self.base.state.releases.get_mut(known.release);
        // An overflow release is many releases: what one of them sends says nothing about the others.
        if &*release.id.version != OVERFLOW {
            release.http_new |= http_new;
            release.rpc_new |= rpc_new;
        }
        let row_ref = self.base.state.rows.points.resource(&known);
        self.base.context = Some(Context { known, row_ref });
    }

    fn scope(&mut self, scope: &Scope<'a>) {
        self.scope_hash = xxh3_128(scope.name);
    }

    fn metric(&mut self, metric: &Metric<'a>) {
        let resource_hash = self.base.context.as_ref().map_or(0, |context| context.known.hash);
        let mut hasher = Xxh3::new();
        hasher.update(&resource_hash.to_le_bytes());
        hasher.update(&self.scope_hash.to_le_bytes());
        hasher.update(&[metric.kind as u8, metric.temporality as u8, metric.monotonic.into()]);
        hasher.update(metric.name);
        hasher.update(&[0xff]);
        hasher.update(metric.unit);
        let kpis = self.base.state.product.declared.of_metric(metric.name);
        self.metric = OfMetric { hash: hasher.digest128(), duration: duration_metric(metric.name, metric.unit), kpis };
    }

    fn point(&mut self, metric: &Metric<'a>, point: &Point<'a>) {
        let values = match values(metric, point, &mut self.base.state.bounds) {
            Ok(values) => values,
            Err(fault) => {
                let name = String::from_utf8_lossy(metric.name);
                self.base.fault(fault.reason, || format!("{} in metric {name}", fault.detail));
                return;
            }
        };
        let Some(context) = self.base.context.take() else { return };
        let placed = self.base.place(point.time_unix_nano(), 0, context.known.release);
        let start_ns = i64::try_from(point.start_time_unix_nano()).ok().filter(|start_ns| *start_ns != 0);
        let attributes = point.attributes();
        let rows = &mut self.base.state.rows.points;
        let parts = rows.append(context.row_ref, metric, placed, start_ns, &values, &attributes);
        if placed.folds {
            let known = Arc::clone(&context.known);
            if let Some(sketch) = self.fold(&known, metric, point, values, placed) {
                self.fold_requests(&known, &parts, &sketch, placed.time_ns);
            }
            self.base.note_event(placed.time_ns);
        }
        self.base.context = Some(context);
    }
}

/// What is known of a summary that adds up: a histogram of one bucket, which has a count and a sum and no quantiles.
fn without_buckets(count: u64, sum: Option<f64>) -> Sketch {
    let one_bucket = Explicit::new(Arc::new([]));
    Sketch::Explicit(Explicit { counts: vec![count], count, sum, ..one_bucket })
}

/// Whether a histogram says anything about single values.
fn says_values(sketch: &Sketch) -> bool {
    match sketch {
        Sketch::Explicit(explicit) => !explicit.bounds.is_empty() || explicit.min.is_some() || explicit.max.is_some(),
        _ => true,
    }
}

/// What tells a delta from the others of its stream: its span of time and its value. `None` without a start: points of equal
/// times may then be of two senders.
fn mark_of(point: &Point<'_>, total: &Total) -> Option<NonZeroU64> {
    let (start, end) = (point.start_time_unix_nano(), point.time_unix_nano());
    if start == 0 {
        return None;
    }
    let (count, sum) = match total {
        Total::Number(value) => (1, *value),
        Total::Sketch(Sketch::Explicit(explicit)) => (explicit.count, explicit.sum.unwrap_or(0.0)),
        Total::Sketch(Sketch::Exponential(buckets)) => (buckets.count, buckets.sum.unwrap_or(0.0)),
        Total::Sketch(Sketch::Hdr(cells)) => (cells.count(), cells.sum() as f64),
        // No point is one.
        Total::Sketch(Sketch::Distinct(_)) => return None,
    };
    let mut hasher = Xxh3::new();
    for part in [start, end, count, sum.to_bits()] {
        hasher.update(&part.to_le_bytes());
    }
    NonZeroU64::new(hasher.digest())
}

/// The attributes that tell series of the metric apart: bounded in number and length, sorted, paths as templates.
fn kept_attributes(point: &Point<'_>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    let mut text = Vec::new();
    for attribute in point.attributes() {
        let key = attribute.key;
        if DROPPED.contains(&key) || DROPPED_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
            continue;
        }
        text.clear();
        match (key, attribute.value.as_bytes()) {
            (b"http.target" | b"url.path", Some(path)) => {
                write_route(&RouteParts { path, ..RouteParts::default() }, &mut text);
            }
            _ => attribute.value.write_text(&mut text),
        }
        let value = String::from_utf8_lossy(&text);
        let end = value.floor_char_boundary(ATTRIBUTE_BYTES_MAX);
        kept.push((String::from_utf8_lossy(key).into_owned(), value[..end].to_owned()));
    }
    kept.sort();
    kept.dedup_by(|later, earlier| later.0 == earlier.0);
    kept.truncate(ATTRIBUTES_MAX);
    kept
}
