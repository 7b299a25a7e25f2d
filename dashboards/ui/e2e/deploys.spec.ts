// A release that nobody has seen yet is announced with the very command that the empty page shows.
import { Desk } from './desk.ts';
import { expect, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

test('the empty page teaches a marker, and the command works as it is shown', async ({ page }) => {
  const shipwake = await Shipwake.serve();
  const desk = new Desk([], { SHIPWAKE_ENDPOINT: shipwake.http, USER: 'ana' });
  try {
    await page.goto(`${shipwake.url}/deploys`);
    const empty = page.getByTestId('deploys-empty');
    await expect(empty).toContainText('service.version');
    desk.run((await empty.locator('pre').innerText()).trim());

    const row = page.locator('[data-testid="deploy"][data-service="checkout"][data-version="2.14.0"]');
    await expect(row).toHaveAttribute('data-outcome', 'announced_only', { timeout: 30_000 });
    await expect(row).toContainText('by ana');
    await row.locator('summary').click();
    await expect(row.getByTestId('markers')).toContainText('Deploy');
    await row.getByRole('link', { name: '2.14.0' }).click();
    await expect(page.getByTestId('record-none')).toContainText('No verdict was given on 2.14.0');
    await expect(page.getByTestId('record-facts')).toContainText('ana');
  } finally {
    desk.clear();
    await page.close();
    await shipwake.stop();
  }
});
