// What customers do, in words and numbers: titles and formats of KPIs, what changed, shares of variants. Pure.
import type { Difference, Kpi, KpiValues, KpiVersion, Num, ToggleVariant } from '../api/types.ts';
import { NONE, share } from './format.ts';

const GAP = '\u202f';

const PER_WORDS: Record<string, string> = { request: 'per 1,000 requests', session: 'per session', user: 'per user' };

/** Name and unit of what a KPI counts: `Orders per 1,000 requests`, `Revenue, EUR per session`. */
export function kpiTitle(kpi: Kpi): string {
  const title = kpi.title || kpi.key;
  const unit = kpi.value === 'count' ? '' : (kpi.unit ?? '');
  const per = kpi.value === 'mean' ? '' : (PER_WORDS[kpi.per ?? ''] ?? 'per second');
  const rest = [unit, per].filter((word) => word !== '').join(' ');
  return unit && rest ? `${title}, ${rest}` : [title, rest].filter((word) => word !== '').join(' ');
}

/** What a KPI is made of, in a few words. */
export function kpiAbout(kpi: Kpi): string {
  if (!kpi.declared) return 'events of this name; declare it in kpis.yaml to give it a title and a direction';
  const what = { count: 'how many there are', sum: 'their values added up', mean: 'the mean of their values' }[kpi.value ?? 'count'] ?? '';
  return kpi.better ? `${what}; ${kpi.better} is better` : what;
}

/** Three significant digits, and no unit: the title has it. */
export function kpiValue(value: Num | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 1_000_000) return `${(value / 1_000_000).toFixed(2)}${GAP}M`;
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.01 ? 2 : 4;
  return value.toFixed(places).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ',');
}

/** `−29 %`; empty where there is nothing to compare with. */
export function relative(delta: Num | undefined): string {
  if (delta === null || delta === undefined || !Number.isFinite(delta)) return '';
  const percent = delta * 100;
  const text = Math.abs(percent).toFixed(Math.abs(percent) < 10 ? 1 : 0);
  if (Number(text) === 0) return `±${GAP}0${GAP}%`;
  return `${percent < 0 ? '−' : '+'}${text}${GAP}%`;
}

export interface KpiPair {
  baseline: KpiVersion | undefined;
  candidate: KpiVersion | undefined;
  /** Candidate over baseline minus one. */
  delta: Num;
  /** Whether the change is in the good direction; null where nobody said which that is, or chance alone may have made it. */
  good: boolean | null;
}

/** The two versions of a KPI beside each other, over the whole range. Business figures move by themselves: a change is called
 *  better or worse only when the server's rule says that the KPI moved. */
export function kpiPair(kpi: Kpi, differences: readonly Difference[]): KpiPair {
  const of = (role: string) => kpi.versions?.find((version) => version.role === role);
  const [baseline, candidate] = [of('baseline') ?? kpi.versions?.[0], of('candidate')];
  const [before, after] = [baseline?.value ?? null, candidate?.value ?? null];
  const delta = before === null || after === null || before <= 0 ? null : after / before - 1;
  const moved = differences.some(({ metric, key }) => metric === 'kpi' && key === kpi.key);
  const good = delta === null || delta === 0 || !moved || !kpi.better ? null : delta > 0 === (kpi.better === 'higher');
  return { baseline, candidate, delta, good };
}

/** The outline of bars side by side, `top` being as high as the picture; closed along the ground unless `open`. */
export function barPath(part: readonly number[], top: number, width: number, height: number, open = false): string {
  if (part.length === 0 || top <= 0) return '';
  const step = width / part.length;
  const at = (value: number) => (height - (value / top) * (height - 2)).toFixed(1);
  const bars = part.map((value, i) => `L${(i * step).toFixed(1)} ${at(value)}L${((i + 1) * step).toFixed(1)} ${at(value)}`);
  const line = `M0 ${height}${bars.join('')}L${width} ${height}`;
  return open ? line : `${line}Z`;
}

/** The value in the middle of the axis. */
export function middleOf({ low, high }: KpiValues): Num {
  const half = low.length / 2;
  return (half % 1 === 0 ? low[half] : undefined) ?? high[Math.floor(half)] ?? null;
}

/** A variant's part of the evaluations: of the range while the toggle is hot, else of the last hour. */
export function variantShare(variant: ToggleVariant): Num {
  return variant.range_share ?? variant.share ?? null;
}

/** `on 25 %, off 75 %` */
export function variantsInWords(variants: readonly ToggleVariant[]): string {
  return variants.map((variant) => `${variant.variant} ${share(variantShare(variant))}`).join(', ');
}
