// Sentences: what a release looks like in words, built only from what the server said. No judgement is made here.
import type { Difference, Num, Overview, OverviewService, ReleaseEvent, ReleaseLane, ServiceRelease } from '../api/types.ts';
import { clockTime, count, duration, plural, rate, ratio, share, type Zone } from './format.ts';
import { kpiValue } from './product.ts';

export const METRIC_WORDS: Record<string, string> = {
  error_ratio: 'error ratio',
  p50: 'p50 latency',
  p95: 'p95 latency',
  p99: 'p99 latency',
  share: 'traffic share',
  throughput: 'service throughput',
};

/** What a difference is about. */
export function metricWords(difference: Difference): string {
  if (difference.metric === 'kpi') return `${difference.title ?? difference.key ?? 'KPI'} per 1,000 requests`;
  return METRIC_WORDS[difference.metric] ?? difference.metric;
}

export function metricValue(metric: string, value: Num | undefined, approximate = false): string {
  if (metric === 'error_ratio') return ratio(value);
  if (metric === 'share') return share(value);
  if (metric === 'throughput') return rate(value);
  if (metric === 'kpi') return kpiValue(value);
  return duration(approximate)(value);
}

/** How much the candidate differs: percentage points for ratios, a factor or per cent for durations. */
export function change(metric: string, baseline: Num | undefined, candidate: Num | undefined): string {
  if (baseline == null || candidate == null) return '';
  if (metric === 'error_ratio' || metric === 'share') {
    const points = (candidate - baseline) * 100;
    return `${signed(points, Math.abs(points) < 10 ? 1 : 0)}\u202fpp`;
  }
  if (baseline === 0) return '';
  const factor = candidate / baseline;
  return factor >= 3 ? `×\u202f${factor.toFixed(1)}` : `${signed((factor - 1) * 100, 0)}\u202f%`;
}

function signed(value: number, places: number): string {
  const text = Math.abs(value).toFixed(places);
  if (Number(text) === 0) return `±\u202f0`;
  return value < 0 ? `−${text}` : `+${text}`;
}

/** The server's sentence when it has one, else the difference from its parts. */
export function differenceText(difference: Difference, zone: Zone): string {
  const { metric, baseline, candidate, since } = difference;
  const text = `${metricWords(difference)} ${metricValue(metric, baseline)} → ${metricValue(metric, candidate)}`;
  return since == null ? text : `${text} ${sinceWord(difference)} ${clockTime(since, zone)}`;
}

/** What the range cuts off may have begun before it. */
export function sinceWord(difference: Difference): string {
  return difference.since_before ? 'since before' : 'since';
}

export interface SourceWords {
  name: string;
  /** What the numbers are made of. */
  meaning: string;
  /** What would give more; empty for the best source. */
  more: string;
}

const SOURCES: Record<string, SourceWords> = {
  spans: { name: 'server spans', meaning: 'requests, errors and durations are counted from server spans', more: '' },
  metrics: {
    name: 'request metrics',
    meaning: 'requests, errors and durations come from request duration metrics, so percentiles are as fine as their buckets',
    more: 'Send server spans for exact percentiles.',
  },
  access_log: {
    name: 'access logs',
    meaning: 'requests, errors and durations are read from access-log lines',
    more: 'Send server spans or http.server.request.duration from the app itself for routes and finer durations.',
  },
  toggled_requests: { name: 'server spans', meaning: 'requests are those whose spans tell of the variant, while the toggle is hot', more: '' },
  evaluations: {
    name: 'evaluations',
    meaning: 'evaluations are counted while the toggle is hot; no request tells of its variant',
    more: 'Put the evaluation on the request’s server span to see errors and durations by variant.',
  },
  logs: {
    name: 'plain logs',
    meaning: 'log records stand in for requests, and records of severity ERROR for errors; there are no durations',
    more: 'Send server spans or http.server.request.duration to see requests, error ratio and durations.',
  },
};

export function sourceWords(source: string | null | undefined): SourceWords | null {
  return source ? (SOURCES[source] ?? { name: source, meaning: '', more: '' }) : null;
}

/** Why a duration has a ≈ in front. */
export const APPROXIMATE =
  'estimated within a bucket of the histogram that the app sends: as fine as its buckets. hdr_quantile_bounds in SQL says between which bounds';

/** The names of the numbers: with plain logs, records stand in for requests. */
export function laneNames(source: string | null | undefined): { rate: string; errors: string; unit: string } {
  if (source === 'evaluations') return { rate: 'Evaluations', errors: 'Errors', unit: 'evaluations' };
  return source === 'logs'
    ? { rate: 'Log records', errors: 'Error records', unit: 'records' }
    : { rate: 'Requests', errors: 'Errors', unit: 'requests' };
}

/** With verdicts their words are counted; a number that differs is no judgement, and is not said beside one. */
export function overviewSentence(overview: Overview, verdicts: readonly string[] = []): string {
  const services = overview.services ?? [];
  if (services.length === 0) return 'No service has sent data yet';
  const states = countStates(services);
  const rollouts = overview.summary?.rollouts ?? states.rollout;
  const steady = overview.summary?.steady ?? states.steady;
  const differing = overview.summary?.differing ?? 0;
  const parts = [rollouts === 0 ? 'No rollout live' : `${plural(rollouts, 'rollout')} live`];
  parts.push(...verdicts);
  if (differing > 0 && verdicts.length === 0) parts.push(`${count(differing)} ${differing === 1 ? 'differs from the version beside it' : 'differ from the versions beside them'}`);
  if (steady > 0) parts.push(`${plural(steady, 'service')} steady`);
  if (states.unversioned > 0) parts.push(`${plural(states.unversioned, 'service')} without a version`);
  return parts.join(' · ');
}

export function countStates(services: readonly OverviewService[]): { rollout: number; steady: number; unversioned: number } {
  const states = { rollout: 0, steady: 0, unversioned: 0 };
  for (const service of services) {
    if (service.state === 'rollout') states.rollout += 1;
    else if (service.state === 'unversioned') states.unversioned += 1;
    else states.steady += 1;
  }
  return states;
}

/** The sentence at the top of a service page. `end` is where its range ends. */
export function releaseSentence(release: ServiceRelease, zone: Zone, end: number): string {
  if (release.headline) return localTimes(release.headline, end, zone);
  const lanes = release.lanes ?? [];
  const candidate = release.pair?.candidate ?? lanes.find((lane) => lane.role === 'candidate')?.version;
  const baseline = release.pair?.baseline ?? lanes.find((lane) => lane.role === 'baseline')?.version;
  if (candidate && baseline) return pairSentence(release, candidate, baseline, zone);
  const only = lanes[0]?.version;
  if (!only) return 'No data in this range';
  if (release.unversioned) return 'Requests arrive without a version, so releases cannot be told apart';
  return `One version in this range: ${only}`;
}

const DAY_MS = 86_400_000;
/** Clocks of servers and readers differ a little. */
const CLOCK_SLACK_MS = 60_000;

/** Clock times that the server wrote in UTC, as the reader's clock shows them: each is the last such time before `end`. */
export function localTimes(text: string, end: number, zone: Zone): string {
  return text.replace(/(?<!\d-\d\d )\b(\d\d):(\d\d):(\d\d) UTC\b/g, (_, h: string, m: string, s: string) => {
    const midnight = Math.floor(end / DAY_MS) * DAY_MS;
    const today = midnight + (Number(h) * 3_600 + Number(m) * 60 + Number(s)) * 1_000;
    return clockTime(today > end + CLOCK_SLACK_MS ? today - DAY_MS : today, zone);
  });
}

function pairSentence(release: ServiceRelease, candidate: string, baseline: string, zone: Zone): string {
  const differences = release.differences;
  if (!differences) return `${candidate} beside ${baseline}`;
  const lane = release.lanes?.find((each) => each.version === candidate);
  if (lane && hasNoTraffic(lane)) return `${candidate} has not taken a request yet; ${baseline} takes the traffic`;
  const changed = differences.filter((difference) => difference.metric !== 'share');
  if (changed.length === 0) return `No number of ${candidate} stands out against ${baseline}`;
  return `${candidate} against ${baseline}: ${changed.map((difference) => differenceText(difference, zone)).join(', ')}`;
}

/** What records are kept under that come without a version. */
export const UNVERSIONED = 'unversioned';

/** A version that has been seen and has carried nothing in this range. */
export function hasNoTraffic(lane: ReleaseLane): boolean {
  if (lane.role === 'no_traffic') return true;
  const columns = [lane.n, lane.rps, lane.share].filter((column) => column !== undefined);
  if (columns.length === 0) return true;
  return columns.every((column) => column.every((value) => value === null || value === 0));
}

const EVENT_WORDS: Record<string, string> = {
  release: 'New release',
  deploy: 'Deploy',
  rollout_step: 'Share changed',
  share: 'Share changed',
  rollback: 'Rollback',
  promote: 'Promoted',
  weight: 'Weight changed',
  freeze: 'Freeze',
  verdict: 'Verdict',
  toggle: 'Toggle',
  alert: 'Alert',
  note: 'Note',
};

export function eventWord(kind: string): string {
  return EVENT_WORDS[kind] ?? kind.replaceAll('_', ' ');
}

/** What happened, when, in one line. */
export function eventTitle(event: ReleaseEvent, zone: Zone): string {
  const part = event.share == null ? '' : ` ${share(event.share)}`;
  return `${clockTime(event.t, zone)} ${event.title ?? `${eventWord(event.kind)} ${event.version ?? ''}${part}`}`;
}

export const EVENT_GLYPHS: Record<string, string> = { release: '▲', deploy: '▲', rollback: '↶', rollout_step: '◔', share: '◔', weight: '◔', promote: '✓', freeze: '‖', verdict: '◆', note: '✎', toggle: '⇄', alert: '!' };

/** Only addresses of the web are links: the text comes from whoever sends data. */
export function webAddress(url: string | null | undefined): string | null {
  return url && /^https?:\/\//i.test(url) ? url : null;
}
