//! `ExportMetricsServiceRequest`: metrics and the points under them.
//!
//! A metric is walked twice: first for its name, unit and kind, which may stand behind the points, then for the points.

use crate::ScanError;
use crate::check;
use crate::points::{self, Point};
use crate::resource::{Resource, Scope, walk};
use crate::wire::{Depth, LEN, Reader, VARINT, key};

/// What a metric is, apart from its points.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    /// Name of the metric.
    pub name: &'a [u8],
    /// Unit in UCUM, or empty.
    pub unit: &'a [u8],
    /// Text for people, or empty.
    pub description: &'a [u8],
    /// 1 delta, 2 cumulative; 0 when unset and for gauges and summaries; other numbers are possible.
    pub temporality: i32,
    /// Whether a sum only grows. False for every other kind.
    pub monotonic: bool,
    /// The kind of its points.
    pub kind: MetricKind,
}

/// The kind of a metric, which is the kind of all its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MetricKind {
    /// A value that was measured.
    Gauge = 5,
    /// A value that adds up.
    Sum = 7,
    /// Counts in buckets with explicit bounds.
    Histogram = 9,
    /// Counts in buckets that grow exponentially.
    ExponentialHistogram = 10,
    /// Quantiles that the sender computed.
    Summary = 11,
}

impl MetricKind {
    /// The word used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricKind::Gauge => "gauge",
            MetricKind::Sum => "sum",
            MetricKind::Histogram => "histogram",
            MetricKind::ExponentialHistogram => "exponential_histogram",
            MetricKind::Summary => "summary",
        }
    }

    /// Which fields of the kind's message OTLP defines: 1 points, 2 temporality, 3 monotonic.
    fn known_fields(self) -> u32 {
        match self {
            MetricKind::Gauge | MetricKind::Summary => 0b10,
            MetricKind::Histogram | MetricKind::ExponentialHistogram => 0b110,
            MetricKind::Sum => 0b1110,
        }
    }
}

/// Takes what [`scan_metrics`] finds, in this order: a resource, then each of its scopes, then each of their metrics, each
/// with its points. Resources and scopes without metrics, and metrics without points, are reported too; a metric that
/// does not even say its kind is not.
pub trait MetricSink<'a> {
    /// The resource of the scopes and metrics that follow.
    fn resource(&mut self, resource: &Resource<'a>);
    /// The scope of the metrics that follow.
    fn scope(&mut self, scope: &Scope<'a>);
    /// The metric of the points that follow.
    fn metric(&mut self, metric: &Metric<'a>);
    /// One point of the metric.
    fn point(&mut self, metric: &Metric<'a>, point: &Point<'a>);
}

/// Scans an `ExportMetricsServiceRequest`. What is checked, and what an error means, is as with [`crate::scan_logs`].
pub fn scan_metrics<'a, S: MetricSink<'a>>(request: &'a [u8], sink: &mut S) -> Result<(), ScanError> {
    walk(request, sink, S::resource, S::scope, |sink, metric, depth| {
        let Some((head, data)) = read_head(metric, depth)? else {
            return Ok(());
        };
        sink.metric(&head);
        each_point(data.from, depth, data.kind, |point| sink.point(&head, point))
    })
}

/// The member of a metric's oneof that counts, and where its occurrences begin.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub(crate) kind: MetricKind,
    /// Stands on the key of the first occurrence that counts.
    pub(crate) from: Reader<'a>,
    temporality: i32,
    monotonic: bool,
}

const GAUGE: u64 = key(MetricKind::Gauge as u64, LEN);
const SUM: u64 = key(MetricKind::Sum as u64, LEN);
const HISTOGRAM: u64 = key(MetricKind::Histogram as u64, LEN);
const EXPONENTIAL_HISTOGRAM: u64 = key(MetricKind::ExponentialHistogram as u64, LEN);
const SUMMARY: u64 = key(MetricKind::Summary as u64, LEN);

/// Reads everything of a metric but its points. `None` when it has no data.
pub(crate) fn read_head<'a>(metric: Reader<'a>, depth: Depth) -> Result<Option<(Metric<'a>, Data<'a>)>, ScanError> {
    const NAME: u64 = key(1, LEN);
    const DESCRIPTION: u64 = key(2, LEN);
    const UNIT: u64 = key(3, LEN);
    const METADATA: u64 = key(12, LEN);
    const KNOWN: u32 = 0b1_1110_1010_1110;

    let (mut name, mut description, mut unit): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let mut data = None;
    let mut r = metric;
    while !r.is_at_end() {
        let at = r;
        let kind = match r.key()? {
            NAME => {
                name = r.bytes()?;
                continue;
            }
            DESCRIPTION => {
                description = r.bytes()?;
                continue;
            }
            UNIT => {
                unit = r.bytes()?;
                continue;
            }
            METADATA => {
                check::key_value(r.message()?, depth.enter(at)?)?;
                continue;
            }
            GAUGE => MetricKind::Gauge,
            SUM => MetricKind::Sum,
            HISTOGRAM => MetricKind::Histogram,
            EXPONENTIAL_HISTOGRAM => MetricKind::ExponentialHistogram,
            SUMMARY => MetricKind::Summary,
            other => {
                r.unknown(other, at, KNOWN, depth)?;
                continue;
            }
        };
        let mut current = current_data(depth, data, kind, at)?;
        read_data(r.message()?, depth.enter(at)?, &mut current)?;
        data = Some(current);
    }
    Ok(data.map(|data| {
        let Data { kind, temporality, monotonic, .. } = data;
        (Metric { name, unit, description, temporality, monotonic, kind }, data)
    }))
}

/// A data field of the same kind as the one before continues it; one of another kind replaces it. What is replaced is
/// checked all the same.
fn current_data<'a>(
    depth: Depth,
    before: Option<Data<'a>>,
    kind: MetricKind,
    at: Reader<'a>,
) -> Result<Data<'a>, ScanError> {
    match before {
        Some(data) if data.kind == kind => return Ok(data),
        Some(data) => each_point(data.from.cut(at), depth, data.kind, |_| {})?,
        None => {}
    }
    Ok(Data { kind, from: at, temporality: 0, monotonic: false })
}

/// Reads a `Gauge`, `Sum` and so on, stepping over its points.
fn read_data(mut r: Reader<'_>, depth: Depth, data: &mut Data<'_>) -> Result<(), ScanError> {
    const POINTS: u64 = key(1, LEN);
    const TEMPORALITY: u64 = key(2, VARINT);
    const MONOTONIC: u64 = key(3, VARINT);
    let known = data.kind.known_fields();
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            POINTS => drop(r.bytes()?),
            TEMPORALITY if known & 1 << 2 != 0 => data.temporality = r.varint()? as i32,
            MONOTONIC if known & 1 << 3 != 0 => data.monotonic = r.varint()? != 0,
            other => r.unknown(other, at, known, depth)?,
        }
    }
    Ok(())
}

/// Reads the points of the metric's data from where that data begins; everything else of the metric was read before.
/// Data that was replaced lies before, and is not walked again: a metric of a million replaced kinds stays cheap.
fn each_point<'a>(
    mut metric: Reader<'a>,
    depth: Depth,
    kind: MetricKind,
    mut on_point: impl FnMut(&Point<'a>),
) -> Result<(), ScanError> {
    const POINTS: u64 = key(1, LEN);
    while !metric.is_at_end() {
        let at = metric;
        let found = metric.key()?;
        if found != key(kind as u64, LEN) {
            metric.skip(found, at, depth)?;
            continue;
        }
        let mut list = metric.message()?;
        let list_depth = depth.enter(at)?;
        while !list.is_at_end() {
            let at = list;
            match list.key()? {
                POINTS => on_point(&points::read(list.message()?, list_depth.enter(at)?, kind)?),
                other => list.skip(other, at, list_depth)?,
            }
        }
    }
    Ok(())
}
