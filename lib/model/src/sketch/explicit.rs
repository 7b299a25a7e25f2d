//! Histograms with explicit bounds, as OTLP clients send them by default.
//!
//! Two histograms merge over the bounds that both have: with equal bounds (the usual case) that changes nothing, with
//! different ones the buckets become coarser and every count stays exact. Spreading counts over finer buckets instead would
//! be a guess that no later reader could tell from a fact.

use std::sync::Arc;

use super::bytes::{Reader, put_f64, put_varint};
use super::hdr::index_of;
use super::{HDR_TICKS_MAX, HdrCells, SketchError};

/// First byte of the stored form.
pub(super) const TAG: u8 = 0xe1;
const VERSION: u8 = 1;

/// A histogram with explicit bounds. Bucket `i` counts values in `(bounds[i-1], bounds[i]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Explicit {
    /// Upper bounds, strictly rising. Shared: a metric's points rarely differ in them.
    pub bounds: Arc<[f64]>,
    /// One count per bound and one for everything above.
    pub counts: Vec<u64>,
    /// Number of values; the sum of `counts`.
    pub count: u64,
    /// Sum of the values, where every merged part told it.
    pub sum: Option<f64>,
    /// Smallest value, where every merged part told it.
    pub min: Option<f64>,
    /// Largest value, where every merged part told it.
    pub max: Option<f64>,
}

impl Explicit {
    /// An empty histogram with these bounds.
    pub fn new(bounds: Arc<[f64]>) -> Self {
        let counts = vec![0; bounds.len() + 1];
        Explicit { bounds, counts, count: 0, sum: Some(0.0), min: None, max: None }
    }

    /// Adds `other`, over the bounds that both have.
    pub fn merge(&mut self, other: &Explicit) {
        (self.sum, self.min, self.max) =
            merged_summary((self.count, self.sum, self.min, self.max), (other.count, other.sum, other.min, other.max));
        self.count = self.count.saturating_add(other.count);
        if Arc::ptr_eq(&self.bounds, &other.bounds) || self.bounds == other.bounds {
            add_counts(&mut self.counts, &other.counts);
            return;
        }
        let common = self.common_bounds(other);
        let mut counts = coarser(&self.bounds, &self.counts, &common);
        add_counts(&mut counts, &coarser(&other.bounds, &other.counts, &common));
        (self.bounds, self.counts) = (common, counts);
    }

    fn common_bounds(&self, other: &Explicit) -> Arc<[f64]> {
        // Bounds rise: one walk over both finds what they share.
        let mut theirs = other.bounds.iter().peekable();
        let mine = self.bounds.iter().copied();
        mine.filter(|bound| {
            while theirs.next_if(|theirs| *theirs < bound).is_some() {}
            theirs.peek() == Some(&bound)
        })
        .collect()
    }

    /// What came on top of `earlier`, an earlier state of the same running total, over the bounds that both have. `None`
    /// when a count went down. Minimum and maximum of the difference are not known.
    pub fn since(&self, earlier: &Explicit) -> Option<Explicit> {
        let (bounds, now, before) = if self.bounds == earlier.bounds {
            (self.bounds.clone(), self.counts.clone(), earlier.counts.clone())
        } else {
            let common = self.common_bounds(earlier);
            let now = coarser(&self.bounds, &self.counts, &common);
            (common.clone(), now, coarser(&earlier.bounds, &earlier.counts, &common))
        };
        let counts = now.iter().zip(&before).map(|(now, before)| now.checked_sub(*before));
        Some(Explicit {
            bounds,
            counts: counts.collect::<Option<Vec<_>>>()?,
            count: self.count.checked_sub(earlier.count)?,
            sum: self.sum.zip(earlier.sum).map(|(now, before)| finite(now - before)),
            min: None,
            max: None,
        })
    }

    /// The value at quantile `q`, interpolated inside its bucket.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (at, share) = self.place_of(q)?;
        let (low, high) = self.bucket_range(at)?;
        Some(interpolate(low, high, share))
    }

    /// Between what the value at quantile `q` surely lies; a side is `None` where nothing bounds it.
    pub(super) fn bucket_at(&self, q: f64) -> Option<(Option<f64>, Option<f64>)> {
        let (at, _) = self.place_of(q)?;
        let low = at.checked_sub(1).map(|below| self.bounds[below]);
        let high = self.bounds.get(at).copied();
        let low = low.map_or(self.min, |low| Some(self.min.map_or(low, |min| low.max(min))));
        let high = high.map_or(self.max, |high| Some(self.max.map_or(high, |max| high.min(max))));
        Some((low, high))
    }

    /// The bucket in which quantile `q` lies, and how far into it.
    fn place_of(&self, q: f64) -> Option<(usize, f64)> {
        if self.count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0u64;
        for (at, &count) in self.counts.iter().enumerate() {
            if count > 0 && below.saturating_add(count) as f64 >= rank {
                return Some((at, (rank - below as f64) / count as f64));
            }
            below = below.saturating_add(count);
        }
        None
    }

    /// HDR cells with the same count: each bucket is spread evenly over the logarithm of its range.
    pub fn to_hdr(&self, ticks_per_unit: f64) -> HdrCells {
        let mut cells = Rising::default();
        for (at, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (low, high) = self.bucket_range(at).unwrap_or((0.0, 0.0));
            cells.spread(low * ticks_per_unit, high * ticks_per_unit, count);
        }
        with_known_summary(cells.finish(), self.sum, self.min, self.max, ticks_per_unit)
    }

    /// The range of a bucket, made finite with the minimum, the maximum or the nearest bound; `None` when nothing is known.
    fn bucket_range(&self, at: usize) -> Option<(f64, f64)> {
        let first = self.bounds.first().copied();
        let low = match at.checked_sub(1) {
            Some(below) => Some(self.bounds[below]),
            None => self.min.or(first.map(|bound| bound.min(0.0))),
        };
        let high = self.bounds.get(at).copied().or(self.max).or(low)?;
        let low = low.unwrap_or(high);
        let low = self.min.map_or(low, |min| low.max(min));
        let high = self.max.map_or(high, |max| high.min(max));
        Some((low.min(high), high.max(low)))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[TAG, VERSION]);
        encode_summary(out, self.count, [self.sum, self.min, self.max]);
        put_varint(out, self.bounds.len() as u64);
        for bound in self.bounds.iter() {
            put_f64(out, *bound);
        }
        for count in &self.counts {
            put_varint(out, *count);
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        reader.u8()?;
        if reader.u8()? != VERSION {
            return Err(SketchError::Unsupported { what: "version of the explicit form" });
        }
        let (count, [sum, min, max]) = decode_summary(&mut reader)?;
        let length = reader.length(size_of::<f64>())?;
        let bounds = (0..length).map(|_| reader.f64()).collect::<Result<Vec<_>, _>>()?;
        let counts = (0..=length).map(|_| reader.varint()).collect::<Result<Vec<_>, _>>()?;
        reader.finish()?;
        if !bounds.is_sorted_by(|a, b| a < b) {
            return Err(SketchError::Inconsistent { what: "bounds do not rise" });
        }
        if counts.iter().fold(0u64, |total, count| total.saturating_add(*count)) != count {
            return Err(SketchError::Inconsistent { what: "counts do not add up" });
        }
        Ok(Explicit { bounds: bounds.into(), counts, count, sum, min, max })
    }
}

fn add_counts(into: &mut [u64], more: &[u64]) {
    for (count, extra) in into.iter_mut().zip(more) {
        *count = count.saturating_add(*extra);
    }
}

/// Counts over `common`, a subset of `bounds`.
fn coarser(bounds: &[f64], counts: &[u64], common: &[f64]) -> Vec<u64> {
    let mut out = vec![0; common.len() + 1];
    for (at, count) in counts.iter().enumerate() {
        let bucket = bounds.get(at).map_or(common.len(), |bound| common.partition_point(|kept| kept < bound));
        out[bucket] = u64::saturating_add(out[bucket], *count);
    }
    out
}

type Summary = (u64, Option<f64>, Option<f64>, Option<f64>);

/// Huge sums of opposite signs would become infinite, and then NaN, which no reader could use.
pub(super) fn finite(sum: f64) -> f64 {
    sum.clamp(f64::MIN, f64::MAX)
}

/// Sum, minimum and maximum of two parts: known only when both parts know it; an empty part knows everything.
pub(super) fn merged_summary(left: Summary, right: Summary) -> (Option<f64>, Option<f64>, Option<f64>) {
    if left.0 == 0 {
        return (right.1, right.2, right.3);
    }
    if right.0 == 0 {
        return (left.1, left.2, left.3);
    }
    let both = |a: Option<f64>, b: Option<f64>, join: fn(f64, f64) -> f64| a.zip(b).map(|(a, b)| join(a, b));
    (both(left.1, right.1, |a, b| finite(a + b)), both(left.2, right.2, f64::min), both(left.3, right.3, f64::max))
}

/// The value at `share` (0..=1) of a bucket: even in the logarithm where the range is positive, else linear.
pub(super) fn interpolate(low: f64, high: f64, share: f64) -> f64 {
    let share = share.clamp(0.0, 1.0);
    if low > 0.0 && high > low {
        // Powers are rounded: without the clamp the whole of a bucket could end a hair above it.
        return (low * (high / low).powf(share)).clamp(low, high);
    }
    low + (high - low) * share
}

/// HDR cells that are filled from low values to high ones.
#[derive(Default)]
pub(super) struct Rising {
    cells: Vec<(u16, u64)>,
}

impl Rising {
    /// Spreads `count` values over the ticks from `low` to `high`, in steps that add up to `count` exactly. Ranges must
    /// come in rising order.
    pub(super) fn spread(&mut self, low: f64, high: f64, count: u64) {
        /// A usual bucket spans a factor of two or so: half a step is then four per cent, which is little beside what the
        /// bucket does not tell. More steps only make more cells to store and to merge.
        const STEPS_MAX: u64 = 8;
        let steps = count.clamp(1, STEPS_MAX);
        let is_logarithmic = low > 0.0 && high > low;
        let factor = if is_logarithmic { (high / low).powf(1.0 / steps as f64) } else { 1.0 };
        let stride = if is_logarithmic { 0.0 } else { (high - low) / steps as f64 };
        let mut value = low * factor.sqrt() + stride / 2.0;
        let mut placed = 0;
        for step in 1..=steps {
            let until = (u128::from(count) * u128::from(step) / u128::from(steps)) as u64;
            self.push(index_of(ticks(value)), until - placed);
            (placed, value) = (until, value * factor + stride);
        }
    }

    pub(super) fn finish(self) -> HdrCells {
        HdrCells::from_cells(&self.cells)
    }

    fn push(&mut self, index: u16, count: u64) {
        if count == 0 {
            return;
        }
        match self.cells.last_mut() {
            Some((last, known)) if *last >= index => *known = known.saturating_add(count),
            _ => self.cells.push((index, count)),
        }
    }
}

/// A finite value as ticks: negative ones count as 0, as no duration is negative.
fn ticks(value: f64) -> u64 {
    value.round().clamp(0.0, HDR_TICKS_MAX as f64) as u64
}

/// Sets what the source knew exactly.
pub(super) fn with_known_summary(
    cells: HdrCells,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    ticks_per_unit: f64,
) -> HdrCells {
    let scaled = |value: Option<f64>, estimate: u64| {
        value.map_or(estimate, |value| (value * ticks_per_unit).round().max(0.0) as u64)
    };
    let (sum, min, max) =
        (scaled(sum, cells.sum()), scaled(min, cells.min().unwrap_or(0)), scaled(max, cells.max().unwrap_or(0)));
    cells.with_summary(sum, min, max)
}

/// Count, then a byte that says which of sum, minimum and maximum follow, then those.
pub(super) fn encode_summary(out: &mut Vec<u8>, count: u64, summary: [Option<f64>; 3]) {
    put_varint(out, count);
    out.push(summary.iter().enumerate().map(|(bit, value)| u8::from(value.is_some()) << bit).sum());
    for value in summary.into_iter().flatten() {
        put_f64(out, value);
    }
}

pub(super) fn decode_summary(reader: &mut Reader<'_>) -> Result<(u64, [Option<f64>; 3]), SketchError> {
    let count = reader.varint()?;
    let known = reader.u8()?;
    if known > 7 {
        return Err(SketchError::Unsupported { what: "summary field" });
    }
    let mut summary = [None; 3];
    for (bit, value) in summary.iter_mut().enumerate() {
        if known >> bit & 1 == 1 {
            *value = Some(reader.f64()?);
        }
    }
    Ok((count, summary))
}
