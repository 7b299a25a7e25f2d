// The live tail of the Logs page: begins where it is told to, follows the topic, and fetches by its place what a gap, a pause or a
// lost connection kept from it, so that no line is missed and none comes twice.
import { postJson } from '../api/rest.ts';
import type { LogLine, LogTail } from '../api/logs.ts';
import { EMPTY_TAIL, resume, takeNew, type Tail } from '../view/logs.ts';
import { live } from './client.svelte.ts';

/** What is followed. */
export interface Followed {
  q: string;
  service: string;
  env: string;
  version: string;
}

export class LogFollower {
  tail = $state.raw<Tail>(EMPTY_TAIL);
  problem = $state('');
  /** Lines of the last seconds, for a rate. */
  rate = $state(0);
  #paused = false;
  #cursor = '';
  #filling = false;
  #stop: () => void = () => undefined;
  #came: { at: number; lines: number }[] = [];

  /** Follows from the present on; `load` gives the lines that are there already. */
  async start(what: Followed, load: () => Promise<readonly LogLine[]>): Promise<void> {
    this.stop();
    let stopped = false;
    let unsubscribe: () => void = () => undefined;
    this.#stop = () => {
      stopped = true;
      unsubscribe();
    };
    this.tail = EMPTY_TAIL;
    this.#cursor = '';
    const body = { q: what.q, service: what.service, env: what.env, version: what.version };
    // Before the lines are loaded: what comes in between is in both, and told apart by its name.
    const first = await postJson<LogTail>('/api/v1/logs/tail', body);
    const held = await load();
    if (stopped) return;
    this.#cursor = first.cursor;
    this.tail = { ...EMPTY_TAIL, lines: held };
    const fill = () => void this.#fill(body, () => stopped);
    unsubscribe = live.subscribe({
      topic: 'logs.tail',
      args: Object.fromEntries(Object.entries(body).filter(([, value]) => value !== '')),
      rest: '/api/v1/pipeline',
      onData: (kind, data) => {
        this.problem = '';
        // A whole answer need not follow on what is here: the place says what is missing.
        if (kind === 'snap') fill();
        else this.#take(data as LogTail);
      },
      onError: (title, detail) => (this.problem = `${title}: ${detail}`),
    });
  }

  stop(): void {
    this.#stop();
    this.#stop = () => undefined;
  }

  /** While it is paused new lines wait; when it goes on they come onto the page. */
  setPaused(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    if (!paused) this.tail = resume(this.tail);
  }

  async #fill(body: object, stopped: () => boolean): Promise<void> {
    if (this.#filling) return;
    this.#filling = true;
    try {
      const missed = await postJson<LogTail>('/api/v1/logs/tail', { ...body, cursor: this.#cursor });
      if (!stopped()) this.#take(missed);
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    } finally {
      this.#filling = false;
    }
  }

  #take(news: LogTail): void {
    live.noteMeta(news.meta);
    this.#cursor = news.cursor;
    this.tail = takeNew(this.tail, news.lines, news.skipped, this.#paused);
    const at = Date.now();
    this.#came = [...this.#came.filter((each) => at - each.at < 10_000), { at, lines: news.lines.length + news.skipped }];
    const since = Math.max(1, (at - (this.#came[0]?.at ?? at)) / 1_000 + 1);
    this.rate = this.#came.reduce((sum, each) => sum + each.lines, 0) / since;
  }
}
