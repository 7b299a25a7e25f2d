//! Sending lines to a running Shipwake, for `shipwake pipe` and `shipwake tail`.
//!
//! - [`Target`]: the options that both commands have. [`cut`]: where a batch ends; pure.
//! - [`post`]: a batch to `/v1/lines`, tried until it is taken. [`answer`]: what an answer means and when to come again; pure.
//! - [`words`]: what is said on standard error, and how often.

pub mod answer;
pub mod cut;
pub mod post;
pub mod words;

use std::time::Duration;

use clap::Args;

use crate::load;

/// Where lines go and what is said about them.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Where Shipwake takes OTLP over HTTP and lines.
    #[arg(long, env = "SHIPWAKE_ENDPOINT", default_value = "http://127.0.0.1:4318")]
    pub endpoint: String,
    /// Service of lines that do not name one.
    #[arg(long, env = "SHIPWAKE_SERVICE")]
    pub service: Option<String>,
    /// Version of lines that do not name one.
    #[arg(long = "version", env = "SHIPWAKE_VERSION", id = "release_version", value_name = "VERSION")]
    pub version: Option<String>,
    /// Environment of lines that do not name one.
    #[arg(long, env = "SHIPWAKE_ENVIRONMENT")]
    pub environment: Option<String>,
    /// Instance of lines that do not name one. Default: this machine's address, as Shipwake sees it.
    #[arg(long, env = "SHIPWAKE_INSTANCE")]
    pub instance: Option<String>,
    /// How lines are read; `docs/lines.md` has the list.
    #[arg(long, env = "SHIPWAKE_FORMAT", default_value = "auto")]
    pub format: String,
    /// Which version is behind a name that a proxy logs: `blue=1.41.0,green=1.42.0`.
    #[arg(long, env = "SHIPWAKE_UPSTREAM")]
    pub upstream: Option<String>,
    /// The expression of `--format regex`.
    #[arg(long, env = "SHIPWAKE_PATTERN")]
    pub pattern: Option<String>,
    /// What times without a zone are in: `+02:00`, `UTC`.
    #[arg(long, env = "SHIPWAKE_TZ", allow_hyphen_values = true)]
    pub tz: Option<String>,
    /// Whether lines are joined to records: `auto` or `off`.
    #[arg(long, env = "SHIPWAKE_MULTILINE")]
    pub multiline: Option<String>,
    /// The unit of durations whose unit the line leaves open: `s`, `ms` or `us`.
    #[arg(long, env = "SHIPWAKE_DURATION_UNIT")]
    pub duration_unit: Option<String>,
    /// How long to wait at the end until everything is delivered: `60s`, `5m`.
    #[arg(long, env = "SHIPWAKE_WAIT", default_value = "60s", value_parser = load::parse_duration)]
    pub wait: Duration,
}

impl Target {
    /// The parameters of the address.
    fn query(&self) -> Vec<(&'static str, &str)> {
        let stated = [
            ("service", self.service.as_deref()),
            ("version", self.version.as_deref()),
            ("environment", self.environment.as_deref()),
            ("instance", self.instance.as_deref()),
            ("format", Some(self.format.as_str())),
            ("upstream", self.upstream.as_deref()),
            ("pattern", self.pattern.as_deref()),
            ("tz", self.tz.as_deref()),
            ("multiline", self.multiline.as_deref()),
            ("duration_unit", self.duration_unit.as_deref()),
        ];
        stated.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
