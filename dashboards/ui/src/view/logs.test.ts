import { describe, expect, it } from 'vitest';
import type { LogLine, LogPattern } from '../api/logs.ts';
import { EMPTY_TAIL, faultAt, fieldTerm, marksOf, newIn, resume, stackedBars, takeNew, textOf, WAITING_MAX, withTerm } from './logs.ts';

function line(n: number): LogLine {
  return { id: `${n}.0.${n}`, t: n, time: '', level: 'info', service: 's', env: 'prod', version: '1', body: `line ${n}`, attrs: {} };
}
const lines = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => line(from + i));
const ids = (all: readonly LogLine[]) => all.map((each) => each.t);

describe('a tail', () => {
  it('puts new lines on top, each once', () => {
    const tail = takeNew(takeNew(EMPTY_TAIL, lines(0, 3), 0, false), lines(2, 5), 0, false);
    expect(ids(tail.lines)).toEqual([4, 3, 2, 1, 0]);
    expect(tail.skipped).toBe(0);
  });

  it('leaves what is read where it is while it is paused, and loses nothing', () => {
    const read = takeNew(EMPTY_TAIL, lines(0, 3), 0, false);
    const paused = takeNew(takeNew(read, lines(3, 5), 0, true), lines(4, 7), 2, true);
    expect(ids(paused.lines)).toEqual([2, 1, 0]);
    expect(ids(paused.waiting)).toEqual([6, 5, 4, 3]);
    const resumed = resume(paused);
    expect(ids(resumed.lines)).toEqual([6, 5, 4, 3, 2, 1, 0]);
    expect(resumed.readUpTo).toBe('2.0.2');
    expect(resumed.skipped).toBe(2);
  });

  it('counts what it cannot keep', () => {
    const paused = takeNew(EMPTY_TAIL, lines(0, WAITING_MAX + 30), 0, true);
    expect(paused.waiting.length).toBe(WAITING_MAX);
    expect(paused.skipped).toBe(30);
    const flooded = takeNew(EMPTY_TAIL, lines(0, 500), 7, false);
    expect(flooded.lines.length + flooded.skipped).toBe(507);
    expect(flooded.lines[0]?.t).toBe(499);
  });
});

describe('the text of a search', () => {
  it('takes one more condition for all of it', () => {
    expect(withTerm('', 'level:"error"')).toBe('level:"error"');
    expect(withTerm('card', 'level:"error"')).toBe('card level:"error"');
    expect(withTerm('a OR b', 'level:"error"')).toBe('(a OR b) level:"error"');
    expect(withTerm('card level:"error"', 'level:"error"')).toBe('card level:"error"');
  });

  it('quotes what a value may hold', () => {
    expect(fieldTerm('http.route', 'a"b\\c')).toBe('http.route:"a\\"b\\\\c"');
    expect(fieldTerm('odd name', 'x', true)).toBe('-"odd name":"x"');
  });

  it('marks the sign at fault', () => {
    expect(faultAt('é (b', 2)).toEqual({ before: 'é ', at: '(', after: 'b' });
    expect(faultAt('a AND', 5)).toEqual({ before: 'a AND', at: ' ', after: '' });
  });
});

describe('patterns', () => {
  it('are new where no other version ever had them', () => {
    const pattern = (id: string, new_in: string | null) => ({ pattern: id, new_in }) as LogPattern;
    const all = [pattern('a', '2'), pattern('b', null), pattern('c', '1')];
    expect(newIn(all, '2').map((each) => each.pattern)).toEqual(['a']);
    expect(newIn(all, '').map((each) => each.pattern)).toEqual(['a', 'c']);
  });
});

describe('bars', () => {
  it('lie on each other up to the highest step', () => {
    const { steps, highest } = stackedBars([{ n: [1, 0] }, { n: [3, 2] }]);
    expect(highest).toBe(4);
    expect(steps[0]).toEqual([{ y: 0, height: 0.25 }, { y: 0.25, height: 0.75 }]);
    expect(steps[1]).toEqual([{ y: 0, height: 0 }, { y: 0, height: 0.5 }]);
    expect(stackedBars([]).steps).toEqual([]);
  });
});

describe('marks', () => {
  it('stand at their time, close ones together, those outside nowhere', () => {
    const marks = marksOf([{ t: 500 }, { t: 0 }, { t: 510 }, { t: 1_000 }, { t: 1_001 }, { t: -1 }], 0, 1_000);
    expect(marks.map((mark) => [mark.at, mark.events.length])).toEqual([[0, 1], [0.5, 2], [1, 1]]);
    expect(marksOf([{ t: 5 }], 5, 5)).toEqual([{ at: 0, events: [{ t: 5 }] }]);
  });
});

describe('the text of a line', () => {
  it('has no colours of a terminal, and everything else as it came', () => {
    expect(textOf({ ...line(1), body: '\u001b[1;31mERROR\u001b[0m pool [31m]' })).toBe('ERROR pool [31m]');
    expect(textOf({ ...line(1), body: '', event: 'order_placed' })).toBe('order_placed');
  });
});
