// Columns of numbers on their way to a chart: thinning, stacking, axis limits, the newest complete step. Pure.
import type { Num } from '../api/types.ts';

export type Column = readonly Num[];

/** Two points for each pixel carry everything a line can show. */
export const POINTS_PER_PIXEL = 2;

/**
 * Keeps at most about `limit` times, and in each bucket of times the smallest and the largest value of every column, so
 * that a spike of one step survives any thinning. A bucket without data stays a gap.
 */
export function downsample(times: readonly number[], columns: readonly Column[], limit: number): { t: number[]; columns: Num[][] } {
  const size = Math.ceil((2 * times.length) / Math.max(2, limit));
  if (size <= 2) return { t: [...times], columns: columns.map((column) => [...column]) };
  const t: number[] = [];
  const out: Num[][] = columns.map(() => []);
  for (let start = 0; start < times.length; start += size) {
    const end = Math.min(start + size, times.length);
    t.push(times[start] ?? 0);
    if (end - start > 1) t.push(times[end - 1] ?? 0);
    columns.forEach((column, i) => {
      const [first, second] = extremes(column, start, end);
      out[i]?.push(first);
      if (end - start > 1) out[i]?.push(second);
    });
  }
  return { t, columns: out };
}

/** The smallest and the largest value, in the order in which they occur. */
function extremes(column: Column, start: number, end: number): [Num, Num] {
  let low = -1;
  let high = -1;
  for (let i = start; i < end; i++) {
    const value = column[i];
    if (value == null) continue;
    if (low < 0 || value < (column[low] ?? 0)) low = i;
    if (high < 0 || value > (column[high] ?? 0)) high = i;
  }
  if (low < 0) return [null, null];
  const first = column[Math.min(low, high)] ?? null;
  const second = column[Math.max(low, high)] ?? null;
  return [first, second];
}

/** Running sums from the first column up; no data counts as nothing unless no column has data there. */
export function stack(columns: readonly Column[]): Num[][] {
  const length = Math.max(0, ...columns.map((column) => column.length));
  const sums: number[] = new Array(length).fill(0);
  const known = Array.from({ length }, (_, i) => columns.some((column) => column[i] != null));
  return columns.map((column) =>
    Array.from({ length }, (_, i) => {
      sums[i] = (sums[i] ?? 0) + (column[i] ?? 0);
      return known[i] ? (sums[i] ?? null) : null;
    }),
  );
}

/** The next of 1, 2, 2.5, 5 × 10ⁿ that is not below the value. */
export function niceCeiling(value: number): number {
  if (!(value > 0) || !Number.isFinite(value)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 2.5, 5, 10].find((each) => each * power >= value * (1 - 1e-12)) ?? 10;
  return factor * power;
}

/** Where an axis from 0 to such a ceiling has its lines: four or five equal parts, whichever are round. */
export function axisSplits(top: number): number[] {
  const mantissa = Number((top / 10 ** Math.floor(Math.log10(top))).toPrecision(3));
  const parts = mantissa === 1 || mantissa === 2 ? 4 : 5;
  return Array.from({ length: parts + 1 }, (_, i) => (top * i) / parts);
}

/**
 * The upper end of a live axis. It grows at once, and shrinks only when less than 40 % of it is in use, so that an axis
 * does not jump under the reader's eyes.
 */
export function refit(held: number | null, highest: number, smallest = 0): number {
  const wanted = Math.max(niceCeiling(highest * 1.05), smallest);
  if (held === null || wanted > held) return wanted;
  return highest < held * 0.4 ? wanted : held;
}

export function highest(columns: readonly Column[]): number {
  let max = 0;
  for (const column of columns) for (const value of column) if (value != null && value > max) max = value;
  return max;
}

/** The newest step whose end the watermark has passed: later ones still grow. -1 when there is none. */
export function latestComplete(times: readonly number[], stepMs: number, wm: number | null | undefined): number {
  for (let i = times.length - 1; i >= 0; i--) {
    if (wm == null || (times[i] ?? 0) + stepMs <= wm) return i;
  }
  return -1;
}

/** The newest value at or before an index, looking back a few steps only: an older one is not the present. */
export function valueNear(column: Column | undefined, index: number, back = 3): Num {
  for (let i = index; i >= 0 && i >= index - back; i--) {
    const value = column?.[i];
    if (value != null) return value;
  }
  return null;
}

/** Where a column last has a value at or before an index; else the first value after it; -1 when it has none. */
export function lastKnown(column: Column | undefined, index: number): number {
  for (let i = index; i >= 0; i--) if (column?.[i] != null) return i;
  return column?.findIndex((value) => value != null) ?? -1;
}

/** The mean of a column of ratios over all that was counted: each step has the weight of its requests. */
export function weightedMean(column: Column | undefined, weights: Column | undefined): Num {
  let total = 0;
  let weight = 0;
  column?.forEach((value, i) => {
    const counted = weights?.[i] ?? 0;
    if (value == null || counted <= 0) return;
    total += value * counted;
    weight += counted;
  });
  return weight > 0 ? total / weight : null;
}

/** Index of the time nearest to `at`; times ascend. */
export function nearestIndex(times: readonly number[], at: number): number {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) < at) low = middle + 1;
    else high = middle;
  }
  const before = low > 0 ? at - (times[low - 1] ?? 0) : Number.POSITIVE_INFINITY;
  return before < Math.abs((times[low] ?? 0) - at) ? low - 1 : low;
}

export function sum(column: Column | undefined): Num {
  let total: Num = null;
  for (const value of column ?? []) if (value != null) total = (total ?? 0) + value;
  return total;
}

/** An SVG path through the values in a box; a gap breaks the line, a lone value becomes a short dash. */
export function sparkPath(values: Column, width: number, height: number, top: number): string {
  const step = values.length > 1 ? width / (values.length - 1) : width;
  let path = '';
  let drawing = false;
  values.forEach((value, i) => {
    if (value == null) {
      drawing = false;
      return;
    }
    const x = round(i * step);
    const y = round(height - (Math.min(value, top) / (top || 1)) * height);
    path += drawing ? `L${x} ${y}` : `M${x} ${y}h0.01`;
    drawing = true;
  });
  return path;
}

const round = (value: number): number => Math.round(value * 100) / 100;
