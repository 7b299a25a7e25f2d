//! The ground truth: what the shop really did, counted where it happens and told apart by whether the batch that carried
//! it was acknowledged. Pure; `FORMAT.md` describes the lines.
//!
//! Counts are kept as differences since the last line, so a reader adds up lines with equal keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::shop::{ENVIRONMENT, SERVICES};

/// Length of a window.
pub const WINDOW_NS: u64 = 10_000_000_000;

/// Who did it: index of the service, and the version as Shipwake shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// Index in [`SERVICES`].
    pub service: usize,
    /// The version, or `unversioned`.
    pub version: &'static str,
}

/// What one record adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A server span.
    Request {
        /// Index of the route.
        route: usize,
        /// Its end: a request counts when its outcome is known.
        end_ns: u64,
        /// Whether it failed by the server's fault.
        error: bool,
        /// Its duration.
        duration_us: u64,
    },
    /// A log record.
    Log {
        /// Its time.
        time_ns: u64,
        /// Its severity.
        level: Level,
    },
    /// A record that is no request and no log record: a client span, a metric point.
    Other,
}

/// Severity in three steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Severity number 9.
    Info,
    /// Severity number 13.
    Warn,
    /// Severity number 17.
    Error,
}

/// What is known about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Shipwake acknowledged it.
    Acked,
    /// Given up without an answer: it may count once or not at all.
    Unknown,
    /// Declined, or never sent because too many were in flight.
    Refused,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Fate::Acked => "acked",
            Fate::Unknown => "unknown",
            Fate::Refused => "refused",
        }
    }
}

/// Counts of requests of one route in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Server spans.
    pub requests: u64,
    /// Those with an error.
    pub errors: u64,
    /// Sum of durations, microseconds.
    pub duration_us: u64,
}

/// Counts since the last lines were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// By fate, release, route and window start.
    pub requests: BTreeMap<(Fate, Release, usize, u64), Requests>,
    /// Info, warn, error by fate, release and window start.
    pub logs: BTreeMap<(Fate, Release, u64), [u64; 3]>,
    /// Batches by fate: acked, unknown, refused.
    pub batches: [u64; 3],
}

impl Truth {
    /// Counts a batch whose fate is known.
    pub fn add(&mut self, fate: Fate, release: &Release, tallies: &[Tally]) {
        self.batches[fate as usize] += 1;
        for tally in tallies {
            match *tally {
                Tally::Request { route, end_ns, error, duration_us } => {
                    let key = (fate, release.clone(), route, window(end_ns));
                    let cell = self.requests.entry(key).or_default();
                    cell.requests += 1;
                    cell.errors += u64::from(error);
                    cell.duration_us += duration_us;
                }
                Tally::Log { time_ns, level } => {
                    self.logs.entry((fate, release.clone(), window(time_ns))).or_default()[level as usize] += 1;
                }
                Tally::Other => {}
            }
        }
    }

    /// The lines of what was counted, and a truth that is empty again but for the number of batches.
    pub fn take_lines(&mut self) -> Vec<String> {
        let requests = std::mem::take(&mut self.requests);
        let logs = std::mem::take(&mut self.logs);
        let requests = requests.iter().map(|((fate, release, route, window_ns), cell)| {
            let service = &SERVICES[release.service];
            let route = &service.routes[*route];
            json!({"kind": "requests", "fate": fate.word(), "service": service.name, "environment": ENVIRONMENT,
                "version": release.version, "route": format!("{} {}", route.method, route.route), "window_start_ms": window_ns / 1_000_000,
                "requests": cell.requests, "errors": cell.errors, "duration_us": cell.duration_us})
        });
        let logs = logs.iter().map(|((fate, release, window_ns), [info, warn, error])| {
            json!({"kind": "logs", "fate": fate.word(), "service": SERVICES[release.service].name, "environment": ENVIRONMENT,
                "version": release.version, "window_start_ms": window_ns / 1_000_000, "info": info, "warn": warn, "error": error})
        });
        requests.chain(logs).map(|line| line.to_string()).collect()
    }

    /// The last line.
    pub fn end_line(&self) -> String {
        let [acked, unknown, refused] = self.batches;
        json!({"kind": "end", "acked_batches": acked, "unknown_batches": unknown, "refused_batches": refused})
            .to_string()
    }
}

/// The first line.
pub fn start_line(scenario: &str, seed: u64, speed: f64, started_ns: u64) -> String {
    json!({"kind": "shop", "format": 1, "scenario": scenario, "seed": seed, "speed": speed, "started_ms": started_ns / 1_000_000})
        .to_string()
}

/// The line of a step of the script.
pub fn event_line(time_ns: u64, service: &str, act: &Value, text: &str) -> String {
    json!({"kind": "event", "time_ms": time_ns / 1_000_000, "service": service, "act": act, "text": text}).to_string()
}

fn window(time_ns: u64) -> u64 {
    time_ns / WINDOW_NS * WINDOW_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_differences_and_fates_stay_apart() {
        let release = Release { service: 1, version: "2.14.0" };
        let request = |end_ns, error| Tally::Request { route: 1, end_ns, error, duration_us: 10 };
        let log = Tally::Log { time_ns: 5, level: Level::Error };
        let mut truth = Truth::default();
        truth.add(
            Fate::Acked,
            &release,
            &[request(1, false), request(2, true), request(WINDOW_NS, false), log, Tally::Other],
        );
        truth.add(Fate::Unknown, &release, &[request(3, true)]);
        let lines: Vec<Value> =
            truth.take_lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            (&lines[0]["requests"], &lines[0]["errors"], &lines[0]["duration_us"]),
            (&json!(2), &json!(1), &json!(20))
        );
        assert_eq!(lines[1]["window_start_ms"], 10_000);
        assert_eq!((&lines[2]["fate"], &lines[2]["route"]), (&json!("unknown"), &json!("POST /pay")));
        assert_eq!((&lines[3]["kind"], &lines[3]["error"]), (&json!("logs"), &json!(1)));
        assert!(truth.take_lines().is_empty());
        assert!(truth.end_line().contains("\"acked_batches\":1"));
    }
}
