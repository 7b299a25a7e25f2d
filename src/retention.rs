//! The `[retention]` table of the configuration: how many days what is kept, and services with days of their own.
//!
//! In the file every key may be left out; what is in force has all of them. `docs/storage.md` says what they mean.

use serde::{Deserialize, Serialize};
use shipwake_store::{Retention, ServiceRetention};

const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;
/// Ten years: more is most likely a mistake in the unit.
const DAYS_MAX: u32 = 3650;

/// Days by kind of data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionDays {
    /// Log records and events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs_days: Option<u32>,
    /// Spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans_days: Option<u32>,
    /// Metric points as received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points_days: Option<u32>,
    /// Windows of an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_days: Option<u32>,
    /// Windows of 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_60s_days: Option<u32>,
    /// Windows of 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_10s_days: Option<u32>,
    /// A `[[retention.services]]` table for each service that differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceDays>,
}

/// Days of one service, where they differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDays {
    /// Its name, as in `service.name`.
    pub service: String,
    /// Log records and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_days: Option<u32>,
    /// Spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans_days: Option<u32>,
    /// Metric points as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_days: Option<u32>,
    /// Windows of an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows_days: Option<u32>,
}

impl RetentionDays {
    /// Fills in what was not said: `rows_days`, if it was given, for logs, spans and points, else the defaults of the store.
    #[must_use]
    pub fn or_default(self, rows_days: Option<u32>) -> Self {
        let defaults = Retention::default();
        let days = |ns: i64| u32::try_from(ns / DAY_NS).unwrap_or(DAYS_MAX);
        let of = |said: Option<u32>, default_ns: i64| said.or(Some(days(default_ns)));
        Self {
            logs_days: of(self.logs_days.or(rows_days), defaults.logs_ns),
            spans_days: of(self.spans_days.or(rows_days), defaults.spans_ns),
            points_days: of(self.points_days.or(rows_days), defaults.points_ns),
            windows_days: of(self.windows_days, defaults.windows_ns),
            windows_60s_days: of(self.windows_60s_days, defaults.windows_60s_ns),
            windows_10s_days: of(self.windows_10s_days, defaults.windows_10s_ns),
            services: self.services,
        }
    }

    /// Everything that is wrong, in words.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |name: &str, days: Option<u32>| {
            if let Some(days) = days.filter(|days| !(1..=DAYS_MAX).contains(days)) {
                problems.push(format!("{name} = {days}: it is between 1 and {DAYS_MAX}"));
            }
        };
        check("retention.logs_days", self.logs_days);
        check("retention.spans_days", self.spans_days);
        check("retention.points_days", self.points_days);
        check("retention.windows_days", self.windows_days);
        check("retention.windows_60s_days", self.windows_60s_days);
        check("retention.windows_10s_days", self.windows_10s_days);
        for own in &self.services {
            for (name, days) in [
                ("logs_days", own.logs_days),
                ("spans_days", own.spans_days),
                ("points_days", own.points_days),
                ("windows_days", own.windows_days),
            ] {
                check(&format!("retention.services {}: {name}", own.service), days);
            }
        }
        let mut names: Vec<&str> = self.services.iter().map(|own| own.service.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).filter(|pair| pair[0] == pair[1]);
        problems.extend(twice.map(|pair| format!("retention.services has {:?} twice: which days are they?", pair[0])));
        problems
    }

    /// The same as the store wants to be told. Call it on what [`RetentionDays::or_default`] gave.
    pub fn to_store(&self) -> Retention {
        let ns = |days: u32| i64::from(days) * DAY_NS;
        let or = |days: Option<u32>, default_ns: i64| days.map_or(default_ns, ns);
        let defaults = Retention::default();
        let service = |own: &ServiceDays| ServiceRetention {
            service: own.service.clone(),
            logs_ns: own.logs_days.map(ns),
            spans_ns: own.spans_days.map(ns),
            points_ns: own.points_days.map(ns),
            windows_ns: own.windows_days.map(ns),
        };
        Retention {
            logs_ns: or(self.logs_days, defaults.logs_ns),
            spans_ns: or(self.spans_days, defaults.spans_ns),
            points_ns: or(self.points_days, defaults.points_ns),
            windows_ns: or(self.windows_days, defaults.windows_ns),
            windows_60s_ns: or(self.windows_60s_days, defaults.windows_60s_ns),
            windows_10s_ns: or(self.windows_10s_days, defaults.windows_10s_ns),
            windows_1s_ns: defaults.windows_1s_ns,
            services: self.services.iter().map(service).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RetentionDays {
        toml::from_str(text).expect("known keys")
    }

    #[test]
    fn the_table_wins_over_the_option_and_the_option_over_the_defaults() {
        let days = read("logs_days = 30\n[[services]]\nservice = \"chatty\"\nlogs_days = 2").or_default(Some(5));
        assert_eq!((days.logs_days, days.spans_days, days.windows_days), (Some(30), Some(5), Some(400)));
        let store = days.to_store();
        assert_eq!((store.logs_ns, store.services[0].logs_ns), (30 * DAY_NS, Some(2 * DAY_NS)));
        let days = RetentionDays::default().or_default(None);
        assert_eq!((days.logs_days, days.spans_days, days.points_days), (Some(14), Some(7), Some(14)));
        assert_eq!(days.to_store(), Retention::default());
    }

    #[test]
    fn mistakes_are_said() {
        let text = "spans_days = 0\n[[services]]\nservice = \"a\"\nlogs_days = 4000\n[[services]]\nservice = \"a\"";
        let problems = read(text).problems();
        assert!(problems.len() == 3 && problems[1].contains("services a: logs_days"), "{problems:?}");
        assert!(toml::from_str::<RetentionDays>("log_days = 1").is_err());
    }
}
