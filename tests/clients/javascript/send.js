// One dose of telemetry through the official SDK, told where to send it by the standard environment variables.
// What is in the dose stands in `dose.rs`, which counts what arrives.
'use strict';

const { SpanKind, SpanStatusCode, context, metrics, trace } = require('@opentelemetry/api');
const { SeverityNumber, logs } = require('@opentelemetry/api-logs');
const { AggregationType } = require('@opentelemetry/sdk-metrics');
const { NodeSDK } = require('@opentelemetry/sdk-node');

const sdk = new NodeSDK({
  instrumentations: [],
  views: [{ instrumentName: 'pay.size', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
});
sdk.start();

const logger = logs.getLogger('shop');
for (let i = 0; i < 40; i += 1) {
  const error = i % 4 === 0;
  logger.emit({
    severityNumber: error ? SeverityNumber.ERROR : SeverityNumber.INFO,
    severityText: error ? 'ERROR' : 'INFO',
    body: `order ${i}`,
  });
}

const tracer = trace.getTracer('shop');
for (let i = 0; i < 30; i += 1) {
  const failed = i % 10 === 0;
  const attributes = {
    'http.request.method': 'GET',
    'http.route': '/pay/{id}',
    'http.response.status_code': failed ? 500 : 200,
  };
  const span = tracer.startSpan('GET /pay/{id}', { kind: SpanKind.SERVER, attributes });
  tracer.startSpan('charge', {}, trace.setSpan(context.active(), span)).end();
  if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

const meter = metrics.getMeter('shop');
const orders = meter.createCounter('orders');
const items = meter.createUpDownCounter('cart.items');
const depth = meter.createGauge('queue.depth');
const duration = meter.createHistogram('pay.duration', { unit: 's' });
const size = meter.createHistogram('pay.size', { unit: 'By' });
meter.createObservableCounter('cpu.ticks').addCallback((result) => result.observe(100));
meter.createObservableUpDownCounter('sessions').addCallback((result) => result.observe(-4));
meter.createObservableGauge('temperature').addCallback((result) => result.observe(3.5));

function half(first) {
  orders.add(first ? 30 : 25);
  items.add(first ? 10 : -3);
  depth.record(first ? 20 : 21);
  for (let i = first ? 1 : 51; i <= (first ? 50 : 100); i += 1) {
    duration.record(i / 1000);
    size.record(i);
  }
}

async function main() {
  half(true);
  console.log('flushing');
  // NodeSDK has no flush of its own; the provider that it registers has.
  await metrics.getMeterProvider().forceFlush().catch((error) => console.error('flush:', error.message));
  half(false);
  await sdk.shutdown().catch((error) => console.error('shutdown:', error.message));
}

void main();
