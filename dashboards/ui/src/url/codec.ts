// Query string ⇄ typed view state. The rules: a default is left out, a parameter this version does not know survives,
// and a value that cannot be read gives its default and a problem to show. Nothing here touches the browser.
import { formatTime, parseTime, sameTime, type TimeExpr } from './time.ts';

export interface Param<T> {
  initial: T;
  /** `undefined` when the text is not a value of this parameter. */
  parse(text: string): T | undefined;
  format(value: T): string;
  same(a: T, b: T): boolean;
  /** What the parameter accepts, for the message. */
  wants: string;
  /** Other names that it is read under, and never written: those that the API has for the same. */
  also?: readonly string[];
}

/** The value types differ from key to key, which only `any` can say here. */
export type Schema = Record<string, Param<any>>;
export type ValuesOf<S extends Schema> = { [K in keyof S]: S[K] extends Param<infer T> ? T : never };

export interface Problem {
  param: string;
  text: string;
  wants: string;
}

export interface Parsed<S extends Schema> {
  values: ValuesOf<S>;
  problems: Problem[];
  /** Parameters that the schema does not know, in their order. */
  rest: [string, string][];
}

export function parseQuery<S extends Schema>(schema: S, search: string): Parsed<S> {
  const values: Record<string, unknown> = {};
  const problems: Problem[] = [];
  const rest: [string, string][] = [];
  for (const key of Object.keys(schema)) values[key] = schema[key]?.initial;
  const given = new URLSearchParams(search);
  for (const [name, text] of given) {
    const key = Object.hasOwn(schema, name) ? name : (Object.keys(schema).find((each) => schema[each]?.also?.includes(name)) ?? name);
    const param = Object.hasOwn(schema, key) ? schema[key] : undefined;
    if (!param) {
      rest.push([name, text]);
      continue;
    }
    // Its own name goes before the others.
    if (key !== name && given.has(key)) continue;
    const value = param.parse(text);
    if (value === undefined) problems.push({ param: key, text, wants: param.wants });
    else values[key] = value;
  }
  return { values: values as ValuesOf<S>, problems, rest };
}

export function formatQuery<S extends Schema>(schema: S, values: ValuesOf<S>, rest: [string, string][] = []): string {
  const params = new URLSearchParams();
  for (const [key, param] of Object.entries(schema)) {
    const value = values[key as keyof S];
    if (!param.same(value, param.initial)) params.append(key, param.format(value));
  }
  for (const [key, text] of rest) params.append(key, text);
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

const identical = <T>(a: T, b: T): boolean => a === b;

export function textParam(initial = '', also: readonly string[] = []): Param<string> {
  return { initial, parse: (text) => text, format: (value) => value, same: identical, wants: 'text', also };
}

export function choiceParam<T extends string>(choices: readonly T[], initial: T): Param<T> {
  return {
    initial,
    parse: (text) => choices.find((choice) => choice === text),
    format: (value) => value,
    same: identical,
    wants: choices.join(', '),
  };
}

export function flagParam(): Param<boolean> {
  return {
    initial: false,
    parse: (text) => (text === '1' ? true : text === '0' ? false : undefined),
    format: (value) => (value ? '1' : '0'),
    same: identical,
    wants: '1 or 0',
  };
}

export function timeParam(initial: string): Param<TimeExpr> {
  return {
    initial: parseTime(initial) ?? { kind: 'now', agoMs: 0 },
    parse: (text) => parseTime(text) ?? undefined,
    format: formatTime,
    same: sameTime,
    wants: 'now, now-30m, a date and time (2026-11-23, 2026-11-23 14:00, 2026-11-23T15:00:00+01:00; without a zone UTC) or epoch milliseconds',
  };
}

/** A step such as `10s`: a number and one of s, m, h. */
export function stepParam(): Param<string> {
  return {
    initial: '',
    parse: (text) => (/^\d{1,5}[smh]$/.test(text) ? text : undefined),
    format: (value) => value,
    same: identical,
    wants: 'a number with s, m or h, such as 10s',
  };
}
