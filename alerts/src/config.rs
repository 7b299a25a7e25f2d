//! The receivers of `alerts.yaml`, as values. What is in the file is read by `config_file`; secrets are read when the
//! notifier starts.

use std::path::PathBuf;
use std::sync::Arc;

use crate::gates::github::GithubConfig;
use crate::outbox::policy::{Policy, Wants};
use crate::outbox::row::RowId;
use crate::receivers::Target;

/// Receivers in one file.
pub const RECEIVERS_MAX: usize = 32;

/// All that is configured.
#[derive(Clone, Debug, Default)]
pub struct AlertsConfig {
    /// Where people reach the pages, for links in messages; without a slash at the end.
    pub url: Option<String>,
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// Deployments at GitHub that wait for a verdict.
    pub github: Option<GithubConfig>,
}

/// Who is told of changes.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Names it in metrics, in the log of attempts and as a fallback.
    pub name: Arc<str>,
    /// Where it is and how it is spoken to.
    pub target: Target,
    /// What it is told of.
    pub wants: Wants,
    /// How old a notification may be, ms.
    pub max_age_ms: i64,
    /// Who is told when this one fails.
    pub fallback: Option<Arc<str>>,
    /// After how long a failure that is, ms.
    pub fallback_after_ms: i64,
    /// Certificates (PEM) of an authority of your own that its certificate is checked against, besides those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Receiver {
    /// What the outbox has to know of it.
    pub fn policy(&self) -> Policy {
        let address = RowId::of(&[self.target.kind().as_bytes(), self.target.url().expose().as_bytes()]);
        Policy {
            name: self.name.clone(),
            wants: self.wants.clone(),
            merges: self.target.merges(),
            rate: self.target.rate(),
            retry: self.target.retry(),
            max_age_ms: self.max_age_ms,
            fallback: self.fallback.clone(),
            fallback_after_ms: self.fallback_after_ms,
            // A digest: it is stored, and the address may be a secret.
            address: address.scatter(0),
        }
    }
}
