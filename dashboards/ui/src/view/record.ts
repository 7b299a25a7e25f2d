// The record of a release's verdict, put together from the board, which has all numbers and forgets, from the table of verdicts, which has
// every word and stays, and from the list of deploys. Pure.
import type { Row } from '../api/sql.ts';
import { quoted } from '../api/sql.ts';
import type { Check, Deploy, Ending, Evidence, PastWord, Verdict, VerdictDetail, VerdictGuard } from '../api/verdicts.ts';
import { withVerdicts } from './deploys.ts';

export interface VerdictRecord {
  /** Null when nothing is known of a verdict. */
  verdict: Verdict | null;
  checks: Check[];
  guards: VerdictGuard[];
  evidence: Evidence | null;
  history: PastWord[];
  deploy: Deploy | null;
  env: string;
  /** The API has it, too. */
  judged: boolean;
}

/** How many changes of a word a record shows. */
const CHANGES_MAX = 200;

export function historySql(service: string, version: string, env: string): string {
  const place = env === '' ? '' : ` and environment = ${quoted(env)}`;
  return (
    'select time, environment, namespace, baseline, verdict, ending, sequence, summary, policy, checks from verdicts ' +
    `where service = ${quoted(service)} and version = ${quoted(version)}${place} order by time desc limit ${CHANGES_MAX}`
  );
}

/** `rows` are the newest first. */
export function recordOf(service: string, version: string, env: string, detail: VerdictDetail | null, rows: readonly Row[], deploys: readonly Deploy[]): VerdictRecord {
  const place = env || detail?.env || textOf(rows[0]?.['environment']) || '';
  const here = rows.filter((row) => place === '' || textOf(row['environment']) === place);
  const ours = deploys.filter((deploy) => deploy.service === service && deploy.version === version && (place === '' || (deploy.env ?? '') === place));
  const deploy = withVerdicts(ours.slice(0, 1), detail ? [detail] : [])[0] ?? null;
  const stored = storedVerdict(service, version, place, here);
  const history = here.length > 0 ? historyOf(here) : (detail?.past ?? []);
  return {
    verdict: detail ?? stored ?? deployVerdict(service, version, deploy),
    checks: detail?.checks ?? checksOf(here),
    guards: detail?.guards ?? [],
    evidence: detail?.evidence ?? null,
    history,
    deploy,
    env: place || (deploy?.env ?? ''),
    judged: detail !== null,
  };
}

function storedVerdict(service: string, version: string, env: string, rows: readonly Row[]): Verdict | null {
  const last = rows[0];
  if (!last) return null;
  const state = textOf(last['verdict']);
  // The newest row may tell of an ending: since when the word holds stands in the first row that has it.
  const run = rows.findIndex((row) => textOf(row['verdict']) !== state);
  const first = rows[(run === -1 ? rows.length : run) - 1];
  // The row of an ending says what became of the release; why it has its word says the one before.
  const why = rows.find((row) => textOf(row['ending']) === '') ?? last;
  const ended = textOf(last['ending']);
  const at = timeOf(last['time']);
  const ending: Ending | null = ended === '' || at === null ? null : { kind: ended, at };
  return {
    service, env, state, ending,
    candidate: version,
    namespace: textOf(last['namespace']),
    baseline: textOf(last['baseline']) || null,
    since: timeOf(first?.['time']),
    headline: textOf(why['summary']),
    policy: textOf(last['policy']) || null,
  };
}

function deployVerdict(service: string, version: string, deploy: Deploy | null): Verdict | null {
  if (!deploy?.verdict) return null;
  const { state, headline = null, at = null } = deploy.verdict;
  return { service, state, headline, candidate: version, env: deploy.env ?? '', baseline: deploy.previous ?? null, since: at };
}

/** Oldest first, with what became of the release as a step of its own. */
function historyOf(rows: readonly Row[]): PastWord[] {
  const steps = [...rows].reverse().map((row) => ({ state: textOf(row['verdict']), at: timeOf(row['time']) ?? 0, headline: textOf(row['summary']) }));
  return steps.filter((step) => step.state !== '');
}

/** The checks of the newest row that has any. What cannot be read is left out: the text may be of a later version. */
function checksOf(rows: readonly Row[]): Check[] {
  for (const row of rows) {
    const found = parsed(textOf(row['checks']));
    const checks = (Array.isArray(found) ? found : []).filter((each): each is Check => typeof each?.id === 'string' && typeof each.state === 'string');
    if (checks.length > 0) return checks;
  }
  return [];
}

function parsed(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function timeOf(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}
