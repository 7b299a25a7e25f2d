import { expect, it } from 'vitest';
import { checklist, wantedStep } from './checklist.ts';

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
