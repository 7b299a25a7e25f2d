// The rows of the Start page for logs that are there already: a file, four proxies, rsyslog, Prometheus. Real programs of
// Debian, with the texts of the page in their configuration; only the places of files and ports are the test's own.
import { mkdirSync } from 'node:fs';
import type { Page } from '@playwright/test';
import { Desk, type Shown } from './desk.ts';
import { expect, test } from './fixtures.ts';
import { freePorts, Shipwake } from './shipwake.ts';

/** As the rsyslog row starts it. */
const SYSLOG = ['--syslog-tcp', '127.0.0.1:1514'];

let shipwake: Shipwake;
let desk: Desk;
let port: number;
test.beforeAll(async () => {
  shipwake = await Shipwake.serve(...SYSLOG);
});
test.beforeEach(async () => {
  desk = new Desk();
  port = (await freePorts()).http;
});
test.afterEach(() => desk.clear());
test.afterAll(async () => shipwake?.stop());

const ARRIVES = { timeout: 10_000 };

async function open(page: Page, lang: string, service = `of-${lang}`): Promise<Shown[]> {
  await page.goto(`${shipwake.url}/start?lang=${lang}&name=${service}&version=1.2.3&target=stage`);
  const blocks = page.getByTestId(`snippet-${lang}`).getByTestId('snippet');
  await expect(blocks.first()).toBeVisible();
  return blocks.evaluateAll((all) => all.map((each) => ({ text: each.textContent ?? '', file: each.getAttribute('data-file') })));
}

/** The release has arrived, and with `requests` its requests are counted. */
async function arrived(page: Page, service: string, requests = 0): Promise<void> {
  await expect(page.getByTestId('step-wanted')).toHaveAttribute('data-state', 'done', ARRIVES);
  if (requests === 0) return;
  const query = `select sum(requests) from release_health where service = '${service}' and version = '1.2.3' and resolution_s = 60 and source = 'access_log'`;
  await expect.poll(() => sql(query), ARRIVES).toBe(requests);
}

async function sql(query: string): Promise<unknown> {
  const answer = await fetch(`${shipwake.url}/api/v1/sql`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query }) });
  return ((await answer.json()) as { rows?: unknown[][] }).rows?.[0]?.[0];
}

async function request(times: number): Promise<void> {
  for (let i = 0; i < times; i += 1) await fetch(`http://127.0.0.1:${port}/hello`);
}

/** Follows a log in place of the one in /var/log, from when it is there. */
function follow(step: Shown | undefined, log: string): void {
  desk.write('logs/shipwake.log', '');
  desk.start((step?.text ?? '').replace(log, `${desk.folder}/logs/shipwake.log`));
}

test('tail -F', async ({ page }) => {
  const [step] = await open(page, 'pipe');
  desk.write('app.log', 'an old line\n');
  desk.start(step?.text ?? '');
  // What is written before tail has opened the file is not followed: one line, until one is seen.
  await expect(async () => {
    desk.run('echo "payment accepted" >> app.log');
    await expect(page.getByTestId('step-wanted')).toHaveAttribute('data-state', 'done', { timeout: 1_500 });
  }).toPass(ARRIVES);
  expect(await sql("select count(*) from logs where service = 'of-pipe' and body = 'an old line'")).toBe(0);
});

test('nginx', async ({ page }) => {
  const [format, tail] = await open(page, 'nginx');
  follow(tail, '/var/log/nginx/shipwake.log');
  const text = (format?.text ?? '').replace('/var/log/nginx', `${desk.folder}/logs`);
  desk.write('nginx.conf', `daemon off; pid ${desk.folder}/nginx.pid; error_log stderr; events {}
http { client_body_temp_path ${desk.folder}/body; proxy_temp_path ${desk.folder}/proxy; fastcgi_temp_path ${desk.folder}/fastcgi; uwsgi_temp_path ${desk.folder}/uwsgi; scgi_temp_path ${desk.folder}/scgi;
${text}
server { listen 127.0.0.1:${port}; return 200 hello; } }`);
  desk.start(`nginx -p ${desk.folder} -c ${desk.folder}/nginx.conf -e stderr`);
  await desk.visit(`http://127.0.0.1:${port}/`);
  await request(5);
  await arrived(page, 'of-nginx', 10);
});

test('httpd', async ({ page }) => {
  const [format, tail] = await open(page, 'httpd');
  follow(tail, '/var/log/apache2/shipwake.log');
  const text = (format?.text ?? '').replace('/var/log/apache2', `${desk.folder}/logs`);
  desk.write('apache2.conf', `ServerRoot ${desk.folder}
ServerName localhost
PidFile ${desk.folder}/pid
DefaultRuntimeDir ${desk.folder}
ErrorLog ${desk.folder}/errors
Listen 127.0.0.1:${port}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
DocumentRoot ${desk.folder}
User www-data
Group www-data
${text}
`);
  desk.start(`exec apache2 -X -f ${desk.folder}/apache2.conf`);
  await desk.visit(`http://127.0.0.1:${port}/`);
  await request(5);
  await arrived(page, 'of-httpd', 10);
});

test('HAProxy', async ({ page }) => {
  const [config, start] = await open(page, 'haproxy');
  desk.write('haproxy.cfg', `${config?.text ?? ''}
timeout client 5s
timeout server 5s
timeout connect 5s
frontend web
bind 127.0.0.1:${port}
http-request return status 200 content-type text/plain string hello
`);
  desk.start(start?.text ?? '');
  await desk.visit(`http://127.0.0.1:${port}/`);
  await request(5);
  await arrived(page, 'of-haproxy', 10);
});

test('Varnish', async ({ page }) => {
  const [step] = await open(page, 'varnish');
  const folder = `${desk.folder}/varnish`;
  mkdirSync(folder);
  desk.write('default.vcl', 'vcl 4.1; backend default none; sub vcl_recv { return (synth(200)); }');
  desk.start(`exec varnishd -F -j none -n ${folder} -a 127.0.0.1:${port} -f ${desk.folder}/default.vcl`);
  await desk.visit(`http://127.0.0.1:${port}/`);
  desk.start((step?.text ?? '').replace('varnishncsa', `varnishncsa -n ${folder}`));
  await expect(async () => {
    await request(1);
    await expect(page.getByTestId('step-wanted')).toHaveAttribute('data-state', 'done', { timeout: 1_500 });
  }).toPass(ARRIVES);
  const count = "select count(*) > 0 from logs where service = 'of-varnish' and attributes['http.server.request.duration'] is not null";
  await expect.poll(() => sql(count), ARRIVES).toBe(true);
});

test('rsyslog', async ({ page }) => {
  const [, config] = await open(page, 'rsyslog', 'my-program');
  desk.write('rsyslog.conf', `module(load="imudp")
input(type="imudp" address="127.0.0.1" port="${port}")
${config?.text ?? ''}
`);
  desk.start(`exec rsyslogd -n -f ${desk.folder}/rsyslog.conf -i ${desk.folder}/rsyslog.pid`);
  // Datagrams that come before rsyslog listens are gone.
  await expect(async () => {
    desk.run(`logger --server 127.0.0.1 --port ${port} --udp --rfc3164 --tag my-program 'payment accepted'`);
    await expect(page.getByTestId('step-wanted')).toHaveAttribute('data-state', 'done', { timeout: 1_500 });
  }).toPass(ARRIVES);
  expect(await sql("select max(body) from logs where service = 'my-program'")).toBe('payment accepted');
});

test('Prometheus', async ({ page }) => {
  const [config] = await open(page, 'prometheus');
  desk.write('prometheus.yml', `global: {scrape_interval: 1s}
scrape_configs:
  - job_name: of-prometheus
    static_configs: [{targets: ['${new URL(shipwake.url).host}']}]
${config?.text ?? ''}
`);
  desk.start(`exec prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:${port}`);
  await desk.visit(`http://127.0.0.1:${port}/-/ready`);
  await expect(page.getByTestId('step-wanted')).toHaveAttribute('data-state', 'done', { timeout: 20_000 });
});
