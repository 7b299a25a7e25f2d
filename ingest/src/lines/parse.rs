//! One line in, one log record out, whatever the format. `auto` decides line by line, because programs mix: a JSON logger,
//! and a runtime that prints a plain line when it dies.

use super::fields::{Line, assign};
use super::{json, logfmt, raw};
use crate::error::{IngestError, shortened};

/// Formats that the design names and this version does not read yet.
const LATER: [&str; 4] = ["nginx", "httpd", "haproxy", "varnish"];

/// How lines are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Auto,
    Json,
    Logfmt,
    Raw,
}

impl Format {
    pub(super) fn from_name(name: &str) -> Result<Self, IngestError> {
        const SUPPORTED: &str = "supported are auto, json, logfmt and raw";
        let reason = match name {
            "" | "auto" => return Ok(Format::Auto),
            "json" => return Ok(Format::Json),
            "logfmt" => return Ok(Format::Logfmt),
            "raw" => return Ok(Format::Raw),
            _ if LATER.contains(&name) => format!("{name} is not yet supported by this version; {SUPPORTED}"),
            _ => format!("{:?} is not a known format; {SUPPORTED}", shortened(name)),
        };
        Err(IngestError::Malformed { what: "bad format", reason })
    }
}

/// Reads a line that is not blank. The error is for the sender.
pub(super) fn parse(line: &[u8], format: Format, bytes_max: usize) -> Result<Line, String> {
    if line.len() > bytes_max {
        return Err(format!("longer than {bytes_max} bytes"));
    }
    match format {
        Format::Json => json::parse(line).map(assign),
        Format::Logfmt => {
            let text = String::from_utf8_lossy(line);
            logfmt::parse(&text).map(assign)
        }
        Format::Raw => Ok(raw::parse(line)),
        Format::Auto if json::looks_like(line) => json::parse(line).map(assign),
        Format::Auto => {
            let text = String::from_utf8_lossy(line);
            Ok(logfmt::parse_certain(&text).map_or_else(|| raw::parse(line), assign))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::fields::Value;

    fn auto(line: &str) -> Line {
        parse(line.as_bytes(), Format::Auto, 1000).expect("readable")
    }

    #[test]
    fn auto_tells_json_logfmt_and_plain_text_apart() {
        let line = auto(r#"{"level":"error","msg":"no stock","service":{"name":"cart","version":"1.2"},"n":3}"#);
        assert_eq!((line.severity, line.message.as_deref()), (17, Some("no stock")));
        assert_eq!((line.identity.service.as_deref(), line.identity.version.as_deref()), (Some("cart"), Some("1.2")));
        assert_eq!(line.attributes, [("n".to_owned(), Value::Int(3))]);

        let line = auto(r#"time=2026-11-23T10:00:00Z level=warn msg="slow \"query\"" took=1.5"#);
        assert_eq!((line.severity, line.message.as_deref()), (13, Some("slow \"query\"")));
        assert_eq!(line.time_ns, Some(1_795_428_000_000_000_000));
        assert_eq!(line.attributes, [("took".to_owned(), Value::Double(1.5))]);

        let line = auto("2026-11-23T10:00:00.5+01:00 ERROR a = b went wrong, user=5");
        assert_eq!((line.severity, line.time_ns), (17, Some(1_795_424_400_500_000_000)));
        assert_eq!(line.message.as_deref(), Some("2026-11-23T10:00:00.5+01:00 ERROR a = b went wrong, user=5"));
        assert!(line.attributes.is_empty());
    }

    #[test]
    fn a_line_that_begins_as_json_must_be_json() {
        let error = parse(br#"{"level":"error","#, Format::Auto, 1000).expect_err("broken");
        assert!(error.contains("JSON"), "{error}");
        assert_eq!(auto("{main} thrown").message.as_deref(), Some("{main} thrown"));
        for bad in ["17", "\"text\"", "[1]", "null", "{\"a\":1} x", "{\"a\":1e400}"] {
            assert!(parse(bad.as_bytes(), Format::Json, 1000).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_too_long_is_rejected() {
        assert_eq!(parse(&[b'x'; 11], Format::Raw, 10).expect_err("too long"), "longer than 10 bytes");
    }

    #[test]
    fn formats_of_later_versions_are_named() {
        let error = Format::from_name("nginx").expect_err("not yet").to_string();
        assert!(error.contains("not yet supported") && error.contains("auto, json, logfmt and raw"), "{error}");
        assert!(Format::from_name("xml").is_err());
    }
}
