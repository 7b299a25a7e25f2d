//! The check behind every test of the scan: on these bytes, scan and prost must agree.
//!
//! 1. The scan succeeds exactly when prost succeeds on the lenient mirror of the messages, and reports the same content.
//! 2. When prost with the real messages of `opentelemetry-proto` succeeds, it has the mirror's content, byte for byte.
//! 3. When it fails where the mirror succeeds, then for text that is not UTF-8 and nothing else. This is the only allowed
//!    difference between scan and prost.
//! 4. `resources` gives the same resources as the scan.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::{DecodeError, Message};
use shipwake_otlp::{ScanError, resources, scan_logs, scan_metrics, scan_spans};

use crate::lenient::{self, Record, Request};
use crate::rebuild::{Rebuilt, Reported, rebuilt_resource};

/// Checks the bytes as a request of each signal; gives how many of the three readings succeeded.
pub fn check_all(request: &[u8]) -> u32 {
    u32::from(check_logs(request)) + u32::from(check_spans(request)) + u32::from(check_metrics(request))
}

/// Checks the bytes as an `ExportLogsServiceRequest`; gives whether they are one.
pub fn check_logs(request: &[u8]) -> bool {
    let mut rebuilt = Rebuilt::<lenient::LogRecord>::new();
    let scanned = scan_logs(request, &mut rebuilt);
    check_strict::<ExportLogsServiceRequest, lenient::LogRecord>(request);
    check(request, scanned, &rebuilt, |_| true)
}

/// Checks the bytes as an `ExportTraceServiceRequest`; gives whether they are one.
pub fn check_spans(request: &[u8]) -> bool {
    let mut rebuilt = Rebuilt::<lenient::Span>::new();
    let scanned = scan_spans(request, &mut rebuilt);
    check_strict::<ExportTraceServiceRequest, lenient::Span>(request);
    check(request, scanned, &rebuilt, |_| true)
}

/// Checks the bytes as an `ExportMetricsServiceRequest`; gives whether they are one.
pub fn check_metrics(request: &[u8]) -> bool {
    let mut rebuilt = Rebuilt::<lenient::Metric>::new();
    let scanned = scan_metrics(request, &mut rebuilt);
    check_strict::<ExportMetricsServiceRequest, lenient::Metric>(request);
    check(request, scanned, &rebuilt, |metric| metric.data.is_some())
}

fn check<R: Record + Reported>(
    request: &[u8],
    scanned: Result<(), ScanError>,
    rebuilt: &Rebuilt<R>,
    keep: impl Fn(&R) -> bool,
) -> bool {
    match (scanned, Request::<R>::decode(request)) {
        (Ok(()), Ok(mut expected)) => {
            expected.reduce(keep);
            // Compared as bytes, because NaN is not equal to itself.
            if rebuilt.0.encode_to_vec() != expected.encode_to_vec() {
                panic!("scan and prost differ on {request:?}\nscan:  {:#?}\nprost: {expected:#?}", rebuilt.0);
            }
            check_resources(request, &expected);
            true
        }
        (Err(error), Err(_)) => {
            assert!(error.offset() <= request.len(), "{error} in {} bytes", request.len());
            let _ = resources(request).count();
            false
        }
        (Ok(()), Err(error)) => panic!("the scan takes what prost refuses ({error}): {request:?}"),
        (Err(error), Ok(_)) => panic!("the scan refuses ({error}) what prost takes: {request:?}"),
    }
}

fn check_strict<M: Message + Default, R: Record>(request: &[u8]) {
    match (M::decode(request), Request::<R>::decode(request)) {
        (Ok(strict), Ok(mirror)) => assert_eq!(strict.encode_to_vec(), mirror.encode_to_vec(), "{request:?}"),
        (Ok(_), Err(error)) => panic!("the mirror refuses ({error}) what prost takes: {request:?}"),
        (Err(error), Ok(_)) => assert!(is_text_error(&error), "not about text: {error}: {request:?}"),
        (Err(_), Err(_)) => {}
    }
}

fn is_text_error(error: &DecodeError) -> bool {
    error.to_string().ends_with("invalid string value: data is not UTF-8 encoded")
}

fn check_resources<R: Record>(request: &[u8], expected: &Request<R>) {
    let found: Vec<_> = resources(request).collect::<Result<_, _>>().expect("the scan succeeded");
    assert_eq!(found.len(), expected.resources.len());
    for (found, expected) in found.iter().zip(&expected.resources) {
        let rebuilt = rebuilt_resource(&found.resource);
        let wanted = expected.resource.as_ref().expect("reduced messages have a resource");
        assert_eq!(rebuilt.encode_to_vec(), wanted.encode_to_vec(), "{request:?}");
        assert_eq!(found.resource.schema_url, expected.schema_url);
    }
}
