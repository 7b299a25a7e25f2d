// Whom a verdict was told, attempt by attempt, from the table of notifications. Pure.
import type { Row } from '../api/sql.ts';
import { quoted } from '../api/sql.ts';
import { seconds } from './format.ts';

export interface Attempt {
  at: number;
  receiver: string;
  /** `webhook`, `slack` …; empty when it is configured no more. */
  kind: string;
  about: string;
  glyph: string;
  word: string;
  tone: 'go' | 'no-go' | 'watch' | 'wait';
  /** What the receiver answered, or what went wrong before. */
  answer: string;
  /** What came, or comes, after it; empty where nothing does. */
  next: { text: string; at: number | null };
}

/** How many attempts a record shows. */
export const ATTEMPTS_MAX = 200;

const RESULTS: Record<string, Pick<Attempt, 'glyph' | 'word' | 'tone'>> = {
  delivered: { glyph: '✓', word: 'delivered', tone: 'go' },
  failed: { glyph: '▲', word: 'failed', tone: 'watch' },
  busy: { glyph: '▲', word: 'told to wait', tone: 'watch' },
  gone: { glyph: '✕', word: 'address gone', tone: 'no-go' },
  rejected: { glyph: '✕', word: 'refused', tone: 'no-go' },
  expired: { glyph: '✕', word: 'given up, too old', tone: 'no-go' },
  dropped: { glyph: '✕', word: 'given up', tone: 'no-go' },
  merged: { glyph: '–', word: 'told with a later one', tone: 'wait' },
  handed_on: { glyph: '–', word: 'left to the fallback', tone: 'wait' },
};

/** Results after which the same notification is tried again. */
const AGAIN: Record<string, string> = {
  failed: 'tried again: after seconds at first, at most minutes apart',
  busy: 'tried again when the receiver allows it',
  gone: 'waits for another address in alerts.yaml',
};

export function notificationsSql(service: string, version: string, env: string): string {
  const place = env === '' ? '' : ` and environment = ${quoted(env)}`;
  return (
    'select time, receiver, kind, result, attempt, status, took_ms, answer, about, id from notifications ' +
    `where service = ${quoted(service)} and version = ${quoted(version)}${place} order by time desc, attempt desc limit ${ATTEMPTS_MAX}`
  );
}

/** Oldest first. `rows` are the newest first. */
export function attemptsOf(rows: readonly Row[]): Attempt[] {
  const ordered = [...rows].reverse().filter((row) => !Number.isNaN(Date.parse(textOf(row['time']))));
  return ordered.map((row, i) => {
    const result = textOf(row['result']);
    const isSame = (other: Row) => textOf(other['id']) === textOf(row['id']) && textOf(other['receiver']) === textOf(row['receiver']);
    const later = textOf(row['id']) === '' ? undefined : ordered.slice(i + 1).find(isSame);
    const [status, took, text] = [row['status'], row['took_ms'], textOf(row['answer'])];
    const answer = [typeof status === 'number' ? String(status) : '', text, typeof took === 'number' && took > 0 ? `after ${seconds(took / 1_000)}` : ''];
    return {
      at: Date.parse(textOf(row['time'])),
      receiver: textOf(row['receiver']),
      kind: textOf(row['kind']),
      about: textOf(row['about']),
      ...(RESULTS[result] ?? { glyph: '·', word: result, tone: 'wait' as const }),
      answer: answer.filter((part) => part !== '').join(' · '),
      next: later ? { text: 'tried again', at: Date.parse(textOf(later['time'])) } : { text: AGAIN[result] ?? '', at: null },
    };
  });
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
