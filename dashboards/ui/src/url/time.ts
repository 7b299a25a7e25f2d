// Points in time as people write them in a URL: `now`, `now-30m`, RFC 3339, epoch milliseconds.
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
  if (/^\d{4}-\d{2}-\d{2}T/.test(trimmed)) {
    const ms = Date.parse(trimmed);
    if (!Number.isNaN(ms)) return { kind: 'at', ms };
  }
  return null;
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
