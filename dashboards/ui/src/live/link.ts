// Decides how a tab stays connected; opens and closes nothing itself. Pure: facts and the time go in, effects come out.
//
// A WebSocket first. After two failed handshakes the server-sent stream, after two failures of that one, polling. A
// WebSocket that has worked before is given more tries, because then the server is away and no proxy is in between.
// Silence for three heartbeats counts as lost. A link that came back from polling tries the WebSocket again.

export type Mode = 'ws' | 'sse' | 'poll';

export interface Link {
  mode: Mode;
  phase: 'connecting' | 'open' | 'waiting';
  /** Handshakes that failed in a row, in this mode. */
  failures: number;
  wsWorked: boolean;
  /** When the present phase began. */
  since: number;
  startedAt: number;
  /** Last sign of life from the server. */
  heardAt: number | null;
  /** When the link was lost; null while it is fine. */
  lostAt: number | null;
  /** When `waiting` ends, or when the next poll is due. */
  retryAt: number;
  /** When polling tries the WebSocket again. */
  probeAt: number;
  hidden: boolean;
}

export type LinkEvent = 'opened' | 'closed' | 'heard' | 'tick' | 'hidden' | 'visible' | 'poll_ok' | 'poll_failed';
export type Effect = 'open_ws' | 'open_sse' | 'close' | 'poll';
export type Step = { link: Link; effects: Effect[] };

export const HEARTBEAT_MS = 2_000;
/** Three missed heartbeats and a little for the way. */
export const SILENCE_MS = 3 * HEARTBEAT_MS + 500;
export const POLL_MS = 5_000;
/** A handshake that takes longer has failed. */
const HANDSHAKE_MS = 5_000;
/** A lost link that is back within this time was never shown as lost. */
const GRACE_MS = 1_200;
const PROBE_MS = 60_000;
const TRIES = 2;
/** About half a minute of tries: a restart takes seconds. */
const TRIES_AFTER_SUCCESS = 16;
const BACKOFF_MAX_MS = 2_000;

export function startLink(now: number): Step {
  const link: Link = {
    mode: 'ws', phase: 'connecting', failures: 0, wsWorked: false, since: now, startedAt: now,
    heardAt: null, lostAt: null, retryAt: 0, probeAt: 0, hidden: false,
  };
  return { link, effects: ['open_ws'] };
}

export function stepLink(link: Link, event: LinkEvent, now: number): Step {
  switch (event) {
    case 'opened':
      return same({
        ...link, phase: 'open', failures: 0, since: now, heardAt: now, lostAt: null,
        wsWorked: link.wsWorked || link.mode === 'ws',
      });
    case 'heard':
      return same({ ...link, heardAt: now, lostAt: null });
    case 'closed':
      return closed(link, now);
    case 'tick':
      return tick(link, now);
    case 'hidden':
      return hidden(link, now);
    case 'visible':
      return visible(link, now);
    case 'poll_ok':
      return pollOk(link, now);
    case 'poll_failed':
      return same({ ...link, lostAt: link.lostAt ?? now });
  }
}

export type Connection = 'connecting' | 'online' | 'offline';

export function connection(link: Link, now: number): Connection {
  if (link.hidden && link.mode !== 'ws') return 'online';
  if (link.lostAt !== null && now - link.lostAt > GRACE_MS) return 'offline';
  if (link.heardAt === null) return now - link.startedAt > HANDSHAKE_MS ? 'offline' : 'connecting';
  const silence = link.mode === 'poll' ? 2 * POLL_MS + SILENCE_MS : SILENCE_MS;
  return now - link.heardAt > silence ? 'offline' : 'online';
}

const same = (link: Link): Step => ({ link, effects: [] });

function closed(link: Link, now: number): Step {
  if (link.mode === 'poll' || link.phase === 'waiting') return same(link);
  const lostAt = link.lostAt ?? (link.heardAt === null ? null : now);
  if (link.phase === 'open') {
    return same({ ...link, phase: 'waiting', failures: 0, since: now, lostAt, retryAt: now + backoff(0) });
  }
  const failures = link.failures + 1;
  const tries = link.mode === 'ws' && link.wsWorked ? TRIES_AFTER_SUCCESS : TRIES;
  if (failures < tries) {
    return same({ ...link, phase: 'waiting', failures, since: now, lostAt, retryAt: now + backoff(failures) });
  }
  const next = { ...link, failures: 0, since: now, lostAt };
  if (link.mode === 'ws') return { link: { ...next, mode: 'sse', phase: 'connecting' }, effects: ['open_sse'] };
  return {
    link: { ...next, mode: 'poll', phase: 'open', retryAt: now + POLL_MS, probeAt: now + PROBE_MS },
    effects: ['poll'],
  };
}

function backoff(failures: number): number {
  return Math.min(250 * 2 ** failures, BACKOFF_MAX_MS);
}

function tick(link: Link, now: number): Step {
  if (link.mode === 'poll') {
    if (link.hidden || now < link.retryAt) return same(link);
    return { link: { ...link, retryAt: now + POLL_MS }, effects: ['poll'] };
  }
  if (link.phase === 'waiting') return now >= link.retryAt ? reopen(link, now) : same(link);
  const limit = link.phase === 'open' ? SILENCE_MS : HANDSHAKE_MS;
  const last = link.phase === 'open' ? (link.heardAt ?? link.since) : link.since;
  if (now - last <= limit) return same(link);
  const after = closed(link, now);
  return { link: after.link, effects: ['close', ...after.effects] };
}

function reopen(link: Link, now: number): Step {
  const effect: Effect = link.mode === 'ws' ? 'open_ws' : 'open_sse';
  return { link: { ...link, phase: 'connecting', since: now }, effects: [effect] };
}

/** A hidden tab gives its stream back: browsers allow six to one host. A WebSocket may stay. */
function hidden(link: Link, now: number): Step {
  const next = { ...link, hidden: true };
  if (link.mode !== 'sse') return same(next);
  return { link: { ...next, phase: 'waiting', since: now, retryAt: Number.POSITIVE_INFINITY }, effects: ['close'] };
}

function visible(link: Link, now: number): Step {
  const next = { ...link, hidden: false };
  if (link.mode === 'sse' && link.phase === 'waiting') return reopen({ ...next, heardAt: now }, now);
  if (link.mode === 'poll') return { link: { ...next, retryAt: now + POLL_MS, heardAt: now }, effects: ['poll'] };
  return same(next);
}

function pollOk(link: Link, now: number): Step {
  if (link.mode !== 'poll') return same({ ...link, heardAt: now });
  const back = link.lostAt !== null;
  const next = { ...link, heardAt: now, lostAt: null };
  if (!back && now < link.probeAt) return same(next);
  const failures = link.wsWorked ? 0 : TRIES - 1;
  return { link: { ...next, mode: 'ws', phase: 'connecting', failures, since: now }, effects: ['open_ws'] };
}
