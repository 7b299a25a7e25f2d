// What people copy to send their first data. Every text works exactly as it is shown: real addresses, and names that are
// quoted for where they stand. Pure; the present and the random ids are arguments.
import type { Snippet, SnippetInput } from './snippet.ts';
import { anySdk, go, java, node, python, rust } from './snippets_apps.ts';
import { haproxy, httpd, lines, nginx, pipe, rsyslog, varnish } from './snippets_logs.ts';
import { collector, otlp, prometheus } from './snippets_through.ts';

export interface SnippetGroup {
  word: string;
  snippets: Snippet[];
}

export function snippetGroups(input: SnippetInput): SnippetGroup[] {
  const group = (word: string, ...makers: ((input: SnippetInput) => Snippet)[]) => ({
    word,
    snippets: makers.map((make) => make(input)),
  });
  return [
    group('From an app', anySdk, python, node, java, go, rust),
    group('From logs', lines, pipe, nginx, httpd, haproxy, varnish, rsyslog),
    group('Through others', collector, prometheus, otlp),
  ];
}

export function snippets(input: SnippetInput): Snippet[] {
  return snippetGroups(input).flatMap((group) => group.snippets);
}

/** The address as the reader's own machine reaches it: a loopback one means nothing on another host. */
export function reachable(endpoint: string | undefined, port: number, pageHost: string): string {
  const fallback = `http://${pageHost}:${port}`;
  if (!endpoint) return fallback;
  try {
    const url = new URL(endpoint);
    const local = /^(127\.|0\.0\.0\.0$|localhost$|\[::1?\]$)/;
    if (local.test(url.hostname) && !local.test(pageHost)) url.hostname = pageHost;
    return url.origin === 'null' ? endpoint : url.origin;
  } catch {
    return fallback;
  }
}
