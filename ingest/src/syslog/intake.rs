//! From messages of all connections to batches in the journal.
//!
//! Messages wait in a queue that is bounded by bytes. One task empties it: it gathers for [`LINGER`], makes an export request
//! of what there is, and delivers that until the journal has it, whatever happens to the journal in between. The batch has a
//! key, so that an attempt whose answer came too late and the next one count once. Only at shutdown it gives up, and says so.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shipwake_model::Signal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::config::SyslogConfig;
use super::convert::{Converting, How};
use super::frame::Frame;
use crate::decode::Rejected;
use crate::error::IngestError;
use crate::hint;
use crate::ingest::Core;
use crate::lines::Converted;
use crate::produce::{Delivery, Origin, deliver, reject};
use crate::sender::{Sender, Senders};
use crate::split::{Repetition, hash_of_key};

/// How long a message waits for others: a fifth of the second within which it has to be seen.
pub(super) const LINGER: Duration = Duration::from_millis(100);
/// Bytes and messages of a batch: more would make the first of them wait for the last.
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCH_MESSAGES_MAX: usize = 8192;
/// What a message costs besides its bytes: its place in the queue, and what becomes of it in protobuf.
const MESSAGE_OVERHEAD_BYTES: usize = 256;
/// Memory for each byte of a batch while it is converted, appended, and cut by partition.
const WEIGHT: usize = 3;
/// Messages in the queue: with their overhead they fill the bytes that may wait before they fill this.
const QUEUE_MESSAGES_MAX: usize = 16_384;
/// UDP has nobody to wait for.
const OVERLOADED: &str = "overloaded";
/// The program ended before the journal took it.
const SHUTDOWN: &str = "shutdown";

/// The way in. Cheap to clone; when the last one is dropped the collector ends.
#[derive(Clone)]
pub(super) struct Intake {
    queue: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    pub(super) core: Arc<Core>,
}

struct Item {
    message: Vec<u8>,
    peer: IpAddr,
    room: OwnedSemaphorePermit,
}

/// Empties the queue.
pub(super) struct Collector {
    queue: mpsc::Receiver<Item>,
    core: Arc<Core>,
    config: Arc<SyslogConfig>,
    shutdown: CancellationToken,
    how: Arc<How>,
    /// When attempts end after shutdown was asked for.
    give_up: Option<Instant>,
}

pub(super) fn new(core: Arc<Core>, config: Arc<SyslogConfig>, shutdown: CancellationToken) -> (Intake, Collector) {
    let (sender, queue) = mpsc::channel(QUEUE_MESSAGES_MAX);
    let room = Arc::new(Semaphore::new(config.waiting_bytes_max));
    let how = Arc::new(How::new(&core.config, &core.patterns, config.offset_s));
    let intake = Intake { queue: sender, room, core: core.clone() };
    (intake, Collector { queue, core, config, shutdown, how, give_up: None })
}

impl Intake {
    /// Takes what came out of a stream, waiting for room as long as it takes.
    pub(super) async fn put(&self, frame: Frame, peer: IpAddr) {
        match frame {
            Frame::Message(message) => {
                let room = self.room.clone().acquire_many_owned(cost(&message)).await;
                let room = room.expect("the semaphore is never closed");
                // Fails only after a panic of the collector, which ends the program.
                let _ = self.queue.send(Item { message, peer, room }).await;
            }
            Frame::Rejected(reason) => {
                reject(&self.core, Signal::Logs, reason, 1, 0, &format!("syslog from {peer}"));
            }
        }
    }

    /// Takes a datagram, or counts it as rejected when there is no room.
    pub(super) fn put_or_reject(&self, message: Vec<u8>, peer: IpAddr) {
        let bytes = message.len() as u64;
        let taken = self
            .room
            .clone()
            .try_acquire_many_owned(cost(&message))
            .ok()
            .and_then(|room| self.queue.try_send(Item { message, peer, room }).ok());
        if taken.is_none() {
            let detail = format!("a datagram from {peer} came while the journal could not keep up");
            reject(&self.core, Signal::Logs, OVERLOADED, 1, bytes, &detail);
            if self.core.warnings.allow() {
                warn!(%peer, "dropped datagrams of syslog: the journal does not keep up");
            }
        }
    }
}

fn cost(message: &[u8]) -> u32 {
    u32::try_from(message.len() + MESSAGE_OVERHEAD_BYTES).expect("a message is bounded")
}

/// Messages that become a request together.
struct Gathered {
    items: Vec<Item>,
    bytes: usize,
}

impl Collector {
    pub(super) async fn run(mut self) {
        while let Some(gathered) = self.gather().await {
            let (core, config, how) = (self.core.clone(), self.config.clone(), self.how.clone());
            // A mebibyte takes some milliseconds to convert.
            let work = tokio::task::spawn_blocking(move || convert(&core, &config, &how, gathered));
            let batch = work.await.expect("converting does not panic, and blocking work is not aborted");
            self.deliver(batch).await;
        }
    }

    /// What comes within [`LINGER`] of the first message; `None` when nothing will come any more.
    async fn gather(&mut self) -> Option<Gathered> {
        let first = self.queue.recv().await?;
        let until = Instant::now() + LINGER;
        let mut gathered = Gathered { bytes: first.message.len(), items: vec![first] };
        while gathered.bytes < BATCH_BYTES_MAX && gathered.items.len() < BATCH_MESSAGES_MAX {
            let Ok(Some(item)) = timeout_at(until, self.queue.recv()).await else { break };
            gathered.bytes += item.message.len();
            gathered.items.push(item);
        }
        Some(gathered)
    }

    async fn deliver(&mut self, batch: Batch) {
        loop {
            let error = match self.attempt(&batch).await {
                Ok(()) => return,
                Err(error) => error,
            };
            self.core.note_refused(Some(Signal::Logs), &error);
            let pause = hint::retry_delay();
            if self.core.warnings.allow() {
                warn!(%error, messages = batch.messages, "syslog waits for the journal; connections are not read until it is back");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shutdown.cancelled() => return self.last_attempts(&batch).await,
            }
        }
    }

    /// After shutdown was asked for: short attempts until the grace is over. What is not taken by then is counted.
    async fn last_attempts(&mut self, batch: &Batch) {
        let until = *self.give_up.get_or_insert_with(|| Instant::now() + self.config.grace);
        while Instant::now() < until {
            if let Ok(Ok(())) = timeout_at(until, self.attempt(batch)).await {
                return;
            }
            tokio::time::sleep(LINGER).await;
        }
        let detail = "the program ended before the journal took them";
        reject(&self.core, Signal::Logs, SHUTDOWN, batch.messages, batch.client_bytes, detail);
        warn!(messages = batch.messages, "syslog messages are lost: {detail}");
    }

    async fn attempt(&self, batch: &Batch) -> Result<(), IngestError> {
        let core = &self.core;
        let hold = Instant::now() + core.config.hold_max;
        let journal = core.journal.wait(hold).await?;
        let bytes = (batch.request.len() * WEIGHT).min(core.config.in_flight_bytes_max);
        let mut grant = core.budget.enter(0, hold).await?;
        grant.grow(bytes, true, hold).await?;
        let delivery = Delivery {
            signal: Signal::Logs,
            request: batch.request.clone(),
            client_bytes: batch.client_bytes,
            grant,
            peer: None,
            repetition: Repetition::ByKey(batch.key),
            rejected_before: batch.rejected.clone(),
            senders: Senders::one(Sender::Syslog),
            origin: Origin::Client,
        };
        deliver(core, journal, delivery).await.map(drop)
    }
}

/// An export request on its way.
struct Batch {
    request: Bytes,
    client_bytes: u64,
    /// Those in `request`.
    messages: u64,
    rejected: Rejected,
    key: u128,
    /// The messages' room, given back with the batch.
    _room: Vec<OwnedSemaphorePermit>,
}

fn convert(core: &Core, config: &SyslogConfig, how: &How, gathered: Gathered) -> Batch {
    let received_ns = core.now_ns();
    let mut converting = Converting::new(how, config, received_ns, &core.config);
    for item in &gathered.items {
        converting.message(&item.message, &item.peer.to_string());
    }
    let Converted { request, accepted, rejected, .. } = converting.finish();
    Batch {
        request: Bytes::from(request),
        client_bytes: gathered.bytes as u64,
        messages: accepted,
        rejected,
        key: unique_key(core, received_ns),
        _room: gathered.items.into_iter().map(|item| item.room).collect(),
    }
}

/// A key that no other batch has, of this run or of another.
fn unique_key(core: &Core, now_ns: i64) -> u128 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    hash_of_key(&core.tenant, "syslog", format!("{now_ns} {} {count}", std::process::id()).as_bytes())
}
