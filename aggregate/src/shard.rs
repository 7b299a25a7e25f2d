//! The loop of a shard: one OS thread, one closed set of events. It reads the journal, folds, and starts commits.
//!
//! The thread folds; a commit is written by a second thread meanwhile, one at a time. What cannot be committed stays hot
//! and readable and is tried again; when that fills the shard's memory, the shard stops reading, and the journal keeps the
//! rest. The position in the journal moves only together with the state (`commit.rs`), so a record counts once.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shipwake_journal::{Journal, JournalError, Stored};
use shipwake_model::window::NS_PER_S;
use shipwake_store::{Rejected, SegmentFile, ShardCommitter, Store, StoreError};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use crate::commit::Cut;
use crate::config::AggregateConfig;
use crate::ending::{End, Ending};
use crate::error::AggregateError;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::recover::{recover, reload_recent, take_over};
use crate::view::Shared;

/// How often idle shards, gauges and the commit interval are looked after.
const TICK: Duration = Duration::from_millis(100);
/// Ticks after which memory is added up by part: it looks at every cell and every pattern, under the lock.
const TICKS_PER_GAUGE: u32 = 10;
/// Between attempts to commit, doubling.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// Longest wait after a commit for which the disk had no room: to look whether there is room again costs nothing.
const RETRY_FULL: Duration = Duration::from_secs(2);
/// After the journal could not be read for a reason that may pass.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// Attempts of the last commit before a stop. What stays uncommitted is in the journal and is folded again at the next start.
const LAST_COMMIT_ATTEMPTS: u32 = 3;

/// How long a shard that is to stop goes on folding. What it does not get to is in the journal, where the next start finds it;
/// the rest of the time until the program is cut off belongs to the last commit.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// How long after it was asked to stop a shard waits for its last commit. A program gets some ten seconds to end, and connections, the
/// group and the journal need some of them; what is not committed by then is in the journal, as after a crash.
const LAST_COMMIT_MAX: Duration = Duration::from_secs(5);

/// Between two warnings of one kind.
const OVERFLOW_SAID_EVERY_NS: i64 = 60_000_000_000;

/// What a shard is made from.
pub struct Shard {
    /// Its number; also that of its journal partition.
    pub shard: u32,
    /// Whether other processes have had it, and may believe that they still have.
    pub takes_over: bool,
    /// Configuration.
    pub config: AggregateConfig,
    /// Where records come from.
    pub journal: Arc<dyn Journal>,
    /// Where they go.
    pub store: Arc<Store>,
    /// Metrics of all shards.
    pub metrics: Metrics,
    /// Held while a commit is written: sorting and encoding take a few times the memory of the rows, so shards take turns.
    pub commit_turn: Arc<Mutex<()>>,
    /// Where the partition ended before this process appended anything.
    pub journal_end: u64,
    /// Told after every read how far the shard is.
    pub progress: Progress,
}

/// How a shard has ended, if not with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it was asked to, with its last commit if that could be made.
    Stopped,
    /// As it was asked to, when there was no more time: a commit may be on its way still.
    Late,
    /// As it was asked to, with nothing.
    Dropped,
    /// Another process has taken it over.
    Fenced,
}

/// Everything that can happen to a shard.
enum Event {
    Read(Result<Vec<Arc<Stored>>, JournalError>),
    Committed(Box<Committed>),
    LookedOver(Result<(), StoreError>),
    Tick,
    End(End),
}

struct Committed {
    committer: ShardCommitter,
    cut: Arc<Cut>,
    result: Result<Arc<[SegmentFile]>, StoreError>,
}

/// A read of the journal that is under way.
type Reading = Pin<Box<dyn Future<Output = Result<Vec<Arc<Stored>>, JournalError>> + Send>>;

/// A shard that runs.
struct Running {
    shard: Shard,
    shared: Arc<Shared>,
    /// Here unless a commit is being written.
    committer: Option<ShardCommitter>,
    commit: Option<JoinHandle<Committed>>,
    reload: Option<JoinHandle<()>>,
    /// Goes on over ticks and commits. One that were given up at a tick would never end on a machine where it takes longer than that, and
    /// each would leave work behind that makes the next one slower.
    reading: Option<Reading>,
    /// Looks whether everything that was taken over is there.
    look: Option<JoinHandle<Result<(), StoreError>>>,
    committed_offset: u64,
    committed_ns: i64,
    /// Size of the last committed state.
    state_bytes: usize,
    retry: Option<(Duration, i64)>,
    failures: u32,
    /// The last commit failed because the disk was full.
    full: bool,
    /// Offset that the journal held when the shard started.
    caught_up_at: u64,
    /// Records before this offset are in the counters of this process, or were an earlier one's.
    counted_to: u64,
    /// Overflow records when a person was last told of them, and when that was, ns.
    overflow_said: (u64, i64),
    /// The same of records that are left out.
    left_out_said: (u64, i64),
    /// As of the last tick or read.
    hot_bytes: usize,
    /// Bytes of cells as of the last tick: to add them up takes a look at every cell, too much for every read.
    cell_bytes: usize,
    ticks: u32,
    received_ns: i64,
    /// What it was asked to do at its end.
    end: Option<End>,
    /// Another process has committed.
    fenced: bool,
    stopping: bool,
    /// When it was asked to stop.
    stopping_since: Option<Instant>,
    /// Nothing more is read: the journal gives nothing, or the time for it is over.
    drained: bool,
}

impl Shard {
    /// Runs until `ending` says how to end. Call it on a thread of its own.
    pub fn run(self, ending: &Ending) -> Result<Ended, AggregateError> {
        let (shard, takes_over) = (self.shard, self.takes_over);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| AggregateError::Thread { shard, source })?;
        let result = runtime.block_on(async {
            match Running::start(self, ending)? {
                Some(running) => {
                    let _counted = running.shard.metrics.runs();
                    running.run(ending).await
                }
                None => Ok(Ended::Dropped),
            }
        });
        if takes_over || matches!(result, Ok(Ended::Late)) {
            // A commit that is on its way, and that nobody waits for any more, ends by itself: whether it still counts is decided
            // by the manifests.
            runtime.shutdown_background();
        }
        if let Err(error) = &result {
            tracing::error!(shard, error = error as &dyn std::error::Error, "shard stopped");
        }
        result
    }
}

impl Running {
    /// Reads the state; `None` when the shard is not wanted any more.
    fn start(mut shard: Shard, ending: &Ending) -> Result<Option<Self>, AggregateError> {
        let (mut committer, state) = if shard.takes_over {
            let is_wanted = || ending.asked().is_none();
            let Some(taken) = take_over(&shard.store, shard.shard, &shard.config, is_wanted)? else { return Ok(None) };
            // Others append too, and how far they are is known a moment later: whether it is this journal is seen when reading.
            shard.journal_end = shard.journal.end(shard.shard).max(taken.1.next_offset);
            shard.metrics.taken_over();
            taken
        } else {
            recover(&shard.store, shard.shard, &shard.config)?
        };
        committer.set_journal(shard.journal.id());
        let clock = shard.config.clock.clone();
        let committed_offset = state.next_offset;
        if committed_offset > shard.journal_end {
            let source = JournalError::OffsetAhead { from: committed_offset, end: shard.journal_end };
            return Err(AggregateError::Journal { shard: shard.shard, offset: committed_offset, source });
        }
        tracing::info!(
            shard = shard.shard,
            offset = committed_offset,
            files = committer.files().len(),
            "shard recovered"
        );
        let shared = Arc::new(Shared::new(&committer, shard.journal.clone(), clock, state));
        shard.store.register(shard.shard, shared.clone());
        let now_ns = shard.config.clock.now_ns();
        let mut running = Running {
            caught_up_at: shard.journal_end,
            counted_to: shard.journal_end,
            committer: Some(committer),
            commit: None,
            reading: None,
            reload: None,
            look: None,
            committed_offset,
            committed_ns: now_ns,
            state_bytes: 0,
            retry: None,
            failures: 0,
            full: false,
            overflow_said: (0, i64::MIN),
            left_out_said: (0, i64::MIN),
            hot_bytes: 0,
            cell_bytes: 0,
            ticks: 0,
            received_ns: now_ns,
            end: None,
            fenced: false,
            stopping: false,
            stopping_since: None,
            drained: false,
            shard,
            shared,
        };
        running.reload_recent();
        running.look_over();
        running.note_progress();
        running.note_unfolded(running.committed_offset);
        Ok(Some(running))
    }

    async fn run(mut self, ending: &Ending) -> Result<Ended, AggregateError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.next(&mut ticks, ending).await {
                Event::Read(Ok(records)) => self.fold(&records),
                Event::Read(Err(error)) => self.read_failed(error).await?,
                Event::Committed(committed) => self.committed(*committed).await?,
                Event::LookedOver(result) => self.looked_over(result)?,
                Event::Tick => self.tick(),
                Event::End(End::Drop) => return Ok(self.left(Ended::Dropped)),
                Event::End(end) => self.begin_end(end),
            }
            if self.fenced {
                return Ok(self.left(Ended::Fenced));
            }
            self.end_draining();
            // A shard that can neither commit nor read on must still end: the journal keeps what it did not get to.
            let is_stuck = self.failures >= LAST_COMMIT_ATTEMPTS;
            if self.stopping && (is_stuck || self.is_drained()) && self.finish() {
                if self.is_late() {
                    return Ok(self.left(Ended::Late));
                }
                self.end_reload().await;
                return Ok(Ended::Stopped);
            }
            self.start_commit_if_due();
        }
    }

    async fn next(&mut self, ticks: &mut Interval, ending: &Ending) -> Event {
        let may_read = self.hot_bytes < self.shard.config.hot_bytes_max && !(self.stopping && self.is_drained());
        if may_read && self.reading.is_none() {
            let (journal, shard, bytes) = (self.shard.journal.clone(), self.shard.shard, self.shard.config.read_bytes);
            // Nothing moves it but what a read gives, and `reload_state`, which gives the read up.
            let from = self.shared.lock().state.next_offset;
            self.reading = Some(Box::pin(async move { journal.read(shard, from, bytes).await }));
        }
        let reading = async {
            match self.reading.as_mut() {
                Some(reading) => reading.await,
                None => std::future::pending().await,
            }
        };
        let commit = async {
            match self.commit.as_mut() {
                Some(commit) => commit.await,
                None => std::future::pending().await,
            }
        };
        let look = async {
            match self.look.as_mut() {
                Some(look) => look.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            end = ending.more_than(self.end) => Event::End(end),
            done = commit => {
                self.commit = None;
                let done = done.expect("a commit does not panic, and blocking work is not aborted");
                Event::Committed(Box::new(done))
            }
            looked = look => {
                self.look = None;
                Event::LookedOver(looked.expect("looking does not panic, and blocking work is not aborted"))
            }
            _ = ticks.tick() => Event::Tick,
            read = reading, if may_read => {
                self.reading = None;
                Event::Read(read)
            }
        }
    }

    fn begin_end(&mut self, end: End) {
        self.end = Some(end);
        self.stopping = true;
        self.stopping_since.get_or_insert_with(Instant::now);
        // Whoever is to have it folds the rest.
        self.drained |= end != End::Drain;
    }

    /// The end of a shard that may be another process's already: what it has not committed is in the journal for whoever has it.
    fn left(&self, ended: Ended) -> Ended {
        // What is still being read back is not added any more.
        self.shared.lock().epoch += 1;
        tracing::info!(shard = self.shard.shard, ?ended, offset = self.committed_offset, "shard ended");
        ended
    }

    fn fold(&mut self, records: &[Arc<Stored>]) {
        for record in records {
            let mut inner = self.shared.lock();
            let (folded, ahead) = (inner.state.fold(record), inner.state.take_ahead());
            drop(inner);
            let header = &record.header;
            // What an earlier process received is not counted again, nor what this one folds a second time because another writer
            // had committed: received = stored + rejected + deduplicated.
            if record.offset >= self.counted_to {
                self.shard.metrics.folded(&header.tenant, header.signal, folded);
                self.shard.metrics.ahead(&ahead);
                self.counted_to = record.offset + 1;
            }
            self.shared.give_way();
        }
        let now_ns = self.shard.config.clock.now_ns();
        for record in records {
            let header = &record.header;
            self.shard.metrics.visible(now_ns, header.received_ns, header.time_max_ns.min(header.received_ns));
        }
        if let Some(record) = records.last() {
            self.shard.progress.lagged(self.shard.shard, now_ns.saturating_sub(record.header.received_ns));
        }
        self.received_ns = now_ns;
        self.hot_bytes = self.shared.lock().row_bytes() + self.cell_bytes;
        self.note_progress();
    }

    fn tick(&mut self) {
        let now_ns = self.shard.config.clock.now_ns();
        let mut inner = self.shared.lock();
        inner.state.watermark.tick(now_ns, now_ns.saturating_sub(self.received_ns));
        self.cell_bytes = inner.state.cell_bytes();
        self.hot_bytes = inner.row_bytes() + self.cell_bytes;
        let next_offset = inner.state.next_offset;
        let (watermark_ns, series) = (inner.state.watermark.watermark_ns(), inner.state.series.len());
        let memory = if self.ticks.is_multiple_of(TICKS_PER_GAUGE) { inner.memory_bytes() } else { Vec::new() };
        self.ticks = self.ticks.wrapping_add(1);
        let forgotten = inner.state.dedup.forgotten_early();
        let counters = &inner.state.counters;
        let overflow = counters.overflow;
        let kinds = counters.unusual();
        let left_out = counters.left_out.clone();
        drop(inner);
        let metrics = &self.shard.metrics;
        metrics.gauges(self.shard.shard, watermark_ns, series, forgotten, &memory);
        metrics.unusual(self.shard.shard, &kinds);
        self.note_unfolded(next_offset);
        self.say_overflow(overflow, now_ns);
        self.say_left_out(&left_out, now_ns);
    }

    /// Says once a minute that records are not counted where they say, and whose, as long as it goes on.
    fn say_left_out(&mut self, left_out: &[Rejected], now_ns: i64) {
        let (said, said_ns) = self.left_out_said;
        let count: u64 = left_out.iter().map(|one| one.count).sum();
        let newest = left_out.iter().max_by_key(|one| one.last_ns);
        if let Some(newest) = newest
            && count > said
            && now_ns.saturating_sub(said_ns) >= OVERFLOW_SAID_EVERY_NS
        {
            let (shard, records, kind, newest) = (self.shard.shard, count - said, &*newest.reason, &*newest.detail);
            tracing::warn!(shard, records, kind, newest, "records are stored, and not counted where they say");
            self.left_out_said = (count, now_ns);
        }
    }

    /// Says once a minute that something is beyond a bound of cardinality, as long as it goes on.
    fn say_overflow(&mut self, overflow: u64, now_ns: i64) {
        let (said, said_ns) = self.overflow_said;
        if overflow > said && now_ns.saturating_sub(said_ns) >= OVERFLOW_SAID_EVERY_NS {
            let (shard, records) = (self.shard.shard, overflow - said);
            tracing::warn!(shard, records, "records are beyond a bound of cardinality; they count as __overflow__");
            self.overflow_said = (overflow, now_ns);
        }
    }

    async fn read_failed(&mut self, error: JournalError) -> Result<(), AggregateError> {
        let shard = self.shard.shard;
        match error {
            JournalError::Closed => {
                self.stopping = true;
                self.drained = true;
                Ok(())
            }
            // A shard never asks for what it has let go.
            JournalError::Lost { from, oldest, .. } | JournalError::OffsetGone { from, oldest } => {
                self.pass_over(from, oldest);
                Ok(())
            }
            error if error.retryable() && !error.must_stop() => {
                tracing::warn!(shard, error = &error as &dyn std::error::Error, "journal cannot be read, trying again");
                tokio::time::sleep(READ_PAUSE).await;
                Ok(())
            }
            source => {
                let offset = self.shared.lock().state.next_offset;
                Err(AggregateError::Journal { shard, offset, source })
            }
        }
    }

    /// Goes on behind requests that are gone. They cannot be had back, and standing still would lose more; so what they cost
    /// is said aloud, counted, and shown for as long as the process runs.
    fn pass_over(&mut self, from: u64, oldest: u64) {
        let shard = self.shard.shard;
        let mut inner = self.shared.lock();
        let (is_new, received_ns) = (inner.state.next_offset == 0, inner.state.received_ns);
        inner.state.next_offset = oldest;
        drop(inner);
        self.note_progress();
        if is_new && self.shard.journal.id().is_none() {
            // A new store on a topic that has been written for longer than it is kept.
            tracing::info!(shard, oldest, "the store is new; it begins at the oldest request that the journal holds");
            return;
        }
        let (requests, now_ns) = (oldest - from, self.shard.config.clock.now_ns());
        let minutes = now_ns.saturating_sub(received_ns) / (60 * NS_PER_S);
        let (cause, advice) = if self.shard.journal.id().is_some() {
            ("the files of the journal that held them are damaged or gone", "")
        } else {
            let advice = "; keep the journal for longer than Shipwake may be away";
            ("they were deleted from the journal before they were folded", advice)
        };
        let since = match received_ns {
            i64::MIN => String::new(),
            _ => format!("; the last one folded before them was received {minutes} minutes ago"),
        };
        let words = format!(
            "{requests} requests of shard {shard} are lost: {cause} (offsets {from} to {}){since}{advice}",
            oldest - 1
        );
        tracing::error!(shard, from, oldest, requests, "{words}");
        self.shard.metrics.lost(shard, requests);
        self.shard.progress.lost(shard, words);
    }

    fn start_commit_if_due(&mut self) {
        let now_ns = self.shard.config.clock.now_ns();
        if self.committer.is_none() || !self.is_commit_due(now_ns) {
            return;
        }
        let cut = {
            let mut inner = self.shared.lock();
            match &inner.pending {
                Some(cut) => cut.clone(),
                None => {
                    let cut = Arc::new(Cut::take(&mut inner.state));
                    // The cut has them now.
                    self.cell_bytes = 0;
                    inner.pending = Some(cut.clone());
                    cut
                }
            }
        };
        let Some(mut committer) = self.committer.take() else { return };
        let commit_turn = self.shard.commit_turn.clone();
        self.commit = Some(tokio::task::spawn_blocking(move || {
            // The lock guards no data: after a panic in another shard's commit this one's is as good as before.
            let _turn = commit_turn.lock().unwrap_or_else(PoisonError::into_inner);
            let result = cut.commit(&mut committer, now_ns);
            Committed { committer, cut, result }
        }));
    }

    fn is_commit_due(&self, now_ns: i64) -> bool {
        if let Some((_, not_before_ns)) = self.retry {
            let worth_it = !self.full || self.shard.store.check_room().is_ok();
            return now_ns >= not_before_ns && worth_it || self.stopping;
        }
        let interval_ns = i64::try_from(self.shard.config.commit_interval.as_nanos()).unwrap_or(i64::MAX);
        let is_time = now_ns.saturating_sub(self.committed_ns) >= interval_ns;
        let inner = self.shared.lock();
        if !inner.state.has_changes(self.committed_offset) {
            // A shard without traffic publishes what was compacted, and drops what has outlived its time.
            return is_time && !self.stopping && self.shard.store.is_commit_wanted(self.shard.shard);
        }
        self.stopping && self.is_drained_at(inner.state.next_offset) || self.hot_bytes >= self.commit_bytes() || is_time
    }

    /// Hot bytes that make a commit: more where the state is large, because every commit writes all of it.
    fn commit_bytes(&self) -> usize {
        let config = &self.shard.config;
        config.commit_bytes.max((4 * self.state_bytes).min(config.hot_bytes_max / 2))
    }

    async fn committed(&mut self, done: Committed) -> Result<(), AggregateError> {
        let shard = self.shard.shard;
        self.shard.metrics.commit(done.result.is_ok());
        match done.result {
            Ok(_) => {
                self.hot_bytes = self.shared.publish(&done.committer) + self.cell_bytes;
                self.committer = Some(done.committer);
                let committed_before = std::mem::replace(&mut self.committed_offset, done.cut.next_offset);
                self.state_bytes = done.cut.state_bytes();
                self.committed_ns = self.shard.config.clock.now_ns();
                (self.retry, self.failures, self.full) = (None, 0, false);
                self.truncate_journal(committed_before).await;
                Ok(())
            }
            Err(StoreError::Fenced { seq, .. }) if self.shard.takes_over => {
                tracing::warn!(shard, seq, "another process has taken the shard over; dropping its state");
                self.shard.metrics.fenced();
                self.fenced = true;
                Ok(())
            }
            Err(StoreError::Fenced { seq, .. }) => {
                tracing::warn!(shard, seq, "another writer has committed; taking up its state");
                drop(done.committer);
                self.reload_state()
            }
            Err(error) if error.retryable() || matches!(error, StoreError::Io { .. }) => {
                self.committer = Some(done.committer);
                self.retry_commit(&error);
                Ok(())
            }
            Err(source) => Err(AggregateError::Store { shard, source }),
        }
    }

    fn retry_commit(&mut self, error: &StoreError) {
        self.full = matches!(error, StoreError::Full { .. });
        let longest = if self.full { RETRY_FULL } else { RETRY_LAST };
        let wait = self.retry.map_or(RETRY_FIRST, |(wait, _)| (wait * 2).min(longest));
        let wait_ns = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
        self.retry = Some((wait, self.shard.config.clock.now_ns().saturating_add(wait_ns)));
        self.failures += 1;
        self.shared.lock().problem = Some(format!("commit failed {} times: {error}", self.failures).into());
        tracing::warn!(
            shard = self.shard.shard,
            error = error as &dyn std::error::Error,
            attempts = self.failures,
            next_attempt_ms = wait.as_millis() as u64,
            "commit failed; its records stay in memory and in the journal"
        );
    }

    /// Drops everything and goes on from what the other writer has committed.
    fn reload_state(&mut self) -> Result<(), AggregateError> {
        let (mut committer, state) = recover(&self.shard.store, self.shard.shard, &self.shard.config)?;
        committer.set_journal(self.shard.journal.id());
        self.committed_offset = state.next_offset;
        // What is being read comes behind another position than the one that is gone on from.
        self.reading = None;
        (self.retry, self.failures, self.full) = (None, 0, false);
        let mut inner = self.shared.lock();
        (inner.state, inner.files) = (state, committer.files());
        (inner.seq, inner.writer) = (committer.seq(), committer.writer());
        (inner.pending, inner.problem) = (None, None);
        inner.epoch += 1;
        (self.hot_bytes, self.cell_bytes) = (0, 0);
        drop(inner);
        self.committer = Some(committer);
        self.note_progress();
        self.reload_recent();
        Ok(())
    }

    fn reload_recent(&mut self) {
        let (store, shared, shard) = (self.shard.store.clone(), self.shared.clone(), self.shard.shard);
        self.reload = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = reload_recent(&store, &shared) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(shard, error, "recent windows cannot be read; pages show them incompletely");
            }
        }));
    }

    /// Behind the first records, because others waited for them.
    fn look_over(&mut self) {
        if self.shard.takes_over {
            let (store, shard) = (self.shard.store.clone(), self.shard.shard);
            self.look = Some(tokio::task::spawn_blocking(move || store.look_over(shard)));
        }
    }

    fn looked_over(&self, result: Result<(), StoreError>) -> Result<(), AggregateError> {
        let shard = self.shard.shard;
        match result {
            Err(source @ StoreError::Damaged { .. }) => Err(AggregateError::Store { shard, source }),
            Err(error) => {
                tracing::warn!(shard, error = &error as &dyn std::error::Error, "the shard's objects cannot be listed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Recent cells that are not reloaded yet are not needed any more.
    async fn end_reload(&mut self) {
        self.shared.lock().epoch += 1;
        if let Some(reload) = self.reload.take() {
            // It logs its own errors, and a panic in it concerns nobody after the end.
            let _ = reload.await;
        }
    }

    /// Lets go of what two commits have: should the newest be damaged, the one before it and the journal give the same again.
    async fn truncate_journal(&self, committed_before: u64) {
        let shard = self.shard.shard;
        if let Err(error) = self.shard.journal.truncate_before(shard, committed_before).await {
            tracing::warn!(shard, error = &error as &dyn std::error::Error, "journal cannot be shortened");
        }
    }

    /// Whether nothing is left to do before the end.
    fn finish(&mut self) -> bool {
        let changed = self.shared.lock().state.has_changes(self.committed_offset);
        let may_wait = self.commit.is_some() || changed && self.failures < LAST_COMMIT_ATTEMPTS;
        if may_wait && !self.is_late() {
            return false;
        }
        let (shard, offset) = (self.shard.shard, self.committed_offset);
        if changed {
            tracing::warn!(
                shard,
                offset,
                "stopping without the last commit; the journal holds what follows this offset"
            );
        } else {
            tracing::info!(shard, offset, "shard stopped");
        }
        true
    }

    /// Whether the program would rather be gone. A shard that is given up while the program goes on has the time that the group grants.
    fn is_late(&self) -> bool {
        let is_to_be_gone = matches!(self.end, Some(End::Drain | End::Leave));
        is_to_be_gone && self.stopping_since.is_some_and(|since| since.elapsed() >= LAST_COMMIT_MAX)
    }

    fn is_drained(&self) -> bool {
        let next_offset = self.shared.lock().state.next_offset;
        self.is_drained_at(next_offset)
    }

    fn is_drained_at(&self, next_offset: u64) -> bool {
        self.drained || next_offset >= self.shard.journal.end(self.shard.shard)
    }

    /// A shard that is far behind does not catch up before it stops.
    fn end_draining(&mut self) {
        let is_over = self.stopping_since.is_some_and(|since| since.elapsed() >= DRAIN_MAX);
        if is_over && !self.is_drained() {
            let shard = self.shard.shard;
            tracing::info!(shard, "stopping behind the journal's end; the next start folds the rest");
            self.drained = true;
        }
    }

    fn note_unfolded(&self, next_offset: u64) {
        let shard = self.shard.shard;
        self.shard.metrics.unfolded(shard, self.shard.journal.end(shard).saturating_sub(next_offset));
    }

    fn note_progress(&self) {
        let mut inner = self.shared.lock();
        self.shard.progress.reached(self.shard.shard, inner.state.next_offset);
        if !inner.ready && inner.state.next_offset >= self.caught_up_at {
            inner.ready = true;
        }
    }
}
