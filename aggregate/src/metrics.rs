//! The aggregator's own metrics. Counters count since the start of the process; what was counted since the data directory was
//! made is in the shards' status.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use shipwake_model::Signal;
use shipwake_model::release::OVERFLOW;
use shipwake_model::window::NS_PER_S;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fold::Folded;
use crate::state::AHEAD_SERVICES_MAX;

/// From a millisecond to a minute; the promises are one second and ten.
const LAG_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    tenant: String,
    signal: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabels {
    shard: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    shard: u32,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabels {
    shard: u32,
    part: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Records whose times were too far ahead.
#[derive(Clone, Debug, Default)]
struct Ahead {
    records: Family<ServiceLabels, Counter>,
    /// Services that have a counter.
    services: Arc<Mutex<BTreeSet<Arc<str>>>>,
}

/// Metrics of all shards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    stored: Family<SignalLabels, Counter>,
    deduplicated: Family<SignalLabels, Counter>,
    unusable: Family<SignalLabels, Counter>,
    unusual: Family<KindLabels, Gauge>,
    ahead: Ahead,
    visible_lag: Histogram,
    event_lag: Histogram,
    watermark: Family<ShardLabels, Gauge<f64, AtomicU64>>,
    series: Family<ShardLabels, Gauge>,
    memory: Family<PartLabels, Gauge>,
    commits: Family<ResultLabels, Counter>,
    forgotten: Family<ShardLabels, Gauge>,
    lost: Family<ShardLabels, Counter>,
    shards: Gauge,
    taken_over: Counter,
    fenced: Counter,
    unfolded: Family<ShardLabels, Gauge>,
    /// Parts of memory and kinds of records that gauges were set for.
    names: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Metrics {
            stored: Family::default(),
            deduplicated: Family::default(),
            unusable: Family::default(),
            unusual: Family::default(),
            ahead: Ahead::default(),
            visible_lag: Histogram::new(LAG_BUCKETS),
            event_lag: Histogram::new(LAG_BUCKETS),
            watermark: Family::default(),
            series: Family::default(),
            memory: Family::default(),
            commits: Family::default(),
            forgotten: Family::default(),
            lost: Family::default(),
            shards: Gauge::default(),
            taken_over: Counter::default(),
            fenced: Counter::default(),
            unfolded: Family::default(),
            names: Arc::default(),
        };
        let Metrics { stored, deduplicated, unusable, visible_lag, event_lag, .. } = metrics.clone();
        let Metrics { watermark, series, memory, commits, forgotten, .. } = metrics.clone();
        registry.register("shipwake_records_stored", "Records that queries see", stored);
        registry.register("shipwake_records_deduplicated", "Records of requests that were sent again", deduplicated);
        registry.register(
            "shipwake_fold_unusable_records",
            "Records in the journal that could not be folded, though the door had let them in",
            unusable,
        );
        registry.register(
            "shipwake_unusual_records",
            "Records that were late, from the future, beyond a bound of cardinality, or stored and counted nowhere",
            metrics.unusual.clone(),
        );
        let help = "Records whose time was more than five minutes ahead: they count when they were received";
        registry.register("shipwake_records_ahead", help, metrics.ahead.records.clone());
        registry.register("shipwake_visible_lag_seconds", "From receiving a request to its being visible", visible_lag);
        registry.register(
            "shipwake_event_lag_seconds",
            "From the newest event of a request to its being visible",
            event_lag,
        );
        registry.register("shipwake_watermark_seconds", "Event time up to which windows are complete", watermark);
        registry.register("shipwake_series", "Series in memory", series);
        registry.register("shipwake_memory_bytes", "Memory of the aggregator by part", memory);
        registry.register("shipwake_aggregate_commits", "Attempts to commit, by result", commits);
        registry.register(
            "shipwake_request_hashes_forgotten",
            "Requests that could not be remembered for ten minutes: a retry of one counts twice",
            forgotten,
        );
        registry.register(
            "shipwake_journal_lost_records",
            "Requests in the journal that somebody deleted before they were folded",
            metrics.lost.clone(),
        );
        let Metrics { shards, taken_over, fenced, unfolded, .. } = metrics.clone();
        registry.register("shipwake_shards", "Shards that run in this process", shards);
        registry.register("shipwake_shards_taken_over", "Shards that this process took over from another", taken_over);
        registry.register("shipwake_shards_fenced", "Shards that another process took over from this one", fenced);
        registry.register(
            "shipwake_unfolded_requests",
            "Requests in the journal that are not folded yet, as far as known",
            unfolded,
        );
        metrics
    }

    /// A shard runs here until what is given is dropped.
    pub fn runs(&self) -> Runs {
        self.shards.inc();
        Runs(self.shards.clone())
    }

    /// A shard was taken over from another process.
    pub fn taken_over(&self) {
        self.taken_over.inc();
    }

    /// A shard was taken over by another process.
    pub fn fenced(&self) {
        self.fenced.inc();
    }

    /// Sets how many requests a shard has before it.
    pub fn unfolded(&self, shard: u32, requests: u64) {
        self.unfolded.get_or_create(&ShardLabels { shard }).set(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    /// Takes note of a folded request.
    pub fn folded(&self, tenant: &str, signal: Signal, folded: Folded) {
        let labels = SignalLabels { tenant: tenant.to_owned(), signal: signal.as_str() };
        for (family, count) in [
            (&self.stored, folded.stored),
            (&self.deduplicated, folded.deduplicated),
            (&self.unusable, folded.rejected),
        ] {
            if count > 0 {
                family.get_or_create(&labels).inc_by(count);
            }
        }
    }

    /// Takes note of records whose times were too far ahead, by service.
    pub fn ahead(&self, records: &BTreeMap<Arc<str>, u64>) {
        for (service, count) in records {
            let mut services = lock(&self.ahead.services);
            let has_room = services.len() < AHEAD_SERVICES_MAX || services.contains(service);
            let name = if has_room { &**service } else { OVERFLOW };
            if has_room {
                services.insert(service.clone());
            }
            drop(services);
            self.ahead.records.get_or_create(&ServiceLabels { service: name.to_owned() }).inc_by(*count);
        }
    }

    /// Takes note of when a request that is visible now was received, and of its newest event.
    pub fn visible(&self, now_ns: i64, received_ns: i64, newest_event_ns: i64) {
        self.visible_lag.observe(seconds(now_ns.saturating_sub(received_ns)).max(0.0));
        self.event_lag.observe(seconds(now_ns.saturating_sub(newest_event_ns)).max(0.0));
    }

    /// Sets the gauges of a shard.
    pub fn gauges(
        &self,
        shard: u32,
        watermark_ns: i64,
        series: usize,
        hashes_forgotten: u64,
        memory: &[(&'static str, u64)],
    ) {
        let labels = ShardLabels { shard };
        self.forgotten.get_or_create(&labels).set(hashes_forgotten as i64);
        if watermark_ns != i64::MIN {
            self.watermark.get_or_create(&labels).set(seconds(watermark_ns));
        }
        self.series.get_or_create(&labels).set(series as i64);
        lock(&self.names).extend(memory.iter().map(|(part, _)| *part));
        for (part, bytes) in memory {
            self.memory.get_or_create(&PartLabels { shard, part }).set(*bytes as i64);
        }
    }

    /// Sets how many records of a kind (late, from the future, folded into an overflow, left out) there were since the
    /// shard's first start.
    pub fn unusual(&self, shard: u32, kinds: &[(&'static str, u64)]) {
        lock(&self.names).extend(kinds.iter().map(|(kind, _)| *kind));
        for &(kind, records) in kinds {
            self.unusual.get_or_create(&KindLabels { shard, kind }).set(records as i64);
        }
    }

    /// Forgets the gauges of a shard that does not run here any more.
    pub fn forget(&self, shard: u32) {
        let labels = ShardLabels { shard };
        self.forgotten.remove(&labels);
        self.unfolded.remove(&labels);
        self.watermark.remove(&labels);
        self.series.remove(&labels);
        for name in lock(&self.names).iter() {
            self.memory.remove(&PartLabels { shard, part: name });
            self.unusual.remove(&KindLabels { shard, kind: name });
        }
    }

    /// Takes note of requests that are gone from the journal and were never folded.
    pub fn lost(&self, shard: u32, requests: u64) {
        self.lost.get_or_create(&ShardLabels { shard }).inc_by(requests);
    }

    /// Takes note of an attempt to commit.
    pub fn commit(&self, succeeded: bool) {
        self.commits.get_or_create(&ResultLabels { result: if succeeded { "ok" } else { "error" } }).inc();
    }
}

/// A shard that runs, and is counted.
#[derive(Debug)]
pub struct Runs(Gauge);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / NS_PER_S as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_ahead_are_counted_by_service_and_many_services_in_one() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let of = |names: std::ops::Range<usize>| names.map(|n| (Arc::from(format!("s{n}")), 2)).collect();
        metrics.ahead(&of(0..1));
        metrics.ahead(&of(0..AHEAD_SERVICES_MAX + 3));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("to memory");
        let counters: Vec<&str> =
            text.lines().filter(|line| line.starts_with("shipwake_records_ahead_total{")).collect();
        assert_eq!(counters.len(), AHEAD_SERVICES_MAX + 1, "{counters:?}");
        for expected in [r#"{service="s0"} 4"#, r#"{service="s1"} 2"#, r#"{service="__overflow__"} 6"#] {
            assert!(counters.iter().any(|counter| counter.ends_with(expected)), "{expected}: {counters:?}");
        }
    }
}
