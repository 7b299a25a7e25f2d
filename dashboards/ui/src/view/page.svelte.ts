// What the shell and the open page tell each other: known environments, and the watermark of what is painted.

class PageState {
  /** Environments seen in any answer, for the switch in the header. */
  envs = $state.raw<readonly string[]>([]);
  /** Watermark of the answer that is on the page; null before the first. */
  paintedWm = $state<number | null>(null);

  noteEnvs(names: Iterable<string | undefined>): void {
    const known = new Set(this.envs);
    for (const name of names) if (name) known.add(name);
    if (known.size !== this.envs.length) this.envs = [...known].sort();
  }
}

export const page = new PageState();

/** The point in time that the pointer or the keyboard is at, shared by the charts of a page. */
export class Crosshair {
  t = $state<number | null>(null);
  owner = $state('');

  set(t: number | null, owner: string): void {
    this.t = t;
    this.owner = owner;
  }
}
