//! Single rules of protobuf, each with a request that shows it. [`agree`](crate::agree) checks that prost keeps the same rule.

use shipwake_otlp::write::{put_fixed64_field, put_len_field, put_message, put_varint, put_varint_field};
use shipwake_otlp::{AnyValue, LogRecord, LogSink, Metric, MetricSink, Point, Resource, ScanError, Scope};
use shipwake_otlp::{resources, scan_logs, scan_metrics};

use crate::agree::{check_logs, check_metrics};

/// A request with one log record.
fn log_request(write_record: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| put_message(out, 2, |out| put_message(out, 2, write_record)));
    out
}

/// An `AnyValue` that is text, as field `field`.
fn text(out: &mut Vec<u8>, field: u32, text: &str) {
    put_message(out, field, |out| put_len_field(out, 1, text.as_bytes()));
}

fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    put_message(out, field, |out| {
        put_len_field(out, 1, key.as_bytes());
        text(out, 2, value);
    });
}

/// Writes down what a scan of logs reports, in words.
#[derive(Default)]
struct Told(Vec<String>);

impl<'a> LogSink<'a> for Told {
    fn resource(&mut self, resource: &Resource<'a>) {
        let mut line = b"resource ".to_vec();
        resource.attributes.write_json(&mut line);
        self.0.push(String::from_utf8(line).unwrap());
    }

    fn scope(&mut self, scope: &Scope<'a>) {
        self.0.push(format!("scope {} {}", scope.name.escape_ascii(), scope.schema_url.escape_ascii()));
    }

    fn log(&mut self, record: &LogRecord<'a>) {
        let mut line = b"log ".to_vec();
        record.body.write_text(&mut line);
        self.0.push(String::from_utf8(line).unwrap());
    }
}

fn told(request: &[u8]) -> Vec<String> {
    assert!(check_logs(request));
    let mut sink = Told::default();
    scan_logs(request, &mut sink).unwrap();
    sink.0
}

fn error(request: &[u8]) -> ScanError {
    assert!(!check_logs(request));
    scan_logs(request, &mut Told::default()).unwrap_err()
}

#[test]
fn resource_and_scope_come_before_their_records_and_whole_wherever_they_stand() {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 1, |out| attribute(out, 1, "service.version", "2"));
        put_message(out, 2, |out| {
            put_message(out, 2, |out| text(out, 5, "hello"));
            put_message(out, 1, |out| put_len_field(out, 1, b"old"));
            put_len_field(out, 3, b"schema");
            put_message(out, 1, |out| put_len_field(out, 1, b"lib"));
        });
        put_message(out, 1, |out| attribute(out, 1, "service.name", "shop"));
    });
    let expected = [r#"resource {"service.version":"2","service.name":"shop"}"#, "scope lib schema", "log hello"];
    assert_eq!(told(&request), expected);

    let found: Vec<_> = resources(&request).map(Result::unwrap).collect();
    assert_eq!(found[0].resource.attributes.get("service.name").unwrap().as_bytes(), Some(&b"shop"[..]));
    let mut again = Vec::new();
    put_len_field(&mut again, 1, found[0].message);
    assert_eq!(again, request);
}

#[test]
fn attributes_put_in_front_of_a_resource_win_a_look_up() {
    let mut original = Vec::new();
    put_message(&mut original, 1, |out| attribute(out, 1, "service.version", ""));
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 1, |out| attribute(out, 1, "service.version", "unversioned"));
        out.extend_from_slice(&original);
    });
    let found = resources(&request).next().unwrap().unwrap();
    assert_eq!(found.resource.attributes.get("service.version").unwrap().as_bytes(), Some(&b"unversioned"[..]));
    assert_eq!(found.resource.attributes.iter().count(), 2);
}

#[test]
fn the_last_kind_of_a_body_counts_and_maps_and_arrays_continue_themselves() {
    let body = |write: &dyn Fn(&mut Vec<u8>)| told(&log_request(|out| write(out)))[2].clone();
    let in_one = |parts: &'static [&'static str]| {
        body(&|out| {
            put_message(out, 5, |out| {
                for part in parts {
                    part_of_value(out, part);
                }
            });
        })
    };
    let in_pieces = |parts: &'static [&'static str]| {
        body(&|out| {
            for part in parts {
                put_message(out, 5, |out| part_of_value(out, part));
                put_varint_field(out, 2, 9);
            }
        })
    };
    let check = |parts, expected: &str| {
        assert_eq!(in_one(parts), expected, "{parts:?}");
        assert_eq!(in_pieces(parts), expected, "{parts:?}");
    };
    check(&["text a", "text b"], "log b");
    check(&["map a", "map b"], r#"log {"a":"v","b":"v"}"#);
    check(&["array a", "array b", "array c"], r#"log ["a","b","c"]"#);
    check(&["map a", "array b", "map c", "map d"], r#"log {"c":"v","d":"v"}"#);
    check(&["array a", "text b", "array c"], r#"log ["c"]"#);
    check(&["array a", "text b"], "log b");
    check(&["map a", "index"], "log ");
    check(&["map a", "index", "map b"], r#"log {"b":"v"}"#);
}

/// Appends one member of an `AnyValue`: "text b", "map key", "array element" or "index".
fn part_of_value(out: &mut Vec<u8>, part: &str) {
    let (kind, word) = part.split_once(' ').unwrap_or((part, ""));
    match kind {
        "text" => put_len_field(out, 1, word.as_bytes()),
        "map" => put_message(out, 6, |out| attribute(out, 1, word, "v")),
        "array" => put_message(out, 5, |out| text(out, 1, word)),
        _ => put_varint_field(out, 8, 3),
    }
}

#[test]
fn an_attribute_in_pieces_is_one_attribute() {
    let request = log_request(|out| {
        put_message(out, 6, |out| {
            put_message(out, 2, |out| part_of_value(out, "array a"));
            put_len_field(out, 1, b"first key");
            put_message(out, 2, |out| part_of_value(out, "array b"));
            put_len_field(out, 1, b"key");
        });
    });
    struct Sink;
    impl<'a> LogSink<'a> for Sink {
        fn resource(&mut self, _: &Resource<'a>) {}
        fn scope(&mut self, _: &Scope<'a>) {}
        fn log(&mut self, record: &LogRecord<'a>) {
            let mut json = Vec::new();
            record.attributes.write_json(&mut json);
            assert_eq!(json, br#"{"key":["a","b"]}"#);
            assert!(record.body.is_empty());
        }
    }
    assert!(check_logs(&request));
    scan_logs(&request, &mut Sink).unwrap();
}

#[test]
fn text_that_is_not_utf8_costs_nothing_else() {
    let request = log_request(|out| {
        put_message(out, 5, |out| put_len_field(out, 1, b"caf\xe9"));
        attribute(out, 6, "k", "v");
    });
    assert!(check_logs(&request));
    struct Sink(Vec<u8>);
    impl<'a> LogSink<'a> for Sink {
        fn resource(&mut self, _: &Resource<'a>) {}
        fn scope(&mut self, _: &Scope<'a>) {}
        fn log(&mut self, record: &LogRecord<'a>) {
            record.body.write_text(&mut self.0);
        }
    }
    let mut sink = Sink(Vec::new());
    scan_logs(&request, &mut sink).unwrap();
    assert_eq!(sink.0, b"caf\xe9");
}

/// A log record whose body is `arrays` arrays, each in the other: two messages a level.
fn nested_arrays(arrays: usize) -> Vec<u8> {
    let mut value = Vec::new();
    for _ in 0..arrays {
        let mut array = Vec::new();
        put_len_field(&mut array, 1, &value);
        value.clear();
        put_len_field(&mut value, 5, &array);
    }
    log_request(|out| put_len_field(out, 5, &value))
}

#[test]
fn values_nest_as_deep_as_prost_lets_them_and_no_deeper() {
    // Request, resource, scope and record are three levels, the body is the fourth.
    let deepest = (100 - 4) / 2;
    assert_eq!(told(&nested_arrays(deepest))[2], format!("log {}null{}", "[".repeat(deepest), "]".repeat(deepest)));
    assert!(matches!(error(&nested_arrays(deepest + 1)), ScanError::Depth { .. }));
    for arrays in [1_000, 5_000] {
        assert!(matches!(error(&nested_arrays(arrays)), ScanError::Depth { .. }));
    }
}

#[test]
fn groups_are_passed_over_and_nest_as_deep_as_messages() {
    let groups = |depth: usize| {
        log_request(|out| {
            (0..depth).for_each(|_| put_varint(out, 20 << 3 | 3));
            put_varint_field(out, 21, 1);
            (0..depth).for_each(|_| put_varint(out, 20 << 3 | 4));
            text(out, 5, "after");
        })
    };
    assert_eq!(told(&groups(1))[2], "log after");
    assert_eq!(told(&groups(96))[2], "log after");
    assert!(matches!(error(&groups(97)), ScanError::Depth { .. }));
    assert!(matches!(error(&groups(50_000)), ScanError::Depth { .. }));
    assert!(matches!(error(&log_request(|out| put_varint(out, 20 << 3 | 4))), ScanError::EndGroup { .. }));
    assert!(matches!(error(&log_request(|out| put_varint(out, 20 << 3 | 3))), ScanError::Truncated { .. }));
}

#[test]
fn an_error_names_its_kind_and_place() {
    let check = |bytes: &[u8], expected: ScanError| assert_eq!(error(bytes), expected, "{bytes:?}");
    check(&[0x0a], ScanError::Truncated { offset: 1 });
    check(&[0x0a, 5, 1], ScanError::Truncated { offset: 1 });
    check(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], ScanError::Truncated { offset: 1 });
    check(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], ScanError::Varint { offset: 1 });
    check(&[0xff; 12], ScanError::Varint { offset: 0 });
    check(&[0x02, 0], ScanError::Key { offset: 0 });
    check(&[0x0e, 0], ScanError::Key { offset: 0 });
    check(&[0xfa, 0xff, 0xff, 0xff, 0x7f, 0], ScanError::Key { offset: 0 });
    check(&[0x08, 1], ScanError::WireType { offset: 0, field: 1, wire_type: 0 });
    check(&[0x0a, 2, 0x10, 1], ScanError::WireType { offset: 2, field: 2, wire_type: 0 });
    let message = error(&[0x0a, 2, 0x10, 1]).to_string();
    assert_eq!(message, "field 2 has wire type 0, which OTLP does not give it, at byte 2");
}

#[test]
fn an_empty_request_is_a_request() {
    assert_eq!(told(&[]), Vec::<String>::new());
    assert_eq!(told(&[0x0a, 0]), ["resource {}"]);
}

/// Writes down what a scan of metrics reports, in words.
#[derive(Default)]
struct Measured(Vec<String>);

impl<'a> MetricSink<'a> for Measured {
    fn resource(&mut self, _: &Resource<'a>) {}
    fn scope(&mut self, _: &Scope<'a>) {}

    fn metric(&mut self, metric: &Metric<'a>) {
        let Metric { name, temporality, monotonic, kind, .. } = metric;
        self.0.push(format!("{} {} {temporality} {monotonic}", name.escape_ascii(), kind.as_str()));
    }

    fn point(&mut self, _: &Metric<'a>, point: &Point<'a>) {
        self.0.push(format!("at {}", point.time_unix_nano()));
    }
}

fn measured(write_metric: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| put_message(out, 2, |out| put_message(out, 2, write_metric)));
    assert!(check_metrics(&request));
    let mut sink = Measured::default();
    scan_metrics(&request, &mut sink).unwrap();
    sink.0
}

fn point_at(out: &mut Vec<u8>, time: u64) {
    put_message(out, 1, |out| put_fixed64_field(out, 3, time));
}

#[test]
fn a_metric_is_known_before_its_points_wherever_its_name_stands() {
    let found = measured(|out| {
        put_message(out, 7, |out| {
            point_at(out, 1);
            put_varint_field(out, 2, 2);
            put_varint_field(out, 3, 1);
        });
        put_message(out, 7, |out| point_at(out, 2));
        put_len_field(out, 1, b"requests");
    });
    assert_eq!(found, ["requests sum 2 true", "at 1", "at 2"]);
}

#[test]
fn the_last_kind_of_a_metric_counts() {
    let found = measured(|out| {
        put_message(out, 7, |out| {
            point_at(out, 1);
            put_varint_field(out, 3, 1);
        });
        put_message(out, 5, |out| point_at(out, 2));
        put_message(out, 7, |out| point_at(out, 3));
    });
    assert_eq!(found, [" sum 0 false", "at 3"]);
    assert!(measured(|out| put_len_field(out, 1, b"no data")).is_empty());
}

#[test]
fn a_fault_in_a_kind_that_is_replaced_is_a_fault() {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 2, |out| {
            put_message(out, 2, |out| {
                put_message(out, 7, |out| put_message(out, 1, |out| put_varint_field(out, 3, 1)));
                put_message(out, 5, |out| point_at(out, 2));
            });
        });
    });
    assert!(!check_metrics(&request));
}

/// A request with one point of a histogram.
fn histogram_request(write_point: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 2, |out| {
            put_message(out, 2, |out| put_message(out, 9, |out| put_message(out, 1, write_point)));
        });
    });
    request
}

#[test]
fn numbers_are_a_list_packed_or_not_and_packed_numbers_must_be_whole() {
    struct Counts(Vec<u64>);
    impl<'a> MetricSink<'a> for Counts {
        fn resource(&mut self, _: &Resource<'a>) {}
        fn scope(&mut self, _: &Scope<'a>) {}
        fn metric(&mut self, _: &Metric<'a>) {}
        fn point(&mut self, _: &Metric<'a>, point: &Point<'a>) {
            let Point::Histogram(point) = point else { panic!("{point:?} is no histogram") };
            self.0.extend(point.bucket_counts);
        }
    }
    let packed = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let request = histogram_request(|out| {
        put_len_field(out, 6, &packed(&[1, 2]));
        put_fixed64_field(out, 4, 9);
        put_fixed64_field(out, 6, 3);
        put_len_field(out, 6, &[]);
        put_len_field(out, 6, &packed(&[4]));
    });
    assert!(check_metrics(&request));
    let mut counts = Counts(Vec::new());
    scan_metrics(&request, &mut counts).unwrap();
    assert_eq!(counts.0, [1, 2, 3, 4]);
    for len in [1, 4, 12] {
        assert!(!check_metrics(&histogram_request(|out| put_len_field(out, 6, &vec![0; len]))));
    }
}

#[test]
fn a_metric_whose_kind_changes_a_hundred_thousand_times_takes_no_more_than_its_length() {
    let found = measured(|out| {
        for time in 0..100_000 {
            put_message(out, if time % 2 == 0 { 5 } else { 7 }, |out| point_at(out, time));
        }
    });
    assert_eq!(found, [" sum 0 false", "at 99999"]);
}

#[test]
fn values_of_the_wrong_kind_say_so() {
    assert_eq!(AnyValue::Int(3).as_bytes(), None);
    assert_eq!(AnyValue::String(b"3").as_int(), None);
    assert_eq!(AnyValue::Int(3).as_int(), Some(3));
}
