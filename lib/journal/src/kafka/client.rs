//! What librdkafka is told: one place for every setting that differs from its defaults, with the reason.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::config::{Connection, Password};
use super::message::OVERHEAD_BYTES;
use crate::error::JournalError;

/// Largest batch that is sent with others in it, before compression.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What every client of a connection is told. Reads the password's file.
pub(super) fn common(connection: &Connection) -> Result<ClientConfig, JournalError> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Warning);
    let brokers = connection.brokers.join(",");
    let settings = [
        ("bootstrap.servers", brokers.as_str()),
        ("client.id", "shipwake"),
        // A broker that comes back is found within a second; the default goes up to ten.
        ("reconnect.backoff.ms", "100"),
        ("reconnect.backoff.max.ms", "1000"),
        ("socket.keepalive.enable", "true"),
        // A broker that is there but does not answer is given up after so long.
        ("socket.timeout.ms", "15000"),
        ("socket.connection.setup.timeout.ms", "5000"),
        // Brokers close idle connections; that is no error.
        ("log.connection.close", "false"),
    ];
    for (name, value) in settings {
        config.set(name, value);
    }
    let protocol = match (&connection.tls, &connection.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &connection.tls {
        for (name, path) in
            [("ssl.ca.location", &tls.ca), ("ssl.certificate.location", &tls.cert), ("ssl.key.location", &tls.key)]
        {
            if let Some(path) = path {
                // librdkafka says only that it failed.
                std::fs::File::open(path)
                    .map_err(|error| refused(connection, &format!("{}: {error}", path.display())))?;
                config.set(name, path.to_string_lossy());
            }
        }
    }
    if let Some(sasl) = &connection.sasl {
        config.set("sasl.mechanism", sasl.mechanism).set("sasl.username", &sasl.user);
        config.set("sasl.password", password(connection, &sasl.password)?);
    }
    Ok(config)
}

fn password(connection: &Connection, password: &Password) -> Result<String, JournalError> {
    match password {
        Password::Given(password) => Ok(password.clone()),
        Password::File(path) => {
            let failed = |why: &str| refused(connection, &format!("the password's file {}: {why}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
            let line = text.lines().next().unwrap_or("");
            if line.is_empty() { Err(failed("its first line is empty")) } else { Ok(line.to_owned()) }
        }
    }
}

/// The configuration cannot be used.
pub(super) fn refused(connection: &Connection, reason: &str) -> JournalError {
    JournalError::Incompatible {
        path: format!("kafka://{}", connection.brokers.join(",")).into(),
        reason: reason.to_owned(),
    }
}

/// A client that reads. `message_bytes_max`: the largest message of the topic.
pub(super) fn consumer(connection: &Connection, message_bytes_max: usize) -> Result<ClientConfig, JournalError> {
    let mut config = common(connection)?;
    let message_bytes_max = message_bytes_max.max(BATCH_BYTES_MAX).to_string();
    let settings = [
        ("group.id", connection.group.as_str()),
        // The manifest knows where to go on; what is committed to Kafka is for its own tools.
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // A position that Kafka does not have is an error, never a jump.
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
        ("fetch.message.max.bytes", &message_bytes_max),
        // What is read ahead beyond our own windows, over all partitions.
        ("queued.max.messages.kbytes", "16384"),
        ("fetch.queue.backoff.ms", "20"),
        ("fetch.error.backoff.ms", "100"),
    ];
    for (name, value) in settings {
        config.set(name, value);
    }
    Ok(config)
}

/// The group of those who read the journal's topic, beside the one that offsets are noted in.
pub(super) fn owners(connection: &Connection) -> String {
    format!("{}-owners", connection.group)
}

/// A client that is a member of the group of owners and fetches nothing.
pub(super) fn member(
    connection: &Connection,
    name: &str,
    session_max: Duration,
    heard_every: Duration,
    look_max: Duration,
) -> Result<ClientConfig, JournalError> {
    let mut config = common(connection)?;
    let ms = |time: Duration| time.as_millis().to_string();
    let settings = [
        ("client.id", name.to_owned()),
        ("group.id", owners(connection)),
        ("partition.assignment.strategy", "cooperative-sticky".to_owned()),
        ("session.timeout.ms", ms(session_max)),
        ("heartbeat.interval.ms", ms(heard_every)),
        ("max.poll.interval.ms", ms(look_max)),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("auto.offset.reset", "error".to_owned()),
        // A message that slips through before its partition is paused is dropped.
        ("queued.max.messages.kbytes", "64".to_owned()),
        // A topic that grows is seen within a minute.
        ("topic.metadata.refresh.interval.ms", "60000".to_owned()),
    ];
    for (name, value) in settings {
        config.set(name, value);
    }
    Ok(config)
}

/// A client that appends.
pub(super) fn producer(
    connection: &Connection,
    message_bytes_max: usize,
    queue_bytes: usize,
) -> Result<ClientConfig, JournalError> {
    let mut config = common(connection)?;
    // Our own queue is the bound; this one must never be the one that is full.
    let kbytes = (2 * (queue_bytes + message_bytes_max) / 1024).to_string();
    let settings = [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        // Whole batches are compressed, which finds more than request by request, and every Kafka tool reads the values.
        // Level 1: on telemetry the higher ones cost more and save next to nothing.
        ("compression.type", "zstd"),
        ("compression.level", "1"),
        ("linger.ms", "5"),
        ("message.max.bytes", &message_bytes_max.to_string()),
        ("batch.size", &message_bytes_max.min(BATCH_BYTES_MAX).to_string()),
        ("queue.buffering.max.kbytes", &kbytes),
        ("queue.buffering.max.messages", "1000000"),
        // A record is kept trying until it is known what became of it: its sender was told to come again long before, and
        // is recognised.
        ("message.timeout.ms", "300000"),
    ];
    for (name, value) in settings {
        config.set(name, value);
    }
    Ok(config)
}

/// The largest value of a record, when the topic takes messages up to `message_bytes_max`.
pub(super) fn record_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_sub(OVERHEAD_BYTES).max(1)
}
