// What may be meant while a search is typed: names of fields, then their values, at the place of the caret. Pure.
import type { LogField } from '../api/logs.ts';
import { quoted } from './logs.ts';

/** Offers that are shown at once. */
const OFFERS_MAX = 8;

export interface Offer {
  /** What it is called in the list. */
  label: string;
  /** How often it was seen, in words. */
  note: string;
  /** What takes the place of what was typed. */
  text: string;
}

export interface Offers {
  /** The part of the search that an offer takes the place of. */
  from: number;
  to: number;
  offers: Offer[];
}

/** The condition that the caret is in: from its beginning, without signs in front, to the caret. */
function termAt(search: string, caret: number): { from: number; text: string } {
  let from = 0;
  let inQuotes = false;
  for (let i = 0; i < caret; i += 1) {
    const sign = search[i];
    if (sign === '\\') i += 1;
    else if (sign === '"') inQuotes = !inQuotes;
    else if (!inQuotes && /[\s()]/.test(sign ?? '')) from = i + 1;
  }
  while (from < caret && /[-!]/.test(search[from] ?? '')) from += 1;
  return { from, text: search.slice(from, caret) };
}

/** Where the name of a field ends in a condition; -1 while there is none. */
function colonIn(term: string): number {
  if (!term.startsWith('"')) return term.indexOf(':');
  const end = term.indexOf('":', 1);
  return end < 0 ? -1 : end + 1;
}

const unquoted = (text: string) => text.replace(/^"|"$/g, '').replace(/\\(.)/g, '$1');
const nameTerm = (name: string) => (/^[A-Za-z][A-Za-z0-9_.]*$/.test(name) ? name : quoted(name));
const valueTerm = (value: string) => (/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(value) ? value : quoted(value));

/** What could stand at the caret; `null` when nothing that is known does. */
export function offersAt(search: string, caret: number, fields: readonly LogField[]): Offers | null {
  const { from, text } = termAt(search, caret);
  if (text === '') return null;
  const colon = colonIn(text);
  const offers = colon < 0 ? names(text, fields) : values(text, colon, fields);
  return offers.length > 0 ? { from, to: caret, offers: offers.slice(0, OFFERS_MAX) } : null;
}

function names(text: string, fields: readonly LogField[]): Offer[] {
  const typed = unquoted(text).toLowerCase();
  // Those that begin so come first; a name is often remembered by its last part.
  const rank = ({ name }: LogField) => (name.toLowerCase().startsWith(typed) ? 0 : name.toLowerCase().includes(typed) ? 1 : 2);
  const fits = fields.filter((field) => rank(field) < 2);
  fits.sort((a, b) => rank(a) - rank(b));
  return fits.map((field) => ({
    label: `${field.name}:`,
    note: field.values === 1 ? '1 value' : `${field.values} values`,
    text: `${nameTerm(field.name)}:`,
  }));
}

function values(text: string, colon: number, fields: readonly LogField[]): Offer[] {
  const name = unquoted(text.slice(0, colon));
  const typed = unquoted(text.slice(colon + 1)).toLowerCase();
  const field = fields.find((each) => each.name === name);
  const fits = (field?.top ?? []).filter(({ value }) => value.toLowerCase().includes(typed) && value.toLowerCase() !== typed);
  return fits.map(({ value, lines }) => ({
    label: value,
    note: lines === 1 ? '1 line' : `${lines} lines`,
    text: `${nameTerm(name)}:${valueTerm(value)} `,
  }));
}
