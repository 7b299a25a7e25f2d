// The Logs page against the real program: what is sent over its port is found, counted, followed and linked to.
import type { Page } from '@playwright/test';
import { expect, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

let shipwake: Shipwake;
test.beforeAll(async () => {
  shipwake = await Shipwake.serve();
});
test.afterAll(async () => shipwake?.stop());

async function send(service: string, version: string, lines: string[]): Promise<void> {
  const query = new URLSearchParams({ service, version, environment: 'prod', instance: `${service}-1` });
  const answer = await fetch(`${shipwake.http}/v1/lines?${query}`, { method: 'POST', body: lines.join('\n') });
  expect(((await answer.json()) as { accepted: number }).accepted).toBe(lines.length);
}

/** Waits until the program counts so many lines of a service. */
async function counted(service: string, lines: number): Promise<void> {
  const count = async () => {
    const answer = await fetch(`${shipwake.url}/api/v1/logs/volume`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ service }) });
    return ((await answer.json()) as { total: number }).total;
  };
  await expect.poll(count).toBe(lines);
}

const logs = (params: Record<string, string>) => `${shipwake.url}/logs?${new URLSearchParams(params)}`;
const lines = (page: Page) => page.getByTestId('lines').getByTestId('line');
const number = async (page: Page, testid: string) => Number((await page.getByTestId(testid).textContent())?.replace(/\D/g, '') ?? '0');

test('the one line is found, opened, and linked to', async ({ page, context }) => {
  const all = Array.from({ length: 400 }, (_, i) => `order A-${1000 + i} placed`);
  all[217] = 'order A-48213377 rejected: card declined';
  await send('finder', '1.0', all);
  await counted('finder', 400);
  await page.goto(logs({ s: 'finder' }));
  await expect(page.getByTestId('lines')).toHaveAttribute('data-count', '200');
  await page.keyboard.press('/');
  await page.keyboard.type('"a-48213377"');
  await page.keyboard.press('Enter');
  await expect(lines(page)).toHaveCount(1);
  await expect(lines(page).first()).toContainText('card declined');
  await expect(page.getByTestId('volume-total')).toHaveText('1');
  await lines(page).first().click();
  await expect(page.getByTestId('line-body')).toHaveText(all[217]!);
  // The lines around it are there in the order in which they came, whatever the search.
  const around = page.getByTestId('line-context').locator('li');
  await expect(around).toHaveCount(51);
  await expect(around.nth(24)).toContainText('A-1216');
  await expect(around.nth(26)).toContainText('A-1218');

  const other = await context.newPage();
  await other.goto(page.url());
  await expect(other.getByTestId('line-body')).toHaveText(all[217]!);
  await other.close();
  await page.keyboard.press('Escape');
  await expect(page.getByTestId('line-detail')).toHaveCount(0);
  await page.goBack();
  await expect(page.getByTestId('line-detail')).toBeVisible();
});

test('a list of a thousand lines draws few of them and has them all', async ({ page }) => {
  await send('long', '1.0', Array.from({ length: 1_000 }, (_, i) => `line number ${i}`));
  await counted('long', 1_000);
  await page.goto(logs({ s: 'long' }));
  const box = page.getByTestId('lines');
  await expect(box).toBeVisible();
  for (const held of ['400', '600', '800', '1000']) {
    await box.evaluate((element) => (element.scrollTop = element.scrollHeight));
    await expect(box).toHaveAttribute('data-count', held);
  }
  await box.evaluate((element) => (element.scrollTop = element.scrollHeight));
  await expect(lines(page).last()).toContainText('line number 0');
  expect(await lines(page).count()).toBeLessThan(120);
});

test('what is wrong with a search is shown at its place', async ({ page, watch }) => {
  watch.serverGoesAway(); // A refused search is a failed request to the browser.
  await page.goto(logs({ q: 'order (a' }));
  await expect(page.getByTestId('search-fault')).toContainText('this `(` is not closed');
  await expect(page.getByTestId('search-fault').locator('mark')).toHaveText('(');
  await page.getByTestId('logs-search').fill('order');
  await page.keyboard.press('Enter');
  await expect(page.getByTestId('search-fault')).toHaveCount(0);
});

test('a tail waits while somebody reads, and loses nothing', async ({ page }) => {
  await send('tail', '1.0', Array.from({ length: 100 }, (_, i) => `before ${i}`));
  await counted('tail', 100);
  await page.goto(logs({ s: 'tail', live: '1' }));
  await expect(page.getByTestId('logs')).toHaveAttribute('data-tail', 'live');
  await expect(page.getByTestId('lines')).toHaveAttribute('data-count', '100');
  await send('tail', '1.0', ['a token that nobody has seen']);
  await expect(lines(page).first()).toContainText('a token that nobody', { timeout: 10_000 });

  await page.getByTestId('lines').evaluate((element) => (element.scrollTop = 800));
  await expect(page.getByTestId('logs')).toHaveAttribute('data-tail', 'paused');
  await expect(page.getByTestId('tail-state')).toContainText('you scrolled');
  const top = await page.getByTestId('lines').evaluate((element) => element.scrollTop);
  for (let batch = 0; batch < 3; batch += 1) {
    await send('tail', '1.0', Array.from({ length: 20 }, (_, i) => `meanwhile ${batch}-${i}`));
    await expect.poll(() => number(page, 'waiting')).toBe((batch + 1) * 20);
  }
  await expect(page.getByTestId('lines')).toHaveAttribute('data-count', '101');
  expect(await page.getByTestId('lines').evaluate((element) => element.scrollTop)).toBe(top);
  await page.getByTestId('tail-resume').click();
  await expect(page.getByTestId('lines')).toHaveAttribute('data-count', '161');
  await expect(lines(page).first()).toContainText('meanwhile 2-19');
});

test('a tail goes on where it was after the server was away', async ({ page, watch }) => {
  await send('away', '1.0', ['first']);
  await counted('away', 1);
  await page.goto(logs({ s: 'away', live: '1' }));
  await expect(page.getByTestId('lines')).toHaveAttribute('data-count', '1');
  watch.serverGoesAway();
  await shipwake.kill();
  await shipwake.start(['serve']);
  await send('away', '1.0', ['second', 'third']);
  await expect(page.getByTestId('lines')).toHaveAttribute('data-count', '3', { timeout: 60_000 });
  await expect(lines(page).first()).toContainText('third');
});

test('patterns honour the search, and a pattern that is new in a version is told apart', async ({ page }) => {
  const common = (n: number) => Array.from({ length: n }, (_, i) => `payment ${i} accepted by acquirer`);
  await send('pay', '1.0', common(60));
  await send('pay', '2.0', [...common(30), ...Array.from({ length: 12 }, (_, i) => `retry budget exhausted after ${i} ms`)]);
  await counted('pay', 102);
  await page.goto(logs({ s: 'pay', view: 'patterns' }));
  const rows = page.getByTestId('log-pattern');
  await expect(rows).toHaveCount(2);
  const total = async () => (await rows.evaluateAll((all) => all.map((row) => Number((row as HTMLElement).dataset['total'])))).reduce((a, b) => a + b, 0);
  expect(await total()).toBe(102);
  await page.getByTestId('volume-key').filter({ hasText: '2.0' }).click();
  await expect.poll(total).toBe(42);

  await page.goto(logs({ s: 'pay', view: 'new', since: '2.0' }));
  await expect(rows).toHaveCount(1);
  await expect(rows.first()).toContainText('retry budget exhausted after <*> ms');
  await rows.first().getByRole('button', { name: 'Only lines of pattern' }).click();
  await page.getByTestId('view-lines').click();
  await expect(lines(page)).toHaveCount(12);
  await page.goto(logs({ s: 'pay', view: 'new', since: '1.0' }));
  await expect(page.getByTestId('log-patterns')).toBeVisible();
  await expect(rows).toHaveCount(0);
});

test('a search that finds nothing says which condition keeps the most away, and one press leaves it out', async ({ page }) => {
  await send('none', '1.0', Array.from({ length: 30 }, (_, i) => `order ${i} placed`));
  await send('none', '2.0', ['a retry']);
  await counted('none', 31);
  await page.goto(logs({ s: 'none', v: '2.0', q: 'order' }));
  const without = page.getByTestId('without').locator('li');
  await expect(without.first()).toContainText('version:"2.0"');
  await expect(without.first()).toContainText('30 lines');
  await without.first().getByRole('button').click();
  await expect(page.getByTestId('lines')).toHaveAttribute('data-count', '30');
  // The release of the second version is told above the bars.
  await expect(page.getByTestId('volume-events').locator('li').first()).toBeVisible();
});

test('fields and values are offered while a search is typed', async ({ page }) => {
  await send('typist', '1.0', [
    ...Array.from({ length: 3 }, (_, i) => JSON.stringify({ message: 'order placed', level: 'info', 'order.kind': `gift ${i}` })),
    JSON.stringify({ message: 'order refused', level: 'error', 'order.kind': 'plain' }),
  ]);
  await counted('typist', 4);
  await page.goto(logs({ s: 'typist' }));
  await expect(lines(page)).toHaveCount(4);
  const offers = page.getByTestId('search-offers').getByRole('option');
  const search = page.getByTestId('logs-search');
  await search.click();
  await expect(async () => {
    await search.fill('');
    await search.pressSequentially('kin');
    await expect(offers.first()).toContainText('order.kind:', { timeout: 500 });
  }).toPass();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(search).toHaveValue('order.kind:');
  await expect(offers).toHaveCount(4);
  await page.keyboard.type('gift');
  await expect(offers).toHaveCount(3);
  await offers.filter({ hasText: 'gift 1' }).click();
  await expect(search).toHaveValue('order.kind:"gift 1" ');
  await page.keyboard.press('Enter');
  await expect(lines(page)).toHaveCount(1);
  // Enter without an offer chosen searches for what was typed.
  await search.fill('level');
  await page.keyboard.press('Enter');
  await expect(page.getByTestId('search-offers')).toBeHidden();
  await expect(page).toHaveURL(/q=level/);
});

test('what is shown says of when it is, and can be asked anew', async ({ page }) => {
  await send('later', '1.0', ['one line']);
  await counted('later', 1);
  await page.goto(logs({ s: 'later' }));
  await expect(lines(page)).toHaveCount(1);
  await expect(page.getByTestId('as-of')).toContainText('as of');
  await send('later', '1.0', ['two lines', 'three lines']);
  await counted('later', 3);
  await page.getByTestId('refresh').click();
  await expect(lines(page)).toHaveCount(3);
  await expect(page.getByTestId('volume-total')).toHaveText('3');
  // While lines come in, the bars go on by themselves.
  await page.getByTestId('live-tail').click();
  await expect(page.getByTestId('as-of')).toHaveCount(0);
  await send('later', '1.0', ['four lines']);
  await expect(page.getByTestId('volume-total')).toHaveText('4', { timeout: 15_000 });
});
