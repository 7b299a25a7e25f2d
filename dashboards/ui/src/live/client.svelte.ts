// One connection per tab. Carries out what `link.ts` decides, keeps the subscriptions of the open page, and knows how far
// the data is behind. Pages subscribe through `query.svelte.ts`.
import { flushSync } from 'svelte';
import { getJson } from '../api/rest.ts';
import type { IncompleteShard, Meta, Num, ServerEnvelope } from '../api/types.ts';
import { connection, startLink, stepLink, type Connection, type Effect, type Link, type LinkEvent, type Mode } from './link.ts';

export interface Subscription {
  topic: string;
  args: Record<string, string>;
  /** The REST address of the same answer. */
  rest: string;
  onData(kind: 'snap' | 'delta', data: unknown): void;
  onError(title: string, detail: string): void;
}

/** Without new records for longer than this, the page says so. */
const QUIET_MS = 30_000;
/** Counts that were read longer ago say nothing about the present. */
const COUNTS_HOLD_MS = 15_000;
/** Data that is further behind than this is called delayed. */
const DELAYED_MS = 10_000;
const TICK_MS = 500;
/** The stream that is opened for its heartbeat when a page has no subscription. */
const HEARTBEAT_TOPIC = 'overview';

export type Freshness = 'live' | 'delayed' | 'paused' | 'offline';

class LiveClient {
  mode = $state<Mode>('ws');
  connection = $state<Connection>('connecting');
  paused = $state(false);
  pausedAt = $state(0);
  /** Data watermark of the newest heartbeat or answer, in the server's clock. */
  wm = $state<number | null>(null);
  /** Shards whose newest records the newest answer lacks. */
  incomplete = $state.raw<IncompleteShard[]>([]);
  /** What the pipeline had received: what one page shows may be quiet while other services are not. */
  #counts = $state.raw<{ received: number; now: number; risen: number; compared: boolean } | null>(null);
  /** Event time that the newest record known to the page has at least; the watermark goes on without records. */
  dataAt = $state<number | null>(null);
  /** How long nothing has come in, or null while that is not known or data flows. */
  readonly quietMs: number | null = $derived.by(() => {
    const counts = this.#counts;
    if (!counts || (counts.received === 0 && this.dataAt === null) || this.serverNow - counts.now > COUNTS_HOLD_MS) return null;
    const quiet = this.serverNow - (this.dataAt ?? counts.risen);
    return counts.compared && quiet > QUIET_MS ? quiet : null;
  });
  /** The server's clock now, advanced twice a second. */
  serverNow = $state(Date.now());
  readonly lagMs: number | null = $derived(this.wm === null ? null : Math.max(0, this.serverNow - this.wm));
  readonly freshness: Freshness = $derived.by(() => {
    if (this.connection === 'offline') return 'offline';
    if (this.paused) return 'paused';
    return this.lagMs !== null && this.lagMs > DELAYED_MS ? 'delayed' : 'live';
  });

  #link: Link = startLink(0).link;
  #socket: WebSocket | null = null;
  #streams: EventSource[] = [];
  #subscriptions = new Map<number, Subscription>();
  /** Those that have had a frame over the present connection: a REST answer that comes later is older. */
  #framed = new Set<Subscription>();
  #nextId = 1;
  #clockOffset = 0;

  start(): () => void {
    const first = startLink(Date.now());
    this.#link = first.link;
    this.#carryOut(first.effects);
    const timer = setInterval(() => this.#tick(), TICK_MS);
    const onVisibility = () => this.#event(document.hidden ? 'hidden' : 'visible');
    document.addEventListener('visibilitychange', onVisibility);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', onVisibility);
      this.#close();
    };
  }

  subscribe(subscription: Subscription): () => void {
    const id = this.#nextId++;
    this.#subscriptions.set(id, subscription);
    if (!this.paused) this.#open(id, subscription);
    return () => {
      this.#subscriptions.delete(id);
      this.#framed.delete(subscription);
      this.#send({ op: 'unsub', id });
      if (this.#link.mode === 'sse') this.#reopenStreams();
    };
  }

  /** Stops what is on the page where it is; the server is told, so nothing piles up. */
  setPaused(paused: boolean): void {
    if (paused === this.paused) return;
    this.paused = paused;
    this.pausedAt = this.serverNow;
    for (const [id, subscription] of this.#subscriptions) {
      this.#framed.delete(subscription);
      if (paused) this.#send({ op: 'unsub', id });
      else this.#open(id, subscription);
    }
    if (this.#link.mode === 'sse') this.#reopenStreams();
  }

  /** Takes over what a REST answer says about the watermark. */
  noteMeta(meta: Meta | undefined): void {
    if (meta) this.noteIncomplete(meta.incomplete);
    if (meta?.wm == null) return;
    this.#noteClock(meta.lag_ms == null ? undefined : meta.wm + meta.lag_ms, meta.wm);
  }

  /** Takes over which shards the newest answer lacks. */
  noteIncomplete(shards: IncompleteShard[] | undefined): void {
    if (shards === undefined && this.incomplete.length === 0) return;
    this.incomplete = shards ?? [];
  }

  /** A record of this event time has arrived. */
  noteData(t: number | null): void {
    if (t !== null && (this.dataAt === null || t > this.dataAt)) this.dataAt = t;
  }

  /** Compares the counts with the last ones: when they have risen, something came in after those were read. `last` is when
   *  the newest record came as far as the server knows; counts begin anew with the process, this does not. */
  noteReceived(received: number, last: number | null): void {
    const before = this.#counts;
    const now = this.serverNow;
    this.noteData(last === null ? null : Math.min(last, now));
    const rose = before !== null && received > before.received;
    if (rose) this.noteData(before.now);
    // Without any time of a record, it is quiet since the first look at most.
    const risen = rose ? before.now : (before?.risen ?? (this.dataAt === null ? now : 0));
    this.#counts = { received, now, risen, compared: before !== null };
  }

  #noteClock(now: number | undefined, wm: Num | undefined): void {
    if (now !== undefined) this.#clockOffset = now - Date.now();
    if (wm != null && (this.wm === null || wm > this.wm)) this.wm = wm;
    this.serverNow = Date.now() + this.#clockOffset;
  }

  #tick(): void {
    this.serverNow = Date.now() + this.#clockOffset;
    this.#event('tick');
  }

  #event(event: LinkEvent): void {
    const step = stepLink(this.#link, event, Date.now());
    this.#link = step.link;
    this.#carryOut(step.effects);
    this.mode = this.#link.mode;
    this.connection = connection(this.#link, Date.now());
  }

  #carryOut(effects: Effect[]): void {
    for (const effect of effects) {
      if (effect === 'open_ws') this.#openSocket();
      else if (effect === 'open_sse') this.#openStreams();
      else if (effect === 'close') this.#close();
      else void this.#poll();
    }
  }

  #close(): void {
    this.#framed.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const stream of this.#streams) stream.close();
    this.#streams = [];
  }

  #openSocket(): void {
    this.#close();
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const socket = new WebSocket(`${scheme}://${location.host}/api/v1/live/ws`);
    this.#socket = socket;
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      this.#event('opened');
      if (!this.paused) for (const [id, subscription] of this.#subscriptions) this.#subscribeOverSocket(id, subscription);
    };
    socket.onmessage = (message) => {
      if (this.#socket === socket) this.#receive(String(message.data), null);
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#event('closed');
    };
  }

  #open(id: number, subscription: Subscription): void {
    const { mode, phase } = this.#link;
    if (mode === 'ws' && phase === 'open') this.#subscribeOverSocket(id, subscription);
    else void this.#fetch(subscription);
    if (mode === 'sse') this.#reopenStreams();
  }

  #subscribeOverSocket(id: number, subscription: Subscription): void {
    this.#send({ op: 'sub', id, topic: subscription.topic, args: subscription.args });
  }

  #send(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #reopenStreams(): void {
    if (this.#link.phase !== 'waiting') this.#openStreams();
  }

  #openStreams(): void {
    this.#close();
    const wanted = this.paused ? [] : [...this.#subscriptions.values()];
    if (wanted.length === 0) this.#openStream(HEARTBEAT_TOPIC, {}, null);
    for (const subscription of wanted) this.#openStream(subscription.topic, subscription.args, subscription);
  }

  #openStream(topic: string, args: Record<string, string>, subscription: Subscription | null): void {
    const stream = new EventSource(`/api/v1/live/sse?${new URLSearchParams({ topic, ...args }).toString()}`);
    this.#streams.push(stream);
    const current = () => this.#streams.includes(stream);
    stream.onopen = () => {
      if (current()) this.#event('opened');
    };
    // The browser would try again by itself, without an end; the link decides that here.
    stream.onerror = () => {
      if (!current()) return;
      this.#close();
      this.#event('closed');
    };
    for (const kind of ['snap', 'delta', 'gap', 'err', 'hb']) {
      stream.addEventListener(kind, (message) => {
        if (current()) this.#receive(String((message as MessageEvent).data), subscription);
      });
    }
  }

  async #poll(): Promise<void> {
    const wanted = [...this.#subscriptions.values()];
    try {
      if (wanted.length === 0) await this.#readHealth();
      await Promise.all(wanted.map((subscription) => this.#read(subscription)));
      this.#event('poll_ok');
    } catch {
      this.#event('poll_failed');
    }
  }

  async #readHealth(): Promise<void> {
    const response = await fetch('/healthz');
    if (!response.ok) throw new Error('not healthy');
  }

  async #fetch(subscription: Subscription): Promise<void> {
    // A failure shows as an error on the page that asked; the link has its own signs of life.
    await this.#read(subscription).catch(() => undefined);
  }

  async #read(subscription: Subscription): Promise<void> {
    try {
      const data = await getJson<{ meta?: Meta }>(subscription.rest);
      if (![...this.#subscriptions.values()].includes(subscription) || this.#framed.has(subscription) || this.paused) return;
      this.noteMeta(data.meta);
      subscription.onData('snap', data);
    } catch (error) {
      if (error instanceof Error) subscription.onError(error.message, 'detail' in error ? String(error.detail) : '');
      throw error;
    }
  }

  #receive(text: string, from: Subscription | null): void {
    const started = performance.now();
    let envelope: ServerEnvelope;
    try {
      envelope = JSON.parse(text) as ServerEnvelope;
    } catch {
      return;
    }
    this.#event('heard');
    if (envelope.k === 'hb') {
      this.#noteClock(envelope.now, envelope.wm);
      return;
    }
    const subscription = from ?? this.#subscriptions.get(envelope.id ?? -1);
    if (!subscription || this.paused) return;
    if (envelope.k === 'err') {
      subscription.onError(envelope.title ?? envelope.code ?? 'The live topic failed', envelope.detail ?? '');
    } else if (envelope.k === 'snap' || envelope.k === 'delta') {
      this.#apply(subscription, envelope, started);
    }
  }

  #apply(subscription: Subscription, envelope: { k: 'snap' | 'delta'; wm?: Num; data: unknown }, started: number): void {
    this.#noteClock(undefined, envelope.wm ?? (envelope.data as { meta?: Meta } | null)?.meta?.wm);
    this.#framed.add(subscription);
    flushSync(() => subscription.onData(envelope.k, envelope.data));
    measureTick(subscription.topic, started);
  }
}

/** What a frame cost from its arrival until the page and its canvases are changed; charts draw in a microtask. */
function measureTick(topic: string, started: number): void {
  void Promise.resolve()
    .then(() => undefined)
    .then(() => {
      performance.clearMeasures('shipwake:tick');
      performance.measure('shipwake:tick', { start: started, end: performance.now(), detail: topic });
    });
}

export const live = new LiveClient();
