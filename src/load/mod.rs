//! `shipwake load`: an open-loop generator with an oracle, and the judge that compares the oracle with what Shipwake
//! answers.
//!
//! - sending: [`schedule`] (what is due when), [`content`] and [`records`] (what a record holds), [`template`] (requests at
//!   little cost), [`wire`] (sockets, answers, repeats), [`generate`] (the tasks), [`stats`] (the report);
//! - judging: [`oracle`] and [`oracle_file`] (what was acknowledged), [`check`] and [`search`] (questions), [`judge`], [`payload`] and
//!   [`comparisons`] (verdicts);
//! - freshness: [`probe`], [`histogram_text`].
//!
//! Knows the server only from outside: OTLP in, SQL and `/metrics` out.

mod args;
mod check;
mod comparisons;
mod content;
mod generate;
mod histogram_text;
mod judge;
mod oracle;
mod oracle_file;
mod payload;
mod probe;
mod records;
mod schedule;
mod search;
mod sql;
mod stats;
mod template;
pub mod wire;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use args::{Args, parse_duration};
pub use generate::wall_ns;

use args::LoadCommand;

/// Runs `shipwake load`. The exit code is 0 when all is well; 1 when the judge found a difference, or when the generator
/// could not get a single record acknowledged.
///
/// # Errors
/// When options make no sense, a file cannot be used, or (for the judge) Shipwake does not answer.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start the runtime")?;
    runtime.block_on(async {
        match args.command {
            Some(LoadCommand::Check(check_args)) => {
                let answer = check::run(&check_args).await?;
                print(&answer, check_args.json, check::text)?;
                Ok(exit_code(answer["ok"] == true))
            }
            None => {
                let stop = CancellationToken::new();
                tokio::spawn(cancel_on_signal(stop.clone()));
                let summary = generate::run(&args.generate, stop).await?;
                print(&summary, args.generate.json, stats::summary_text)?;
                Ok(exit_code(summary["acked_records"].as_u64().unwrap_or(0) > 0))
            }
        }
    })
}

/// Ctrl-C or SIGTERM ends a run early: nothing new is sent, answers are waited for, the summary is printed.
async fn cancel_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    stop.cancel();
    Ok(())
}

fn print(answer: &Value, json: bool, text: fn(&Value) -> String) -> anyhow::Result<()> {
    let text = if json { format!("{answer:#}\n") } else { text(answer) };
    std::io::stdout().lock().write_all(text.as_bytes()).context("failed to print")
}

fn exit_code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
