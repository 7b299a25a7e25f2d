// Applies a delta to the snapshot a page holds. Columns grow at their end or are corrected in place by time, keyed rows
// are replaced, everything else is taken from the delta. Pure, and never changes its arguments.
import type { Num, Overview, OverviewService, ReleaseEvent, ReleaseLane, ServiceRelease } from '../api/types.ts';

const COLUMNS = ['share', 'rps', 'err', 'p50', 'p95', 'p99', 'n'] as const;
const EVENTS_KEPT = 200;

export function mergeRelease(held: ServiceRelease | null, delta: ServiceRelease): ServiceRelease {
  if (!held) return delta;
  const { t, lanes, events, ...rest } = delta;
  const merged: ServiceRelease = { ...held, ...rest, meta: { ...held.meta, ...delta.meta } };
  if (events) merged.events = mergeEvents(held.events, events);
  if (!t || !lanes) return merged;
  const from = delta.meta?.from ?? held.meta?.from ?? Number.NEGATIVE_INFINITY;
  const times = [...new Set([...(held.t ?? []), ...t])].filter((at) => at >= from).sort((a, b) => a - b);
  merged.t = times;
  merged.lanes = mergeLanes(held, delta, times);
  return merged;
}

function mergeLanes(held: ServiceRelease, delta: ServiceRelease, times: number[]): ReleaseLane[] {
  const before = new Map((held.lanes ?? []).map((lane) => [lane.version, lane]));
  const after = new Map((delta.lanes ?? []).map((lane) => [lane.version, lane]));
  return [...new Set([...before.keys(), ...after.keys()])].map((version) => {
    const old = before.get(version);
    const now = after.get(version);
    const lane: ReleaseLane = { ...old, ...now, version };
    for (const column of COLUMNS) {
      if (!old?.[column] && !now?.[column]) continue;
      lane[column] = mergeColumn(times, held.t ?? [], old?.[column], delta.t ?? [], now?.[column]);
    }
    if (old?.kpi || now?.kpi) lane.kpi = mergeKpis(times, held.t ?? [], old?.kpi, delta.t ?? [], now?.kpi);
    return lane;
  });
}

/** A KPI that the delta does not have is gone: the server names all that there are. */
function mergeKpis(times: number[], heldTimes: number[], held: Record<string, Num[]> | undefined, newTimes: number[], now: Record<string, Num[]> | undefined) {
  const keys = Object.keys(now ?? held ?? {});
  return Object.fromEntries(keys.map((key) => [key, mergeColumn(times, heldTimes, held?.[key], newTimes, now?.[key])]));
}

function mergeColumn(times: number[], heldTimes: number[], held: Num[] | undefined, newTimes: number[], now: Num[] | undefined): Num[] {
  const at = new Map<number, Num>();
  heldTimes.forEach((t, i) => at.set(t, held?.[i] ?? null));
  if (now) newTimes.forEach((t, i) => at.set(t, now[i] ?? null));
  return times.map((t) => at.get(t) ?? null);
}

export function mergeOverview(held: Overview | null, delta: Overview): Overview {
  if (!held) return delta;
  const merged: Overview = { ...held, ...delta, meta: { ...held.meta, ...delta.meta } };
  if (delta.services) merged.services = mergeServices(held.services ?? [], delta.services);
  else merged.services = held.services ?? [];
  if (delta.events) merged.events = mergeEvents(held.events, delta.events);
  return merged;
}

export const serviceKey = (service: OverviewService): string =>
  [service.env ?? '', service.namespace ?? '', service.service].join('\u0000');

function mergeServices(held: OverviewService[], delta: OverviewService[]): OverviewService[] {
  const services = new Map(held.map((service) => [serviceKey(service), service]));
  for (const service of delta) services.set(serviceKey(service), { ...services.get(serviceKey(service)), ...service });
  return [...services.values()];
}

const eventKey = (event: ReleaseEvent): string =>
  [event.t, event.kind, event.service ?? '', event.env ?? '', event.version ?? ''].join('\u0000');

function mergeEvents(held: ReleaseEvent[] | undefined, delta: ReleaseEvent[]): ReleaseEvent[] {
  const events = new Map((held ?? []).map((event) => [eventKey(event), event]));
  for (const event of delta) events.set(eventKey(event), event);
  return [...events.values()].sort((a, b) => b.t - a.t).slice(0, EVENTS_KEPT);
}
