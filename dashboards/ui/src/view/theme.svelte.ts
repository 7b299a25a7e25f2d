// The theme follows the system until a person chooses; the choice is stored. `theme.js` applies it before the first paint.

const KEY = 'shipwake.theme';

export type Theme = 'system' | 'light' | 'dark';

class ThemeChoice {
  choice = $state<Theme>(stored());
  /** Rises whenever the colours on screen may have changed: canvases read them again. */
  revision = $state(0);
  #systemDark = $state(systemQuery().matches);
  readonly dark: boolean = $derived(this.choice === 'system' ? this.#systemDark : this.choice === 'dark');

  start(): () => void {
    const query = systemQuery();
    const changed = () => {
      this.#systemDark = query.matches;
      this.revision += 1;
    };
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }

  /** Switches to the other look; back at the system's own, the choice is forgotten. */
  toggle(): void {
    const wanted: Theme = this.dark ? 'light' : 'dark';
    this.choice = (wanted === 'dark') === this.#systemDark ? 'system' : wanted;
    apply(this.choice);
    this.revision += 1;
  }
}

function systemQuery(): MediaQueryList {
  return window.matchMedia('(prefers-color-scheme: dark)');
}

function stored(): Theme {
  const theme = document.documentElement.dataset['theme'];
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

function apply(choice: Theme): void {
  if (choice === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = choice;
  try {
    if (choice === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // Storage may be blocked; the choice then lasts as long as the tab.
  }
}

export const theme = new ThemeChoice();
