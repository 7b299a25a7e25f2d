//! Prometheus' native histograms as OTLP histograms: exponential ones keep their resolution, those with custom bounds become
//! histograms with explicit bounds.
//!
//! Prometheus names a bucket by its upper bound and OTLP by its lower one, so indexes differ by one. Sparse spans become
//! runs of counts; where gaps would make a run very long the resolution is halved, which loses nothing but resolution.

use super::wire::{Fields, Value, doubles, integers, signed};
use crate::error::IngestError;

/// Buckets on one side beyond which the resolution is halved. SDKs stop at 160.
const BUCKETS_MAX: i64 = 1024;
/// The schema that stands for custom bounds.
const CUSTOM: i64 = -53;
/// Counts above this are not exact in a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A histogram as it can be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Native {
    pub(super) time_ms: i64,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) buckets: NativeBuckets,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum NativeBuckets {
    Exponential { scale: i32, zero_count: u64, zero_threshold: f64, positive: Run, negative: Run },
    Explicit { bounds: Vec<f64>, counts: Vec<u64> },
}

/// Counts of adjacent buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Run {
    /// OTLP's index of the first.
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// What became of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Histogram(Native),
    /// Its series has ended: there is no value.
    Stale,
    /// Reason for counters, and what is wrong.
    Rejected(&'static str, &'static str),
}

/// The fields as they stand in the message.
#[derive(Default)]
struct Raw {
    count: Count,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: Count,
    negative: RawSide,
    positive: RawSide,
    reset_hint: u64,
    time_ms: i64,
    custom_values: Vec<f64>,
}

#[derive(Default)]
struct RawSide {
    /// Gap to the span before, and length.
    spans: Vec<(i64, u64)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    integer: u64,
    float: Option<f64>,
}

/// Reads the message of a histogram.
pub(super) fn read(message: &[u8]) -> Result<Outcome, IngestError> {
    let mut raw = Raw::default();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => raw.count = Count { integer: value.integer()?, float: None },
            2 => raw.count.float = Some(value.double()?),
            3 => raw.sum = value.double()?,
            4 => raw.schema = signed(value.integer()?),
            5 => raw.zero_threshold = value.double()?,
            6 => raw.zero_count = Count { integer: value.integer()?, float: None },
            7 => raw.zero_count.float = Some(value.double()?),
            8 => raw.negative.spans.push(span(value)?),
            9 => integers(value, |delta| raw.negative.deltas.push(signed(delta)))?,
            10 => doubles(value, |count| raw.negative.counts.push(count))?,
            11 => raw.positive.spans.push(span(value)?),
            12 => integers(value, |delta| raw.positive.deltas.push(signed(delta)))?,
            13 => doubles(value, |count| raw.positive.counts.push(count))?,
            14 => raw.reset_hint = value.integer()?,
            15 => raw.time_ms = value.integer()?.cast_signed(),
            16 => doubles(value, |bound| raw.custom_values.push(bound))?,
            _ => {}
        }
    }
    Ok(convert(&raw))
}

fn span(value: Value<'_>) -> Result<(i64, u64), IngestError> {
    let (mut span, mut fields) = ((0, 0), Fields::of(value.bytes()?));
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => span.0 = signed(value.integer()?),
            2 => span.1 = value.integer()?,
            _ => {}
        }
    }
    Ok(span)
}

fn convert(raw: &Raw) -> Outcome {
    const GAUGE: u64 = 3;
    if super::is_stale(raw.sum) {
        return Outcome::Stale;
    }
    if raw.reset_hint == GAUGE {
        return Outcome::Rejected("gauge_histogram", "a histogram that is a gauge has no form in OTLP");
    }
    let (Some(count), Some(zero_count)) = (raw.count.whole(), raw.zero_count.whole()) else {
        return Outcome::Rejected("float_histogram", "a histogram with counts that are no whole numbers");
    };
    let buckets = if raw.schema == CUSTOM { explicit(raw) } else { exponential(raw, zero_count) };
    match buckets {
        Ok(buckets) => {
            let sum = Some(raw.sum).filter(|sum| sum.is_finite());
            Outcome::Histogram(Native { time_ms: raw.time_ms, count, sum, buckets })
        }
        Err(detail) => Outcome::Rejected("inconsistent_buckets", detail),
    }
}

fn exponential(raw: &Raw, zero_count: u64) -> Result<NativeBuckets, &'static str> {
    if !(-4..=8).contains(&raw.schema) {
        return Err("schema is neither -4 to 8 nor -53");
    }
    let (positive, negative) = (raw.positive.buckets(-1)?, raw.negative.buckets(-1)?);
    let mut halvings = 0;
    while [&positive, &negative].iter().any(|side| width(side, halvings) > BUCKETS_MAX) {
        halvings += 1;
    }
    let scale = raw.schema - i64::from(halvings);
    // Indexes of 32 bits have become few long before this scale.
    if scale < -10 {
        return Err("buckets are too far apart");
    }
    Ok(NativeBuckets::Exponential {
        scale: scale as i32,
        zero_count,
        zero_threshold: raw.zero_threshold,
        positive: run(&positive, halvings)?,
        negative: run(&negative, halvings)?,
    })
}

fn explicit(raw: &Raw) -> Result<NativeBuckets, &'static str> {
    let mut bounds = raw.custom_values.clone();
    if bounds.last() == Some(&f64::INFINITY) {
        bounds.pop();
    }
    if bounds.iter().any(|bound| !bound.is_finite()) || !bounds.is_sorted_by(|a, b| a < b) {
        return Err("custom bounds are not increasing numbers");
    }
    let mut counts = vec![0; bounds.len() + 1];
    for (index, count) in raw.positive.buckets(0)? {
        let bucket = usize::try_from(index).ok().and_then(|index| counts.get_mut(index));
        *bucket.ok_or("a span goes beyond the custom bounds")? = count;
    }
    Ok(NativeBuckets::Explicit { bounds, counts })
}

/// How many buckets a side spans when the resolution was halved so often.
fn width(side: &[(i64, u64)], halvings: u32) -> i64 {
    match (side.first(), side.last()) {
        (Some(first), Some(last)) => (last.0 >> halvings) - (first.0 >> halvings) + 1,
        _ => 0,
    }
}

fn run(side: &[(i64, u64)], halvings: u32) -> Result<Run, &'static str> {
    let Some((first, _)) = side.first() else { return Ok(Run::default()) };
    let first = first >> halvings;
    let mut counts = vec![0u64; width(side, halvings) as usize];
    for (index, count) in side {
        let bucket = &mut counts[((index >> halvings) - first) as usize];
        *bucket = bucket.checked_add(*count).ok_or("the buckets' counts overflow")?;
    }
    Ok(Run { offset: i32::try_from(first).map_err(|_| "a bucket's index overflows")?, counts })
}

impl RawSide {
    /// Index and count of every bucket, in order; `shift` is added to each index.
    fn buckets(&self, shift: i64) -> Result<Vec<(i64, u64)>, &'static str> {
        let listed = self.deltas.len().max(self.counts.len()) as u64;
        let spanned = self.spans.iter().try_fold(0u64, |sum, span| sum.checked_add(span.1));
        if spanned != Some(listed) || (!self.deltas.is_empty() && !self.counts.is_empty()) {
            return Err("there must be one count for each bucket of the spans");
        }
        let (mut buckets, mut index, mut total, mut at) = (Vec::with_capacity(listed as usize), shift, 0i64, 0);
        for (span_at, (gap, length)) in self.spans.iter().enumerate() {
            if span_at > 0 && *gap < 0 {
                return Err("spans overlap");
            }
            index += gap;
            for _ in 0..*length {
                let count = match self.deltas.get(at) {
                    Some(delta) => {
                        total = total.checked_add(*delta).ok_or("the buckets' counts overflow")?;
                        u64::try_from(total).map_err(|_| "a bucket's count is negative")?
                    }
                    None => whole(self.counts[at]).ok_or("a bucket's count is no whole number")?,
                };
                if i32::try_from(index).is_err() {
                    return Err("a bucket's index overflows");
                }
                buckets.push((index, count));
                (index, at) = (index + 1, at + 1);
            }
        }
        Ok(buckets)
    }
}

impl Count {
    fn whole(self) -> Option<u64> {
        self.float.map_or(Some(self.integer), whole)
    }
}

/// A double that is a count.
pub(super) fn whole(value: f64) -> Option<u64> {
    (value.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&value)).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(schema: i64, spans: &[(i64, u64)], deltas: &[i64]) -> Raw {
        let positive = RawSide { spans: spans.to_vec(), deltas: deltas.to_vec(), counts: Vec::new() };
        Raw { schema, positive, sum: 1.0, ..Raw::default() }
    }

    fn positive(raw: &Raw) -> (i32, Run) {
        match convert(raw) {
            Outcome::Histogram(Native { buckets: NativeBuckets::Exponential { scale, positive, .. }, .. }) => {
                (scale, positive)
            }
            other => panic!("{other:?}"),
        }
    }

    fn rejected(raw: &Raw) -> &'static str {
        match convert(raw) {
            Outcome::Rejected(reason, _) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn indexes_differ_by_one_and_gaps_are_filled() {
        // The bucket with index 1 of schema 0 holds (1, 2]; OTLP gives it index 0.
        let (scale, run) = positive(&raw(0, &[(1, 2), (2, 1)], &[3, -1, 4]));
        assert_eq!((scale, run), (0, Run { offset: 0, counts: vec![3, 2, 0, 0, 6] }));
        let (_, run) = positive(&raw(3, &[(-7, 1)], &[1]));
        assert_eq!(run, Run { offset: -8, counts: vec![1] });
        assert_eq!(positive(&raw(8, &[], &[])).1, Run::default());
    }

    #[test]
    fn far_apart_buckets_lose_resolution_and_no_counts() {
        let (scale, run) = positive(&raw(8, &[(-1999, 1), (3998, 1)], &[5, 2]));
        assert_eq!((scale, run.offset, run.counts.len()), (6, -500, 1000));
        assert_eq!((run.counts[0], run.counts[999], run.counts.iter().sum::<u64>()), (5, 7, 12));
        assert_eq!(
            rejected(&raw(-4, &[(i32::MIN.into(), 1), (i64::from(i32::MAX), 1)], &[1, 0])),
            "inconsistent_buckets"
        );
    }

    #[test]
    fn contradictions_are_rejected_with_their_reason() {
        assert_eq!(rejected(&raw(9, &[(0, 1)], &[1])), "inconsistent_buckets");
        assert_eq!(rejected(&raw(0, &[(0, 2)], &[1])), "inconsistent_buckets");
        assert_eq!(rejected(&raw(0, &[(0, 1)], &[-1])), "inconsistent_buckets");
        assert_eq!(rejected(&raw(0, &[(0, u64::MAX), (0, 2)], &[1])), "inconsistent_buckets");
        assert_eq!(rejected(&raw(0, &[(0, 1), (-1, 1)], &[1, 1])), "inconsistent_buckets");
        assert_eq!(rejected(&raw(0, &[(i64::MAX, 1)], &[1])), "inconsistent_buckets");
        assert_eq!(rejected(&Raw { reset_hint: 3, ..raw(0, &[], &[]) }), "gauge_histogram");
        let half = Count { integer: 0, float: Some(0.5) };
        assert_eq!(rejected(&Raw { count: half, ..raw(0, &[], &[]) }), "float_histogram");
        let stale = f64::from_bits(super::super::STALE_NAN);
        assert_eq!(convert(&Raw { sum: stale, ..raw(0, &[], &[]) }), Outcome::Stale);
    }

    #[test]
    fn custom_bounds_become_explicit_ones() {
        let custom = Raw { custom_values: vec![0.1, 1.0, f64::INFINITY], ..raw(CUSTOM, &[(0, 1), (1, 1)], &[2, 1]) };
        let Outcome::Histogram(native) = convert(&custom) else { panic!("it is good") };
        let expected = NativeBuckets::Explicit { bounds: vec![0.1, 1.0], counts: vec![2, 0, 3] };
        assert_eq!(native.buckets, expected);
        let beyond = Raw { custom_values: vec![0.1], ..raw(CUSTOM, &[(2, 1)], &[1]) };
        assert_eq!(rejected(&beyond), "inconsistent_buckets");
    }
}
