// The order of the overview: what may need attention first. Pure.
import type { OverviewService } from '../api/types.ts';
import { serviceKey } from '../live/merge.ts';

function attention(service: OverviewService): number {
  if (service.state === 'rollout') return 0;
  return service.state === 'unversioned' ? 1 : 2;
}

/** Within a state the server's order stays: it knows which rollout differs. */
export function byAttention(services: readonly OverviewService[]): string[] {
  return [...services].sort((a, b) => attention(a) - attention(b)).map(serviceKey);
}

/** Keeps what is on screen where it is, and puts what is new at the end. */
export function keepOrder(held: readonly string[], wanted: readonly string[]): string[] {
  const present = new Set(wanted);
  const kept = held.filter((key) => present.has(key));
  const known = new Set(kept);
  return [...kept, ...wanted.filter((key) => !known.has(key))];
}

/** How many rows stand elsewhere in the wanted order. */
export function moved(held: readonly string[], wanted: readonly string[]): number {
  return held.reduce((count, key, i) => count + (wanted[i] === key ? 0 : 1), 0);
}

export function matches(service: OverviewService, filter: string, state: string): boolean {
  if (state !== 'all' && (service.state ?? 'steady') !== state) return false;
  const words = filter.toLowerCase().split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return true;
  const text = [service.service, service.env, service.team, ...(service.lanes ?? []).map((lane) => lane.version)].join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}
