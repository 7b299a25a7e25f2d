import { describe, expect, it } from 'vitest';
import { rowsOf, quoted } from '../api/sql.ts';
import { deploys, noGo, T0 } from '../fixtures/verdict.ts';
import { historySql, recordOf } from './record.ts';

const time = (minutes: number) => new Date(T0 + minutes * 60_000).toISOString();
const columns = ['time', 'environment', 'namespace', 'baseline', 'verdict', 'ending', 'sequence', 'summary', 'policy', 'checks'];
const checks = JSON.stringify([{ id: 'errors', title: 'errors', state: 'worse' }, { nonsense: 1 }]);
/** The newest first, as they are asked for. */
const rows = rowsOf({
  schema: columns.map((name) => ({ name })),
  rows: [
    [time(9), 'production', 'shop', '2.13.4', 'no_go', 'rolled_back', 4, 'Rolled back: the traffic went back to 2.13.4.', 'default', ''],
    [time(5), 'production', 'shop', '2.13.4', 'no_go', '', 3, 'Roll back: errors.', 'default', checks],
    [time(0), 'production', 'shop', '2.13.4', 'wait', null, 1, 'Wait.', 'default', ''],
    [time(-60), 'staging', 'shop', '2.13.4', 'go', '', 2, 'Go on.', 'default', ''],
  ],
});

describe('the record of a release', () => {
  it('is that of the stored words when it is judged no more', () => {
    const record = recordOf('checkout', '2.14.0', '', null, rows, deploys.deploys ?? []);
    expect(record.env).toBe('production');
    expect(record.judged).toBe(false);
    expect(record.verdict).toMatchObject({ state: 'no_go', since: T0 + 5 * 60_000, ending: { kind: 'rolled_back', at: T0 + 9 * 60_000 }, policy: 'default', baseline: '2.13.4', headline: 'Roll back: errors.' });
    expect(record.history.map(({ state, headline }) => `${state} ${headline}`)).toEqual(['wait Wait.', 'no_go Roll back: errors.', 'no_go Rolled back: the traffic went back to 2.13.4.']);
    expect(record.checks.map(({ id }) => id)).toEqual(['errors']);
    expect(record.deploy?.by).toBe('ana');
  });

  it('has all numbers while it is judged', () => {
    const record = recordOf('checkout', '2.14.0', 'production', noGo.verdict, [], []);
    expect(record.judged).toBe(true);
    expect(record.checks).toHaveLength(6);
    expect(record.history.map(({ state }) => state)).toEqual(['wait', 'watch', 'no_go']);
  });

  it('falls back on what the list of deploys knows, and knows when there is nothing', () => {
    const told = recordOf('checkout', '2.14.0', 'production', null, [], deploys.deploys ?? []);
    expect(told.verdict).toMatchObject({ state: 'no_go', baseline: '2.13.4' });
    const none = recordOf('checkout', '9.9.9', 'production', null, [], deploys.deploys ?? []);
    expect(none).toMatchObject({ verdict: null, deploy: null, checks: [], history: [] });
  });

  it('is of one environment', () => {
    const staging = recordOf('checkout', '2.14.0', 'staging', null, rows, deploys.deploys ?? []);
    expect(staging.verdict).toMatchObject({ state: 'go', env: 'staging' });
    expect(staging.deploy).toBeNull();
  });

  it('is asked for with names as texts, whatever is in them', () => {
    expect(quoted("a'; drop--")).toBe("'a''; drop--'");
    expect(historySql("o'neill", '1', '')).toContain("service = 'o''neill' and version = '1' order by");
  });
});
