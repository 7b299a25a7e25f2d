//! A toggle evaluation as records carry it: as a log event, an event of a span, or attributes of a span; with today's names
//! of OpenTelemetry and the ones before them. Pure.
//!
//! | | today | before |
//! |---|---|---|
//! | event | `feature_flag.evaluation` | `feature_flag` |
//! | variant | `feature_flag.result.variant`, else `feature_flag.result.value` | `feature_flag.variant`, `feature_flag.evaluated_value` |
//! | reason | `feature_flag.result.reason` | `feature_flag.evaluation.reason`, `feature_flag.reason` |

use shipwake_otlp::{AnyValue, KeyValues};

/// Keys, variants and reasons are cut to so many bytes: a value in the place of a variant may be a whole document.
const BYTES_MAX: usize = 96;

/// What a toggle answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evaluation {
    pub(crate) key: Vec<u8>,
    /// Never empty: what answered with an error, or does not say, has a word for it.
    pub(crate) variant: Vec<u8>,
    /// In small letters, or empty.
    pub(crate) reason: Vec<u8>,
}

/// Whether an event of this name tells of an evaluation.
#[inline]
pub(crate) fn is_event(name: &[u8]) -> bool {
    matches!(name, b"feature_flag.evaluation" | b"feature_flag")
}

impl Evaluation {
    /// Reads it; `None` without a key.
    pub(crate) fn read(attributes: &KeyValues<'_>) -> Option<Self> {
        let mut found = Evaluation::default();
        let (mut value, mut failed) = (Vec::new(), false);
        for attribute in attributes {
            match attribute.key {
                b"feature_flag.key" => found.key = text(&attribute.value),
                b"feature_flag.result.variant" => found.variant = text(&attribute.value),
                b"feature_flag.variant" if found.variant.is_empty() => found.variant = text(&attribute.value),
                b"feature_flag.result.value" | b"feature_flag.evaluated_value" => value = text(&attribute.value),
                b"feature_flag.result.reason" => found.reason = text(&attribute.value),
                b"feature_flag.evaluation.reason" | b"feature_flag.reason" if found.reason.is_empty() => {
                    found.reason = text(&attribute.value);
                }
                b"error.type" => failed = true,
                _ => {}
            }
        }
        if found.key.is_empty() {
            return None;
        }
        found.reason.make_ascii_lowercase();
        if found.variant.is_empty() {
            let instead: &[u8] = if failed || found.reason == b"error" { b"(error)" } else { b"(not said)" };
            found.variant = if value.is_empty() { instead.to_vec() } else { value };
        }
        Some(found)
    }
}

fn text(value: &AnyValue<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    match value.as_bytes() {
        Some(bytes) => text.extend_from_slice(&bytes[..bytes.len().min(BYTES_MAX)]),
        None => {
            value.write_text(&mut text);
            text.truncate(BYTES_MAX);
        }
    }
    text
}
