// What customers do: orders by version, users and sessions, toggles; and what a page without any of it teaches.
import { chartTable, expect, painted, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';
import type { Overview, ServiceRelease } from '../src/api/types.ts';

test.describe('the shop', () => {
  test.describe.configure({ mode: 'serial' });
  let shipwake: Shipwake;
  test.beforeAll(async () => {
    shipwake = await Shipwake.demo('canary-errors', { speed: 8, scale: 3 });
  });
  test.afterAll(async () => shipwake?.stop());

  test('orders of the bad canary fall, in words and in the chart', async ({ page }) => {
    await page.goto(`${shipwake.url}/s/checkout?from=now-5m`);
    await painted(page);
    const change = page.locator('[data-testid="kpi-change"][data-kpi="orders"]');
    await expect(change).toContainText('Orders per 1,000 requests', { timeout: 40_000 });
    await expect(change).toContainText(/−\d\d\s%\sworse/, { timeout: 60_000 });
    const rows = await chartTable(page, 'kpi-orders');
    const shown = rows.find((row) => row.values.every((value) => value !== null));
    expect(shown, 'a window with both versions').toBeTruthy();
    expect(rows.flatMap((row) => row.values).every((value) => value === null || (value >= 0 && value <= 1_000))).toBe(true);
  });

  test('the overview says the same of the same KPI', async ({ page }) => {
    await expect
      .poll(async () => (await shipwake.api<Overview>('/api/v1/overview')).services?.find(({ service }) => service === 'checkout')?.kpi?.delta ?? 0, { timeout: 40_000 })
      .toBeLessThan(-0.05);
    await page.goto(shipwake.url);
    await expect(page.locator('[data-service="checkout"]').getByTestId('kpi')).toContainText(/Orders.*−\d/);
  });

  test('users and sessions are those of the API, and shares of toggles add up', async ({ page }) => {
    await page.goto(`${shipwake.url}/s/checkout`);
    await painted(page);
    await expect(page.locator('[data-testid="usage-row"]')).toHaveCount(2);
    const release = await shipwake.api<ServiceRelease>('/api/v1/services/checkout/release?from=now-5m&to=now');
    const adoption = (release.usage ?? []).map((row) => row.adoption ?? 0);
    expect(adoption.length).toBe(2);
    expect(adoption.every((part) => part > 0 && part <= 1)).toBe(true);
    const toggle = page.locator('[data-testid="toggle"][data-key="checkout-v2"]');
    await expect(toggle).toHaveAttribute('data-hot', 'true');
    const variants = release.toggles?.find(({ key }) => key === 'checkout-v2')?.variants ?? [];
    expect(variants.map(({ variant }) => variant).sort()).toEqual(['off', 'on']);
    expect(variants.reduce((sum, { share }) => sum + (share ?? 0), 0)).toBeCloseTo(1, 4);
    await expect(toggle.locator('[data-variant="on"]')).toContainText('%');
  });
});

test('a page without events teaches, and what it shows to copy works', async ({ page }) => {
  const shipwake = await Shipwake.serve();
  try {
    const lines = await fetch(`${shipwake.http}/v1/lines?service=cart&version=7&environment=test`, { method: 'POST', body: 'hello' });
    expect(lines.status).toBe(200);
    await page.goto(`${shipwake.url}/s/cart`);
    const example = page.getByTestId('kpis-empty');
    await expect(example).toContainText('/v1/events');
    await expect(page.getByTestId('usage-empty')).toContainText('session.id');
    await expect(page.getByTestId('toggles-empty')).toContainText('feature_flag.evaluation');
    const command = (await example.locator('code, pre').first().textContent()) ?? '';
    const { execFileSync } = await import('node:child_process');
    expect(execFileSync('sh', ['-c', command], { encoding: 'utf8' })).toContain('"accepted":1');
    await expect(page.locator('[data-testid="kpi-change"][data-kpi="order_placed"]')).toBeVisible({ timeout: 20_000 });
    await expect(page.locator('[data-testid="usage-row"]')).toHaveCount(1);
  } finally {
    await shipwake.stop();
  }
});
