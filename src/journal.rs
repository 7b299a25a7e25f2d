//! Opens the journal that the configuration names: files in the data folder, or a topic of Kafka, which may take until its
//! brokers are there. Meanwhile the program answers, says what it waits for, and tells senders to come again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use shipwake_journal::kafka::{self, Topics, TopicsConfig};
use shipwake_journal::{EmbeddedJournal, Journal, JournalError, embedded};
use tracing::{error, info};

use crate::metrics::SharedRegistry;

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// The same reason is said again after so long.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// Where the journal is.
#[derive(Clone, Debug)]
pub enum JournalPlace {
    /// In the data folder.
    Embedded(embedded::Config),
    /// A topic of Kafka.
    Kafka(kafka::Config),
}

/// What an opening waits for, for `/readyz`. Clones are the same.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<Situation>>);

#[derive(Default)]
struct Situation {
    reason: Option<String>,
    /// What was opened.
    journal: Option<Arc<dyn Journal>>,
}

impl Waiting {
    /// The reason, while there is one.
    pub fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// What is wrong with the journal that was opened, if it was.
    pub fn problems(&self) -> Vec<String> {
        let journal = self.lock().journal.clone();
        journal.map_or_else(|| vec!["the journal is not open yet".to_owned()], |journal| journal.problems())
    }

    /// Notes the reason, or that there is none any more.
    pub fn set(&self, reason: Option<String>) {
        self.lock().reason = reason;
    }

    fn is_open(&self, journal: &Arc<dyn Journal>) {
        self.lock().journal = Some(journal.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Situation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Folder of the embedded journal below the data folder.
pub fn journal_dir(data: &Path) -> PathBuf {
    data.join("journal")
}

/// Opens the journal. Waits for as long as brokers or topic are missing.
///
/// # Errors
/// When it can never be opened so: damaged files, or a configuration that cannot be used.
pub async fn open(
    place: JournalPlace,
    registry: &SharedRegistry,
    waiting: &Waiting,
) -> anyhow::Result<Arc<dyn Journal>> {
    let journal: Arc<dyn Journal> = match place {
        JournalPlace::Embedded(config) => {
            let registry = registry.clone();
            let opening = tokio::task::spawn_blocking(move || {
                let dir = config.dir.clone();
                EmbeddedJournal::open(config, &mut registry.lock())
                    .with_context(|| format!("failed to open the journal in {}", dir.display()))
            });
            Arc::new(opening.await.context("opening the journal panicked")??)
        }
        JournalPlace::Kafka(config) => {
            let find = move || kafka::Opening::find(config.clone());
            let found = until_there("the journal on Kafka", find, waiting).await?;
            let journal = found.begin(&mut registry.lock()).context("failed to open the journal on Kafka")?;
            Arc::new(journal)
        }
    };
    waiting.is_open(&journal);
    Ok(journal)
}

/// Opens the topics that a Collector writes. Waits as [`open`] does.
///
/// # Errors
/// When the configuration can never be used.
pub async fn open_topics(
    config: TopicsConfig,
    registry: &SharedRegistry,
    waiting: &Waiting,
) -> anyhow::Result<Arc<Topics>> {
    let topics = until_there("the topics of the Collector", move || Topics::open(&config), waiting).await?;
    topics.register(&mut registry.lock());
    Ok(Arc::new(topics))
}

/// Tries until it succeeds or can never succeed; each reason is said when it is new, and again from time to time.
async fn until_there<T: Send + 'static>(
    what: &str,
    find: impl Fn() -> Result<T, JournalError> + Clone + Send + 'static,
    waiting: &Waiting,
) -> anyhow::Result<T> {
    let mut said: Option<(String, Instant)> = None;
    loop {
        let attempt = tokio::task::spawn_blocking(find.clone());
        match attempt.await.context("opening panicked")? {
            Ok(found) => {
                waiting.set(None);
                if said.is_some() {
                    info!("{what} can be used now");
                }
                return Ok(found);
            }
            Err(error) if error.retryable() => {
                let reason = match error {
                    JournalError::Unavailable { reason } => reason.to_string(),
                    other => other.to_string(),
                };
                let is_new = said.as_ref().is_none_or(|(last, at)| *last != reason || at.elapsed() >= SAY_AGAIN);
                if is_new {
                    error!("{what} cannot be used, trying again: {reason}");
                    said = Some((reason.clone(), Instant::now()));
                }
                waiting.set(Some(format!("{what} cannot be used: {reason}")));
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error).with_context(|| format!("failed to open {what}")),
        }
    }
}
