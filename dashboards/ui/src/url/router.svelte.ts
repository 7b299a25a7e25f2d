// The browser's address is the only owner of view state: pages read it from here and change it here, and keep no copy.
// A user's action adds a history entry; ticks and hovers never touch the address.
import { formatQuery, parseQuery, type Parsed, type Schema, type ValuesOf } from './codec.ts';
import { routeOf, type Route } from './routes.ts';

class Router {
  #pathname = $state(location.pathname);
  #search = $state(location.search);
  #hash = $state(location.hash);
  readonly route: Route = $derived(routeOf(this.#pathname));

  start(): () => void {
    const onPop = () => this.#read();
    const onClick = (event: MouseEvent) => this.#click(event);
    window.addEventListener('popstate', onPop);
    document.addEventListener('click', onClick);
    return () => {
      window.removeEventListener('popstate', onPop);
      document.removeEventListener('click', onClick);
    };
  }

  get search(): string {
    return this.#search;
  }

  get pathname(): string {
    return this.#pathname;
  }

  /** What is open on the page, without its `#`. */
  get hash(): string {
    return decodedHash(this.#hash);
  }

  /** Opens something on the page, or with an empty text closes it. */
  setHash(text: string, how: 'push' | 'replace' = 'push'): void {
    if (text !== this.hash) this.go(this.#pathname + this.#search + (text === '' ? '' : `#${encodeURIComponent(text).replaceAll('%3D', '=')}`), how);
  }

  go(href: string, how: 'push' | 'replace' = 'push'): void {
    const moved = new URL(href, location.href).pathname !== location.pathname;
    if (how === 'push') history.pushState(null, '', href);
    else history.replaceState(null, '', href);
    this.#read();
    if (moved) window.scrollTo(0, 0);
  }

  parse<S extends Schema>(schema: S): Parsed<S> {
    return parseQuery(schema, this.#search);
  }

  /** Changes some values of the present page and leaves every other parameter as it is. */
  set<S extends Schema>(schema: S, change: Partial<ValuesOf<S>>, how: 'push' | 'replace' = 'push'): void {
    const now = parseQuery(schema, this.#search);
    const next = formatQuery(schema, { ...now.values, ...change }, now.rest);
    if (next !== this.#search) this.go(this.#pathname + next + this.#hash, how);
  }

  #read(): void {
    this.#pathname = location.pathname;
    this.#search = location.search;
    this.#hash = location.hash;
  }

  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest('a');
    if (!link || link.target !== '' || link.hasAttribute('download')) return;
    const url = new URL(link.href, location.href);
    if (url.origin !== location.origin || isServerPath(url.pathname)) return;
    if (url.hash !== '' && url.pathname === location.pathname) return;
    event.preventDefault();
    this.go(url.pathname + url.search + url.hash);
  }
}

function decodedHash(hash: string): string {
  try {
    return decodeURIComponent(hash.slice(1));
  } catch {
    return '';
  }
}

/** Paths that the server answers itself and no page does. */
function isServerPath(pathname: string): boolean {
  return /^\/(api|v1|assets|prom|loki|metrics|healthz|readyz)(\/|$)/.test(pathname);
}

export const router = new Router();
