//! Which addresses are called: any that people put receivers on, private networks included, but not those at which clouds hand
//! out credentials, nor such as no receiver can have.
//!
//! What is checked is the address that is connected to, so a name that leads elsewhere the next time gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, oneshot};

/// Names under which clouds hand out credentials.
const METADATA_NAMES: [&str; 4] = ["metadata.google.internal", "metadata.goog", "metadata", "instance-data"];
/// Addresses of the same kind that no rule about networks covers.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
/// Names that are looked up at a time. A look-up holds a thread, for as long as a broken resolver likes.
const LOOK_UPS_MAX: usize = 4;

/// Checks an address as it stands in the configuration.
///
/// # Errors
/// What is wrong with it; of the address only the host, the rest may be a secret.
pub fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("not an address: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("an address begins with https:// or http://".to_owned());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("an address has a host")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address has no user and password in front of its host".to_owned());
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if METADATA_NAMES.contains(&&*name) {
        return Err(format!("{host} is where a cloud hands out credentials"));
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match literal.ok().and_then(refusal) {
        Some(reason) => Err(format!("{host} is {reason}")),
        None => Ok(()),
    }
}

/// Why an address is not called; `None` when it is.
pub fn refusal(ip: IpAddr) -> Option<&'static str> {
    let metadata = "where a cloud hands out credentials";
    match ip {
        IpAddr::V4(ip) if ip.is_link_local() => {
            Some("a link-local address (169.254/16), at which clouds hand out credentials")
        }
        IpAddr::V4(ip) if METADATA_V4.contains(&ip) => Some(metadata),
        IpAddr::V4(ip) if ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast() => {
            Some("no address of a receiver")
        }
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) if METADATA_V6.contains(&ip) => Some(metadata),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(ip) if ip.is_unspecified() || ip.is_multicast() => Some("no address of a receiver"),
        IpAddr::V6(ip) => embedded(ip).and_then(|ip| refusal(IpAddr::V4(ip))),
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64, 6to4.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        [0, 0, 0, 0, 0, 0] if ip != Ipv6Addr::LOCALHOST => Some(v4(g, h)),
        [0x2002, ..] => Some(v4(b, c)),
        _ => None,
    }
}

/// Looks names up, and answers only with addresses that may be called.
#[derive(Clone, Debug)]
pub struct CheckedResolver {
    look_ups: Arc<Semaphore>,
}

impl Default for CheckedResolver {
    fn default() -> Self {
        CheckedResolver { look_ups: Arc::new(Semaphore::new(LOOK_UPS_MAX)) }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let look_ups = self.look_ups.clone();
        Box::pin(async move {
            let permit = look_ups.acquire_owned().await?;
            let (answer, answered) = oneshot::channel();
            let host = name.as_str().to_owned();
            // A thread of its own: a resolver that hangs must not take one of those that requests wait for.
            std::thread::Builder::new().name("look up a receiver".to_owned()).spawn(move || {
                // Nobody waits any more when the attempt has run out of time.
                let _ = answer.send(look_up(&host));
                drop(permit);
            })?;
            let addresses = answered.await??;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

fn look_up(host: &str) -> std::io::Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = (host, 0).to_socket_addrs()?.collect();
    for address in &addresses {
        if let Some(reason) = refusal(address.ip()) {
            return Err(std::io::Error::other(format!("{host} is at {}, {reason}", address.ip())));
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_refused_address_is_refused() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://169.254.1.1",
            "http://2852039166/",
            "http://0xA9FEA9FE/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://224.0.0.1/",
            "http://metadata.google.internal/computeMetadata",
            "http://METADATA.google.internal./",
            "http://user:pass@chat.example.com/",
            "http://169.254.169.254@chat.example.com/",
            "ftp://chat.example.com/",
            "chat.example.com",
            "https:///",
            "",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn private_networks_are_where_people_have_their_chat() {
        for url in [
            "https://hooks.slack.com/services/x",
            "http://chat.internal:8065/hooks/x",
            "http://10.0.0.7/",
            "http://192.168.1.1:8080/",
            "http://127.0.0.1:9000/hook",
            "http://[::1]:9000/",
            "http://[fd12:3456::1]/",
            "https://xn--bcher-kva.example/",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_problem_names_the_host_and_nothing_behind_it() {
        let problem = check_url("http://169.254.169.254/canary?token=canary").expect_err("refused");
        assert!(problem.contains("169.254.169.254") && !problem.contains("canary"), "{problem}");
    }

    #[tokio::test]
    async fn a_name_is_looked_up_to_addresses_that_may_be_called() {
        let resolver = CheckedResolver::default();
        let found = resolver.resolve("localhost".parse().expect("a name")).await.expect("found");
        assert!(found.into_iter().all(|address| address.ip().is_loopback()));
        assert!(resolver.resolve("no-such-name.invalid".parse().expect("a name")).await.is_err());
    }
}
