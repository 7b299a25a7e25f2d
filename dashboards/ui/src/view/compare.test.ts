import { describe, expect, it } from 'vitest';
import type { ComparedMeasure, ComparedQuantile } from '../api/compare.ts';
import {
  areaPath, byDimension, byGroup, cumulated, density, distanceText, formatCohort, ground, hasText, intervalText, isOfRequests, linearTicks, linePath, logScale,
  logTicks, measureMark, measureWord, numbersOf, parseCohort, parseSelection, quantileAt, quantileName, routeOfFilter, shiftRange, signedRatio, signedSeconds, steps,
  signedText, valueText, verdictOf, windowBefore,
} from './compare.ts';

const quantile = (change: Partial<ComparedQuantile>): ComparedQuantile => ({
  q: 0.5, a: 1, b: 2, diff: 1, lo: 0.5, hi: 1.5, rel: 1, rel_lo: 0.5, rel_hi: 1.5, ok: true, differs: true, ...change,
});

describe('cohorts in the address', () => {
  it('reads what it writes', () => {
    const cases = [
      'ver:2.14.0', 'flag:pay-v2=on', 'win:now-1h..now-30m', 'ver:0.9 beta flag:a=b=c win:1795404000000..now', 'ver:ver:odd', '',
    ];
    for (const text of cases) expect(formatCohort(parseCohort(text)), text).toBe(text);
  });

  it('takes a text without a kind for a version, and leaves out what has no value', () => {
    expect(parseCohort('0.9 beta')).toEqual({ version: '0.9 beta', flag: null, window: null });
    expect(parseCohort('flag:key=with=equals').flag).toEqual({ key: 'key=with', variant: 'equals' });
    expect(parseCohort('ver: flag:nothing win:now')).toEqual({ version: null, flag: null, window: null });
  });

  it('knows the window before, and a day and a week before', () => {
    expect(windowBefore(2_000, 3_000, 'before')).toEqual(['1000', '2000']);
    expect(windowBefore(100_000_000, 100_001_000, 'day')).toEqual(['13600000', '13601000']);
    expect(windowBefore(0, 1, 'week')).toEqual(['-604800000', '-604799999']);
  });

  it('reads selections and filters', () => {
    expect(parseSelection('0.4..5')).toEqual({ from: 0.4, to: 5 });
    expect(parseSelection('1e-3..0.5')).toEqual({ from: 0.001, to: 0.5 });
    for (const text of ['', '5..0.4', '1..', 'a..b', '-1..2', '1..1']) expect(parseSelection(text), text).toBeNull();
    expect(routeOfFilter('route:eq:POST /pay:x')).toBe('POST /pay:x');
    expect(routeOfFilter('region:eq:eu')).toBeNull();
  });
});

describe('distributions', () => {
  it('puts durations on a scale of logarithms and back', () => {
    const scale = logScale([0.001, 0.01, 1]);
    expect(scale.at(0.001)).toBe(0);
    expect(scale.at(1)).toBe(1);
    expect(scale.at(0)).toBe(0);
    for (const value of [0.002, 0.05, 0.7]) expect(scale.value(scale.at(value))).toBeCloseTo(value, 10);
    expect(logScale([0, 0.002, 1]).low).toBe(0.001);
    expect(logScale([]).high).toBe(1);
  });

  it('has few ticks, all of them within', () => {
    expect(logTicks(logScale([0.001, 1]), 12)).toHaveLength(10);
    expect(logTicks(logScale([0.001, 1]), 5)).toHaveLength(4);
    for (const tick of logTicks(logScale([0.0031, 0.87]), 8)) expect(tick >= 0.003 && tick <= 0.88).toBe(true);
  });

  it('gives equal areas to equally many requests', () => {
    const edges = [1, 2, 8];
    expect(density([50, 50], edges)).toEqual([0.5, 0.25]);
    expect(density([0, 0], edges)).toEqual([0, 0]);
    expect(cumulated([1, 1, 2])).toEqual([0.25, 0.5, 1]);
    expect(cumulated([])).toEqual([]);
  });

  it('draws each bin over its whole width', () => {
    const points = steps([1, 0.5], [1, 2, 4], logScale([1, 2, 4]), 100, 10, 1);
    expect(points.map(({ x, y }) => [Math.round(x), y])).toEqual([[0, 0], [50, 0], [50, 5], [100, 5]]);
    expect(linePath(points.slice(0, 2))).toBe('M0.0 0.0L50.0 0.0');
    expect(areaPath(points.slice(0, 2), ground(points.slice(0, 2), 10))).toBe('M0.0 0.0L50.0 0.0L50.0 10.0L0.0 10.0Z');
    expect(areaPath([], [])).toBe('');
  });
});

describe('quantiles', () => {
  it('stand from left to right with room for the tails', () => {
    expect(quantileAt(0.01)).toBe(0);
    expect(quantileAt(0.999)).toBe(1);
    expect(quantileAt(0.99) - quantileAt(0.9)).toBeGreaterThan(quantileAt(0.6) - quantileAt(0.5));
    expect([0.5, 0.999, 0.975].map(quantileName)).toEqual(['p50', 'p99.9', 'p97.5']);
  });

  it('have room for zero and for what is known, and not for an interval without end', () => {
    const [low, high] = shiftRange([quantile({}), quantile({ q: 0.999, diff: 90, ok: false })]);
    expect(low).toBeLessThan(0);
    expect(high).toBeGreaterThan(1.5);
    expect(high).toBeLessThan(2);
    expect(shiftRange([quantile({ lo: null, hi: 1_000 })])[1]).toBeLessThan(5);
    expect(shiftRange([quantile({ diff: 0, lo: 0, hi: 0 })])[1]).toBeGreaterThan(0);
  });

  it('have round numbers beside them', () => {
    expect(linearTicks(-0.021, 0.21, 5)).toEqual([0, 0.05, 0.1, 0.15000000000000002, 0.2]);
    expect(linearTicks(0, 1, 5)).toHaveLength(6);
  });

  it('are told in words, and not when few requests lie beyond', () => {
    expect(verdictOf(quantile({})).word).toBe('slower');
    expect(verdictOf(quantile({ diff: -1 })).word).toBe('faster');
    expect(verdictOf(quantile({}), { things: 'values', more: 'larger', less: 'smaller' }).word).toBe('larger');
    expect(verdictOf(quantile({ differs: false })).kind).toBe('same');
    expect(verdictOf(quantile({ ok: false })).kind).toBe('few');
  });
});

describe('measures', () => {
  const measure = (change: Partial<ComparedMeasure>): ComparedMeasure => ({
    metric: 'errors', q: null, group: 'requests', title: 'Error ratio', form: 'ratio', unit: '', a: 0.01, b: 0.03, diff: 0.02, lo: 0.01, hi: 0.03, rel: 2,
    n_a: 100, n_b: 100, better: 'lower', ok: true, differs: true, distribution: false, note: null, ...change,
  });

  it('are told in words by the direction that is good', () => {
    expect(measureWord(measure({}))).toMatchObject({ kind: 'worse', word: 'higher: worse', glyph: '▲' });
    expect(measureWord(measure({ better: 'higher' }))).toMatchObject({ kind: 'better', word: 'higher: better' });
    expect(measureWord(measure({ diff: -0.02, better: null }))).toMatchObject({ kind: 'differs', word: 'lower', glyph: '▼' });
    expect(measureWord(measure({ differs: false })).kind).toBe('same');
    expect(measureWord(measure({ ok: false })).kind).toBe('few');
    expect(measureWord(measure({ lo: null, hi: null, note: 'a mean' })).kind).toBe('open');
    expect(measureWord(measure({ a: null })).kind).toBe('none');
  });

  it('have their interval around no difference, with room on both sides', () => {
    const mark = measureMark(measure({}));
    expect(mark?.low).toBeGreaterThan(0.5);
    expect(mark?.high).toBeLessThan(1);
    expect(measureMark(measure({ lo: null }))).toMatchObject({ openLow: true, low: 0 });
    expect(measureMark(measure({ diff: 0, lo: 0, hi: 0 }))?.value).toBe(0.5);
    expect(measureMark(measure({ lo: null, hi: null }))).toBeNull();
  });

  it('are written in their own units', () => {
    const plain = (text: string) => text.replaceAll('\u202f', ' ');
    expect(plain(valueText('number', 'EUR', 1_240))).toBe('1,240 EUR');
    expect(plain(valueText('number', '{request}', 0.0042))).toBe('0.0042 request');
    expect(valueText('number', '1', 60.7)).toBe('60.7');
    expect(plain(signedText('ratio', '', 0.0123))).toBe('+1.2 points');
    expect(plain(signedText('number', 'EUR', -3))).toBe('−3.00 EUR');
    expect(plain(signedText('rate', '/s', -3))).toBe('−3.00 /s');
    const own = numbersOf({ form: 'number', unit: 'By', approximate: false, source: 'metric' });
    expect([own.things, own.more, own.field.unit, plain(own.value(12))]).toEqual(['values', 'larger', 'By', '12.0 By']);
    expect(numbersOf({ form: 'seconds', unit: 's', approximate: true, source: 'metrics' })).toMatchObject({ more: 'slower', field: { unit: 'ms', size: 0.001 } });
  });

  it('keep the order of the server within groups', () => {
    const found = byGroup([measure({ metric: 'errors' }), measure({ metric: 'kpi:a', group: 'kpi' }), measure({ metric: 'rate' })]);
    expect(found.map(({ group, rows }) => [group, rows.map(({ metric }) => metric)])).toEqual([['requests', ['errors', 'rate']], ['kpi', ['kpi:a']]]);
    expect(['', 'rate', 'kpi:a', 'metric:b', 'crash_free'].map(isOfRequests)).toEqual([true, true, false, false, false]);
  });
});

describe('words', () => {
  it('have a sign, and none for nothing', () => {
    expect(signedSeconds(0.157)).toBe('+157\u202fms');
    expect(signedSeconds(-0.003)).toBe('−3.00\u202fms');
    expect(signedSeconds(0)).toBe('0\u202fs');
    expect(signedSeconds(null)).toBe('—');
    expect(signedRatio(0.38)).toBe('+38.0\u202f%');
    expect(signedRatio(-0.00001)).toBe('<\u202f0.01\u202f%');
    expect(intervalText(null, null, signedSeconds)).toBe('no bound yet');
    expect(intervalText(-0.003, null, signedSeconds)).toBe('−3.00\u202fms … no bound');
  });

  it('tell a distance from chance', () => {
    expect(distanceText(0.12, 0.03)).toBe('12\u202f%, beyond chance (up to 3\u202f%)');
    expect(distanceText(0.02, 0.03)).toContain('may be chance');
    expect(distanceText(0.02, null)).toContain('too few');
    expect(distanceText(null, null)).toBe('—');
  });

  it('say what a side has', () => {
    expect(hasText([{ source: 'logs', requests: 1_200, durations: 0 }, { source: 'odd', requests: 1, durations: 1 }])).toEqual([
      '1,200 log records, without durations', '1 odd, 1 durations',
    ]);
  });

  it('keep the order of the server within dimensions', () => {
    const row = (dim: string, value: string) => ({ dim, value }) as never;
    const found = byDimension([row('route', 'b'), row('route', 'a'), row('version', '1'), row('route', 'c')]);
    expect(found.map(({ dim, rows }) => [dim, rows.map(({ value }) => value)])).toEqual([['route', ['b', 'a', 'c']], ['version', ['1']]]);
  });
});
