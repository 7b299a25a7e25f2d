// Senders fall silent while the server runs on: the page says since when, at every width, and takes it back.
import { expect, live, painted, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

let shipwake: Shipwake;
test.beforeAll(async () => {
  shipwake = await Shipwake.serve();
});
test.afterAll(async () => shipwake?.stop());

/** Half a minute of silence, and a little for the counts that are read every five seconds. */
const QUIET_LIMIT_MS = 60_000;

async function send(text: string): Promise<void> {
  const url = `${shipwake.http}/v1/lines?service=quiet&version=1.0.0&environment=test`;
  const answer = await fetch(url, { method: 'POST', body: text });
  expect(answer.status).toBe(200);
}

test('a page whose senders have stopped says for how long, and says live again with the next record', async ({ page }) => {
  await send('one line');
  await page.goto(shipwake.url);
  await painted(page);
  const chip = page.getByTestId('freshness');
  await expect(chip).toContainText(/no new data for \d+\ss/, { timeout: QUIET_LIMIT_MS });
  await expect(chip).toHaveAttribute('data-state', 'idle');

  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 844 });
    const words = chip.locator('.words');
    const fits = await words.evaluate((element) => element.scrollWidth <= element.clientWidth);
    expect(fits, `the whole sentence is seen at ${width} pixels`).toBe(true);
    await expect(words).toHaveText(width > 640 ? /^no new data for \d+\s\w+$/ : /^quiet \d+\s\w+$/, { useInnerText: true });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(overflow, `nothing scrolls sideways at ${width} pixels`).toBeLessThanOrEqual(0);
  }

  await send('another line');
  await live(page, 'live');
  await expect(chip).not.toContainText('no new data');
});
