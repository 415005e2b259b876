// Fails the build when what a page needs at its first load grows over its budget. Counted is what the page's chunk
// pulls in, with style sheets, index.html and theme.js, as brotli sends it.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = join(fileURLToPath(new URL('..', import.meta.url)), 'dist');
const manifest = JSON.parse(readFileSync(join(dist, '.vite/manifest.json'), 'utf8'));
const budgets = { signin: 200, terminal: 500 };
const size = (file, ending) => (existsSync(join(dist, file + ending)) ? statSync(join(dist, file + ending)).size : 0);

function needed(entries) {
  const files = new Set(['index.html', 'theme.js']);
  const visit = (name) => {
    const chunk = manifest[name];
    if (!chunk || files.has(chunk.file)) return;
    files.add(chunk.file);
    for (const css of chunk.css ?? []) files.add(css);
    for (const other of chunk.imports ?? []) visit(other);
  };
  entries.forEach(visit);
  return files;
}

let failed = false;
const pages = Object.keys(manifest).filter((name) => /^src\/pages\/[^/]+\/index\.tsx$/.test(name));
for (const entry of pages) {
  const page = entry.split('/')[2];
  const files = [...needed(['index.html', entry])];
  const total = (ending) => files.reduce((sum, file) => sum + size(file, ending), 0) / 1024;
  const budget = budgets[page];
  const over = budget !== undefined && total('.gz') > budget;
  failed ||= over;
  const note = budget === undefined ? '' : over ? `  OVER its ${budget} KiB` : `  of ${budget} KiB`;
  process.stdout.write(`${page.padEnd(10)} ${total('.br').toFixed(1).padStart(7)} KiB brotli ${total('.gz').toFixed(1).padStart(7)} KiB gzip${note}\n`);
}
for (const page of Object.keys(budgets)) {
  if (!pages.some((entry) => entry.split('/')[2] === page)) {
    process.stderr.write(`the manifest has no page ${page}\n`);
    failed = true;
  }
}
process.exit(failed ? 1 : 0);
