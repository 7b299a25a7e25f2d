// Go on, wait, or roll back: the verdict on the overview, on the page of a service, check by check, and as a record. And what pages are
// without verdicts.
import { expect, live, painted, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';
import type { ServiceVerdict, Verdicts } from '../src/api/verdicts.ts';

const CHECKOUT = '/s/checkout';
/** Until a failing canary has failed, and that is proven: a shop that has just opened has no past to say how noisy it is. */
const PROVEN_MS = 240_000;

test.describe('a canary that fails', () => {
  test.describe.configure({ mode: 'serial' });
  let shipwake: Shipwake;
  test.beforeAll(async () => {
    shipwake = await Shipwake.demo('canary-errors', { speed: 4, scale: 3 });
  });
  test.afterAll(async () => shipwake?.stop());

  const judged = () => shipwake.api<ServiceVerdict>('/api/v1/services/checkout/verdict?env=production');

  test('is NO-GO on the overview, with a sentence, without a reload', async ({ page }) => {
    test.setTimeout(PROVEN_MS + 60_000);
    await page.goto(shipwake.url);
    await painted(page);
    const row = page.locator('[data-testid="service-row"][data-service="checkout"]');
    await expect(row).toHaveAttribute('data-verdict', 'no_go', { timeout: PROVEN_MS });
    await expect(row.getByTestId('row-verdict')).toContainText(/NO-GO|rolled back/);
    await expect(row).toContainText(/Roll back: |Rolled back at \d\d:\d\d/);
    // What needs attention stands first.
    await expect(page.getByTestId('service-row').first()).toHaveAttribute('data-service', 'checkout');
  });

  test('is NO-GO on its page: word, sentence, pair, evidence, and nothing that says otherwise', async ({ page }) => {
    await page.goto(shipwake.url + CHECKOUT);
    const banner = page.getByTestId('verdict');
    await expect(banner).toHaveAttribute('data-state', 'no_go');
    const { verdict } = await judged();
    await expect(page.getByTestId('verdict-sentence')).toHaveText(verdict.headline ?? '');
    await expect(page.getByTestId('verdict-sentence')).toContainText('error');
    await expect(banner).toContainText('2.14.0');
    await expect(banner).toContainText('2.13.4');
    await expect(banner).toContainText(/since \d\d:\d\d/);
    await expect(page.getByTestId('latched')).toBeVisible();
    await expect(page.getByTestId('evidence')).toContainText('enough');
    await expect(page.getByTestId('headline')).toHaveCount(0);
    await expect(page).toHaveTitle(/NO-GO|checkout/);
    await banner.getByTestId('history').click();
    await expect(banner.getByTestId('past').getByTestId('verdict-word').last()).toHaveAttribute('data-state', 'no_go');
  });

  test('its checks are the API’s, and the one that fails has its whole interval beyond the limit', async ({ page }) => {
    await page.goto(shipwake.url + CHECKOUT);
    await expect(page.getByTestId('checks')).toBeVisible();
    const { verdict } = await judged();
    await expect(page.getByTestId('check')).toHaveCount(verdict.checks?.length ?? -1);
    const errors = page.locator('[data-testid="check"][data-check="errors"]');
    await expect(errors).toHaveAttribute('data-state', 'worse');
    await expect(errors.getByRole('cell').nth(0)).toContainText('%');
    const check = verdict.checks?.find(({ id }) => id === 'errors');
    expect(check?.effect?.low ?? 0).toBeGreaterThan(check?.effect?.limit ?? Number.POSITIVE_INFINITY);
    await expect(errors.getByTestId('interval')).toBeVisible();
  });

  test('a check opens by mouse, key and address, and closes back to where it was', async ({ page }) => {
    await page.goto(shipwake.url + CHECKOUT);
    const link = page.locator('[data-testid="check"][data-check="errors"]').getByRole('link');
    await link.click();
    const detail = page.getByTestId('check-detail');
    await expect(detail).toHaveAttribute('data-check', 'errors');
    expect(new URL(page.url()).hash).toBe('#check=errors');
    await expect(detail.getByTestId('check-counts')).toContainText(/\d of [\d,]+/);
    await expect(detail.getByTestId('check-evidence')).toContainText('good releases');
    await expect(detail.getByTestId('trail').getByTestId('data-trail')).toBeVisible();
    await page.keyboard.press('Escape');
    await expect(detail).toHaveCount(0);
    expect(new URL(page.url()).hash).toBe('');
    await expect(link).toBeFocused();

    await page.keyboard.press('1');
    await expect(detail).toBeVisible();
    const address = page.url();
    await page.reload();
    await expect(detail).toBeVisible();
    expect(page.url()).toBe(address);
    await detail.getByTestId('check-close').click();
    await expect(detail).toHaveCount(0);
  });

  test('the rows of the checks are walked with the arrows', async ({ page }) => {
    await page.goto(shipwake.url + CHECKOUT);
    const links = page.getByTestId('checks').getByRole('link');
    await links.first().focus();
    await page.keyboard.press('ArrowDown');
    await expect(links.nth(1)).toBeFocused();
    await page.keyboard.press('ArrowUp');
    await expect(links.first()).toBeFocused();
    await page.keyboard.press('Enter');
    await expect(page.getByTestId('check-detail')).toBeVisible();
  });

  test('another pair and another range are told apart from the one that was judged', async ({ page }) => {
    await page.goto(`${shipwake.url}${CHECKOUT}?cand=2.13.4&base=2.14.0`);
    await expect(page.getByTestId('pair-note')).toContainText('the verdict is about 2.14.0 against 2.13.4');
    await expect(page.getByTestId('headline')).toBeVisible();
    const to = Date.now() - 20_000;
    await page.goto(`${shipwake.url}${CHECKOUT}?from=${to - 40_000}&to=${to}`);
    await expect(page.getByTestId('pair-note')).toBeVisible();
    await expect(page.getByTestId('headline')).toBeVisible();
  });

  test('the record has the sentence, every check and how it went, and is one light sheet on paper', async ({ page }) => {
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.goto(shipwake.url + CHECKOUT);
    await page.getByTestId('record-link').click();
    await expect(page.getByTestId('record')).toHaveAttribute('data-state', 'no_go');
    const { verdict } = await judged();
    await expect(page.getByTestId('record-sentence')).toHaveText(verdict.headline ?? '');
    await expect(page.getByTestId('record-checks').locator('tbody tr')).toHaveCount(verdict.checks?.length ?? -1);
    await expect(page.getByTestId('record-facts')).toContainText(verdict.policy ?? '');
    await expect(page.getByTestId('past')).toContainText('NO-GO');
    const json = await page.getByTestId('json-link').getAttribute('href');
    expect((await shipwake.api<ServiceVerdict>(json ?? '')).verdict.candidate).toBe('2.14.0');

    await page.getByTestId('print-link').click();
    await expect(page.getByTestId('record')).toHaveAttribute('data-state', 'no_go');
    await expect(page.getByTestId('header')).toHaveCount(0);
    expect(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)).toBe('rgb(255, 255, 255)');
    await page.getByRole('link', { name: 'Back' }).click();
    await expect(page.getByTestId('header')).toBeVisible();
    expect(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor), 'the screen is as it was').toBe('rgb(13, 16, 23)');
  });

  test('deploys list it with its verdict, are filtered by the address, and lead to its record', async ({ page }) => {
    await page.goto(`${shipwake.url}/deploys`);
    const row = page.locator('[data-testid="deploy"][data-service="checkout"][data-version="2.14.0"]');
    await expect(row).toHaveAttribute('data-verdict', 'no_go', { timeout: 30_000 });
    await page.getByTestId('verdict-filter').selectOption('no_go');
    expect(new URL(page.url()).searchParams.get('verdict')).toBe('no_go');
    await expect(page.getByTestId('deploy')).toHaveCount(1);
    await page.getByTestId('filter').fill('no such thing');
    await expect(page.getByTestId('no-match')).toBeVisible();
    await page.getByRole('button', { name: 'Show all' }).click();
    await row.getByRole('link', { name: '2.14.0' }).click();
    await expect(page.getByTestId('record')).toHaveAttribute('data-state', 'no_go');
  });
});

test('a candidate without traffic is never GO, and the page says what is missing', async ({ page }) => {
  const shipwake = await Shipwake.demo('no-traffic-candidate');
  try {
    await page.goto(shipwake.url + CHECKOUT);
    await expect(page.getByTestId('no-traffic-banner')).toContainText('2.14.0', { timeout: 40_000 });
    const { verdicts = [] } = await shipwake.api<Verdicts>('/api/v1/verdicts?service=checkout');
    for (const { candidate, state } of verdicts) if (candidate === '2.14.0') expect(state).not.toBe('go');
    const banner = page.getByTestId('verdict');
    if ((await banner.count()) > 0) await expect(banner).toHaveAttribute('data-state', /wait|watch/);
  } finally {
    await page.close();
    await shipwake.stop();
  }
});

test.describe('pages without verdicts', () => {
  let shipwake: Shipwake;
  test.beforeAll(async () => {
    shipwake = await Shipwake.demo('canary-errors', { speed: 20 });
  });
  test.afterAll(async () => shipwake?.stop());

  test('go on where another process judges, with their own sentence', async ({ page, watch }) => {
    watch.serverGoesAway();
    const problem = { type: 'about:blank', title: 'not here', status: 503, detail: 'this process judges nothing' };
    await page.route('**/api/v1/verdicts**', (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', json: problem }));
    await page.goto(shipwake.url);
    await painted(page);
    await expect(page.locator('[data-service="checkout"]').getByTestId('row-verdict')).toHaveText(/^–/);
    await page.goto(shipwake.url + CHECKOUT);
    await expect(page.getByTestId('headline')).toBeVisible();
    await expect(page.getByTestId('no-verdicts')).toHaveText('No verdicts here: this process judges nothing.');
    await expect(page.getByTestId('verdict')).toHaveCount(0);
    await live(page, 'live');
  });

  test('do not wait for a verdict that does not come', async ({ page, watch }) => {
    watch.serverGoesAway();
    // Held for ever, as by a proxy that has lost its other side.
    await page.route('**/api/v1/verdicts**', () => undefined);
    await page.goto(shipwake.url + CHECKOUT);
    await expect(page.getByTestId('headline')).toBeVisible({ timeout: 8_000 });
    await page.goto(shipwake.url);
    await expect(page.getByTestId('services')).toBeVisible({ timeout: 8_000 });
    await page.unrouteAll({ behavior: 'ignoreErrors' });
  });
});
