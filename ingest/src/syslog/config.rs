//! What an operator may say about syslog: who sends it, and limits.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is assumed about messages that do not say it, and limits.
#[derive(Clone, Debug)]
pub struct SyslogConfig {
    /// The service of messages that name no application.
    pub service: Option<String>,
    /// The version of messages whose application has none in `applications`.
    pub version: Option<String>,
    /// The environment of all that do not name one.
    pub environment: Option<String>,
    /// What is known about applications, by the name they give (the tag of RFC 3164).
    pub applications: BTreeMap<String, Application>,
    /// Seconds east of UTC of time stamps without a zone. Default 0.
    pub offset_s: i32,
    /// Longest message in bytes. Default 64 KiB, the most that a datagram can hold; rsyslog sends 8 KiB by default. A
    /// longer one is rejected.
    pub message_bytes_max: usize,
    /// TCP connections at once; further ones wait in the kernel's queue. Default 512: each may hold one message in memory.
    pub connections_max: usize,
    /// Bytes of messages that may wait for the journal at once. Default 16 MiB.
    pub waiting_bytes_max: usize,
    /// How long the journal may take, after shutdown was asked for, to take what was read. Default 3 s.
    pub grace: Duration,
}

/// What an application is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Its service, if it is not named like the application.
    pub service: Option<String>,
    /// Its version, if it is known.
    pub version: Option<String>,
}

impl Default for SyslogConfig {
    fn default() -> Self {
        SyslogConfig {
            service: None,
            version: None,
            environment: None,
            applications: BTreeMap::new(),
            offset_s: 0,
            message_bytes_max: 64 << 10,
            connections_max: 512,
            waiting_bytes_max: 16 << 20,
            grace: Duration::from_secs(3),
        }
    }
}

impl SyslogConfig {
    /// Reads `cron=1.3,nginx=shop@1.42.0,haproxy=edge@`: an application's name and its version, or its service and version;
    /// the version may be empty behind a service.
    ///
    /// # Errors
    /// With the entry that is not of this form.
    pub fn read_applications(text: &str) -> Result<BTreeMap<String, Application>, String> {
        let mut found = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong = || format!("{entry:?} is not APPLICATION=VERSION or APPLICATION=SERVICE@VERSION");
            let (app, target) = entry.split_once('=').ok_or_else(wrong)?;
            let (service, version) = target.split_once('@').map_or((None, target), |(s, v)| (Some(s), v));
            let [app, version] = [app, version].map(str::trim);
            let service = service.map(|service| service.trim().to_owned());
            if app.is_empty() || service.as_deref() == Some("") || (service.is_none() && version.is_empty()) {
                return Err(wrong());
            }
            let version = (!version.is_empty()).then(|| version.to_owned());
            if found.insert(app.to_owned(), Application { service, version }).is_some() {
                return Err(format!("{app:?} is named twice"));
            }
        }
        Ok(found)
    }

    /// Reads `UTC`, `Z`, `+02:00` or `-0530` as seconds east of UTC.
    ///
    /// # Errors
    /// When it is nothing of that.
    pub fn read_offset(text: &str) -> Result<i32, String> {
        let error = || format!("{text:?} is not an offset such as +02:00, or UTC");
        if text.eq_ignore_ascii_case("utc") || text.eq_ignore_ascii_case("z") {
            return Ok(0);
        }
        let sign = match text.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(error()),
        };
        let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let number: i32 = digits.parse().map_err(|_| error())?;
        let (hours, minutes) = (number / 100, number % 100);
        if hours > 18 || minutes > 59 { Err(error()) } else { Ok(sign * (hours * 3600 + minutes * 60)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_are_read_with_and_without_a_version() {
        let found = SyslogConfig::read_applications("nginx=shop@1.42:rc1, haproxy = edge@ ,cron=1.3").expect("valid");
        let is = |service: Option<&str>, version: Option<&str>| Application {
            service: service.map(str::to_owned),
            version: version.map(str::to_owned),
        };
        assert_eq!(found["nginx"], is(Some("shop"), Some("1.42:rc1")));
        assert_eq!(found["haproxy"], is(Some("edge"), None));
        assert_eq!(found["cron"], is(None, Some("1.3")));
        assert!(SyslogConfig::read_applications("").expect("nothing").is_empty());
        for bad in ["nginx", "=1", "nginx=", "nginx=@1", "nginx=@", "a=1,a=2"] {
            assert!(SyslogConfig::read_applications(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn offsets_are_read() {
        for (text, expected) in [("UTC", 0), ("z", 0), ("+02:00", 7200), ("-0530", -19_800)] {
            assert_eq!(SyslogConfig::read_offset(text), Ok(expected), "{text}");
        }
        for bad in ["", "2", "+2", "+25:00", "+01:60", "CET", "+ab:cd", "é"] {
            assert!(SyslogConfig::read_offset(bad).is_err(), "{bad}");
        }
    }
}
