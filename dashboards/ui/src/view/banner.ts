// What stands around the word of a verdict: how much of the evidence is there, what is missing, how the release takes traffic, how it
// went. Pure.
import type { Evidence, Missing, PastWord, Verdict } from '../api/verdicts.ts';
import type { Poll } from '../live/poll.ts';
import { age, count, share } from './format.ts';
import { isDecided, wordLook } from './verdict.ts';

const STRATEGIES: Record<string, { word: string; caution: string }> = {
  canary: { word: 'canary', caution: '' },
  blue_green: { word: 'blue/green', caution: '' },
  rolling: { word: 'rolling', caution: '' },
  dark: { word: 'dark', caution: 'no user sees this version' },
  before_after: { word: 'before and after', caution: 'weaker than side by side: nothing runs beside it' },
};

export function strategyWords(strategy: string | null | undefined): { word: string; caution: string } | null {
  return strategy ? (STRATEGIES[strategy] ?? { word: strategy.replaceAll('_', ' '), caution: '' }) : null;
}

/** What a policy says otherwise than the default, so that nobody wonders where a limit is from. */
export function policyWords(verdict: Pick<Verdict, 'policy' | 'policy_says'>): string {
  const says = verdict.policy_says ?? [];
  return says.length === 0 ? '' : `By policy ${verdict.policy ?? 'default'}: ${says.join(', ')}.`;
}

/** Two digits count: 343 → 350. It is said of waiting, so it is rounded up. */
export function about(value: number): string {
  if (!(value > 0)) return '0';
  const step = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
  return count(Math.ceil(value / step - 1e-9) * step);
}

/** How much more it takes: "about 340 more requests, 4 min, half of that at 25 % of the traffic". */
export function missingWords(missing: Missing | null | undefined): string {
  if (!missing || (missing.seconds == null && missing.exposure == null)) return '';
  const parts = [
    ...(missing.exposure != null && missing.exposure >= 1 ? [`${about(missing.exposure)} more requests`] : []),
    ...(missing.seconds == null ? [] : [waiting(missing.seconds)]),
    ...(missing.faster_at_share == null ? [] : [`half of that at ${share(missing.faster_at_share)} of the traffic`]),
  ];
  return parts.length === 0 ? '' : `about ${parts.join(', ')}`;
}

/** Rounded up as well, to whole minutes from a minute and a half on. */
function waiting(seconds: number): string {
  return seconds <= 90 ? `${Math.ceil(seconds)}\u202fs` : age(Math.ceil(seconds / 60) * 60_000);
}

/** Why there is no verdict, or none of now; empty while all is well, and where the page says itself that the server is away. */
export function pollWords(poll: Poll, held: boolean): string {
  const words = poll.words.replace(/\.$/, '');
  if (poll.state === 'elsewhere') return `No verdicts here: ${words || 'this process judges no releases'}.`;
  if (poll.state !== 'offline' && poll.state !== 'failed') return '';
  if (held) return `The verdict is that of the last answer: ${words || 'Shipwake does not answer'}.`;
  return poll.state === 'failed' ? `Verdicts cannot be read: ${words || 'the server gave no reason'}.` : '';
}

export interface Meter {
  /** 0..1; null when the server does not say. */
  ready: number | null;
  word: string;
  /** What it is made of. */
  of: string;
  missing: string;
}

export function evidenceMeter(verdict: Verdict, evidence: Evidence | null | undefined): Meter {
  const decided = isDecided(verdict.state);
  const ready = decided ? 1 : (evidence?.ready ?? null);
  const sides = [
    ...(evidence?.candidate_n == null ? [] : [`${count(evidence.candidate_n)} of ${verdict.candidate}`]),
    ...(evidence?.baseline_n == null ? [] : [`${count(evidence.baseline_n)} of ${verdict.baseline ?? 'the baseline'}`]),
  ].join(' against ');
  const elapsed = evidence?.elapsed_s == null ? '' : `in ${age(evidence.elapsed_s * 1_000)}`;
  const missing = decided ? '' : verdict.need || missingWords(evidence?.missing);
  const word = ready === null ? (missing === '' ? 'not known' : '') : ready >= 1 ? 'enough' : `${share(Math.floor(ready * 100) / 100)} of what is needed`;
  return { ready, word, of: [sides && `${sides} requests`, elapsed].filter((part) => part).join(' '), missing };
}
/** The pair on the page may be another one than the one that was judged. */
export function pairNote(verdict: Pick<Verdict, 'candidate' | 'baseline'>, pair: { candidate?: string | null; baseline?: string | null } | null | undefined): string {
  if (!pair?.candidate) return '';
  const same = pair.candidate === verdict.candidate && (pair.baseline == null || verdict.baseline == null || pair.baseline === verdict.baseline);
  if (same) return '';
  const judged = `${verdict.candidate}${verdict.baseline ? ` against ${verdict.baseline}` : ''}`;
  return `Below, ${pair.candidate}${pair.baseline ? ` is compared with ${pair.baseline}` : ' is shown'}; the verdict is about ${judged}.`;
}

/** What is read out when a word changes. */
export function announcement(verdict: Verdict): string {
  return `Verdict of ${verdict.service} ${verdict.candidate}: ${wordLook(verdict.state).word}. ${verdict.headline ?? ''}`.trim();
}

/** How the word went, without the steps that repeat it. */
export function steps(past: readonly PastWord[]): PastWord[] {
  return past.filter((step, i) => step.state !== past[i - 1]?.state || step.headline !== past[i - 1]?.headline);
}
