//! The aggregator as a stage of the program: one thread per journal partition, ended together. Where several processes share the
//! partitions, `member.rs` says which run here.

use std::sync::{Arc, Mutex};

use prometheus_client::registry::Registry;
use shipwake_journal::Journal;
use shipwake_store::Store;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::background;
use crate::config::AggregateConfig;
use crate::ending::Ending;
use crate::error::AggregateError;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::shard::{Ended, Shard};

/// Folds partitions of a journal into a store.
pub struct Aggregate {
    pub(crate) config: AggregateConfig,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) store: Arc<Store>,
    pub(crate) metrics: Metrics,
    pub(crate) commit_turn: Arc<Mutex<()>>,
    /// Where each partition ended before this process appended anything.
    ends: Vec<u64>,
    pub(crate) progress: Progress,
}

impl Aggregate {
    /// Prepares a shard for every partition; nothing runs yet. Call it before anything is appended: a shard that has
    /// committed more than the journal holds now is refused, and new records would hide the gap.
    pub fn new(config: AggregateConfig, journal: Arc<dyn Journal>, store: Arc<Store>, registry: &mut Registry) -> Self {
        let metrics = Metrics::new(registry);
        let ends = (0..journal.partitions()).map(|partition| journal.end(partition)).collect();
        let progress = Progress::new(journal.partitions());
        Aggregate { config, journal, store, metrics, commit_turn: Arc::default(), ends, progress }
    }

    /// How far the shards are, now and later.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Runs all shards until `shutdown`: then each folds what the journal holds and commits. A shard that cannot go on because of its own
    /// data is left out, which [`Progress::shards`] says, and the others go on. When one fails in another way the others stop in the
    /// same orderly way. The first error is the answer.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), AggregateError> {
        let stop = shutdown.child_token();
        self.assign_all();
        let background =
            background::start(&self.store, &self.journal, &self.progress, &self.config.clock, stop.clone())?;
        let mut ends = Vec::new();
        for shard in 0..self.journal.partitions() {
            // Cancels the other shards as soon as this one fails or panics, whatever order they are waited for.
            let (guard, ending) = (stop.clone().drop_guard(), Ending::at(stop.clone()));
            let end = self.spawn(shard, false, ending)?;
            let progress = self.progress.clone();
            ends.push((
                shard,
                tokio::spawn(async move {
                    // A shard that panicked has dropped its sender.
                    let result = end.await.unwrap_or(Err(AggregateError::Panicked { shard }));
                    match &result {
                        Err(error) if error.is_of_one_shard() => progress.assigned(shard, Some(error.in_full())),
                        Err(_) => return result,
                        Ok(_) => {}
                    }
                    guard.disarm();
                    result
                }),
            ));
        }
        let mut first_error = Ok(());
        for (shard, end) in ends {
            let result = end.await.unwrap_or(Err(AggregateError::Panicked { shard }));
            if first_error.is_ok() {
                first_error = result.map(|_| ());
            }
        }
        background.stop().await;
        first_error
    }

    /// Says that this process is to run all shards, as [`Aggregate::run`] does: until then nobody waits for any.
    pub fn assign_all(&self) {
        for shard in 0..self.journal.partitions() {
            self.progress.assigned(shard, None);
        }
    }

    /// Starts a shard on a thread of its own. `takes_over`: other processes have had it, and may believe that they still have.
    pub(crate) fn spawn(
        &self,
        shard: u32,
        takes_over: bool,
        ending: Ending,
    ) -> Result<oneshot::Receiver<Result<Ended, AggregateError>>, AggregateError> {
        let (ended, end) = oneshot::channel();
        let work = Shard {
            shard,
            takes_over,
            config: self.config.clone(),
            journal: self.journal.clone(),
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            commit_turn: self.commit_turn.clone(),
            journal_end: self.ends[shard as usize],
            progress: self.progress.clone(),
        };
        let run = move || {
            let result = work.run(&ending);
            // Nobody waits any more when the program is torn down.
            let _ = ended.send(result);
        };
        std::thread::Builder::new()
            .name(format!("shard-{shard}"))
            .spawn(run)
            .map_err(|source| AggregateError::Thread { shard, source })?;
        Ok(end)
    }
}
