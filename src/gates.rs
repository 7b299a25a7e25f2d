//! Gates in this process: the routes of its verdicts where it judges, and the way to a process that does where it does not.

use std::path::Path;

use anyhow::{Context, anyhow};
use axum::Router;
use shipwake_alerts::gates::Gates;
use shipwake_alerts::gates::github::{GithubConfig, Protection};
use shipwake_alerts::{AlertsConfig, Clock, FileLedger, board};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Where deployments are kept that wait for an answer, below the data folder.
const GITHUB_DIR: &str = "alerts-github";

/// The routes of verdicts, and the task that tells GitHub where that is configured.
///
/// # Errors
/// When what is owed to GitHub cannot be read.
pub fn start(
    boards: board::Reader,
    alerts: &AlertsConfig,
    data: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<(Router, Option<JoinHandle<anyhow::Result<()>>>)> {
    let gates = Gates::new(boards, alerts.url.as_deref(), Clock::default(), stop.clone());
    let Some(github) = alerts.github.clone() else { return Ok((gates.router(), None)) };
    let protection = open(&gates, github, data).context("failed to take up the deployments at GitHub that wait")?;
    let router = gates.router().merge(protection.router());
    let stop = stop.clone();
    let telling = tokio::spawn(async move {
        protection.run(stop).await;
        Ok(())
    });
    Ok((router, Some(telling)))
}

fn open(gates: &Gates, github: GithubConfig, data: &Path) -> anyhow::Result<Protection> {
    let ledger = FileLedger::open(&data.join(GITHUB_DIR))?;
    Protection::open(gates.clone(), github, Box::new(ledger)).map_err(|problem| anyhow!(problem))
}
