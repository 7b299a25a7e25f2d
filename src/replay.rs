//! `shipwake verdict replay`: what past releases would have been called, by these policies, from the stored windows of a running
//! Shipwake.
//!
//! The engine is the server's own (`shipwake_alerts::judge::replay`), run here: nothing is changed on the server, and its policies play
//! no part. Exit code 0: every release is called as it was; 1: one is called otherwise; 2: there is none to compare; 3: an error.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{anyhow, ensure};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use shipwake_alerts::judge::replay::run::{self, Request};
use shipwake_alerts::judge::replay::{Outcome, Report};
use shipwake_alerts::{Policies, policies, time};
use shipwake_model::{Kpi, moment};

use crate::load;
use crate::query_command::base_of;

/// Exit code when some release would have been called otherwise, when there is none to compare, and for an error.
const OTHERWISE: u8 = 1;
const NOTHING: u8 = 2;
const ERROR: u8 = 3;
/// The longest time that is replayed at once, in days: windows of ten seconds are not kept longer by default.
const DAYS_MAX: i64 = 31;

/// `shipwake verdict`.
#[derive(Debug, Subcommand)]
pub enum VerdictCommand {
    /// Judge past releases again under these policies, from the stored windows of a running Shipwake, and say what would have been
    /// called, and when, beside what was. Exit code 0: every call is the same; 1: one is not; 2: no release to compare; 3: an error.
    Replay(Box<ReplayArgs>),
}

/// `shipwake verdict replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Releases whose first request came from here on: now-6h, '2026-11-23 14:00' (UTC), RFC 3339, epoch milliseconds.
    #[arg(long, default_value = "now-24h")]
    pub from: String,
    /// Up to when they are followed.
    #[arg(long, default_value = "now")]
    pub to: String,
    /// By what they are judged (YAML, docs/verdicts.md). Without it, by the defaults.
    #[arg(long, env = "SHIPWAKE_POLICIES")]
    pub policies: Option<PathBuf>,
    /// The declared KPIs (YAML, docs/kpis.md). Without it, KPIs are not judged.
    #[arg(long, env = "SHIPWAKE_KPIS")]
    pub kpis: Option<PathBuf>,
    /// Only this service.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub service: Option<String>,
    /// Only this environment.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub env: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ReplayFormat::Table)]
    pub format: ReplayFormat,
    /// How long all of it may take.
    #[arg(long, default_value = "10m", value_parser = load::parse_duration)]
    pub timeout: Duration,
    /// Where Shipwake answers.
    #[arg(long, env = "SHIPWAKE_URL", default_value = "http://127.0.0.1:4400")]
    pub url: String,
}

/// Output forms of `shipwake verdict replay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayFormat {
    /// A table for people, with both sentences where a call is another.
    Table,
    /// One object of JSON.
    Json,
}

/// Runs the command. It has no error of its own: what goes wrong is said on standard error, and is exit code 3.
pub fn run(command: &VerdictCommand) -> ExitCode {
    let VerdictCommand::Replay(args) = command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            let within = tokio::time::timeout(args.timeout, replay(args));
            within
                .await
                .unwrap_or_else(|_| Err(anyhow!("not done within {:?}: say --timeout or a shorter time", args.timeout)))
        })
    });
    match outcome.and_then(|report| print(args, &report).map(|()| code(&report))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("shipwake: {error}");
            ExitCode::from(ERROR)
        }
    }
}

fn code(report: &Report) -> ExitCode {
    match report.outcome() {
        Outcome::Same => ExitCode::SUCCESS,
        Outcome::Otherwise => ExitCode::from(OTHERWISE),
        Outcome::Nothing => ExitCode::from(NOTHING),
    }
}

fn print(args: &ReplayArgs, report: &Report) -> anyhow::Result<()> {
    let text = match args.format {
        ReplayFormat::Table => report.table(),
        ReplayFormat::Json => format!("{:#}\n", report.json()),
    };
    let printed = std::io::stdout().lock().write_all(text.as_bytes());
    // Whoever read it has had enough, like `head`.
    printed.or_else(|error| if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) })
}

async fn replay(args: &ReplayArgs) -> anyhow::Result<Report> {
    let now_ms = time::system_ms(SystemTime::now());
    let (from_s, to_s) = (point(&args.from, now_ms)?, point(&args.to, now_ms)?.min(now_ms.div_euclid(1_000)));
    ensure!(from_s < to_s, "--from {} is not before --to {}", args.from, args.to);
    ensure!(to_s - from_s <= DAYS_MAX * 86_400, "more than {DAYS_MAX} days at once");
    let request = Request {
        base: base_of(&args.url),
        from_s,
        to_s,
        service: args.service.clone(),
        env: args.env.clone(),
        policies: policies_of(args.policies.as_deref())?,
        policies_name: args.policies.as_deref().map(|path| path.display().to_string()),
        kpis: kpis_of(args.kpis.as_deref())?,
    };
    Ok(run::run(request).await?)
}

/// A point in time, in seconds since the epoch.
fn point(text: &str, now_ms: i64) -> anyhow::Result<i64> {
    let bad = || anyhow!("{text:?} is no time: now, now-6h, {}, or epoch milliseconds", moment::FORMS);
    let trimmed = text.trim();
    let ms = match trimmed.strip_prefix("now") {
        Some("") => now_ms,
        Some(offset) => {
            let back_ms = offset.strip_prefix('-').and_then(time::parse_span).ok_or_else(bad)?;
            now_ms - back_ms
        }
        None if trimmed.len() >= 12 && trimmed.bytes().all(|byte| byte.is_ascii_digit()) => {
            trimmed.parse().map_err(|_| bad())?
        }
        None => moment::parse(trimmed).ok_or_else(bad)?,
    };
    Ok(ms.div_euclid(1_000))
}

fn policies_of(path: Option<&Path>) -> anyhow::Result<Policies> {
    let Some(path) = path else { return Ok(Policies::default()) };
    policies::file::load(path).map_err(|problems| anyhow!("the policies cannot be used:\n  {}", problems.join("\n  ")))
}

fn kpis_of(path: Option<&Path>) -> anyhow::Result<Arc<[Kpi]>> {
    let Some(path) = path else { return Ok(Vec::new().into()) };
    crate::kpis::load(path).map_err(|problems| anyhow!("the KPIs cannot be used:\n  {}", problems.join("\n  ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now_ms = 1_800_000_000_000;
        for (text, expected) in [
            ("now", 1_800_000_000),
            ("now-10m", 1_799_999_400),
            ("1799999000999", 1_799_999_000),
            ("2027-01-15T08:00:00Z", 1_800_000_000),
            ("2027-01-15T09:00:00.25+01:00", 1_800_000_000),
            ("2027-01-15 08:00", 1_800_000_000),
            ("2027-01-15T08:00:00", 1_800_000_000),
        ] {
            assert_eq!(point(text, now_ms).expect("a time"), expected, "{text}");
        }
        for text in ["", "yesterday", "now+1h", "now-", "2027-13-01T00:00:00Z", "17"] {
            assert!(point(text, now_ms).is_err(), "{text}");
        }
    }
}
