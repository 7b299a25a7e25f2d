//! What a run has done so far, and its report as a line, as text and as JSON. Pure: time and CPU are arguments.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use shipwake_model::sketch::HdrCells;

use super::wire::Outcome;

/// Counters of a run.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Records and bytes of requests that left at least once.
    pub sent_records: u64,
    /// See `sent_records`.
    pub sent_bytes: u64,
    /// Requests that left at least once.
    pub sent_requests: u64,
    /// Records whose request was acknowledged.
    pub acked_records: u64,
    /// Records whose request was given up with an attempt that may have been taken.
    pub unknown_records: u64,
    /// Records whose request was declined to the end.
    pub refused_records: u64,
    /// Attempts beyond the first of a request.
    pub retries: u64,
    /// Due time to acknowledgement, microseconds.
    pub ack_us: HdrCells,
    /// How late requests left, microseconds after they were due.
    pub late_us: HdrCells,
    /// The last reason of a refusal or loss.
    pub last_trouble: Option<String>,
}

impl Stats {
    /// Counts a request that leaves.
    pub fn sent(&mut self, records: u32, bytes: usize, late: Duration) {
        self.sent_records += u64::from(records);
        self.sent_bytes += bytes as u64;
        self.sent_requests += 1;
        self.late_us.record(late.as_micros() as u64);
    }

    /// Counts what became of a request, `since_due` after it was due.
    pub fn ended(&mut self, records: u32, outcome: &Outcome, attempts: u32, since_due: Duration) {
        let records = u64::from(records);
        self.retries += u64::from(attempts.saturating_sub(1));
        match outcome {
            Outcome::Acknowledged => {
                self.acked_records += records;
                self.ack_us.record(since_due.as_micros() as u64);
            }
            Outcome::Unknown(reason) => {
                self.unknown_records += records;
                self.last_trouble = Some(reason.clone());
            }
            Outcome::Refused(reason) => {
                self.refused_records += records;
                self.last_trouble = Some(reason.clone());
            }
        }
    }

    /// One line of progress. `before` are the counters `span` ago; `cores` is the CPU that the generator used meanwhile.
    pub fn progress(&self, before: &Stats, span: Duration, elapsed: Duration, cores: f64) -> String {
        let seconds = span.as_secs_f64().max(1e-3);
        let mut line = format!(
            "{:>5.0} s  {:>8.0} records/s {:>7.2} MB/s  acked {:>10}  ack p50 {} p99 {}  late p99 {}  generator {:.1} % of a core",
            elapsed.as_secs_f64(),
            (self.sent_records - before.sent_records) as f64 / seconds,
            (self.sent_bytes - before.sent_bytes) as f64 / seconds / 1e6,
            self.acked_records,
            milliseconds(&self.ack_us, 0.5),
            milliseconds(&self.ack_us, 0.99),
            milliseconds(&self.late_us, 0.99),
            cores * 100.0,
        );
        if self.refused_records + self.unknown_records + self.retries > 0 {
            let _ = write!(
                line,
                "  refused {} unknown {} retries {}",
                self.refused_records, self.unknown_records, self.retries
            );
        }
        line
    }

    /// The summary of a run that took `elapsed` and `cpu` of the generator.
    pub fn summary(&self, elapsed: Duration, cpu: Duration) -> Value {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        json!({
            "elapsed_s": seconds,
            "sent": {"records": self.sent_records, "bytes": self.sent_bytes, "requests": self.sent_requests,
                "records_per_s": self.sent_records as f64 / seconds, "mb_per_s": self.sent_bytes as f64 / seconds / 1e6},
            "acked_records": self.acked_records,
            "unknown_records": self.unknown_records,
            "refused_records": self.refused_records,
            "retries": self.retries,
            "ack_ms": quantiles(&self.ack_us),
            "late_ms": quantiles(&self.late_us),
            "generator": {"cpu_s": cpu.as_secs_f64(), "cores": cpu.as_secs_f64() / seconds},
            "last_trouble": self.last_trouble,
        })
    }
}

/// The summary for people.
pub fn summary_text(summary: &Value) -> String {
    let number = |pointer: &str| summary.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
    let mut text = format!(
        "sent {} records, {:.1} MB in {:.1} s: {:.0} records/s, {:.2} MB/s\n\
         acknowledged {}, refused {}, unknown {}, retries {}\n\
         due to acknowledged: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; sent late: p99 {:.1} ms\n\
         generator: {:.1} % of a core\n",
        number("/sent/records"),
        number("/sent/bytes") / 1e6,
        number("/elapsed_s"),
        number("/sent/records_per_s"),
        number("/sent/mb_per_s"),
        number("/acked_records"),
        number("/refused_records"),
        number("/unknown_records"),
        number("/retries"),
        number("/ack_ms/p50"),
        number("/ack_ms/p99"),
        number("/ack_ms/max"),
        number("/late_ms/p99"),
        number("/generator/cores") * 100.0,
    );
    if let Some(trouble) = summary["last_trouble"].as_str() {
        let _ = writeln!(text, "last trouble: {trouble}");
    }
    if let Some(lag) = summary.get("visible_lag") {
        let value = |pointer: &str| match lag.pointer(pointer).and_then(Value::as_f64) {
            Some(ms) => format!("{ms:.0} ms"),
            None => "—".to_owned(),
        };
        let _ = writeln!(
            text,
            "visible: sent to seen by a query p50 {}, p99 {} ({} of {} probes seen); the server's own receive to visible p50 {}, p99 {}",
            value("/probe_ms/p50"),
            value("/probe_ms/p99"),
            lag["seen"],
            lag["probes"],
            value("/server_ms/p50"),
            value("/server_ms/p99"),
        );
    }
    text
}

/// p50, p90, p99 and the largest, in milliseconds.
pub fn quantiles(us: &HdrCells) -> Value {
    let ms = |q| us.quantile(q).map(|us| us as f64 / 1e3);
    json!({"p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99), "max": us.max().map(|us| us as f64 / 1e3), "count": us.count()})
}

fn milliseconds(us: &HdrCells, q: f64) -> String {
    us.quantile(q).map_or_else(|| "—".to_owned(), |us| format!("{:.1} ms", us as f64 / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_fates_and_latency_from_the_due_time() {
        let mut stats = Stats::default();
        for _ in 0..99 {
            stats.sent(10, 3_000, Duration::ZERO);
            stats.ended(10, &Outcome::Acknowledged, 1, Duration::from_millis(4));
        }
        stats.sent(10, 3_000, Duration::from_millis(2));
        stats.ended(10, &Outcome::Refused("full".to_owned()), 3, Duration::from_secs(9));
        let summary = stats.summary(Duration::from_secs(10), Duration::from_secs(1));
        assert_eq!(summary["acked_records"], 990);
        assert_eq!(summary["refused_records"], 10);
        assert_eq!(summary["retries"], 2);
        assert_eq!(summary["sent"]["records_per_s"], 100.0);
        assert_eq!(summary["generator"]["cores"], 0.1);
        let text = summary_text(&summary);
        assert!(text.contains("acknowledged 990, refused 10") && text.contains("last trouble: full"), "{text}");
    }
}
