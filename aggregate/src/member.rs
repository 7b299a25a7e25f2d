//! The aggregator as one of several: the shards that run here come and go, as the group of its processes says.
//!
//! A shard that is taken over begins with a manifest of its own (`recover.rs`), so whoever had it before can commit nothing more. What
//! is given up ends with a commit, within the time that the group grants; what is lost ends without one, because another process
//! may be at work already. A shard that fails is begun again here after a while, as long as the group wants it here: the process
//! goes on with the others, and says which does not run and why.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use shipwake_journal::{JournalError, Member};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::background;
use crate::duties::{Deed, Duties};
use crate::ending::{End, Ending};
use crate::error::AggregateError;
use crate::shard::Ended;
use crate::stage::Aggregate;

/// Before a shard whose place another process has taken is taken back: by then whoever is not its owner any more has been told so.
/// What is left is a process that took it by mistake, and it has been told too.
const AFTER_FENCED: Duration = Duration::from_secs(3);
/// Before a shard that could not go on is begun again.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// How a run of a shard has ended.
type Outcome = (u32, Result<Ended, AggregateError>);

struct Here {
    aggregate: Aggregate,
    member: Member,
    duties: Duties,
    runs: HashMap<u32, Ending>,
    outcomes: mpsc::Sender<Outcome>,
    /// How a shard ends that another process is to have.
    given_up: End,
}

impl Aggregate {
    /// Runs the shards that `member` is given until `shutdown`; then each commits and is let go. Fails when the group cannot be
    /// heard any more, or the system gives no thread.
    pub async fn run_as_member(self, member: Member, shutdown: CancellationToken) -> Result<(), AggregateError> {
        let stop = shutdown.child_token();
        let background =
            background::start(&self.store, &self.journal, &self.progress, &self.config.clock, stop.clone())?;
        // One for each shard at the most.
        let (outcomes, mut ended) = mpsc::channel(self.journal.partitions() as usize);
        let mut here = Here {
            aggregate: self,
            member,
            duties: Duties::default(),
            runs: HashMap::new(),
            outcomes,
            given_up: End::GiveUp,
        };
        let result = here.run(&mut ended, &shutdown).await;
        stop.cancel();
        here.given_up = End::Leave;
        let deeds = here.duties.end_all();
        let mut result = result.and(here.act(deeds));
        while !here.duties.is_idle() {
            let Some(outcome) = ended.recv().await else { break };
            result = result.and(here.ended(outcome));
        }
        background.stop().await;
        result
    }
}

impl Here {
    async fn run(
        &mut self,
        ended: &mut mpsc::Receiver<Outcome>,
        shutdown: &CancellationToken,
    ) -> Result<(), AggregateError> {
        loop {
            let due = self.duties.next_due();
            let is_due = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let deeds = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                order = self.member.next() => {
                    let order = order.ok_or(AggregateError::NoGroup)?;
                    self.duties.ordered(order)
                }
                Some(outcome) = ended.recv() => {
                    self.ended(outcome)?;
                    continue;
                }
                () = is_due => self.duties.due(Instant::now()),
            };
            self.act(deeds)?;
        }
    }

    fn act(&mut self, deeds: Vec<Deed>) -> Result<(), AggregateError> {
        for deed in deeds {
            match deed {
                Deed::Start(shard) => self.start(shard)?,
                Deed::GiveUp(shard) => self.end(shard, self.given_up),
                Deed::Drop(shard) => self.end(shard, End::Drop),
                Deed::LetGo(shard) => {
                    self.gone(shard);
                    self.member.let_go(shard);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, shard: u32) -> Result<(), AggregateError> {
        let aggregate = &self.aggregate;
        if shard >= aggregate.journal.partitions() {
            // Kept as one that runs and does nothing.
            let words = "the topic has more partitions than when this process began: restart it".to_owned();
            tracing::error!(shard, "{words}");
            aggregate.progress.assigned(shard, Some(words));
            let (outcomes, ending) = (self.outcomes.clone(), Ending::when_asked());
            self.runs.insert(shard, ending.clone());
            tokio::spawn(async move {
                ending.more_than(None).await;
                // Nobody waits any more when the program is torn down.
                let _ = outcomes.send((shard, Ok(Ended::Stopped))).await;
            });
            return Ok(());
        }
        aggregate.progress.assigned(shard, None);
        let (ending, outcomes) = (Ending::when_asked(), self.outcomes.clone());
        self.runs.insert(shard, ending.clone());
        let end = aggregate.spawn(shard, true, ending)?;
        tokio::spawn(async move {
            // A shard that panicked has dropped its sender.
            let result = end.await.unwrap_or(Err(AggregateError::Panicked { shard }));
            let _ = outcomes.send((shard, result)).await;
        });
        Ok(())
    }

    fn end(&self, shard: u32, end: End) {
        if end == End::Drop {
            // From here on nobody is shown what another process may have counted already.
            self.aggregate.store.unregister(shard);
        }
        if let Some(ending) = self.runs.get(&shard) {
            ending.ask(end);
        }
    }

    fn ended(&mut self, (shard, result): Outcome) -> Result<(), AggregateError> {
        self.runs.remove(&shard);
        self.gone(shard);
        if let Err(error) = &result
            && ends_the_process(error)
        {
            self.duties.ended(shard, Some(AFTER_ERROR), Instant::now());
            return result.map(|_| ());
        }
        let (pause, why) = match result {
            Ok(Ended::Stopped | Ended::Late | Ended::Dropped) => (None, None),
            Ok(Ended::Fenced) => {
                let why = "another process has taken it over; it is taken back if it is still to be read here";
                (Some(AFTER_FENCED), Some(why.to_owned()))
            }
            Err(error) => (Some(AFTER_ERROR), Some(format!("it stopped, and is begun again: {}", chain(&error)))),
        };
        if why.is_some() && self.duties.wants(shard) {
            self.aggregate.progress.assigned(shard, why);
        }
        let deed = self.duties.ended(shard, pause, Instant::now());
        self.act(deed.into_iter().collect())
    }

    /// The shard does not run here: readers are not shown it, and its partition is not read ahead.
    fn gone(&self, shard: u32) {
        self.aggregate.store.unregister(shard);
        self.aggregate.journal.release(shard);
        self.aggregate.progress.not_assigned(shard);
        self.aggregate.metrics.forget(shard);
    }
}

/// Whether the process can go on with none of its shards: its client of the journal has stopped for good.
fn ends_the_process(error: &AggregateError) -> bool {
    matches!(error, AggregateError::Journal { source: JournalError::Poisoned { .. }, .. })
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}
