// Where the marks of a forest plot stand. One scale for all checks of a verdict: no difference in the same place in each row, small
// differences well apart, and a seventyfold one still on the page. Pure.
import type { Check, CheckEffect, Trail } from '../api/verdicts.ts';

/** Logarithms of ratios below this are drawn about linear, larger ones are drawn together: ten per cent. */
const LINEAR = 0.1;
/** Beyond a thousand times nothing is told apart. */
const LN_MAX = Math.log(1_000);
/** What a plot shows at least: a tenth less to a quarter more. */
const SHOWN: [number, number] = [Math.log(0.9), Math.log(1.25)];
const PAD = 0.05;

/** A ratio or a change on one scale: 0 is no difference, both signs alike. */
export function place(effect: Pick<CheckEffect, 'kind'>, value: number): number {
  const factor = effect.kind === 'change' ? 1 + value : value;
  const ln = factor > 0 ? Math.min(LN_MAX, Math.max(-LN_MAX, Math.log(factor))) : -LN_MAX;
  return Math.asinh(ln / LINEAR);
}

const onScale = (ln: number): number => Math.asinh(ln / LINEAR);

export interface Scale {
  from: number;
  to: number;
}

/** 0..1 across the plot. */
export function across(scale: Scale, at: number): number {
  return Math.min(1, Math.max(0, (at - scale.from) / (scale.to - scale.from)));
}

export interface ForestMark {
  id: string;
  value: number;
  low: number;
  high: number;
  /** No bound is known, or it lies beyond the plot. */
  openLow: boolean;
  openHigh: boolean;
  limit: number | null;
  fine: number | null;
  /** The side on which it is worse. */
  worse: 'right' | 'left';
}

export interface Forest {
  zero: number;
  marks: Map<string, ForestMark>;
  ticks: { at: number; text: string }[];
}

export function forest(checks: readonly Check[]): Forest {
  const scale = scaleOf(checks.flatMap((check) => (check.effect ? extentOf(check.effect) : [])));
  const marks = new Map<string, ForestMark>();
  for (const { id, effect } of checks) {
    const mark = effect ? markOf(id, effect, scale) : null;
    if (mark) marks.set(id, mark);
  }
  return { zero: across(scale, 0), marks, ticks: ticksOf(scale) };
}

/** Limits and estimates decide the scale, and the near ends of intervals: a far end may leave the plot. */
function extentOf(effect: CheckEffect): number[] {
  const known = [effect.value, effect.limit, effect.limit_fine, effect.low, effect.high].filter((each): each is number => each != null);
  return known.map((value) => place(effect, value));
}

function scaleOf(places: readonly number[]): Scale {
  const from = Math.min(onScale(SHOWN[0]), ...places);
  const to = Math.max(onScale(SHOWN[1]), ...places);
  const pad = (to - from) * PAD;
  return { from: from - pad, to: to + pad };
}

function markOf(id: string, effect: CheckEffect, scale: Scale): ForestMark | null {
  if (effect.value == null) return null;
  const at = (value: number | null | undefined) => (value == null ? null : across(scale, place(effect, value)));
  const [low, high, limit] = [at(effect.low), at(effect.high), at(effect.limit)];
  return {
    id,
    value: at(effect.value) ?? 0,
    low: low ?? 0,
    high: high ?? 1,
    openLow: low === null,
    openHigh: high === null,
    limit,
    fine: at(effect.limit_fine),
    worse: limit !== null && limit < across(scale, 0) ? 'left' : 'right',
  };
}

const TICKS: [number, string][] = [
  [0.01, '÷100'], [0.1, '÷10'], [0.5, '−50 %'], [0.8, '−20 %'], [0.9, '−10 %'], [1, '0'],
  [1.1, '+10 %'], [1.25, '+25 %'], [1.5, '+50 %'], [2, '×2'], [4, '×4'], [10, '×10'], [100, '×100'],
];
/** Ticks closer than this part of the plot would run into each other. */
const APART = 0.14;
/** No difference first, then far ones before those between them. */
const ORDER = [1, 2, 1.1, 10, 0.9, 0.5, 100, 1.5, 4, 0.8, 0.1, 1.25, 0.01];

function ticksOf(scale: Scale): { at: number; text: string }[] {
  const taken: { at: number; text: string }[] = [];
  for (const value of ORDER) {
    const where = onScale(Math.log(value));
    if (where < scale.from || where > scale.to) continue;
    const at = across(scale, where);
    const text = TICKS.find(([each]) => each === value)?.[1] ?? '';
    if (taken.every((tick) => Math.abs(tick.at - at) >= APART)) taken.push({ at, text });
  }
  return taken.sort((a, b) => a.at - b.at);
}

export interface TrailShape {
  /** Closed outline of the interval, as an SVG path in a box of 1 by 1. */
  band: string;
  line: string;
  zero: number;
  limit: number | null;
  fine: number | null;
  /** Where the worse side ends: the top for what must not grow, the bottom for what must not shrink. */
  worse: 'up' | 'down';
  ticks: { at: number; text: string }[];
}

/** How an effect went over time, as shapes. Null while there is nothing to draw. */
export function trailShape(trail: Trail | null | undefined, effect: CheckEffect): TrailShape | null {
  const points = (trail?.t ?? []).flatMap((t, i) => {
    const value = trail?.value[i];
    return value == null ? [] : [{ t, value, low: trail?.low?.[i] ?? null, high: trail?.high?.[i] ?? null }];
  });
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || points.length < 2) return null;
  // Early intervals are so wide that what matters would be a line at the bottom: they leave the plot.
  const limits = [effect.limit, effect.limit_fine].filter((each): each is number => each != null);
  const shown = [...points.map((point) => point.value), ...limits, last.low, last.high].filter((each): each is number => each != null);
  const scale = scaleOf(shown.map((value) => place(effect, value)));
  const x = (t: number) => round((t - first.t) / Math.max(1, last.t - first.t));
  const y = (value: number | null, open: number) => round(value === null ? open : 1 - across(scale, place(effect, value)));
  const upper = points.map((point) => `${x(point.t)} ${y(point.high, 0)}`);
  const lower = points.map((point) => `${x(point.t)} ${y(point.low, 1)}`).reverse();
  const limit = effect.limit == null ? null : y(effect.limit, 0);
  const zero = round(1 - across(scale, 0));
  return {
    band: `M${[...upper, ...lower].join('L')}Z`,
    line: `M${points.map((point) => `${x(point.t)} ${y(point.value, 0)}`).join('L')}`,
    zero,
    limit,
    fine: effect.limit_fine == null ? null : y(effect.limit_fine, 0),
    worse: limit !== null && limit > zero ? 'down' : 'up',
    ticks: ticksOf(scale).map((tick) => ({ at: round(1 - tick.at), text: tick.text })),
  };
}

const round = (value: number): number => Math.round(value * 10_000) / 10_000;
