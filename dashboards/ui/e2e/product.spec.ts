// What customers do: orders by version, users and sessions, toggles; and what a page without any of it teaches.
import { chartTable, expect, painted, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';
import type { Overview, ServiceRelease, ToggleDetail } from '../src/api/types.ts';

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
    expect(variants.reduce((sum, { range_share }) => sum + (range_share ?? 0), 0)).toBeCloseTo(1, 4);
    await expect(toggle.locator('[data-variant="on"]')).toContainText('%');
  });

  test('a KPI that moved is named among what differs, and values are told by version', async ({ page }) => {
    await page.goto(`${shipwake.url}/s/checkout?from=now-5m`);
    await painted(page);
    await expect(page.locator('[data-testid="difference"][data-metric="kpi"]').first()).toContainText('per 1,000 requests', { timeout: 60_000 });
    const release = await shipwake.api<ServiceRelease>('/api/v1/services/checkout/release?from=now-5m&to=now');
    const valued = (release.kpis ?? []).filter((kpi) => kpi.values);
    expect(valued.length).toBeGreaterThan(0);
    for (const { n, part } of valued[0]?.values?.versions ?? []) {
      expect(n).toBeGreaterThan(0);
      expect(part.reduce((sum, each) => sum + each, 0)).toBeCloseTo(1, 3);
    }
    const shown = page.locator(`[data-testid="kpi-values"][data-kpi="${valued[0]?.key}"]`);
    await expect(shown.getByTestId('kpi-values-row')).toHaveCount(valued[0]?.values?.versions.length ?? 0);
    await shown.locator('summary').click();
    await expect(shown.getByTestId('kpi-values-bars').locator('tbody tr')).toHaveCount(valued[0]?.values?.low.length ?? 0);
  });

  test('a toggle has a page: variants beside each other, and each with each version', async ({ page }) => {
    await page.goto(`${shipwake.url}/s/checkout?from=now-5m`);
    await page.locator('[data-testid="toggle"][data-key="checkout-v2"]').getByRole('link', { name: 'checkout-v2' }).click();
    await expect(page).toHaveURL(/\/s\/checkout\/toggle\/checkout-v2\?.*from=now-5m/);
    await painted(page);
    await expect(page.getByTestId('headline')).toContainText(/\bon\b.*\boff\b|\boff\b.*\bon\b/);
    await expect(page.getByTestId('version-row')).toHaveCount(2);
    await expect(page.getByTestId('toggle-cell')).toHaveCount(4);
    const detail = await shipwake.api<ToggleDetail>('/api/v1/services/checkout/toggle?key=checkout-v2&from=now-5m&to=now');
    const cells = (detail.cells ?? []).reduce((sum, cell) => sum + (cell.evaluations ?? 0), 0);
    const variants = (detail.variants ?? []).reduce((sum, variant) => sum + (variant.range_evaluations ?? 0), 0);
    expect(cells).toBe(variants);
    const rows = await chartTable(page, 'share');
    expect(rows.some((row) => Math.abs(row.values.reduce<number>((sum, value) => sum + (value ?? 0), 0) - 1) < 1e-3)).toBe(true);
    const version = detail.versions?.[0] ?? '';
    await page.getByRole('button', { name: version, exact: true }).click();
    await expect(page).toHaveURL(new RegExp(`version=${version.replaceAll('.', '\\.')}`));
    await page.getByRole('link', { name: 'checkout', exact: true }).click();
    await expect(page).toHaveURL(/\/s\/checkout\?.*from=now-5m/);
  });

  test('a version beside itself, and one that does not exist, are said in words', async ({ page }) => {
    const release = await shipwake.api<ServiceRelease>('/api/v1/services/checkout/release');
    const candidate = release.pair?.candidate ?? '';
    await page.goto(`${shipwake.url}/s/checkout?cand=${candidate}&base=${candidate}`);
    await expect(page.getByTestId('notes')).toContainText('a version cannot be compared with itself');
    await page.goto(`${shipwake.url}/s/checkout?cand=99.9`);
    await expect(page.getByTestId('notes')).toContainText('this service has no version 99.9');
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
