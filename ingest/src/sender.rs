//! What sent a request, as far as it says so itself: the protocol, the user agent, the SDK's language, the format of its
//! lines. The Start page ticks its rows by it. Pure; words of ours, so there is a fixed number of them.

use http::HeaderMap;
use http::header::USER_AGENT;

/// What a sender is, or how it sends. A request is usually several of these at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sender {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// An OpenTelemetry Collector, by its user agent.
    Collector,
    /// OTLP by curl: somebody at a shell.
    Curl,
    /// An SDK of Python, by `telemetry.sdk.language` as all of these.
    SdkPython,
    /// Of Node.
    SdkNode,
    /// Of Java.
    SdkJava,
    /// Of Go.
    SdkGo,
    /// Of Rust.
    SdkRust,
    /// Of another language.
    SdkOther,
    /// `POST /v1/lines` by anything but the next.
    Lines,
    /// `shipwake pipe` or `shipwake tail`.
    Pipe,
    /// Lines that are announced as those of nginx.
    Nginx,
    /// Of Apache httpd.
    Httpd,
    /// Of HAProxy.
    Haproxy,
    /// Of Varnish.
    Varnish,
    /// Syslog.
    Syslog,
    /// `POST /v1/events`.
    Events,
    /// Prometheus remote-write.
    RemoteWrite,
}

impl Sender {
    /// All of them.
    pub const ALL: [Sender; 19] = [
        Sender::OtlpGrpc,
        Sender::OtlpHttp,
        Sender::Collector,
        Sender::Curl,
        Sender::SdkPython,
        Sender::SdkNode,
        Sender::SdkJava,
        Sender::SdkGo,
        Sender::SdkRust,
        Sender::SdkOther,
        Sender::Lines,
        Sender::Pipe,
        Sender::Nginx,
        Sender::Httpd,
        Sender::Haproxy,
        Sender::Varnish,
        Sender::Syslog,
        Sender::Events,
        Sender::RemoteWrite,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Sender::OtlpGrpc => "otlp_grpc",
            Sender::OtlpHttp => "otlp_http",
            Sender::Collector => "collector",
            Sender::Curl => "curl",
            Sender::SdkPython => "sdk_python",
            Sender::SdkNode => "sdk_nodejs",
            Sender::SdkJava => "sdk_java",
            Sender::SdkGo => "sdk_go",
            Sender::SdkRust => "sdk_rust",
            Sender::SdkOther => "sdk_other",
            Sender::Lines => "lines",
            Sender::Pipe => "pipe",
            Sender::Nginx => "nginx",
            Sender::Httpd => "httpd",
            Sender::Haproxy => "haproxy",
            Sender::Varnish => "varnish",
            Sender::Syslog => "syslog",
            Sender::Events => "events",
            Sender::RemoteWrite => "remote_write",
        }
    }

    /// By `telemetry.sdk.language`.
    pub(crate) fn of_language(language: &[u8]) -> Sender {
        match language {
            b"python" => Sender::SdkPython,
            b"nodejs" => Sender::SdkNode,
            b"java" => Sender::SdkJava,
            b"go" => Sender::SdkGo,
            b"rust" => Sender::SdkRust,
            _ => Sender::SdkOther,
        }
    }
}

/// A set of [`Sender`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Senders(u32);

impl Senders {
    /// Nobody but this one.
    pub(crate) fn one(sender: Sender) -> Self {
        Senders(1 << sender as u8)
    }

    /// This way of sending, by whom the user agent names.
    pub(crate) fn of_headers(way: Sender, headers: &HeaderMap) -> Self {
        let agent = headers.get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
        let starts = |name: &[u8]| agent.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        if way == Sender::Lines && starts(b"shipwake-pipe/") {
            return Senders::one(Sender::Pipe);
        }
        let senders = Senders::one(way);
        match way {
            _ if starts(b"OpenTelemetry Collector") || starts(b"otelcol") => senders.with(Sender::Collector),
            Sender::OtlpHttp if starts(b"curl/") => senders.with(Sender::Curl),
            _ => senders,
        }
    }

    /// With this one besides.
    pub(crate) fn with(self, sender: Sender) -> Self {
        Senders(self.0 | Senders::one(sender).0)
    }

    /// With all of those besides.
    pub(crate) fn and(self, others: Senders) -> Self {
        Senders(self.0 | others.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Sender> {
        Sender::ALL.into_iter().filter(move |sender| self.0 & Senders::one(*sender).0 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_sender_is_known_by_its_user_agent() {
        let check = |agent: &str, expected: &[Sender]| {
            let headers = [(USER_AGENT, agent.parse().expect("a header"))].into_iter().collect();
            let found: Vec<Sender> = Senders::of_headers(Sender::OtlpHttp, &headers).iter().collect();
            assert_eq!(found, expected, "{agent}");
        };
        check("OpenTelemetry Collector Contrib/0.128.0 (linux/amd64)", &[Sender::OtlpHttp, Sender::Collector]);
        check("otelcol/0.128.0", &[Sender::OtlpHttp, Sender::Collector]);
        check("curl/8.5.0", &[Sender::OtlpHttp, Sender::Curl]);
        check("OTel-OTLP-Exporter-Python/1.39.0", &[Sender::OtlpHttp]);
        check("", &[Sender::OtlpHttp]);
        assert_eq!(Senders::of_headers(Sender::Lines, &HeaderMap::new()), Senders::one(Sender::Lines));
        let of_lines = |agent: &'static str| {
            let headers = [(USER_AGENT, HeaderValue::from_static(agent))].into_iter().collect();
            Senders::of_headers(Sender::Lines, &headers)
        };
        assert_eq!(of_lines("shipwake-pipe/0.1.0"), Senders::one(Sender::Pipe));
        assert_eq!(of_lines("curl/8.5.0"), Senders::one(Sender::Lines));
    }

    #[test]
    fn every_sender_has_a_place_and_a_word_of_its_own() {
        let words: std::collections::BTreeSet<&str> = Sender::ALL.into_iter().map(Sender::as_str).collect();
        assert_eq!(words.len(), Sender::ALL.len());
        let all = Sender::ALL.into_iter().fold(Senders::default(), Senders::with);
        assert_eq!(all.iter().collect::<Vec<_>>(), Sender::ALL);
    }
}
