//! The shop's shell: plays the simulation in real time, sends what it brings forth as the SDKs would, one connection per
//! instance, and writes down what was acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::instance::Outgoing;
use super::rollout_tool::Decision;
use super::scenarios::{OnVerdict, Step};
use super::shop::SERVICES;
use super::simulation::{Simulation, Ticked};
use super::truth::{Fate, Truth};
use super::truth_file::TruthFile;
use super::{Args, Endpoints, rollout_tool, truth};
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

/// Plays the shop until `shutdown`, or for `--duration`. What the rollout tool decides ends the script.
///
/// # Errors
/// When the scenario is unknown, an endpoint is no URL, or the truth file cannot be written.
pub async fn run(
    args: Args,
    endpoints: Vec<Endpoints>,
    mut decisions: Option<Receiver<Decision>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let scenario = args.scenario()?;
    let started_ns = wall_ns();
    let mut simulation = Simulation::new(scenario, args.play(started_ns));
    let on_verdict = scenario.on_verdict.as_ref().filter(|_| decisions.is_some());
    if let Some(on_verdict) = on_verdict {
        simulation.leave_out_from(on_verdict.from_s);
    }
    let mut is_decided = false;
    let start_line = truth::start_line(scenario.name, args.seed, args.speed, started_ns);
    let truth_file = args.truth.as_deref().map(|path| TruthFile::open(path, &start_line)).transpose()?;
    let mut shop = Shop {
        endpoints,
        started: Instant::now(),
        ways: HashMap::new(),
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
        if let Some(on_verdict) = on_verdict.filter(|_| !is_decided) {
            let told = decisions.as_mut().and_then(|decisions| decisions.try_recv().ok());
            if let Some(steps) = steps_after(on_verdict, told.as_ref(), simulation.script_s()) {
                simulation.play_instead(steps);
                is_decided = true;
            }
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

/// What is played from now on, if anything: after a decision on the release that is rolled out, or when there has been none for too
/// long.
fn steps_after(on_verdict: &OnVerdict, told: Option<&Decision>, script_s: f64) -> Option<&'static [Step]> {
    let steps = match told {
        Some(Decision::RollBack(version)) if *version == on_verdict.candidate => on_verdict.roll_back,
        Some(Decision::Promote(version)) if *version == on_verdict.candidate => on_verdict.promote,
        _ if script_s >= on_verdict.by_hand_s => {
            rollout_tool::say("no decision so far: a person ends the story by hand");
            if on_verdict.promote.is_empty() { on_verdict.roll_back } else { on_verdict.promote }
        }
        _ => &[],
    };
    (!steps.is_empty()).then_some(steps)
}

struct Shop {
    /// At least one.
    endpoints: Vec<Endpoints>,
    started: Instant,
    /// Connections of their own for each instance, as real instances have.
    ways: HashMap<usize, Arc<Ways>>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenarios;

    #[test]
    fn the_tool_acts_on_the_release_that_is_rolled_out_and_a_person_ends_the_story() {
        let of =
            |name: &str| scenarios::find(name).and_then(|scenario| scenario.on_verdict.as_ref()).expect("a canary");
        let (bad, good) = (of("canary-errors"), of("canary-good"));
        let candidate = || bad.candidate.to_owned();
        let steps = |on: &OnVerdict, told: Option<Decision>, script_s| {
            steps_after(on, told.as_ref(), script_s).map(|steps| steps[0].say)
        };
        let (rolled_back, promoted) = (Some(bad.roll_back[0].say), Some(good.promote[0].say));
        assert_eq!(steps(bad, Some(Decision::RollBack(candidate())), 130.0), rolled_back);
        assert_eq!(steps(bad, Some(Decision::Promote(candidate())), 100.0), None);
        assert_eq!(steps(bad, Some(Decision::RollBack("1.31.0".to_owned())), 130.0), None);
        assert_eq!(steps(good, Some(Decision::Promote(candidate())), 300.0), promoted);
        assert_eq!((steps(bad, None, 899.0), steps(bad, None, 900.0)), (None, rolled_back));
        assert_eq!(steps(good, None, 900.0), promoted);
    }
}
