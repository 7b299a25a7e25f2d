//! What the shop's services write into their logs. Templates with parameters, so that a line of a kind is told from a line
//! of another by more than its numbers. Pure.

use super::random::Chance;
use super::shop::{Language, Route};
use super::truth::Level;

/// Share of good requests that leave a line.
pub const INFO_RATIO: f64 = 0.3;
/// A request this many times slower than the median leaves a warning.
pub const SLOW_FACTOR: f64 = 4.0;

/// A line before it becomes a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How bad.
    pub level: Level,
    /// The text.
    pub body: String,
    /// `exception.type` and `exception.message`, when the line is about one.
    pub exception: Option<(&'static str, String)>,
}

/// The line of a request that went well.
pub fn served(service: &str, route: &Route, path: &str, duration_us: u64, chance: &mut Chance) -> Line {
    let (user, order) = (chance.below(90_000) + 10_000, chance.below(900_000) + 100_000);
    let ms = duration_us / 1_000;
    let body = match (service, route.route) {
        ("checkout", "/pay") => {
            format!(
                "order o-{order} paid by card ending {:04}, {}.{:02} EUR",
                chance.below(10_000),
                chance.below(400) + 5,
                chance.below(100)
            )
        }
        ("payment", _) => format!("charge ch_{:012x} captured in {ms} ms", chance.bits() >> 16),
        ("shipping", "/shipments") => format!(
            "shipment s-{order} handed to carrier {}",
            ["north", "harbour", "express"][chance.below(3) as usize]
        ),
        ("search", _) => format!("query took {ms} ms, {} hits", chance.below(400)),
        ("cart", _) => format!("cart {} now has {} items", chance.below(90_000) + 10_000, chance.below(9) + 1),
        _ => format!("{} {path} answered in {ms} ms for user u-{user}", route.method),
    };
    Line { level: Level::Info, body, exception: None }
}

/// The warning of a slow request.
pub fn slow(route: &Route, path: &str, duration_us: u64) -> Line {
    let body = format!("slow request: {} {path} took {} ms", route.method, duration_us / 1_000);
    Line { level: Level::Warn, body, exception: None }
}

/// The error of a request that failed by the service's own fault, as it is in every version.
pub fn failed(language: Language, route: &Route, path: &str, chance: &mut Chance) -> Line {
    let (kind, message) = match language {
        Language::Go => ("*net.OpError", format!("read tcp 10.4.0.{}:5432: i/o timeout", chance.below(250) + 2)),
        Language::Java => (
            "java.sql.SQLTransientConnectionException",
            format!("connection is not available, request timed out after {} ms", 3_000 + chance.below(40)),
        ),
        Language::NodeJs => ("TypeError", "Cannot read properties of undefined (reading 'price')".to_owned()),
        Language::Python => (
            "sqlalchemy.exc.OperationalError",
            format!("server closed the connection unexpectedly, pool size {}", 5 + chance.below(6)),
        ),
    };
    let body = match language {
        Language::Python => format!("Exception on {path} [{}]", route.method),
        _ => format!("request {} {path} failed", route.method),
    };
    Line { level: Level::Error, body, exception: Some((kind, message)) }
}

/// The errors of a version that went wrong: no version before wrote them.
pub fn broken(chance: &mut Chance) -> Vec<Line> {
    let acquirer = ["lighthouse", "meridian", "anchor"][chance.below(3) as usize];
    let message = format!(
        "card token tok_{:010x} rejected by acquirer {acquirer}: unsupported token version 3",
        chance.bits() >> 24
    );
    let rejected = Line {
        level: Level::Error,
        body: message.clone(),
        exception: Some(("shop.payment.TokenRejectedException", message)),
    };
    let exhausted =
        Line { level: Level::Warn, body: format!("retry budget exhausted for acquirer {acquirer}"), exception: None };
    if chance.happens(0.2) { vec![rejected, exhausted] } else { vec![rejected] }
}

/// The warning of a request that failed because of what it called.
pub fn upstream_failed(callee: &str, status: u16) -> Line {
    Line { level: Level::Warn, body: format!("call of {callee} failed with status {status}"), exception: None }
}

/// The line that an instance writes now and then, with traffic or without.
pub fn heartbeat(chance: &mut Chance) -> Line {
    let body = format!("alive: {} connections, {} MB heap used", 3 + chance.below(30), 120 + chance.below(90));
    Line { level: Level::Info, body, exception: None }
}

/// `severity_text` as the language's logger spells it.
pub fn severity_text(language: Language, level: Level) -> &'static str {
    match (language, level) {
        (Language::Go, Level::Info) => "Info",
        (Language::Go, Level::Warn) => "Warn",
        (Language::Go, Level::Error) => "Error",
        (Language::Java, Level::Warn) => "WARNING",
        (Language::Java, Level::Error) => "SEVERE",
        (_, Level::Info) => "INFO",
        (_, Level::Warn) => "WARN",
        (_, Level::Error) => "ERROR",
    }
}

/// The severity number of OpenTelemetry.
pub fn severity_number(level: Level) -> i32 {
    match level {
        Level::Info => 9,
        Level::Warn => 13,
        Level::Error => 17,
    }
}
