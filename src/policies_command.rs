//! `shipwake policies`: checks a file of policies. Needs no running Shipwake.

use std::process::ExitCode;

use anyhow::anyhow;
use shipwake_alerts::policies;

use crate::cli::{PoliciesArgs, PoliciesCommand};

/// Runs it.
///
/// # Errors
/// When the file is not valid, with every problem.
pub fn run(command: PoliciesCommand) -> anyhow::Result<ExitCode> {
    let PoliciesCommand::Check(PoliciesArgs { file }) = command;
    let policies = policies::file::load(&file)
        .map_err(|problems| anyhow!("the policies cannot be used:\n  {}", problems.join("\n  ")))?;
    println!("{} policies besides the default, valid", policies.rules.len());
    Ok(ExitCode::SUCCESS)
}
