//! An instance's metrics, cumulative from its start as the SDKs export them: request durations, memory, orders. Pure.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::shop::Route;
use crate::load::wire::attribute::{int, text};

/// The bounds that the semantic conventions advise for durations in seconds.
const BOUNDS_S: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// What an instance has measured since its start.
pub struct Measurements {
    started_ns: u64,
    durations: BTreeMap<(usize, u16), Durations>,
    orders: u64,
    memory_bytes: u64,
}

#[derive(Default)]
struct Durations {
    buckets: [u64; BOUNDS_S.len() + 1],
    sum_s: f64,
    min_s: f64,
    max_s: f64,
}

impl Measurements {
    /// Nothing measured yet.
    pub fn new(started_ns: u64, memory_bytes: u64) -> Self {
        Self { started_ns, durations: BTreeMap::new(), orders: 0, memory_bytes }
    }

    /// Counts a request.
    pub fn request(&mut self, route: usize, status: u16, duration_us: u64) {
        let seconds = duration_us as f64 / 1e6;
        let durations = self.durations.entry((route, status)).or_default();
        let first = durations.buckets.iter().sum::<u64>() == 0;
        durations.buckets[BOUNDS_S.partition_point(|bound| *bound < seconds)] += 1;
        durations.sum_s += seconds;
        durations.min_s = if first { seconds } else { durations.min_s.min(seconds) };
        durations.max_s = durations.max_s.max(seconds);
    }

    /// Counts an order.
    pub fn order(&mut self) {
        self.orders += 1;
    }

    /// Moves the memory in use by some bytes.
    pub fn memory_moves(&mut self, bytes: i64) {
        const FLOOR: u64 = 96 << 20;
        self.memory_bytes = self.memory_bytes.saturating_add_signed(bytes).max(FLOOR);
    }

    /// The metrics as they stand at `now_ns`. `routes` are those of the service.
    pub fn export(&self, now_ns: u64, routes: &[Route]) -> Vec<Metric> {
        let cumulative = AggregationTemporality::Cumulative as i32;
        let mut metrics = Vec::new();
        if !self.durations.is_empty() {
            let data_points = self
                .durations
                .iter()
                .map(|((route, status), durations)| self.point(now_ns, &routes[*route], *status, durations))
                .collect();
            let histogram = Histogram { data_points, aggregation_temporality: cumulative };
            metrics.push(metric(
                "http.server.request.duration",
                "Duration of HTTP server requests.",
                "s",
                Data::Histogram(histogram),
            ));
        }
        let gauge = Gauge { data_points: vec![self.number(now_ns, Vec::new(), self.memory_bytes as i64)] };
        metrics.push(metric("process.memory.usage", "The amount of physical memory in use.", "By", Data::Gauge(gauge)));
        if self.orders > 0 {
            let data_points = vec![self.number(now_ns, vec![text("currency", "EUR")], self.orders as i64)];
            let sum = Sum { data_points, aggregation_temporality: cumulative, is_monotonic: true };
            metrics.push(metric("orders_total", "Orders that were paid.", "{order}", Data::Sum(sum)));
        }
        metrics
    }

    fn point(&self, now_ns: u64, route: &Route, status: u16, durations: &Durations) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: vec![
                text("http.request.method", route.method),
                text("http.route", route.route),
                int("http.response.status_code", i64::from(status)),
                text("url.scheme", "http"),
                text("network.protocol.version", "1.1"),
            ],
            start_time_unix_nano: self.started_ns,
            time_unix_nano: now_ns,
            count: durations.buckets.iter().sum(),
            sum: Some(durations.sum_s),
            bucket_counts: durations.buckets.to_vec(),
            explicit_bounds: BOUNDS_S.to_vec(),
            min: Some(durations.min_s),
            max: Some(durations.max_s),
            ..HistogramDataPoint::default()
        }
    }

    fn number(&self, now_ns: u64, attributes: Vec<KeyValue>, value: i64) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: self.started_ns,
            time_unix_nano: now_ns,
            value: Some(Number::AsInt(value)),
            ..NumberDataPoint::default()
        }
    }
}

fn metric(name: &str, description: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}
