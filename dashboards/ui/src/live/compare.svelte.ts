// A comparison, asked again while it follows the present. The last good answer stays while a later one is on its way.
import { untrack } from 'svelte';
import { ApiError, postJson } from '../api/rest.ts';
import type { Comparison } from '../api/compare.ts';
import { live } from './client.svelte.ts';

/** A comparison reads every window of the range: often enough to watch, seldom enough to leave the server alone. */
const EVERY_MS = 10_000;

export interface CompareQuestion {
  body: Record<string, unknown>;
  follow: boolean;
  /** Answers with another subject do not stand in for each other while one loads. */
  subject: string;
}

/** The same for equal questions, in whatever order their parts are. */
const keyOf = (body: Record<string, unknown>): string => JSON.stringify(Object.entries(body).filter(([, value]) => value !== undefined).sort());

const chosen = (version: string | null): string | undefined => (version === null ? undefined : `ver:${version}`);

export class CompareQuery {
  data = $state.raw<Comparison | null>(null);
  error = $state.raw<ApiError | null>(null);
  loading = $state(false);
  #subject = '';
  /** What the held answer is to, with the sides that the server chose. */
  #answered = '';
  #attempt = $state(0);

  /** Call while a component initialises. Nothing is asked while there is no question. */
  constructor(question: () => CompareQuestion | null) {
    // Compared as text: an equal question must not be asked again because an object was built anew.
    const asked = $derived(JSON.stringify(question()));
    $effect(() => {
      void this.#attempt;
      const now = JSON.parse(asked) as CompareQuestion | null;
      return untrack(() => this.#ask(now));
    });
  }

  retry(): void {
    this.error = null;
    this.#answered = '';
    this.#attempt += 1;
  }

  #ask(question: CompareQuestion | null): () => void {
    if (question?.subject !== this.#subject) this.data = null;
    this.#subject = question?.subject ?? '';
    // The sides that the server chose are written to the address: that is the same question, and its answer is here.
    const isAnswered = question !== null && this.data !== null && this.error === null && this.#answered === keyOf(question.body);
    this.error = null;
    if (!question) return () => {};
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      if (!document.hidden && !live.paused) await this.#read(question.body, abort.signal);
      if (question.follow && !abort.signal.aborted) timer = setTimeout(read, EVERY_MS);
    };
    if (!isAnswered) void read();
    else if (question.follow) timer = setTimeout(read, EVERY_MS);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }

  async #read(body: Record<string, unknown>, signal: AbortSignal): Promise<void> {
    this.loading = true;
    try {
      const data = await postJson<Comparison>('/api/v1/compare', body, signal);
      if (signal.aborted) return;
      this.data = data;
      this.#answered = keyOf({ ...body, a: body['a'] || chosen(data.a.version), b: body['b'] || chosen(data.b.version) });
      this.error = null;
    } catch (error) {
      if (!signal.aborted) this.error = error instanceof ApiError ? error : new ApiError(0, String(error));
    }
    if (!signal.aborted) this.loading = false;
  }
}
