//! The judge: follows every rollout, judges every release, and says so.
//!
//! A thread of its own reads the recent windows of all shards, here or in other processes: up to four times a second while records come
//! in, and once a second anyway. A change of a word is committed with the judge's state and everything that is owed to receivers in one
//! write, and then shown on the board. What it knows is small and bounded; windows are the store's.
//!
//! - [`windows`]: what is read, by `questions`. `engine`: a look. `case`: one release. `opening`: how it begins. `learn`: what its baseline
//!   says beforehand. `feeding`: what it grows by. `showing`: what people see.
//! - `idle`: versions without a request yet. `clocks`: those whose times cannot be compared. `measured`: sessions, KPIs, log patterns. `words`: which changes are told. `changes`: how.
//! - `audit`: how often it would have been wrong. [`kayenta`]: what another judge would have said.
//! - [`replay`]: past releases, judged again.
//! - `notices`: what people and tools announce. `state`: what is kept between starts, with `audit_bytes`.

mod audit;
mod audit_bytes;
mod case;
mod changes;
mod clocks;
mod engine;
mod feeding;
mod idle;
pub mod kayenta;
mod learn;
mod measured;
mod metrics;
mod notices;
mod opening;
mod questions;
pub mod replay;
mod showing;
mod state;
#[cfg(test)]
mod tests;
pub mod windows;
mod words;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;

use crate::board::Publisher;
use crate::clock::Clock;
use crate::error::{AlertsError, SubmitError};
use crate::handle::Handle;
use engine::Engine;
pub use engine::JudgeConfig;
use metrics::Metrics;
use windows::{Windows, completeness};

/// How often it is asked whether something came.
const GLANCE: Duration = Duration::from_millis(250);
/// A look comes at least so often, ms.
const LOOK_EVERY_MS: i64 = 1_000;
/// What is known is kept at least so often while releases are judged, ms; a restart takes up what came since from the windows.
const KEEP_EVERY_MS: i64 = 60_000;
/// A board without anything new is shown so often, so that readers see that the judge is there, ms.
const SHOW_EVERY_MS: i64 = 5_000;
/// What is known is kept so often while there are no open releases, ms.
const KEEP_QUIET_EVERY_MS: i64 = 600_000;

/// Why the judge cannot do its work at the moment, if so. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// The reason.
    pub fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// See the module.
pub struct Judge {
    engine: Engine,
    windows: Box<dyn Windows>,
    clock: Clock,
    notifier: Handle,
    board: Publisher,
    metrics: Metrics,
    trouble: Trouble,
    looked_ms: i64,
    shown_ms: i64,
    kept_ms: i64,
    folded: u64,
    /// Changes that are not committed yet.
    owed: Vec<crate::change::Change>,
}

impl Judge {
    /// A judge that goes on from what it kept: `kept` is the notifier's caller state.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn open(
        config: JudgeConfig,
        kept: &[u8],
        windows: impl Windows + 'static,
        clock: Clock,
        notifier: Handle,
        board: Publisher,
        registry: &mut Registry,
    ) -> Result<Judge, AlertsError> {
        let engine = state::decode(kept, config).map_err(AlertsError::Damaged)?;
        Ok(Judge {
            engine,
            windows: Box::new(windows),
            clock,
            notifier,
            board,
            metrics: Metrics::new(registry),
            trouble: Trouble::default(),
            looked_ms: i64::MIN,
            shown_ms: i64::MIN,
            kept_ms: clock.now_ms(),
            folded: 0,
            owed: Vec::new(),
        })
    }

    /// Tells why it cannot do its work.
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Judges until `stop`, in a thread of its own: a look may block on other processes. What is known is kept at the end.
    ///
    /// # Errors
    /// When there is no thread, or nothing can be committed any more.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), AlertsError> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        let runtime = Runtime::current();
        let spawned = std::thread::Builder::new().name("judge".to_owned()).spawn(move || {
            let ended = self.work(&runtime, &stop);
            let _ = done.send(ended);
        });
        spawned.map_err(|_| AlertsError::Panicked("starting the judge's thread"))?;
        outcome.await.unwrap_or(Err(AlertsError::Panicked("the judge")))
    }

    fn work(&mut self, runtime: &Runtime, stop: &CancellationToken) -> Result<(), AlertsError> {
        self.publish(self.clock.time_of_day_ms(), true);
        while !stop.is_cancelled() {
            let now_ms = self.clock.time_of_day_ms();
            if self.is_due(now_ms) {
                self.look(runtime, now_ms)?;
            }
            runtime.block_on(async { tokio::time::timeout(GLANCE, stop.cancelled()).await.is_ok() });
        }
        self.commit(runtime, self.clock.time_of_day_ms()).map(|_| ())
    }

    /// Whether records came since the last look, or it was long ago.
    fn is_due(&mut self, now_ms: i64) -> bool {
        if now_ms >= self.looked_ms.saturating_add(LOOK_EVERY_MS) || now_ms < self.looked_ms {
            return true;
        }
        let folded = completeness(&self.windows.status(), false).folded;
        self.engine.open_releases() > 0 && folded != self.folded
    }

    fn look(&mut self, runtime: &Runtime, now_ms: i64) -> Result<(), AlertsError> {
        let began = Instant::now();
        self.looked_ms = now_ms;
        self.folded = completeness(&self.windows.status(), false).folded;
        let looked = self.engine.look(&*self.windows, now_ms);
        let (open, many) = (self.engine.open_releases(), looked.changes.len());
        self.metrics.looked(began.elapsed().as_secs_f64(), open, looked.unjudged, many);
        for change in &looked.changes {
            let ending = change.ending.map_or("", |ending| ending.title());
            tracing::info!(release = %change.release, from = change.from.as_str(), to = change.to.as_str(), ending, summary = change.summary, "verdict");
        }
        self.owed.extend(looked.changes);
        let keep_every_ms = if open > 0 { KEEP_EVERY_MS } else { KEEP_QUIET_EVERY_MS };
        if !self.owed.is_empty() || now_ms >= self.kept_ms.saturating_add(keep_every_ms) {
            self.commit(runtime, now_ms)?;
        }
        if looked.is_new || many > 0 || now_ms >= self.shown_ms.saturating_add(SHOW_EVERY_MS) {
            self.publish(now_ms, looked.is_new || many > 0);
        }
        Ok(())
    }

    /// Commits the changes with what is known. What cannot be committed now is tried again at the next look.
    fn commit(&mut self, runtime: &Runtime, now_ms: i64) -> Result<bool, AlertsError> {
        let bytes = state::encode(&self.engine);
        self.metrics.kept(bytes.len());
        match runtime.block_on(self.notifier.submit(self.owed.clone(), Some(bytes))) {
            Ok(()) => {
                self.owed.clear();
                self.kept_ms = now_ms;
                self.trouble.set(None);
                Ok(true)
            }
            // The notifier says why; without it nothing can be told, and the program ends.
            Err(SubmitError::Ended) => Ok(false),
            Err(error) => {
                self.trouble.set(Some(format!("verdicts cannot be kept: {error}")));
                Ok(false)
            }
        }
    }

    fn publish(&mut self, now_ms: i64, is_new: bool) {
        self.shown_ms = now_ms;
        let board = self.engine.board(now_ms, is_new);
        self.metrics.show(&board);
        self.metrics.audited(&board);
        self.board.publish(board);
    }
}

/// Looks without a thread, a clock, or anybody who is told: for measuring what one costs.
#[derive(Debug)]
pub struct Looks(Engine);

impl Looks {
    /// A judge that knows nothing yet.
    pub fn new(config: JudgeConfig) -> Looks {
        Looks(Engine::new(config))
    }

    /// One look.
    pub fn look(&mut self, windows: &dyn Windows, now_ms: i64) {
        self.0.look(windows, now_ms);
    }

    /// How many releases are judged.
    pub fn open_releases(&self) -> usize {
        self.0.open_releases()
    }

    /// How many checks the first of them has.
    pub fn checks(&self) -> usize {
        self.0.cases.first().map_or(0, |case| case.main.comparison.checks().len())
    }
}
