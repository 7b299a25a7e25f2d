import { describe, expect, it } from 'vitest';
import { NO_POLL, stepPoll, type Poll, type PollEvent } from './poll.ts';

function run(events: PollEvent[], from: Poll = NO_POLL): { poll: Poll; delays: number[] } {
  const delays: number[] = [];
  let poll = from;
  for (const event of events) {
    const step = stepPoll(poll, event);
    poll = step.poll;
    delays.push(step.delayMs);
  }
  return { poll, delays };
}

const answer = (revision: number | null, tookMs = 20): PollEvent => ({ kind: 'answer', revision, tookMs });
const away: PollEvent = { kind: 'unreachable' };

describe('a long poll', () => {
  it('asks on with the revision of the answer, once a second at most', () => {
    const { poll, delays } = run([answer(7), answer(8, 4_000)]);
    expect(poll).toEqual({ state: 'there', revision: 8, failures: 0, words: '' });
    expect(delays).toEqual([980, 0]);
  });

  it('does not hammer a server that answers the same at once', () => {
    expect(run([answer(7), answer(7, 10)]).delays).toEqual([980, 2_990]);
    expect(run([answer(7), answer(7, 25_000)]).delays).toEqual([980, 0]);
    expect(run([answer(null, 10), answer(null, 10)]).delays).toEqual([2_990, 2_990]);
  });

  it('asks a server that is away more and more seldom, and begins anew with a new process', () => {
    const { poll, delays } = run([answer(148), away, away, away, away, away, away, away]);
    expect(delays.slice(1)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    expect(poll.state).toBe('offline');
    expect(poll.revision).toBeNull();
    expect(run([answer(3)], poll)).toEqual({ poll: { state: 'there', revision: 3, failures: 0, words: '' }, delays: [980] });
  });

  it('tells "nothing about this" from "not in this process" from a failure', () => {
    const refused = (status: number): PollEvent => ({ kind: 'refused', status, words: 'ask alerts-1' });
    expect(run([refused(404)])).toMatchObject({ poll: { state: 'none' }, delays: [5_000] });
    expect(run([refused(503)])).toMatchObject({ poll: { state: 'elsewhere', words: 'ask alerts-1' }, delays: [60_000] });
    expect(run([refused(500), refused(500)])).toMatchObject({ poll: { state: 'failed', failures: 2 }, delays: [500, 1_000] });
  });
});
