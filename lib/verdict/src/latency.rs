//! Durations as counts: requests slower than thresholds that were frozen before the candidate came.
//!
//! The thresholds are the baseline's p50, p90 and p99 of its last half hour, moved to an edge of a bucket, so that no
//! interpolation enters the test. Edges are taken from a coarse grid (eight for each factor of two: OTLP's scale 3) that
//! survives when an exponential histogram is made coarser later, or from the bounds of an explicit histogram.
//!
//! A limit in time ("slower by 10 %, or 5 ms") becomes a limit on counts by the baseline's own distribution: a release that is
//! slower by the limit has as many requests beyond `T` as the baseline has beyond `T` less the limit.

use libm::{ceil, exp2, floor, log2};
use shipwake_model::{HdrCells, Sketch};

use crate::check::Part;
use crate::counts::Tally;
use crate::noise::Noise;
use crate::policy::{LatencyLimits, Margins};

/// The quantiles whose thresholds are frozen.
pub const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// Coarse edges: `2^(k/8)`, 9 % apart.
const EDGES_PER_OCTAVE: f64 = 8.0;

/// Frozen thresholds of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// In the histogram's unit (ticks of a microsecond for raw durations, usually seconds for OTLP).
    pub at: [f64; 3],
    /// What the unit is in seconds.
    pub unit_s: f64,
    /// The part of the baseline's requests beyond each.
    pub beyond: [f64; 3],
    /// How many times as many requests a baseline that is slower by the limit has beyond each.
    pub limit: [f64; 3],
}

impl Thresholds {
    /// Freezes the thresholds from the baseline's history. `None` when there are too few durations to know a p99: a hundred
    /// beyond it.
    pub fn freeze(history: &Sketch, unit_s: f64, limits: &LatencyLimits) -> Option<Thresholds> {
        const BEYOND_MIN: f64 = 100.0;
        let total = history.count() as f64;
        let mut thresholds = Thresholds { at: [0.0; 3], unit_s, beyond: [0.0; 3], limit: [1.0; 3] };
        for (k, q) in QUANTILES.into_iter().enumerate() {
            let at = edge(history, history.quantile(q)?.0)?;
            let slower = (at / (1.0 + limits.relative)).min(at - limits.absolute_s / unit_s);
            let beyond = beyond(history, at) as f64 / total;
            // The next edge below: the limit may be made wider, never narrower.
            let with_limit = if slower <= 0.0 { 1.0 } else { beyond_edge_below(history, slower) / total };
            thresholds.at[k] = at;
            thresholds.beyond[k] = beyond;
            thresholds.limit[k] = if beyond > 0.0 { with_limit / beyond } else { 1.0 };
        }
        (thresholds.beyond[2] * total >= BEYOND_MIN).then_some(thresholds)
    }

    /// How many of the durations lie beyond each threshold, of how many.
    pub fn tallies(&self, durations: &Sketch) -> [Tally; 3] {
        self.at.map(|at| Tally::new(beyond(durations, at), durations.count()))
    }

    /// The same of cells as they lie in a window, which need not be copied for it.
    pub fn tallies_of_cells(&self, durations: &HdrCells) -> [Tally; 3] {
        self.at.map(|at| Tally::new(beyond_in_cells(durations, at), durations.count()))
    }

    /// The parts of the check.
    pub(crate) fn parts(&self, limits: &LatencyLimits, noise: [Noise; 3]) -> Vec<Part> {
        (0..QUANTILES.len())
            .map(|k| {
                let margins = Margins {
                    worse: limits.worse.max(self.limit[k]),
                    catastrophe: limits.catastrophe.max(self.limit[k]),
                    fine: limits.fine[k].max(self.limit[k]),
                    floor: 0.0,
                };
                let name = format!("slower than {}", crate::text::seconds(self.at[k] * self.unit_s));
                Part::of(&name, margins, noise[k])
            })
            .collect()
    }
}

/// The edge nearest to a value, by which buckets are told apart exactly.
fn edge(sketch: &Sketch, value: f64) -> Option<f64> {
    match sketch {
        Sketch::Explicit(cells) => {
            let bounds = cells.bounds.iter().copied().filter(|bound| bound.is_finite());
            bounds.min_by(|a, b| (a - value).abs().total_cmp(&(b - value).abs()))
        }
        _ if value > 0.0 => Some(exp2(libm::rint(log2(value) * EDGES_PER_OCTAVE) / EDGES_PER_OCTAVE)),
        _ => None,
    }
}

/// Durations beyond the highest edge that is not above `value`.
fn beyond_edge_below(sketch: &Sketch, value: f64) -> f64 {
    let at = match sketch {
        Sketch::Explicit(cells) => cells.bounds.iter().copied().filter(|bound| *bound <= value).fold(0.0, f64::max),
        _ => exp2(floor(log2(value) * EDGES_PER_OCTAVE) / EDGES_PER_OCTAVE),
    };
    if at <= 0.0 { sketch.count() as f64 } else { beyond(sketch, at) as f64 }
}

/// How many values lie in buckets that begin at `at` or above it (in HDR cells: in cells above the one that holds it).
fn beyond(sketch: &Sketch, at: f64) -> u64 {
    match sketch {
        Sketch::Hdr(cells) => beyond_in_cells(cells, at),
        Sketch::Explicit(cells) => {
            let first = cells.bounds.partition_point(|bound| *bound < at * (1.0 - 1e-9)) + 1;
            cells.counts.iter().skip(first).fold(0, |sum, count| u64::saturating_add(sum, *count))
        }
        Sketch::Exponential(cells) => {
            // Bucket `i` is `(2^(i/2^s), 2^((i+1)/2^s)]`; the edge may lie between two when the scale became coarser than it: then
            // the bucket that holds it counts as not beyond.
            let first = ceil(log2(at) * exp2(f64::from(cells.scale)) - 1e-9);
            let offset = f64::from(cells.positive.offset);
            let skipped = (first - offset).clamp(0.0, cells.positive.counts.len() as f64) as usize;
            cells.positive.counts[skipped..].iter().fold(0, |sum, count| u64::saturating_add(sum, *count))
        }
        Sketch::Distinct(_) => 0,
    }
}

fn beyond_in_cells(cells: &HdrCells, at: f64) -> u64 {
    let at = ceil(at) as u64;
    cells.iter().filter(|(low, _, _)| *low >= at).map(|(_, _, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use shipwake_model::sketch::{Explicit, Exponential};

    use super::*;
    use crate::policy::Policy;

    /// Quantiles of a lognormal distribution with σ = 0.6 and median 200 ms, in microseconds.
    fn durations(n: u32, factor: f64) -> Vec<u64> {
        let z = |k: u32| crate::special::normal_quantile((f64::from(k) + 0.5) / f64::from(n));
        (0..n).map(|k| (factor * 200_000.0 * libm::exp(0.6 * z(k))) as u64).collect()
    }

    fn hdr(values: &[u64]) -> Sketch {
        let mut cells = HdrCells::new();
        for value in values {
            cells.record(*value);
        }
        Sketch::Hdr(cells)
    }

    #[test]
    fn a_slower_release_has_more_beyond_each_threshold_and_the_limit_says_how_many() {
        let limits = Policy::default().latency;
        let baseline = hdr(&durations(50_000, 1.0));
        let thresholds = Thresholds::freeze(&baseline, 1e-6, &limits).expect("enough durations");
        // Each within an edge of the quantile.
        for (at, exact) in thresholds.at.iter().zip([200_000.0, 431_500.0, 807_800.0]) {
            assert!((at / exact - 1.0).abs() < 0.05, "{at} {exact}");
        }
        let share = |tally: Tally| tally.rate().expect("exposure");
        let same = thresholds.tallies(&baseline).map(share);
        assert_eq!(same, thresholds.beyond);
        // What is slower by ten per cent has at most the limit beyond each, and close to it.
        let slower = thresholds.tallies(&hdr(&durations(50_000, 1.1))).map(share);
        for k in 0..3 {
            let ratio = slower[k] / same[k];
            assert!(ratio <= thresholds.limit[k] * 1.02 && ratio > 1.05, "{ratio} {}", thresholds.limit[k]);
        }
        assert!(thresholds.limit[0] < thresholds.limit[1] && thresholds.limit[1] < thresholds.limit[2]);
    }

    #[test]
    fn milliseconds_count_where_everything_is_fast() {
        // A service that answers in a millisecond: slower by five is within the limit, whatever part that is.
        let limits = Policy::default().latency;
        let values: Vec<u64> = durations(50_000, 1.0).iter().map(|value| value / 200).collect();
        let thresholds = Thresholds::freeze(&hdr(&values), 1e-6, &limits).expect("enough durations");
        assert!((thresholds.limit[0] - 1.0 / thresholds.beyond[0]).abs() < 1e-9, "{thresholds:?}");
    }

    #[test]
    fn a_threshold_counts_the_same_in_every_form_of_histogram() {
        let values = durations(20_000, 1.0);
        let at = exp2(140.0 / 8.0);
        let exact = values.iter().filter(|value| **value as f64 > at).count() as i64;
        let bounds: Vec<f64> = (100..180).map(|k| exp2(f64::from(k) / 8.0)).collect();
        let mut counts = vec![0; bounds.len() + 1];
        let mut exponential = Exponential { scale: 4, ..Exponential::default() };
        exponential.positive.offset = 200;
        exponential.positive.counts = vec![0; 200];
        for value in &values {
            counts[bounds.partition_point(|bound| *bound < *value as f64)] += 1;
            let index = ceil(log2(*value as f64) * 16.0) as usize - 1 - 200;
            exponential.positive.counts[index] += 1;
            exponential.count += 1;
        }
        let explicit =
            Explicit { bounds: bounds.into(), counts, count: values.len() as u64, sum: None, min: None, max: None };
        assert_eq!(beyond(&Sketch::Explicit(explicit), at) as i64, exact);
        assert_eq!(beyond(&Sketch::Exponential(exponential), at) as i64, exact);
        let in_cells = beyond(&hdr(&values), at) as i64;
        assert!((in_cells - exact).abs() < 150, "{in_cells} {exact}");
    }

    #[test]
    fn too_few_durations_freeze_nothing() {
        assert_eq!(Thresholds::freeze(&hdr(&durations(2_000, 1.0)), 1e-6, &Policy::default().latency), None);
    }
}
