//! What the judge counts about itself, and the verdicts as numbers.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use shipwake_verdict::Word;

use crate::board::Board;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReleaseLabels {
    service: String,
    namespace: String,
    env: String,
    candidate: String,
    baseline: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
    namespace: String,
    env: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    false_alarms: Family<ServiceLabels, Gauge<f64, AtomicU64>>,
    false_alarms_below: Family<ServiceLabels, Gauge<f64, AtomicU64>>,
    fake_releases: Family<ServiceLabels, Gauge>,
    doubling_found: Family<ServiceLabels, Gauge<f64, AtomicU64>>,
    doubling_seconds: Family<ServiceLabels, Gauge>,
    dispersion_floor: Family<ServiceLabels, Gauge<f64, AtomicU64>>,
    verdict: Family<ReleaseLabels, Gauge>,
    looks: Counter,
    look_seconds: Histogram,
    open: Gauge,
    unjudged: Gauge,
    changes: Counter,
    state_bytes: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub fn new(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            false_alarms: Family::default(),
            false_alarms_below: Family::default(),
            fake_releases: Family::default(),
            doubling_found: Family::default(),
            doubling_seconds: Family::default(),
            dispersion_floor: Family::default(),
            verdict: Family::default(),
            looks: Counter::default(),
            look_seconds: Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
            open: Gauge::default(),
            unjudged: Gauge::default(),
            changes: Counter::default(),
            state_bytes: Gauge::default(),
        };
        registry.register(
            "shipwake_verdict",
            "The verdict on a release that is judged: 1 go, 0 watch or wait, -1 no go",
            metrics.verdict.clone(),
        );
        registry.register(
            "shipwake_false_alarm_rate",
            "Part of the fake releases of a service (slots of its stable version) that would have been called no go",
            metrics.false_alarms.clone(),
        );
        registry.register(
            "shipwake_false_alarm_rate_below",
            "Below this the rate lies, with a confidence of 95 % if fake releases were independent",
            metrics.false_alarms_below.clone(),
        );
        registry.register(
            "shipwake_fake_releases",
            "Fake releases that were judged since the start",
            metrics.fake_releases.clone(),
        );
        registry.register(
            "shipwake_doubling_found_ratio",
            "Part of the fake releases of the last day with twice the errors that would have been called no go while they lasted",
            metrics.doubling_found.clone(),
        );
        registry.register(
            "shipwake_doubling_found_seconds",
            "Within so many seconds 95 % of those would have been; absent when fewer were",
            metrics.doubling_seconds.clone(),
        );
        registry.register(
            "shipwake_dispersion_floor",
            "Noise that a service is taken to have at least, because with less it had more false alarms than the budget allows",
            metrics.dispersion_floor.clone(),
        );
        registry.register("shipwake_verdict_looks", "Looks of the judge", metrics.looks.clone());
        registry.register("shipwake_verdict_look_seconds", "What a look takes", metrics.look_seconds.clone());
        registry.register("shipwake_open_releases", "Releases that are judged", metrics.open.clone());
        registry.register(
            "shipwake_unjudged_releases",
            "Open releases that wait until fewer are judged",
            metrics.unjudged.clone(),
        );
        registry.register("shipwake_verdict_changes", "Changes of a verdict, and endings", metrics.changes.clone());
        registry.register("shipwake_verdict_state_bytes", "Size of what the judge keeps", metrics.state_bytes.clone());
        metrics
    }

    pub fn looked(&self, seconds: f64, open: usize, unjudged: usize, changes: usize) {
        self.looks.inc();
        self.look_seconds.observe(seconds);
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.unjudged.set(i64::try_from(unjudged).unwrap_or(i64::MAX));
        self.changes.inc_by(changes as u64);
    }

    pub fn kept(&self, bytes: usize) {
        self.state_bytes.set(bytes as u64);
    }

    /// What came of fake releases.
    pub fn audited(&self, board: &Board) {
        let Metrics { false_alarms, false_alarms_below, doubling_found, dispersion_floor, .. } = self;
        for gauge in [false_alarms, false_alarms_below, doubling_found, dispersion_floor] {
            gauge.clear();
        }
        self.fake_releases.clear();
        self.doubling_seconds.clear();
        for ((namespace, service, environment), told) in board.audits.iter() {
            let labels = ServiceLabels {
                service: service.to_string(),
                namespace: namespace.to_string(),
                env: environment.to_string(),
            };
            false_alarms.get_or_create(&labels).set(told.rate);
            false_alarms_below.get_or_create(&labels).set(told.rate_below);
            self.fake_releases.get_or_create(&labels).set(told.releases.into());
            if told.doubled > 0 {
                doubling_found.get_or_create(&labels).set(f64::from(told.doubled_found) / f64::from(told.doubled));
            }
            if let Some(within_s) = told.found_within_s {
                self.doubling_seconds.get_or_create(&labels).set(within_s);
            }
            if let Some(floor) = told.dispersion_floor {
                dispersion_floor.get_or_create(&labels).set(floor);
            }
        }
    }

    /// The verdicts of a board; what is on it no more is forgotten.
    pub fn show(&self, board: &Board) {
        self.verdict.clear();
        for judged in board.releases.iter().filter(|judged| judged.ending.is_none()) {
            let labels = ReleaseLabels {
                service: judged.release.service.to_string(),
                namespace: judged.release.namespace.to_string(),
                env: judged.release.environment.to_string(),
                candidate: judged.release.version.to_string(),
                baseline: judged.baseline.as_deref().unwrap_or("").to_owned(),
            };
            self.verdict.get_or_create(&labels).set(match judged.verdict.word {
                Word::Go => 1,
                Word::NoGo => -1,
                Word::Watch | Word::Wait => 0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::boards::{Release, board_of};

    #[test]
    fn services_of_the_same_name_in_two_namespaces_have_a_value_each() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        metrics.show(&board_of(vec![
            Release::new("cart", "2").namespace("team-a"),
            Release::new("cart", "2").namespace("team-b").word(Word::NoGo),
        ]));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        for (namespace, value) in [("team-a", 0), ("team-b", -1)] {
            let line = format!(
                "shipwake_verdict{{service=\"cart\",namespace=\"{namespace}\",env=\"production\",candidate=\"2\",baseline=\"2.13.4\"}} {value}"
            );
            assert!(text.contains(&line), "{text}");
        }
    }
}
