//! Prometheus' native histograms as OTLP histograms: exponential ones keep their resolution, those with custom bounds become
//! histograms with explicit bounds.
//!
//! Prometheus names a bucket by its upper bound and OTLP by its lower one, so indexes differ by one. Sparse spans become
//! runs of counts; where gaps would make a run very long the resolution is halved, which loses nothing but resolution.
//!
//! Counts that are no whole numbers (recording rules make them) are rounded bucket by bucket, and the count of all is the sum
//! of what is kept. Rounding each bucket by itself is what keeps running totals from ever going down, and since it is the
//! total that is rounded, the errors of many points do not add up. A gauge has no total, and may be all fractions: its
//! counts and its sum are multiplied by [`GAUGE_SCALE`] first, and the point says so.

use super::wire::{Fields, Value, doubles, integers, signed};
use crate::error::IngestError;

/// Buckets on one side beyond which the resolution is halved. SDKs stop at 160.
const BUCKETS_MAX: i64 = 1024;
/// The schema that stands for custom bounds.
const CUSTOM: i64 = -53;
/// Counts above this are not exact in a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// What the counts of a gauge with fractions are multiplied by: a rate of one observation in eleven days is still there.
pub(super) const GAUGE_SCALE: f64 = 1e6;
/// How far a float histogram's count may be from the sum of its buckets, as a share: sums of doubles are not exact.
const COUNT_TOLERANCE: f64 = 1e-6;

/// A histogram as it can be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Native {
    pub(super) time_ms: i64,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) buckets: NativeBuckets,
    /// It goes up and down, and is no running total.
    pub(super) is_gauge: bool,
    /// Counts and sum are this many times what was sent; 1 but for gauges with fractions.
    pub(super) scale: f64,
    /// Whether fractions of counts were rounded away.
    pub(super) rounded: bool,
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
    let is_gauge = raw.reset_hint == GAUGE;
    let fractions = raw.floats().any(|count| count.fract() != 0.0);
    let fits = raw.floats().all(|count| count * GAUGE_SCALE <= EXACT_MAX);
    let scale = if is_gauge && fractions && fits { GAUGE_SCALE } else { 1.0 };
    let Some(zero_count) = raw.zero_count.scaled(scale) else {
        return Outcome::Rejected("float_histogram", "a count is negative or beyond what a double holds exactly");
    };
    let buckets = if raw.schema == CUSTOM { explicit(raw, scale) } else { exponential(raw, zero_count, scale) };
    match buckets.and_then(|buckets| Ok((raw.count(&buckets, scale)?, buckets))) {
        Ok((count, buckets)) => {
            let sum = Some(raw.sum * scale).filter(|sum| sum.is_finite());
            let rounded = fractions && scale == 1.0;
            Outcome::Histogram(Native { time_ms: raw.time_ms, count, sum, buckets, is_gauge, scale, rounded })
        }
        Err(detail) => Outcome::Rejected("inconsistent_buckets", detail),
    }
}

impl Raw {
    /// All counts of a float histogram.
    fn floats(&self) -> impl Iterator<Item = f64> + '_ {
        let sides = self.positive.counts.iter().chain(&self.negative.counts).copied();
        self.count.float.into_iter().chain(self.zero_count.float).chain(sides)
    }

    /// The count of all: of a float histogram what its rounded buckets add up to, if that is what it says itself.
    fn count(&self, buckets: &NativeBuckets, scale: f64) -> Result<u64, &'static str> {
        let Some(said) = self.count.float else { return Ok(self.count.integer) };
        let sides = self.positive.counts.iter().chain(&self.negative.counts).sum::<f64>();
        let zeros = if self.schema == CUSTOM { 0.0 } else { self.zero_count.value() };
        // Not a number compares as false, and is refused with the rest.
        let agrees = (said - sides - zeros).abs() <= COUNT_TOLERANCE * said.max(1.0 / scale);
        if !agrees {
            return Err("the buckets' counts do not add up to count");
        }
        let lists: [&[u64]; 3] = match buckets {
            NativeBuckets::Exponential { zero_count, positive, negative, .. } => {
                [std::slice::from_ref(zero_count), &positive.counts, &negative.counts]
            }
            NativeBuckets::Explicit { counts, .. } => [counts, &[], &[]],
        };
        let total = lists.into_iter().flatten().try_fold(0u64, |total, count| total.checked_add(*count));
        total.ok_or("the buckets' counts overflow")
    }
}

fn exponential(raw: &Raw, zero_count: u64, scale: f64) -> Result<NativeBuckets, &'static str> {
    if !(-4..=8).contains(&raw.schema) {
        return Err("schema is neither -4 to 8 nor -53");
    }
    let (positive, negative) = (raw.positive.buckets(-1, scale)?, raw.negative.buckets(-1, scale)?);
    let mut halvings = 0;
    while [&positive, &negative].iter().any(|side| width(side, halvings) > BUCKETS_MAX) {
        halvings += 1;
    }
    let resolution = raw.schema - i64::from(halvings);
    // Indexes of 32 bits have become few long before this scale.
    if resolution < -10 {
        return Err("buckets are too far apart");
    }
    Ok(NativeBuckets::Exponential {
        scale: resolution as i32,
        zero_count,
        zero_threshold: raw.zero_threshold,
        positive: run(&positive, halvings)?,
        negative: run(&negative, halvings)?,
    })
}

fn explicit(raw: &Raw, scale: f64) -> Result<NativeBuckets, &'static str> {
    let mut bounds = raw.custom_values.clone();
    if bounds.last() == Some(&f64::INFINITY) {
        bounds.pop();
    }
    if bounds.iter().any(|bound| !bound.is_finite()) || !bounds.is_sorted_by(|a, b| a < b) {
        return Err("custom bounds are not increasing numbers");
    }
    let mut counts = vec![0; bounds.len() + 1];
    for (index, count) in raw.positive.buckets(0, scale)? {
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
    /// Index and count of every bucket, in order; `shift` is added to each index, float counts are multiplied by `scale`.
    fn buckets(&self, shift: i64, scale: f64) -> Result<Vec<(i64, u64)>, &'static str> {
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
                    None => rounded(self.counts[at] * scale).ok_or("a bucket's count is negative or no number")?,
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
    fn value(self) -> f64 {
        self.float.unwrap_or(self.integer as f64)
    }

    fn scaled(self, scale: f64) -> Option<u64> {
        self.float.map_or(Some(self.integer), |count| rounded(count * scale))
    }
}

/// The nearest count.
fn rounded(value: f64) -> Option<u64> {
    (0.0..=EXACT_MAX).contains(&value).then(|| value.round() as u64)
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

    /// A float histogram of schema 0 with one span of buckets.
    fn floats(reset_hint: u64, count: f64, zero: f64, counts: &[f64]) -> Raw {
        let float = |value| Count { integer: 0, float: Some(value) };
        let positive = RawSide { spans: vec![(0, counts.len() as u64)], deltas: Vec::new(), counts: counts.to_vec() };
        Raw { count: float(count), zero_count: float(zero), positive, sum: 1.5, reset_hint, ..Raw::default() }
    }

    fn taken(raw: &Raw) -> (u64, Vec<u64>, f64, bool) {
        match convert(raw) {
            Outcome::Histogram(Native {
                count,
                scale,
                rounded,
                buckets: NativeBuckets::Exponential { zero_count, positive, .. },
                ..
            }) => (count, [&[zero_count], &positive.counts[..]].concat(), scale, rounded),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whole_float_counts_are_exact_and_fractions_are_rounded_bucket_by_bucket() {
        assert_eq!(taken(&floats(0, 6.0, 1.0, &[2.0, 3.0])), (6, vec![1, 2, 3], 1.0, false));
        assert_eq!(taken(&floats(0, 6.2, 1.4, &[2.4, 2.4])), (5, vec![1, 2, 2], 1.0, true));
        let nothing = floats(0, 0.0, 0.0, &[]);
        assert_eq!(taken(&nothing), (0, vec![0], 1.0, false));
    }

    #[test]
    fn a_gauge_of_fractions_is_scaled_and_says_so() {
        let rate = floats(3, 0.03, 0.0, &[0.01, 0.02]);
        assert_eq!(taken(&rate), (30_000, vec![0, 10_000, 20_000], GAUGE_SCALE, false));
        let Outcome::Histogram(native) = convert(&rate) else { panic!("it is good") };
        assert_eq!((native.sum, native.is_gauge), (Some(1.5e6), true));
        assert_eq!(taken(&floats(3, 5.0, 0.0, &[2.0, 3.0])), (5, vec![0, 2, 3], 1.0, false));
        let Outcome::Histogram(integers) = convert(&Raw { reset_hint: 3, ..raw(0, &[(0, 1)], &[4]) }) else {
            panic!("it is good")
        };
        assert!(integers.is_gauge && integers.scale == 1.0);
    }

    #[test]
    fn only_what_cannot_be_a_count_is_rejected() {
        for (bad, reason) in [
            (floats(0, 1.0, -0.5, &[1.5]), "float_histogram"),
            (floats(0, 1.0, f64::NAN, &[1.0]), "float_histogram"),
            (floats(0, 1e300, 1e300, &[]), "float_histogram"),
            (floats(0, 1.0, 0.0, &[f64::INFINITY]), "inconsistent_buckets"),
            (floats(0, 1.0, 0.0, &[-1.0, 2.0]), "inconsistent_buckets"),
            (floats(0, 7.0, 0.0, &[2.0, 3.0]), "inconsistent_buckets"),
            (floats(0, f64::NAN, 0.0, &[2.0]), "inconsistent_buckets"),
        ] {
            assert_eq!(rejected(&bad), reason);
        }
    }

    proptest::proptest! {
        /// A running total that grows by any fractions never goes down in any bucket once it is rounded, and what it grew by
        /// from first to last is right to one observation a bucket, however many points lie between.
        #[test]
        fn rounded_totals_never_go_down(steps in proptest::collection::vec(proptest::array::uniform4(0.0f64..3.0), 1..40)) {
            let (mut total, mut before) = ([0.0f64; 4], [0u64; 4]);
            for step in &steps {
                total.iter_mut().zip(step).for_each(|(total, step)| *total += step);
                let (count, buckets, ..) = taken(&floats(0, total.iter().sum(), total[0], &total[1..]));
                proptest::prop_assert_eq!(count, buckets.iter().sum::<u64>());
                for at in 0..4 {
                    proptest::prop_assert!(buckets[at] >= before[at]);
                    proptest::prop_assert!((buckets[at] as f64 - total[at]).abs() <= 0.5);
                    before[at] = buckets[at];
                }
            }
        }
    }
}
