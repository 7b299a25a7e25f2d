//! The points of a metric, one struct for each kind.
//!
//! Values are the sender's: NaN, bounds out of order and buckets that do not add up are not errors of the wire form; the
//! consumer judges them. Exemplars are checked and passed over.

mod read;

pub(crate) use read::read;

use crate::attributes::KeyValues;
use crate::fields::{Fields, FieldsIter};
use crate::numbers::{F64s, U64s};

/// Flag of a point that says only that there is no value.
const NO_RECORDED_VALUE: u32 = 1;

/// A point of a metric.
#[derive(Clone, Copy, Debug)]
pub enum Point<'a> {
    /// Of a gauge or a sum.
    Number(NumberPoint<'a>),
    /// Of a histogram.
    Histogram(HistogramPoint<'a>),
    /// Of an exponential histogram.
    ExponentialHistogram(ExponentialHistogramPoint<'a>),
    /// Of a summary.
    Summary(SummaryPoint<'a>),
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NumberValue {
    /// A whole number.
    Int(i64),
    /// A number; may be NaN or infinite.
    Double(f64),
}

impl NumberValue {
    /// The number as a double; whole numbers beyond 2^53 are rounded.
    #[inline]
    pub fn as_f64(self) -> f64 {
        match self {
            NumberValue::Int(value) => value as f64,
            NumberValue::Double(value) => value,
        }
    }
}

/// A point of a gauge or a sum. Times are nanoseconds since the epoch, in every kind of point.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberPoint<'a> {
    /// Since when it adds up; 0 when unknown.
    pub start_time_unix_nano: u64,
    /// When it was measured.
    pub time_unix_nano: u64,
    /// The value; `None` when the sender gave none.
    pub value: Option<NumberValue>,
    /// Bit 0: no recorded value.
    pub flags: u32,
    /// Attributes of the point.
    pub attributes: KeyValues<'a>,
}

/// A point of a histogram.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistogramPoint<'a> {
    /// Since when it adds up; 0 when unknown.
    pub start_time_unix_nano: u64,
    /// When it was measured.
    pub time_unix_nano: u64,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// Counts per bucket: one more than there are bounds, or none.
    pub bucket_counts: U64s<'a>,
    /// Upper bounds of the buckets, inclusive.
    pub explicit_bounds: F64s<'a>,
    /// Bit 0: no recorded value.
    pub flags: u32,
    /// Attributes of the point.
    pub attributes: KeyValues<'a>,
}

/// A point of an exponential histogram: bucket `i` holds values in `(base^i, base^(i+1)]` with `base = 2^(2^-scale)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExponentialHistogramPoint<'a> {
    /// Since when it adds up; 0 when unknown.
    pub start_time_unix_nano: u64,
    /// When it was measured.
    pub time_unix_nano: u64,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// Resolution of the buckets; any number is possible.
    pub scale: i32,
    /// How many values were zero, or nearer to it than `zero_threshold`.
    pub zero_count: u64,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Buckets of positive values.
    pub positive: Buckets<'a>,
    /// Buckets of negative values.
    pub negative: Buckets<'a>,
    /// Bit 0: no recorded value.
    pub flags: u32,
    /// Attributes of the point.
    pub attributes: KeyValues<'a>,
}

/// One side of an exponential histogram.
#[derive(Clone, Copy, Debug, Default)]
pub struct Buckets<'a> {
    /// Index of the first bucket.
    pub offset: i32,
    /// Counts of that bucket and those behind it.
    pub bucket_counts: U64s<'a>,
}

/// A point of a summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct SummaryPoint<'a> {
    /// Since when it adds up; 0 when unknown.
    pub start_time_unix_nano: u64,
    /// When it was measured.
    pub time_unix_nano: u64,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The quantiles that the sender chose.
    pub quantiles: Quantiles<'a>,
    /// Bit 0: no recorded value.
    pub flags: u32,
    /// Attributes of the point.
    pub attributes: KeyValues<'a>,
}

impl<'a> Point<'a> {
    /// When it was measured, in nanoseconds since the epoch.
    #[inline]
    pub fn time_unix_nano(&self) -> u64 {
        match self {
            Point::Number(point) => point.time_unix_nano,
            Point::Histogram(point) => point.time_unix_nano,
            Point::ExponentialHistogram(point) => point.time_unix_nano,
            Point::Summary(point) => point.time_unix_nano,
        }
    }

    /// Since when it adds up, in nanoseconds since the epoch; 0 when unknown.
    #[inline]
    pub fn start_time_unix_nano(&self) -> u64 {
        match self {
            Point::Number(point) => point.start_time_unix_nano,
            Point::Histogram(point) => point.start_time_unix_nano,
            Point::ExponentialHistogram(point) => point.start_time_unix_nano,
            Point::Summary(point) => point.start_time_unix_nano,
        }
    }

    /// Attributes of the point.
    #[inline]
    pub fn attributes(&self) -> KeyValues<'a> {
        match self {
            Point::Number(point) => point.attributes,
            Point::Histogram(point) => point.attributes,
            Point::ExponentialHistogram(point) => point.attributes,
            Point::Summary(point) => point.attributes,
        }
    }

    /// The flags as sent.
    #[inline]
    pub fn flags(&self) -> u32 {
        match self {
            Point::Number(point) => point.flags,
            Point::Histogram(point) => point.flags,
            Point::ExponentialHistogram(point) => point.flags,
            Point::Summary(point) => point.flags,
        }
    }

    /// Whether the point says only that there is no value, as when a target went away.
    #[inline]
    pub fn has_no_value(&self) -> bool {
        self.flags() & NO_RECORDED_VALUE != 0
    }
}

/// A quantile of a summary.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantile {
    /// 0..=1; other numbers are possible.
    pub quantile: f64,
    /// The value at the quantile.
    pub value: f64,
}

/// The quantiles of a summary, decoded as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Quantiles<'a> {
    fields: Fields<'a>,
}

impl<'a> Quantiles<'a> {
    /// The quantiles in the sender's order.
    pub fn iter(&self) -> QuantilesIter<'a> {
        QuantilesIter { fields: self.fields.iter() }
    }
}

impl Default for Quantiles<'_> {
    #[inline]
    fn default() -> Self {
        Quantiles { fields: Fields::EMPTY }
    }
}

impl<'a> IntoIterator for Quantiles<'a> {
    type Item = Quantile;
    type IntoIter = QuantilesIter<'a>;

    #[inline]
    fn into_iter(self) -> QuantilesIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Quantiles`].
#[derive(Clone, Debug)]
pub struct QuantilesIter<'a> {
    fields: FieldsIter<'a>,
}

impl Iterator for QuantilesIter<'_> {
    type Item = Quantile;

    fn next(&mut self) -> Option<Quantile> {
        self.fields.next_message().and_then(read::checked_quantile)
    }
}
