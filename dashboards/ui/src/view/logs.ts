// Lists of log lines as the Logs page holds them: pages put together, a tail that waits while somebody reads, and the text of
// a search with a filter more or less. Pure.
import type { LogLine, LogPattern } from '../api/logs.ts';

/** Lines that a page holds; older ones leave a tail. */
export const HELD_MAX = 2_000;
/** Lines that wait while a tail is paused; what comes beyond is counted. */
export const WAITING_MAX = 2_000;
/** New lines that are drawn at once. */
const DRAWN_AT_ONCE = 200;
/** Of a mark, as a part of the width of a chart. */
const MARK_WIDTH = 0.025;

export const LEVELS: Record<string, { glyph: string; tone: string }> = {
  fatal: { glyph: '✕', tone: 'no-go' },
  error: { glyph: '✕', tone: 'no-go' },
  warn: { glyph: '▲', tone: 'watch' },
  info: { glyph: '·', tone: 'plain' },
  debug: { glyph: '·', tone: 'quiet' },
  trace: { glyph: '·', tone: 'quiet' },
  unknown: { glyph: '·', tone: 'quiet' },
};

/** A tail: lines newest first, and what waits. */
export interface Tail {
  lines: readonly LogLine[];
  /** Newest first; not on the page yet. */
  waiting: readonly LogLine[];
  /** Lines that came and are not kept: too many at once, or too many while it was paused. */
  skipped: number;
  /** The newest line that was there before the last lines came in: a divider stands above it. */
  readUpTo: string | null;
}

export const EMPTY_TAIL: Tail = { lines: [], waiting: [], skipped: 0, readUpTo: null };

/** Takes new lines (oldest first): onto the page, or to those that wait. A line that is there already is passed over. */
export function takeNew(tail: Tail, lines: readonly LogLine[], skipped: number, paused: boolean): Tail {
  const known = new Set([...tail.lines, ...tail.waiting].map((line) => line.id));
  const fresh = lines.filter((line) => !known.has(line.id)).reverse();
  if (!paused) {
    const came = [...fresh, ...tail.waiting];
    const drawn = came.slice(0, Math.max(DRAWN_AT_ONCE, tail.waiting.length));
    const left = came.length - drawn.length;
    return { lines: [...drawn, ...tail.lines].slice(0, HELD_MAX), waiting: [], skipped: tail.skipped + skipped + left, readUpTo: tail.readUpTo };
  }
  const waiting = [...fresh, ...tail.waiting];
  const left = Math.max(0, waiting.length - WAITING_MAX);
  return { ...tail, waiting: waiting.slice(0, WAITING_MAX), skipped: tail.skipped + skipped + left };
}

/** Puts what waits onto the page, above what was read. */
export function resume(tail: Tail): Tail {
  if (tail.waiting.length === 0) return tail;
  return { lines: [...tail.waiting, ...tail.lines].slice(0, HELD_MAX), waiting: [], skipped: tail.skipped, readUpTo: tail.lines[0]?.id ?? null };
}

/** Between quotes, as the search language reads it. */
export function quoted(value: string): string {
  return `"${value.replace(/[\\"]/g, (sign) => `\\${sign}`)}"`;
}

/** `name:"value"`; a name that is no plain word is quoted, too. */
export function fieldTerm(name: string, value: string, not = false): string {
  const plain = /^[A-Za-z][A-Za-z0-9_.]*$/.test(name) ? name : quoted(name);
  return `${not ? '-' : ''}${plain}:${quoted(value)}`;
}

/** The search with one more condition for every line. */
export function withTerm(search: string, term: string): string {
  const rest = search.trim();
  if (rest === '' || rest === '*') return term;
  if (rest.includes(term)) return rest;
  return / OR /.test(rest) ? `(${rest}) ${term}` : `${rest} ${term}`;
}

/** Patterns that only this version ever had. */
export function newIn(patterns: readonly LogPattern[], version: string): LogPattern[] {
  return patterns.filter((pattern) => pattern.new_in !== null && (version === '' || pattern.new_in === version));
}

/** The text before the fault, the sign at it, and what follows, for a caret under the search. */
export function faultAt(search: string, offset: number): { before: string; at: string; after: string } {
  const signs = [...search];
  return { before: signs.slice(0, offset).join(''), at: signs[offset] ?? ' ', after: signs.slice(offset + 1).join('') };
}

/** Colours and the like, which a program wrote for a terminal: `ESC [ … letter`. */
const CONTROL_SEQUENCE = /\u001b\[[ -?]*[@-~]/g;

/** What a line says: its text without a terminal's colours, or for an event without one the event's name. */
export function textOf(line: LogLine): string {
  return line.body !== '' ? line.body.replace(CONTROL_SEQUENCE, '') : (line.event ?? '');
}

/** Hours, minutes, seconds and milliseconds. */
export function lineTime(ms: number, zone: 'local' | 'utc'): string {
  const at = new Date(ms);
  const two = (n: number) => String(n).padStart(2, '0');
  const [hours, minutes, seconds] = zone === 'utc' ? [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()] : [at.getHours(), at.getMinutes(), at.getSeconds()];
  return `${two(hours)}:${two(minutes)}:${two(seconds)}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

/** Events at their place between two times, 0 to 1; those closer than a mark is wide are one. */
export function marksOf<E extends { t: number }>(events: readonly E[], from: number, to: number): { at: number; events: E[] }[] {
  const marks: { at: number; events: E[] }[] = [];
  for (const event of [...events].sort((a, b) => a.t - b.t)) {
    const at = (event.t - from) / Math.max(1, to - from);
    if (at < 0 || at > 1) continue;
    const last = marks.at(-1);
    if (last && at - last.at < MARK_WIDTH) last.events.push(event);
    else marks.push({ at, events: [event] });
  }
  return marks;
}

/** Bars that lie on each other: for each step and series where the bar begins and how high it is, 0 to 1 of the highest step. */
export function stackedBars(series: readonly { n: readonly number[] }[]): { steps: { y: number; height: number }[][]; highest: number } {
  const count = series[0]?.n.length ?? 0;
  const sums = Array.from({ length: count }, (_, step) => series.reduce((sum, one) => sum + (one.n[step] ?? 0), 0));
  const highest = Math.max(1, ...sums);
  const steps = sums.map((_, step) => {
    let y = 0;
    return series.map((one) => {
      const height = (one.n[step] ?? 0) / highest;
      const bar = { y, height };
      y += height;
      return bar;
    });
  });
  return { steps, highest };
}
