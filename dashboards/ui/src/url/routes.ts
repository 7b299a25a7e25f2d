// Which page a path means, what each page keeps in its query, and how links are written. Pure.
import { choiceParam, flagParam, formatQuery, parseQuery, stepParam, textParam, timeParam, type ValuesOf } from './codec.ts';

export type Route =
  | { page: 'overview' }
  | { page: 'service'; service: string }
  | { page: 'toggle'; service: string; key: string }
  | { page: 'start' }
  | { page: 'logs' }
  | { page: 'deploys' }
  | { page: 'record'; service: string; version: string; print: boolean }
  | { page: 'compare' }
  | { page: 'not-found'; path: string };

const shared = { env: textParam(), tz: choiceParam(['local', 'utc'] as const, 'local') };

export const overviewParams = {
  ...shared,
  q: textParam(),
  state: choiceParam(['all', 'no_go', 'watch', 'rollout', 'steady', 'unversioned'] as const, 'all'),
  kiosk: flagParam(),
};

export const serviceParams = {
  ...shared,
  from: timeParam('now-30m'),
  to: timeParam('now'),
  cand: textParam(),
  base: textParam(),
  step: stepParam(),
};

/** Candidate and baseline are variants here; `version` shows what one version did. */
export const toggleParams = { ...serviceParams, version: textParam() };
/** `s` is a service, `v` a version, `line` the line that is open, `live` whether new lines come in. */
export const logsParams = {
  ...shared,
  q: textParam(),
  s: textParam(),
  v: textParam(),
  from: timeParam('now-30m'),
  to: timeParam('now'),
  view: choiceParam(['lines', 'patterns', 'new'] as const, 'lines'),
  by: choiceParam(['version', 'level', 'service'] as const, 'version'),
  since: textParam(),
  live: flagParam(),
  line: textParam(),
};

/** `s` is a service, `last` how far back the list goes. */
export const deploysParams = {
  ...shared,
  q: textParam(),
  s: textParam(),
  outcome: choiceParam(['all', 'live', 'live_beside_others', 'replaced', 'rolled_back', 'gone_silent', 'no_traffic', 'announced_only'] as const, 'all'),
  verdict: choiceParam(['all', 'no_go', 'watch', 'wait', 'go', 'none'] as const, 'all'),
  last: choiceParam(['1d', '7d', '30d', '90d'] as const, '30d'),
};

/** `a` and `b` are cohorts (`ver:2.14.0 flag:pay-v2=on win:now-1h..now-30m`), `wa` and `wb` their windows, `f` a route, `select` durations. */
export const compareParams = {
  ...shared,
  s: textParam('', ['service']),
  ns: textParam('', ['namespace']),
  a: textParam(),
  b: textParam(),
  from: timeParam('now-30m'),
  to: timeParam('now'),
  wa: textParam(),
  wb: textParam(),
  m: textParam('', ['metric']),
  f: textParam(),
  view: choiceParam(['density', 'cdf'] as const, 'density'),
  select: textParam(),
};

export const SNIPPET_KEYS = [
  'env', 'python', 'node', 'java', 'go', 'rust',
  'lines', 'pipe', 'nginx', 'httpd', 'haproxy', 'varnish', 'rsyslog',
  'collector', 'prometheus', 'otlp',
] as const;

/** The last three fill the snippets. */
export const startParams = {
  ...shared,
  lang: choiceParam(SNIPPET_KEYS, 'env'),
  name: textParam('my-service'),
  version: textParam('1.0.0'),
  target: textParam('dev'),
};

export const sharedParams = shared;

export function routeOf(pathname: string): Route {
  const path = pathname.length > 1 ? pathname.replace(/\/+$/, '') : pathname;
  if (path === '/' || path === '') return { page: 'overview' };
  if (path === '/start') return { page: 'start' };
  const toggle = /^\/s\/([^/]+)\/toggle\/([^/]+)$/.exec(path);
  if (toggle) {
    const [name, key] = [decoded(toggle[1] ?? ''), decoded(toggle[2] ?? '')];
    if (name !== null && key !== null) return { page: 'toggle', service: name, key };
  }
  if (path === '/logs') return { page: 'logs' };
  if (path === '/deploys') return { page: 'deploys' };
  const record = /^(\/print\/verdict|\/v)\/([^/]+)\/([^/]+)$/.exec(path);
  if (record) {
    const [service, version] = [decoded(record[2] ?? ''), decoded(record[3] ?? '')];
    if (service !== null && version !== null) return { page: 'record', service, version, print: record[1] !== '/v' };
  }
  if (path === '/compare') return { page: 'compare' };
  const service = /^\/s\/([^/]+)$/.exec(path)?.[1];
  if (service !== undefined) {
    const name = decoded(service);
    if (name !== null) return { page: 'service', service: name };
  }
  return { page: 'not-found', path: pathname };
}

/** Browsers and proxies take these away from a path, however they are written. */
const SWALLOWED = new Set(['', '.', '..']);

/**
 * A name as one part of a path. A tilde in front keeps the names that a path cannot hold, and those that begin with a
 * tilde; `/api/v1/services/…` reads it the same way.
 */
export function segmentOf(name: string): string {
  return SWALLOWED.has(name) || name.startsWith('~') ? `~${encodeURIComponent(name)}` : encodeURIComponent(name);
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text).replace(/^~/, '');
  } catch {
    return null;
  }
}

export function overviewHref(env: string, tz: 'local' | 'utc' = 'local'): string {
  const { values } = parseQuery(overviewParams, '');
  return `/${formatQuery(overviewParams, { ...values, env, tz })}`;
}

export function startHref(env = '', tz: 'local' | 'utc' = 'local'): string {
  const { values } = parseQuery(startParams, '');
  return `/start${formatQuery(startParams, { ...values, env, tz })}`;
}

export function logsHref(change: Partial<ValuesOf<typeof logsParams>> = {}): string {
  const { values } = parseQuery(logsParams, '');
  return `/logs${formatQuery(logsParams, { ...values, ...change })}`;
}

export function deploysHref(change: Partial<ValuesOf<typeof deploysParams>> = {}): string {
  const { values } = parseQuery(deploysParams, '');
  return `/deploys${formatQuery(deploysParams, { ...values, ...change })}`;
}

/** The record of a release's verdict; `print` is the same on paper. */
export function recordHref(service: string, version: string, env: string, tz: 'local' | 'utc' = 'local', print = false): string {
  const { values } = parseQuery(sharedParams, '');
  return `${print ? '/print/verdict' : '/v'}/${segmentOf(service)}/${segmentOf(version)}${formatQuery(sharedParams, { ...values, env, tz })}`;
}

export function compareHref(change: Partial<ValuesOf<typeof compareParams>> = {}): string {
  const { values } = parseQuery(compareParams, '');
  return `/compare${formatQuery(compareParams, { ...values, ...change })}`;
}

/** What a link keeps of the page it is on. */
type Kept = Partial<Pick<ValuesOf<typeof serviceParams>, 'from' | 'to' | 'step'>>;

export function serviceHref(service: string, env: string, tz: 'local' | 'utc' = 'local', kept: Kept = {}): string {
  const { values } = parseQuery(serviceParams, '');
  return `/s/${segmentOf(service)}${formatQuery(serviceParams, { ...values, env, tz, ...kept })}`;
}

export function toggleHref(service: string, key: string, env: string, tz: 'local' | 'utc' = 'local', kept: Kept = {}): string {
  const { values } = parseQuery(toggleParams, '');
  return `/s/${segmentOf(service)}/toggle/${segmentOf(key)}${formatQuery(toggleParams, { ...values, env, tz, ...kept })}`;
}
