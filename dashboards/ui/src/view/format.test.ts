import { describe, expect, it } from 'vitest';
import { NONE, age, clockMinute, clockTime, count, duration, fullTime, plural, rate, ratio, seconds, share, tickLabels, trimZeros, moment, quantity, unbroken } from './format.ts';

const plain = (text: string) => text.replaceAll('\u202f', ' ');

describe('numbers', () => {
  it('keeps no data and zero apart', () => {
    for (const format of [ratio, share, seconds, rate, count]) {
      expect(format(null)).toBe('—');
      expect(format(undefined)).toBe('—');
      expect(format(Number.NaN)).toBe('—');
      expect(format(0)).toMatch(/^0/);
    }
  });

  it('writes ratios with useful digits', () => {
    const cases: [number, string][] = [[0.004, '0.40 %'], [0.301, '30.1 %'], [1, '100 %'], [0.00001, '< 0.01 %'], [0.0123, '1.2 %']];
    for (const [value, text] of cases) expect(plain(ratio(value))).toBe(text);
  });

  it('writes shares short', () => {
    const cases: [number, string][] = [[0.88, '88 %'], [0.05, '5 %'], [0.052, '5.2 %'], [0.0002, '< 0.1 %'], [1, '100 %']];
    for (const [value, text] of cases) expect(plain(share(value))).toBe(text);
  });

  it('chooses the unit of a duration', () => {
    const cases: [number, string][] = [[0.000085, '85.0 µs'], [0.0042, '4.20 ms'], [0.412, '412 ms'], [1.24, '1.24 s'], [300, '5.00 min']];
    for (const [value, text] of cases) expect(plain(seconds(value))).toBe(text);
  });

  it('writes rates and counts', () => {
    expect(plain(rate(812.4))).toBe('812 /s');
    expect(plain(rate(0.25))).toBe('0.25 /s');
    expect(plain(rate(1_234_567))).toBe('1,235k /s');
    expect(count(18_422)).toBe('18,422');
    expect(plural(1, 'service')).toBe('1 service');
    expect(plural(4, 'service')).toBe('4 services');
  });
});

it('an axis has no idle zeros', () => {
  const cases: [string, string][] = [['50.0 ms', '50 ms'], ['1.50 s', '1.5 s'], ['100 %', '100 %'], ['2.00 s', '2 s'], ['1,200 /s', '1,200 /s'], ['0.05 %', '0.05 %']];
  for (const [text, trimmed] of cases) expect(trimZeros(text)).toBe(trimmed);
});

describe('times', () => {
  it('says how long ago', () => {
    const cases: [number, string][] = [[0, '0 s'], [3_400, '3 s'], [60_000, '1 min'], [7_500_000, '2 h 5 min'], [7_200_000, '2 h'], [3 * 86_400_000, '3 d']];
    for (const [value, text] of cases) expect(plain(age(value))).toBe(text);
  });

  it('writes clock times in 24 hours', () => {
    const t = Date.UTC(2026, 10, 23, 0, 2, 10);
    expect(clockTime(t, 'utc')).toBe('00:02:10');
    expect(clockMinute(t, 'utc')).toBe('00:02');
    expect(fullTime(t, 'utc')).toBe('23/11/2026, 00:02:10 UTC');
  });
});

describe('labels of an axis', () => {
  const from = Date.UTC(2026, 10, 23, 14, 2, 10);
  const ticks = (step: number) => tickLabels([0, 1, 2].map((i) => from + i * step), 'utc');

  it('have seconds when minutes would repeat, and the day when hours would', () => {
    expect(ticks(30_000)).toEqual(['14:02:10', '14:02:40', '14:03:10']);
    expect(ticks(60_000)).toEqual(['14:02', '14:03', '14:04']);
    expect(ticks(86_400_000)).toEqual(['23/11 14:02', '24/11 14:02', '25/11 14:02']);
    expect(ticks(300)).toEqual(['14:02:10', '', '']);
  });
});

describe('a duration that is an estimate', () => {
  it('says so in front, and no data stays no data', () => {
    expect(duration(true)(0.25)).toBe('≈\u202f250\u202fms');
    expect(duration(true)(null)).toBe(NONE);
    expect(duration(false)(0.25)).toBe('250\u202fms');
    expect(duration(undefined)(0.25)).toBe('250\u202fms');
  });
});

describe('a moment', () => {
  const day = 86_400_000;
  const noon = Date.UTC(2026, 10, 27, 12);
  it('has its date on any day but today', () => {
    expect(moment(noon - 3_600_000, noon, 'utc')).toBe('11:00:00');
    expect(moment(noon - day, noon, 'utc')).toBe('26/11 12:00');
    expect(moment(noon - 13 * 3_600_000, noon, 'utc'), 'last night is another day').toBe('26/11 23:00');
  });
});

describe('a number in a unit of somebody else', () => {
  const plain = (text: string) => text.replaceAll('\u202f', ' ');
  it('keeps three digits that say something', () => {
    const cases: [number | null, string, string][] = [
      [1_240, 'EUR', '1,240 EUR'], [60.71, '', '60.7'], [0.00421, 'kg', '0.00421 kg'], [0, '1', '0'], [5, '{item}', '5.00 item'], [null, 'EUR', '—'],
    ];
    for (const [value, unit, expected] of cases) expect(plain(quantity(value, unit))).toBe(expected);
  });
});

describe('a sentence of the server', () => {
  it('keeps its numbers in one piece, and nothing else', () => {
    expect(unbroken('about 65 000 more requests, 2 h; +38 % of 12 routes')).toBe('about 65\u202f000 more requests, 2 h; +38\u202f% of 12 routes');
  });
});
