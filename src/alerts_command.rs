//! `shipwake alerts`: checks a file of receivers, and tries them out. Needs no running Shipwake.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use shipwake_alerts::outbox::attempts::{Answer, Outcome};
use shipwake_alerts::{AlertsConfig, Receiver, config_file, http, trial};

use crate::app;
use crate::cli::{AlertsArgs, AlertsCommand, AlertsTestArgs};

/// Runs it.
///
/// # Errors
/// When the file is not valid, or names no such receiver.
pub fn run(command: AlertsCommand) -> anyhow::Result<ExitCode> {
    match command {
        AlertsCommand::Check(AlertsArgs { file }) => check(&file),
        AlertsCommand::Test(args) => app::runtime()?.block_on(test(args)),
    }
}

fn check(file: &Path) -> anyhow::Result<ExitCode> {
    let config = load(file)?;
    for warning in config_file::warnings(&config) {
        println!("warning: {warning}");
    }
    println!("{} receivers, valid", config.receivers.len());
    Ok(ExitCode::SUCCESS)
}

async fn test(args: AlertsTestArgs) -> anyhow::Result<ExitCode> {
    let config = load(&args.file)?;
    let is_asked =
        |receiver: &&Receiver| args.receivers.is_empty() || args.receivers.contains(&receiver.name.to_string());
    if let Some(unknown) =
        args.receivers.iter().find(|name| !config.receivers.iter().any(|known| *known.name == **name))
    {
        bail!("there is no receiver {unknown} in {}", args.file.display());
    }
    let mut outcome = ExitCode::SUCCESS;
    for receiver in config.receivers.iter().filter(is_asked) {
        let answer = trial::try_out(&config, receiver, http::REQUEST_TIMEOUT).await;
        let answer = answer.map_err(|problem| anyhow!("receiver {}: {problem}", receiver.name))?;
        println!("{}: {}", receiver.name, said(&answer));
        if answer.outcome != Outcome::Delivered {
            outcome = ExitCode::FAILURE;
        }
    }
    Ok(outcome)
}

fn said(answer: &Answer) -> String {
    let what = match answer.outcome {
        Outcome::Delivered => "taken",
        Outcome::Busy(_) => "not taken: told to slow down",
        Outcome::Failed(_) => "not taken",
        Outcome::Rejected => "refused",
        Outcome::Gone => "gone for good at this address",
    };
    let status = answer.status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
    let text = answer.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    format!("{what} ({status} after {} ms) {text}", answer.took_ms).trim_end().to_owned()
}

fn load(file: &Path) -> anyhow::Result<AlertsConfig> {
    config_file::load(file).map_err(|problems| anyhow!("the receivers cannot be used:\n  {}", problems.join("\n  ")))
}
