//! Copies a `ResourceMetrics` without some of its points: what `ingest` does with points that contradict themselves, so
//! that the journal holds only what was accepted.
//!
//! Everything that is kept is copied byte for byte; only the lengths around a list that lost something change.

use crate::ScanError;
use crate::metrics::{Data, Metric, read_head};
use crate::points::{self, Point};
use crate::wire::{Depth, LEN, Reader, key};
use crate::write::put_len_field;

/// Field of a `ResourceMetrics` with its scopes, and of a `ScopeMetrics` with its metrics.
const LIST: u32 = 2;
/// Field of a `Gauge`, `Sum` and so on with its points.
const POINTS: u32 = 1;

/// Appends `message`, the content of a `ResourceMetrics`, to `out` without the points for which `keep` says no. A metric
/// that loses all its points stays, without points. On an error, `out` holds a part that is of no use.
pub fn retain_points<'a>(
    message: &'a [u8],
    out: &mut Vec<u8>,
    mut keep: impl FnMut(&Metric<'a>, &Point<'a>) -> bool,
) -> Result<(), ScanError> {
    let level = Reader::new(message);
    let depth = Depth::ROOT.enter(level)?;
    copy_list(level, depth, out, &mut |scope, depth, out| {
        copy_list(scope, depth, out, &mut |metric, depth, out| copy_metric(metric, depth, out, &mut keep))
    })
}

type Copy<'c, 'a> = &'c mut dyn FnMut(Reader<'a>, Depth, &mut Vec<u8>) -> Result<(), ScanError>;

/// Copies a level: its list through `copy`, its other fields as they are.
fn copy_list<'a>(mut r: Reader<'a>, depth: Depth, out: &mut Vec<u8>, copy: Copy<'_, 'a>) -> Result<(), ScanError> {
    while !r.is_at_end() {
        let at = r;
        let found = r.key()?;
        if found == key(u64::from(LIST), LEN) {
            let mut copied = Vec::new();
            copy(r.message()?, depth.enter(at)?, &mut copied)?;
            put_len_field(out, LIST, &copied);
        } else {
            r.skip(found, at, depth)?;
            out.extend_from_slice(at.up_to(r));
        }
    }
    Ok(())
}

fn copy_metric<'a>(
    mut metric: Reader<'a>,
    depth: Depth,
    out: &mut Vec<u8>,
    keep: &mut impl FnMut(&Metric<'a>, &Point<'a>) -> bool,
) -> Result<(), ScanError> {
    let Some((head, data)) = read_head(metric, depth)? else {
        out.extend_from_slice(metric.rest());
        return Ok(());
    };
    let Data { kind, from, .. } = data;
    while !metric.is_at_end() {
        let at = metric;
        let found = metric.key()?;
        // What another kind of data replaced is no point of this metric.
        if found != key(kind as u64, LEN) || at.pos() < from.pos() {
            metric.skip(found, at, depth)?;
            out.extend_from_slice(at.up_to(metric));
            continue;
        }
        let mut copied = Vec::new();
        let mut list = metric.message()?;
        let depth = depth.enter(at)?;
        while !list.is_at_end() {
            let at = list;
            let found = list.key()?;
            let kept = if found == key(u64::from(POINTS), LEN) {
                let point = points::read(list.message()?, depth.enter(at)?, kind)?;
                keep(&head, &point)
            } else {
                list.skip(found, at, depth)?;
                true
            };
            if kept {
                copied.extend_from_slice(at.up_to(list));
            }
        }
        put_len_field(out, kind as u32, &copied);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::{put_double_field, put_message};
    use crate::{MetricSink, NumberValue, Resource, Scope, scan_metrics};

    #[derive(Default)]
    struct Values(Vec<(String, f64)>);

    impl<'a> MetricSink<'a> for Values {
        fn resource(&mut self, _: &Resource<'a>) {}
        fn scope(&mut self, _: &Scope<'a>) {}
        fn metric(&mut self, _: &Metric<'a>) {}
        fn point(&mut self, metric: &Metric<'a>, point: &Point<'a>) {
            self.0.push((String::from_utf8_lossy(metric.name).into_owned(), value(point)));
        }
    }

    fn value(point: &Point<'_>) -> f64 {
        match point {
            Point::Number(number) => number.value.map_or(f64::NAN, NumberValue::as_f64),
            _ => f64::NAN,
        }
    }

    /// A metric with gauge points, its name behind them, and points of a sum that the gauge replaces.
    fn metric(out: &mut Vec<u8>, name: &str, values: &[f64]) {
        let points = |out: &mut Vec<u8>, values: &[f64]| {
            for value in values {
                put_message(out, 1, |out| put_double_field(out, 4, *value));
            }
        };
        put_message(out, 2, |out| {
            put_message(out, 7, |out| points(out, &[-1.0]));
            put_message(out, 5, |out| points(out, values));
            put_len_field(out, 1, name.as_bytes());
        });
    }

    #[test]
    fn only_the_unwanted_points_are_missing() {
        let mut message = Vec::new();
        put_message(&mut message, 2, |out| {
            metric(out, "a", &[1.0, f64::NAN, 3.0]);
            metric(out, "b", &[f64::NAN]);
        });
        put_len_field(&mut message, 3, b"schema");
        let mut kept = Vec::new();
        retain_points(&message, &mut kept, |_, point| !value(point).is_nan()).expect("valid");
        let mut request = Vec::new();
        put_len_field(&mut request, 1, &kept);
        let mut values = Values::default();
        scan_metrics(&request, &mut values).expect("valid");
        assert_eq!(values.0, [("a".to_owned(), 1.0), ("a".to_owned(), 3.0)]);

        let mut all = Vec::new();
        retain_points(&message, &mut all, |_, _| true).expect("valid");
        assert_eq!(all, message);
    }
}
