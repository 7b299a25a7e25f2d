//! Two distributions in the same bins, as they are drawn over each other. Pure.
//!
//! Bins are equally wide on a logarithmic axis, moved to edges of the cells that the durations are kept in: a request is never drawn
//! in a bin that it may not lie in.

use shipwake_model::sketch::HdrCells;

/// Bins for each factor of two, the finest that stays within `BINS_MAX`.
const PER_OCTAVE: [i32; 4] = [16, 8, 4, 2];
/// About a bin for every eight pixels of a chart.
const BINS_MAX: usize = 120;
/// Cells of the histograms for each factor of two, above the smallest values.
const CELLS_PER_OCTAVE: u64 = 128;

/// Bins with the counts of both sides. `edges` are in seconds, one more than there are counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bins {
    pub edges: Vec<f64>,
    pub a: Vec<u64>,
    pub b: Vec<u64>,
}

/// Puts both sides into bins.
pub(crate) fn bins(a: &HdrCells, b: &HdrCells) -> Bins {
    let cells = || a.iter().chain(b.iter());
    let Some(low) = cells().map(|(low, _, _)| low).min() else { return Bins::default() };
    let high = cells().map(|(_, high, _)| high).max().unwrap_or(low);
    let edges =
        PER_OCTAVE.iter().map(|per_octave| edges(low, high, *per_octave)).find(|edges| edges.len() <= BINS_MAX + 1);
    let edges = edges.unwrap_or_else(|| edges_of_last(low, high));
    let mut found = Bins { a: vec![0; edges.len() - 1], b: vec![0; edges.len() - 1], edges: Vec::new() };
    for (side, counts) in [(a, &mut found.a), (b, &mut found.b)] {
        for (low, _, count) in side.iter() {
            let bin = edges.partition_point(|edge| *edge <= low).saturating_sub(1);
            counts[bin.min(edges.len() - 2)] += count;
        }
    }
    found.edges = edges.into_iter().map(|us| us as f64 / 1e6).collect();
    found
}

fn edges_of_last(low: u64, high: u64) -> Vec<u64> {
    edges(low, high, 1)
}

/// Rising edges in microseconds, the first not above `low`, the last above `high`.
fn edges(low: u64, high: u64, per_octave: i32) -> Vec<u64> {
    let place = |us: u64| (us.max(1) as f64).log2() * f64::from(per_octave);
    let (first, last) = (place(low).floor() as i64, place(high + 1).ceil() as i64);
    let mut found: Vec<u64> = if low == 0 { vec![0] } else { Vec::new() };
    for step in first..=last {
        let edge = cell_start((step as f64 / f64::from(per_octave)).exp2().round() as u64);
        if found.last().is_none_or(|last| *last < edge) {
            found.push(edge);
        }
    }
    if let Some(start) = found.first_mut() {
        *start = (*start).min(low);
    }
    if found.last().is_none_or(|last| *last <= high) {
        found.push(high + 1);
    }
    if found.len() < 2 {
        found.insert(0, low);
    }
    found
}

/// Where the cell that holds a value begins.
fn cell_start(us: u64) -> u64 {
    let shift = (us / (2 * CELLS_PER_OCTAVE)).checked_ilog2().map_or(0, |octaves| octaves + 1);
    us >> shift << shift
}
