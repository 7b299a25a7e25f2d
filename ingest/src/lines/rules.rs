//! How the lines of a request are to be read: what the query says, checked, with what the configuration adds.
//!
//! Every mistake is told to the sender before a line is read. Nothing here looks at a line.

use std::sync::Arc;

use regex::Regex;
use serde::Deserialize;
use shipwake_model::release;

use super::access::Server;
use super::encode::Identity;
use super::pattern::Patterns;
use super::time::zone_from_text;
use super::upstreams::{Upstream, Upstreams};
use crate::error::{IngestError, shortened};
use crate::sender::Sender;

const FORMATS: &str = "formats are auto, json, logfmt, nginx, httpd, haproxy, varnish, regex and raw";

/// What the query of a request may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    service: Option<String>,
    version: Option<String>,
    environment: Option<String>,
    instance: Option<String>,
    format: Option<String>,
    pattern: Option<String>,
    upstream: Option<String>,
    tz: Option<String>,
    multiline: Option<String>,
    duration_unit: Option<String>,
}

/// Which kind of lines is to be expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// Each line tells.
    #[default]
    Auto,
    Json,
    Logfmt,
    /// An access log of this server, or lines of JSON in its place.
    Access(Server),
    /// By a pattern of the sender's.
    Regex,
    Raw,
}

/// The unit of a duration that a line gives as a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

/// How lines are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(super) format: Format,
    pub(super) pattern: Option<Arc<Regex>>,
    pub(super) upstreams: Upstreams,
    /// Seconds east of UTC that times without a zone are in, if that was said.
    pub(super) zone_s: Option<i64>,
    /// Whether lines are joined to records.
    pub(super) joins_lines: bool,
    pub(super) duration_unit: Option<Unit>,
}

impl Rules {
    /// The rules of a query, with the upstreams of the configuration.
    ///
    /// # Errors
    /// What is wrong with a parameter, for the sender.
    pub(crate) fn new(
        parameters: &Parameters,
        configured: &[Upstream],
        patterns: &Patterns,
    ) -> Result<Self, IngestError> {
        let format = Format::from_name(parameters.format.as_deref().unwrap_or("auto"))?;
        let bad = |what: &'static str| move |reason: String| IngestError::Malformed { what, reason };
        let upstreams =
            Upstreams::new(parameters.upstream.as_deref().unwrap_or(""), configured).map_err(bad("bad upstream"))?;
        let pattern = match (format, &parameters.pattern) {
            (Format::Regex, Some(text)) => Some(patterns.get(text).map_err(bad("bad pattern"))?),
            (Format::Regex, None) => {
                return Err(bad("bad pattern")("format=regex needs a pattern with named groups".to_owned()));
            }
            (_, Some(_)) => return Err(bad("bad pattern")("a pattern goes with format=regex".to_owned())),
            (_, None) => None,
        };
        let zone_s = match parameters.tz.as_deref() {
            None | Some("") => None,
            Some(text) => Some(zone_from_text(text).ok_or_else(|| {
                bad("bad tz")(format!("{:?} is not an offset such as +02:00, -0500 or UTC", shortened(text)))
            })?),
        };
        let joins_lines = match parameters.multiline.as_deref() {
            None | Some("" | "auto") => matches!(format, Format::Auto | Format::Raw | Format::Regex),
            Some("off") => false,
            Some(other) => {
                return Err(bad("bad multiline")(format!("{:?} is not auto or off", shortened(other))));
            }
        };
        let duration_unit = parameters.duration_unit.as_deref().map(Unit::from_name).transpose();
        let duration_unit = duration_unit.map_err(bad("bad duration_unit"))?;
        Ok(Rules { format, pattern, upstreams, zone_s, joins_lines, duration_unit })
    }

    /// The server whose access log it is, where the request says so.
    pub(super) fn server(&self) -> Option<Sender> {
        match self.format {
            Format::Access(Server::Nginx) => Some(Sender::Nginx),
            Format::Access(Server::Httpd) => Some(Sender::Httpd),
            Format::Access(Server::Haproxy) => Some(Sender::Haproxy),
            Format::Access(Server::Varnish) => Some(Sender::Varnish),
            _ => None,
        }
    }

    /// Whether a line may be one of an access log, and so become a record with many attributes.
    pub(super) fn may_be_access(&self) -> bool {
        matches!(self.format, Format::Auto | Format::Access(_))
    }

    /// Seconds east of UTC that times without a zone are taken to be in where they must be in some.
    pub(super) fn zone(&self) -> i64 {
        self.zone_s.unwrap_or(0)
    }
}

impl Parameters {
    /// The parameters of an address.
    ///
    /// # Errors
    /// A parameter that does not exist, or is there twice.
    pub(crate) fn of(uri: &http::Uri) -> Result<Self, IngestError> {
        let query = axum::extract::Query::<Parameters>::try_from_uri(uri);
        query.map(|query| query.0).map_err(|error| IngestError::Malformed {
            what: "bad query",
            reason: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
        })
    }

    /// Whether there is a pattern, which may have to be compiled.
    pub(crate) fn has_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// What lines that do not say it themselves come from.
    pub(crate) fn identity(&self) -> Identity {
        let text = |value: &Option<String>| {
            let value = value.as_deref().unwrap_or("").trim();
            (!value.is_empty()).then(|| release::bounded(value))
        };
        Identity {
            service: text(&self.service),
            namespace: None,
            version: text(&self.version),
            environment: text(&self.environment),
            instance: text(&self.instance),
        }
    }
}

impl Format {
    fn from_name(name: &str) -> Result<Self, IngestError> {
        Ok(match name {
            "" | "auto" => Format::Auto,
            "json" => Format::Json,
            "logfmt" => Format::Logfmt,
            "nginx" => Format::Access(Server::Nginx),
            "httpd" => Format::Access(Server::Httpd),
            "haproxy" => Format::Access(Server::Haproxy),
            "varnish" => Format::Access(Server::Varnish),
            "regex" => Format::Regex,
            "raw" => Format::Raw,
            _ => {
                let reason = format!("{:?} is not a known format; {FORMATS}", shortened(name));
                return Err(IngestError::Malformed { what: "bad format", reason });
            }
        })
    }
}

impl Unit {
    fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "s" => Ok(Unit::Seconds),
            "ms" => Ok(Unit::Milliseconds),
            "us" => Ok(Unit::Microseconds),
            other => Err(format!("{:?} is not s, ms or us", shortened(other))),
        }
    }

    /// How many of it are a second.
    pub(super) fn in_second(self) -> f64 {
        match self {
            Unit::Seconds => 1.0,
            Unit::Milliseconds => 1e3,
            Unit::Microseconds => 1e6,
        }
    }
}
