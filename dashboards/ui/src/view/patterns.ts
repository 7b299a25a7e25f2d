// Log patterns in words, built only from what the server told.
import type { OverviewService, Pattern } from '../api/types.ts';
import type { Verdict } from '../api/verdicts.ts';
import { minuteRate, plural, type Zone } from './format.ts';
import { endingSentence } from './verdict.ts';
import { localTimes } from './words.ts';

/** How a class looks; a glyph beside the colour, so that colour is never alone. */
export const PATTERN_CLASSES: Record<string, { word: string; glyph: string }> = {
  new: { word: 'NEW', glyph: '▲' },
  escalated: { word: 'ESCALATED', glyph: '△' },
  gone: { word: 'GONE', glyph: '▽' },
};

const times = (factor: number): string => `×\u202f${factor < 10 ? factor.toFixed(1) : factor.toFixed(0)}`;

/** The number that says most about a pattern of its class. */
export function patternNumbers(pattern: Pattern): string {
  if (pattern.class === 'gone') return `was ${minuteRate(pattern.rate_base)}`;
  if (pattern.class === 'escalated' && pattern.ratio != null) return times(pattern.ratio);
  return minuteRate(pattern.rate_cand);
}

/** How much more frequent a pattern is, with its interval. */
export function factorText(pattern: Pattern): string {
  const low = pattern.ratio_lo ?? 0;
  const high = pattern.ratio_hi == null ? '' : ` to ${times(pattern.ratio_hi)}`;
  const bounds = high === '' ? `at least ${times(low)}` : `${times(low)}${high}`;
  return pattern.ratio == null ? `${bounds} (95 %)` : `${times(pattern.ratio)} as frequent (95 %: ${bounds})`;
}

/** How to see its lines. */
export function patternSql(pattern: Pattern): string {
  const ids = (pattern.ids?.length ? pattern.ids : [pattern.id]).map((id) => `'${id}'`);
  return `select time, version, body from logs where pattern_id ${ids.length === 1 ? `= ${ids[0]}` : `in (${ids.join(', ')})`}`;
}

/** How many there are of each class. */
export function patternsSentence(patterns: readonly Pattern[], baseline: string): string {
  const of = (wanted: string) => patterns.filter((pattern) => pattern.class === wanted).length;
  const parts = (['new', 'escalated', 'gone'] as const).filter((word) => of(word) > 0).map((word) => `${of(word)} ${word}`);
  return parts.length === 0 ? `No log line is new, escalated or gone against ${baseline}` : `${parts.join(', ')} against ${baseline}`;
}

/** The words of a template and its parameters, in order. */
export function templateParts(text: string): string[] {
  return text.split(/(<\*>)/).filter((part) => part !== '');
}

/** What a row of the overview says below its numbers; empty when there is nothing to say. A verdict's sentence says it all. */
export function rowSentence(service: OverviewService, now: number, zone: Zone, verdict?: Verdict): string {
  const headline = verdict?.headline || service.headline;
  const told = verdict?.headline?.includes('log pattern') ?? false;
  const patterns = told ? 0 : (service.new_patterns ?? 0);
  return [
    ...(verdict?.ending ? [endingSentence(verdict, zone, now)] : headline ? [localTimes(headline, now, zone)] : []),
    ...(patterns > 0 ? [plural(patterns, 'new error pattern')] : []),
  ].join(' · ');
}
