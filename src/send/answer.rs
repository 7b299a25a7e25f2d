//! What an answer of `/v1/lines` means for a batch, and when to come again. Pure.

use std::time::Duration;

use serde_json::Value;

/// The first pause before a batch is tried again, and the longest; a hint of the server is followed up to `HINT_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const HINT_MAX: Duration = Duration::from_secs(60);

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is on disk.
    Taken(Taken),
    /// Not now; with a reason for people, and the server's hint.
    Later {
        /// Why.
        reason: String,
        /// How long the server asks to wait.
        hint: Option<Duration>,
    },
    /// Too large as a whole.
    TooLarge(String),
    /// Never like this: the request itself is wrong.
    Refused(String),
}

/// What the server did with the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Lines that are kept.
    pub accepted: u64,
    /// Lines that are not.
    pub rejected: u64,
    /// Number within the request, counted from 1, and reason of the first of them.
    pub errors: Vec<(usize, String)>,
}

/// Reads an answer.
pub fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> Answer {
    let hint = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let detail = json["detail"].as_str().map(str::to_owned);
    match status {
        200..300 => match taken(&json) {
            Some(taken) => Answer::Taken(taken),
            None => Answer::Later { reason: format!("answers {status}, but not as Shipwake does"), hint },
        },
        413 => Answer::TooLarge(detail.unwrap_or_else(|| "the request is too large".to_owned())),
        400 | 415 | 422 if detail.is_some() => Answer::Refused(detail.unwrap_or_default()),
        404 | 405 => {
            let reason = format!("answers {status}: is it the port for OTLP over HTTP (4318 by default)?");
            Answer::Later { reason, hint }
        }
        _ => Answer::Later { reason: detail.unwrap_or_else(|| format!("answers {status}")), hint },
    }
}

fn taken(json: &Value) -> Option<Taken> {
    let errors = json["errors"].as_array()?.iter();
    let errors = errors.filter_map(|error| {
        Some((usize::try_from(error["line"].as_u64()?).ok()?, error["reason"].as_str()?.to_owned()))
    });
    Some(Taken { accepted: json["accepted"].as_u64()?, rejected: json["rejected"].as_u64()?, errors: errors.collect() })
}

/// How long to wait before attempt `attempt` (1 is the second one). `random` is between 0 and 1, so that senders that
/// were refused together do not come back together.
pub fn pause(attempt: u32, hint: Option<Duration>, random: f64) -> Duration {
    match hint {
        Some(hint) => hint.min(HINT_MAX).max(PAUSE_MIN).mul_f64(1.0 + random / 10.0),
        None => {
            let doubled = PAUSE_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(10));
            doubled.min(PAUSE_MAX).mul_f64(0.8 + random * 0.4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_to_do() {
        let taken = br#"{"accepted":2,"rejected":1,"errors":[{"line":3,"reason":"bad"}]}"#;
        let expected = Taken { accepted: 2, rejected: 1, errors: vec![(3, "bad".to_owned())] };
        assert_eq!(read(200, None, taken), Answer::Taken(expected));
        assert!(matches!(read(200, None, b"<html>"), Answer::Later { .. }), "another program");
        let problem = br#"{"detail":"bad format"}"#;
        assert_eq!(read(400, None, problem), Answer::Refused("bad format".to_owned()));
        assert!(matches!(read(400, None, b"proxy"), Answer::Later { .. }), "not Shipwake's own refusal");
        assert!(matches!(read(413, None, b""), Answer::TooLarge(_)));
        for status in [301, 401, 403, 404, 408, 429, 500, 502, 503, 504] {
            assert!(matches!(read(status, None, b""), Answer::Later { hint: None, .. }), "{status}");
        }
        let hint = Some(Duration::from_secs(7));
        assert_eq!(read(503, Some(" 7"), problem), Answer::Later { reason: "bad format".to_owned(), hint });
    }

    #[test]
    fn pauses_grow_and_hints_are_honoured() {
        assert_eq!(pause(1, None, 0.5), PAUSE_MIN);
        assert_eq!(pause(3, None, 0.5), 4 * PAUSE_MIN);
        assert_eq!(pause(40, None, 0.5), PAUSE_MAX);
        assert_eq!(pause(9, Some(Duration::from_secs(2)), 0.0), Duration::from_secs(2));
        assert!(pause(1, Some(Duration::from_secs(2)), 1.0) >= Duration::from_secs(2), "never sooner than asked");
        assert_eq!(pause(1, Some(Duration::from_secs(9999)), 0.0), HINT_MAX);
    }
}
