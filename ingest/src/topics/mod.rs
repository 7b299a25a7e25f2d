//! Topics that an OpenTelemetry Collector writes to Kafka, read as they are: every message is an export request, and goes the
//! way of one that a client sends. Nobody waits for an answer, so a message is tried until the journal has it, and the topic
//! waits meanwhile.
//!
//! Each message is in the journal once, whatever happens in between: `position.rs` says how. Why so, and not with a position
//! in the shards: `docs/decisions/0006-…`.

mod position;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shipwake_journal::kafka::{Source, Topics};
use shipwake_journal::{Journal, JournalError, Record, Stored};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::decode::Rejected;
use crate::error::{IngestError, Kind};
use crate::ingest::{Core, Ingest};
use crate::produce::{Delivery, Origin, deliver};
use crate::sender::{Sender, Senders};
use crate::split::Repetition;
use position::{Already, Keys};

/// Bytes of messages that become one request: a request costs an append, and many small ones cost many.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Of what the journal takes at once. Messages that are put together must never be cut again, tags included: read again,
/// they would be put together in another way, and their pieces not be recognised.
const BATCH_SHARE: usize = 4;
/// Memory for each byte of a batch while it is appended and cut by partition.
const WEIGHT: usize = 2;
/// Between two attempts at the same messages.
const AGAIN: Duration = Duration::from_millis(500);
/// How often it is written down how far a source is done. What was done since is found in the journal after a crash.
const WRITE_DOWN_EVERY: Duration = Duration::from_secs(1);
/// The same while nothing comes: the journal grows by what others send, and all of it would be looked through.
const WRITE_DOWN_IDLE: Duration = Duration::from_secs(10);
/// Bytes of the journal that are looked through at once.
const LOOK_BYTES: usize = 4 << 20;

/// What the rest of the program sees of topics that are read.
#[derive(Default)]
pub(crate) struct Board {
    topics: Mutex<Option<Arc<Topics>>>,
    /// The last loss of each source.
    losses: Mutex<BTreeMap<usize, String>>,
}

impl Ingest {
    /// Reads topics until `stop`. It begins where it was left, and ends with what is under way.
    pub async fn read_topics(&self, topics: Arc<Topics>, stop: CancellationToken) {
        let core = self.core();
        *core.topics.topics.lock().unwrap_or_else(PoisonError::into_inner) = Some(topics.clone());
        let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        let opened = tokio::select! {
            () = stop.cancelled() => return,
            opened = core.journal.wait(far) => opened,
        };
        let Ok(journal) = opened else { return };
        let already = tokio::select! {
            () = stop.cancelled() => return,
            already = look_through(&*journal, topics.sources()) => Arc::new(already),
        };
        let mut sources = JoinSet::new();
        for (place, source) in topics.sources().iter().enumerate() {
            let reading = Reading {
                core: core.clone(),
                journal: journal.clone(),
                topics: topics.clone(),
                place,
                keys: Keys::of(&source.topic, source.partition),
                source: source.clone(),
                already: already.clone(),
                next: source.from,
                written_down: None,
                stop: stop.clone(),
            };
            sources.spawn(reading.run());
        }
        sources.join_all().await;
    }

    /// What keeps topics from being read at this moment, in words.
    pub fn topic_problems(&self) -> Vec<String> {
        let topics = self.core().topics.topics.lock().unwrap_or_else(PoisonError::into_inner).clone();
        topics.map(|topics| topics.problems()).unwrap_or_default()
    }

    /// What was gone from topics before it was read since the process began, in words.
    pub fn topic_losses(&self) -> Vec<String> {
        self.core().topics.losses.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// What of the topics the journal holds behind the ends that were noted.
async fn look_through(journal: &dyn Journal, sources: &[Source]) -> Already {
    let mut already = Already::of(sources.iter().map(|source| Keys::of(&source.topic, source.partition)));
    let notes: Vec<Vec<u64>> = sources.iter().filter_map(|source| position::ends(source.note.as_deref()?)).collect();
    for partition in 0..journal.partitions() {
        // A partition that did not exist then is looked through from its beginning.
        let noted = notes.iter().map(|ends| ends.get(partition as usize).copied().unwrap_or(0)).min();
        let (Some(mut from), end) = (noted, journal.end(partition)) else { continue };
        while from < end {
            match journal.read(partition, from, LOOK_BYTES).await {
                Ok(records) => {
                    for record in &records {
                        record.header.request_hash.iter().for_each(|hash| already.found(partition, *hash));
                    }
                    from = records.last().map_or(end, |record| record.offset + 1);
                }
                Err(JournalError::OffsetGone { oldest, .. } | JournalError::Lost { oldest, .. }) => {
                    warn!(
                        partition,
                        from,
                        oldest,
                        "the journal no longer holds all that followed the last note about the topics; messages of that time that are read again are recognised for ten minutes only"
                    );
                    from = oldest;
                }
                Err(error) => {
                    warn!(partition, from, %error, "the journal cannot be looked through for what it holds of the topics");
                    break;
                }
            }
        }
    }
    already
}

/// A partition of a topic that is read.
struct Reading {
    core: Arc<Core>,
    journal: Arc<dyn Journal>,
    topics: Arc<Topics>,
    place: usize,
    source: Source,
    keys: Keys,
    already: Arc<Already>,
    /// The first offset that is not done.
    next: u64,
    /// How far, and when, it was written down last.
    written_down: Option<(u64, Instant)>,
    stop: CancellationToken,
}

impl Reading {
    async fn run(mut self) {
        let Source { topic, partition, from, note, .. } = &self.source;
        info!(%topic, partition, from, new = note.is_none(), "reading a topic");
        // From now on there is a note to look from.
        self.write_down();
        let bytes_max = BATCH_BYTES_MAX.min(self.journal.record_bytes_max() / BATCH_SHARE);
        let stop = self.stop.clone();
        loop {
            let read = tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(WRITE_DOWN_IDLE) => {
                    self.write_down();
                    continue;
                }
                read = self.topics.read(self.place, self.next, bytes_max) => read,
            };
            let goes_on = match read {
                Ok(messages) => self.take(&messages).await,
                Err(error) => self.failed(error).await,
            };
            if !goes_on {
                break;
            }
            let is_due = self.written_down.is_none_or(|(_, at)| at.elapsed() >= WRITE_DOWN_EVERY);
            if is_due {
                self.write_down();
            }
        }
        self.write_down();
    }

    /// Notes how far this source is done and how far the journal reaches, unless something of what is not done may be in the
    /// journal already: it is looked for behind the ends that were noted, and has to lie there.
    fn write_down(&mut self) {
        let is_past = self.already.last(self.keys).is_none_or(|last| self.next > last);
        let is_new = self.source.note.is_none();
        let nothing_is_left = is_new || self.next > self.source.from || self.next >= self.topics.end(self.place);
        if !is_past || !nothing_is_left {
            return;
        }
        let ends = (0..self.journal.partitions()).map(|partition| self.journal.end(partition));
        // Fails only at the end of the program; then it is read again, and recognised.
        let _ = self.topics.done(self.place, self.next, position::note(ends));
        self.written_down = Some((self.next, Instant::now()));
    }

    /// Takes messages to the journal. False when the program ends before they are there.
    async fn take(&mut self, messages: &[Arc<Stored>]) -> bool {
        let last_known = self.already.last(self.keys);
        let is_read_again = |offset: u64| !self.already.is_empty() && last_known.is_some_and(|last| offset <= last);
        // Those that may be there already go one by one, since what is there is known by message. So do those behind a bad one.
        let together = messages.len() > 1 && !is_read_again(messages[0].offset);
        if together {
            // Requests of one kind, one behind the other, are one request.
            let mut request = BytesMut::with_capacity(messages.iter().map(|message| message.value.len()).sum());
            messages.iter().for_each(|message| request.extend_from_slice(&message.value));
            let last = messages[messages.len() - 1].offset;
            match self.until_there(request.freeze(), last).await {
                Some(Ok(())) => {
                    self.next = last + 1;
                    return true;
                }
                Some(Err(_)) => {}
                None => return false,
            }
        }
        for message in messages {
            match self.until_there(message.value.clone(), message.offset).await {
                Some(Ok(())) => {}
                Some(Err(error)) => self.refuse(message, &error),
                None => return false,
            }
            self.next = message.offset + 1;
        }
        true
    }

    /// A message that can never be taken: said, counted, passed.
    fn refuse(&self, message: &Stored, error: &IngestError) {
        let Source { topic, partition, signal, .. } = &self.source;
        let words = format!("topic {topic}, partition {partition}, offset {}: {error}", message.offset);
        self.core.metrics.refused(error.reason());
        self.core.status.refused(Some(*signal), error.reason(), &words, self.core.now_ns());
        if self.core.warnings.allow() {
            warn!("a message of a Collector cannot be taken: {words}");
        }
    }

    /// Tries until the journal has it, or it can never be taken; `None` when the program ends.
    async fn until_there(&self, request: Bytes, offset: u64) -> Option<Result<(), IngestError>> {
        loop {
            let attempt = tokio::select! {
                () = self.stop.cancelled() => return None,
                attempt = self.attempt(&request, offset) => attempt,
            };
            match attempt {
                Ok(()) => return Some(Ok(())),
                Err(error) if error.kind() != Kind::Passing => return Some(Err(error)),
                Err(error) => {
                    if self.core.warnings.allow() {
                        warn!(topic = %self.source.topic, partition = self.source.partition, %error, "a topic waits for the journal");
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn attempt(&self, request: &Bytes, offset: u64) -> Result<(), IngestError> {
        let core = &self.core;
        let hold = Instant::now() + core.config.hold_max;
        let journal = core.journal.wait(hold).await?;
        let bytes = (request.len() * WEIGHT).min(core.config.in_flight_bytes_max);
        let mut grant = core.budget.enter(0, hold).await?;
        grant.grow(bytes, true, hold).await?;
        let (already, keys) = (self.already.clone(), self.keys);
        let is_there = move |record: &Record| already.has(keys, offset, record.partition, record.header.request_hash);
        let delivery = Delivery {
            signal: self.source.signal,
            request: request.clone(),
            client_bytes: request.len() as u64,
            grant,
            peer: None,
            repetition: Repetition::ByKey(self.keys.key(offset)),
            rejected_before: Rejected::default(),
            senders: Senders::one(Sender::Collector),
            origin: Origin::Source(Arc::new(is_there)),
        };
        deliver(core, journal, delivery).await.map(drop)
    }

    /// The topic cannot be read. False when nothing more can come.
    async fn failed(&mut self, error: JournalError) -> bool {
        let Source { topic, partition, .. } = &self.source;
        match error {
            JournalError::Closed => return false,
            JournalError::Lost { from, oldest, .. } => {
                let words = format!(
                    "{} messages of topic {topic}, partition {partition}, are lost: Kafka had deleted them before they were read \
                     (offsets {from} to {}); keep the topic for longer than Shipwake may be away",
                    oldest - from,
                    oldest - 1
                );
                error!("{words}");
                self.core.topics.losses.lock().unwrap_or_else(PoisonError::into_inner).insert(self.place, words);
                self.next = oldest;
            }
            JournalError::OffsetAhead { from, end } => {
                let words = format!(
                    "topic {topic}, partition {partition}, ends at offset {end}, and had been read up to {from}: it is another topic \
                     of the same name, and is read from its beginning"
                );
                error!("{words}");
                self.core.topics.losses.lock().unwrap_or_else(PoisonError::into_inner).insert(self.place, words);
                (self.next, self.already) = (0, Arc::default());
            }
            error => {
                warn!(%topic, partition, %error, "a topic cannot be read, trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
        true
    }
}
