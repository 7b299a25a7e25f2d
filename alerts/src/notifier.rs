//! The notifier: one task that takes changes, commits what is owed, delivers it, and commits what came of it.
//!
//! Decides nothing that `outbox` can decide. What it holds in memory is always what was committed last; answers that are not
//! committed yet keep their receiver busy. So after `kill -9` each receiver gets one notification again at the most.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use reqwest::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::address::CheckedResolver;
use crate::clock::Clock;
use crate::config::{AlertsConfig, Receiver};
use crate::error::{AlertsError, LedgerError, SubmitError};
use crate::handle::{Handle, ReceiverStatus, SUBMISSIONS_MAX, Status, Submission};
use crate::http;
use crate::ledger::Ledger;
use crate::message::Moment;
use crate::metrics::Metrics;
use crate::outbox::attempts::{Answer, Result as AttemptResult};
use crate::outbox::pace::Pace;
use crate::outbox::policy::Policy;
use crate::outbox::{Busy, Outbox};
use crate::state_bytes::{self, State};

/// Metrics and status are no older than this.
const TICK_MS: i64 = 10_000;
/// Lines that are logged about one commit.
const LINES_MAX: usize = 10;
/// Pause after a commit that failed.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);

/// How a notifier works. The defaults are for everybody; tests run time faster.
#[derive(Clone, Debug)]
pub struct NotifierConfig {
    /// Who is told.
    pub alerts: AlertsConfig,
    /// The time.
    pub clock: Clock,
    /// How long an attempt may take.
    pub request_timeout: Duration,
    /// How long attempts that are under way may go on when the notifier stops. One that is not finished is repeated after
    /// the next start.
    pub grace: Duration,
}

impl NotifierConfig {
    /// The defaults.
    pub fn new(alerts: AlertsConfig) -> Self {
        NotifierConfig {
            alerts,
            clock: Clock::default(),
            request_timeout: http::REQUEST_TIMEOUT,
            grace: Duration::from_secs(3),
        }
    }
}

/// An answer that is not committed yet.
struct Settled {
    receiver: Arc<str>,
    order: u64,
    answer: Answer,
}

/// See the module.
pub struct Notifier {
    config: NotifierConfig,
    policies: Vec<Policy>,
    clients: Vec<Client>,
    /// Not there while a commit is under way.
    ledger: Option<Box<dyn Ledger>>,
    /// What was committed last.
    state: State,
    busy: Busy,
    pace: Pace,
    attempts: JoinSet<Settled>,
    settled: Vec<Settled>,
    submitted: Vec<Submission>,
    inbox: mpsc::Receiver<Submission>,
    handle: Handle,
    status: watch::Sender<Arc<Status>>,
    ledger_problem: Option<String>,
    metrics: Metrics,
}

impl Notifier {
    /// Loads what was committed. Blocks on the ledger. Nothing is sent before [`Notifier::run`].
    ///
    /// # Errors
    /// When the ledger cannot be read, what is in it is damaged, or a receiver's certificates cannot be used.
    pub fn open(config: NotifierConfig, mut ledger: impl Ledger, registry: &mut Registry) -> Result<Self, AlertsError> {
        let state = match ledger.load()? {
            Some(bytes) => state_bytes::decode(&bytes).map_err(AlertsError::Damaged)?,
            None => State::default(),
        };
        let clients = clients(&config)?;
        let policies: Vec<Policy> = config.alerts.receivers.iter().map(Receiver::policy).collect();
        let (sender, inbox) = mpsc::channel(SUBMISSIONS_MAX);
        let (status, watched) = watch::channel(Arc::default());
        let names = policies.iter().map(|policy| policy.name.clone()).collect();
        let handle = Handle::new(sender, watched, names, state.outbox.attempts.recorded);
        Ok(Notifier {
            pace: Pace::new(config.clock.now_ms()),
            config,
            policies,
            clients,
            ledger: Some(Box::new(ledger)),
            state,
            busy: Busy::new(),
            attempts: JoinSet::new(),
            settled: Vec::new(),
            submitted: Vec::new(),
            inbox,
            handle,
            status,
            ledger_problem: None,
            metrics: Metrics::new(registry),
        })
    }

    /// The state of the caller as of the last commit; empty when there was none.
    pub fn caller_state(&self) -> Arc<[u8]> {
        self.state.caller.clone()
    }

    /// A way in.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Delivers until `stop`; then attempts that are under way may finish, and what came of them is committed.
    ///
    /// # Errors
    /// When nothing can be committed any more: another owner, or a disk that leaves in doubt what is on it.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), AlertsError> {
        // From here on whoever was the owner before is fenced.
        self.step(true).await?;
        while !stop.is_cancelled() {
            self.start_due();
            self.publish();
            let wait = self.wait();
            tokio::select! {
                () = stop.cancelled() => break,
                submission = self.inbox.recv() => self.submitted.extend(submission),
                Some(attempt) = self.attempts.join_next() => self.settled.push(joined(attempt)?),
                () = tokio::time::sleep(wait) => {}
            }
            self.gather()?;
            self.step(false).await?;
        }
        self.finish().await
    }

    /// How long until time alone gives something to do.
    fn wait(&self) -> Duration {
        if self.ledger_problem.is_some() {
            return COMMIT_PAUSE;
        }
        let now_ms = self.config.clock.now_ms();
        let next_ms = self.state.outbox.next_ms(now_ms, &self.policies, &self.pace, &self.busy);
        let wait_ms = next_ms.map_or(TICK_MS, |next_ms| (next_ms - now_ms).clamp(1, TICK_MS));
        self.config.clock.really(wait_ms)
    }

    /// Takes what else is there already, so that one commit serves all.
    fn gather(&mut self) -> Result<(), AlertsError> {
        while let Ok(submission) = self.inbox.try_recv() {
            self.submitted.push(submission);
        }
        while let Some(attempt) = self.attempts.try_join_next() {
            self.settled.push(joined(attempt)?);
        }
        Ok(())
    }

    /// Starts an attempt for every receiver that has one due. The rows are committed; the answers will be.
    fn start_due(&mut self) {
        // While nothing can be committed, answers would pile up.
        if self.ledger_problem.is_some() {
            return;
        }
        let (now_ms, time_of_day_ms) = (self.config.clock.now_ms(), self.config.clock.time_of_day_ms());
        for order in self.state.outbox.due(now_ms, &self.policies, &self.pace, &self.busy) {
            let row = &self.state.outbox.rows[&order];
            let Some(place) = self.policies.iter().position(|policy| policy.name == row.receiver) else { continue };
            let moment = Moment {
                now_ms: time_of_day_ms,
                url: self.config.alerts.url.clone(),
                overtaken_by: self.state.outbox.overtaken_by(order),
            };
            let target = self.config.alerts.receivers[place].target.clone();
            let request = target.request(row, &moment);
            self.pace.called(&row.receiver, self.policies[place].rate, now_ms);
            self.busy.insert(row.receiver.clone(), order);
            let (client, receiver) = (self.clients[place].clone(), row.receiver.clone());
            self.attempts.spawn(async move {
                let answer = http::send(&client, &target, request, time_of_day_ms).await;
                Settled { receiver, order, answer }
            });
        }
    }

    /// Makes of answers and submissions the next state and commits it, if there is anything to commit.
    async fn step(&mut self, at_any_rate: bool) -> Result<(), AlertsError> {
        let now_ms = self.config.clock.now_ms();
        let mut next = self.state.clone();
        let mut busy = self.busy.clone();
        for Settled { receiver, order, answer } in &self.settled {
            busy.remove(receiver);
            next.outbox.settle(*order, answer.clone(), now_ms, &self.policies);
        }
        for submission in &mut self.submitted {
            for change in std::mem::take(&mut submission.changes) {
                next.outbox.accept(change, now_ms, &self.policies, &busy);
            }
            if let Some(receiver) = &submission.test {
                next.outbox.accept_test(receiver, now_ms);
            }
            if let Some(state) = submission.state.take() {
                next.caller = state;
                next.outbox.changed = true;
            }
        }
        next.outbox.tidy(now_ms, &self.policies, &busy);
        if next.outbox.changed || at_any_rate || self.ledger_problem.is_some() {
            match self.commit(&mut next).await {
                Ok(()) => self.advance(next, busy),
                Err(error) if error.is_retryable() => self.put_off(&error),
                Err(error) => return Err(error.into()),
            }
        }
        for submission in self.submitted.drain(..) {
            let outcome = self.ledger_problem.clone().map_or(Ok(()), |problem| Err(SubmitError::NotCommitted(problem)));
            // Whoever does not wait any more has what it wanted all the same.
            let _ = submission.done.send(outcome);
        }
        Ok(())
    }

    async fn commit(&mut self, next: &mut State) -> Result<(), LedgerError> {
        next.outbox.changed = false;
        let attempts = &mut next.outbox.attempts;
        attempts.recorded = self.handle.recorded().min(attempts.total);
        let bytes = state_bytes::encode(next);
        let mut ledger = self.ledger.take().expect("one commit at a time");
        let committing = tokio::task::spawn_blocking(move || {
            let result = ledger.commit(&bytes);
            (ledger, result)
        });
        // A panic in a ledger is a panic of ours.
        let (ledger, result) = committing.await.expect("a ledger does not panic");
        self.ledger = Some(ledger);
        self.metrics.committed(result.is_ok());
        result
    }

    /// What follows from a commit.
    fn advance(&mut self, mut next: State, busy: Busy) {
        self.metrics.happened(&next.outbox.take_events());
        log_changes(&self.state.outbox, &next.outbox, &self.policies);
        if self.ledger_problem.take().is_some() {
            tracing::info!("notifications are kept again");
        }
        self.state = next;
        self.busy = busy;
        self.settled.clear();
    }

    /// What follows from a commit that failed: answers are kept for the next one, submitters are told.
    fn put_off(&mut self, error: &LedgerError) {
        let problem = match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        if self.ledger_problem.is_none() {
            tracing::error!(%problem, "failed to keep notifications; trying again");
        }
        self.ledger_problem = Some(problem);
    }

    fn publish(&self) {
        let now_ms = self.config.clock.now_ms();
        let outbox = &self.state.outbox;
        let receivers = self.config.alerts.receivers.iter().zip(&self.policies).map(|(receiver, policy)| {
            let (owed, oldest_ms) = outbox.owed(&policy.name);
            let health = outbox.health.get(&policy.name).cloned().unwrap_or_default();
            let is_failing = health.is_failing(policy.address);
            self.metrics.receiver(&policy.name, owed, oldest_ms.map(|oldest_ms| now_ms - oldest_ms), is_failing);
            ReceiverStatus {
                name: policy.name.clone(),
                kind: receiver.target.kind(),
                owed,
                oldest_ms,
                delivered_ms: health.delivered_ms,
                failing_since_ms: health.failing_since_ms,
                is_gone: health.is_gone(policy.address),
                hold_until_ms: Some(health.ready_ms(now_ms)).filter(|until_ms| *until_ms > now_ms),
            }
        });
        let receivers = receivers.collect();
        let ledger_problem = self.ledger_problem.clone();
        self.status.send_replace(Arc::new(Status { receivers, attempts: outbox.attempts.clone(), ledger_problem }));
    }

    /// Waits for what is under way, within the grace, and commits what came of it.
    async fn finish(mut self) -> Result<(), AlertsError> {
        self.inbox.close();
        let until = tokio::time::Instant::now() + self.config.grace;
        while let Ok(Some(attempt)) = tokio::time::timeout_at(until, self.attempts.join_next()).await {
            self.settled.push(joined(attempt)?);
        }
        let unfinished = self.attempts.len();
        self.attempts.shutdown().await;
        self.gather_closed();
        // Otherwise what is recorded since the last commit would be recorded again.
        let has_news = self.handle.recorded() > self.state.outbox.attempts.recorded;
        self.step(has_news).await?;
        let owed = self.state.outbox.rows.len();
        if owed > 0 {
            tracing::info!(owed, unfinished, "notifications that are delivered after the next start");
        }
        Ok(())
    }

    fn gather_closed(&mut self) {
        while let Ok(submission) = self.inbox.try_recv() {
            self.submitted.push(submission);
        }
    }
}

/// A client for each receiver. Those that trust the system's authorities alone share one.
fn clients(config: &NotifierConfig) -> Result<Vec<Client>, AlertsError> {
    let resolver = CheckedResolver::default();
    let mut known: HashMap<Option<&Path>, Client> = HashMap::new();
    let mut clients = Vec::new();
    for receiver in &config.alerts.receivers {
        let ca_file = receiver.ca_file.as_deref();
        let client = match known.entry(ca_file) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let made = http::client(resolver.clone(), ca_file, config.request_timeout);
                let failed = |reason| AlertsError::Client { receiver: receiver.name.to_string(), reason };
                place.insert(made.map_err(failed)?).clone()
            }
        };
        clients.push(client);
    }
    Ok(clients)
}

fn joined(attempt: Result<Settled, tokio::task::JoinError>) -> Result<Settled, AlertsError> {
    attempt.map_err(|_| AlertsError::Panicked("an attempt to deliver"))
}

/// One line when a receiver begins to fail or recovers, and one for every notification that nobody will get.
fn log_changes(before: &Outbox, after: &Outbox, policies: &[Policy]) {
    for policy in policies {
        let failing =
            |outbox: &Outbox| outbox.health.get(&policy.name).is_some_and(|health| health.is_failing(policy.address));
        let last = after.attempts.newest.iter().rev().find(|attempt| attempt.receiver == policy.name);
        let answer = last.map_or("", |attempt| &attempt.answer);
        match (failing(before), failing(after)) {
            (false, true) => {
                let status = last.and_then(|attempt| attempt.status);
                tracing::warn!(receiver = %policy.name, status, answer, "a receiver does not take notifications; trying again");
            }
            (true, false) => tracing::info!(receiver = %policy.name, "a receiver takes notifications again"),
            _ => {}
        }
    }
    let is_new = |attempt: &&Arc<crate::outbox::attempts::Attempt>| {
        !before.attempts.newest.iter().rev().any(|known| Arc::ptr_eq(known, attempt))
    };
    for attempt in after.attempts.newest.iter().rev().take_while(is_new).take(LINES_MAX) {
        let (receiver, about, answer) = (&attempt.receiver, &attempt.about, &attempt.answer);
        match attempt.result {
            AttemptResult::Delivered => tracing::debug!(%receiver, about, "delivered"),
            AttemptResult::Rejected | AttemptResult::Expired | AttemptResult::Dropped => {
                tracing::error!(%receiver, about, answer, result = attempt.result.as_str(), "a notification was not delivered and will not be");
            }
            _ => {}
        }
    }
}
