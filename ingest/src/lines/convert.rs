//! From the bytes of lines to the bytes of an OTLP request. Pure: the time of receipt is an argument, and so is everything
//! that is known about the lines.
//!
//! [`Converter`] is what protocols use that carry lines: `POST /v1/lines` gives it whole texts, a syslog listener one message
//! after the other. Every record is either in the request or rejected with a reason.

use std::borrow::Cow;

use super::encode::{Batch, Source};
use super::parse::{Parsed, parse};
use super::pattern::Patterns;
use super::records::Records;
use super::rules::{Parameters, Rules};
use crate::config::IngestConfig;
use crate::decode::Rejected;
use crate::error::IngestError;
use crate::posted::FAULTS_MAX;

/// Gathers records.
pub(crate) struct Converter<'r> {
    rules: &'r Rules,
    received_ns: u64,
    /// Largest record in bytes.
    record_bytes_max: usize,
    /// Largest request in bytes.
    request_bytes_max: usize,
    batch: Batch,
    accepted: u64,
    rejected: Rejected,
    errors: Vec<(u64, String)>,
}

/// The request made of lines, and what became of them.
#[derive(Debug)]
pub(crate) struct Converted {
    /// An `ExportLogsServiceRequest`; empty when no record was accepted.
    pub(crate) request: Vec<u8>,
    /// Records in the request.
    pub(crate) accepted: u64,
    pub(crate) rejected: Rejected,
    /// Line and reason of the first that were rejected.
    pub(crate) errors: Vec<(u64, String)>,
    /// Whether each record has a time that tells it from an equal one.
    pub(crate) all_timed: bool,
}

impl<'r> Converter<'r> {
    pub(crate) fn new(rules: &'r Rules, received_ns: i64, config: &IngestConfig) -> Self {
        let received_ns = u64::try_from(received_ns).unwrap_or(0);
        Converter {
            rules,
            received_ns,
            record_bytes_max: config.line_bytes_max,
            request_bytes_max: config.message_bytes_max,
            batch: Batch::new(received_ns),
            accepted: 0,
            rejected: Rejected::default(),
            errors: Vec::new(),
        }
    }

    /// Takes the records of a text.
    ///
    /// # Errors
    /// When what was taken so far is larger than a request may be. The sender has to cut it; nothing of it may be used.
    pub(crate) fn text(&mut self, text: &[u8], source: &Source<'_>) -> Result<(), IngestError> {
        self.batch.expect(text.len());
        for record in Records::new(text, self.rules, self.record_bytes_max) {
            self.record(record.text, record.line, source);
            if self.bytes() > self.request_bytes_max {
                return Err(IngestError::TooLarge { limit: self.request_bytes_max, when: "as log records" });
            }
        }
        Ok(())
    }

    /// Takes one record, which is not blank. `line` is its number, for the sender.
    #[inline]
    pub(crate) fn record(&mut self, text: &[u8], line: u64, source: &Source<'_>) {
        if text.len() > self.record_bytes_max {
            let reason = format!("longer than {} bytes", self.record_bytes_max);
            return self.reject(line, reason);
        }
        // What is not UTF-8 is read lossily: an OTLP request has only text.
        let text = match std::str::from_utf8(text) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(text),
        };
        match parse(&text, self.rules, self.received_ns) {
            Ok(Parsed::Access(access)) => {
                self.batch.push_access(text.as_bytes(), &access, &self.rules.upstreams, source);
                self.accepted += 1;
            }
            Ok(Parsed::Line(line)) => {
                self.batch.push(&line, text.len(), source);
                self.accepted += 1;
            }
            Err(reason) => self.reject(line, reason),
        }
    }

    /// Bytes of the records so far.
    pub(crate) fn bytes(&self) -> usize {
        self.batch.bytes()
    }

    pub(crate) fn finish(self) -> Converted {
        Converted {
            all_timed: self.batch.all_timed(),
            request: self.batch.finish(),
            accepted: self.accepted,
            rejected: self.rejected,
            errors: self.errors,
        }
    }

    fn reject(&mut self, line: u64, reason: String) {
        self.rejected.add("bad_line", 1, || format!("line {line}: {reason}"));
        if self.errors.len() < FAULTS_MAX {
            self.errors.push((line, reason));
        }
    }
}

/// What `POST /v1/lines` makes of lines, without a server: for benchmarks and fuzzing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertedLines {
    /// The `ExportLogsServiceRequest`.
    pub request: Vec<u8>,
    /// Records in it.
    pub accepted: u64,
    /// Records that were rejected.
    pub rejected: u64,
}

/// Converts `text` by the rules of a query such as `service=web&format=nginx`, as received at `received_ns` (nanoseconds
/// since the epoch).
///
/// # Errors
/// What is wrong with the query, or that the request would be larger than `config` allows.
pub fn convert_lines(
    query: &str,
    text: &[u8],
    received_ns: i64,
    config: &IngestConfig,
) -> Result<ConvertedLines, IngestError> {
    let uri = http::Uri::builder().path_and_query(format!("/v1/lines?{query}")).build();
    let uri = uri.map_err(|error| IngestError::Malformed { what: "bad query", reason: error.to_string() })?;
    let parameters = Parameters::of(&uri)?;
    let rules = Rules::new(&parameters, &config.upstreams, &Patterns::default())?;
    let identity = parameters.identity();
    let mut converter = Converter::new(&rules, received_ns, config);
    converter.text(text, &Source::of(&identity))?;
    let converted = converter.finish();
    Ok(ConvertedLines {
        request: converted.request,
        accepted: converted.accepted,
        rejected: converted.rejected.total(),
    })
}

#[cfg(test)]
mod tests;
