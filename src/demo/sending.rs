//! What the shop sends, as the SDKs would: one connection per instance, retries, the next process when one does not answer; and what became
//! of each batch, for the truth.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Endpoints;
use super::instance::Outgoing;
use super::shop::SERVICES;
use super::simulation::Ticked;
use super::truth::{Fate, Truth};
use super::truth_file::TruthFile;
use crate::load::wire::retry::Next;
use crate::load::wire::{Outcome, Protocol, Retry, Sender};

/// The SDKs give up after 6 to 13 seconds.
const GIVE_UP_AFTER: Duration = Duration::from_secs(13);
/// Requests without an answer at the most: a minute of an unreachable server. Beyond, batches are dropped as SDKs drop them.
const IN_FLIGHT_MAX: usize = 2_048;
/// Where nothing is dropped, so many requests wait for answers: enough to keep a server busy, few enough that they come nearly in order.
const WAITED_FOR_MAX: usize = 16;
/// At the end, how long to wait for answers.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// What happens to a batch for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It waits: time can.
    Wait,
    /// It is dropped.
    Drop,
}

/// The ways of one instance to Shipwake: one to each process that takes telemetry. It stays with the one that answers.
struct Ways {
    senders: Vec<Sender>,
    at: AtomicUsize,
}

impl Ways {
    /// The way that answered last.
    fn current(&self) -> (usize, &Sender) {
        let at = self.at.load(Ordering::Relaxed) % self.senders.len();
        (at, &self.senders[at])
    }

    /// That one did not answer: the next one, unless somebody has turned away already.
    fn turn_away_from(&self, at: usize) {
        let _ = self.at.compare_exchange(at, (at + 1) % self.senders.len(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The shop's instances as clients.
pub struct Shop {
    /// At least one.
    endpoints: Vec<Endpoints>,
    started: Instant,
    /// Connections of their own for each instance, as real instances have.
    ways: HashMap<usize, Arc<Ways>>,
    truth: Arc<Mutex<Truth>>,
    truth_file: Option<Arc<Mutex<TruthFile>>>,
    in_flight: Arc<Semaphore>,
    /// Room for those that are waited for.
    waited_for: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Shop {
    /// A shop that sends to one of these, at least one.
    pub fn new(endpoints: Vec<Endpoints>, truth_file: Option<TruthFile>) -> Shop {
        Shop {
            endpoints,
            started: Instant::now(),
            ways: HashMap::new(),
            truth: Arc::default(),
            truth_file: truth_file.map(|file| Arc::new(Mutex::new(file))),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            waited_for: Arc::new(Semaphore::new(WAITED_FOR_MAX)),
            tasks: JoinSet::new(),
        }
    }

    /// Sends what a tick brought forth; answers are taken in the background.
    ///
    /// # Errors
    /// When an endpoint is no URL, or the truth file cannot be written.
    pub async fn send(&mut self, ticked: Ticked, room: Room) -> anyhow::Result<()> {
        self.write_lines(ticked.events).await?;
        for outgoing in ticked.outgoing {
            let service = outgoing.release.service;
            let permit = match room {
                Room::Wait => self.waited_for.clone().acquire_owned().await.ok(),
                Room::Drop => self.in_flight.clone().try_acquire_owned().ok(),
            };
            let Some(permit) = permit else {
                add(&self.truth, Fate::Refused, &outgoing);
                continue;
            };
            let ways = self.ways(outgoing.instance, service)?;
            let truth = self.truth.clone();
            let jitter = self.started.elapsed().as_nanos() as u64;
            self.tasks.spawn(async move {
                let fate = deliver(&ways, &outgoing, jitter).await;
                add(&truth, fate, &outgoing);
                drop(permit);
            });
        }
        for instance in ticked.gone {
            self.ways.remove(&instance);
        }
        while let Some(ended) = self.tasks.try_join_next() {
            ended.context("a sender's task panicked")?;
        }
        Ok(())
    }

    fn ways(&mut self, instance: usize, service: usize) -> anyhow::Result<Arc<Ways>> {
        if let Some(ways) = self.ways.get(&instance) {
            return Ok(ways.clone());
        }
        let service = &SERVICES[service];
        let mut senders = Vec::new();
        for endpoints in &self.endpoints {
            let endpoint = match service.protocol {
                Protocol::Grpc => &endpoints.otlp_grpc,
                Protocol::Http => &endpoints.otlp_http,
            };
            senders.push(Sender::new(service.protocol, endpoint, service.gzip, service.language.user_agent())?);
        }
        // Instances are spread over the processes, as a load balancer would.
        let ways = Arc::new(Ways { senders, at: AtomicUsize::new(instance) });
        self.ways.insert(instance, ways.clone());
        Ok(ways)
    }

    /// Waits for the answers to what was sent with [`Room::Wait`].
    pub async fn all_waited_for(&self) {
        let _all = self.waited_for.acquire_many(WAITED_FOR_MAX as u32).await;
    }

    /// Writes down what became of batches since the last time.
    ///
    /// # Errors
    /// When the truth file cannot be written.
    pub async fn write_truth(&self) -> anyhow::Result<()> {
        let lines = self.truth.lock().expect("no holder of the truth panics").take_lines();
        self.write_lines(lines).await
    }

    async fn write_lines(&self, lines: Vec<String>) -> anyhow::Result<()> {
        let Some(file) = self.truth_file.clone().filter(|_| !lines.is_empty()) else { return Ok(()) };
        let write = move || file.lock().expect("no holder of the truth file panics").append(&lines);
        tokio::task::spawn_blocking(write).await.context("writing the truth panicked")?
    }

    /// Waits for the last answers; what has none by then is unknown.
    ///
    /// # Errors
    /// When the truth file cannot be written.
    pub async fn close(mut self) -> anyhow::Result<()> {
        let all_answered = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ANSWERS_WITHIN, all_answered).await.is_err() {
            // A request that is cut off here was counted nowhere: the truth says so by lacking its end line.
            self.tasks.shutdown().await;
            return self.write_truth().await;
        }
        self.write_truth().await?;
        let end = self.truth.lock().expect("no holder of the truth panics").end_line();
        self.write_lines(vec![end]).await
    }
}

async fn deliver(ways: &Ways, outgoing: &Outgoing, jitter: u64) -> Fate {
    let begun = Instant::now();
    let mut retry = Retry::new(GIVE_UP_AFTER, jitter);
    loop {
        let (at, sender) = ways.current();
        let answer = sender.send(outgoing.signal, outgoing.body.clone()).await;
        match retry.after(answer, begun.elapsed()) {
            // The same bytes to another process: if the first one took them after all, they are counted once.
            Next::Again(wait) => {
                ways.turn_away_from(at);
                tokio::time::sleep(wait).await;
            }
            Next::Done(Outcome::Acknowledged) => return Fate::Acked,
            Next::Done(Outcome::Unknown(reason)) => {
                tracing::warn!(
                    signal = outgoing.signal.as_str(),
                    reason,
                    "the shop gave up a batch that may have been taken"
                );
                return Fate::Unknown;
            }
            Next::Done(Outcome::Refused(reason)) => {
                tracing::warn!(signal = outgoing.signal.as_str(), reason, "a batch of the shop was refused");
                return Fate::Refused;
            }
        }
    }
}

fn add(truth: &Mutex<Truth>, fate: Fate, outgoing: &Outgoing) {
    truth.lock().expect("no holder of the truth panics").add(fate, &outgoing.release, &outgoing.tallies);
}
