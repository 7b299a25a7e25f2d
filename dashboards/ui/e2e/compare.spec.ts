// Two versions laid over each other: from the page of a service, by itself, swapped, filtered, and against another time. What is
// shown is what the API says.
import type { Page } from '@playwright/test';
import type { Comparison } from '../src/api/compare.ts';
import { expect, painted, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

test.describe.configure({ mode: 'serial' });
let shipwake: Shipwake;
test.beforeAll(async () => {
  shipwake = await Shipwake.demo('canary-slow-p99', { speed: 8, scale: 6 });
});
test.afterAll(async () => shipwake?.stop());

const cellOf = (page: Page, q: number, column: number) => page.locator(`[data-testid="quantile"][data-q="${q}"] td`).nth(column);

async function answerOf(page: Page): Promise<Comparison> {
  const [response] = await Promise.all([page.waitForResponse((each) => each.url().endsWith('/api/v1/compare') && each.ok()), page.reload()]);
  return (await response.json()) as Comparison;
}

test('the page of a service leads to its two versions, by button and by key, and the slow tail is found', async ({ page }) => {
  test.setTimeout(240_000);
  await page.goto(`${shipwake.url}/s/checkout?from=now-5m`);
  await painted(page);
  await expect(page.getByTestId('compare-link')).toHaveAttribute('href', /a=ver%3A.*b=ver%3A/, { timeout: 60_000 });
  await page.keyboard.press('c');
  await expect(page).toHaveURL(/\/compare\?.*s=checkout/);
  await expect(page.getByTestId('sentence')).toContainText('is slower than', { timeout: 150_000 });
  // Which quantile is known first depends on how many requests there are: the tail needs the most.
  await expect(page.locator('[data-testid="quantile"][data-kind="more"]').first()).toBeVisible();
  await expect(page.getByTestId('gap')).toHaveAttribute('d', /^M/);
  await expect(page.getByTestId('band')).toHaveAttribute('d', /^M/);
});

test('what is shown is what the API says, and the parts of a route add up', async ({ page }) => {
  // A range that does not move: the same question has the same answer.
  const to = Date.now();
  await page.goto(`${shipwake.url}/compare?s=checkout&from=${to - 240_000}&to=${to}`);
  await expect(page.getByTestId('sentence')).not.toBeEmpty();
  await expect(page).toHaveURL(/a=ver%3A.*b=ver%3A/);
  const answer = await answerOf(page);
  expect(answer.a.version).not.toBe(answer.b.version);
  expect(answer.a.counts.reduce((sum, each) => sum + each, 0)).toBe(answer.a.n);
  for (const { q, diff, lo, hi } of answer.quantiles) {
    await expect(cellOf(page, q, 2)).toHaveAttribute('data-value', String(diff ?? ''));
    await expect(cellOf(page, q, 3)).toHaveAttribute('data-lo', String(lo ?? ''));
    await expect(cellOf(page, q, 3)).toHaveAttribute('data-hi', String(hi ?? ''));
  }
  const routes = answer.explain.filter(({ dim }) => dim === 'route');
  expect(routes.length).toBeGreaterThan(1);
  const whole = (answer.stats.mean_b ?? 0) - (answer.stats.mean_a ?? 0);
  expect(Math.abs(routes.reduce((sum, { adds }) => sum + adds, 0) - whole)).toBeLessThan(1e-4);
  await expect(page.getByTestId('resolution')).toContainText('bucket resolution');
  const details = page.getByTestId('data-shift');
  await details.locator('summary').click();
  await expect(details.locator('tbody tr')).toHaveCount(answer.shift.length);
});

test('swapping the sides turns the signs, by button and by key, and back leads back', async ({ page }) => {
  const to = Date.now();
  await page.goto(`${shipwake.url}/compare?s=checkout&from=${to - 240_000}&to=${to}`);
  await expect(page).toHaveURL(/a=ver%3A.*b=ver%3A/);
  const there = await answerOf(page);
  await Promise.all([page.waitForResponse((each) => each.url().endsWith('/api/v1/compare') && each.ok()), page.getByTestId('swap').click()]);
  await expect(page.getByTestId('version-a')).toHaveValue(there.b.version ?? '');
  const back = await answerOf(page);
  expect([back.a.version, back.b.version]).toEqual([there.b.version, there.a.version]);
  for (const [i, one] of there.quantiles.entries()) {
    // Late records may have come in between; the sign and the size stay.
    expect(Math.abs((one.diff ?? 0) + (back.quantiles[i]?.diff ?? 0))).toBeLessThan(Math.abs(one.diff ?? 0) * 0.2 + 0.005);
  }
  await page.keyboard.press('x');
  await expect(page.getByTestId('version-a')).toHaveValue(there.a.version ?? '');
  await page.goBack();
  await expect(page.getByTestId('version-a')).toHaveValue(there.b.version ?? '');
});

test('a row of what explains it looks at that route alone, and the address holds it', async ({ page }) => {
  await page.goto(`${shipwake.url}/compare?s=checkout&from=now-4m`);
  const row = page.locator('[data-testid="explained"][data-dim="route"] [data-testid="explained-row"]').first();
  const route = (await row.getAttribute('data-value')) ?? '';
  await row.getByRole('button').click();
  await expect(page).toHaveURL(new RegExp(`f=${encodeURIComponent('route:eq:')}`));
  await expect(page.getByTestId('route')).toHaveValue(route);
  await expect(page.locator('[data-testid="explained"][data-dim="route"]')).toHaveCount(0);
  await page.reload();
  await expect(page.getByTestId('route')).toHaveValue(route);
});

test('durations are selected by dragging and by writing, and explained', async ({ page }) => {
  await page.goto(`${shipwake.url}/compare?s=checkout&from=now-4m&view=cdf`);
  const chart = page.getByTestId('overlay').locator('svg');
  await expect(chart).toBeVisible();
  await expect(page.getByRole('button', { name: 'Cumulated' })).toHaveAttribute('aria-pressed', 'true');
  await chart.scrollIntoViewIfNeeded();
  const box = (await chart.boundingBox())!;
  await page.mouse.move(box.x + box.width * 0.5, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + 60, { steps: 4 });
  await page.mouse.up();
  await expect(page).toHaveURL(/select=/);
  await expect(page.getByTestId('explain')).toContainText('in the selection');
  await page.getByTestId('select-clear').click();
  await expect(page).not.toHaveURL(/select=/);
  await page.getByTestId('select-from').fill('200');
  await page.getByTestId('select-to').fill('5000');
  await page.getByRole('button', { name: 'Explain these' }).click();
  await expect(page.getByTestId('selection')).toContainText('200');
  // The chart can be read without a mouse.
  await page.getByRole('slider', { name: 'Distribution of durations' }).focus();
  await page.keyboard.press('End');
  await page.keyboard.press('ArrowLeft');
  await expect(page.getByTestId('overlay-reading')).toContainText(/A .* B .* of the requests/);
});

test('everything that both versions have stands in one list, and a row of it is drawn and explained by one question', async ({ page }) => {
  const to = Date.now();
  await page.goto(`${shipwake.url}/compare?s=checkout&from=${to - 240_000}&to=${to}`);
  await expect(page).toHaveURL(/a=ver%3A.*b=ver%3A/);
  const answer = await answerOf(page);
  const groups = new Set(answer.measures.map(({ group }) => group));
  for (const group of ['requests', 'sessions', 'kpi'] as const) expect(groups, `${group} of ${JSON.stringify(answer.measures.map(({ metric }) => metric))}`).toContain(group);
  await expect(page.getByTestId('measure')).toHaveCount(answer.measures.length);
  for (const { metric, q, a, b, lo, hi } of answer.measures) {
    const row = page.locator(`[data-testid="measure"][data-metric="${metric}"][data-q="${q ?? ''}"]`);
    await expect(row.locator('[data-name="A"]')).toHaveAttribute('data-value', String(a ?? ''));
    await expect(row.locator('[data-name="B"]')).toHaveAttribute('data-value', String(b ?? ''));
    await expect(row.locator('[data-lo]')).toHaveAttribute('data-lo', String(lo ?? ''));
    await expect(row.locator('[data-hi]')).toHaveAttribute('data-hi', String(hi ?? ''));
  }
  let asked = 0;
  page.on('request', (request) => (asked += request.url().endsWith('/api/v1/compare') ? 1 : 0));
  await page.locator('[data-testid="measure"][data-metric="errors"]').getByRole('button').click();
  await expect(page).toHaveURL(/m=errors/);
  await expect(page.getByTestId('sentence')).toContainText('Error ratio');
  await expect(page.getByTestId('explain')).toContainText('error ratios');
  await expect(page.getByTestId('overlay')).toHaveCount(0);
  expect(asked, 'one question for one choice').toBe(1);
  const valued = answer.measures.find(({ distribution, group }) => distribution && group !== 'requests');
  if (valued) {
    await page.locator(`[data-testid="measure"][data-metric="${valued.metric}"]`).first().getByRole('button').click();
    await expect(page.getByTestId('overlay')).toContainText('is distributed');
    await expect(page.getByTestId('shift')).toBeVisible();
    await page.reload();
    await expect(page.locator(`[data-testid="measure"][data-metric="${valued.metric}"]`).first().getByRole('button')).toHaveAttribute('aria-pressed', 'true');
  }
  await page.goBack();
});

test('the sides that the server chose are written down without asking again', async ({ page }) => {
  const to = Date.now();
  let asked = 0;
  page.on('request', (request) => (asked += request.url().endsWith('/api/v1/compare') ? 1 : 0));
  await page.goto(`${shipwake.url}/compare?s=checkout&from=${to - 240_000}&to=${to}`);
  await expect(page).toHaveURL(/a=ver%3A.*b=ver%3A/);
  await expect(page.getByTestId('measures')).toBeVisible();
  await page.getByTestId('swap').click();
  await expect(page.getByTestId('facts-a')).toBeVisible();
  await expect.poll(() => asked, { message: 'one for the page, one for the swap' }).toBe(2);
});

test('a version against its own past says that two times are compared, and against itself marks nothing', async ({ page }) => {
  await page.goto(`${shipwake.url}/compare?s=checkout&from=now-1m`);
  await expect(page).toHaveURL(/a=ver%3A.*b=ver%3A/);
  const baseline = await page.getByTestId('version-a').inputValue();
  await page.getByTestId('version-b').selectOption(baseline);
  await expect(page.getByTestId('warnings')).toContainText('the same requests');
  await expect(page.locator('[data-testid="quantile"][data-kind="more"], [data-testid="quantile"][data-kind="less"]')).toHaveCount(0);
  await page.getByTestId('time-a').selectOption('before');
  await expect(page).toHaveURL(/win%3A/);
  await expect(page.getByTestId('warnings')).toContainText(/times|not the same/);
});

test('a variant of a toggle is a cohort, and a version has nothing in common with it', async ({ page }) => {
  await page.goto(`${shipwake.url}/compare?s=checkout&from=now-4m`);
  await expect(page.getByTestId('toggle-a')).toBeVisible();
  const flags = await page.getByTestId('toggle-a').locator('option').allTextContents();
  const variants = flags.filter((each) => each.startsWith('checkout-v2='));
  expect(variants.length).toBe(2);
  await page.getByTestId('toggle-a').selectOption(variants[0] ?? '');
  await expect(page.getByTestId('nothing-in-common')).toBeVisible();
  await page.getByTestId('toggle-b').selectOption(variants[1] ?? '');
  await expect(page.getByTestId('overlay')).toBeVisible();
  await expect(page.getByTestId('sentence')).toContainText('checkout-v2=');
});

test('without a service the page lists them, and what is not known is said in words', async ({ page, watch }) => {
  await page.goto(shipwake.url);
  await painted(page);
  await page.getByTestId('nav').getByRole('link', { name: 'Compare' }).click();
  await page.getByTestId('choose').getByRole('link', { name: /^checkout/ }).click();
  await expect(page).toHaveURL(/\/compare\?.*s=checkout/);
  await expect(page.getByTestId('sentence')).not.toBeEmpty();
  // A refused question is what this is about; the browser logs it.
  watch.serverGoesAway();
  await page.goto(`${shipwake.url}/compare?s=checkout&a=ver:9.9`);
  await expect(page.getByTestId('failure')).toContainText('its versions: ');
});
