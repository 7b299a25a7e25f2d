//! Why a text is not an OTLP request in JSON, told so that a person finds the place: line, column and path.

use std::borrow::Cow;

use thiserror::Error;

/// Longest path in a message, in bytes: enough for every real request, and nesting cannot make it longer.
const PATH_BYTES_MAX: usize = 200;

/// What is wrong with a request. Never retryable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JsonError {
    /// The text is not JSON, or a field has a value that OTLP does not give it.
    #[error("{what} at line {line}, column {column}{}{path}", if path.is_empty() { "" } else { ", in " })]
    Invalid {
        /// What is wrong.
        what: String,
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
        /// The field, such as `resourceLogs[0].scopeLogs`; empty for the request itself.
        path: String,
    },
    /// The request would take more bytes in protobuf than the caller allows.
    #[error("request takes more than {limit} bytes in protobuf")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// A failure on its way up: each level adds its step of the path, innermost first.
#[derive(Debug)]
pub(super) struct Fault {
    /// `None`: there is no room for the output.
    pub(super) what: Option<Cow<'static, str>>,
    pub(super) offset: usize,
    pub(super) path: Vec<String>,
}

/// Boxed, because almost nothing fails and every small function returns one.
pub(super) type Parsed<T> = Result<T, Box<Fault>>;

pub(super) fn fault<T>(offset: usize, what: impl Into<Cow<'static, str>>) -> Parsed<T> {
    Err(Box::new(Fault { what: Some(what.into()), offset, path: Vec::new() }))
}

impl Fault {
    /// As the caller sees it; `json` is the whole text, `limit` what the output may take.
    pub(super) fn tell(self, json: &[u8], limit: usize) -> JsonError {
        let Some(what) = self.what else { return JsonError::TooLarge { limit } };
        let before = &json[..self.offset.min(json.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let mut path: String = self.path.into_iter().rev().collect();
        if let Some(dot) = path.strip_prefix('.') {
            path = dot.to_owned();
        }
        if path.len() > PATH_BYTES_MAX {
            path.truncate(path.floor_char_boundary(PATH_BYTES_MAX));
            path.push('…');
        }
        JsonError::Invalid { what: what.into_owned(), line, column: before.len() - line_start + 1, path }
    }
}
