import { describe, expect, it } from 'vitest';
import { incompleteSentence } from './incomplete.ts';

const plain = (text: string) => text.replaceAll('\u202f', ' ');

describe('what is missing', () => {
  it('names the shards, since when, and why, once for each reason', () => {
    const shards = [
      { shard: 1, since: 70_000, reason: 'http://b:4400 does not answer' },
      { shard: 3, since: 60_000, reason: 'http://b:4400 does not answer' },
      { shard: 4, since: 99_000, reason: 'nobody has taken it yet' },
    ];
    expect(plain(incompleteSentence(shards, 100_000))).toBe(
      '2 shards (1, 3) for 40 s: http://b:4400 does not answer. 1 shard (4) for 1 s: nobody has taken it yet. What is stored is shown.',
    );
  });
});
