// Apps that have OpenTelemetry in them: what to install, what to set, how to start. Pure.
import { environmentLines, resourceAttributes, text, type Snippet, type SnippetInput } from './snippet.ts';

export function anySdk(input: SnippetInput): Snippet {
  return {
    key: 'env',
    word: 'Any SDK',
    steps: [{ title: 'Set these where the app starts', text: text(...environmentLines(input)) }],
    note: `Every OpenTelemetry SDK reads them. For gRPC use ${input.grpc} and OTEL_EXPORTER_OTLP_PROTOCOL=grpc; each port answers the other protocol, too. Let your build fill in the version: a git tag or commit is fine.`,
  };
}

export function python(input: SnippetInput): Snippet {
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

export function node(input: SnippetInput): Snippet {
  return {
    key: 'node',
    word: 'JavaScript',
    steps: [
      { title: 'Install in your app', text: 'npm install @opentelemetry/api@1 @opentelemetry/auto-instrumentations-node@0.81' },
      {
        title: 'Start the app with it',
        text: text(
          ...environmentLines(input),
          "export NODE_OPTIONS='--require @opentelemetry/auto-instrumentations-node/register'",
          'node app.js',
        ),
      },
    ],
    note: 'Replace the last line with your own start command. Works on Node 18.19, 20 and newer; from Node 22.15 on you may leave out the @0.81. Load frameworks through require: imports are not patched.',
  };
}

export function java(input: SnippetInput): Snippet {
  return {
    key: 'java',
    word: 'Java',
    steps: [
      {
        title: 'Get the agent',
        text: text(
          'mvn dependency:copy -DoutputDirectory=. -Dmdep.stripVersion=true \\',
          '  -Dartifact=io.opentelemetry.javaagent:opentelemetry-javaagent:2.33.1',
        ),
      },
      {
        title: 'Start the app with it',
        text: text(...environmentLines(input), 'java -javaagent:opentelemetry-javaagent.jar -jar app.jar'),
      },
    ],
    note: 'Replace app.jar with your own. Without Maven, download opentelemetry-javaagent.jar from the releases page of opentelemetry-java-instrumentation.',
  };
}

export function go(input: SnippetInput): Snippet {
  return {
    key: 'go',
    word: 'Go',
    steps: [
      { title: 'main.go', file: 'main.go', text: GO_MAIN },
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

export function rust(input: SnippetInput): Snippet {
  // This SDK takes values as they stand: "%20" would stay "%20".
  const plain = resourceAttributes(input, (value) => value);
  return {
    key: 'rust',
    word: 'Rust',
    steps: [
      {
        title: 'A new app, or your own',
        text: text(
          'cargo init --name app',
          'cargo add opentelemetry@0.33 opentelemetry_sdk@0.33 opentelemetry-otlp@0.33',
        ),
      },
      { title: 'src/main.rs', file: 'src/main.rs', text: RUST_MAIN },
      { title: 'Build and start it', text: text(...environmentLines(input, plain), 'cargo run') },
    ],
    note: 'It sends one request span and ends. In your own app keep the provider for as long as the app runs, and shut it down last: what it still holds is sent then. Values of OTEL_RESOURCE_ATTRIBUTES are taken as they stand, so a comma cannot be in one.',
  };
}

const RUST_MAIN = `use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, Tracer, TracerProvider};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let exporter = SpanExporter::builder().with_http().build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();

    let tracer = provider.tracer("app");
    let request = tracer.span_builder("GET /hello").with_kind(SpanKind::Server).with_attributes([
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("http.route", "/hello"),
        KeyValue::new("http.response.status_code", 200),
    ]);
    tracer.build(request); // dropped, and so ended, at once

    provider.shutdown()?;
    Ok(())
}`;
