//! How long what is kept, and which rows of a segment have outlived that. Pure.
//!
//! A segment is dropped as a whole when the longest of its table's times is over. Rows whose time is over before that (of a service
//! with a shorter one, windows of a finer resolution) are left out when the segment is written again, which happens once for
//! every such time. Time counts from the commit: a record with a wrong clock neither dies early nor stays.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Int32Type;
use shipwake_model::window::NS_PER_S;

use crate::{SegmentFile, Table};

const DAY_NS: i64 = 24 * 3600 * NS_PER_S;

/// How long rows are kept after they were committed, in ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Log records, and the events among them. Default fourteen days.
    pub logs_ns: i64,
    /// Spans. Default seven days: there are many.
    pub spans_ns: i64,
    /// Metric points as received. Default fourteen days; their windows are kept longer.
    pub points_ns: i64,
    /// Windows of an hour. Default 400 days: a season can be compared with the last.
    pub windows_ns: i64,
    /// Windows of 60 s, if that is less. Default 90 days.
    pub windows_60s_ns: i64,
    /// Windows of 10 s, if that is less. Default fourteen days: a release is compared with those of the last two weeks.
    pub windows_10s_ns: i64,
    /// Windows of 1 s. Default fifteen minutes: pages show the last five.
    pub windows_1s_ns: i64,
    /// Services with times of their own.
    pub services: Vec<ServiceRetention>,
}

/// The times of one service, where they differ from those of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRetention {
    /// Its name, in whatever environment.
    pub service: String,
    /// Log records.
    pub logs_ns: Option<i64>,
    /// Spans.
    pub spans_ns: Option<i64>,
    /// Metric points.
    pub points_ns: Option<i64>,
    /// Windows of an hour.
    pub windows_ns: Option<i64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            logs_ns: 14 * DAY_NS,
            spans_ns: 7 * DAY_NS,
            points_ns: 14 * DAY_NS,
            windows_ns: 400 * DAY_NS,
            windows_60s_ns: 90 * DAY_NS,
            windows_10s_ns: 14 * DAY_NS,
            windows_1s_ns: 900 * NS_PER_S,
            services: Vec::new(),
        }
    }
}

impl ServiceRetention {
    /// A service with the times of all others.
    pub fn new(service: impl Into<String>) -> Self {
        Self { service: service.into(), logs_ns: None, spans_ns: None, points_ns: None, windows_ns: None }
    }

    fn of(&self, table: Table) -> Option<i64> {
        match table {
            Table::Logs => self.logs_ns,
            Table::Spans => self.spans_ns,
            Table::Points => self.points_ns,
            Table::Windows => self.windows_ns,
            Table::Windows1s => None,
        }
    }
}

impl Retention {
    /// How long rows of services without times of their own are kept, ns; of windows those of an hour.
    pub fn of(&self, table: Table) -> i64 {
        match table {
            Table::Logs => self.logs_ns,
            Table::Spans => self.spans_ns,
            Table::Points => self.points_ns,
            Table::Windows => self.windows_ns,
            Table::Windows1s => self.windows_1s_ns,
        }
    }

    /// The longest that any row of the table is kept, ns: after that a segment is dropped as a whole.
    pub fn longest(&self, table: Table) -> i64 {
        self.services.iter().filter_map(|service| service.of(table)).fold(self.of(table), i64::max)
    }

    /// Whether the whole segment has outlived its time.
    pub(crate) fn is_over(&self, file: &SegmentFile, now_ns: i64) -> bool {
        now_ns.saturating_sub(file.committed_ns) > self.longest(file.table)
    }

    /// Whether some rows of the segment may have outlived their time, and it has not been written again since.
    pub(crate) fn is_thinning_due(&self, file: &SegmentFile, now_ns: i64) -> bool {
        self.passed(file, now_ns) > file.thinned_ns && !self.is_over(file, now_ns)
    }

    /// The longest time, of those after which rows go but not the segment, that the segment has passed; 0 if none.
    pub(crate) fn passed(&self, file: &SegmentFile, now_ns: i64) -> i64 {
        let age_ns = now_ns.saturating_sub(file.committed_ns);
        let longest = self.longest(file.table);
        self.times(file.table).into_iter().filter(|time| *time < longest && age_ns > *time).max().unwrap_or(0)
    }

    /// Which rows of a segment of that age are kept; `None` when all are.
    pub(crate) fn kept(&self, table: Table, batch: &RecordBatch, age_ns: i64) -> Option<BooleanArray> {
        if self.times(table).into_iter().all(|time| age_ns <= time) {
            return None;
        }
        let services = batch.column_by_name("service")?.as_string_opt::<i32>()?;
        let resolutions =
            batch.column_by_name("resolution_s").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let is_kept = |row: usize| {
            let resolution_s = resolutions.map_or(0, |resolutions| resolutions.value(row));
            age_ns <= self.of_row(table, services.value(row), resolution_s)
        };
        let kept: BooleanArray = (0..batch.num_rows()).map(|row| Some(is_kept(row))).collect();
        (kept.true_count() < batch.num_rows()).then_some(kept)
    }

    /// How long a row is kept, ns.
    fn of_row(&self, table: Table, service: &str, resolution_s: i32) -> i64 {
        let own = self.services.iter().filter(|own| own.service == service).find_map(|own| own.of(table));
        let kept_ns = own.unwrap_or_else(|| self.of(table));
        match (table, resolution_s) {
            (Table::Windows, 10) => kept_ns.min(self.windows_10s_ns),
            (Table::Windows, 60) => kept_ns.min(self.windows_60s_ns),
            _ => kept_ns,
        }
    }

    /// Every time after which rows of the table go.
    fn times(&self, table: Table) -> Vec<i64> {
        let own = self.services.iter().filter_map(|service| service.of(table));
        let finer = (table == Table::Windows).then_some([self.windows_10s_ns, self.windows_60s_ns]);
        own.chain(finer.into_iter().flatten()).chain([self.of(table)]).collect()
    }

    /// What cannot work, in words.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for table in Table::ALL {
            if self.times(table).into_iter().any(|time| time <= 0) {
                problems.push(format!("retention of {table} must be more than nothing"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;
    use crate::segment::testing::file;

    fn retention() -> Retention {
        let noisy = ServiceRetention { logs_ns: Some(DAY_NS), ..ServiceRetention::new("noisy") };
        let audit = ServiceRetention { logs_ns: Some(100 * DAY_NS), ..ServiceRetention::new("audit") };
        Retention { services: vec![noisy, audit], ..Retention::default() }
    }

    fn kept(table: Table, days: i64, rows: &[(&str, i32)]) -> Vec<bool> {
        let services: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
        let resolutions: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1)));
        let columns = [("service", services), ("resolution_s", resolutions)];
        let batch = RecordBatch::try_from_iter(columns).expect("the columns are as long");
        match retention().kept(table, &batch, days * DAY_NS) {
            Some(kept) => kept.iter().map(|kept| kept == Some(true)).collect(),
            None => vec![true; rows.len()],
        }
    }

    #[test]
    fn rows_go_by_their_service_and_resolution() {
        let rows = [("noisy", 0), ("checkout", 0), ("audit", 0)];
        assert_eq!(kept(Table::Logs, 1, &rows), [true, true, true]);
        assert_eq!(kept(Table::Logs, 2, &rows), [false, true, true]);
        assert_eq!(kept(Table::Logs, 15, &rows), [false, false, true]);
        assert_eq!(kept(Table::Spans, 6, &rows), [true, true, true]);
        let windows = [("noisy", 10), ("noisy", 60), ("noisy", 3600)];
        assert_eq!(kept(Table::Windows, 14, &windows), [true, true, true]);
        assert_eq!(kept(Table::Windows, 15, &windows), [false, true, true]);
        assert_eq!(kept(Table::Windows, 91, &windows), [false, false, true]);
    }

    #[test]
    fn a_segment_is_thinned_once_for_every_time_and_dropped_after_the_longest() {
        let retention = retention();
        let mut logs = file(Table::Logs, 1);
        let mut thinned_at = Vec::new();
        for day in 0..=101 {
            if retention.is_thinning_due(&logs, day * DAY_NS + 1) {
                thinned_at.push(day);
                logs.thinned_ns = retention.passed(&logs, day * DAY_NS + 1);
            }
        }
        assert_eq!(thinned_at, [1, 14]);
        assert!(!retention.is_over(&logs, 100 * DAY_NS) && retention.is_over(&logs, 100 * DAY_NS + 1));
        assert!(!retention.is_thinning_due(&file(Table::Spans, 1), 6 * DAY_NS));
    }
}
