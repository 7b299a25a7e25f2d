//! The last hour of KPIs, usage and toggles, merged over slots, for the pages.
//!
//! As with requests, cells are added from every commit's deltas (and, after a restart, from stored windows); the newest
//! deltas are added when somebody asks. Bounded in bytes, oldest windows first.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::{ReleaseId, Sketch};
use shipwake_store::{MeasureCell, MeasureKey, MeasureQuery, MeasureSeries, merge_measures};

use crate::metric_cell::{MetricCell, Spread, Totals};
use crate::recent::TENS_KEPT_NS;
use crate::series::{Measure, MetricMeta};
use crate::windows::MetricWindows;

const NS_PER_MS: i64 = 1_000_000;

type Window = HashMap<Arc<MeasureKey>, MetricCell, ahash::RandomState>;

/// Cells of ten seconds.
#[derive(Debug)]
pub(crate) struct RecentMeasures {
    windows: BTreeMap<i64, Window>,
    /// One copy of each key.
    keys: HashMap<Arc<MeasureKey>, (), ahash::RandomState>,
    bytes: usize,
    bytes_max: usize,
}

impl RecentMeasures {
    pub(crate) fn new(bytes_max: usize) -> Self {
        RecentMeasures { windows: BTreeMap::new(), keys: HashMap::default(), bytes: 0, bytes_max }
    }

    /// Adds what a commit takes out of the windows.
    pub(crate) fn add_windows(&mut self, windows: &MetricWindows, metas: &[Arc<MetricMeta>]) {
        for (start_ns, series, cell) in windows.iter() {
            self.add(start_ns, key_of(&metas[series as usize]), cell);
        }
    }

    /// Adds to a cell.
    pub(crate) fn add(&mut self, start_ns: i64, key: MeasureKey, cell: &MetricCell) {
        let key = match self.keys.get_key_value(&key) {
            Some((key, ())) => key.clone(),
            None => {
                let key = Arc::new(key);
                self.keys.insert(key.clone(), ());
                key
            }
        };
        self.windows.entry(start_ns).or_default().entry(key).or_default().merge(cell);
    }

    /// Drops what is too old at `newest_ns`, or beyond the bound in bytes.
    pub(crate) fn prune(&mut self, newest_ns: i64) {
        self.windows = self.windows.split_off(&newest_ns.saturating_sub(TENS_KEPT_NS));
        self.bytes = self.windows.values().map(bytes_of).sum();
        while self.bytes > self.bytes_max {
            let Some((_, window)) = self.windows.pop_first() else { break };
            self.bytes -= bytes_of(&window);
        }
        self.keys.retain(|key, ()| Arc::strong_count(key) > 1);
    }

    /// Bytes at the last [`RecentMeasures::prune`].
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.keys.len() * size_of::<MeasureKey>()
    }

    /// What a page asks for, from the kept cells and `fresh`, which is not among them yet.
    pub(crate) fn measures(
        &self,
        query: &MeasureQuery,
        fresh: &MetricWindows,
        metas: &[Arc<MetricMeta>],
    ) -> Vec<MeasureSeries> {
        let range = query.from_ms.saturating_mul(NS_PER_MS)..query.to_ms.max(query.from_ms).saturating_mul(NS_PER_MS);
        let mut found = Vec::new();
        for (start_ns, window) in self.windows.range(range.clone()) {
            for (key, cell) in window.iter().filter(|(key, _)| query.asks_for(key.signal, &key.release)) {
                found.extend(series_of(key.clone(), *start_ns, cell, query));
            }
        }
        let mut keys: HashMap<u32, Arc<MeasureKey>> = HashMap::new();
        for (start_ns, series, cell) in fresh.iter().filter(|(start_ns, ..)| range.contains(start_ns)) {
            let meta = &metas[series as usize];
            if query.asks_for(meta.measure.as_str(), &meta.release) {
                let key = keys.entry(series).or_insert_with(|| Arc::new(key_of(meta)));
                found.extend(series_of(key.clone(), start_ns, cell, query));
            }
        }
        merge_measures(found)
    }
}

fn key_of(meta: &MetricMeta) -> MeasureKey {
    MeasureKey {
        release: meta.release.clone(),
        signal: meta.measure.as_str(),
        metric: meta.metric.clone(),
        unit: meta.unit.clone(),
        attributes: meta.attributes.clone(),
    }
}

/// The key of a stored row, if pages show rows of its signal.
pub(crate) fn stored_key(
    release: &Arc<ReleaseId>,
    signal: &str,
    metric: &str,
    unit: &str,
    attributes: Vec<(String, String)>,
) -> Option<MeasureKey> {
    let shown = [Measure::Kpi, Measure::Usage, Measure::Toggle];
    let signal = shown.iter().map(|measure| measure.as_str()).find(|word| *word == signal)?;
    Some(MeasureKey { release: release.clone(), signal, metric: metric.into(), unit: unit.into(), attributes })
}

/// A cell from a stored row.
pub(crate) fn stored_cell(count: u64, sum: f64, sketch: Option<Sketch>) -> MetricCell {
    let mut cell = MetricCell::default();
    // The pages show neither the smallest nor the largest.
    let totals = Totals { count, sum, min: sum, max: sum };
    match sketch {
        Some(Sketch::Exponential(values)) => cell = MetricCell::Spread(Box::new(Spread { totals, values })),
        Some(sketch) => cell.add_sketch(&sketch),
        None => cell.add_totals(&totals),
    }
    cell
}

fn series_of(key: Arc<MeasureKey>, start_ns: i64, cell: &MetricCell, query: &MeasureQuery) -> Option<MeasureSeries> {
    let step_ms = i64::from(query.step_s.max(10)) * 1_000;
    let t_ms = start_ns.div_euclid(NS_PER_MS).div_euclid(step_ms) * step_ms;
    let distinct = super::usage::distinct_of(cell).cloned();
    let (count, sum) = match (&distinct, cell.totals()) {
        (None, Some(totals)) => (totals.count, totals.sum),
        (None, None) => return None,
        (Some(_), _) => (0, 0.0),
    };
    let values = match cell {
        MetricCell::Spread(spread) if query.values.contains(&key.signal) => Some(spread.values.clone()),
        _ => None,
    };
    Some(MeasureSeries { key, cells: vec![MeasureCell { t_ms, count, sum, distinct, values }] })
}

fn bytes_of(window: &Window) -> usize {
    let cells: usize = window.values().map(MetricCell::heap_bytes).sum();
    window.capacity() * (size_of::<(Arc<MeasureKey>, MetricCell)>() + 1) + cells
}
