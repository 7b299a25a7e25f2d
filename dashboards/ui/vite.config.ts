// Builds the pages into ../dist, byte for byte the same from the same sources: no dates, no random names.
// Every text file gets a .br and a .gz beside it, which the binary embeds and serves as they are.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

/** Below this a compressed form saves less than its own header costs. */
const COMPRESS_FROM_BYTES = 512;
const COMPRESSED_TYPES = /\.(html|js|css|svg|json)$/;

function precompress(): Plugin {
  let outDir = '';
  return {
    name: 'precompress',
    apply: 'build',
    configResolved(config) {
      outDir = config.build.outDir.startsWith('/') ? config.build.outDir : join(config.root, config.build.outDir);
    },
    closeBundle() {
      for (const file of walk(outDir)) {
        const bytes = readFileSync(file);
        if (!COMPRESSED_TYPES.test(file) || bytes.length < COMPRESS_FROM_BYTES) continue;
        const params = {
          [constants.BROTLI_PARAM_QUALITY]: 11,
          [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
        };
        writeFileSync(`${file}.br`, brotliCompressSync(bytes, { params }));
        writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }));
      }
    },
  };
}

function walk(dir: string): string[] {
  return readdirSync(dir)
    .map((name) => join(dir, name))
    .flatMap((path) => (statSync(path).isDirectory() ? walk(path) : [path]))
    .sort();
}

/** Where `npm run dev` finds a running Shipwake. */
const backend = process.env['SHIPWAKE_URL'] ?? 'http://127.0.0.1:4400';

export default defineConfig({
  plugins: [svelte(), precompress()],
  // Vitest needs the browser build of Svelte; its server build has no effects.
  resolve: process.env['VITEST'] ? { conditions: ['browser'] } : {},
  build: {
    outDir: process.env['SHIPWAKE_UI_OUT'] ?? '../dist',
    emptyOutDir: true,
    // light-dark() is used as it is; these are the first versions that know it.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        codeSplitting: { groups: [{ name: 'uplot', test: /node_modules[\\/]uplot/ }] },
      },
    },
  },
  server: { proxy: { '/api': { target: backend, ws: true }, '/v1': backend } },
  test: { environment: 'jsdom', include: ['src/**/*.test.ts'] },
} as Parameters<typeof defineConfig>[0]);
