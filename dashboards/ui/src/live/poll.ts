// Decides how a long poll goes on; asks nothing itself. Pure: what came back goes in, when and how to ask again comes out.
//
// An answer is asked for again at once, with the revision it had, and the server holds the question until there is more. A refusal
// says that this process has no verdicts; pages go on without them and look again now and then. A server that is away is
// asked more and more seldom, and afterwards without a revision, because a new process counts from the start.

/** `asking` until the first answer; `none`: there is nothing about this; `elsewhere`: this process has none at all. */
export type PollState = 'asking' | 'there' | 'none' | 'elsewhere' | 'offline' | 'failed';

export interface Poll {
  state: PollState;
  /** Of the last answer; null asks for whatever there is. */
  revision: number | null;
  /** In a row. */
  failures: number;
  /** What the server said when it refused. */
  words: string;
}

export type PollEvent =
  | { kind: 'answer'; revision: number | null; tookMs: number }
  | { kind: 'refused'; status: number; words: string }
  | { kind: 'unreachable' };

export interface PollStep {
  poll: Poll;
  /** Until the next question. */
  delayMs: number;
}

export const NO_POLL: Poll = { state: 'asking', revision: null, failures: 0, words: '' };
/** How long the server may hold a question. */
export const WAIT_S = 25;
/** Boards may change more often than anybody reads. */
const GAP_MS = 1_000;
/** A server that does not hold questions is not asked without a pause. */
const UNHELD_MS = 3_000;
/** A release may come at any time; a process does not change its roles. */
const NONE_MS = 5_000;
const ELSEWHERE_MS = 60_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000;

export function stepPoll(poll: Poll, event: PollEvent): PollStep {
  switch (event.kind) {
    case 'answer': {
      const held = event.revision !== null && event.revision !== poll.revision;
      const next: Poll = { state: 'there', revision: event.revision, failures: 0, words: '' };
      return { poll: next, delayMs: Math.max(0, (held ? GAP_MS : UNHELD_MS) - event.tookMs) };
    }
    case 'refused':
      return refused(poll, event.status, event.words);
    case 'unreachable':
      return failed(poll, 'offline', '');
  }
}

function refused(poll: Poll, status: number, words: string): PollStep {
  if (status === 404) return { poll: { state: 'none', revision: null, failures: 0, words }, delayMs: NONE_MS };
  if (status === 501 || status === 503) return { poll: { state: 'elsewhere', revision: null, failures: 0, words }, delayMs: ELSEWHERE_MS };
  return failed(poll, 'failed', words);
}

function failed(poll: Poll, state: PollState, words: string): PollStep {
  const failures = poll.failures + 1;
  const delayMs = Math.min(BACKOFF_FIRST_MS * 2 ** (failures - 1), BACKOFF_MAX_MS);
  return { poll: { state, revision: null, failures, words }, delayMs };
}
