// The answer a page shows: followed live, or read once for a range that lies in the past. The last good answer stays on
// the page when a later one fails; the page says how old it is.
import { untrack } from 'svelte';
import { ApiError, getJson, queryString } from '../api/rest.ts';
import type { Meta } from '../api/types.ts';
import { live } from './client.svelte.ts';

export interface QuerySpec {
  topic: string;
  path: string;
  args: Record<string, string>;
  /** Follow the present, or read once. */
  follow: boolean;
  /** Answers with another subject do not stand in for each other while one loads. */
  subject: string;
}

export class LiveQuery<T extends { meta?: Meta }> {
  data = $state.raw<T | null>(null);
  error = $state.raw<ApiError | null>(null);
  /** Rises when a complete answer took the place of the last one, not on deltas. */
  generation = $state(0);
  readonly #merge: (held: T | null, delta: T) => T;
  #subject = '';
  #attempt = $state(0);

  /** Call while a component initialises: the subscription lives as long as the component. */
  constructor(spec: () => QuerySpec, merge: (held: T | null, delta: T) => T) {
    this.#merge = merge;
    // Compared as text: an equal question must not be asked again because an object was built anew.
    const asked = $derived(JSON.stringify(spec()));
    $effect(() => {
      void this.#attempt;
      const question = JSON.parse(asked) as QuerySpec;
      return untrack(() => this.#ask(question));
    });
  }

  retry(): void {
    this.error = null;
    this.#attempt += 1;
  }

  #ask(spec: QuerySpec): () => void {
    if (spec.subject !== this.#subject) this.data = null;
    this.#subject = spec.subject;
    const rest = spec.path + queryString(spec.args);
    if (!spec.follow) return this.#readOnce(rest);
    return live.subscribe({
      topic: spec.topic,
      args: spec.args,
      rest,
      onData: (kind, data) => this.#take(kind, data as T),
      onError: (title, detail) => {
        this.error = new ApiError(0, title, detail);
      },
    });
  }

  #readOnce(rest: string): () => void {
    const abort = new AbortController();
    getJson<T>(rest, abort.signal).then(
      (data) => this.#take('snap', data),
      (error: unknown) => {
        if (!abort.signal.aborted) this.error = error instanceof ApiError ? error : new ApiError(0, String(error));
      },
    );
    return () => abort.abort();
  }

  #take(kind: 'snap' | 'delta', data: T): void {
    if (kind === 'delta' && this.data === null) return;
    this.data = kind === 'snap' ? data : this.#merge(this.data, data);
    if (kind === 'snap') this.generation += 1;
    this.error = null;
  }
}
