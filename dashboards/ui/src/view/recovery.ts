// Whether a rollback worked, as far as the lanes of the page show it. Says nothing where they do not: no data since, or no time before
// it in the range to compare with. Pure.
import type { Num, ReleaseLane, ServiceRelease } from '../api/types.ts';
import type { VerdictDetail } from '../api/verdicts.ts';
import { ratio, seconds, share } from './format.ts';
import { stepMs } from './lanes.ts';
import { latestComplete, sum, weightedMean } from './series.ts';

/** What is left of a drained version may trickle. */
const SHARE_LEFT = 0.01;
/** Steps at the end that tell of the present. */
const STEPS = 6;
/** "Back" is what the baseline had, give or take what its own numbers vary by. */
const BACK_ERRORS = { factor: 1.5, more: 0.005 };
const BACK_SECONDS = { factor: 1.25, more: 0.005 };

/** Appended to "Rolled back at 14:09"; empty when nothing can be said. */
export function recoveryWords(release: ServiceRelease, verdict: VerdictDetail): string {
  const { ending } = verdict;
  const times = release.t ?? [];
  const lanes = release.lanes ?? [];
  if (ending?.kind !== 'rolled_back' || lanes.length === 0) return '';
  const end = latestComplete(times, stepMs(release), release.meta?.wm);
  const since = times.findIndex((t) => t >= ending.at);
  const start = Math.max(since, end - STEPS + 1);
  if (since < 0 || end < since) return '; whether it worked is seen with the next data';
  const gone = leftShare(lanes, verdict.candidate, start, end);
  if (gone > SHARE_LEFT) return `, but ${verdict.candidate} still takes ${share(gone)} of the requests`;
  const slow = verdict.checks?.find((check) => check.state === 'worse' && (check.group === 'latency' || check.group === 'errors'))?.group === 'latency';
  const usual = lanes.find((lane) => lane.version === verdict.baseline);
  // The step that a rollback falls into is of neither time.
  const before = usual && columns(usual, slow, 0, since - 2);
  const now = slow ? usual && columns(usual, true, start, end) : allErrors(lanes, start, end);
  if (now == null || before == null) return '';
  const [what, write, back] = slow ? (['p99 is', seconds, BACK_SECONDS] as const) : (['errors are', ratio, BACK_ERRORS] as const);
  if (now <= before * back.factor + back.more) return ` — it worked: ${what} back at ${write(now)}`;
  return `, but ${what} not back: ${write(now)}, where ${verdict.baseline} had ${write(before)}`;
}

function leftShare(lanes: readonly ReleaseLane[], candidate: string, start: number, end: number): number {
  const requests = (lane: ReleaseLane) => sum(cut(lane.n, start, end)) ?? 0;
  const all = lanes.reduce((total, lane) => total + requests(lane), 0);
  return all === 0 ? 0 : lanes.filter((lane) => lane.version === candidate).reduce((total, lane) => total + requests(lane), 0) / all;
}

function columns(lane: ReleaseLane, slow: boolean, start: number, end: number): Num {
  return weightedMean(cut(slow ? lane.p99 : lane.err, start, end), cut(lane.n, start, end));
}

function allErrors(lanes: readonly ReleaseLane[], start: number, end: number): Num {
  return weightedMean(lanes.flatMap((lane) => cut(lane.err, start, end)), lanes.flatMap((lane) => cut(lane.n, start, end)));
}

/** Both ends are included; what is missing stays missing, so that columns stay beside each other. */
function cut(column: readonly Num[] | undefined, start: number, end: number): Num[] {
  return Array.from({ length: Math.max(0, end - start + 1) }, (_, i) => column?.[start + i] ?? null);
}
