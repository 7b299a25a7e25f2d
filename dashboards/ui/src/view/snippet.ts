// What a snippet of the Start page is made of, and the quoting that makes it work as shown. Pure.
import type { SNIPPET_KEYS } from '../url/routes.ts';

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

export interface SnippetStep {
  title: string;
  text: string;
  /** The text is what goes into a file of this name, or is added to it; otherwise it is for a shell. */
  file?: string;
}

export interface Snippet {
  key: SnippetKey;
  word: string;
  steps: SnippetStep[];
  /** What to know besides. */
  note: string;
}

/** A word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w.,:@%+=/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The form of OTEL_RESOURCE_ATTRIBUTES: values are percent-encoded, so that a comma stays inside one. */
export function resourceAttributes(input: SnippetInput, value: (text: string) => string = encodeURIComponent): string {
  return `service.version=${value(input.version)},deployment.environment.name=${value(input.environment)}`;
}

/** What every SDK reads. */
export function environmentLines(input: SnippetInput, attributes = resourceAttributes(input)): string[] {
  return [
    `export OTEL_EXPORTER_OTLP_ENDPOINT=${shellWord(input.http)}`,
    'export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf',
    `export OTEL_SERVICE_NAME=${shellWord(input.service)}`,
    `export OTEL_RESOURCE_ATTRIBUTES=${shellWord(attributes)}`,
  ];
}

/** The release in the query of an address. */
export function releaseQuery(input: SnippetInput): string {
  return new URLSearchParams({ service: input.service, version: input.version, environment: input.environment }).toString();
}

export const text = (...lines: string[]) => lines.join('\n');
