//! An attempt to tell somebody of a verdict, as it is recorded: who was told what, and what came of it.
//!
//! It travels like a marker, as a log record with the event name [`EVENT_NAME`] on the resource of the release that it is about, and
//! is a row of `logs`; the table `notifications` reads it from there. [`Notification::attributes`] is that form.

use crate::release::{IDENTITY_BYTES_MAX, ReleaseId, bounded};

/// Name of the event that an attempt is in OTLP.
pub const EVENT_NAME: &str = "shipwake.notification";

/// Longest of the other texts in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// Names of the attributes; the table `notifications` reads them.
pub const ID: &str = "shipwake.notification.id";
/// See [`Notification::receiver`].
pub const RECEIVER: &str = "shipwake.notification.receiver";
/// See [`Notification::kind`].
pub const KIND: &str = "shipwake.notification.kind";
/// See [`Notification::about`].
pub const ABOUT: &str = "shipwake.notification.about";
/// See [`Notification::sequence`].
pub const SEQUENCE: &str = "shipwake.notification.sequence";
/// See [`Notification::attempt`].
pub const ATTEMPT: &str = "shipwake.notification.attempt";
/// See [`Notification::result`].
pub const RESULT: &str = "shipwake.notification.result";
/// See [`Notification::status`].
pub const STATUS: &str = "shipwake.notification.status";
/// See [`Notification::answer`].
pub const ANSWER: &str = "shipwake.notification.answer";
/// See [`Notification::took_ms`].
pub const TOOK_MS: &str = "shipwake.notification.took_ms";

/// An attempt, or the end of a notification without one. Empty texts are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The release that it is about; all empty for what Shipwake says of itself.
    pub release: ReleaseId,
    /// When the attempt ended, ns since 1970.
    pub at_ns: i64,
    /// Names the notification, the same over all attempts at it: what a webhook gets as `webhook-id`, without `msg_`.
    pub id: String,
    /// Name of the receiver.
    pub receiver: String,
    /// What the receiver is: `webhook`, `slack` and so on; empty when it is configured no more.
    pub kind: String,
    /// What is told, in a few words.
    pub about: String,
    /// The newest change of the release that it tells of, as in the table `verdicts`.
    pub sequence: Option<u64>,
    /// Counts the attempts at the notification from 1; 0 when it ended without one.
    pub attempt: u32,
    /// `delivered`, `failed` and so on.
    pub result: String,
    /// Status of the answer.
    pub status: Option<u16>,
    /// First bytes of the answer, or what went wrong before there was one.
    pub answer: String,
    /// How long it took, ms.
    pub took_ms: u32,
}

impl Notification {
    /// With its texts cut to their bounds.
    pub fn shortened(mut self) -> Self {
        for text in [&mut self.receiver, &mut self.kind, &mut self.result, &mut self.id] {
            if text.len() > IDENTITY_BYTES_MAX {
                *text = bounded(text);
            }
        }
        for text in [&mut self.about, &mut self.answer] {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        self
    }

    /// Everything besides release and time, as attributes of a log record.
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut out = vec![
            (ID, self.id.clone()),
            (RECEIVER, self.receiver.clone()),
            (ATTEMPT, self.attempt.to_string()),
            (RESULT, self.result.clone()),
            (TOOK_MS, self.took_ms.to_string()),
        ];
        for (name, text) in [(KIND, &self.kind), (ABOUT, &self.about), (ANSWER, &self.answer)] {
            if !text.is_empty() {
                out.push((name, text.clone()));
            }
        }
        out.extend(self.sequence.map(|sequence| (SEQUENCE, sequence.to_string())));
        out.extend(self.status.map(|status| (STATUS, status.to_string())));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out_and_long_texts_are_cut() {
        let told = Notification {
            release: ReleaseId {
                service: "a".into(),
                namespace: "".into(),
                environment: "".into(),
                version: "1".into(),
            },
            at_ns: 7,
            id: "0f".to_owned(),
            receiver: "chat".to_owned(),
            kind: String::new(),
            about: "ä".repeat(1_000),
            sequence: None,
            attempt: 0,
            result: "expired".to_owned(),
            status: None,
            answer: "older than its receiver wants it".to_owned(),
            took_ms: 0,
        };
        let attributes = told.shortened().attributes();
        let names: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [ID, RECEIVER, ATTEMPT, RESULT, TOOK_MS, ABOUT, ANSWER]);
        assert!(attributes.iter().all(|(name, text)| name.starts_with(EVENT_NAME) && text.len() <= TEXT_BYTES_MAX));
    }
}
