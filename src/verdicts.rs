//! The judge and who tells of its verdicts: started with the role alerts, stopped before what they read from.
//!
//! What they keep is in `alerts/` below the data folder, which one process may use at a time. Without a file of receivers verdicts are
//! judged and shown all the same.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use shipwake_alerts::board::{self, Reader};
use shipwake_alerts::{
    AlertsConfig, AlertsError, Clock, FileLedger, Handle, Judge, JudgeConfig, LedgerError, Notifier, NotifierConfig,
    Policies, config_file, policies,
};
use shipwake_model::Kpi;
use shipwake_store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::health::Readiness;
use crate::metrics::SharedRegistry;

/// A judge that has not looked for so long is broken.
const LOOK_AGE_MAX: Duration = Duration::from_secs(60);

/// A running judge, and the notifier that tells what it says.
pub struct Verdicts {
    board: Reader,
    handle: Handle,
    judge: JoinHandle<anyhow::Result<()>>,
    stop_judge: CancellationToken,
    notifier: JoinHandle<anyhow::Result<()>>,
    stop_notifier: CancellationToken,
}

impl Verdicts {
    /// Opens what was kept and starts both, where there is a store to judge. `shutdown` is cancelled when one of them ends before it is asked to.
    ///
    /// # Errors
    /// When the folder is used by another process, what is in it is damaged, or a file cannot be used.
    pub async fn start(
        config: &Config,
        store: Option<&Arc<Store>>,
        kpis: &Arc<[Kpi]>,
        registry: &SharedRegistry,
        readiness: &Readiness,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let Some(store) = store else { return Ok(None) };
        let notifier_config = NotifierConfig::new(receivers(config)?);
        let judge_config = judge_config(config, kpis)?;
        let dir = config.data.join("alerts");
        let of_thread = registry.clone();
        let opened = tokio::task::spawn_blocking(move || open_notifier(&dir, notifier_config, &of_thread)).await;
        let notifier = opened.context("opening the notifier panicked")??;
        let (publisher, board) = board::board();
        let (kept, handle) = (notifier.caller_state(), notifier.handle());
        let judge = Judge::open(
            judge_config,
            &kept,
            store.clone(),
            Clock::default(),
            handle.clone(),
            publisher,
            &mut registry.lock(),
        );
        let judge = judge.context("failed to go on judging releases")?;
        let (trouble, of_board) = (judge.trouble(), board.clone());
        readiness.add_wanted("judge", move || trouble.reason().or_else(|| idle(&of_board)).into_iter().collect());
        let (stop_judge, stop_notifier) = (CancellationToken::new(), CancellationToken::new());
        let notifier = end_with("notifier", notifier.run(stop_notifier.clone()), &stop_notifier, shutdown);
        let judge = end_with("judge", judge.run(stop_judge.clone()), &stop_judge, shutdown);
        Ok(Some(Verdicts { board, handle, judge, stop_judge, notifier, stop_notifier }))
    }

    /// Where verdicts are read.
    pub fn board(&self) -> Reader {
        self.board.clone()
    }

    /// How people are told, and how that does.
    pub fn notifier(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops the judge, which keeps what it knows, and then the notifier, which finishes what is under way.
    ///
    /// # Errors
    /// With what failed while they ran.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop_judge.cancel();
        let judged = self.judge.await.context("the judge panicked").flatten();
        self.stop_notifier.cancel();
        judged.and(self.notifier.await.context("the notifier panicked").flatten())
    }
}

fn open_notifier(dir: &Path, config: NotifierConfig, registry: &SharedRegistry) -> anyhow::Result<Notifier> {
    let ledger = FileLedger::open(dir).map_err(|error| match error {
        LedgerError::InUse { path } => anyhow!(
            "{} is in use: another process with the role alerts judges releases there; one is enough",
            path.display()
        ),
        error => anyhow::Error::from(error).context("failed to open what the judge keeps"),
    })?;
    Notifier::open(config, ledger, &mut registry.lock()).context("failed to go on with notifications")
}

/// Runs one of the two; when it ends before it was asked to, the program ends with it.
fn end_with(
    name: &'static str,
    running: impl Future<Output = Result<(), AlertsError>> + Send + 'static,
    stop: &CancellationToken,
    shutdown: &CancellationToken,
) -> JoinHandle<anyhow::Result<()>> {
    let (stop, shutdown) = (stop.clone(), shutdown.clone());
    tokio::spawn(async move {
        let outcome = running.await.with_context(|| format!("the {name} failed"));
        if !stop.is_cancelled() {
            match &outcome {
                Ok(()) => tracing::warn!("the {name} ended early: stopping"),
                Err(error) => tracing::error!("{error:#}: stopping"),
            }
            shutdown.cancel();
        }
        outcome
    })
}

/// Why nothing new is on the board, if that is so.
fn idle(board: &Reader) -> Option<String> {
    let looked_ms = board.now().as_of_ms;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.saturating_sub(Duration::from_millis(u64::try_from(looked_ms).unwrap_or(0)));
    (looked_ms > 0 && age > LOOK_AGE_MAX).then(|| format!("the judge has not looked for {} s", age.as_secs()))
}

/// Who is told. The file was checked with the configuration; it may have changed since.
///
/// # Errors
/// What is wrong with it.
pub fn receivers(config: &Config) -> anyhow::Result<AlertsConfig> {
    let Some(path) = &config.alerts else { return Ok(AlertsConfig::default()) };
    config_file::load(path).map_err(|problems| anyhow!("the receivers cannot be used: {}", problems.join("; ")))
}

fn judge_config(config: &Config, kpis: &Arc<[Kpi]>) -> anyhow::Result<JudgeConfig> {
    let policies = match &config.policies {
        None => Policies::default(),
        Some(path) => policies::file::load(path)
            .map_err(|problems| anyhow!("the policies cannot be used: {}", problems.join("; ")))?,
    };
    let mut judge = JudgeConfig { policies, kpis: kpis.clone(), ..JudgeConfig::default() };
    if let Some(settle_s) = config.settle_s {
        judge.limits.settle_s = settle_s;
    }
    Ok(judge)
}
