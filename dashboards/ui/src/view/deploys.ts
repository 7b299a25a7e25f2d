// The list of deploys: which ones a filter shows, what became of them, markers in words. Pure.
import type { Deploy, Marker } from '../api/verdicts.ts';
import { capital, count, plural, share } from './format.ts';

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
