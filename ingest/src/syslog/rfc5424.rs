//! The header of RFC 5424: `1 TIME HOST APP PROCID MSGID STRUCTURED-DATA MESSAGE`, with `-` for what is not there.
//!
//! Pure. Strict where the form decides which standard this is (version, number of fields, time, brackets), and not where only
//! lengths and alphabets are at stake: names that are too long are common, and no reason to lose what they say.

use std::borrow::Cow;

use super::message::{Message, Parameter, without_mark};
use crate::lines::time;

/// What is behind the priority; `None` when it is not of this standard.
pub(super) fn read(rest: &[u8]) -> Option<Message<'_>> {
    let rest = rest.strip_prefix(b"1 ")?;
    let (stamp, rest) = field(rest)?;
    let time_ns = match stamp {
        b"-" => None,
        stamp => Some(time::from_text(std::str::from_utf8(stamp).ok()?, None)?),
    };
    let (host, rest) = field(rest)?;
    let (app, rest) = field(rest)?;
    let (process, rest) = field(rest)?;
    let (kind, rest) = field(rest)?;
    let (data, rest) = structured_data(rest)?;
    let body = match rest {
        [] => rest,
        [b' ', body @ ..] => without_mark(body),
        _ => return None,
    };
    let [host, app, process, kind] = [host, app, process, kind].map(stated);
    Some(Message { priority: None, time_ns, host, app, process, kind, data, body })
}

/// Bytes up to a blank, and what is behind it.
fn field(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = rest.iter().position(|byte| *byte == b' ')?;
    (end > 0).then(|| (&rest[..end], &rest[end + 1..]))
}

fn stated(field: &[u8]) -> Option<Cow<'_, str>> {
    (field != b"-").then(|| String::from_utf8_lossy(field))
}

fn structured_data(rest: &[u8]) -> Option<(Vec<Parameter<'_>>, &[u8])> {
    if let Some(rest) = rest.strip_prefix(b"-") {
        return Some((Vec::new(), rest));
    }
    let (mut found, mut rest) = (Vec::new(), rest);
    if !rest.starts_with(b"[") {
        return None;
    }
    while let Some(inside) = rest.strip_prefix(b"[") {
        rest = element(inside, &mut found)?;
    }
    Some((found, rest))
}

/// An element behind its bracket. Gives what is behind the closing one.
fn element<'a>(inside: &'a [u8], found: &mut Vec<Parameter<'a>>) -> Option<&'a [u8]> {
    let end = inside.iter().position(|byte| matches!(byte, b' ' | b']' | b'=' | b'"'))?;
    let (id, mut rest) = inside.split_at(end);
    if id.is_empty() {
        return None;
    }
    loop {
        match rest {
            [b']', behind @ ..] => return Some(behind),
            // Some senders put more than one blank between parameters, or one before the bracket.
            [b' ', behind @ ..] => rest = behind,
            _ => rest = parameter(id, rest, found)?,
        }
    }
}

/// `name="value"`, and what is behind it.
fn parameter<'a>(id: &'a [u8], rest: &'a [u8], found: &mut Vec<Parameter<'a>>) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b']' | b'=' | b'"'))?;
    let (name, rest) = rest.split_at(end);
    let rest = rest.strip_prefix(b"=\"")?;
    let (mut value, mut at) = (Vec::new(), 0);
    loop {
        match (rest.get(at)?, rest.get(at + 1)) {
            (b'\\', Some(escaped @ (b'"' | b'\\' | b']'))) => {
                value.push(*escaped);
                at += 2;
            }
            (b'"', _) => break,
            // Another escape is two characters, says the standard.
            (byte, _) => {
                value.push(*byte);
                at += 1;
            }
        }
    }
    let (element, name) = (String::from_utf8_lossy(id), String::from_utf8_lossy(name));
    found.push(Parameter { element, name, value: String::from_utf8_lossy(&value).into_owned() });
    Some(&rest[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(message: &Message<'_>) -> Vec<String> {
        message.data.iter().map(|p| format!("{}.{}={}", p.element, p.name, p.value)).collect()
    }

    #[test]
    fn the_examples_of_the_standard() {
        let message =
            read("1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed".as_bytes())
                .expect("valid");
        assert_eq!(message.time_ns, Some(1_065_910_455_003_000_000));
        assert_eq!((message.host.as_deref(), message.app.as_deref()), (Some("mymachine.example.com"), Some("su")));
        assert_eq!((message.process.as_deref(), message.kind.as_deref()), (None, Some("ID47")));
        assert_eq!(message.body, b"'su root' failed");

        let message = read(
            br#"1 2003-10-11T22:14:15.003Z host evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application"][examplePriority@32473 class="high"]"#,
        )
        .expect("valid");
        let expected = [
            "exampleSDID@32473.iut=3",
            "exampleSDID@32473.eventSource=Application",
            "examplePriority@32473.class=high",
        ];
        assert_eq!(data(&message), expected);
        assert_eq!(message.body, b"");
    }

    #[test]
    fn values_are_unescaped_and_odd_blanks_do_no_harm() {
        let message = read(br#"1 - - - - - [a b="\"x\\y\] \n"  c="" ] text [d e="f"]"#).expect("valid");
        assert_eq!(data(&message), [r#"a.b="x\y] \n"#, "a.c="]);
        assert_eq!(message.body, br#"text [d e="f"]"#);
        assert_eq!(message.time_ns, None);
        assert!(read(b"1 - - - - - [a]").expect("valid").data.is_empty());
    }

    #[test]
    fn what_is_not_of_the_standard_is_left_to_the_other() {
        for text in [
            "",
            "1",
            "1 ",
            "2 - - - - - - x",
            "1 yesterday host app - - - x",
            "1 - host app - -",
            "1 -  app - - - x",
            "1 - host app - - x",
            "1 - host app - - -x",
            "1 - host app - - [a b=\"c\" x",
            "1 - host app - - [a b=c] x",
            "1 - host app - - [] x",
            "1 2026-02-06T12:14:14 host app - - - a time without a zone",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
