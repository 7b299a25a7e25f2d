//! A syslog message: its header taken apart, whatever of the two standards the sender follows, or believes to follow.
//!
//! Pure, and total: there is no message that cannot be read. What is not understood stays in the text, so nothing is lost.
//! RFC 5424 is read when the version and every field of the header are as it says (`rfc5424.rs`); everything else with the
//! customs that RFC 3164 wrote down (`rfc3164.rs`).

use std::borrow::Cow;

use super::{rfc3164, rfc5424};
use crate::posted::BYTE_ORDER_MARK;

/// A message, its parts still where they came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) priority: Option<Priority>,
    /// Nanoseconds since the epoch.
    pub(super) time_ns: Option<u64>,
    pub(super) host: Option<Cow<'a, str>>,
    pub(super) app: Option<Cow<'a, str>>,
    pub(super) process: Option<Cow<'a, str>>,
    pub(super) kind: Option<Cow<'a, str>>,
    /// Structured data: element, parameter and value, in order.
    pub(super) data: Vec<Parameter<'a>>,
    /// The text behind the header.
    pub(super) body: &'a [u8],
}

/// A parameter of structured data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    pub(super) element: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) value: String,
}

/// Where a message comes from and how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Priority {
    pub(super) facility: u8,
    /// 0, an emergency, to 7, for debugging.
    pub(super) severity: u8,
}

/// What a sender's clock is taken for when a stamp does not say it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// When the message came: stamps of RFC 3164 have no year.
    pub(super) received_ns: i64,
    /// Seconds east of UTC of stamps without a zone.
    pub(super) offset_s: i32,
}

/// Takes a message apart.
pub(super) fn read<'a>(message: &'a [u8], clock: Clock) -> Message<'a> {
    let message = without_mark(message);
    let Some((priority, rest)) = priority(message) else {
        return Message { body: message, ..Message::default() };
    };
    let read = rfc5424::read(rest).unwrap_or_else(|| rfc3164::read(rest, clock));
    Message { priority: Some(priority), body: without_mark(read.body), ..read }
}

/// A text without the byte order mark that RFC 5424 puts in front of one, and other senders do too.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(text)
}

/// `<34>` and what is behind it.
fn priority(message: &[u8]) -> Option<(Priority, &[u8])> {
    let rest = message.strip_prefix(b"<")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) || rest.get(digits) != Some(&b'>') {
        return None;
    }
    let number = rest[..digits].iter().fold(0u16, |number, digit| number * 10 + u16::from(digit - b'0'));
    // 23 facilities and 7 severities.
    let number = u8::try_from(number).ok().filter(|number| *number <= 191)?;
    Some((Priority { facility: number >> 3, severity: number & 7 }, &rest[digits + 1..]))
}

impl Priority {
    /// OpenTelemetry's number of the severity, by the table of its log data model.
    pub(super) fn severity_number(self) -> i32 {
        [21, 19, 18, 17, 13, 10, 9, 5][usize::from(self.severity)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLOCK: Clock = Clock { received_ns: 1_795_428_000_000_000_000, offset_s: 0 };

    #[test]
    fn a_message_without_a_priority_is_its_own_text() {
        for text in ["", "plain", "<>x", "<1234>x", "<192>x", "<-1>x", "<13", "< 13>x"] {
            let message = read(text.as_bytes(), CLOCK);
            assert_eq!(message, Message { body: text.as_bytes(), ..Message::default() }, "{text}");
        }
        let message = read(b"<191>", CLOCK);
        assert_eq!(message.priority, Some(Priority { facility: 23, severity: 7 }));
        assert_eq!(message.body, b"");
    }

    #[test]
    fn severities_are_those_of_the_log_data_model() {
        let of = |severity| Priority { facility: 1, severity };
        let found: Vec<_> = (0..8).map(|severity| of(severity).severity_number()).collect();
        assert_eq!(found, [21, 19, 18, 17, 13, 10, 9, 5]);
    }

    proptest! {
        #[test]
        fn every_message_can_be_read_and_keeps_its_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let message = read(&bytes, CLOCK);
            prop_assert!(bytes.ends_with(message.body));
        }

        #[test]
        fn nearly_well_formed_messages_too(
            text in r#"<[0-9]{1,3}>(1 )?(-|2026-02-06T12:14:14(\.[0-9]{0,9})?(Z|\+01:00)?|Feb [ 0-9][0-9] 12:14:14( 2026)?)[ :]{0,2}[a-z0-9.]{0,9} ?[a-z]{0,5}(\[[0-9]{0,5}\])?:? ?(-|\[[a-z@= ]{0,9}"?[\\"\]a-z]{0,9}"?\]?){0,3} ?.{0,20}"#
        ) {
            let message = read(text.as_bytes(), CLOCK);
            prop_assert!(text.as_bytes().ends_with(message.body));
        }
    }
}
