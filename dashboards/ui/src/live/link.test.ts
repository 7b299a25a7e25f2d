import { describe, expect, it } from 'vitest';
import { connection, POLL_MS, SILENCE_MS, startLink, stepLink, type Effect, type Link, type LinkEvent } from './link.ts';

/** Runs events at given times and collects what the link asked for. */
function play(events: [LinkEvent, number][], from?: Link): { link: Link; effects: Effect[] } {
  const first = startLink(0);
  let link = from ?? first.link;
  const effects: Effect[] = from ? [] : [...first.effects];
  for (const [event, now] of events) {
    const step = stepLink(link, event, now);
    link = step.link;
    effects.push(...step.effects);
  }
  return { link, effects };
}

const twoFailedHandshakes: [LinkEvent, number][] = [['closed', 10], ['tick', 600], ['closed', 610]];
const toPolling: [LinkEvent, number][] = [...twoFailedHandshakes, ['closed', 620], ['tick', 1_200], ['closed', 1_210]];

describe('the link of a tab', () => {
  it('opens a WebSocket and is online once it hears the server', () => {
    const { link, effects } = play([['opened', 20], ['heard', 30]]);
    expect(effects).toEqual(['open_ws']);
    expect(connection(link, 40)).toBe('online');
  });

  it('falls back to the stream after two failed handshakes', () => {
    const { link, effects } = play(twoFailedHandshakes);
    expect(effects).toEqual(['open_ws', 'open_ws', 'open_sse']);
    expect(link.mode).toBe('sse');
  });

  it('falls back to polling after two failed streams and polls every five seconds', () => {
    const { link, effects } = play(toPolling);
    expect(link.mode).toBe('poll');
    expect(effects.at(-1)).toBe('poll');
    const later = play([['poll_ok', 1_300], ['tick', 2_000], ['tick', 1_210 + POLL_MS], ['tick', 6_300]], link);
    expect(later.effects).toEqual(['poll']);
    expect(connection(later.link, 6_400)).toBe('online');
  });

  it('counts three missed heartbeats as lost and opens again', () => {
    const open = play([['opened', 0], ['heard', 2_000]]).link;
    expect(connection(open, 2_000 + SILENCE_MS)).toBe('online');
    const { link, effects } = play([['tick', 2_001 + SILENCE_MS], ['tick', 9_000]], open);
    expect(effects).toEqual(['close', 'open_ws']);
    expect(connection(link, 11_000)).toBe('offline');
  });

  it('says offline soon after the server closed and online as soon as it is back', () => {
    const lost = play([['opened', 0], ['closed', 1_000]]).link;
    expect(connection(lost, 1_100)).toBe('online');
    expect(connection(lost, 2_500)).toBe('offline');
    const back = play([['tick', 2_600], ['opened', 2_700]], lost);
    expect(back.effects).toEqual(['open_ws']);
    expect(connection(back.link, 2_700)).toBe('online');
  });

  it('keeps to the WebSocket through a restart when it has worked before', () => {
    let link = play([['opened', 0], ['closed', 1_000]]).link;
    let now = 1_000;
    for (let i = 0; i < 10; i++) {
      now += 2_100;
      link = play([['tick', now], ['closed', now + 5]], link).link;
    }
    expect(link.mode).toBe('ws');
    const back = play([['tick', now + 3_000], ['opened', now + 3_010]], link).link;
    expect(connection(back, now + 3_020)).toBe('online');
  });

  it('tries the WebSocket again when polling works after an outage', () => {
    const polling = play(toPolling).link;
    const { link, effects } = play([['poll_failed', 6_300], ['tick', 11_400], ['poll_ok', 11_410]], polling);
    expect(effects).toEqual(['poll', 'open_ws']);
    const again = play([['closed', 11_420]], link);
    expect(again.effects).toEqual(['open_sse']);
  });

  it('does not hop between polling and the WebSocket while polling works', () => {
    let link = play(toPolling).link;
    const effects: Effect[] = [];
    for (let now = 2_000; now < 50_000; now += 500) {
      const step = play([['tick', now], ['poll_ok', now]], link);
      link = step.link;
      effects.push(...step.effects);
    }
    expect(new Set(effects)).toEqual(new Set(['poll']));
  });

  it('gives the stream back while the tab is hidden', () => {
    const stream = play([...twoFailedHandshakes, ['opened', 700]]).link;
    const away = play([['hidden', 1_000], ['tick', 900_000]], stream);
    expect(away.effects).toEqual(['close']);
    const back = play([['visible', 900_001]], away.link);
    expect(back.effects).toEqual(['open_sse']);
    expect(connection(back.link, 900_002)).toBe('online');
  });

  it('gives up on a handshake that never answers', () => {
    const { effects } = play([['tick', 5_001]]);
    expect(effects).toEqual(['open_ws', 'close']);
  });

  it('ignores a late close of a connection that it has given up', () => {
    const waiting = play([['opened', 0], ['closed', 100]]).link;
    expect(play([['closed', 120]], waiting).link).toEqual(waiting);
  });
});
