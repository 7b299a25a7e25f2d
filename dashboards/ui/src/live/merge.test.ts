import { describe, expect, it } from 'vitest';
import type { ServiceRelease } from '../api/types.ts';
import { mergeOverview, mergeRelease } from './merge.ts';

const held: ServiceRelease = {
  meta: { wm: 30, step_s: 10, from: 10 },
  t: [10, 20, 30],
  lanes: [{ version: 'a', role: 'baseline', rps: [1, 2, null], err: [0, 0, 0] }],
};

describe('a delta of a service page', () => {
  it('appends new times and corrects known ones', () => {
    const merged = mergeRelease(held, { meta: { wm: 40 }, t: [30, 40], lanes: [{ version: 'a', rps: [3, 4], err: [0, 0.1] }] });
    expect(merged.t).toEqual([10, 20, 30, 40]);
    expect(merged.lanes?.[0]?.rps).toEqual([1, 2, 3, 4]);
    expect(merged.lanes?.[0]?.role).toBe('baseline');
    expect(merged.meta).toEqual({ wm: 40, step_s: 10, from: 10 });
  });

  it('fills a version that appears with no data, not with zero', () => {
    const merged = mergeRelease(held, { t: [40], lanes: [{ version: 'a', rps: [5] }, { version: 'b', rps: [1] }] });
    expect(merged.lanes?.[1]).toEqual({ version: 'b', rps: [null, null, null, 1] });
    expect(merged.lanes?.[0]?.err).toEqual([0, 0, 0, null]);
  });

  it('merges KPIs like all other columns, and drops one that is gone', () => {
    const before: ServiceRelease = { ...held, lanes: [{ version: 'a', kpi: { orders: [1, 2, 3], old: [1, 1, 1] } }] };
    const merged = mergeRelease(before, { t: [30, 40], lanes: [{ version: 'a', kpi: { orders: [4, 5] } }] });
    expect(merged.lanes?.[0]?.kpi).toEqual({ orders: [1, 2, 4, 5] });
    expect(mergeRelease(before, { t: [40], lanes: [{ version: 'a' }] }).lanes?.[0]?.kpi?.['orders']).toEqual([1, 2, 3, null]);
  });

  it('drops what has left the range', () => {
    const merged = mergeRelease(held, { meta: { from: 20 }, t: [40], lanes: [{ version: 'a', rps: [5] }] });
    expect(merged.t).toEqual([20, 30, 40]);
  });

  it('changes nothing it was given', () => {
    const before = structuredClone(held);
    mergeRelease(held, { t: [30, 40], lanes: [{ version: 'a', rps: [9, 9] }] });
    expect(held).toEqual(before);
  });

  it('applied twice is the same as once', () => {
    const delta: ServiceRelease = { t: [40], lanes: [{ version: 'a', rps: [5] }], events: [{ t: 40, kind: 'release', version: 'b' }] };
    const once = mergeRelease(held, delta);
    expect(mergeRelease(once, delta)).toEqual(once);
  });
});

describe('a delta of the overview', () => {
  it('replaces services by name and environment', () => {
    const before = { services: [{ service: 's', env: 'prod', state: 'steady' }, { service: 's', env: 'dev', state: 'steady' }] };
    const merged = mergeOverview(before, { services: [{ service: 's', env: 'dev', state: 'rollout' }] });
    expect(merged.services?.map((service) => service.state)).toEqual(['steady', 'rollout']);
  });

  it('keeps the newest events first and none twice', () => {
    const event = { t: 1, kind: 'release', service: 's', version: '1' };
    const merged = mergeOverview({ events: [event] }, { events: [{ ...event, t: 2 }, event] });
    expect(merged.events?.map((each) => each.t)).toEqual([2, 1]);
  });
});
