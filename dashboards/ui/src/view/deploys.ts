// The list of deploys: which ones a filter shows, what became of them, markers in words. Pure.
import type { Deploy, Marker, Verdict } from '../api/verdicts.ts';
import { capital, clockTime, count, dayMinute, fullTime, plural, share, type Zone } from './format.ts';

const OUTCOMES: Record<string, { word: string; glyph: string }> = {
  live: { word: 'live', glyph: '●' },
  live_beside_others: { word: 'live beside others', glyph: '◐' },
  replaced: { word: 'replaced', glyph: '→' },
  rolled_back: { word: 'rolled back', glyph: '↶' },
  gone_silent: { word: 'gone silent', glyph: '∅' },
  no_traffic: { word: 'no traffic', glyph: '○' },
  announced_only: { word: 'announced only', glyph: '◌' },
};

export const OUTCOME_KEYS = Object.keys(OUTCOMES);

export function outcomeLook(outcome: string | null | undefined): { word: string; glyph: string } {
  if (!outcome) return { word: '—', glyph: '' };
  return OUTCOMES[outcome] ?? { word: outcome.replaceAll('_', ' '), glyph: '·' };
}

/** When a release began: at its first record, or when somebody announced it. */
export const deployTime = (deploy: Deploy): number | null => deploy.first_seen ?? deploy.announced ?? deploy.markers?.[0]?.at ?? null;

/** What an ending that the board knows makes of a release; of a promoted one its traffic tells more. */
const OUTCOME_OF_ENDING: Record<string, string> = { rolled_back: 'rolled_back', replaced: 'replaced' };

/**
 * Deploys with what the board says of them. The table of verdicts has a release once its word has changed or it is over, and its records come
 * a while later; the board has its first word, the sentence of now, and knows at once that it was rolled back.
 */
export function withVerdicts(deploys: readonly Deploy[], verdicts: readonly Verdict[]): Deploy[] {
  const key = (service: string, namespace: string | null | undefined, env: string | null | undefined, version: string) => JSON.stringify([service, namespace ?? '', env ?? '', version]);
  const board = new Map<string, Verdict>();
  for (const verdict of verdicts) {
    const place = key(verdict.service, verdict.namespace, verdict.env, verdict.candidate);
    // Of a version that came twice, the later time counts.
    if ((board.get(place)?.opened ?? -Infinity) <= (verdict.opened ?? 0)) board.set(place, verdict);
  }
  return deploys.map((deploy) => {
    const verdict = board.get(key(deploy.service, deploy.namespace, deploy.env, deploy.version));
    if (!verdict) return deploy;
    const outcome = OUTCOME_OF_ENDING[verdict.ending?.kind ?? ''] ?? deploy.outcome ?? null;
    return { ...deploy, outcome, verdict: { state: verdict.state, headline: verdict.headline ?? null, at: verdict.since ?? null } };
  });
}

export interface DeployFilter {
  q: string;
  outcome: string;
  verdict: string;
}

/** Words of the filter are looked for in everything that names a deploy. */
export function deployMatches(deploy: Deploy, filter: DeployFilter): boolean {
  if (filter.outcome !== 'all' && deploy.outcome !== filter.outcome) return false;
  if (filter.verdict !== 'all' && (deploy.verdict?.state ?? 'none') !== filter.verdict) return false;
  const words = filter.q.toLowerCase().split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return true;
  const text = [deploy.service, deploy.namespace, deploy.env, deploy.version, deploy.by, deploy.source, deploy.commit].join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}

export function deploysSentence(shown: readonly Deploy[], all: readonly Deploy[]): string {
  const back = shown.filter((deploy) => deploy.outcome === 'rolled_back').length;
  const worse = shown.filter((deploy) => deploy.verdict?.state === 'no_go').length;
  const parts = [
    shown.length === all.length ? plural(all.length, 'deploy') : `${count(shown.length)} of ${plural(all.length, 'deploy')}`,
    ...(worse > 0 ? [`${count(worse)} NO-GO`] : []),
    ...(back > 0 ? [`${count(back)} rolled back`] : []),
  ];
  return parts.join(' · ');
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** When a marker was: the clock on the day of its deploy, with the date on another. One that is to come is told apart. */
export function markerTime(marker: Marker, deploy: Deploy, now: number, zone: Zone): string {
  const near = Math.abs(marker.at - (deployTime(deploy) ?? marker.at)) < DAY_MS / 2;
  if (marker.at > now + MINUTE_MS) return `${fullTime(marker.at, zone)}, to come`;
  return near ? clockTime(marker.at, zone) : dayMinute(marker.at, zone);
}

const MARKERS: Record<string, string> = {
  deploy: 'Deploy', rollback: 'Rollback', promote: 'Promoted', weight: 'Weight', toggle: 'Toggle', freeze: 'Freeze', note: 'Note',
};

/** A marker in one line: kind, weight or role, text. */
export function markerWords(marker: Marker): string {
  const word = MARKERS[marker.kind] ?? capital(marker.kind.replaceAll('_', ' '));
  const detail = [
    ...(marker.weight == null ? [] : [share(marker.weight)]),
    ...(marker.role ? [marker.role] : []),
    ...(marker.toggle ? [marker.toggle] : []),
    ...(marker.status ? [marker.status] : []),
    ...(marker.text ? [marker.text] : []),
  ].join(' · ');
  return detail === '' ? word : `${word}: ${detail}`;
}
