import { describe, expect, it } from 'vitest';
import type { ServiceRelease } from '../api/types.ts';
import { clockTime } from './format.ts';
import { assignLooks, inReadingOrder } from './roles.ts';
import { change, hasNoTraffic, localTimes, overviewSentence, releaseSentence } from './words.ts';

const plain = (text: string) => text.replaceAll('\u202f', ' ');

describe('the sentence of a service', () => {
  const release: ServiceRelease = {
    pair: { candidate: '2.14.0', baseline: '2.13.4' },
    lanes: [{ version: '2.13.4', role: 'baseline', n: [9] }, { version: '2.14.0', role: 'candidate', n: [3] }],
    differences: [
      { metric: 'error_ratio', baseline: 0.004, candidate: 0.301, since: Date.UTC(2026, 10, 23, 14, 2, 10) },
      { metric: 'share', baseline: 0.88, candidate: 0.12, since: null },
    ],
  };

  it('is the server’s own when there is one', () => {
    expect(releaseSentence({ ...release, headline: 'said' }, 'utc', 0)).toBe('said');
  });

  it('names the version, the number that changed and since when', () => {
    expect(plain(releaseSentence(release, 'utc', 0))).toBe('2.14.0 against 2.13.4: error ratio 0.40 % → 30.1 % since 14:02:10');
  });

  it('judges nothing when the server named no differences', () => {
    const { differences: _, ...bare } = release;
    expect(releaseSentence(bare, 'utc', 0)).toBe('2.14.0 beside 2.13.4');
    expect(releaseSentence({ ...release, differences: [] }, 'utc', 0)).toBe('No number of 2.14.0 stands out against 2.13.4');
  });

  it('copes with an answer that has nothing', () => {
    expect(releaseSentence({}, 'utc', 0)).toBe('No data in this range');
  });
});

describe('the sentence of the overview', () => {
  it('counts what the services say', () => {
    const services = [{ service: 'a', state: 'rollout' }, { service: 'b', state: 'steady' }, { service: 'c', state: 'unversioned' }];
    expect(overviewSentence({ services })).toBe('1 rollout live · 1 service steady · 1 service without a version');
    expect(overviewSentence({})).toBe('No service has sent data yet');
    const differing = { services, summary: { rollouts: 1, differing: 1, steady: 1 } };
    expect(overviewSentence(differing)).toContain('1 differs from the version beside it');
    expect(overviewSentence(differing, ['1 NO-GO'])).toBe('1 rollout live · 1 NO-GO · 1 service steady · 1 service without a version');
  });
});

it('a time of the server’s sentence is shown on the reader’s clock', () => {
  const end = Date.UTC(2026, 10, 23, 14, 5, 0);
  const local = (hour: number, day: number) => clockTime(Date.UTC(2026, 10, day, hour, 2, 10), 'local');
  const text = 'a → b since 14:02:10 UTC; old since 20:02:10 UTC; then 2026-11-22 14:02:10 UTC';
  expect(localTimes(text, end, 'local')).toBe(`a → b since ${local(14, 23)}; old since ${local(20, 22)}; then 2026-11-22 14:02:10 UTC`);
  expect(localTimes('since 14:02:10 UTC', end, 'utc')).toBe('since 14:02:10');
});

it('a change of a ratio is in points, of a duration in per cent or a factor', () => {
  expect(plain(change('error_ratio', 0.004, 0.301))).toBe('+30 pp');
  expect(plain(change('p99', 0.4, 0.56))).toBe('+40 %');
  expect(plain(change('p99', 0.1, 0.5))).toBe('× 5.0');
  expect(plain(change('p99', 0.4, 0.4))).toBe('± 0 %');
  expect(change('p99', null, 0.5)).toBe('');
});

it('a candidate with only nulls or zeros has no traffic', () => {
  expect(hasNoTraffic({ version: 'a', n: [null, 0], rps: [0, 0] })).toBe(true);
  expect(hasNoTraffic({ version: 'a' })).toBe(true);
  expect(hasNoTraffic({ version: 'a', n: [0, 3] })).toBe(false);
});

describe('looks', () => {
  it('belong to roles', () => {
    const looks = assignLooks([{ version: 'old', role: 'retired' }, { version: 'b', role: 'baseline' }, { version: 'c', role: 'candidate' }]);
    expect(Object.fromEntries(looks)).toEqual({ b: 'baseline', c: 'candidate', old: 'third' });
  });

  it('draw a release that waits for traffic as the new one, unless there is a candidate', () => {
    const waiting = [{ version: 'b', role: 'baseline' }, { version: 'w', role: 'no_traffic' }];
    expect(assignLooks(waiting).get('w')).toBe('candidate');
    expect(assignLooks([...waiting, { version: 'c', role: 'candidate' }]).get('w')).toBe('third');
  });

  it('draw a lone version as a baseline', () => {
    expect(assignLooks([{ version: 'a' }]).get('a')).toBe('baseline');
  });

  it('put the baseline before the candidate', () => {
    const order = inReadingOrder([{ version: 'x' }, { version: 'c', role: 'candidate' }, { version: 'b', role: 'baseline' }]);
    expect(order.map((lane) => lane.version)).toEqual(['b', 'c', 'x']);
  });
});
