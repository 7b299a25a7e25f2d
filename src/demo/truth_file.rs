//! The truth's file: lines are appended, and synced every few writes and at the end, so that a test can compare while the
//! shop runs and after it ended.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// An open truth file.
pub struct TruthFile {
    file: File,
}

impl TruthFile {
    /// Opens the file and adds the first line of this run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path, start_line: &str) -> anyhow::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let mut truth =
            Self { file: file.with_context(|| format!("failed to open the truth file {}", path.display()))? };
        truth.append(&[start_line.to_owned()])?;
        Ok(truth)
    }

    /// Adds lines in one write and brings them to the disk. Blocks.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn append(&mut self, lines: &[String]) -> anyhow::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = lines.join("\n");
        text.push('\n');
        self.file.write_all(text.as_bytes()).context("failed to write the truth file")?;
        self.file.sync_data().context("failed to sync the truth file")
    }
}
