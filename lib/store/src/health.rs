//! Requests, errors and durations by release and time, as the pages ask for them, merged over shards.
//!
//! Pure. A shard holds only some instances of a release, so cells of the same series and time are added.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use shipwake_model::sketch::HdrCells;
use shipwake_model::{ReleaseId, Source};

/// Which cells a reader wants. `None` means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthQuery {
    /// The service.
    pub service: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// Start of the first cell, ms, included.
    pub from_ms: i64,
    /// End, ms, excluded.
    pub to_ms: i64,
    /// Length of a cell in seconds: at least 1; from 10 on a multiple of 10.
    pub step_s: u32,
    /// Whether cells are kept apart by route.
    pub by_route: bool,
}

/// The cells of one release, from one source.
#[derive(Clone, Debug)]
pub struct HealthSeries {
    /// The release.
    pub release: Arc<ReleaseId>,
    /// What the cells were derived from.
    pub source: Source,
    /// The route, or empty unless asked by route.
    pub route: Arc<str>,
    /// The cells that have data, sorted by time.
    pub cells: Vec<HealthCell>,
}

/// One release, source, route and step of time.
#[derive(Clone, Debug)]
pub struct HealthCell {
    /// Start, ms.
    pub t_ms: i64,
    /// Requests.
    pub requests: u64,
    /// Of these, errors.
    pub errors: u64,
    /// Durations of requests, in microseconds.
    pub duration: HdrCells,
    /// Replicate slots that sent something: bit n is slot n.
    pub slots: u8,
}

/// The cells of one release, from one source, by replicate slot: what the noise of a release is learnt from.
#[derive(Clone, Debug)]
pub struct SlotSeries {
    /// The release.
    pub release: Arc<ReleaseId>,
    /// What the cells were derived from.
    pub source: Source,
    /// The replicate slot.
    pub slot: u8,
    /// The cells that have data, of ten seconds each, sorted by time.
    pub cells: Vec<HealthCell>,
}

/// Adds up what the shards answered by slot. Series come out in the order of release, source and slot.
pub fn merge_slots(answers: impl IntoIterator<Item = Vec<SlotSeries>>) -> Vec<SlotSeries> {
    let mut merged: BTreeMap<(Arc<ReleaseId>, Source, u8), Vec<HealthCell>> = BTreeMap::new();
    for series in answers.into_iter().flatten() {
        let cells = merged.entry((series.release, series.source, series.slot)).or_default();
        *cells = merge_cells(std::mem::take(cells), series.cells);
    }
    let series = |((release, source, slot), cells)| SlotSeries { release, source, slot, cells };
    merged.into_iter().map(series).collect()
}

/// Adds up what the shards answered. Series come out in the order of release, source and route.
pub fn merge_health(answers: impl IntoIterator<Item = Vec<HealthSeries>>) -> Vec<HealthSeries> {
    let mut merged: Vec<HealthSeries> = Vec::new();
    let mut places: HashMap<(Arc<ReleaseId>, Source, Arc<str>), usize> = HashMap::new();
    for series in answers.into_iter().flatten() {
        let key = (series.release.clone(), series.source, series.route.clone());
        match places.get(&key) {
            Some(&place) => {
                let cells = std::mem::take(&mut merged[place].cells);
                merged[place].cells = merge_cells(cells, series.cells);
            }
            None => {
                places.insert(key, merged.len());
                merged.push(series);
            }
        }
    }
    merged.sort_by(|a, b| (&a.release, a.source, &a.route).cmp(&(&b.release, b.source, &b.route)));
    merged
}

fn merge_cells(left: Vec<HealthCell>, right: Vec<HealthCell>) -> Vec<HealthCell> {
    let mut cells: Vec<HealthCell> = Vec::with_capacity(left.len().max(right.len()));
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) if r.t_ms < l.t_ms => right.next(),
            (Some(_), _) => left.next(),
            (None, _) => right.next(),
        };
        let Some(cell) = next else { return cells };
        match cells.last_mut() {
            Some(last) if last.t_ms == cell.t_ms => last.add(&cell),
            _ => cells.push(cell),
        }
    }
}

impl HealthCell {
    /// Adds another cell of the same series and time.
    pub fn add(&mut self, other: &HealthCell) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.duration.merge(&other.duration);
        self.slots |= other.slots;
    }
}
