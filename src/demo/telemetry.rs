//! Turns a journey into the telemetry of the instances that took part: server and client spans with today's HTTP names,
//! log records, measurements, each with its tally for the ground truth. Pure.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::customers::Customer;
use super::instance::Instance;
use super::journey::{Called, Cause, Journey, Visit};
use super::lines::{self, Line};
use super::random::Chance;
use super::shop::{Language, SERVICES, WEB, concrete_path};
use super::truth::Tally;
use crate::load::wire::attribute::{any_text, int, text};

/// Gives every instance its part of a journey that ended at `journey_end_ns`.
pub fn emit(journey: &Journey, journey_end_ns: u64, instances: &mut [Option<Instance>], chance: &mut Chance) {
    let begin_ns = journey_end_ns - journey.end_us * 1_000;
    let customer = Customer::of(journey);
    for called in &journey.calls {
        if let Some(Some(instance)) = instances.get_mut(called.instance) {
            instance.span(
                client_span(journey, called, begin_ns, SERVICES[instance.release.service].language),
                Tally::Other,
            );
        }
    }
    for visit in &journey.visits {
        let Some(Some(instance)) = instances.get_mut(visit.instance) else { continue };
        let service = &SERVICES[visit.service];
        let route = &service.routes[visit.route];
        let (end_ns, duration_us) = (begin_ns + visit.end_us * 1_000, visit.end_us - visit.start_us);
        let path = concrete_path(route.route, visit.span_id % 9_000 + 1_000);
        let tally = Tally::Request { route: visit.route, end_ns, error: visit.is_error(), duration_us };
        let is_payment = service.name == "checkout" && route.route == "/pay";
        let mut span = server_span(journey, visit, begin_ns, &path);
        if service.name == WEB || service.name == "checkout" {
            span.attributes.extend(customer.attributes());
        }
        if is_payment {
            span.events.push(customer.checkout_toggle(span.start_time_unix_nano));
        }
        instance.span(span, tally);
        instance.measurements.request(visit.route, visit.status, duration_us);
        if is_payment && visit.cause == Cause::Good {
            instance.measurements.order();
            let mut order = customer.order(journey, end_ns);
            order.trace_id = trace_id(journey);
            order.span_id = visit.span_id.to_be_bytes().to_vec();
            instance.log(order, Tally::Other);
        }
        for line in lines_of(visit, &path, duration_us, chance) {
            let mut record = log_record(&line, service.language, end_ns);
            record.trace_id = trace_id(journey);
            record.span_id = visit.span_id.to_be_bytes().to_vec();
            record.flags = 1;
            instance.log(record, Tally::Log { time_ns: end_ns, level: line.level });
        }
    }
}

/// A line as a log record of that time, outside of any trace.
pub fn log_record(line: &Line, language: Language, time_ns: u64) -> LogRecord {
    let mut attributes = Vec::new();
    if let Some((kind, message)) = &line.exception {
        attributes.push(text("exception.type", kind));
        attributes.push(text("exception.message", message));
    }
    LogRecord {
        time_unix_nano: time_ns,
        observed_time_unix_nano: time_ns,
        severity_number: lines::severity_number(line.level),
        severity_text: lines::severity_text(language, line.level).to_owned(),
        body: any_text(&line.body),
        attributes,
        ..LogRecord::default()
    }
}

fn lines_of(visit: &Visit, path: &str, duration_us: u64, chance: &mut Chance) -> Vec<Line> {
    let service = &SERVICES[visit.service];
    let route = &service.routes[visit.route];
    let mut found = match visit.cause {
        Cause::Broken => lines::broken(chance),
        Cause::Failed => vec![lines::failed(service.language, route, path, chance)],
        Cause::Upstream { callee, status } => vec![lines::upstream_failed(SERVICES[callee].name, status)],
        Cause::Good if chance.happens(lines::INFO_RATIO) => {
            vec![lines::served(service.name, route, path, duration_us, chance)]
        }
        Cause::Good | Cause::NotFound => Vec::new(),
    };
    // A route that calls others is slow by their doing: only leaves complain.
    if route.calls.is_empty() && duration_us as f64 > route.median_ms * 1_000.0 * lines::SLOW_FACTOR {
        found.push(lines::slow(route, path, duration_us));
    }
    found
}

fn server_span(journey: &Journey, visit: &Visit, begin_ns: u64, path: &str) -> Span {
    let service = &SERVICES[visit.service];
    let route = &service.routes[visit.route];
    let mut attributes = vec![
        text("http.request.method", route.method),
        text("url.path", path),
        text("url.scheme", "http"),
        int("http.response.status_code", i64::from(visit.status)),
        text("server.address", service.name),
        int("server.port", 8080),
        text("network.protocol.version", "1.1"),
        text(
            "user_agent.original",
            if visit.parent_id == 0 { "Mozilla/5.0 (X11; Linux x86_64)" } else { "shop-http/2" },
        ),
    ];
    if service.language != Language::Go {
        attributes.push(text("http.route", route.route));
    }
    if visit.is_error() && service.language == Language::Java {
        attributes.push(text("error.type", &visit.status.to_string()));
    }
    Span {
        trace_id: trace_id(journey),
        span_id: visit.span_id.to_be_bytes().to_vec(),
        parent_span_id: if visit.parent_id == 0 { Vec::new() } else { visit.parent_id.to_be_bytes().to_vec() },
        name: format!("{} {}", route.method, route.route),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: begin_ns + visit.start_us * 1_000,
        end_time_unix_nano: begin_ns + visit.end_us * 1_000,
        attributes,
        flags: if visit.parent_id == 0 { 0x101 } else { 0x301 },
        status: Some(status(visit.is_error())),
        ..Span::default()
    }
}

fn client_span(journey: &Journey, called: &Called, begin_ns: u64, language: Language) -> Span {
    let callee = &SERVICES[called.callee];
    let route = &callee.routes[called.route];
    let path = concrete_path(route.route, called.span_id % 9_000 + 1_000);
    let mut attributes: Vec<KeyValue> = vec![
        text("http.request.method", route.method),
        text("url.full", &format!("http://{}:8080{path}", callee.name)),
        text("server.address", callee.name),
        int("server.port", 8080),
        int("http.response.status_code", i64::from(called.status)),
    ];
    if called.status >= 400 {
        attributes.push(text("error.type", &called.status.to_string()));
    }
    Span {
        trace_id: trace_id(journey),
        span_id: called.span_id.to_be_bytes().to_vec(),
        parent_span_id: called.parent_id.to_be_bytes().to_vec(),
        name: if language == Language::Go { format!("HTTP {}", route.method) } else { route.method.to_owned() },
        kind: SpanKind::Client as i32,
        start_time_unix_nano: begin_ns + called.start_us * 1_000,
        end_time_unix_nano: begin_ns + called.end_us * 1_000,
        attributes,
        flags: 0x101,
        // For a client, 4xx is an error too.
        status: Some(status(called.status >= 400)),
        ..Span::default()
    }
}

fn status(error: bool) -> Status {
    let code = if error { StatusCode::Error } else { StatusCode::Unset };
    Status { message: String::new(), code: code as i32 }
}

fn trace_id(journey: &Journey) -> Vec<u8> {
    journey.trace_id.iter().flat_map(|half| half.to_be_bytes()).collect()
}
