// The way from nothing to two versions that can be compared, read off the state of the pipeline. Pure.
import type { Pipeline } from '../api/types.ts';
import { count, plural } from './format.ts';

export interface Step {
  key: string;
  title: string;
  state: 'done' | 'open' | 'problem';
  detail: string;
}

/** What records without `service.name` are kept under; some SDKs add the name of the program. */
const UNKNOWN = /^unknown_service(:|$)/;

/** `names` are the services as other answers know them: the pipeline names only those without a version. */
export function checklist(pipeline: Pipeline, first: Pipeline, names: readonly string[] = []): Step[] {
  const { logs = 0, metrics = 0, spans = 0 } = pipeline.received ?? {};
  const refused = (pipeline.rejected ?? []).reduce((total, each) => total + each.count, 0);
  const before = first.received ?? {};
  const unnamed = pipeline.services_without_version ?? [];
  const services = pipeline.services ?? 0;
  const versioned = services - unnamed.length;
  const two = pipeline.services_with_two_versions ?? 0;
  return [
    {
      key: 'endpoint',
      title: 'Something reached an endpoint',
      state: logs + metrics + spans + refused > 0 ? 'done' : 'open',
      detail: logs + metrics + spans + refused > 0 ? '' : 'waiting for the first request',
    },
    arrived('log', 'First log record', logs, before.logs ?? 0),
    arrived('metric', 'First metric', metrics, before.metrics ?? 0),
    arrived('span', 'First span', spans, before.spans ?? 0),
    nameStep(services, new Set([...unnamed, ...names])),
    versionStep(services, versioned, unnamed),
    {
      key: 'two_versions',
      title: 'Two versions of a service',
      state: two > 0 ? 'done' : 'open',
      detail: two > 0 ? `${plural(two, 'service')} can be compared` : versioned > 0 ? 'send the same service with another version to compare them' : '',
    },
  ];
}

function arrived(key: string, title: string, now: number, before: number): Step {
  const since = now > before ? `, ${count(now - before)} since you are here` : '';
  return { key, title, state: now > 0 ? 'done' : 'open', detail: now > 0 ? `${count(now)} received${since}` : '' };
}

function nameStep(services: number, names: ReadonlySet<string>): Step {
  const step = { key: 'service_name', title: 'service.name is set' };
  const unknown = [...names].filter((name) => UNKNOWN.test(name));
  if (services === 0) return { ...step, state: 'open', detail: '' };
  if (unknown.length === 0) return { ...step, state: 'done', detail: plural(services, 'service') };
  return {
    ...step,
    state: 'problem',
    detail: `${count(unknown.length)} of ${plural(services, 'service')} ${unknown.length === 1 ? 'sends' : 'send'} no service.name: kept as ${unknown.slice(0, 5).join(', ')}. Set OTEL_SERVICE_NAME=…`,
  };
}

function versionStep(services: number, versioned: number, unnamed: readonly string[]): Step {
  const step = { key: 'service_version', title: 'service.version is set' };
  if (services === 0) return { ...step, state: 'open', detail: '' };
  if (unnamed.length === 0) return { ...step, state: 'done', detail: `${plural(versioned, 'service')} with a version` };
  const names = `${unnamed.slice(0, 5).join(', ')}${unnamed.length > 5 ? ' …' : ''}`;
  return {
    ...step,
    state: 'problem',
    detail: `${count(unnamed.length)} of ${plural(services, 'service')} ${unnamed.length === 1 ? 'sends' : 'send'} no version: ${names}. Add OTEL_RESOURCE_ATTRIBUTES=service.version=…`,
  };
}
