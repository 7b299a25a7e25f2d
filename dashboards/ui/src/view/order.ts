// The order of the overview: what may need attention first. Pure.
import type { OverviewService } from '../api/types.ts';
import type { Verdict } from '../api/verdicts.ts';
import { serviceKey } from '../live/merge.ts';
import { urgency } from './verdict.ts';

export type VerdictOf = (service: OverviewService) => Verdict | undefined;

const nobody: VerdictOf = () => undefined;

/** A verdict that is not over says what a state only hints at. Between `watch` and `go` are those that nothing is proven of. */
function attention(service: OverviewService, verdict: Verdict | undefined): number {
  if (verdict && !verdict.ending) return urgency(verdict);
  if (service.state === 'rollout') return 2;
  return service.state === 'unversioned' ? 4 : 5;
}

/** Within a state the server's order stays: it knows which rollout differs. */
export function byAttention(services: readonly OverviewService[], verdictOf: VerdictOf = nobody): string[] {
  const ranked = services.map((service) => ({ key: serviceKey(service), rank: attention(service, verdictOf(service)) }));
  return ranked.sort((a, b) => a.rank - b.rank).map(({ key }) => key);
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

/** `state` is one of a service, or the word of a verdict that is not over. */
export function matches(service: OverviewService, filter: string, state: string, verdict?: Verdict): boolean {
  const word = verdict?.ending ? undefined : verdict?.state;
  if (state !== 'all' && (service.state ?? 'steady') !== state && word !== state) return false;
  const words = filter.toLowerCase().split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return true;
  const text = [service.service, service.env, service.team, ...(service.lanes ?? []).map((lane) => lane.version)].join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}
