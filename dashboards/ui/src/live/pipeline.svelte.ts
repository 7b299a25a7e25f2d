// The state of the pipeline, read again every two seconds while a component shows it and the tab is visible.
import { ApiError, getJson } from '../api/rest.ts';
import type { Num, Pipeline } from '../api/types.ts';
import { live } from './client.svelte.ts';

const EVERY_MS = 2_000;

export class PipelineState {
  data = $state.raw<Pipeline | null>(null);
  /** The first answer of this visit: what is above it arrived while somebody looked. */
  first = $state.raw<Pipeline | null>(null);
  error = $state.raw<ApiError | null>(null);
}

/** Call while a component initialises: the reading stops with the component. */
export function pollPipeline(everyMs = EVERY_MS): PipelineState {
  const state = new PipelineState();
  $effect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const abort = new AbortController();
    const read = async () => {
      if (!document.hidden) await readInto(state, abort.signal);
      if (!abort.signal.aborted) timer = setTimeout(read, everyMs);
    };
    void read();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  });
  return state;
}

/** When the last request came since the process started, else the newest record that is known of any service. */
export function newestOf({ last, releases }: Pipeline): number | null {
  const known = (times: readonly (Num | undefined)[]) => times.filter((t): t is number => t != null && t > 0);
  const received = known([last?.logs, last?.metrics, last?.spans]);
  const times = received.length > 0 ? received : known((releases ?? []).map((release) => release.last));
  return times.length > 0 ? Math.max(...times) : null;
}

async function readInto(state: PipelineState, signal: AbortSignal): Promise<void> {
  try {
    const data = await getJson<Pipeline>('/api/v1/pipeline', signal);
    state.data = data;
    state.first ??= data;
    state.error = null;
    live.noteMeta(data.meta);
    const { logs = 0, metrics = 0, spans = 0 } = data.received ?? {};
    live.noteReceived(logs + metrics + spans, newestOf(data));
  } catch (error) {
    if (!signal.aborted) state.error = error instanceof ApiError ? error : new ApiError(0, String(error));
  }
}
