//! Mergeable histograms and distinct counts, and their binary form.
//!
//! Raw durations become [`HdrCells`]. OTLP histograms keep the form in which the client made them until a query converts
//! them, because a conversion is approximate and must be flagged as such. All forms are commutative monoids: the order in
//! which parts are merged changes no count. The bytes are documented in `lib/model/FORMAT.md`; change both together.

mod bytes;
mod distinct;
mod error;
mod explicit;
mod exponential;
mod hdr;
mod hdr_v2;
#[cfg(test)]
mod tests;

pub use distinct::{DISTINCT_CODES_MAX, Distinct};
pub use error::SketchError;
pub use explicit::Explicit;
pub use exponential::{Buckets, EXPONENTIAL_BUCKETS_MAX, Exponential};
pub use hdr::{HDR_TICKS_MAX, HdrCells};

/// A quantile of a histogram, and between which numbers it surely lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileBounds {
    /// The value at the quantile, in the histogram's unit.
    pub value: f64,
    /// Where its bucket begins; `None` where nothing is known: a first bucket without minimum.
    pub low: Option<f64>,
    /// Where its bucket ends; `None` where nothing is known: a last bucket without maximum.
    pub high: Option<f64>,
    /// Whether the value was estimated inside its bucket: so it is for the histograms of OTLP, whose buckets are as wide as their
    /// sender made them. Not so for HDR, whose two digits are promised.
    pub approximate: bool,
}

/// A histogram of any form.
#[derive(Clone, Debug, PartialEq)]
pub enum Sketch {
    /// Two significant digits over integer ticks (microseconds for durations).
    Hdr(HdrCells),
    /// OTLP explicit bounds.
    Explicit(Explicit),
    /// OTLP exponential buckets.
    Exponential(Exponential),
    /// Not a histogram: how many different things were seen.
    Distinct(Distinct),
}

impl Sketch {
    /// Adds `other`. Two histograms of one form always merge without losing a count; two forms never merge, because the
    /// result would be approximate: convert with [`Sketch::to_hdr`] first.
    pub fn merge(&mut self, other: &Sketch) -> Result<(), SketchError> {
        match (self, other) {
            (Sketch::Hdr(cells), Sketch::Hdr(more)) => cells.merge(more),
            (Sketch::Explicit(cells), Sketch::Explicit(more)) => cells.merge(more),
            (Sketch::Exponential(cells), Sketch::Exponential(more)) => cells.merge(more),
            (Sketch::Distinct(things), Sketch::Distinct(more)) => things.merge(more),
            (mine, theirs) => return Err(SketchError::FormsDiffer { left: mine.form(), right: theirs.form() }),
        }
        Ok(())
    }

    /// How many values were recorded; of a distinct count the estimate of how many different things there were.
    pub fn count(&self) -> u64 {
        match self {
            Sketch::Hdr(cells) => cells.count(),
            Sketch::Explicit(cells) => cells.count,
            Sketch::Exponential(cells) => cells.count,
            Sketch::Distinct(things) => things.count(),
        }
    }

    /// The value at quantile `q` (0..=1) in the sketch's unit, and whether it is approximate beyond HDR's two digits.
    /// `None` when the sketch is empty or says nothing about values (one bucket without minimum and maximum).
    pub fn quantile(&self, q: f64) -> Option<(f64, bool)> {
        match self {
            Sketch::Hdr(cells) => cells.quantile(q).map(|ticks| (ticks as f64, false)),
            Sketch::Explicit(cells) => cells.quantile(q).map(|value| (value, true)),
            Sketch::Exponential(cells) => cells.quantile(q).map(|value| (value, true)),
            Sketch::Distinct(_) => None,
        }
    }

    /// The value at quantile `q` with the bounds of its bucket. `None` as for [`Sketch::quantile`].
    pub fn quantile_bounds(&self, q: f64) -> Option<QuantileBounds> {
        let (value, approximate) = self.quantile(q)?;
        let (low, high) = match self {
            Sketch::Hdr(cells) => cells.cell_at(q).map(|(low, high)| (Some(low as f64), Some(high as f64)))?,
            Sketch::Explicit(cells) => cells.bucket_at(q)?,
            Sketch::Exponential(cells) => cells.bucket_at(q)?,
            Sketch::Distinct(_) => return None,
        };
        // A bucket that holds one value only tells it exactly.
        let approximate = approximate && (low.is_none() || low != high);
        Some(QuantileBounds { value, low, high, approximate })
    }

    /// The same distribution in HDR cells, and whether the conversion was approximate. `ticks_per_unit` turns a value of
    /// this sketch into ticks (1e6 for seconds into microseconds); HDR cells are taken as they are. A distinct count has no
    /// distribution: its cells are empty.
    pub fn to_hdr(&self, ticks_per_unit: f64) -> (HdrCells, bool) {
        match self {
            Sketch::Hdr(cells) => (cells.clone(), false),
            Sketch::Explicit(cells) => (cells.to_hdr(ticks_per_unit), true),
            Sketch::Exponential(cells) => (cells.to_hdr(ticks_per_unit), true),
            Sketch::Distinct(_) => (HdrCells::new(), true),
        }
    }

    /// The stored bytes: hdrhistogram's V2 encoding for HDR cells, our tagged forms for the kept OTLP histograms.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Sketch::Hdr(cells) => cells.encode_v2(&mut out),
            Sketch::Explicit(cells) => cells.encode(&mut out),
            Sketch::Exponential(cells) => cells.encode(&mut out),
            Sketch::Distinct(things) => things.encode(&mut out),
        }
        out
    }

    /// Reads what [`Sketch::encode`] wrote. V2 bytes carry no sum, minimum and maximum: these are then estimated from the
    /// cells; set the exact ones with [`HdrCells::with_summary`] where they are known.
    pub fn decode(bytes: &[u8]) -> Result<Sketch, SketchError> {
        match bytes.first() {
            Some(&hdr_v2::FIRST_BYTE) => Ok(Sketch::Hdr(HdrCells::decode_v2(bytes)?)),
            Some(&explicit::TAG) => Ok(Sketch::Explicit(Explicit::decode(bytes)?)),
            Some(&exponential::TAG) => Ok(Sketch::Exponential(Exponential::decode(bytes)?)),
            Some(&distinct::TAG) => Ok(Sketch::Distinct(Distinct::decode(bytes)?)),
            Some(&tag) => Err(SketchError::UnknownForm { tag }),
            None => Err(SketchError::Truncated { offset: 0 }),
        }
    }

    /// The word for the form, for messages.
    pub fn form(&self) -> &'static str {
        match self {
            Sketch::Hdr(_) => "hdr",
            Sketch::Explicit(_) => "explicit",
            Sketch::Exponential(_) => "exponential",
            Sketch::Distinct(_) => "distinct",
        }
    }
}
