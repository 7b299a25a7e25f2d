//! The text of a log record that makes its pattern, and its shape.
//!
//! An exception is what happened, whatever the line around it says: Flask's loggers, for one, put nothing else into the body
//! than the route, and the message into `exception.message` only.

use shipwake_model::pattern::{is_access_line, mask, message, shape_id};
use shipwake_otlp::{AnyValue, LogRecord};

use crate::health::RequestParts;

/// Names of the member of a structured body that holds the message.
const MESSAGE_KEYS: [&str; 3] = ["message", "msg", "event"];
/// A type of exceptions is a name; a longer one is a message.
const TYPE_BYTES_MAX: usize = 160;

/// The shape of the record at hand.
#[derive(Debug, Default)]
pub(crate) struct Text {
    shape: Vec<u8>,
    scratch: Vec<u8>,
    id: u64,
}

impl Text {
    /// Makes the shape of a record. `false` when it has no message.
    #[inline]
    pub(crate) fn read(&mut self, record: &LogRecord<'_>, parts: &RequestParts<'_>) -> bool {
        self.shape.clear();
        let kind = parts.exception_type;
        if !kind.is_empty() {
            if kind.len() <= TYPE_BYTES_MAX && kind.iter().all(u8::is_ascii_graphic) {
                self.shape.extend_from_slice(kind);
            } else {
                mask(kind, &mut self.shape);
            }
        }
        if parts.exception_message.is_empty() {
            self.read_body(record);
        } else {
            self.append(parts.exception_message);
        }
        if self.shape.is_empty() && !record.event_name.is_empty() {
            mask(record.event_name, &mut self.shape);
        }
        if std::str::from_utf8(&self.shape).is_err() {
            self.shape = String::from_utf8_lossy(&self.shape).into_owned().into_bytes();
        }
        self.id = shape_id(&self.shape);
        !self.shape.is_empty()
    }

    /// The shape.
    pub(crate) fn shape(&self) -> &[u8] {
        &self.shape
    }

    /// Its id.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn read_body(&mut self, record: &LogRecord<'_>) {
        match body_text(&record.body) {
            Some(text) => self.append(text),
            // An event is what it is called; what its body holds are its parameters.
            None if !record.event_name.is_empty() => self.append(record.event_name),
            None => {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                record.body.write_text(&mut scratch);
                self.append(&scratch);
                self.scratch = scratch;
            }
        }
    }

    fn append(&mut self, text: &[u8]) {
        let message = message(text);
        if message.text.is_empty() {
            return;
        }
        if !self.shape.is_empty() {
            self.shape.extend_from_slice(b": ");
        }
        mask(message.text, &mut self.shape);
        if !message.frame.is_empty() {
            self.shape.extend_from_slice(b" | ");
            mask(message.frame, &mut self.shape);
        }
    }
}

/// Whether a record is nothing but a line of an access log, which nobody has read.
#[inline]
pub(crate) fn is_access_log(record: &LogRecord<'_>, parts: &RequestParts<'_>) -> bool {
    let is_exception = !parts.exception_type.is_empty() || !parts.exception_message.is_empty();
    !is_exception && matches!(record.body, AnyValue::String(text) if is_access_line(text))
}

/// The record in words, as an example of its pattern.
pub(crate) fn example(record: &LogRecord<'_>, parts: &RequestParts<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !parts.exception_message.is_empty() {
        return format!("{}: {}", text(parts.exception_type), text(parts.exception_message));
    }
    let body = match body_text(&record.body) {
        Some(body) => text(body),
        None => {
            let mut written = Vec::new();
            record.body.write_text(&mut written);
            text(&written)
        }
    };
    match (body.is_empty(), parts.exception_type.is_empty()) {
        (true, _) => text(if parts.exception_type.is_empty() { record.event_name } else { parts.exception_type }),
        (false, true) => body,
        (false, false) => format!("{}: {body}", text(parts.exception_type)),
    }
}

/// The text of a body, or of the member of a structured one that holds the message.
#[inline]
fn body_text<'a>(body: &AnyValue<'a>) -> Option<&'a [u8]> {
    match body {
        AnyValue::String(text) => Some(text),
        AnyValue::Map(members) => {
            MESSAGE_KEYS.iter().find_map(|key| members.get(key)?.as_bytes().filter(|text| !text.is_empty()))
        }
        _ => None,
    }
}
