import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { helpPage, helpPages, resolver, partForUse } from './help';
import { licensed } from './licences';
import { slug, textOf, toTree } from './markdown';

const root = fileURLToPath(new URL('../../..', import.meta.url));

describe('markdown', () => {
  const tree = (text: string) => toTree(text, resolver(['security']));
  it('becomes a tree', () => {
    expect(tree('# A *b*\n\ntext `code` **strong**\nmore')).toEqual([
      { tag: 'heading', level: 1, id: 'a-b', kids: ['A ', { tag: 'em', kids: ['b'] }] },
      { tag: 'p', kids: ['text ', { tag: 'code', text: 'code' }, ' ', { tag: 'strong', kids: ['strong'] }, ' more'] },
    ]);
    expect(tree('- a\n- b')).toEqual([{ tag: 'ul', kids: [{ tag: 'li', kids: ['a'] }, { tag: 'li', kids: ['b'] }] }]);
    expect(tree('```yaml\na: b\n```')).toEqual([{ tag: 'pre', text: 'a: b', lang: 'yaml' }]);
    expect(JSON.stringify(tree('| a | b |\n|--|--|\n| 1 | 2 |'))).toContain('"tag":"th"');
  });
  it('never becomes markup', () => {
    expect(tree('<img src=x onerror=alert(1)>\n\na <b>c</b>')).toEqual([
      { tag: 'p', kids: ['<img src=x onerror=alert(1)>'] },
      { tag: 'p', kids: ['a <b>c</b>'] },
    ]);
    expect(JSON.stringify(tree('[x](javascript:alert(1)) [y](data:text/html,z)'))).not.toContain('"tag":"link"');
  });
  it('links to pages that there are', () => {
    expect(tree('[s](security.md#what)')).toEqual([{ tag: 'p', kids: [{ tag: 'link', href: '/help/security#what', kids: ['s'] }] }]);
    expect(tree('[s](../core/src/lib.rs)')).toEqual([{ tag: 'p', kids: ['s'] }]);
  });
  it('gives headings of the same words ids of their own', () => {
    expect(tree('# A\n\n# A').map((node) => (typeof node !== 'string' && node.tag === 'heading' ? node.id : ''))).toEqual(['a', 'a-1']);
    expect(slug('Without internet, ever!')).toBe('without-internet-ever');
  });
});

describe('help', () => {
  it('holds the whole documentation', () => {
    const pages = helpPages(root);
    expect(pages[0]?.slug).toBe('start');
    expect(pages.map((page) => page.slug)).toEqual(expect.arrayContaining(['operating', 'security', 'config', 'glossary']));
    for (const page of pages) {
      expect(page.title).not.toBe(page.slug);
      expect(page.sections.length).toBeGreaterThan(0);
      expect(textOf(page.nodes).length).toBeGreaterThan(500);
    }
  });
  it('takes of the README what is for use', () => {
    expect(partForUse('# P\n\nintro\n\n## See it\n\nx\n\n## Use it\n\ny\n\n## Map\n\nz\n')).toBe('# P\n\nintro\n\n## Use it\n\ny\n\n');
    expect(helpPage('x', '# T\n\n## S\n\nwords', []).sections).toEqual([
      { id: 't', title: 'T', level: 1, text: '' },
      { id: 's', title: 'S', level: 2, text: 'words  ' },
    ]);
  });
});

describe('licences', () => {
  it('are those of what is shipped, each with a name', () => {
    const all = licensed(fileURLToPath(new URL('..', import.meta.url)));
    const names = all.map((one) => one.name);
    expect(names).toEqual(expect.arrayContaining(['react', '@xterm/xterm', 'yaml', 'minisearch']));
    expect(names).not.toContain('vite');
    for (const one of all) expect(one.licence, one.name).not.toBe('');
  });
});
