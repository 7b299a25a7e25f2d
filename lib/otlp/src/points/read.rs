//! Reads the points of a metric: one function for each kind, which checks everything and notes where the lists are.

use super::{
    ExponentialHistogramPoint, HistogramPoint, NumberPoint, NumberValue, Point, Quantile, Quantiles, SummaryPoint,
};
use crate::ScanError;
use crate::attributes::KeyValues;
use crate::check;
use crate::fields::Seen;
use crate::metrics::MetricKind;
use crate::numbers::{Encoding, F64s, U64s};
use crate::wire::{Depth, FIXED64, LEN, Reader, VARINT, key};

/// Reads a point of a metric of this kind.
#[inline]
pub(crate) fn read<'a>(r: Reader<'a>, depth: Depth, kind: MetricKind) -> Result<Point<'a>, ScanError> {
    Ok(match kind {
        MetricKind::Gauge | MetricKind::Sum => Point::Number(read_number(r, depth)?),
        MetricKind::Histogram => Point::Histogram(read_histogram(r, depth)?),
        MetricKind::ExponentialHistogram => Point::ExponentialHistogram(read_exponential(r, depth)?),
        MetricKind::Summary => Point::Summary(read_summary(r, depth)?),
    })
}

fn read_number<'a>(mut r: Reader<'a>, depth: Depth) -> Result<NumberPoint<'a>, ScanError> {
    const START: u64 = key(2, FIXED64);
    const TIME: u64 = key(3, FIXED64);
    const DOUBLE: u64 = key(4, FIXED64);
    const EXEMPLARS: u64 = key(5, LEN);
    const INT: u64 = key(6, FIXED64);
    const ATTRIBUTES: u64 = key(7, LEN);
    const FLAGS: u64 = key(8, VARINT);
    let mut point = NumberPoint::default();
    let mut attributes = Seen::default();
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            START => point.start_time_unix_nano = r.fixed64()?,
            TIME => point.time_unix_nano = r.fixed64()?,
            DOUBLE => point.value = Some(NumberValue::Double(r.double()?)),
            INT => point.value = Some(NumberValue::Int(r.fixed64()?.cast_signed())),
            EXEMPLARS => check::exemplar(r.message()?, depth.enter(at)?)?,
            ATTRIBUTES => check::attribute(&mut r, at, depth, &mut attributes)?,
            FLAGS => point.flags = r.varint()? as u32,
            other => r.unknown(other, at, 0b1_1111_1100, depth)?,
        }
    }
    point.attributes = KeyValues::new(attributes.fields(7));
    Ok(point)
}

fn read_histogram<'a>(mut r: Reader<'a>, depth: Depth) -> Result<HistogramPoint<'a>, ScanError> {
    const START: u64 = key(2, FIXED64);
    const TIME: u64 = key(3, FIXED64);
    const COUNT: u64 = key(4, FIXED64);
    const SUM: u64 = key(5, FIXED64);
    const COUNTS_PACKED: u64 = key(6, LEN);
    const COUNTS: u64 = key(6, FIXED64);
    const BOUNDS_PACKED: u64 = key(7, LEN);
    const BOUNDS: u64 = key(7, FIXED64);
    const EXEMPLARS: u64 = key(8, LEN);
    const ATTRIBUTES: u64 = key(9, LEN);
    const FLAGS: u64 = key(10, VARINT);
    const MIN: u64 = key(11, FIXED64);
    const MAX: u64 = key(12, FIXED64);
    let mut point = HistogramPoint::default();
    let (mut counts, mut bounds, mut attributes) = (Seen::default(), Seen::default(), Seen::default());
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            START => point.start_time_unix_nano = r.fixed64()?,
            TIME => point.time_unix_nano = r.fixed64()?,
            COUNT => point.count = r.fixed64()?,
            SUM => point.sum = Some(r.double()?),
            found @ (COUNTS | COUNTS_PACKED) => fixed64s(&mut r, at, found, &mut counts)?,
            found @ (BOUNDS | BOUNDS_PACKED) => fixed64s(&mut r, at, found, &mut bounds)?,
            EXEMPLARS => check::exemplar(r.message()?, depth.enter(at)?)?,
            ATTRIBUTES => check::attribute(&mut r, at, depth, &mut attributes)?,
            FLAGS => point.flags = r.varint()? as u32,
            MIN => point.min = Some(r.double()?),
            MAX => point.max = Some(r.double()?),
            other => r.unknown(other, at, 0b1_1111_1111_1100, depth)?,
        }
    }
    point.bucket_counts = U64s::new(counts.fields(6), Encoding::Fixed64);
    point.explicit_bounds = F64s::new(bounds.fields(7));
    point.attributes = KeyValues::new(attributes.fields(9));
    Ok(point)
}

/// Checks and notes an occurrence of repeated 8-byte numbers, packed or single.
#[inline(always)]
fn fixed64s<'a>(r: &mut Reader<'a>, at: Reader<'a>, found: u64, seen: &mut Seen<'a>) -> Result<(), ScanError> {
    if found & 7 != LEN {
        r.fixed64()?;
    } else if !r.bytes()?.len().is_multiple_of(8) {
        return Err(ScanError::Truncated { offset: at.pos() });
    }
    seen.note(at, &[], *r);
    Ok(())
}

fn read_exponential<'a>(mut r: Reader<'a>, depth: Depth) -> Result<ExponentialHistogramPoint<'a>, ScanError> {
    const ATTRIBUTES: u64 = key(1, LEN);
    const START: u64 = key(2, FIXED64);
    const TIME: u64 = key(3, FIXED64);
    const COUNT: u64 = key(4, FIXED64);
    const SUM: u64 = key(5, FIXED64);
    const SCALE: u64 = key(6, VARINT);
    const ZERO_COUNT: u64 = key(7, FIXED64);
    const POSITIVE: u64 = key(8, LEN);
    const NEGATIVE: u64 = key(9, LEN);
    const FLAGS: u64 = key(10, VARINT);
    const EXEMPLARS: u64 = key(11, LEN);
    const MIN: u64 = key(12, FIXED64);
    const MAX: u64 = key(13, FIXED64);
    const ZERO_THRESHOLD: u64 = key(14, FIXED64);
    let mut point = ExponentialHistogramPoint::default();
    let (mut positive, mut negative, mut attributes) = (Seen::default(), Seen::default(), Seen::default());
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            ATTRIBUTES => check::attribute(&mut r, at, depth, &mut attributes)?,
            START => point.start_time_unix_nano = r.fixed64()?,
            TIME => point.time_unix_nano = r.fixed64()?,
            COUNT => point.count = r.fixed64()?,
            SUM => point.sum = Some(r.double()?),
            SCALE => point.scale = zigzag(r.varint()?),
            ZERO_COUNT => point.zero_count = r.fixed64()?,
            POSITIVE => read_buckets(&mut r, at, depth, &mut positive, &mut point.positive.offset)?,
            NEGATIVE => read_buckets(&mut r, at, depth, &mut negative, &mut point.negative.offset)?,
            FLAGS => point.flags = r.varint()? as u32,
            EXEMPLARS => check::exemplar(r.message()?, depth.enter(at)?)?,
            MIN => point.min = Some(r.double()?),
            MAX => point.max = Some(r.double()?),
            ZERO_THRESHOLD => point.zero_threshold = r.double()?,
            other => r.unknown(other, at, 0b111_1111_1111_1110, depth)?,
        }
    }
    point.positive.bucket_counts = U64s::new(positive.inner_fields(8, 2), Encoding::Varint);
    point.negative.bucket_counts = U64s::new(negative.inner_fields(9, 2), Encoding::Varint);
    point.attributes = KeyValues::new(attributes.fields(1));
    Ok(point)
}

/// Checks and notes one occurrence of a `Buckets` field.
#[inline(always)]
fn read_buckets<'a>(
    r: &mut Reader<'a>,
    start: Reader<'a>,
    depth: Depth,
    seen: &mut Seen<'a>,
    offset: &mut i32,
) -> Result<(), ScanError> {
    const OFFSET: u64 = key(1, VARINT);
    const COUNTS_PACKED: u64 = key(2, LEN);
    const COUNTS: u64 = key(2, VARINT);
    let depth = depth.enter(start)?;
    let content = r.message()?;
    let mut buckets = content;
    while !buckets.is_at_end() {
        let at = buckets;
        match buckets.key()? {
            OFFSET => *offset = zigzag(buckets.varint()?),
            COUNTS => drop(buckets.varint()?),
            COUNTS_PACKED => {
                let mut packed = buckets.message()?;
                while !packed.is_at_end() {
                    packed.varint()?;
                }
            }
            other => buckets.unknown(other, at, 0b110, depth)?,
        }
    }
    seen.note(start, content.rest(), *r);
    Ok(())
}

/// A `sint32`; bits beyond 32 are cut off.
fn zigzag(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn read_summary<'a>(mut r: Reader<'a>, depth: Depth) -> Result<SummaryPoint<'a>, ScanError> {
    const START: u64 = key(2, FIXED64);
    const TIME: u64 = key(3, FIXED64);
    const COUNT: u64 = key(4, FIXED64);
    const SUM: u64 = key(5, FIXED64);
    const QUANTILES: u64 = key(6, LEN);
    const ATTRIBUTES: u64 = key(7, LEN);
    const FLAGS: u64 = key(8, VARINT);
    let mut point = SummaryPoint::default();
    let (mut quantiles, mut attributes) = (Seen::default(), Seen::default());
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            START => point.start_time_unix_nano = r.fixed64()?,
            TIME => point.time_unix_nano = r.fixed64()?,
            COUNT => point.count = r.fixed64()?,
            SUM => point.sum = r.double()?,
            QUANTILES => {
                read_quantile(r.message()?, depth.enter(at)?)?;
                quantiles.note(at, &[], r);
            }
            ATTRIBUTES => check::attribute(&mut r, at, depth, &mut attributes)?,
            FLAGS => point.flags = r.varint()? as u32,
            other => r.unknown(other, at, 0b1_1111_1100, depth)?,
        }
    }
    point.quantiles = Quantiles { fields: quantiles.fields(6) };
    point.attributes = KeyValues::new(attributes.fields(7));
    Ok(point)
}

fn read_quantile(mut r: Reader<'_>, depth: Depth) -> Result<Quantile, ScanError> {
    const QUANTILE: u64 = key(1, FIXED64);
    const VALUE: u64 = key(2, FIXED64);
    let mut found = Quantile::default();
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            QUANTILE => found.quantile = r.double()?,
            VALUE => found.value = r.double()?,
            other => r.unknown(other, at, 0b110, depth)?,
        }
    }
    Ok(found)
}

/// A quantile that a scan has checked.
pub(super) fn checked_quantile(content: &[u8]) -> Option<Quantile> {
    read_quantile(Reader::new(content), Depth::ROOT).ok()
}
