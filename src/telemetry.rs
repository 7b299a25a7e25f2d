//! Shipwake's own telemetry: `tracing` to standard error, and as OTLP through the `opentelemetry` crates when asked.
//!
//! Never points at Shipwake itself by default: a pipeline that reports on itself through itself says nothing when it
//! stands still.

use std::io::IsTerminal;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::Config;
use crate::metrics::SharedRegistry;

/// Keeps the exporters alive; flushed by [`Telemetry::shutdown`].
#[derive(Default)]
pub struct Telemetry {
    logs: Option<SdkLoggerProvider>,
    spans: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl Telemetry {
    /// Starts logging, and the exporters if an endpoint is configured. Call once, inside a tokio runtime.
    ///
    /// # Errors
    /// When the log filter cannot be parsed or the endpoint is not an address.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let filter = EnvFilter::try_new(&config.log).with_context(|| format!("log = {:?}", config.log))?;
        let text =
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let stderr = if config.log_format == "json" { text.json().boxed() } else { text.boxed() };
        let mut telemetry = Self::default();
        let exported = match &config.own_otlp_endpoint {
            None => None,
            Some(endpoint) => {
                Some(telemetry.connect(endpoint).with_context(|| format!("own_otlp_endpoint = {endpoint}"))?)
            }
        };
        let layers = stderr.and_then(exported).with_filter(filter);
        tracing_subscriber::registry().with(layers).try_init().context("failed to start logging")?;
        Ok(telemetry)
    }

    fn connect<S>(&mut self, endpoint: &str) -> anyhow::Result<Box<dyn Layer<S> + Send + Sync>>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    {
        let resource = own_resource();
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(LogExporter::builder().with_tonic().with_endpoint(endpoint).build()?)
            .build();
        let spans = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?)
            .build();
        let metrics = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_periodic_exporter(MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?)
            .build();
        let layer = OpenTelemetryTracingBridge::new(&logs)
            .and_then(tracing_opentelemetry::layer().with_tracer(spans.tracer("shipwake")))
            // What the exporter itself logs must not be exported again.
            .with_filter(EnvFilter::new("info,h2=off,hyper=off,tonic=off,tower=off,opentelemetry=off,opentelemetry_sdk=off,opentelemetry-otlp=off"));
        self.logs = Some(logs);
        self.spans = Some(spans);
        self.metrics = Some(metrics);
        Ok(layer.boxed())
    }

    /// Exports what `/metrics` shows, too. Instruments are made once, from the names registered by then.
    pub fn export_metrics(&self, registry: &SharedRegistry) {
        let Some(provider) = &self.metrics else { return };
        let meter = provider.meter("shipwake");
        for name in registry.sample_names() {
            let registry = registry.clone();
            let wanted = name.clone();
            meter
                .f64_observable_gauge(name)
                .with_callback(move |observer| {
                    for sample in registry.samples().into_iter().filter(|sample| sample.name == wanted) {
                        let labels: Vec<KeyValue> =
                            sample.labels.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
                        observer.observe(sample.value, &labels);
                    }
                })
                .build();
        }
    }

    /// Flushes and stops the exporters. Problems are of no use to anybody at this point and are passed over.
    pub fn shutdown(self) {
        let _ = self.spans.map(|provider| provider.shutdown());
        let _ = self.logs.map(|provider| provider.shutdown());
        let _ = self.metrics.map(|provider| provider.shutdown());
    }
}

fn own_resource() -> Resource {
    Resource::builder()
        .with_service_name("shipwake")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", format!("pid-{}", std::process::id())))
        .build()
}
