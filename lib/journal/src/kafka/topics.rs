//! Topics that an OpenTelemetry Collector writes: values as they are, with nothing of ours about them. Which signal a value
//! holds is told by its topic. How far they are done stands in Kafka's group, with a note of the caller's.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shipwake_model::Signal;

use super::client;
use super::config::TopicsConfig;
use super::open::{self, unavailable};
use super::reader::{Content, Place, Reader, Shared};
use super::trouble::{Listener, Trouble};
use crate::error::JournalError;
use crate::journal::Stored;

/// How long the group's coordinator may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Bytes that are read ahead of what is taken, over all partitions.
const READ_AHEAD_BYTES: usize = 16 << 20;
/// The largest message that is read without a word; Kafka hands out larger ones all the same.
const MESSAGE_BYTES: usize = 1 << 20;

/// A partition of a topic, and where to go on in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition of the topic.
    pub partition: u32,
    /// What its messages hold.
    pub signal: Signal,
    /// The first offset that is not done.
    pub from: u64,
    /// What was noted when that was written down; `None` when nothing was done yet.
    pub note: Option<String>,
}

/// Topics that are read. Sources are named by their place in [`Topics::sources`].
pub struct Topics {
    reader: Reader,
    shared: Arc<Shared>,
    sources: Vec<Source>,
}

impl Topics {
    /// Finds the topics and where they were left, and begins. Blocks for some seconds at most.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] with the reason in words: to be tried again. [`JournalError::Incompatible`] when the
    /// configuration can never be used.
    pub fn open(config: &TopicsConfig) -> Result<Self, JournalError> {
        let (connection, trouble) = (&config.connection, Trouble::default());
        let client = open::probe(connection, &trouble)?;
        let (mut places, mut reach, mut signals) = (Vec::new(), Vec::new(), Vec::new());
        for (topic, signal) in &config.topics {
            let partitions = open::partitions(&client, connection, topic, &trouble)?.ok_or_else(|| {
                unavailable(&format!(
                    "the topic {topic} does not exist at {}; the Collector makes it with its first batch, if its brokers let it",
                    connection.brokers.join(",")
                ))
            })?;
            for partition in 0..partitions {
                reach.push(open::reach(&client, topic, partition, &trouble)?);
                places.push(Place { topic: topic.as_str().into(), partition });
                signals.push(*signal);
            }
        }
        let committed = committed(&client, &places, &trouble)?;
        let sources = (places.iter().zip(signals).zip(&reach).zip(committed))
            .map(|(((Place { topic, partition }, signal), (oldest, _)), committed)| {
                let (topic, partition) = (topic.clone(), *partition);
                let (from, note) = committed.map_or((*oldest, None), |(from, note)| (from, Some(note)));
                Source { topic, partition, signal, from, note }
            })
            .collect();
        let consumer = client::consumer(connection, MESSAGE_BYTES)?;
        trouble.over();
        let shared = Shared::new(connection.clone(), Content::Values, places, &reach, READ_AHEAD_BYTES, trouble);
        let shared = Arc::new(shared);
        Ok(Topics { reader: Reader::start(shared.clone(), &consumer)?, shared, sources })
    }

    /// Registers metrics under their whole names.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Times that a partition of a topic stood still although there was something to read";
        registry.register("shipwake_topics_stalls", help, self.shared.stalls.clone());
    }

    /// All partitions, with where they were left when this was opened.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Values of a source from `from` on, at least one: waits for it. Offsets rise, and may leave some out.
    ///
    /// # Errors
    /// [`JournalError::Lost`] when Kafka has deleted what was not read, [`JournalError::OffsetAhead`] when the topic does not
    /// reach so far: it is another one of the same name.
    pub async fn read(&self, source: usize, from: u64, max_bytes: usize) -> Result<Vec<Arc<Stored>>, JournalError> {
        self.reader.read(source as u32, from, max_bytes).await
    }

    /// The offset that the next message of a source gets, as far as known.
    pub fn end(&self, source: usize) -> u64 {
        self.shared.lanes.get(source).map_or(0, |lane| lane.lock().end)
    }

    /// Notes that a source is done below `offset`. Kept by Kafka soon; what is not kept is read again.
    ///
    /// # Errors
    /// [`JournalError::Closed`] when the threads have ended.
    pub fn done(&self, source: usize, offset: u64, note: String) -> Result<(), JournalError> {
        self.reader.commit(source as u32, offset, note)
    }

    /// What keeps the topics from being read at this moment, in words for a person.
    pub fn problems(&self) -> Vec<String> {
        self.shared.problems()
    }
}

/// Where the group was, and the notes.
fn committed(
    client: &BaseConsumer<Listener>,
    places: &[Place],
    trouble: &Trouble,
) -> Result<Vec<Option<(u64, String)>>, JournalError> {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for Place { topic, partition } in places {
        list.add_partition(topic, *partition as i32);
    }
    let found = client.committed_offsets(list, ANSWER_MAX).map_err(|error| {
        let why = trouble.words().unwrap_or_else(|| error.to_string().into());
        unavailable(&format!("where the topics were left cannot be read: {why}"))
    })?;
    let of_place = |Place { topic, partition }: &Place| {
        let element = found.find_partition(topic, *partition as i32)?;
        match element.offset() {
            Offset::Offset(offset) => Some((u64::try_from(offset).ok()?, element.metadata().to_owned())),
            _ => None,
        }
    };
    Ok(places.iter().map(of_place).collect())
}
