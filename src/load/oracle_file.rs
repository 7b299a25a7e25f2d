//! The oracle's file: lines go to the kernel at once, so that they outlive this process, and to the disk every second.
//!
//! A line lost to a power cut is an outcome nobody knows, which the judge allows for.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;

/// An open oracle file.
pub struct OracleFile {
    file: Mutex<File>,
    /// The same file, so that a sync does not hold up the writers.
    sync: File,
}

impl OracleFile {
    /// Creates the file with its first line.
    ///
    /// # Errors
    /// When it exists already, or cannot be written.
    pub fn create(path: &Path, header: &str) -> anyhow::Result<Self> {
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .with_context(|| format!("failed to create the oracle file {}", path.display()))?;
        file.write_all(header.as_bytes()).context("failed to write the oracle")?;
        let sync = file.try_clone().context("failed to open the oracle twice")?;
        sync.sync_all().context("failed to sync the oracle")?;
        Ok(Self { file: Mutex::new(file), sync })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When the disk does not take it: the run cannot be judged any more.
    pub fn append(&self, line: &str) -> anyhow::Result<()> {
        let mut file = self.file.lock().expect("no holder of the oracle panics");
        file.write_all(line.as_bytes()).context("failed to write the oracle")
    }

    /// Brings everything appended so far to the disk. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> anyhow::Result<()> {
        self.sync.sync_data().context("failed to sync the oracle")
    }
}
