// @vitest-environment node
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { SNIPPET_KEYS } from '../url/routes.ts';
import { resourceAttributes, shellWord, type SnippetInput } from './snippet.ts';
import { reachable, snippets } from './snippets.ts';

const input: SnippetInput = {
  grpc: 'http://127.0.0.1:4317',
  http: 'http://127.0.0.1:4318',
  service: 'check out’s "$HOME" `id` \'q\'',
  version: '1.0,0=x',
  environment: 'dev & co',
  nowMs: 1_795_405_000_000,
  ids: { trace: new Uint8Array(16).fill(7), span: new Uint8Array(8).fill(9) },
};

const sh = (script: string) => execFileSync('sh', ['-c', script], { encoding: 'utf8' });

describe('snippets', () => {
  it('exist for every choice of the page', () => {
    expect(snippets(input).map((each) => each.key).sort()).toEqual([...SNIPPET_KEYS].sort());
  });

  it('give a shell exactly the names that were entered', () => {
    for (const word of [input.service, 'plain-1.0', '', "''", '$(reboot)', 'a\nb']) {
      expect(sh(`printf %s ${shellWord(word)}`)).toBe(word);
    }
    const script = snippets(input)[0]?.steps[0]?.text ?? '';
    expect(sh(`${script}\nprintf %s "$OTEL_SERVICE_NAME"`)).toBe(input.service);
    expect(sh(`${script}\nprintf %s "$OTEL_RESOURCE_ATTRIBUTES"`)).toBe(resourceAttributes(input));
  });

  it('are scripts that a shell can read, whatever the names', () => {
    for (const snippet of snippets(input)) {
      for (const step of snippet.steps.filter((each) => !each.file)) {
        expect(() => execFileSync('bash', ['-n', '-c', step.text], { stdio: 'pipe' }), `${snippet.key}: ${step.title}`).not.toThrow();
      }
    }
  });

  it('give shipwake pipe exactly the names that were entered', () => {
    const script = snippets(input).find((each) => each.key === 'pipe')?.steps[0]?.text ?? '';
    const heard = sh(`tail() { :; }; shipwake() { printf '<%s>' "$@"; }; ${script}`);
    const names = `<--service><${input.service}><--version><${input.version}><--environment><${input.environment}>`;
    expect(heard).toBe(`<pipe>${names}<--endpoint><${input.http}>`);
  });

  it('keep a comma inside a resource attribute', () => {
    expect(resourceAttributes(input)).toBe('service.version=1.0%2C0%3Dx,deployment.environment.name=dev%20%26%20co');
  });

  it('write a span whose bytes are what OTLP says', () => {
    const script = snippets({ ...input, service: 's', version: 'v', environment: 'e' }).find((each) => each.key === 'otlp')?.steps[0]?.text ?? '';
    const request = Buffer.from(/echo (\S+)/.exec(script)?.[1] ?? '', 'base64');
    expect(request[0]).toBe(0x0a);
    expect(request.includes('service.version')).toBe(true);
    expect(request.includes(Buffer.from([0x0a, 16, ...new Array(16).fill(7)]))).toBe(true);
    const end = Buffer.alloc(9);
    end[0] = 8 * 8 + 1;
    end.writeBigUInt64LE(1_795_405_000_000n * 1_000_000n, 1);
    expect(request.includes(end)).toBe(true);
  });
});

it('addresses are reachable from where the reader is', () => {
  expect(reachable('http://127.0.0.1:4318', 4318, 'localhost')).toBe('http://127.0.0.1:4318');
  expect(reachable('http://127.0.0.1:4318', 4318, 'ship.example')).toBe('http://ship.example:4318');
  expect(reachable('http://0.0.0.0:5000', 4318, '10.0.0.5')).toBe('http://10.0.0.5:5000');
  expect(reachable('https://otlp.example:443', 4318, 'ship.example')).toBe('https://otlp.example');
  expect(reachable(undefined, 4318, 'h')).toBe('http://h:4318');
});
