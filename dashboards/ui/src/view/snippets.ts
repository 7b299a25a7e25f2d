// What people copy to send their first data. Every text works exactly as it is shown: real addresses, and names that are
// quoted for where they stand. Pure; the present and the random ids are arguments.
import type { SNIPPET_KEYS } from '../url/routes.ts';
import { base64, traceRequest } from './protobuf.ts';

export type SnippetKey = (typeof SNIPPET_KEYS)[number];

export interface SnippetInput {
  grpc: string;
  http: string;
  service: string;
  version: string;
  environment: string;
  nowMs: number;
  ids: { trace: Uint8Array; span: Uint8Array };
}

export interface Snippet {
  key: SnippetKey;
  word: string;
  steps: { title: string; text: string }[];
  /** What to know besides. */
  note: string;
}

/** A word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w.,:@%+=/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The form of OTEL_RESOURCE_ATTRIBUTES: values are percent-encoded, so that a comma stays inside one. */
export function resourceAttributes(input: SnippetInput): string {
  const value = (text: string) => encodeURIComponent(text);
  return `service.version=${value(input.version)},deployment.environment.name=${value(input.environment)}`;
}

function environmentLines(input: SnippetInput): string[] {
  return [
    `export OTEL_EXPORTER_OTLP_ENDPOINT=${shellWord(input.http)}`,
    'export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf',
    `export OTEL_SERVICE_NAME=${shellWord(input.service)}`,
    `export OTEL_RESOURCE_ATTRIBUTES=${shellWord(resourceAttributes(input))}`,
  ];
}

const text = (...lines: string[]) => lines.join('\n');

export function snippets(input: SnippetInput): Snippet[] {
  return [anySdk(input), lines(input), otlp(input), python(input), node(input), java(input), go(input), collector(input)];
}

function anySdk(input: SnippetInput): Snippet {
  return {
    key: 'env',
    word: 'Any SDK',
    steps: [{ title: 'Set these where the app starts', text: text(...environmentLines(input)) }],
    note: `Every OpenTelemetry SDK reads them. For gRPC use ${input.grpc} and OTEL_EXPORTER_OTLP_PROTOCOL=grpc. Let your build fill in the version: a git tag or commit is fine.`,
  };
}

function lines(input: SnippetInput): Snippet {
  const query = new URLSearchParams({ service: input.service, version: input.version, environment: input.environment });
  const line = '{"level":"info","message":"hello from curl"}';
  return {
    key: 'lines',
    word: 'Log lines',
    steps: [
      {
        title: 'One log line over HTTP',
        text: text(`curl -sS ${shellWord(`${input.http}/v1/lines?${query}`)} \\`, `  --data-binary ${shellWord(line)}`),
      },
    ],
    note: 'The body is any number of lines, JSON or plain text, optionally gzip. The answer says how many were accepted, once they are on disk.',
  };
}

function otlp(input: SnippetInput): Snippet {
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

function python(input: SnippetInput): Snippet {
  return {
    key: 'python',
    word: 'Python',
    steps: [
      {
        title: 'Install beside your app',
        text: text('pip install opentelemetry-distro opentelemetry-exporter-otlp \\', '  opentelemetry-instrumentation-flask'),
      },
      {
        title: 'Start the app through the agent',
        text: text(
          ...environmentLines(input),
          'export OTEL_SEMCONV_STABILITY_OPT_IN=http',
          'export OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED=true',
          'opentelemetry-instrument python app.py',
        ),
      },
    ],
    note: 'For another framework install its own instrumentation in place of Flask’s: -django, -fastapi, -aiohttp-server … Replace the last line with your own start command. Leave OTEL_EXPORTER_OTLP_COMPRESSION unset: the value "none" switches the whole agent off.',
  };
}

function node(input: SnippetInput): Snippet {
  return {
    key: 'node',
    word: 'Node.js',
    steps: [
      { title: 'Install in your app', text: 'npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node' },
      {
        title: 'Start the app with it',
        text: text(
          ...environmentLines(input),
          "export NODE_OPTIONS='--require @opentelemetry/auto-instrumentations-node/register'",
          'node app.js',
        ),
      },
    ],
    note: 'Replace the last line with your own start command. The newest release needs Node 22.15; on Node 20 install @opentelemetry/auto-instrumentations-node@0.72. Load frameworks through require: imports are not patched.',
  };
}

function java(input: SnippetInput): Snippet {
  return {
    key: 'java',
    word: 'Java',
    steps: [
      {
        title: 'Get the agent',
        text: 'curl -sSLO https://github.com/open-telemetry/opentelemetry-java-instrumentation/releases/latest/download/opentelemetry-javaagent.jar',
      },
      {
        title: 'Start the app with it',
        text: text(...environmentLines(input), 'java -javaagent:opentelemetry-javaagent.jar -jar app.jar'),
      },
    ],
    note: 'Replace app.jar with your own.',
  };
}

function go(input: SnippetInput): Snippet {
  return {
    key: 'go',
    word: 'Go',
    steps: [
      { title: 'main.go', text: GO_MAIN },
      {
        title: 'Build and start it',
        text: text(...environmentLines(input), 'go mod init app && go mod tidy', 'go run .'),
      },
    ],
    note: 'Then request http://127.0.0.1:8080/ a few times. In your own app, wrap your handler in otelhttp.NewHandler and keep the first lines of main.',
  };
}

const GO_MAIN = `package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	exporter, err := autoexport.NewSpanExporter(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithBatcher(exporter)))

	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello")
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", otelhttp.NewHandler(hello, "GET /")))
}`;

function collector(input: SnippetInput): Snippet {
  return {
    key: 'collector',
    word: 'Collector',
    steps: [
      {
        title: 'config.yaml',
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
    ],
    note: 'In a Collector that runs already, add only the exporter and name it in your pipelines. The version comes from the apps: each must set service.version.',
  };
}

/** The address as the reader's own machine reaches it: a loopback one means nothing on another host. */
export function reachable(endpoint: string | undefined, port: number, pageHost: string): string {
  const fallback = `http://${pageHost}:${port}`;
  if (!endpoint) return fallback;
  try {
    const url = new URL(endpoint);
    const local = /^(127\.|0\.0\.0\.0$|localhost$|\[::1?\]$)/;
    if (local.test(url.hostname) && !local.test(pageHost)) url.hostname = pageHost;
    return url.origin === 'null' ? endpoint : url.origin;
  } catch {
    return fallback;
  }
}
