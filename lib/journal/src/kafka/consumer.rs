//! The reading side: one librdkafka consumer on one thread of its own, which sorts what comes by partition into the bounded
//! windows of the lanes. A partition whose window is full is paused, and goes on when a reader has made room.
//!
//! One consumer and one `poll` because the alternatives (a queue or a stream for each partition) have lost wake-ups, and
//! with them partitions that stand still without a word. Where to read from is said by the readers, which have it from the
//! manifest; nobody else's idea of it is used. A gap is never passed over: reading begins again at its start once, and what
//! is still missing then is told to the reader.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::lane::Inner;
use super::message::{self, Unreadable};
use super::reader::{Content, Place, Shared};
use super::trouble::{Listener, words};
use super::watch;
use super::window::Put;
use crate::error::JournalError;
use crate::journal::Stored;

/// How long a look for messages may take, and so how long a command may wait.
const POLL: Duration = Duration::from_millis(20);
/// Between two attempts at what librdkafka refused.
const AGAIN: Duration = Duration::from_millis(200);

/// What the thread is asked to do. A partition is the number of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Read a partition from an offset on.
    Begin { partition: u32, from: u64 },
    /// A reader has made room.
    GoOn { partition: u32 },
    /// Ask Kafka anew for what is due.
    Again { partition: u32 },
    /// Read a partition no more.
    End { partition: u32 },
    /// Tell Kafka how far a partition is done.
    Commit { partition: u32, offset: u64, note: String },
    /// End.
    Stop,
}

/// See the module.
pub(super) struct Consumer {
    shared: Arc<Shared>,
    client: Arc<BaseConsumer<Listener>>,
    commands: Receiver<Command>,
    /// What has to be tried again, and when.
    later: Vec<(Instant, Command)>,
    assigned: Vec<bool>,
}

impl Consumer {
    pub(super) fn new(shared: Arc<Shared>, client: Arc<BaseConsumer<Listener>>, commands: Receiver<Command>) -> Self {
        let assigned = vec![false; shared.lanes.len()];
        Consumer { shared, client, commands, later: Vec::new(), assigned }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        while self.obey() {
            match self.client.clone().poll(POLL) {
                None => {}
                Some(Ok(message)) => self.sort(&message),
                Some(Err(error)) => self.failed(&error),
            }
        }
    }

    /// Does what was asked for; false at the end.
    fn obey(&mut self) -> bool {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, Command)> = due;
        for (_, command) in due {
            self.act(command);
        }
        loop {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Ok(command) => self.act(command),
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn act(&mut self, command: Command) {
        match command {
            Command::Begin { partition, from } => self.begin(partition, from),
            Command::GoOn { partition } => self.go_on(partition),
            Command::Again { partition } => self.again(partition),
            Command::End { partition } => self.end(partition),
            Command::Commit { partition, offset, note } => {
                let list = self.list(partition, Some(offset));
                if let Some(mut element) =
                    list.find_partition(&self.place(partition).topic, self.place(partition).partition as i32)
                {
                    element.set_metadata(&note);
                }
                // What follows from one that is not kept is only that more is read again.
                let committed = self.client.commit(&list, CommitMode::Async);
                if let Err(error) = committed {
                    tracing::debug!(partition, offset, %error, "offset not committed");
                }
            }
            Command::Stop => {}
        }
    }

    fn begin(&mut self, partition: u32, from: u64) {
        let mut inner = self.shared.lanes[partition as usize].lock();
        inner.window.begin(from);
        (inner.paused, inner.fault, inner.gap) = (false, None, None);
        drop(inner);
        self.assign(partition, from);
    }

    fn again(&mut self, partition: u32) {
        let mut inner = self.shared.lanes[partition as usize].lock();
        inner.paused = false;
        let due = inner.window.due();
        drop(inner);
        if let Some(from) = due {
            self.assign(partition, from);
        }
    }

    fn end(&mut self, partition: u32) {
        let mut inner = self.shared.lanes[partition as usize].lock();
        inner.window.forget();
        (inner.paused, inner.fault, inner.gap) = (false, None, None);
        drop(inner);
        self.unassign(partition);
        // Somebody who has begun to wait meanwhile asks anew.
        self.shared.lanes[partition as usize].changed();
    }

    /// Also forgets what was fetched and not handed out.
    fn unassign(&mut self, partition: u32) {
        let place = partition as usize;
        if !std::mem::take(&mut self.assigned[place]) {
            return;
        }
        if let Err(error) = self.client.incremental_unassign(&self.list(partition, None)) {
            tracing::debug!(partition, %error, "partition cannot be given back");
        }
    }

    fn assign(&mut self, partition: u32, from: u64) {
        self.shared.lanes[partition as usize].lock().moved = Instant::now();
        let place = partition as usize;
        self.unassign(partition);
        match self.client.incremental_assign(&self.list(partition, Some(from))) {
            Ok(()) => self.assigned[place] = true,
            Err(error) => {
                tracing::warn!(partition, %error, "partition cannot be read, trying again");
                self.later.push((Instant::now() + AGAIN, Command::Again { partition }));
            }
        }
    }

    fn go_on(&mut self, partition: u32) {
        let mut inner = self.shared.lanes[partition as usize].lock();
        if !inner.paused {
            return;
        }
        (inner.paused, inner.moved) = (false, Instant::now());
        drop(inner);
        if let Err(error) = self.client.resume(&self.list(partition, None)) {
            tracing::debug!(partition, %error, "partition cannot go on, asking anew");
            self.again(partition);
        }
    }

    fn place(&self, partition: u32) -> &Place {
        &self.shared.places[partition as usize]
    }

    fn list(&self, partition: u32, offset: Option<u64>) -> TopicPartitionList {
        let Place { topic, partition } = self.place(partition);
        let mut list = TopicPartitionList::with_capacity(1);
        let raw = *partition as i32;
        match offset.map(|offset| list.add_partition_offset(topic, raw, Offset::Offset(offset as i64))) {
            None => {
                list.add_partition(topic, raw);
            }
            Some(added) => added.expect("an offset of a topic is in the range"),
        }
        list
    }

    /// A message for its lane.
    fn sort(&mut self, message: &BorrowedMessage<'_>) {
        let is_it = |place: &Place| {
            *place.topic == *message.topic() && i64::from(place.partition) == i64::from(message.partition())
        };
        let places = &self.shared.places;
        // The journal's partitions are their own numbers.
        let guess = usize::try_from(message.partition()).ok().filter(|guess| places.get(*guess).is_some_and(is_it));
        let Some(place) = guess.or_else(|| places.iter().position(is_it)) else { return };
        let Ok(offset) = u64::try_from(message.offset()) else { return };
        let (partition, lane) = (place as u32, &self.shared.lanes[place]);
        let record = self.record(partition, offset, message);
        let mut inner = lane.lock();
        inner.end = inner.end.max(offset + 1);
        inner.moved = Instant::now();
        let mut again = false;
        match record {
            Ok(record) => match inner.window.put(Arc::new(record)) {
                Put::Kept => inner.gap = None,
                Put::Passed => {}
                Put::Gap { due } => again = gap(&mut inner, partition, due, offset, self.shared.content),
            },
            // Told to the reader when it gets there; nothing behind it is taken.
            Err(error) if inner.window.due() == Some(offset) => inner.fault = Some(error),
            Err(_) => {}
        }
        let pause = inner.window.is_full() && !inner.paused;
        inner.paused |= pause;
        drop(inner);
        lane.changed();
        if pause && let Err(error) = self.client.pause(&self.list(partition, None)) {
            tracing::debug!(partition, %error, "partition cannot be paused");
        }
        if again {
            self.again(partition);
        }
    }

    fn record(&self, partition: u32, offset: u64, message: &BorrowedMessage<'_>) -> Result<Stored, JournalError> {
        let value = Bytes::copy_from_slice(message.payload().unwrap_or(&[]));
        let received_ns = message.timestamp().to_millis().unwrap_or(0).saturating_mul(1_000_000);
        if self.shared.content == Content::Values {
            return Ok(Stored { offset, header: message::nothing(received_ns), value });
        }
        let headers = message.headers();
        let pairs: Vec<(&str, Option<&[u8]>)> =
            headers.iter().flat_map(|headers| headers.iter()).map(|header| (header.key, header.value)).collect();
        let (place, brokers) = (self.place(partition), self.shared.connection.brokers.join(","));
        let path = || format!("kafka://{brokers}/{}/{}", place.topic, place.partition);
        match message::header(&pairs) {
            Ok(header) => Ok(Stored { offset, header, value }),
            Err(Unreadable::Foreign) => {
                self.shared.foreign_messages.inc();
                if self.shared.foreign.allow() {
                    tracing::warn!(
                        partition,
                        offset,
                        topic = %place.topic,
                        "somebody else writes to the journal's topic; its messages are passed over"
                    );
                }
                Ok(Stored { offset, header: message::nothing(received_ns), value: Bytes::new() })
            }
            Err(Unreadable::Newer(format)) => Err(JournalError::Incompatible {
                path: path().into(),
                reason: format!("the message at offset {offset} has format {format}, which a newer version writes"),
            }),
            Err(Unreadable::Damaged(reason)) => Err(JournalError::Damaged {
                path: path().into(),
                offset,
                reason: format!("the message is not a record: {reason}"),
            }),
        }
    }

    fn failed(&mut self, error: &KafkaError) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let (weight, said) = words(code, &error.to_string(), self.shared.tls());
        tracing::debug!(?code, %error, "reading from Kafka");
        // The error does not say which partition; their watermarks do.
        if matches!(
            code,
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset
        ) {
            self.find_the_lost();
        } else if !matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) {
            // Those two were noted by the listener, with the reason that is not here.
            self.shared.trouble.note(weight.min(super::trouble::Weight::Vague), &said);
        }
    }

    /// Some partition's position is not among the offsets that Kafka has.
    fn find_the_lost(&mut self) {
        for partition in 0..self.shared.lanes.len() as u32 {
            let lane = &self.shared.lanes[partition as usize];
            let due = lane.lock().window.due();
            let Some(due) = due.filter(|_| self.assigned[partition as usize]) else { continue };
            let fault = match watch::look(&self.client, &self.shared, partition) {
                Ok((oldest, end)) => out_of_range(partition, due, oldest, end),
                Err(error) => {
                    tracing::debug!(partition, %error, "watermarks not known");
                    None
                }
            };
            if fault.is_some() {
                lane.lock().fault = fault;
                lane.changed();
            } else {
                // It is not this one, or it is there again.
                self.later.push((Instant::now() + AGAIN, Command::Again { partition }));
            }
        }
    }
}

/// What to tell a reader that wants to read at `from` from a partition that has `oldest..end`.
fn out_of_range(partition: u32, from: u64, oldest: u64, end: u64) -> Option<JournalError> {
    if from < oldest {
        return Some(JournalError::Lost { partition, from, oldest });
    }
    (from > end).then_some(JournalError::OffsetAhead { from, end })
}

/// A gap before `offset`: the first time it may be an answer that was overtaken, so what is due is asked for again (true);
/// the second time the records do not exist. In a topic of somebody else that is in order: transactions and compaction
/// leave gaps.
fn gap(inner: &mut Inner, partition: u32, due: u64, offset: u64, content: Content) -> bool {
    if inner.gap == Some((due, offset)) {
        inner.gap = None;
        if content == Content::Values {
            inner.window.pass_to(offset);
            return true;
        }
        inner.fault = Some(JournalError::Lost { partition, from: due, oldest: offset });
    }
    if inner.fault.is_some() {
        return false;
    }
    inner.gap = Some((due, offset));
    true
}
