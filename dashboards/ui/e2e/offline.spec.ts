// The server goes away and comes back; proxies are in the way. The page says so and loses nothing.
import type { Page } from '@playwright/test';
import { chartTable, expect, live, painted, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

let shipwake: Shipwake;
test.beforeAll(async () => {
  shipwake = await Shipwake.demo('canary-good');
});
test.afterAll(async () => shipwake?.stop());

/** The handshake gets the answer of an old proxy; the rest of the server is there. */
async function refuseWebSockets(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const Real = window.WebSocket;
    window.WebSocket = class extends Real {
      constructor(url: string | URL) {
        super(String(url).replace('/api/v1/live/ws', '/api/v1/live/no-such-socket'));
      }
    };
  });
}

test('a page behind a proxy without WebSockets uses the stream, and says so', async ({ page, watch }) => {
  watch.serverGoesAway();
  await refuseWebSockets(page);
  await page.goto(shipwake.url);
  await expect(page.getByTestId('freshness')).toHaveAttribute('data-mode', 'sse');
  await live(page, 'live');
  const wm = await painted(page);
  await page.waitForFunction((seen) => Number(document.documentElement.dataset['wm']) > seen, wm);
});

test('a page without stream and WebSockets asks every five seconds', async ({ page, watch }) => {
  watch.serverGoesAway();
  await refuseWebSockets(page);
  await page.route('**/api/v1/live/sse**', (route) => route.abort());
  await page.goto(shipwake.url);
  await expect(page.getByTestId('freshness')).toHaveAttribute('data-mode', 'poll');
  await live(page, 'live');
  const wm = await painted(page);
  await page.waitForFunction((seen) => Number(document.documentElement.dataset['wm']) > seen, wm);
});

test('paused data stands still and goes on', async ({ page }) => {
  await page.goto(shipwake.url);
  await painted(page);
  await page.keyboard.press('Space');
  await live(page, 'paused');
  const wm = await painted(page);
  await expect(page.getByTestId('freshness')).toContainText('paused');
  await page.keyboard.press('Space');
  await page.waitForFunction((seen) => Number(document.documentElement.dataset['wm']) > seen, wm);
  await live(page, 'live');
});

test('the page of a server that was killed says offline, dims, and goes on when it is back', async ({ page, watch }) => {
  await page.goto(`${shipwake.url}/s/checkout?from=now-5m`);
  await painted(page);
  await live(page, 'live');
  const before = await chartTable(page, 'rps');
  const colorOfValues = () => page.locator('[data-testid="versions"] .value').first().evaluate((element) => getComputedStyle(element).color);
  const strong = await colorOfValues();

  watch.serverGoesAway();
  await shipwake.kill();
  await live(page, 'offline', 10_000);
  await expect(page.getByTestId('freshness')).toContainText('offline');
  await expect(page.getByTestId('service')).toHaveAttribute('data-stale', 'true');
  expect(await colorOfValues(), 'values have lost their strength').not.toBe(strong);

  // The same data folder, and no shop: what was acknowledged is there again.
  await shipwake.start(['serve']);
  await page.waitForFunction(() => document.documentElement.dataset['live'] !== 'offline', undefined, { timeout: 15_000 });
  const after = await chartTable(page, 'rps');
  const times = after.map((row) => row.t);
  expect(new Set(times).size, 'no window twice').toBe(times.length);
  const known = new Map(after.map((row) => [row.t, row.values]));
  for (const row of before.slice(3)) {
    if (known.has(row.t)) expect(known.get(row.t)).toEqual(row.values);
  }
});
