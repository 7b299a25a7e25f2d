//! The route of a request, as a text of low cardinality: `GET /checkout/{id}`, `shop.Cart/AddItem`.
//!
//! In this order: `http.route`; the name of the span after the method (Go); `http.target` or `url.path` with numbers, uuids
//! and other ids replaced by `{id}`; for RPC, service and method. The method stands in front when it is known. Routes of a
//! service are bounded; beyond the bound they are [`OTHER`].

use hashbrown::{Equivalent, HashMap};

/// The route of requests beyond the bound of a service.
pub const OTHER: &str = "__other__";
/// Longer routes are cut: they come from senders that put ids where a route belongs.
const ROUTE_BYTES_MAX: usize = 200;
const METHOD_BYTES_MAX: usize = 16;

/// What attributes and names say about the route of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteParts<'a> {
    /// `http.request.method`, `http.method`.
    pub method: &'a [u8],
    /// `http.route`.
    pub route: &'a [u8],
    /// `url.path`, or `http.target` with its query.
    pub path: &'a [u8],
    /// `rpc.service`.
    pub rpc_service: &'a [u8],
    /// `rpc.method`.
    pub rpc_method: &'a [u8],
    /// The span's name.
    pub name: &'a [u8],
}

/// Writes the route to `out`, which is emptied first. Empty when nothing is known.
pub fn write_route(parts: &RouteParts<'_>, out: &mut Vec<u8>) {
    out.clear();
    if !parts.rpc_service.is_empty() || !parts.rpc_method.is_empty() {
        write_rpc(parts, out);
    } else if !parts.route.is_empty() {
        write_method(parts.method, out);
        out.extend_from_slice(parts.route);
    } else if let Some(route) = route_in_name(parts) {
        write_method(parts.method, out);
        write_templated(route, out);
    } else if !parts.path.is_empty() {
        write_method(parts.method, out);
        write_templated(parts.path, out);
    } else if !parts.method.is_empty() {
        out.extend_from_slice(&parts.method[..parts.method.len().min(METHOD_BYTES_MAX)]);
    } else {
        write_templated(parts.name, out);
    }
    out.truncate(ROUTE_BYTES_MAX);
}

fn write_rpc(parts: &RouteParts<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(parts.rpc_service);
    // Newer conventions give the method with its service in front.
    if !parts.rpc_service.is_empty() && !parts.rpc_method.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(parts.rpc_method);
}

fn write_method(method: &[u8], out: &mut Vec<u8>) {
    if !method.is_empty() {
        out.extend_from_slice(&method[..method.len().min(METHOD_BYTES_MAX)]);
        out.push(b' ');
    }
}

/// The path after the method, in names like `GET /checkout`.
fn route_in_name<'a>(parts: &RouteParts<'a>) -> Option<&'a [u8]> {
    let (method, rest) = (parts.method, parts.name);
    let rest = match rest.strip_prefix(method) {
        Some(rest) if !method.is_empty() => rest.strip_prefix(b" ")?,
        _ => {
            let space = rest.iter().position(|byte| *byte == b' ')?;
            let is_method = space <= METHOD_BYTES_MAX && rest[..space].iter().all(u8::is_ascii_uppercase);
            if !is_method || !method.is_empty() {
                return None;
            }
            return rest.get(space + 1..).filter(|route| route.first() == Some(&b'/')).map(|_| rest);
        }
    };
    (rest.first() == Some(&b'/')).then_some(rest)
}

/// Copies a path without its query; segments that look like ids become `{id}`.
fn write_templated(path: &[u8], out: &mut Vec<u8>) {
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    for (at, segment) in path[..end].split(|byte| *byte == b'/').enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        if is_id(segment) {
            out.extend_from_slice(b"{id}");
        } else {
            out.extend_from_slice(segment);
        }
    }
}

/// Numbers, uuids, hexadecimal and mixed tokens: texts that name one thing and not a kind of thing.
fn is_id(segment: &[u8]) -> bool {
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || segment.first() == Some(&b'{') {
        return segment.len() > 40;
    }
    let hexadecimal = segment.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    digits == segment.len()
        || (hexadecimal && segment.len() >= 8)
        || (segment.len() >= 8 && digits * 4 >= segment.len())
        || segment.len() > 40
}

/// The routes of all services of a shard, by number. Numbers are never reused.
#[derive(Debug)]
pub struct Routes {
    numbers: HashMap<RouteKey, u32, ahash::RandomState>,
    texts: Vec<std::sync::Arc<str>>,
    /// Routes of each service.
    counts: HashMap<u32, u32, ahash::RandomState>,
    per_service_max: usize,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RouteKey {
    service: u32,
    text: Box<[u8]>,
}

#[derive(Hash)]
struct RouteRef<'a> {
    service: u32,
    text: &'a [u8],
}

impl Equivalent<RouteKey> for RouteRef<'_> {
    fn equivalent(&self, key: &RouteKey) -> bool {
        self.service == key.service && self.text == &*key.text
    }
}

impl Routes {
    /// The number of the empty route.
    pub const NONE: u32 = 0;
    /// The number of [`OTHER`].
    pub const OTHER: u32 = 1;

    /// No routes yet, and at most so many per service.
    pub fn new(per_service_max: usize) -> Self {
        Routes {
            numbers: HashMap::default(),
            texts: vec!["".into(), OTHER.into()],
            counts: HashMap::default(),
            per_service_max,
        }
    }

    /// The number of a route of a service.
    #[inline]
    pub fn number(&mut self, service: u32, text: &[u8]) -> u32 {
        if text.is_empty() {
            return Self::NONE;
        }
        if let Some(number) = self.numbers.get(&RouteRef { service, text }) {
            return *number;
        }
        self.add(service, text)
    }

    /// The text of a route.
    pub fn text(&self, number: u32) -> &std::sync::Arc<str> {
        &self.texts[number as usize]
    }

    #[cold]
    fn add(&mut self, service: u32, text: &[u8]) -> u32 {
        let count = self.counts.entry(service).or_insert(0);
        if *count as usize >= self.per_service_max {
            return Self::OTHER;
        }
        *count += 1;
        let number = self.texts.len() as u32;
        self.texts.push(String::from_utf8_lossy(text).into());
        self.numbers.insert(RouteKey { service, text: text.into() }, number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: RouteParts<'_>, expected: &str) {
        let mut out = Vec::new();
        write_route(&parts, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{parts:?}");
    }

    #[test]
    fn the_best_known_route_wins() {
        let http = RouteParts { method: b"GET", ..Default::default() };
        check(RouteParts { route: b"/items/:id", path: b"/items/7", name: b"GET /x", ..http }, "GET /items/:id");
        check(RouteParts { name: b"GET /checkout", path: b"/checkout/7", ..http }, "GET /checkout");
        check(RouteParts { name: b"GET", path: b"/items/17?full=1", ..http }, "GET /items/{id}");
        check(RouteParts { path: b"/items/17", ..Default::default() }, "/items/{id}");
        check(RouteParts { name: b"POST /pay", ..Default::default() }, "POST /pay");
        check(RouteParts { name: b"handle message", ..Default::default() }, "handle message");
        check(
            RouteParts { rpc_service: b"shop.Cart", rpc_method: b"Add", name: b"x", ..Default::default() },
            "shop.Cart/Add",
        );
        check(RouteParts { rpc_method: b"shop.Cart/Add", ..Default::default() }, "shop.Cart/Add");
        check(http, "GET");
        check(RouteParts::default(), "");
    }

    #[test]
    fn ids_in_paths_become_a_template() {
        let path = |path: &'static [u8], expected: &str| check(RouteParts { path, ..Default::default() }, expected);
        path(b"/a/123/b", "/a/{id}/b");
        path(b"/a/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/a/{id}");
        path(b"/a/deadbeef00112233/x", "/a/{id}/x");
        path(b"/u/user48213377", "/u/{id}");
        path(b"/api/v1/orders", "/api/v1/orders");
        path(b"/a/{item_2}/c#top", "/a/{item_2}/c");
        path(b"/", "/");
    }

    #[test]
    fn routes_of_a_service_are_bounded_and_other_services_keep_theirs() {
        let mut routes = Routes::new(2);
        let (a, b) = (routes.number(1, b"/a"), routes.number(1, b"/b"));
        assert_eq!(routes.number(1, b"/c"), Routes::OTHER);
        assert_eq!(routes.number(1, b"/a"), a);
        assert_ne!(routes.number(2, b"/c"), Routes::OTHER);
        assert_eq!(&**routes.text(b), "/b");
        assert_eq!(routes.number(1, b""), Routes::NONE);
    }
}
