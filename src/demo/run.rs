//! The shop's shell: plays the simulation, its past as fast as that can be sent and then in real time, tells the sockets what to send,
//! and writes down what was acknowledged.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::rollout_tool::Decision;
use super::scenarios::{OnVerdict, Scenario, Step};
use super::sending::{Room, Shop};
use super::simulation::Simulation;
use super::truth_file::TruthFile;
use super::{Args, Endpoints, rollout_tool, truth};
use crate::load::wall_ns;

const TRUTH_EVERY: Duration = Duration::from_secs(1);
/// A past that takes longer than this to send is cut short: a slow machine catches up while the script is played.
const PAST_WITHIN: Duration = Duration::from_secs(60);

/// A shop that is open: what it did before its script is sent and acknowledged.
pub struct Opened {
    scenario: &'static Scenario,
    simulation: Simulation,
    shop: Shop,
    /// How long it is played, where that is said.
    duration: Option<Duration>,
    truth_due: Instant,
}

impl Opened {
    /// Opens the shop and sends its past, unless `shutdown` comes first.
    ///
    /// # Errors
    /// When the scenario is unknown, an endpoint is no URL, or the truth file cannot be written.
    pub async fn open(args: Args, endpoints: Vec<Endpoints>, shutdown: &CancellationToken) -> anyhow::Result<Opened> {
        let scenario = args.scenario()?;
        let started_ns = wall_ns();
        let start_line = truth::start_line(scenario.name, args.seed, args.speed, started_ns);
        let truth_file = args.truth.as_deref().map(|path| TruthFile::open(path, &start_line)).transpose()?;
        let mut opened = Opened {
            scenario,
            simulation: Simulation::new(scenario, args.play(started_ns)),
            shop: Shop::new(endpoints, truth_file),
            duration: args.duration,
            truth_due: Instant::now() + TRUTH_EVERY,
        };
        let begun = Instant::now();
        // Until it has caught up with the clock: sending takes a while, too.
        while opened.simulation.due_ns() <= wall_ns() && begun.elapsed() < PAST_WITHIN && !shutdown.is_cancelled() {
            opened.tick(Room::Wait).await?;
        }
        opened.shop.all_waited_for().await;
        opened.simulation.begin_script();
        Ok(opened)
    }

    /// Plays the script until `shutdown`, or for `--duration`. What the rollout tool decides ends the script of a service.
    ///
    /// # Errors
    /// When the truth file cannot be written.
    pub async fn play(
        mut self,
        mut decisions: Option<Receiver<Decision>>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut undecided: Vec<&OnVerdict> = self.scenario.on_verdict.iter().filter(|_| decisions.is_some()).collect();
        for on_verdict in &undecided {
            self.simulation.leave_out(on_verdict.service, on_verdict.from_s);
        }
        let (started, started_ns) = (Instant::now(), wall_ns());
        let end = self.duration.map(|duration| started + duration);
        while end.is_none_or(|end| Instant::now() < end) {
            let tick_due = started + Duration::from_nanos(self.simulation.due_ns().saturating_sub(started_ns));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep_until(tick_due.into()) => {}
            }
            let told = decisions.as_mut().and_then(|decisions| decisions.try_recv().ok());
            let script_s = self.simulation.script_s();
            undecided.retain(|on_verdict| match steps_after(on_verdict, told.as_ref(), script_s) {
                Some(steps) => {
                    self.simulation.play_instead(on_verdict.service, steps);
                    false
                }
                None => true,
            });
            self.tick(Room::Drop).await?;
        }
        let last = self.simulation.finish();
        self.shop.send(last, Room::Drop).await?;
        self.shop.close().await
    }

    async fn tick(&mut self, room: Room) -> anyhow::Result<()> {
        let ticked = self.simulation.advance();
        self.shop.send(ticked, room).await?;
        if Instant::now() >= self.truth_due {
            self.truth_due = Instant::now() + TRUTH_EVERY;
            self.shop.write_truth().await?;
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenarios;

    #[test]
    fn the_tool_acts_on_the_release_that_is_rolled_out_and_a_person_ends_the_story() {
        let of = |name: &str| scenarios::find(name).and_then(|scenario| scenario.on_verdict.first()).expect("a canary");
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
