// What is missing from an answer when a process that has the newest records of some shards does not answer, in words.
import type { IncompleteShard } from '../api/types.ts';
import { age, plural } from './format.ts';

/** One sentence for each reason. */
export function incompleteSentence(shards: IncompleteShard[], now: number): string {
  const reasons = new Map<string, IncompleteShard[]>();
  for (const shard of shards) reasons.set(shard.reason, [...(reasons.get(shard.reason) ?? []), shard]);
  const sentence = ([reason, of]: [string, IncompleteShard[]]) => {
    const since = Math.min(...of.map((shard) => shard.since));
    return `${plural(of.length, 'shard')} (${of.map((shard) => shard.shard).join(', ')}) for ${age(now - since)}: ${reason}.`;
  };
  return `${[...reasons].map(sentence).join(' ')} What is stored is shown.`;
}
