//! Which text of a log line says what happened.
//!
//! Of a JSON object or a logfmt line its message; of several lines the first, and the top frame of a stack trace below it;
//! of a Python traceback its last line, where the exception is.

/// Nothing is looked for beyond this: what happened stands in front.
const BYTES_MAX: usize = 16_384;
/// Names of the member that holds the message, the usual ones first.
const MESSAGE_KEYS: [&[u8]; 5] = [b"message", b"msg", b"@message", b"log", b"error"];

/// The parts of a line that make its pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// What happened.
    pub text: &'a [u8],
    /// The frame on top of a stack trace, or empty.
    pub frame: &'a [u8],
}

/// Finds the parts in the body of a log record.
#[inline]
pub fn message(body: &[u8]) -> Message<'_> {
    let body = body[..body.len().min(BYTES_MAX)].trim_ascii_start();
    // Looking for one byte is far faster than looking for a word; most lines have neither `=` nor a second line.
    let text = match body.first() {
        Some(b'{') => json_message(body).unwrap_or(body),
        _ if body.contains(&b'=') => logfmt_message(body).unwrap_or(body),
        _ => body,
    };
    if !text.contains(&b'\n') {
        return Message { text, frame: b"" };
    }
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
        return Message { text, frame: b"" };
    };
    let (first, below) = (&text[..end], &text[end + 1..]);
    let frame = top_frame(below).unwrap_or(b"");
    if first.starts_with(b"Traceback") {
        let is_plain = |line: &&[u8]| line.first().is_some_and(|byte| !byte.is_ascii_whitespace());
        let last = below.rsplit(|byte| *byte == b'\n').find(is_plain);
        return Message { text: last.unwrap_or(first), frame };
    }
    Message { text: first, frame }
}

fn top_frame(lines: &[u8]) -> Option<&[u8]> {
    let frames = lines.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
    frames.take(8).find(|line| line.starts_with(b"at ") || line.starts_with(b"File \""))
}

/// The text of the first member that is called like a message. Escapes stay as they are: they mask the same everywhere.
fn json_message(body: &[u8]) -> Option<&[u8]> {
    MESSAGE_KEYS.iter().find_map(|key| {
        let mut from = 0;
        loop {
            let at = from + find(&body[from..], key)?;
            let end = at + key.len();
            from = end;
            let is_key = at > 0 && body[at - 1] == b'"' && body.get(end) == Some(&b'"');
            let after = body.get(end + 1..)?.trim_ascii_start();
            let value = after.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
            if let (true, Some([b'"', text @ ..])) = (is_key, value) {
                return Some(&text[..quoted_length(text)?]).filter(|text| !text.is_empty());
            }
        }
    })
}

/// The value of `msg=` or `message=` in a line that has other fields too.
fn logfmt_message(body: &[u8]) -> Option<&[u8]> {
    let at = [b"msg=".as_slice(), b"message="].into_iter().find_map(|key| {
        let at = find(body, key)?;
        (at == 0 || body[at - 1] == b' ').then_some(at + key.len())
    })?;
    match &body[at..] {
        [b'"', text @ ..] => Some(&text[..quoted_length(text)?]).filter(|text| !text.is_empty()),
        text => {
            let end = text.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(text.len());
            Some(&text[..end]).filter(|text| !text.is_empty())
        }
    }
}

/// Bytes up to the quote that closes; one behind a backslash does not.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let last = text.len().checked_sub(wanted.len())?;
    let first = wanted[0];
    let mut from = 0;
    while from <= last {
        from += text[from..=last].iter().position(|byte| *byte == first)?;
        if text[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}
