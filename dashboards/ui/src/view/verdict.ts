// Verdicts in words, built only from what the server said: the page judges nothing. Pure.
import type { OverviewService } from '../api/types.ts';
import type { Check, CheckEffect, CheckQuantile, Deploy, Ending, Evidence, Marker, Missing, PastWord, Verdict } from '../api/verdicts.ts';
import { age, clockMinute, count, plural, ratio, seconds, share, type Zone } from './format.ts';

const GAP = '\u202f';

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

const CHECK_STATES: Record<string, Look> = {
  worse: { word: 'worse', glyph: '✕', tone: 'no-go' },
  suspicious: { word: 'looks worse', glyph: '▲', tone: 'watch' },
  fine: { word: 'fine', glyph: '✓', tone: 'go' },
  undecided: { word: 'open', glyph: '…', tone: 'wait' },
  no_data: { word: 'no data', glyph: '–', tone: 'wait' },
};

/** A word of a later server is shown as it is. */
export const wordLook = (state: string): Look => WORDS[state] ?? { word: state.replaceAll('_', '-').toUpperCase(), glyph: '·', tone: 'wait' };
export const checkLook = (state: string): Look => CHECK_STATES[state] ?? { word: state.replaceAll('_', ' '), glyph: '·', tone: 'wait' };

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

/** Of what is over only a rollback is: what was promoted or replaced is what a page shows anyway. */
export const isNews = ({ ending }: Pick<Verdict, 'ending'>): boolean => !ending || ending.kind === 'rolled_back';

/** The one that a row of the overview tells of: of the same namespace, where both name one. */
export function verdictFor(index: VerdictIndex, service: OverviewService): Verdict | undefined {
  const all = index.get(placeKey(service.service, service.env)) ?? [];
  return all.find((verdict) => isNews(verdict) && (!service.namespace || !verdict.namespace || verdict.namespace === service.namespace));
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
export function endingSentence(verdict: Verdict, zone: Zone): string {
  const { ending } = verdict;
  if (!ending) return '';
  const at = clockMinute(ending.at, zone);
  if (ending.kind === 'rolled_back') return `Rolled back at ${at}`;
  if (ending.kind === 'promoted') return `Promoted at ${at}: others are compared with it now`;
  if (ending.kind === 'replaced') return `Replaced at ${at}: a later version took its traffic`;
  return `${endingWord(ending)} at ${at}`;
}

const STRATEGIES: Record<string, { word: string; caution: string }> = {
  canary: { word: 'canary', caution: '' },
  blue_green: { word: 'blue/green', caution: '' },
  rolling: { word: 'rolling', caution: '' },
  dark: { word: 'dark', caution: 'no user sees this version' },
  before_after: { word: 'before and after', caution: 'weaker than side by side: nothing runs beside it' },
};

export function strategyWords(strategy: string | null | undefined): { word: string; caution: string } | null {
  return strategy ? (STRATEGIES[strategy] ?? { word: strategy.replaceAll('_', ' '), caution: '' }) : null;
}

/** Two digits count: 343 → 350. It is said of waiting, so it is rounded up. */
export function about(value: number): string {
  if (!(value > 0)) return '0';
  const step = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
  return count(Math.ceil(value / step - 1e-9) * step);
}

/** How much more it takes: "about 340 more requests, 4 min, half of that at 25 % of the traffic". */
export function missingWords(missing: Missing | null | undefined): string {
  if (!missing || (missing.seconds == null && missing.exposure == null)) return '';
  const parts = [
    ...(missing.exposure != null && missing.exposure >= 1 ? [`${about(missing.exposure)} more requests`] : []),
    ...(missing.seconds == null ? [] : [age(missing.seconds * 1_000)]),
    ...(missing.faster_at_share == null ? [] : [`half of that at ${share(missing.faster_at_share)} of the traffic`]),
  ];
  return parts.length === 0 ? '' : `about ${parts.join(', ')}`;
}

export interface Meter {
  /** 0..1; null when the server does not say. */
  ready: number | null;
  word: string;
  /** What it is made of. */
  of: string;
  missing: string;
}

export function evidenceMeter(verdict: Verdict, evidence: Evidence | null | undefined): Meter {
  const decided = isDecided(verdict.state);
  const ready = decided ? 1 : (evidence?.ready ?? null);
  const sides = [
    ...(evidence?.candidate_n == null ? [] : [`${count(evidence.candidate_n)} of ${verdict.candidate}`]),
    ...(evidence?.baseline_n == null ? [] : [`${count(evidence.baseline_n)} of ${verdict.baseline ?? 'the baseline'}`]),
  ].join(' against ');
  const elapsed = evidence?.elapsed_s == null ? '' : `in ${age(evidence.elapsed_s * 1_000)}`;
  const missing = decided ? '' : verdict.need || missingWords(evidence?.missing);
  const word = ready === null ? (missing === '' ? 'not known' : '') : ready >= 1 ? 'enough' : `${share(Math.floor(ready * 100) / 100)} of what is needed`;
  return { ready, word, of: [sides && `${sides} requests`, elapsed].filter((part) => part).join(' '), missing };
}

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
  const none = !changes(effect) && check.counts?.baseline?.[0] === 0 && (check.counts.candidate?.[0] ?? 0) > 0;
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

export function limitWords(effect: CheckEffect): string {
  return effect.limit == null ? '' : `limit ${effectNumber(effect, effect.limit)}`;
}

/** Whether less is worse: then the limit lies below "no difference". */
export function fewerIsWorse(effect: CheckEffect): boolean {
  return effect.limit != null && partOf(effect, effect.limit) < 0;
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
  return tally ? `${count(tally[0])} of ${count(tally[1])}` : '—';
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
  const learnt = !noise.learnt_s ? 'assumed, as there is no history' : `learnt from ${age(noise.learnt_s * 1_000)} of the baseline before the release`;
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

/** The first letter of a sentence; a percentile stays `p99`. */
export const capital = (text: string): string => (/^p\d/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1));

/** The pair on the page may be another one than the one that was judged. */
export function pairNote(verdict: Pick<Verdict, 'candidate' | 'baseline'>, pair: { candidate?: string | null; baseline?: string | null } | null | undefined): string {
  if (!pair?.candidate) return '';
  const same = pair.candidate === verdict.candidate && (pair.baseline == null || verdict.baseline == null || pair.baseline === verdict.baseline);
  if (same) return '';
  const judged = `${verdict.candidate}${verdict.baseline ? ` against ${verdict.baseline}` : ''}`;
  return `Below, ${pair.candidate}${pair.baseline ? ` is compared with ${pair.baseline}` : ' is shown'}; the verdict is about ${judged}.`;
}

/** What is read out when a word changes. */
export function announcement(verdict: Verdict): string {
  return `Verdict of ${verdict.service} ${verdict.candidate}: ${wordLook(verdict.state).word}. ${verdict.headline ?? ''}`.trim();
}

/** How the word went, without the steps that repeat it. */
export function steps(past: readonly PastWord[]): PastWord[] {
  return past.filter((step, i) => step.state !== past[i - 1]?.state || step.headline !== past[i - 1]?.headline);
}

const OUTCOMES: Record<string, { word: string; glyph: string }> = {
  live: { word: 'live', glyph: '●' },
  live_beside_others: { word: 'live beside others', glyph: '◐' },
  replaced: { word: 'replaced', glyph: '→' },
  rolled_back: { word: 'rolled back', glyph: '↶' },
  no_traffic: { word: 'no traffic', glyph: '○' },
  announced_only: { word: 'announced only', glyph: '◌' },
};

export const OUTCOME_KEYS = Object.keys(OUTCOMES);

export function outcomeLook(outcome: string | null | undefined): { word: string; glyph: string } {
  if (!outcome) return { word: '—', glyph: '' };
  return OUTCOMES[outcome] ?? { word: outcome.replaceAll('_', ' '), glyph: '·' };
}

/** When a release began: at its first record, or when somebody announced it. */
export const deployTime = (deploy: Deploy): number | null => deploy.first_seen ?? deploy.announced ?? deploy.markers?.[0]?.at ?? null;

export interface DeployFilter {
  q: string;
  outcome: string;
  verdict: string;
}

/** Words of the filter are looked for in everything that names a deploy. */
export function deployMatches(deploy: Deploy, filter: DeployFilter): boolean {
  if (filter.outcome !== 'all' && deploy.outcome !== filter.outcome) return false;
  if (filter.verdict !== 'all' && (deploy.verdict?.state ?? 'none') !== filter.verdict) return false;
  const words = filter.q.toLowerCase().split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return true;
  const text = [deploy.service, deploy.namespace, deploy.env, deploy.version, deploy.by, deploy.source, deploy.commit].join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}

export function deploysSentence(shown: readonly Deploy[], all: readonly Deploy[]): string {
  const back = shown.filter((deploy) => deploy.outcome === 'rolled_back').length;
  const worse = shown.filter((deploy) => deploy.verdict?.state === 'no_go').length;
  const parts = [
    shown.length === all.length ? plural(all.length, 'deploy') : `${count(shown.length)} of ${plural(all.length, 'deploy')}`,
    ...(worse > 0 ? [`${count(worse)} NO-GO`] : []),
    ...(back > 0 ? [`${count(back)} rolled back`] : []),
  ];
  return parts.join(' · ');
}

const MARKERS: Record<string, string> = {
  deploy: 'Deploy', rollback: 'Rollback', promote: 'Promoted', weight: 'Weight', toggle: 'Toggle', freeze: 'Freeze', note: 'Note',
};

/** A marker in one line: kind, weight or role, text. */
export function markerWords(marker: Marker): string {
  const word = MARKERS[marker.kind] ?? capital(marker.kind.replaceAll('_', ' '));
  const detail = [
    ...(marker.weight == null ? [] : [share(marker.weight)]),
    ...(marker.role ? [marker.role] : []),
    ...(marker.text ? [marker.text] : []),
  ].join(' · ');
  return detail === '' ? word : `${word}: ${detail}`;
}

/** Only addresses of the web are links: the text comes from whoever sends data. */
export function webAddress(url: string | null | undefined): string | null {
  return url && /^https?:\/\//i.test(url) ? url : null;
}
