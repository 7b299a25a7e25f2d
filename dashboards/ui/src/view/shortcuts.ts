// Single keys for people who live here. They can be switched off (WCAG 2.1.4), and they never fire while somebody types
// or holds a modifier.
import { readFlag, writeFlag } from './stored.ts';

export interface Shortcut {
  keys: string;
  does: string;
}

export const SHORTCUTS: Shortcut[] = [
  { keys: '/', does: 'Filter the services, or search the logs' },
  { keys: 'g o', does: 'Go to the overview' },
  { keys: 'g l', does: 'Go to the logs' },
  { keys: 'g r', does: 'Go to the deploys' },
  { keys: 'g c', does: 'Go to the comparison of two versions' },
  { keys: 'g d', does: 'Go to "Send data"' },
  { keys: 't', does: 'Choose the time range' },
  { keys: 'z', does: 'Zoom out' },
  { keys: 'y', does: 'Copy a link to this view, frozen in time' },
  { keys: 'j', does: 'Next line of the logs; Enter opens it, Escape closes it' },
  { keys: 'k', does: 'Line before' },
  { keys: 'p', does: 'Patterns of the logs' },
  { keys: 'n', does: 'Patterns that are new in a version' },
  { keys: 'l', does: 'Lines of the logs' },
  { keys: 'f', does: 'Follow the logs live' },
  { keys: '1', does: 'Open a check of the verdict; 2 … 9 the following' },
  { keys: 'v', does: 'How the verdict went' },
  { keys: 'c', does: 'Compare the two versions of a service' },
  { keys: 'x', does: 'Swap the sides of a comparison' },
  { keys: 'space', does: 'Pause or resume live data' },
  { keys: '\\', does: 'Light or dark' },
  { keys: '?', does: 'This list' },
];

/** How long the second key of a pair may take. */
const PAIR_MS = 1_200;

export class ShortcutKeys {
  enabled = readFlag('shortcuts', true);
  #prefix = '';
  #prefixAt = 0;

  setEnabled(enabled: boolean): void {
    this.enabled = enabled;
    writeFlag('shortcuts', enabled);
  }

  /** The shortcut a key press means, or null. */
  read(event: KeyboardEvent): string | null {
    if (!this.enabled || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return null;
    if (isTyping(event.target)) return null;
    const key = event.key === ' ' ? 'space' : event.key;
    if (key === 'space' && isPressable(event.target)) return null;
    if (key === 'g' && this.#prefix === '') {
      this.#prefix = 'g ';
      this.#prefixAt = event.timeStamp;
      return null;
    }
    const prefix = event.timeStamp - this.#prefixAt < PAIR_MS ? this.#prefix : '';
    this.#prefix = '';
    const keys = prefix + key;
    return SHORTCUTS.some((shortcut) => shortcut.keys === keys) || /^[2-9]$/.test(keys) ? keys : null;
  }
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName));
}

function isPressable(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && /^(BUTTON|A|SUMMARY)$/.test(target.tagName);
}
