// The words of verdicts, which one a row of the overview tells of, and what became of a release. The page judges nothing: all of it
// is the server's. Pure.
import type { OverviewService } from '../api/types.ts';
import type { Ending, Verdict } from '../api/verdicts.ts';
import { clockMinute, count, dayMinute, isSameDay, type Zone } from './format.ts';

export interface Look {
  word: string;
  /** Beside the colour, so that colour is never alone. */
  glyph: string;
  tone: 'go' | 'watch' | 'no-go' | 'wait';
}

export const WORDS: Record<string, Look> = {
  no_go: { word: 'NO-GO', glyph: '✕', tone: 'no-go' },
  watch: { word: 'WATCH', glyph: '▲', tone: 'watch' },
  wait: { word: 'WAIT', glyph: '…', tone: 'wait' },
  go: { word: 'GO', glyph: '✓', tone: 'go' },
};
/** A word of a later server is shown as it is. */
export const wordLook = (state: string): Look => WORDS[state] ?? { word: state.replaceAll('_', '-').toUpperCase(), glyph: '·', tone: 'wait' };

export const isDecided = (state: string): boolean => state === 'go' || state === 'no_go';

/** What needs attention first. One that is over needs none. */
export function urgency(verdict: Pick<Verdict, 'state' | 'ending'> | undefined): number {
  if (!verdict || verdict.ending) return 4;
  return { no_go: 0, watch: 1, go: 3 }[verdict.state] ?? 2;
}

const placeKey = (service: string, env: string | null | undefined): string => `${env ?? ''}\u0000${service}`;

export type VerdictIndex = Map<string, Verdict[]>;

/** The verdicts of each service and environment, what needs attention first. */
export function indexVerdicts(verdicts: readonly Verdict[]): VerdictIndex {
  const index: VerdictIndex = new Map();
  for (const verdict of verdicts) {
    const key = placeKey(verdict.service, verdict.env);
    index.set(key, [...(index.get(key) ?? []), verdict]);
  }
  for (const list of index.values()) list.sort((a, b) => urgency(a) - urgency(b) || (b.opened ?? 0) - (a.opened ?? 0));
  return index;
}

/** Of what is over only what went wrong is: what was promoted or replaced is what a page shows anyway. */
export const isNews = ({ ending }: Pick<Verdict, 'ending'>): boolean => !ending || ending.kind === 'rolled_back' || ending.kind === 'gone_silent';

/** The one that a row of the overview tells of: of the same namespace, where both name one. */
export function verdictFor(index: VerdictIndex, service: OverviewService): Verdict | undefined {
  const all = index.get(placeKey(service.service, service.env)) ?? [];
  return all.find((verdict) => isNews(verdict) && (!service.namespace || !verdict.namespace || verdict.namespace === service.namespace));
}

/** The other releases of a row's service that are judged: no candidate is hidden by one that is worse. */
export function othersOf(index: VerdictIndex, service: OverviewService): Verdict[] {
  const told = verdictFor(index, service);
  if (!told) return [];
  const all = index.get(placeKey(service.service, service.env)) ?? [];
  return all.filter((verdict) => verdict !== told && !verdict.ending && (verdict.namespace ?? '') === (told.namespace ?? ''));
}

/** How many have each word, without those that are over. */
export function countWords(verdicts: readonly (Verdict | undefined)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const verdict of verdicts) if (verdict && !verdict.ending) counts[verdict.state] = (counts[verdict.state] ?? 0) + 1;
  return counts;
}

/** "1 NO-GO · 2 WATCH", the worst first. */
export function countsSentence(counts: Record<string, number>): string[] {
  return Object.keys(WORDS).filter((state) => (counts[state] ?? 0) > 0).map((state) => `${count(counts[state])} ${wordLook(state).word}`);
}

export const endingWord = (ending: Ending): string => ending.kind.replaceAll('_', ' ');

/** What became of a release that is judged no more. */
export function endingSentence(verdict: Verdict, zone: Zone, now: number): string {
  const { ending } = verdict;
  if (!ending) return '';
  const at = isSameDay(ending.at, now, zone) ? clockMinute(ending.at, zone) : dayMinute(ending.at, zone);
  if (ending.kind === 'rolled_back') return `Rolled back at ${at}`;
  if (ending.kind === 'gone_silent') return `Gone silent, noticed at ${at}: nobody got its traffic`;
  if (ending.kind === 'promoted') return `Promoted at ${at}: others are compared with it now`;
  if (ending.kind === 'replaced') return `Replaced at ${at}: a later version took its traffic`;
  return `${endingWord(ending)} at ${at}`;
}
