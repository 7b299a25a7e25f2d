import { describe, expect, it } from 'vitest';
import type { ServiceRelease } from '../api/types.ts';
import { eventsIn, firstSeen, fitted, laneViews, newestOf, newestRecord, rangeOf, stepMs } from './lanes.ts';

const release: ServiceRelease = {
  meta: { wm: 45_000, step_s: 10 },
  t: [0, 10_000, 20_000, 30_000, 40_000],
  lanes: [
    { version: 'new', role: 'candidate', err: [null, null, 0.1, 0.3, 0.9], n: [null, null, 5, 10, 1] },
    { version: 'old', role: 'baseline', err: [0, 0, 0, 0, 0], n: [9, 9, 9, 9, 1] },
  ],
};

describe('what a service page shows', () => {
  it('shows the newest complete step, not the one that still grows', () => {
    const [old, candidate] = laneViews(release);
    expect(old?.lane.version).toBe('old');
    expect(candidate?.now.err).toBe(0.3);
    expect(candidate?.now.n).toBe(16);
    expect(candidate?.now.p99).toBeNull();
    expect(candidate?.look).toBe('candidate');
  });

  it('counts errors over the whole range, each step with the weight of its requests', () => {
    const [, candidate] = laneViews(release);
    expect(candidate?.rangeErr).toBeCloseTo((0.1 * 5 + 0.3 * 10 + 0.9) / 16, 10);
  });

  it('keeps the last numbers of a version that went quiet, and when they were', () => {
    const quiet = [0.2, 0.4, null, null, null, null, null, null];
    const [view] = laneViews({ meta: { wm: 80_000, step_s: 10 }, t: quiet.map((_, i) => i * 10_000), lanes: [{ version: 'a', p99: quiet, err: quiet, n: [1, 3, 0, 0, 0, 0, 0, 0] }] });
    expect(view?.now.p99).toBeNull();
    expect(view?.latest.p99).toEqual({ value: 0.4, t: 10_000 });
    expect(view?.rangeErr).toBeCloseTo(0.35, 10);
    expect(view?.latest.p50).toEqual({ value: null, t: null });
  });

  it('knows the newest record, and never one later than it', () => {
    expect(newestRecord({ lanes: [{ version: 'a', last_seen: 7 }, { version: 'b', last_seen: 9 }, { version: 'c' }] })).toBe(9);
    expect(newestRecord({ lanes: [] })).toBeNull();
    expect(newestOf({ services: [{ service: 'a', spark: { t0: 0, step_s: 30, rps: [1, 2, 0, null] } }, { service: 'b' }] })).toBe(30_000);
    expect(newestOf({})).toBeNull();
  });

  it('knows the step from the times when it is not said', () => {
    expect(stepMs({ t: [0, 5_000] })).toBe(5_000);
    expect(stepMs({})).toBe(10_000);
  });

  it('moves a live range with the data and leaves a fixed one', () => {
    const now = { kind: 'now' as const, agoMs: 0 };
    expect(rangeOf(release, { kind: 'now', agoMs: 60_000 }, now, 99_000)).toEqual({ from: -10_000, to: 50_000 });
    expect(rangeOf(release, { kind: 'at', ms: 5 }, { kind: 'at', ms: 10 }, 0)).toEqual({ from: 5, to: 10 });
    expect(rangeOf(null, { kind: 'now', agoMs: 60_000 }, now, 99_000)).toEqual({ from: 39_000, to: 99_000 });
  });

  it('leaves out the time before the first data when that is most of the range', () => {
    const young: ServiceRelease = { t: [500_000, 600_000], lanes: [{ version: 'a', n: [null, 4] }] };
    expect(fitted({ from: 0, to: 800_000 }, young)).toEqual({ from: 600_000, to: 800_000 });
    expect(fitted({ from: 0, to: 610_000 }, young)).toEqual({ from: 490_000, to: 610_000 });
    expect(fitted({ from: 300_000, to: 1_000_000 }, young)).toEqual({ from: 300_000, to: 1_000_000 });
    expect(fitted({ from: 0, to: 9 }, { t: [0], lanes: [] })).toEqual({ from: 0, to: 9 });
  });

  it('finds when a version began', () => {
    expect(firstSeen({ version: 'a', n: [null, 0, 3] }, [1, 2, 3])).toBe(3);
    expect(firstSeen({ version: 'a', n: [4] }, [1])).toBeNull();
    expect(firstSeen({ version: 'a', first_seen: 7 }, [])).toBe(7);
  });

  it('keeps events of the range in order', () => {
    const events = [{ t: 30, kind: 'a' }, { t: 10, kind: 'b' }, { t: 99, kind: 'c' }];
    expect(eventsIn(events, { from: 0, to: 50 }).map((event) => event.t)).toEqual([10, 30]);
  });
});
