// Numbers and times as people read them. `null` and `undefined` are "—": no data is never shown as zero.
// A narrow no-break space stands between number and unit, so that a value never wraps.
import type { Num } from '../api/types.ts';

export const NONE = '—';
const GAP = '\u202f';

/** Fixed decimals and commas between thousands. Written out, because `toLocaleString` costs 0.1 ms a call. */
function digits(value: number, places: number): string {
  const text = value.toFixed(places);
  return Math.abs(value) < 1_000 ? text : text.replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ',');
}

/** Three significant digits for what is shown beside a unit: 0.42, 4.20, 42.0, 420, 4,200. */
function significant(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1) return digits(value, 2);
  if (size < 10) return digits(value, 2);
  if (size < 100) return digits(value, 1);
  return digits(value, 0);
}

export function ratio(value: Num | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const percent = value * 100;
  const size = Math.abs(percent);
  if (size === 0) return `0${GAP}%`;
  if (size < 0.01) return `<${GAP}0.01${GAP}%`;
  if (size < 1) return `${digits(percent, 2)}${GAP}%`;
  if (size < 99.95) return `${digits(percent, 1)}${GAP}%`;
  return `${digits(percent, 0)}${GAP}%`;
}

/** Shares need no decimals above 10 %. */
export function share(value: Num | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const percent = value * 100;
  if (percent > 0 && percent < 0.1) return `<${GAP}0.1${GAP}%`;
  const whole = percent >= 10 || percent === 0 || Math.abs(percent - Math.round(percent)) < 0.05;
  return `${digits(percent, whole ? 0 : 1)}${GAP}%`;
}

export function seconds(value: Num | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return `0${GAP}s`;
  if (size < 0.001) return `${significant(value * 1e6)}${GAP}µs`;
  if (size < 1) return `${significant(value * 1e3)}${GAP}ms`;
  if (size < 120) return `${significant(value)}${GAP}s`;
  return `${significant(value / 60)}${GAP}min`;
}

/** A duration that may be an estimate: then it says so, which no digit of it does. */
export function duration(approximate: boolean | undefined): (value: Num | undefined) => string {
  if (!approximate) return seconds;
  return (value) => {
    const text = seconds(value);
    return text === NONE ? text : `≈${GAP}${text}`;
  };
}

export function rate(value: Num | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  if (Math.abs(value) >= 100_000) return `${digits(value / 1_000, 0)}k${GAP}/s`;
  return `${significant(value)}${GAP}/s`;
}

/** A number in a unit that we do not know: 60.7, 1,240 EUR, 0.0042. Units of counts (`1`, `{request}`) are words or nothing. */
export function quantity(value: Num | undefined, unit: string): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  const text = size > 0 && size < 0.1 ? String(Number(value.toPrecision(3))) : significant(value);
  const name = unit === '1' ? '' : unit.replace(/[{}]/g, '');
  return name === '' ? text : `${text}${GAP}${name}`;
}

/** Of things that are rarer than once a second. `value` is a second's. */
export function minuteRate(value: Num | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return `${value === 0 ? '0' : significant(value * 60)}${GAP}/min`;
}

export function count(value: Num | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return digits(value, 0);
}

export function bytes(value: Num | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value < 1_000_000) return `${digits(value / 1_000, 0)}${GAP}kB`;
  return `${digits(value / 1_000_000, 0)}${GAP}MB`;
}

/** For axes, where a column of numbers is read at once: 50.0 ms → 50 ms, 1.50 s → 1.5 s. */
export function trimZeros(text: string): string {
  return text.replace(/(\.\d*?)0+(?=\D|$)/, '$1').replace(/\.(?=\D|$)/, '');
}

/** How long ago or how long: 3 s, 4 min, 2 h 5 min, 3 d. */
export function age(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000));
  if (s < 60) return `${s}${GAP}s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m}${GAP}min`;
  const h = Math.floor(m / 60);
  if (h < 24) return m % 60 === 0 ? `${h}${GAP}h` : `${h}${GAP}h ${m % 60}${GAP}min`;
  return `${Math.floor(h / 24)}${GAP}d`;
}

/** A sentence of the server whose numbers are not torn apart: 65 000, 26 %. */
export const unbroken = (text: string): string => text.replace(/(\d) (?=\d{3}\b|%)/g, `$1${GAP}`);

export type Zone = 'local' | 'utc';

const clocks = new Map<string, Intl.DateTimeFormat>();

function clock(zone: Zone, kind: 'time' | 'minute' | 'full'): Intl.DateTimeFormat {
  const key = `${zone} ${kind}`;
  let found = clocks.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat('en-GB', {
      hourCycle: 'h23',
      ...(zone === 'utc' ? { timeZone: 'UTC' } : {}),
      ...(kind === 'full' ? { year: 'numeric', month: '2-digit', day: '2-digit' } : {}),
      hour: '2-digit',
      minute: '2-digit',
      ...(kind === 'minute' ? {} : { second: '2-digit' }),
    });
    clocks.set(key, found);
  }
  return found;
}

/** 14:02:10 */
export function clockTime(ms: number, zone: Zone = 'local'): string {
  return clock(zone, 'time').format(ms);
}

/** 23/11 14:02 */
export function dayMinute(ms: number, zone: Zone = 'local'): string {
  return `${fullTime(ms, zone).slice(0, 5)} ${clockMinute(ms, zone)}`;
}

/** The clock of today, and with the date of any other day: a time alone would be taken for today's. */
export function moment(ms: number, now: number, zone: Zone = 'local'): string {
  return isSameDay(ms, now, zone) ? clockTime(ms, zone) : dayMinute(ms, zone);
}

export function isSameDay(ms: number, other: number, zone: Zone = 'local'): boolean {
  return fullTime(ms, zone).slice(0, 10) === fullTime(other, zone).slice(0, 10);
}

/** Times along an axis, as short as their distance allows and never the same label twice. */
export function tickLabels(times: readonly number[], zone: Zone = 'local'): string[] {
  const apart = Math.min(...times.slice(1).map((t, i) => t - (times[i] ?? 0)));
  const covers = (times.at(-1) ?? 0) - (times[0] ?? 0);
  const write = covers >= 86_400_000 ? dayMinute : apart < 60_000 ? clockTime : clockMinute;
  const labels = times.map((t) => write(t, zone));
  return labels.map((label, i) => (labels.indexOf(label) === i ? label : ''));
}

/** 14:02 */
export function clockMinute(ms: number, zone: Zone = 'local'): string {
  return clock(zone, 'minute').format(ms);
}

/** 23/11/2026, 14:02:10 */
export function fullTime(ms: number, zone: Zone = 'local'): string {
  return clock(zone, 'full').format(ms) + (zone === 'utc' ? ' UTC' : '');
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** The first letter of a sentence; a percentile stays `p99`. */
export const capital = (text: string): string => (/^p\d/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1));
