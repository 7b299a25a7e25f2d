//! The text form of values.

use shipwake_otlp::write::{LogLine, Value, put_log_record, put_resource_logs};
use shipwake_otlp::{LogRecord, LogSink, Resource, Scope, scan_logs};

/// The text of a value that went through the wire form.
fn text(value: Value<'_>) -> Vec<u8> {
    struct Sink(Vec<u8>);
    impl<'a> LogSink<'a> for Sink {
        fn resource(&mut self, _: &Resource<'a>) {}
        fn scope(&mut self, _: &Scope<'a>) {}
        fn log(&mut self, record: &LogRecord<'a>) {
            record.body.write_text(&mut self.0);
        }
    }
    let line = LogLine { body: value, ..LogLine::default() };
    let mut request = Vec::new();
    put_resource_logs(&mut request, &[], "", |out| put_log_record(out, &line));
    let mut sink = Sink(Vec::new());
    scan_logs(&request, &mut sink).unwrap();
    sink.0
}

#[test]
fn values_have_the_text_that_people_expect() {
    let check = |value: Value<'_>, expected: &str| assert_eq!(text(value), expected.as_bytes(), "{value:?}");
    check(Value::Empty, "");
    check("plain \"text\"\n".into(), "plain \"text\"\n");
    check(Value::Bool(true), "true");
    check(Value::Int(i64::MIN), "-9223372036854775808");
    check(Value::Double(1.0), "1");
    check(Value::Double(-0.0), "-0");
    check(Value::Double(0.1), "0.1");
    check(Value::Double(1e-7), "1e-7");
    check(Value::Double(1e300), "1e300");
    check(Value::Double(f64::NAN), "NaN");
    check(Value::Double(f64::NEG_INFINITY), "-Infinity");
    check(Value::Bytes(b""), "");
    check(Value::Bytes(b"f"), "Zg==");
    check(Value::Bytes(b"fo"), "Zm8=");
    check(Value::Bytes(b"foobar"), "Zm9vYmFy");
    check(Value::Bytes(&[0xfb, 0xff]), "+/8=");
}

#[test]
fn lists_and_maps_are_valid_json_whatever_they_hold() {
    let inner = [
        ("text", Value::String(b"a\"\\\n\x01\xff\xc3\xa9")),
        ("list", Value::Array(&[Value::Int(1), Value::Empty, Value::Double(f64::NAN), Value::Bool(false)])),
        ("bytes", Value::Bytes(b"f")),
        ("empty", Value::Map(&[])),
    ];
    let expected = r#"{"text":"a\"\\\n\u0001�é","list":[1,null,"NaN",false],"bytes":"Zg==","empty":{}}"#;
    assert_eq!(String::from_utf8(text(Value::Map(&inner))).unwrap(), expected);
}
