// What the API says about log lines; `docs/search.md` describes it.
import type { IncompleteShard, Meta } from './types.ts';

export interface LogLine {
  id: string;
  /** Epoch ms. */
  t: number;
  /** RFC 3339, to the nanosecond. */
  time: string;
  level: string;
  severity_text?: string;
  service: string;
  namespace?: string;
  env: string;
  version: string;
  instance?: string;
  body: string;
  cut?: boolean;
  event?: string;
  pattern?: string;
  trace_id?: string;
  span_id?: string;
  scope?: string;
  attrs: Record<string, string>;
  resource?: Record<string, string>;
}

export interface LogMeta {
  as_of: number;
  elapsed_ms: number;
  partial: boolean;
  seen_until: number | null;
  search: string;
  scanned: { segments: number; segments_skipped: number; rows: number };
  warnings: string[];
  incomplete?: IncompleteShard[];
}

export interface LogLines {
  meta: LogMeta;
  lines: LogLine[];
  next: string | null;
  /** When nothing was found: what would be without one condition, most lines first. */
  without?: Without[];
}

export interface Without {
  condition: string;
  /** The filter beside the search that it is. */
  filter: 'service' | 'env' | 'version' | null;
  /** The search without it. */
  q: string;
  lines: number;
  at_least: boolean;
}

export interface LogVolume {
  meta: LogMeta;
  by: string;
  step_ms: number;
  t: number[];
  series: { key: string; total: number; n: number[] }[];
  total: number;
}

export interface LogPattern {
  pattern: string;
  service: string;
  env: string;
  template: string | null;
  example: string | null;
  level: string;
  /** Lines of each level. */
  levels: Record<string, number>;
  total: number;
  counts: Record<string, number>;
  first_seen: Record<string, number>;
  only_in: string | null;
  /** `only_in`, unless that is the first version that is remembered. */
  new_in: string | null;
}

export interface LogPatterns {
  meta: LogMeta;
  total: number;
  without: number;
  more: number;
  versions: Record<string, number>;
  patterns: LogPattern[];
}

export interface LogContext {
  meta: LogMeta;
  line: LogLine;
  before: LogLine[];
  after: LogLine[];
}

/** New lines, oldest first, and where the next ones begin. */
export interface LogTail {
  meta: Meta;
  lines: LogLine[];
  skipped: number;
  cursor: string;
}

/** A field that the newest lines have. */
export interface LogField {
  name: string;
  kind: 'text' | 'number' | 'boolean';
  /** Lines of the sample that have it. */
  lines: number;
  /** Different values of it. */
  values: number;
  /** The most frequent ones. */
  top: { value: string; lines: number }[];
}

export interface LogFields {
  meta: LogMeta;
  /** Lines that were looked at. */
  sample: number;
  fields: LogField[];
}
