import { flushSync } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { noGo, verdicts } from '../fixtures/verdict.ts';
import { VerdictList, VerdictQuery, type Subject } from './verdicts.svelte.ts';

/** The server: what it answers by path, and every question it was asked. A question with `after` is held for as long as the test lasts. */
let asked: string[] = [];
let answer: (url: URL) => { status: number; body: unknown } | 'away';

function response(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });
}

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    const url = new URL(path, 'http://x');
    asked.push(url.pathname + url.search);
    const given = answer(url);
    if (given === 'away') return Promise.reject(new TypeError('refused'));
    if (!url.searchParams.has('after')) return Promise.resolve(response(given.status, given.body));
    return new Promise((_, fail) => init.signal?.addEventListener('abort', () => fail(new DOMException('', 'AbortError'))));
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const ok = (body: unknown) => ({ status: 200, body });
const EMPTY = { meta: { revision: 148 }, verdicts: [] };

/** Runs as a component would, and gives what it made and how to end it. */
function within<T>(make: () => T): { made: T; end: () => void } {
  let made!: T;
  const end = $effect.root(() => {
    made = make();
  });
  flushSync();
  return { made, end };
}

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  flushSync();
}

describe('the verdict of a service', () => {
  const subject = (change: Partial<Subject> = {}): Subject => ({ service: 'checkout', asked: '', env: 'production', candidate: '', ...change });

  it('is asked for when the list has it, and is followed from then on with one question at a time', async () => {
    answer = (url) => ok(url.pathname.endsWith('/verdict') ? noGo : verdicts);
    const { made, end } = within(() => new VerdictQuery(() => subject()));
    expect(made.settled).toBe(false);
    await pass(0);
    await pass(0);
    expect(made.settled).toBe(true);
    expect(made.data?.verdict.state).toBe('no_go');
    await pass(2_000);
    expect(asked).toEqual([
      '/api/v1/verdicts?service=checkout',
      '/api/v1/services/checkout/verdict?env=production&namespace=shop',
      '/api/v1/services/checkout/verdict?env=production&namespace=shop&after=148&wait=25',
    ]);
    end();
  });

  it('is no failed request where there is none', async () => {
    answer = () => ok(EMPTY);
    const { made, end } = within(() => new VerdictQuery(() => subject({ env: 'staging' })));
    await pass(3_000);
    expect(made.settled).toBe(true);
    expect(made.data).toBeNull();
    expect(asked).toEqual(['/api/v1/verdicts?service=checkout', '/api/v1/verdicts?service=checkout&after=148&wait=25']);
    end();
  });

  it('of another environment is not that of the page', async () => {
    answer = (url) => ok(url.pathname.endsWith('/verdict') ? noGo : verdicts);
    const { made, end } = within(() => new VerdictQuery(() => subject({ env: 'staging' })));
    await pass(3_000);
    expect(made.data).toBeNull();
    expect(asked.some((path) => path.includes('/services/'))).toBe(false);
    end();
  });

  it('is that of the version somebody chose, once, and not of one that was promoted long ago', async () => {
    const other = { ...noGo.verdict, candidate: '2.14.1', state: 'wait' };
    answer = (url) => {
      if (!url.pathname.endsWith('/verdict')) return ok({ meta: { revision: 148 }, verdicts: [noGo.verdict, other] });
      return ok(url.searchParams.get('candidate') === '2.14.1' ? { ...noGo, verdict: other, others: [] } : noGo);
    };
    const chosen = within(() => new VerdictQuery(() => subject({ candidate: '2.14.1' })));
    await pass(3_000);
    expect(chosen.made.data?.verdict.candidate).toBe('2.14.1');
    expect(asked.filter((path) => path.includes('/services/') && !path.includes('after='))).toHaveLength(1);
    chosen.end();
    asked = [];
    const baseline = within(() => new VerdictQuery(() => subject({ candidate: '2.13.4' })));
    await pass(3_000);
    expect(baseline.made.data?.verdict.candidate).toBe('2.14.0');
    expect(asked.filter((path) => path.includes('/services/') && !path.includes('after='))).toHaveLength(1);
    baseline.end();
  });

  it('goes when the release leaves the board, and is looked for again', async () => {
    let gone = false;
    answer = (url) => {
      if (!url.pathname.endsWith('/verdict')) return ok(gone ? EMPTY : verdicts);
      return gone ? { status: 404, body: { title: 'not judged' } } : ok({ ...noGo, meta: {} });
    };
    const { made, end } = within(() => new VerdictQuery(() => subject()));
    await pass(100);
    expect(made.data).not.toBeNull();
    gone = true;
    await pass(4_000);
    expect(made.data).toBeNull();
    await pass(6_000);
    expect(made.poll.state).toBe('there');
    expect(asked.at(-1)).toBe('/api/v1/verdicts?service=checkout&after=148&wait=25');
    end();
  });
});

describe('the list of verdicts', () => {
  it('is looked for again when the server is away, and held meanwhile', async () => {
    answer = () => ok({ ...verdicts, meta: {} });
    const { made, end } = within(() => new VerdictList(() => ''));
    await pass(0);
    answer = () => 'away';
    await pass(10_000);
    expect(made.poll.state).toBe('offline');
    expect(made.verdicts).toHaveLength(3);
    answer = () => ok(EMPTY);
    await pass(15_000);
    expect(made.poll.state).toBe('there');
    expect(made.verdicts).toHaveLength(0);
    end();
  });

  it('is done without where the server has none, and hardly asked for again', async () => {
    answer = () => ({ status: 503, body: { title: 'not here', detail: 'this process judges nothing: ask alerts-1' } });
    const { made, end } = within(() => new VerdictList(() => ''));
    await pass(30_000);
    expect(made.settled).toBe(true);
    expect(made.verdicts).toEqual([]);
    expect(made.poll).toMatchObject({ state: 'elsewhere', words: 'this process judges nothing: ask alerts-1' });
    expect(asked).toHaveLength(1);
    end();
  });

  it('does not hold a page up when the server says nothing', async () => {
    answer = () => 'away';
    const { made, end } = within(() => new VerdictList(() => 'production'));
    expect(made.settled).toBe(false);
    await pass(0);
    expect(made.poll.state).toBe('offline');
    expect(made.settled).toBe(true);
    end();
  });

  it('is asked for no more once the page is gone', async () => {
    answer = () => ok(verdicts);
    const { end } = within(() => new VerdictList(() => ''));
    await pass(5_000);
    const before = asked.length;
    end();
    await pass(60_000);
    expect(asked).toHaveLength(before);
  });
});
