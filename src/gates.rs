//! Gates in this process: the routes of verdicts where releases are judged here, and the way to a process that judges them where not.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use axum::Router;
use shipwake_alerts::board::Reader;
use shipwake_alerts::gates::Gates;
use shipwake_alerts::gates::github::{GithubConfig, Protection};
use shipwake_alerts::{Clock, FileLedger};
use shipwake_store::Store;
use tokio_util::sync::CancellationToken;

use crate::app::Running;
use crate::config::Config;
use crate::elsewhere;
use crate::roles::Roles;
use crate::verdicts;

/// Where deployments are kept that wait for an answer, below the data folder.
const GITHUB_DIR: &str = "alerts-github";

/// The routes, over the boards of the judge in this process if it has one. The task that tells GitHub, where that is configured, is one
/// of `servers`.
///
/// # Errors
/// When what is owed to GitHub cannot be read, or a file cannot be used.
pub fn start(
    config: &Config,
    roles: Roles,
    boards: Option<(Reader, Arc<Store>)>,
    stop: &CancellationToken,
    servers: &mut Vec<Running>,
) -> anyhow::Result<Router> {
    let Some((boards, store)) = boards else {
        let peers = config.peers().map_err(|problem| anyhow!("peers: {problem}"))?;
        return elsewhere::router(roles, peers);
    };
    let alerts = verdicts::receivers(config)?;
    let gates = Gates::new(boards, alerts.url.as_deref(), Clock::default(), stop.clone()).with_windows(Arc::new(store));
    let Some(github) = alerts.github else { return Ok(gates.router()) };
    let protection =
        open(&gates, github, &config.data).context("failed to take up the deployments that wait at GitHub")?;
    let router = gates.router().merge(protection.router());
    let stop = stop.clone();
    let telling = tokio::spawn(async move {
        protection.run(stop).await;
        Ok(())
    });
    servers.push(("GitHub's deployments", telling));
    Ok(router)
}

fn open(gates: &Gates, github: GithubConfig, data: &Path) -> anyhow::Result<Protection> {
    let ledger = FileLedger::open(&data.join(GITHUB_DIR))?;
    Protection::open(gates.clone(), github, Box::new(ledger)).map_err(|problem| anyhow!(problem))
}
