// The few preferences that are kept in the browser. What a page shows is never among them: that is in the address.

export function readFlag(name: string, initial: boolean): boolean {
  try {
    const text = localStorage.getItem(`shipwake.${name}`);
    return text === null ? initial : text === '1';
  } catch {
    return initial;
  }
}

export function writeFlag(name: string, value: boolean): void {
  try {
    localStorage.setItem(`shipwake.${name}`, value ? '1' : '0');
  } catch {
    // Storage may be blocked; the preference then lasts as long as the tab.
  }
}
