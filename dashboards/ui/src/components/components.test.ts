import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, describe, expect, it } from 'vitest';
import { ratio } from '../view/format.ts';
import { laneViews } from '../view/lanes.ts';
import DataTable from './DataTable.svelte';
import EventList from './EventList.svelte';
import ProblemChips from './ProblemChips.svelte';
import Patterns from './Patterns.svelte';
import RouteTable from './RouteTable.svelte';
import SplitBar from './SplitBar.svelte';
import Toggles from './Toggles.svelte';
import UsageTable from './UsageTable.svelte';
import VersionTable from './VersionTable.svelte';

afterEach(cleanup);

const plain = (element: Element | null) => (element?.textContent ?? '').replaceAll('\u202f', ' ').replace(/\s+/g, ' ').trim();

describe('the table of a chart', () => {
  const times = Array.from({ length: 60 }, (_, i) => i * 10_000);
  const series = [{ key: '2.14.0', look: 'candidate' as const, values: times.map((_, i) => (i === 59 ? null : i / 100)) }];

  it('is built when it is opened, newest first, a page at a time', async () => {
    render(DataTable, { id: 'err', title: 'Error ratio', times, series, format: ratio, zone: 'utc' });
    expect(document.querySelectorAll('tbody tr').length).toBe(0);
    const details = document.querySelector('details') as HTMLDetailsElement;
    details.open = true;
    await fireEvent(details, new Event('toggle'));
    const rows = () => [...document.querySelectorAll<HTMLElement>('tbody tr')];
    expect(rows().length).toBe(25);
    expect(rows()[0]?.dataset['t']).toBe('590000');
    expect(plain(rows()[0]?.querySelector('td') ?? null)).toBe('—');
    expect(rows()[0]?.querySelector('td')?.dataset['value']).toBe('');
    await fireEvent.click(screen.getByText('Older'));
    await fireEvent.click(screen.getByText('Older'));
    expect(rows().length).toBe(10);
    expect(rows().at(-1)?.dataset['t']).toBe('0');
  });
});

describe('the traffic split', () => {
  it('says in words what the bar shows', () => {
    render(SplitBar, {
      lanes: [{ version: '2.14.0', role: 'candidate', share: 0.12 }, { version: '2.13.4', role: 'baseline', share: 0.88 }],
      size: 'page',
    });
    expect(screen.getByRole('img').getAttribute('aria-label')?.replaceAll('\u202f', ' ')).toBe(
      'Traffic split: 2.13.4 baseline 88 %, 2.14.0 candidate 12 %',
    );
  });
});

describe('versions beside each other', () => {
  const lanes = laneViews({
    meta: { wm: 20_000, step_s: 10 },
    t: [0, 10_000],
    lanes: [
      { version: '2.13.4', role: 'baseline', share: [1, 1], rps: [80, 81], err: [0, 0], n: [800, 810] },
      { version: '2.14.0', role: 'no_traffic', share: [null, null], rps: [0, 0], err: [null, null], n: [0, 0], instances: 2 },
    ],
  });

  it('keep zero and no data apart', () => {
    render(VersionTable, { lanes, times: [0, 10_000], source: 'spans', zone: 'utc' });
    const cells = [...(document.querySelector('[data-version="2.14.0"]')?.querySelectorAll('td') ?? [])].map((cell) => plain(cell));
    expect(cells.slice(0, 7)).toEqual(['0', '—', '—', '0 /s', '—', '—', '—']);
  });

  it('say which durations are estimates, and why', () => {
    const measured = [{ ...lanes[0]!, latest: { ...lanes[0]!.latest, p99: { value: 0.25, t: 10_000 } } }];
    render(VersionTable, { lanes: measured, times: [0, 10_000], source: 'metrics', approximate: true, zone: 'utc' });
    const cells = [...document.querySelectorAll('[data-version="2.13.4"] td')];
    expect(cells.map((cell) => plain(cell)).slice(4, 7)).toEqual(['—', '—', '≈ 250 ms']);
    expect(cells[6]?.getAttribute('title')).toContain('within a bucket');
    expect(cells[3]?.getAttribute('title')).not.toContain('bucket');
  });

  it('with plain logs show no columns of durations', () => {
    render(VersionTable, { lanes, times: [0, 10_000], source: 'logs', zone: 'utc' });
    expect(screen.queryByText('p99')).toBeNull();
    expect(screen.getByText('Log records in range')).toBeTruthy();
  });

  it('route by route show one number when there is nothing to compare with', () => {
    render(RouteTable, { lanes, routes: [{ route: 'GET /', requests: 5, versions: [{ version: '2.13.4', role: 'baseline', err: 0.5, p50: 0.1, p99: null }] }] });
    const cells = [...document.querySelectorAll('tbody tr > *')].map((cell) => plain(cell));
    expect(cells).toEqual(['GET /', '5', '50.0 %', '100 ms', '—']);
  });
});

describe('log patterns', () => {
  const pattern = {
    id: '00000000000000aa',
    class: 'new',
    level: 'error',
    text: 'card token <*> rejected',
    count: 41,
    count_base: 0,
    rate_cand: 0.5,
    rate_base: 0,
    ratio: null,
    ratio_lo: 30,
    ratio_hi: null,
    first: 60_000,
    sample: '<b>card</b> token tok_17 rejected',
  };
  const props = { since: 0, candidate: '2.14.0', baseline: '2.13.4', zone: 'utc' as const, service: 'checkout' };

  it('say their class, their rate and an example as it was written', () => {
    render(Patterns, { ...props, patterns: [pattern, { ...pattern, id: 'b', class: 'gone', rate_base: 2 }] });
    const rows = screen.getAllByTestId('pattern').map((row) => plain(row.querySelector('summary')));
    expect(rows).toEqual(['▲ NEW card token <*> rejected 30.0 /min', '▽ GONE card token <*> rejected was 120 /min']);
    expect(screen.getAllByTestId('pattern-sample')[0]?.textContent).toBe('<b>card</b> token tok_17 rejected');
    expect(plain(screen.getByTestId('patterns-about'))).toBe('1 new, 1 gone against 2.13.4, compared since 01/01 00:00.');
    expect(plain(document.querySelector('h2'))).toBe('Log patterns of 2.14.0: new, escalated, gone');
  });

  it('show the first few and the rest on demand', async () => {
    render(Patterns, { ...props, patterns: Array.from({ length: 9 }, (_, i) => ({ ...pattern, id: String(i) })) });
    expect(screen.getAllByTestId('pattern').length).toBe(6);
    await fireEvent.click(screen.getByText('Show all 9'));
    expect(screen.getAllByTestId('pattern').length).toBe(9);
  });

  it('say what would be here when there is nothing', () => {
    render(Patterns, { ...props, patterns: [], since: null });
    expect(plain(screen.getByTestId('patterns-empty'))).toContain('While two versions run');
    cleanup();
    render(Patterns, { ...props, patterns: [] });
    expect(plain(screen.getByTestId('patterns-about'))).toContain('No log line is new, escalated or gone against 2.13.4');
    expect(screen.queryByTestId('patterns-empty')).toBeNull();
  });
});

describe('users and toggles', () => {
  const lanes = laneViews({ t: [0], lanes: [{ version: '2.13.4', role: 'baseline', n: [5] }, { version: '2.14.0', role: 'candidate', n: [5] }] });

  it('are shown by version, with what cannot be known left open', () => {
    render(UsageTable, { lanes, usage: [{ version: '2.14.0', users: 40, sessions: 0, errored: 0, crash_free: null, adoption: null }] });
    const cells = [...(document.querySelector('[data-testid="usage-row"]')?.querySelectorAll('td') ?? [])].map((cell) => plain(cell));
    expect(cells).toEqual(['40', '0', '—', '—', '—']);
  });

  it('say their variants to those who do not see the bar', () => {
    const variants = [{ variant: 'off', share: 0.5, range_share: 0.75, range_evaluations: 9, evaluations: 30, requests: 0, err: null, versions: [{ version: '1', range_share: 1 }] }, { variant: 'on', range_share: 0.25 }];
    render(Toggles, { href: (key) => `/s/shop/toggle/${key}`, toggles: [{ key: 'checkout-v2', hot: true, changed: 1, variants }] });
    expect(screen.getByRole('img').getAttribute('aria-label')?.replaceAll('\u202f', ' ')).toBe('Variants in the range: off 75 %, on 25 %');
    const cells = [...(document.querySelector('[data-variant="off"]')?.querySelectorAll('td') ?? [])].map((cell) => plain(cell));
    expect(cells).toEqual(['75 %', '1 100 %', '9', '—', '—', '30']);
  });

  it('say of a toggle that is not hot that it is not counted by time', () => {
    const variants = [{ variant: 'on', share: 1, range_evaluations: null, range_share: null, evaluations: 70 }];
    render(Toggles, { href: () => '/t', toggles: [{ key: 'old', hot: false, variants }] });
    expect(plain(screen.getByTestId('toggle'))).toContain('on 100 % in the last hour; a toggle that is not hot');
    const cells = [...(document.querySelector('[data-variant="on"]')?.querySelectorAll('td') ?? [])].map((cell) => plain(cell));
    expect(cells).toEqual(['—', '', '—', '—', '—', '70']);
  });

  it('teach how to send them where there are none', () => {
    render(UsageTable, { lanes, usage: [] });
    render(Toggles, { href: () => '', toggles: [] });
    expect(plain(screen.getByTestId('usage-empty'))).toContain('session.id');
    expect(plain(screen.getByTestId('toggles-empty'))).toContain('feature_flag.key');
  });
});

describe('text from outside', () => {
  it('is never a link unless it is an address of the web', () => {
    const events = [{ t: 1, kind: 'deploy', title: 'x', url: 'javascript:alert(1)' }, { t: 2, kind: 'deploy', title: 'y', url: 'https://ci.example/1' }];
    render(EventList, { props: { events, env: '', zone: 'utc', limit: 5 } });
    expect(screen.getAllByRole('link').map((link) => link.getAttribute('href'))).toEqual(['https://ci.example/1']);
  });

  it('of a repeated parameter is shown each time', () => {
    const problem = { param: 'from', text: '<b>', wants: 'a time' };
    render(ProblemChips, { problems: [problem, problem] });
    expect(screen.getAllByText('<b>').length).toBe(2);
  });
});
