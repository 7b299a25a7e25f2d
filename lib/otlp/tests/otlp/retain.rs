//! Leaving points out of a request: the rest is what it was, however wild the request is.

use prost::Message;
use shipwake_otlp::write::put_len_field;
use shipwake_otlp::{resources, retain_points, scan_metrics};

use crate::lenient::{Data, Metric, Request};
use crate::rebuild::Rebuilt;
use crate::schema::METRICS_REQUEST;
use crate::wild;

fn scanned(request: &[u8]) -> Request<Metric> {
    let mut rebuilt = Rebuilt::new();
    scan_metrics(request, &mut rebuilt).unwrap();
    rebuilt.0
}

/// Which points stay, told by their time.
fn stays(time_unix_nano: u64) -> bool {
    time_unix_nano.is_multiple_of(2)
}

fn remove_points(metric: &mut Metric) {
    match metric.data.as_mut().unwrap() {
        Data::Gauge(data) => data.data_points.retain(|point| stays(point.time_unix_nano)),
        Data::Sum(data) => data.data_points.retain(|point| stays(point.time_unix_nano)),
        Data::Histogram(data) => data.data_points.retain(|point| stays(point.time_unix_nano)),
        Data::ExponentialHistogram(data) => data.data_points.retain(|point| stays(point.time_unix_nano)),
        Data::Summary(data) => data.data_points.retain(|point| stays(point.time_unix_nano)),
    }
}

#[test]
fn a_wild_request_loses_the_points_that_should_go_and_nothing_else() {
    let mut lost = 0;
    for seed in 0..2_000 {
        let request = wild::request(&METRICS_REQUEST, seed, 0);
        let mut kept_request = Vec::new();
        for resource in resources(&request) {
            let mut kept = Vec::new();
            let keep = |_: &_, point: &shipwake_otlp::Point<'_>| stays(point.time_unix_nano());
            retain_points(resource.unwrap().message, &mut kept, keep).unwrap();
            put_len_field(&mut kept_request, 1, &kept);
        }
        let mut expected = scanned(&request);
        let before = expected.encoded_len();
        for resource in &mut expected.resources {
            resource.scopes.iter_mut().for_each(|scope| scope.records.iter_mut().for_each(remove_points));
        }
        lost += u32::from(expected.encoded_len() < before);
        assert_eq!(scanned(&kept_request).encode_to_vec(), expected.encode_to_vec(), "seed {seed}");
    }
    assert!(lost > 100, "only {lost} of 2000 requests lost a point: the test shows little");
}
