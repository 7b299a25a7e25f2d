//! What ingest counts about itself, under the names that operators rely on. Every record that a request holds is counted as
//! received, and later exactly once as stored, rejected or deduplicated; ingest counts the first and what it rejects.
//!
//! Requests that are refused before their records are known are counted as requests, not as records.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use shipwake_model::Signal;

use crate::remote_write::RemoteWriteMetrics;
use crate::syslog::SyslogMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    tenant: String,
    signal: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectedLabels {
    tenant: String,
    signal: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

/// The counters. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    tenant: String,
    received: [Counter; Signal::ALL.len()],
    bytes: [Counter; Signal::ALL.len()],
    rejected: Family<RejectedLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    unversioned: Counter,
    in_flight: Gauge,
    waiting: Gauge,
    backlog: Gauge,
    backlog_seconds: Gauge<f64, AtomicU64>,
    connections: Gauge,
    syslog: SyslogMetrics,
    remote_write: RemoteWriteMetrics,
}

impl Metrics {
    pub(crate) fn new(tenant: &str, registry: &mut Registry) -> Self {
        let received = Family::<SignalLabels, Counter>::default();
        let bytes = Family::<SignalLabels, Counter>::default();
        let rejected = Family::<RejectedLabels, Counter>::default();
        let refused = Family::<RefusedLabels, Counter>::default();
        let (unversioned, in_flight) = (Counter::default(), Gauge::default());
        let (waiting, connections) = (Gauge::default(), Gauge::default());
        let (backlog, backlog_seconds) = (Gauge::default(), Gauge::default());
        registry.register("shipwake_records_received", "Records in requests that could be read", received.clone());
        registry.register(
            "shipwake_records_rejected",
            "Records that were not kept, by reason; their senders were told",
            rejected.clone(),
        );
        registry.register("shipwake_ingest_bytes", "Bytes of requests after decompression", bytes.clone());
        registry.register(
            "shipwake_ingest_refused_requests",
            "Requests that were refused before their records were known, by reason",
            refused.clone(),
        );
        registry.register(
            "shipwake_ingest_unversioned_records",
            "Records whose resource names no version and no fall-back of one",
            unversioned.clone(),
        );
        registry.register(
            "shipwake_ingest_in_flight_bytes",
            "Memory that requests hold until the journal has answered",
            in_flight.clone(),
        );
        registry.register("shipwake_ingest_waiting_requests", "Requests that wait for memory", waiting.clone());
        registry.register(
            "shipwake_ingest_backlog_bytes",
            "Bytes in the journal that no shard has folded",
            backlog.clone(),
        );
        registry.register(
            "shipwake_ingest_backlog_seconds",
            "How long the shard that is furthest behind needs for its backlog, about",
            backlog_seconds.clone(),
        );
        registry.register("shipwake_ingest_connections", "Open connections of senders", connections.clone());
        let of_signal = |family: &Family<SignalLabels, Counter>, signal: Signal| {
            let labels = SignalLabels { tenant: tenant.to_owned(), signal: signal.as_str() };
            family.get_or_create(&labels).clone()
        };
        Metrics {
            tenant: tenant.to_owned(),
            received: Signal::ALL.map(|signal| of_signal(&received, signal)),
            bytes: Signal::ALL.map(|signal| of_signal(&bytes, signal)),
            rejected,
            refused,
            unversioned,
            in_flight,
            waiting,
            backlog,
            backlog_seconds,
            connections,
            syslog: SyslogMetrics::new(registry),
            remote_write: RemoteWriteMetrics::new(registry),
        }
    }

    pub(crate) fn received(&self, signal: Signal, records: u64, bytes: u64) {
        self.received[signal as usize - 1].inc_by(records);
        self.bytes[signal as usize - 1].inc_by(bytes);
    }

    pub(crate) fn rejected(&self, signal: Signal, reason: &'static str, records: u64) {
        if records > 0 {
            let labels = RejectedLabels { tenant: self.tenant.clone(), signal: signal.as_str(), reason };
            self.rejected.get_or_create(&labels).inc_by(records);
        }
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    pub(crate) fn unversioned(&self, records: u64) {
        self.unversioned.inc_by(records);
    }

    pub(crate) fn pressure(&self, in_flight: usize, waiting: usize) {
        self.in_flight.set(in_flight as i64);
        self.waiting.set(waiting as i64);
    }

    pub(crate) fn backlog(&self, bytes: u64, seconds: f64) {
        self.backlog.set(bytes as i64);
        self.backlog_seconds.set(seconds);
    }

    pub(crate) fn connections(&self) -> &Gauge {
        &self.connections
    }

    pub(crate) fn syslog(&self) -> &SyslogMetrics {
        &self.syslog
    }

    pub(crate) fn remote_write(&self) -> &RemoteWriteMetrics {
        &self.remote_write
    }
}
