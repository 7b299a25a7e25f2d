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
    let count = policies.rules.len();
    println!("{count} {} besides the default, valid", if count == 1 { "policy" } else { "policies" });
    Ok(ExitCode::SUCCESS)
}
