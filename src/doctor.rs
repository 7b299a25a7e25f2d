//! `shipwake doctor`: reads a whole data folder while no Shipwake runs on it, and names every damaged file and offset.
//! Changes nothing.

use std::process::ExitCode;

use anyhow::{Context, bail};
use shipwake_journal::embedded::check;
use shipwake_store::Severity;

use crate::app::{journal_dir, store_dir};
use crate::cli::DoctorArgs;

/// Runs the check. Exit code 0 when nothing was found, 1 with a line for each finding.
///
/// # Errors
/// When there is no such folder or it cannot be read.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    if !args.data.is_dir() {
        bail!("{} is not a folder", args.data.display());
    }
    let journal = check(&journal_dir(&args.data)).context("failed to read the journal")?;
    let store = shipwake_store::check(&store_dir(&args.data));
    for finding in &journal {
        let severity = if finding.harmless { "note" } else { "error" };
        println!("{severity}: {}: offset {}: {}", finding.path.display(), finding.offset, finding.reason);
    }
    for finding in &store {
        println!("{finding}");
    }
    let damage = journal.iter().filter(|finding| !finding.harmless).count()
        + store.iter().filter(|finding| finding.severity > Severity::Note).count();
    if damage == 0 {
        println!("{}: nothing is damaged", args.data.display());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}: {damage} of the findings are damage", args.data.display());
    Ok(ExitCode::from(1))
}
