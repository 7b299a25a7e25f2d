import { describe, expect, it } from 'vitest';
import type { Pattern } from '../api/types.ts';
import { factorText, patternNumbers, patternSql, patternsSentence, rowSentence, templateParts } from './patterns.ts';

const plain = (text: string) => text.replaceAll('\u202f', ' ');
const pattern: Pattern = { id: 'a', class: 'escalated', level: 'warn', text: 'x', rate_cand: 0.05, rate_base: 1, ratio: 7.31, ratio_lo: 5.2, ratio_hi: 10.4, sample: '' };

describe('log patterns in words', () => {
  it('an escalation is a factor with its interval', () => {
    expect(plain(patternNumbers(pattern))).toBe('× 7.3');
    expect(plain(factorText(pattern))).toBe('× 7.3 as frequent (95 %: × 5.2 to × 10)');
    expect(plain(factorText({ ...pattern, ratio: null, ratio_hi: null }))).toBe('at least × 5.2 (95 %)');
  });

  it('what the baseline never had has a rate instead of a factor', () => {
    expect(plain(patternNumbers({ ...pattern, ratio: null }))).toBe('3.00 /min');
    expect(plain(patternNumbers({ ...pattern, class: 'new' }))).toBe('3.00 /min');
    expect(plain(patternNumbers({ ...pattern, class: 'gone' }))).toBe('was 60.0 /min');
  });

  it('classes are counted', () => {
    expect(patternsSentence([pattern, { ...pattern, class: 'new' }, { ...pattern, class: 'new' }], '1.0')).toBe('2 new, 1 escalated against 1.0');
    expect(patternsSentence([], '1.0')).toBe('No log line is new, escalated or gone against 1.0');
  });

  it('its lines are found in SQL by all its shapes', () => {
    expect(patternSql(pattern)).toBe("select time, version, body from logs where pattern_id = 'a'");
    expect(patternSql({ ...pattern, ids: ['a', 'b'] })).toBe("select time, version, body from logs where pattern_id in ('a', 'b')");
  });

  it('a template is cut at its parameters', () => {
    expect(templateParts('a <*> b<*>')).toEqual(['a ', '<*>', ' b', '<*>']);
    expect(templateParts('')).toEqual([]);
  });

  it('a row of the overview says how many are new', () => {
    expect(rowSentence({ service: 's', headline: 'differs', new_patterns: 4 }, 0, 'utc')).toBe('differs · 4 new error patterns');
    expect(rowSentence({ service: 's', new_patterns: 1 }, 0, 'utc')).toBe('1 new error pattern');
    expect(rowSentence({ service: 's', headline: null }, 0, 'utc')).toBe('');
  });

  it('a row of a release that is judged has the sentence of its verdict, and no other', () => {
    const service = { service: 's', headline: 'differs', new_patterns: 4 };
    const verdict = { service: 's', candidate: '2', state: 'no_go', headline: 'Roll back: errors.' };
    expect(rowSentence(service, 0, 'utc', verdict)).toBe('Roll back: errors. · 4 new error patterns');
    expect(rowSentence(service, 0, 'utc', { ...verdict, headline: 'Roll back: errors; 4 new log patterns.' })).toBe('Roll back: errors; 4 new log patterns.');
    expect(rowSentence({ service: 's' }, 0, 'utc', { ...verdict, ending: { kind: 'rolled_back', at: 9 * 60_000 } })).toBe('Rolled back at 00:09');
  });
});
