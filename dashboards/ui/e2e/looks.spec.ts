// What must hold for every page in every look: accessible, no sideways scrolling, no layout that jumps.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from '@playwright/test';
import { expect, painted, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

let shipwake: Shipwake;
test.beforeAll(async () => {
  shipwake = await Shipwake.demo('canary-errors', { speed: 20 });
});
test.afterAll(async () => shipwake?.stop());

const PAGES = [
  { name: 'overview', path: '/', testid: 'services' },
  { name: 'service', path: '/s/checkout', testid: 'charts' },
  { name: 'toggle', path: '/s/checkout/toggle/checkout-v2', testid: 'toggle-cells' },
  { name: 'compare', path: '/compare?s=checkout', testid: 'overlay' },
  { name: 'compare, errors', path: '/compare?s=checkout&m=errors', testid: 'measures' },
  { name: 'compare, a KPI', path: '/compare?s=checkout&m=kpi:revenue', testid: 'measures' },
  { name: 'compare, to choose', path: '/compare', testid: 'choose' },
  { name: 'start', path: '/start?lang=otlp', testid: 'checklist' },
  { name: 'not found', path: '/no/such/page', testid: 'not-found' },
  { name: 'logs', path: '/logs', testid: 'lines' },
  { name: 'logs, a tail by level', path: '/logs?live=1&by=level', testid: 'lines' },
  { name: 'patterns', path: '/logs?view=patterns', testid: 'log-patterns' },
  { name: 'deploys', path: '/deploys', testid: 'deploys' },
  { name: 'record', path: '/v/checkout/2.14.0', testid: 'record' },
  { name: 'record on paper', path: '/print/verdict/checkout/2.14.0', testid: 'record' },
  { name: 'new patterns', path: '/logs?view=new&s=checkout', testid: 'log-patterns' },
];

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function open(page: Page, { path, testid }: { path: string; testid: string }): Promise<void> {
  await page.goto(shipwake.url + path);
  await expect(page.getByTestId(testid)).toBeVisible();
  if (testid !== 'not-found') await painted(page);
}

async function violations(page: Page): Promise<string[]> {
  // Through the debugger: the page's own policy lets no foreign script in, and must not be weakened for a test.
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: `${axe};0` });
  return page.evaluate(async () => {
    const { axe } = window as unknown as { axe: typeof import('axe-core') };
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const results = await axe.run(document, { runOnly: tags });
    if (results.passes.length < 10) return ['axe has looked at nothing'];
    return results.violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.target.join(' ')).join(' | ')}`);
  });
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const target of PAGES) {
    test(`${target.name}, ${colorScheme}: no accessibility violation`, async ({ page }) => {
      await page.emulateMedia({ colorScheme });
      await open(page, target);
      expect(await violations(page)).toEqual([]);
    });
  }
}

for (const width of [360, 390, 768]) {
  test(`no page scrolls sideways at ${width} px`, async ({ page }) => {
    await page.setViewportSize({ width, height: 844 });
    for (const target of PAGES) {
      await open(page, target);
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(beyond, target.name).toBeLessThanOrEqual(0);
    }
  });
}

test('the layout does not jump while data comes in', async ({ page }) => {
  // Lines of a tail move when others come: that is what it is for.
  for (const target of PAGES.filter(({ path }) => !path.includes('live=1'))) {
    await open(page, target);
    const wm = Number(await page.evaluate(() => document.documentElement.dataset['wm']));
    if (target.testid === 'services' || target.testid === 'charts') {
      await page.waitForFunction((seen) => Number(document.documentElement.dataset['wm']) > seen + 2_000, wm);
    }
    const shift = await page.evaluate(
      () =>
        new Promise<number>((done) => {
          new PerformanceObserver((list) => {
            done(list.getEntries().reduce((sum, entry) => sum + (entry as unknown as { value: number }).value, 0));
          }).observe({ type: 'layout-shift', buffered: true });
          requestAnimationFrame(() => setTimeout(() => done(0), 200));
        }),
    );
    expect(shift, target.name).toBeLessThan(0.05);
  }
});

test('the theme follows the system until somebody chooses, and the choice stays', async ({ page }) => {
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.emulateMedia({ colorScheme: 'dark' });
  await open(page, PAGES[0]!);
  expect(await background()).toBe('rgb(13, 16, 23)');
  await page.getByTestId('theme').click();
  expect(await background()).toBe('rgb(255, 255, 255)');
  await page.reload();
  expect(await background()).toBe('rgb(255, 255, 255)');
  await page.getByTestId('theme').click();
  await page.emulateMedia({ colorScheme: 'light' });
  expect(await background()).toBe('rgb(255, 255, 255)');
});

test('a line is drawn in the colour of its role', async ({ page }) => {
  await page.emulateMedia({ colorScheme: 'dark' });
  await open(page, PAGES[1]!);
  await expect.poll(() => pixelsOf(page, 'chart-rps', [0x26, 0x82, 0xff])).toBeGreaterThan(5);
});

/** Counts pixels of one colour in a picture of a canvas: reading the canvas itself would slow its drawing down. */
async function pixelsOf(page: Page, chart: string, wanted: [number, number, number]): Promise<number> {
  // A chart is drawn anew when a version joins: then the next look finds it.
  const picture = (await page.getByTestId(chart).locator('canvas').screenshot().catch(() => null))?.toString('base64');
  if (picture === undefined) return 0;
  return page.evaluate(
    async ([data, color]) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const context = new OffscreenCanvas(image.width, image.height).getContext('2d', { willReadFrequently: true });
      context?.drawImage(image, 0, 0);
      const pixels = context?.getImageData(0, 0, image.width, image.height).data ?? [];
      let found = 0;
      for (let i = 0; i < pixels.length; i += 4) if (color.every((part, k) => pixels[i + k] === part)) found += 1;
      return found;
    },
    [picture, wanted] as const,
  );
}

test('an address without a page says so and leads back', async ({ page }) => {
  await open(page, PAGES.find(({ name }) => name === 'not found')!);
  await page.getByRole('link', { name: 'Overview of all services' }).click();
  await expect(page.getByTestId('overview')).toBeVisible();
});
