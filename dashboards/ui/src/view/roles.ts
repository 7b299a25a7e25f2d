// How a version looks: colour, dash and marker belong to the role a version plays, never to its name. The same version
// looks the same in every panel of a page.

export type Look = 'baseline' | 'candidate' | 'third' | 'fourth' | 'fifth' | 'sixth';

export interface LookStyle {
  marker: string;
  /** Line width and dash pattern in CSS pixels. */
  width: number;
  dash: number[];
}

export const LOOKS: Record<Look, LookStyle> = {
  baseline: { marker: '●', width: 1.5, dash: [6, 4] },
  candidate: { marker: '▲', width: 2.5, dash: [] },
  third: { marker: '■', width: 1.5, dash: [2, 3] },
  fourth: { marker: '◆', width: 1.5, dash: [7, 3, 2, 3] },
  fifth: { marker: '✚', width: 1.5, dash: [12, 4] },
  sixth: { marker: '○', width: 1.5, dash: [1, 5] },
};

/** Variants of a toggle beside versions are none: the colours of baseline and candidate stay with those. */
export const VARIANT_LOOKS: Look[] = ['third', 'fourth', 'fifth', 'sixth'];

const OTHERS: Look[] = ['third', 'fourth', 'fifth', 'sixth'];

export interface Roled {
  version: string;
  role?: string;
}

/** Words of roles that say something to a reader. */
const ROLE_WORDS: Record<string, string> = { other: '', no_traffic: 'no traffic' };

export function roleWord(role: string | undefined): string {
  return role === undefined ? '' : (ROLE_WORDS[role] ?? role);
}

/** Gives each version its look; the first of a role has the role's own, all others follow in their order. */
export function assignLooks(lanes: readonly Roled[]): Map<string, Look> {
  const looks = new Map<string, Look>();
  const taken = new Set<Look>();
  // A release that waits for its first request is what the page is about, unless another one is compared.
  const compared = lanes.some((lane) => lane.role === 'candidate');
  const isNew = (role?: string) => role === 'candidate' || (role === 'no_traffic' && !compared);
  for (const { version, role } of lanes) {
    const look = role === 'baseline' ? role : isNew(role) ? 'candidate' : null;
    if (look && !taken.has(look)) {
      looks.set(version, look);
      taken.add(look);
    }
  }
  // A service with one version has nothing to compare with: it is drawn as what one would compare against.
  let next = 0;
  for (const { version } of lanes) {
    if (looks.has(version)) continue;
    const look = taken.has('baseline') || taken.has('candidate') ? OTHERS[next++ % OTHERS.length] : 'baseline';
    if (!look) continue;
    taken.add(look);
    looks.set(version, look);
  }
  return looks;
}

/** Candidate beside baseline first, then the others as the server ordered them. */
export function inReadingOrder<T extends Roled>(lanes: readonly T[]): T[] {
  const rank = (lane: T) => (lane.role === 'baseline' ? 0 : lane.role === 'candidate' ? 1 : 2);
  return [...lanes].sort((a, b) => rank(a) - rank(b));
}
