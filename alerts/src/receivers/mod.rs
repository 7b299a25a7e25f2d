//! Receivers: how each wants to be told, and what its answers mean. Pure: a request is a value, and so is an answer.
//!
//! The contracts are those that the receivers publish; `docs/notifications.md` names them. Nothing here sends anything.

#[cfg(test)]
mod hostile_tests;
pub mod pagerduty;
pub mod slack;
pub mod webhook;

use std::fmt;

use crate::message::Moment;
use crate::outbox::attempts::Outcome;
use crate::outbox::policy::{Rate, Retry};
use crate::outbox::row::Row;
use crate::secret::Secret;
use webhook::SigningKey;

/// Where a receiver is and how it is spoken to.
#[derive(Clone, Debug)]
pub enum Target {
    /// Any program that takes a signed JSON document.
    Webhook {
        /// Its address, which may hold a token.
        url: Secret,
        /// Keys to sign with, the newest first. While they are rotated there are two.
        keys: Vec<SigningKey>,
    },
    /// An incoming webhook of Slack, or of a chat that understands the same.
    Slack {
        /// Its address. Whoever knows it can post.
        url: Secret,
    },
    /// PagerDuty, Events API v2: opens and closes incidents.
    PagerDuty {
        /// Its address.
        url: Secret,
        /// The routing key of the service.
        key: Secret,
    },
    /// PagerDuty, change events: what was changed, shown beside incidents.
    PagerDutyChanges {
        /// Its address.
        url: Secret,
        /// The routing key of the service.
        key: Secret,
    },
}

/// A request to be made. Always a POST of JSON.
#[derive(Clone)]
pub struct Request {
    /// Where to.
    pub url: Secret,
    /// Headers besides those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Body and headers may hold keys.
        f.debug_struct("Request").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Target {
    /// Its name in the configuration and in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Webhook { .. } => "webhook",
            Target::Slack { .. } => "slack",
            Target::PagerDuty { .. } => "pagerduty",
            Target::PagerDutyChanges { .. } => "pagerduty_changes",
        }
    }

    /// Where requests go.
    pub fn url(&self) -> &Secret {
        match self {
            Target::Webhook { url, .. }
            | Target::Slack { url }
            | Target::PagerDuty { url, .. }
            | Target::PagerDutyChanges { url, .. } => url,
        }
    }

    /// How often it may be called. Slack takes a message a second; the others have no limit that we would reach, and get one
    /// against accidents.
    pub fn rate(&self) -> Rate {
        match self {
            Target::Slack { .. } => Rate { interval_ms: 1_000, burst: 1 },
            Target::Webhook { .. } => Rate { interval_ms: 20, burst: 50 },
            Target::PagerDuty { .. } | Target::PagerDutyChanges { .. } => Rate { interval_ms: 500, burst: 20 },
        }
    }

    /// When a failed attempt is repeated. PagerDuty asks for a back-off of some minutes.
    pub fn retry(&self) -> Retry {
        match self {
            Target::PagerDuty { .. } | Target::PagerDutyChanges { .. } => Retry { first_ms: 2_000, max_ms: 180_000 },
            Target::Slack { .. } | Target::Webhook { .. } => Retry { first_ms: 1_000, max_ms: 60_000 },
        }
    }

    /// How old a notification may be, ms: a page that comes later is noise; chat and programs want a day.
    pub fn max_age_ms(&self) -> i64 {
        match self {
            Target::PagerDuty { .. } => 3_600_000,
            _ => 24 * 3_600_000,
        }
    }

    /// Whether changes that wait for it become one message. An incident is opened and closed by a request each.
    pub fn merges(&self) -> bool {
        !matches!(self, Target::PagerDuty { .. })
    }

    /// The request that tells it of a row.
    pub fn request(&self, row: &Row, moment: &Moment) -> Request {
        match self {
            Target::Webhook { url, keys } => webhook::request(url, keys, row, moment),
            Target::Slack { url } => slack::request(url, row, moment),
            Target::PagerDuty { url, key } => pagerduty::event(url, key, row, moment),
            Target::PagerDutyChanges { url, key } => pagerduty::change_event(url, key, row, moment),
        }
    }

    /// What an answer means: its status, the first bytes of its text, and the pause that it asks for (ms).
    pub fn judge(&self, status: u16, text: &str, pause_ms: Option<i64>) -> Outcome {
        match status {
            200..=299 => return Outcome::Delivered,
            429 => return Outcome::Busy(pause_ms),
            _ => {}
        }
        let is_final = match self {
            // Standard Webhooks knows one final answer: 410. Everything else may be mended at the other end.
            Target::Webhook { .. } if status == 410 => return Outcome::Gone,
            Target::Webhook { .. } => false,
            Target::Slack { .. } => slack::is_final(status, text),
            Target::PagerDuty { .. } | Target::PagerDutyChanges { .. } => pagerduty::is_final(status, text),
        };
        if is_final { Outcome::Rejected } else { Outcome::Failed(pause_ms) }
    }

    /// A text of the other end without what must stay secret: its address, the parts of it, and keys.
    pub fn blank(&self, text: &str) -> String {
        let url = self.url();
        let mut text = url.blank(text);
        // Servers like to repeat the path that they were asked for.
        if let Some((_, rest)) = url.expose().split_once("://")
            && let Some((_, path)) = rest.split_once('/')
        {
            text = Secret::new(path.to_owned()).blank(&text);
            for part in path.split(['/', '?', '&', '=']).filter(|part| part.len() >= 8) {
                text = Secret::new(part.to_owned()).blank(&text);
            }
        }
        match self {
            Target::PagerDuty { key, .. } | Target::PagerDutyChanges { key, .. } => key.blank(&text),
            Target::Webhook { .. } | Target::Slack { .. } => text,
        }
    }
}

/// A text on one line without anything that changes how it is shown: control characters, other ends of lines, and marks of direction.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        _ if c.is_control() => Some(' '),
        _ => Some(c),
    };
    text.chars().filter_map(shown).collect()
}

/// At most so many characters, with an ellipsis in the place of the rest.
pub(crate) fn cut_chars(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> [Target; 4] {
        let secret = |text: &str| Secret::new(text.to_owned());
        [
            Target::Webhook { url: secret("https://hooks/x"), keys: Vec::new() },
            Target::Slack { url: secret("https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/canarycanary") },
            Target::PagerDuty { url: secret("https://events"), key: secret("R0canary0000") },
            Target::PagerDutyChanges { url: secret("https://events"), key: secret("R0canary0000") },
        ]
    }

    #[test]
    fn answers_mean_what_each_contract_says() {
        let [webhook, slack, pager, changes] = &targets();
        let check = |target: &Target, status, text: &str, expected: Outcome| {
            assert_eq!(target.judge(status, text, Some(7)), expected, "{} {status} {text}", target.kind());
        };
        for target in [webhook, slack, pager, changes] {
            check(target, 200, "ok", Outcome::Delivered);
            check(target, 202, "", Outcome::Delivered);
            check(target, 429, "slow down", Outcome::Busy(Some(7)));
            for status in [301, 302, 307, 308, 401, 403, 404, 408, 500, 502, 503, 504] {
                check(target, status, "", Outcome::Failed(Some(7)));
            }
        }
        check(webhook, 410, "", Outcome::Gone);
        check(webhook, 400, "", Outcome::Failed(Some(7)));
        check(slack, 400, "invalid_payload", Outcome::Rejected);
        check(slack, 400, "msg_blocks_too_long", Outcome::Rejected);
        check(slack, 404, "no_service", Outcome::Failed(Some(7)));
        check(slack, 410, "channel_is_archived", Outcome::Failed(Some(7)));
        check(pager, 400, r#"{"status":"invalid event","errors":["'payload.summary' is missing"]}"#, Outcome::Rejected);
        check(pager, 400, r#"{"errors":["Invalid routing key"]}"#, Outcome::Failed(Some(7)));
        check(changes, 413, "", Outcome::Rejected);
    }

    #[test]
    fn secrets_are_blanked_out_of_what_comes_back() {
        for target in targets() {
            let text = "no https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/canarycanary: /services/T0AAAAAAA/B0BBBBBBB/canarycanary \
                        canarycanary R0canary0000";
            let blank = target.blank(text);
            match &target {
                Target::Slack { .. } => {
                    assert!(!blank.contains("canarycanary") && !blank.contains("B0BBBBBBB"), "{blank}");
                }
                Target::PagerDuty { .. } | Target::PagerDutyChanges { .. } => assert!(!blank.contains("R0canary0000")),
                Target::Webhook { .. } => {}
            }
            assert!(!format!("{target:?}").contains("canary"), "{target:?}");
        }
    }
}
