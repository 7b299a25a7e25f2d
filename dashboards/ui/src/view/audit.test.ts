import { describe, expect, it } from 'vitest';
import { kayenta, noGo } from '../fixtures/verdict.ts';
import { auditWords, kayentaWords, meanWords } from './audit.ts';

const plain = (text: string) => text.replaceAll('\u202f', ' ');

describe('the self-audit', () => {
  it('says how often it would have been wrong, and how soon right', () => {
    expect(plain(auditWords(noGo.audit))).toBe(
      'On this service’s own traffic 0 of 214 fake releases would have been called NO-GO (at most 1.4 %, 95 %); ' +
        'a doubling of errors on an eighth of it is found within 3 min (95 % of 32).',
    );
  });

  it('says when a doubling is not found in time, and when noise was raised', () => {
    const audit = { releases: 16, no_go: 2, rate_below: 0.3, doubled: { releases: 16, found: 9, within_s: null, part: 0.95 }, dispersion_floor: 3 };
    const words = plain(auditWords(audit));
    expect(words).toContain('2 of 16 fake releases');
    expect(words).toContain('was found in 9 of 16 within twenty minutes');
    expect(words).toContain('noise is taken to be at least 3 times chance');
  });

  it('says nothing before the first fake release', () => {
    for (const audit of [null, undefined, {}, { releases: 0, no_go: 0 }]) expect(auditWords(audit)).toBe('');
  });
});

describe("Kayenta's judge", () => {
  it('says its word, its score and of which minutes', () => {
    expect(kayentaWords(kayenta)).toBe('Fail 50 on the same 5 minutes');
    expect(kayentaWords({ ...kayenta, cut: true, score: 0, reason: 'Canary Failed: errors' })).toBe('Fail 0 on the last 5 minutes (Canary Failed: errors)');
    expect(kayentaWords(null)).toBe('');
  });

  it('has means with their units', () => {
    const [errors, latency] = kayenta.metrics ?? [];
    expect([meanWords(errors!, 0.9), meanWords(latency!, 412.2), meanWords(latency!, null)]).toEqual(['0.90 %', '412 ms', '—']);
  });
});
