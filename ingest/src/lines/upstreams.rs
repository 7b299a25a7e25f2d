//! Which version is behind a backend, server or address that a proxy's log names: how blue and green are told apart when
//! only the proxy in front of them logs.
//!
//! In a query: `upstream=blue=1.41.0,green=1.42.0`, `upstream=10.0.0.5:8080=checkout@1.42.0`. In the configuration file a
//! `[[lines.upstreams]]` table for each. What the query says goes before what the file says.

use std::collections::HashMap;

use shipwake_model::release::{IDENTITY_BYTES_MAX, bounded};

use super::access::scan::{host_and_port, last_of_list};
use super::access::{Access, Upstream as Logged};

/// Names that a query may map: a site has a handful, and every line is looked up among them.
const UPSTREAMS_MAX: usize = 256;

/// One name that proxies log, and what is behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// Backend, `backend/server`, server, `host:port` or host, as it is logged. Case matters.
    pub name: String,
    /// The service behind it; without one it is that of the request.
    pub service: Option<String>,
    /// The version behind it.
    pub version: String,
}

impl Upstream {
    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        let fits = |text: &str| !text.trim().is_empty() && text.len() <= IDENTITY_BYTES_MAX;
        let service_fits = self.service.as_deref().is_none_or(fits);
        if fits(&self.name) && fits(&self.version) && service_fits {
            return None;
        }
        let name = crate::error::shortened(&self.name);
        Some(format!("upstream {name:?} needs a name and a version of 1 to {IDENTITY_BYTES_MAX} bytes"))
    }
}

/// The mapping in force for a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstreams {
    upstreams: Vec<Upstream>,
    by_name: HashMap<Vec<u8>, usize, ahash::RandomState>,
    /// Whether a name is a backend and a server.
    has_pairs: bool,
}

impl Upstreams {
    /// `query` is the text of the query's `upstream`, and goes before `configured`. The error is for the sender.
    pub(super) fn new(query: &str, configured: &[Upstream]) -> Result<Self, String> {
        let mut mapping = Upstreams::default();
        for entry in query.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            mapping.add(parse(entry)?);
        }
        if mapping.upstreams.len() > UPSTREAMS_MAX {
            return Err(format!("more than {UPSTREAMS_MAX} names; put them into the configuration file"));
        }
        for upstream in configured {
            mapping.add(upstream.clone());
        }
        Ok(mapping)
    }

    fn add(&mut self, upstream: Upstream) {
        let index = self.upstreams.len();
        self.has_pairs |= upstream.name.contains('/');
        self.by_name.entry(upstream.name.clone().into_bytes()).or_insert(index);
        self.upstreams.push(upstream);
    }

    pub(super) fn get(&self, index: usize) -> &Upstream {
        &self.upstreams[index]
    }

    /// Whether this is a name of the mapping.
    #[inline]
    pub(super) fn knows(&self, text: &[u8]) -> bool {
        !self.by_name.is_empty() && self.by_name.contains_key(text)
    }

    /// The entry for what a line says of its upstream: the most precise name first.
    #[inline]
    pub(super) fn find(&self, access: &Access<'_>) -> Option<usize> {
        self.find_logged(&access.upstream)
    }

    pub(super) fn find_logged(&self, logged: &Logged<'_>) -> Option<usize> {
        if self.by_name.is_empty() {
            return None;
        }
        let find = |name: &[u8]| if name.is_empty() { None } else { self.by_name.get(name).copied() };
        if self.has_pairs
            && !logged.server.is_empty()
            && let Some(found) = find(&[logged.backend, b"/", logged.server].concat())
        {
            return Some(found);
        }
        let backend = logged.backend;
        // Traefik names the provider too, `blue@docker`.
        let plain = &backend[..memchr::memchr(b'@', backend).unwrap_or(backend.len())];
        let by_name = [logged.server, backend, plain, logged.address].into_iter().find_map(find);
        if by_name.is_some() || logged.address.is_empty() {
            return by_name;
        }
        // Not as it is logged: then the one that answered, and what of it names a machine.
        let last = last_of_list(logged.address);
        let address = plain_address(last);
        let host = host_and_port(address).map_or(&b""[..], |(host, _)| host);
        [last, address, host].into_iter().find_map(find)
    }
}

/// `http://10.0.0.5:8080/` without what is around the address.
fn plain_address(address: &[u8]) -> &[u8] {
    let Some(at) = address.windows(3).position(|three| three == b"://") else { return address };
    let rest = &address[at + 3..];
    &rest[..memchr::memchr(b'/', rest).unwrap_or(rest.len())]
}

/// `name=version` or `name=service@version`.
fn parse(entry: &str) -> Result<Upstream, String> {
    let error = || format!("{:?} is not name=version or name=service@version", crate::error::shortened(entry));
    let (name, release) = entry.split_once('=').ok_or_else(error)?;
    let (service, version) = match release.split_once('@') {
        Some((service, version)) => (Some(bounded(service.trim())), version),
        None => (None, release),
    };
    let upstream = Upstream { name: name.trim().to_owned(), service, version: bounded(version.trim()) };
    upstream.problem().map_or(Ok(upstream), |_| Err(error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mapping: &Upstreams, logged: &Logged<'_>) -> Option<String> {
        mapping.find_logged(logged).map(|index| mapping.get(index).version.clone())
    }

    #[test]
    fn the_most_precise_name_wins_and_the_query_goes_before_the_file() {
        let file = [Upstream { name: "green".into(), service: None, version: "file".into() }];
        let query = "blue=1.41.0, blue/s2=1.42.0,10.0.0.5:8080=1.43.0,10.0.0.6=1.44.0,http://10.0.0.8/x=1.45.0,10.0.0.7:80=pay@2";
        let mapping = Upstreams::new(query, &file).expect("valid");
        let backend = |backend: &'static str, server: &'static str| Logged {
            backend: backend.as_bytes(),
            server: server.as_bytes(),
            ..Logged::default()
        };
        let address = |address: &'static str| Logged { address: address.as_bytes(), ..Logged::default() };
        for (logged, expected) in [
            (backend("blue", "s1"), Some("1.41.0")),
            (backend("blue", "s2"), Some("1.42.0")),
            (backend("blue", "<NOSRV>"), Some("1.41.0")),
            (backend("x", "blue"), Some("1.41.0")),
            (backend("blue@docker", ""), Some("1.41.0")),
            (backend("green", ""), Some("file")),
            (backend("red", "s1"), None),
            (address("10.0.0.5:8080"), Some("1.43.0")),
            (address("10.0.0.6:1, 10.0.0.5:8080"), Some("1.43.0")),
            (address("10.0.0.6:9999"), Some("1.44.0")),
            (address("http://10.0.0.5:8080/x"), Some("1.43.0")),
            (address("http://10.0.0.8/x"), Some("1.45.0")),
            (address("10.0.0.1:1, http://10.0.0.8/x"), Some("1.45.0")),
            (address("-"), None),
            (address(""), None),
        ] {
            assert_eq!(found(&mapping, &logged).as_deref(), expected, "{logged:?}");
        }
        let pay = mapping.find_logged(&address("10.0.0.7:80")).expect("mapped");
        assert_eq!(mapping.get(pay).service.as_deref(), Some("pay"));
    }

    #[test]
    fn mistakes_are_named() {
        for bad in ["blue", "=1", "blue=", "blue=@1", "blue=shop@", "a=1,b"] {
            let error = Upstreams::new(bad, &[]).expect_err(bad);
            assert!(error.contains("name=version"), "{error}");
        }
        let many: String = (0..300).map(|n| format!("b{n}=1,")).collect();
        assert!(Upstreams::new(&many, &[]).expect_err("too many").contains("256"));
        assert!(Upstreams::new(" , ", &[]).is_ok());
    }
}
