//! The records of a text: its lines, or several lines where they are one record. A record is a slice of the text, so joining
//! lines costs no copy.
//!
//! A record ends with its request, and is bounded in lines and bytes: a longer trace becomes several records.

use memchr::memchr;

use super::parse::stands_alone;
use super::rules::Rules;
use super::trace::Trace;
use crate::posted::BYTE_ORDER_MARK;

/// Lines that one record may have: a deep trace has some hundred, and a runaway sender must not make one record of all.
pub(super) const LINES_MAX: usize = 512;

/// A record of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Number of its first line, from 1.
    pub(super) line: u64,
    /// Without the end of its last line.
    pub(super) text: &'a [u8],
}

/// The records of a text, in order. Blank lines are none, and a byte order mark in front of a record is none of its bytes.
pub(super) struct Records<'a, 'r> {
    text: &'a [u8],
    rules: &'r Rules,
    record_bytes_max: usize,
    at: usize,
    /// Lines before `at`.
    lines: u64,
}

impl<'a, 'r> Records<'a, 'r> {
    /// `record_bytes_max` is the largest record that lines are joined to.
    pub(super) fn new(text: &'a [u8], rules: &'r Rules, record_bytes_max: usize) -> Self {
        Records { text, rules, record_bytes_max, at: 0, lines: 0 }
    }

    /// Where the line at `at` ends, and where the next begins.
    #[inline]
    fn line_end(&self, at: usize) -> (usize, usize) {
        match memchr(b'\n', &self.text[at..]) {
            Some(len) => (at + len, at + len + 1),
            None => (self.text.len(), self.text.len()),
        }
    }

    /// Takes the lines behind a first one that belong to it. Gives the end of the record.
    fn join(&mut self, start: usize, mut end: usize) -> usize {
        let mut trace: Option<Trace> = None;
        let (mut at, mut blanks, mut taken) = (self.at, 0, 1);
        while at < self.text.len() && taken < LINES_MAX {
            let (line_end, next) = self.line_end(at);
            let line = without_return(&self.text[at..line_end]);
            if line.trim_ascii().is_empty() {
                blanks += 1;
                at = next;
                continue;
            }
            if line_end - start > self.record_bytes_max {
                break;
            }
            // Only now is it worth knowing what kind of record the first line is: most are followed by another one.
            let first = without_return(&self.text[start..end]);
            if trace.is_none() && Trace::is_out_of_question(first, line) {
                break;
            }
            let goes_on = match &mut trace {
                Some(trace) => trace.goes_on(line, blanks > 0),
                None => {
                    let mut beginning = Trace::beginning(first);
                    let goes_on = beginning.goes_on(line, blanks > 0) && !stands_alone(first, self.rules);
                    trace = Some(beginning);
                    goes_on
                }
            };
            if !goes_on {
                break;
            }
            (end, at) = (line_end, next);
            self.at = next;
            self.lines += blanks + 1;
            taken += blanks as usize + 1;
            blanks = 0;
        }
        end
    }
}

impl<'a> Iterator for Records<'a, '_> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if self.at >= self.text.len() {
                return None;
            }
            let mut start = self.at;
            let (end, next) = self.line_end(start);
            if self.text[start..end].starts_with(&BYTE_ORDER_MARK) {
                // Where files were put together it stands in front of any line.
                start += BYTE_ORDER_MARK.len();
            }
            self.at = next;
            self.lines += 1;
            let line = self.lines;
            // Not blank is what nearly every line is, and its first byte tells.
            if self.text[start..end].first().is_none_or(u8::is_ascii_whitespace)
                && self.text[start..end].trim_ascii().is_empty()
            {
                continue;
            }
            let end = if self.rules.joins_lines { self.join(start, end) } else { end };
            return Some(Record { line, text: without_return(&self.text[start..end]) });
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests;
