//! The shop's shell: plays the simulation in real time, sends what it brings forth as the SDKs would, one connection per
//! instance, and writes down what was acknowledged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::instance::Outgoing;
use super::shop::SERVICES;
use super::simulation::{Simulation, Ticked};
use super::truth::{Fate, Truth};
use super::truth_file::TruthFile;
use super::{Args, Endpoints, truth};
use crate::load::wall_ns;
use crate::load::wire::retry::Next;
use crate::load::wire::{Outcome, Protocol, Retry, Sender};

/// The SDKs give up after 6 to 13 seconds.
const GIVE_UP_AFTER: Duration = Duration::from_secs(13);
/// Requests without an answer at the most: a minute of an unreachable server. Beyond, batches are dropped as SDKs drop them.
const IN_FLIGHT_MAX: usize = 2_048;
const TRUTH_EVERY: Duration = Duration::from_secs(1);
/// At the end, how long to wait for answers.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Plays the shop until `shutdown`, or for `--duration`.
///
/// # Errors
/// When the scenario is unknown, an endpoint is no URL, or the truth file cannot be written.
pub async fn run(args: Args, endpoints: Endpoints, shutdown: CancellationToken) -> anyhow::Result<()> {
    let scenario = args.scenario()?;
    let started_ns = wall_ns();
    let mut simulation = Simulation::new(scenario, args.play(started_ns));
    let start_line = truth::start_line(scenario.name, args.seed, args.speed, started_ns);
    let truth_file = args.truth.as_deref().map(|path| TruthFile::open(path, &start_line)).transpose()?;
    let mut shop = Shop {
        endpoints,
        started: Instant::now(),
        senders: HashMap::new(),
        truth: Arc::default(),
        truth_file: truth_file.map(|file| Arc::new(Mutex::new(file))),
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        tasks: JoinSet::new(),
    };
    let mut truth_due = Instant::now() + TRUTH_EVERY;
    let end = args.duration.map(|duration| shop.started + duration);
    while end.is_none_or(|end| Instant::now() < end) {
        let tick_due = shop.started + Duration::from_nanos(simulation.due_ns() - started_ns);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep_until(tick_due.into()) => {}
        }
        let ticked = simulation.advance();
        shop.send(ticked).await?;
        if Instant::now() >= truth_due {
            truth_due = Instant::now() + TRUTH_EVERY;
            shop.write_truth().await?;
        }
    }
    let last = simulation.finish();
    shop.send(last).await?;
    shop.close().await
}

struct Shop {
    endpoints: Endpoints,
    started: Instant,
    /// One connection per instance, as real instances have.
    senders: HashMap<usize, Sender>,
    truth: Arc<Mutex<Truth>>,
    truth_file: Option<Arc<Mutex<TruthFile>>>,
    in_flight: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Shop {
    async fn send(&mut self, ticked: Ticked) -> anyhow::Result<()> {
        self.write_lines(ticked.events).await?;
        for outgoing in ticked.outgoing {
            let service = outgoing.release.service;
            let Ok(permit) = self.in_flight.clone().try_acquire_owned() else {
                add(&self.truth, Fate::Refused, &outgoing);
                continue;
            };
            let sender = self.sender(outgoing.instance, service)?;
            let truth = self.truth.clone();
            let jitter = self.started.elapsed().as_nanos() as u64;
            self.tasks.spawn(async move {
                let fate = deliver(&sender, &outgoing, jitter).await;
                add(&truth, fate, &outgoing);
                drop(permit);
            });
        }
        for instance in ticked.gone {
            self.senders.remove(&instance);
        }
        while let Some(ended) = self.tasks.try_join_next() {
            ended.context("a sender's task panicked")?;
        }
        Ok(())
    }

    fn sender(&mut self, instance: usize, service: usize) -> anyhow::Result<Sender> {
        if let Some(sender) = self.senders.get(&instance) {
            return Ok(sender.clone());
        }
        let service = &SERVICES[service];
        let endpoint = match service.protocol {
            Protocol::Grpc => &self.endpoints.otlp_grpc,
            Protocol::Http => &self.endpoints.otlp_http,
        };
        let sender = Sender::new(service.protocol, endpoint, service.gzip, service.language.user_agent())?;
        self.senders.insert(instance, sender.clone());
        Ok(sender)
    }

    async fn write_truth(&self) -> anyhow::Result<()> {
        let lines = self.truth.lock().expect("no holder of the truth panics").take_lines();
        self.write_lines(lines).await
    }

    async fn write_lines(&self, lines: Vec<String>) -> anyhow::Result<()> {
        let Some(file) = self.truth_file.clone().filter(|_| !lines.is_empty()) else { return Ok(()) };
        let write = move || file.lock().expect("no holder of the truth file panics").append(&lines);
        tokio::task::spawn_blocking(write).await.context("writing the truth panicked")?
    }

    /// Waits for the last answers; what has none by then is unknown.
    async fn close(mut self) -> anyhow::Result<()> {
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

async fn deliver(sender: &Sender, outgoing: &Outgoing, jitter: u64) -> Fate {
    let begun = Instant::now();
    let mut retry = Retry::new(GIVE_UP_AFTER, jitter);
    loop {
        let answer = sender.send(outgoing.signal, outgoing.body.clone()).await;
        match retry.after(answer, begun.elapsed()) {
            Next::Again(wait) => tokio::time::sleep(wait).await,
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
