//! The cells of one version of a service on a grid of time.
//!
//! A service is shown from one source: the best one (in the order of [`Source`]) that counted a request in the range.
//! Versions are therefore compared by the same measure, also while one of them sends more than the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipwake_model::Source;
use shipwake_model::sketch::HdrCells;
use shipwake_store::{HealthCell, HealthSeries, ReleaseRow};

/// The grid: windows of `step_ms` from `from_ms` (a multiple of the step), and how far the data has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Start of the first window.
    pub from_ms: i64,
    /// End of the range, excluded.
    pub to_ms: i64,
    /// Length of a window.
    pub step_ms: i64,
    /// Everything up to this event time has been folded, as far as is known.
    pub watermark_ms: i64,
}

impl Grid {
    /// The windows' starts. Windows that have not begun yet by the watermark are left out.
    pub fn starts(&self) -> Vec<i64> {
        let end = self.to_ms.min(self.watermark_ms.saturating_add(1));
        (0..).map(|n| self.from_ms + n * self.step_ms).take_while(|start| *start < end).collect()
    }

    /// The window of a time, or `None` outside the range.
    pub fn index(&self, t_ms: i64) -> Option<usize> {
        if t_ms < self.from_ms || t_ms >= self.to_ms {
            return None;
        }
        usize::try_from((t_ms - self.from_ms) / self.step_ms).ok()
    }

    /// How much of the window from `start_ms` has passed by the watermark, in seconds.
    pub fn elapsed_s(&self, start_ms: i64) -> f64 {
        (self.watermark_ms - start_ms).clamp(0, self.step_ms) as f64 / 1_000.0
    }
}

/// One window of one version.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub requests: u64,
    pub errors: u64,
    /// Microseconds.
    pub duration: HdrCells,
    pub slots: u8,
}

impl Cell {
    pub fn add(&mut self, other: &Cell) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.duration.merge(&other.duration);
        self.slots |= other.slots;
    }

    fn add_stored(&mut self, other: &HealthCell) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.duration.merge(&other.duration);
        self.slots |= other.slots;
    }
}

/// The error ratio of counts; `None` without requests: no data is not zero.
pub(crate) fn error_ratio(requests: u64, errors: u64) -> Option<f64> {
    (requests > 0).then(|| errors as f64 / requests as f64)
}

/// A quantile in seconds; `None` without durations.
pub(crate) fn quantile_s(duration: &HdrCells, q: f64) -> Option<f64> {
    duration.quantile(q).map(|us| us as f64 / 1e6)
}

/// A version of a service in the range.
#[derive(Clone, Debug)]
pub(crate) struct VersionLine {
    pub version: Arc<str>,
    /// When the release was first seen at all, ms. `None` when only its cells are known.
    pub first_seen_ms: Option<i64>,
    pub last_seen_ms: Option<i64>,
    /// Instances seen in the last minutes.
    pub instances: Option<u32>,
    /// One cell a window of the grid.
    pub cells: Vec<Cell>,
}

impl VersionLine {
    /// Requests in the range.
    pub fn requests(&self) -> u64 {
        self.cells.iter().map(|cell| cell.requests).sum()
    }

    /// The first window with a request.
    pub fn first_traffic(&self) -> Option<usize> {
        self.cells.iter().position(|cell| cell.requests > 0)
    }

    /// The last window with a request.
    pub fn last_traffic(&self) -> Option<usize> {
        self.cells.iter().rposition(|cell| cell.requests > 0)
    }

    /// All cells of a range of windows together.
    pub fn total(&self, windows: std::ops::Range<usize>) -> Cell {
        let mut total = Cell::default();
        for cell in &self.cells[windows.start.min(self.cells.len())..windows.end.min(self.cells.len())] {
            total.add(cell);
        }
        total
    }
}

/// The source to show: the best that counted a request.
pub(crate) fn source_in_use<'a>(series: impl IntoIterator<Item = &'a HealthSeries>) -> Option<Source> {
    series
        .into_iter()
        .filter(|series| series.cells.iter().any(|cell| cell.requests > 0))
        .map(|series| series.source)
        .min()
}

/// The versions of one service and environment, oldest release first. `series` and `releases` are of that service only;
/// series of other sources than `source` are left out. Namespaces are added up.
pub(crate) fn version_lines<'a>(
    series: impl IntoIterator<Item = &'a HealthSeries>,
    releases: &[ReleaseRow],
    source: Option<Source>,
    grid: &Grid,
) -> Vec<VersionLine> {
    let windows = grid.starts().len();
    let mut lines: BTreeMap<Arc<str>, VersionLine> = BTreeMap::new();
    for series in series.into_iter().filter(|series| Some(series.source) == source) {
        let version = &series.release.version;
        let line = lines.entry(version.clone()).or_insert_with(|| empty_line(version.clone(), windows));
        for cell in &series.cells {
            if let Some(window) = grid.index(cell.t_ms).filter(|window| *window < windows) {
                line.cells[window].add_stored(cell);
            }
        }
    }
    for row in releases {
        let version = &row.release.version;
        let line = lines.entry(version.clone()).or_insert_with(|| empty_line(version.clone(), windows));
        let (first, last) = (row.first_seen_ns.div_euclid(1_000_000), row.last_seen_ns.div_euclid(1_000_000));
        line.first_seen_ms = Some(line.first_seen_ms.map_or(first, |seen| seen.min(first)));
        line.last_seen_ms = Some(line.last_seen_ms.map_or(last, |seen| seen.max(last)));
        line.instances = Some(line.instances.unwrap_or(0) + row.instances);
    }
    let mut lines: Vec<VersionLine> = lines.into_values().collect();
    lines.sort_by_key(|line| (arrival_ms(line, grid), line.version.clone()));
    lines
}

/// When the version arrived: when its release was first seen, else its first traffic in the range.
pub(crate) fn arrival_ms(line: &VersionLine, grid: &Grid) -> i64 {
    let traffic_ms = line.first_traffic().map(|window| grid.from_ms + window as i64 * grid.step_ms);
    line.first_seen_ms.or(traffic_ms).unwrap_or(i64::MAX)
}

fn empty_line(version: Arc<str>, windows: usize) -> VersionLine {
    VersionLine {
        version,
        first_seen_ms: None,
        last_seen_ms: None,
        instances: None,
        cells: vec![Cell::default(); windows],
    }
}
