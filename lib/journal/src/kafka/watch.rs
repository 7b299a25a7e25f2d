//! Looks at every partition once a second, on a thread of its own: how far it reaches, whoever writes to it; and whether
//! reading it stands still although there is something to read. A client's threads can be alive and a partition silent all
//! the same, and nothing but this would tell.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot;

use super::consumer::Command;
use super::reader::Shared;
use super::trouble::{Listener, Weight};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one partition's answer is waited for.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// A partition with something to read that has not moved for so long stands still. Longer than a leader's election.
const STALLED_AFTER: Duration = Duration::from_secs(15);

/// What the thread is asked to do.
pub(super) enum Request {
    /// Look now, and say when it is done.
    Look(oneshot::Sender<()>),
    /// End.
    Stop,
}

/// See the module.
pub(super) struct Watch {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Arc<BaseConsumer<Listener>>,
    pub(super) commands: SyncSender<Command>,
    pub(super) requests: Receiver<Request>,
}

impl Watch {
    /// Runs until it is told to stop.
    pub(super) fn run(self) {
        loop {
            match self.requests.recv_timeout(LOOK_EVERY) {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Request::Look(done)) => {
                    self.look_at_all();
                    // Nobody waits any more when the reader has given up.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.look_at_all(),
            }
        }
    }

    fn look_at_all(&self) {
        if self.do_all_answer() {
            self.shared.answers();
        } else {
            self.shared.does_not_answer();
        }
    }

    fn do_all_answer(&self) -> bool {
        for partition in 0..self.shared.lanes.len() as u32 {
            match look(&self.client, &self.shared, partition) {
                Ok((_, end)) => self.look_for_stall(partition, end),
                Err(error) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                    tracing::debug!(partition, %error, "watermarks not known");
                    if matches!(
                        code,
                        RDKafkaErrorCode::UnknownTopicOrPartition
                            | RDKafkaErrorCode::UnknownTopic
                            | RDKafkaErrorCode::UnknownPartition
                    ) {
                        let place = &self.shared.places[partition as usize];
                        let words = format!(
                            "the topic {} or its partition {} does not exist any more",
                            place.topic, place.partition
                        );
                        self.shared.trouble.note(Weight::Telling, &words);
                    }
                    // The others would only take as long, one after another.
                    return false;
                }
            }
        }
        true
    }

    fn look_for_stall(&self, partition: u32, end: u64) {
        let lane = &self.shared.lanes[partition as usize];
        let mut inner = lane.lock();
        let at_end = inner.window.due().is_none_or(|due| due >= end);
        if at_end || inner.paused || inner.fault.is_some() {
            inner.moved = Instant::now();
        }
        let stands_for = inner.moved.elapsed();
        if stands_for < STALLED_AFTER {
            inner.stalled = false;
            return;
        }
        inner.stalled = true;
        let due = inner.window.due();
        drop(inner);
        self.shared.stalls.inc();
        tracing::warn!(
            partition,
            due,
            end,
            seconds = stands_for.as_secs(),
            "partition stands still although there is something to read; asking anew"
        );
        // Nobody reads the answer of a thread that has ended.
        let _ = self.commands.send(Command::Again { partition });
    }
}

/// The oldest offset and the end of a partition, from its leader.
pub(super) fn look(client: &BaseConsumer<Listener>, shared: &Shared, partition: u32) -> Result<(u64, u64), KafkaError> {
    let place = &shared.places[partition as usize];
    let (oldest, end) = client.fetch_watermarks(&place.topic, place.partition as i32, LOOK_MAX)?;
    let (oldest, end) = (u64::try_from(oldest).unwrap_or(0), u64::try_from(end).unwrap_or(0));
    shared.lanes[partition as usize].reaches(oldest, end);
    Ok((oldest, end))
}
