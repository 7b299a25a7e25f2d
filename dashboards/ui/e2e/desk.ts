// The desk of somebody who follows the Start page: an empty folder, a shell, and what a program prints. Texts are run as
// they are shown, files are written as they are shown.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { BINARY, until } from './shipwake.ts';

const REPOSITORY = resolve(import.meta.dirname, '../../..');
/** An installation on a cold machine. */
const INSTALL_MS = 240_000;
/** It may be built first. */
const START_MS = 180_000;

/** A text of the page: for a file, or for a shell. */
export interface Shown {
  text: string;
  file: string | null;
}

export class Desk {
  readonly folder = mkdtempSync(join(tmpdir(), 'shipwake-desk-'));
  readonly #environment: NodeJS.ProcessEnv;
  readonly #started: ChildProcess[] = [];
  #output = '';

  /** Commands are found in `paths` first: the reader has `shipwake` there, too. */
  constructor(paths: string[] = [], environment: NodeJS.ProcessEnv = {}) {
    const here = paths.map((path) => join(this.folder, path));
    const path = [...here, dirname(BINARY), process.env['PATH']].join(delimiter);
    this.#environment = { ...process.env, ...environment, PATH: path };
  }

  /** Puts a file of the repository's client programs on the desk. */
  copy(client: string, name: string): void {
    copyFileSync(join(REPOSITORY, 'tests/clients', client), join(this.folder, name));
  }

  write(name: string, text: string): void {
    const path = join(this.folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  /** Runs a command to its end and gives what it printed. */
  run(script: string): string {
    const options = { cwd: this.folder, env: this.#environment, encoding: 'utf8' as const, timeout: INSTALL_MS };
    return execFileSync('bash', ['-c', script], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Follows the steps up to the last one, which is given back. */
  follow(steps: Shown[]): string {
    const last = steps.at(-1);
    if (!last || last.file) throw new Error('the last step is not a command');
    for (const step of steps.slice(0, -1)) {
      if (step.file) this.write(step.file, step.text);
      else this.run(step.text);
    }
    return last.text;
  }

  /** Starts a command that goes on until the desk is cleared. */
  start(script: string): void {
    const options = { cwd: this.folder, env: this.#environment, detached: true };
    const child = spawn('bash', ['-c', script], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (text: Buffer) => (this.#output = (this.#output + text.toString()).slice(-20_000));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    this.#started.push(child);
  }

  /** Waits for a line that begins so, and gives the rest of it. */
  async says(beginning: string): Promise<string> {
    const found = () => this.#output.split('\n').find((line) => line.startsWith(beginning));
    await until(() => found() !== undefined || this.#died(), START_MS, () => `it has not said ${beginning}:\n${this.#output}`);
    const line = found();
    if (line === undefined) throw new Error(`it ended without ${beginning}:\n${this.#output}`);
    return line.slice(beginning.length).trim();
  }

  /** Waits until a web app answers, and asks it a few times. */
  async visit(url: string): Promise<void> {
    const ask = () => fetch(url).catch(() => null);
    await until(async () => (await ask()) !== null || this.#died(), START_MS, () => `${url} does not answer:\n${this.#output}`);
    if (this.#died()) throw new Error(`it has ended:\n${this.#output}`);
    for (let i = 0; i < 4; i += 1) await ask();
  }

  #died(): boolean {
    return this.#started.some((child) => child.exitCode !== null);
  }

  /** Ends what was started here, with its children, and takes the folder away. */
  clear(): void {
    for (const child of this.#started) end(child);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** Ends a command with its children: they are a group of their own. */
function end(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGTERM');
  } catch {
    // All of them have ended already.
  }
}

export const REPOSITORY_CLIENTS = join(REPOSITORY, 'tests/clients');
export const BUILT = join(REPOSITORY, 'target/clients');
