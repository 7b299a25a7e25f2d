// How far the judge can be trusted, in words: its false alarms on a service's own traffic, and what another judge says of the same minutes. Pure.
import type { Kayenta, KayentaMetric, SelfAudit } from '../api/verdicts.ts';
import { plural, ratio } from './format.ts';

/** A span as it is spoken of: "40 s", "3 min". */
const spanWords = (seconds: number): string => (seconds < 120 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);

/** Empty before the first fake release. */
export function auditWords(audit: SelfAudit | null | undefined): string {
  const { releases, no_go, rate_below, doubled, dispersion_floor } = audit ?? {};
  if (!releases) return '';
  const bound = rate_below == null ? '' : ` (at most ${ratio(rate_below)}, 95 %)`;
  const parts = [`On this service’s own traffic ${no_go ?? 0} of ${plural(releases, 'fake release')} would have been called NO-GO${bound}`];
  if (doubled?.releases) {
    const share = `${Math.round((doubled.part ?? 0.95) * 100)} %`;
    const found = doubled.within_s == null ? `was found in ${doubled.found ?? 0} of ${doubled.releases} within twenty minutes` : `is found within ${spanWords(doubled.within_s)} (${share} of ${doubled.releases})`;
    parts.push(`a doubling of errors on an eighth of it ${found}`);
  }
  if (dispersion_floor != null) parts.push(`noise is taken to be at least ${dispersion_floor} times chance, because with less there were too many`);
  return `${parts.join('; ')}.`;
}

/** "Pass 100 on the same 14 minutes"; empty while it says nothing. */
export function kayentaWords(said: Kayenta | null | undefined): string {
  if (!said?.classification || said.score == null) return '';
  const minutes = plural(said.minutes ?? 0, 'minute');
  const which = said.cut ? `the last ${minutes}` : `the same ${minutes}`;
  return `${said.classification} ${said.score} on ${which}${said.reason ? ` (${said.reason})` : ''}`;
}

/** A mean with its unit: "0.90 %", "412 ms". */
export function meanWords(metric: KayentaMetric, mean: number | null | undefined): string {
  if (mean == null) return '—';
  const text = mean >= 100 ? mean.toFixed(0) : mean >= 10 ? mean.toFixed(1) : mean.toFixed(2);
  return `${text} ${metric.unit ?? ''}`.trim();
}
