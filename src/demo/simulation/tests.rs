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
    Simulation::new(scenario, Play { seed, speed, scale: 1.0, started_ns: STARTED_NS, past_ns: 0 })
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
            Simulation::new(scenario, Play { seed: 1, speed: 40.0, scale: 0.2, started_ns: STARTED_NS, past_ns: 0 });
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
    let on_verdict = simulation.scenario.on_verdict.first().expect("a canary is rolled out");
    simulation.play_instead(on_verdict.service, on_verdict.roll_back);
    let spans = server_spans(&play(&mut simulation, 14));
    let late = spans.iter().filter(|(_, _, span)| span.end_time_unix_nano > STARTED_NS + 6_000_000_000);
    let of_checkout: Vec<&str> =
        late.filter(|(service, ..)| service == "checkout").map(|(_, version, _)| version.as_str()).collect();
    assert!(of_checkout.len() > 20 && of_checkout.iter().all(|version| *version == "2.13.4"), "{of_checkout:?}");
    assert_eq!(simulation.tracks[1].next, on_verdict.roll_back.len());
}

#[test]
fn a_decision_on_one_service_leaves_the_script_of_another_as_it_is() {
    let mut simulation = simulation("two-releases", 5, 10.0);
    play(&mut simulation, 7);
    let promote =
        simulation.scenario.on_verdict.iter().find(|on| on.service == "catalog").expect("it is rolled out").promote;
    simulation.play_instead("catalog", promote);
    let spans = server_spans(&play(&mut simulation, 14));
    let late = |service: &str| {
        let of = spans
            .iter()
            .filter(|(found, _, span)| found == service && span.end_time_unix_nano > STARTED_NS + 13_000_000_000);
        of.map(|(_, version, span)| (version.as_str(), span.status.as_ref().is_some_and(|status| status.code == 2)))
            .collect::<Vec<_>>()
    };
    assert!(late("catalog").len() > 20 && late("catalog").iter().all(|(version, _)| *version == "5.1.0"));
    assert!(late("checkout").iter().filter(|(version, is_error)| *version == "2.14.0" && *is_error).count() > 3);
}

const MINUTE_NS: u64 = 60_000_000_000;

fn with_past(minutes: u64) -> Simulation {
    let play = Play { seed: 9, speed: 1.0, scale: 1.0, started_ns: STARTED_NS, past_ns: minutes * MINUTE_NS };
    Simulation::new(scenarios::find("canary-errors").expect("it exists"), play)
}

/// Plays the past to its end.
fn play_past(simulation: &mut Simulation) -> Vec<Outgoing> {
    let mut outgoing = Vec::new();
    while simulation.due_ns() <= STARTED_NS {
        outgoing.extend(simulation.advance().outgoing);
    }
    simulation.begin_script();
    outgoing
}

#[test]
fn a_past_is_like_what_follows_and_nothing_happens_in_it() {
    let mut simulation = with_past(6);
    let past = play_past(&mut simulation);
    let spans = server_spans(&past);
    assert!(spans.iter().all(|(service, version, _)| service != "checkout" || version == "2.13.4"));
    // What the first customers caused began a little earlier.
    let first_ns = spans.iter().map(|(.., span)| span.end_time_unix_nano).min().expect("there are some");
    assert!(first_ns.abs_diff(STARTED_NS - 6 * MINUTE_NS) < 3_000_000_000);
    assert!(spans.iter().all(|(.., span)| span.end_time_unix_nano <= STARTED_NS));
    let minute = |outgoing: &[Outgoing], from_ns: u64| {
        let within = from_ns..from_ns + MINUTE_NS;
        server_spans(outgoing).iter().filter(|(.., span)| within.contains(&span.end_time_unix_nano)).count() as f64
    };
    // Both are of the same phase of the slow wave.
    let (then, now) = (minute(&past, STARTED_NS - 4 * MINUTE_NS), minute(&play(&mut simulation, 62), STARTED_NS));
    assert!((then / now - 1.0).abs() < 0.08, "{then} {now}");
    // Requests of the past are few and full; the last ones are those of every second.
    let old =
        past.iter().filter(|batch| batch.signal == Signal::Traces && oldest_ns(batch) < STARTED_NS - 3 * MINUTE_NS);
    let new = past.iter().filter(|batch| batch.signal == Signal::Traces && oldest_ns(batch) > STARTED_NS - MINUTE_NS);
    assert!(3 * old.count() < new.count());
}

fn oldest_ns(batch: &Outgoing) -> u64 {
    let request = ExportTraceServiceRequest::decode(batch.body.clone()).expect("valid OTLP");
    let spans = request.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
    spans.map(|span| span.end_time_unix_nano).min().expect("a batch has spans")
}

#[test]
fn the_script_does_not_depend_on_how_long_the_past_was() {
    let customers = |minutes: u64| {
        let mut simulation = with_past(minutes);
        play_past(&mut simulation);
        let spans = server_spans(&play(&mut simulation, 30));
        // The clock of a past of another length is rounded otherwise.
        let of_script = spans.iter().filter(|(.., span)| span.start_time_unix_nano > STARTED_NS);
        let of_script = of_script.filter(|(.., span)| span.end_time_unix_nano < STARTED_NS + 25_000_000_000);
        let mut found: Vec<_> = of_script.map(|(.., span)| (span.trace_id.clone(), span.name.clone())).collect();
        found.sort();
        found
    };
    let of_three = customers(3);
    assert!(of_three.len() > 1_000 && of_three == customers(5));
}
