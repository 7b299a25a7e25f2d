//! What can be compared, as it is written in a question. Pure.

/// One thing that two cohorts are compared by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Metric {
    /// How long requests take.
    #[default]
    Duration,
    /// The share of requests that failed.
    Errors,
    /// Requests a second.
    Rate,
    /// The share of sessions without a crash.
    CrashFree,
    /// The share of sessions without an error.
    ErrorFree,
    /// A KPI by its key, or an event by its name.
    Kpi(String),
    /// A metric that the app sends as a histogram, by its name.
    Values(String),
}

/// How all of them are written, for the answer to a question that names another.
pub(crate) const WRITTEN: &str = "duration, errors, rate, crash_free, error_free, kpi:KEY, metric:NAME";

impl Metric {
    /// Reads one; `None` is no such thing.
    pub fn read(text: &str) -> Option<Metric> {
        let named = |kind: &str| text.strip_prefix(kind).filter(|name| !name.is_empty()).map(str::to_owned);
        match text {
            "" | "duration" => Some(Metric::Duration),
            "errors" => Some(Metric::Errors),
            "rate" => Some(Metric::Rate),
            "crash_free" => Some(Metric::CrashFree),
            "error_free" => Some(Metric::ErrorFree),
            _ => named("kpi:").map(Metric::Kpi).or_else(|| named("metric:").map(Metric::Values)),
        }
    }

    /// As it is written.
    pub fn written(&self) -> String {
        match self {
            Metric::Duration => "duration".to_owned(),
            Metric::Errors => "errors".to_owned(),
            Metric::Rate => "rate".to_owned(),
            Metric::CrashFree => "crash_free".to_owned(),
            Metric::ErrorFree => "error_free".to_owned(),
            Metric::Kpi(key) => format!("kpi:{key}"),
            Metric::Values(name) => format!("metric:{name}"),
        }
    }

    /// Whether it is known by route and by variant of a toggle: what requests tell.
    pub fn is_of_requests(&self) -> bool {
        matches!(self, Metric::Duration | Metric::Errors | Metric::Rate)
    }

    /// The signal of its windows and its name there, of those that are read by themselves.
    pub fn of_windows(&self) -> Option<(&'static str, &str)> {
        match self {
            Metric::Kpi(key) => Some(("kpi", key)),
            Metric::Values(name) => Some(("metric", name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for text in
            ["duration", "errors", "rate", "crash_free", "error_free", "kpi:orders", "metric:a:b c", "kpi:kpi:x"]
        {
            assert_eq!(Metric::read(text).map(|metric| metric.written()).as_deref(), Some(text));
        }
        assert_eq!(Metric::read(""), Some(Metric::Duration));
        for text in ["p99", "kpi:", "metric:", "Errors", "kpi"] {
            assert_eq!(Metric::read(text), None, "{text}");
        }
    }
}
