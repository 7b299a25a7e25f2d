//! The names under which the fields of structured lines are looked for, and where a line has them.
//!
//! There are more than a hundred names, case does not matter, and a line has a dozen fields: so each field is looked up once,
//! by a hash of its name, and what the line says of a role is then found by number.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fields::Field;

/// What a field may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Service,
    Namespace,
    Version,
    Environment,
    Instance,
    Time,
    Level,
    Message,
    Trace,
    Span,
    // From here on: of an access log.
    Status,
    RequestLine,
    Method,
    Path,
    Client,
    Agent,
    Referer,
    Protocol,
    Host,
    Bytes,
    TimeOfRequest,
    Address,
    Backend,
    Server,
    Duration,
    DurationOfSomebody,
}

const ROLES: usize = Role::DurationOfSomebody as usize + 1;

/// The names of each role, the first that a line has wins. In the order of [`Role`]; no name is in two lists.
const NAMES: [(Role, &[&str]); ROLES] = [
    (Role::Service, &["service.name", "service", "service_name", "app", "application"]),
    (Role::Namespace, &["service.namespace", "service_namespace"]),
    (Role::Version, &["service.version", "version", "service_version", "app_version", "release"]),
    (Role::Environment, &["deployment.environment.name", "environment", "env", "deployment.environment"]),
    (Role::Instance, &["service.instance.id", "instance", "instance_id", "pod", "hostname"]),
    (Role::Time, &["time", "timestamp", "@timestamp", "ts", "datetime"]),
    (Role::Level, &["level", "severity", "severity_text", "log.level", "loglevel", "lvl", "levelname"]),
    (Role::Message, &["message", "msg", "body", "log", "event"]),
    (Role::Trace, &["trace_id", "traceid", "trace.id"]),
    (Role::Span, &["span_id", "spanid", "span.id"]),
    (
        Role::Status,
        &[
            "http.response.status_code",
            "http.status_code",
            "status",
            "status_code",
            "statuscode",
            "response_code",
            "downstreamstatus",
            "response.status",
            "res.statuscode",
            "http_status",
        ],
    ),
    (Role::RequestLine, &["request", "request_line"]),
    (
        Role::Method,
        &[
            "http.request.method",
            "http.method",
            "method",
            "request_method",
            "requestmethod",
            "request.method",
            "req.method",
        ],
    ),
    (
        Role::Path,
        &[
            "url.path",
            "http.target",
            "uri",
            "request_uri",
            "path",
            "requestpath",
            CADDYS_URI,
            "request.path",
            "request.url",
            "req.url",
            "url",
        ],
    ),
    (
        Role::Client,
        &[
            "client.address",
            "remote_addr",
            "client_ip",
            "remote_ip",
            "request.client_ip",
            "request.remote_ip",
            "clienthost",
            "client_addr",
            "clientip",
            "remote_host",
            "req.remoteaddress",
            "downstream_remote_address",
            "ip",
        ],
    ),
    (
        Role::Agent,
        &[
            "user_agent.original",
            "http_user_agent",
            "user_agent",
            "useragent",
            "agent",
            "request.headers.user-agent",
            "req.headers.user-agent",
            "request_user-agent",
        ],
    ),
    (Role::Referer, &["http_referer", "http_referrer", "referer", "referrer", "request.headers.referer"]),
    (Role::Protocol, &["server_protocol", "protocol", "proto", "request.proto", "requestprotocol"]),
    (Role::Host, &["server.address", "http_host", "host", "server_name", "request.host", "requesthost", "authority"]),
    (Role::Bytes, &["body_bytes_sent", "bytes_sent", "size", "bytes_out", "downstreamcontentsize", "response_size"]),
    (Role::TimeOfRequest, &["time_iso8601", "time_local", "msec", "start_time", "startutc", "startlocal"]),
    (Role::Address, &["upstream_addr", "upstream_address", "upstream_host", "serviceaddr", "serviceurl", "upstream"]),
    // A canary of ingress-nginx answers under the name of the alternative, if there is one.
    (
        Role::Backend,
        &[
            "proxy_alternative_upstream_name",
            "backend",
            "backend_name",
            "proxy_upstream_name",
            "upstream_name",
            "upstream_cluster",
            "servicename",
        ],
    ),
    (Role::Server, &["backend_server", "upstream_server"]),
    (
        Role::Duration,
        &[
            "http.server.request.duration",
            "request_time",
            "duration_s",
            "duration_seconds",
            "duration_ms",
            "elapsed_ms",
            "latency_ms",
            "response_time_ms",
            "request_time_ms",
            "responsetime",
            "duration_us",
            "latency_human",
        ],
    ),
    (Role::DurationOfSomebody, &["duration", "latency", "elapsed", "response_time", "took"]),
];
/// Parts of a second that the names of [`Role::Duration`] count, in their order: the unit is in the name, or beyond doubt.
pub(super) const DURATION_UNITS: [f64; 12] = [1.0, 1.0, 1.0, 1.0, 1e3, 1e3, 1e3, 1e3, 1e3, 1e3, 1e6, 1.0];
/// A path of which it is known who writes it so.
pub(super) const CADDYS_URI: &str = "request.uri";
/// A name is compared as so many bytes, the last of which is its length.
const KEY_BYTES: usize = 32;

/// Where the names of a role begin, if all are counted through; the last is where they end.
const STARTS: [usize; ROLES + 1] = {
    let mut starts = [0; ROLES + 1];
    let mut role = 0;
    while role < ROLES {
        starts[role + 1] = starts[role] + NAMES[role].1.len();
        role += 1;
    }
    starts
};
const COUNT: usize = STARTS[ROLES];

/// The numbers of all names.
static NUMBERS: LazyLock<HashMap<[u8; KEY_BYTES], u8, ahash::RandomState>> = LazyLock::new(|| {
    let names = NAMES.iter().flat_map(|(_, names)| names.iter());
    names.enumerate().map(|(number, name)| (key(name).expect("short"), u8::try_from(number).expect("few"))).collect()
});

/// A name as it is looked up, if it can be a known one.
#[inline]
fn key(name: &str) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    key.get_mut(..name.len()).filter(|_| name.len() < KEY_BYTES)?.copy_from_slice(name.as_bytes());
    key.make_ascii_lowercase();
    key[KEY_BYTES - 1] = name.len() as u8;
    Some(key)
}

/// The role of each name.
const ROLE_OF: [u8; COUNT] = {
    let mut roles = [0; COUNT];
    let mut role = 0;
    while role < ROLES {
        let mut number = STARTS[role];
        while number < STARTS[role + 1] {
            roles[number] = role as u8;
            number += 1;
        }
        role += 1;
    }
    roles
};
/// No name.
const NONE: u8 = u8::MAX;

/// Which fields of a line have known names.
pub(super) struct Known {
    /// By role: the first of its names that the line has, which nearly always is the one that is wanted.
    best: [u8; ROLES],
    /// By the number of a name: the first field that has it, counted from 1; 0 for none.
    first: [u32; COUNT],
    /// Number and field where a name comes again, spelled otherwise.
    again: Vec<(u8, usize)>,
}

impl Known {
    #[inline]
    pub(super) fn of(fields: &[Field<'_>]) -> Self {
        let numbers = &*NUMBERS;
        let mut known = Known { best: [NONE; ROLES], first: [0; COUNT], again: Vec::new() };
        for (index, (name, _)) in fields.iter().enumerate() {
            let Some(number) = key(name).and_then(|key| numbers.get(&key)).copied() else { continue };
            let first = &mut known.first[usize::from(number)];
            if *first != 0 {
                known.again.push((number, index));
                continue;
            }
            // A line has not so many bytes.
            *first = u32::try_from(index + 1).unwrap_or(0);
            let best = &mut known.best[usize::from(ROLE_OF[usize::from(number)])];
            *best = number.min(*best);
        }
        known
    }

    /// The first name of the role under which a field fits, and that field. Of fields with one name only the first is tried.
    #[inline]
    pub(super) fn first(&self, role: Role, mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
        let first = self.first.get(usize::from(self.best[role as usize])..STARTS[role as usize + 1])?;
        first.iter().filter(|first| **first != 0).map(|first| *first as usize - 1).find(|index| fits(*index))
    }

    /// The same among all fields of a name. Gives which of the names it is, too.
    #[inline]
    pub(super) fn any(&self, role: Role, fits: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        let best = usize::from(self.best[role as usize]);
        for number in best..STARTS[role as usize + 1] {
            let Some(index) = self.first[number].checked_sub(1) else { continue };
            let rank = number - STARTS[role as usize];
            if fits(index as usize) {
                return Some((rank, index as usize));
            }
            let same = |(again, _): &&(u8, usize)| usize::from(*again) == number;
            if let Some((_, index)) = self.again.iter().filter(same).find(|(_, index)| fits(*index)) {
                return Some((rank, *index));
            }
        }
        None
    }
}

/// Whether a field of this name may be the message of a line.
pub(super) fn is_name_of_message(name: &str) -> bool {
    NAMES[Role::Message as usize].1.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The name of a role with this rank.
pub(super) fn name(role: Role, rank: usize) -> &'static str {
    NAMES[role as usize].1[rank]
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::lines::fields::Value;

    #[test]
    fn every_name_is_of_one_role_and_found_in_any_case() {
        let mut seen = HashSet::new();
        for (number, (role, names)) in NAMES.iter().enumerate() {
            assert_eq!(*role as usize, number, "in the order of the roles");
            for (rank, name) in names.iter().enumerate() {
                assert!(seen.insert(*name), "{name} is in two lists");
                for spelled in [(*name).to_owned(), name.to_uppercase()] {
                    let fields = [(Cow::Borrowed("other"), Value::Int(1)), (Cow::Owned(spelled), Value::Int(2))];
                    assert_eq!(Known::of(&fields).any(*role, |_| true), Some((rank, 1)), "{name}");
                }
                assert_eq!(super::name(*role, rank), *name);
            }
        }
        assert_eq!(NAMES[Role::Duration as usize].1.len(), DURATION_UNITS.len());
        for other in ["", "levels", "leve", "level\0", &"x".repeat(40)] {
            assert!(key(other).is_none_or(|key| !NUMBERS.contains_key(&key)), "{other}");
        }
    }

    #[test]
    fn the_first_name_wins_and_of_one_name_the_first_field_that_fits() {
        let field = |name: &'static str| (Cow::Borrowed(name), Value::Int(0));
        let fields = [field("uri"), field("msg"), field("URI"), field("Message"), field("url.path")];
        let known = Known::of(&fields);
        assert_eq!(known.any(Role::Path, |_| true), Some((0, 4)));
        assert_eq!(known.any(Role::Path, |index| index < 4), Some((2, 0)));
        assert_eq!(known.any(Role::Path, |index| index == 2), Some((2, 2)));
        assert_eq!(known.first(Role::Path, |index| index == 2), None);
        assert_eq!(known.first(Role::Message, |_| true), Some(3));
        assert_eq!(known.first(Role::Level, |_| true), None);
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_comparing_every_name_finds(
            chosen in prop::collection::vec((0..COUNT + 5, any::<u32>(), any::<bool>()), 0..30),
        ) {
            // Known names in any spelling, some that are unknown, and some fields that do not fit.
            let all: Vec<&str> = NAMES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
            let spelled = |name: &str, case: u32| -> String {
                let letter = |(at, c): (usize, char)| if case >> (at % 32) & 1 == 0 { c } else { c.to_ascii_uppercase() };
                name.chars().enumerate().map(letter).collect()
            };
            let fields: Vec<Field<'_>> = chosen
                .iter()
                .map(|(at, case, fits)| {
                    let name = all.get(*at).copied().unwrap_or("unknown");
                    (Cow::Owned(spelled(name, case & 3)), Value::Bool(*fits))
                })
                .collect();
            let known = Known::of(&fields);
            let fits = |index: usize| fields[index].1 == Value::Bool(true);
            for (role, names) in NAMES {
                let same = |name: &str, index: usize| fields[index].0.eq_ignore_ascii_case(name);
                let any = names.iter().enumerate().find_map(|(rank, name)| {
                    (0..fields.len()).find(|index| same(name, *index) && fits(*index)).map(|index| (rank, index))
                });
                prop_assert_eq!(known.any(role, fits), any);
                let first = names.iter().find_map(|name| {
                    (0..fields.len()).find(|index| same(name, *index)).filter(|index| fits(*index))
                });
                prop_assert_eq!(known.first(role, fits), first);
            }
        }
    }
}
