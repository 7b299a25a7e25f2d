// Releases that have something missing: no version at all, or no traffic.
import { expect, painted, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

test('services without a version are named on the overview and on their page', async ({ page }) => {
  const shipwake = await Shipwake.demo('no-version');
  try {
    await page.goto(shipwake.url);
    await painted(page);
    const banner = page.getByTestId('unversioned-banner');
    await expect(banner).toContainText('4 services send no service.version');
    await expect(banner).toContainText('catalog');
    await expect(page.locator('[data-service="catalog"]')).toContainText('no version');
    await page.locator('[data-service="catalog"]').getByRole('link').click();
    await expect(page.getByTestId('unversioned-banner')).toBeVisible();
    await expect(page.getByTestId('source')).toContainText('server spans');
  } finally {
    // The page first: one that loses its server complains, and rightly.
    await page.close();
    await shipwake.stop();
  }
});

test('a candidate without traffic is shown as waiting, with null in place of numbers', async ({ page }) => {
  const shipwake = await Shipwake.demo('no-traffic-candidate');
  try {
    await page.goto(`${shipwake.url}/s/checkout`);
    await expect(page.getByTestId('no-traffic-banner')).toContainText('2.14.0', { timeout: 40_000 });
    const row = page.locator('[data-testid="version-row"][data-version="2.14.0"]');
    await expect(row).toContainText('no traffic');
    // Of no requests there is neither an error ratio nor a p99.
    await expect(row.locator('td').nth(1)).toHaveText('—');
    await expect(row.locator('td').nth(6)).toHaveText('—');
    await expect(page.getByTestId('difference')).toHaveCount(0);
  } finally {
    await page.close();
    await shipwake.stop();
  }
});

test('a slow tail is named, and the errors that did not change are not', async ({ page }) => {
  const shipwake = await Shipwake.demo('canary-slow-p99', { scale: 3 });
  try {
    await page.goto(`${shipwake.url}/s/checkout`);
    await expect(page.locator('[data-testid="difference"][data-metric="p99"]')).toBeVisible({ timeout: 90_000 });
    await expect(page.getByTestId('verdict').or(page.getByTestId('headline'))).toContainText('2.14.0');
    await expect(page.locator('[data-testid="difference"][data-metric="error_ratio"]')).toHaveCount(0);
  } finally {
    await page.close();
    await shipwake.stop();
  }
});
