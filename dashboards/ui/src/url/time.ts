// Points in time as people write them in a URL: `now`, `now-30m`, a date and time, epoch milliseconds. Without a zone it is UTC, as in the
// API, so that a link means the same to whoever opens it.
// Pure: the present is an argument.

export type TimeExpr = { kind: 'now'; agoMs: number } | { kind: 'at'; ms: number };

const UNIT_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const UNITS_LARGEST_FIRST = ['w', 'd', 'h', 'm', 's'] as const;

/** `null` when the text is not a point in time. */
export function parseTime(text: string): TimeExpr | null {
  const trimmed = text.trim();
  if (trimmed === 'now') return { kind: 'now', agoMs: 0 };
  const relative = /^now-((?:\d+[smhdw])+)$/.exec(trimmed);
  if (relative?.[1]) return { kind: 'now', agoMs: durationMs(relative[1]) };
  if (/^\d{12,14}$/.test(trimmed)) return { kind: 'at', ms: Number(trimmed) };
  const ms = dateMs(trimmed);
  return ms === null ? null : { kind: 'at', ms };
}

const DATE = /^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2}(?:[.,]\d+)?)?(.*))?$/;
const ZONE = /^\s*(?:(z|utc)?|([+-])?(\d{2})(?::?(\d{2}))?)$/i;

/** A date, or a date and a time of day with or without a zone. A zone without a sign was a plus before the URL was read. */
function dateMs(text: string): number | null {
  const [, date, clock = '00:00', second = ':00', zoned = ''] = DATE.exec(text) ?? [];
  const zone = ZONE.exec(zoned);
  if (date === undefined || !zone) return null;
  const [, , sign = '+', hours = '00', minutes = '00'] = zone;
  if (zone[3] !== undefined && zone[2] === undefined && !/^ \d{2}:\d{2}$/.test(zoned)) return null;
  const utcMs = Date.parse(`${date}T${clock}${second.replace(',', '.')}Z`);
  // `Date` takes a 30th of February for the second of March.
  if (Number.isNaN(utcMs) || new Date(utcMs).toISOString().slice(0, 10) !== date) return null;
  if (Number(hours) > 18 || Number(minutes) > 59) return null;
  const aheadMs = (Number(hours) * 60 + Number(minutes)) * 60_000;
  return sign === '-' ? utcMs + aheadMs : utcMs - aheadMs;
}

function durationMs(text: string): number {
  let total = 0;
  for (const part of text.matchAll(/(\d+)([smhdw])/g)) total += Number(part[1]) * (UNIT_MS[part[2] ?? ''] ?? 0);
  return total;
}

/** The one spelling of a point in time; `parseTime` reads it back. */
export function formatTime(time: TimeExpr): string {
  if (time.kind === 'at') return String(time.ms);
  if (time.agoMs <= 0) return 'now';
  let rest = time.agoMs;
  let text = '';
  for (const unit of UNITS_LARGEST_FIRST) {
    const size = UNIT_MS[unit] ?? 1;
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === '' ? 'now' : `now-${text}`;
}

export function resolveTime(time: TimeExpr, nowMs: number): number {
  return time.kind === 'at' ? time.ms : nowMs - time.agoMs;
}

/** A range follows the present when its end is the present. */
export function isLive(to: TimeExpr): boolean {
  return to.kind === 'now' && to.agoMs === 0;
}

export const sameTime = (a: TimeExpr, b: TimeExpr): boolean => formatTime(a) === formatTime(b);
