// The wire shapes of verdicts and deploys. Times are epoch milliseconds, durations seconds, ratios 0..1; `null` is "not known".
// Whatever a server may leave out is optional: pages must cope.
import type { Meta, Num } from './types.ts';

/** `go`, `no_go`, `watch`, `wait`; a later server may know more words. */
export type Word = string;

export interface VerdictsMeta extends Meta {
  as_of?: Num;
  /** Counts boards: what a long poll waits beyond. */
  revision?: number;
}

/** Why a release is judged no more, and since when. */
export interface Ending {
  /** `rolled_back`, `replaced`, `promoted`, `gone_silent`. */
  kind: string;
  at: number;
}

/** A release with its word, as the lists have it. */
export interface Verdict {
  service: string;
  namespace?: string | null;
  env?: string | null;
  candidate: string;
  baseline?: string | null;
  /** `canary`, `blue_green`, `rolling`, `dark`, `before_after`. */
  strategy?: string | null;
  /** Of the traffic, now. */
  share?: Num;
  state: Word;
  /** Counts the changes of the word. */
  sequence?: number;
  /** Since when it has its word. */
  since?: Num;
  /** When its first request came. */
  opened?: Num;
  data_lag_ms?: Num;
  ending?: Ending | null;
  /** One sentence that a person can act on. */
  headline?: string | null;
  /** "about 340 more requests, 4 min". */
  need?: string | null;
  policy?: string | null;
  /** What its policy says otherwise than the default: "errors.fine 3 (default 1.5)". Lists leave it out. */
  policy_says?: string[];
}

export interface Verdicts {
  meta?: VerdictsMeta;
  verdicts?: Verdict[];
}

export interface ServiceVerdict {
  meta?: VerdictsMeta;
  verdict: VerdictDetail;
  /** Other releases of the service that are judged, or were lately. */
  others?: Verdict[];
  /** How often the judge would have been wrong on this service's own traffic; null before the first hour. */
  audit?: SelfAudit | null;
}

/** Slots of the stable version, judged as if they were releases: every NO-GO among them is a false alarm. */
export interface SelfAudit {
  releases?: Num;
  no_go?: Num;
  rate?: Num;
  /** Below this the rate lies, with a confidence of 95 %. */
  rate_below?: Num;
  /** The same with twice the errors: how many were found, and within what time `part` of them. */
  doubled?: { releases?: Num; found?: Num; within_s?: Num; part?: Num } | null;
  /** Noise is taken to be at least this: with less there were too many false alarms. */
  dispersion_floor?: Num;
}

export interface KayentaAnswer {
  meta?: VerdictsMeta;
  /** Null while there is not one whole minute. */
  kayenta?: Kayenta | null;
}

/** What Kayenta's judge would have said of the same minutes. */
export interface Kayenta {
  judge?: string;
  from?: Num;
  to?: Num;
  minutes?: Num;
  /** The release is older than the windows that are there. */
  cut?: boolean;
  score?: Num;
  /** `Pass`, `Marginal`, `Fail`. */
  classification?: string;
  reason?: string | null;
  metrics?: KayentaMetric[];
}

export interface KayentaMetric {
  /** The check that asks the same. */
  check: string;
  name: string;
  unit?: string;
  /** `Pass`, `High`, `Low`, `Nodata`. */
  classification?: string;
  reason?: string | null;
  ratio?: Num;
  control?: { minutes?: Num; mean?: Num } | null;
  experiment?: { minutes?: Num; mean?: Num } | null;
}

export interface VerdictDetail extends Verdict {
  guards?: VerdictGuard[];
  evidence?: Evidence | null;
  checks?: Check[];
  /** The words it has had, oldest first. */
  past?: PastWord[];
}

export interface VerdictGuard {
  id: string;
  text: string;
  /** Somebody should look: not just a matter of time. */
  suspicious?: boolean;
}

export interface Evidence {
  /** How much of what is needed is there, 0..1. */
  ready?: Num;
  candidate_n?: Num;
  baseline_n?: Num;
  elapsed_s?: Num;
  missing?: Missing | null;
}

export interface Missing {
  exposure?: Num;
  seconds?: Num;
  /** The share of traffic at which it takes half as long. */
  faster_at_share?: Num;
}

export type CheckState = 'worse' | 'suspicious' | 'fine' | 'undecided' | 'no_data' | string;

export interface Check {
  id: string;
  /** `errors`, `latency`, `kpi`, `patterns`, `traffic`. */
  group?: string;
  title?: string;
  state: CheckState;
  required?: boolean;
  critical?: boolean;
  /** Its share of the budget of false alarms. */
  weight?: Num;
  /** The part that speaks loudest: `slower than 210 ms`. */
  part?: string | null;
  effect?: CheckEffect | null;
  /** Events, and of how many. */
  counts?: { candidate?: [number, number]; baseline?: [number, number] } | null;
  /** E-values: evidence that it is worse than its limit, and that it is fine. */
  e_worse?: Num;
  e_fine?: Num;
  /** `none`, `weak`, `moderate`, `strong`, `decisive`. */
  strength?: string | null;
  blocks?: Num;
  /** Windows that came too late to count. */
  late?: Num;
  /** Effect and counts are of the time since then, where it broke later than it came. */
  since?: Num;
  suspicious_since?: Num;
  dominant?: { stratum: string; share?: Num } | null;
  quantiles?: CheckQuantile[];
  patterns?: CheckPattern[];
  noise?: { dispersion?: Num; spread?: Num; block_s?: Num; learnt_s?: Num; assumed?: boolean } | null;
  missing?: Missing | null;
  why?: string | null;
  trail?: Trail | null;
}

export interface CheckEffect {
  /** `ratio`: 1 is no difference. `change`: 0 is none. */
  kind: string;
  value: Num;
  low?: Num;
  high?: Num;
  /** Beyond it is worse. */
  limit?: Num;
  /** Within it is fine. */
  limit_fine?: Num;
}

/** Seconds; `low` and `high` bound candidate less baseline. */
export interface CheckQuantile {
  q: number;
  baseline?: Num;
  candidate?: Num;
  low?: Num;
  high?: Num;
  /** The difference as a part of the baseline's, with its interval. */
  relative?: Num;
  relative_low?: Num;
  relative_high?: Num;
}

export interface CheckPattern {
  pattern_id: string;
  template: string;
  level?: string | null;
  candidate?: Num;
  baseline?: Num;
  e?: Num;
  /** `new`, `escalated`, `gone`. */
  class?: string;
}

/** How an effect went, oldest first. */
export interface Trail {
  t: number[];
  value: Num[];
  low?: Num[];
  high?: Num[];
  strength?: (string | number | null)[];
}

export interface PastWord {
  state: Word;
  at: number;
  headline?: string | null;
}

export interface Deploys {
  meta?: Meta & { as_of?: Num };
  deploys?: Deploy[];
}

export interface Deploy {
  service: string;
  namespace?: string | null;
  env?: string | null;
  version: string;
  previous?: string | null;
  first_seen?: Num;
  last_seen?: Num;
  /** First marker. */
  announced?: Num;
  by?: string | null;
  source?: string | null;
  url?: string | null;
  commit?: string | null;
  is_rollback?: boolean;
  /** `live`, `live_beside_others`, `replaced`, `rolled_back`, `gone_silent`, `no_traffic`, `announced_only`. */
  outcome?: string | null;
  /** The last word it had. */
  verdict?: { state: Word; headline?: string | null; at?: Num } | null;
  markers?: Marker[];
}

export interface Marker {
  id: string;
  /** `deploy`, `rollback`, `promote`, `weight`, `toggle`, `freeze`, `note`. */
  kind: string;
  at: number;
  weight?: Num;
  role?: string | null;
  /** Of a deployment: `started`, `succeeded`, `failed`. */
  status?: string | null;
  /** Key of the toggle that was turned. */
  toggle?: string | null;
  by?: string | null;
  source?: string | null;
  text?: string | null;
  url?: string | null;
}
