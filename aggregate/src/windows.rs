//! Where a window is folded: what was added to each series in each window of event time since the last commit.
//!
//! Everything here is a commutative monoid, so a late record is one more addition and nothing is ever taken back. Requests
//! are folded at one second (by release and slot) and at ten (by route too), metrics at ten; a minute and an hour are
//! added up from the tens when rows are made. A commit takes all cells out and writes them as partial rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use shipwake_model::{Resolution, Sketch};

use crate::cells::{Cell, FullCell};
use crate::metric_cell::{MetricCell, Totals};
use crate::paged::Paged;
use crate::series::{HealthMeta, MetricMeta};
use crate::watermark::Watermark;

/// Requests, errors and durations at one resolution.
#[derive(Clone, Debug)]
pub struct HealthWindows {
    resolution: Resolution,
    windows: BTreeMap<i64, HealthWindow>,
}

#[derive(Clone, Debug, Default)]
struct HealthWindow {
    cells: Paged<Cell>,
    arena: Vec<FullCell>,
}

impl HealthWindows {
    /// No windows yet.
    pub fn new(resolution: Resolution) -> Self {
        HealthWindows { resolution, windows: BTreeMap::new() }
    }

    /// The length of the windows.
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Folds a request with a duration.
    #[inline]
    pub fn observe(&mut self, series: u32, time_ns: i64, duration_us: u64, error: bool) {
        let HealthWindow { cells, arena } = self.window(time_ns);
        cells.entry(series).observe(arena, duration_us, error);
    }

    /// Folds requests without durations.
    #[inline]
    pub fn count(&mut self, series: u32, time_ns: i64, requests: u64, errors: u64) {
        let HealthWindow { cells, arena } = self.window(time_ns);
        cells.entry(series).count(arena, requests, errors);
    }

    /// Folds requests whose durations are already a histogram.
    pub fn merge(&mut self, series: u32, time_ns: i64, more: &FullCell) {
        let HealthWindow { cells, arena } = self.window(time_ns);
        cells.entry(series).merge(arena, more);
    }

    /// All cells: window start, series, content.
    pub fn iter(&self) -> impl Iterator<Item = (i64, u32, FullCell)> + '_ {
        self.windows.iter().flat_map(|(start_ns, window)| {
            window.cells.iter().map(|(series, cell)| (*start_ns, series, cell.expand(&window.arena)))
        })
    }

    /// The cells of windows that begin in `range_ns`, of series that are wanted: nothing else is taken apart.
    pub fn iter_of(
        &self,
        range_ns: std::ops::Range<i64>,
        is_wanted: impl Fn(u32) -> bool,
    ) -> impl Iterator<Item = (i64, u32, FullCell)> {
        let mut found = Vec::new();
        for (start_ns, window) in self.windows.range(range_ns) {
            let wanted = window.cells.iter().filter(|(series, _)| is_wanted(*series));
            found.extend(wanted.map(|(series, cell)| (*start_ns, series, cell.expand(&window.arena))));
        }
        found.into_iter()
    }

    /// The cells added up over longer windows. `resolution` is a multiple of this one's.
    pub fn rolled_up(&self, resolution: Resolution) -> BTreeMap<i64, HashMap<u32, FullCell, ahash::RandomState>> {
        let mut out: BTreeMap<i64, HashMap<u32, FullCell, ahash::RandomState>> = BTreeMap::new();
        for (start_ns, series, cell) in self.iter() {
            let window = out.entry(resolution.window_start_ns(start_ns)).or_default();
            match window.entry(series) {
                hashbrown::hash_map::Entry::Occupied(mut known) => known.get_mut().merge(&cell),
                hashbrown::hash_map::Entry::Vacant(place) => {
                    place.insert(cell);
                }
            }
        }
        out
    }

    /// How many cells there are, over all windows.
    pub fn len(&self) -> usize {
        self.windows.values().map(|window| window.cells.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let of_window = |window: &HealthWindow| {
            let full: usize = window.arena.iter().map(|cell| cell.duration.heap_bytes()).sum();
            window.cells.heap_bytes() + window.arena.capacity() * size_of::<FullCell>() + full
        };
        self.windows.values().map(of_window).sum()
    }

    #[inline]
    fn window(&mut self, time_ns: i64) -> &mut HealthWindow {
        self.windows.entry(self.resolution.window_start_ns(time_ns)).or_default()
    }
}

/// Metrics at ten seconds.
#[derive(Clone, Debug, Default)]
pub struct MetricWindows {
    windows: BTreeMap<i64, Paged<MetricCell>>,
}

impl MetricWindows {
    /// Folds a value.
    pub fn add(&mut self, series: u32, time_ns: i64, value: f64) {
        self.cell(series, time_ns).add(value);
    }

    /// Folds several values.
    pub fn add_totals(&mut self, series: u32, time_ns: i64, totals: &Totals) {
        self.cell(series, time_ns).add_totals(totals);
    }

    /// Folds a value, and keeps how values are distributed.
    pub fn add_spread(&mut self, series: u32, time_ns: i64, value: f64) {
        self.cell(series, time_ns).add_spread(value);
    }

    /// Takes note of a thing by its hash, in a window of distinct things.
    pub fn insert(&mut self, series: u32, time_ns: i64, hash: u64) {
        self.cell(series, time_ns).insert(hash);
    }

    /// All cells: window start, series, content.
    pub fn iter(&self) -> impl Iterator<Item = (i64, u32, &MetricCell)> {
        self.windows.iter().flat_map(|(start_ns, cells)| cells.iter().map(|(series, cell)| (*start_ns, series, cell)))
    }

    /// Folds a histogram.
    pub fn add_sketch(&mut self, series: u32, time_ns: i64, sketch: &Sketch) {
        self.cell(series, time_ns).add_sketch(sketch);
    }

    /// The cells added up over windows of `resolution`: window start, series, content.
    pub fn rolled_up(&self, resolution: Resolution) -> BTreeMap<i64, HashMap<u32, MetricCell, ahash::RandomState>> {
        let mut out: BTreeMap<i64, HashMap<u32, MetricCell, ahash::RandomState>> = BTreeMap::new();
        for (start_ns, cells) in &self.windows {
            let window = out.entry(resolution.window_start_ns(*start_ns)).or_default();
            for (series, cell) in cells.iter() {
                window.entry(series).or_default().merge(cell);
            }
        }
        out
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let of_window = |cells: &Paged<MetricCell>| {
            cells.heap_bytes() + cells.iter().map(|(_, cell)| cell.heap_bytes()).sum::<usize>()
        };
        self.windows.values().map(of_window).sum()
    }

    fn cell(&mut self, series: u32, time_ns: i64) -> &mut MetricCell {
        self.windows.entry(Resolution::S10.window_start_ns(time_ns)).or_default().entry(series)
    }
}

/// Everything that was folded since the last commit, with the meaning of its numbers: complete in itself, so that rows can
/// be made from it without the shard's lock.
#[derive(Clone, Debug)]
pub struct Deltas {
    /// Requests at one second, without routes.
    pub one: HealthWindows,
    /// Requests at ten seconds.
    pub ten: HealthWindows,
    /// Metrics at ten seconds.
    pub metrics: MetricWindows,
    /// Lines of log patterns at ten seconds: their times as seconds since 1970.
    pub lines: MetricWindows,
    /// KPIs, usage and toggles at ten seconds.
    pub product: MetricWindows,
    /// What the series of `one` and `ten` are.
    pub health_metas: Arc<Vec<Arc<HealthMeta>>>,
    /// What the series of `metrics`, `lines` and `product` are.
    pub metric_metas: Arc<Vec<Arc<MetricMeta>>>,
    /// Decides which windows are final.
    pub watermark: Watermark,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shipwake_model::window::NS_PER_S;

    proptest! {
        /// Random events, late and twice: windows of every length equal a map that adds them up one by one.
        #[test]
        fn windows_equal_a_map_of_sums(
            events in prop::collection::vec((0u32..40, 0i64..9_000, 0u64..2_000_000, any::<bool>()), 0..400)
        ) {
            let mut windows = HealthWindows::new(Resolution::S10);
            let resolutions = [Resolution::S10, Resolution::S60, Resolution::H1];
            let mut models: Vec<BTreeMap<(i64, u32), FullCell>> = vec![BTreeMap::new(); resolutions.len()];
            for (series, second, duration, error) in events {
                let time_ns = second * NS_PER_S + 5;
                windows.observe(series, time_ns, duration, error);
                for (resolution, model) in resolutions.iter().zip(&mut models) {
                    let cell = model.entry((resolution.window_start_ns(time_ns), series)).or_default();
                    cell.requests += 1;
                    cell.errors += u64::from(error);
                    cell.duration.record(duration);
                }
            }
            for (resolution, model) in resolutions.iter().zip(models) {
                let rolled: BTreeMap<(i64, u32), FullCell> = windows
                    .rolled_up(*resolution)
                    .into_iter()
                    .flat_map(|(start, cells)| cells.into_iter().map(move |(series, cell)| ((start, series), cell)))
                    .collect();
                prop_assert_eq!(rolled, model);
            }
        }
    }

    #[test]
    fn metric_cells_add_up_over_longer_windows() {
        let mut windows = MetricWindows::default();
        for (second, value) in [(1, 5.0), (12, -1.0), (12, 2.0), (61, 7.0)] {
            windows.add(3, second * NS_PER_S, value);
        }
        let minute = windows.rolled_up(Resolution::S60);
        let totals = minute[&0][&3].totals().unwrap();
        assert_eq!((totals.count, totals.sum, totals.min, totals.max), (3, 6.0, -1.0, 5.0));
        assert_eq!(minute[&(60 * NS_PER_S)][&3].totals().unwrap().sum, 7.0);
    }
}
