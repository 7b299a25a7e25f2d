//! One record's text in, one log record out, whatever the format. `auto` decides record by record, because programs mix: a
//! JSON logger, and a runtime that prints a plain line when it dies.

use super::access::scan::Fault;
use super::access::{self, Access, Server};
use super::fields::{Line, assign};
use super::rules::{Format, Rules};
use super::{json, logfmt, pattern, raw};

/// What a text was found to be.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed<'a> {
    /// A line of an access log; the text is its body.
    Access(Access<'a>),
    /// Anything else.
    Line(Line<'a>),
}

/// Reads a record that is not blank. The error is for the sender.
pub(super) fn parse<'a>(text: &'a str, rules: &Rules, received_ns: u64) -> Result<Parsed<'a>, String> {
    let bytes = text.as_bytes();
    let line = match rules.format {
        Format::Auto => return auto(text, rules, received_ns),
        Format::Access(server) if !json::looks_like(bytes) => {
            return access::read(bytes, server, rules, received_ns).map(Parsed::Access).map_err(reason);
        }
        Format::Json | Format::Access(_) => assign(json::parse(text)?, rules),
        Format::Logfmt => assign(logfmt::parse(text)?, rules),
        Format::Raw => raw::parse(text, rules),
        Format::Regex => match &rules.pattern {
            Some(pattern) => pattern::parse(text, pattern, rules)?,
            None => return Err("there is no pattern".to_owned()),
        },
    };
    Ok(Parsed::Line(line))
}

/// Whether a line is a record by itself, so that no other line belongs to it.
pub(super) fn stands_alone(line: &[u8], rules: &Rules) -> bool {
    if rules.format != Format::Auto {
        return false;
    }
    json::looks_like(line)
        || certain_access(line, rules, 0).is_some()
        || std::str::from_utf8(line).is_ok_and(|text| logfmt::parse_certain(text).is_some())
}

fn auto<'a>(text: &'a str, rules: &Rules, received_ns: u64) -> Result<Parsed<'a>, String> {
    let bytes = text.as_bytes();
    if json::looks_like(bytes) {
        return match json::parse(text) {
            Ok(fields) => Ok(Parsed::Line(assign(fields, rules))),
            // Lines that were joined because they looked like one text, and were none.
            Err(_) if bytes.contains(&b'\n') => Ok(Parsed::Line(raw::parse(text, rules))),
            Err(reason) => Err(reason),
        };
    }
    if let Some(access) = certain_access(bytes, rules, received_ns) {
        return Ok(Parsed::Access(access));
    }
    let fields = if bytes.contains(&b'\n') { None } else { logfmt::parse_certain(text) };
    Ok(Parsed::Line(fields.map_or_else(|| raw::parse(text, rules), |fields| assign(fields, rules))))
}

/// An access-log line beyond doubt: with a request that can be read, or at least with the address of a client.
fn certain_access<'a>(line: &'a [u8], rules: &Rules, received_ns: u64) -> Option<Access<'a>> {
    if !access::may_be(line) {
        return None;
    }
    let access = access::read(line, Server::Any, rules, received_ns).ok()?;
    let addressed = access.client.iter().any(|byte| matches!(byte, b'.' | b':'));
    (addressed || !access.request.method.is_empty()).then_some(access)
}

fn reason(fault: Fault) -> String {
    format!("not a line of this access log: expected {} at byte {}", fault.expected, fault.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::fields::Value;

    fn auto(text: &str) -> Line<'_> {
        match parse(text, &Rules::default(), 0).expect("readable") {
            Parsed::Line(line) => line,
            Parsed::Access(access) => panic!("{access:?}"),
        }
    }

    #[test]
    fn auto_tells_json_logfmt_and_plain_text_apart() {
        let line = auto(r#"{"level":"error","msg":"no stock","service":{"name":"cart","version":"1.2"},"n":3}"#);
        assert_eq!((line.severity, line.message.as_deref()), (17, Some("no stock")));
        assert_eq!((line.identity.service.as_deref(), line.identity.version.as_deref()), (Some("cart"), Some("1.2")));
        assert_eq!(line.attributes, [("n".into(), Value::Int(3))]);

        let line = auto(r#"time=2026-11-23T10:00:00Z level=warn msg="slow \"query\"" took=1.5"#);
        assert_eq!((line.severity, line.message.as_deref()), (13, Some("slow \"query\"")));
        assert_eq!(line.time_ns, Some(1_795_428_000_000_000_000));
        assert_eq!(line.attributes, [("took".into(), Value::Double(1.5))]);

        let line = auto("2026-11-23T10:00:00.5+01:00 ERROR a = b went wrong, user=5");
        assert_eq!((line.severity, line.time_ns), (17, Some(1_795_424_400_500_000_000)));
        assert_eq!(line.message.as_deref(), Some("2026-11-23T10:00:00.5+01:00 ERROR a = b went wrong, user=5"));
        assert!(line.attributes.is_empty());
    }

    #[test]
    fn a_line_that_begins_as_json_must_be_json() {
        let error = parse(r#"{"level":"error","#, &Rules::default(), 0).expect_err("broken");
        assert!(error.contains("JSON"), "{error}");
        assert_eq!(auto("{main} thrown").message.as_deref(), Some("{main} thrown"));
        let rules = Rules { format: Format::Json, ..Rules::default() };
        for bad in ["17", "\"text\"", "[1]", "null", "{\"a\":1} x", "{\"a\":1e400}"] {
            assert!(parse(bad, &rules, 0).is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_takes_for_an_access_log_only_what_is_one() {
        let is_access = |text: &str| matches!(parse(text, &Rules::default(), 0), Ok(Parsed::Access(_)));
        assert!(is_access(r#"10.0.0.1 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5"#));
        assert!(is_access(r#"127.0.0.1 - - [26/Nov/2026 10:55:41] "GET / HTTP/1.1" 200 -"#));
        assert!(is_access("10.0.0.1:5 [06/Feb/2026:12:14:14.655] f b/s 0/0/3 12 -- 1/1/1/1/0 0/0"));
        assert!(is_access("Connect from 10.0.3.1:39156 to 10.0.3.1:7701 (front/HTTP)"));
        for other in [
            r#"worker [23/Nov/2026:10:00:00 +0000] "job done" 200 5"#,
            "[23/Nov/2026:10:00:00 +0000] said something",
            "Connect from here to there",
            "10.0.0.1:5 [06/Feb/2026:12:14:14.655] said something",
            "2026-11-23 10:00:00 INFO [main] [2026-11-23T10:00:00Z] x",
        ] {
            assert!(!is_access(other), "{other}");
        }
    }
}
