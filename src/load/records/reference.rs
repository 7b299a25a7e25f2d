//! Requests encoded the plain way, message by message with prost: what a filled template must equal.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

use super::{Shape, Signal, Values, content, resource, scope_logs, scope_metrics, scope_spans};
use crate::load::content::derived;
use crate::load::template::{digits, hex8, record_time, trace_id};

impl Values {
    /// The values of a record of the request whose last record has the time `time_ns`.
    fn of(shape: &Shape, signal: Signal, id: u64, time_ns: u64) -> Self {
        let time = record_time(shape, id, time_ns);
        let values = derived(signal, id);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            time,
            start: time - values.duration_us * 1_000,
            before: time - 1_000_000_000,
            id: text(&digits::<12>(id)),
            micros: text(&digits::<8>(values.duration_us)),
            series: text(&digits::<8>(shape.series_of(id))),
            hash: text(&hex8(values.hash as u32)),
            trace_id: trace_id(values.hash).to_vec(),
            span_id: values.hash.to_le_bytes().to_vec(),
            int: id as i64,
            double: id as f64,
        }
    }
}

/// The encoded request that begins with `first_id` and whose last record has the time `time_ns`.
pub fn encoded_request(shape: &Shape, signal: Signal, first_id: u64, time_ns: u64, pad_bytes: usize) -> Vec<u8> {
    let pad = content::padding(pad_bytes);
    let group = u64::from(shape.group());
    let groups = (0..u64::from(shape.resources_per_request)).map(|number| {
        let first = first_id + number * group;
        let values: Vec<Values> = (first..first + group).map(|id| Values::of(shape, signal, id, time_ns)).collect();
        (Some(resource(shape, shape.resource_of(first))), values)
    });
    let schema_url = String::new;
    match signal {
        Signal::Logs => {
            let of = |(resource, values): (_, Vec<Values>)| ResourceLogs {
                resource,
                scope_logs: vec![scope_logs(&values, &pad)],
                schema_url: schema_url(),
            };
            ExportLogsServiceRequest { resource_logs: groups.map(of).collect() }.encode_to_vec()
        }
        Signal::Metrics => {
            let of = |(resource, values): (_, Vec<Values>)| ResourceMetrics {
                resource,
                scope_metrics: vec![scope_metrics(&values, &pad)],
                schema_url: schema_url(),
            };
            ExportMetricsServiceRequest { resource_metrics: groups.map(of).collect() }.encode_to_vec()
        }
        Signal::Traces => {
            let of = |(resource, values): (_, Vec<Values>)| ResourceSpans {
                resource,
                scope_spans: vec![scope_spans(&values, &pad)],
                schema_url: schema_url(),
            };
            ExportTraceServiceRequest { resource_spans: groups.map(of).collect() }.encode_to_vec()
        }
    }
}
