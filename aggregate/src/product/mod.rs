//! What customers do, by release: KPI events, declared KPIs, users and sessions, toggle evaluations.
//!
//! Everything here is found in records that are folded anyway: a record that carries none of it costs a look at two
//! fields. Windows are those of metrics with another `signal`. What is remembered beyond windows — a day of sessions,
//! the toggles — is a function of the journal's records, like the rest of the state.

pub(crate) mod evaluation;
pub(crate) mod kpis;
pub(crate) mod recent;
pub(crate) mod series;
#[cfg(test)]
mod tests;
pub(crate) mod toggles;
mod toggles_bytes;
pub(crate) mod usage;
pub(crate) mod who;

use std::collections::BTreeSet;
use std::sync::Arc;

use shipwake_model::Source;
use shipwake_model::kpi::is_kpi_event;
use shipwake_otlp::{LogRecord, Span};

use crate::config::AggregateConfig;
use crate::health::{RequestParts, SERVER};
use crate::resources::KnownResource;
use crate::spans::duration_ns;
use crate::state::State;
use crate::windows::{Deltas, MetricWindows};
use evaluation::Evaluation;
use kpis::Declared;
use recent::RecentMeasures;
use series::ProductSeries;
use toggles::Toggles;
use usage::UsageDay;

/// What a shard knows of it.
#[derive(Debug)]
pub(crate) struct Product {
    /// Windows of ten seconds since the last commit.
    pub(crate) windows: MetricWindows,
    pub(crate) series: ProductSeries,
    pub(crate) declared: Arc<Declared>,
    pub(crate) day: UsageDay,
    pub(crate) toggles: Toggles,
    /// The last hour for the pages.
    pub(crate) recent: RecentMeasures,
}

impl Product {
    pub(crate) fn new(config: &AggregateConfig) -> Self {
        let limits = &config.limits;
        Product {
            windows: MetricWindows::default(),
            series: ProductSeries::new(limits),
            declared: Arc::new(Declared::new(&config.kpis)),
            day: UsageDay::default(),
            toggles: Toggles::new(limits),
            recent: RecentMeasures::new(limits.measures_bytes),
        }
    }

    /// Keeps what a commit takes out of the windows for the pages, and for the day.
    pub(crate) fn keep(&mut self, deltas: &Deltas, newest_ns: i64) {
        self.toggles.forget_silent(newest_ns);
        self.recent.add_windows(&deltas.product, &deltas.metric_metas);
        self.recent.prune(newest_ns);
        self.day.add_windows(&deltas.product, &deltas.metric_metas, newest_ns);
    }

    /// Bytes in memory besides the windows, estimated.
    pub(crate) fn bytes(&self) -> usize {
        self.series.heap_bytes() + self.day.heap_bytes() + self.toggles.heap_bytes() + self.recent.bytes()
    }

    /// Whether a log record may be of interest beyond its row and its request.
    #[inline]
    pub(crate) fn wants_log(&self, record: &LogRecord<'_>, parts: &RequestParts<'_>) -> bool {
        parts.who.is_known() || !record.event_name.is_empty() || self.declared.reads_logs()
    }

    /// The same for a span.
    #[inline]
    pub(crate) fn wants_span(span: &Span<'_>, parts: &RequestParts<'_>) -> bool {
        parts.who.is_known() || parts.who.has_toggle || !span.events.is_empty()
    }
}

impl State {
    #[inline(never)]
    pub(crate) fn fold_product_log(
        &mut self,
        known: &KnownResource,
        record: &LogRecord<'_>,
        parts: &RequestParts<'_>,
        time_ns: i64,
    ) {
        let outcome = usage::Outcome::of_log(record.event_name, record.severity_number);
        self.fold_usage(known, Source::Logs, parts.who, outcome, time_ns);
        if evaluation::is_event(record.event_name) {
            if let Some(found) = Evaluation::read(&record.attributes) {
                self.fold_evaluation(known, Source::Logs, &found, time_ns);
            }
        } else if !record.event_name.is_empty() && is_kpi_event(record.event_name) {
            self.fold_event(known, record.event_name, &record.attributes, time_ns);
        }
        if self.product.declared.reads_logs() {
            self.fold_log_kpis(known, &record.attributes, time_ns);
        }
    }

    #[inline(never)]
    pub(crate) fn fold_product_span(
        &mut self,
        known: &KnownResource,
        span: &Span<'_>,
        parts: &RequestParts<'_>,
        failed: bool,
        time_ns: i64,
    ) {
        let is_request = span.kind == SERVER;
        let duration_s = duration_ns(span) as f64 / 1e9;
        if is_request && parts.who.is_known() {
            let outcome = if failed { usage::Outcome::Errored } else { usage::Outcome::Healthy };
            self.fold_usage(known, Source::Spans, parts.who, outcome, time_ns);
        }
        // A request that asks for a toggle ten times is one request with that toggle.
        let mut seen: BTreeSet<(Vec<u8>, Vec<u8>)> = BTreeSet::new();
        let of_span = parts.who.has_toggle.then(|| Evaluation::read(&span.attributes)).flatten();
        let of_events = span.events.iter().filter(|event| evaluation::is_event(event.name));
        let of_events = of_events.filter_map(|event| Evaluation::read(&event.attributes));
        for found in of_span.into_iter().chain(of_events) {
            self.fold_evaluation(known, Source::Spans, &found, time_ns);
            if is_request && seen.insert((found.key.clone(), found.variant.clone())) {
                self.fold_toggled_request(known, &found, failed, duration_s, time_ns);
            }
        }
    }
}
