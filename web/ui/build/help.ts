// The documentation of the repository, as data for the help pages.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';
import { textOf, toTree, type HelpNode } from './markdown';

export interface HelpSection {
  id: string;
  title: string;
  level: number;
  text: string;
}
export interface HelpPage {
  slug: string;
  title: string;
  nodes: HelpNode[];
  sections: HelpSection[];
}

/** The order in which people need them; what is not named comes after. */
const ORDER = ['start', 'operating', 'config', 'degraded', 'security', 'refusals', 'formats', 'glossary'];

/** Links between the files become links between the pages; those to other files of the repository lead nowhere here. */
export function resolver(known: readonly string[]): (href: string) => string | undefined {
  return (href) => {
    if (/^https:\/\//.test(href)) return href;
    if (href.startsWith('#')) return href;
    const [, name, hash = ''] = /^(?:\.\/|docs\/|\.\.\/docs\/)?([\w-]+)\.md(#.*)?$/.exec(href) ?? [];
    if (name === 'README' || href === '../README.md') return `/help/start${hash}`;
    return name !== undefined && known.includes(name) ? `/help/${name}${hash}` : undefined;
  };
}

export function helpPage(slug: string, source: string, known: readonly string[]): HelpPage {
  const nodes = toTree(source, resolver(known));
  const heading = nodes.find((node) => typeof node !== 'string' && node.tag === 'heading');
  const title = heading && typeof heading !== 'string' && heading.tag === 'heading' ? textOf(heading.kids).trim() : slug;
  const sections: HelpSection[] = [];
  for (const node of nodes) {
    if (typeof node !== 'string' && node.tag === 'heading') {
      sections.push({ id: node.id, title: textOf(node.kids).trim(), level: node.level, text: '' });
    } else {
      const last = sections.at(-1);
      if (last) last.text += `${textOf([node])} `;
    }
  }
  return { slug, title, nodes, sections };
}

/** What of the README is for those who use it: what it is, and how it is used. */
export function partForUse(readme: string): string {
  const parts = readme.split(/^(?=## )/m);
  return parts.filter((part, i) => i === 0 || /^## Use it/.test(part)).join('');
}

export function helpPages(root: string): HelpPage[] {
  const docs = join(root, 'docs');
  const names = readdirSync(docs).filter((file) => file.endsWith('.md')).map((file) => file.slice(0, -3));
  const sources: [string, string][] = [
    ['start', partForUse(readFileSync(join(root, 'README.md'), 'utf8'))],
    ...names.map((name): [string, string] => [name, readFileSync(join(docs, `${name}.md`), 'utf8')]),
  ];
  const place = (slug: string) => (ORDER.indexOf(slug) + ORDER.length + 1) % (ORDER.length + 1);
  return sources.map(([slug, source]) => helpPage(slug, source, names)).sort((a, b) => place(a.slug) - place(b.slug));
}

const NAME = 'virtual:help';

/** `import pages from 'virtual:help'`. */
export function help(): Plugin {
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  return {
    name: 'palisade-help',
    resolveId: (id) => (id === NAME ? `\0${NAME}` : undefined),
    load(id) {
      if (id !== `\0${NAME}`) return undefined;
      for (const file of readdirSync(join(root, 'docs'))) this.addWatchFile(join(root, 'docs', file));
      // Parsed by the engine from text, since that is quicker than from code.
      return `export default JSON.parse(${JSON.stringify(JSON.stringify(helpPages(root)))})`;
    },
  };
}
