// What every test gets: a page that is watched. A console error, a violation of the content security policy or a request
// to another origin fails the test, unless the test has said that it takes the server away.
import { test as base, expect, type BrowserContext, type Page } from '@playwright/test';

export interface Watch {
  problems: string[];
  /** From here on failed connections are what the test is about. */
  serverGoesAway(): void;
}

export const test = base.extend<{ watch: Watch }>({
  watch: [
    async ({ context }, use) => {
      const watch = watchContext(context);
      await use(watch);
      expect(watch.problems, 'problems in the browser').toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export function watchContext(context: BrowserContext): Watch {
  const problems: string[] = [];
  let away = false;
  void context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  context.on('console', (message) => {
    const lost = away && /ERR_CONNECTION_REFUSED|WebSocket connection|Failed to load resource|net::ERR/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !lost) problems.push(`${message.type()}: ${message.text()}`);
  });
  context.on('weberror', (error) => problems.push(`uncaught: ${error.error().message}`));
  context.on('dialog', (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  context.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol !== 'data:' && url.hostname !== '127.0.0.1') problems.push(`foreign request: ${request.url()}`);
  });
  return { problems, serverGoesAway: () => (away = true) };
}

/** Waits until the page has painted data. */
export async function painted(page: Page): Promise<number> {
  await page.waitForFunction(() => Number(document.documentElement.dataset['wm']) > 0);
  return Number(await page.evaluate(() => document.documentElement.dataset['wm']));
}

export async function live(page: Page, state: 'live' | 'delayed' | 'paused' | 'offline', timeout = 20_000): Promise<void> {
  await page.waitForFunction((wanted) => document.documentElement.dataset['live'] === wanted, state, { timeout });
}

/** The accessible table of a chart, opened: rows newest first, values as numbers or null. */
export async function chartTable(page: Page, id: string): Promise<{ t: number; values: (number | null)[] }[]> {
  const details = page.getByTestId(`data-${id}`);
  if ((await details.getAttribute('open')) === null) await details.locator('summary').click();
  return details.locator('tbody tr').evaluateAll((rows) =>
    rows.map((row) => ({
      t: Number((row as HTMLElement).dataset['t']),
      values: [...row.querySelectorAll<HTMLElement>('td')].map((cell) => (cell.dataset['value'] === '' ? null : Number(cell.dataset['value']))),
    })),
  );
}
