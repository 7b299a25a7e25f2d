// A stranger's first minutes: an empty server, snippets that are executed exactly as they are shown.
import { execFileSync } from 'node:child_process';
import { connect } from 'node:tls';
import type { Page } from '@playwright/test';
import type { Pipeline } from '../src/api/types.ts';
import { expect, live, test } from './fixtures.ts';
import { Shipwake } from './shipwake.ts';

test.describe.configure({ mode: 'serial' });

let shipwake: Shipwake;
test.beforeAll(async () => {
  shipwake = await Shipwake.serve();
});
test.afterAll(async () => shipwake?.stop());

const ARRIVES = { timeout: 10_000 };

async function shown(page: Page): Promise<string> {
  const snippet = page.getByTestId('snippet').first();
  await expect(snippet).toContainText(new URL(shipwake.http).host);
  return snippet.evaluate((element) => element.textContent ?? '');
}

function run(script: string): string {
  return execFileSync('bash', ['-c', script], { encoding: 'utf8', timeout: 20_000 });
}

const step = (page: Page, key: string) => page.getByTestId(`step-${key}`);

test('an empty server shows how to send data in place of an empty table', async ({ page }) => {
  await page.goto(shipwake.url);
  await expect(page.getByTestId('summary')).toContainText('No service has sent data yet');
  await expect(page.getByTestId('start')).toBeVisible();
  await expect(step(page, 'endpoint')).toHaveAttribute('data-state', 'open');
  await live(page, 'live');
});

test('the log line snippet works as shown and turns the empty overview into a table', async ({ page, context }) => {
  const overview = await context.newPage();
  await overview.goto(shipwake.url);
  await page.goto(`${shipwake.url}/start?lang=lines&name=hello-lines`);
  expect(run(await shown(page))).toContain('"accepted":1');
  await expect(step(page, 'log')).toHaveAttribute('data-state', 'done', ARRIVES);
  await expect(step(page, 'service_name')).toHaveAttribute('data-state', 'done', ARRIVES);
  await expect(step(page, 'service_version')).toHaveAttribute('data-state', 'done', ARRIVES);
  await expect(overview.locator('[data-service="hello-lines"]')).toContainText('1.0.0', ARRIVES);
});

test('the OTLP snippet works as shown and its service appears with its version', async ({ page }) => {
  await page.goto(`${shipwake.url}/start?lang=otlp&name=${encodeURIComponent("it's <b>odd</b> & \"quoted\"")}&version=1.0%2C0&target=staging%20two`);
  expect(run(await shown(page)).trim()).toBe('200');
  await expect(step(page, 'span')).toHaveAttribute('data-state', 'done', ARRIVES);
  await page.getByTestId('nav').getByRole('link', { name: 'Overview' }).click();
  const row = page.getByTestId('service-row').filter({ hasText: "it's <b>odd</b>" });
  await expect(row).toContainText('1.0,0', ARRIVES);
  await row.getByRole('link').click();
  await expect(page.getByRole('heading', { name: "it's <b>odd</b> & \"quoted\"" })).toBeVisible();
  await expect(page.getByTestId('versions')).toContainText('1.0,0');
});

test('the environment of the SDK snippet is what a shell gets', async ({ page }) => {
  await page.goto(`${shipwake.url}/start?name=my%20service&version=2.0%2B7`);
  const text = await shown(page);
  expect(run(`${text}\nprintf '%s|%s|%s' "$OTEL_EXPORTER_OTLP_ENDPOINT" "$OTEL_SERVICE_NAME" "$OTEL_RESOURCE_ATTRIBUTES"`)).toBe(
    `${shipwake.http}|my service|service.version=2.0%2B7,deployment.environment.name=dev`,
  );
});

test('a second version completes the way', async ({ page }) => {
  await page.goto(`${shipwake.url}/start?lang=lines&name=hello-lines&version=1.0.1`);
  run(await shown(page));
  await expect(step(page, 'two_versions')).toHaveAttribute('data-state', 'done', ARRIVES);
});

test('a refused payload is listed with its reason', async ({ page }) => {
  await page.goto(`${shipwake.url}/start`);
  const answer = await fetch(`${shipwake.http}/v1/logs`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: new Uint8Array([0x0a, 0xff, 0xff, 0x01, 0x00]),
  });
  expect(answer.status).toBe(400);
  await expect(page.getByTestId('rejected')).toBeVisible(ARRIVES);
});

test('a wrong path, and TLS on the plain port, are told with what to change', async ({ page }) => {
  await page.goto(`${shipwake.url}/start`);
  const answer = await fetch(`${shipwake.http}/v1/traces/v1/traces`, { method: 'POST', body: 'x' });
  expect(answer.status).toBe(404);
  await expect(page.getByTestId('rejected')).toContainText('OTEL_EXPORTER_OTLP_ENDPOINT to the address alone', ARRIVES);
  const failed = await new Promise<Error>((done) => connect(Number(new URL(shipwake.http).port), '127.0.0.1').on('error', done));
  expect(failed.message).toBeTruthy();
  await expect(page.getByTestId('rejected')).toContainText('set an endpoint that begins with http://', ARRIVES);
});

test('another version than the one of the snippets is said, and the right one ticks the step', async ({ page }) => {
  await page.goto(`${shipwake.url}/start?lang=lines&name=hello-lines&version=2.0.0`);
  await expect(step(page, 'wanted')).toHaveAttribute('data-state', 'problem', ARRIVES);
  await expect(step(page, 'wanted')).toContainText('1.0.1');
  run(await shown(page));
  await expect(step(page, 'wanted')).toHaveAttribute('data-state', 'done', ARRIVES);
});

test('a service without a version is named, with the way to mend it', async ({ page }) => {
  const answer = await fetch(`${shipwake.http}/v1/lines?service=nameless`, { method: 'POST', body: 'a plain line\n' });
  expect(answer.status).toBe(200);
  await page.goto(`${shipwake.url}/start`);
  await expect(step(page, 'service_version')).toContainText('nameless', ARRIVES);
  await page.goto(shipwake.url);
  await expect(page.getByTestId('unversioned-banner')).toContainText('nameless', ARRIVES);
  await page.getByTestId('unversioned-banner').getByRole('link').click();
  await expect(page.getByTestId('start')).toBeVisible();
});

test('the copy button puts the exact text', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: shipwake.url });
  await page.goto(`${shipwake.url}/start?lang=lines`);
  const text = await shown(page);
  await page.getByRole('button', { name: /^Copy: / }).first().click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(text);
});

test('telemetry is text wherever it is shown', async ({ page }) => {
  const hostile = '<img src=x onerror=alert(1)>';
  const query = new URLSearchParams({ service: hostile, version: hostile, environment: hostile });
  const body = JSON.stringify({ level: 'error', message: hostile });
  expect((await fetch(`${shipwake.http}/v1/lines?${query}`, { method: 'POST', body })).status).toBe(200);
  await page.goto(shipwake.url);
  await expect(page.getByTestId('service-row').filter({ hasText: hostile })).toBeVisible(ARRIVES);
  await page.goto(`${shipwake.url}/s/${encodeURIComponent(hostile)}?env=${encodeURIComponent(hostile)}`);
  await expect(page.getByRole('heading', { name: hostile })).toBeVisible();
  await expect(page.getByTestId('versions')).toContainText(hostile, ARRIVES);
  expect(await page.locator('main img').count()).toBe(0);
});

test('each row ticks for its own kind of sender', async ({ page }) => {
  await page.goto(`${shipwake.url}/start?lang=nginx`);
  await expect(step(page, 'sender')).toHaveAttribute('data-state', 'open');
  const line = '{"time":"2026-11-26T10:00:00Z","method":"GET","path":"/","status":200,"request_time":0.01,"remote_addr":"10.0.0.1"}';
  const answer = await fetch(`${shipwake.http}/v1/lines?service=edge&version=1&format=nginx`, { method: 'POST', body: line });
  expect(answer.status).toBe(200);
  await expect(step(page, 'sender')).toHaveAttribute('data-state', 'done', ARRIVES);
  await expect(page.getByRole('button', { name: /^nginx.*has sent/ })).toBeVisible();
  await expect(page.getByRole('button', { name: /^httpd$/ })).toBeVisible();
});

test('after a restart the page tells what came before it from what comes now', async ({ page, watch }) => {
  const before = await shipwake.api<Pipeline>('/api/v1/pipeline');
  expect(before.stored?.logs).toBe(before.received?.logs);
  watch.serverGoesAway();
  await shipwake.kill();
  await shipwake.start(['serve']);
  await page.goto(`${shipwake.url}/start?lang=lines&name=hello-lines&version=2.0.0`);
  await expect(step(page, 'log')).toHaveAttribute('data-state', 'before', ARRIVES);
  await expect(step(page, 'log')).toContainText(`${before.stored?.logs} stored before Shipwake started again`);
  await expect(step(page, 'wanted')).toContainText('before Shipwake started again');
  await expect(step(page, 'endpoint')).toContainText('nothing since');
  run(await shown(page));
  await expect(step(page, 'log')).toHaveAttribute('data-state', 'done', ARRIVES);
  await expect(step(page, 'wanted')).toHaveAttribute('data-state', 'done', ARRIVES);
  const after = await shipwake.api<Pipeline>('/api/v1/pipeline');
  expect([after.received?.logs, after.stored?.logs]).toEqual([1, (before.stored?.logs ?? 0) + 1]);
});
