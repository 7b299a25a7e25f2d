//! The judge's questions: asks a running Shipwake over SQL for everything the oracle knows, in pieces that stay below the
//! API's bound on rows, and hands the answers to [`super::judge`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use shipwake_model::Signal;

use super::args::CheckArgs;
use super::comparisons::{COMPARISONS, Comparison};
use super::content::{self, SPACING_NS};
use super::judge::{self, Finding, Found};
use super::oracle::{self, Book, Fate, Request};
use super::payload;
use super::search;
use super::sql::{ROWS_MAX, Shipwake, whole};

/// Groups whose ids one statement counts: well below the bound on rows, and few enough ids for the query's memory.
const GROUPS_PER_QUESTION: u64 = 5_000;
const IDS_PER_QUESTION: u64 = 500_000;
/// Requests of each signal whose records are compared field by field.
const SAMPLES: usize = 12;
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Compares an oracle file with a running Shipwake. The answer has `ok`, `findings` and what was checked.
///
/// # Errors
/// When the file cannot be used or Shipwake does not answer.
pub async fn run(args: &CheckArgs) -> anyhow::Result<Value> {
    let file = std::fs::read(&args.oracle).with_context(|| format!("failed to read {}", args.oracle.display()))?;
    let book = oracle::parse(&file).with_context(|| format!("failed to read {}", args.oracle.display()))?;
    let judge = Judge { shipwake: Shipwake::new(&args.url)?, book };
    judge.wait_until_visible(args.wait).await?;

    let mut findings = Vec::new();
    for signal in Signal::ALL {
        findings.extend(judge.ids(signal).await?);
        findings.extend(judge.payloads(signal).await?);
    }
    findings.extend(judge.windows().await?);
    findings.extend(search::judge(&judge.shipwake, &judge.book).await?);
    let totals = |signal: Signal| {
        let [acknowledged, unknown, refused] = judge.book.totals(signal);
        json!({"acknowledged": acknowledged, "unknown": unknown, "refused": refused})
    };
    Ok(json!({
        "ok": findings.is_empty(),
        "run": judge.book.shape.run,
        "run_ended": judge.book.ended,
        "logs": totals(Signal::Logs), "metrics": totals(Signal::Metrics), "traces": totals(Signal::Traces),
        "findings": findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

struct Judge {
    shipwake: Shipwake,
    book: Book,
}

/// Where the records of a signal are, and how their id is read.
struct Source {
    table: &'static str,
    id: String,
}

fn source(signal: Signal) -> Source {
    let attribute = format!("cast(attributes['{}'] as bigint)", content::ID_ATTRIBUTE);
    match signal {
        Signal::Logs => Source { table: "logs", id: attribute },
        Signal::Traces => Source { table: "spans", id: attribute },
        Signal::Metrics => Source {
            table: "points",
            id: "cast(case when kind = 'histogram' then sum else value end as bigint)".to_owned(),
        },
    }
}

impl Judge {
    fn requests(&self, signal: Signal) -> &BTreeMap<u64, Request> {
        &self.book.requests[signal as usize - 1]
    }

    /// The rows of the run, without those of the prober, which has no version of the run's services.
    fn of_run(&self) -> String {
        format!("namespace = '{}' and service <> 'load-probe'", self.book.shape.run)
    }

    /// Waits until as many rows are there as were acknowledged, or the time is over: then the findings say what is missing.
    async fn wait_until_visible(&self, wait: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + wait;
        for signal in Signal::ALL {
            let acknowledged = self.book.totals(signal)[Fate::Acknowledged as usize] as i64;
            while acknowledged > 0 && self.rows_of(signal).await? < acknowledged && Instant::now() < until {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    async fn rows_of(&self, signal: Signal) -> anyhow::Result<i64> {
        self.shipwake.number(&format!("select count(*) from {} where {}", source(signal).table, self.of_run())).await
    }

    /// Every request of a signal by its ids, then whether there is anything else.
    async fn ids(&self, signal: Signal) -> anyhow::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mut rows_expected = 0;
        let requests: Vec<(&u64, &Request)> = self.requests(signal).iter().collect();
        let shape = &self.book.shape;
        let by_ids = IDS_PER_QUESTION / u64::from(shape.batch);
        let by_groups = GROUPS_PER_QUESTION / u64::from(shape.resources_per_request);
        let per_question = by_ids.min(by_groups).max(1) as usize;
        for piece in requests.chunks(per_question) {
            let found = self.found(signal, piece).await?;
            for (first, request) in piece {
                let group = shape.group();
                for first in (**first..**first + u64::from(request.count)).step_by(group as usize) {
                    let found = found.get(&first).copied().unwrap_or_default();
                    rows_expected += found.rows;
                    findings.extend(judge::group(signal, first, group, request.fate, found));
                }
            }
        }
        let rows = self.rows_of(signal).await?;
        if rows != rows_expected {
            findings.push(Finding::NeverSent { signal, rows: rows - rows_expected });
        }
        Ok(findings)
    }

    /// What is there of some neighbouring requests, by the first id of each group.
    async fn found(&self, signal: Signal, piece: &[(&u64, &Request)]) -> anyhow::Result<BTreeMap<u64, Found>> {
        let Source { table, id } = source(signal);
        let group = u64::from(self.book.shape.group());
        let (first, end) = (*piece[0].0, piece[piece.len() - 1].0 + u64::from(self.book.shape.batch));
        let sql = format!(
            "select id / {group}, count(*), count(distinct id), sum(id % {group}) from \
             (select {id} as id from {table} where {} and {}) where id >= {first} and id < {end} group by 1",
            self.of_run(),
            time_bounds(piece.iter().map(|(_, request)| *request)),
        );
        let mut found = BTreeMap::new();
        for row in self.shipwake.rows(&sql).await? {
            let number = |at: usize| row.get(at).and_then(whole).unwrap_or(0);
            found.insert(number(0) as u64 * group, Found { rows: number(1), ids: number(2), position_sum: number(3) });
        }
        Ok(found)
    }

    /// Records of some acknowledged requests, field by field.
    async fn payloads(&self, signal: Signal) -> anyhow::Result<Vec<Finding>> {
        let acknowledged: Vec<(&u64, &Request)> =
            self.requests(signal).iter().filter(|(_, request)| request.fate == Fate::Acknowledged).collect();
        let step = (acknowledged.len() / SAMPLES).max(1);
        let pad = payload::log_padding(&self.book.shape);
        let mut findings = Vec::new();
        for (first, request) in acknowledged.into_iter().step_by(step) {
            let Source { table, id } = source(signal);
            let count = request.count.min(1_000);
            let sql = format!(
                "select id, {columns} from (select {id} as id, * from {table} where {} and {}) where id >= {first} and id < {}",
                self.of_run(),
                time_bounds([request].into_iter()),
                first + u64::from(count),
                columns = payload::columns(signal),
            );
            for row in self.shipwake.rows(&sql).await? {
                findings.extend(payload::judge(&self.book.shape, &pad, signal, &row));
            }
        }
        Ok(findings)
    }

    /// Numbers over windows against the same numbers over rows, by service and version: at ten seconds window by window, at
    /// the coarser resolutions in all.
    async fn windows(&self) -> anyhow::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for comparison in &COMPARISONS {
            let Comparison { what, windows, windows_where, rows, table, rows_where, row_time } = comparison;
            let in_all = self.numbers(rows, table, rows_where, "0").await?;
            for resolution_s in [10, 60, 3_600] {
                let which = format!("{windows_where} and resolution_s = {resolution_s}");
                let over_windows = self.numbers(windows, "windows", &which, "0").await?;
                findings.extend(judge::same_numbers(&format!("{what} ({resolution_s} s)"), &over_windows, &in_all));
            }
            if self.windows_fit_one_answer() {
                let which = format!("{windows_where} and resolution_s = 10");
                let over_windows =
                    self.numbers(windows, "windows", &which, "cast(window_start as bigint) / 10000000000").await?;
                let over_rows = self.numbers(rows, table, rows_where, &format!("({row_time}) / 10000000000")).await?;
                findings.extend(judge::same_numbers(&format!("{what} (window by window)"), &over_windows, &over_rows));
            }
        }
        Ok(findings)
    }

    fn windows_fit_one_answer(&self) -> bool {
        let times = || self.book.requests.iter().flat_map(BTreeMap::values).map(|request| request.time_ns);
        let seconds = (times().max().unwrap_or(0) - times().min().unwrap_or(0)) / 1_000_000_000;
        let releases = u64::from(self.book.shape.services) * u64::from(self.book.shape.versions);
        (seconds / 10 + 3) * releases < ROWS_MAX as u64
    }

    /// A number of each service, version and `bucket` of the run; zeros are left out.
    async fn numbers(
        &self,
        number: &str,
        table: &str,
        which: &str,
        bucket: &str,
    ) -> anyhow::Result<BTreeMap<String, i64>> {
        let sql = format!(
            "select service, version, {bucket} as bucket, {number} from {table} where {which} and {} group by 1, 2, 3",
            self.of_run()
        );
        let text = |cell: &Value| cell.as_str().unwrap_or("").to_owned();
        let key = |row: &[Value]| match whole(&row[2]) {
            Some(0) | None => format!("{} {}", text(&row[0]), text(&row[1])),
            Some(bucket) => format!("{} {} window {}0 s", text(&row[0]), text(&row[1]), bucket),
        };
        let rows = self.shipwake.rows(&sql).await?;
        let numbers = rows.iter().filter(|row| row.len() == 4).map(|row| (key(row), whole(&row[3]).unwrap_or(0)));
        Ok(numbers.filter(|(_, number)| *number != 0).collect())
    }
}

/// A condition that holds for every record of the requests and spares the query the rest of the table.
fn time_bounds<'a>(requests: impl Iterator<Item = &'a Request>) -> String {
    // A span's time is its start, which lies its duration before the time of its request.
    const DURATION_MAX_NS: u64 = 1_000_000_000;
    let (mut from, mut to) = (u64::MAX, 0);
    for request in requests {
        from = from.min(request.time_ns.saturating_sub(u64::from(request.count) * SPACING_NS + DURATION_MAX_NS));
        to = to.max(request.time_ns);
    }
    format!("time >= to_timestamp_nanos({from}) and time <= to_timestamp_nanos({to})")
}

/// The answer for people.
pub fn text(answer: &Value) -> String {
    let mut text = format!(
        "run {}{}\n",
        answer["run"].as_str().unwrap_or(""),
        if answer["run_ended"] == true { "" } else { " (broken off)" }
    );
    for signal in Signal::ALL {
        let totals = &answer[signal.as_str()];
        text.push_str(&format!(
            "{:>8}: {} acknowledged, {} unknown, {} refused\n",
            signal.as_str(),
            totals["acknowledged"],
            totals["unknown"],
            totals["refused"]
        ));
    }
    let findings = answer["findings"].as_array().map_or(&[][..], Vec::as_slice);
    for finding in findings.iter().take(50) {
        text.push_str(&format!("FINDING {}\n", finding.as_str().unwrap_or("")));
    }
    if findings.len() > 50 {
        text.push_str(&format!("… and {} more\n", findings.len() - 50));
    }
    text.push_str(if findings.is_empty() {
        "everything acknowledged is there, once, and windows and searches agree with rows\n"
    } else {
        "NOT in agreement\n"
    });
    text
}
