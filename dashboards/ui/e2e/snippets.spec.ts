// Every row of the Start page whose tools can be had here: followed as it is shown, on an empty desk, until the page itself
// says that the release has arrived.
import type { Page } from '@playwright/test';
import { BUILT, Desk, REPOSITORY_CLIENTS, type Shown } from './desk.ts';
import { expect, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

test.describe.configure({ timeout: 400_000 });

let shipwake: Shipwake;
let desk: Desk | null = null;
test.beforeAll(async () => {
  shipwake = await Shipwake.serve();
});
test.afterEach(() => {
  desk?.clear();
  desk = null;
});
test.afterAll(async () => shipwake?.stop());

/** From the first request to the tick, as the page promises. */
const ARRIVES = { timeout: 10_000 };

/** Opens the row and gives its texts. */
async function open(page: Page, lang: string, service = `of ${lang}`): Promise<Shown[]> {
  await page.goto(`${shipwake.url}/start?lang=${lang}&name=${encodeURIComponent(service)}&version=1.2.3%2B7&target=the%20stage`);
  const blocks = page.getByTestId(`snippet-${lang}`).getByTestId('snippet');
  await expect(blocks.first()).toBeVisible();
  await expect(page.getByTestId('step-wanted')).toHaveAttribute('data-state', 'open');
  return blocks.evaluateAll((all) => all.map((each) => ({ text: each.textContent ?? '', file: each.getAttribute('data-file') })));
}

async function arrived(page: Page): Promise<void> {
  await expect(page.getByTestId('step-wanted')).toHaveAttribute('data-state', 'done', ARRIVES);
}

test('Python', async ({ page }) => {
  const steps = await open(page, 'python');
  desk = new Desk(['env/bin']);
  desk.copy('python/app.py', 'app.py');
  desk.run('python3 -m venv env && pip install --quiet flask');
  desk.start(desk.follow(steps));
  await desk.visit(`http://127.0.0.1:${await desk.says('listening')}/items/7`);
  await arrived(page);
});

test('JavaScript', async ({ page }) => {
  const steps = await open(page, 'node');
  desk = new Desk();
  desk.copy('javascript/app.js', 'app.js');
  desk.run('npm init --yes');
  desk.start(desk.follow(steps));
  await desk.visit(`http://127.0.0.1:${await desk.says('listening')}/items/7`);
  await arrived(page);
});

test('Java', async ({ page }) => {
  const steps = await open(page, 'java');
  desk = new Desk();
  desk.copy('java/src/main/java/shop/App.java', 'App.java');
  desk.run('javac -d classes App.java && jar --create --file app.jar --main-class shop.App -C classes .');
  desk.start(desk.follow(steps));
  await desk.visit(`http://127.0.0.1:${await desk.says('listening')}/items/7`);
  await arrived(page);
});

test('Go', async ({ page }) => {
  const steps = await open(page, 'go');
  desk = new Desk();
  desk.start(desk.follow(steps));
  await desk.visit('http://127.0.0.1:8080/');
  await arrived(page);
});

test('Rust', async ({ page }) => {
  const steps = await open(page, 'rust');
  // Built crates are kept: they take a minute, and less without debug information.
  desk = new Desk([], { CARGO_TARGET_DIR: `${BUILT}/snippet-rust`, CARGO_PROFILE_DEV_DEBUG: '0' });
  desk.run(desk.follow(steps));
  await arrived(page);
});

test('a Collector', async ({ page }) => {
  const [span] = await open(page, 'otlp', 'of collector');
  const steps = await open(page, 'collector');
  desk = new Desk(['bin']);
  desk.run(`go build -C '${REPOSITORY_CLIENTS}/collector' -trimpath '-ldflags=-s -w' -o "$PWD/bin/otelcol" .`);
  desk.start(desk.follow(steps));
  await desk.visit('http://127.0.0.1:14318/');
  // An app in front of it: the span that the page writes by hand, sent to the Collector.
  expect(desk.run((span?.text ?? '').replace(shipwake.http, 'http://127.0.0.1:14318')).trim()).toBe('200');
  await arrived(page);
});

test('curl, a line', async ({ page }) => {
  const [step] = await open(page, 'lines');
  desk = new Desk();
  expect(desk.run(step?.text ?? '')).toContain('"accepted":1');
  await arrived(page);
});

test('curl, OTLP by hand', async ({ page }) => {
  const [step] = await open(page, 'otlp');
  desk = new Desk();
  desk.run(step?.text ?? '');
  await arrived(page);
});
