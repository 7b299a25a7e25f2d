//! Series become an OTLP metrics request: one resource for each target, one metric for each name and form, and the parts of
//! a classic histogram or summary put together again when they came in one request.
//!
//! Pure, and the same for the same bytes, because a repetition is recognised by what comes out.

use std::collections::HashMap;

use shipwake_otlp::write::{
    ExponentialValues, HistogramValues, MetricForm, PointHead, Side, put_exponential_point, put_histogram_point,
    put_metric, put_number_point, put_resource_metrics,
};
use xxhash_rust::xxh3::Xxh3;

use super::classic::{Part, Parts, part_of};
use super::family::{Kind, base_name, form_of};
use super::identity::{Defaults, Identity, TARGET_INFO, Target, attributes, target};
use super::native::{self, GAUGE_SCALE, Native, NativeBuckets, Outcome, Run};
use super::read::{Batch, Item, Label, Series};
use crate::decode::Rejected;
use crate::error::IngestError;

const SCOPE: &str = "prometheus";
/// The attribute of a point whose counts and sum are so many times what was sent.
const SCALE_ATTRIBUTE: &[u8] = b"shipwake.histogram.scale";
/// What a point takes besides its attributes, and a native histogram besides its own bytes.
const POINT_BYTES: usize = 96;
const BUCKETS_BYTES: usize = 4096;

/// A request in OTLP, and what of the sender's data is not in it.
#[derive(Debug, Default)]
pub(super) struct Converted {
    pub(super) request: Vec<u8>,
    pub(super) rejected: Rejected,
    pub(super) histograms_rejected: u64,
    /// Histograms whose counts were no whole numbers and are now.
    pub(super) histograms_rounded: u64,
}

/// How many bytes [`convert`] makes and uses, at most: labels are written again with every point.
pub(super) fn memory(batch: &Batch<'_>) -> Result<usize, IngestError> {
    let mut bytes = 0usize;
    for series in &batch.series {
        let labels: usize = series.labels.iter().map(|(name, value)| name.len() + value.len() + 12).sum();
        let (mut points, mut buckets) = (0, 0);
        series.each(|item| {
            points += 1;
            buckets += if matches!(item, Item::Histogram(_)) { BUCKETS_BYTES } else { 0 };
        })?;
        bytes = bytes.saturating_add((labels + POINT_BYTES).saturating_mul(points + 2)).saturating_add(buckets);
    }
    Ok(bytes)
}

pub(super) fn convert(batch: &mut Batch<'_>, defaults: &Defaults) -> Result<Converted, IngestError> {
    let mut infos: HashMap<Target<'_>, &Series<'_>> = HashMap::new();
    for series in batch.series.iter().filter(|series| series.name == TARGET_INFO) {
        infos.entry(target(series)).or_insert(series);
    }
    let mut places = HashMap::new();
    let mut resources: Vec<(Identity<'_>, Vec<&Series<'_>>)> = Vec::new();
    for series in &batch.series {
        let identity = Identity::of(series, infos.get(&target(series)).copied(), defaults);
        let place = *places.entry(identity).or_insert(resources.len());
        if place == resources.len() {
            resources.push((identity, Vec::new()));
        }
        resources[place].1.push(series);
    }
    let mut converted = Converted {
        request: Vec::new(),
        rejected: std::mem::take(&mut batch.rejected),
        histograms_rejected: batch.histograms_rejected,
        histograms_rounded: 0,
    };
    for (identity, series) in &resources {
        let info = series.first().and_then(|first| infos.get(&target(first))).copied();
        let mut metrics = Metrics::default();
        fold_resource(series, &mut metrics, &mut converted)?;
        let metrics = metrics.finish();
        if !metrics.is_empty() {
            put_resource_metrics(&mut converted.request, &identity.resource(info), SCOPE, &metrics);
        }
    }
    Ok(converted)
}

/// The metrics of a resource, in the order in which they first occur, with their encoded points.
#[derive(Default)]
pub(super) struct Metrics<'a> {
    places: HashMap<(&'a [u8], MetricForm), usize>,
    metrics: Vec<MetricPoints<'a>>,
}

/// One metric and its encoded points.
struct MetricPoints<'a> {
    name: &'a [u8],
    form: MetricForm,
    unit: &'a [u8],
    points: Vec<u8>,
}

/// The parts of what may be one histogram or summary, with the family's name.
type Group<'s, 'a> = (&'a [u8], Vec<(Part, &'s Series<'a>)>);

impl<'a> Metrics<'a> {
    /// Where to write the points of a metric. The first series of a metric says its unit.
    pub(super) fn points(&mut self, name: &'a [u8], form: MetricForm, unit: &'a [u8]) -> &mut Vec<u8> {
        let place = *self.places.entry((name, form)).or_insert(self.metrics.len());
        if place == self.metrics.len() {
            self.metrics.push(MetricPoints { name, form, unit: unit_of(name, unit), points: Vec::new() });
        }
        &mut self.metrics[place].points
    }

    fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        for metric in self.metrics.iter().filter(|metric| !metric.points.is_empty()) {
            put_metric(&mut out, metric.name, metric.unit, metric.form, &metric.points);
        }
        out
    }
}

fn fold_resource<'a>(
    all: &[&Series<'a>],
    metrics: &mut Metrics<'a>,
    converted: &mut Converted,
) -> Result<(), IngestError> {
    let mut families: HashMap<&[u8], Parts> = HashMap::new();
    for series in all {
        if let Some((base, part)) = part_of(series) {
            families.entry(base).or_default().note(&part, series.kind);
        }
    }
    // The parts of one histogram or summary: same family, same labels but for the one that tells the parts apart.
    let mut groups: Vec<Group<'_, 'a>> = Vec::new();
    let mut places = HashMap::new();
    for series in all {
        let family = part_of(series).and_then(|(base, part)| Some((base, part, *families.get(base)?)));
        match family {
            Some((base, part, parts)) if parts.can_be_one() => {
                let key = (base, labels_hash(&attributes(series)));
                let place = *places.entry(key).or_insert(groups.len());
                if place == groups.len() {
                    groups.push((base, Vec::new()));
                }
                groups[place].1.push((part, series));
            }
            _ => plain(series, metrics, converted)?,
        }
    }
    for (base, group) in groups {
        if !super::classic::assemble(base, &group, metrics)? {
            for (_, series) in &group {
                plain(series, metrics, converted)?;
            }
        }
    }
    Ok(())
}

/// A series that stands for itself.
fn plain<'a>(series: &Series<'a>, metrics: &mut Metrics<'a>, converted: &mut Converted) -> Result<(), IngestError> {
    let attributes = attributes(series);
    let form = form_of_values(series)?;
    let mut failed = None;
    series.each(|item| match item {
        Item::Exemplar => {}
        Item::Sample { value, .. } if super::is_stale(value) => {}
        Item::Sample { time_ms, value } => {
            let head = head(&attributes, series, time_ms);
            // Any other NaN is a value that could not be calculated: there is none.
            let value = Some(value).filter(|value| !value.is_nan());
            put_number_point(metrics.points(series.name, form, series.unit), &head, value);
        }
        Item::Histogram(message) => match native::read(message) {
            Ok(Outcome::Histogram(native)) => {
                converted.histograms_rounded += u64::from(native.rounded);
                put_native(series, &attributes, &native, metrics);
            }
            Ok(Outcome::Stale) => {}
            Ok(Outcome::Rejected(reason, detail)) => {
                converted.histograms_rejected += 1;
                converted.rejected.add(reason, 1, || {
                    format!("{detail}, in {:?}", crate::error::shortened(&String::from_utf8_lossy(series.name)))
                });
            }
            Err(error) => failed = Some(error),
        },
    })?;
    failed.map_or(Ok(()), Err)
}

/// What the series is. A sum of observations that is below zero may go down.
fn form_of_values(series: &Series<'_>) -> Result<MetricForm, IngestError> {
    let form = form_of(series);
    if form != MetricForm::Sum || base_name(series.name).1 != b"_sum" {
        return Ok(form);
    }
    let mut is_negative = false;
    series.each(|item| is_negative |= matches!(item, Item::Sample { value, .. } if value < 0.0))?;
    Ok(if is_negative { MetricForm::Gauge } else { form })
}

fn put_native<'a>(series: &Series<'a>, attributes: &[Label<'a>], native: &Native, metrics: &mut Metrics<'a>) {
    let mut attributes = attributes.to_vec();
    if native.scale == GAUGE_SCALE {
        attributes.push((SCALE_ATTRIBUTE, b"1000000"));
    }
    let head = head(&attributes, series, native.time_ms);
    let is_gauge = native.is_gauge || series.kind == Kind::GaugeHistogram;
    let (count, sum) = (native.count, native.sum);
    match &native.buckets {
        NativeBuckets::Exponential { scale, zero_count, zero_threshold, positive, negative } => {
            let values = ExponentialValues {
                count,
                sum,
                scale: *scale,
                zero_count: *zero_count,
                zero_threshold: *zero_threshold,
                positive: side(positive),
                negative: side(negative),
            };
            let form = if is_gauge { MetricForm::GaugeExponential } else { MetricForm::Exponential };
            put_exponential_point(metrics.points(series.name, form, series.unit), &head, &values);
        }
        NativeBuckets::Explicit { bounds, counts } => {
            let values = HistogramValues { count, sum, bucket_counts: counts, explicit_bounds: bounds };
            let form = if is_gauge { MetricForm::GaugeHistogram } else { MetricForm::Histogram };
            put_histogram_point(metrics.points(series.name, form, series.unit), &head, &values);
        }
    }
}

fn side(run: &Run) -> Side<'_> {
    Side { offset: run.offset, bucket_counts: &run.counts }
}

pub(super) fn head<'h>(attributes: &'h [Label<'h>], series: &Series<'_>, time_ms: i64) -> PointHead<'h> {
    let ns = |ms: i64| u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
    PointHead { attributes, start_time_unix_nano: ns(series.created_ms), time_unix_nano: ns(time_ms) }
}

fn labels_hash(labels: &[Label<'_>]) -> u128 {
    let mut hash = Xxh3::new();
    for (name, value) in labels.iter().filter(|(name, _)| !matches!(*name, b"le" | b"quantile")) {
        for text in [name, value] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    hash.digest128()
}

/// The unit in UCUM: as it was said, or as the name's ending says it.
fn unit_of<'a>(name: &'a [u8], said: &'a [u8]) -> &'a [u8] {
    let word = if said.is_empty() {
        let name = name.strip_suffix(b"_total").unwrap_or(name);
        let name = base_name(name).0;
        name.rsplit(|byte| *byte == b'_').next().unwrap_or_default()
    } else {
        said
    };
    match word {
        b"seconds" => b"s",
        b"milliseconds" => b"ms",
        b"bytes" => b"By",
        b"ratio" => b"1",
        b"celsius" => b"Cel",
        b"meters" => b"m",
        b"volts" => b"V",
        b"amperes" => b"A",
        b"joules" => b"J",
        b"grams" => b"g",
        _ => said,
    }
}
