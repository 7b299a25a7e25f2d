//! A change of the word that is said about a release, as it is recorded: what was said, when, and on what it rested.
//!
//! It travels like a marker, as a log record with the event name [`EVENT_NAME`] on the resource of the release.
//! [`VerdictChange::attributes`] and [`VerdictChange::read`] are that form. Release and sequence tell two changes apart: one that
//! is recorded twice is one.

use crate::release::{IDENTITY_BYTES_MAX, ReleaseId, bounded};

/// Name of the event that a change is in OTLP.
pub const EVENT_NAME: &str = "shipwake.verdict";

/// Longest sentence in bytes.
const SUMMARY_BYTES_MAX: usize = 2048;
/// Longest text of all checks in bytes.
const CHECKS_BYTES_MAX: usize = 64 << 10;

/// What was said. Empty texts were not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictChange {
    /// The release that is judged.
    pub release: ReleaseId,
    /// When it was said, ns since 1970.
    pub at_ns: i64,
    /// Counts the changes of this release from 1.
    pub sequence: u64,
    /// The version that it was compared with.
    pub baseline: String,
    /// `go`, `no_go`, `watch` or `wait`.
    pub verdict: String,
    /// The word before.
    pub previous: String,
    /// Why it is judged no more: `rolled_back` and so on.
    pub ending: String,
    /// The sentence for people.
    pub summary: String,
    /// Name of the policy that it was judged by.
    pub policy: String,
    /// What it rests on, as JSON.
    pub checks: String,
}

impl VerdictChange {
    /// With its texts cut to their bounds; checks that are too long are left out, since half of a JSON text is none.
    pub fn shortened(mut self) -> Self {
        for text in [&mut self.baseline, &mut self.verdict, &mut self.previous, &mut self.ending, &mut self.policy] {
            if text.len() > IDENTITY_BYTES_MAX {
                *text = bounded(text);
            }
        }
        if self.summary.len() > SUMMARY_BYTES_MAX {
            self.summary.truncate(self.summary.floor_char_boundary(SUMMARY_BYTES_MAX));
        }
        if self.checks.len() > CHECKS_BYTES_MAX {
            self.checks = String::new();
        }
        self
    }

    /// Everything besides release and time, as attributes of a log record.
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut out = vec![(SEQUENCE, self.sequence.to_string()), (VERDICT, self.verdict.clone())];
        for (name, text) in [
            (BASELINE, &self.baseline),
            (PREVIOUS, &self.previous),
            (ENDING, &self.ending),
            (SUMMARY, &self.summary),
            (POLICY, &self.policy),
            (CHECKS, &self.checks),
        ] {
            if !text.is_empty() {
                out.push((name, text.clone()));
            }
        }
        out
    }

    /// Reads what [`VerdictChange::attributes`] wrote.
    ///
    /// # Errors
    /// What is missing or not a number.
    pub fn read(release: &ReleaseId, at_ns: i64, attribute: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let text = |name: &str| attribute(name).unwrap_or_default();
        let sequence = text(SEQUENCE).parse().map_err(|_| format!("{SEQUENCE} is missing or not a number"))?;
        let change = VerdictChange {
            release: release.clone(),
            at_ns,
            sequence,
            baseline: text(BASELINE),
            verdict: text(VERDICT),
            previous: text(PREVIOUS),
            ending: text(ENDING),
            summary: text(SUMMARY),
            policy: text(POLICY),
            checks: text(CHECKS),
        };
        if change.verdict.is_empty() {
            return Err(format!("{VERDICT} is missing"));
        }
        Ok(change.shortened())
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        let texts =
            [&self.baseline, &self.verdict, &self.previous, &self.ending, &self.summary, &self.policy, &self.checks];
        size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

const SEQUENCE: &str = "shipwake.verdict.sequence";
const VERDICT: &str = "shipwake.verdict.verdict";
const BASELINE: &str = "shipwake.verdict.baseline";
const PREVIOUS: &str = "shipwake.verdict.previous";
const ENDING: &str = "shipwake.verdict.ending";
const SUMMARY: &str = "shipwake.verdict.summary";
const POLICY: &str = "shipwake.verdict.policy";
const CHECKS: &str = "shipwake.verdict.checks";

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> VerdictChange {
        VerdictChange {
            release: ReleaseId {
                service: "checkout".into(),
                namespace: "".into(),
                environment: "production".into(),
                version: "2.14.0".into(),
            },
            at_ns: 7,
            sequence: 3,
            baseline: "2.13.4".to_owned(),
            verdict: "no_go".to_owned(),
            previous: "watch".to_owned(),
            ending: String::new(),
            summary: "Roll back: p99 latency +38 %".to_owned(),
            policy: "default".to_owned(),
            checks: "[{\"id\":\"latency\"}]".to_owned(),
        }
    }

    fn read_back(change: &VerdictChange) -> Result<VerdictChange, String> {
        let attributes = change.attributes();
        let get = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone());
        VerdictChange::read(&change.release, change.at_ns, get)
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(read_back(&change()), Ok(change()));
        let bare =
            VerdictChange { baseline: String::new(), checks: String::new(), ending: "replaced".to_owned(), ..change() };
        assert_eq!(read_back(&bare), Ok(bare));
    }

    #[test]
    fn long_texts_are_cut_and_long_checks_left_out() {
        let long = VerdictChange { summary: "ä".repeat(5000), checks: "x".repeat(70_000), ..change() }.shortened();
        assert_eq!((long.summary.len(), long.checks.len()), (2048, 0));
        assert_eq!(
            read_back(&VerdictChange { verdict: String::new(), ..change() }),
            Err("shipwake.verdict.verdict is missing".to_owned())
        );
    }
}
