import { describe, expect, it } from 'vitest';
import { formatQuery, parseQuery } from './codec.ts';
import { compareParams, overviewParams, recordHref, routeOf, segmentOf, serviceHref, serviceParams, startParams } from './routes.ts';
import { formatTime, isLive, parseTime, resolveTime } from './time.ts';

/** A small generator with a fixed seed: a failure repeats. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function randomText(next: () => number): string {
  const alphabet = 'abzAZ09 -_.~!*()\'"&=+#?/%\\<>äß漢🚢\n\t;,:@';
  const letters = [...alphabet];
  return Array.from({ length: Math.floor(next() * 12) }, () => letters[Math.floor(next() * letters.length)]).join('');
}

describe('points in time', () => {
  it('reads relative, RFC 3339 and epoch forms', () => {
    expect(parseTime('now')).toEqual({ kind: 'now', agoMs: 0 });
    expect(parseTime('now-30m')).toEqual({ kind: 'now', agoMs: 1_800_000 });
    expect(parseTime('now-1h30m')).toEqual({ kind: 'now', agoMs: 5_400_000 });
    expect(parseTime('1795404000000')).toEqual({ kind: 'at', ms: 1_795_404_000_000 });
    expect(parseTime('2026-11-23T10:00:00Z')).toEqual({ kind: 'at', ms: Date.UTC(2026, 10, 23, 10) });
  });

  it('reads dates and times as people write them, without a zone as UTC', () => {
    const ten = { kind: 'at', ms: Date.UTC(2026, 10, 23, 10) };
    const written = ['2026-11-23 10:00', '2026-11-23T10:00', '2026-11-23 10:00:00', '2026-11-23T10:00:00.000', '2026-11-23 10:00 UTC'];
    const zoned = ['2026-11-23T12:00+02:00', '2026-11-23T12:00:00 02:00', '2026-11-23 05:00:00-0500', '2026-11-23T12:00:00+02'];
    for (const text of [...written, ...zoned]) expect(parseTime(text), text).toEqual(ten);
    expect(parseTime('2026-11-23')).toEqual({ kind: 'at', ms: Date.UTC(2026, 10, 23) });
    expect(parseTime('2026-11-23T10:00:00.25Z')).toEqual({ kind: 'at', ms: Date.UTC(2026, 10, 23, 10, 0, 0, 250) });
  });

  it('refuses what is not a point in time', () => {
    const dates = ['2026-02-30', '2026-11-23 10', '2026-11-23 24:00', '2026-11-23Z', '2026-11-23T10:00 CET', '2026-11-23T10:00+19:00'];
    for (const text of ['', 'yesterday', 'now-', 'now-5', 'now+5m', '12', '2026-13-45T99:00:00Z', '<b>', ...dates]) {
      expect(parseTime(text), text).toBeNull();
    }
  });

  it('writes what it reads', () => {
    const next = random(3);
    for (let i = 0; i < 500; i++) {
      const time =
        next() < 0.5
          ? { kind: 'now' as const, agoMs: Math.floor(next() * 2_000_000) * 1_000 }
          : { kind: 'at' as const, ms: 1_000_000_000_000 + Math.floor(next() * 1e12) };
      expect(parseTime(formatTime(time))).toEqual(time);
    }
  });

  it('is live only up to the present', () => {
    expect(isLive({ kind: 'now', agoMs: 0 })).toBe(true);
    expect(isLive({ kind: 'now', agoMs: 1 })).toBe(false);
    expect(isLive({ kind: 'at', ms: 5 })).toBe(false);
    expect(resolveTime({ kind: 'now', agoMs: 60_000 }, 100_000)).toBe(40_000);
  });
});

describe('the query string', () => {
  it('leaves defaults out and keeps unknown parameters in order', () => {
    const parsed = parseQuery(serviceParams, '?from=now-30m&zz=1&cand=2.14.0&aa=%20x&zz=2');
    expect(parsed.values.cand).toBe('2.14.0');
    expect(parsed.rest).toEqual([['zz', '1'], ['aa', ' x'], ['zz', '2']]);
    expect(formatQuery(serviceParams, parsed.values, parsed.rest)).toBe('?cand=2.14.0&zz=1&aa=+x&zz=2');
  });

  it('names a value it cannot read and uses the default', () => {
    const parsed = parseQuery(serviceParams, '?from=lately&to=now&step=ten');
    expect(parsed.values.from).toEqual(serviceParams.from.initial);
    expect(parsed.problems.map((problem) => problem.param)).toEqual(['from', 'step']);
    expect(parsed.problems[0]?.text).toBe('lately');
  });

  it('is not fooled by names of the prototype', () => {
    const parsed = parseQuery(overviewParams, '?__proto__=1&constructor=2&toString=3');
    expect(parsed.rest.map(([key]) => key)).toEqual(['__proto__', 'constructor', 'toString']);
  });

  it('gives any state back after writing and reading it', () => {
    const next = random(7);
    for (let i = 0; i < 2_000; i++) {
      const values = {
        ...parseQuery(serviceParams, '').values,
        env: randomText(next),
        cand: randomText(next),
        base: randomText(next),
        from: { kind: 'now' as const, agoMs: Math.floor(next() * 5_000) * 1_000 },
        to: { kind: 'at' as const, ms: 1_795_404_000_000 + Math.floor(next() * 1e9) },
        tz: next() < 0.5 ? ('utc' as const) : ('local' as const),
      };
      const rest: [string, string][] = next() < 0.5 ? [[`x${randomText(next)}`, randomText(next)]] : [];
      const parsed = parseQuery(serviceParams, formatQuery(serviceParams, values, rest));
      expect(parsed.values).toEqual(values);
      expect(parsed.rest).toEqual(rest);
      expect(parsed.problems).toEqual([]);
    }
  });

  it('survives any text as a query', () => {
    const next = random(11);
    for (let i = 0; i < 2_000; i++) {
      const parsed = parseQuery(startParams, `?${randomText(next)}=${randomText(next)}&from=${randomText(next)}`);
      expect(parsed.values.tz === 'local' || parsed.values.tz === 'utc').toBe(true);
    }
  });
});

describe('names that the API has for the same', () => {
  it('are read, and written as our own', () => {
    const { values, rest } = parseQuery(compareParams, '?service=shop&namespace=team&metric=m&a=1.0&x=1');
    expect(values).toMatchObject({ s: 'shop', ns: 'team', m: 'm', a: '1.0' });
    expect(formatQuery(compareParams, values, rest)).toBe('?s=shop&ns=team&a=1.0&m=m&x=1');
    expect(parseQuery(compareParams, '?s=own&service=other').values.s).toBe('own');
    expect(parseQuery(compareParams, '?service=other&s=own').values.s).toBe('own');
  });
});

describe('paths', () => {
  it('finds the page of a path', () => {
    expect(routeOf('/')).toEqual({ page: 'overview' });
    expect(routeOf('/start/')).toEqual({ page: 'start' });
    expect(routeOf('/compare')).toEqual({ page: 'compare' });
    expect(routeOf('/s/checkout')).toEqual({ page: 'service', service: 'checkout' });
    expect(routeOf('/s/checkout/toggle/pay%2Fv2')).toEqual({ page: 'toggle', service: 'checkout', key: 'pay/v2' });
    expect(routeOf('/s/a%2Fb%20c')).toEqual({ page: 'service', service: 'a/b c' });
    expect(routeOf('/s/%zz').page).toBe('not-found');
    expect(routeOf('/deploys/')).toEqual({ page: 'deploys' });
    expect(routeOf('/v/checkout/2.14.0')).toEqual({ page: 'record', service: 'checkout', version: '2.14.0', print: false });
    expect(routeOf('/print/verdict/checkout/a%2Fb')).toEqual({ page: 'record', service: 'checkout', version: 'a/b', print: true });
    expect(routeOf('/v/checkout').page).toBe('not-found');
    expect(routeOf('/v/%zz/1').page).toBe('not-found');
    expect(routeOf('/nope').page).toBe('not-found');
  });

  it('links to names that a browser would take out of a path', () => {
    for (const name of ['.', '..', '', '~', '~.', '~~a', '%2e', '%2E%2e', '/', '//', 'a/../b', '?', '#', 'a?b#c', ' ', '\\', 'a;b', '+', '%']) {
      const href = new URL(serviceHref(name, 'prod'), 'http://x');
      expect(routeOf(href.pathname)).toEqual({ page: 'service', service: name });
      expect(new URL(`/api/v1/services/${segmentOf(name)}/release`, 'http://x').pathname.split('/')).toHaveLength(6);
    }
  });

  it('links to the record of any version and back', () => {
    for (const [name, version] of [['.', '..'], ['a/b', '~1'], ['checkout', '2.14.0+build 7?#'], ['', '']] as const) {
      const href = new URL(recordHref(name, version, 'prod & more', 'utc', true), 'http://x');
      expect(routeOf(href.pathname)).toEqual({ page: 'record', service: name, version, print: true });
      expect(href.searchParams.get('env')).toBe('prod & more');
    }
  });

  it('links to any service name and back', () => {
    const next = random(13);
    for (let i = 0; i < 500; i++) {
      const name = `s${randomText(next)}`;
      const href = new URL(serviceHref(name, 'prod & more'), 'http://x');
      expect(routeOf(href.pathname)).toEqual({ page: 'service', service: name });
      expect(parseQuery(serviceParams, href.search).values.env).toBe('prod & more');
    }
  });
});
