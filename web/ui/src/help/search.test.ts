import pages from 'virtual:help';
import { describe, expect, it } from 'vitest';
import { excerpt, searcher } from './search';

describe('the search of the documentation', () => {
  const search = searcher(pages);
  it('finds sections by words, their beginnings, and with an error in typing', () => {
    expect(search('upgrade')[0]?.page).toBe('operating');
    expect(search('withou inter').map((hit) => hit.section)).toContain('Without internet');
    expect(search('certficate').length).toBeGreaterThan(0);
    expect(search('zzzzqqq')).toEqual([]);
  });
  it('leads to the section', () => {
    for (const hit of search('node').slice(0, 10)) {
      const page = pages.find((one) => one.slug === hit.page);
      expect(page?.sections.some((section) => hit.href.endsWith(`#${section.id}`))).toBe(true);
    }
  });
  it('shows the words among others', () => {
    expect(excerpt(`${'word '.repeat(60)}needle ${'more '.repeat(60)}`, ['needle'])).toMatch(/^… .*needle.* …$/);
    expect(excerpt('short', ['x'])).toBe('short');
  });
});
