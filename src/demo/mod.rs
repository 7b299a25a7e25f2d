//! `shipwake demo`'s shop: a simulated company that ships a release, as a client of the real OTLP ports.
//!
//! - what there is: [`shop`] and [`scenarios`] (data);
//! - what happens: [`simulation`] in ticks, with [`world`] (versions and traffic), [`journey`] (one customer), [`customers`], [`random`];
//! - what it sends: [`telemetry`], [`lines`], [`measurements`], [`instance`]; what it knows: [`truth`], [`truth_file`];
//! - [`run`]: what plays and sends, with a clock. [`sending`]: sockets. [`rollout_tool`]: what is told of verdicts, and acts.
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
mod sending;
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
use scenarios::{SCENARIOS, Scenario, Step};
use simulation::Play;

pub use customers::KPIS_YAML;
pub use rollout_tool::RolloutTool;
pub use run::Opened;

/// How long the shop has been open: releases are judged by the hour before them. A quarter of it tells durations, noise and how long bursts
/// last, and is sent in a few seconds (7 s of CPU time).
const PAST: Duration = Duration::from_secs(900);

/// Options of the shop.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What happens; `--list` tells what there is.
    #[arg(long, env = "SHIPWAKE_DEMO_SCENARIO", default_value = "two-releases")]
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
    /// How long the shop has been open when the script begins: what it did until then is sent first, by which releases are judged. A
    /// quarter of an hour unless it is said, and nothing into a folder that has data.
    #[arg(long, env = "SHIPWAKE_DEMO_PAST", value_parser = parse_past)]
    pub past: Option<Duration>,
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
        let past_ns = self.past.unwrap_or(PAST).as_nanos() as u64;
        Play { seed: self.seed, speed: self.speed, scale: self.scale, started_ns, past_ns }
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
    let tools = if args.speed == 1.0 { scenario.on_verdict } else { &[] };
    let is_tools = |step: &Step| tools.iter().any(|tool| tool.service == step.service && step.at_s >= tool.from_s);
    for step in scenario.steps.iter().filter(|step| !step.say.is_empty() && !is_tools(step)) {
        let seconds = (step.at_s / args.speed).round() as u64;
        let _ = writeln!(text, "  after {}:{:02}  {}", seconds / 60, seconds % 60, step.say);
    }
    if !tools.is_empty() {
        let _ = writeln!(text, "  then         the rollout tool waits for verdicts, by a signed webhook:");
    }
    for tool in tools {
        let at_go = if tool.promote.is_empty() { "" } else { ", and gives it everybody at GO" };
        let _ = writeln!(text, "               it rolls {} {} back at NO-GO{at_go}", tool.service, tool.candidate);
    }
    Ok(text)
}

/// Policies that the scenario's release is judged by; empty where the defaults are.
///
/// # Errors
/// When the scenario is unknown.
pub fn policies_yaml(args: &Args) -> anyhow::Result<&'static str> {
    Ok(args.scenario()?.policies)
}

/// Whether a rollout tool acts on verdicts: they take as long as they take, so only in a story at its own speed.
///
/// # Errors
/// When the scenario is unknown.
pub fn has_rollout_tool(args: &Args) -> anyhow::Result<bool> {
    Ok(args.speed == 1.0 && !args.scenario()?.on_verdict.is_empty())
}

/// Versions that come within so many seconds of the first record are those that the shop opens with; the next one comes later in every
/// script.
pub fn settle_s(args: &Args) -> i64 {
    const SCRIPT_S: f64 = 15.0;
    (SCRIPT_S / args.speed) as i64
}

/// A past that can still be judged by: what is older is in no window.
fn parse_past(text: &str) -> Result<Duration, String> {
    const PAST_MAX: Duration = Duration::from_secs(12 * 3_600);
    let past = parse_duration(text)?;
    if past > PAST_MAX { Err(format!("`{text}` is more than 12h")) } else { Ok(past) }
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
        Args {
            scenario: scenario.to_owned(),
            seed: 1,
            speed,
            scale: 1.0,
            past: None,
            duration: None,
            truth: None,
            list: false,
        }
    }

    #[test]
    fn the_description_says_when_it_happens_at_this_speed() {
        let text = describe(&args("canary-errors", 1.0)).expect("known");
        assert!(text.contains("after 2:00  POST /pay of 2.14.0 begins to fail"), "{text}");
        let text = describe(&args("canary-errors", 4.0)).expect("known");
        assert!(text.contains("after 0:30  POST /pay of 2.14.0 begins to fail"), "{text}");
    }

    #[test]
    fn what_a_tool_does_is_told_where_one_acts() {
        let text = describe(&args("two-releases", 1.0)).expect("known");
        assert!(text.contains("after 0:05  catalog 5.1.0 starts"), "{text}");
        assert!(text.contains("it rolls catalog 5.1.0 back at NO-GO, and gives it everybody at GO"), "{text}");
        assert!(!describe(&args("two-releases", 2.0)).expect("known").contains("rollout tool"));
        // What is left to the tool is no part of the time line.
        assert!(!describe(&args("canary-good", 1.0)).expect("known").contains("gets all traffic"));
    }

    #[test]
    fn a_past_has_an_end() {
        assert_eq!(parse_past("15m"), Ok(PAST));
        assert_eq!(parse_past("0s"), Ok(Duration::ZERO));
        assert!(parse_past("13h").is_err() && parse_past("long").is_err());
    }

    #[test]
    fn an_unknown_scenario_lists_the_known_ones() {
        let error = describe(&args("nothing", 1.0)).expect_err("unknown").to_string();
        assert!(error.contains("canary-slow-p99") && error.contains("rollback-works"), "{error}");
    }
}
