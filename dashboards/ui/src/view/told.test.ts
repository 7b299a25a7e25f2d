import { describe, expect, it } from 'vitest';
import { rowsOf } from '../api/sql.ts';
import { T0 } from '../fixtures/verdict.ts';
import { attemptsOf, notificationsSql } from './told.ts';

const time = (s: number) => new Date(T0 + s * 1_000).toISOString();
const columns = ['time', 'receiver', 'kind', 'result', 'attempt', 'status', 'took_ms', 'answer', 'about', 'id'];
const rows = (...given: unknown[][]) => rowsOf({ schema: columns.map((name) => ({ name })), rows: given });

describe('whom a verdict was told', () => {
  it('is told oldest first, with the answer and what came after', () => {
    const found = attemptsOf(
      rows(
        [time(9), 'ops', 'webhook', 'delivered', 2, 204, 12, null, 'checkout 2.14.0 is NO-GO', 'a'],
        [time(8), 'chat', 'slack', 'busy', 1, 429, 80, 'slow down', 'checkout 2.14.0 is NO-GO', 'b'],
        [time(2), 'ops', 'webhook', 'failed', 1, null, 0, 'connection refused', 'checkout 2.14.0 is NO-GO', 'a'],
      ),
    );
    expect(found.map(({ receiver, word, answer, next }) => [receiver, word, answer.replaceAll('\u202f', ' '), next.text, next.at])).toEqual([
      ['ops', 'failed', 'connection refused', 'tried again', T0 + 9_000],
      ['chat', 'told to wait', '429 · slow down · after 80.0 ms', 'tried again when the receiver allows it', null],
      ['ops', 'delivered', '204 · after 12.0 ms', '', null],
    ]);
  });

  it('keeps what a later version says, and leaves out what has no time', () => {
    const found = attemptsOf(rows([time(0), 'ops', null, 'carved_in_stone', 1, null, null, null, null, null], ['?', 'ops', '', 'failed', 1, 500, 1, '', '', 'x']));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ word: 'carved_in_stone', glyph: '·', kind: '', answer: '', next: { text: '', at: null } });
  });

  it('does not take attempts without a name for one notification', () => {
    const found = attemptsOf(rows([time(2), 'ops', '', 'delivered', 1, 200, 1, '', '', null], [time(1), 'ops', '', 'failed', 1, 500, 1, '', '', null]));
    expect(found[0]?.next).toMatchObject({ at: null });
  });

  it('is asked for with names as texts', () => {
    expect(notificationsSql("o'neill", '1', 'prod')).toContain("service = 'o''neill' and version = '1' and environment = 'prod' order by");
  });
});
