import { describe, expect, it } from 'vitest';
import type { LogField } from '../api/logs.ts';
import { offersAt } from './suggest.ts';

const field = (name: string, ...top: string[]): LogField => ({
  name, kind: 'text', lines: 10, values: top.length, top: top.map((value, i) => ({ value, lines: 10 - i })),
});
const FIELDS = [field('level', 'info', 'error'), field('http.route', '/pay', '/cart items'), field('order.id', 'A-17'), field('odd name', 'x')];

/** The search with the first offer taken; the caret is at `|`. */
function taken(typed: string): string | null {
  const caret = typed.indexOf('|');
  const search = typed.replace('|', '');
  const found = offersAt(search, caret, FIELDS);
  return found && search.slice(0, found.from) + found.offers[0]!.text + search.slice(found.to);
}
const labels = (search: string) => offersAt(search, search.length, FIELDS)?.offers.map((offer) => offer.label);

describe('while a search is typed', () => {
  it('names of fields are offered, by their beginning first', () => {
    expect(labels('le')).toEqual(['level:']);
    expect(labels('r')).toEqual(['http.route:', 'order.id:']);
    expect(labels('o')).toEqual(['order.id:', 'odd name:', 'http.route:']);
    expect(labels('declined')).toBeUndefined();
    expect(labels('')).toBeUndefined();
  });

  it('then their values, without the one that is there', () => {
    expect(labels('level:')).toEqual(['info', 'error']);
    expect(labels('level:ERR')).toEqual(['error']);
    expect(labels('level:error')).toBeUndefined();
    expect(labels('http.route:"/cart i')).toEqual(['/cart items']);
    expect(labels('nothing:')).toBeUndefined();
  });

  it('an offer takes the place of the condition at the caret and leaves the others', () => {
    expect(taken('declined -lev| order')).toBe('declined -level: order');
    expect(taken('"card declined" (level:e|')).toBe('"card declined" (level:error ');
    expect(taken('http.route:/c|')).toBe('http.route:"/cart items" ');
    expect(taken('odd|')).toBe('"odd name":');
    expect(taken('"odd name":|')).toBe('"odd name":x ');
    expect(taken('"a level|')).toBeNull();
  });
});
