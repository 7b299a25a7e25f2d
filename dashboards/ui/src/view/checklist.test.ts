import { expect, it } from 'vitest';
import { checklist, seenBy, senderStep, wantedStep } from './checklist.ts';

const states = (pipeline: Parameters<typeof checklist>[0]) =>
  Object.fromEntries(checklist(pipeline, pipeline).map((step) => [step.key, step.state]));

it('nothing has arrived', () => {
  expect(new Set(Object.values(states({})))).toEqual(new Set(['open']));
});

it('a refused payload has reached the endpoint and nothing more', () => {
  const pipeline = { rejected: [{ reason: 'not_found', count: 1, detail: '/v1/trace does not exist' }] };
  expect(states(pipeline)['endpoint']).toBe('problem');
  expect(checklist(pipeline, pipeline)[0]?.detail).toContain('/v1/trace does not exist');
  expect(states(pipeline)['log']).toBe('open');
  expect(states({ ...pipeline, received: { logs: 1 } })['endpoint']).toBe('done');
});

it('records without a version are a problem that names the services', () => {
  const pipeline = { received: { logs: 3 }, services: 1, services_without_version: ['cart'] };
  expect(states(pipeline)['service_version']).toBe('problem');
  expect(checklist(pipeline, pipeline).find((step) => step.key === 'service_version')?.detail).toContain('cart');
});

it('two versions complete the way, and what arrived since is counted', () => {
  const now = { received: { logs: 5, metrics: 1, spans: 9 }, services: 2, services_without_version: [], services_with_two_versions: 1 };
  const steps = checklist(now, { received: { logs: 2 } });
  expect(new Set(steps.map((step) => step.state))).toEqual(new Set(['done']));
  expect(steps.find((step) => step.key === 'log')?.detail).toBe('5 received, 3 since you are here');
});

it('some services without a version are a problem, not a tick', () => {
  const found = { received: { logs: 3 }, services: 2, services_without_version: ['cart'] };
  expect(states(found)['service_version']).toBe('problem');
});

it('records without a name are a problem, with a version or without', () => {
  const name = (pipeline: Parameters<typeof checklist>[0], names: string[] = []) =>
    checklist(pipeline, pipeline, names.map((service) => ({ service }))).find((step) => step.key === 'service_name');
  const unnamed = name({ received: { logs: 3 }, services: 2, services_without_version: ['unknown_service'] }, ['cart', 'unknown_service']);
  expect(unnamed?.state).toBe('problem');
  expect(unnamed?.detail).toContain('1 of 2 services sends no service.name');
  expect(name({ services: 2 }, ['cart', 'unknown_service:java'])?.state).toBe('problem');
  expect(name({ services: 2 }, ['cart', 'unknown_service_desk'])?.state).toBe('done');
});

it('the release of the snippets is looked out for, and what is seen in its place is said', () => {
  const wanted = { service: 'cart', version: '2', environment: 'dev' };
  const seen = (service: string, env: string, version: string) => ({ service, env, version });
  const step = (...releases: Parameters<typeof wantedStep>[1]) => wantedStep(wanted, releases);
  expect(step(seen('cart', 'dev', '1'), seen('cart', 'dev', '2')).state).toBe('done');
  expect(step()).toMatchObject({ state: 'open', detail: 'not seen yet' });
  expect(step(seen('shop', 'dev', '2'))).toMatchObject({ state: 'open', detail: expect.stringContaining('shop') });
  expect(step(seen('cart', 'prod', '2'))).toMatchObject({ state: 'problem', detail: expect.stringContaining('in prod') });
  expect(step(seen('cart', 'dev', 'unversioned'))).toMatchObject({ state: 'problem', detail: expect.stringContaining('as unversioned') });
});

it('what Shipwake has said of releases itself is nobody\u2019s log record and no restart', () => {
  const pipeline = { received: { spans: 4 }, own: 2, stored: { logs: 2, spans: 4 }, services: 1 };
  const of = (key: string) => checklist(pipeline, pipeline, [], 'utc').find((step) => step.key === key);
  expect(of('log')).toMatchObject({ state: 'open' });
  expect(of('span')?.detail).not.toContain('started again');
});

it('what came before a restart is told apart from what comes now', () => {
  const started = Date.UTC(2026, 10, 23, 14, 2, 0);
  const pipeline = { started, received: { logs: 2 }, stored: { logs: 400, metrics: 7 }, last: { logs: started + 5_000 }, services: 1, services_without_version: [] };
  const of = (key: string, found = pipeline as Parameters<typeof checklist>[0]) => checklist(found, found, [], 'utc').find((step) => step.key === key);
  expect(of('log')).toMatchObject({ state: 'done', detail: '2 received since Shipwake started again at 14:02:00, last 14:02:05, 400 stored in all' });
  expect(of('metric')).toMatchObject({ state: 'before', detail: '7 stored before Shipwake started again at 14:02:00; none since' });
  expect(of('span')).toMatchObject({ state: 'open' });
  const silent = { started, stored: { spans: 3 }, services: 1 };
  expect(of('endpoint', silent)).toMatchObject({ state: 'before', detail: 'before Shipwake started again at 14:02:00; nothing since' });
  const refused = { ...silent, rejected: [{ reason: 'tls', count: 1, detail: '' }] };
  expect(of('endpoint', refused)).toMatchObject({ state: 'problem', detail: expect.stringContaining('since Shipwake started again at 14:02:00: TLS on a plain port') });
  const release = { service: 'cart', env: 'dev', version: '2', last: started - 60_000 };
  expect(wantedStep({ service: 'cart', version: '2', environment: 'dev' }, [release], started, 'utc')).toMatchObject({ state: 'before', detail: expect.stringContaining('14:01:00') });
  expect(wantedStep({ service: 'cart', version: '2', environment: 'dev' }, [{ ...release, last: started + 1 }], started, 'utc').state).toBe('done');
});

it('each row ticks for its own kind of sender', () => {
  const last = Date.UTC(2026, 10, 23, 14, 2, 0);
  const pipeline = { senders: [{ kind: 'sdk_python', received: 3, last }, { kind: 'sdk_go', received: 4, last: last + 1_000 }, { kind: 'nginx', received: 9, last }] };
  expect(seenBy('python', pipeline)).toEqual({ received: 3, last });
  expect(seenBy('env', pipeline)).toEqual({ received: 7, last: last + 1_000 });
  expect([seenBy('java', pipeline), seenBy('httpd', pipeline), seenBy('lines', {})]).toEqual([null, null, null]);
  expect(senderStep('nginx', 'nginx', pipeline, 'utc')).toMatchObject({ state: 'done', detail: '9 records, last 14:02:00 (known by --format nginx)' });
  expect(senderStep('rsyslog', 'rsyslog', { started: last, stored: { logs: 2 } }, 'utc').detail).toContain('not since Shipwake started again at 14:02:00; who sent before');
});
