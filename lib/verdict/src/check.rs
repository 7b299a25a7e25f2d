//! What is judged: checks, each made of one or more streams of counts with their margins.
//!
//! A check asks one question that a person would ask ("does it fail more often?"). Its parts are streams of counts that answer
//! it: errors have one, durations have three (requests slower than each of three thresholds). Parts may depend on each other in
//! any way; the mean of their evidence is evidence.

use crate::latency::Thresholds;
use crate::noise::Noise;
use crate::policy::{Margins, Policy, Weights};

/// Which share of the budget a check takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Failed requests, crashed sessions.
    Errors,
    /// Durations.
    Latency,
    /// Business events and values.
    Kpi,
    /// Log patterns.
    Patterns,
    /// Requests by instance.
    Traffic,
}

impl Group {
    pub(crate) const ALL: [Group; 5] = [Group::Errors, Group::Latency, Group::Kpi, Group::Patterns, Group::Traffic];

    pub(crate) fn weight(self, weights: &Weights) -> f64 {
        match self {
            Group::Errors => weights.errors,
            Group::Latency => weights.latency,
            Group::Kpi => weights.kpi,
            Group::Patterns => weights.patterns,
            Group::Traffic => weights.traffic,
        }
    }
}

/// What kind of evidence a check rests on.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Counts of events.
    Counts(Vec<Part>),
    /// Values by exposure (revenue by session), of which less is worse, with the part that it may fall by.
    Values {
        /// Slots and blocks are the units of replication; their length in seconds.
        block_s: u32,
        /// Worse by less than this part of the baseline's mean never counts.
        limit: f64,
    },
    /// Log lines by pattern.
    Patterns,
}

/// One stream of counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// For people: `errors`, `slower than 210 ms`.
    pub name: String,
    /// How much worse is worse.
    pub margins: Margins,
    /// Events are good ones: the sides are exchanged, and ratios are of how many times fewer there are.
    pub fewer_is_worse: bool,
    /// What the baseline's past says about noise.
    pub noise: Noise,
}

/// A question that is asked of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// A stable name: `errors`, `latency`, `kpi.orders`.
    pub id: String,
    /// For people, in the middle of a sentence: `errors`, `orders per session`.
    pub title: String,
    /// Whose budget it shares.
    pub group: Group,
    /// "Go" needs this check to be proven fine.
    pub required: bool,
    /// Its own evidence suffices for "no go"; each such check adds its own one per cent of false alarms.
    pub critical: bool,
    /// The evidence it rests on.
    pub kind: Kind,
}

impl Check {
    /// Failed requests of all requests.
    pub fn errors(policy: &Policy, noise: Noise, requests_per_hour: f64) -> Check {
        let part = Part::of("errors", policy.errors_at(requests_per_hour), noise);
        Check::required("errors", "errors", Group::Errors, Kind::Counts(vec![part]))
    }

    /// Crashed sessions of all sessions.
    pub fn crashes(policy: &Policy, noise: Noise) -> Check {
        let part = Part::of("crashed sessions", policy.errors, noise);
        Check::required("crashes", "crashed sessions", Group::Errors, Kind::Counts(vec![part]))
    }

    /// Requests slower than each of the baseline's frozen thresholds, `noise` of each.
    pub fn latency(policy: &Policy, thresholds: &Thresholds, noise: [Noise; 3]) -> Check {
        let parts = thresholds.parts(&policy.latency, noise);
        Check::required("latency", "latency", Group::Latency, Kind::Counts(parts))
    }

    /// Business events by session or request, of which fewer are worse. Never required: they are slow to tell.
    pub fn kpi_events(policy: &Policy, key: &str, title: &str, noise: Noise) -> Check {
        let part = Part { fewer_is_worse: true, ..Part::of(title, policy.kpi, noise) };
        Check::optional(&format!("kpi.{key}"), title, Group::Kpi, Kind::Counts(vec![part]))
    }

    /// Values by session or request (revenue), of which less is worse.
    pub fn kpi_values(policy: &Policy, key: &str, title: &str, block_s: u32) -> Check {
        let limit = 1.0 - 1.0 / policy.kpi.worse;
        Check::optional(&format!("kpi.{key}"), title, Group::Kpi, Kind::Values { block_s, limit })
    }

    /// Requests (events) by instance second (exposure): falls when a candidate that has traffic falls silent. `noise` as learnt from
    /// the baseline's requests by instance second.
    pub fn traffic(policy: &Policy, noise: Noise) -> Check {
        let part = Part { fewer_is_worse: true, ..Part::of("requests by instance", policy.traffic, noise) };
        Check::optional("traffic", "requests by instance", Group::Traffic, Kind::Counts(vec![part]))
    }

    /// New and escalated log patterns.
    pub fn patterns() -> Check {
        Check::optional("patterns", "log patterns", Group::Patterns, Kind::Patterns)
    }

    /// The same, whose own evidence suffices.
    pub fn critical(self) -> Check {
        Check { critical: true, ..self }
    }

    fn required(id: &str, title: &str, group: Group, kind: Kind) -> Check {
        Check { required: true, ..Check::optional(id, title, group, kind) }
    }

    fn optional(id: &str, title: &str, group: Group, kind: Kind) -> Check {
        Check { id: id.to_owned(), title: title.to_owned(), group, required: false, critical: false, kind }
    }
}

impl Part {
    /// Events of which more are worse.
    pub fn of(name: &str, margins: Margins, noise: Noise) -> Part {
        Part { name: name.to_owned(), margins, fewer_is_worse: false, noise }
    }

    /// The rate that the limit grants beside a baseline without any event, by the extra events of the floor; `None` where there is none.
    pub(crate) fn floor_rate(&self, ratio: f64, extra: f64) -> Option<f64> {
        Some(ratio * extra).filter(|rate| !self.fewer_is_worse && *rate > 0.0)
    }
}

/// The share of the budget of each check: by group, evenly within one. They add up to one.
pub(crate) fn weights(checks: &[Check], weights: &Weights) -> Vec<f64> {
    let members = |group: Group| checks.iter().filter(|check| check.group == group).count();
    let whole: f64 = Group::ALL.iter().filter(|group| members(**group) > 0).map(|group| group.weight(weights)).sum();
    checks.iter().map(|check| check.group.weight(weights) / whole / members(check.group) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_among_what_is_judged() {
        let policy = Policy::default();
        let errors = || Check::errors(&policy, Noise::unknown(), 1e4);
        assert_eq!(weights(&[errors()], &policy.weights), [1.0]);
        let orders = |key| Check::kpi_events(&policy, key, "orders", Noise::unknown());
        let shares = weights(&[errors(), orders("a"), orders("b")], &policy.weights);
        assert!((shares[0] - 2.0 / 3.0).abs() < 1e-12 && (shares[1] - 1.0 / 6.0).abs() < 1e-12, "{shares:?}");
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
