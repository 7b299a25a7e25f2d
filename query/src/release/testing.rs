//! Versions made of a few numbers, for the tables of cases in this folder.

use crate::release::timeline::{Cell, Grid, VersionLine};

/// 2026-11-23T14:00:00Z.
pub(crate) const T0: i64 = 1_795_442_400_000;

/// A grid of ten-second windows from [`T0`], all of them complete.
pub(crate) fn grid(windows: usize) -> Grid {
    let to_ms = T0 + windows as i64 * 10_000;
    Grid { from_ms: T0, to_ms, step_ms: 10_000, watermark_ms: to_ms }
}

/// A cell with all durations equal.
pub(crate) fn cell(requests: u64, errors: u64, duration_us: u64) -> Cell {
    let mut cell = Cell { requests, errors, slots: 1, ..Cell::default() };
    cell.duration.record_n(duration_us, requests);
    cell
}

/// A cell with durations spread evenly over `low_us..high_us`.
pub(crate) fn spread_cell(requests: u64, errors: u64, low_us: u64, high_us: u64) -> Cell {
    let mut cell = Cell { requests, errors, slots: 1, ..Cell::default() };
    for n in 0..requests {
        cell.duration.record(low_us + (high_us - low_us) * n / requests);
    }
    cell
}

/// A version first seen `seen_window` windows after [`T0`] (before it when negative).
pub(crate) fn line(version: &str, seen_window: i64, cells: Vec<Cell>) -> VersionLine {
    VersionLine {
        version: version.into(),
        first_seen_ms: Some(T0 + seen_window * 10_000),
        last_seen_ms: None,
        instances: Some(1),
        cells,
    }
}

/// A version with these requests a window, no errors, 100 ms each.
pub(crate) fn traffic(version: &str, seen_window: i64, requests: &[u64]) -> VersionLine {
    line(version, seen_window, requests.iter().map(|n| cell(*n, 0, 100_000)).collect())
}
