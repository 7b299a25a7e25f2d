//! OTLP exponential histograms: bucket `i` at scale `s` counts values in `(base^i, base^(i+1)]`, `base = 2^(2^-s)`.
//!
//! Merging lowers the scale to the coarser one, which is exact (two neighbours become one bucket). The number of buckets is
//! bounded; a range too wide for the bound lowers the scale further, by the same rule, so the order of merges never matters.

use super::bytes::{Reader, put_f64, put_varint, put_zigzag};
use super::explicit::{
    Rising, decode_summary, encode_summary, finite, interpolate, merged_summary, with_known_summary,
};
use super::{HdrCells, SketchError};

/// First byte of the stored form.
pub(super) const TAG: u8 = 0xe2;
const VERSION: u8 = 1;
/// Twice what SDKs keep (160), so that merging two usual histograms rarely costs resolution.
pub const EXPONENTIAL_BUCKETS_MAX: usize = 320;
/// Scales of the OTLP data model lie well inside; beyond, bounds are not representable.
const SCALE_RANGE: std::ops::RangeInclusive<i32> = -10..=20;

/// Counts of neighbouring buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Index of the first bucket.
    pub offset: i32,
    /// Counts from there on.
    pub counts: Vec<u64>,
}

/// An exponential histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exponential {
    /// Resolution: `base = 2^(2^-scale)`.
    pub scale: i32,
    /// Values within the zero threshold.
    pub zero_count: u64,
    /// Values of at most this size count as zero.
    pub zero_threshold: f64,
    /// Buckets of positive values.
    pub positive: Buckets,
    /// Buckets of negative values, by absolute value.
    pub negative: Buckets,
    /// Number of values.
    pub count: u64,
    /// Sum of the values, where every merged part told it.
    pub sum: Option<f64>,
    /// Smallest value, where every merged part told it.
    pub min: Option<f64>,
    /// Largest value, where every merged part told it.
    pub max: Option<f64>,
}

impl Buckets {
    fn trimmed(mut self) -> Self {
        let leading = self.counts.iter().take_while(|count| **count == 0).count();
        self.counts.drain(..leading);
        while self.counts.last() == Some(&0) {
            self.counts.pop();
        }
        self.offset = if self.counts.is_empty() { 0 } else { self.offset + leading as i32 };
        self
    }

    fn last(&self) -> i64 {
        i64::from(self.offset) + self.counts.len() as i64 - 1
    }

    fn downscaled(&self, by: u32) -> Self {
        if by == 0 || self.counts.is_empty() {
            return self.clone();
        }
        let mut out = Buckets { offset: self.offset >> by, counts: Vec::new() };
        for (at, count) in self.counts.iter().enumerate() {
            let index = (i64::from(self.offset) + at as i64) >> by;
            let place = (index - i64::from(out.offset)) as usize;
            if out.counts.len() <= place {
                out.counts.resize(place + 1, 0);
            }
            out.counts[place] = out.counts[place].saturating_add(*count);
        }
        out
    }

    fn merge(&mut self, other: &Buckets) {
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        let offset = self.offset.min(other.offset);
        let length = (self.last().max(other.last()) - i64::from(offset) + 1) as usize;
        let mut counts = vec![0u64; length];
        for part in [&*self, other] {
            let start = (part.offset - offset) as usize;
            for (into, count) in counts[start..].iter_mut().zip(&part.counts) {
                *into = into.saturating_add(*count);
            }
        }
        *self = Buckets { offset, counts };
    }

    fn since(mut self, earlier: &Buckets) -> Option<Buckets> {
        for (index, count) in earlier.pairs() {
            let place = usize::try_from(index - i64::from(self.offset)).ok()?;
            let now = self.counts.get_mut(place)?;
            *now = now.checked_sub(count)?;
        }
        Some(self.trimmed())
    }

    fn pairs(&self) -> impl DoubleEndedIterator<Item = (i64, u64)> + '_ {
        let pairs = self.counts.iter().enumerate();
        pairs.map(|(at, count)| (i64::from(self.offset) + at as i64, *count)).filter(|(_, count)| *count > 0)
    }
}

impl Exponential {
    /// The same histogram without empty outer buckets, within [`EXPONENTIAL_BUCKETS_MAX`]. Apply it to what a client sent.
    pub fn normalized(mut self) -> Self {
        self.positive = std::mem::take(&mut self.positive).trimmed();
        self.negative = std::mem::take(&mut self.negative).trimmed();
        let by = shift_to_fit([&self.positive], 0).max(shift_to_fit([&self.negative], 0));
        self.downscale(by);
        self
    }

    /// Adds `other`, at the coarser of both scales.
    pub fn merge(&mut self, other: &Exponential) {
        let (mine, theirs) = (other.scale.min(self.scale), other.scale);
        let mut other = other.clone();
        self.downscale((self.scale - mine) as u32);
        other.downscale((theirs - mine) as u32);
        let by =
            shift_to_fit([&self.positive, &other.positive], 0).max(shift_to_fit([&self.negative, &other.negative], 0));
        self.downscale(by);
        other.downscale(by);
        let threshold = self.zero_threshold.max(other.zero_threshold);
        self.widen_zero(threshold);
        other.widen_zero(threshold);

        (self.sum, self.min, self.max) =
            merged_summary((self.count, self.sum, self.min, self.max), (other.count, other.sum, other.min, other.max));
        self.count = self.count.saturating_add(other.count);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.zero_threshold = self.zero_threshold.max(other.zero_threshold);
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
    }

    /// What came on top of `earlier`, an earlier state of the same running total, at the coarser of both scales. `None` when a
    /// count went down: then the total began anew. Minimum and maximum of the difference are not known.
    pub fn since(&self, earlier: &Exponential) -> Option<Exponential> {
        let (mut now, mut before) = (self.clone(), earlier.clone());
        let scale = now.scale.min(before.scale);
        now.downscale((now.scale - scale) as u32);
        before.downscale((before.scale - scale) as u32);
        let threshold = now.zero_threshold.max(before.zero_threshold);
        now.widen_zero(threshold);
        before.widen_zero(threshold);
        Some(Exponential {
            scale,
            zero_count: now.zero_count.checked_sub(before.zero_count)?,
            zero_threshold: now.zero_threshold,
            positive: now.positive.since(&before.positive)?,
            negative: now.negative.since(&before.negative)?,
            count: now.count.checked_sub(before.count)?,
            sum: now.sum.zip(before.sum).map(|(now, before)| finite(now - before)),
            min: None,
            max: None,
        })
    }

    /// The value at quantile `q`, interpolated inside its bucket.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (low, high, share) = self.place_of(q)?;
        let value = interpolate(low, high, share);
        let value = self.min.map_or(value, |min| value.max(min));
        Some(self.max.map_or(value, |max| value.min(max)))
    }

    /// Between what the value at quantile `q` surely lies.
    pub(super) fn bucket_at(&self, q: f64) -> Option<(Option<f64>, Option<f64>)> {
        let (low, high, _) = self.place_of(q)?;
        // The bucket around zero is as wide as its threshold, on both sides.
        let (low, high) =
            if high == 0.0 && low == 0.0 { (-self.zero_threshold, self.zero_threshold) } else { (low, high) };
        let (min, max) = (self.min.unwrap_or(low), self.max.unwrap_or(high));
        Some((Some(low.max(min)), Some(high.min(max))))
    }

    /// The bucket in which quantile `q` lies (low, high), and how far into it.
    fn place_of(&self, q: f64) -> Option<(f64, f64, f64)> {
        let rank = q.clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0u64;
        for (low, high, count) in self.ranges() {
            if below.saturating_add(count) as f64 >= rank {
                return Some((low, high, (rank - below as f64) / count as f64));
            }
            below = below.saturating_add(count);
        }
        None
    }

    /// HDR cells with the same count; negative values count as 0.
    pub fn to_hdr(&self, ticks_per_unit: f64) -> HdrCells {
        let mut cells = Rising::default();
        for (low, high, count) in self.ranges() {
            cells.spread(low * ticks_per_unit, high * ticks_per_unit, count);
        }
        with_known_summary(cells.finish(), self.sum, self.min, self.max, ticks_per_unit)
    }

    /// Populated ranges (low, high, count) in rising order of value.
    fn ranges(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        let negative = self.negative.pairs().rev().map(|(at, n)| (-self.bound(at + 1), -self.bound(at), n));
        let zero = (self.zero_count > 0).then_some((0.0, 0.0, self.zero_count));
        let positive = self.positive.pairs().map(|(at, n)| (self.bound(at), self.bound(at + 1), n));
        negative.chain(zero).chain(positive)
    }

    /// The lower bound of bucket `index`, kept finite.
    fn bound(&self, index: i64) -> f64 {
        (index as f64 * f64::from(-self.scale).exp2()).exp2().clamp(f64::MIN_POSITIVE, f64::MAX)
    }

    fn downscale(&mut self, by: u32) {
        self.scale -= by as i32;
        self.positive = self.positive.downscaled(by);
        self.negative = self.negative.downscaled(by);
    }

    /// Counts buckets within `threshold` as zero. A bucket that the threshold cuts raises the threshold to its upper end.
    fn widen_zero(&mut self, threshold: f64) {
        // Also with its own threshold: at a coarser scale a bucket may have come to lie across it, and whoever is compared
        // or merged with this one has moved that bucket.
        let threshold = threshold.max(self.zero_threshold);
        if threshold <= 0.0 {
            return;
        }
        self.zero_threshold = threshold;
        for negative in [false, true] {
            let mut buckets = std::mem::take(if negative { &mut self.negative } else { &mut self.positive });
            for at in 0..buckets.counts.len() {
                let index = i64::from(buckets.offset) + at as i64;
                if buckets.counts[at] == 0 || self.bound(index) >= threshold {
                    continue;
                }
                self.zero_threshold = self.zero_threshold.max(self.bound(index + 1));
                self.zero_count = self.zero_count.saturating_add(std::mem::take(&mut buckets.counts[at]));
            }
            let kept = buckets.trimmed();
            *(if negative { &mut self.negative } else { &mut self.positive }) = kept;
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[TAG, VERSION]);
        encode_summary(out, self.count, [self.sum, self.min, self.max]);
        put_zigzag(out, i64::from(self.scale));
        put_varint(out, self.zero_count);
        put_f64(out, self.zero_threshold);
        for buckets in [&self.positive, &self.negative] {
            put_zigzag(out, i64::from(buckets.offset));
            put_varint(out, buckets.counts.len() as u64);
            for count in &buckets.counts {
                put_varint(out, *count);
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        reader.u8()?;
        if reader.u8()? != VERSION {
            return Err(SketchError::Unsupported { what: "version of the exponential form" });
        }
        let (count, [sum, min, max]) = decode_summary(&mut reader)?;
        let scale = reader.zigzag()?;
        let scale = i32::try_from(scale).map_err(|_| SketchError::Inconsistent { what: "scale out of range" })?;
        let (zero_count, zero_threshold) = (reader.varint()?, reader.f64()?);
        let positive = decode_buckets(&mut reader)?;
        let negative = decode_buckets(&mut reader)?;
        reader.finish()?;
        let out = Exponential { scale, zero_count, zero_threshold, positive, negative, count, sum, min, max };
        if !out.is_representable() {
            return Err(SketchError::Inconsistent { what: "buckets beyond what a double can hold" });
        }
        Ok(out)
    }

    /// Whether the scale is one of the data model and every bucket lies within what a double can hold. Arithmetic on
    /// indexes relies on it: check it before anything else is done with a histogram that came from outside.
    pub fn is_representable(&self) -> bool {
        let holds = |buckets: &Buckets| Exponential::holds(self.scale, i64::from(buckets.offset), buckets.counts.len());
        holds(&self.positive) && holds(&self.negative)
    }

    /// Whether doubles can hold the bounds of so many buckets from index `first` on. No buckets at all fit every known scale.
    pub fn holds(scale: i32, first: i64, buckets: usize) -> bool {
        if !SCALE_RANGE.contains(&scale) {
            return false;
        }
        // Doubles span 2^-1074..2^1024; the margin admits empty outer buckets.
        let index_max = (1200.0 * f64::from(scale).exp2()) as i64 + 2;
        let last = first.saturating_add(i64::try_from(buckets).unwrap_or(i64::MAX)).saturating_sub(1);
        buckets == 0 || (first >= -index_max && last <= index_max)
    }
}

/// By how much the scale must go down, from `by` on, for the buckets of all parts together to fit the bound.
fn shift_to_fit<const N: usize>(parts: [&Buckets; N], mut by: u32) -> u32 {
    let used = || parts.iter().filter(|part| !part.counts.is_empty());
    let (Some(first), Some(last)) =
        (used().map(|part| i64::from(part.offset)).min(), used().map(|part| part.last()).max())
    else {
        return by;
    };
    while (last >> by) - (first >> by) >= EXPONENTIAL_BUCKETS_MAX as i64 {
        by += 1;
    }
    by
}

fn decode_buckets(reader: &mut Reader<'_>) -> Result<Buckets, SketchError> {
    let offset = reader.zigzag()?;
    let offset = i32::try_from(offset).map_err(|_| SketchError::Inconsistent { what: "bucket offset out of range" })?;
    let length = reader.length(1)?;
    let counts = (0..length).map(|_| reader.varint()).collect::<Result<Vec<_>, _>>()?;
    Ok(Buckets { offset, counts })
}
