//! The kinds of telemetry, and the source that a service's release health is derived from.
//!
//! The numbers are part of stored forms (journal headers, segments): they are never reused.

/// A signal of OpenTelemetry. One journal record holds one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Signal {
    /// `ExportLogsServiceRequest`.
    Logs = 1,
    /// `ExportMetricsServiceRequest`.
    Metrics = 2,
    /// `ExportTraceServiceRequest`.
    Traces = 3,
}

impl Signal {
    /// All signals, in the order of their numbers.
    pub const ALL: [Signal; 3] = [Signal::Logs, Signal::Metrics, Signal::Traces];

    /// The word used in routes, metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
            Signal::Traces => "traces",
        }
    }

    /// The signal of a stored number, or `None` for a number this version does not know.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| *signal as u8 == number)
    }
}

/// Where requests, errors and durations of a service come from. A service is shown from exactly one source: the first
/// of this order that it sends. The order is the order of the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Source {
    /// Server spans: every request, with its route and duration.
    Spans = 1,
    /// `http.server.request.duration` and its relatives: counts and buckets made by the SDK.
    Metrics = 2,
    /// Access-log lines of a proxy.
    AccessLog = 3,
    /// Plain log records: records and error records stand in for requests and errors, and there is no duration.
    Logs = 4,
}

impl Source {
    /// All sources, best first.
    pub const ALL: [Source; 4] = [Source::Spans, Source::Metrics, Source::AccessLog, Source::Logs];

    /// The word used in tables and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Spans => "spans",
            Source::Metrics => "metrics",
            Source::AccessLog => "access_log",
            Source::Logs => "logs",
        }
    }

    /// The source that a stored word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }
}
