import { describe, expect, it } from 'vitest';
import { byAttention, keepOrder, matches, moved } from './order.ts';
import { visibleSlice } from './virtual.ts';

const services = [
  { service: 'web', env: 'prod', state: 'steady' },
  { service: 'cart', env: 'prod', state: 'unversioned' },
  { service: 'search', env: 'prod', state: 'rollout' },
  { service: 'checkout', env: 'prod', state: 'rollout', headline: 'error ratio up', lanes: [{ version: '2.14.0' }] },
];
const names = (keys: string[]) => keys.map((key) => key.split('\u0000')[2]);

describe('the order of services', () => {
  it('begins with what may need attention', () => {
    expect(names(byAttention(services))).toEqual(['search', 'checkout', 'cart', 'web']);
  });

  it('goes by the words of verdicts that are not over', () => {
    const judged = (words: Record<string, string>, over = false) => (service: { service: string }) => {
      const state = words[service.service];
      return state === undefined ? undefined : { service: service.service, candidate: '2', state, ending: over ? { kind: 'rolled_back', at: 1 } : null };
    };
    expect(names(byAttention(services, judged({ web: 'no_go', checkout: 'watch', search: 'go' })))).toEqual(['web', 'checkout', 'search', 'cart']);
    expect(names(byAttention(services, judged({ search: 'wait' })))).toEqual(['search', 'checkout', 'cart', 'web']);
    expect(names(byAttention(services, judged({ web: 'no_go' }, true)))).toEqual(['search', 'checkout', 'cart', 'web']);
  });

  it('can stand still while it would change', () => {
    expect(keepOrder(['a', 'b', 'c'], ['c', 'd', 'a'])).toEqual(['a', 'c', 'd']);
    expect(moved(['a', 'c', 'd'], ['c', 'd', 'a'])).toBe(3);
    expect(moved(['a'], ['a'])).toBe(0);
  });

  it('filters by words of name, environment and version', () => {
    const found = (filter: string, state = 'all') => services.filter((each) => matches(each, filter, state)).map((each) => each.service);
    expect(found('CHECK prod')).toEqual(['checkout']);
    expect(found('2.14')).toEqual(['checkout']);
    expect(found('', 'rollout')).toEqual(['search', 'checkout']);
    expect(found('nothing')).toEqual([]);
    const verdict = { service: 'web', candidate: '2', state: 'no_go', ending: null };
    expect(matches({ service: 'web', state: 'rollout' }, '', 'no_go', verdict)).toBe(true);
    expect(matches({ service: 'web', state: 'rollout' }, '', 'rollout', verdict)).toBe(true);
    expect(matches({ service: 'web', state: 'rollout' }, '', 'no_go', { ...verdict, ending: { kind: 'rolled_back', at: 1 } })).toBe(false);
  });
});

describe('a long list', () => {
  it('of sixty rows is drawn whole', () => {
    expect(visibleSlice(new Array(60).fill(50), -900, 800)).toEqual({ start: 0, end: 60, before: 0, after: 0 });
  });

  it('draws what is near the window and keeps its height', () => {
    const heights = Array.from({ length: 500 }, (_, i) => (i % 3 === 0 ? 76 : 52));
    const total = heights.reduce((sum, height) => sum + height, 0);
    for (const top of [200, 0, -3_000, -total + 100, -total - 5_000]) {
      const slice = visibleSlice(heights, top, 900);
      const drawn = heights.slice(slice.start, slice.end).reduce((sum, height) => sum + height, 0);
      expect(slice.before + drawn + slice.after).toBe(total);
      expect(slice.end - slice.start).toBeLessThan(40);
    }
  });
});
