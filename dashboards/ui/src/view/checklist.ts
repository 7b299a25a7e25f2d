// The way from nothing to two versions that can be compared, read off the state of the pipeline. Pure.
import type { BySignal, Num, OverviewService, Pipeline, SeenRelease } from '../api/types.ts';
import { clockTime, count, plural, type Zone } from './format.ts';
import type { SnippetKey } from './snippet.ts';

export interface Step {
  key: string;
  title: string;
  /** `before`: known from before the process started, and not seen since. */
  state: 'done' | 'open' | 'problem' | 'before';
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
export function checklist(pipeline: Pipeline, first: Pipeline, services: readonly OverviewService[] = [], zone: Zone = 'local'): Step[] {
  const names = services.map((each) => each.service);
  const unnamed = pipeline.services_without_version ?? [];
  const known = pipeline.services ?? 0;
  const versioned = known - unnamed.length;
  const two = pipeline.services_with_two_versions ?? 0;
  return [
    endpointStep(pipeline, zone),
    arrived('log', 'First log record', 'logs', pipeline, first, zone),
    arrived('metric', 'First metric', 'metrics', pipeline, first, zone),
    arrived('span', 'First span', 'spans', pipeline, first, zone),
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
function endpointStep(pipeline: Pipeline, zone: Zone): Step {
  const step = { key: 'endpoint', title: 'Something reached an endpoint' };
  if (total(pipeline.received) > 0) return { ...step, state: 'done', detail: '' };
  const newest = pipeline.rejected?.[0];
  if (newest) return { ...step, state: 'problem', detail: `nothing was taken ${sinceStart(pipeline, zone)}: ${newest.detail || refusalWord(newest.reason)}` };
  if (total(pipeline.stored) > 0) return { ...step, state: 'before', detail: `before Shipwake started again${startedAt(pipeline, zone)}; nothing since` };
  return { ...step, state: 'open', detail: 'waiting for the first request' };
}

const total = (counts: BySignal<number> | undefined): number => (counts?.logs ?? 0) + (counts?.metrics ?? 0) + (counts?.spans ?? 0);

/** Something is stored that this process neither received nor made itself. */
const restarted = (pipeline: Pipeline): boolean => total(pipeline.stored) > total(pipeline.received) + (pipeline.own ?? 0);

function startedAt(pipeline: Pipeline, zone: Zone): string {
  return pipeline.started == null ? '' : ` at ${clockTime(pipeline.started, zone)}`;
}

function sinceStart(pipeline: Pipeline, zone: Zone): string {
  return restarted(pipeline) ? `since Shipwake started again${startedAt(pipeline, zone)}` : 'yet';
}

/** What each row of snippets is known by, as the server names it. */
const SENDERS: Record<SnippetKey, readonly string[]> = {
  env: ['sdk_python', 'sdk_nodejs', 'sdk_java', 'sdk_go', 'sdk_rust', 'sdk_other'],
  python: ['sdk_python'],
  node: ['sdk_nodejs'],
  java: ['sdk_java'],
  go: ['sdk_go'],
  rust: ['sdk_rust'],
  lines: ['lines'],
  pipe: ['pipe'],
  nginx: ['nginx'],
  httpd: ['httpd'],
  haproxy: ['haproxy'],
  varnish: ['varnish'],
  rsyslog: ['syslog'],
  collector: ['collector'],
  prometheus: ['remote_write'],
  otlp: ['curl'],
};

/** How the server knows such a sender, for the one who waits for it. */
const MARKS: Record<string, string> = {
  env: 'the SDK’s telemetry.sdk.language', python: 'telemetry.sdk.language', node: 'telemetry.sdk.language', java: 'telemetry.sdk.language',
  go: 'telemetry.sdk.language', rust: 'telemetry.sdk.language', lines: '/v1/lines', pipe: 'shipwake pipe or tail',
  nginx: '--format nginx', httpd: '--format httpd', haproxy: '--format haproxy', varnish: '--format varnish', rsyslog: 'the syslog port',
  collector: 'its User-Agent', prometheus: '/api/v1/write', otlp: 'curl’s User-Agent',
};

export interface Seen {
  received: number;
  last: number;
}

/** What has sent the way a row describes since the process started, or null. */
export function seenBy(key: SnippetKey, pipeline: Pipeline): Seen | null {
  const found = (pipeline.senders ?? []).filter((sender) => SENDERS[key].includes(sender.kind));
  if (found.length === 0) return null;
  return { received: found.reduce((sum, sender) => sum + (sender.received ?? 0), 0), last: Math.max(...found.map((sender) => sender.last ?? 0)) };
}

/** Whether somebody sends the way the chosen row describes. */
export function senderStep(key: SnippetKey, word: string, pipeline: Pipeline, zone: Zone): Step {
  const step = { key: 'sender', title: `Sent by: ${word}` };
  const seen = seenBy(key, pipeline);
  if (seen) return { ...step, state: 'done', detail: `${plural(seen.received, 'record')}, last ${clockTime(seen.last, zone)} (known by ${MARKS[key]})` };
  const since = restarted(pipeline) ? `not since Shipwake started again${startedAt(pipeline, zone)}; who sent before that is not kept` : 'not yet';
  return { ...step, state: 'open', detail: `${since} (known by ${MARKS[key]})` };
}

/** The server's word for a reason, as people say it. */
export function refusalWord(reason: string): string {
  const words: Record<string, string> = { tls: 'TLS on a plain port', not_found: 'wrong path' };
  return words[reason] ?? reason.replaceAll('_', ' ');
}

/**
 * Whether the very release of the snippets is there; what was seen in its place, if not. `started` is when the process
 * started: what was seen last before that has not come through it.
 */
export function wantedStep(wanted: Wanted, seen: readonly SeenRelease[], started: Num | undefined = null, zone: Zone = 'local'): Step {
  const { service, version, environment } = wanted;
  const step = { key: 'wanted', title: `${service} ${version} in ${environment}` };
  const same = seen.filter((each) => each.service === service);
  const running = same.filter((each) => each.version === version);
  const here = running.find((each) => each.env === environment);
  if (here && started != null && here.last != null && here.last < started) {
    return { ...step, state: 'before', detail: `arrived before Shipwake started again; its last record is of ${clockTime(here.last, zone)}` };
  }
  if (here) return { ...step, state: 'done', detail: 'has arrived' };
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

function arrived(key: string, title: string, signal: keyof BySignal<number>, pipeline: Pipeline, first: Pipeline, zone: Zone): Step {
  const own = signal === 'logs' ? (pipeline.own ?? 0) : 0;
  const [now, before, stored] = [pipeline.received?.[signal] ?? 0, first.received?.[signal] ?? 0, Math.max(0, (pipeline.stored?.[signal] ?? 0) - own)];
  if (now === 0 && stored > 0) {
    return { key, title, state: 'before', detail: `${count(stored)} stored before Shipwake started again${startedAt(pipeline, zone)}; none since` };
  }
  if (now === 0) return { key, title, state: 'open', detail: '' };
  const last = pipeline.last?.[signal];
  const parts = [
    `${count(now)} received${restarted(pipeline) ? ` since Shipwake started again${startedAt(pipeline, zone)}` : ''}`,
    ...(now > before ? [`${count(now - before)} since you are here`] : []),
    ...(last == null ? [] : [`last ${clockTime(last, zone)}`]),
    ...(stored > now ? [`${count(stored)} stored in all`] : []),
  ];
  return { key, title, state: 'done', detail: parts.join(', ') };
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
