//! By which policy a release is judged: the default for everybody, and those that a file gives to some services or environments.
//! What a policy says is described in `shipwake_verdict::policy` and, for people, in `docs/verdicts.md`.

pub mod file;
mod sense;

use std::sync::Arc;

use shipwake_verdict::check::Group;
use shipwake_verdict::{Check, Policy};

/// A policy with its name, and what it changes about checks.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedPolicy {
    /// What people see that a release was judged by.
    pub name: Arc<str>,
    /// Limits and budgets.
    pub policy: Policy,
    /// Checks that are not made, by id or group.
    pub off: Vec<String>,
    /// Checks whose own evidence suffices for "no go", by id or group.
    pub critical: Vec<String>,
    /// Checks that "go" needs besides those that it always needs, by id or group.
    pub required: Vec<String>,
}

/// Whom a policy is for; an empty list is everybody.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Services by name; one that ends in `*` is for all that begin so.
    pub services: Vec<String>,
    /// Environments likewise.
    pub environments: Vec<String>,
    /// What they are judged by.
    pub policy: NamedPolicy,
}

/// All policies. The first rule that is for a service and environment counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// For all others.
    pub default: NamedPolicy,
}

impl Default for NamedPolicy {
    fn default() -> Self {
        NamedPolicy {
            name: "default".into(),
            policy: Policy::default(),
            off: Vec::new(),
            critical: Vec::new(),
            required: Vec::new(),
        }
    }
}

impl Policies {
    /// The policy for a service in an environment.
    pub fn of(&self, service: &str, environment: &str) -> &NamedPolicy {
        let is_for =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|known| sense::is_for(known, name));
        let rule =
            self.rules.iter().find(|rule| is_for(&rule.services, service) && is_for(&rule.environments, environment));
        rule.map_or(&self.default, |rule| &rule.policy)
    }
}

impl NamedPolicy {
    /// The checks that are made, as this policy wants them.
    pub fn apply(&self, checks: Vec<Check>) -> Vec<Check> {
        let names = |list: &[String], check: &Check| {
            list.iter().any(|name| *name == check.id || name == group_word(check.group))
        };
        let kept = checks.into_iter().filter(|check| !names(&self.off, check));
        let applied = kept.map(|check| {
            let (critical, required) = (names(&self.critical, &check), names(&self.required, &check));
            Check { critical: check.critical || critical, required: check.required || required, ..check }
        });
        applied.collect()
    }
}

/// The word for a group of checks, in files and on the wire.
pub fn group_word(group: Group) -> &'static str {
    match group {
        Group::Errors => "errors",
        Group::Latency => "latency",
        Group::Kpi => "kpi",
        Group::Patterns => "patterns",
        Group::Traffic => "traffic",
    }
}
