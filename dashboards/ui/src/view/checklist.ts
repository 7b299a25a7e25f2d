// The way from nothing to two versions that can be compared, read off the state of the pipeline. Pure.
import type { OverviewService, Pipeline, SeenRelease } from '../api/types.ts';
import { count, plural } from './format.ts';

export interface Step {
  key: string;
  title: string;
  state: 'done' | 'open' | 'problem';
  detail: string;
}

/** What records without `service.name` are kept under; some SDKs add the name of the program. */
const UNKNOWN = /^unknown_service(:|$)/;

/** What the reader has written into the snippets, and looks out for. */
export interface Wanted {
  service: string;
  version: string;
  environment: string;
}

/** `services` are those of the overview: the pipeline names only those without a version. */
export function checklist(pipeline: Pipeline, first: Pipeline, services: readonly OverviewService[] = []): Step[] {
  const names = services.map((each) => each.service);
  const { logs = 0, metrics = 0, spans = 0 } = pipeline.received ?? {};
  const before = first.received ?? {};
  const unnamed = pipeline.services_without_version ?? [];
  const known = pipeline.services ?? 0;
  const versioned = known - unnamed.length;
  const two = pipeline.services_with_two_versions ?? 0;
  return [
    endpointStep(logs + metrics + spans, pipeline),
    arrived('log', 'First log record', logs, before.logs ?? 0),
    arrived('metric', 'First metric', metrics, before.metrics ?? 0),
    arrived('span', 'First span', spans, before.spans ?? 0),
    nameStep(known, new Set([...unnamed, ...names])),
    versionStep(known, versioned, unnamed),
    {
      key: 'two_versions',
      title: 'Two versions of a service',
      state: two > 0 ? 'done' : 'open',
      detail: two > 0 ? `${plural(two, 'service')} can be compared` : versioned > 0 ? 'send the same service with another version to compare them' : '',
    },
  ];
}

/** A request that was refused has come to the right machine, and says more than nothing at all. */
function endpointStep(received: number, pipeline: Pipeline): Step {
  const step = { key: 'endpoint', title: 'Something reached an endpoint' };
  if (received > 0) return { ...step, state: 'done', detail: '' };
  const newest = pipeline.rejected?.[0];
  if (!newest) return { ...step, state: 'open', detail: 'waiting for the first request' };
  return { ...step, state: 'problem', detail: `nothing was taken yet: ${newest.detail || refusalWord(newest.reason)}` };
}

/** The server's word for a reason, as people say it. */
export function refusalWord(reason: string): string {
  const words: Record<string, string> = { tls: 'TLS on a plain port', not_found: 'wrong path' };
  return words[reason] ?? reason.replaceAll('_', ' ');
}

/** Whether the very release of the snippets is there; what was seen in its place, if not. */
export function wantedStep(wanted: Wanted, seen: readonly SeenRelease[]): Step {
  const { service, version, environment } = wanted;
  const step = { key: 'wanted', title: `${service} ${version} in ${environment}` };
  const same = seen.filter((each) => each.service === service);
  const running = same.filter((each) => each.version === version);
  if (running.some((each) => each.env === environment)) return { ...step, state: 'done', detail: 'has arrived' };
  if (running.length > 0) {
    const elsewhere = listed(running.map((each) => each.env || 'no environment'));
    return { ...step, state: 'problem', detail: `${version} is here, but in ${elsewhere}: set deployment.environment.name` };
  }
  if (same.length > 0) {
    const versions = listed(same.map((each) => each.version));
    return { ...step, state: 'problem', detail: `${service} is here as ${versions}, not as ${version}: set service.version` };
  }
  if (seen.length === 0) return { ...step, state: 'open', detail: 'not seen yet' };
  return { ...step, state: 'open', detail: `not seen yet; what sends is ${listed(seen.map((each) => each.service))}` };
}

const LISTED_MAX = 5;

function listed(all: readonly string[]): string {
  const words = [...new Set(all)];
  return `${words.slice(0, LISTED_MAX).join(', ')}${words.length > LISTED_MAX ? ' …' : ''}`;
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
