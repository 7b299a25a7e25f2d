// Telemetry that comes through something else: a Collector, Prometheus, or a request that is written by hand. Pure.
import { base64, traceRequest } from './protobuf.ts';
import { shellWord, text, type Snippet, type SnippetInput } from './snippet.ts';

export function collector(input: SnippetInput): Snippet {
  return {
    key: 'collector',
    word: 'Collector',
    steps: [
      {
        title: 'config.yaml',
        file: 'config.yaml',
        text: text(
          'receivers:',
          '  otlp:',
          '    protocols:',
          '      grpc: {endpoint: "127.0.0.1:14317"}',
          '      http: {endpoint: "127.0.0.1:14318"}',
          'exporters:',
          '  otlphttp/shipwake:',
          `    endpoint: ${JSON.stringify(input.http)}`,
          'service:',
          '  pipelines:',
          '    traces: {receivers: [otlp], exporters: [otlphttp/shipwake]}',
          '    metrics: {receivers: [otlp], exporters: [otlphttp/shipwake]}',
          '    logs: {receivers: [otlp], exporters: [otlphttp/shipwake]}',
        ),
      },
      { title: 'Start it', text: 'otelcol --config config.yaml' },
    ],
    note: 'In a Collector that runs already, add only the exporter and name it in your pipelines. The version comes from the apps: each must set service.version.',
  };
}

export function prometheus(input: SnippetInput): Snippet {
  const query = new URLSearchParams({ version: input.version, environment: input.environment });
  return {
    key: 'prometheus',
    word: 'Prometheus',
    steps: [
      {
        title: 'In prometheus.yml',
        file: 'prometheus.yml',
        text: text('remote_write:', `  - url: ${JSON.stringify(`${input.http}/api/v1/write?${query}`)}`),
      },
      { title: 'Load it', text: 'kill -HUP "$(pidof prometheus)"' },
    ],
    note: 'The job becomes the service, and instance the instance. A label version or service_version of a series wins over the version in the address: leave that out when your series have one.',
  };
}

export function otlp(input: SnippetInput): Snippet {
  const request = traceRequest({
    service: input.service, version: input.version, environment: input.environment,
    endMs: input.nowMs, durationMs: 42, traceId: input.ids.trace, spanId: input.ids.span,
  });
  return {
    key: 'otlp',
    word: 'OTLP by hand',
    steps: [
      {
        title: 'One request span, in protobuf',
        text: text(
          `echo ${base64(request)} |`,
          '  base64 -d |',
          `  curl -sS ${shellWord(`${input.http}/v1/traces`)} -H 'Content-Type: application/x-protobuf' \\`,
          "    --data-binary @- -o /dev/null -w '%{http_code}\\n'",
        ),
      },
    ],
    note: 'Prints 200 when the span is on disk. It is a GET / of 42 ms that has just ended. Sent a second time it is recognised as a repetition and counted once.',
  };
}
