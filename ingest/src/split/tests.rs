//! Splitting checked against prost, which every OTLP client and Collector uses: what the journal gets must decode to what
//! the client sent, with the tag's attributes in front.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::*;
use crate::decode::decode;

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn logs(service: &str, instance: Option<&str>, times: &[u64]) -> ResourceLogs {
    let mut attributes = vec![
        attribute("service.name", service),
        attribute("service.version", "1"),
        attribute("deployment.environment.name", "prod"),
    ];
    attributes.extend(instance.map(|instance| attribute("service.instance.id", instance)));
    let log_records = times.iter().map(|time| LogRecord { time_unix_nano: *time, ..LogRecord::default() }).collect();
    ResourceLogs {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }
}

fn run(signal: Signal, request: &Bytes, partitions: u32, repetition: Repetition) -> Split {
    run_in(1 << 20, signal, request, partitions, repetition)
}

/// For a journal that takes values of so many bytes.
fn run_in(value_bytes_max: usize, signal: Signal, request: &Bytes, partitions: u32, repetition: Repetition) -> Split {
    let tenant: Arc<str> = "default".into();
    let peer = Some("10.1.2.3");
    let context = Context { tenant: &tenant, signal, peer, repetition, received_ns: 42, partitions, value_bytes_max };
    split(request, &decode(signal, request).expect("valid"), &context).expect("valid")
}

fn encoded(request: &impl Message) -> Bytes {
    Bytes::from(request.encode_to_vec())
}

#[test]
fn a_request_that_needs_nothing_is_passed_through_untouched() {
    let request = ExportLogsServiceRequest { resource_logs: vec![logs("a", Some("i"), &[5, 3, 9])] };
    let bytes = encoded(&request);
    let split = run(Signal::Logs, &bytes, 8, Repetition::ByBytes);
    let [record] = split.records.as_slice() else { panic!("one record, not {}", split.records.len()) };
    assert_eq!(record.value.as_ptr(), bytes.as_ptr(), "not even copied");
    assert_eq!((record.header.records, record.header.time_min_ns, record.header.time_max_ns), (3, 3, 9));
    assert_eq!(split.instances_guessed, 0);
}

#[test]
fn resources_go_to_their_partitions_whole_and_tagged() {
    let entries: Vec<ResourceLogs> =
        (0..40).map(|n| logs(&format!("s{n}"), (n % 2 == 0).then_some("i"), &[n + 1, n + 2])).collect();
    let bytes = encoded(&ExportLogsServiceRequest { resource_logs: entries.clone() });
    let split = run(Signal::Logs, &bytes, 4, Repetition::ByBytes);
    assert_eq!(split.records.len(), 4);
    assert_eq!(split.instances_guessed, 20);
    let mut seen = Vec::new();
    for record in &split.records {
        let decoded = ExportLogsServiceRequest::decode(record.value.clone()).expect("valid");
        assert_eq!(record.header.records as usize, decoded.resource_logs.len() * 2);
        seen.extend(decoded.resource_logs);
    }
    for mut entry in entries {
        let resource = entry.resource.as_mut().expect("given");
        if !resource.attributes.iter().any(|attribute| attribute.key == "service.instance.id") {
            let tag = [attribute("service.instance.id", "10.1.2.3"), attribute("shipwake.instance.guessed", "true")];
            resource.attributes.splice(0..0, tag);
        }
        assert!(seen.contains(&entry), "{entry:?}");
    }
}

#[test]
fn the_order_of_attributes_does_not_change_the_partition() {
    let mut entry = logs("a", Some("i"), &[1]);
    let placed = |entry: &ResourceLogs| {
        let request = ExportLogsServiceRequest { resource_logs: vec![entry.clone()] };
        run(Signal::Logs, &encoded(&request), 1000, Repetition::ByBytes).records[0].partition
    };
    let first = placed(&entry);
    entry.resource.as_mut().expect("given").attributes.reverse();
    assert_eq!(placed(&entry), first);
}

#[test]
fn a_retry_has_the_same_hash_and_other_content_another() {
    let hash = |times: &[u64], instance: Option<&str>, repetition| {
        let request = ExportLogsServiceRequest { resource_logs: vec![logs("a", instance, times)] };
        run(Signal::Logs, &encoded(&request), 2, repetition).records[0].header.request_hash
    };
    let first = hash(&[1, 2], None, Repetition::ByBytes);
    assert!(first.is_some());
    assert_eq!(hash(&[1, 2], None, Repetition::ByBytes), first);
    assert_ne!(hash(&[1, 3], None, Repetition::ByBytes), first);
    assert_ne!(hash(&[1, 2], Some("i"), Repetition::ByBytes), first);
    let timeless = hash(&[0, 0], None, Repetition::ByBytes);
    assert!(timeless.is_some() && timeless != first, "what the client sent is the same however late it comes again");
    assert_eq!(hash(&[0, 0], None, Repetition::ByBytes), timeless);
    assert_eq!(hash(&[1, 2], None, Repetition::Never), None);
    assert_eq!(hash(&[1, 2], None, Repetition::ByKey(7)), Some(7));
}

#[test]
fn requests_without_records_append_nothing() {
    let none = run(Signal::Logs, &Bytes::new(), 2, Repetition::ByBytes);
    assert!(none.records.is_empty());
    let empty = ExportLogsServiceRequest { resource_logs: vec![logs("a", None, &[]), ResourceLogs::default()] };
    assert!(run(Signal::Logs, &encoded(&empty), 2, Repetition::ByBytes).records.is_empty());
}

#[test]
fn points_that_are_rejected_are_left_out_and_the_others_kept() {
    let point = |value: f64, time| NumberDataPoint {
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let gauge = Gauge { data_points: vec![point(1.0, 5), point(f64::NAN, 1), point(3.0, 7)] };
    let metrics = vec![Metric { name: "m".to_owned(), data: Some(metric::Data::Gauge(gauge)), ..Metric::default() }];
    let entry = ResourceMetrics {
        resource: logs("a", Some("i"), &[]).resource,
        scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
        ..ResourceMetrics::default()
    };
    let bytes = encoded(&ExportMetricsServiceRequest { resource_metrics: vec![entry] });
    let decoded = decode(Signal::Metrics, &bytes).expect("valid");
    assert_eq!((decoded.records(), decoded.rejected.total()), (2, 1));
    assert!(decoded.rejected.message().contains("not_a_number"), "{}", decoded.rejected.message());
    let split = run(Signal::Metrics, &bytes, 2, Repetition::ByBytes);
    let header = &split.records[0].header;
    assert_eq!((header.records, header.time_min_ns, header.time_max_ns), (2, 5, 7));
    let kept = ExportMetricsServiceRequest::decode(split.records[0].value.clone()).expect("valid");
    let Some(metric::Data::Gauge(gauge)) = &kept.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("a gauge")
    };
    assert_eq!(gauge.data_points, [point(1.0, 5), point(3.0, 7)]);
}

/// Flips bytes of a valid request: whatever is still accepted must come out of the split as prost reads it.
#[test]
fn whatever_is_accepted_decodes_to_the_same_number_of_records() {
    let entries = (0..5).map(|n| logs(&format!("s{n}"), (n == 2).then_some("i"), &[1, n + 2])).collect();
    let valid = ExportLogsServiceRequest { resource_logs: entries }.encode_to_vec();
    let (mut random, mut accepted) = (0x2545_f491_4f6c_dd1du64, 0);
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for _ in 0..20_000 {
        let mut bytes = valid.clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            bytes[at] = next(256) as u8;
        }
        bytes.truncate(bytes.len() - if next(4) == 0 { next(20) } else { 0 });
        let Ok(decoded) = decode(Signal::Logs, &bytes) else { continue };
        accepted += 1;
        let records = decoded.records();
        let split = run(Signal::Logs, &Bytes::from(bytes), 3, Repetition::ByBytes);
        let mut kept = 0;
        for record in split.records {
            let again = decode(Signal::Logs, &record.value).expect("what the journal gets is valid");
            assert_eq!(again.records(), u64::from(record.header.records));
            kept += again.records();
        }
        assert_eq!(kept, records);
    }
    assert!(accepted > 1000, "only {accepted} of 20000 were accepted: the test shows nothing");
}

#[test]
fn what_the_journal_does_not_take_at_once_is_cut_and_nothing_is_lost() {
    let times: Vec<u64> = (1..=200).collect();
    let large = logs("large", None, &times);
    let entries = vec![logs("a", Some("i"), &[7]), large, logs("b", None, &[8]), logs("c", Some("i"), &[9])];
    let bytes = encoded(&ExportLogsServiceRequest { resource_logs: entries });
    let split = run_in(600, Signal::Logs, &bytes, 1, Repetition::ByBytes);
    let (mut services, mut found) = (Vec::new(), Vec::new());
    for record in &split.records {
        assert!(record.value.len() <= 600, "{}", record.value.len());
        let decoded = ExportLogsServiceRequest::decode(record.value.clone()).expect("valid");
        let mut seen: Vec<u64> = Vec::new();
        for entry in decoded.resource_logs {
            let attributes = entry.resource.expect("given").attributes;
            assert!(attributes.iter().any(|attribute| attribute.key == "service.instance.id"), "tagged in every piece");
            services.extend(attributes.into_iter().filter(|attribute| attribute.key == "service.name"));
            seen.extend(
                entry.scope_logs.iter().flat_map(|scope| &scope.log_records).map(|record| record.time_unix_nano),
            );
        }
        let header = &record.header;
        assert_eq!(header.records as usize, seen.len());
        assert_eq!((header.time_min_ns, header.time_max_ns), (seen[0] as i64, seen[seen.len() - 1] as i64));
        found.extend(seen);
    }
    assert!(split.records.len() > 3, "{}", split.records.len());
    let expected: Vec<u64> = [7].into_iter().chain(times).chain([8, 9]).collect();
    assert_eq!(found, expected, "every record once, in order");

    let hashes = |split: &Split| split.records.iter().map(|record| record.header.request_hash).collect::<Vec<_>>();
    let again = run_in(600, Signal::Logs, &bytes, 1, Repetition::ByBytes);
    assert_eq!(hashes(&again), hashes(&split), "a retry is cut in the same places");
    let keyed = hashes(&run_in(600, Signal::Logs, &bytes, 1, Repetition::ByKey(7)));
    let distinct: std::collections::BTreeSet<_> = keyed.iter().collect();
    assert_eq!(distinct.len(), keyed.len(), "pieces with one key are not taken for repetitions of each other");
}
