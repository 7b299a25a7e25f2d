//! A span for every question, for Shipwake's own telemetry: what was asked, how it ended, how many rows it gave. Its
//! length is the time of the answer.
//!
//! Values that somebody asks for can be personal data, so a query's text is told without its literals, and not at any
//! length.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use tracing::Span;
use tracing::field::Empty;

use crate::error::QueryError;

/// Longest text of a query in a span, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Longest text that is looked at.
const READ_BYTES_MAX: usize = 16 << 10;

/// The span of a question that is being answered. Dropped without [`QuestionSpan::answered`], the asker has left.
pub(crate) struct QuestionSpan {
    span: Span,
    ended: bool,
}

impl QuestionSpan {
    /// A statement.
    pub fn sql(text: &str) -> Self {
        let span = Self::page("sql");
        if !span.span.is_disabled() {
            span.span.record("db.query.text", masked(text));
        }
        span
    }

    /// A page.
    pub fn page(kind: &'static str) -> Self {
        let span = tracing::info_span!(
            "query",
            kind,
            db.query.text = Empty,
            rows = Empty,
            outcome = Empty,
            otel.status_code = Empty
        );
        Self { span, ended: false }
    }

    /// Ends the span: `ok` with the rows of the answer, or the word of the problem.
    pub fn answered<T>(mut self, answer: &Result<T, QueryError>, rows: impl FnOnce(&T) -> usize) {
        self.ended = true;
        match answer {
            Ok(answer) => {
                self.span.record("rows", rows(answer) as u64);
                self.span.record("outcome", "ok");
            }
            Err(error) => {
                self.span.record("outcome", error.code());
                // What the asker got wrong is no failure of ours.
                if error.status().is_server_error() {
                    self.span.record("otel.status_code", "ERROR");
                }
            }
        }
    }
}

impl Drop for QuestionSpan {
    fn drop(&mut self) {
        if !self.ended {
            self.span.record("outcome", "cancelled");
        }
    }
}

/// The text with `?` for every literal and without comments, cut.
fn masked(text: &str) -> String {
    let Some(text) = text.get(..text.len().min(READ_BYTES_MAX)) else { return "(not shown)".to_owned() };
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else {
        return "(not shown: it cannot be read)".to_owned();
    };
    let mut masked = String::new();
    for token in tokens {
        let shown = match token {
            Token::Whitespace(_) if masked.ends_with(' ') => continue,
            Token::Whitespace(_) => " ".to_owned(),
            Token::Word(word) => word.to_string(),
            other if is_sign(&other) => other.to_string(),
            // Numbers, strings in every way of quoting them, and whatever a later parser may add.
            _ => "?".to_owned(),
        };
        if masked.len() + shown.len() > TEXT_BYTES_MAX {
            masked.push('…');
            break;
        }
        masked.push_str(&shown);
    }
    masked.trim().to_owned()
}

/// Operators and punctuation, which hold nothing that was typed in.
fn is_sign(token: &Token) -> bool {
    let text = token.to_string();
    text.len() <= 3 && !text.chars().any(|c| c.is_alphanumeric() || c == '\'' || c == '"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_without_what_was_typed_in() {
        for (text, expected) in [
            ("select 1", "select ?"),
            (
                "select * from logs where body = 'mail of ann@example.org' and n > 42.5 -- ann",
                "select * from logs where body = ? and n > ?",
            ),
            ("select  attributes['user']\n from logs", "select attributes[?] from logs"),
            ("select $$secret$$, E'x', X'ff', N'y', 'it''s'", "select ?, ?, ?, ?, ?"),
            ("select 'broken", "(not shown: it cannot be read)"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = masked(&format!("select {}", "a_column, ".repeat(1_000)));
        assert!(long.len() <= TEXT_BYTES_MAX + 3 && long.ends_with('…'), "{}", long.len());
        assert!(masked(&"é".repeat(100_000)).len() <= TEXT_BYTES_MAX + 3);
    }
}
