//! What a process does: the stages that it runs. Everything, unless `--roles` says otherwise; then other processes do the rest,
//! and Kafka and a bucket are what they share. Text in, a decision out.

use std::fmt;
use std::net::SocketAddr;

/// The roles of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Takes telemetry and appends it to the journal.
    pub ingest: bool,
    /// Folds partitions of the journal into the store.
    pub aggregate: bool,
    /// Answers queries and shows pages.
    pub query: bool,
    /// Judges releases and tells people.
    pub alerts: bool,
}

impl Roles {
    /// One process that does everything.
    pub const ALL: Roles = Roles { ingest: true, aggregate: true, query: true, alerts: true };

    /// Reads the text form: names separated by commas, or `all`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut roles = Roles { ingest: false, aggregate: false, query: false, alerts: false };
        for name in text.split(',').map(str::trim) {
            match name {
                "all" => roles = Roles::ALL,
                "ingest" => roles.ingest = true,
                "aggregate" => roles.aggregate = true,
                "query" => roles.query = true,
                "alerts" => roles.alerts = true,
                _ => return Err(format!("{name:?} is not a role: ingest, aggregate, query, alerts, or all")),
            }
        }
        Ok(roles)
    }

    /// Whether this process does everything by itself.
    pub fn is_all(self) -> bool {
        self == Roles::ALL
    }

    /// Whether the process needs the journal: whoever only answers queries does not.
    pub fn needs_journal(self) -> bool {
        self.ingest || self.aggregate
    }

    /// Whether the process answers for all shards, those of other processes too.
    pub fn answers(self) -> bool {
        self.query || self.alerts
    }

    /// Whether the process needs the store: whoever only takes telemetry does not.
    pub fn needs_store(self) -> bool {
        self.aggregate || self.query || self.alerts
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            [(self.ingest, "ingest"), (self.aggregate, "aggregate"), (self.query, "query"), (self.alerts, "alerts")];
        let names: Vec<&str> = names.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        f.write_str(&names.join(","))
    }
}

/// The answer to somebody who asks a process without the role `query` for a page.
pub fn elsewhere(roles: Roles) -> String {
    format!("this process has the roles {roles}: pages and queries are answered by one with the role query\n")
}

/// The name of this machine; `localhost` when it has none.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Where others reach this process when nobody has said so: where its pages are, or, when they are at every address of the
/// machine, at the name of the machine.
pub fn advertised(ui: SocketAddr, host_name: &str) -> String {
    if ui.ip().is_unspecified() { format!("http://{host_name}:{}", ui.port()) } else { format!("http://{ui}") }
}

/// Reads base URLs of other processes, separated by commas.
///
/// # Errors
/// What is wrong with one.
pub fn base_urls(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(base_url).collect()
}

/// Reads the base URL of a process, without a slash at its end.
///
/// # Errors
/// What is wrong with it.
pub fn base_url(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{text:?} is not http://host:port ({why})"));
    let Some(authority) = text.strip_prefix("http://") else {
        return wrong("processes speak plain HTTP with each other, in a network of their own");
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let Some((host, port)) = authority.rsplit_once(':') else { return wrong("the port is missing") };
    if port.parse::<u16>().is_ok_and(|port| port > 0) && !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) {
        return Ok(format!("http://{authority}"));
    }
    wrong("a host, a port, and nothing else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_and_everything_is_one_process() {
        let none = Roles { ingest: false, aggregate: false, query: false, alerts: false };
        for (text, roles) in [
            ("all", Roles::ALL),
            ("ingest,aggregate,query,alerts", Roles::ALL),
            ("ingest", Roles { ingest: true, ..none }),
            (" query , alerts ", Roles { query: true, alerts: true, ..none }),
        ] {
            assert_eq!(Roles::parse(text), Ok(roles), "{text}");
            assert_eq!(Roles::parse(&roles.to_string()), Ok(roles));
        }
        for text in ["", "ingest,", "aggregator", "ingest;query"] {
            assert!(Roles::parse(text).is_err_and(|why| why.contains("ingest, aggregate, query")), "{text}");
        }
        assert!(!Roles { ingest: true, ..none }.needs_store() && Roles { query: true, ..none }.needs_store());
    }

    #[test]
    fn a_process_is_reached_where_its_pages_are() {
        for (ui, url) in [
            ("127.0.0.1:4400", "http://127.0.0.1:4400"),
            ("[::1]:4400", "http://[::1]:4400"),
            ("0.0.0.0:4401", "http://node-7:4401"),
            ("[::]:4402", "http://node-7:4402"),
        ] {
            assert_eq!(advertised(ui.parse().expect("an address"), "node-7"), url);
        }
    }

    #[test]
    fn a_base_url_is_a_host_and_a_port() {
        assert_eq!(base_url("http://a.example:4400/"), Ok("http://a.example:4400".to_owned()));
        assert_eq!(base_urls("http://a:1, http://[::1]:2,"), Ok(vec!["http://a:1".into(), "http://[::1]:2".into()]));
        for text in ["a:1", "https://a:1", "http://a", "http://:1", "http://a:0", "http://a:1/x", "http://u@a:1"] {
            assert!(base_url(text).is_err(), "{text}");
        }
    }
}
