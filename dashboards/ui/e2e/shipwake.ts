// Starts and stops the real program for a test: its own ports, its own data folder, ended by its process id.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const BINARY = resolve(process.env['SHIPWAKE_BIN'] ?? join(import.meta.dirname, '../../../target/release/shipwake'));
const START_MS = 20_000;
const STOP_MS = 15_000;

export interface Ports {
  grpc: number;
  http: number;
  ui: number;
}


export class Shipwake {
  readonly url: string;
  readonly http: string;
  readonly folder: string;
  readonly truthPath: string;
  readonly #ports: Ports;
  #process: ChildProcess | null = null;
  #output = '';

  private constructor(ports: Ports) {
    this.#ports = ports;
    this.url = `http://127.0.0.1:${ports.ui}`;
    this.http = `http://127.0.0.1:${ports.http}`;
    this.folder = mkdtempSync(join(tmpdir(), 'shipwake-e2e-'));
    this.truthPath = join(this.folder, 'truth.jsonl');
  }

  /** The simulated shop, faster than life. */
  static async demo(scenario: string, options: { speed?: number; scale?: number; seed?: number; past?: string } = {}): Promise<Shipwake> {
    // A quarter of an hour of a busier shop takes a while to send, and most tests are about what happens now.
    const { speed = 8, scale = 2, seed = 7, past = '0s' } = options;
    const shipwake = new Shipwake(await freePorts());
    const script = ['--scenario', scenario, '--seed', String(seed), '--speed', String(speed), '--scale', String(scale), '--past', past];
    await shipwake.start(['demo', ...script, '--truth', shipwake.truthPath]);
    return shipwake;
  }

  /** An empty server. */
  static async serve(...options: string[]): Promise<Shipwake> {
    const shipwake = new Shipwake(await freePorts());
    await shipwake.start(['serve', ...options]);
    return shipwake;
  }

  async start(command: string[]): Promise<void> {
    if (!existsSync(BINARY)) throw new Error(`there is no ${BINARY}: build it, or say where it is in SHIPWAKE_BIN`);
    const { grpc, http, ui } = this.#ports;
    const addresses = ['--otlp-grpc-addr', `127.0.0.1:${grpc}`, '--otlp-http-addr', `127.0.0.1:${http}`, '--ui-addr', `127.0.0.1:${ui}`];
    const child = spawn(BINARY, [...command, '--data', join(this.folder, 'data'), ...addresses], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    const keep = (text: Buffer) => (this.#output = (this.#output + text.toString()).slice(-20_000));
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${this.#output}`);
      return (await fetch(`${this.url}/readyz`).catch(() => null))?.status === 200;
    }, START_MS, () => `not ready:\n${this.#output}`);
  }

  /** SIGKILL: nothing is finished, nothing is flushed. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((done) => child.once('exit', () => done()));
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(late);
  }

  async api<T>(path: string): Promise<T> {
    const response = await fetch(this.url + path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** Lines of what really happened in the shop. */
  truth(): Record<string, unknown>[] {
    if (!existsSync(this.truthPath)) return [];
    const lines = readFileSync(this.truthPath, 'utf8').split('\n');
    return lines.filter((line) => line.startsWith('{') && line.endsWith('}')).map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

/** Waits for a condition, with a limit. */
export async function until(condition: () => Promise<boolean> | boolean, limitMs: number, complaint: () => string): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(complaint());
    await new Promise((done) => setTimeout(done, 50));
  }
}

export async function freePorts(): Promise<Ports> {
  const servers = await Promise.all([listen(), listen(), listen()]);
  const [grpc, http, ui] = servers.map(({ port }) => port) as [number, number, number];
  await Promise.all(servers.map(({ close }) => close()));
  return { grpc, http, ui };
}

function listen(): Promise<{ port: number; close: () => Promise<void> }> {
  return new Promise((done, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      done({ port, close: () => new Promise((closed) => server.close(() => closed())) });
    });
  });
}
