// Two cohorts beside each other, as they are written in the address and drawn. Pure: numbers come from the server, what is
// computed here is only where they stand.
import type { ComparedMeasure, ComparedQuantile, Explained, NumberForm } from '../api/compare.ts';
import type { Num } from '../api/types.ts';
import type { ForestMark } from './forest.ts';
import { count, duration, NONE, plural, quantity, rate, ratio, seconds, share } from './format.ts';

/** Who is compared: a version, a variant of a toggle, a window, or what of these is named. */
export interface Cohort {
  version: string | null;
  flag: { key: string; variant: string } | null;
  /** Start and end, as points in time are written. */
  window: [string, string] | null;
}

export const EVERYBODY: Cohort = { version: null, flag: null, window: null };

const KINDS = ['ver:', 'flag:', 'win:'] as const;

/** Reads `ver:2.14.0 flag:pay-v2=on win:now-1h..now-30m`; a text without a kind in front is a version. */
export function parseCohort(text: string): Cohort {
  const cohort = { ...EVERYBODY };
  for (const part of text.trim().split(/ (?=ver:|flag:|win:)/)) {
    const kind = KINDS.find((each) => part.startsWith(each));
    const value = part.slice(kind?.length ?? 0).trim();
    if (value === '') continue;
    if (kind === 'flag:') {
      const at = value.lastIndexOf('=');
      if (at > 0) cohort.flag = { key: value.slice(0, at), variant: value.slice(at + 1) };
    } else if (kind === 'win:') {
      const at = value.indexOf('..');
      if (at > 0) cohort.window = [value.slice(0, at).trim(), value.slice(at + 2).trim()];
    } else cohort.version = value;
  }
  return cohort;
}

export function formatCohort({ version, flag, window }: Cohort): string {
  return [
    ...(version === null ? [] : [`ver:${version}`]),
    ...(flag === null ? [] : [`flag:${flag.key}=${flag.variant}`]),
    ...(window === null ? [] : [`win:${window.join('..')}`]),
  ].join(' ');
}

/** The window of the same length that ends where the given one begins, or a day or a week before it. */
export function windowBefore(from: number, to: number, how: 'before' | 'day' | 'week'): [string, string] {
  const by = { before: to - from, day: 86_400_000, week: 7 * 86_400_000 }[how];
  return [String(Math.round(from - by)), String(Math.round(to - by))];
}

/** Durations that are selected, `0.4..5` in seconds. */
export function parseSelection(text: string): { from: number; to: number } | null {
  const found = /^(\d+(?:\.\d+)?(?:e-?\d+)?)\.\.(\d+(?:\.\d+)?(?:e-?\d+)?)$/.exec(text.trim());
  if (!found) return null;
  const [from, to] = [Number(found[1]), Number(found[2])];
  return from < to ? { from, to } : null;
}

/** The route that alone is looked at, of `route:eq:POST /pay`. */
export function routeOfFilter(text: string): string | null {
  return text.startsWith('route:eq:') ? text.slice('route:eq:'.length) : null;
}

/** A scale of durations by their logarithm. */
export interface LogScale {
  low: number;
  high: number;
  /** 0 to 1. */
  at(value: number): number;
  value(at: number): number;
}

export function logScale(edges: readonly number[]): LogScale {
  const positive = edges.filter((edge) => edge > 0);
  const [first, last] = [positive[0] ?? 0.001, positive.at(-1) ?? 1];
  const low = edges[0] === 0 ? first / 2 : first;
  const high = last > low ? last : low * 2;
  const span = Math.log(high / low);
  return {
    low,
    high,
    at: (value) => Math.min(1, Math.max(0, Math.log(Math.max(value, low) / low) / span)),
    value: (at) => low * Math.exp(Math.min(1, Math.max(0, at)) * span),
  };
}

/** 1, 2 and 5 of every power of ten within the scale; only the ones where there is room for few. */
export function logTicks({ low, high }: LogScale, most: number): number[] {
  for (const steps of [[1, 2, 5], [1, 3], [1]]) {
    const ticks: number[] = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const step of steps) ticks.push(step * 10 ** power);
    }
    const within = ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
    if (within.length <= most) return within;
  }
  return [low, high];
}

/** The share of requests in each bin for each factor of two that it is wide: areas of equal size are equally many. */
export function density(counts: readonly number[], edges: readonly number[]): number[] {
  const n = counts.reduce((sum, each) => sum + each, 0);
  const scale = logScale(edges);
  return counts.map((each, i) => {
    const width = Math.log2((edges[i + 1] ?? scale.high) / Math.max(edges[i] ?? 0, scale.low / 2));
    return n === 0 || !(width > 0) ? 0 : each / n / width;
  });
}

/** The share of requests up to the end of each bin. */
export function cumulated(counts: readonly number[]): number[] {
  const n = counts.reduce((sum, each) => sum + each, 0);
  let sum = 0;
  return counts.map((each) => (n === 0 ? 0 : (sum += each) / n));
}

export interface Point {
  x: number;
  y: number;
}

/** Steps over the bins: each value holds for its whole bin. `width` and `height` are the drawing's, `top` the highest value. */
export function steps(values: readonly number[], edges: readonly number[], scale: LogScale, width: number, height: number, top: number): Point[] {
  return values.flatMap((value, i) => {
    const y = height - (top > 0 ? value / top : 0) * height;
    return [edges[i], edges[i + 1]].map((edge) => ({ x: scale.at(edge ?? 0) * width, y }));
  });
}

const spot = ({ x, y }: Point): string => `${x.toFixed(1)} ${y.toFixed(1)}`;

export function linePath(points: readonly Point[]): string {
  return points.map((point, i) => `${i === 0 ? 'M' : 'L'}${spot(point)}`).join('');
}

/** What lies between a line and the ground, or between two lines. */
export function areaPath(points: readonly Point[], back: readonly Point[]): string {
  if (points.length === 0) return '';
  return `${linePath([...points, ...[...back].reverse()])}Z`;
}

export function ground(points: readonly Point[], height: number): Point[] {
  const [first, last] = [points[0], points.at(-1)];
  return first && last ? [{ x: first.x, y: height }, { x: last.x, y: height }] : [];
}

/** Where a quantile stands from left to right: the tails have as much room as the middle. */
export function quantileAt(q: number): number {
  const logit = (p: number) => Math.log(p / (1 - p));
  const [low, high] = [logit(0.01), logit(0.999)];
  return (logit(Math.min(0.999, Math.max(0.01, q))) - low) / (high - low);
}

/** The difference that the axis of the shift has room for on either side of zero: what is known well decides. */
export function shiftRange(shift: readonly ComparedQuantile[]): [number, number] {
  const known = shift.filter((each) => each.ok);
  const values = (known.length > 0 ? known : shift).flatMap(({ diff, lo, hi }) => {
    const size = Math.abs(diff ?? 0);
    // An interval may be many times as wide as the difference, and would leave nothing to see of it.
    const kept = (end: Num) => (end === null ? [] : [Math.max(-4 * size - 0.002, Math.min(4 * size + 0.002, end))]);
    return [diff ?? 0, ...kept(lo), ...kept(hi)];
  });
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const room = (high - low || 0.001) * 0.08;
  return [low - room, high + room];
}

/** Round numbers from low to high, about `most` of them. */
export function linearTicks(low: number, high: number, most: number): number[] {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => (high - low) / each <= most) ?? 10 * power;
  const ticks: number[] = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) ticks.push(k === 0 ? 0 : k * step);
  return ticks;
}

export function quantileName(q: number): string {
  return `p${Math.round(q * 10_000) / 100}`;
}

/** +12.0 ms, −3.00 ms, 0 s. */
export function signedSeconds(value: Num | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return seconds(0);
  return `${value > 0 ? '+' : '−'}${seconds(Math.abs(value))}`;
}

export function signedRatio(value: Num | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return ratio(0);
  const text = ratio(Math.abs(value));
  return text.startsWith('<') ? text : `${value > 0 ? '+' : '−'}${text}`;
}

/** `−3.00 ms … +8.00 ms`; a side without a bound says so. */
export function intervalText(low: Num, high: Num, format: (value: Num) => string): string {
  if (low === null && high === null) return 'no bound yet';
  return `${low === null ? 'no bound' : format(low)} … ${high === null ? 'no bound' : format(high)}`;
}

type Format = (value: Num | undefined) => string;

/** How the numbers of a measure are written, and their differences. */
export interface Numbers {
  value: Format;
  signed: Format;
  /** What is counted, for sentences. */
  things: string;
  /** Durations are slower or faster, everything else larger or smaller. */
  more: string;
  less: string;
  /** What one unit of an input field is, and its name. */
  field: { size: number; unit: string };
}

export function numbersOf({ form, unit, approximate, source }: { form: NumberForm; unit: string; approximate: boolean; source: string | null }): Numbers {
  const isOwn = source === 'kpi' || source === 'metric';
  const words = isOwn ? { things: 'values', more: 'larger', less: 'smaller' } : { things: 'requests', more: 'slower', less: 'faster' };
  if (form === 'seconds') return { ...words, value: duration(approximate), signed: signedSeconds, field: { size: 0.001, unit: 'ms' } };
  return { ...words, value: (value) => valueText(form, unit, value), signed: (value) => signedText(form, unit, value), field: { size: 1, unit: unit === '1' ? '' : unit.replace(/[{}]/g, '') } };
}

export function valueText(form: NumberForm, unit: string, value: Num | undefined): string {
  if (form === 'seconds') return seconds(value);
  if (form === 'ratio') return ratio(value);
  return form === 'rate' ? rate(value) : quantity(value, unit);
}

/** A difference: of ratios in points. */
export function signedText(form: NumberForm, unit: string, value: Num | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (form === 'ratio') return `${signedRatio(value).replace(/\s*%$/, '')} points`;
  if (value === 0) return valueText(form, unit, 0);
  return `${value > 0 ? '+' : '−'}${valueText(form, unit, Math.abs(value))}`;
}

export type Told = 'worse' | 'better' | 'differs' | 'same' | 'few' | 'open' | 'none';

/** The word for a measure; a glyph beside it, so that colour is never alone. */
export function measureWord(measure: ComparedMeasure): { glyph: string; word: string; kind: Told } {
  if (measure.a === null || measure.b === null) return { glyph: '–', word: measure.a === null && measure.b === null ? 'none' : 'only one side', kind: 'none' };
  if (measure.lo === null && measure.hi === null && measure.note !== null) return { glyph: '–', word: 'no interval', kind: 'open' };
  if (!measure.ok) return { glyph: '…', word: 'too few', kind: 'few' };
  if (!measure.differs) return { glyph: '·', word: 'not shown', kind: 'same' };
  const more = (measure.diff ?? 0) > 0;
  const glyph = more ? '▲' : '▼';
  if (measure.better === null) return { glyph, word: more ? 'higher' : 'lower', kind: 'differs' };
  const isBetter = (measure.better === 'higher') === more;
  return { glyph, word: `${more ? 'higher' : 'lower'}: ${isBetter ? 'better' : 'worse'}`, kind: isBetter ? 'better' : 'worse' };
}

/** The interval of a measure on a scale of its own, with no difference in the middle; null where there is none. */
export function measureMark(measure: ComparedMeasure): ForestMark | null {
  const { diff, lo, hi, better } = measure;
  if (diff === null || (lo === null && hi === null)) return null;
  const span = 1.15 * Math.max(Math.abs(diff), Math.abs(lo ?? 0), Math.abs(hi ?? 0)) || 1;
  const at = (value: number) => 0.5 + value / span / 2;
  return {
    id: measure.metric, value: at(diff), low: lo === null ? 0 : at(lo), high: hi === null ? 1 : at(hi), openLow: lo === null, openHigh: hi === null,
    limit: null, fine: null, worse: better === 'higher' ? 'left' : 'right',
  };
}

export const GROUPS: Record<ComparedMeasure['group'], string> = { requests: 'Requests', sessions: 'Sessions', kpi: 'KPIs', metric: 'Metrics of the app' };

/** What a measure rests on: `20,000 and 10,000 requests`. */
export function restsOn({ group, n_a, n_b }: ComparedMeasure): string {
  const thing = { requests: 'request', sessions: 'session', kpi: 'record', metric: 'value' }[group];
  return `${count(n_a)} and ${plural(n_b, thing)}`;
}

/** Measures by group, both in the order of the server. */
export function byGroup(measures: readonly ComparedMeasure[]): { group: ComparedMeasure['group']; rows: ComparedMeasure[] }[] {
  const groups = [...new Set(measures.map(({ group }) => group))];
  return groups.map((group) => ({ group, rows: measures.filter((each) => each.group === group) }));
}

/** What is known by route and by variant of a toggle: what requests tell. */
export function isOfRequests(metric: string): boolean {
  return ['', 'duration', 'errors', 'rate'].includes(metric);
}

/** The word for a difference; a glyph beside it, so that colour is never alone. */
export function verdictOf(quantile: ComparedQuantile, words: Pick<Numbers, 'things' | 'more' | 'less'> = { things: 'requests', more: 'slower', less: 'faster' }): { glyph: string; word: string; kind: 'more' | 'less' | 'same' | 'few' } {
  if (!quantile.ok) return { glyph: '…', word: `too few ${words.things}`, kind: 'few' };
  if (!quantile.differs) return { glyph: '·', word: 'not shown', kind: 'same' };
  return (quantile.diff ?? 0) > 0 ? { glyph: '▲', word: words.more, kind: 'more' } : { glyph: '▼', word: words.less, kind: 'less' };
}

/** The words of a dimension. */
export function dimensionWords(dim: string): { title: string; about: string } {
  if (dim === 'route') return { title: 'Route', about: 'of the requests' };
  if (dim === 'version') return { title: 'Version', about: 'of the requests' };
  if (dim.startsWith('attribute.')) return { title: dim.slice('attribute.'.length), about: 'of the values' };
  if (dim.startsWith('toggle.')) return { title: `Toggle ${dim.slice('toggle.'.length)}`, about: 'of the requests that tell their variant' };
  return { title: 'Instances of B', about: 'replicate slots, each against all of A' };
}

/** Rows by dimension, both in the order of the server. */
export function byDimension(rows: readonly Explained[]): { dim: string; rows: Explained[] }[] {
  const found: { dim: string; rows: Explained[] }[] = [];
  for (const row of rows) {
    const held = found.find(({ dim }) => dim === row.dim);
    if (held) held.rows.push(row);
    else found.push({ dim: row.dim, rows: [row] });
  }
  return found;
}

/** What the distance of two distributions means. */
export function distanceText(ks: Num, chance: Num): string {
  if (ks === null) return NONE;
  if (chance === null) return `${share(ks)}; too few requests to tell it from chance`;
  return ks > chance ? `${share(ks)}, beyond chance (up to ${share(chance)})` : `${share(ks)}, which may be chance (up to ${share(chance)})`;
}

/** `±0.4 %`. */
export function resolutionText(resolution: Num): string {
  return resolution === null ? 'unknown, because a bucket is open' : `±${ratio(resolution)}`;
}

/** What a side has, for the empty page. */
export function hasText(has: readonly { source: string; requests: number; durations: number }[]): string[] {
  const NAMES: Record<string, string> = {
    spans: 'server spans',
    metrics: 'HTTP metrics',
    access_log: 'access-log lines',
    logs: 'log records',
    toggled_requests: 'requests that tell a toggle’s variant',
  };
  return has.map(({ source, requests, durations }) => {
    const what = NAMES[source] ?? source;
    return `${count(requests)} ${what}, ${durations === 0 ? 'without durations' : `${count(durations)} durations`}`;
  });
}
