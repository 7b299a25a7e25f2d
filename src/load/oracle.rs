//! The oracle: what a run sent and what became of it, as lines of a file that outlives generator and server. Pure.
//!
//! A line is the CRC32C of its text as eight hexadecimal digits, a space, the text, a line feed. The file only grows. A torn
//! last line is what a crash leaves and is passed over; a wrong line elsewhere is damage and an error. `FORMAT.md` has the
//! words of the text. A request without an outcome counts as unknown, so a lost tail makes the judge milder, never wrong:
//! `sent` lines are written before the request leaves.

use std::collections::BTreeMap;
use std::fmt::Write;

use shipwake_model::Signal;

use super::content::Shape;
use super::wire::Outcome;

const MAGIC: &str = "shipwake-load-oracle 1";

/// What an oracle file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// The form of the run.
    pub shape: Shape,
    /// Requests by signal, in the order of [`Signal::ALL`], by first id.
    pub requests: [BTreeMap<u64, Request>; 3],
    /// Whether the run came to its end.
    pub ended: bool,
}

/// A request that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its ids are `first..first + count`.
    pub count: u32,
    /// Event time of its last record, nanoseconds since the epoch.
    pub time_ns: u64,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Each id must be found exactly once.
    Acknowledged,
    /// Each id may be found once or not at all.
    Unknown,
    /// No id may be found.
    Refused,
}

/// Why an oracle file cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OracleError {
    /// The first line is not that of an oracle file this version reads.
    #[error("not an oracle file of `shipwake load`, or of another version")]
    Header,
    /// A line that is not the last has a wrong checksum or cannot be understood.
    #[error("line {line} of the oracle is damaged")]
    Damaged {
        /// Counted from 1.
        line: usize,
    },
}

/// The file's first line.
pub fn header_line(shape: &Shape) -> String {
    let json = serde_json::to_string(shape).expect("a shape has only texts and numbers");
    line(&format!("{MAGIC} {json}"))
}

/// The line that goes before a request.
pub fn sent_line(signal: Signal, first: u64, count: u32, time_ns: u64) -> String {
    line(&format!("sent {} {first} {count} {time_ns}", signal.as_str()))
}

/// The line that follows a request.
pub fn outcome_line(signal: Signal, first: u64, count: u32, outcome: &Outcome) -> String {
    let (word, reason) = match outcome {
        Outcome::Acknowledged => ("acked", ""),
        Outcome::Unknown(reason) => ("unknown", reason.as_str()),
        Outcome::Refused(reason) => ("refused", reason.as_str()),
    };
    let reason = reason.replace(char::is_control, " ");
    line(format!("{word} {} {first} {count} {reason}", signal.as_str()).trim_end())
}

/// The last line of a run that came to its end.
pub fn end_line() -> String {
    line("end")
}

/// Reads a whole file.
///
/// # Errors
/// When it is not an oracle file, or damaged before its last line.
pub fn parse(file: &[u8]) -> Result<Book, OracleError> {
    let mut lines = file.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
    let header = lines.next().and_then(|(_, bytes)| checked(bytes)).ok_or(OracleError::Header)?;
    let json = header.strip_prefix(MAGIC).ok_or(OracleError::Header)?;
    let shape: Shape = serde_json::from_str(json).map_err(|_| OracleError::Header)?;
    let mut book = Book { shape, requests: Default::default(), ended: false };
    while let Some((index, bytes)) = lines.next() {
        let understood = checked(bytes).is_some_and(|text| book.take(text));
        if !understood && lines.peek().is_some() {
            return Err(OracleError::Damaged { line: index + 1 });
        }
    }
    Ok(book)
}

impl Book {
    /// How many records of a signal have each fate: acknowledged, unknown, refused.
    pub fn totals(&self, signal: Signal) -> [u64; 3] {
        let mut totals = [0; 3];
        for request in self.requests[signal as usize - 1].values() {
            totals[request.fate as usize] += u64::from(request.count);
        }
        totals
    }

    fn take(&mut self, text: &str) -> bool {
        let mut words = text.split(' ');
        let word = words.next().unwrap_or("");
        if word == "end" {
            self.ended = true;
            return true;
        }
        let signal = words.next().and_then(|word| Signal::ALL.into_iter().find(|signal| signal.as_str() == word));
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(signal), Some(first), Some(count)) =
            (signal, number(), number().and_then(|count| u32::try_from(count).ok()))
        else {
            return false;
        };
        let requests = &mut self.requests[signal as usize - 1];
        if word == "sent" {
            let Some(time_ns) = number() else { return false };
            requests.insert(first, Request { count, time_ns, fate: Fate::Unknown });
            return true;
        }
        let fate = match word {
            "acked" => Fate::Acknowledged,
            "unknown" => Fate::Unknown,
            "refused" => Fate::Refused,
            _ => return false,
        };
        let Some(request) = requests.get_mut(&first).filter(|request| request.count == count) else { return false };
        request.fate = fate;
        true
    }
}

fn line(text: &str) -> String {
    let mut line = format!("{:08x} ", crc32c::crc32c(text.as_bytes()));
    writeln!(line, "{text}").expect("writing to a string cannot fail");
    line
}

/// The text of a complete line with the right checksum.
fn checked(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (crc, text) = line.split_once(' ')?;
    (u32::from_str_radix(crc, 16) == Ok(crc32c::crc32c(text.as_bytes()))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            run: "r".to_owned(),
            batch: 10,
            resources_per_request: 1,
            services: 1,
            versions: 1,
            instances: 1,
            cardinality: 1,
            record_bytes: 300,
        }
    }

    fn file() -> String {
        let mut file = header_line(&shape());
        for first in [0, 10, 20, 30] {
            file.push_str(&sent_line(Signal::Logs, first, 10, 5_000 + first));
        }
        file.push_str(&outcome_line(Signal::Logs, 0, 10, &Outcome::Acknowledged));
        file.push_str(&outcome_line(Signal::Logs, 20, 10, &Outcome::Refused("full, come\nback".to_owned())));
        file.push_str(&outcome_line(Signal::Logs, 10, 10, &Outcome::Unknown("reset".to_owned())));
        file
    }

    #[test]
    fn fates_are_read_back_and_a_request_without_one_is_unknown() {
        let mut text = file();
        let book = parse(text.as_bytes()).expect("valid");
        let fates: Vec<Fate> = book.requests[0].values().map(|request| request.fate).collect();
        assert_eq!(fates, [Fate::Acknowledged, Fate::Unknown, Fate::Refused, Fate::Unknown]);
        assert_eq!(book.totals(Signal::Logs), [10, 20, 10]);
        assert!(!book.ended);
        text.push_str(&end_line());
        assert!(parse(text.as_bytes()).expect("valid").ended);
    }

    #[test]
    fn a_torn_last_line_is_passed_over_wherever_it_is_cut() {
        let whole = file();
        let last = outcome_line(Signal::Logs, 30, 10, &Outcome::Acknowledged);
        for cut in 0..last.len() {
            let torn = format!("{whole}{}", &last[..cut]);
            assert_eq!(parse(torn.as_bytes()), parse(whole.as_bytes()), "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_names_the_line() {
        let mut bytes = file().into_bytes();
        let second_line = bytes.iter().position(|byte| *byte == b'\n').expect("there are lines") + 20;
        bytes[second_line] ^= 1;
        assert_eq!(parse(&bytes), Err(OracleError::Damaged { line: 2 }));
        assert_eq!(parse(b"something else\n"), Err(OracleError::Header));
    }
}
