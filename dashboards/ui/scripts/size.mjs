// Fails when the first load of the overview is larger than its budget: every script and style that index.html names, and
// what those import statically, gzipped.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUDGET_FIRST_LOAD = 110_000;
const BUDGET_LAZY_CHUNK = 150_000;

const dist = join(import.meta.dirname, '../../dist');
const size = (file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;

const html = readFileSync(join(dist, 'index.html'), 'utf8');
const first = new Set([...html.matchAll(/(?:src|href)="\/([^"]+\.(?:js|css))"/g)].map((match) => match[1]));
for (const file of first) {
  if (!file.endsWith('.js')) continue;
  const code = readFileSync(join(dist, file), 'utf8');
  for (const match of code.matchAll(/(?:from|import)\s*"\.\/([^"]+\.js)"/g)) first.add(`assets/${match[1]}`);
}
const total = [...first].reduce((sum, file) => sum + size(file), 0);
console.log(`first load of the overview: ${total} bytes gzipped of ${BUDGET_FIRST_LOAD} (${[...first].join(', ')})`);

let failed = total > BUDGET_FIRST_LOAD;
for (const name of readdirSync(join(dist, 'assets')).filter((each) => /\.(js|css)$/.test(each))) {
  const file = `assets/${name}`;
  if (first.has(file)) continue;
  console.log(`${file}: ${size(file)} bytes gzipped`);
  failed ||= size(file) > BUDGET_LAZY_CHUNK;
}
if (failed) {
  console.error('over the budget');
  process.exit(1);
}
