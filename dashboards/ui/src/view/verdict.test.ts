import { describe, expect, it } from 'vitest';
import type { Check, CheckEffect } from '../api/verdicts.ts';
import { deploys, noGo, T0, verdicts } from '../fixtures/verdict.ts';
import { NO_POLL, type PollState } from '../live/poll.ts';
import * as banner from './banner.ts';
import * as check from './check.ts';
import * as list from './deploys.ts';
import * as verdict from './verdict.ts';
import * as words from './words.ts';

const plain = (text: string) => text.replaceAll('\u202f', ' ');
const checkOf = (id: string): Check => noGo.verdict.checks?.find((each) => each.id === id) ?? { id, state: 'missing' };
const effect = (value: number, low: number | null, high: number | null, limit = 1.1, kind = 'ratio'): CheckEffect => ({ kind, value, low, high, limit });

describe('the verdict of a row', () => {
  const index = verdict.indexVerdicts(verdicts.verdicts ?? []);

  it('is that of its service and environment, what needs attention first', () => {
    expect(verdict.verdictFor(index, { service: 'checkout', env: 'production', namespace: 'shop' })?.candidate).toBe('2.14.0');
    expect(verdict.verdictFor(index, { service: 'checkout', env: 'production' })?.state).toBe('no_go');
    expect(verdict.verdictFor(index, { service: 'checkout', env: 'staging' })).toBeUndefined();
    expect(verdict.verdictFor(index, { service: 'checkout', env: 'production', namespace: 'other' })).toBeUndefined();
  });

  it('is not one that is over, unless it was rolled back', () => {
    const over = (kind: string) => verdict.indexVerdicts([{ ...noGo.verdict, ending: { kind, at: T0 } }]);
    const row = { service: 'checkout', env: 'production' };
    expect(verdict.verdictFor(over('promoted'), row)).toBeUndefined();
    expect(verdict.verdictFor(over('replaced'), row)).toBeUndefined();
    expect(verdict.verdictFor(over('rolled_back'), row)?.ending?.kind).toBe('rolled_back');
    const next = verdict.indexVerdicts([{ ...noGo.verdict, ending: { kind: 'rolled_back', at: T0 } }, { ...noGo.verdict, candidate: '2.14.1', state: 'wait' }]);
    expect(verdict.verdictFor(next, row)?.candidate).toBe('2.14.1');
  });

  it('hides no other candidate: those that are judged are counted', () => {
    const next = { ...noGo.verdict, candidate: '2.14.1', state: 'wait' };
    const both = verdict.indexVerdicts([next, ...(verdicts.verdicts ?? [])]);
    expect(verdict.othersOf(both, { service: 'checkout', env: 'production' }).map(({ candidate }) => candidate)).toEqual(['2.14.1']);
    expect(verdict.othersOf(index, { service: 'checkout', env: 'production' })).toEqual([]);
    expect(verdict.othersOf(both, { service: 'nobody', env: 'production' })).toEqual([]);
    const elsewhere = verdict.indexVerdicts([{ ...next, namespace: 'other' }, ...(verdicts.verdicts ?? [])]);
    expect(verdict.othersOf(elsewhere, { service: 'checkout', env: 'production', namespace: 'shop' })).toEqual([]);
  });

  it('counts those that are not over, the worst first', () => {
    const counts = verdict.countWords([...(verdicts.verdicts ?? []), undefined]);
    expect(verdict.countsSentence(counts)).toEqual(['1 NO-GO', '1 WAIT']);
  });
});

describe('what is missing', () => {
  it('is said in requests and time, rounded up to two digits', () => {
    expect(plain(banner.missingWords({ exposure: 343, seconds: 240, faster_at_share: 0.25 }))).toBe('about 350 more requests, 4 min, half of that at 25 % of the traffic');
    expect(plain(banner.missingWords({ exposure: 0.2, seconds: 91, faster_at_share: null }))).toBe('about 2 min');
    expect(plain(banner.missingWords({ exposure: null, seconds: 40.2 }))).toBe('about 41 s');
    expect(banner.missingWords(null)).toBe('');
    expect(banner.missingWords({ exposure: null, seconds: null })).toBe('');
  });

  it('is no part of a meter once there is a decision', () => {
    const meter = banner.evidenceMeter(noGo.verdict, noGo.verdict.evidence);
    expect(meter).toMatchObject({ ready: 1, word: 'enough', missing: '' });
    expect(plain(meter.of)).toBe('18,422 of 2.14.0 against 401,233 of 2.13.4 requests in 9 min');
  });

  it('is the server’s sentence while there is none', () => {
    const waits = { ...noGo.verdict, state: 'wait', need: 'about 340 more requests, 4 min' };
    expect(banner.evidenceMeter(waits, { ready: 0.999 })).toMatchObject({ ready: 0.999, missing: 'about 340 more requests, 4 min' });
    expect(plain(banner.evidenceMeter(waits, { ready: 0.999 }).word)).toBe('99 % of what is needed');
    expect(banner.evidenceMeter(waits, null)).toMatchObject({ ready: null, word: '', missing: 'about 340 more requests, 4 min', of: '' });
    expect(banner.evidenceMeter({ ...waits, need: null }, null)).toMatchObject({ ready: null, word: 'not known', missing: '' });
  });
});

it('why there is no verdict of now is said in words', () => {
  const said = (state: PollState, words: string, held: boolean) => banner.pollWords({ ...NO_POLL, state, words }, held);
  expect(said('elsewhere', 'this process judges nothing: ask alerts-1.', false)).toBe('No verdicts here: this process judges nothing: ask alerts-1.');
  expect(said('elsewhere', '', false)).toBe('No verdicts here: this process judges no releases.');
  expect(said('offline', '', true)).toBe('The verdict is that of the last answer: Shipwake does not answer.');
  expect(said('offline', '', false)).toBe('');
  expect(said('failed', 'out of memory', false)).toBe('Verdicts cannot be read: out of memory.');
  for (const state of ['asking', 'there', 'none'] as const) expect(said(state, 'x', true)).toBe('');
});

describe('an effect', () => {
  it('is a change in per cent, and a factor from three times on', () => {
    const cases: [CheckEffect, string, string, string][] = [
      [effect(1.38, 1.29, 1.47), '+38 %', '+29 % … +47 %', 'limit +10 %'],
      [effect(75, 60.2, 93), '× 75', '× 60 … × 93', 'limit × 1.10'],
      [effect(0.88, null, 0.94, 0.95), '−12 %', '−6 % or less', 'limit −5 %'],
      [effect(-0.12, -0.2, null, -0.05, 'change'), '−12 %', '−20 % or more', 'limit −5 %'],
      [effect(1.003, null, null), '+0.3 %', 'not known yet', 'limit +10 %'],
      [effect(1, 0.999, 1.001), '± 0 %', '−0.1 % … +0.1 %', 'limit +10 %'],
    ];
    for (const [given, value, interval, limit] of cases) {
      expect(plain(check.effectWords({ id: 'x', state: 'worse', effect: given }))).toBe(value);
      expect(plain(check.intervalWords(given))).toBe(interval);
      expect(plain(check.limitWords(given))).toBe(limit);
    }
  });

  it('of a baseline without events is only known from below', () => {
    const given: Check = { id: 'errors', state: 'worse', effect: effect(900, 14, null), counts: { candidate: [31, 100], baseline: [0, 900] } };
    expect(plain(check.effectWords(given))).toBe('at least × 14');
    const silent: Check = { ...given, state: 'undecided', effect: effect(0.05, null, null), counts: { candidate: [0, 100], baseline: [0, 900] } };
    expect(check.effectWords(silent), 'no crash on either side is not 95 % fewer').toBe('—');
  });

  it('is counted of what there is, and of nothing where there is none', () => {
    expect([[3, 60], [102, 0], [0, 0]].map((tally) => check.tallyWords(tally as [number, number]))).toEqual(['3 of 60', '102', '—']);
    expect(check.tallyWords(undefined)).toBe('—');
  });
});

describe('the two sides of a check', () => {
  const sides = (given: Check) => {
    const found = check.sidesOf(given);
    return found ? `${plain(found.baseline)} → ${plain(found.candidate)} ${plain(found.what)}` : null;
  };

  it('are durations where there are any, else the counted parts', () => {
    expect(sides(checkOf('latency'))).toBe('412 ms → 569 ms p99 · slower than 210 ms: 0.33 % → 1.0 %');
    expect(sides(checkOf('errors'))).toBe('0.90 % → 1.2 % errors');
    expect(sides(checkOf('patterns'))).toBe('0 → 53 lines');
    expect(sides(checkOf('traffic'))).toBe('33.8 → 34.1 a second');
    expect(sides(checkOf('crashes'))).toBeNull();
  });

  it('have the candidate’s requests as their n', () => {
    expect(['latency', 'traffic', 'crashes'].map((id) => check.countOf(checkOf(id)))).toEqual([18_422, 18_422, null]);
  });

  it('of no requests are not known, and not 0', () => {
    expect(sides({ id: 'errors', state: 'no_data', counts: { candidate: [0, 0], baseline: [3, 300] } })).toBe('1.0 % → — ');
  });
});

it('a percentile has its difference as a part, and in seconds where there is none', () => {
  const said = (checkOf('latency').quantiles ?? []).map((quantile) => check.quantileWords(quantile)).map(({ difference, within }) => plain(`${difference}: ${within}`));
  expect(said).toEqual(['+2 %: −1 % … +5 %', '—: +8.00 ms … +41.0 ms', '+38 %: +29 % … +47 %']);
  expect(check.quantileWords({ q: 0.5 }).within).toBe('not known yet');
  expect(plain(check.quantileWords({ q: 0.5, relative_low: 0.1 }).within)).toBe('+10 % or more');
});

describe('evidence in words', () => {
  it('is how seldom a good release shows as much', () => {
    expect(check.evidenceWords(5.19e6, 'decisive')).toBe('decisive: at most one in 5,100,000 good releases would look as bad, at any look');
    expect(check.evidenceWords(14.9, 'moderate')).toBe('moderate: at most one in 14 good releases would look as bad, at any look');
    expect(check.evidenceWords(1e300, 'decisive')).toBe('decisive: fewer than one in a billion good releases would look as bad, at any look');
    expect(check.evidenceWords(310, null, 'fine')).toBe('at most one in 310 releases beyond the limit would look as good, at any look');
    expect(check.evidenceWords(2, 'none')).toBe('none to speak of');
    expect(check.evidenceWords(null, null)).toBe('not known');
  });

  it('says once what a difference is at least', () => {
    const least: Check = { id: 'errors', state: 'worse', effect: effect(8, 4.1, null), counts: { candidate: [30, 100], baseline: [0, 900] } };
    expect(plain(check.effectWords(least))).toBe('at least × 4.1');
    expect(check.withinWords(least)).toBe('');
    expect(plain(check.withinWords({ ...least, effect: effect(8, 4.1, 60) }))).toBe('× 4.1 … × 60');
    expect(check.withinWords(checkOf('latency'))).not.toBe('');
  });

  it('names the noise it was held against', () => {
    const short = { ...checkOf('latency'), noise: { dispersion: 4, block_s: 60, learnt_s: 60, assumed: true } };
    expect(plain(check.noiseWords(short))).toContain('assumed: the baseline’s past tells too little of it');
    expect(plain(check.noiseWords(checkOf('latency')))).toBe(
      'Counts of 1 min vary 1.3 times as much as by chance; instances of one version differ by 2.0 % (learnt from 1 h of the baseline before the release).',
    );
    expect(plain(check.noiseWords(checkOf('errors')))).toContain('assumed, as there is no history');
    expect(check.noiseWords(checkOf('patterns'))).toBe('');
  });
});

describe('sentences around a verdict', () => {
  it('say what became of a release', () => {
    const over = (kind: string) => verdict.endingSentence({ ...noGo.verdict, ending: { kind, at: T0 + 9 * 60_000 } }, 'utc', T0 + 9 * 60_000);
    expect(over('rolled_back')).toBe('Rolled back at 14:09');
    expect(over('gone_silent')).toBe('Gone silent, noticed at 14:09: nobody got its traffic');
    expect(over('promoted')).toBe('Promoted at 14:09: others are compared with it now');
    expect(over('replaced')).toContain('a later version took its traffic');
    expect(over('set_aside')).toBe('set aside at 14:09');
    expect(verdict.endingSentence({ ...noGo.verdict, ending: { kind: 'rolled_back', at: T0 } }, 'utc', T0 + 86_400_000), 'on another day with its date').toBe('Rolled back at 23/11 14:00');
    expect(verdict.endingSentence(noGo.verdict, 'utc', T0)).toBe('');
  });

  it('say what a policy has otherwise than the default', () => {
    const policy_says = ['errors.fine 3 (default 1.5)', 'go_after 60 s (default 5 min)'];
    expect(banner.policyWords({ policy: 'demo', policy_says })).toBe('By policy demo: errors.fine 3 (default 1.5), go_after 60 s (default 5 min).');
    expect(banner.policyWords({ policy: 'default', policy_says: [] })).toBe('');
    expect(banner.policyWords({ policy: 'demo' })).toBe('');
  });

  it('say when the page compares another pair than was judged', () => {
    const { verdict } = noGo;
    expect(banner.pairNote(verdict, { candidate: '2.14.0', baseline: '2.13.4' })).toBe('');
    expect(banner.pairNote(verdict, null)).toBe('');
    expect(banner.pairNote(verdict, { candidate: '2.14.0', baseline: '2.12.0' })).toBe('Below, 2.14.0 is compared with 2.12.0; the verdict is about 2.14.0 against 2.13.4.');
    expect(banner.pairNote(verdict, { candidate: '2.13.3' })).toBe('Below, 2.13.3 is shown; the verdict is about 2.14.0 against 2.13.4.');
  });

  it('show a word of a later server as it is', () => {
    expect(verdict.wordLook('hold_on')).toEqual({ word: 'HOLD-ON', glyph: '·', tone: 'wait' });
    expect(check.checkLook('odd_one').word).toBe('odd one');
  });

  it('leave steps out that repeat the one before', () => {
    const step = { state: 'wait', at: 1, headline: 'a' };
    expect(banner.steps([step, { ...step, at: 2 }, { ...step, at: 3, headline: 'b' }, { ...step, at: 4, state: 'go' }]).map(({ at }) => at)).toEqual([1, 3, 4]);
  });
});

describe('deploys', () => {
  const all = deploys.deploys ?? [];
  const found = (change: Partial<list.DeployFilter>) => all.filter((deploy) => list.deployMatches(deploy, { q: '', outcome: 'all', verdict: 'all', ...change })).map(({ version }) => version);

  it('are found by words, outcome and verdict', () => {
    expect(found({})).toHaveLength(4);
    expect(found({ q: 'CHECK ana' })).toEqual(['2.14.0']);
    expect(found({ outcome: 'announced_only' })).toEqual(['2.15.0-rc.1']);
    expect(found({ verdict: 'none' })).toEqual(['2.15.0-rc.1']);
    expect(found({ verdict: 'go', q: 'search' })).toEqual([]);
  });

  it('say what the board says of them, before the tables do', () => {
    const [first, second] = all;
    const bare = [{ ...first!, verdict: null }, { ...second!, verdict: null }, ...all.slice(2)];
    const ended = { ...noGo.verdict, ending: { kind: 'rolled_back', at: T0 + 60_000 } };
    const told = list.withVerdicts(bare, [ended, ...(verdicts.verdicts ?? []).slice(1)]);
    expect(told.map(({ outcome, verdict: word }) => [outcome, word?.state])).toEqual([['rolled_back', 'no_go'], ['live_beside_others', 'wait'], ['live', 'go'], ['announced_only', undefined]]);
    expect(told[1]?.verdict?.headline).toContain('about 340 more requests');
    // Of another namespace or environment, or of the time before, nothing is said.
    expect(list.withVerdicts(bare, [{ ...ended, namespace: 'other' }, { ...ended, env: 'staging' }])).toEqual(bare);
    const again = { ...noGo.verdict, state: 'wait', opened: T0 + 600_000 };
    expect(list.withVerdicts(bare.slice(0, 1), [again, ended])[0]).toMatchObject({ outcome: 'live_beside_others', verdict: { state: 'wait' } });
  });

  it('are counted in a sentence', () => {
    expect(list.deploysSentence(all, all)).toBe('4 deploys · 1 NO-GO');
    expect(list.deploysSentence(all.slice(1, 2), all)).toBe('1 of 4 deploys');
  });

  it('began at their first record, or when somebody told of them', () => {
    expect(all.map(list.deployTime)).toEqual([T0, T0 + 180_000, T0 - 320 * 60_000, T0 - 300_000]);
  });

  it('have markers with the date where that is another day, and say which are to come', () => {
    const deploy = all[0]!;
    const time = (at: number) => list.markerTime({ id: 'm', kind: 'note', at }, deploy, T0 + 3_600_000, 'utc');
    expect(time(T0 + 60_000)).toBe('14:01:00');
    expect(time(T0 - 26 * 3_600_000)).toBe('22/11 12:00');
    expect(time(Date.UTC(2036, 0, 2, 2, 18))).toBe('02/01/2036, 02:18:00 UTC, to come');
  });

  it('have markers in words, and links only to the web', () => {
    expect(all[0]?.markers?.map((marker) => plain(list.markerWords(marker)))).toEqual(['Deploy: 10 % · candidate · canary of 2.14.0', 'Weight: 12 %']);
    expect(list.markerWords({ id: 'm', kind: 'toggle', at: 1, toggle: 'pay-v2', text: '', by: '' })).toBe('Toggle: pay-v2');
    expect(words.webAddress('javascript:alert(1)')).toBeNull();
    expect(words.webAddress('HTTPS://ci.example')).toBe('HTTPS://ci.example');
  });
});
