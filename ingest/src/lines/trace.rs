//! Which lines belong to the record before them: stack traces of the usual languages, and what is indented. The rules are
//! listed in `docs/lines.md`; they look at the lines of one record from its first on, and at nothing else.

use super::raw;

const PYTHON: &[u8] = b"Traceback (most recent call last):";
/// Beginnings of lines that go on with what was before, in Java, C#, JavaScript and their relatives.
const CONTINUING: [&[u8]; 6] = [b"at ", b"Caused by:", b"Suppressed:", b"...", b"--- End of ", b"Wrapped by:"];
/// Python's sentences between the traces of a chain of exceptions.
const CHAINING: [&[u8]; 2] = [b"During handling of the above exception", b"The above exception was the direct cause"];
/// Lines of a Rust panic behind its message.
const RUST: [&[u8]; 2] = [b"note: ", b"stack backtrace:"];
/// A record of this level or worse may be followed by the exception that it tells of.
const TROUBLE: i32 = 13;

/// The trace that a record is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    /// Frames of a Python traceback: the line that is not indented says what was raised.
    Python,
    /// Behind that line: another traceback of the chain may follow.
    PythonRaised,
    /// A panic or fatal error of Go, before its goroutines.
    GoPanic,
    /// A goroutine: everything up to an empty line.
    Goroutine,
    /// The head of a Rust panic: the message comes next.
    RustHead,
    Rust,
}

/// A record that may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    block: Block,
    troubled: bool,
    lines: usize,
}

impl Trace {
    /// Whether `next` cannot belong to a record that begins with `first`, by their first bytes: so it is with most lines,
    /// which begin with a number, a bracket or a brace.
    #[inline]
    pub(super) fn is_out_of_question(first: &[u8], next: &[u8]) -> bool {
        let plain = !matches!(first.first(), Some(b'T' | b'p' | b'f' | b'g' | b't'));
        plain && matches!(next.first(), Some(b'0'..=b'9' | b'{' | b'<' | b'['))
    }

    /// A record that begins with this line.
    pub(super) fn beginning(line: &[u8]) -> Self {
        let troubled = raw::level(line).is_some_and(|(severity, _)| severity >= TROUBLE);
        Trace { block: block_of(line).unwrap_or(Block::None), troubled, lines: 1 }
    }

    /// Whether the record goes on with this line, which is not blank. `after_blank`: empty lines are between the two.
    pub(super) fn goes_on(&mut self, line: &[u8], after_blank: bool) -> bool {
        let goes_on = if after_blank { self.goes_on_after_blank(line) } else { self.goes_on_at_once(line) };
        self.lines += usize::from(goes_on);
        goes_on
    }

    fn goes_on_at_once(&mut self, line: &[u8]) -> bool {
        if matches!(line[0], b' ' | b'\t') {
            return true;
        }
        if begins_a_record(line) {
            return false;
        }
        match self.block {
            Block::Python => {
                self.block = Block::PythonRaised;
                return true;
            }
            Block::RustHead => {
                self.block = Block::Rust;
                return true;
            }
            Block::Goroutine => return true,
            Block::GoPanic if line.starts_with(b"[signal ") => return true,
            Block::Rust if starts_with_any(line, &RUST) => return true,
            Block::PythonRaised if starts_with_any(line, &CHAINING) => return true,
            _ => {}
        }
        if starts_with_any(line, &CONTINUING) || matches!(line[0], b'}' | b')' | b']') {
            return true;
        }
        // What a logger printed behind its own line: the exception.
        if self.troubled && self.lines == 1 && names_exception(line) {
            return true;
        }
        self.begins_block(line)
    }

    fn goes_on_after_blank(&mut self, line: &[u8]) -> bool {
        match self.block {
            Block::PythonRaised if starts_with_any(line, &CHAINING) => true,
            Block::PythonRaised if line.starts_with(PYTHON) => self.begins_block(line),
            Block::GoPanic | Block::Goroutine => is_goroutine(line) && self.begins_block(line),
            _ => false,
        }
    }

    /// A trace in the middle of a record: of one that tells of trouble, or is a trace already. A panic is always a record of
    /// its own.
    fn begins_block(&mut self, line: &[u8]) -> bool {
        if !self.troubled && self.block == Block::None {
            return false;
        }
        match block_of(line) {
            Some(block @ (Block::Python | Block::Goroutine)) => {
                self.block = block;
                true
            }
            _ => false,
        }
    }
}

/// The severity of a record that is a trace: a program that ended with it, or an exception; 0 for any other text.
pub(super) fn severity(text: &[u8]) -> i32 {
    let (first, rest) = text.split_at(memchr::memchr(b'\n', text).unwrap_or(text.len()));
    match block_of(first) {
        Some(Block::GoPanic | Block::RustHead | Block::Rust) => 21,
        Some(Block::Python) => 17,
        _ if first.starts_with(b"Exception in thread ") || first.starts_with(b"Unhandled exception") => 17,
        _ if names_exception(first) && rest.trim_ascii_start().starts_with(b"at ") => 17,
        _ => 0,
    }
}

fn block_of(line: &[u8]) -> Option<Block> {
    if line.starts_with(PYTHON) {
        Some(Block::Python)
    } else if line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ") {
        Some(Block::GoPanic)
    } else if is_goroutine(line) {
        Some(Block::Goroutine)
    } else if line.starts_with(b"thread '") && memchr::memmem::find(line, b" panicked at ").is_some() {
        // Since Rust 1.73 the message has a line of its own.
        Some(if line.trim_ascii_end().ends_with(b":") { Block::RustHead } else { Block::Rust })
    } else {
        None
    }
}

/// `goroutine 17 [running]:`.
fn is_goroutine(line: &[u8]) -> bool {
    line.strip_prefix(b"goroutine ").is_some_and(|rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0 && rest[digits..].starts_with(b" [")
    })
}

/// `java.lang.IllegalStateException: closed`, `TypeError: x is not a function`.
fn names_exception(line: &[u8]) -> bool {
    let len =
        line.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"._$".contains(byte))).unwrap_or(line.len());
    let (name, rest) = line.split_at(len);
    let named = [&b"Exception"[..], b"Error", b"Throwable", b"Failure"].iter().any(|end| name.ends_with(end));
    named && matches!(rest.first(), None | Some(b':' | b'\r' | b' '))
}

/// A time, or a JSON object: whatever stands before it is over.
fn begins_a_record(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"[").unwrap_or(line);
    let dated = line.len() > 8
        && line[..2].iter().all(u8::is_ascii_digit)
        && (line[2..4].iter().all(u8::is_ascii_digit) && matches!(line[4], b'-' | b'/')
            || matches!((line[2], line[5]), (b':', b':') | (b'/', b'/')));
    dated || line.starts_with(b"{\"")
}

fn starts_with_any(line: &[u8], beginnings: &[&[u8]]) -> bool {
    beginnings.iter().any(|beginning| line.starts_with(beginning))
}
