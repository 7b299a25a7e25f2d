// Just enough protobuf to write one OTLP span for a snippet that people paste into a shell. Pure.

const encoder = new TextEncoder();

function varint(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
  return out;
}

function bytesField(field: number, bytes: ArrayLike<number>): number[] {
  return [...varint(field * 8 + 2), ...varint(bytes.length), ...Array.from(bytes)];
}

const textField = (field: number, text: string) => bytesField(field, encoder.encode(text));
const varintField = (field: number, value: number) => [...varint(field * 8), ...varint(value)];

function fixed64Field(field: number, value: bigint): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return [...varint(field * 8 + 1), ...bytes];
}

const attribute = (key: string, value: number[]) => [...textField(1, key), ...bytesField(2, value)];
const textAttribute = (key: string, value: string) => attribute(key, textField(1, value));
const intAttribute = (key: string, value: number) => attribute(key, varintField(3, value));

export interface SampleSpan {
  service: string;
  version: string;
  environment: string;
  endMs: number;
  durationMs: number;
  traceId: Uint8Array;
  spanId: Uint8Array;
}

/** An `ExportTraceServiceRequest` with one server span of `GET /`. */
export function traceRequest(sample: SampleSpan): Uint8Array {
  const SERVER = 2;
  const resource = [
    textAttribute('service.name', sample.service),
    textAttribute('service.version', sample.version),
    textAttribute('deployment.environment.name', sample.environment),
  ].flatMap((each) => bytesField(1, each));
  const attributes = [
    textAttribute('http.request.method', 'GET'),
    textAttribute('http.route', '/'),
    intAttribute('http.response.status_code', 200),
  ].flatMap((each) => bytesField(9, each));
  const span = [
    ...bytesField(1, sample.traceId),
    ...bytesField(2, sample.spanId),
    ...textField(5, 'GET /'),
    ...varintField(6, SERVER),
    ...fixed64Field(7, BigInt(sample.endMs - sample.durationMs) * 1_000_000n),
    ...fixed64Field(8, BigInt(sample.endMs) * 1_000_000n),
    ...attributes,
  ];
  const scopeSpans = bytesField(2, span);
  return Uint8Array.from(bytesField(1, [...bytesField(1, resource), ...bytesField(2, scopeSpans)]));
}

export function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
