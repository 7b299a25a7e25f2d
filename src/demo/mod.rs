//! `shipwake demo`'s shop: a simulated company that ships a release, as a client of the real OTLP ports.
//!
//! - what there is: [`shop`] and [`scenarios`] (data);
//! - what happens: [`simulation`] in ticks, with [`world`] (versions and traffic), [`journey`] (one customer), [`customers`], [`random`];
//! - what it sends: [`telemetry`], [`lines`], [`measurements`], [`instance`]; what it knows: [`truth`], [`truth_file`];
//! - [`run`]: what sends, with sockets and a clock. [`rollout_tool`]: what is told of verdicts, and acts.
//!
//! It never talks to Shipwake's inside: what the page shows has come in through the ports, like everybody's telemetry.

mod customers;
mod instance;
mod journey;
mod lines;
mod measurements;
mod random;
mod rollout_tool;
mod run;
mod scenarios;
mod shop;
mod simulation;
mod telemetry;
mod truth;
mod truth_file;
mod world;

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use crate::load::parse_duration;
use scenarios::{SCENARIOS, Scenario};
use simulation::Play;

pub use customers::KPIS_YAML;
pub use rollout_tool::RolloutTool;
pub use run::run;

/// Options of the shop.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What happens; `--list` tells what there is.
    #[arg(long, env = "SHIPWAKE_DEMO_SCENARIO", default_value = "canary-errors")]
    pub scenario: String,
    /// Seed of everything random: the same seed gives the same shop.
    #[arg(long, env = "SHIPWAKE_DEMO_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Plays the script this many times faster; customers come at the same rate.
    #[arg(long, env = "SHIPWAKE_DEMO_SPEED", default_value_t = 1.0, value_parser = parse_positive)]
    pub speed: f64,
    /// Customers, as a multiple of the usual 73 a second.
    #[arg(long, env = "SHIPWAKE_DEMO_SCALE", default_value_t = 1.0, value_parser = parse_positive)]
    pub scale: f64,
    /// Stop by itself after this time, for example `5m`.
    #[arg(long, env = "SHIPWAKE_DEMO_DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Append what really happened to this file, as JSON lines.
    #[arg(long, env = "SHIPWAKE_DEMO_TRUTH")]
    pub truth: Option<PathBuf>,
    /// List the scenarios.
    #[arg(long)]
    pub list: bool,
}

/// Where the shop sends to, as URLs.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// OTLP/gRPC, for example `http://127.0.0.1:4317`.
    pub otlp_grpc: String,
    /// OTLP/HTTP, for example `http://127.0.0.1:4318`.
    pub otlp_http: String,
}

impl Args {
    fn scenario(&self) -> anyhow::Result<&'static Scenario> {
        match scenarios::find(&self.scenario) {
            Some(scenario) => Ok(scenario),
            None => bail!("there is no scenario `{}`; there are:\n{}", self.scenario, list()),
        }
    }

    fn play(&self, started_ns: u64) -> Play {
        Play { seed: self.seed, speed: self.speed, scale: self.scale, started_ns }
    }
}

/// All scenarios, one a line.
pub fn list() -> String {
    let mut text = String::new();
    for scenario in &SCENARIOS {
        let _ = writeln!(text, "{:<22} {}", scenario.name, scenario.about);
    }
    text
}

/// What to look at and when, for people.
///
/// # Errors
/// When the scenario is unknown; the message lists the known ones.
pub fn describe(args: &Args) -> anyhow::Result<String> {
    let scenario = args.scenario()?;
    let mut text = format!("Scenario {} (seed {}): {}\n{}\n", scenario.name, args.seed, scenario.about, scenario.look);
    let tool = scenario.on_verdict.as_ref().filter(|_| args.speed == 1.0);
    let until_s = tool.map_or(f64::INFINITY, |tool| tool.from_s);
    for step in scenario.steps.iter().filter(|step| !step.say.is_empty() && step.at_s < until_s) {
        let seconds = (step.at_s / args.speed).round() as u64;
        let _ = writeln!(text, "  after {}:{:02}  {}", seconds / 60, seconds % 60, step.say);
    }
    if let Some(tool) = tool {
        let at_go = if tool.promote.is_empty() { "" } else { ", and gives it everybody at GO" };
        let _ = writeln!(
            text,
            "  then         the rollout tool waits for the verdict, by a signed webhook: it rolls {} back at NO-GO{at_go}",
            tool.candidate
        );
    }
    Ok(text)
}

/// Policies that the scenario's release is judged by; empty where the defaults are.
///
/// # Errors
/// When the scenario is unknown.
pub fn policies_yaml(args: &Args) -> anyhow::Result<&'static str> {
    Ok(args.scenario()?.on_verdict.as_ref().map_or("", |on_verdict| on_verdict.policies))
}

/// Whether a rollout tool acts on verdicts: they take as long as they take, so only in a story at its own speed.
///
/// # Errors
/// When the scenario is unknown.
pub fn has_rollout_tool(args: &Args) -> anyhow::Result<bool> {
    Ok(args.speed == 1.0 && args.scenario()?.on_verdict.is_some())
}

/// Versions that come within so many seconds of the first record are those that the shop opens with; the next one comes later in every
/// script.
pub fn settle_s(args: &Args) -> i64 {
    const SCRIPT_S: f64 = 15.0;
    (SCRIPT_S / args.speed) as i64
}

fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 && number <= 10_000.0 => Ok(number),
        _ => Err(format!("`{text}` is not a number above 0 (and not above 10000)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(scenario: &str, speed: f64) -> Args {
        Args { scenario: scenario.to_owned(), seed: 1, speed, scale: 1.0, duration: None, truth: None, list: false }
    }

    #[test]
    fn the_description_says_when_it_happens_at_this_speed() {
        let text = describe(&args("canary-errors", 1.0)).expect("known");
        assert!(text.contains("after 2:00  POST /pay of 2.14.0 begins to fail"), "{text}");
        let text = describe(&args("canary-errors", 4.0)).expect("known");
        assert!(text.contains("after 0:30  POST /pay of 2.14.0 begins to fail"), "{text}");
    }

    #[test]
    fn an_unknown_scenario_lists_the_known_ones() {
        let error = describe(&args("nothing", 1.0)).expect_err("unknown").to_string();
        assert!(error.contains("canary-slow-p99") && error.contains("rollback-works"), "{error}");
    }
}
