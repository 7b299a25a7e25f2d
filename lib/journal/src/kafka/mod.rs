//! The journal on Apache Kafka: one topic, written by Shipwake only. The brokers keep the records, for as long as the
//! topic's retention says; nothing of them is on our disk.
//!
//! An append goes through `producer` and is answered when all in-sync replicas have it. What is read comes through
//! `consumer`, one thread for all partitions, into the `window` of each `lane`; a partition is read by this process from
//! the moment a reader asks for it, from where the reader says. Which process is to read it, where several share the topic, is what
//! `membership` is told. `watch` sees how far partitions reach and whether reading
//! one stands still. `topics` reads what a Collector has written. `trouble` says in words what is wrong. The form of a
//! message: `FORMAT.md`.

mod client;
mod config;
mod consumer;
mod holding;
mod lane;
mod membership;
mod message;
mod metrics;
mod open;
mod producer;
mod reader;
mod threads;
mod topics;
mod trouble;
mod watch;
mod window;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;

pub use config::{Config, Connection, Create, Password, Sasl, Tls, TopicsConfig};
pub use membership::Membership;
pub use topics::{Source, Topics};

use crate::error::JournalError;
use crate::journal::{Journal, Position, Record, Stored};
use metrics::Metrics;
use producer::Producer;
use reader::{Content, Place, Reader, Shared};
use trouble::Trouble;

/// How long closing waits for Kafka's answers.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// The journal on Kafka; see the module. Dropping it without `close` gives up what Kafka has not answered for.
pub struct KafkaJournal {
    /// Dropped first: what has no answer is given up while the threads still report.
    producer: Producer,
    reader: Reader,
    shared: Arc<Shared>,
    record_bytes_max: usize,
}

impl KafkaJournal {
    /// Finds the brokers and the topic and begins. Blocks for some seconds at most; call it where that is allowed.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] with the reason in words when brokers or topic cannot be used now: to be tried again.
    /// [`JournalError::Incompatible`] when the configuration can never be used.
    pub fn open(config: Config, registry: &mut Registry) -> Result<Self, JournalError> {
        let opening = Opening::find(config)?;
        opening.begin(registry)
    }
}

/// A topic that was found and is not read or written yet. In two steps, so that nobody has to hold the registry while
/// brokers are looked for.
pub struct Opening {
    config: Config,
    trouble: Trouble,
    topic: open::Topic,
}

impl Opening {
    /// Finds the brokers and the topic; see [`KafkaJournal::open`].
    ///
    /// # Errors
    /// As there.
    pub fn find(config: Config) -> Result<Self, JournalError> {
        let trouble = Trouble::default();
        let topic = open::topic(&config, &trouble)?;
        trouble.over();
        Ok(Opening { config, trouble, topic })
    }

    /// The oldest offset and the end of each partition.
    pub fn reach(&self) -> &[(u64, u64)] {
        &self.topic.reach
    }

    /// Begins, and registers metrics under their whole names.
    ///
    /// # Errors
    /// [`JournalError::Incompatible`] when the configuration cannot be used, or the system gives no thread.
    pub fn begin(self, registry: &mut Registry) -> Result<KafkaJournal, JournalError> {
        let Opening { config, trouble, topic } = self;
        let consumer_config = client::consumer(&config.connection, topic.message_bytes_max)?;
        let name: Arc<str> = config.topic.as_str().into();
        let places = (0..topic.partitions).map(|partition| Place { topic: name.clone(), partition }).collect();
        let connection = config.connection.clone();
        let shared = Shared::new(connection, Content::Records, places, &topic.reach, config.read_ahead_bytes, trouble);
        let shared = Arc::new(shared);
        let metrics = Metrics::register(registry, &shared);
        let record_bytes_max = client::record_bytes_max(topic.message_bytes_max);
        let producer = Producer::new(&config, topic.message_bytes_max, shared.clone(), metrics)?;
        let reader = Reader::start(shared.clone(), &consumer_config)?;
        tracing::info!(topic = config.topic, partitions = topic.partitions, record_bytes_max, "journal on Kafka");
        Ok(KafkaJournal { producer, reader, shared, record_bytes_max })
    }
}

#[async_trait]
impl Journal for KafkaJournal {
    fn partitions(&self) -> u32 {
        self.shared.lanes.len() as u32
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, JournalError> {
        self.shared.check_open()?;
        for record in &records {
            record.check(self.partitions(), self.record_bytes_max)?;
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.producer.append(records).await
    }

    async fn read(&self, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Arc<Stored>>, JournalError> {
        self.reader.read(partition, from, max_bytes).await
    }

    fn end(&self, partition: u32) -> u64 {
        self.shared.lanes.get(partition as usize).map_or(0, |lane| lane.lock().end)
    }

    /// Tells Kafka's own tools how far we are. What is removed, and when, is the topic's retention.
    async fn truncate_before(&self, partition: u32, offset: u64) -> Result<(), JournalError> {
        let partitions = self.partitions();
        if partition >= partitions {
            return Err(JournalError::NoPartition { partition, partitions });
        }
        self.reader.commit(partition, offset, String::new())
    }

    fn release(&self, partition: u32) {
        self.reader.release(partition);
    }

    async fn close(&self) -> Result<(), JournalError> {
        self.shared.closed.store(true, Ordering::SeqCst);
        let deadline = tokio::time::Instant::now() + CLOSE_MAX;
        for (partition, lane) in self.shared.lanes.iter().enumerate() {
            lane.changed();
            let mut changes = lane.changes();
            while lane.waits_since().is_some() {
                if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                    let why = self.shared.trouble.words().unwrap_or_else(|| "no answer".into());
                    let reason = format!("partition {partition} has not answered for its last records: {why}");
                    return Err(JournalError::Unavailable { reason: reason.into() });
                }
            }
        }
        self.shared.check_fatal()
    }

    fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    fn problems(&self) -> Vec<String> {
        self.shared.problems()
    }
}

impl std::fmt::Debug for KafkaJournal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let brokers = &self.shared.connection.brokers;
        formatter.debug_struct("KafkaJournal").field("brokers", brokers).finish_non_exhaustive()
    }
}
