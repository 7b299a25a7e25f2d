//! Folding requests: what a reader finds in rows and windows afterwards.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{Metric, Summary, SummaryDataPoint};
use shipwake_model::window::NS_PER_S;
use shipwake_model::{HdrCells, Resolution, Signal, Sketch};
use shipwake_store::Table;

use crate::config::{AggregateConfig, Limits};
use crate::requests::*;
use crate::state::State;
use crate::text::ORIGINAL_TIME;
use crate::window_rows::window_rows;

const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

/// Count, sum and histogram of a row.
type Content = (i64, Option<f64>, Option<Vec<u8>>);

/// A state that folds requests one after the other.
struct Folder {
    state: State,
    offset: u64,
}

impl Folder {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Folder { state: State::new(&AggregateConfig { limits, ..AggregateConfig::default() }), offset: 0 }
    }

    fn fold(&mut self, signal: Signal, received_ns: i64, value: Vec<u8>) -> crate::Folded {
        let folded = self.state.fold(&stored(self.offset, record(signal, received_ns, 1, value, None)));
        self.offset += 1;
        folded
    }

    fn rows(&mut self, table: Table) -> Vec<RecordBatch> {
        self.state.rows.of(table).iter().map(|rows| rows.to_batch(None)).collect()
    }

    /// Count, sum and histogram of the windows of a resolution: key is "version signal metric route source start".
    fn windows(&self, resolution: Resolution) -> BTreeMap<String, Content> {
        let table = if resolution == Resolution::S1 { Table::Windows1s } else { Table::Windows };
        let mut out = BTreeMap::new();
        for (_, rows) in window_rows(&self.state.deltas()).into_iter().filter(|(of, _)| *of == table) {
            for batch in rows.iter().map(|rows| rows.to_batch(None)) {
                let text = |name: &str, row: usize| column(&batch, name).as_string::<i32>().value(row).to_owned();
                for row in 0..batch.num_rows() {
                    if column(&batch, "resolution_s").as_primitive::<Int32Type>().value(row) != resolution.seconds() {
                        continue;
                    }
                    let start = column(&batch, "window_start").as_primitive::<TimestampNanosecondType>().value(row);
                    let key = ["version", "signal", "metric", "route", "source"].map(|name| text(name, row)).join(" ");
                    let sum = column(&batch, "sum").as_primitive::<Float64Type>();
                    let histogram = column(&batch, "histogram").as_binary::<i32>();
                    let content = (
                        column(&batch, "count").as_primitive::<Int64Type>().value(row),
                        sum.is_valid(row).then(|| sum.value(row)),
                        histogram.is_valid(row).then(|| histogram.value(row).to_vec()),
                    );
                    out.insert(format!("{key} {}", (start - NOW) / NS_PER_S), content);
                }
            }
        }
        out
    }

    fn count(&self, resolution: Resolution, key: &str) -> i64 {
        self.windows(resolution).get(key).map_or(0, |content| content.0)
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a arrow::array::ArrayRef {
    batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"))
}

#[test]
fn server_spans_become_requests_errors_and_durations_by_version_and_route() {
    let mut folder = Folder::new();
    let all = vec![
        span("/pay", NOW + 1, 20, 200),
        span("/pay", NOW + 2, 30, 503),
        span("/cart", NOW + 3, 40, 200),
        opentelemetry_proto::tonic::trace::v1::Span { kind: 3, ..span("/client", NOW, 5, 500) },
    ];
    folder.fold(Signal::Traces, NOW + NS_PER_S, spans("shop", "1.0", all));
    for resolution in [Resolution::S10, Resolution::S60, Resolution::H1] {
        assert_eq!(folder.count(resolution, "1.0 requests  GET /pay spans 0"), 2);
        assert_eq!(folder.count(resolution, "1.0 errors  GET /pay spans 0"), 1);
        assert_eq!(folder.count(resolution, "1.0 requests  GET /cart spans 0"), 1);
    }
    assert_eq!(folder.count(Resolution::S1, "1.0 requests   spans 0"), 3);
    let (count, sum, histogram) = folder.windows(Resolution::S10)["1.0 duration  GET /pay spans 0"].clone();
    assert_eq!((count, sum), (2, Some(50_000.0)));
    assert_eq!(HdrCells::decode_v2(&histogram.unwrap()).unwrap().count(), 2);

    let rows = folder.rows(Table::Spans);
    assert_eq!(rows[0].num_rows(), 4);
    assert_eq!(column(&rows[0], "route").as_string::<i32>().value(0), "GET /pay");
    assert_eq!(column(&rows[0], "version").as_string::<i32>().value(3), "1.0");
    assert_eq!(column(&rows[0], "trace_id").as_string::<i32>().value(0), "07".repeat(16));
    assert_eq!(column(&rows[0], "duration_ns").as_primitive::<Int64Type>().value(1), 30_000_000);
}

#[test]
fn log_records_stand_in_and_access_log_lines_are_requests() {
    let mut folder = Folder::new();
    let mut line = log(NOW as u64, 9, "GET /pay 502");
    line.attributes = vec![
        text("shipwake.access_log", "true"),
        text("url.path", "/items/17"),
        text("http.request.method", "GET"),
        int("http.response.status_code", 502),
        attribute(
            "http.server.request.duration",
            opentelemetry_proto::tonic::common::v1::any_value::Value::DoubleValue(0.25),
        ),
    ];
    let records = vec![log(NOW as u64, 9, "fine"), log(NOW as u64, 17, "broken"), line];
    folder.fold(Signal::Logs, NOW, logs("shop", "1.0", records));
    assert_eq!(folder.count(Resolution::S10, "1.0 requests   logs 0"), 2);
    assert_eq!(folder.count(Resolution::S10, "1.0 errors   logs 0"), 1);
    assert_eq!(folder.count(Resolution::S10, "1.0 errors  GET /items/{id} access_log 0"), 1);
    assert_eq!(folder.windows(Resolution::S10)["1.0 duration  GET /items/{id} access_log 0"].1, Some(250_000.0));
    assert!(!folder.windows(Resolution::S10).keys().any(|key| key.contains("duration   logs")));
    assert_eq!(folder.rows(Table::Logs)[0].num_rows(), 3);
}

#[test]
fn late_record_revises_a_closed_window() {
    let mut folder = Folder::new();
    let fold = |folder: &mut Folder, at: i64| {
        folder.fold(Signal::Traces, NOW + 300 * NS_PER_S, spans("shop", "1.0", vec![span("/pay", at, 5, 200)]));
    };
    fold(&mut folder, NOW + 1);
    fold(&mut folder, NOW + 300 * NS_PER_S);
    let before = folder.state.take_deltas();
    assert_eq!(folder.state.counters.late, 0);
    fold(&mut folder, NOW + 2);
    assert_eq!(folder.state.counters.late, 1);
    let late = window_rows(&folder.state.deltas());
    let batch = late[0].1[0].to_batch(None);
    let start = column(&batch, "window_start").as_primitive::<TimestampNanosecondType>().value(0);
    assert_eq!(start, NOW, "the late record is a partial row of its own window");
    assert!(column(&batch, "is_final").as_boolean().value(0));
    assert_eq!(before.ten.rolled_up(Resolution::S10)[&NOW].len(), 1);
    assert_eq!(folder.count(Resolution::S10, "1.0 requests  GET /pay spans 0"), 1);
}

#[test]
fn wrong_clocks_are_kept_in_the_row_and_out_of_the_windows() {
    let mut folder = Folder::new();
    let next_year = (NOW + 365 * 86_400 * NS_PER_S) as u64;
    let records =
        vec![log(0, 9, "no time"), log(1, 9, "1970"), log(next_year, 9, "next year"), log(u64::MAX, 9, "2554")];
    folder.fold(Signal::Logs, NOW + NS_PER_S, logs("shop", "1.0", records));
    let rows = folder.rows(Table::Logs);
    let times = column(&rows[0], "time").as_primitive::<TimestampNanosecondType>();
    let received = NOW + NS_PER_S;
    assert_eq!(times.values(), &[received, 1, received, received]);
    let attributes = column(&rows[0], "attributes").as_map();
    assert_eq!(attributes.value(0).len(), 0);
    assert_eq!(attributes.value(2).column(0).as_string::<i32>().value(0), ORIGINAL_TIME);
    let own = |row: usize| attributes.value(row).column(1).as_string::<i32>().value(0).to_owned();
    assert_eq!([own(2), own(3)], ["2028-01-15T08:00:00.000000000Z", "2554-07-21T23:34:33.709551615Z"]);
    assert_eq!(folder.count(Resolution::S10, "1.0 requests   logs 0"), 3);
    let unusual = folder.state.counters.unusual();
    assert_eq!(&unusual[..4], [("late", 0), ("future", 2), ("overflow", 0), ("too_old", 1)]);
    let detail = |kind: &str| {
        let of_kind = folder.state.counters.left_out.iter().find(|one| &*one.reason == kind);
        of_kind.map(|one| (one.count, one.detail.to_string())).expect("is told")
    };
    let (count, words) = detail("too_old");
    assert!(count == 1 && words.contains("shop") && words.contains("24 h"), "says whose and why: {words}");
    let (count, words) = detail("future");
    assert!(count == 2 && words.contains("shop") && words.contains("2028-01-15"), "says whose and when: {words}");
    let bytes = crate::state_bytes::compress(&crate::state_bytes::encode(&folder.state));
    let restarted = crate::state_bytes::decode(&bytes, &AggregateConfig::default()).expect("opens");
    assert_eq!(restarted.counters, folder.state.counters);
    assert_eq!(folder.state.watermark.newest_ns(), received);
    assert_eq!(folder.state.take_ahead().into_iter().collect::<Vec<_>>(), [("shop".into(), 2)]);
    assert!(folder.state.take_ahead().is_empty());
}

#[test]
fn a_record_too_old_for_windows_does_not_say_when_a_release_came() {
    let mut folder = Folder::new();
    let (old, day) = (NOW - 30 * 86_400 * NS_PER_S, 86_400 * NS_PER_S);
    let traffic = |folder: &mut Folder, version: &str, at: i64| {
        folder.fold(Signal::Traces, at, spans("shop", version, vec![span("/pay", at, 5, 200)]));
    };
    let first_seen = |folder: &Folder, version: &str| {
        let found = folder.state.releases.iter().find(|release| &*release.id.version == version);
        found.expect("is known").first_seen_ns
    };
    traffic(&mut folder, "1.0", NOW);
    traffic(&mut folder, "2.0", NOW + 600 * NS_PER_S);
    let after = NOW + 700 * NS_PER_S;
    // Clocks of 1970 and of a month ago, in every signal, amid good traffic of the new version.
    folder.fold(Signal::Logs, after, logs("shop", "2.0", vec![log(1, 9, "started"), log(old as u64, 9, "started")]));
    folder.fold(Signal::Traces, after, spans("shop", "2.0", vec![span("/pay", old, 5, 200)]));
    folder.fold(
        Signal::Metrics,
        after,
        metrics("shop", "2.0", vec![gauge("queue", vec![number(old, 0, 1.0, vec![])])]),
    );
    assert_eq!(first_seen(&folder, "1.0"), NOW - 5_000_000, "when its first request began");
    assert!(first_seen(&folder, "2.0") > first_seen(&folder, "1.0"), "the pair is not swapped");
    assert!(first_seen(&folder, "2.0") >= NOW + 599 * NS_PER_S);

    // A version whose very first record has a wrong clock, and one that only an import of old files names.
    for version in ["3.0", "0.9"] {
        folder.fold(Signal::Logs, after, logs("shop", version, vec![log(1, 9, "started")]));
    }
    assert_eq!(first_seen(&folder, "0.9"), after - day, "before everything that windows take");
    let config = AggregateConfig::default();
    let bytes = crate::state_bytes::compress(&crate::state_bytes::encode(&folder.state));
    folder.state = crate::state_bytes::decode(&bytes, &config).expect("opens");
    traffic(&mut folder, "3.0", after + NS_PER_S);
    assert!(first_seen(&folder, "3.0") >= after, "the first time that can be believed, after a restart too");
    assert_eq!(first_seen(&folder, "0.9"), after - day);
}

#[test]
fn a_metric_without_a_name_or_a_temporality_is_rejected_where_it_was_let_in() {
    let mut folder = Folder::new();
    let point = || vec![number(NOW, NOW - NS_PER_S, 3.0, vec![])];
    let metrics =
        metrics("shop", "1.0", vec![gauge("", point()), sum("sold", 0, point()), sum("sold", DELTA, point())]);
    let folded = folder.state.fold(&stored(0, record(Signal::Metrics, NOW, 3, metrics, None)));
    assert_eq!((folded.stored, folded.rejected), (1, 2));
    let reasons: Vec<&str> = folder.state.counters.rejected.iter().map(|rejected| &*rejected.reason).collect();
    assert_eq!(reasons, ["no_name", "no_temporality"]);
}

#[test]
fn bad_points_are_rejected_one_by_one() {
    let mut folder = Folder::new();
    let point = |value| number(NOW, 0, value, vec![]);
    let mut short = buckets(NOW, NOW, [1, 1, 1], 1.0, 200);
    short.bucket_counts.pop();
    let mut wrong = buckets(NOW, NOW, [1, 1, 1], 1.0, 200);
    wrong.count = 7;
    let request = metrics(
        "shop",
        "1.0",
        vec![
            gauge("queue", vec![point(f64::NAN), point(3.0), point(f64::INFINITY)]),
            histogram("h", "s", DELTA, vec![short, buckets(NOW, NOW, [1, 1, 1], 1.0, 200), wrong]),
        ],
    );
    // Six records came without a door that refused any.
    let folded = folder.state.fold(&stored(0, record(Signal::Metrics, NOW, 6, request.clone(), None)));
    assert_eq!((folded.stored, folded.rejected), (2, 4));
    let mut rejected: Vec<_> =
        folder.state.counters.rejected.iter().map(|rejected| (&*rejected.reason, rejected.count)).collect();
    rejected.sort();
    assert_eq!(rejected, [("inconsistent_buckets", 2), ("not_a_number", 2)]);
    // Two records are left of a request of which the door has refused four and told its sender.
    let again = Folder::new().state.fold(&stored(0, record(Signal::Metrics, NOW, 2, request, None)));
    assert_eq!((again.stored, again.rejected), (2, 0));
    assert_eq!(folder.windows(Resolution::S10)["1.0 metric queue  metrics 0"].1, Some(3.0));
    assert_eq!(folder.count(Resolution::S10, "1.0 metric h  metrics 0"), 3);
}

#[test]
fn cumulative_sums_and_histograms_become_increases() {
    let mut folder = Folder::new();
    let start = NOW - 60 * NS_PER_S;
    let send = |folder: &mut Folder, at_s: i64, total: f64, counts: [u64; 3]| {
        let at = NOW + at_s * NS_PER_S;
        let request = metrics(
            "shop",
            "1.0",
            vec![
                sum("orders", CUMULATIVE, vec![number(at, start, total, vec![])]),
                histogram(
                    "http.server.request.duration",
                    "s",
                    CUMULATIVE,
                    vec![buckets(at, start, counts, total, 503)],
                ),
            ],
        );
        folder.fold(Signal::Metrics, at, request);
    };
    send(&mut folder, 0, 5.0, [1, 1, 0]);
    send(&mut folder, 60, 9.0, [4, 1, 1]);
    send(&mut folder, 60, 9.0, [4, 1, 1]);
    send(&mut folder, 30, 7.0, [2, 1, 0]);
    let windows = folder.windows(Resolution::S10);
    assert_eq!(windows["1.0 metric orders  metrics 0"].1, Some(5.0));
    assert_eq!(windows["1.0 metric orders  metrics 60"].1, Some(4.0));
    assert_eq!(folder.count(Resolution::H1, "1.0 metric orders  metrics 0"), 2);
    assert_eq!(folder.count(Resolution::H1, "1.0 requests  GET /pay metrics 0"), 6);
    assert_eq!(folder.count(Resolution::H1, "1.0 errors  GET /pay metrics 0"), 6);
    let (count, sum, histogram) = windows["1.0 duration  GET /pay metrics 60"].clone();
    assert_eq!((count, sum), (4, Some(4e6)));
    let cells = HdrCells::decode_v2(&histogram.unwrap()).unwrap();
    assert_eq!(cells.count_between(0, 101_000), 3);
    let (count, _, kept) = windows["1.0 metric http.server.request.duration  metrics 60"].clone();
    let Sketch::Explicit(kept) = Sketch::decode(&kept.unwrap()).unwrap() else { panic!("the form is kept") };
    assert_eq!((count, kept.counts), (4, vec![3, 0, 1]));
    assert_eq!(folder.rows(Table::Points)[0].num_rows(), 8);
}

#[test]
fn old_and_new_metric_names_count_once() {
    let mut folder = Folder::new();
    let both = || {
        vec![
            histogram("http.server.duration", "ms", DELTA, vec![buckets(NOW, NOW, [2, 0, 0], 1.0, 200)]),
            histogram("http.server.request.duration", "s", DELTA, vec![buckets(NOW, NOW, [2, 0, 0], 1.0, 200)]),
        ]
    };
    folder.fold(Signal::Metrics, NOW, metrics("dup", "1.0", both()));
    assert_eq!(folder.count(Resolution::S10, "1.0 requests  GET /pay metrics 0"), 2);
    folder.fold(Signal::Metrics, NOW, metrics("old", "2.0", both().split_off(1)));
    folder.fold(Signal::Metrics, NOW, metrics("old", "3.0", both().drain(..1).collect()));
    assert_eq!(folder.count(Resolution::S10, "2.0 requests  GET /pay metrics 0"), 2);
    assert_eq!(folder.count(Resolution::S10, "3.0 requests  GET /pay metrics 0"), 2);
}

#[test]
fn a_version_per_request_costs_one_overflow_release_and_leaves_others_exact() {
    let mut folder = Folder::with(Limits { releases_per_service: 20, ..Limits::default() });
    for n in 0..500 {
        folder.fold(Signal::Traces, NOW, spans("shop", &format!("build-{n}"), vec![span("/pay", NOW, 5, 200)]));
        folder.fold(Signal::Traces, NOW, spans("cart", "1.0", vec![span("/add", NOW, 5, 200)]));
    }
    assert_eq!(folder.count(Resolution::S10, "1.0 requests  GET /add spans 0"), 500);
    assert_eq!(folder.count(Resolution::S10, "__overflow__ requests  GET /pay spans 0"), 480);
    assert_eq!(folder.count(Resolution::S10, "build-3 requests  GET /pay spans 0"), 1);
    assert!(folder.state.series.len() < 100, "{}", folder.state.series.len());
    let versions: std::collections::BTreeSet<String> = folder
        .rows(Table::Spans)
        .iter()
        .flat_map(|batch| {
            column(batch, "version").as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(versions.len(), 501, "rows keep the version they were sent with");
}

#[test]
fn a_retried_request_counts_once_and_a_damaged_one_leaves_nothing() {
    let mut folder = Folder::new();
    let request = spans("shop", "1.0", vec![span("/pay", NOW, 5, 200)]);
    for offset in 0..3 {
        folder.state.fold(&stored(offset, record(Signal::Traces, NOW, 1, request.clone(), Some(42))));
    }
    assert_eq!(folder.state.counters.deduplicated, 2);
    assert_eq!(folder.count(Resolution::S10, "1.0 requests  GET /pay spans 0"), 1);
    let mut damaged = spans("shop", "9.9", vec![span("/pay", NOW, 5, 200); 3]);
    damaged.truncate(damaged.len() - 4);
    let folded = folder.state.fold(&stored(3, record(Signal::Traces, NOW, 3, damaged, None)));
    assert_eq!((folded.stored, folded.rejected), (0, 3));
    assert!(!folder.windows(Resolution::S10).keys().any(|key| key.starts_with("9.9")));
    assert_eq!(folder.state.counters.rejected[0].reason.as_ref(), "malformed");
    assert!(folder.state.counters.rejected[0].detail.contains("offset 3"));
}

#[test]
fn text_that_is_not_utf8_costs_nobody_else_anything() {
    let mut folder = Folder::new();
    let mut request = logs("shop", "1.0", vec![log(NOW as u64, 9, "XXXX first"), log(NOW as u64, 9, "second")]);
    let at = request.windows(4).position(|bytes| bytes == b"XXXX").unwrap();
    request[at..at + 4].copy_from_slice(&[0xff, 0xfe, b'a', b'b']);
    folder.fold(Signal::Logs, NOW, request);
    let rows = folder.rows(Table::Logs);
    let body = column(&rows[0], "body").as_string::<i32>();
    assert_eq!((body.value(0), body.value(1)), ("\u{fffd}\u{fffd}ab first", "second"));
}

#[test]
fn command_lines_are_never_kept() {
    let mut folder = Folder::new();
    let mut sender = resource("shop", "1.0", "i-1").unwrap();
    sender.attributes.push(text("process.command_line", "app --password=x"));
    sender.attributes.push(text("service.version", "2.0"));
    folder.fold(Signal::Traces, NOW, spans_of(Some(sender), vec![span("/pay", NOW, 5, 200)]));
    let rows = folder.rows(Table::Spans);
    let keys = column(&rows[0], "resource").as_map().value(0).column(0).as_string::<i32>().clone();
    let keys: Vec<&str> = keys.iter().flatten().collect();
    assert_eq!(keys, ["service.name", "service.version", "deployment.environment.name", "service.instance.id"]);
    assert_eq!(column(&rows[0], "version").as_string::<i32>().value(0), "1.0");
}

#[test]
fn a_delta_that_comes_again_counts_once() {
    let mut folder = Folder::new();
    let start = NOW - 10 * NS_PER_S;
    let orders = |start, end, value| sum("orders", DELTA, vec![number(end, start, value, vec![])]);
    let durations = |counts| histogram("d", "s", DELTA, vec![buckets(NOW, start, counts, 1.0, 200)]);
    for metric in [
        orders(start, NOW, 5.0),
        // The same point in another request.
        orders(start, NOW, 5.0),
        // Another sender that has the same name and the same clock, and one whose span overlaps.
        orders(start, NOW, 3.0),
        orders(start + 1, NOW, 3.0),
        // Without a start nobody can say whether it is the same.
        orders(0, NOW, 7.0),
        orders(0, NOW, 7.0),
        durations([1, 1, 0]),
        durations([1, 1, 0]),
        durations([1, 2, 0]),
    ] {
        folder.fold(Signal::Metrics, NOW, metrics("shop", "1.0", vec![metric]));
    }
    let windows = folder.windows(Resolution::S10);
    assert_eq!(windows["1.0 metric orders  metrics 0"].1, Some(25.0));
    assert_eq!(windows["1.0 metric d  metrics 0"].0, 5);
    assert_eq!(folder.rows(Table::Points)[0].num_rows(), 9, "rows are what came");
}

#[test]
fn doubtful_points_are_rejected_with_a_reason_and_leave_the_windows_alone() {
    let mut folder = Folder::new();
    let start = NOW - 10 * NS_PER_S;
    let point = |time, value| number(time, start, value, vec![]);
    let mut impossible = buckets(NOW, start, [0, 0, 0], 3.0, 200);
    impossible.count = 0;
    let request = metrics(
        "shop",
        "1.0",
        vec![
            sum("cumulative", CUMULATIVE, vec![point(NOW, 5.0), point(NOW + 1, -4.0), point(NOW + 2, 6.0)]),
            sum("delta", DELTA, vec![point(NOW, -1.0), point(NOW + 1, 2.0)]),
            histogram("h", "s", DELTA, vec![impossible]),
        ],
    );
    let folded = folder.state.fold(&stored(0, record(Signal::Metrics, NOW, 6, request, None)));
    assert_eq!((folded.stored, folded.rejected), (3, 3));
    let windows = folder.windows(Resolution::S10);
    assert_eq!(windows["1.0 metric cumulative  metrics 0"].1, Some(6.0), "the negative one is not taken for a reset");
    assert_eq!(windows["1.0 metric delta  metrics 0"].1, Some(2.0));
    assert!(!windows.contains_key("1.0 metric h  metrics 0"));
}

/// A summary with the quantiles 0.5 and 0.99.
fn summary(name: &str, points: &[(i64, i64, u64, f64)]) -> Metric {
    let point = |(start_ns, time_ns, count, sum): &(i64, i64, u64, f64)| SummaryDataPoint {
        start_time_unix_nano: *start_ns as u64,
        time_unix_nano: *time_ns as u64,
        count: *count,
        sum: *sum,
        quantile_values: [(0.99, 1.5), (0.5, f64::NAN)]
            .map(|(quantile, value)| ValueAtQuantile { quantile, value })
            .to_vec(),
        ..SummaryDataPoint::default()
    };
    let data_points = points.iter().map(point).collect();
    Metric {
        name: name.to_owned(),
        unit: "s".to_owned(),
        data: Some(Data::Summary(Summary { data_points })),
        ..Default::default()
    }
}

#[test]
fn a_summary_keeps_its_quantiles_in_points_and_its_count_and_sum_add_up() {
    let mut folder = Folder::new();
    let start = NOW - 20 * NS_PER_S;
    // A running total of 7, then 10; then it begins anew at 2.
    let points = [
        (start, NOW - 9 * NS_PER_S, 7, 3.5),
        (start, NOW - 8 * NS_PER_S, 10, 5.0),
        (NOW - 7 * NS_PER_S, NOW - 6 * NS_PER_S, 2, 1.0),
    ];
    let name = "http.server.request.duration";
    folder.fold(Signal::Metrics, NOW, metrics("shop", "1", vec![summary(name, &points)]));
    let rows = folder.rows(Table::Points);
    let entries = column(&rows[0], "quantiles").as_map().value(0);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_primitive::<Float64Type>());
    assert_eq!((keys.value(0), keys.value(1), values.value(1)), ("0.5", "0.99", 1.5));
    assert!(values.is_null(0), "not a number is no number");
    assert!(column(&rows[0], "histogram").is_null(0), "and there are no buckets");

    let windows = folder.windows(Resolution::S60);
    let of = |signal: &str, metric: &str| {
        let prefix = format!("1 {signal} {metric} ");
        windows.iter().find(|(key, _)| key.starts_with(&prefix)).map(|(_, content)| content.clone())
    };
    let (count, sum, histogram) = of("metric", name).expect("a window");
    assert_eq!((count, sum), (12, Some(6.0)));
    let sketch = Sketch::decode(&histogram.expect("its form")).expect("our own");
    assert_eq!((sketch.count(), sketch.quantile(0.5)), (12, None), "quantiles of summaries cannot be merged");
    // It is a duration metric: requests are known, durations are not made up.
    let requests: i64 = windows
        .iter()
        .filter(|(key, _)| key.starts_with("1 requests"))
        .map(|(_, content)| content.0)
        .max()
        .unwrap_or(0);
    assert_eq!(requests, 12);
    assert!(!windows.keys().any(|key| key.starts_with("1 duration")), "{:?}", windows.keys());
}

#[test]
fn an_event_may_be_named_by_the_attribute_of_old() {
    let mut folder = Folder::new();
    let named = |severity: i32, name: &str, field: &str| LogRecord {
        attributes: vec![text("event.name", name)],
        event_name: field.to_owned(),
        ..log(NOW as u64, severity, "body")
    };
    let records =
        vec![named(0, "order_placed", ""), named(0, "older", "newer"), named(0, "", ""), log(NOW as u64, 0, "x")];
    folder.fold(Signal::Logs, NOW, logs("shop", "1", records));
    let rows = folder.rows(Table::Logs);
    let names: Vec<Option<&str>> = column(&rows[0], "event_name").as_string::<i32>().iter().collect();
    assert_eq!(names, [Some("order_placed"), Some("newer"), None, None]);
    let requests = folder.state.releases.iter().next().expect("one").requests;
    assert_eq!(requests[3], 2, "an event without a severity is no request");
}
