import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, describe, expect, it } from 'vitest';
import type { ComparedMeasure, Comparison } from '../api/compare.ts';
import { T0 } from '../fixtures/verdict.ts';
import Attempts from './Attempts.svelte';
import CompareMeasures from './CompareMeasures.svelte';

afterEach(cleanup);

const plain = (element: Element | null | undefined) => (element?.textContent ?? '').replaceAll('\u202f', ' ').replace(/\s+/g, ' ').trim();
/** The cells of a row, those with something in them. */
const cells = (row: Element | null | undefined) => [...(row?.querySelectorAll('th, td') ?? [])].map(plain).filter((text) => text !== '');

const measure = (change: Partial<ComparedMeasure>): ComparedMeasure => ({
  metric: 'errors', q: null, group: 'requests', title: 'Error ratio', form: 'ratio', unit: '', a: 0.01, b: 0.03, diff: 0.02, lo: 0.01, hi: 0.03, rel: 2,
  n_a: 20_000, n_b: 10_000, better: 'lower', ok: true, differs: true, distribution: false, note: null, ...change,
});

describe('what differs between two sides', () => {
  const measures = [
    measure({}),
    measure({ metric: 'kpi:basket', group: 'kpi', title: 'Basket', form: 'number', unit: 'EUR', a: 40, b: 30, diff: -10, lo: null, hi: null, rel: -0.25, note: 'a mean is ruled by few large values', differs: false }),
  ];
  const data = { measures, measures_note: 'Sessions are not kept by route.' } as Comparison;

  it('is said in numbers, words and a mark, and what has no interval says why', () => {
    render(CompareMeasures, { data, chosen: 'errors', onchoose: () => undefined });
    const [errors, basket] = screen.getAllByTestId('measure');
    expect(cells(errors)).toEqual(['Error ratio', '▲ higher: worse', '1.0 %', '3.0 %', '+2.0 points', '+1.0 … +3.0']);
    expect(errors?.dataset['tone']).toBe('no-go');
    expect(errors?.querySelector('[data-testid="interval"]')).not.toBeNull();
    expect(cells(basket)).toEqual(['Basket EUR', '– no interval', '40.0', '30.0', '−10.0 −25.0 %', 'a mean is ruled by few large values']);
    expect(basket?.querySelector('[data-testid="interval"]')).toBeNull();
    expect(screen.getByText('Sessions are not kept by route.')).toBeTruthy();
  });

  it('is chosen by its name, and the chosen one says so', async () => {
    const chosen: string[] = [];
    render(CompareMeasures, { data, chosen: 'errors', onchoose: (metric: string) => chosen.push(metric) });
    expect(screen.getByRole('button', { name: 'Error ratio' }).getAttribute('aria-pressed')).toBe('true');
    const basket = screen.getByRole('button', { name: 'Basket' });
    expect(basket.getAttribute('aria-pressed')).toBe('false');
    await fireEvent.click(basket);
    expect(chosen).toEqual(['kpi:basket']);
  });
});

describe('attempts to tell somebody', () => {
  it('say to whom, when, what was answered and what came next', () => {
    const attempt = { at: T0, receiver: 'ops', kind: 'webhook', about: 'checkout 2.14.0 is NO-GO', glyph: '▲', word: 'failed', tone: 'watch' as const, answer: '500 · oops' };
    render(Attempts, { attempts: [{ ...attempt, next: { text: 'tried again', at: T0 + 2_000 } }], zone: 'utc' });
    const [when, ...rest] = cells(screen.getByTestId('attempt'));
    expect(when).toMatch(/^\d\d\/\d\d\/2026, [\d:]{8} UTC$/);
    expect(rest.slice(0, 4)).toEqual(['ops webhook', 'checkout 2.14.0 is NO-GO', '▲ failed', '500 · oops']);
    expect(rest[4]).toMatch(/^tried again \d\d\/\d\d\/2026, /);
  });
});
