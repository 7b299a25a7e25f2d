//! The appending side. Records are handed to librdkafka's idempotent producer, and an append is answered when Kafka has
//! answered for all of its records.
//!
//! What waits for an answer is bounded in bytes. A partition that has answered nothing for a second has a closed door: an
//! append waits before it for a moment and is then refused with nothing kept, so that a sender whose repetition nobody
//! would recognise can repeat it. What is through the door stays with librdkafka until it is known what became of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as MessageHeader, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use super::config::Config;
use super::metrics::Metrics;
use super::reader::Shared;
use super::trouble::{Listener, words};
use super::{client, message};
use crate::error::JournalError;
use crate::journal::{Position, Record};

/// See the module.
pub(super) struct Producer {
    client: ThreadedProducer<Reports>,
    /// Held while the records of an append are handed over, so that they stay together.
    order: Mutex<()>,
    space: Arc<Semaphore>,
    capacity: usize,
    hold_max: Duration,
    topic: String,
    answers: Answers,
}

impl Producer {
    pub(super) fn new(
        config: &Config,
        message_bytes_max: usize,
        shared: Arc<Shared>,
        metrics: Metrics,
    ) -> Result<Self, JournalError> {
        let settings = client::producer(&config.connection, message_bytes_max, config.queue_bytes)?;
        let (capacity, hold_max, topic) = (config.queue_bytes.max(1), config.hold_max, config.topic.clone());
        let record_bytes_max = client::record_bytes_max(message_bytes_max);
        let answers = Answers { shared, metrics, record_bytes_max };
        let reports = Reports { listener: answers.shared.listener(), answers: answers.clone() };
        let client = settings.create_with_context(reports);
        let client = client.map_err(|error| client::refused(&config.connection, &error.to_string()))?;
        let space = Arc::new(Semaphore::new(capacity));
        Ok(Producer { client, order: Mutex::default(), space, capacity, hold_max, topic, answers })
    }

    /// Appends records that have been checked.
    pub(super) async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, JournalError> {
        let deadline = tokio::time::Instant::now() + self.hold_max;
        let space = self.reserve(records.iter().map(Record::weight).sum(), deadline).await?;
        let mut partitions: Vec<u32> = records.iter().map(|record| record.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            self.wait_at_door(partition, deadline).await?;
        }
        // No waiting from here to the last record: a caller that gives up leaves nothing half done.
        let answer = self.hand_over(&records, space);
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    async fn reserve(&self, bytes: usize, deadline: tokio::time::Instant) -> Result<Space, JournalError> {
        let bytes = bytes.clamp(1, self.capacity);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = match timeout_at(deadline, self.space.clone().acquire_many_owned(permits)).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(JournalError::Closed),
            Err(_) => return Err(self.unavailable("everything that may wait for Kafka's answer waits already")),
        };
        let gauge = self.answers.metrics.queue_bytes.clone();
        let bytes = i64::from(permits);
        gauge.inc_by(bytes);
        Ok(Space { _permit: permit, bytes, gauge })
    }

    /// Waits until the partition takes records, or refuses.
    async fn wait_at_door(&self, partition: u32, deadline: tokio::time::Instant) -> Result<(), JournalError> {
        let shared = &self.answers.shared;
        let lane = &shared.lanes[partition as usize];
        loop {
            let mut changes = lane.changes();
            shared.check_open()?;
            if !lane.is_stuck() {
                return Ok(());
            }
            if timeout_at(deadline, changes.changed()).await.is_err() {
                let waited = lane.waits_since().map_or(0, |since| since.elapsed().as_secs());
                return Err(self.unavailable(&format!("partition {partition} has answered nothing for {waited} s")));
            }
        }
    }

    fn unavailable(&self, what: &str) -> JournalError {
        let reason = match self.answers.shared.trouble.words() {
            Some(words) => format!("{what}: {words}"),
            None => what.to_owned(),
        };
        JournalError::Unavailable { reason: reason.into() }
    }

    fn hand_over(&self, records: &[Record], space: Space) -> oneshot::Receiver<Result<Vec<Position>, JournalError>> {
        let (reply, answer) = oneshot::channel();
        let batch = Arc::new(Batch::new(records, reply, space));
        // Guards no data.
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, record) in records.iter().enumerate() {
            let number = self.answers.shared.lanes[record.partition as usize].hand_over();
            let delivery = Box::new(Delivery {
                batch: batch.clone(),
                place,
                partition: record.partition,
                number,
                bytes: record.value.len(),
                since: Instant::now(),
            });
            let mut headers = OwnedHeaders::new_with_capacity(8);
            for (key, value) in &message::headers(&record.header) {
                headers = headers.insert(MessageHeader { key, value: Some(value) });
            }
            let message = BaseRecord::<'_, (), [u8], Box<Delivery>>::with_opaque_to(&self.topic, delivery)
                .partition(record.partition as i32)
                .timestamp(record.header.received_ns / 1_000_000)
                .headers(headers)
                .payload(&record.value[..]);
            if let Err((error, message)) = self.client.send(message) {
                let error = self.answers.error(&error, record.value.len());
                message.delivery_opaque.finish(&self.answers, Err(error));
            }
        }
        answer
    }
}

/// Space in the queue; gives itself back.
struct Space {
    _permit: OwnedSemaphorePermit,
    bytes: i64,
    gauge: Gauge,
}

impl Drop for Space {
    fn drop(&mut self) {
        self.gauge.dec_by(self.bytes);
    }
}

/// The records of one append.
pub(super) struct Batch(Mutex<Waiting>);

struct Waiting {
    positions: Vec<Position>,
    left: usize,
    failed: Option<JournalError>,
    reply: Option<oneshot::Sender<Result<Vec<Position>, JournalError>>>,
    space: Option<Space>,
}

impl Batch {
    fn new(records: &[Record], reply: oneshot::Sender<Result<Vec<Position>, JournalError>>, space: Space) -> Self {
        let positions = records.iter().map(|record| Position { partition: record.partition, offset: 0 }).collect();
        let waiting = Waiting { positions, left: records.len(), failed: None, reply: Some(reply), space: Some(space) };
        Batch(Mutex::new(waiting))
    }

    /// One record has its answer; with the last one the append has its own.
    fn answer(&self, place: usize, outcome: Result<u64, JournalError>) {
        let mut waiting = self.0.lock().expect("no code panics while holding a batch");
        match outcome {
            Ok(offset) => waiting.positions[place].offset = offset,
            Err(error) => waiting.failed = waiting.failed.take().or(Some(error)),
        }
        waiting.left -= 1;
        if waiting.left > 0 {
            return;
        }
        let result = waiting.failed.take().map_or_else(|| Ok(std::mem::take(&mut waiting.positions)), Err);
        waiting.space = None;
        if let Some(reply) = waiting.reply.take() {
            // Nobody waits any more when the caller has given up.
            let _ = reply.send(result);
        }
    }
}

/// Travels through librdkafka with a record and comes back with Kafka's answer.
pub(super) struct Delivery {
    batch: Arc<Batch>,
    place: usize,
    partition: u32,
    number: u64,
    bytes: usize,
    since: Instant,
}

impl Delivery {
    fn finish(self, answers: &Answers, outcome: Result<u64, JournalError>) {
        let Answers { shared, metrics, .. } = answers;
        let lane = &shared.lanes[self.partition as usize];
        if let Ok(offset) = &outcome {
            // Before the answer: what was answered counts in the end.
            lane.reaches(0, offset + 1);
            metrics.append_bytes.inc_by(self.bytes as u64);
            metrics.ack_seconds.observe(self.since.elapsed().as_secs_f64());
            shared.trouble.over();
        }
        lane.answered(self.number);
        self.batch.answer(self.place, outcome);
    }
}

/// The producer's callbacks, called on its own thread.
pub(super) struct Reports {
    listener: Listener,
    answers: Answers,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.listener.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.listener.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        let outcome = match result {
            // A repetition that the broker recognised is kept, but it may not say where.
            Ok(message) => u64::try_from(message.offset()).map_err(|_| JournalError::Unavailable {
                reason: "Kafka has kept the record and does not say where".into(),
            }),
            Err((error, _)) => Err(self.answers.error(error, delivery.bytes)),
        };
        delivery.finish(&self.answers, outcome);
    }
}

/// Where answers are noted.
#[derive(Clone)]
struct Answers {
    shared: Arc<Shared>,
    metrics: Metrics,
    record_bytes_max: usize,
}

impl Answers {
    /// What an error of the producer means for the append.
    fn error(&self, error: &KafkaError, bytes: usize) -> JournalError {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge => JournalError::TooLarge { bytes, bytes_max: self.record_bytes_max },
            RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight => JournalError::Closed,
            RDKafkaErrorCode::Fatal => {
                let reason = self.shared.trouble.fatal().unwrap_or_else(|| error.to_string().into());
                JournalError::Poisoned { reason }
            }
            _ => {
                let (weight, said) = words(code, &error.to_string(), self.shared.tls());
                self.shared.trouble.note(weight, &said);
                JournalError::Unavailable { reason: self.shared.trouble.words().unwrap_or_else(|| said.into()) }
            }
        }
    }
}
