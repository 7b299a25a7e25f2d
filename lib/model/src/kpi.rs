//! Declared KPIs: business figures that a team wants to see by version, and what they are counted from.
//!
//! Values only. `src/kpis.rs` reads them from a file, `aggregate` folds by them, `query` says what they mean. A declaration
//! applies to records that are folded after it was made; what was folded before stays as it was.

use std::sync::Arc;

/// Events that are about something else than business: they are logs, toggle evaluations, markers, verdicts and notifications, not KPIs.
pub const OTHER_EVENTS: [&str; 6] = [
    "exception",
    "feature_flag",
    "feature_flag.evaluation",
    crate::marker::EVENT_NAME,
    crate::verdict_change::EVENT_NAME,
    crate::notification::EVENT_NAME,
];

/// Whether an event of this name counts as a KPI event.
pub fn is_kpi_event(name: &[u8]) -> bool {
    !name.is_empty() && !OTHER_EVENTS.iter().any(|other| other.as_bytes() == name)
}

/// A declared KPI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kpi {
    /// Its name in tables and addresses; the column `metric` of `windows` with the signal `kpi`.
    pub key: Arc<str>,
    /// Its name for people.
    pub title: String,
    /// Unit of its values, or empty.
    pub unit: Arc<str>,
    /// What it is counted from.
    pub source: KpiSource,
    /// What is made of what is counted.
    pub value: KpiValue,
    /// Only records of this service; `None` for all.
    pub service: Option<String>,
    /// Only records of this environment; `None` for all.
    pub environment: Option<String>,
    /// Which direction is good.
    pub better: Better,
    /// What it is divided by.
    pub per: Per,
}

/// What a KPI is counted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KpiSource {
    /// Events of this name; values are the events' values.
    Event(String),
    /// Log records whose attributes have these values, all of them; values are those of the attribute `field`.
    Log {
        /// Attribute and the value it must have.
        matching: Vec<(String, String)>,
        /// The attribute that holds the value; `None` where records are only counted.
        field: Option<String>,
    },
    /// A metric by its name; values are what its points add, or their level where they do not add up.
    Metric(String),
}

/// What is made of the records of a KPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KpiValue {
    /// How many there are.
    Count,
    /// The sum of their values.
    Sum,
    /// The mean of their values.
    Mean,
}

/// Which direction of a KPI is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// What a KPI is divided by, so that versions with different shares of the traffic can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Per 1 000 requests of the same version.
    Request,
    /// Per session of the same version.
    Session,
    /// Per user of the same version.
    User,
    /// Not divided: per second for counts and sums.
    None,
}

impl Kpi {
    /// Whether it is about this service and environment.
    pub fn concerns(&self, service: &str, environment: &str) -> bool {
        self.service.as_deref().is_none_or(|wanted| wanted == service)
            && self.environment.as_deref().is_none_or(|wanted| wanted == environment)
    }
}

macro_rules! words {
    ($type:ident: $($variant:ident $word:literal),+) => {
        impl $type {
            /// All, with the words that name them.
            pub const WORDS: &[(&str, $type)] = &[$(($word, $type::$variant)),+];

            /// The word that names it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $word),+
                }
            }
        }
    };
}

words!(KpiValue: Count "count", Sum "sum", Mean "mean");
words!(Better: Higher "higher", Lower "lower");
words!(Per: Request "request", Session "session", User "user", None "none");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_without_service_and_environment_is_about_all() {
        let mut kpi = Kpi {
            key: "orders".into(),
            title: "Orders".into(),
            unit: "".into(),
            source: KpiSource::Event("order_placed".into()),
            value: KpiValue::Count,
            service: None,
            environment: None,
            better: Better::Higher,
            per: Per::Request,
        };
        assert!(kpi.concerns("checkout", "prod"));
        (kpi.service, kpi.environment) = (Some("checkout".into()), Some("prod".into()));
        assert!(kpi.concerns("checkout", "prod") && !kpi.concerns("cart", "prod") && !kpi.concerns("checkout", "dev"));
    }
}
