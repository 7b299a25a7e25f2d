import { describe, expect, it } from 'vitest';
import type { ServiceRelease } from '../api/types.ts';
import type { VerdictDetail } from '../api/verdicts.ts';
import { noGo } from '../fixtures/verdict.ts';
import { recoveryWords } from './recovery.ts';

const plain = (text: string) => text.replaceAll('\u202f', ' ');
const STEP = 10_000;
const ENDED = 10 * STEP + 3_000;

/** Twenty steps; the candidate fails until it ends in the eleventh, and takes `left` of 100 requests after that. */
function release(change: { left?: number; errors?: number; p99?: number; until?: number } = {}): ServiceRelease {
  const { left = 0, errors = 0.004, p99 = 0.41, until = 20 } = change;
  const t = Array.from({ length: until }, (_, i) => i * STEP);
  const column = (before: number | null, after: number | null) => t.map((_, i) => (i <= 10 ? before : after));
  return {
    meta: { step_s: 10, wm: until * STEP },
    t,
    lanes: [
      { version: '2.13.4', role: 'baseline', n: column(88, 100 - left), err: column(0.005, errors), p99: column(0.4, p99) },
      { version: '2.14.0', role: 'candidate', n: column(12, left), err: column(0.3, left ? 0.3 : null), p99: column(0.9, left ? 0.9 : null) },
    ],
  };
}

const verdict = (group: string, kind = 'rolled_back'): VerdictDetail => ({
  ...noGo.verdict,
  ending: { kind, at: ENDED },
  checks: [{ id: group, group, state: 'worse' }],
});
const said = (shown: ServiceRelease, judged = verdict('errors')) => plain(recoveryWords(shown, judged));

describe('whether a rollback worked', () => {
  it('is said when the errors are what the baseline had', () => {
    expect(said(release())).toBe(' — it worked: errors are back at 0.40 %');
    expect(said(release(), verdict('latency'))).toBe(' — it worked: p99 is back at 410 ms');
  });

  it('is denied when they are not, with what they were', () => {
    expect(said(release({ errors: 0.04 }))).toBe(', but errors are not back: 4.0 %, where 2.13.4 had 0.50 %');
    expect(said(release({ p99: 0.8 }), verdict('latency'))).toBe(', but p99 is not back: 800 ms, where 2.13.4 had 400 ms');
  });

  it('is not said while the version still takes requests', () => {
    expect(said(release({ left: 5 }))).toBe(', but 2.14.0 still takes 5 % of the requests');
  });

  it('waits for the first whole step after it', () => {
    expect(said(release({ until: 11 }))).toBe('; whether it worked is seen with the next data');
    expect(said(release({ until: 12 }))).toBe(' — it worked: errors are back at 0.40 %');
  });

  it('is left open where the page does not show it', () => {
    expect(said(release(), verdict('errors', 'promoted'))).toBe('');
    expect(said({})).toBe('');
    const later = release();
    const cut = { ...later, t: later.t?.slice(12) ?? [], lanes: later.lanes?.map((lane) => ({ ...lane, n: lane.n?.slice(12) ?? [], err: lane.err?.slice(12) ?? [] })) ?? [] };
    expect(said(cut)).toBe('');
  });
});
