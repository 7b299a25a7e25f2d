//! Finding the brokers and the topic: what has to be known before anything is read or appended. Blocks for a few seconds at
//! most and then says in words what is missing; whoever opens the journal tries again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;

use super::client;
use super::config::{Config, Connection, Create};
use super::trouble::{Listener, Trouble};
use crate::error::JournalError;

/// How long brokers may take to answer at all.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// How long one question waits: a busy broker's answer must not be thrown away just before it comes.
const QUESTION_MAX: Duration = Duration::from_secs(2);
/// How long Kafka may take to make a topic, or to answer for a partition.
const ADMIN_MAX: Duration = Duration::from_secs(5);
/// The largest batch that a topic takes when nobody has said otherwise.
const MESSAGE_BYTES_DEFAULT: usize = 1_048_588;

/// What is known of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) partitions: u32,
    /// The largest message, as the topic is configured.
    pub(super) message_bytes_max: usize,
    /// Oldest offset and end of each partition.
    pub(super) reach: Vec<(u64, u64)>,
}

/// Finds the topic of the journal, or makes it when that is asked for.
pub(super) fn topic(config: &Config, trouble: &Trouble) -> Result<Topic, JournalError> {
    let (connection, topic) = (&config.connection, config.topic.as_str());
    let client = probe(connection, trouble)?;
    let mut partitions = partitions(&client, connection, topic, trouble)?;
    if partitions.is_none()
        && let Some(create) = config.create
    {
        make(connection, topic, create, trouble)?;
        let made = Instant::now();
        while partitions.is_none() && made.elapsed() < ADMIN_MAX {
            partitions = self::partitions(&client, connection, topic, trouble)?;
        }
    }
    let Some(partitions) = partitions else {
        return Err(unavailable(&format!(
            "the topic {topic} does not exist at {}, or this user may not see it; create it, or add create=true to the \
             journal's address",
            connection.brokers.join(",")
        )));
    };
    let message_bytes_max = message_bytes_max(connection, topic, trouble);
    let reach = (0..partitions).map(|partition| reach(&client, topic, partition, trouble)).collect::<Result<_, _>>()?;
    Ok(Topic { partitions, message_bytes_max, reach })
}

/// A client for questions, connected to nobody yet.
pub(super) fn probe(connection: &Connection, trouble: &Trouble) -> Result<BaseConsumer<Listener>, JournalError> {
    let listener = Listener { trouble: trouble.clone(), tls: connection.tls.is_some() };
    let config = client::consumer(connection, 0)?;
    config.create_with_context(listener).map_err(|error| client::refused(connection, &error.to_string()))
}

/// How many partitions a topic has; `None` when Kafka knows no such topic.
pub(super) fn partitions(
    client: &BaseConsumer<Listener>,
    connection: &Connection,
    topic: &str,
    trouble: &Trouble,
) -> Result<Option<u32>, JournalError> {
    let begun = Instant::now();
    loop {
        // Serves the callback that tells why there is no answer.
        while client.poll(Duration::from_millis(20)).is_some() {}
        if let Some(words) = trouble.decisive() {
            return Err(unavailable(&words));
        }
        // Of all topics: asked for one that is missing, librdkafka waits for it, and a broker may even make it.
        if let Ok(metadata) = client.fetch_metadata(None, QUESTION_MAX) {
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let error = found.and_then(rdkafka::metadata::MetadataTopic::error).map(RDKafkaErrorCode::from);
            match (found, error) {
                (Some(found), None) if !found.partitions().is_empty() => {
                    let has_leaders = found.partitions().iter().all(|partition| partition.leader() >= 0);
                    if has_leaders {
                        return Ok(Some(found.partitions().len() as u32));
                    }
                    trouble.note(
                        super::trouble::Weight::Telling,
                        &format!("a partition of the topic {topic} has no leader"),
                    );
                }
                (_, Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                    return Ok(None);
                }
                (_, Some(RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                    return Err(unavailable(&format!("Kafka does not allow this user to describe the topic {topic}")));
                }
                (None, _) => return Ok(None),
                (_, error) => tracing::debug!(topic, ?error, "topic not ready"),
            }
        }
        if begun.elapsed() >= ANSWER_MAX {
            let brokers = connection.brokers.join(",");
            // A port that waits for TLS says nothing to a client that does not begin with it.
            let silence = "connections are taken and nothing is answered: it is no Kafka, or one that stands still";
            let hint = if connection.tls.is_some() { "" } else { "; if its port speaks TLS, add tls=true" };
            let why = trouble.words().unwrap_or_else(|| format!("{silence}{hint}").into());
            return Err(unavailable(&format!("Kafka at {brokers} does not answer: {why}")));
        }
    }
}

/// Oldest offset and end of a partition.
pub(super) fn reach(
    client: &BaseConsumer<Listener>,
    topic: &str,
    partition: u32,
    trouble: &Trouble,
) -> Result<(u64, u64), JournalError> {
    let found = client.fetch_watermarks(topic, partition as i32, ADMIN_MAX);
    let (oldest, end) = found.map_err(|error| {
        let why = trouble.words().unwrap_or_else(|| error.to_string().into());
        unavailable(&format!("partition {partition} of the topic {topic} does not answer: {why}"))
    })?;
    Ok((u64::try_from(oldest).unwrap_or(0), u64::try_from(end).unwrap_or(0)))
}

fn make(connection: &Connection, topic: &str, create: Create, trouble: &Trouble) -> Result<(), JournalError> {
    let replication = create.replication.map_or(-1, |replication| replication as i32);
    // Nothing may be taken out of the middle of a journal.
    let wanted = NewTopic::new(topic, create.partitions as i32, TopicReplication::Fixed(replication))
        .set("cleanup.policy", "delete");
    let made = admin(connection, trouble, async |client, options| client.create_topics([&wanted], options).await)?;
    let failed = |why: &str| unavailable(&format!("the topic {topic} cannot be created: {why}"));
    match made.map_err(|error| failed(&error.to_string()))?.pop() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => {}
        Some(Err((_, code))) => return Err(failed(&code.to_string())),
    }
    tracing::info!(topic, partitions = create.partitions, "topic created");
    Ok(())
}

/// What the topic says; Kafka's default where this user may not ask.
fn message_bytes_max(connection: &Connection, topic: &str, trouble: &Trouble) -> usize {
    let name = [ResourceSpecifier::Topic(topic)];
    let found = admin(connection, trouble, async |client, options| client.describe_configs(&name, options).await);
    let bytes = found.ok().and_then(Result::ok).and_then(|resources| {
        let resource = resources.into_iter().next()?.ok()?;
        resource.get("max.message.bytes")?.value.as_deref()?.parse().ok()
    });
    bytes.unwrap_or_else(|| {
        tracing::info!(
            topic,
            bytes = MESSAGE_BYTES_DEFAULT,
            "the largest message of the topic is not told; taking Kafka's default"
        );
        MESSAGE_BYTES_DEFAULT
    })
}

/// Runs one question of an administrator to its end.
fn admin<T>(
    connection: &Connection,
    trouble: &Trouble,
    ask: impl AsyncFnOnce(&AdminClient<Listener>, &AdminOptions) -> T,
) -> Result<T, JournalError> {
    let listener = Listener { trouble: trouble.clone(), tls: connection.tls.is_some() };
    let config = client::common(connection)?;
    let client: AdminClient<Listener> =
        config.create_with_context(listener).map_err(|error| client::refused(connection, &error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| client::refused(connection, &format!("no runtime: {error}")))?;
    let options = AdminOptions::new().request_timeout(Some(ADMIN_MAX)).operation_timeout(Some(ADMIN_MAX));
    Ok(runtime.block_on(ask(&client, &options)))
}

pub(super) fn unavailable(reason: &str) -> JournalError {
    JournalError::Unavailable { reason: Arc::from(reason) }
}
