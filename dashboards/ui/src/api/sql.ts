// Questions in SQL, and the answer as objects by the names of its columns.
import { postJson } from './rest.ts';

export interface SqlAnswer {
  schema: { name: string; type?: string }[];
  rows: unknown[][];
}

export type Row = Record<string, unknown>;

export async function ask(query: string, signal?: AbortSignal): Promise<Row[]> {
  return rowsOf(await postJson<SqlAnswer>('/api/v1/sql', { query }, signal));
}

export function rowsOf(answer: SqlAnswer): Row[] {
  return answer.rows.map((row) => Object.fromEntries(answer.schema.map((column, i) => [column.name, row[i]])));
}

/** A text as SQL has it: it comes from an address. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
