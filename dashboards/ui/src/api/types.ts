// The wire shapes of the pages' API, in one place. Times are epoch milliseconds, durations seconds, ratios 0..1.
// `null` means "no data" and is never the same as 0. Whatever a server may leave out is optional: pages must cope.

export interface Meta {
  /** Data watermark: everything up to this event time has been folded. */
  wm?: number | null;
  lag_ms?: number | null;
  step_s?: number;
  /** Start and end of what was asked for, when the server says so. */
  from?: number;
  to?: number;
  partial?: boolean;
  warnings?: string[];
  incomplete?: IncompleteShard[];
  query_ms?: number;
  envs?: string[];
}

/** A shard whose newest records are missing from an answer: the process that has them does not answer. */
export interface IncompleteShard {
  shard: number;
  /** Since when, epoch ms. */
  since: number;
  reason: string;
}

export type Source = 'spans' | 'metrics' | 'access_log' | 'logs';

export type ServiceState = 'steady' | 'rollout' | 'unversioned';

/** A number that may be missing. */
export type Num = number | null;

export interface VersionLane {
  version: string;
  /** `baseline`, `candidate`, `other`, `retired`, `no_traffic`. */
  role?: string;
  share?: Num;
  instances?: Num;
  since?: Num;
}

export interface Pair {
  baseline?: Num;
  candidate?: Num;
}

export interface OverviewService {
  service: string;
  env?: string;
  namespace?: string;
  team?: string;
  state?: ServiceState | string;
  headline?: string | null;
  source?: Source | string | null;
  /** Durations are estimates within the buckets of the app's own histograms. */
  approximate?: boolean;
  lanes?: VersionLane[];
  red?: { rps?: Num; err?: Pair | null; p99_s?: Pair | null };
  /** A business figure of the candidate against the baseline. */
  kpi?: OverviewKpi | null;
  spark?: { t0: number; step_s: number; err?: Num[]; rps?: Num[] } | null;
  /** Log patterns of the candidate that no other version had. */
  new_patterns?: number;
}

export interface OverviewKpi {
  key: string;
  title?: string;
  /** Relative: -0.06 is six percent less. */
  delta?: Num;
  better?: string | null;
  /** Whether it moved beyond chance. */
  moved?: boolean;
}

export interface ReleaseEvent {
  t: number;
  kind: string;
  service?: string;
  env?: string;
  version?: string;
  share?: Num;
  title?: string;
  by?: string | null;
  url?: string | null;
}

export interface Overview {
  meta?: Meta;
  summary?: { rollouts?: number; differing?: number; steady?: number; unversioned?: number; services?: number };
  services?: OverviewService[];
  events?: ReleaseEvent[];
  envs?: string[];
}

export interface ReleaseLane {
  version: string;
  role?: string;
  instances?: Num;
  since?: Num;
  commit?: string | null;
  first_seen?: Num;
  last_seen?: Num;
  /** Requests in the whole range. */
  requests?: Num;
  share?: Num[];
  rps?: Num[];
  err?: Num[];
  p50?: Num[];
  p95?: Num[];
  p99?: Num[];
  /** Requests in each step. */
  n?: Num[];
  /** Business figures in each step, by their keys. */
  kpi?: Record<string, Num[]>;
}

export interface Kpi {
  key: string;
  title?: string;
  unit?: string;
  /** `count`, `sum`, `mean`. */
  value?: string;
  /** `request` (a thousand of them), `session`, `user`, `none` (a second). */
  per?: string;
  /** `higher`, `lower`; null for an event that nobody declared. */
  better?: string | null;
  declared?: boolean;
  /** Over the whole range. */
  versions?: KpiVersion[];
  values?: KpiValues | null;
}

export interface KpiVersion {
  version: string;
  role?: string;
  value?: Num;
  /** Records that it is made of. */
  n?: Num;
  /** Of the single values, where records have values. */
  p50?: Num;
  p95?: Num;
}

/** How single values are distributed. Bar `i` counts values from `low[i]` to `high[i]`. */
export interface KpiValues {
  low: number[];
  high: number[];
  versions: { version: string; role?: string; n: number; part: number[] }[];
}

/** Of the last day. */
export interface UsageVersion {
  version: string;
  role?: string;
  users?: Num;
  sessions?: Num;
  crashed?: Num;
  errored?: Num;
  crash_free?: Num;
  adoption?: Num;
}

export interface Toggle {
  key: string;
  hot?: boolean;
  /** When the set of variants last changed. */
  changed?: Num;
  variants?: ToggleVariant[];
}

export interface ToggleVariant {
  variant: string;
  /** Of the evaluations within the last hour. */
  share?: Num;
  /** Since it was first seen. */
  evaluations?: Num;
  /** In the range; null for a toggle that is not hot. */
  range_evaluations?: Num;
  range_share?: Num;
  /** In the range. */
  requests?: Num;
  err?: Num;
  first_seen?: Num;
  last_seen?: Num;
  versions?: { version: string; share?: Num; range_share?: Num }[];
}

/** One toggle of a service: a lane is a variant. */
export interface ToggleDetail {
  meta?: Meta;
  service?: string;
  env?: string;
  key?: string;
  hot?: boolean;
  changed?: Num;
  /** Only this version is shown. */
  version?: string | null;
  versions?: string[];
  pair?: ServiceRelease['pair'];
  headline?: string | null;
  differences?: Difference[];
  /** `toggled_requests` or `evaluations`. */
  source?: string | null;
  t?: number[];
  lanes?: ReleaseLane[];
  variants?: ToggleVariant[];
  cells?: ToggleCell[];
  reasons?: { variant: string; reason: string; evaluations?: Num }[];
}

/** A variant with a version, in the range. */
export interface ToggleCell {
  variant: string;
  version: string;
  evaluations?: Num;
  requests?: Num;
  err?: Num;
  p50?: Num;
  p95?: Num;
}

export interface Difference {
  metric: string;
  /** Of a KPI, whose numbers are per 1,000 requests. */
  key?: string;
  title?: string;
  baseline?: Num;
  candidate?: Num;
  since?: Num;
  /** It may have begun before `since`, with which the range begins. */
  since_before?: boolean;
  text?: string;
}

export interface ServiceRelease {
  meta?: Meta;
  service?: string;
  env?: string;
  pair?: {
    candidate?: string | null;
    baseline?: string | null;
    strategy?: string | null;
    /** The comparison is with the past, which is weaker than side by side. */
    before_after?: boolean;
    since?: Num;
  } | null;
  headline?: string | null;
  differences?: Difference[];
  source?: Source | string | null;
  /** Durations are estimates within the buckets of the app's own histograms. */
  approximate?: boolean;
  unversioned?: boolean;
  t?: number[];
  lanes?: ReleaseLane[];
  routes?: Route[];
  patterns?: Pattern[];
  /** Since when patterns were compared; null when there is nothing to compare. */
  patterns_since?: Num;
  kpis?: Kpi[];
  usage?: UsageVersion[];
  toggles?: Toggle[];
  events?: ReleaseEvent[];
}

/** A log pattern that candidate and baseline do not have alike. */
export interface Pattern {
  id: string;
  /** Its shapes, as in `logs.pattern_id`. */
  ids?: string[];
  /** `new`, `escalated`, `gone`. */
  class: string;
  level: string;
  /** `<*>` stands for what varies. */
  text: string;
  count?: Num;
  count_base?: Num;
  /** Lines a second. */
  rate_cand?: Num;
  rate_base?: Num;
  /** How often the candidate has it for each time the baseline has, per request. */
  ratio?: Num;
  ratio_lo?: Num;
  ratio_hi?: Num;
  /** First line in the candidate; of what has gone the last one in the baseline. */
  first?: Num;
  sample: string;
}

/** One route over the whole range, its versions beside each other. */
export interface Route {
  route: string;
  requests?: Num;
  versions?: RouteVersion[];
}

export interface RouteVersion {
  version: string;
  role?: string;
  requests?: Num;
  err?: Num;
  p50?: Num;
  p95?: Num;
  p99?: Num;
}

export interface Rejected {
  reason: string;
  count: number;
  signal?: string | null;
  last?: Num;
  detail?: string | null;
}

export interface SeenRelease {
  service: string;
  env: string;
  version: string;
  /** Event time of its newest record. */
  last?: Num;
}

export interface BySignal<T> {
  logs?: T;
  metrics?: T;
  spans?: T;
}

export interface Pipeline {
  meta?: Meta;
  /** Since the process started. */
  received?: BySignal<number>;
  /** Records that Shipwake made itself since then: stored as logs, received from nobody. */
  own?: number;
  /** Ever: a restart forgets nothing. */
  stored?: BySignal<number>;
  /** When the process started. */
  started?: Num;
  /** When the last request of a signal came since then. */
  last?: BySignal<Num>;
  /** What has sent since then, as far as it said so. */
  senders?: { kind: string; received?: number; last?: Num }[];
  rejected?: Rejected[];
  deduplicated?: number;
  shards?: { shard: number; watermark?: Num; lag_ms?: Num; next_offset?: Num }[];
  services?: number;
  services_without_version?: string[];
  services_with_two_versions?: number;
  /** Whatever has sent anything, the newest first; the last hundred. */
  releases?: SeenRelease[];
  endpoints?: { otlp_grpc?: string; otlp_http?: string; ui?: string };
  memory_bytes?: number;
  instances_guessed?: boolean;
  /** Data is not taken, or not kept, as it should be. */
  unready?: boolean;
  /** Answers lack something: a part of what was stored is damaged or lost, or a process does not answer. */
  degraded?: boolean;
  problems?: string[];
}

/** RFC 9457. */
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  request_id?: string;
  position?: { line: number; column: number; offset: number };
}

export type ServerEnvelope =
  | { id?: number; k: 'snap' | 'delta'; seq?: number; wm?: Num; data: unknown }
  | { id?: number; k: 'gap'; skipped?: number; reason?: string }
  | { id?: number; k: 'err'; code?: string; title?: string; detail?: string }
  | { k: 'hb'; now: number; wm?: Num; lag_ms?: Num };
