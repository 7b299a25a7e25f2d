// Builds into a temporary folder and compares with the committed ../dist, byte for byte.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

const ui = join(import.meta.dirname, '..');
const committed = join(ui, '../dist');
const fresh = mkdtempSync(join(tmpdir(), 'shipwake-ui-'));

function files(dir) {
  return readdirSync(dir)
    .map((name) => join(dir, name))
    .flatMap((path) => (statSync(path).isDirectory() ? files(path) : [path]));
}

const names = (dir) => files(dir).map((path) => relative(dir, path)).sort();

try {
  execFileSync('npx', ['vite', 'build', '--logLevel', 'warn'], { cwd: ui, stdio: 'inherit', env: { ...process.env, SHIPWAKE_UI_OUT: fresh } });
  const differing = [...new Set([...names(committed), ...names(fresh)])].filter((name) => {
    try {
      return !readFileSync(join(committed, name)).equals(readFileSync(join(fresh, name)));
    } catch {
      return true;
    }
  });
  if (differing.length > 0) {
    console.error(`dist is not what the sources build; run \`npm run build\` and commit it:\n  ${differing.join('\n  ')}`);
    process.exitCode = 1;
  } else {
    console.log(`dist is what the sources build (${names(fresh).length} files)`);
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
