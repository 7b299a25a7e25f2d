//! The shop's promises: determinism, a truth that equals what the batches hold, and scripts that do what they say.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use shipwake_model::Signal;

use super::*;
use crate::demo::scenarios::{self, SCENARIOS};
use crate::demo::truth::{Fate, Requests, Truth, WINDOW_NS};

const STARTED_NS: u64 = 1_795_000_003_000_000_000;

fn simulation(scenario: &str, seed: u64, speed: f64) -> Simulation {
    let scenario = scenarios::find(scenario).expect("the scenario exists");
    Simulation::new(scenario, Play { seed, speed, scale: 1.0, started_ns: STARTED_NS })
}

fn play(simulation: &mut Simulation, seconds: u64) -> Vec<Outgoing> {
    (0..seconds * TICKS_PER_SECOND).flat_map(|_| simulation.advance().outgoing).collect()
}

fn text_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()?;
    if let Any::StringValue(text) = value { Some(text) } else { None }
}

/// Every server span of the traces, with service and version as the resource says them.
fn server_spans(outgoing: &[Outgoing]) -> Vec<(String, String, Span)> {
    let mut spans = Vec::new();
    for batch in outgoing.iter().filter(|batch| batch.signal == Signal::Traces) {
        let request = ExportTraceServiceRequest::decode(batch.body.clone()).expect("valid OTLP");
        for resource_spans in request.resource_spans {
            let attributes = resource_spans.resource.expect("a resource").attributes;
            let service = text_of(&attributes, "service.name").expect("a name").to_owned();
            let version = text_of(&attributes, "service.version").unwrap_or("unversioned").to_owned();
            let of_batch =
                resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans).filter(|span| span.kind == 2);
            spans.extend(of_batch.map(|span| (service.clone(), version.clone(), span)));
        }
    }
    spans
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let bytes = |seed| {
        let outgoing = play(&mut simulation("canary-errors", seed, 10.0), 15);
        outgoing.into_iter().map(|batch| batch.body).collect::<Vec<_>>()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn the_truth_equals_what_the_batches_hold() {
    for scenario in ["canary-errors", "no-version"] {
        let mut simulation = simulation(scenario, 3, 10.0);
        let mut outgoing = play(&mut simulation, 25);
        outgoing.extend(simulation.finish().outgoing);
        let mut truth = Truth::default();
        for batch in &outgoing {
            truth.add(Fate::Acked, &batch.release, &batch.tallies);
        }

        let mut decoded: BTreeMap<(String, String, String, u64), Requests> = BTreeMap::new();
        for (service, version, span) in server_spans(&outgoing) {
            let window = span.end_time_unix_nano / WINDOW_NS * WINDOW_NS;
            let cell = decoded.entry((service, version, span.name, window)).or_default();
            cell.requests += 1;
            cell.errors += u64::from(span.status.expect("a status").code == 2);
            cell.duration_us += (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000;
        }
        let told: BTreeMap<(String, String, String, u64), Requests> = truth
            .requests
            .iter()
            .map(|((_, release, route, window), cell)| {
                let service = &SERVICES[release.service];
                let route = &service.routes[*route];
                (
                    (
                        service.name.to_owned(),
                        release.version.to_owned(),
                        format!("{} {}", route.method, route.route),
                        *window,
                    ),
                    *cell,
                )
            })
            .collect();
        assert_eq!(told, decoded);
        assert_eq!(logs_told(&truth), logs_decoded(&outgoing));
    }
}

fn logs_told(truth: &Truth) -> BTreeMap<(String, u64), [u64; 3]> {
    let mut told: BTreeMap<(String, u64), [u64; 3]> = BTreeMap::new();
    for ((_, release, window), counts) in &truth.logs {
        let cell =
            told.entry((format!("{} {}", SERVICES[release.service].name, release.version), *window)).or_default();
        cell.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    told
}

fn logs_decoded(outgoing: &[Outgoing]) -> BTreeMap<(String, u64), [u64; 3]> {
    let mut decoded: BTreeMap<(String, u64), [u64; 3]> = BTreeMap::new();
    for batch in outgoing.iter().filter(|batch| batch.signal == Signal::Logs) {
        let request = ExportLogsServiceRequest::decode(batch.body.clone()).expect("valid OTLP");
        for resource_logs in request.resource_logs {
            let attributes = resource_logs.resource.expect("a resource").attributes;
            let version = text_of(&attributes, "service.version").unwrap_or("unversioned");
            let release = format!("{} {version}", text_of(&attributes, "service.name").expect("a name"));
            for log in resource_logs.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                // Events are counted as what they are, not as lines.
                if !log.event_name.is_empty() {
                    continue;
                }
                let window = log.time_unix_nano / WINDOW_NS * WINDOW_NS;
                decoded.entry((release.clone(), window)).or_default()[(log.severity_number as usize - 9) / 4] += 1;
            }
        }
    }
    decoded
}

#[test]
fn nothing_lies_in_the_future_and_the_rate_stays_modest() {
    let mut simulation = simulation("canary-good", 1, 1.0);
    let mut spans = 0;
    for _ in 0..600 {
        let due = simulation.due_ns();
        for (_, _, span) in server_spans(&simulation.advance().outgoing) {
            assert!(span.end_time_unix_nano <= due && span.start_time_unix_nano < span.end_time_unix_nano);
            spans += 1;
        }
    }
    assert!((200..270).contains(&(spans / 60)), "{} server spans a second", spans / 60);
}

#[test]
fn the_canary_goes_wrong_on_time_and_only_the_canary() {
    let mut simulation = simulation("canary-errors", 1, 1.0);
    let mut outgoing = play(&mut simulation, 240);
    outgoing.extend(simulation.finish().outgoing);
    let pay = |version: &'static str, from_s: u64, to_s: u64| {
        let spans = server_spans(&outgoing);
        let of = spans.into_iter().filter(move |(service, found, span)| {
            // What the first customers caused began before the shop opened.
            let second = span.end_time_unix_nano.saturating_sub(STARTED_NS) / 1_000_000_000;
            service == "checkout" && found == version && span.name == "POST /pay" && (from_s..to_s).contains(&second)
        });
        let (mut all, mut errors) = (0.0, 0.0);
        for (_, _, span) in of {
            all += 1.0;
            errors += f64::from(u8::from(span.status.expect("a status").code == 2));
        }
        (all, errors / f64::max(all, 1.0))
    };
    assert_eq!(pay("2.14.0", 0, 19).0, 0.0);
    let (early, late) = (pay("2.14.0", 60, 119), pay("2.14.0", 121, 240));
    assert!(early.1 < 0.05, "{early:?}");
    assert!((0.22..0.38).contains(&late.1), "{late:?}");
    let (old, share) = (pay("2.13.4", 121, 240), late.0 / (late.0 + pay("2.13.4", 121, 240).0));
    assert!(old.1 < 0.015, "{old:?}");
    assert!((0.09..0.15).contains(&share), "{share}");
}

#[test]
fn every_scenario_plays_to_its_end() {
    for scenario in &SCENARIOS {
        let mut simulation =
            Simulation::new(scenario, Play { seed: 1, speed: 40.0, scale: 0.2, started_ns: STARTED_NS });
        let mut events = 0;
        for _ in 0..80 {
            events += simulation.advance().events.len();
        }
        assert_eq!(events, scenario.steps.len(), "{}", scenario.name);
    }
}

#[test]
fn a_candidate_without_traffic_is_alive_all_the_same() {
    let mut simulation = simulation("no-traffic-candidate", 1, 1.0);
    let outgoing = play(&mut simulation, 60);
    assert!(server_spans(&outgoing).iter().all(|(_, version, _)| version != "2.14.0"));
    let of_candidate =
        |signal| outgoing.iter().filter(|batch| batch.release.version == "2.14.0" && batch.signal == signal).count();
    assert!(of_candidate(Signal::Metrics) >= 6 && of_candidate(Signal::Logs) >= 4);
}

#[test]
fn metrics_count_the_same_requests_as_spans() {
    let mut simulation = simulation("canary-good", 1, 1.0);
    let mut outgoing = play(&mut simulation, 12);
    let last = simulation.finish().outgoing;
    let mut by_metrics = 0;
    for batch in last.iter().filter(|batch| batch.signal == Signal::Metrics) {
        let request = ExportMetricsServiceRequest::decode(batch.body.clone()).expect("valid OTLP");
        for metric in request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics) {
            if let Some(opentelemetry_proto::tonic::metrics::v1::metric::Data::Histogram(histogram)) = metric.data {
                by_metrics += histogram.data_points.iter().map(|point| point.count).sum::<u64>();
            }
        }
    }
    outgoing.extend(last);
    assert_eq!(by_metrics, server_spans(&outgoing).len() as u64);
}

#[test]
fn a_decision_ends_the_script_and_plays_its_own_steps() {
    let mut simulation = simulation("canary-errors", 5, 10.0);
    play(&mut simulation, 4);
    let on_verdict = simulation.scenario.on_verdict.as_ref().expect("a canary is rolled out");
    simulation.play_instead(on_verdict.roll_back);
    let spans = server_spans(&play(&mut simulation, 14));
    let late = spans.iter().filter(|(_, _, span)| span.end_time_unix_nano > STARTED_NS + 6_000_000_000);
    let of_checkout: Vec<&str> =
        late.filter(|(service, ..)| service == "checkout").map(|(_, version, _)| version.as_str()).collect();
    assert!(of_checkout.len() > 20 && of_checkout.iter().all(|version| *version == "2.13.4"), "{of_checkout:?}");
    assert_eq!(simulation.next_step, on_verdict.roll_back.len());
}
