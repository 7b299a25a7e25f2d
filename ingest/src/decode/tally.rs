//! Counts records as a scan hands them over. Allocates for each resource, never for a record.

use shipwake_otlp::{LogRecord, LogSink, Metric, MetricSink, Point, Resource, Scope, Span, SpanSink};

use super::{Counts, Rejected, fault};
use crate::error::shortened;

#[derive(Default)]
pub(super) struct Tally {
    parts: Vec<Counts>,
    /// Of the part that is being scanned.
    current: Counts,
    started: bool,
    rejected: Rejected,
}

impl Tally {
    /// The counts of each part in order, and what is rejected of all of them.
    pub(super) fn finish(mut self) -> (Vec<Counts>, Rejected) {
        self.next_part();
        (self.parts, self.rejected)
    }

    fn next_part(&mut self) {
        if self.started {
            self.parts.push(std::mem::take(&mut self.current));
        }
        self.started = true;
    }

    #[inline]
    fn record(&mut self, first_ns: u64, last_ns: u64) {
        self.current.records += 1;
        if last_ns == 0 {
            return;
        }
        let first = i64::try_from(first_ns).unwrap_or(i64::MAX);
        let last = i64::try_from(last_ns).unwrap_or(i64::MAX);
        self.current.times = Some(match self.current.times {
            Some((min, max)) => (min.min(first), max.max(last)),
            None => (first, last),
        });
    }
}

impl<'a> LogSink<'a> for Tally {
    fn resource(&mut self, _: &Resource<'a>) {
        self.next_part();
    }

    fn scope(&mut self, _: &Scope<'a>) {}

    #[inline]
    fn log(&mut self, record: &LogRecord<'a>) {
        let time = if record.time_unix_nano != 0 { record.time_unix_nano } else { record.observed_time_unix_nano };
        self.record(time, time);
    }
}

impl<'a> SpanSink<'a> for Tally {
    fn resource(&mut self, _: &Resource<'a>) {
        self.next_part();
    }

    fn scope(&mut self, _: &Scope<'a>) {}

    #[inline]
    fn span(&mut self, span: &Span<'a>) {
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        self.record(if start == 0 { end } else { start }, start.max(end));
    }
}

impl<'a> MetricSink<'a> for Tally {
    fn resource(&mut self, _: &Resource<'a>) {
        self.next_part();
    }

    fn scope(&mut self, _: &Scope<'a>) {}

    fn metric(&mut self, _: &Metric<'a>) {}

    #[inline]
    fn point(&mut self, metric: &Metric<'a>, point: &Point<'a>) {
        match fault(metric, point) {
            None => self.record(point.time_unix_nano(), point.time_unix_nano()),
            Some(fault) => {
                self.current.rejected += 1;
                self.rejected.add(fault.reason, 1, || {
                    format!("{} in metric {:?}", fault.detail, shortened(&String::from_utf8_lossy(metric.name)))
                });
            }
        }
    }
}
