//! The series of a shard: small numbers for what windows are keyed by, and what the numbers stand for.
//!
//! Bounded. Beyond the bound of a metric its further series fold into one with the attribute `__overflow__`; beyond the
//! bound of the shard whole metrics fold into one of that name. Series that are already known stay exact. Numbers hold
//! from one [`Series::clear`] to the next; whoever keeps one compares the generation.

use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::{ReleaseId, Source};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::releases::OVERFLOW;
use crate::routes::Routes;

/// What a series of requests, errors and durations is keyed by, in numbers of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HealthKey {
    /// Number of the release.
    pub release: u32,
    /// Number of the route.
    pub route: u32,
    /// Replicate slot.
    pub slot: u8,
    /// Source.
    pub source: Source,
}

/// What a number of a health series stands for.
#[derive(Debug)]
pub struct HealthMeta {
    /// The release.
    pub release: Arc<ReleaseId>,
    /// The source.
    pub source: Source,
    /// The route, or empty.
    pub route: Arc<str>,
    /// The replicate slot.
    pub slot: u8,
}

/// What a series that is not of requests measures: the column `signal` of its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// A metric as its sender named it.
    Metric,
    /// A business figure that was declared, or arrived as an event.
    Kpi,
    /// A log pattern: `metric` is its id.
    Pattern,
    /// Distinct users or sessions.
    Usage,
    /// Evaluations of a toggle, and requests that saw them: `metric` is its key.
    Toggle,
}

impl Measure {
    /// The word in the column `signal`.
    pub fn as_str(self) -> &'static str {
        match self {
            Measure::Metric => "metric",
            Measure::Kpi => "kpi",
            Measure::Pattern => "pattern",
            Measure::Usage => "usage",
            Measure::Toggle => "toggle",
        }
    }
}

/// How the points of a metric add up in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricForm {
    /// A level: count, sum, minimum and maximum of the values seen.
    Level,
    /// Something that adds up: the sum of the increases.
    Increase,
    /// A histogram with explicit bounds.
    Explicit,
    /// An exponential histogram.
    Exponential,
    /// A distinct count.
    Distinct,
}

/// What a number of a metric series stands for.
#[derive(Debug)]
pub struct MetricMeta {
    /// The release.
    pub release: Arc<ReleaseId>,
    /// What it measures.
    pub measure: Measure,
    /// What it was derived from.
    pub source: Source,
    /// Name of the metric.
    pub metric: Arc<str>,
    /// Unit of the metric.
    pub unit: Arc<str>,
    /// The attributes that tell series of the metric apart, sorted by key.
    pub attributes: Vec<(String, String)>,
    /// The replicate slot.
    pub slot: u8,
    /// How its points add up.
    pub form: MetricForm,
}

/// Numbers for keys, and their meanings in a list that readers share without copying.
#[derive(Debug)]
struct Interner<K, M> {
    numbers: HashMap<K, u32, ahash::RandomState>,
    metas: Arc<Vec<Arc<M>>>,
}

/// All series of a shard.
#[derive(Debug)]
pub struct Series {
    health: Interner<HealthKey, HealthMeta>,
    metrics: Interner<u128, MetricMeta>,
    per_metric: HashMap<u64, usize, ahash::RandomState>,
    series_max: usize,
    per_metric_max: usize,
    generation: u32,
}

impl<K: std::hash::Hash + Eq, M> Interner<K, M> {
    fn new() -> Self {
        Interner { numbers: HashMap::default(), metas: Arc::default() }
    }

    fn add(&mut self, key: K, meta: M) -> u32 {
        let number = self.metas.len() as u32;
        // Copies the list if a reader still holds it, which happens at most once per reader.
        Arc::make_mut(&mut self.metas).push(Arc::new(meta));
        self.numbers.insert(key, number);
        number
    }
}

impl Series {
    /// No series yet.
    pub fn new(series_max: usize, per_metric_max: usize) -> Self {
        Series {
            health: Interner::new(),
            metrics: Interner::new(),
            per_metric: HashMap::default(),
            series_max,
            per_metric_max,
            generation: 0,
        }
    }

    /// The number of a health series, and whether it was beyond the bound: then it is that of the route `__other__`.
    #[inline]
    pub fn health(&mut self, key: HealthKey, meta: impl FnOnce(HealthKey) -> HealthMeta) -> (u32, bool) {
        if let Some(number) = self.health.numbers.get(&key) {
            return (*number, false);
        }
        // Routes apart, series of health are bounded by the number of releases.
        let overflow = self.len() >= self.series_max && key.route > Routes::OTHER;
        let key = if overflow { HealthKey { route: Routes::OTHER, ..key } } else { key };
        if let Some(number) = self.health.numbers.get(&key) {
            return (*number, overflow);
        }
        (self.health.add(key, meta(key)), overflow)
    }

    /// The number of a metric series, and whether it was beyond a bound.
    pub fn metric(&mut self, release: u32, meta: MetricMeta) -> (u32, bool) {
        let key = metric_key(release, &meta);
        if let Some(number) = self.metrics.numbers.get(&key) {
            return (*number, false);
        }
        let metric = xxh3_64(meta.metric.as_bytes());
        let of_metric = self.per_metric.get(&metric).copied().unwrap_or(0);
        let full = self.len() >= self.series_max;
        if !full && of_metric < self.per_metric_max {
            *self.per_metric.entry(metric).or_insert(0) += 1;
            return (self.metrics.add(key, meta), false);
        }
        let attributes = vec![(OVERFLOW.to_owned(), "true".to_owned())];
        let metric = if full && of_metric == 0 { OVERFLOW.into() } else { meta.metric.clone() };
        let meta = MetricMeta { metric, attributes, ..meta };
        let key = metric_key(release, &meta);
        match self.metrics.numbers.get(&key) {
            Some(number) => (*number, true),
            None => (self.metrics.add(key, meta), true),
        }
    }

    /// What the numbers of health series stand for.
    pub fn health_metas(&self) -> Arc<Vec<Arc<HealthMeta>>> {
        self.health.metas.clone()
    }

    /// What the numbers of metric series stand for.
    pub fn metric_metas(&self) -> Arc<Vec<Arc<MetricMeta>>> {
        self.metrics.metas.clone()
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.health.metas.len() + self.metrics.metas.len()
    }

    /// Numbers hold while this stays the same.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Forgets all series. Only when no window refers to one.
    pub fn clear(&mut self) {
        let generation = self.generation.wrapping_add(1);
        *self = Series { generation, ..Series::new(self.series_max, self.per_metric_max) };
    }

    /// Estimated bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        /// A meta with its counts and pointers.
        const META_BYTES: usize = 96;
        let attributes: usize = self.metrics.metas.iter().map(|meta| meta.attributes.len() * 80).sum();
        self.health.numbers.capacity() * (size_of::<(HealthKey, u32)>() + 1)
            + self.metrics.numbers.capacity() * (size_of::<(u128, u32)>() + 1)
            + self.len() * META_BYTES
            + attributes
    }
}

fn metric_key(release: u32, meta: &MetricMeta) -> u128 {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend_from_slice(&release.to_le_bytes());
    bytes.extend_from_slice(&[meta.measure as u8, meta.source as u8, meta.slot, meta.form as u8]);
    for text in [&*meta.metric, &*meta.unit] {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0xff);
    }
    for (key, value) in &meta.attributes {
        bytes.extend_from_slice(key.as_bytes());
        bytes.push(0xff);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0xff);
    }
    xxh3_128(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(metric: &str, value: usize) -> MetricMeta {
        let text: Arc<str> = "x".into();
        let release =
            ReleaseId { service: text.clone(), namespace: text.clone(), environment: text.clone(), version: text };
        MetricMeta {
            release: Arc::new(release),
            measure: Measure::Metric,
            source: Source::Metrics,
            metric: metric.into(),
            unit: "1".into(),
            attributes: vec![("user".to_owned(), value.to_string())],
            slot: 0,
            form: MetricForm::Level,
        }
    }

    #[test]
    fn a_metric_beyond_its_bound_overflows_and_others_stay_exact() {
        let mut series = Series::new(1000, 10);
        let quiet = series.metric(0, meta("quiet", 1));
        let overflowed = (0..500).filter(|n| series.metric(0, meta("noisy", *n)).1).count();
        assert_eq!(overflowed, 490);
        assert_eq!(series.len(), 12);
        assert_eq!(series.metric(0, meta("quiet", 1)), quiet);
        assert!(!series.metric(0, meta("quiet", 2)).1);
        let overflow = series.metric(0, meta("noisy", 900)).0;
        assert_eq!(series.metric_metas()[overflow as usize].attributes, [(OVERFLOW.to_owned(), "true".to_owned())]);
    }

    #[test]
    fn a_full_shard_folds_new_metrics_together() {
        let mut series = Series::new(5, 10);
        for n in 0..100 {
            series.metric(0, meta(&format!("m{n}"), 0));
        }
        assert_eq!(series.len(), 6);
        assert!(series.metric_metas().iter().any(|meta| &*meta.metric == OVERFLOW));
    }
}
