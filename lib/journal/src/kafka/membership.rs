//! A member of a consumer group, on a thread of its own: which partitions of the journal this process is to read, while others
//! read the rest.
//!
//! It carries the membership and nothing else: its partitions are paused from the first moment, and records come through the
//! journal's own reader, from where the manifest says. The group is one of its own (`…-owners`) without offsets: Kafka takes no
//! offset from a reader that is not a member where a group has members, and what the readers note is for Kafka's tools and lies in
//! the journal's group as ever.
//!
//! Partitions are moved one by one (cooperative-sticky): those that stay are read on. What this process is to give up is given
//! back when it has let go, or after [`holding::GIVE_UP_MAX`]. A process that says nothing for [`SESSION_MAX`] is out.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::Timeout;
use tokio::sync::mpsc::error::TryRecvError;

use super::client;
use super::config::Config;
use super::holding::Holding;
use super::threads::Threads;
use super::trouble::{Listener, Trouble};
use crate::error::JournalError;
use crate::member::{Group, Member, Order};

/// A member that is not heard of for so long is out: the least that brokers allow as they come. Until then nobody reads the
/// partitions of a process that has died.
const SESSION_MAX: Duration = Duration::from_secs(6);
/// How often a member is heard, and so how soon it learns that partitions move.
const HEARD_EVERY: Duration = Duration::from_millis(750);
/// A thread that does not look for so long is out too; and so long a change of the group waits for one that does not answer.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// How long a look may take, and so how soon partitions that were let go are passed on.
const LOOK: Duration = Duration::from_millis(50);
/// How long leaving the group may take; with a broker that answers it takes a fraction of a second.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// How long it may take to get back into the group before it is worth a word.
const SAID_AFTER: Duration = Duration::from_secs(10);

/// The thread that carries the membership. Dropping it leaves the group; the partitions are given to others at once.
#[derive(Debug)]
pub struct Membership {
    threads: Option<Threads>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Membership {
    /// Joins the group of those who read the journal's topic; orders come soon. `name` is what Kafka's tools show of this process.
    ///
    /// # Errors
    /// [`JournalError::Incompatible`] when the configuration cannot be used, or the system gives no thread.
    pub fn join(config: &Config, name: &str) -> Result<(Member, Self), JournalError> {
        let connection = &config.connection;
        let refused = |why: &dyn std::fmt::Display| client::refused(connection, &why.to_string());
        let trouble = Trouble::default();
        let voice = Voice {
            listener: Listener { trouble: trouble.clone(), tls: connection.tls.is_some() },
            said: Mutex::default(),
            is_leaving: AtomicBool::new(false),
        };
        let consumer = client::member(connection, name, SESSION_MAX, HEARD_EVERY, LOOK_MAX)?;
        let consumer: BaseConsumer<Voice> = consumer.create_with_context(voice).map_err(|error| refused(&error))?;
        consumer.subscribe(&[config.topic.as_str()]).map_err(|error| refused(&error))?;
        let (member, group) = Member::new();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let group_id = client::owners(connection);
        group.standing.set(Some(&format!("not in the group {group_id} yet")));
        let since = Some(Instant::now());
        let carrier = Carrier {
            consumer,
            group_id,
            group,
            trouble,
            stopped,
            holding: Holding::default(),
            out_since: since,
            was_in: false,
        };
        let mut threads = Threads::default();
        threads.spawn("kafka-member", move || carrier.run()).map_err(|error| refused(&error))?;
        Ok((member, Membership { threads: Some(threads), stop }))
    }

    /// Leaves the group and waits until that is said, for [`LEAVE_MAX`] at the most. Blocks.
    pub fn leave(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(threads) = self.threads.take()
            && !threads.end(LEAVE_MAX)
        {
            tracing::warn!(
                "leaving the group was not answered: others have the partitions when this process is missed"
            );
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the group has said, in the words of the callback.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// These partitions are ours.
    Given(BTreeSet<u32>),
    /// These are wanted by somebody else, who waits until they are given back.
    Wanted(BTreeSet<u32>),
    /// All are gone.
    Lost,
}

/// The callbacks of the member.
struct Voice {
    listener: Listener,
    said: Mutex<Vec<Said>>,
    /// Nobody waits for partitions to be let go any more.
    is_leaving: AtomicBool,
}

impl Voice {
    fn said(&self) -> MutexGuard<'_, Vec<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.listener.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.listener.error(error, reason);
    }
}

impl ConsumerContext for Voice {
    fn rebalance(&self, client: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = numbers(list);
        match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                // From the end and paused: nothing is fetched, and no offset of the group is asked for.
                let mut paused = TopicPartitionList::new();
                for element in list.elements() {
                    let added = paused.add_partition_offset(element.topic(), element.partition(), Offset::End);
                    added.expect("the end is an offset");
                }
                let taken = client.incremental_assign(&paused).and_then(|()| client.pause(&paused));
                if let Err(error) = taken {
                    tracing::warn!(%error, "partitions that the group gave cannot be taken");
                }
                self.said().push(Said::Given(partitions));
            }
            // Given back by whoever carries the membership, when they have been let go.
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS
                if !client.assignment_lost() && !self.is_leaving.load(Ordering::SeqCst) =>
            {
                self.said().push(Said::Wanted(partitions));
            }
            what => {
                tracing::debug!(?what, ?partitions, "the group has gone on without this process");
                give_back(client, &partitions);
                self.said().push(Said::Lost);
            }
        }
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(LOOK)
    }
}

fn numbers(list: &TopicPartitionList) -> BTreeSet<u32> {
    list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}

/// Gives back those of the partitions that the client has: one that it has not would keep it from giving back the others, and
/// the group would wait for ever.
fn give_back(client: &BaseConsumer<Voice>, partitions: &BTreeSet<u32>) {
    let has = client.assignment().unwrap_or_default();
    let mut list = TopicPartitionList::new();
    for element in has.elements() {
        if u32::try_from(element.partition()).is_ok_and(|partition| partitions.contains(&partition)) {
            list.add_partition(element.topic(), element.partition());
        }
    }
    if let Err(error) = client.incremental_unassign(&list) {
        tracing::debug!(%error, "partitions cannot be given back");
    }
}

/// See the module.
struct Carrier {
    consumer: BaseConsumer<Voice>,
    group_id: String,
    group: Group,
    trouble: Trouble,
    stopped: tokio::sync::watch::Receiver<bool>,
    holding: Holding,
    /// Since when the process is in no group.
    out_since: Option<Instant>,
    was_in: bool,
}

impl Carrier {
    /// Runs until it is told to stop, or the member is gone.
    fn run(mut self) {
        loop {
            // Nothing is fetched; what comes are callbacks and errors, and errors were noted by the listener.
            if let Some(Err(error)) = self.consumer.poll(LOOK) {
                tracing::debug!(%error, "member of the group");
            }
            let is_heard = self.hear() && self.pass_on();
            self.note_standing();
            if !is_heard || *self.stopped.borrow() {
                break;
            }
        }
        // What the group waits for is given back first, or closing would wait for it.
        self.consumer.context().is_leaving.store(true, Ordering::SeqCst);
        give_back(&self.consumer, &numbers(&self.consumer.assignment().unwrap_or_default()));
        tracing::debug!(group = self.group_id, "leaving the group");
    }

    /// Takes in what the group has said; false when nobody wants to know any more.
    fn hear(&mut self) -> bool {
        let said = std::mem::take(&mut *self.consumer.context().said());
        for said in said {
            tracing::info!(?said, group = self.group_id, "partitions move");
            let order = match said {
                Said::Given(partitions) => {
                    (self.out_since, self.was_in) = (None, true);
                    self.trouble.over();
                    self.holding.given(&partitions)
                }
                Said::Wanted(partitions) => self.holding.wanted(partitions, Instant::now()),
                Said::Lost => self.lost(),
            };
            if !self.tell(order) {
                return false;
            }
        }
        true
    }

    /// Gives back what was let go; false when nobody wants to know any more.
    fn pass_on(&mut self) -> bool {
        loop {
            match self.group.let_go.try_recv() {
                Ok(partition) => self.holding.let_go(partition),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        // A callback says it too; while something is being given up, this is sooner.
        if self.consumer.assignment_lost() {
            let order = self.lost();
            return self.tell(order);
        }
        let Some((all, order)) = self.holding.free(Instant::now()) else { return true };
        let is_told = self.tell(order);
        give_back(&self.consumer, &all);
        is_told
    }

    fn lost(&mut self) -> Option<Order> {
        self.out_since.get_or_insert_with(Instant::now);
        let (waited_for, order) = self.holding.lost();
        if !waited_for.is_empty() {
            give_back(&self.consumer, &waited_for);
        }
        order
    }

    fn tell(&self, order: Option<Order>) -> bool {
        // Whoever gets an order is in the group, and may ask.
        self.note_standing();
        order.is_none_or(|order| self.group.orders.blocking_send(order).is_ok())
    }

    fn note_standing(&self) {
        // A moment without a group is part of life, but not the first one.
        let out_for = self.out_since.map(|since| since.elapsed());
        let out_for = out_for.filter(|out_for| !self.was_in || *out_for >= SAID_AFTER);
        let why = || self.trouble.words().map(|words| format!(": {words}")).unwrap_or_default();
        let words =
            out_for.map(|out_for| format!("not in the group {} for {} s{}", self.group_id, out_for.as_secs(), why()));
        self.group.standing.set(words.as_deref());
    }
}
