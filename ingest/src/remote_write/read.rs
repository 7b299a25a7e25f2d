//! The two messages of remote-write, `prometheus.WriteRequest` (1.0) and `io.prometheus.write.v2.Request` (2.0), as one kind
//! of series that borrow from the request. Samples and histograms are laid out alike in both and read when they are needed.
//!
//! What it takes in memory is known before it is allocated: [`memory`] counts first.

use std::collections::HashMap;

use super::family::{Kind, of_name};
use super::metadata::Said;
use super::wire::{Fields, integers};
use crate::decode::Rejected;
use crate::error::IngestError;

/// Which message a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    V1,
    V2,
}

/// Name and value.
pub(super) type Label<'a> = (&'a [u8], &'a [u8]);

/// A time series with what it brought.
#[derive(Clone, Debug)]
pub(super) struct Series<'a> {
    /// Sorted by name, `__name__` among them.
    pub(super) labels: Vec<Label<'a>>,
    pub(super) name: &'a [u8],
    pub(super) kind: Kind,
    pub(super) unit: &'a [u8],
    /// When its totals began, in milliseconds since the epoch; 0 when unknown.
    pub(super) created_ms: i64,
    message: &'a [u8],
    protocol: Protocol,
}

/// Everything that a request holds.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    pub(super) series: Vec<Series<'a>>,
    /// Of families, in 1.0.
    pub(super) metadata: HashMap<&'a [u8], (Kind, &'a [u8])>,
    pub(super) samples: u64,
    pub(super) histograms: u64,
    pub(super) exemplars: u64,
    /// Of samples in series that cannot be used.
    pub(super) rejected: Rejected,
    pub(super) samples_rejected: u64,
    pub(super) histograms_rejected: u64,
}

/// What occurs in a series.
pub(super) enum Item<'a> {
    Sample {
        time_ms: i64,
        value: f64,
    },
    Histogram(&'a [u8]),
    /// Not read any further.
    Exemplar,
}

const SERIES_BYTES: usize = size_of::<Series<'static>>() + 160;
const LABEL_BYTES: usize = size_of::<Label<'static>>();

/// How many bytes [`read`] will allocate at most.
pub(super) fn memory(request: &[u8], protocol: Protocol) -> Result<usize, IngestError> {
    let (series_field, symbols_field) = fields_of(protocol);
    let (mut bytes, mut fields) = (0usize, Fields::of(request));
    while let Some((number, value)) = fields.next()? {
        if number == series_field {
            bytes += SERIES_BYTES;
            let mut inner = Fields::of(value.bytes()?);
            while let Some((number, value)) = inner.next()? {
                match (number, protocol) {
                    (1, Protocol::V1) => bytes += LABEL_BYTES,
                    (1, Protocol::V2) => integers(value, |_| bytes += LABEL_BYTES / 2)?,
                    _ => {}
                }
            }
        } else if number == symbols_field {
            bytes += size_of::<&[u8]>() * 2;
        }
    }
    // Vectors that grow are up to twice as large as what they hold.
    Ok(bytes * 2)
}

/// Field numbers of the series, and of the symbols (2.0) or the metadata (1.0).
fn fields_of(protocol: Protocol) -> (u64, u64) {
    match protocol {
        Protocol::V1 => (1, 3),
        Protocol::V2 => (5, 4),
    }
}

/// Reads a request. A series that cannot be used is rejected with what it brought; only broken bytes are an error.
pub(super) fn read(request: &[u8], protocol: Protocol) -> Result<Batch<'_>, IngestError> {
    let (series_field, symbols_field) = fields_of(protocol);
    let (mut symbols, mut metadata) = (Vec::new(), HashMap::new());
    let mut fields = Fields::of(request);
    while let Some((number, value)) = fields.next()? {
        match protocol {
            Protocol::V2 if number == symbols_field => symbols.push(value.bytes()?),
            Protocol::V1 if number == symbols_field => {
                let (family, kind, unit) = family_metadata(value.bytes()?)?;
                metadata.insert(family, (kind, unit));
            }
            _ => {}
        }
    }
    let mut batch = Batch::default();
    let mut fields = Fields::of(request);
    while let Some((number, value)) = fields.next()? {
        if number == series_field {
            let message = value.bytes()?;
            let read = match protocol {
                Protocol::V1 => series_v1(message),
                Protocol::V2 => series_v2(message, &symbols),
            };
            batch.add(read?, message, protocol)?;
        }
    }
    for series in batch.series.iter_mut().filter(|series| series.kind == Kind::Unknown) {
        if let Some((kind, unit)) = of_name(series.name, |name| metadata.get(name).copied()) {
            (series.kind, series.unit) = (kind, unit);
        }
    }
    batch.metadata = metadata;
    Ok(batch)
}

impl<'a> Batch<'a> {
    /// Takes what was said before about series that the request says nothing about; as many as there are series, or none.
    pub(super) fn fill_in(&mut self, said: &'a [Option<Said>]) {
        for (series, said) in self.series.iter_mut().zip(said) {
            if let Some((kind, unit)) = said {
                (series.kind, series.unit) = (*kind, unit);
            }
        }
    }

    /// Takes a series, or what is wrong with its labels.
    fn add(
        &mut self,
        read: Result<Series<'a>, &'static str>,
        message: &'a [u8],
        protocol: Protocol,
    ) -> Result<(), IngestError> {
        let (mut samples, mut histograms, mut exemplars) = (0, 0, 0);
        each_item(message, protocol, |item| match item {
            Item::Sample { .. } => samples += 1,
            Item::Histogram(_) => histograms += 1,
            Item::Exemplar => exemplars += 1,
        })?;
        self.samples += samples;
        self.histograms += histograms;
        self.exemplars += exemplars;
        match read.and_then(Series::checked) {
            Ok(series) => self.series.push(series),
            Err(detail) => {
                self.samples_rejected += samples;
                self.histograms_rejected += histograms;
                self.rejected.add("bad_series", samples + histograms, || detail.to_owned());
            }
        }
        Ok(())
    }
}

impl<'a> Series<'a> {
    pub(super) fn label(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.labels.iter().find(|(found, value)| *found == name && !value.is_empty()).map(|(_, value)| *value)
    }

    /// Hands over the samples and histograms in order.
    pub(super) fn each(&self, each: impl FnMut(Item<'a>)) -> Result<(), IngestError> {
        each_item(self.message, self.protocol, each)
    }

    fn new(message: &'a [u8], protocol: Protocol) -> Self {
        let (labels, name, unit) = (Vec::new(), &b""[..], &b""[..]);
        Series { labels, name, kind: Kind::Unknown, unit, created_ms: 0, message, protocol }
    }

    fn checked(mut self) -> Result<Self, &'static str> {
        if self.labels.iter().any(|(name, value)| {
            name.is_empty() || std::str::from_utf8(name).is_err() || std::str::from_utf8(value).is_err()
        }) {
            return Err("a label without a name, or one that is not UTF-8");
        }
        self.labels.sort_unstable();
        if self.labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("a label is given twice");
        }
        self.name = self.label(b"__name__").ok_or("a series without a metric name")?;
        Ok(self)
    }
}

fn each_item<'a>(message: &'a [u8], protocol: Protocol, mut each: impl FnMut(Item<'a>)) -> Result<(), IngestError> {
    let (histograms, exemplars) = if protocol == Protocol::V1 { (4, 3) } else { (3, 4) };
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 2 {
            let (mut time_ms, mut sample, mut fields) = (0, 0.0, Fields::of(value.bytes()?));
            while let Some((number, value)) = fields.next()? {
                match number {
                    1 => sample = value.double()?,
                    2 => time_ms = value.integer()?.cast_signed(),
                    _ => {}
                }
            }
            each(Item::Sample { time_ms, value: sample });
        } else if number == histograms {
            each(Item::Histogram(value.bytes()?));
        } else if number == exemplars {
            value.bytes()?;
            each(Item::Exemplar);
        }
    }
    Ok(())
}

fn series_v1(message: &[u8]) -> Result<Result<Series<'_>, &'static str>, IngestError> {
    let mut series = Series::new(message, Protocol::V1);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            let (mut label, mut fields) = ((&b""[..], &b""[..]), Fields::of(value.bytes()?));
            while let Some((number, value)) = fields.next()? {
                match number {
                    1 => label.0 = value.bytes()?,
                    2 => label.1 = value.bytes()?,
                    _ => {}
                }
            }
            series.labels.push(label);
        }
    }
    Ok(Ok(series))
}

fn series_v2<'a>(message: &'a [u8], symbols: &[&'a [u8]]) -> Result<Result<Series<'a>, &'static str>, IngestError> {
    let mut series = Series::new(message, Protocol::V2);
    let symbol = |reference: u64| usize::try_from(reference).ok().and_then(|at| symbols.get(at)).copied();
    let (mut half, mut missing) = (None, false);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => integers(value, |reference| match (symbol(reference), half.take()) {
                (None, _) => missing = true,
                (Some(name), None) => half = Some(name),
                (Some(value), Some(name)) => series.labels.push((name, value)),
            })?,
            5 => {
                let mut fields = Fields::of(value.bytes()?);
                while let Some((number, value)) = fields.next()? {
                    match number {
                        1 => series.kind = Kind::from_number(value.integer()?),
                        4 => series.unit = symbol(value.integer()?).unwrap_or_default(),
                        _ => {}
                    }
                }
            }
            6 => series.created_ms = value.integer()?.cast_signed(),
            _ => {}
        }
    }
    if missing || half.is_some() {
        return Ok(Err("a label refers to a symbol that is not there, or has no value"));
    }
    Ok(Ok(series))
}

/// Family, kind and unit of a 1.0 metadata entry.
fn family_metadata(message: &[u8]) -> Result<(&[u8], Kind, &[u8]), IngestError> {
    let (mut family, mut found, mut unit) = (&b""[..], Kind::Unknown, &b""[..]);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => found = Kind::from_number(value.integer()?),
            2 => family = value.bytes()?,
            5 => unit = value.bytes()?,
            _ => {}
        }
    }
    Ok((family, found, unit))
}
