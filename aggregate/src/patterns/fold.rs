//! Where a log record gets its pattern, and is counted in it.

use std::sync::Arc;

use shipwake_model::Source;
use shipwake_model::pattern::{Level, OTHER_ID, id_text};
use shipwake_otlp::LogRecord;

use super::text::is_access_log;
use super::{LEVEL, SeriesKey, TEMPLATE, example, seconds};
use crate::health::RequestParts;
use crate::resources::KnownResource;
use crate::series::{Measure, MetricForm, MetricMeta};
use crate::state::State;

impl State {
    /// The pattern of a log record; `None` for access logs, which tell of requests, and for records without a message. The
    /// record is counted at `counted_ns`, unless windows do not take it.
    #[inline]
    pub(crate) fn pattern(
        &mut self,
        book: u32,
        known: &KnownResource,
        record: &LogRecord<'_>,
        parts: &RequestParts<'_>,
        counted_ns: Option<i64>,
    ) -> Option<u64> {
        let level = Level::of(record.severity_number, record.severity_text);
        // Whoever says that a line is trouble has looked at it.
        if parts.access_log || level < Level::Warn && is_access_log(record, parts) {
            return None;
        }
        if !self.patterns.text.read(record, parts) {
            return None;
        }
        let mut key = SeriesKey { id: self.patterns.text.id(), release: known.release, slot: known.slot, level };
        let series = match self.patterns.known_series(&key, self.series.generation()) {
            Some(series) => series,
            None => {
                key.id = self.patterns.learn(book, || example(record, parts), self.received_ns);
                self.counters.overflow += u64::from(key.id == OTHER_ID);
                self.pattern_series(book, key)
            }
        };
        if let Some(time_ns) = counted_ns {
            self.lines.add(series, time_ns, seconds(time_ns));
        }
        Some(key.id)
    }

    /// The series of lines of a pattern that is known by now.
    fn pattern_series(&mut self, book: u32, key: SeriesKey) -> u32 {
        if let Some(series) = self.patterns.known_series(&key, self.series.generation()) {
            return series;
        }
        let template = self.patterns.template(book, key.id);
        let meta = MetricMeta {
            release: self.releases.get(key.release).id.clone(),
            measure: Measure::Pattern,
            source: Source::Logs,
            metric: id_text(key.id).into(),
            unit: Arc::from(""),
            attributes: vec![
                (LEVEL.to_owned(), key.level.as_str().to_owned()),
                (TEMPLATE.to_owned(), template.to_string()),
            ],
            slot: key.slot,
            form: MetricForm::Level,
        };
        let (series, overflow) = self.series.metric(key.release, meta);
        self.counters.overflow += u64::from(overflow);
        self.patterns.keep_series(key, series);
        series
    }
}
