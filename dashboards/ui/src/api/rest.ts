// Reads the JSON API. A failed read becomes an `ApiError` that a page can show as it is.
import type { Problem } from './types.ts';

export class ApiError extends Error {
  readonly status: number;
  readonly detail: string;
  /** The character of the asker's text that is at fault, from 0. */
  readonly offset: number | null;

  constructor(status: number, title: string, detail = '', offset: number | null = null) {
    super(title);
    this.name = 'ApiError';
    this.status = status;
    this.detail = detail;
    this.offset = offset;
  }
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return read<T>(path, { headers: { accept: 'application/json' } }, signal);
}

export async function postJson<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const headers = { accept: 'application/json', 'content-type': 'application/json' };
  return read<T>(path, { method: 'POST', headers, body: JSON.stringify(body) }, signal);
}

async function read<T>(path: string, init: RequestInit, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, ...(signal ? { signal } : {}) });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError(0, 'Shipwake does not answer', 'The process may be stopped, or a network between you and it is down.');
  }
  if (!response.ok) throw await problemOf(response);
  return (await response.json()) as T;
}

async function problemOf(response: Response): Promise<ApiError> {
  const problem = (await response.json().catch(() => ({}))) as Problem;
  return new ApiError(response.status, problem.title ?? `Answer ${response.status}`, problem.detail ?? '', problem.position?.offset ?? null);
}

/** `{env: 'prod', from: ''}` → `?env=prod`: empty values are left out. */
export function queryString(args: Record<string, string | undefined>): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(args)) {
    if (value !== undefined && value !== '') params.set(key, value);
  }
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}
