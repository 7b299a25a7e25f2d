// Verdicts by long poll: asks as `poll.ts` decides, for as long as somebody looks. One question at a time and none from a hidden tab:
// browsers give a host six connections, for all tabs together.
import { untrack } from 'svelte';
import { ApiError, getJson, queryString } from '../api/rest.ts';
import { segmentOf } from '../url/routes.ts';
import type { ServiceVerdict, Verdict, Verdicts, VerdictsMeta } from '../api/verdicts.ts';
import { live } from './client.svelte.ts';
import { isNews } from '../view/verdict.ts';
import { NO_POLL, stepPoll, WAIT_S, type Poll, type PollEvent } from './poll.ts';

/** A held question is answered in time, or the connection is dead. */
const DEAD_MS = (WAIT_S + 10) * 1_000;
/** A page waits so long for its verdict before it shows the rest. */
const PATIENCE_MS = 1_500;
/** After a release has left the board. */
const LOOK_AGAIN_MS = 5_000;

class Sight {
  hidden = $state(document.hidden);

  constructor() {
    document.addEventListener('visibilitychange', () => (this.hidden = document.hidden));
  }
}

const sight = new Sight();

export interface Question {
  path: string;
  args: Record<string, string>;
  /** Answers about something else do not stand in for each other. */
  subject: string;
  /** "Not found" means that the server knows no verdicts at all. */
  always: boolean;
}

export class LongPoll<T extends { meta?: VerdictsMeta }> {
  data = $state.raw<T | null>(null);
  poll = $state.raw<Poll>(NO_POLL);
  #subject = '';

  /** Call while a component initialises: the asking stops with the component. `null` asks nothing. */
  constructor(question: () => Question | null) {
    const asked = $derived(JSON.stringify(question()));
    const away = $derived(live.connection === 'offline');
    $effect(() => {
      const wanted = JSON.parse(asked) as Question | null;
      void away;
      if (wanted === null || wanted.subject !== this.#subject) this.#forget();
      if (wanted === null || sight.hidden || live.paused) return;
      this.#subject = wanted.subject;
      const abort = new AbortController();
      untrack(() => void this.#follow(wanted, abort.signal));
      return () => abort.abort();
    });
  }

  #forget(): void {
    this.#subject = '';
    this.data = null;
    this.poll = NO_POLL;
  }

  async #follow(question: Question, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const event = await this.#ask(question, signal);
      if (event === null || signal.aborted) return;
      const step = stepPoll(this.poll, event);
      this.poll = step.poll;
      if (step.poll.state === 'none' || step.poll.state === 'elsewhere') this.data = null;
      await pause(step.delayMs, signal);
    }
  }

  async #ask(question: Question, signal: AbortSignal): Promise<PollEvent | null> {
    const { revision } = this.poll;
    const held: Record<string, string> = revision === null ? {} : { after: String(revision), wait: String(WAIT_S) };
    const started = performance.now();
    try {
      const either = AbortSignal.any([signal, AbortSignal.timeout(DEAD_MS)]);
      const data = await getJson<T>(question.path + queryString({ ...question.args, ...held }), either);
      if (signal.aborted) return null;
      this.data = data;
      return { kind: 'answer', revision: data.meta?.revision ?? null, tookMs: performance.now() - started };
    } catch (error) {
      if (signal.aborted) return null;
      if (!(error instanceof ApiError) || error.status === 0) return { kind: 'unreachable' };
      const status = error.status === 404 && question.always ? 503 : error.status;
      return { kind: 'refused', status, words: error.detail || error.message };
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      done();
    });
  });
}

/** True once something has come, or nothing has come for long enough. */
class Patience {
  over = $state(false);

  constructor() {
    $effect(() => {
      const timer = setTimeout(() => (this.over = true), PATIENCE_MS);
      return () => clearTimeout(timer);
    });
  }
}

/** The verdicts of all services, or of an environment's. */
export class VerdictList {
  readonly #list: LongPoll<Verdicts>;
  readonly #patience = new Patience();

  constructor(env: () => string) {
    this.#list = new LongPoll(() => listQuestion({ env: env() }));
  }

  get verdicts(): readonly Verdict[] {
    return this.#list.data?.verdicts ?? [];
  }

  get poll(): Poll {
    return this.#list.poll;
  }

  /** The page need not wait for it any longer. */
  get settled(): boolean {
    return this.#list.poll.state !== 'asking' || this.#patience.over;
  }
}

export interface Subject {
  service: string;
  /** The environment that is asked for; empty for any. */
  asked: string;
  /** The one that the page shows; null while that is not known. */
  env: string | null;
  /** The version that a person has chosen. */
  candidate: string;
}

/**
 * The verdict of one service. The list says whether there is one, and is followed until it does: a service without a verdict is an
 * ordinary case and no failed request. From then on the verdict itself is followed.
 */
export class VerdictQuery {
  readonly #list: LongPoll<Verdicts>;
  readonly #detail: LongPoll<ServiceVerdict>;
  readonly #patience = new Patience();
  readonly #subject: () => Subject;
  #found = $state.raw<Verdict | null>(null);
  /** Versions that a verdict can be asked of. It only grows: an answer about one of them must not make the others unknown. */
  #known = $state.raw<readonly string[]>([]);

  constructor(subject: () => Subject) {
    this.#subject = subject;
    const place = $derived(`${subject().service}\u0000${subject().env ?? ''}`);
    this.#list = new LongPoll(() => {
      const { service, asked } = subject();
      return this.#found === null ? listQuestion({ service, env: asked }) : null;
    });
    this.#detail = new LongPoll(() => (this.#found === null ? null : this.#question(this.#found)));
    $effect(() => {
      void place;
      this.#found = null;
      this.#known = [];
    });
    $effect(() => {
      const { data } = this.#detail;
      const seen = data ? [data.verdict, ...(data.others ?? [])] : (this.#list.data?.verdicts ?? []);
      const names = seen.filter(isNews).map((verdict) => verdict.candidate);
      untrack(() => {
        if (names.some((name) => !this.#known.includes(name))) this.#known = [...new Set([...this.#known, ...names])];
      });
    });
    $effect(() => {
      const { service, env } = this.#subject();
      const entry = (this.#list.data?.verdicts ?? []).find((verdict) => verdict.service === service && (verdict.env ?? '') === env);
      if (entry) this.#found = entry;
    });
    const gone = $derived(this.#detail.poll.state === 'none');
    $effect(() => {
      if (!gone) return;
      const timer = setTimeout(() => (this.#found = null), LOOK_AGAIN_MS);
      return () => clearTimeout(timer);
    });
  }

  get data(): ServiceVerdict | null {
    return this.#detail.data;
  }

  get poll(): Poll {
    return this.#found === null ? this.#list.poll : this.#detail.poll;
  }

  get settled(): boolean {
    if (this.#patience.over) return true;
    return this.#found === null ? this.#list.poll.state !== 'asking' && !this.#waits() : this.#detail.poll.state !== 'asking';
  }

  /** There are verdicts, and the environment that would tell which one is meant is not known yet. */
  #waits(): boolean {
    return this.#subject().env === null && (this.#list.data?.verdicts ?? []).length > 0;
  }

  #question(found: Verdict): Question {
    const { service, env, candidate } = this.#subject();
    const chosen = this.#known.includes(candidate) ? candidate : '';
    const args = { env: env ?? '', namespace: found.namespace ?? '', candidate: chosen };
    return { path: verdictPath(service), args, subject: `${service}\u0000${env}\u0000${chosen}`, always: false };
  }
}

export const verdictPath = (service: string): string => `/api/v1/services/${segmentOf(service)}/verdict`;

export const kayentaPath = (service: string): string => `${verdictPath(service)}/kayenta`;

function listQuestion(args: Record<string, string>): Question {
  return { path: '/api/v1/verdicts', args, subject: JSON.stringify(args), always: true };
}
