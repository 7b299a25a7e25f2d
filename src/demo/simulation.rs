//! The shop in motion: time goes on in ticks of a tenth of a second; each tick plays what the script says, lets customers
//! come, and lets exporters send. Pure: the same seed, script and start time give the same requests, byte for byte.
//!
//! A shop may have a past: it was open for a while before the script begins, with the same customers, and nothing happened. Its past has
//! chance of its own, so that the script's does not depend on how long the past took.

use serde_json::{Value, json};

use super::instance::{Instance, Outgoing};
use super::journey::journey;
use super::lines;
use super::random::Chance;
use super::scenarios::{Act, Fault, Scenario, Step};
use super::shop::{ENTRANCES, SERVICES, WEB, service_index};
use super::telemetry::{emit, log_record};
use super::truth::{self, Tally};
use super::world::{World, step_service};

/// Length of a tick.
pub const TICK_NS: u64 = 100_000_000;
/// Exporters send once in a second, a quarter of them at a time: the journal can commit what arrives together in one go.
const TICKS_PER_SECOND: u64 = 10;
const EXPORT_TICKS: [u64; 4] = [0, 2, 5, 7];
/// Seconds between exports of metrics.
const METRICS_EVERY_S: u64 = 10;
/// In a past, exporters hold what they have for so long: fewer requests with the same records in them.
const PAST_EXPORT_TICKS: u64 = 200;
/// The last of it is sent as everything after it is: how far requests lie behind the newest event tells Shipwake how long it has to wait
/// for others, and nobody shall wait for a past.
const PAST_LIKE_LIVE_NS: u64 = 120_000_000_000;
/// Another stream of chance for the past.
const PAST_SEED: u64 = 0x5048_4f50_5041_5354;
/// Lines of an instance that is only alive, per second.
const HEARTBEATS_PER_SECOND: f64 = 0.1;

/// How a shop is played.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    /// Seed of all chance.
    pub seed: u64,
    /// Script seconds per second.
    pub speed: f64,
    /// Customers, as a multiple of the shop's own rates.
    pub scale: f64,
    /// When its script begins, nanoseconds since the epoch; about then, where it has a past.
    pub started_ns: u64,
    /// How long it has been open by then, nanoseconds.
    pub past_ns: u64,
}

/// The running shop.
pub struct Simulation {
    scenario: &'static Scenario,
    play: Play,
    chance: Chance,
    world: World,
    instances: Vec<Option<Instance>>,
    /// What is played: the script, and what was decided about releases in it.
    tracks: Vec<Track>,
    /// Services whose steps of the script are left to somebody else, from a second on.
    left_out: Vec<(&'static str, f64)>,
    /// When it opened.
    opened_ns: u64,
    /// The script's chance, while its past is played.
    script_chance: Option<Chance>,
    tick: u64,
}

/// Steps that are played.
struct Track {
    steps: &'static [Step],
    /// When they began.
    from_ns: u64,
    next: usize,
}

/// What a tick brings forth.
#[derive(Default)]
pub struct Ticked {
    /// Requests that leave now.
    pub outgoing: Vec<Outgoing>,
    /// Lines about steps of the script for the truth.
    pub events: Vec<String>,
    /// Instances that sent for the last time.
    pub gone: Vec<usize>,
}

impl Simulation {
    /// A shop in which everything runs and nothing has happened. Where it has a past, that is played until [`Simulation::begin_script`].
    pub fn new(scenario: &'static Scenario, play: Play) -> Self {
        let opened_ns = play.started_ns - play.past_ns;
        let mut simulation = Self {
            scenario,
            play,
            chance: Chance::new(play.seed),
            world: World::new(),
            instances: Vec::new(),
            tracks: vec![Track { steps: scenario.steps, from_ns: play.started_ns, next: 0 }],
            left_out: Vec::new(),
            opened_ns,
            script_chance: None,
            tick: 0,
        };
        for (service, data) in SERVICES.iter().enumerate() {
            simulation.start(service, data.version, data.instances, opened_ns);
            simulation.world.apply(service, Act::Share { version: data.version, percent: 100.0 });
        }
        if play.past_ns > 0 {
            let of_past = Chance::new(play.seed ^ PAST_SEED);
            simulation.script_chance = Some(std::mem::replace(&mut simulation.chance, of_past));
        }
        simulation
    }

    /// The past is over: the script begins with the next tick.
    pub fn begin_script(&mut self) {
        if let Some(chance) = self.script_chance.take() {
            self.chance = chance;
            self.tracks[0].from_ns = self.now_ns();
        }
    }

    /// The time at which the next tick is over and [`Simulation::advance`] may be called: nothing is ever sent ahead of time.
    pub fn due_ns(&self) -> u64 {
        self.now_ns() + TICK_NS
    }

    fn now_ns(&self) -> u64 {
        self.opened_ns + self.tick * TICK_NS
    }

    /// Plays the next tick.
    pub fn advance(&mut self) -> Ticked {
        let begin_ns = self.now_ns();
        let mut ticked = Ticked::default();
        self.play_steps(begin_ns, &mut ticked);
        self.customers_come(begin_ns);
        self.instances_live(begin_ns);
        self.export(begin_ns + TICK_NS, &mut ticked);
        self.tick += 1;
        ticked
    }

    /// The script's steps that concern a service are left to somebody else, from this second on.
    pub fn leave_out(&mut self, service: &'static str, from_s: f64) {
        self.left_out.push((service, from_s));
    }

    /// Seconds of script time that have passed.
    pub fn script_s(&self) -> f64 {
        self.now_ns().saturating_sub(self.tracks[0].from_ns) as f64 / 1e9 * self.play.speed
    }

    /// The script ends here for a service, and these steps are played instead, counted from now on.
    pub fn play_instead(&mut self, service: &'static str, steps: &'static [Step]) {
        self.leave_out(service, f64::NEG_INFINITY);
        self.tracks.push(Track { steps, from_ns: self.now_ns(), next: 0 });
    }

    /// Lets every instance send what it still holds, as at a clean end.
    pub fn finish(&mut self) -> Ticked {
        let now_ns = self.now_ns();
        let mut ticked = Ticked::default();
        for (index, slot) in self.instances.iter_mut().enumerate() {
            if let Some(instance) = slot {
                instance.export_buffers(index, &mut ticked.outgoing);
                instance.measure(now_ns);
                instance.export_metrics(index, &mut ticked.outgoing);
            }
        }
        ticked
    }

    fn play_steps(&mut self, now_ns: u64, ticked: &mut Ticked) {
        if self.script_chance.is_some() {
            return;
        }
        for track in 0..self.tracks.len() {
            while let Some(step) = self.due_step(track, now_ns) {
                let is_left_out = |(service, from_s): &(&str, f64)| *service == step.service && step.at_s >= *from_s;
                if track > 0 || !self.left_out.iter().any(is_left_out) {
                    self.play_step(step, now_ns, ticked);
                }
            }
        }
    }

    fn due_step(&mut self, track: usize, now_ns: u64) -> Option<&'static Step> {
        let track = &mut self.tracks[track];
        let script_s = (now_ns - track.from_ns) as f64 / 1e9 * self.play.speed;
        let step = track.steps.get(track.next).filter(|step| step.at_s <= script_s)?;
        track.next += 1;
        Some(step)
    }

    fn play_step(&mut self, step: &Step, now_ns: u64, ticked: &mut Ticked) {
        let service = step_service(step.service);
        let moves = self.world.apply(service, step.act);
        if let Some((version, instances)) = moves.start {
            self.start(service, version, instances, now_ns);
        }
        for instance in moves.stop {
            if let Some(Some(instance)) = self.instances.get_mut(instance) {
                instance.stopped = true;
            }
        }
        self.world.settled(service, step.act);
        ticked.events.push(truth::event_line(now_ns, step.service, &act_details(step.act), step.say));
    }

    fn start(&mut self, service: usize, version: &'static str, instances: u32, now_ns: u64) {
        let versioned = !self.scenario.unversioned.contains(&SERVICES[service].name);
        for _ in 0..instances {
            let identity = self.chance.bits();
            self.world.joined(service, version, self.instances.len());
            self.instances.push(Some(Instance::new(service, version, versioned, identity, now_ns)));
        }
    }

    /// Customers' requests end within the tick, at a random moment of it, so that nothing lies in the future.
    fn customers_come(&mut self, begin_ns: u64) {
        let web = service_index(WEB).expect("customers reach a service of the shop");
        let tide = tide(begin_ns as f64 / 1e9 - self.play.started_ns as f64 / 1e9);
        let tide = tide * self.play.scale * TICK_NS as f64 / 1e9;
        for entrance in &ENTRANCES {
            for _ in 0..self.chance.poisson(entrance.per_second * tide) {
                let end_ns = begin_ns + self.chance.below(TICK_NS / 1_000) * 1_000;
                if let Some(journey) = journey(&self.world, &mut self.chance, web, entrance.route) {
                    emit(&journey, end_ns, &mut self.instances, &mut self.chance);
                }
            }
        }
    }

    fn instances_live(&mut self, begin_ns: u64) {
        for instance in self.instances.iter_mut().flatten() {
            let moved = self.chance.below(512 << 10) as i64 - (256 << 10);
            instance.measurements.memory_moves(moved);
            if self.chance.happens(HEARTBEATS_PER_SECOND / TICKS_PER_SECOND as f64) {
                let line = lines::heartbeat(&mut self.chance);
                let record = log_record(&line, SERVICES[instance.release.service].language, begin_ns);
                instance.log(record, Tally::Log { time_ns: begin_ns, level: line.level });
            }
        }
    }

    fn export(&mut self, now_ns: u64, ticked: &mut Ticked) {
        let (second, tick) = (self.tick / TICKS_PER_SECOND, self.tick % TICKS_PER_SECOND);
        let holds = now_ns + PAST_LIKE_LIVE_NS < self.play.started_ns;
        for (index, slot) in self.instances.iter_mut().enumerate() {
            let Some(instance) = slot else { continue };
            let is_turn = tick == EXPORT_TICKS[index % EXPORT_TICKS.len()];
            let is_measured = is_turn && (second + index as u64).is_multiple_of(METRICS_EVERY_S);
            if instance.stopped || is_measured {
                instance.measure(now_ns);
            }
            let is_full = (self.tick + 7 * index as u64).is_multiple_of(PAST_EXPORT_TICKS);
            if instance.stopped || (if holds { is_full } else { is_turn }) {
                instance.export_buffers(index, &mut ticked.outgoing);
                instance.export_metrics(index, &mut ticked.outgoing);
            }
            if instance.stopped {
                *slot = None;
                ticked.gone.push(index);
            }
        }
    }
}

/// Customers come in waves: a slow one of four minutes and a quick one of half a minute.
fn tide(seconds: f64) -> f64 {
    let wave = |period_s: f64| (std::f64::consts::TAU * seconds / period_s).sin();
    1.0 + 0.12 * wave(240.0) + 0.05 * wave(31.0)
}

/// A step as the truth tells it.
fn act_details(act: Act) -> Value {
    match act {
        Act::Start { version, instances } => json!({"act": "start", "version": version, "instances": instances}),
        Act::Share { version, percent } => json!({"act": "share", "version": version, "percent": percent}),
        Act::Replace { old, new } => json!({"act": "replace", "old": old, "new": new}),
        Act::Stop { version } => json!({"act": "stop", "version": version}),
        Act::GoWrong { version, route, fault: Fault::Errors { ratio } } => {
            json!({"act": "errors", "version": version, "route": route, "ratio": ratio})
        }
        Act::GoWrong { version, route, fault: Fault::SlowTail { above_ms, factor } } => {
            json!({"act": "slow_tail", "version": version, "route": route, "above_ms": above_ms, "factor": factor})
        }
    }
}

#[cfg(test)]
mod tests;
