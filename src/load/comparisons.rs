//! Which numbers over windows must equal which numbers over rows. A table; nothing is decided here.

/// One number, told in two ways. The texts are SQL: an expression and a condition.
pub struct Comparison {
    /// Name for findings.
    pub what: &'static str,
    /// The number over windows.
    pub windows: &'static str,
    /// Which windows.
    pub windows_where: &'static str,
    /// The number over rows.
    pub rows: &'static str,
    /// The table of the rows.
    pub table: &'static str,
    /// Which rows.
    pub rows_where: &'static str,
    /// When a row counts, nanoseconds since the epoch: a span counts at its end.
    pub row_time: &'static str,
}

const METRICS: [&str; 3] = ["metric = 'load.queue.depth'", "metric = 'load.orders'", "metric = 'load.item.size'"];

/// All comparisons. Sums of durations are in whole microseconds on both sides.
pub const COMPARISONS: [Comparison; 12] = [
    requests(
        "requests by spans",
        "sum(count)",
        "signal = 'requests' and source = 'spans'",
        "count(*)",
        "kind = 'server'",
    ),
    requests(
        "errors by spans",
        "sum(count)",
        "signal = 'errors' and source = 'spans'",
        "count(*)",
        "kind = 'server' and status_code = 'error'",
    ),
    requests(
        "durations counted",
        "sum(count)",
        "signal = 'duration' and source = 'spans'",
        "count(*)",
        "kind = 'server'",
    ),
    requests(
        "microseconds in all",
        "sum(sum)",
        "signal = 'duration' and source = 'spans'",
        "sum(duration_ns / 1000)",
        "kind = 'server'",
    ),
    requests(
        "values in histograms",
        "hdr_count(hdr_merge(histogram), 0, 3600000000)",
        "signal = 'duration' and source = 'spans'",
        "count(*)",
        "kind = 'server'",
    ),
    logs("log records", "signal = 'requests' and source = 'logs'", "severity_number > 0"),
    logs("error records", "signal = 'errors' and source = 'logs'", "severity_number >= 17"),
    points(
        "points of a gauge",
        "sum(count)",
        "signal = 'metric' and metric = 'load.queue.depth'",
        "count(*)",
        METRICS[0],
    ),
    points("sum of a gauge", "sum(sum)", "signal = 'metric' and metric = 'load.queue.depth'", "sum(value)", METRICS[0]),
    points(
        "sum of a delta counter",
        "sum(sum)",
        "signal = 'metric' and metric = 'load.orders'",
        "sum(value)",
        METRICS[1],
    ),
    points(
        "values of a histogram",
        "sum(count)",
        "signal = 'metric' and metric = 'load.item.size'",
        "sum(count)",
        METRICS[2],
    ),
    points("sum of a histogram", "sum(sum)", "signal = 'metric' and metric = 'load.item.size'", "sum(sum)", METRICS[2]),
];

const fn requests(
    what: &'static str,
    windows: &'static str,
    windows_where: &'static str,
    rows: &'static str,
    rows_where: &'static str,
) -> Comparison {
    let row_time = "cast(time as bigint) + duration_ns";
    Comparison { what, windows, windows_where, rows, table: "spans", rows_where, row_time }
}

const fn logs(what: &'static str, windows_where: &'static str, rows_where: &'static str) -> Comparison {
    let row_time = "cast(time as bigint)";
    Comparison { what, windows: "sum(count)", windows_where, rows: "count(*)", table: "logs", rows_where, row_time }
}

const fn points(
    what: &'static str,
    windows: &'static str,
    windows_where: &'static str,
    rows: &'static str,
    rows_where: &'static str,
) -> Comparison {
    let row_time = "cast(time as bigint)";
    Comparison { what, windows, windows_where, rows, table: "points", rows_where, row_time }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::content::{GAUGE, HISTOGRAM, SUM};

    #[test]
    fn conditions_name_the_metrics_that_are_sent() {
        for (condition, metric) in METRICS.iter().zip([GAUGE, SUM, HISTOGRAM]) {
            assert_eq!(*condition, format!("metric = '{metric}'"));
        }
        for comparison in COMPARISONS.iter().filter(|comparison| comparison.table == "points") {
            assert!(comparison.windows_where.ends_with(comparison.rows_where), "{}", comparison.what);
        }
    }
}
