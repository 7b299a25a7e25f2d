// The wire shapes of a comparison (`POST /api/v1/compare`). Differences are B less A; `null` is "no data", never 0.
import type { Meta, Num, Pattern } from './types.ts';

export interface Comparison {
  meta: Meta;
  service: string;
  env: string;
  /** As it is asked for: `duration`, `errors`, `rate`, `crash_free`, `error_free`, `kpi:KEY`, `metric:NAME`. */
  metric: string;
  title: string;
  unit: string;
  form: NumberForm;
  /** What both sides are measured by; null when they have nothing in common. */
  source: string | null;
  approximate: boolean;
  filters: string[];
  sentence: string;
  a: ComparedSide;
  b: ComparedSide;
  /** Of the bins of `a.counts` and `b.counts`, in the unit: one more than counts. Empty where nothing can be drawn. */
  edges: number[];
  quantiles: ComparedQuantile[];
  shift: ComparedQuantile[];
  stats: {
    ks: Num;
    ks_at: Num;
    /** Up to here the distance may be chance. */
    ks_chance: Num;
    mean_a: Num;
    mean_b: Num;
    errors: { a: number; b: number; diff: number; lo: number; hi: number; differs: boolean } | null;
  };
  explain: Explained[];
  /** What `explain` adds up to: the difference of the means, of the shares within the selection, of the error ratios or of the rates. */
  explains: 'mean' | 'selection' | 'errors' | 'rate';
  /** Everything that can be compared. */
  measures: ComparedMeasure[];
  measures_note: string | null;
  patterns: { only_b: Pattern[]; escalated: Pattern[]; only_a: Pattern[]; note: string | null };
  resolution: Num;
  method: string;
  known: {
    /** Newest first. */
    versions: { version: string; first_seen: number; last_seen: number }[];
    toggles: { key: string; variants: string[] }[];
    routes: string[];
    namespaces: string[];
  };
}

/** How a number is written. */
export type NumberForm = 'seconds' | 'ratio' | 'rate' | 'number';

/** One thing on both sides. */
export interface ComparedMeasure {
  metric: string;
  q: Num;
  group: 'requests' | 'sessions' | 'kpi' | 'metric';
  title: string;
  form: NumberForm;
  unit: string;
  a: Num;
  b: Num;
  diff: Num;
  lo: Num;
  hi: Num;
  rel: Num;
  n_a: number;
  n_b: number;
  better: 'higher' | 'lower' | null;
  /** There is enough on both sides. */
  ok: boolean;
  /** The interval has no zero in it. */
  differs: boolean;
  distribution: boolean;
  /** Why there is no interval. */
  note: string | null;
}

export interface ComparedSide {
  label: string;
  version: string | null;
  flag: { key: string; variant: string } | null;
  from: number;
  to: number;
  n: number;
  requests: number;
  errors: number;
  rps: Num;
  first: Num;
  last: Num;
  counts: number[];
  has: { source: string; requests: number; durations: number }[];
}

export interface ComparedQuantile {
  q: number;
  a: Num;
  b: Num;
  diff: Num;
  lo: Num;
  hi: Num;
  rel: Num;
  rel_lo: Num;
  rel_hi: Num;
  /** At least ten requests lie beyond it on both sides. */
  ok: boolean;
  /** The interval has no zero in it. */
  differs: boolean;
}

/** What one value of a dimension adds to the difference. */
export interface Explained {
  dim: string;
  value: string;
  a: Num;
  b: number;
  n_a: Num;
  n_b: number;
  mean_a: Num;
  mean_b: Num;
  p99_a: Num;
  p99_b: Num;
  err_a: Num;
  err_b: Num;
  adds: number;
  adds_by_share: number;
  part: Num;
  score: number;
}
