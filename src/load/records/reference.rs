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
    /// The values of the record at a position of the request that begins with `first_id` and ends at `time_ns`.
    pub fn of(shape: &Shape, signal: Signal, first_id: u64, position: u32, time_ns: u64) -> Self {
        let id = first_id + u64::from(position);
        let time = record_time(time_ns, position, shape.batch);
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

/// The encoded request, the plain way: what a filled template must equal.
pub fn encoded_request(shape: &Shape, signal: Signal, first_id: u64, values: &[Values], pad_bytes: usize) -> Vec<u8> {
    let pad = content::padding(pad_bytes);
    let resource = Some(resource(shape, shape.resource_of(first_id)));
    let schema_url = String::new();
    match signal {
        Signal::Logs => {
            let resource_logs = vec![ResourceLogs { resource, scope_logs: vec![scope_logs(values, &pad)], schema_url }];
            ExportLogsServiceRequest { resource_logs }.encode_to_vec()
        }
        Signal::Metrics => {
            let resource_metrics =
                vec![ResourceMetrics { resource, scope_metrics: vec![scope_metrics(values, &pad)], schema_url }];
            ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
        }
        Signal::Traces => {
            let resource_spans =
                vec![ResourceSpans { resource, scope_spans: vec![scope_spans(values, &pad)], schema_url }];
            ExportTraceServiceRequest { resource_spans }.encode_to_vec()
        }
    }
}
