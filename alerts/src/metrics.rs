//! What the notifier counts about itself, under the names that operators rely on.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::outbox::Event;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    receiver: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReceiverLabels {
    receiver: String,
}

/// The counters. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    notifications: Family<ResultLabels, Counter>,
    owed: Family<ReceiverLabels, Gauge>,
    oldest_s: Family<ReceiverLabels, Gauge<f64, AtomicU64>>,
    failing: Family<ReceiverLabels, Gauge>,
    commits: Counter,
    commit_failures: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        registry.register(
            "shipwake_notifications",
            "What became of attempts and notifications: delivered, failed and busy (tried again), rejected, gone, merged, handed_on, expired, dropped",
            metrics.notifications.clone(),
        );
        registry.register(
            "shipwake_notifications_owed",
            "Notifications that are still to be delivered",
            metrics.owed.clone(),
        );
        registry.register(
            "shipwake_notifications_oldest_seconds",
            "Age of the oldest notification that is still to be delivered",
            metrics.oldest_s.clone(),
        );
        registry.register(
            "shipwake_notifications_receiver_failing",
            "1 while nothing goes through to the receiver",
            metrics.failing.clone(),
        );
        registry.register("shipwake_notifications_commits", "Commits of the outbox", metrics.commits.clone());
        registry.register(
            "shipwake_notifications_commit_failures",
            "Commits of the outbox that failed",
            metrics.commit_failures.clone(),
        );
        metrics
    }

    pub(crate) fn happened(&self, events: &[Event]) {
        for Event { receiver, result } in events {
            let labels = ResultLabels { receiver: receiver.to_string(), result: result.as_str() };
            self.notifications.get_or_create(&labels).inc();
        }
    }

    pub(crate) fn committed(&self, is_done: bool) {
        if is_done {
            self.commits.inc()
        } else {
            self.commit_failures.inc()
        };
    }

    pub(crate) fn receiver(&self, name: &Arc<str>, owed: usize, oldest_ms: Option<i64>, is_failing: bool) {
        let labels = ReceiverLabels { receiver: name.to_string() };
        self.owed.get_or_create(&labels).set(owed as i64);
        self.oldest_s.get_or_create(&labels).set(oldest_ms.unwrap_or(0).max(0) as f64 / 1_000.0);
        self.failing.get_or_create(&labels).set(is_failing.into());
    }
}
