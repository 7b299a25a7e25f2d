//! The shop as it is before anything happens: services, their routes, what they call, and where customers enter. Data.
//!
//! Rates add up to about 230 requests a second, which are 390 spans with the clients' side: enough that a canary at 12 %
//! shows within seconds, little enough that a laptop stays quiet.

use crate::load::wire::Protocol;

/// Environment of all services.
pub const ENVIRONMENT: &str = "production";

/// A service.
pub struct Service {
    /// `service.name`.
    pub name: &'static str,
    /// Language, with the SDK's ways.
    pub language: Language,
    /// How it exports.
    pub protocol: Protocol,
    /// Whether it compresses what it exports.
    pub gzip: bool,
    /// The version that runs at the beginning.
    pub version: &'static str,
    /// Instances at the beginning.
    pub instances: u32,
    /// Whether its resource has `service.instance.id`; several SDKs send none.
    pub states_instance: bool,
    /// What it answers.
    pub routes: &'static [Route],
}

/// A language and the SDK that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// SDK of Go: no `http.route` on spans, the route stands in the span's name.
    Go,
    /// Agent of Java: severity texts of `java.util.logging`, `error.type` on spans.
    Java,
    /// SDK of Node.js.
    NodeJs,
    /// SDK of Python.
    Python,
}

/// A route of a service.
pub struct Route {
    /// Method.
    pub method: &'static str,
    /// `http.route`, spelt as the language's framework does.
    pub route: &'static str,
    /// Median of the service's own time, milliseconds.
    pub median_ms: f64,
    /// Sigma of the logarithm of that time.
    pub sigma: f64,
    /// Share of requests that fail with 500 by the service's own fault.
    pub error_ratio: f64,
    /// Share of requests that are answered 404, which is the caller's fault.
    pub not_found_ratio: f64,
    /// What it calls, one after the other.
    pub calls: &'static [Call],
}

/// A call of another service.
pub struct Call {
    /// Who is called.
    pub service: &'static str,
    /// Index of the route there.
    pub route: usize,
    /// How often.
    pub probability: f64,
    /// Whether the caller fails (502) when the call does.
    pub critical: bool,
}

/// A way into the shop.
pub struct Entrance {
    /// Index of the route of [`WEB`].
    pub route: usize,
    /// Customers per second.
    pub per_second: f64,
}

/// The service that customers reach.
pub const WEB: &str = "web";

/// Where customers enter, by the second.
pub const ENTRANCES: [Entrance; 6] = [
    Entrance { route: 0, per_second: 8.0 },
    Entrance { route: 1, per_second: 8.0 },
    Entrance { route: 2, per_second: 14.0 },
    Entrance { route: 3, per_second: 8.0 },
    Entrance { route: 4, per_second: 9.0 },
    Entrance { route: 5, per_second: 26.0 },
];

const fn route(
    method: &'static str,
    route: &'static str,
    median_ms: f64,
    sigma: f64,
    error_ratio: f64,
    calls: &'static [Call],
) -> Route {
    Route { method, route, median_ms, sigma, error_ratio, not_found_ratio: 0.0, calls }
}

const fn call(service: &'static str, route: usize, probability: f64, critical: bool) -> Call {
    Call { service, route, probability, critical }
}

/// All services.
pub const SERVICES: [Service; 8] = [
    Service {
        name: WEB,
        language: Language::NodeJs,
        protocol: Protocol::Http,
        gzip: false,
        version: "5.8.2",
        instances: 4,
        states_instance: true,
        routes: &[
            route("GET", "/", 9.0, 0.4, 0.0005, &[call("catalog", 0, 1.0, true), call("recommend", 0, 0.8, false)]),
            route("GET", "/search", 7.0, 0.4, 0.0005, &[call("search", 0, 1.0, true)]),
            route(
                "GET",
                "/items/:id",
                8.0,
                0.4,
                0.0005,
                &[call("catalog", 1, 1.0, true), call("recommend", 0, 0.5, false)],
            ),
            route("POST", "/cart", 6.0, 0.4, 0.0005, &[call("cart", 0, 1.0, true)]),
            route("GET", "/checkout", 9.0, 0.4, 0.0005, &[call("cart", 1, 1.0, true), call("checkout", 0, 1.0, true)]),
            route("POST", "/checkout", 10.0, 0.4, 0.0005, &[call("checkout", 1, 1.0, true)]),
        ],
    },
    Service {
        name: "checkout",
        language: Language::Java,
        protocol: Protocol::Grpc,
        gzip: false,
        version: "2.13.4",
        instances: 6,
        states_instance: true,
        routes: &[
            route("GET", "/quote", 14.0, 0.5, 0.001, &[call("shipping", 0, 1.0, false)]),
            route("POST", "/pay", 55.0, 0.45, 0.004, &[call("payment", 0, 1.0, true), call("shipping", 1, 0.9, false)]),
        ],
    },
    Service {
        name: "payment",
        language: Language::Go,
        protocol: Protocol::Grpc,
        gzip: true,
        version: "1.31.0",
        instances: 3,
        states_instance: true,
        routes: &[route("POST", "/charge", 90.0, 0.5, 0.002, &[])],
    },
    Service {
        name: "catalog",
        language: Language::Python,
        protocol: Protocol::Grpc,
        gzip: false,
        version: "5.0.1",
        instances: 3,
        states_instance: true,
        routes: &[
            route("GET", "/featured", 11.0, 0.5, 0.0005, &[]),
            Route { not_found_ratio: 0.02, ..route("GET", "/items/<int:item>", 7.0, 0.6, 0.0005, &[]) },
        ],
    },
    Service {
        name: "cart",
        language: Language::Go,
        protocol: Protocol::Grpc,
        gzip: false,
        version: "3.4.0",
        instances: 2,
        states_instance: true,
        routes: &[
            route("POST", "/cart/{id}/items", 5.0, 0.5, 0.001, &[]),
            route("GET", "/cart/{id}", 3.0, 0.5, 0.0005, &[]),
        ],
    },
    Service {
        name: "search",
        language: Language::Java,
        protocol: Protocol::Http,
        gzip: true,
        version: "8.3.0",
        instances: 2,
        states_instance: true,
        routes: &[route("GET", "/search", 38.0, 0.6, 0.002, &[call("catalog", 1, 0.3, false)])],
    },
    Service {
        name: "shipping",
        language: Language::Python,
        protocol: Protocol::Http,
        gzip: false,
        version: "0.9.7",
        instances: 2,
        states_instance: true,
        routes: &[route("GET", "/rates", 16.0, 0.5, 0.001, &[]), route("POST", "/shipments", 22.0, 0.5, 0.002, &[])],
    },
    Service {
        name: "recommend",
        language: Language::NodeJs,
        protocol: Protocol::Http,
        gzip: false,
        version: "4.2.0",
        instances: 2,
        states_instance: false,
        routes: &[route("GET", "/recommendations", 28.0, 0.7, 0.003, &[])],
    },
];

/// The index of a service.
pub fn service_index(name: &str) -> Option<usize> {
    SERVICES.iter().position(|service| service.name == name)
}

/// A path that the route matches: its parameters replaced by a number.
pub fn concrete_path(route: &str, number: u64) -> String {
    let segment = |text: &str| match text.starts_with([':', '{', '<']) {
        true => number.to_string(),
        false => text.to_owned(),
    };
    route.split('/').map(segment).collect::<Vec<_>>().join("/")
}

impl Language {
    /// `telemetry.sdk.language`.
    pub fn name(self) -> &'static str {
        match self {
            Language::Go => "go",
            Language::Java => "java",
            Language::NodeJs => "nodejs",
            Language::Python => "python",
        }
    }

    /// `telemetry.sdk.version`.
    pub fn sdk_version(self) -> &'static str {
        match self {
            Language::Go => "1.47.0",
            Language::Java => "1.68.0",
            Language::NodeJs => "2.12.0",
            Language::Python => "1.45.1",
        }
    }

    /// The exporter's user agent.
    pub fn user_agent(self) -> &'static str {
        match self {
            Language::Go => "OTel OTLP Exporter Go/1.47.0",
            Language::Java => "OTel-OTLP-Exporter-Java/1.67.0",
            Language::NodeJs => "OTel-OTLP-Exporter-JavaScript/0.223.0",
            Language::Python => "OTel-OTLP-Exporter-Python/1.45.1",
        }
    }

    /// The instrumentation that makes the server spans.
    pub fn scope(self) -> &'static str {
        match self {
            Language::Go => "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
            Language::Java => "io.opentelemetry.java-http-server",
            Language::NodeJs => "@opentelemetry/instrumentation-http",
            Language::Python => "opentelemetry.instrumentation.flask",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_leads_to_a_route() {
        for service in &SERVICES {
            for call in service.routes.iter().flat_map(|route| route.calls) {
                let callee =
                    &SERVICES[service_index(call.service).unwrap_or_else(|| panic!("no service {}", call.service))];
                assert!(call.route < callee.routes.len(), "{} calls {} {}", service.name, call.service, call.route);
            }
        }
        assert!(ENTRANCES.iter().all(|entrance| entrance.route < SERVICES[0].routes.len() && SERVICES[0].name == WEB));
    }

    #[test]
    fn parameters_of_every_framework_become_numbers() {
        assert_eq!(concrete_path("/items/<int:item>", 7), "/items/7");
        assert_eq!(concrete_path("/cart/{id}/items", 7), "/cart/7/items");
        assert_eq!(concrete_path("/items/:id", 7), "/items/7");
        assert_eq!(concrete_path("/", 7), "/");
    }
}
