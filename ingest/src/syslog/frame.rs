//! Messages out of a TCP stream (RFC 6587): octet counting (`57 <13>1 …`) or a line each, decided message by message,
//! because relays mix the two.
//!
//! Pure, and bounded: the buffer never holds more than one message and one read. A message that is too long is passed over
//! without being kept. A count that lies is found by what follows it: a message begins with `<`, or with digits, a blank and
//! `<`; anything else behind a counted message is passed over up to the next thing that looks like a beginning.

/// Digits that a count may have: 99 999 999 bytes are far beyond every message.
const COUNT_DIGITS_MAX: usize = 8;
/// What has to be in the buffer to tell a count: its digits, the blank, and `<`.
const COUNT_HEAD_MAX: usize = COUNT_DIGITS_MAX + 2;
/// What may stand between a message and its line end.
const LINE_END_MAX: usize = 2;

/// Cuts a stream into messages.
#[derive(Debug)]
pub(super) struct Framer {
    buffer: Vec<u8>,
    /// Where the unread part of `buffer` begins.
    start: usize,
    message_bytes_max: usize,
    passing_over: PassingOver,
    /// The message before was counted, so that another beginning is expected right behind it.
    after_counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassingOver {
    Nothing,
    /// The rest of a counted message.
    Bytes(usize),
    /// Up to and including the next line end.
    Line,
    /// Up to the next line end or counted beginning.
    Garbage,
}

/// What comes out of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A message without its frame; never empty.
    Message(Vec<u8>),
    /// Something that was not kept, with a word for counters.
    Rejected(&'static str),
}

/// A message longer than the limit.
pub(super) const TOO_LONG: &str = "too_long";
/// Bytes between messages that are no message: a count lied.
pub(super) const BAD_FRAME: &str = "bad_frame";

impl Framer {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        let passing_over = PassingOver::Nothing;
        Framer { buffer: Vec::new(), start: 0, message_bytes_max, passing_over, after_counted: false }
    }

    /// More of the stream. Take everything out with [`Framer::next`] before pushing again.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, if it is complete. `ended`: nothing more will come, so what there is of the last one is all of it.
    pub(super) fn next(&mut self, ended: bool) -> Option<Frame> {
        loop {
            if !self.pass_over() {
                return None;
            }
            let unread = &self.buffer[self.start..];
            let blank = unread.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
            self.start += blank;
            let unread = &self.buffer[self.start..];
            let taken = match beginning(unread, ended) {
                Beginning::Unknown => return None,
                Beginning::Counted { head, count } => self.counted(head, count, ended)?,
                Beginning::Line if self.after_counted && unread[0] != b'<' => {
                    self.after_counted = false;
                    self.passing_over = PassingOver::Garbage;
                    Some(Frame::Rejected(BAD_FRAME))
                }
                Beginning::Line => self.line(ended)?,
            };
            if taken.is_some() {
                return taken;
            }
        }
    }

    /// Goes behind what is to be passed over; false when the buffer ends before that.
    fn pass_over(&mut self) -> bool {
        let unread = &self.buffer[self.start..];
        let end = match self.passing_over {
            PassingOver::Nothing => return true,
            PassingOver::Bytes(count) => {
                let found = count.min(unread.len());
                self.passing_over = PassingOver::Bytes(count - found);
                (found == count).then_some(found)
            }
            PassingOver::Line => unread.iter().position(|byte| *byte == b'\n').map(|at| at + 1),
            PassingOver::Garbage => garbage_end(unread),
        };
        match end {
            Some(end) => {
                self.start += end;
                self.passing_over = PassingOver::Nothing;
                true
            }
            None => {
                // The last bytes may be the beginning of a count, and the one before them tells.
                let keep = if self.passing_over == PassingOver::Garbage { COUNT_HEAD_MAX + 1 } else { 0 };
                self.start = self.buffer.len() - keep.min(unread.len());
                false
            }
        }
    }

    /// `None`: more bytes are needed. `Some(None)`: an empty message, which is passed over.
    fn counted(&mut self, head: usize, count: usize, ended: bool) -> Option<Option<Frame>> {
        let unread = &self.buffer[self.start..];
        if count > self.message_bytes_max {
            self.start += head;
            self.passing_over = PassingOver::Bytes(count);
            self.after_counted = true;
            return Some(Some(Frame::Rejected(TOO_LONG)));
        }
        let available = unread.len() - head;
        if available < count && !ended {
            return None;
        }
        let end = head + count.min(available);
        let message = trimmed(&unread[head..end]).to_vec();
        self.start += end;
        self.after_counted = true;
        Some((!message.is_empty()).then_some(Frame::Message(message)))
    }

    fn line(&mut self, ended: bool) -> Option<Option<Frame>> {
        self.after_counted = false;
        let unread = &self.buffer[self.start..];
        let Some(end) = unread.iter().position(|byte| *byte == b'\n').or(ended.then_some(unread.len())) else {
            if unread.len() <= self.message_bytes_max + LINE_END_MAX {
                return None;
            }
            self.passing_over = PassingOver::Line;
            return Some(Some(Frame::Rejected(TOO_LONG)));
        };
        let message = trimmed(&unread[..end]);
        let frame = if end > self.message_bytes_max + LINE_END_MAX || message.len() > self.message_bytes_max {
            Some(Frame::Rejected(TOO_LONG))
        } else {
            (!message.is_empty()).then(|| Frame::Message(message.to_vec()))
        };
        self.start += end;
        Some(frame)
    }
}

enum Beginning {
    /// Too little is there to tell.
    Unknown,
    Counted {
        /// Bytes of the count and the blank.
        head: usize,
        count: usize,
    },
    Line,
}

fn beginning(unread: &[u8], ended: bool) -> Beginning {
    if unread.is_empty() {
        return Beginning::Unknown;
    }
    let digits = unread.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > COUNT_DIGITS_MAX || unread[0] == b'0' {
        return Beginning::Line;
    }
    match (unread.get(digits), unread.get(digits + 1)) {
        (Some(b' '), Some(b'<')) => {
            let count = unread[..digits].iter().fold(0, |count, digit| count * 10 + usize::from(digit - b'0'));
            Beginning::Counted { head: digits + 1, count }
        }
        (None, _) | (Some(b' '), None) if !ended => Beginning::Unknown,
        _ => Beginning::Line,
    }
}

/// Where the garbage ends: behind a line end, or at a counted beginning. Its first byte is known to be neither.
fn garbage_end(unread: &[u8]) -> Option<usize> {
    (1..unread.len()).find_map(|at| {
        if unread[at] == b'\n' {
            return Some(at + 1);
        }
        // In the middle of a number is not its beginning.
        let begins = unread[at].is_ascii_digit() && !unread[at - 1].is_ascii_digit();
        (begins && matches!(beginning(&unread[at..], true), Beginning::Counted { .. })).then_some(at)
    })
}

/// A message without the line end or NUL that some senders put at its end.
pub(super) fn trimmed(mut message: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r' | 0] = message {
        message = rest;
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 40;

    fn frames(chunks: &[&[u8]]) -> Vec<Frame> {
        let mut framer = Framer::new(MAX);
        let mut found = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            while let Some(frame) = framer.next(false) {
                found.push(frame);
            }
            assert!(framer.buffer.len() - framer.start <= MAX + COUNT_HEAD_MAX, "bounded");
        }
        while let Some(frame) = framer.next(true) {
            found.push(frame);
        }
        found
    }

    fn message(text: &str) -> Frame {
        Frame::Message(text.as_bytes().to_vec())
    }

    #[test]
    fn counted_messages_and_lines_mix_in_one_stream() {
        let check = |stream: &[u8], expected: &[Frame]| {
            assert_eq!(frames(&[stream]), expected, "{}", String::from_utf8_lossy(stream));
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(frames(&bytes), expected, "byte by byte: {}", String::from_utf8_lossy(stream));
        };
        check(b"6 <1>abc6 <1>def", &[message("<1>abc"), message("<1>def")]);
        check(b"<1>abc\n<1>def\r\n\n", &[message("<1>abc"), message("<1>def")]);
        check(
            b"6 <1>abc<2>line\n8 <1>a\nb\n\n6 <1>def",
            &[message("<1>abc"), message("<2>line"), message("<1>a\nb"), message("<1>def")],
        );
        check(b"2026-11-26 no header\n12 monkeys\n", &[message("2026-11-26 no header"), message("12 monkeys")]);
        check(b"<1>without an end", &[message("<1>without an end")]);
        check(b"4 <1>\n", &[message("<1>")]);
        check(b"", &[]);
    }

    #[test]
    fn a_count_that_lies_costs_what_is_between_and_no_more() {
        let rejected = || Frame::Rejected(BAD_FRAME);
        // Too small: the rest of the message is no beginning.
        assert_eq!(frames(&[b"6 <1>abc and more6 <1>def"]), [message("<1>abc"), rejected(), message("<1>def")]);
        assert_eq!(frames(&[b"6 <1>abc and more\n<1>def\n"]), [message("<1>abc"), rejected(), message("<1>def")]);
        // Too large: it takes from the next one, and the one behind that is found.
        assert_eq!(frames(&[b"9 <1>abc6 <1>def6 <1>ghi"]), [message("<1>abc6 <"), rejected(), message("<1>ghi")]);
        // Larger than everything that came.
        assert_eq!(frames(&[b"30 <1>abc"]), [message("<1>abc")]);
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_the_next_is_read() {
        let long = "x".repeat(3 * MAX);
        let counted = format!("123 <1>{long}6 <1>abc");
        let line = format!("<1>{long}\n<1>abc\n");
        for stream in [counted.as_bytes(), line.as_bytes()] {
            let expected = [Frame::Rejected(TOO_LONG), message("<1>abc")];
            assert_eq!(frames(&[stream]), expected);
            assert_eq!(frames(&stream.chunks(7).collect::<Vec<_>>()), expected);
        }
    }

    proptest! {
        #[test]
        fn how_the_stream_is_cut_does_not_matter(
            pieces in prop::collection::vec(prop_oneof![
                "[ -~]{0,60}".prop_map(String::into_bytes),
                "[0-9]{1,9} <[0-9]{1,3}>[a-z \n]{0,30}".prop_map(String::into_bytes),
                Just(b"\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..20),
            ], 0..12),
            cut in 1usize..30,
        ) {
            let stream = pieces.concat();
            let whole = frames_unbounded(&[&stream]);
            let cut: Vec<&[u8]> = stream.chunks(cut).collect();
            prop_assert_eq!(whole, frames_unbounded(&cut));
        }

        #[test]
        fn every_counted_message_comes_out_as_it_went_in(messages in prop::collection::vec("<[0-9]{1,3}>[ -~\n]{0,30}[a-z]", 0..10)) {
            let stream: String = messages.iter().map(|text| format!("{} {text}", text.len())).collect();
            let expected: Vec<Frame> = messages.iter().map(|text| message(text)).collect();
            prop_assert_eq!(frames_unbounded(&[stream.as_bytes()]), expected);
        }
    }

    /// Without the check of the bound: a chunk of the whole stream is longer than it.
    fn frames_unbounded(chunks: &[&[u8]]) -> Vec<Frame> {
        let mut framer = Framer::new(MAX);
        let mut found = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            found.extend(std::iter::from_fn(|| framer.next(false)));
        }
        found.extend(std::iter::from_fn(|| framer.next(true)));
        found
    }
}
