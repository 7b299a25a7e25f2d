//! What the journal and the topics of a Collector share: partitions of Kafka that are read from a position on, by one
//! consumer and one watch, each on a thread of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use tokio::sync::oneshot;

use super::client;
use super::config::Connection;
use super::consumer::{Command, Consumer};
use super::lane::Lane;
use super::threads::Threads;
use super::trouble::{Listener, Trouble};
use super::watch::{Request, Watch};
use super::window::Found;
use crate::error::JournalError;
use crate::journal::Stored;

/// A partition that has answered nothing for so long is worth a word; shorter is a leader's election.
const SAID_AFTER: Duration = Duration::from_secs(2);
/// What a thread may be asked before it has done what it was asked: far more than there are readers.
const COMMANDS_MAX: usize = 1024;
/// Between two warnings of one kind.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
}

/// What the messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Records that we have written.
    Records,
    /// Values that somebody else has written, without anything of ours about them.
    Values,
}

/// What appends, readers and threads share.
pub(super) struct Shared {
    pub(super) connection: Connection,
    pub(super) content: Content,
    /// The partitions; a lane has the number of its place.
    pub(super) places: Vec<Place>,
    pub(super) lanes: Vec<Lane>,
    pub(super) trouble: Trouble,
    pub(super) closed: AtomicBool,
    /// Times that a partition stood still although there was something to read.
    pub(super) stalls: Counter,
    /// Messages of the journal's topic that somebody else had written.
    pub(super) foreign_messages: Counter,
    pub(super) foreign: Seldom,
    /// Since when Kafka has not answered the watch.
    silent_since: Mutex<Option<Instant>>,
}

/// How long the threads may take to end: longer than they do with brokers that answer. Others are not waited for.
const END_MAX: Duration = Duration::from_secs(1);

/// Partitions that are read. Dropping it ends the threads.
pub(super) struct Reader {
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    requests: SyncSender<Request>,
    threads: Mutex<Threads>,
}

impl Reader {
    /// Starts the threads.
    pub(super) fn start(shared: Arc<Shared>, config: &ClientConfig) -> Result<Self, JournalError> {
        let client: Result<BaseConsumer<Listener>, _> = config.create_with_context(shared.listener());
        let client = client.map_err(|error| client::refused(&shared.connection, &error.to_string()))?;
        let client = Arc::new(client);
        let (commands, orders) = sync_channel(COMMANDS_MAX);
        let (requests, asked) = sync_channel(COMMANDS_MAX);
        let consumer = Consumer::new(shared.clone(), client.clone(), orders);
        let watch = Watch { shared: shared.clone(), client, commands: commands.clone(), requests: asked };
        let reader = Reader { shared, commands, requests, threads: Mutex::default() };
        reader.spawn("kafka-consumer", move || consumer.run())?;
        reader.spawn("kafka-watch", move || watch.run())?;
        Ok(reader)
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), JournalError> {
        let spawned = self.threads.lock().unwrap_or_else(PoisonError::into_inner).spawn(name, run);
        spawned.map_err(|error| client::refused(&self.shared.connection, &error.to_string()))
    }

    /// Moves the window to `from`, unless another reader has done so meanwhile. What comes is told by the lane.
    async fn begin_at(&self, partition: u32, lane: &Lane, from: u64) -> Result<(), JournalError> {
        let _turn = lane.turn.lock().await;
        let mut changes = lane.changes();
        if !matches!(lane.lock().window.take(from, 0), Found::Elsewhere) {
            return Ok(());
        }
        self.commands.send(Command::Begin { partition, from }).map_err(|_| JournalError::Closed)?;
        // Keeps its turn until it has something, so that readers at different places do not chase each other.
        loop {
            {
                let mut inner = lane.lock();
                let is_at_end = from >= inner.end;
                match inner.window.take(from, 0) {
                    Found::Records(_) => return Ok(()),
                    Found::Due if is_at_end || inner.fault.is_some() => return Ok(()),
                    Found::Due | Found::Elsewhere => {}
                }
            }
            // The consumer begins within a moment, and tells nobody that it has.
            let look = tokio::time::timeout(Duration::from_millis(10), changes.changed()).await;
            if let Ok(Err(_)) = look {
                return Err(JournalError::Closed);
            }
        }
    }

    /// Asks Kafka how far partitions reach now, and waits for the answer.
    async fn look(&self) {
        let (done, seen) = oneshot::channel();
        if self.requests.send(Request::Look(done)).is_ok() {
            // A thread that has ended drops its end; what is known then is all there is.
            let _ = seen.await;
        }
    }

    /// As [`crate::Journal::read`] promises.
    pub(super) async fn read(
        &self,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Arc<Stored>>, JournalError> {
        let partitions = self.shared.lanes.len() as u32;
        let lane = self.shared.lanes.get(partition as usize);
        let lane = lane.ok_or(JournalError::NoPartition { partition, partitions })?;
        let mut changes = lane.changes();
        let mut has_looked = false;
        loop {
            changes.borrow_and_update();
            let (found, end, go_on) = {
                let mut inner = lane.lock();
                let found = inner.window.take(from, max_bytes);
                if matches!(found, Found::Due)
                    && let Some(fault) = inner.fault.take()
                {
                    // Asked again, it is looked for again.
                    inner.window.forget();
                    return Err(fault);
                }
                if matches!(found, Found::Elsewhere) && from < inner.oldest {
                    return Err(JournalError::Lost { partition, from, oldest: inner.oldest });
                }
                (found, inner.end, inner.paused && inner.window.has_room())
            };
            if go_on {
                // A thread that has ended reads nothing more.
                let _ = self.commands.send(Command::GoOn { partition });
            }
            match found {
                Found::Records(records) => return Ok(records),
                _ if from > end && has_looked => return Err(JournalError::OffsetAhead { from, end }),
                _ if from > end => {
                    // Another process may have appended since we looked.
                    self.look().await;
                    has_looked = true;
                }
                Found::Due => {
                    self.shared.check_waiting(from >= end)?;
                    changes.changed().await.map_err(|_| JournalError::Closed)?;
                }
                Found::Elsewhere => {
                    self.shared.check_waiting(from >= end)?;
                    self.begin_at(partition, lane, from).await?;
                }
            }
        }
    }

    /// Reads ahead of a partition no more.
    pub(super) fn release(&self, partition: u32) {
        if (partition as usize) < self.shared.lanes.len() {
            // A thread that has ended reads nothing more.
            let _ = self.commands.send(Command::End { partition });
        }
    }

    /// Tells Kafka how far a partition is done, with a note for whoever goes on from there.
    pub(super) fn commit(&self, partition: u32, offset: u64, note: String) -> Result<(), JournalError> {
        self.commands.send(Command::Commit { partition, offset, note }).map_err(|_| JournalError::Closed)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Threads that have ended already do not listen.
        let _ = self.commands.send(Command::Stop);
        let _ = self.requests.send(Request::Stop);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if !threads.end(END_MAX) {
            tracing::debug!("the clients of Kafka are not closed yet: no broker answers");
        }
    }
}

impl Shared {
    /// Of partitions that reach so far; `window_bytes` for each is read ahead.
    pub(super) fn new(
        connection: Connection,
        content: Content,
        places: Vec<Place>,
        reach: &[(u64, u64)],
        read_ahead_bytes: usize,
        trouble: Trouble,
    ) -> Self {
        let window_bytes = read_ahead_bytes / places.len().max(1);
        Shared {
            connection,
            content,
            lanes: reach.iter().map(|(oldest, end)| Lane::new(window_bytes, *oldest, *end)).collect(),
            places,
            trouble,
            closed: AtomicBool::new(false),
            stalls: Counter::default(),
            foreign_messages: Counter::default(),
            foreign: Seldom::default(),
            silent_since: Mutex::default(),
        }
    }

    pub(super) fn tls(&self) -> bool {
        self.connection.tls.is_some()
    }

    pub(super) fn listener(&self) -> Listener {
        Listener { trouble: self.trouble.clone(), tls: self.tls() }
    }

    pub(super) fn check_open(&self) -> Result<(), JournalError> {
        self.check_fatal()?;
        if self.closed.load(Ordering::SeqCst) { Err(JournalError::Closed) } else { Ok(()) }
    }

    pub(super) fn check_fatal(&self) -> Result<(), JournalError> {
        self.trouble.fatal().map_or(Ok(()), |reason| Err(JournalError::Poisoned { reason }))
    }

    /// Whether a reader may wait: not at the end of a journal that takes nothing more.
    fn check_waiting(&self, at_end: bool) -> Result<(), JournalError> {
        if at_end { self.check_open() } else { Ok(()) }
    }

    pub(super) fn answers(&self) {
        let was_silent = self.lock_silence().take();
        if was_silent.is_some() {
            self.trouble.over();
        }
    }

    pub(super) fn does_not_answer(&self) {
        self.lock_silence().get_or_insert_with(Instant::now);
    }

    fn lock_silence(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What keeps the journal from taking or giving records now, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        if let Some(reason) = self.trouble.fatal() {
            return vec![reason.to_string()];
        }
        let why = || self.trouble.words().map(|words| format!(": {words}")).unwrap_or_default();
        let silent = self.lock_silence().map(|since| since.elapsed()).filter(|silence| *silence >= SAID_AFTER);
        if let Some(silence) = silent {
            return vec![format!("Kafka has not answered for {} s{}", silence.as_secs(), why())];
        }
        let mut problems = Vec::new();
        for (partition, lane) in self.lanes.iter().enumerate() {
            let waits = lane.waits_since().map(|since| since.elapsed()).filter(|waits| *waits >= SAID_AFTER);
            if let Some(waits) = waits {
                problems.push(format!("partition {partition} has taken nothing for {} s{}", waits.as_secs(), why()));
            }
            if lane.lock().stalled {
                problems.push(format!("reading partition {partition} stands still"));
            }
        }
        problems
    }
}

/// Lets one warning through every few seconds.
#[derive(Default)]
pub(super) struct Seldom {
    /// Milliseconds since `BEGUN`, plus one; zero before the first.
    last: AtomicU64,
}

static BEGUN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

impl Seldom {
    pub(super) fn allow(&self) -> bool {
        let now = BEGUN.elapsed().as_millis() as u64 + 1;
        let last = self.last.load(Ordering::Relaxed);
        let is_due = last == 0 || now - last >= WARN_EVERY.as_millis() as u64;
        is_due && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
