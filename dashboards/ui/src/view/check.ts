// One check of a verdict in words and numbers: effect, interval and limit, the two sides, evidence and noise. Pure.
import type { Check, CheckEffect, CheckQuantile } from '../api/verdicts.ts';
import { age, capital, count, ratio, seconds, share } from './format.ts';
import type { Look } from './verdict.ts';

const GAP = '\u202f';

const CHECK_STATES: Record<string, Look> = {
  worse: { word: 'worse', glyph: '✕', tone: 'no-go' },
  suspicious: { word: 'looks worse', glyph: '▲', tone: 'watch' },
  fine: { word: 'fine', glyph: '✓', tone: 'go' },
  undecided: { word: 'open', glyph: '…', tone: 'wait' },
  no_data: { word: 'no data', glyph: '–', tone: 'wait' },
};
export const checkLook = (state: string): Look => CHECK_STATES[state] ?? { word: state.replaceAll('_', ' '), glyph: '·', tone: 'wait' };

/** Numbers that are known before they suffice are shown, and shown as such. */
export function isEarly(check: Check): boolean {
  return check.state === 'undecided' || check.state === 'no_data';
}

const changes = (effect: CheckEffect): boolean => effect.kind === 'change';
/** As a part more or less: 1.38 times and a change of +0.38 are both 0.38. */
const partOf = (effect: CheckEffect, value: number): number => (changes(effect) ? value : value - 1);

function signed(part: number): string {
  const percent = part * 100;
  const size = Math.abs(percent);
  const text = size < 9.95 && Math.abs(percent - Math.round(percent)) > 0.05 ? size.toFixed(1) : size.toFixed(0);
  if (Number(text) === 0) return `±${GAP}0`;
  return `${percent < 0 ? '−' : '+'}${text}`;
}

const factor = (value: number): string => `×${GAP}${value < 2 ? value.toFixed(2) : value < 10 ? value.toFixed(1) : count(Math.round(value))}`;

/** From three times on a factor says more than per cent. */
const asFactor = (effect: CheckEffect): boolean => !changes(effect) && Math.max(effect.value ?? 1, effect.limit ?? 1) >= 3;

/** One number of an effect: "+38 %", "× 75". */
export function effectNumber(effect: CheckEffect, value: number | null | undefined): string {
  if (value == null) return '—';
  return asFactor(effect) ? factor(value) : `${signed(partOf(effect, value))}${GAP}%`;
}

/** "+38 %"; of a baseline without events no ratio is known, only what it is at least. */
export function effectWords(check: Check): string {
  const { effect } = check;
  if (!effect) return '—';
  const noneBefore = !changes(effect) && check.counts?.baseline?.[0] === 0;
  // Of two sides without an event there is no ratio: an estimate would be read as a finding.
  if (noneBefore && check.counts?.candidate?.[0] === 0) return '—';
  const none = noneBefore && (check.counts?.candidate?.[0] ?? 0) > 0;
  if (none && effect.low != null) return `at least ${effectNumber(effect, effect.low)}`;
  return effectNumber(effect, effect.value);
}

/** "+29 … +47 %", "+29 % or more". */
export function intervalWords(effect: CheckEffect): string {
  const { low, high } = effect;
  if (low == null && high == null) return 'not known yet';
  if (low == null) return `${effectNumber(effect, high)} or less`;
  if (high == null) return `${effectNumber(effect, low)} or more`;
  return `${effectNumber(effect, low)} … ${effectNumber(effect, high)}`;
}

/** The interval where it says more than the effect: of a baseline without events, what the difference is at least is both. */
export function withinWords(check: Check): string {
  const { effect } = check;
  if (!effect) return '';
  const saidAlready = effect.high == null && effectWords(check).startsWith('at least ');
  return saidAlready ? '' : intervalWords(effect);
}

export function limitWords(effect: CheckEffect): string {
  return effect.limit == null ? '' : `limit ${effectNumber(effect, effect.limit)}`;
}
/** The quantile that speaks loudest. */
export function loudest(quantiles: readonly CheckQuantile[] | undefined): CheckQuantile | undefined {
  const relative = (each: CheckQuantile) => each.relative_low ?? (each.low == null || !each.baseline ? -1 : each.low / each.baseline);
  return (quantiles ?? []).reduce<CheckQuantile | undefined>((best, each) => (best === undefined || relative(each) >= relative(best) ? each : best), undefined);
}

/** "+38 %, +29 … +47": of a percentile; in seconds where the server has no part. */
export function quantileWords(quantile: CheckQuantile): { difference: string; within: string } {
  const { relative, relative_low, relative_high, low, high } = quantile;
  const part = (value: number | null | undefined) => (value == null ? '' : `${signed(value)}${GAP}%`);
  const time = (value: number | null | undefined) => (value == null ? '' : `${value < 0 ? '−' : '+'}${seconds(Math.abs(value))}`);
  const known = relative_low != null || relative_high != null;
  const [least, most] = known ? [part(relative_low), part(relative_high)] : [time(low), time(high)];
  const within = least && most ? `${least} … ${most}` : least ? `${least} or more` : most ? `${most} or less` : 'not known yet';
  return { difference: part(relative) || '—', within };
}

export const quantileName = (q: number): string => `p${Number((q * 100).toFixed(2))}`;

export interface Sides {
  baseline: string;
  candidate: string;
  /** What the two numbers are. */
  what: string;
}

/** The two numbers that a check compares, as people know them. */
export function sidesOf(check: Check): Sides | null {
  const quantile = loudest(check.quantiles);
  if (quantile && (quantile.baseline != null || quantile.candidate != null)) {
    return { baseline: seconds(quantile.baseline), candidate: seconds(quantile.candidate), what: [quantileName(quantile.q), countedWords(check)].filter((part) => part).join(' · ') };
  }
  if (check.group === 'patterns') {
    const named = check.patterns ?? [];
    if (named.length === 0) return null;
    const lines = (side: 'baseline' | 'candidate') => named.reduce((sum, pattern) => sum + (pattern[side] ?? 0), 0);
    return { baseline: count(lines('baseline')), candidate: count(lines('candidate')), what: 'lines' };
  }
  const rates = (['baseline', 'candidate'] as const).map((side) => rateOf(check.counts?.[side]));
  if (rates.every((rate) => rate === null)) return null;
  const parts = rates.every((rate) => rate === null || rate <= 1) && check.group !== 'traffic';
  const write = (rate: number | null) => (rate === null ? '—' : parts ? ratio(rate) : rate.toPrecision(3));
  return { baseline: write(rates[0] ?? null), candidate: write(rates[1] ?? null), what: check.group === 'traffic' ? 'a second' : (check.part ?? '') };
}

/** What is judged of durations is how many are slower than the baseline's: "slower than 210 ms: 0.33 % → 1.0 %". */
function countedWords(check: Check): string {
  const [baseline, candidate] = [rateOf(check.counts?.baseline), rateOf(check.counts?.candidate)];
  return check.part && baseline !== null && candidate !== null ? `${check.part}: ${ratio(baseline)} → ${ratio(candidate)}` : '';
}

/** How much of the candidate was looked at; of traffic that is requests by time, the requests. */
export function countOf(check: Check): number | null {
  return check.counts?.candidate?.[check.group === 'traffic' ? 0 : 1] ?? null;
}

function rateOf(tally: [number, number] | undefined): number | null {
  return tally && tally[1] > 0 ? tally[0] / tally[1] : null;
}

/** "188 of 60,110". */
export function tallyWords(tally: [number, number] | undefined): string {
  if (!tally || (tally[0] === 0 && tally[1] === 0)) return '—';
  return tally[1] === 0 ? count(tally[0]) : `${count(tally[0])} of ${count(tally[1])}`;
}

/** What an e-value means: so seldom does a release of the other kind show as much, at any of all looks. */
export function evidenceWords(e: number | null | undefined, strength: string | null | undefined, of: 'worse' | 'fine' = 'worse'): string {
  if (e == null) return 'not known';
  if (e < 3) return 'none to speak of';
  const step = 10 ** Math.max(0, Math.floor(Math.log10(e)) - 1);
  const odds = e >= 1e9 ? 'fewer than one in a billion' : `at most one in ${count(Math.floor(e / step) * step)}`;
  const whom = of === 'worse' ? 'good releases would look as bad' : 'releases beyond the limit would look as good';
  return `${strength ? `${strength}: ` : ''}${odds} ${whom}, at any look`;
}

/** What is known of the noise, in words. */
export function noiseWords(check: Check): string {
  const noise = check.noise;
  if (!noise) return '';
  const bursts = noise.dispersion == null ? '' : `counts of ${noise.block_s == null ? 'a block' : age(noise.block_s * 1_000)} vary ${noise.dispersion.toFixed(1)} times as much as by chance`;
  const spread = noise.spread ? `instances of one version differ by ${ratio(noise.spread)}` : '';
  const assumed = !noise.learnt_s ? 'assumed, as there is no history' : 'assumed: the baseline’s past tells too little of it';
  const learnt = (noise.assumed ?? !noise.learnt_s) ? assumed : `learnt from ${age(noise.learnt_s * 1_000)} of the baseline before the release`;
  const facts = [bursts, spread].filter((part) => part !== '').join('; ');
  return facts === '' ? '' : `${capital(facts)} (${learnt}).`;
}

const METHODS: Record<string, string> = {
  errors: 'Failed requests of both sides in the same windows, route by route. Evidence grows by bets on the ratio and is discounted by how much the counts vary; the interval holds at every look.',
  latency: 'Requests slower than the baseline’s own p50, p90 and p99 of the half hour before the release are counted on both sides, so no estimate of a percentile enters the verdict. Percentiles with intervals are there for people.',
  kpi: 'Business events of both sides in the same windows, by session or request. Fewer are worse.',
  patterns: 'Lines of level warning and worse, pattern by pattern. Patterns are named so that few of those named are named by chance.',
  traffic: 'Requests by instance and second. An instance that gets traffic and falls silent has fewer.',
};

export function methodWords(check: Check): string {
  return METHODS[check.group ?? ''] ?? '';
}

/** What a check means for the whole. */
export function roleWords(check: Check): string {
  return [
    ...(check.required ? ['needed for GO'] : []),
    ...(check.critical ? ['its own evidence suffices for NO-GO'] : []),
    ...(check.weight != null && check.weight > 0 ? [`${share(check.weight)} of the budget of false alarms`] : []),
  ].join(' · ');
}
