import { describe, expect, it } from 'vitest';
import { barPath, kpiPair, kpiTitle, kpiValue, middleOf, relative, variantsInWords } from './product.ts';

const plain = (text: string) => text.replaceAll('\u202f', ' ');

describe('a KPI', () => {
  it('is named with what it is divided by', () => {
    expect(kpiTitle({ key: 'orders', title: 'Orders', value: 'count', per: 'request' })).toBe('Orders per 1,000 requests');
    expect(kpiTitle({ key: 'revenue', title: 'Revenue', value: 'sum', per: 'session', unit: 'EUR' })).toBe('Revenue, EUR per session');
    expect(kpiTitle({ key: 'basket', title: 'Mean order', value: 'mean', per: 'none', unit: 'EUR' })).toBe('Mean order, EUR');
    expect(kpiTitle({ key: 'signup', value: 'count', per: 'none' })).toBe('signup per second');
  });

  it('has three digits, and no data is not zero', () => {
    expect([null, undefined, 0, 0.004, 0.1234, 61.04, 1_234.5, 2_500_000].map((value) => plain(kpiValue(value)))).toEqual([
      '—', '—', '0', '0.0040', '0.12', '61.0', '1,235', '2.50 M',
    ]);
  });

  it('is better in the direction that was declared', () => {
    const of = (better: string | null, before: number | null, after: number | null, moved = 'k') => {
      const versions = [{ version: '1', role: 'baseline', value: before }, { version: '2', role: 'candidate', value: after }];
      const { delta, good } = kpiPair({ key: 'k', better, versions }, [{ metric: 'kpi', key: moved }]);
      return [delta === null ? null : Math.round(delta * 100), good];
    };
    expect(of('higher', 60, 45)).toEqual([-25, false]);
    expect(of('lower', 60, 45)).toEqual([-25, true]);
    expect(of(null, 60, 45)).toEqual([-25, null]);
    expect(of('higher', 60, 58)).toEqual([-3, false]);
    expect(of('higher', 60, 45, 'another')).toEqual([-25, null]);
    expect(of('higher', 0, 45)).toEqual([null, null]);
    expect(of('higher', 60, null)).toEqual([null, null]);
  });

  it('changes by a signed percentage', () => {
    expect([-0.29, 0.061, 0, null, Number.POSITIVE_INFINITY].map((value) => plain(relative(value)))).toEqual(['−29 %', '+6.1 %', '± 0 %', '', '']);
  });
});

describe('values of a KPI', () => {
  it('are drawn as bars side by side', () => {
    expect(barPath([0.5, 1], 1, 20, 12)).toBe('M0 12L0.0 7.0L10.0 7.0L10.0 2.0L20.0 2.0L20 12Z');
    expect(barPath([0.5], 1, 20, 12, true).endsWith('Z')).toBe(false);
    expect(barPath([], 1, 20, 12)).toBe('');
  });

  it('have the edge of a bar in the middle of the axis', () => {
    expect(middleOf({ low: [1, 2, 4, 8], high: [2, 4, 8, 16], versions: [] })).toBe(4);
    expect(middleOf({ low: [1, 2, 4], high: [2, 4, 8], versions: [] })).toBe(4);
    expect(middleOf({ low: [], high: [], versions: [] })).toBe(null);
  });
});

describe('a toggle', () => {
  it('says its variants with their shares', () => {
    expect(plain(variantsInWords([{ variant: 'off', share: 0.75 }, { variant: 'on', share: 0.25 }, { variant: 'old', share: null }]))).toBe('off 75 %, on 25 %, old —');
  });
});
