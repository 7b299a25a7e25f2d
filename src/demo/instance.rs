//! One running instance of a service, as its SDK sees it: resource, buffers of spans and log records, metrics, and the
//! export requests they become. Pure: bytes and their tallies out, nothing is sent here.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use shipwake_model::{Signal, UNVERSIONED};

use super::measurements::Measurements;
use super::shop::{ENVIRONMENT, SERVICES};
use super::truth::{Release, Tally};
use crate::load::wire::attribute::{int, text};

/// The SDKs' default for the largest batch of spans or log records.
const BATCH_MAX: usize = 512;

/// An instance.
pub struct Instance {
    /// Its release as Shipwake shows it.
    pub release: Release,
    /// What it has measured.
    pub measurements: Measurements,
    /// Whether it has stopped: it exports once more and is gone.
    pub stopped: bool,
    resource: Resource,
    spans: Vec<(Span, Tally)>,
    logs: Vec<(LogRecord, Tally)>,
    /// Metrics as they stood at several times.
    metrics: Vec<Metric>,
}

/// An export request that is ready to leave.
pub struct Outgoing {
    /// Which instance sends it.
    pub instance: usize,
    /// What it holds.
    pub signal: Signal,
    /// The encoded request.
    pub body: Bytes,
    /// Who did what is in it.
    pub release: Release,
    /// What is in it, record by record.
    pub tallies: Vec<Tally>,
}

impl Instance {
    /// An instance of a service that starts now. `identity` is random and makes its names.
    pub fn new(service: usize, version: &'static str, versioned: bool, identity: u64, now_ns: u64) -> Self {
        let shown = if versioned { version } else { UNVERSIONED };
        Self {
            release: Release { service, version: shown },
            measurements: Measurements::new(now_ns, (140 << 20) + identity % (40 << 20)),
            stopped: false,
            resource: resource(service, versioned.then_some(version), identity),
            spans: Vec::new(),
            logs: Vec::new(),
            metrics: Vec::new(),
        }
    }

    /// Buffers a span.
    pub fn span(&mut self, span: Span, tally: Tally) {
        self.spans.push((span, tally));
    }

    /// Buffers a log record.
    pub fn log(&mut self, log: LogRecord, tally: Tally) {
        self.logs.push((log, tally));
    }

    /// Empties the buffers into export requests; `index` is the instance's own.
    pub fn export_buffers(&mut self, index: usize, out: &mut Vec<Outgoing>) {
        let spans = std::mem::take(&mut self.spans);
        for (spans, tallies) in batches(spans) {
            let scope_spans = vec![ScopeSpans { scope: self.scope(), spans, ..ScopeSpans::default() }];
            let resource_spans =
                vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans, schema_url: String::new() }];
            out.push(self.outgoing(
                index,
                Signal::Traces,
                ExportTraceServiceRequest { resource_spans }.encode_to_vec(),
                tallies,
            ));
        }
        let logs = std::mem::take(&mut self.logs);
        for (log_records, tallies) in batches(logs) {
            let scope_logs = vec![ScopeLogs { scope: self.scope(), log_records, ..ScopeLogs::default() }];
            let resource_logs =
                vec![ResourceLogs { resource: Some(self.resource.clone()), scope_logs, schema_url: String::new() }];
            out.push(self.outgoing(
                index,
                Signal::Logs,
                ExportLogsServiceRequest { resource_logs }.encode_to_vec(),
                tallies,
            ));
        }
    }

    /// Buffers the metrics as they stand now.
    pub fn measure(&mut self, now_ns: u64) {
        self.metrics.extend(self.measurements.export(now_ns, SERVICES[self.release.service].routes));
    }

    /// Makes an export request of the metrics that were measured, if any were.
    pub fn export_metrics(&mut self, index: usize, out: &mut Vec<Outgoing>) {
        let metrics = std::mem::take(&mut self.metrics);
        if metrics.is_empty() {
            return;
        }
        let scope_metrics = vec![ScopeMetrics { scope: self.scope(), metrics, ..ScopeMetrics::default() }];
        let resource_metrics =
            vec![ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics, schema_url: String::new() }];
        out.push(self.outgoing(
            index,
            Signal::Metrics,
            ExportMetricsServiceRequest { resource_metrics }.encode_to_vec(),
            Vec::new(),
        ));
    }

    fn outgoing(&self, instance: usize, signal: Signal, body: Vec<u8>, tallies: Vec<Tally>) -> Outgoing {
        Outgoing { instance, signal, body: body.into(), release: self.release.clone(), tallies }
    }

    fn scope(&self) -> Option<InstrumentationScope> {
        let language = SERVICES[self.release.service].language;
        Some(InstrumentationScope { name: language.scope().to_owned(), ..InstrumentationScope::default() })
    }
}

fn batches<T>(records: Vec<(T, Tally)>) -> Vec<(Vec<T>, Vec<Tally>)> {
    let mut batches = Vec::new();
    let mut records = records.into_iter().peekable();
    while records.peek().is_some() {
        batches.push(records.by_ref().take(BATCH_MAX).unzip());
    }
    batches
}

fn resource(service: usize, version: Option<&str>, identity: u64) -> Resource {
    let service = &SERVICES[service];
    let mut attributes = vec![
        text("service.name", service.name),
        text("deployment.environment.name", ENVIRONMENT),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", service.language.name()),
        text("telemetry.sdk.version", service.language.sdk_version()),
        text("host.name", &format!("node-{}", identity % 5 + 1)),
        text("k8s.pod.name", &format!("{}-{}", service.name, pod_suffix(identity))),
        int("process.pid", (identity >> 20) as i64 % 30_000 + 1),
    ];
    if let Some(version) = version {
        attributes.push(text("service.version", version));
    }
    if service.states_instance {
        attributes.push(text("service.instance.id", &uuid(identity)));
    }
    Resource { attributes, ..Resource::default() }
}

/// Ten characters and five, as Kubernetes names pods.
fn pod_suffix(identity: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |at: u32| char::from(LETTERS[(identity.rotate_left(at * 5) % LETTERS.len() as u64) as usize]);
    let (set, pod): (String, String) = ((0..9).map(letter).collect(), (9..14).map(letter).collect());
    format!("{set}-{pod}")
}

/// A random identifier in the form that the SDKs use (version 4).
fn uuid(identity: u64) -> String {
    let low = identity.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (a, b, c) = (identity >> 32, identity >> 16 & 0xffff, identity & 0xfff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", low >> 50 | 0x8000, low & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_become_batches_of_at_most_512_with_their_tallies() {
        let mut instance = Instance::new(0, "1", true, 77, 0);
        for _ in 0..600 {
            instance.span(Span::default(), Tally::Other);
        }
        let mut out = Vec::new();
        instance.export_buffers(3, &mut out);
        let sizes: Vec<usize> = out.iter().map(|outgoing| outgoing.tallies.len()).collect();
        assert_eq!(sizes, [512, 88]);
        instance.export_buffers(3, &mut out);
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn resources_say_what_the_sdk_would() {
        let has = |resource: &Resource, key: &str| resource.attributes.iter().any(|attribute| attribute.key == key);
        let versioned = resource(0, Some("1"), 5);
        assert!(has(&versioned, "service.version") && has(&versioned, "service.instance.id"));
        assert!(!has(&resource(0, None, 5), "service.version"));
        assert!(!has(&resource(7, Some("1"), 5), "service.instance.id"));
        assert_eq!(uuid(0xfedc_ba98_7654_3210).len(), 36);
    }
}
