// From the answer of a service to what its page shows: lanes in reading order with their looks, the range in
// milliseconds, and the numbers of the newest complete step. Pure.
import type { Num, Overview, ReleaseEvent, ReleaseLane, ServiceRelease } from '../api/types.ts';
import type { TimeExpr } from '../url/time.ts';
import { isLive, resolveTime } from '../url/time.ts';
import { assignLooks, inReadingOrder, type Look } from './roles.ts';
import { lastKnown, latestComplete, sum, valueNear, weightedMean } from './series.ts';

export type Metric = 'share' | 'rps' | 'err' | 'p50' | 'p95' | 'p99' | 'n';

export interface LaneView {
  lane: ReleaseLane;
  look: Look;
  /** Numbers of the newest complete step; requests over the whole range. */
  now: Record<Metric, Num>;
  /** The newest number that there is of each metric, however old, and the start of its step. */
  latest: Record<Metric, Reading>;
  /** Failed part of all requests of the range. */
  rangeErr: Num;
}

export interface Reading {
  value: Num;
  t: number | null;
}

const METRICS: Metric[] = ['share', 'rps', 'err', 'p50', 'p95', 'p99', 'n'];

/** With no step given, steps are taken to be as far apart as the times. */
export function stepMs(release: ServiceRelease): number {
  const given = release.meta?.step_s;
  if (given) return given * 1_000;
  const times = release.t ?? [];
  return times.length > 1 ? (times[1] ?? 0) - (times[0] ?? 0) : 10_000;
}

export function laneViews(release: ServiceRelease): LaneView[] {
  const lanes = inReadingOrder(release.lanes ?? []);
  const looks = assignLooks(lanes);
  const times = release.t ?? [];
  const index = latestComplete(times, stepMs(release), release.meta?.wm);
  return lanes.map((lane) => {
    const now = Object.fromEntries(METRICS.map((metric) => [metric, valueNear(lane[metric], index)])) as Record<Metric, Num>;
    const latest = Object.fromEntries(METRICS.map((metric) => [metric, readingOf(lane[metric], times, index)])) as Record<Metric, Reading>;
    return {
      lane,
      look: looks.get(lane.version) ?? 'baseline',
      now: { ...now, n: lane.requests ?? sum(lane.n) },
      latest,
      rangeErr: weightedMean(lane.err, lane.n),
    };
  });
}

function readingOf(column: readonly Num[] | undefined, times: readonly number[], index: number): Reading {
  const at = lastKnown(column, index);
  return { value: column?.[at] ?? null, t: times[at] ?? null };
}

/** Event time of the newest record that an answer proves, or null. */
export function newestRecord(release: ServiceRelease): number | null {
  const seen = (release.lanes ?? []).flatMap((lane) => lane.last_seen ?? []);
  return seen.length === 0 ? null : Math.max(...seen);
}

/** The same for all services: the start of the newest step of a trend with requests, so never later than the record. */
export function newestOf(overview: Overview): number | null {
  let newest: number | null = null;
  for (const { spark } of overview.services ?? []) {
    const last = spark?.rps?.findLastIndex((value) => value != null && value > 0) ?? -1;
    if (spark && last >= 0) newest = Math.max(newest ?? 0, spark.t0 + last * spark.step_s * 1_000);
  }
  return newest;
}

export interface Range {
  from: number;
  to: number;
}

/** A time axis never covers less than this. */
const SPAN_MIN_MS = 120_000;

/**
 * The range without the time before the first data, as far as that is most of it: a service that is three minutes old
 * would be a sliver at the edge of half an hour.
 */
export function fitted(range: Range, release: ServiceRelease | null): Range {
  const times = release?.t ?? [];
  const first = times.findIndex((_, i) => (release?.lanes ?? []).some((lane) => (lane.n ?? lane.rps ?? [])[i] != null));
  const start = times[first];
  if (start === undefined || start - range.from < (range.to - range.from) / 2) return range;
  return { from: Math.max(range.from, Math.min(start, range.to - SPAN_MIN_MS)), to: range.to };
}

/** What was asked for. A live range ends with the newest step, so that it moves with the data. */
export function rangeOf(release: ServiceRelease | null, from: TimeExpr, to: TimeExpr, nowMs: number): Range {
  const times = release?.t ?? [];
  const last = times.at(-1);
  const end = isLive(to) && release && last !== undefined ? last + stepMs(release) : resolveTime(to, nowMs);
  const start = from.kind === 'at' ? from.ms : end - (from.agoMs - (to.kind === 'now' ? to.agoMs : 0));
  return start < end ? { from: start, to: end } : { from: end - 60_000, to: end };
}

/** Events that belong on the lane of a page, oldest first. */
export function eventsIn(events: readonly ReleaseEvent[] | undefined, range: Range): ReleaseEvent[] {
  return (events ?? []).filter((event) => event.t >= range.from && event.t <= range.to).sort((a, b) => a.t - b.t);
}

/** When a version was first seen: said by the server, or its first step with data that is not the range's first. */
export function firstSeen(lane: ReleaseLane, times: readonly number[]): number | null {
  if (lane.first_seen != null) return lane.first_seen;
  if (lane.since != null) return lane.since;
  const column = lane.n ?? lane.rps ?? lane.share ?? [];
  const index = column.findIndex((value) => value !== null && value > 0);
  return index > 0 ? (times[index] ?? null) : null;
}
