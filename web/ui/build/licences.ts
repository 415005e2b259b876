// The npm packages that are part of the built pages, with their licences: names and texts go along with what is shipped.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';

export interface Licensed {
  name: string;
  version: string;
  licence: string;
  /** The text that comes with the package; empty where none does. */
  text: string;
}

interface Lock {
  packages: Record<string, { version?: string; dev?: boolean; optional?: boolean; license?: string; link?: boolean }>;
}

export function licensed(root: string): Licensed[] {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;
  const found = new Map<string, Licensed>();
  for (const [path, entry] of Object.entries(lock.packages)) {
    const folder = join(root, path);
    // Types and what is there for other systems is not in the pages.
    if (path === '' || entry.dev || entry.link || /(^|\/)@types\//.test(path) || !existsSync(join(folder, 'package.json'))) continue;
    const name = path.split('node_modules/').at(-1) ?? path;
    const own = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { license?: string | { type?: string } };
    const licence = (typeof own.license === 'string' ? own.license : own.license?.type) ?? entry.license ?? '';
    const file = readdirSync(folder).find((one) => /^(licen[cs]e|copying)(\.|$)/i.test(one));
    const text = file === undefined ? '' : readFileSync(join(folder, file), 'utf8').trim();
    found.set(`${name}@${entry.version}`, { name, version: entry.version ?? '', licence, text });
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

const NAME = 'virtual:licences';

/** `import packages from 'virtual:licences'`. */
export function licences(): Plugin {
  const root = fileURLToPath(new URL('..', import.meta.url));
  return {
    name: 'palisade-licences',
    resolveId: (id) => (id === NAME ? `\0${NAME}` : undefined),
    // For the packages: what is in the program is named beside it as well, with its texts.
    generateBundle() {
      const all = licensed(root).map(({ name, version, licence, text }) => `${name} ${version} - ${licence}\n\n${text || 'Its package carries no text.'}\n`);
      const line = '='.repeat(100);
      const head = 'The web pages in the program contain the following packages of npm, each with its licence.\n';
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source: [head, ...all].join(`\n${line}\n`) });
    },
    load: (id) => (id === `\0${NAME}` ? `export default JSON.parse(${JSON.stringify(JSON.stringify(licensed(root)))})` : undefined),
  };
}
