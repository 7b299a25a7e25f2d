import { describe, expect, it } from 'vitest';
import type { Check, CheckEffect } from '../api/verdicts.ts';
import { noGo } from '../fixtures/verdict.ts';
import { forest, place, trailShape } from './forest.ts';

const one = (effect: CheckEffect): Check => ({ id: 'x', state: 'worse', effect });

describe('the scale', () => {
  it('treats more and fewer alike, and a change like its ratio', () => {
    expect(place({ kind: 'ratio' }, 1)).toBe(0);
    expect(place({ kind: 'ratio' }, 2)).toBeCloseTo(-place({ kind: 'ratio' }, 0.5));
    expect(place({ kind: 'change' }, -0.2)).toBeCloseTo(place({ kind: 'ratio' }, 0.8));
  });

  it('has a place for what has no logarithm', () => {
    expect(Number.isFinite(place({ kind: 'ratio' }, 0))).toBe(true);
    expect(Number.isFinite(place({ kind: 'change' }, -1.5))).toBe(true);
    expect(place({ kind: 'ratio' }, 1e300)).toBe(place({ kind: 'ratio' }, 1e9));
  });
});

describe('a forest plot', () => {
  it('keeps every mark on the page, in order, on the right side of its limit', () => {
    const { marks, zero } = forest(noGo.verdict.checks ?? []);
    for (const mark of marks.values()) {
      for (const at of [mark.low, mark.value, mark.high]) expect(at).toBeGreaterThanOrEqual(0);
      for (const at of [mark.low, mark.value, mark.high]) expect(at).toBeLessThanOrEqual(1);
      expect(mark.low).toBeLessThanOrEqual(mark.value);
      expect(mark.value).toBeLessThanOrEqual(mark.high);
    }
    expect(marks.get('latency')?.low).toBeGreaterThan(marks.get('latency')?.limit ?? 1);
    expect(marks.get('latency')?.worse).toBe('right');
    expect(marks.get('kpi.orders')?.worse).toBe('left');
    expect(marks.get('kpi.orders')?.limit).toBeLessThan(zero);
    expect(marks.has('patterns')).toBe(false);
  });

  it('keeps a limit of ten per cent apart from no difference beside a seventyfold one', () => {
    const { marks, zero } = forest([one({ kind: 'ratio', value: 75, low: 60, high: 93, limit: 1.1 })]);
    expect((marks.get('x')?.limit ?? 0) - zero).toBeGreaterThan(0.05);
  });

  it('leaves an end open that is not known', () => {
    const mark = forest([one({ kind: 'ratio', value: 1.2, low: null, high: null, limit: 1.1 })]).marks.get('x');
    expect(mark).toMatchObject({ openLow: true, openHigh: true, low: 0, high: 1 });
  });

  it('has labels that do not run into each other, and no difference among them', () => {
    for (const value of [1.01, 1.5, 5, 80, 900]) {
      const { ticks } = forest([one({ kind: 'ratio', value, low: 0.9, high: value * 1.2, limit: 1.1 })]);
      expect(ticks.map((tick) => tick.text)).toContain('0');
      ticks.slice(1).forEach((tick, i) => expect(tick.at - (ticks[i]?.at ?? 0)).toBeGreaterThan(0.1));
    }
  });

  it('of checks without effects is empty and still has a scale', () => {
    expect(forest([{ id: 'x', state: 'no_data' }, { id: 'y', state: 'worse', effect: { kind: 'ratio', value: null } }]).marks.size).toBe(0);
    expect(forest([]).ticks.length).toBeGreaterThan(0);
  });
});

describe('the trail of a check', () => {
  const latency = noGo.verdict.checks?.[0];

  it('is a line within its band, with the limit below it', () => {
    const shape = trailShape(latency?.trail, latency?.effect ?? { kind: 'ratio', value: 1 });
    const points = (path: string) => path.replace(/[MZ]/g, '').split('L').map((point) => point.split(' ').map(Number));
    const line = points(shape?.line ?? '');
    const band = points(shape?.band ?? '');
    expect(line).toHaveLength(9);
    expect(band).toHaveLength(18);
    line.forEach(([x, y], i) => {
      expect(x).toBe(band[i]?.[0]);
      expect(y).toBeGreaterThanOrEqual(band[i]?.[1] ?? 1);
      expect(y).toBeLessThanOrEqual(band[17 - i]?.[1] ?? 0);
    });
    // Unbounded at the first look: the band has the whole height.
    expect([band[0]?.[1], band[17]?.[1]]).toEqual([0, 1]);
    expect(shape?.limit).toBeLessThan(shape?.zero ?? 0);
    expect(shape?.limit).toBeGreaterThan(line.at(-1)?.[1] ?? 1);
    expect(shape?.worse).toBe('up');
  });

  it('has its worse side below where fewer are worse', () => {
    const trail = { t: [0, 1], value: [0.9, 0.8], low: [0.7, 0.7], high: [1, 0.9] };
    expect(trailShape(trail, { kind: 'ratio', value: 0.8, low: 0.7, high: 0.9, limit: 0.95 })?.worse).toBe('down');
  });

  it('is not drawn before the second look, and leaves out looks without a value', () => {
    const effect: CheckEffect = { kind: 'ratio', value: 1, limit: 1.1 };
    expect(trailShape(null, effect)).toBeNull();
    expect(trailShape({ t: [1], value: [1] }, effect)).toBeNull();
    expect(trailShape({ t: [1, 2], value: [null, 1] }, effect)).toBeNull();
    expect(trailShape({ t: [1, 2, 3], value: [1, null, 1.2] }, effect)?.line.split('L')).toHaveLength(2);
  });
});
