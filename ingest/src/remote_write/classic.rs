//! Classic histograms and summaries, which Prometheus spreads over a series for each bucket or quantile, one for the sum and
//! one for the count. Put together when all parts are in the request and agree; otherwise every part stays a series.

use shipwake_otlp::write::{HistogramValues, MetricForm, put_histogram_point, put_summary_point};

use super::convert::{Metrics, head};
use super::family::{Kind, base_name};
use super::identity::attributes;
use super::native::whole;
use super::read::{Item, Series};
use crate::error::IngestError;

/// What a series is in its family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// Observations up to a bound.
    Bucket(f64),
    Quantile(f64),
    Sum,
    Count,
}

/// Which parts of a family a request has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    buckets: bool,
    quantiles: bool,
    sum: bool,
    count: bool,
    /// Whether metadata says that it is a summary: then there may be no quantiles.
    is_summary: bool,
}

/// The family that a series may be a part of, and which part.
pub(super) fn part_of<'a>(series: &Series<'a>) -> Option<(&'a [u8], Part)> {
    if matches!(series.kind, Kind::Counter | Kind::Level) {
        return None;
    }
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|bound| !bound.is_nan());
    if let Some(quantile) = series.label(b"quantile").and_then(number) {
        return (0.0..=1.0).contains(&quantile).then_some((series.name, Part::Quantile(quantile)));
    }
    let is_gauge = series.kind == Kind::GaugeHistogram;
    match base_name(series.name) {
        (base, b"_bucket") => Some((base, Part::Bucket(number(series.label(b"le")?)?))),
        (base, b"_sum") if !is_gauge => Some((base, Part::Sum)),
        (base, b"_count") if !is_gauge => Some((base, Part::Count)),
        (base, b"_gsum") if is_gauge => Some((base, Part::Sum)),
        (base, b"_gcount") if is_gauge => Some((base, Part::Count)),
        _ => None,
    }
}

impl Parts {
    pub(super) fn note(&mut self, part: &Part, kind: Kind) {
        self.is_summary |= kind == Kind::Summary;
        match part {
            Part::Bucket(_) => self.buckets = true,
            Part::Quantile(_) => self.quantiles = true,
            Part::Sum => self.sum = true,
            Part::Count => self.count = true,
        }
    }

    /// Whether a histogram or a summary may come of them.
    pub(super) fn can_be_one(self) -> bool {
        let histogram = self.buckets && !self.quantiles;
        let summary = !self.buckets && self.sum && (self.quantiles || self.is_summary);
        self.count && (histogram || summary)
    }
}

/// Writes the histogram or summary that the parts make; `false` when they make none, and then nothing is written.
pub(super) fn assemble<'a>(
    base: &'a [u8],
    group: &[(Part, &Series<'a>)],
    metrics: &mut Metrics<'a>,
) -> Result<bool, IngestError> {
    let mut columns = Vec::with_capacity(group.len());
    for (part, series) in group {
        let (mut samples, mut natives) = (Vec::new(), false);
        series.each(|item| match item {
            Item::Sample { time_ms, value } => samples.push((time_ms, value)),
            Item::Histogram(_) => natives = true,
            Item::Exemplar => {}
        })?;
        if natives {
            return Ok(false);
        }
        columns.push((*part, samples));
    }
    let Some((_, first)) = columns.first() else { return Ok(false) };
    let same_times = columns
        .iter()
        .all(|(_, samples)| samples.iter().map(|sample| sample.0).eq(first.iter().map(|sample| sample.0)));
    if !same_times {
        return Ok(false);
    }
    // All points must be whole before the first is written.
    let mut points = Vec::with_capacity(first.len());
    for at in 0..first.len() {
        let values: Vec<(Part, f64)> = columns.iter().map(|(part, samples)| (*part, samples[at].1)).collect();
        if values.iter().all(|(_, value)| super::is_stale(*value)) {
            continue;
        }
        let Some(point) = point(&values) else { return Ok(false) };
        points.push((first[at].0, point));
    }
    let Some((_, series)) = group.first() else { return Ok(false) };
    let mut attributes = attributes(series);
    attributes.retain(|(name, _)| !matches!(*name, b"le" | b"quantile"));
    for (time_ms, point) in &points {
        let head = head(&attributes, series, *time_ms);
        match point {
            Point::Histogram { count, sum, bounds, counts } => {
                let values =
                    HistogramValues { count: *count, sum: *sum, bucket_counts: counts, explicit_bounds: bounds };
                let is_gauge = series.kind == Kind::GaugeHistogram;
                let form = if is_gauge { MetricForm::GaugeHistogram } else { MetricForm::Histogram };
                put_histogram_point(metrics.points(base, form, series.unit), &head, &values);
            }
            Point::Summary { count, sum, quantiles } => {
                let out = metrics.points(base, MetricForm::Summary, series.unit);
                put_summary_point(out, &head, *count, *sum, quantiles);
            }
        }
    }
    Ok(true)
}

#[derive(Debug, PartialEq)]
enum Point {
    Histogram { count: u64, sum: Option<f64>, bounds: Vec<f64>, counts: Vec<u64> },
    Summary { count: u64, sum: f64, quantiles: Vec<(f64, f64)> },
}

/// The point that the parts of one moment make.
fn point(values: &[(Part, f64)]) -> Option<Point> {
    let (mut sum, mut count) = (None, None);
    let (mut buckets, mut quantiles) = (Vec::new(), Vec::new());
    for (part, value) in values {
        match part {
            Part::Sum if sum.is_none() => sum = Some(*value),
            Part::Count if count.is_none() => count = Some(whole(*value)?),
            Part::Bucket(bound) => buckets.push((*bound, whole(*value)?)),
            Part::Quantile(quantile) => quantiles.push((*quantile, *value)),
            _ => return None,
        }
    }
    let count = count?;
    if buckets.is_empty() {
        let sum = sum.filter(|sum| sum.is_finite())?;
        quantiles.sort_by(|a, b| a.0.total_cmp(&b.0));
        // `quantile="0.5"` beside `quantile="0.50"`.
        if quantiles.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        return Some(Point::Summary { count, sum, quantiles });
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ascending = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    if !ascending || buckets.last() != Some(&(f64::INFINITY, count)) {
        return None;
    }
    let below = std::iter::once(0).chain(buckets.iter().map(|bucket| bucket.1));
    let counts = buckets.iter().zip(below).map(|(bucket, below)| bucket.1 - below).collect();
    let bounds: Vec<f64> = buckets[..buckets.len() - 1].iter().map(|bucket| bucket.0).collect();
    let is_finite = bounds.iter().all(|bound| bound.is_finite());
    is_finite.then_some(Point::Histogram { count, sum: sum.filter(|sum| sum.is_finite()), bounds, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_needs_all_its_parts_and_they_must_agree() {
        use Part::{Bucket, Count, Quantile, Sum};
        let good = [(Bucket(f64::INFINITY), 5.0), (Bucket(0.1), 2.0), (Sum, 1.5), (Bucket(1.0), 4.0), (Count, 5.0)];
        let expected = Point::Histogram { count: 5, sum: Some(1.5), bounds: vec![0.1, 1.0], counts: vec![2, 2, 1] };
        assert_eq!(point(&good), Some(expected));
        let without = |missing: Part| good.iter().copied().filter(|(part, _)| *part != missing).collect::<Vec<_>>();
        assert_eq!(point(&without(Count)), None);
        assert_eq!(point(&without(Bucket(f64::INFINITY))), None);
        assert!(matches!(point(&without(Sum)), Some(Point::Histogram { sum: None, .. })));
        for (part, value) in [(Bucket(0.1), 4.5), (Bucket(0.1), 5.0), (Count, 6.0), (Bucket(1.0), f64::NAN)] {
            let changed: Vec<_> = good.iter().map(|old| if old.0 == part { (part, value) } else { *old }).collect();
            assert_eq!(point(&changed), None, "{part:?} {value}");
        }
        assert_eq!(point(&[&good[..], &[(Sum, 1.0)]].concat()), None, "a part twice");
        let summary = [(Quantile(0.9), f64::NAN), (Quantile(0.5), 1.0), (Sum, 3.0), (Count, 2.0)];
        let Some(Point::Summary { count: 2, quantiles, .. }) = point(&summary) else { panic!("a summary") };
        assert_eq!((quantiles[0], quantiles[1].0), ((0.5, 1.0), 0.9));
        assert_eq!(point(&[&summary[..], &[(Quantile(0.5), 2.0)]].concat()), None, "a quantile twice");
        let bare = Point::Summary { count: 2, sum: 3.0, quantiles: Vec::new() };
        assert_eq!(point(&[(Sum, 3.0), (Count, 2.0)]), Some(bare));
    }
}
