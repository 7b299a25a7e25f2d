import { describe, expect, it } from 'vitest';
import { axisSplits, downsample, highest, latestComplete, nearestIndex, niceCeiling, refit, sparkPath, stack, sum, valueNear } from './series.ts';

describe('thinning', () => {
  const times = Array.from({ length: 10_000 }, (_, i) => i * 1_000);

  it('leaves short series as they are', () => {
    expect(downsample([1, 2, 3], [[1, null, 3]], 100)).toEqual({ t: [1, 2, 3], columns: [[1, null, 3]] });
  });

  it('keeps a spike of one step and the limit', () => {
    const values = times.map((_, i) => (i === 4_321 ? 99 : 1));
    const thin = downsample(times, [values], 800);
    expect(thin.t.length).toBeLessThanOrEqual(800);
    expect(highest(thin.columns)).toBe(99);
  });

  it('keeps order and ends of time', () => {
    const thin = downsample(times, [times], 300);
    expect([...thin.t].sort((a, b) => a - b)).toEqual(thin.t);
    expect(thin.t[0]).toBe(0);
    expect(thin.t.at(-1)).toBe(9_999_000);
  });

  it('keeps a gap a gap', () => {
    const values = times.map((_, i) => (i > 3_000 && i < 6_000 ? null : 1));
    const thin = downsample(times, [values], 400);
    thin.t.forEach((t, i) => {
      if (t > 3_100_000 && t < 5_900_000) expect(thin.columns[0]?.[i]).toBeNull();
    });
  });
});

describe('stacking', () => {
  it('sums upwards and keeps a time without any data empty', () => {
    expect(stack([[0.9, null, null], [0.1, 1, null]])).toEqual([[0.9, 0, null], [1, 1, null]]);
  });
});

describe('axes', () => {
  it('ends at a round number', () => {
    const cases: [number, number][] = [[0, 1], [0.03, 0.05], [0.9, 1], [1, 1], [1.01, 2], [812, 1000], [2.4, 2.5]];
    for (const [value, top] of cases) expect(niceCeiling(value)).toBeCloseTo(top, 10);
  });

  it('are divided into round parts', () => {
    expect(axisSplits(2)).toEqual([0, 0.5, 1, 1.5, 2]);
    expect(axisSplits(0.5).map((each) => each.toFixed(1))).toEqual(['0.0', '0.1', '0.2', '0.3', '0.4', '0.5']);
    expect(axisSplits(250)).toEqual([0, 50, 100, 150, 200, 250]);
  });

  it('grows at once and shrinks late', () => {
    expect(refit(null, 90)).toBe(100);
    expect(refit(100, 150)).toBe(200);
    expect(refit(200, 90)).toBe(200);
    expect(refit(200, 70)).toBe(100);
    expect(refit(null, 0, 0.01)).toBe(1);
  });
});

describe('reading values', () => {
  it('takes the newest step that the watermark has passed', () => {
    expect(latestComplete([0, 10, 20], 10, 29)).toBe(1);
    expect(latestComplete([0, 10, 20], 10, 30)).toBe(2);
    expect(latestComplete([0, 10, 20], 10, null)).toBe(2);
    expect(latestComplete([100], 10, 5)).toBe(-1);
  });

  it('does not pass an old value off as the present one', () => {
    expect(valueNear([5, null, null], 2)).toBe(5);
    expect(valueNear([5, null, null, null, null], 4)).toBeNull();
  });

  it('finds the nearest time', () => {
    expect(nearestIndex([0, 10, 20], 14)).toBe(1);
    expect(nearestIndex([0, 10, 20], 16)).toBe(2);
    expect(nearestIndex([0, 10, 20], 99)).toBe(2);
    expect(nearestIndex([0, 10, 20], -5)).toBe(0);
  });

  it('sums what there is and says when there is nothing', () => {
    expect(sum([1, null, 2])).toBe(3);
    expect(sum([null])).toBeNull();
    expect(sum(undefined)).toBeNull();
  });
});

it('a spark line breaks at a gap', () => {
  expect(sparkPath([0, 1, null, 1], 30, 10, 1)).toBe('M0 10h0.01L10 0M30 0h0.01');
});
