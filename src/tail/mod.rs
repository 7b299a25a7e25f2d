//! `shipwake tail`: follows files, and sends every line once.
//!
//! - [`files`]: names, patterns, and what a rotated file is called. [`mark`]: which file is which. [`state`]: what is remembered
//!   on disk; `FORMAT.md` describes it. [`followed`]: one file. [`follow`]: all of them, in rounds. [`recover`]: finds them again
//!   after a stop or a truncation.
//!
//! A round reads from every file, writes down what it is about to send, sends it, and the next round writes down that it was
//! taken. A batch that was about to be sent when the process died is sent again with the same bounds and the same key, so
//! that it counts once. Files are looked at four times a second instead of being watched: that works on every file system,
//! needs no limit of watches to be raised, and a quarter of a second is not what freshness is lost by.

mod files;
mod follow;
mod followed;
mod mark;
mod recover;
mod state;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::send::Target;

/// `shipwake tail`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct TailArgs {
    /// Files, or patterns such as `/var/log/app/*.log`, in quotes. They need not exist yet.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// Where to, and what is said about the lines.
    #[command(flatten)]
    pub target: Target,
    /// Where to begin in a file that is there at the start and was never followed. Files that appear later are read whole.
    #[arg(long, env = "SHIPWAKE_TAIL_FROM", value_enum, default_value_t = From::Start)]
    pub from: From,
    /// Folder that remembers how far each file was delivered. One for each running `shipwake tail`.
    #[arg(long, env = "SHIPWAKE_TAIL_STATE", default_value = "shipwake-tail")]
    pub state: PathBuf,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// With its first line.
    Start,
    /// With what is written from now on.
    End,
}

/// Follows until SIGTERM or Ctrl-C. Exit code 1 when something that was read could not be delivered by then, 2 when Shipwake
/// refused the very first batch.
///
/// # Errors
/// When the state cannot be read or written, or another process uses it.
pub fn run(args: TailArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(follow::run(args))
}
