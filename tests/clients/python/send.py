"""One dose of telemetry through the official SDK, told where to send it by the standard environment variables.

What is in the dose stands in `dose.rs`, which counts what arrives.
"""

import logging
import os

from opentelemetry import metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry._logs import SeverityNumber

if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

logging.basicConfig(level=logging.WARNING)

spans = TracerProvider()
spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=3_600_000))
logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(), schedule_delay_millis=3_600_000))
points = MeterProvider(
    metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=3_600_000)],
    views=[View(instrument_name="pay.size", aggregation=ExponentialBucketHistogramAggregation())],
)

logger = logs.get_logger("shop")
for i in range(40):
    error = i % 4 == 0
    logger.emit(
        severity_number=SeverityNumber.ERROR if error else SeverityNumber.INFO,
        severity_text="ERROR" if error else "INFO",
        body=f"order {i}",
    )

tracer = spans.get_tracer("shop")
for i in range(30):
    failed = i % 10 == 0
    attributes = {
        "http.request.method": "GET",
        "http.route": "/pay/{id}",
        "http.response.status_code": 500 if failed else 200,
    }
    with tracer.start_as_current_span("GET /pay/{id}", kind=trace.SpanKind.SERVER, attributes=attributes) as span:
        with tracer.start_as_current_span("charge"):
            pass
        if failed:
            span.set_status(trace.StatusCode.ERROR)

meter = points.get_meter("shop")
orders = meter.create_counter("orders")
items = meter.create_up_down_counter("cart.items")
depth = meter.create_gauge("queue.depth")
duration = meter.create_histogram("pay.duration", unit="s")
size = meter.create_histogram("pay.size", unit="By")
meter.create_observable_counter("cpu.ticks", callbacks=[lambda _: [metrics.Observation(100)]])
meter.create_observable_up_down_counter("sessions", callbacks=[lambda _: [metrics.Observation(-4)]])
meter.create_observable_gauge("temperature", callbacks=[lambda _: [metrics.Observation(3.5)]])


def half(first):
    orders.add(30 if first else 25)
    items.add(10 if first else -3)
    depth.set(20 if first else 21)
    for i in range(1, 51) if first else range(51, 101):
        duration.record(i / 1000)
        size.record(i)


half(True)
print("flushing", flush=True)
points.force_flush()
half(False)
logs.shutdown()
spans.shutdown()
points.shutdown()
