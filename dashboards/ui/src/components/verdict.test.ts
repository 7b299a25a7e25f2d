import { cleanup, render, screen } from '@testing-library/svelte';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { deploys, kayenta, noGo, T0 } from '../fixtures/verdict.ts';
import CheckTable from './CheckTable.svelte';
import DeployRow from './DeployRow.svelte';
import ForestPlot from './ForestPlot.svelte';
import KayentaSays from './KayentaSays.svelte';
import VerdictBanner from './VerdictBanner.svelte';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const plain = (element: Element | null | undefined) => (element?.textContent ?? '').replaceAll('\u202f', ' ').replace(/\s+/g, ' ').trim();
const { verdict } = noGo;
const banner = { verdict, others: noGo.others ?? [], recovery: '', note: '', zone: 'utc' as const };

describe('the banner', () => {
  it('says the word, since when, the pair, the policy and the sentence', () => {
    render(VerdictBanner, banner);
    const said = plain(screen.getByTestId('verdict'));
    expect(screen.getByRole('heading', { level: 2 }).textContent).toContain('NO-GO');
    for (const text of ['since 23/11 14:05', '2.14.0', 'against', '2.13.4', 'canary 12 %', 'policy default', 'Evidence enough', 'in 9 min', 'one instance']) expect(said).toContain(text);
    expect(plain(screen.getByTestId('verdict-sentence'))).toBe(verdict.headline);
    expect(screen.getByTestId('record-link').getAttribute('href')).toBe('/v/checkout/2.14.0?env=production&tz=utc');
    expect(plain(screen.getByTestId('latched'))).toContain('stays NO-GO');
    expect(screen.getByRole('meter').getAttribute('aria-valuetext')?.replaceAll('\u202f', ' ')).toBe('100 %: enough');
  });

  it('says what is missing while it waits, and nothing of a latch', () => {
    const waits = { ...verdict, state: 'wait', headline: 'Wait: about 340 more requests.', need: 'about 340 more requests, 4 min', evidence: { ready: 0.42 } };
    render(VerdictBanner, { ...banner, verdict: waits });
    expect(plain(screen.getByTestId('missing'))).toBe('about 340 more requests, 4 min');
    expect(screen.getByRole('meter').getAttribute('aria-valuenow')).toBe('0.42');
    expect(screen.queryByTestId('latched')).toBeNull();
  });

  it('says what became of the release, and whether that worked', () => {
    const over = { ...verdict, ending: { kind: 'rolled_back', at: T0 + 9 * 60_000 } };
    render(VerdictBanner, { ...banner, verdict: over, recovery: ' — it worked: errors are back at 0.50 %' });
    expect(plain(screen.getByTestId('ending'))).toBe('Rolled back at 23/11 14:09 — it worked: errors are back at 0.50 %.');
    expect(plain(screen.getByTestId('verdict'))).not.toContain('canary 12 %');
  });

  it('says how far it can be trusted on this traffic', async () => {
    const { rerender } = render(VerdictBanner, { ...banner, audit: noGo.audit });
    expect(plain(screen.getByTestId('audit'))).toContain('0 of 214 fake releases');
    await rerender({ ...banner, audit: null });
    expect(screen.queryByTestId('audit')).toBeNull();
  });

  it('reads a change out once, and not what was there', async () => {
    const { rerender } = render(VerdictBanner, { ...banner, verdict: { ...verdict, state: 'wait', sequence: 1, headline: 'Wait.' } });
    expect(plain(screen.getByTestId('announced'))).toBe('');
    await rerender({ ...banner, verdict: { ...verdict, state: 'wait', sequence: 1, headline: 'Wait a little less.' } });
    expect(plain(screen.getByTestId('announced'))).toBe('');
    await rerender(banner);
    expect(plain(screen.getByTestId('announced'))).toContain('Verdict of checkout 2.14.0: NO-GO. Roll back');
    expect(screen.getByTestId('announced').getAttribute('aria-live')).toBe('assertive');
  });

  it('shows text of telemetry as text', () => {
    const odd = '<img src=x onerror=alert(1)>';
    render(VerdictBanner, { ...banner, verdict: { ...verdict, headline: odd, guards: [{ id: 'g', text: odd }] } });
    expect(document.querySelector('img')).toBeNull();
    expect(plain(screen.getByTestId('verdict-sentence'))).toBe(odd);
  });
});

describe('the forest plot', () => {
  const checks = verdict.checks ?? [];

  it('is a table with the same numbers, whose rows lead to their checks', () => {
    render(ForestPlot, { checks, href: (check) => `#check=${check.id}` });
    const rows = screen.getAllByTestId('check');
    expect(rows.map((row) => row.dataset['state'])).toEqual(['worse', 'suspicious', 'worse', 'fine', 'undecided', 'no_data']);
    const cells = [...(rows[1]?.querySelectorAll('[role=cell], [role=rowheader]') ?? [])].map((cell) => plain(cell));
    expect(cells).toEqual(['▲ errors looks worse', '0.90 % →to 1.2 % errors', '+2 % … +68 %, limit +10 %', '+31 % +2 % … +68 %, limit +10 %', '18,422']);
    expect(screen.getAllByRole('link').map((link) => link.getAttribute('href'))).toEqual(checks.map((check) => `#check=${check.id}`));
    expect(screen.getAllByRole('link').map((link) => link.dataset['key'])).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(screen.getByRole('table').querySelectorAll('[role=columnheader]')).toHaveLength(5);
  });

  it('greys what does not suffice yet, and draws nothing of what is not known', () => {
    render(ForestPlot, { checks });
    const early = screen.getAllByTestId('check').filter((row) => row.classList.contains('early'));
    expect(early.map((row) => row.dataset['check'])).toEqual(['traffic', 'crashes']);
    expect(early[1]?.querySelector('svg')).toBeNull();
    expect(plain(early[1])).toContain('nothing to compare yet');
    expect(screen.queryAllByRole('link')).toEqual([]);
  });
});

describe('what Kayenta would have said', () => {
  it('is asked once, and shows the metrics of the check alone', async () => {
    const asked: string[] = [];
    vi.stubGlobal('fetch', (path: string) => {
      asked.push(path);
      return Promise.resolve(new Response(JSON.stringify({ kayenta })));
    });
    render(KayentaSays, { verdict, check: 'latency' });
    const said = plain(await screen.findByTestId('kayenta'));
    expect(said).toContain('Kayenta’s judge: Fail 50 on the same 5 minutes');
    expect([...document.querySelectorAll('tbody tr')].map((row) => [...row.children].map(plain))).toEqual([['p99 latency', '412 ms', '569 ms', 'High']]);
    expect(said).not.toContain('failed requests');
    expect(asked).toEqual(['/api/v1/services/checkout/verdict/kayenta?env=production&namespace=shop&candidate=2.14.0']);
  });

  it('is left out where nothing is known', async () => {
    vi.stubGlobal('fetch', () => Promise.resolve(new Response('{"title":"Not found"}', { status: 404 })));
    render(KayentaSays, { verdict, check: 'latency' });
    await new Promise((done) => setTimeout(done));
    expect(screen.queryByTestId('kayenta')).toBeNull();
  });
});

it('a record has every number of every check', () => {
  render(CheckTable, { checks: verdict.checks ?? [], candidate: '2.14.0', baseline: '2.13.4' });
  const row = [...(document.querySelector('[data-check="errors"]')?.children ?? [])].map((cell) => plain(cell));
  expect(row).toEqual([
    '▲ errors: looks worse Errors 0.9 % → 1.2 %, 1.31x the baseline (95 %: 1.02 … 1.68), limit 1.1x.', '0.90 %', '1.2 %', '+31 %+2 % … +68 %limit +10 %',
    '3,611 of 401,233', '217 of 18,422', 'moderate',
  ]);
});

it('a deploy says what, its verdict, who, and only links to the web', () => {
  const [deploy] = deploys.deploys ?? [];
  if (!deploy) throw new Error('the fixture has a deploy');
  render(DeployRow, { deploy, zone: 'utc', now: T0 + 360_000 });
  const said = plain(screen.getByTestId('deploy'));
  for (const text of ['23/11 14:00', '6 min ago', '2.13.4 →to 2.14.0', 'live beside others', 'NO-GO', 'by ana from github', '2 markers', 'Weight: 12 %']) expect(said).toContain(text);
  expect(screen.getAllByRole('link').map((link) => link.getAttribute('href'))).toEqual([
    '/s/checkout?env=production&tz=utc', '/v/checkout/2.14.0?env=production&tz=utc', 'https://ci.example/runs/1', 'https://ci.example/runs/1',
  ]);
});
